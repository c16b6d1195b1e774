//! Taking an attachment back: from its record and what has become of the guest to steps. Pure.

use super::log::used;
use crate::model::facts::Names;
use crate::model::op::{NicBefore, Op, put_back};
use crate::model::ovs::NewOvsPort;
use crate::model::record::Record;
use crate::model::types::{IfName, LinkRef, Side};
use crate::model::vlan::NicVlan;

/// What has become of the guest's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestNow {
    /// It is there.
    There,
    /// It is gone, with all that was in it but what the kernel gives back.
    Gone {
        /// The NIC, or IPoIB child, that came back to the host: its name there.
        returned: Option<IfName>,
        /// Wi-Fi interfaces of the host, by NL80211_ATTR_WDEV: with a phy come all of its own.
        wifi: Vec<(u64, IfName)>,
    },
}

/// The steps that take `done` back, last first, and with it what nobody is left to use: the bridge or VLAN child, should we
/// have made it for somebody.
pub fn detach(record: &Record, done: &[Op], now: &GuestNow) -> Vec<Op> {
    let mut ops: Vec<Op> = done.iter().rev().flat_map(|op| back(op, now)).map(Op::unnamed).collect();
    if done.iter().filter_map(Op::newborn).any(|link| link.at.side == Side::Host) {
        ops = ops.into_iter().map(delete_there).collect();
    }
    // An ifb goes, too, but a NIC that was moved stays, and wants its own values back.
    let is_nic = done.iter().any(|op| matches!(op, Op::MoveLink { before: Some(_), .. } | Op::MovePhy { before: Some(_), .. }));
    if !is_nic && ops.iter().any(|op| matches!(op, Op::DelOwnLink { .. })) {
        ops.retain(|op| !goes_with(op, &LinkRef::guest(&record.interface)));
    }
    for op in unused(record) {
        if !ops.contains(&op) {
            ops.push(op);
        }
    }
    ops
}

/// A link that was made on the host and brought to the guest is deleted wherever it is: it need not take the way back, and while
/// it is up it cannot be renamed (Linux before 6.2).
fn delete_there(back: Op) -> Op {
    match back {
        Op::MoveLink { from: link, before: None, .. } | Op::RenameLink { link, .. } if link.side == Side::Guest => Op::DelOwnLink { link },
        other => other,
    }
}

/// Whether a step is about what goes with the link.
fn goes_with(op: &Op, going: &LinkRef) -> bool {
    match op {
        Op::SetDown { link }
        | Op::DelAddr { link, .. }
        | Op::SetMac { link, .. }
        | Op::SetMtu { link, .. }
        | Op::DelAltName { link, .. } => link == going,
        _ => false,
    }
}

/// What takes one step back.
fn back(op: &Op, now: &GuestNow) -> Vec<Op> {
    let GuestNow::Gone { returned, wifi } = now else { return op.undo() };
    match (op, returned) {
        (Op::MoveLink { from, before: Some(before), .. }, Some(name)) => home_again(from, name, before),
        (Op::MovePhy { wdev, from, before: Some(before), others, .. }, _) => {
            let name = |wdev: u64| wifi.iter().find(|(its, _)| *its == wdev).map(|(_, name)| name);
            let own = name(*wdev).into_iter().flat_map(|name| home_again(from, name, before));
            let others = others.iter().filter_map(|other| Some((LinkRef::host(&other.name), name(other.wdev)?, &other.before)));
            own.chain(others.flat_map(|(place, name, before)| home_again(&place, name, before))).collect()
        }
        (Op::SetMac { link, before: Some(mac), .. }, Some(name)) if link.side == Side::Guest => {
            vec![Op::SetMac { link: LinkRef::host(name), mac: *mac, before: None }]
        }
        (Op::SetMtu { link, before: Some(mtu), .. }, Some(name)) if link.side == Side::Guest => {
            vec![Op::SetMtu { link: LinkRef::host(name), mtu: *mtu, before: None }]
        }
        (Op::SetQueueLen { link, before: Some(packets), .. }, Some(name)) if link.side == Side::Guest => {
            vec![Op::SetQueueLen { link: LinkRef::host(name), packets: *packets, before: None }]
        }
        (Op::SetOffload { link, before, .. }, Some(name)) if link.side == Side::Guest => {
            let link = LinkRef::host(name);
            before.iter().map(|one| Op::SetOffload { link: link.clone(), offload: one.clone(), before: Vec::new() }).collect()
        }
        (Op::AddIpoib { .. }, Some(name)) => vec![Op::DelOwnLink { link: LinkRef::host(name) }],
        // Nothing can come out of a namespace that is gone.
        (Op::MoveLink { .. } | Op::MovePhy { .. }, _) => Vec::new(),
        _ => op.undo().into_iter().filter(|op| op.side() == Side::Host).collect(),
    }
}

/// A NIC that the kernel has given back: down, without addresses, under the guest's name for it.
fn home_again(from: &LinkRef, name: &IfName, before: &NicBefore) -> Vec<Op> {
    let rename = (*name != from.name).then(|| Op::RenameLink { link: LinkRef::host(name), name: from.name.clone() });
    rename.into_iter().chain(put_back(from, before)).collect()
}

/// The bridge or VLAN child that the attachment was on, whoever made it. The step looks for our mark, and at who uses it.
fn unused(record: &Record) -> Vec<Op> {
    let (mut ops, request) = (Vec::new(), &record.request);
    let on_linux_bridge = record.done.iter().chain(&record.planned).find_map(|op| match op {
        Op::AddVeth { bridge, .. } => bridge.clone(),
        _ => None,
    });
    let on_ovs_bridge = record.done.iter().chain(&record.planned).find_map(|op| match op {
        Op::AddOvsPort { port } => Some(port.bridge.clone()),
        _ => None,
    });
    let nic = |op: &Op| matches!(op, Op::AddShared { .. } | Op::MoveLink { .. });
    if let Some(name) = on_linux_bridge {
        ops.push(Op::DelUnusedBridge { name });
    } else if let Some(name) = on_ovs_bridge {
        ops.push(Op::DelUnusedOvsBridge { name });
    } else if let (Some(tag), true) = (&request.tag, record.done.iter().chain(&record.planned).any(nic)) {
        let child = NicVlan::of(tag).ok().and_then(|vlan| vlan.child(&record.host_interface).ok());
        ops.extend(child.map(|name| Op::DelUnusedVlan { name }));
    }
    ops
}

/// The steps as they are kept once all is well: without what made room for them, which nobody wants back then, and without
/// questions.
pub fn settled(done: &[Op]) -> Vec<Op> {
    let keep = |op: &&Op| !matches!(op, Op::DelLink { .. } | Op::Probe { .. } | Op::Settle { .. }) && !is_aside(op);
    let plain = |op: &Op| match op {
        Op::AddOvsPort { port } => Op::AddOvsPort { port: NewOvsPort { replaces: None, ..port.clone() } },
        op => op.clone(),
    };
    done.iter().filter(keep).map(plain).collect()
}

/// Whether the step renamed what a dead attach had left, to be deleted in the end.
fn is_aside(op: &Op) -> bool {
    matches!(op, Op::RenameLink { link, name } if link.side == Side::Host && name.as_str().starts_with(Names::ASIDE))
}

/// What would take a default route of the guest's back that another of its attachments has replaced since: that one has to
/// put back what this one would have.
pub fn inherit(heir: &Record, leaving: &Record) -> Option<(Vec<Op>, Vec<Op>)> {
    let index = leaving.link.as_ref()?.index;
    let through_leaving = |op: &Op| matches!(op, Op::DelRoute { side: Side::Guest, route } if route.links.contains(&index));
    if heir.interface == leaving.interface || !heir.done.iter().any(through_leaving) {
        return None;
    }
    let replaced = |op: &Op| matches!(op, Op::DelRoute { side: Side::Guest, .. });
    let (routes, rest): (Vec<Op>, Vec<Op>) = leaving.done.iter().cloned().partition(replaced);
    let mut done = Vec::new();
    let mut routes = Some(routes);
    for op in &heir.done {
        if through_leaving(op) {
            done.extend(routes.take().into_iter().flatten());
        } else {
            done.push(op.clone());
        }
    }
    Some((done, rest))
}

/// The steps by which `leaving` set up what `heir` lies on, too, and would not set down again: whoever leaves last has to.
pub fn inherit_up(heir: &Record, leaving: &Record) -> Vec<Op> {
    let used = used(&heir.done);
    // A VLAN child that was there lies on its NIC, which then is in no step.
    let lies_on = |name: &IfName| used.contains(name) || heir.host_interface == name.as_str();
    let is_heirs = |op: &&Op| matches!(op, Op::SetUp { link } if link.side == Side::Host && lies_on(&link.name) && !heir.done.contains(op));
    leaving.done.iter().filter(is_heirs).cloned().collect()
}
