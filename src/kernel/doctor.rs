//! What of a bridge is looked at to find out what is wrong with it, and a guest for a moment that asks as guests do.

use std::net::IpAddr;

use super::conflict::{Ends, Enough, Prober};
use super::host_bridge::stp;
use super::netns::Namespace;
use super::observe::{self, addrs, default_routes};
use super::system::{System, find_link, link_answer, link_at, ports};
use super::wait::Interruptions;
use super::wire::{Netlink, RTM_GETROUTE, RTM_NEWROUTE, attributes, put_attribute};
use crate::model::conflict::Timing;
use crate::model::doctor::{BridgeFacts, PortFacts};
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, LinkKind, short_name};
use crate::model::op::{NewLink, Op};
use crate::model::types::{Family, IfAddr, IfName, LinkRef};
use crate::plan::execute::Kernel;

// linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// `struct rtmsg`
const RTMSG: usize = 12;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Where br_netfilter has its settings, per network namespace.
const BRIDGE_FILTER: [(Family, &str); 2] =
    [(Family::Inet, "/proc/sys/net/bridge/bridge-nf-call-iptables"), (Family::Inet6, "/proc/sys/net/bridge/bridge-nf-call-ip6tables")];
/// How the names of the ends begin that engines make of their veth pairs.
const VETH: &str = "veth";

/// Looks at a bridge. What other programs have to say of it is still missing then. `recorded`: the NIC that `host up` put there.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn look(bridge: &IfName, recorded: Option<&IfName>) -> Result<(BridgeFacts, Vec<IpAddr>), KernelError> {
    let mut host = Netlink::open()?;
    let link = find_link(&mut host, bridge.as_str())?.filter(|link| link.kind == LinkKind::Bridge);
    let mut given = addrs(&mut host, Family::Inet)?;
    given.extend(addrs(&mut host, Family::Inet6)?);
    let of = |index: u32| -> Vec<IfAddr> {
        let own = given.iter().filter(|addr| addr.index == index && !is_link_local(addr.addr.ip()));
        own.map(|addr| addr.addr).collect()
    };
    let mut facts = BridgeFacts {
        bridge: bridge.clone(),
        stp: None,
        ports: Vec::new(),
        recorded: recorded.cloned(),
        way_out: None,
        addrs: link.as_ref().map(|link| of(link.index)).unwrap_or_default(),
        way_back: None,
        rp_filter: rp_filter(bridge.as_str()).max(rp_filter("all")),
        filtered: BRIDGE_FILTER.iter().filter(|(_, path)| reads_one(path)).map(|(family, _)| *family).collect(),
        firewall: Vec::new(),
        unknown: Vec::new(),
        asked: None,
        link,
    };
    let mut defaults = default_routes(&mut host, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))?;
    defaults.extend(default_routes(&mut host, IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED))?);
    let Some(link) = facts.link.clone() else {
        facts.way_out = defaults.first().and_then(|route| route.index).map(|index| name_of(&mut host, index)).transpose()?.flatten();
        return Ok((facts, Vec::new()));
    };
    facts.stp = stp(&link_answer(&mut host, link.index)?);
    for port in ports(&mut host, link.index)? {
        let leads_out = leads_out(&port) || recorded.is_some_and(|nic| nic.as_str() == port.name);
        facts.ports.push(PortFacts { addrs: of(port.index), leads_out, link: port });
    }
    let outside: Vec<u32> = facts.ports.iter().filter(|port| port.leads_out).map(|port| port.link.index).collect();
    let through = |index: u32| index == link.index || outside.contains(&index);
    let gateways: Vec<IpAddr> =
        defaults.iter().filter(|route| route.index.is_some_and(through)).filter_map(|route| route.gateway).collect();
    let other = defaults.iter().filter_map(|route| route.index).find(|index| *index != link.index);
    facts.way_out = other.map(|index| name_of(&mut host, index)).transpose()?.flatten();
    let networks: Vec<IfAddr> =
        facts.addrs.iter().chain(facts.ports.iter().filter(|port| port.leads_out).flat_map(|port| &port.addrs)).copied().collect();
    facts.way_back = way_back(&mut host, link.index, &networks)?;
    Ok((facts, gateways))
}

/// The bridges that guests of ours, or `host up`, are likely to use: those that bear our mark, or have ports that do.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn bridges() -> Result<Vec<IfName>, KernelError> {
    let links = observe::links_of_host()?;
    let is_used = |bridge: &&LinkFacts| bridge.is_ours() || links.iter().any(|port| port.master == Some(bridge.index) && port.is_ours());
    Ok(links.iter().filter(|link| link.kind == LinkKind::Bridge).filter(is_used).filter_map(|link| link.name.parse().ok()).collect())
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Guests and virtual machines hang on veth pairs and taps: those that we made bear our mark, engines' a name of their own.
fn leads_out(port: &LinkFacts) -> bool {
    match &port.kind {
        LinkKind::Veth => !port.is_ours() && !port.name.starts_with(VETH),
        LinkKind::Other(kind) => kind != "tun",
        _ => true,
    }
}

fn reads_one(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
}

fn rp_filter(link: &str) -> u8 {
    std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{link}/rp_filter"))
        .ok()
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

fn name_of(host: &mut Netlink, index: u32) -> Result<Option<String>, KernelError> {
    Ok(link_at(host, index)?.map(|link| link.name))
}

/// The link that a packet to a neighbour on one of the bridge's IPv4 networks leaves by, where that is not the bridge.
fn way_back(host: &mut Netlink, bridge: u32, networks: &[IfAddr]) -> Result<Option<String>, KernelError> {
    for network in networks.iter().filter(|network| network.family() == Family::Inet && network.prefix() < 31) {
        let IpAddr::V4(own) = network.ip() else { continue };
        let neighbour = IpAddr::V4((u32::from(own) ^ 1).into());
        if let Some(index) = leaves_by(host, neighbour)?.filter(|index| *index != bridge) {
            return name_of(host, index);
        }
    }
    Ok(None)
}

/// `ip route get ADDR`: the index of the link; none when there is no way.
fn leaves_by(host: &mut Netlink, to: IpAddr) -> Result<Option<u32>, KernelError> {
    let (family, bytes): (u8, Vec<u8>) = match to {
        IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
    };
    let mut message = vec![0; RTMSG];
    message.splice(0..2, [family, Family::of(to).host_prefix()]);
    put_attribute(&mut message, RTA_DST, &bytes);
    let answers = match host.request_raw(RTM_GETROUTE, 0, &message) {
        Err(error) if error.errno().is_some() => return Ok(None),
        answers => answers?,
    };
    let route = answers.iter().find(|answer| answer.kind == RTM_NEWROUTE);
    let oif = route.and_then(|route| attributes(route.raw.get(RTMSG..)?).find(|(kind, _)| *kind == RTA_OIF));
    Ok(oif.and_then(|(_, value)| value.try_into().ok()).map(u32::from_ne_bytes))
}

/// Which of some neighbours answer a guest on the bridge: one with a MAC address that the switch has never seen, in a namespace that is
/// gone afterwards. It has no IP address, and so nobody remembers any of it.
///
/// # Errors
/// When the kernel refuses.
pub fn answering_guest(bridge: &IfName, neighbours: &[IpAddr]) -> Result<Vec<IpAddr>, KernelError> {
    let guest = Namespace::fresh()?;
    let mut sides = observe::open(&guest)?;
    let port = short_name(&format!("probe{}", observe::random_id()));
    let eth: IfName = IfName::made("eth0");
    let at = LinkRef::guest(&eth);
    let make = Op::AddVeth {
        host: port.clone(),
        host_mtu: None,
        host_mac: None,
        bridge: Some(bridge.clone()),
        queues: None,
        guest: NewLink { at: at.clone(), mtu: None, mac: Some(observe::fresh_mac()) },
    };
    System::new(&mut sides).apply(&make)?;
    let up = System::new(&mut sides).apply(&Op::SetUp { link: at });
    let answered = up.and_then(|()| {
        let mut ends = Ends { host: &mut sides.host, guest: &mut sides.guest, home: &sides.home, namespace: &guest };
        let mut until = Interruptions::default();
        let mut prober = Prober::open(&mut ends, &eth, Some(&port), neighbours, &mut until)?;
        prober.ask(&Timing::QUICK, Enough::All, &mut until)
    });
    let gone = System::new(&mut sides).apply(&Op::DelOwnLink { link: LinkRef::host(&port) });
    let found = answered?;
    gone?;
    Ok(found.into_iter().map(|one| one.addr).collect())
}
