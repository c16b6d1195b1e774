//! Routes and rules as iproute2's words have them: asked for, listed, changed.

mod bytes;
mod route;
mod rule;

pub use route::decode as decode_route;
pub use rule::decode as decode_rule;

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

use super::netns::Namespace;
use super::sysctl;
use super::wire::{Netlink, RTM_DELROUTE, RTM_DELRULE, RTM_GETLINK, RTM_GETROUTE, RTM_GETRULE, RTM_NEWROUTE, RTM_NEWRULE, attributes};
use crate::iproute::names::Links;
use crate::iproute::route::{Route, Selector, TABLE_MAIN, Verb};
use crate::iproute::rule::Rule;
use crate::model::error::KernelError;
use crate::model::types::Family;

// linux/if_link.h
const IFLA_IFNAME: u16 = 3;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
/// `struct ifinfomsg`
const LINK_HEADER: usize = 16;

/// What the kernel has: understood, when it is of our kind, and as it came.
pub struct Seen<T> {
    /// `None`: of a family that is not ours.
    pub object: Option<T>,
    raw: Vec<u8>,
}

/// The names of all links, other names too.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn links(socket: &mut Netlink) -> Result<Links, KernelError> {
    let answers = socket.dump_raw(RTM_GETLINK, &[0; LINK_HEADER])?;
    let link = |raw: &[u8]| {
        let index = bytes::u32_at(raw, 4)?;
        let mut names = Vec::new();
        for (kind, value) in attributes(raw.get(LINK_HEADER..)?) {
            match kind {
                IFLA_IFNAME => names.insert(0, bytes::text(value)),
                IFLA_PROP_LIST => names.extend(attributes(value).filter(|(k, _)| *k == IFLA_ALT_IFNAME).map(|(_, v)| bytes::text(v))),
                _ => {}
            }
        }
        Some((index, names))
    };
    Ok(Links { by_index: answers.iter().filter_map(|answer| link(&answer.raw)).collect() })
}

/// `ip route add`, `del`, `change`, ...
///
/// # Errors
/// The kernel's refusal.
pub fn change_route(socket: &mut Netlink, verb: Verb, route: &Route) -> Result<(), KernelError> {
    let (kind, flags) = match verb {
        Verb::Add => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL),
        Verb::Delete => (RTM_DELROUTE, 0),
        Verb::Change => (RTM_NEWROUTE, NLM_F_REPLACE),
        Verb::Replace => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE),
        Verb::Prepend => (RTM_NEWROUTE, NLM_F_CREATE),
        Verb::Append => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND),
        Verb::Test => (RTM_NEWROUTE, NLM_F_EXCL),
    };
    socket.request_raw(kind, flags, &route::encode(route)).map(drop)
}

/// All routes that are meant.
///
/// # Errors
/// The kernel's refusal; that a table is not there is one, but not of table main.
pub fn routes(socket: &mut Netlink, selector: &Selector) -> Result<Vec<Seen<Route>>, KernelError> {
    let answers = match socket.dump_raw(RTM_GETROUTE, &route::ask(selector)) {
        Err(error) if error.errno() == Some(Errno::ENOENT) && selector.table == Some(TABLE_MAIN) => Vec::new(),
        answers => answers?,
    };
    let mut tables = false;
    let seen = answers
        .into_iter()
        .filter(|answer| answer.kind == RTM_NEWROUTE)
        .map(|answer| Seen { object: route::decode(&answer.raw), raw: answer.raw });
    Ok(seen.filter(|seen| seen.object.as_ref().is_none_or(|route| selector.takes(route, &mut tables))).collect())
}

/// The route that would be taken.
///
/// # Errors
/// The kernel's refusal: there is none, for one.
pub fn route_for(socket: &mut Netlink, wanted: &Route) -> Result<Option<Route>, KernelError> {
    let answers = socket.request_raw(RTM_GETROUTE, 0, &route::encode(wanted))?;
    Ok(answers.iter().find(|answer| answer.kind == RTM_NEWROUTE).and_then(|answer| route::decode(&answer.raw)))
}

/// Deletes a route that was seen. One that is gone already is deleted.
///
/// # Errors
/// The kernel's refusal.
pub fn delete_route(socket: &mut Netlink, seen: &Seen<Route>) -> Result<(), KernelError> {
    gone(socket.request_raw(RTM_DELROUTE, 0, &seen.raw))
}

/// Throws away what IPv4 has learnt of its routes.
///
/// # Errors
/// When the setting cannot be written.
pub fn flush_cache(namespace: &Namespace) -> Result<(), KernelError> {
    sysctl::flush_route_cache(namespace)
}

/// `ip rule add`
///
/// # Errors
/// The kernel's refusal.
pub fn add_rule(socket: &mut Netlink, rule: &Rule) -> Result<(), KernelError> {
    socket.request_raw(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &rule::encode(rule)).map(drop)
}

/// `ip rule del`
///
/// # Errors
/// The kernel's refusal.
pub fn delete_rule(socket: &mut Netlink, rule: &Rule) -> Result<(), KernelError> {
    socket.request_raw(RTM_DELRULE, 0, &rule::encode(rule)).map(drop)
}

/// All rules of a family.
///
/// # Errors
/// The kernel's refusal.
pub fn rules(socket: &mut Netlink, family: Family) -> Result<Vec<Seen<Rule>>, KernelError> {
    let answers = socket.dump_raw(RTM_GETRULE, &rule::ask(family))?;
    let rules = answers.into_iter().filter(|answer| answer.kind == RTM_NEWRULE);
    Ok(rules.map(|answer| Seen { object: rule::decode(&answer.raw), raw: answer.raw }).collect())
}

/// Deletes a rule that was seen. One that is gone already is deleted.
///
/// # Errors
/// The kernel's refusal.
pub fn delete_seen_rule(socket: &mut Netlink, seen: &Seen<Rule>) -> Result<(), KernelError> {
    gone(socket.request_raw(RTM_DELRULE, 0, &seen.raw))
}

fn gone<T>(result: Result<T, KernelError>) -> Result<(), KernelError> {
    match result {
        Err(error) if !matches!(error.errno(), Some(Errno::ESRCH | Errno::ENOENT)) => Err(error),
        _ => Ok(()),
    }
}
