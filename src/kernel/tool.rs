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

/// Whether what the words of a step add is there, as far as that can be told: filters are taken to be, and of a queueing
/// discipline its place, handle and kind are looked at, not its numbers.
pub(super) fn is_there(step: &ToolStep, socket: &mut Netlink, namespace: &Namespace) -> Result<bool, KernelError> {
    let lookups = LookUps { links: routing::links(socket)?, ..LookUps::default() };
    match step.tool {
        Tool::Route => match route::parse(&step.words, &lookups).map_err(wrong)? {
            route::Command::Change(_, wanted) => has_route(socket, &wanted),
            _ => Ok(true),
        },
        Tool::Rule => match rule::parse(&step.words, &lookups).map_err(wrong)? {
            rule::Command::Add(wanted) => has_rule(socket, &wanted),
            _ => Ok(true),
        },
        Tool::Tc => has_qdisc(step, namespace),
    }
}

/// Whether there is a route to the same destination, in the same table, by the same way.
fn has_route(socket: &mut Netlink, wanted: &route::Route) -> Result<bool, KernelError> {
    let selector =
        route::Selector { family: Some(wanted.family), ask: Some(wanted.family), table: Some(wanted.table), ..route::Selector::any() };
    let seen = match routing::routes(socket, &selector) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(false),
        seen => seen?,
    };
    let same = |is: &route::Route| {
        (is.dst, is.dst_len, is.gateway, is.kind) == (wanted.dst, wanted.dst_len, wanted.gateway, wanted.kind)
            && (wanted.dev.is_none() || is.dev == wanted.dev)
            && wanted.metric.is_none_or(|metric| is.metric == Some(metric))
    };
    Ok(seen.iter().filter_map(|seen| seen.object.as_ref()).any(same))
}

fn has_rule(socket: &mut Netlink, wanted: &rule::Rule) -> Result<bool, KernelError> {
    let same = |is: &rule::Rule| {
        (is.src, is.src_len, is.dst, is.dst_len, is.table) == (wanted.src, wanted.src_len, wanted.dst, wanted.dst_len, wanted.table)
            && wanted.priority.is_none_or(|priority| is.priority == Some(priority))
    };
    Ok(routing::rules(socket, wanted.family)?.iter().filter_map(|seen| seen.object.as_ref()).any(same))
}

/// `qdisc add dev eth1 root handle 1: tbf ...` is told as `qdisc tbf 1: root ...`.
fn has_qdisc(step: &ToolStep, namespace: &Namespace) -> Result<bool, KernelError> {
    let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
    let ["qdisc", "add", "dev", dev, rest @ ..] = words.as_slice() else { return Ok(true) };
    let wanted = match rest {
        ["ingress", ..] => "qdisc ingress ffff: ".to_owned(),
        ["root", "handle", handle, kind, ..] => format!("qdisc {kind} {handle} root"),
        ["parent", parent, "handle", handle, kind, ..] => format!("qdisc {kind} {handle} parent {parent}"),
        _ => return Ok(true),
    };
    let ask = ["qdisc", "show", "dev", dev].map(str::to_owned);
    match tc::run(&ask, namespace) {
        Ok(text) => Ok(text.lines().any(|line| line.starts_with(&wanted))),
        Err(TcError::Words(_)) => Ok(true),
        Err(TcError::Kernel(error)) => Err(error),
    }
}

fn wrong(error: WordsError) -> KernelError {
    KernelError::Refused { errno: Errno::EINVAL, text: Some(error.to_string()) }
}

fn no_change() -> KernelError {
    KernelError::Refused { errno: Errno::EINVAL, text: Some("the words change nothing".into()) }
}
