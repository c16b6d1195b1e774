//! A bridge over the host's NIC: what goes over to it, in an order in which no packet is lost, and back.
//!
//! Going over, the NIC becomes a port while its addresses and routes are still its own: what comes in, comes in by the bridge and
//! is for this host all the same; what goes out, goes out by the NIC itself. Once the bridge sends, it gets the addresses and, behind
//! the old ones, the routes; then the old ones go. All of that is one message to the kernel. Only the filter by the way
//! back (rp_filter) would mind, and is made loose for that time.

use std::net::IpAddr;

use thiserror::Error;

use super::Plan;
use crate::model::facts::{Layer, LinkKind, RouteFacts};
use crate::model::host_bridge::{AddrNow, Below, HostBridge, HostNow, LinkNow, Vxlan, vxlan_name};
use crate::model::op::{Conf, HostStep, Op, Stp, VxlanLink};
use crate::model::types::{Family, IfName, LinkRef, MacAddr};

/// Why a bridge of the host cannot be made, or given back; nothing was done then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UplinkError {
    /// Another kind of link has the bridge's name.
    #[error("{name} is there and is no bridge but {is}")]
    NoBridge {
        /// The name.
        name: IfName,
        /// What it is.
        is: String,
    },
    /// A NIC is not there.
    #[error("uplink {0} is not there")]
    NoUplink(IfName),
    /// No bridge can have it as a port.
    #[error("uplink {nic} cannot be a bridge's port: it is {is}")]
    NoNic {
        /// Its name.
        nic: IfName,
        /// What it is.
        is: String,
    },
    /// It is another's port.
    #[error("uplink {nic} is a port of {master} already")]
    HasMaster {
        /// The NIC.
        nic: IfName,
        /// Whose.
        master: String,
    },
    /// Others share it in a way that a bridge's port does not allow.
    #[error("uplink {nic} is shared by {children}: a NIC is a bridge's port or has these, not both")]
    IsShared {
        /// The NIC.
        nic: IfName,
        /// The links on it.
        children: String,
    },
    /// Another network has the VXLAN link's name.
    #[error("{name} is there and is another link than asked for: {is}")]
    OtherVxlan {
        /// The name.
        name: IfName,
        /// What it is.
        is: String,
    },
    /// This host has not got the address.
    #[error("no interface of this host has {0}")]
    NoLocal(IpAddr),
    /// The way to the peers is too narrow.
    #[error("the way to the peers has MTU {mtu}: nothing is left for a bridge")]
    TooNarrow {
        /// MTU in bytes.
        mtu: u32,
    },
    /// Guests hang on it.
    #[error("{bridge} has ports: {}", .ports.join(", "))]
    HasPorts {
        /// The bridge.
        bridge: IfName,
        /// Its other ports.
        ports: Vec<String>,
    },
}

impl UplinkError {
    /// What to type instead.
    pub fn hint(&self) -> String {
        match self {
            Self::NoBridge { .. } => "choose another name for the bridge".into(),
            Self::NoUplink(_) => "`ip link` lists what there is".into(),
            Self::NoNic { .. } => "name a wired NIC".into(),
            Self::HasMaster { nic, master } => format!("attach to {master} instead, or take it from there: ip link set {nic} nomaster"),
            Self::IsShared { nic, .. } => {
                format!("detach those first, or go on without a bridge: pipework {nic} GUEST ADDR makes a macvlan")
            }
            Self::OtherVxlan { name, .. } => format!("give the bridge another name, or take that away: ip link del {name}"),
            Self::NoLocal(_) => "--local is this host's own address among its peers: `ip addr` lists them".into(),
            Self::TooNarrow { .. } => "give --local an address on another interface".into(),
            Self::HasPorts { .. } => {
                "detach those guests first (`pipework status` lists them), or leave them on it without a way out: --force".into()
            }
        }
    }
}

/// What is to be done, and what of it `host down` has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkPlan {
    /// The steps.
    pub plan: Plan,
    /// Whether the bridge is made.
    pub is_new: bool,
    /// The addresses that go over.
    pub addrs: Vec<AddrNow>,
    /// The routes that go over.
    pub routes: Vec<RouteFacts>,
}

/// Plans a bridge over a NIC.
///
/// # Errors
/// See [`UplinkError`].
pub fn over_nic(bridge: &IfName, nic: &IfName, now: &HostNow) -> Result<UplinkPlan, UplinkError> {
    let uplink = check_nic(bridge, nic, now)?;
    let there = check_bridge(bridge, now)?;
    let mut ops = match there {
        None => vec![HostStep::AddBridge { name: bridge.clone(), mac: mac_of(uplink, now.fresh_mac), mtu: uplink.link.mtu }.op()],
        Some(there) => as_uplink(bridge, there, uplink, now),
    };
    let is_port = now.master.as_deref() == Some(bridge.as_str());
    let (addrs, routes) = (leaving(uplink), uplink.routes.clone());
    let is_quiet = is_port && addrs.is_empty() && routes.is_empty();
    if !is_quiet {
        ops.extend(settings(bridge, uplink, there, now));
        ops.extend(loosened(bridge, uplink, now));
    }
    if !uplink.link.up {
        ops.push(Op::SetUp { link: LinkRef::host(nic) });
    }
    if !is_port {
        ops.push(Op::SetBridge { port: nic.clone(), bridge: Some(bridge.clone()), before: None });
    }
    if !is_quiet {
        if uplink.link.carrier {
            ops.push(HostStep::Ready { link: bridge.clone() }.op());
        }
        // The link-local address stays also where it is, as each link has one.
        let own = uplink.addrs.iter().filter(|addr| is_link_local(addr) && !addrs.contains(addr));
        let put = own.chain(&addrs).filter(|addr| !there.is_some_and(|there| has(there, addr)));
        ops.extend(put.map(|addr| HostStep::PutAddr { link: bridge.clone(), addr: addr.facts.clone() }.op()));
        ops.extend(over(nic, bridge, uplink.link.index, &routes));
        ops.extend(addrs.iter().rev().map(|addr| HostStep::DropAddr { link: nic.clone(), addr: addr.facts.clone() }.op()));
        ops.extend(tightened(bridge, uplink, now));
    }
    if there.is_some_and(|there| !there.link.up) {
        ops.insert(0, Op::SetUp { link: LinkRef::host(bridge) });
    }
    let plan = plan_of(bridge, nic, ops, warnings(uplink));
    Ok(UplinkPlan { plan, is_new: there.is_none(), addrs, routes })
}

fn plan_of(bridge: &IfName, port: &IfName, ops: Vec<Op>, warnings: Vec<String>) -> Plan {
    Plan { warnings, ..Plan::of_host(bridge, port, ops) }
}

fn check_bridge<'a>(bridge: &IfName, now: &'a HostNow) -> Result<Option<&'a LinkNow>, UplinkError> {
    match &now.bridge {
        Some(other) if other.link.kind != LinkKind::Bridge => {
            Err(UplinkError::NoBridge { name: bridge.clone(), is: other.link.kind.name().to_owned() })
        }
        there => Ok(there.as_ref()),
    }
}

fn check_nic<'a>(bridge: &IfName, nic: &IfName, now: &'a HostNow) -> Result<&'a LinkNow, UplinkError> {
    let uplink = now.uplink.as_ref().ok_or_else(|| UplinkError::NoUplink(nic.clone()))?;
    let is_lo = nic.as_str() == "lo";
    if is_lo || nic == bridge || uplink.link.layer != Layer::Ethernet || uplink.link.kind == LinkKind::Bridge {
        let is = if is_lo { "the loopback interface".into() } else { uplink.link.kind.name().to_owned() };
        return Err(UplinkError::NoNic { nic: nic.clone(), is });
    }
    if let Some(master) = now.master.as_ref().filter(|master| *master != bridge.as_str()) {
        return Err(UplinkError::HasMaster { nic: nic.clone(), master: master.clone() });
    }
    // VLANs of a port go on; what takes all of its frames does not (netdev_rx_handler_register, net/core/dev.c).
    let shares = |kind: &str| matches!(kind, "macvlan" | "macvtap" | "ipvlan" | "ipvtap");
    let children: Vec<&str> = uplink.children.iter().filter(|(_, kind)| shares(kind)).map(|(name, _)| name.as_str()).collect();
    if !children.is_empty() {
        return Err(UplinkError::IsShared { nic: nic.clone(), children: children.join(", ") });
    }
    Ok(uplink)
}

fn mac_of(uplink: &LinkNow, fresh: MacAddr) -> MacAddr {
    uplink.link.mac.unwrap_or(fresh)
}

/// A bridge that is there: its ports forward at once, and one without ports takes the NIC's place entirely.
fn as_uplink(bridge: &IfName, there: &LinkNow, uplink: &LinkNow, now: &HostNow) -> Vec<Op> {
    let mut ops = forwarding_at_once(bridge, there);
    let is_empty = now.ports.iter().all(|port| port.index == uplink.link.index);
    let link = LinkRef::host(bridge);
    if let (true, Some(mac)) = (is_empty, uplink.link.mac.filter(|mac| there.link.mac != Some(*mac))) {
        ops.push(Op::SetMac { link: link.clone(), mac, before: there.link.mac });
    }
    if is_empty && there.link.mtu != uplink.link.mtu {
        ops.push(Op::SetMtu { link, mtu: uplink.link.mtu, before: Some(there.link.mtu) });
    }
    ops
}

fn forwarding_at_once(bridge: &IfName, there: &LinkNow) -> Vec<Op> {
    let before = there.stp.unwrap_or_default();
    // With the protocol off the delay is not waited for (br_make_forwarding, net/bridge/br_stp.c).
    let waits = before.on && before != Stp::default();
    waits.then(|| HostStep::SetStp { bridge: bridge.clone(), to: Stp::default(), before }.op()).into_iter().collect()
}

/// All that goes over: not what the kernel makes by itself on each link, nor addresses for outgoing connections only.
fn leaving(link: &LinkNow) -> Vec<AddrNow> {
    link.addrs.iter().filter(|addr| !is_link_local(addr) && !addr.temporary).cloned().collect()
}

fn is_link_local(addr: &AddrNow) -> bool {
    matches!(addr.facts.addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn has(link: &LinkNow, addr: &AddrNow) -> bool {
    link.addrs.iter().any(|own| own.facts.addr == addr.facts.addr)
}

/// Routes from one link to another: all are there twice before the first goes.
fn over(from: &IfName, to: &IfName, index: u32, routes: &[RouteFacts]) -> Vec<Op> {
    let put = |route: &RouteFacts| HostStep::PutRoute { link: to.clone(), route: route.clone(), from: index }.op();
    let drop = |route: &RouteFacts| HostStep::DropRoute { link: from.clone(), route: route.clone(), from: index }.op();
    routes.iter().map(put).chain(routes.iter().rev().map(drop)).collect()
}

/// What the bridge takes over of the NIC's settings: where it has, or as a new link will have, another value.
fn settings(bridge: &IfName, uplink: &LinkNow, there: Option<&LinkNow>, now: &HostNow) -> Vec<Op> {
    let set = |conf: &Conf| {
        let before = value(there.map_or(&now.defaults, |there| &there.conf), conf.family, &conf.name).unwrap_or_default().to_owned();
        (before != conf.value).then(|| HostStep::SetConf { link: bridge.clone(), conf: conf.clone(), before }.op())
    };
    uplink.conf.iter().filter(|conf| conf.name != RP_FILTER).filter_map(set).collect()
}

const RP_FILTER: &str = "rp_filter";
/// By any way (rp_filter, ip-sysctl.rst).
const LOOSE: &str = "2";

fn value<'a>(conf: &'a [Conf], family: Family, name: &str) -> Option<&'a str> {
    conf.iter().find(|conf| conf.family == family && conf.name == name).map(|conf| conf.value.as_str())
}

fn rp_filter(link: &IfName, value: &str, before: &str) -> Op {
    let conf = Conf { family: Family::Inet, name: RP_FILTER.into(), value: value.to_owned() };
    HostStep::SetConf { link: link.clone(), conf, before: before.to_owned() }.op()
}

/// Whether a link would drop what comes in while the way back still leads through another: the larger of both settings counts
/// (rp_filter, ip-sysctl.rst), and 1 is strict.
fn is_strict(link: &LinkNow, now: &HostNow) -> bool {
    let own: u8 = own_filter(link).parse().unwrap_or(0);
    own.max(now.rp_filter_all) == 1
}

fn own_filter(link: &LinkNow) -> &str {
    value(&link.conf, Family::Inet, RP_FILTER).unwrap_or("0")
}

fn loosened(bridge: &IfName, like: &LinkNow, now: &HostNow) -> Option<Op> {
    is_strict(like, now).then(|| rp_filter(bridge, LOOSE, own_filter(like)))
}

fn tightened(bridge: &IfName, like: &LinkNow, now: &HostNow) -> Option<Op> {
    let own = own_filter(like);
    let has = match &now.bridge {
        _ if is_strict(like, now) => LOOSE,
        Some(there) => own_filter(there),
        None => value(&now.defaults, Family::Inet, RP_FILTER).unwrap_or("0"),
    };
    (has != own).then(|| rp_filter(bridge, own, has))
}

fn warnings(uplink: &LinkNow) -> Vec<String> {
    let nic = &uplink.link.name;
    let mut all = Vec::new();
    if !uplink.link.carrier {
        all.push(format!("{nic} has no carrier: nothing can be said of the way out"));
    }
    let vlans: Vec<&str> = uplink.children.iter().filter(|(_, kind)| kind == "vlan").map(|(name, _)| name.as_str()).collect();
    if !vlans.is_empty() {
        all.push(format!("{} stay on {nic}: frames of their VLANs do not reach the bridge", vlans.join(", ")));
    }
    all
}

/// Plans that a NIC gets back what a bridge has of it: the addresses that were recorded or are lent, the routes that were recorded or
/// lead to a gateway. The rest was made on the bridge, and stays there.
///
/// # Errors
/// [`UplinkError::HasPorts`] unless forced.
pub fn back(record: &HostBridge, nic: &IfName, now: &HostNow, force: bool) -> Result<UplinkPlan, UplinkError> {
    let bridge = &record.bridge;
    let Some(there) = check_bridge(bridge, now)? else {
        return Ok(UplinkPlan { plan: plan_of(bridge, nic, Vec::new(), Vec::new()), is_new: false, addrs: Vec::new(), routes: Vec::new() });
    };
    let others = others(now, Some(nic));
    if !others.is_empty() && !force {
        return Err(UplinkError::HasPorts { bridge: bridge.clone(), ports: others });
    }
    let is_recorded = |addr: &AddrNow| addr.lent || record.addresses.contains(&addr.facts.addr);
    let addrs: Vec<AddrNow> = leaving(there).into_iter().filter(is_recorded).collect();
    let is_way = |route: &RouteFacts| route.gateway.is_some() || record.routes.contains(&route.without_link());
    let routes: Vec<RouteFacts> = there.routes.iter().filter(|route| is_way(route)).cloned().collect();
    let mut ops = Vec::new();
    if let Some(uplink) = &now.uplink {
        ops.extend(home(bridge, nic, there, uplink, now, (&addrs, &routes)));
    }
    if record.made {
        ops.push(Op::DelUnusedBridge { name: bridge.clone() });
    }
    let stays: Vec<String> = leaving(there).iter().filter(|addr| !is_recorded(addr)).map(|addr| addr.facts.addr.to_string()).collect();
    let mut warnings = Vec::new();
    for (kept, what) in [(&others, "ports"), (&stays, "addresses that were made on it")] {
        if record.made && !kept.is_empty() {
            warnings.push(format!("{bridge} stays: it has {what}: {}", kept.join(", ")));
        }
    }
    Ok(UplinkPlan { plan: plan_of(bridge, nic, ops, warnings), is_new: false, addrs, routes })
}

/// The steps that bring a NIC's own home. All of it is there before the NIC is no port any more: the kernel waits then until nobody is in
/// the bridge's receive path (synchronize_net in netdev_rx_handler_unregister), and what comes in meanwhile is answered by the NIC.
fn home(bridge: &IfName, nic: &IfName, there: &LinkNow, uplink: &LinkNow, now: &HostNow, moved: (&[AddrNow], &[RouteFacts])) -> Vec<Op> {
    let (addrs, routes) = moved;
    let is_port = now.master.as_deref() == Some(bridge.as_str());
    let mut ops: Vec<Op> = if is_port { loosened(bridge, there, now).into_iter().collect() } else { Vec::new() };
    let missing = addrs.iter().filter(|addr| !has(uplink, addr));
    ops.extend(missing.map(|addr| HostStep::PutAddr { link: nic.clone(), addr: addr.facts.clone() }.op()));
    ops.extend(over(bridge, nic, there.link.index, routes));
    ops.extend(addrs.iter().rev().map(|addr| HostStep::DropAddr { link: bridge.clone(), addr: addr.facts.clone() }.op()));
    if is_port {
        ops.push(Op::SetBridge { port: nic.clone(), bridge: None, before: None });
    }
    ops
}

fn others(now: &HostNow, own: Option<&IfName>) -> Vec<String> {
    now.ports.iter().map(|port| port.name.clone()).filter(|name| own.is_none_or(|own| own.as_str() != name)).collect()
}

/// Plans a bridge over a VXLAN with those peers. Of the peers that it has, only those in `ours` go.
///
/// # Errors
/// See [`UplinkError`].
pub fn over_vxlan(bridge: &IfName, wanted: &Vxlan, ours: &[IpAddr], now: &HostNow) -> Result<UplinkPlan, UplinkError> {
    let there = check_bridge(bridge, now)?;
    let name = vxlan_name(bridge);
    let underlay = now.underlay_mtu.ok_or(UplinkError::NoLocal(wanted.local))?;
    // The smallest MTU that IPv4 knows (RFC 791), and VXLAN's own.
    let mtu = underlay.checked_sub(wanted.overhead()).filter(|mtu| *mtu >= 68).ok_or(UplinkError::TooNarrow { mtu: underlay })?;
    let mut ops = match there {
        None => vec![HostStep::AddBridge { name: bridge.clone(), mac: now.fresh_mac, mtu }.op()],
        Some(there) => forwarding_at_once(bridge, there),
    };
    let mut peers = &[][..];
    match &now.vxlan {
        None => ops.push(
            HostStep::AddVxlan {
                link: VxlanLink { name: name.clone(), bridge: bridge.clone(), id: wanted.id, local: wanted.local, port: wanted.port, mtu },
            }
            .op(),
        ),
        Some(link) => {
            let is_it = (link.id, link.local, link.port) == (Some(wanted.id), Some(wanted.local), Some(wanted.port));
            if !is_it || !link.link.is_ours() {
                let shown = |value: Option<String>| value.unwrap_or_else(|| "?".into());
                let is = format!("id {}, local {}", shown(link.id.map(|id| id.to_string())), shown(link.local.map(|ip| ip.to_string())));
                return Err(UplinkError::OtherVxlan { name, is });
            }
            if there.is_none_or(|there| link.link.master != Some(there.link.index)) {
                ops.push(Op::SetBridge { port: name.clone(), bridge: Some(bridge.clone()), before: None });
            }
            peers = &link.peers;
        }
    }
    ops.extend(with_peers(&name, peers, ours, wanted));
    if there.is_some_and(|there| !there.link.up) {
        ops.push(Op::SetUp { link: LinkRef::host(bridge) });
    }
    let plan = plan_of(bridge, &name, ops, Vec::new());
    Ok(UplinkPlan { plan, is_new: there.is_none(), addrs: Vec::new(), routes: Vec::new() })
}

/// What makes a VXLAN link have those peers that are wanted, this host not among them. Of those that it has, only `ours` go when
/// they are wanted no more.
pub fn with_peers(link: &IfName, has: &[IpAddr], ours: &[IpAddr], wanted: &Vxlan) -> Vec<Op> {
    let mut new: Vec<IpAddr> = wanted.peers.iter().filter(|peer| **peer != wanted.local && !has.contains(peer)).copied().collect();
    new.sort_unstable();
    new.dedup();
    let gone = has.iter().filter(|peer| ours.contains(peer) && !wanted.peers.contains(peer));
    let add = new.iter().map(|peer| HostStep::AddPeer { link: link.clone(), peer: *peer }.op());
    add.chain(gone.map(|peer| HostStep::DelPeer { link: link.clone(), peer: *peer }.op())).collect()
}

/// Plans that a bridge over a VXLAN goes, with the VXLAN link.
///
/// # Errors
/// [`UplinkError::HasPorts`] unless forced.
pub fn vxlan_gone(record: &HostBridge, now: &HostNow, force: bool) -> Result<UplinkPlan, UplinkError> {
    let (bridge, name) = (&record.bridge, vxlan_name(&record.bridge));
    let others = others(now, Some(&name));
    if !others.is_empty() && !force {
        return Err(UplinkError::HasPorts { bridge: bridge.clone(), ports: others });
    }
    let mut ops = Vec::new();
    if now.vxlan.as_ref().is_some_and(|link| link.link.is_ours()) {
        ops.push(Op::DelOwnLink { link: LinkRef::host(&name) });
    }
    let mut warnings = Vec::new();
    if record.made && now.bridge.is_some() {
        ops.push(Op::DelUnusedBridge { name: bridge.clone() });
        if !others.is_empty() {
            warnings.push(format!("{bridge} stays: it has ports: {}", others.join(", ")));
        }
    }
    Ok(UplinkPlan { plan: plan_of(bridge, &name, ops, warnings), is_new: false, addrs: Vec::new(), routes: Vec::new() })
}

/// Plans what of a record can be done without being told what the bridge lies on.
///
/// # Errors
/// See [`UplinkError`].
pub fn taken_down(record: &HostBridge, now: &HostNow, force: bool) -> Result<UplinkPlan, UplinkError> {
    match &record.below {
        Below::Uplink(nic) => back(record, nic, now, force),
        Below::Vxlan(_) => vxlan_gone(record, now, force),
    }
}
