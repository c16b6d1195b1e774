//! Looking at an attachment that is there: at all of it, not only at what making it needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netns::Namespace;
use super::observe::{Sides, addrs, default_routes, look, peer};
use super::system::link_at;
use super::{bridge_vlans, tool};
use crate::model::error::KernelError;
use crate::model::facts::{Facts, GuestId, LinkKind};
use crate::model::op::{OldPort, Op};
use crate::model::request::AttachRequest;
use crate::model::types::{Family, Side};

/// What is known of the attachment before it is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Index of its link in the guest, which may go by another name now.
    pub index: Option<u32>,
    /// The steps that made it.
    pub log: &'a [Op],
}

/// As [`look`], and besides: the link under another name, all addresses and default routes of the guest, the bridge that a host
/// end has come to, and which steps in iproute2's words have lost their effect.
///
/// # Errors
/// As there.
pub fn look_again<'a>(
    request: &AttachRequest,
    namespace: &'a Namespace,
    id: GuestId,
    known: Known<'_>,
) -> Result<(Facts, Sides<'a>), KernelError> {
    let (mut facts, mut sides) = look(request, namespace, id)?;
    if let (None, Some(index)) = (&facts.guest.link, known.index) {
        facts.guest.link = link_at(&mut sides.guest, index)?.filter(|link| link.is_ours() || link.is_marked());
        facts.host.peer = peer(&mut sides.host, facts.guest.link.as_ref())?;
    }
    let names: Vec<(u32, String)> = facts.guest.addrs.iter().filter_map(|a| Some((a.index, a.dev.clone()?))).collect();
    facts.guest.addrs.clear();
    facts.guest.default_routes.clear();
    for (family, any) in [(Family::Inet, IpAddr::V4(Ipv4Addr::UNSPECIFIED)), (Family::Inet6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))] {
        facts.guest.addrs.extend(addrs(&mut sides.guest, family)?);
        facts.guest.default_routes.extend(default_routes(&mut sides.guest, any)?);
    }
    for addr in facts.guest.addrs.iter_mut().filter(|addr| addr.dev.is_none()) {
        addr.dev = names.iter().find(|(index, _)| *index == addr.index).map(|(_, name)| name.clone());
    }
    let elsewhere = |master: &u32| facts.host.link.as_ref().is_none_or(|bridge| bridge.index != *master);
    if let Some(master) = facts.host.peer.as_ref().and_then(|peer| peer.master).filter(elsewhere) {
        facts.host.peer_bridge = old_port(&facts, master, &mut sides)?;
    }
    facts.guest.lost = lost(known.log, &mut sides)?;
    Ok((facts, sides))
}

/// What the host end is on the bridge that it has come to.
fn old_port(facts: &Facts, master: u32, sides: &mut Sides<'_>) -> Result<Option<OldPort>, KernelError> {
    let bridge = link_at(&mut sides.host, master)?.filter(|link| link.kind == LinkKind::Bridge);
    let (Some(bridge), Some(port)) = (bridge, &facts.host.peer) else { return Ok(None) };
    let vlans = bridge_vlans::look(&mut sides.host, &bridge, std::slice::from_ref(port))?;
    let carried = vlans.as_ref().and_then(|vlans| vlans.ports.iter().find(|p| p.index == port.index)).map(|p| p.vlans.clone());
    Ok(bridge.name.parse().ok().map(|bridge| OldPort {
        bridge,
        vlans: carried.unwrap_or_default(),
        default_pvid: vlans.and_then(|vlans| vlans.default_pvid),
    }))
}

/// The steps of the log whose effect is gone.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn lost(log: &[Op], sides: &mut Sides<'_>) -> Result<Vec<Op>, KernelError> {
    let mut lost = Vec::new();
    for op in log {
        let Op::Tool { step } = op else { continue };
        let there = match step.side {
            Side::Host => tool::is_there(step, &mut sides.host, &sides.home)?,
            Side::Guest => tool::is_there(step, &mut sides.guest, sides.namespace)?,
        };
        if !there {
            lost.push(op.clone());
        }
    }
    Ok(lost)
}
