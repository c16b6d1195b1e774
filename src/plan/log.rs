//! The log of an attachment: the steps that took effect, in an order in which they can be taken back from the last to the first.
//! A change of the attachment is written into it so that it says what would have made the attachment as it is now, and still
//! knows what there was before the first of all steps.

use super::Kind;
use crate::model::op::{NewRoute, Op, Tool};
use crate::model::ovs::NewOvsPort;
use crate::model::request::AttachRequest;
use crate::model::types::{Family, IfName, LinkRef, MacAddr, Side};

/// What is known of how an interface came to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past<'a> {
    /// The steps that made it; none when nothing is known.
    pub log: &'a [Op],
    /// The MAC address that it was made with.
    pub mac: Option<MacAddr>,
}

impl Past<'_> {
    /// The name that the veth's host end is to have, as far as anybody said.
    pub(super) fn host_end(&self, request: &AttachRequest) -> Option<IfName> {
        request.local_if.clone().or_else(|| host_end(self.log).cloned())
    }

    /// What kind of attachment it is.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.log.iter().find_map(|op| match op {
            Op::AddVeth { bridge: Some(_), .. } => Some(Kind::Bridge),
            Op::AddOvsPort { .. } => Some(Kind::Ovs),
            Op::AddShared { .. } | Op::MoveLink { .. } | Op::MovePhy { .. } => Some(Kind::Nic),
            Op::AddIpoib { .. } => Some(Kind::Ipoib),
            Op::AddDummy { .. } => Some(Kind::Dummy),
            _ => None,
        })
    }

    /// Whether we made the bridge, so that it filters VLANs.
    pub(super) fn made_filter(&self, name: &str) -> bool {
        self.log.iter().any(|op| match op {
            Op::AddBridge { name: made, vlan_filtering: true, .. } => made.as_str() == name,
            Op::SetVlanFiltering { bridge, on: true, .. } => bridge.as_str() == name,
            _ => false,
        })
    }
}

fn host_end(log: &[Op]) -> Option<&IfName> {
    log.iter().find_map(|op| if let Op::AddVeth { host, .. } = op { Some(host) } else { None })
}

/// The log after more steps.
#[must_use]
pub fn then(log: &[Op], steps: &[Op]) -> Vec<Op> {
    let mut log = Log(log.to_vec());
    steps.iter().for_each(|step| log.add(step));
    log.0
}

/// What the log has made that the attachment does not need any more: a bridge or VLAN child that it is not on. It is taken back
/// when a change is done for good, and left where others use it.
#[must_use]
pub fn leftovers(log: &[Op]) -> Vec<Op> {
    let used = used(log);
    let is_left = |op: &&Op| match op {
        Op::AddBridge { name, .. } | Op::AddOvsBridge { name } | Op::AddVlan { name, .. } => !used.contains(name),
        Op::SetVlanFiltering { bridge, .. } => !used.contains(bridge),
        Op::SetUp { link } if link.side == Side::Host => !used.contains(&link.name),
        _ => false,
    };
    log.iter().rev().filter(is_left).cloned().collect()
}

/// The links of the host that what the log has made lies on.
pub(super) fn used(log: &[Op]) -> Vec<IfName> {
    let mut used: Vec<IfName> = Vec::new();
    for op in log {
        match op {
            Op::AddVeth { host, bridge, .. } => used.extend([host.clone()].into_iter().chain(bridge.clone())),
            Op::AddOvsPort { port } => used.extend([port.bridge.clone(), port.name.clone()]),
            Op::AddShared { parent, .. } | Op::AddIpoib { parent, .. } => used.push(parent.clone()),
            Op::MoveLink { from, .. } | Op::MovePhy { from, .. } if from.side == Side::Host => used.push(from.name.clone()),
            Op::AddShim { shim } => used.extend([shim.name.clone(), shim.parent.clone()]),
            _ => {}
        }
    }
    // A VLAN child lies on its NIC.
    let nics: Vec<IfName> = log
        .iter()
        .filter_map(|op| match op {
            Op::AddVlan { name, parent, .. } if used.contains(name) => Some(parent.clone()),
            _ => None,
        })
        .collect();
    used.extend(nics);
    used
}

struct Log(Vec<Op>);

impl Log {
    fn add(&mut self, step: &Op) {
        match step {
            // They change nothing.
            Op::Probe { .. } | Op::Settle { .. } => {}
            Op::TakeBack { steps } => steps.iter().for_each(|gone| self.remove(gone)),
            Op::Again { steps } => steps.iter().for_each(|again| self.add(again)),
            // What others lie on has to be there before them, and goes after them.
            Op::AddBridge { .. } | Op::AddOvsBridge { .. } | Op::AddVlan { .. } => self.add_ground(step),
            Op::SetUp { link } if link.side == Side::Host => self.add_ground(step),
            Op::AddVeth { guest: link, .. } | Op::AddShared { link, .. } | Op::AddIpoib { link, .. } | Op::AddDummy { link } => {
                self.forget(&link.at);
                self.0.push(step.clone());
            }
            Op::SetBridge { port, bridge, .. } => self.set_bridge(port, bridge.as_ref()),
            Op::SetOvsVlans { port, .. } | Op::AddOvsPort { port: NewOvsPort { name: port, .. } } => {
                self.set_ovs_port(&port.clone(), step);
            }
            Op::SetMtu { .. } | Op::SetMac { .. } | Op::SetQueueLen { .. } | Op::SetOffload { .. } | Op::SetSysctl { .. } => self.set(step),
            Op::RenameLink { link, name } => self.rename(link, name),
            Op::SetRoute { route, before } => self.set_route(route, before),
            Op::DelRoute { side: Side::Guest, route } if route.is_default && self.owns_default(route.family) => {}
            Op::SetVlanFiltering { bridge, on: true, .. } if self.filters(bridge) => {}
            Op::MoveLink { to, .. } | Op::MovePhy { to, .. } if self.0.iter().any(|op| moves_to(op, to)) => {}
            Op::DelLink { link } | Op::DelOwnLink { link } => {
                self.0.retain(|op| !matches!(op, Op::RenameLink { name, link: old } if *name == link.name && old.side == link.side));
            }
            _ => self.add_or_cancel(step),
        }
    }

    /// A step that takes back one of the log cancels it; one that is there is there once; one that only takes back something
    /// that the log does not have leaves no trace.
    fn add_or_cancel(&mut self, step: &Op) {
        if let Some(at) = self.0.iter().rposition(|op| matches!(op.undo().as_slice(), [back] if same_effect(back, step))) {
            self.0.remove(at);
        } else if !only_takes_back(step) && !self.0.contains(step) {
            self.0.push(step.clone());
        }
    }

    fn remove(&mut self, gone: &Op) {
        if let Op::AddIfb { name } = gone {
            self.0.retain(|op| !matches!(op, Op::SetUp { link } if *link == LinkRef::guest(name)));
        }
        // A link may be known better by now than when it was made.
        let is_it = |op: &Op| op == gone || op.newborn().is_some_and(|new| gone.newborn().is_some_and(|old| new.at == old.at));
        if let Some(at) = self.0.iter().rposition(is_it) {
            self.0.remove(at);
        }
    }

    fn add_ground(&mut self, step: &Op) {
        let name_of = |op: &Op| match op {
            Op::AddBridge { name, .. } | Op::AddOvsBridge { name } | Op::AddVlan { name, .. } => Some(name.clone()),
            Op::AddVeth { host, .. } => Some(host.clone()),
            Op::SetUp { link } if link.side == Side::Host => Some(link.name.clone()),
            _ => None,
        };
        let name = name_of(step);
        // A link that we made and set up is made anew, or set up again: what took it back still does.
        if !self.0.iter().any(|op| name_of(op) == name) {
            let at =
                self.0.iter().take_while(|op| matches!(op, Op::AddBridge { .. } | Op::AddOvsBridge { .. } | Op::AddVlan { .. })).count();
            self.0.insert(if matches!(step, Op::SetUp { .. }) { at } else { at.min(self.0.len()) }, step.clone());
        }
    }

    /// Takes out all that went with a link of the guest.
    fn forget(&mut self, gone: &LinkRef) {
        let host = host_end(&self.0).cloned();
        let is_gone = |link: &LinkRef| link == gone || (link.side == Side::Host && Some(&link.name) == host.as_ref());
        self.0.retain(|op| match op {
            Op::AddVeth { guest: link, .. } | Op::AddShared { link, .. } | Op::AddIpoib { link, .. } | Op::AddDummy { link } => {
                !is_gone(&link.at)
            }
            Op::AddPortVlan { port, .. } | Op::DelPortVlan { port, .. } => Some(port) != host.as_ref(),
            Op::AddOvsPort { port } => Some(&port.name) != host.as_ref(),
            Op::SetUp { link }
            | Op::SetMtu { link, .. }
            | Op::SetMac { link, .. }
            | Op::SetQueueLen { link, .. }
            | Op::SetOffload { link, .. }
            | Op::AddAddr { link, .. }
            | Op::LeaseAddr { link, .. }
            | Op::AddAltName { link, .. } => !is_gone(link),
            // Of a link that was born elsewhere.
            Op::MoveLink { to, before: None, .. } => to.side != Side::Guest,
            Op::RenameLink { link, .. } => link.side != Side::Guest,
            Op::AddRoute { route } => route.dev != gone.name,
            Op::EnableIpv6 { name } | Op::AcceptRouter { name } | Op::SetSysctl { name, .. } => *name != gone.name,
            Op::AddNeigh { neigh } => !is_gone(&neigh.link),
            Op::Tool { step } => step.tool == Tool::Rule,
            _ => true,
        });
    }

    fn set_bridge(&mut self, port: &IfName, now: Option<&IfName>) {
        for op in &mut self.0 {
            if let Op::AddVeth { host, bridge, .. } = op
                && host == port
            {
                *bridge = now.cloned();
            }
        }
        // They were the old bridge's.
        self.0.retain(|op| !matches!(op, Op::AddPortVlan { port: on, .. } | Op::DelPortVlan { port: on, .. } if on == port));
    }

    fn set_ovs_port(&mut self, name: &IfName, step: &Op) {
        let known = self.0.iter_mut().find_map(|op| match op {
            Op::AddOvsPort { port } if port.name == *name => Some(port),
            _ => None,
        });
        match (known, step) {
            (Some(port), Op::SetOvsVlans { vlans, .. }) => port.vlans = vlans.clone(),
            // What it replaces is our own row; what that had replaced is still to be put back.
            (Some(port), Op::AddOvsPort { port: new }) => {
                *port = NewOvsPort { replaces: port.replaces.take(), ..new.clone() };
            }
            (None, Op::AddOvsPort { .. }) => self.0.push(step.clone()),
            _ => {}
        }
    }

    /// A link that we made has the value from its beginning; of another the first value is kept, to be put back.
    fn set(&mut self, step: &Op) {
        if !self.0.iter_mut().any(|op| born_with(op, step) || set_before(op, step)) {
            self.0.push(step.clone());
        }
    }

    /// A link that had gone by another name gets the one that the log has for it, or the log gets its new one.
    fn rename(&mut self, link: &LinkRef, name: &IfName) {
        let is_known = |log: &[Op]| match link.side {
            Side::Host => host_end(log) == Some(&link.name),
            Side::Guest => false,
        };
        if link.side == Side::Host && host_end(&self.0) == Some(name) || link.side == Side::Guest && self.has_guest_link(name) {
            return;
        }
        if !is_known(&self.0) {
            self.0.push(Op::RenameLink { link: link.clone(), name: name.clone() });
            return;
        }
        let renamed = |on: &mut LinkRef| {
            if on == link {
                on.name = name.clone();
            }
        };
        for op in &mut self.0 {
            match op {
                Op::AddVeth { host, .. } if *host == link.name => *host = name.clone(),
                Op::AddPortVlan { port, .. } | Op::DelPortVlan { port, .. } if *port == link.name => *port = name.clone(),
                Op::AddOvsPort { port } if port.name == link.name => port.name = name.clone(),
                Op::SetUp { link } | Op::SetMtu { link, .. } | Op::SetMac { link, .. } => renamed(link),
                _ => {}
            }
        }
    }

    fn has_guest_link(&self, name: &IfName) -> bool {
        let at = LinkRef::guest(name);
        self.0.iter().any(|op| op.newborn().is_some_and(|new| new.at == at) || moves_to(op, &at))
    }

    fn set_route(&mut self, route: &NewRoute, before: &NewRoute) {
        let known = self.0.iter_mut().find_map(|op| match op {
            Op::AddRoute { route } if route == before => Some(route),
            _ => None,
        });
        match known {
            Some(known) => *known = route.clone(),
            None => self.add_or_cancel(&Op::AddRoute { route: route.clone() }),
        }
    }

    /// Whether it is ours that the bridge filters VLANs.
    fn filters(&self, name: &IfName) -> bool {
        Past { log: &self.0, mac: None }.made_filter(name.as_str())
    }

    /// Whether the default route of a family is ours: what there was before is known.
    fn owns_default(&self, family: Family) -> bool {
        self.0.iter().any(|op| matches!(op, Op::AddRoute { route } if route.to.is_none() && route.family() == family))
    }
}

/// Gives a link the value where it is made, if it is made there with one.
fn born_with(maker: &mut Op, step: &Op) -> bool {
    if let Op::AddVeth { host, host_mtu, host_mac, .. } = maker {
        match step {
            Op::SetMtu { link, mtu, .. } if *link == LinkRef::host(host) => {
                *host_mtu = Some(*mtu);
                return true;
            }
            Op::SetMac { link, mac, .. } if *link == LinkRef::host(host) => {
                *host_mac = Some(*mac);
                return true;
            }
            _ => {}
        }
    }
    let (Op::AddVeth { guest: made, .. }
    | Op::AddShared { link: made, .. }
    | Op::AddIpoib { link: made, .. }
    | Op::AddDummy { link: made }) = maker
    else {
        return false;
    };
    match step {
        Op::SetMtu { link, mtu, .. } if *link == made.at => made.mtu = Some(*mtu),
        Op::SetMac { link, mac, .. } if *link == made.at => made.mac = Some(*mac),
        _ => return false,
    }
    true
}

/// Gives an earlier step the value of a later one that sets the same.
fn set_before(earlier: &mut Op, step: &Op) -> bool {
    match (earlier, step) {
        (Op::SetMtu { link: on, mtu, .. }, Op::SetMtu { link, mtu: now, .. }) if on == link => *mtu = *now,
        (Op::SetMac { link: on, mac, .. }, Op::SetMac { link, mac: now, .. }) if on == link => *mac = *now,
        (Op::SetQueueLen { link: on, packets, .. }, Op::SetQueueLen { link, packets: now, .. }) if on == link => *packets = *now,
        (Op::SetOffload { link: on, offload, .. }, Op::SetOffload { link, offload: now, .. })
            if on == link && offload.feature == now.feature =>
        {
            *offload = now.clone();
        }
        (Op::SetSysctl { name: on, sysctl, .. }, Op::SetSysctl { name, sysctl: now, .. })
            if on == name && (sysctl.tree, &sysctl.name) == (now.tree, &now.name) =>
        {
            *sysctl = now.clone();
        }
        _ => return false,
    }
    true
}

fn moves_to(op: &Op, place: &LinkRef) -> bool {
    matches!(op, Op::MoveLink { to, .. } | Op::MovePhy { to, .. } if to == place)
}

/// Whether two steps come to the same, whatever they know of before.
fn same_effect(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::RestoreRoute { side, route, .. }, Op::RestoreRoute { side: other, route: same, .. }) => (side, route) == (other, same),
        (Op::Tool { step }, Op::Tool { step: other }) => (step.side, step.tool, &step.words) == (other.side, other.tool, &other.words),
        _ => a == b,
    }
}

fn only_takes_back(step: &Op) -> bool {
    matches!(
        step,
        Op::DelUnusedBridge { .. }
            | Op::DelUnusedOvsBridge { .. }
            | Op::DelUnusedVlan { .. }
            | Op::DelUnusedShim { .. }
            | Op::DelOvsPort { .. }
            | Op::DelAddr { .. }
            | Op::DelNewRoute { .. }
            | Op::DelShimRoute { .. }
            | Op::DelNeigh { .. }
            | Op::DelAltName { .. }
            | Op::RestoreAddr { .. }
            | Op::RestoreRoute { .. }
            | Op::SetDown { .. }
    )
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
