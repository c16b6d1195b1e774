//! The differences on purpose. A case that has one names it; one that is named and not there is a failure as well.

use std::net::Ipv4Addr;

use super::case::Case;
use super::state::State;

/// A difference on purpose: turns what the original came to into what we have to.
pub struct Rule {
    name: &'static str,
    why: &'static str,
    /// Whether there was something to turn.
    turn: fn(&Case, &mut Vec<i32>, &mut State) -> bool,
}

const RULES: [Rule; 9] = [
    Rule {
        name: "dhcp-default",
        why: "the DHCP server's router becomes the default route, as a gateway that is told does; there udhcpc's script leaves another one",
        turn: |_, _, state| {
            let route = state.remove("guest route default dev eth0").map(|_| "unicast via 10.88.0.1 proto boot scope global".to_owned());
            route.is_some_and(|route| state.insert("guest route default dev eth1".to_owned(), route).is_none())
        },
    },
    Rule {
        name: "bridge-mac",
        why: "a bridge that we make keeps its MAC address; there it changes with the ports, and neighbours lose the host",
        turn: |_, _, state| {
            let bridges = state.iter_mut().filter(|(key, value)| key.starts_with("host link br") && value.starts_with("bridge "));
            edit(bridges, |value| value.contains("mac random").then(|| value.replace("mac random", "mac pinned")))
        },
    },
    Rule {
        name: "broadcast",
        why: "an IPv4 address always gets its broadcast address; there only where busybox is installed",
        turn: |_, _, state| {
            let addrs = state.iter_mut().filter(|(key, value)| key.contains(" addr ") && !value.starts_with("brd "));
            let mut found = false;
            for (key, value) in addrs {
                if let Some(broadcast) = broadcast(key.rsplit(' ').next().unwrap()) {
                    *value = format!("brd {broadcast} {value}");
                    found = true;
                }
            }
            found
        },
    },
    Rule {
        name: "no-broadcast",
        why: "a /32 or /31 has no broadcast address (RFC 3021); there it is the address itself or the peer's",
        turn: |_, _, state| {
            let addrs = state.iter_mut().filter(|(key, _)| key.contains(" addr ") && (key.ends_with("/32") || key.ends_with("/31")));
            edit(addrs, |value| value.strip_prefix("brd ").map(|rest| rest.split_once(' ').unwrap().1.to_owned()))
        },
    },
    Rule {
        name: "host-route-128",
        why: "the route to an IPv6 gateway off the subnet is for that gateway; there it is written /32, which is 2^96 addresses",
        turn: |case, _, state| {
            let gateway = case.runs[0].split_once("/64@").unwrap().1.split(' ').next().unwrap();
            let Some(key) = state.keys().find(|key| key.contains("route6") && key.contains("/32 ")).cloned() else { return false };
            let net = key.split(' ').find(|word| word.ends_with("/32")).unwrap();
            let value = state.remove(&key).unwrap();
            state.insert(key.replace(net, gateway), value);
            true
        },
    },
    Rule {
        name: "altname",
        why: "a NIC in a guest says whose it was, so that it is known again and can be given back",
        turn: |_, _, state| {
            let moved = state.iter_mut().filter(|(key, _)| key.starts_with("guest link "));
            // The cases have one NIC, and on it one VLAN.
            edit(moved, |value| Some(format!("{value} altname pipework.from.nic0{}", if value.contains("vlan") { ".10" } else { "" })))
        },
    },
    Rule {
        name: "same-twice",
        why: "the same request again finds everything as asked and succeeds; there it fails at the link that is up",
        turn: |_, exit, _| std::mem::replace(&mut exit[1], 0) != 0,
    },
    Rule {
        name: "lease-is-success",
        why: "udhcpc brought a lease, which is success; there the script fails at a pid file that udhcpc itself has removed",
        turn: |_, exit, _| std::mem::replace(&mut exit[0], 0) != 0,
    },
    Rule {
        name: "index-in-metric",
        why: "dhcpcd's metric is 1000 and the interface's index, which is 2 where it is born in the guest; there it comes with the host's",
        turn: |_, _, state| {
            let keys: Vec<String> = state.keys().filter(|key| key.contains(" metric 1004 ")).cloned().collect();
            for key in &keys {
                let value = state.remove(key).unwrap();
                state.insert(key.replace(" metric 1004 ", " metric 1002 "), value);
            }
            !keys.is_empty()
        },
    },
];

/// The rule of that name.
pub fn named(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no difference on purpose is called {name}"))
}

impl Rule {
    pub fn apply(&self, case: &Case, exit: &mut Vec<i32>, state: &mut State) -> Result<(), String> {
        if (self.turn)(case, exit, state) {
            return Ok(());
        }
        Err(format!("the original does not differ by {} ({})", self.name, self.why))
    }
}

fn edit<'a>(lines: impl Iterator<Item = (&'a String, &'a mut String)>, new: impl Fn(&str) -> Option<String>) -> bool {
    let mut found = false;
    for (_, value) in lines {
        if let Some(text) = new(value) {
            *value = text;
            found = true;
        }
    }
    found
}

/// The last address of an IPv4 network, worked out here and not by the program under test.
fn broadcast(addr: &str) -> Option<Ipv4Addr> {
    let (ip, prefix) = addr.split_once('/')?;
    let (ip, prefix): (Ipv4Addr, u32) = (ip.parse().ok()?, prefix.parse().ok()?);
    Some(Ipv4Addr::from(u32::from(ip) | u32::MAX.checked_shr(prefix).unwrap_or(0)))
}
