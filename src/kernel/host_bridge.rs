//! The host's own bridge: how it, its NIC and its VXLAN look, and the steps that change them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::conflict::{Ends, Enough, Prober};
use super::decode;
use super::encode::host as encode;
use super::netns::{Namespace, file_error};
use super::observe::{addr_answers, fresh_mac, links, nic_state};
use super::system::{find_link, link_answer, link_at, ports};
use super::wait::Interruptions;
use super::wire::{Answer, Netlink, RTM_GETNEIGH, RTM_NEWNEIGH, Raw, attributes};
use crate::model::conflict::Timing;
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, LinkKind};
use crate::model::host_bridge::{AddrNow, HostNow, LinkNow, VxlanNow};
use crate::model::op::{Conf, HostStep, Stp};
use crate::model::types::{Family, IfName};

/// What a bridge takes over from its NIC: how it answers ARP, filters by the way back, and hears routers.
const CONF: [(Family, &[&str]); 2] = [
    (
        Family::Inet,
        &[
            "rp_filter",
            "forwarding",
            "arp_ignore",
            "arp_announce",
            "arp_filter",
            "arp_notify",
            "accept_local",
            "route_localnet",
            "proxy_arp",
            "promote_secondaries",
            "accept_redirects",
            "send_redirects",
            "accept_source_route",
            "src_valid_mark",
            "log_martians",
        ],
    ),
    (
        Family::Inet6,
        // Forwarding first: the kernel sets others by it.
        &[
            "forwarding",
            "disable_ipv6",
            "addr_gen_mode",
            "accept_ra",
            "accept_ra_defrtr",
            "accept_ra_pinfo",
            "autoconf",
            "use_tempaddr",
            "accept_redirects",
        ],
    ),
];

/// For so long a bridge may take to work once it has a port: the kernel does it at once (linkwatch, net/core/link_watch.c).
const READY_DEADLINE: Duration = Duration::from_secs(5);

// linux/if_link.h, linux/if.h
const IFLA_OPERSTATE: u16 = 16;
const IF_OPER_UP: u8 = 6;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
// linux/if_addr.h
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_F_TEMPORARY: u32 = 0x01;
const FOREVER: u32 = u32::MAX;
/// `struct ifaddrmsg`
const IFADDRMSG: usize = 8;
// linux/neighbour.h
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const AF_BRIDGE: u8 = 7;
/// `struct ndmsg`
const NDMSG: usize = 12;

/// Looks at a bridge, its NIC and its VXLAN link.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn look(bridge: &IfName, uplink: Option<&IfName>, vxlan: Option<&IfName>, local: Option<IpAddr>) -> Result<HostNow, KernelError> {
    let mut host = Netlink::open()?;
    let bridge = link_now(&mut host, bridge)?;
    let uplink = uplink.map(|name| link_now(&mut host, name)).transpose()?.flatten();
    let master = match uplink.as_ref().and_then(|nic| nic.link.master) {
        Some(index) => link_at(&mut host, index)?.map(|link| link.name),
        None => None,
    };
    let ports = match bridge.as_ref().filter(|bridge| bridge.link.kind == LinkKind::Bridge) {
        Some(bridge) => ports(&mut host, bridge.link.index)?,
        None => Vec::new(),
    };
    let vxlan = vxlan.map(|name| vxlan_now(&mut host, name)).transpose()?.flatten();
    let underlay_mtu = local.map(|local| mtu_at(&mut host, local)).transpose()?.flatten();
    let rp_filter_all = read_conf("all", Family::Inet, "rp_filter").and_then(|value| value.parse().ok()).unwrap_or(0);
    Ok(HostNow { bridge, uplink, master, ports, vxlan, underlay_mtu, rp_filter_all, defaults: conf("default"), fresh_mac: fresh_mac() })
}

/// The VXLAN link of a name; `None` when there is none, or it is another kind of link.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn vxlan(name: &IfName) -> Result<Option<VxlanNow>, KernelError> {
    vxlan_now(&mut Netlink::open()?, name)
}

fn link_now(host: &mut Netlink, name: &IfName) -> Result<Option<LinkNow>, KernelError> {
    let Some(link) = find_link(host, name.as_str())? else { return Ok(None) };
    let routes = nic_state(host, &link)?.routes;
    let mut addrs = Vec::new();
    for family in [Family::Inet, Family::Inet6] {
        let answers = addr_answers(host, family)?;
        let seen = answers.iter().filter_map(|answer| Some((decode::addr(answer)?, answer)));
        addrs.extend(seen.filter(|(facts, _)| facts.index == link.index).map(|(facts, answer)| {
            let temporary = family == Family::Inet6 && flags(answer) & IFA_F_TEMPORARY != 0;
            AddrNow { facts, lent: is_lent(answer), temporary }
        }));
    }
    let all = links(host)?;
    let lies_on = |other: &&LinkFacts| other.link == Some(link.index) && other.index != link.index && other.kind != LinkKind::Veth;
    let children = all.iter().filter(lies_on).map(|other| (other.name.clone(), other.kind.name().to_owned())).collect();
    let stp = if link.kind == LinkKind::Bridge { stp(&link_answer(host, link.index)?) } else { None };
    Ok(Some(LinkNow { conf: conf(&link.name), link, addrs, routes, children, stp }))
}

fn attribute(answer: &Answer, wanted: u16) -> Option<&[u8]> {
    attributes(answer.raw.get(IFADDRMSG..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn flags(answer: &Answer) -> u32 {
    attribute(answer, IFA_FLAGS).and_then(|value| word(value, 0)).unwrap_or(0)
}

/// Whether it ends (struct ifa_cacheinfo: preferred, valid, ...).
fn is_lent(answer: &Answer) -> bool {
    attribute(answer, IFA_CACHEINFO).and_then(|value| word(value, 4)).is_some_and(|valid| valid != FOREVER)
}

fn conf(link: &str) -> Vec<Conf> {
    let one = |family: Family, name: &&str| Some(Conf { family, name: (*name).to_owned(), value: read_conf(link, family, name)? });
    CONF.iter().flat_map(|(family, names)| names.iter().filter_map(move |name| one(*family, name))).collect()
}

fn conf_path(conf: &Conf, link: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(conf.path(link))
}

fn read_conf(link: &str, family: Family, name: &str) -> Option<String> {
    let path = conf_path(&Conf { family, name: name.to_owned(), value: String::new() }, link);
    std::fs::read_to_string(path).ok().map(|value| value.trim().to_owned())
}

/// Of the answer about a bridge: whether its ports wait.
pub(super) fn stp(answers: &[Answer]) -> Option<Stp> {
    let data = answers.iter().find_map(|answer| decode::info_of(answer, "bridge"))?;
    let value = |wanted: u16| attributes(data).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| word(value, 0));
    Some(Stp { on: value(IFLA_BR_STP_STATE)? != 0, forward_delay: value(IFLA_BR_FORWARD_DELAY)? })
}

fn vxlan_now(host: &mut Netlink, name: &IfName) -> Result<Option<VxlanNow>, KernelError> {
    let Some(link) = find_link(host, name.as_str())? else { return Ok(None) };
    let answers = link_answer(host, link.index)?;
    let Some(data) = answers.iter().find_map(|answer| decode::info_of(answer, "vxlan")) else { return Ok(None) };
    let value = |wanted: u16| attributes(data).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    Ok(Some(VxlanNow {
        id: value(IFLA_VXLAN_ID).and_then(|value| word(value, 0)),
        local: value(IFLA_VXLAN_LOCAL).or_else(|| value(IFLA_VXLAN_LOCAL6)).and_then(ip),
        port: value(IFLA_VXLAN_PORT).and_then(|value| value.try_into().ok()).map(u16::from_be_bytes),
        peers: peers(host, link.index)?,
        link,
    }))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
        _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
    }
}

/// `bridge fdb show dev NAME`: where frames go that no place is known for.
fn peers(host: &mut Netlink, index: u32) -> Result<Vec<IpAddr>, KernelError> {
    let mut message = vec![AF_BRIDGE, 0, 0, 0];
    message.extend(index.to_ne_bytes());
    message.extend([0; 4]);
    let answers = host.dump_raw(RTM_GETNEIGH, &message)?;
    let of_link = |answer: &&Answer| answer.kind == RTM_NEWNEIGH && word(&answer.raw, 4) == Some(index);
    let peer = |answer: &Answer| {
        let value = |wanted: u16| attributes(answer.raw.get(NDMSG..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        value(NDA_LLADDR).filter(|mac| *mac == [0; 6]).and(value(NDA_DST)).and_then(ip)
    };
    let mut all: Vec<IpAddr> = answers.iter().filter(of_link).filter_map(peer).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// MTU of the link that has an address.
fn mtu_at(host: &mut Netlink, local: IpAddr) -> Result<Option<u32>, KernelError> {
    let answers = addr_answers(host, Family::of(local))?;
    let index = answers.iter().filter_map(decode::addr).find(|addr| addr.addr.ip() == local).map(|addr| addr.index);
    Ok(index.map(|index| link_at(host, index)).transpose()?.flatten().map(|link| link.mtu))
}

/// The one message of a step that needs no more than that. `index` tells that of a link.
pub(super) fn message(step: &HostStep, index: &mut dyn FnMut(&IfName) -> Option<u32>) -> Option<Raw> {
    Some(match step {
        HostStep::AddBridge { name, mac, mtu } => encode::add_bridge(name, *mac, *mtu),
        HostStep::PutAddr { link, addr } => encode::carried_addr(&addr.raw, index(link)?, link, true),
        HostStep::DropAddr { link, addr } => encode::carried_addr(&addr.raw, index(link)?, link, false),
        HostStep::PutRoute { link, route, from } => encode::carried_route(&route.raw, *from, index(link)?, true),
        HostStep::DropRoute { link, route, from } => encode::carried_route(&route.raw, *from, index(link)?, false),
        HostStep::AddVxlan { link } => encode::add_vxlan(link, index(&link.bridge)?),
        HostStep::AddPeer { link, peer } => encode::peer(index(link)?, *peer, true),
        HostStep::DelPeer { link, peer } => encode::peer(index(link)?, *peer, false),
        HostStep::Ready { .. } | HostStep::SetConf { .. } | HostStep::SetStp { .. } => return None,
    })
}

/// Has a bridge speak the spanning tree protocol or not.
pub(super) fn set_stp(host: &mut Netlink, index: u32, to: Stp) -> Result<(), KernelError> {
    encode::set_stp(index, to).into_iter().try_for_each(|Raw { kind, flags, payload }| host.request_raw(kind, flags, &payload).map(drop))
}

/// Sets a setting of a link of the calling thread's namespace.
pub(super) fn set_conf(link: &IfName, conf: &Conf) -> Result<(), KernelError> {
    let path = conf_path(conf, link.as_str());
    std::fs::write(&path, &conf.value).map_err(|error| file_error(&path, &error))
}

/// Waits until a bridge sends what it is given.
pub(super) fn ready(host: &mut Netlink, index: u32, name: &IfName) -> Result<(), KernelError> {
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        let answers = link_answer(host, index)?;
        let is_up = |answer: &Answer| decode::attribute_of_link(answer, IFLA_OPERSTATE).is_some_and(|value| value == [IF_OPER_UP]);
        if answers.iter().any(is_up) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(KernelError::Unasked(format!("{name} does not send after {} s", READY_DEADLINE.as_secs())));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Which of some neighbours answer on a link of the calling thread's namespace, asked without an address of ours, so that
/// nobody remembers it. Nobody answers on a link without carrier.
///
/// # Errors
/// When the link is gone, or the kernel refuses.
pub fn answering(link: &IfName, neighbours: &[IpAddr]) -> Result<Vec<IpAddr>, KernelError> {
    let home = Namespace::current()?;
    let (mut host, mut own) = (Netlink::open()?, Netlink::open()?);
    let there = find_link(&mut host, link.as_str())?.ok_or_else(|| KernelError::NoLink(link.to_string()))?;
    if !there.carrier || neighbours.is_empty() {
        return Ok(Vec::new());
    }
    let mut ends = Ends { host: &mut host, guest: &mut own, home: &home, namespace: &home };
    let mut until = Interruptions::default();
    let mut prober = Prober::open(&mut ends, link, None, neighbours, &mut until)?;
    let found = prober.ask(&Timing::QUICK, Enough::All, &mut until)?;
    Ok(found.into_iter().map(|one| one.addr).collect())
}
