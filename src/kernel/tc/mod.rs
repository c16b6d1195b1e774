//! `tc` by netlink: requests from what the words ask for, and what the kernel tells.

mod action;
mod attributes;
mod class;
mod fair;
mod filter;
mod flower;
mod ground;
mod htb;
mod netem;
mod node;
mod qdisc;
mod rate;
mod speed;
mod stats;
mod tbf;
mod u32;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use thiserror::Error;

use super::netns::Namespace;
use super::wire::Netlink;
use crate::iproute::WordsError;
use crate::iproute::tc::{self, Command, Ground, Node, Object, Options, Show, Verb, View};
use crate::model::error::KernelError;
use attributes::Writer;
use ground::System;

/// RTM_* (linux/rtnetlink.h): of each three the message that makes, the one that deletes, and the one that asks.
const QDISC: [u16; 3] = [36, 37, 38];
const CLASS: [u16; 3] = [40, 41, 42];
const FILTER: [u16; 3] = [44, 45, 46];

/// TCA_*
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const CHAIN: u16 = 11;
const HW_OFFLOAD: u16 = 12;
/// TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK
const BLOCKS: (u16, u16) = (13, 14);

/// Why a command was not carried out.
#[derive(Debug, Error)]
pub enum TcError {
    /// The words make no command, or one that is not known here; nothing was changed.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// The name of something that the kernel has and that cannot be printed here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unprintable(String);

impl From<Unprintable> for TcError {
    fn from(Unprintable(word): Unprintable) -> Self {
        Self::Words(WordsError::Unknown { word, place: Some("printing") })
    }
}

/// Carries out tc's words in a namespace. Returns what there is to print.
///
/// # Errors
/// Words that are not known or wrong, before anything is changed; the kernel's refusal.
pub fn run(words: &[String], namespace: &Namespace) -> Result<String, TcError> {
    let mut socket = namespace.netlink()?;
    let system = System::look(&mut socket, namespace)?;
    let (options, command) = tc::parse(words, &system)?;
    let clock = system.clock();
    match command {
        Command::Qdisc(verb, asked) => {
            let flags = if verb == Verb::Replace { NLM_F_CREATE | NLM_F_REPLACE } else { flags(verb) };
            send(&mut socket, QDISC, verb, flags, asked.node, |all| qdisc::put(all, &asked, clock))?;
        }
        Command::Class(verb, asked) => {
            send(&mut socket, CLASS, verb, flags(verb), asked.node, |all| class::put(all, &asked, clock))?;
        }
        Command::Filter(verb, asked) => {
            send(&mut socket, FILTER, verb, flags(verb), asked.node, |all| filter::put(all, &asked, clock))?;
        }
        Command::Show(object, asked) => return show(&mut socket, object, &asked, options, &system),
    }
    Ok(String::new())
}

/// The flags of a verb. Classes and filters are replaced by CREATE alone.
fn flags(verb: Verb) -> u16 {
    match verb {
        Verb::Add => NLM_F_CREATE | NLM_F_EXCL,
        Verb::Replace => NLM_F_CREATE,
        Verb::Link => NLM_F_REPLACE,
        Verb::Change | Verb::Delete => 0,
    }
}

fn send(
    socket: &mut Netlink,
    [new, delete, _]: [u16; 3],
    verb: Verb,
    flags: u16,
    node: Node,
    fill: impl FnOnce(&mut Writer),
) -> Result<(), KernelError> {
    let mut message = node::message(node);
    fill(&mut message);
    let kind = if verb == Verb::Delete { delete } else { new };
    socket.request_raw(kind, flags, message.bytes()).map(|_| ())
}

fn show(socket: &mut Netlink, object: Object, asked: &Show, options: Options, system: &System<'_>) -> Result<String, TcError> {
    let name = |index: u32| system.name(index);
    let view =
        View { details: options.details, statistics: options.statistics, pretty: options.pretty, clock: system.clock(), name: &name };
    let node = Node { index: asked.index, parent: asked.parent, info: asked.info, handle: 0 };
    let ([_, _, ask], node) = match object {
        // The kernel tells of all qdiscs, whatever is asked.
        Object::Qdisc => (QDISC, Node { index: asked.index, ..Node::default() }),
        Object::Class => (CLASS, node),
        Object::Filter => (FILTER, node),
    };
    let mut message = node::message(node);
    message.given(&[(CHAIN, asked.chain.filter(|_| object == Object::Filter))]);
    let answers = socket.dump_raw(ask, message.bytes())?;
    answers.iter().map(|answer| print(object, &answer.raw, asked, view)).collect()
}

/// What one message of the kernel's tells, as tc prints it; nothing if it makes no sense or is not asked for.
///
/// # Errors
/// When it has a part that cannot be printed here, with that part's name as the word that is not known.
pub fn print(object: Object, raw: &[u8], asked: &Show, view: View<'_>) -> Result<String, TcError> {
    Ok(match object {
        Object::Qdisc => qdisc::get(raw)?.map(|qdisc| qdisc.show(asked, view)),
        Object::Class => class::get(raw)?.map(|class| class.show(asked, view)),
        Object::Filter => filter::get(raw)?.map(|filter| filter.show(asked, view)),
    }
    .unwrap_or_default())
}
