//! Steps in iproute2's words: read as `pipework route`, `rule` and `tc` read them, and told to the kernel by netlink.

use nix::errno::Errno;

use super::netns::Namespace;
use super::routing;
use super::tc::{self, TcError};
use super::wire::Netlink;
use crate::iproute::names::LookUps;
use crate::iproute::{WordsError, route, rule};
use crate::model::error::KernelError;
use crate::model::op::{Tool, ToolStep};

/// Does what the words say. They name tables and the like by number: nobody's files are read.
pub(super) fn apply(step: &ToolStep, socket: &mut Netlink, namespace: &Namespace) -> Result<(), KernelError> {
    let links = routing::links(socket)?;
    // A rule may name a link that is not there, anything else may not.
    let dev = step.words.iter().position(|word| word == "dev").and_then(|at| step.words.get(at + 1));
    if let Some(dev) = dev.filter(|dev| step.tool != Tool::Rule && links.index(dev).is_none()) {
        return Err(KernelError::NoLink(dev.clone()));
    }
    let lookups = LookUps { links, ..LookUps::default() };
    match step.tool {
        Tool::Route => match route::parse(&step.words, &lookups).map_err(wrong)? {
            route::Command::Change(verb, route) => routing::change_route(socket, verb, &route),
            _ => Err(no_change()),
        },
        Tool::Rule => match rule::parse(&step.words, &lookups).map_err(wrong)? {
            rule::Command::Add(rule) => routing::add_rule(socket, &rule),
            rule::Command::Delete(rule) => routing::delete_rule(socket, &rule),
            _ => Err(no_change()),
        },
        Tool::Tc => match tc::run(&step.words, namespace) {
            Ok(_) => Ok(()),
            Err(TcError::Words(error)) => Err(wrong(error)),
            Err(TcError::Kernel(error)) => Err(error),
        },
    }
}

fn wrong(error: WordsError) -> KernelError {
    KernelError::Refused { errno: Errno::EINVAL, text: Some(error.to_string()) }
}

fn no_change() -> KernelError {
    KernelError::Refused { errno: Errno::EINVAL, text: Some("the words change nothing".into()) }
}
