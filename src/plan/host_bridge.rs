//! A bridge of the host as a topology describes it: made when it is not there, and made as described.

use thiserror::Error;

use super::Plan;
use crate::model::difference::{Difference, Field};
use crate::model::facts::LinkKind;
use crate::model::host::{HostLink, HostView};
use crate::model::op::Op;
use crate::model::topology::WantedBridge;
use crate::model::types::{IfName, LinkRef, MacAddr};

/// Why a bridge cannot be as described; nothing was done then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BridgeError {
    /// Another kind of link has its name.
    #[error("{name} is there and is no bridge but {is}")]
    NoBridge {
        /// The name.
        name: IfName,
        /// What it is.
        is: String,
    },
    /// A NIC is not there.
    #[error("uplink {nic} is not there")]
    NoUplink {
        /// The NIC.
        nic: IfName,
    },
    /// It has an address, which would not answer any more.
    #[error("uplink {nic} has {addrs}: as a port of {bridge} it would not answer there any more, and this host could be cut off")]
    HasAddress {
        /// The NIC.
        nic: IfName,
        /// Its addresses.
        addrs: String,
        /// The bridge.
        bridge: IfName,
    },
    /// It is another's port.
    #[error("uplink {nic} is a port of {master} already")]
    HasMaster {
        /// The NIC.
        nic: IfName,
        /// Whose.
        master: String,
    },
    /// No bridge can have it as a port.
    #[error("uplink {nic} is {is}, which cannot be a bridge's port")]
    NoNic {
        /// Its name.
        nic: IfName,
        /// What it is.
        is: String,
    },
}

impl BridgeError {
    /// What to type instead.
    pub fn hint(&self) -> String {
        match self {
            Self::NoBridge { .. } => "choose another name for the bridge".into(),
            Self::NoUplink { .. } => "`ip link` lists what there is".into(),
            Self::HasAddress { nic, addrs, bridge } => format!(
                "put the address into the bridge's `addresses`, with its routes where they are set up, and take it from the NIC: \
                 ip addr del {} dev {nic}; or share the NIC without {bridge}: host_if = \"{nic}\"",
                addrs.split(',').next().unwrap_or_default()
            ),
            Self::HasMaster { nic, master } => format!("describe {master} instead, or take it from there: ip link set {nic} nomaster"),
            Self::NoNic { .. } => "name a NIC".into(),
        }
    }
}

/// What makes a bridge as described, and what is not so now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePlan {
    /// The steps; none when it is as described.
    pub plan: Plan,
    /// Field by field; none of a bridge that is made.
    pub differences: Vec<Difference>,
    /// Whether it is made.
    pub is_new: bool,
}

/// Plans a bridge. `fresh_mac`: a random address for one that is made.
///
/// # Errors
/// See [`BridgeError`].
pub fn host_bridge(wanted: &WantedBridge, view: &HostView, fresh_mac: MacAddr) -> Result<BridgePlan, BridgeError> {
    let name = &wanted.name;
    let there = view.called(name.as_str());
    if let Some(other) = there.filter(|there| there.link.kind != LinkKind::Bridge) {
        return Err(BridgeError::NoBridge { name: name.clone(), is: other.link.kind.name().to_owned() });
    }
    let mut job = Job { link: LinkRef::host(name), ops: Vec::new(), differences: Vec::new() };
    match there {
        None => {
            job.ops.push(Op::AddBridge { name: name.clone(), mac: fresh_mac, vlan_filtering: wanted.is_tagged });
        }
        Some(bridge) => job.filtering(wanted, bridge, view.ports(bridge).count()),
    }
    job.mtu(wanted, there);
    for nic in &wanted.uplinks {
        job.uplink(name, nic, view)?;
    }
    for addr in wanted.addresses.iter().filter(|addr| !there.is_some_and(|bridge| bridge.addrs.contains(addr))) {
        job.differ(Field::Address, "none", addr);
        job.ops.push(Op::AddAddr { link: job.link.clone(), addr: *addr });
    }
    if there.is_some_and(|bridge| !bridge.link.up) {
        job.differ(Field::BridgeState, "down", "up");
        job.ops.push(Op::SetUp { link: job.link.clone() });
    }
    let is_new = there.is_none();
    let differences = if is_new { Vec::new() } else { job.differences };
    let plan = Plan { ops: job.ops, warnings: Vec::new(), guest_if: name.clone(), host_if: name.to_string(), announce: None, access: None };
    Ok(BridgePlan { plan, differences, is_new })
}

struct Job {
    link: LinkRef,
    ops: Vec<Op>,
    differences: Vec<Difference>,
}

impl Job {
    fn differ(&mut self, field: Field, is: impl ToString, wanted: impl ToString) {
        self.differences.push(Difference { field, is: is.to_string(), wanted: wanted.to_string() });
    }

    fn filtering(&mut self, wanted: &WantedBridge, bridge: &HostLink, ports: usize) {
        let words = |on| if on { "on" } else { "off" };
        let Some(on) = wanted.vlan_filtering.filter(|on| *on != bridge.vlan_filtering) else { return };
        self.differ(Field::VlanFiltering, words(!on), words(on));
        self.ops.push(Op::SetVlanFiltering { bridge: wanted.name.clone(), on, ports });
    }

    fn mtu(&mut self, wanted: &WantedBridge, bridge: Option<&HostLink>) {
        let Some(mtu) = wanted.mtu.map(|mtu| mtu.get()) else { return };
        let is = bridge.map(|bridge| bridge.link.mtu);
        if is != Some(mtu) {
            self.differ(Field::Mtu, is.unwrap_or_default(), mtu);
            self.ops.push(Op::SetMtu { link: self.link.clone(), mtu, before: is });
        }
    }

    fn uplink(&mut self, bridge: &IfName, nic: &IfName, view: &HostView) -> Result<(), BridgeError> {
        let link = view.called(nic.as_str()).ok_or_else(|| BridgeError::NoUplink { nic: nic.clone() })?;
        let is_port = link.master.as_deref() == Some(bridge.as_str());
        if is_port && !link.link.up {
            self.differ(Field::Uplink, format!("{nic} down"), "up");
            self.ops.push(Op::SetUp { link: LinkRef::host(nic) });
        }
        if is_port {
            return Ok(());
        }
        if let Some(master) = link.master.clone() {
            return Err(BridgeError::HasMaster { nic: nic.clone(), master });
        }
        if !link.addrs.is_empty() {
            let addrs = link.addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            return Err(BridgeError::HasAddress { nic: nic.clone(), addrs, bridge: bridge.clone() });
        }
        if link.link.kind == LinkKind::Bridge || link.link.name == "lo" {
            let is = if link.link.name == "lo" { "the loopback" } else { "a bridge" };
            return Err(BridgeError::NoNic { nic: nic.clone(), is: is.into() });
        }
        self.differ(Field::Uplink, "none", nic);
        self.ops.push(Op::SetBridge { port: nic.clone(), bridge: Some(bridge.clone()), before: None });
        if !link.link.up {
            self.ops.push(Op::SetUp { link: LinkRef::host(nic) });
        }
        Ok(())
    }
}

/// Of the steps by which a topology made a bridge as it was described, those that what it is described as now does not need;
/// all of them when it is not described any more.
pub fn unwanted(done: &[Op], wanted: Option<&WantedBridge>) -> Vec<Op> {
    let is_unwanted = |op: &&Op| match (op, wanted) {
        (_, None) => true,
        (Op::AddAddr { addr, .. }, Some(wanted)) => !wanted.addresses.contains(addr),
        (Op::SetBridge { port, .. }, Some(wanted)) => !wanted.uplinks.contains(port),
        (Op::SetUp { link }, Some(wanted)) => link.name != wanted.name && !wanted.uplinks.contains(&link.name),
        (Op::SetMtu { .. }, Some(wanted)) => wanted.mtu.is_none(),
        (Op::SetVlanFiltering { .. }, Some(wanted)) => wanted.vlan_filtering.is_none(),
        _ => false,
    };
    done.iter().filter(is_unwanted).cloned().collect()
}

/// Steps that were taken one after another, as one: of what was set twice, what was before the first time is put back.
pub fn merged(done: &[Op], more: &[Op]) -> Vec<Op> {
    let mut all = done.to_vec();
    for op in more {
        let known = all.iter_mut().find(|old| match (&**old, op) {
            (Op::SetMtu { link: old, .. }, Op::SetMtu { link, .. }) => old == link,
            (Op::SetVlanFiltering { bridge: old, .. }, Op::SetVlanFiltering { bridge, .. }) => old == bridge,
            (old, op) => old == op,
        });
        match (known, op) {
            (Some(Op::SetMtu { mtu: known, .. }), Op::SetMtu { mtu, .. }) => *known = *mtu,
            (Some(_), _) => {}
            (None, op) => all.push(op.clone()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::facts::{Layer, LinkFacts};

    fn link(index: u32, name: &str, kind: LinkKind) -> HostLink {
        let link = LinkFacts {
            index,
            name: name.to_owned(),
            alt_names: Vec::new(),
            kind,
            layer: Layer::Ethernet,
            up: true,
            carrier: true,
            mtu: 1500,
            queue_len: 1000,
            mac: None,
            master: None,
            link: None,
            forwarding: None,
            group: 0,
        };
        HostLink { link, addrs: Vec::new(), master: None, vlan_filtering: false, vlans: Vec::new() }
    }

    fn wanted() -> WantedBridge {
        WantedBridge {
            name: "br1".parse().unwrap(),
            uplinks: vec!["eth1".parse().unwrap()],
            mtu: "1400".parse().ok(),
            vlan_filtering: Some(true),
            is_tagged: true,
            addresses: vec!["10.1.1.1/24".parse().unwrap()],
        }
    }

    fn steps(wanted: &WantedBridge, view: &HostView) -> Vec<String> {
        let made = host_bridge(wanted, view, MacAddr::local_from([0; 6])).unwrap();
        made.plan.ops().iter().map(Op::describe).collect()
    }

    #[test]
    fn a_bridge_is_made_with_all_that_is_described_and_then_nothing_is_left_to_do() {
        let nic = link(2, "eth1", LinkKind::Device);
        let view = HostView { links: vec![nic.clone()] };
        assert_eq!(steps(&wanted(), &view).len(), 4, "{:?}", steps(&wanted(), &view));
        let bridge = HostLink { vlan_filtering: true, addrs: wanted().addresses, ..link(3, "br1", LinkKind::Bridge) };
        let bridge = HostLink { link: LinkFacts { mtu: 1400, ..bridge.link.clone() }, ..bridge };
        let port = HostLink { master: Some("br1".into()), ..nic };
        assert_eq!(steps(&wanted(), &HostView { links: vec![port.clone(), bridge.clone()] }), Vec::<String>::new());
        let down = HostLink { link: LinkFacts { up: false, ..port.link.clone() }, ..port };
        assert_eq!(steps(&wanted(), &HostView { links: vec![down, bridge] }), ["set eth1 up"]);
    }

    #[test]
    fn what_differs_is_told_field_by_field() {
        let down = link(3, "br1", LinkKind::Bridge);
        let view = HostView {
            links: vec![link(2, "eth1", LinkKind::Device), HostLink { link: LinkFacts { up: false, ..down.link.clone() }, ..down }],
        };
        let made = host_bridge(&wanted(), &view, MacAddr::local_from([0; 6])).unwrap();
        let fields: Vec<Field> = made.differences.iter().map(|difference| difference.field).collect();
        assert_eq!(fields, [Field::VlanFiltering, Field::Mtu, Field::Uplink, Field::Address, Field::BridgeState]);
        assert!(!made.is_new && made.plan.ops().len() == 5);
    }

    #[test]
    fn a_nic_that_the_host_or_another_needs_is_left_alone() {
        let nic = link(2, "eth1", LinkKind::Device);
        let refused = |nic: HostLink| host_bridge(&wanted(), &HostView { links: vec![nic] }, MacAddr::local_from([0; 6])).unwrap_err();
        let with_addr = refused(HostLink { addrs: vec!["192.168.1.5/24".parse().unwrap()], ..nic.clone() });
        assert!(matches!(&with_addr, BridgeError::HasAddress { addrs, .. } if addrs == "192.168.1.5/24"));
        assert!(with_addr.hint().contains("ip addr del 192.168.1.5/24 dev eth1"), "{}", with_addr.hint());
        assert!(matches!(refused(HostLink { master: Some("bond0".into()), ..nic }), BridgeError::HasMaster { .. }));
        assert!(matches!(refused(link(2, "eth1", LinkKind::Bridge)), BridgeError::NoNic { .. }));
        assert!(matches!(refused(link(2, "eth2", LinkKind::Device)), BridgeError::NoUplink { .. }));
        assert!(matches!(refused(link(2, "br1", LinkKind::Dummy)), BridgeError::NoBridge { .. }));
    }

    #[test]
    fn what_is_described_no_more_is_taken_back_and_what_was_set_twice_once() {
        let at = LinkRef::host(&"br1".parse().unwrap());
        let set = |mtu, before| Op::SetMtu { link: at.clone(), mtu, before };
        let addr = Op::AddAddr { link: at.clone(), addr: "10.1.1.1/24".parse().unwrap() };
        let done = merged(&[set(1400, Some(1500)), addr.clone()], &[set(1300, Some(1400)), addr.clone()]);
        assert_eq!(done, [set(1300, Some(1500)), addr.clone()]);
        assert_eq!(unwanted(&done, Some(&wanted())), []);
        assert_eq!(unwanted(&done, Some(&WantedBridge { addresses: Vec::new(), ..wanted() })), [addr]);
        assert_eq!(unwanted(&done, None), done);
    }
}
