//! All of the host's links at one glance.

use super::facts::{LinkFacts, LinkKind};
use super::types::IfAddr;
use super::vlan::PortVlan;

/// The host's links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostView {
    /// In the kernel's order.
    pub links: Vec<HostLink>,
}

/// A link of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLink {
    /// The link itself.
    pub link: LinkFacts,
    /// The addresses that somebody gave it: none that an IPv6 link has by itself.
    pub addrs: Vec<IfAddr>,
    /// The bridge or bond that it is a port of.
    pub master: Option<String>,
    /// Whether it is a bridge that filters VLANs.
    pub vlan_filtering: bool,
    /// The VLANs that it carries, as a bridge's port.
    pub vlans: Vec<PortVlan>,
}

impl HostView {
    /// The link of a name.
    pub fn called(&self, name: &str) -> Option<&HostLink> {
        self.links.iter().find(|link| link.link.name == name || link.link.alt_names.iter().any(|alt| alt == name))
    }

    /// The Linux bridges.
    pub fn bridges(&self) -> impl Iterator<Item = &HostLink> {
        self.links.iter().filter(|link| link.link.kind == LinkKind::Bridge)
    }

    /// The ports of a bridge.
    pub fn ports<'a>(&'a self, bridge: &'a HostLink) -> impl Iterator<Item = &'a HostLink> {
        self.links.iter().filter(|link| link.link.master == Some(bridge.link.index))
    }
}
