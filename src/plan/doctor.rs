//! What is wrong with a bridge, of what was observed.

use std::collections::BTreeMap;

use super::firewall::{NftDrop, forward_drop, nft_drops, raw_drops};
use crate::model::doctor::{Asked, BridgeFacts, Fault, Finding, Fix, HostReport, PortFacts, Rules};
use crate::model::op::{Conf, HostStep, Op, Stp};
use crate::model::types::{Family, IfName, LinkRef};

/// All that is wrong, the nearest first.
pub fn diagnose(facts: &BridgeFacts) -> Vec<Finding> {
    let bridge = &facts.bridge;
    let Some(link) = &facts.link else {
        return vec![Finding {
            fault: Fault::NoBridge,
            what: format!("there is no bridge {bridge}"),
            why: "an attach makes one, but without a NIC in it: guests would reach each other and nobody else".into(),
            mend: up(bridge, facts),
            fix: None,
        }];
    };
    let mut all = Vec::new();
    if !link.up {
        all.push(Finding {
            fault: Fault::BridgeDown,
            what: format!("{bridge} is down"),
            why: "nothing passes".into(),
            mend: format!("ip link set dev {bridge} up"),
            fix: step(Op::SetUp { link: LinkRef::host(bridge) }),
        });
    }
    all.extend(uplinks(facts));
    all.extend(facts.ports.iter().filter(|port| !port.addrs.is_empty()).map(|port| address_on_port(facts, port)));
    all.extend(mtus(facts, link.mtu));
    all.extend(stp(facts));
    all.extend(way_back(facts));
    all.extend(facts.firewall.iter().flat_map(|rules| firewall(facts, rules)));
    all.extend(facts.asked.as_ref().and_then(|asked| answers(facts, asked)));
    all
}

fn step(op: Op) -> Option<Fix> {
    Some(Fix::Step(Box::new(op)))
}

fn up(bridge: &IfName, facts: &BridgeFacts) -> String {
    let nic = facts.recorded.as_ref().map(ToString::to_string).or_else(|| facts.way_out.clone());
    format!("pipework host up {bridge} --uplink {}", nic.unwrap_or_else(|| "NIC".into()))
}

fn uplinks(facts: &BridgeFacts) -> Vec<Finding> {
    let bridge = &facts.bridge;
    let out: Vec<&PortFacts> = facts.ports.iter().filter(|port| port.leads_out).collect();
    let recorded = facts.recorded.as_ref().filter(|nic| !facts.ports.iter().any(|port| port.link.name == nic.as_str()));
    if let Some(nic) = recorded {
        return vec![Finding {
            fault: Fault::NoUplink,
            what: format!("{nic} is no port of {bridge} any more, and `host up` made it one"),
            why: "guests reach each other, and nobody else".into(),
            mend: up(bridge, facts),
            fix: None,
        }];
    }
    if out.is_empty() {
        return vec![Finding {
            fault: Fault::NoUplink,
            what: format!("{bridge} has no NIC among its ports"),
            why: "guests reach each other and this host, and nobody else".into(),
            mend: up(bridge, facts),
            fix: None,
        }];
    }
    let dead = out.iter().filter(|port| !port.link.up || !port.link.carrier);
    let told = dead.map(|port| {
        let name = &port.link.name;
        let (what, mend) = match port.link.up {
            false => (format!("{name}, the way out of {bridge}, is down"), format!("ip link set dev {name} up")),
            true => (
                format!("{name}, the way out of {bridge}, has no carrier"),
                format!("look at the cable, or the virtual switch's port, of {name}"),
            ),
        };
        let fix =
            if port.link.up { None } else { name.parse().ok().and_then(|name: IfName| step(Op::SetUp { link: LinkRef::host(&name) })) };
        Finding { fault: Fault::UplinkDown, what, why: "guests reach each other, and nobody else".into(), mend, fix }
    });
    told.collect()
}

fn address_on_port(facts: &BridgeFacts, port: &PortFacts) -> Finding {
    let (bridge, name) = (&facts.bridge, &port.link.name);
    let list: Vec<String> = port.addrs.iter().map(ToString::to_string).collect();
    Finding {
        fault: Fault::AddressOnPort,
        what: format!("{name} is a port of {bridge} and has {}", list.join(", ")),
        why: format!(
            "what comes for the address comes in by {bridge}: with it on the port, ARP and rp_filter go wrong, and answers may be lost"
        ),
        mend: if port.leads_out { format!("pipework host up {bridge} --uplink {name}") } else { format!("ip addr flush dev {name}") },
        fix: None,
    }
}

/// The way out says how much gets through; without one the bridge does.
fn narrowest(facts: &BridgeFacts) -> Option<u32> {
    facts.ports.iter().filter(|port| port.leads_out).map(|port| port.link.mtu).min()
}

/// How large a packet gets out of the bridge, in bytes: the MTU of its way out, else its own.
pub fn way_out_mtu(facts: &BridgeFacts) -> Option<u32> {
    let link = facts.link.as_ref()?;
    Some(narrowest(facts).unwrap_or(link.mtu))
}

/// What is wrong between hosts that is so on none of them: bridges of one name, and so of one network, with several MTUs.
pub fn between(hosts: &[HostReport]) -> Vec<Finding> {
    let mut bridges: BTreeMap<&IfName, BTreeMap<u32, Vec<&str>>> = BTreeMap::new();
    for host in hosts {
        for report in &host.bridges {
            if let Some(mtu) = report.mtu {
                bridges.entry(&report.bridge).or_default().entry(mtu).or_default().push(&host.host);
            }
        }
    }
    bridges.into_iter().filter(|(_, mtus)| mtus.len() > 1).map(|(bridge, mtus)| several_mtus(bridge, &mtus)).collect()
}

fn several_mtus(bridge: &IfName, mtus: &BTreeMap<u32, Vec<&str>>) -> Finding {
    let told: Vec<String> = mtus.iter().map(|(mtu, hosts)| format!("{mtu} on {}", hosts.join(", "))).collect();
    // What most have is what was meant; among equals the smaller, which passes everywhere.
    let right = mtus.iter().rev().max_by_key(|(_, hosts)| hosts.len()).map_or(0, |(mtu, _)| *mtu);
    let others: Vec<&str> = mtus.iter().filter(|(mtu, _)| **mtu != right).flat_map(|(_, hosts)| hosts.iter().copied()).collect();
    Finding {
        fault: Fault::Mtu,
        what: format!("the MTU of {bridge} differs between hosts: {}", told.join("; ")),
        why: "large packets from the one to the other are dropped without a word: pings work, and downloads hang".into(),
        mend: format!("on {}: ip link set dev NIC mtu {right}, then pipework doctor --fix", others.join(", ")),
        fix: None,
    }
}

fn mtus(facts: &BridgeFacts, mtu: u32) -> Vec<Finding> {
    let bridge = &facts.bridge;
    let narrowest = narrowest(facts);
    let right = narrowest.unwrap_or(mtu);
    let links = std::iter::once((bridge.to_string(), mtu)).chain(facts.ports.iter().map(|port| (port.link.name.clone(), port.link.mtu)));
    let wrong = links.filter(|(_, own)| *own != right);
    let told = wrong.map(|(name, own)| Finding {
        fault: Fault::Mtu,
        what: match narrowest {
            Some(_) => format!("{name} has MTU {own}, and the way out of {bridge} {right}"),
            None => format!("{name} has MTU {own}, and {bridge} {right}"),
        },
        why: "small packets pass and large ones are dropped without a word: pings work, and downloads hang".into(),
        mend: format!("ip link set dev {name} mtu {right}"),
        fix: name.parse().ok().and_then(|name: IfName| step(Op::SetMtu { link: LinkRef::host(&name), mtu: right, before: Some(own) })),
    });
    told.collect()
}

fn stp(facts: &BridgeFacts) -> Vec<Finding> {
    let bridge = &facts.bridge;
    let mut all = Vec::new();
    if let Some(before) = facts.stp.filter(|stp| stp.on) {
        let seconds = before.forward_delay / 50;
        all.push(Finding {
            fault: Fault::Stp,
            what: format!("{bridge} speaks the spanning tree protocol, with a forward delay of {} s", before.forward_delay / 100),
            why: format!(
                "each new port, and so each new guest, is cut off for {seconds} s; and a switch with BPDU guard shuts this host's port"
            ),
            mend: format!("ip link set dev {bridge} type bridge stp_state 0 && ip link set dev {bridge} type bridge forward_delay 0"),
            fix: step(HostStep::SetStp { bridge: bridge.clone(), to: Stp::default(), before }.op()),
        });
    }
    let waits = |port: &&PortFacts| port.link.up && port.link.carrier && port.link.forwarding == Some(false);
    all.extend(facts.ports.iter().filter(waits).map(|port| Finding {
        fault: Fault::NotForwarding,
        what: format!("port {} of {bridge} does not forward", port.link.name),
        why: "it waits for its forward delay, or was blocked: nothing passes through it".into(),
        mend: format!("ip link set dev {bridge} type bridge stp_state 0 && ip link set dev {bridge} type bridge forward_delay 0"),
        fix: None,
    }));
    all
}

fn way_back(facts: &BridgeFacts) -> Option<Finding> {
    let (bridge, other) = (&facts.bridge, facts.way_back.as_ref().filter(|_| facts.rp_filter == 1)?);
    let conf = Conf { family: Family::Inet, name: "rp_filter".into(), value: "2".into() };
    Some(Finding {
        fault: Fault::RpFilter,
        what: format!("rp_filter of {bridge} is strict (1), and answers to its network leave by {other}"),
        why: format!("this host drops what comes in by {bridge}, because it would answer by {other}"),
        mend: format!("sysctl -w net/ipv4/conf/{bridge}/rp_filter=2"),
        fix: step(HostStep::SetConf { link: bridge.clone(), conf, before: "1".into() }.op()),
    })
}

fn firewall(facts: &BridgeFacts, rules: &Rules) -> Vec<Finding> {
    let bridge = facts.bridge.as_str();
    match rules {
        Rules::Iptables { family, program, text } => {
            let drops = forward_drop(text, bridge).filter(|_| facts.filtered.contains(family));
            let raw = if facts.filtered.contains(family) { raw_drops(text, bridge, &facts.addrs) } else { Vec::new() };
            let forward = drops.map(|(rule, chain)| {
                let words: Vec<String> = ["-I", chain, "-i", bridge, "-o", bridge, "-j", "ACCEPT"].map(str::to_owned).to_vec();
                let setting = if *family == Family::Inet { "bridge-nf-call-iptables" } else { "bridge-nf-call-ip6tables" };
                Finding {
                    fault: Fault::ForwardDrop,
                    what: format!(
                        "{program} drops what {bridge} forwards ({rule}), as br_netfilter leads it there (net.bridge.{setting}=1)"
                    ),
                    why: format!("guests on {bridge} get ARP answers, and no {family} packet passes between them and the network"),
                    mend: format!("{program} {}", words.join(" ")),
                    fix: Some(Fix::Program(program.clone(), words)),
                }
            });
            forward.into_iter().chain(raw.into_iter().map(|rule| raw_drop(bridge, program, &rule))).collect()
        }
        Rules::Nft { text } => nft_drops(text, bridge, !facts.filtered.is_empty()).into_iter().map(|drop| nft_drop(bridge, drop)).collect(),
    }
}

fn raw_drop(bridge: &str, program: &str, rule: &str) -> Finding {
    Finding {
        fault: Fault::RawDrop,
        what: format!("{program}'s table raw drops packets of {bridge}: {rule}"),
        why: "it comes before all other rules, which therefore cannot let them pass".into(),
        mend: format!("{program} -t raw {}", rule.replacen("-A", "-D", 1)),
        // Somebody wrote it on purpose: whoever did has to take it back.
        fix: None,
    }
}

fn nft_drop(bridge: &str, NftDrop { family, table, chain }: NftDrop) -> Finding {
    // Frames of a bridge are seen between its ports; packets between the bridge and itself.
    let condition = if family == "bridge" { ["meta", "ibrname", bridge] } else { ["meta", "iifname", bridge] };
    let words: Vec<String> =
        ["insert", "rule", &family, &table, &chain].into_iter().chain(condition).chain(["accept"]).map(str::to_owned).collect();
    Finding {
        fault: Fault::ForwardDrop,
        what: format!("nftables drops what {bridge} forwards (policy of chain {chain} of table {family} {table})"),
        why: format!("no packet passes between guests on {bridge} and the network"),
        mend: format!("nft {}", words.join(" ")),
        fix: Some(Fix::Program("nft".into(), words)),
    }
}

fn answers(facts: &BridgeFacts, asked: &Asked) -> Option<Finding> {
    let bridge = &facts.bridge;
    let gateway = asked.gateways.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let finding = |fault, what: String, why: &str, mend: String| Some(Finding { fault, what, why: why.to_owned(), mend, fix: None });
    match (asked.host.is_empty(), asked.guest.is_empty()) {
        _ if asked.gateways.is_empty() => None,
        (false, false) => None,
        (false, true) => finding(
            Fault::ForeignMac,
            format!("gateway {gateway} answers this host and no guest on {bridge}: frames with another MAC address than the NIC's are dropped"),
            "the switch filters foreign MAC addresses (port security; on a virtual switch promiscuous mode, MAC address changes and forged transmits)",
            "let the switch's port take them: VMware: promiscuous mode, MAC address changes, forged transmits: accept; Hyper-V: MAC address spoofing on; \
             OpenStack: allowed address pairs, or port security off; KVM: trustGuestRxFilters; or share the NIC without MAC addresses of its own: \
             pipework --ipvlan"
                .into(),
        ),
        (true, true) => finding(
            Fault::GatewaySilent,
            format!("gateway {gateway} answers neither this host nor a guest through {bridge}"),
            "it is down or has another address, or the way out does not lead to it; nothing can be said of how the switch treats guests",
            format!("look at the gateway and at the cable; the route is: ip route show default dev {bridge}"),
        ),
        (true, false) => finding(
            Fault::HostUnanswered,
            format!("gateway {gateway} answers guests on {bridge} and not this host"),
            "the host's MAC address is there twice, or is filtered",
            format!("compare: ip link show dev {bridge}, and what the switch knows of that address"),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::doctor::DoctorReport;

    fn host(host: &str, bridges: &[(&str, Option<u32>)]) -> HostReport {
        let report = |(bridge, mtu): &(&str, Option<u32>)| DoctorReport {
            schema: 1,
            bridge: bridge.parse().unwrap(),
            mtu: *mtu,
            healthy: true,
            findings: Vec::new(),
            fixed: Vec::new(),
            notes: Vec::new(),
        };
        HostReport { host: host.into(), bridges: bridges.iter().map(report).collect(), problem: None }
    }

    #[test]
    fn mtus_that_differ_between_hosts_are_told_by_bridge_and_what_most_have_is_right() {
        let told = |hosts: &[HostReport]| -> Vec<(String, String)> {
            between(hosts).into_iter().map(|finding| (finding.what, finding.mend)).collect()
        };
        let same = [host("a", &[("br0", Some(1500)), ("br1", Some(9000))]), host("b", &[("br0", Some(1500))]), host("c", &[("br0", None)])];
        assert_eq!(told(&same), []);
        let (what, mend) =
            told(&[host("a", &[("br0", Some(1500))]), host("b", &[("br0", Some(9000))]), host("c", &[("br0", Some(9000))])]).pop().unwrap();
        assert_eq!(what, "the MTU of br0 differs between hosts: 1500 on a; 9000 on b, c");
        assert!(mend.starts_with("on a: ip link set dev NIC mtu 9000"), "{mend}");
        // Among equals the one that passes everywhere.
        let (_, mend) = told(&[host("a", &[("br0", Some(1500))]), host("b", &[("br0", Some(9000))])]).pop().unwrap();
        assert!(mend.starts_with("on b: ip link set dev NIC mtu 1500"), "{mend}");
    }
}
