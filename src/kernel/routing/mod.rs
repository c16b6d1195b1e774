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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::iproute::names::LookUps;
    use crate::iproute::options::Options;
    use crate::iproute::{route as words_of_routes, rule as words_of_rules};

    fn lookups() -> LookUps {
        let mut lookups = LookUps::default();
        lookups.links.by_index.extend([(2, vec!["eth0".to_owned()]), (3, vec!["eth1".to_owned()])]);
        lookups
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// What is asked of the kernel, read as if the kernel had said it, prints as the words it was asked with.
    #[test]
    fn a_routes_message_says_what_its_words_say() {
        for line in [
            "default via 10.1.1.1 dev eth0 proto static src 10.1.1.2 metric 5 ",
            "10.1.0.0/16 dev eth0 table 1000 scope link ",
            "blackhole 10.1.0.0/16 ",
            "10.1.0.0/16 tos 0x10 via inet6 fd00::1 dev eth0 onlink realms 1/2 mtu lock 1400 rtt 1.5s rto_min lock 5ms congctl cubic ",
            "fd00::/64 from fd01::/64 via fe80::1 dev eth1 metric 7 pref high",
            "10.2.0.0/16 nhid 7 proto 77 ",
            "10.2.0.0/16 \n\tnexthop via 10.1.1.1 dev eth0 weight 1 \n\tnexthop via inet6 fd00::1 realm 4 dev eth1 weight 256 onlink ",
        ] {
            let typed = line.replace("rto_min lock", "rto_min").replace("realm ", "realms ");
            let command = words_of_routes::parse(&words(&format!("add {typed}")), &lookups()).unwrap();
            let words_of_routes::Command::Change(Verb::Add, asked) = command else { panic!("{line}") };
            let seen = route::decode(&route::encode(&asked)).unwrap();
            assert_eq!(seen, *asked, "{line}");
            let mut text = String::new();
            words_of_routes::print(&seen, &Selector::any(), Options::default(), &lookups(), &mut text);
            assert_eq!(text, format!("{line}\n"));
        }
    }

    #[test]
    fn a_rules_message_says_what_its_words_say() {
        for line in [
            "5:\tfrom all lookup main",
            "5:\tnot from 10.1.0.0/16 to 10.2.0.1 tos 0x10 fwmark 0x1/0xff iif eth0 oif eth1 uidrange 1-2 ipproto ipproto-6 sport 1-2 dport 80 lookup 1000 realms 1/2 proto static",
            "5:\tfrom all tun_id 7 lookup default suppress_prefixlength 0 suppress_ifgroup default",
            "5:\tfrom 10.1.0.0/16 goto 100",
            "5:\tfrom all nop",
            "5:\tfrom 10.1.0.0/16 unreachable",
        ] {
            let (priority, rest) = line.split_once(":\t").unwrap();
            let typed = rest.replace("ipproto-6", "6");
            let command = words_of_rules::parse(&words(&format!("add priority {priority} {typed}")), &lookups()).unwrap();
            let words_of_rules::Command::Add(asked) = command else { panic!("{line}") };
            let seen = rule::decode(&rule::encode(&asked)).unwrap();
            assert_eq!(seen, *asked, "{line}");
            let mut text = String::new();
            words_of_rules::print(&seen, Options::default(), &lookups(), &mut text);
            assert_eq!(text, format!("{line}\n"));
        }
    }

    #[test]
    fn messages_that_are_cut_short_or_foreign_are_no_routes_and_no_rules() {
        for raw in [&[][..], &[2], &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0], &[28, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]] {
            assert!(route::decode(raw).is_none() && rule::decode(raw).is_none(), "{raw:?}");
        }
        let head = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        // A multipath attribute whose only way says that it is longer than the message.
        let broken = [&head[..], &[12, 0, 9, 0, 200, 0, 0, 0, 2, 0, 0, 0]].concat();
        assert!(route::decode(&broken).unwrap().nexthops.is_empty());
    }
}
