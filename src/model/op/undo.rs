//! What takes a step back, and which errors mean that there is nothing to do.

use nix::errno::Errno;

use super::{Moved, NicBefore, OldPort, Op};
use crate::model::settings::{Offload, Sysctl};
use crate::model::types::{IfName, LinkRef, Side};
use crate::model::vlan::PortVlan;

impl Op {
    /// What takes this step back, in order. Empty when there is nothing to take back.
    pub fn undo(&self) -> Vec<Self> {
        match self {
            Self::AddBridge { name, .. } => vec![Self::DelUnusedBridge { name: name.clone() }],
            Self::AddOvsBridge { name } => vec![Self::DelUnusedOvsBridge { name: name.clone() }],
            Self::AddOvsPort { port } => vec![Self::DelOvsPort { port: port.clone() }],
            Self::AddVeth { host, .. } => vec![Self::DelOwnLink { link: LinkRef::host(host) }],
            Self::AddPair { pair } => vec![pair.undo()],
            Self::At { end, guest, step } => step.undo().into_iter().map(|back| back.at(*end, guest)).collect(),
            Self::AddVlan { name, .. } => vec![Self::DelUnusedVlan { name: name.clone() }],
            Self::SetVlanFiltering { bridge, on, ports } => vec![Self::SetVlanFiltering { bridge: bridge.clone(), on: !on, ports: *ports }],
            Self::AddPortVlan { port, vlan } => vec![Self::DelPortVlan { port: port.clone(), vlan: *vlan }],
            Self::DelPortVlan { port, vlan } => vec![Self::AddPortVlan { port: port.clone(), vlan: *vlan }],
            Self::AddShared { link, .. } | Self::AddIpoib { link, .. } | Self::AddDummy { link } => {
                vec![Self::DelOwnLink { link: link.at.clone() }]
            }
            Self::AddIfb { name } => vec![Self::DelOwnLink { link: LinkRef::guest(name) }],
            Self::MoveLink { from, to, before } => undo_move(from, to, before.as_ref()),
            Self::MovePhy { .. } => self.undo_phy_move(),
            Self::RenameLink { link, name } => {
                vec![Self::RenameLink { link: LinkRef { side: link.side, name: name.clone() }, name: link.name.clone() }]
            }
            Self::AddAltName { link, name } => vec![Self::DelAltName { link: link.clone(), name: name.clone() }],
            Self::SetMac { link, before, .. } => {
                before.iter().map(|mac| Self::SetMac { link: link.clone(), mac: *mac, before: None }).collect()
            }
            Self::SetMtu { link, before, .. } => {
                before.iter().map(|mtu| Self::SetMtu { link: link.clone(), mtu: *mtu, before: None }).collect()
            }
            Self::SetBridge { port, bridge, before } => undo_bridge(port, bridge.as_ref(), before.as_ref()),
            Self::SetOvsVlans { port, vlans, before } => {
                vec![Self::SetOvsVlans { port: port.clone(), vlans: before.clone(), before: vlans.clone() }]
            }
            Self::TakeBack { steps } => vec![Self::Again { steps: steps.clone() }],
            Self::Again { steps } => vec![Self::TakeBack { steps: steps.clone() }],
            Self::SetRoute { route, before } => vec![Self::SetRoute { route: before.clone(), before: route.clone() }],
            Self::SetQueueLen { link, before, .. } => {
                before.iter().map(|packets| Self::SetQueueLen { link: link.clone(), packets: *packets, before: None }).collect()
            }
            Self::SetOffload { link, before, .. } => {
                let back = |offload: &Offload| Self::SetOffload { link: link.clone(), offload: offload.clone(), before: Vec::new() };
                before.iter().map(back).collect()
            }
            Self::SetSysctl { name, sysctl, before } => {
                let back = |value: &String| Sysctl { value: value.clone(), ..sysctl.clone() };
                before.iter().map(|value| Self::SetSysctl { name: name.clone(), sysctl: back(value), before: None }).collect()
            }
            Self::Tool { step } if step.is_undo() && !step.back.is_empty() => {
                vec![Self::Again { steps: vec![Self::Tool { step: step.reversed() }] }]
            }
            Self::Tool { step } => step.undo().into_iter().map(|step| Self::Tool { step }).collect(),
            Self::SetUp { link } => vec![Self::SetDown { link: link.clone() }],
            Self::AddAddr { link, addr } | Self::LeaseAddr { link, addr, .. } => vec![Self::DelAddr { link: link.clone(), addr: *addr }],
            // It may turn out never to have been done: what is there still is no error then.
            Self::DelAddr { link, addr } => vec![Self::Again { steps: vec![Self::AddAddr { link: link.clone(), addr: *addr }] }],
            Self::AddRoute { route } => vec![Self::DelNewRoute { route: route.clone() }],
            Self::DelNewRoute { route } => vec![Self::Again { steps: vec![Self::AddRoute { route: route.clone() }] }],
            Self::RestoreRoute { side, route, moved: None } => vec![Self::DelRoute { side: *side, route: route.clone() }],
            Self::DelRoute { side, route } => vec![Self::RestoreRoute { side: *side, route: route.clone(), moved: None }],
            Self::AddShim { shim } => vec![Self::DelUnusedShim { name: shim.name.clone(), mac: shim.mac }],
            Self::AddNeigh { neigh } => vec![Self::DelNeigh { neigh: neigh.clone() }],
            Self::DelNeigh { neigh } => vec![Self::AddNeigh { neigh: neigh.clone() }],
            Self::AddShimRoute { route } => vec![Self::DelShimRoute { route: route.clone() }],
            Self::DelShimRoute { route } => vec![Self::AddShimRoute { route: route.clone() }],
            Self::Host { step } => step.undo(),
            // A sysctl of a link that goes with the link, questions, and the steps that only undoing has.
            Self::EnableIpv6 { .. }
            | Self::Probe { .. }
            | Self::Settle { .. }
            | Self::DelUnusedShim { .. }
            | Self::DelUnusedVlan { .. }
            | Self::AcceptRouter { .. }
            | Self::DelUnusedBridge { .. }
            | Self::DelUnusedOvsBridge { .. }
            | Self::DelOvsPort { .. }
            | Self::DelOwnLink { .. }
            | Self::DelLink { .. }
            | Self::DelAltName { .. }
            | Self::SetMaster { .. }
            | Self::SetDown { .. }
            | Self::RestoreAddr { .. }
            | Self::RestoreRoute { moved: Some(_), .. } => Vec::new(),
        }
    }

    /// What an [`Op::TakeBack`] does. With a link that goes, all that was done to it goes.
    pub fn parts(&self) -> Vec<Self> {
        let Self::TakeBack { steps } = self else { return Vec::new() };
        match steps.first().filter(|first| first.newborn().is_some()) {
            Some(maker) => maker.undo(),
            None => steps.iter().rev().flat_map(Self::undo).collect(),
        }
    }

    /// The phy with all its interfaces back, then what the move took away from each.
    fn undo_phy_move(&self) -> Vec<Self> {
        let Self::MovePhy { phy, wdev, from, to, before, others } = self else { return Vec::new() };
        let mut ops =
            vec![Self::MovePhy { phy: phy.clone(), wdev: *wdev, from: to.clone(), to: from.clone(), before: None, others: others.clone() }];
        ops.extend(before.iter().flat_map(|before| put_back(from, before)));
        ops.extend(others.iter().filter(|_| before.is_some()).flat_map(|m| put_back(&LinkRef::host(&m.name), &m.before)));
        ops
    }

    /// Whether this step is about the link that `failed` was to bring to its place: another of that name may be there.
    pub fn hangs_on(&self, failed: &Self) -> bool {
        let link = match self {
            Self::RestoreRoute { moved: Some(moved), .. } => &moved.link,
            Self::SetMaster { link, .. }
            | Self::RestoreAddr { link, .. }
            | Self::SetUp { link }
            | Self::SetMac { link, .. }
            | Self::SetMtu { link, .. }
            | Self::SetQueueLen { link, .. }
            | Self::SetOffload { link, .. } => link,
            _ => return false,
        };
        match failed {
            Self::MoveLink { to, .. } => to == link,
            Self::MovePhy { to, others, .. } => to == link || others.iter().any(|other| LinkRef::host(&other.name) == *link),
            Self::RenameLink { link: old, name } => old.side == link.side && *name == link.name,
            _ => false,
        }
    }

    /// Whether the error means that what the step is for is already so.
    pub fn tolerates(&self, errno: Errno) -> bool {
        match self {
            // Somebody else made the bridge, or the same on-link route, in the meantime. Whether a bridge that is to filter
            // VLANs does so then has to be looked at.
            Self::AddBridge { vlan_filtering, .. } => errno == Errno::EEXIST && !vlan_filtering,
            Self::AddOvsBridge { .. } | Self::RestoreAddr { .. } | Self::RestoreRoute { .. } => errno == Errno::EEXIST,
            Self::AddRoute { route } => route.via.is_none() && errno == Errno::EEXIST,
            Self::DelNeigh { .. } => matches!(errno, Errno::ENOENT | Errno::ENODEV),
            // A rule, a route or a qdisc that is gone, with its link or by somebody's hand.
            Self::Tool { step } => step.is_undo() && matches!(errno, Errno::ESRCH | Errno::ENODEV | Errno::ENOENT),
            Self::DelRoute { .. } | Self::DelNewRoute { .. } | Self::DelShimRoute { .. } => {
                matches!(errno, Errno::ESRCH | Errno::ENODEV | Errno::ENOENT)
            }
            Self::DelOwnLink { .. }
            | Self::DelLink { .. }
            | Self::DelUnusedBridge { .. }
            | Self::DelUnusedShim { .. }
            | Self::SetDown { .. } => errno == Errno::ENODEV,
            Self::DelPortVlan { .. } | Self::SetVlanFiltering { on: false, .. } | Self::DelUnusedVlan { .. } => errno == Errno::ENODEV,
            // A link of the host's that was to make room has gone by itself, or is deleted for good: the name is free.
            Self::RenameLink { link, .. } => link.side == Side::Host && errno == Errno::ENODEV,
            Self::DelAddr { .. } => matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV),
            // Alternative names are younger (Linux 5.5) than the rest: nothing but knowing the NIC again hangs on them.
            Self::AddAltName { .. } => matches!(errno, Errno::EOPNOTSUPP | Errno::EEXIST | Errno::EINVAL),
            Self::DelAltName { .. } => true,
            Self::At { step, .. } => step.tolerates(errno),
            Self::Host { step } => step.tolerates(errno),
            _ => false,
        }
    }
}

/// Back to the bridge that it came from, with what it carried there. A new port has the bridge's own VLAN.
fn undo_bridge(port: &IfName, bridge: Option<&IfName>, before: Option<&OldPort>) -> Vec<Op> {
    let now = bridge.map(|bridge| OldPort { bridge: bridge.clone(), vlans: Vec::new(), default_pvid: None });
    let mut ops = vec![Op::SetBridge { port: port.clone(), bridge: before.map(|old| old.bridge.clone()), before: now }];
    let Some(old) = before else { return ops };
    let default = old.default_pvid.map(|id| PortVlan { first: id, last: id, pvid: true, untagged: true });
    let lost = old.vlans.iter().filter(|vlan| Some(**vlan) != default);
    ops.extend(lost.map(|vlan| Op::AddPortVlan { port: port.clone(), vlan: *vlan }));
    let carried = |id: u16| old.vlans.iter().any(|vlan| (vlan.first..=vlan.last).contains(&id));
    let unwanted = default.filter(|default| !carried(default.first));
    ops.extend(unwanted.map(|vlan| Op::DelPortVlan { port: port.clone(), vlan }));
    ops
}

/// Back to the host under its name; then what the move took away.
fn undo_move(from: &LinkRef, to: &LinkRef, before: Option<&NicBefore>) -> Vec<Op> {
    let mut ops = vec![Op::MoveLink { from: to.clone(), to: from.clone(), before: None }];
    ops.extend(before.iter().flat_map(|before| put_back(from, before)));
    ops
}

/// What a NIC had before it was moved away, in the order that the kernel wants.
pub fn put_back(nic: &LinkRef, before: &NicBefore) -> Vec<Op> {
    let link = || nic.clone();
    let mut ops: Vec<Op> = before.master.map(|master| Op::SetMaster { link: link(), master }).into_iter().collect();
    let restored = before.state.addrs.iter().filter(|a| !a.automatic);
    ops.extend(restored.map(|addr| Op::RestoreAddr { link: link(), addr: addr.clone() }));
    if before.up {
        ops.push(Op::SetUp { link: link() });
    }
    let routes = before.state.routes.iter();
    ops.extend(routes.map(|route| Op::RestoreRoute {
        side: nic.side,
        route: route.clone(),
        moved: Some(Moved { link: link(), index: before.index }),
    }));
    ops
}
