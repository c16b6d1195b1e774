//! A Linux bridge's VLANs, as observed.

use super::vlan::{PortVlan, VlanProtocol};

/// A Linux bridge's VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeVlans {
    /// Whether the kernel can filter at all (CONFIG_BRIDGE_VLAN_FILTERING).
    pub possible: bool,
    /// Whether it does.
    pub filtering: bool,
    /// Which tags it looks at.
    pub protocol: VlanProtocol,
    /// The VLAN that a new port gets, untagged.
    pub default_pvid: Option<u16>,
    /// Whether the host has an address on the bridge itself.
    pub has_address: bool,
    /// The VLANs that the host has links on the bridge for; looked at only while it does not filter.
    pub own_tags: Vec<u16>,
    /// The bridge's own port first, then the others.
    pub ports: Vec<BridgePort>,
}

/// A port of a bridge, or the bridge itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Whether it is likely to lead out of this host: neither a veth's end nor a tap.
    pub uplink: bool,
    /// What it carries.
    pub vlans: Vec<PortVlan>,
}

impl BridgePort {
    /// The VLAN that it sends and takes untagged.
    pub fn untagged(&self) -> Option<u16> {
        self.vlans.iter().find(|vlan| vlan.pvid && vlan.untagged).map(|vlan| vlan.first)
    }

    /// Whether it carries all VLANs from `first` to `last`.
    pub fn carries(&self, first: u16, last: u16) -> bool {
        (first..=last).all(|id| self.vlans.iter().any(|v| (v.first..=v.last).contains(&id)))
    }
}
