//! A bridge over a VXLAN among hosts that share no Ethernet: unicast only, to peers that are told.

use std::net::IpAddr;

use super::uplink::{UplinkError, UplinkPlan, check_bridge, forwarding_at_once, others, plan_of};
use crate::model::host_bridge::{HostBridge, HostNow, Vxlan, vxlan_name};
use crate::model::op::{HostStep, Op, VxlanLink};
use crate::model::types::{IfName, LinkRef};

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
pub(super) fn vxlan_gone(record: &HostBridge, now: &HostNow, force: bool) -> Result<UplinkPlan, UplinkError> {
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
