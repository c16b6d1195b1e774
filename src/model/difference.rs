//! What is not as it was asked, field by field.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What can differ. In JSON the name in kebab case: `host-end-name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// Whether the interface is there at all.
    Interface,
    /// The kind of link, with its mode.
    Kind,
    /// Which NIC it is that was moved into the guest.
    Nic,
    /// The interface's name in the guest.
    Name,
    /// Where a veth's other end is.
    OtherEnd,
    /// The bridge that the host end is a port of.
    HostEnd,
    /// The host end's name.
    HostEndName,
    /// Whether the host end is up.
    HostEndState,
    /// The host end's MTU in bytes.
    HostEndMtu,
    /// The host end's MAC address.
    HostEndMac,
    /// Whether a bridge that we made is up.
    BridgeState,
    /// The NIC that a macvlan, ipvlan or IPoIB child lies on.
    Parent,
    /// Whether that is up.
    ParentState,
    /// The VLANs that the host end carries.
    Vlan,
    /// Whether the bridge filters VLANs.
    VlanFiltering,
    /// InfiniBand's partition key.
    PartitionKey,
    /// Whether the guest's interface is up.
    State,
    /// Its MTU in bytes.
    Mtu,
    /// Its MAC address.
    Mac,
    /// One of its addresses.
    Address,
    /// The guest's default route of a family.
    DefaultRoute,
    /// The interface's own routing table.
    Table,
    /// Another of its routes.
    Route,
    /// A rule of its routing.
    Rule,
    /// What may pass, and how fast.
    Shaping,
    /// What the interface does in place of the kernel.
    Offload,
    /// How many packets may wait.
    Txqueuelen,
    /// A setting under /proc/sys/net.
    Sysctl,
    /// A NIC that is a bridge's port.
    Uplink,
}

impl Field {
    /// As it is said to people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Interface => "the interface",
            Self::Kind => "kind",
            Self::Nic => "the link",
            Self::Name => "the name",
            Self::OtherEnd => "the other end",
            Self::HostEnd | Self::HostEndState => "the host end",
            Self::HostEndName => "the host end's name",
            Self::HostEndMtu => "the host end's MTU",
            Self::HostEndMac => "the host end's MAC address",
            Self::BridgeState => "the bridge",
            Self::Parent => "the parent",
            Self::ParentState => "the parent's state",
            Self::Vlan => "the host end's VLAN",
            Self::VlanFiltering => "VLAN filtering",
            Self::PartitionKey => "partition key",
            Self::State => "state",
            Self::Mtu => "MTU",
            Self::Mac => "MAC address",
            Self::Address => "address",
            Self::DefaultRoute => "default route",
            Self::Table => "a table of its own",
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Shaping => "shaping",
            Self::Offload => "offload",
            Self::Txqueuelen => "the queue's length",
            Self::Sysctl => "sysctl",
            Self::Uplink => "uplink",
        }
    }

    /// Whether the kernel cannot change it in place: the link has to be made anew.
    pub fn is_for_life(self) -> bool {
        matches!(self, Self::Interface | Self::Kind | Self::Nic | Self::OtherEnd | Self::Parent | Self::PartitionKey)
    }
}

/// One field that is not as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The field.
    pub field: Field,
    /// What it is.
    pub is: String,
    /// What was asked.
    pub wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, wanted {}", self.field.words(), self.is, self.wanted)
    }
}
