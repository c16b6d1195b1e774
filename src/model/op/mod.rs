//! One step of a plan. Every step prints as the `ip` command that does the same, and knows its undo.

mod host;
mod pair;
mod route;
mod tool;
mod undo;
mod words;

pub use host::{Conf, HostStep, Stp, VxlanLink};
pub use pair::{NewPair, PairEnd};
pub use route::NewRoute;
pub(super) use route::destination;
pub use tool::{Tool, ToolStep};
pub use undo::put_back;

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::access::{Neigh, NewShim, ShimRoute};
use super::conflict::{Dad, DadMode};
use super::facts::{AddrFacts, NicState, RouteFacts};
use super::lease::Lifetime;
use super::ovs::{NewOvsPort, OvsVlans};
use super::pair::End;
use super::phy::{Phy, PhyMember};
use super::settings::{Offload, Sysctl};
use super::sharing::Sharing;
use super::types::{IfAddr, IfName, LinkRef, MacAddr, Pkey, Side};
use super::vlan::{NicVlan, PortVlan};

/// A link that is to be made: where, how it is called, and what it starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLink {
    /// Side and name.
    pub at: LinkRef,
    /// MTU in bytes; the kernel's default when absent.
    pub mtu: Option<u32>,
    /// MAC address; random, or the kind's own, when absent.
    pub mac: Option<MacAddr>,
}

/// A change of the system. At most one thing of one object, so that it can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Makes a bridge, up, with a pinned MAC address.
    AddBridge {
        /// Its name.
        name: IfName,
        /// Its address, which then does not follow its ports'.
        mac: MacAddr,
        /// Whether it filters VLANs.
        vlan_filtering: bool,
    },
    /// Removes a bridge that has no ports and that nobody is about to use.
    DelUnusedBridge {
        /// Its name.
        name: IfName,
    },
    /// Makes a bridge of Open vSwitch.
    AddOvsBridge {
        /// Its name.
        name: IfName,
    },
    /// Removes a bridge of Open vSwitch that has no port but its own and that nobody is about to use.
    DelUnusedOvsBridge {
        /// Its name.
        name: IfName,
    },
    /// Makes a port of a bridge of Open vSwitch.
    AddOvsPort {
        /// The port.
        port: NewOvsPort,
    },
    /// Removes a port of Open vSwitch that we made, and puts back what it replaced.
    DelOvsPort {
        /// The port.
        port: NewOvsPort,
    },
    /// Makes a veth pair; the host's end is up, and a port of `bridge` if there is one.
    AddVeth {
        /// The host's end.
        host: IfName,
        /// Its MTU in bytes; the guest's end's when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_mtu: Option<u32>,
        /// Its MAC address; random when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_mac: Option<MacAddr>,
        /// The Linux bridge; Open vSwitch's ports are made in its database.
        bridge: Option<IfName>,
        /// How many queues both ends get; the kernel's own number when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queues: Option<NonZeroU16>,
        /// The guest's end.
        guest: NewLink,
    },
    /// Makes a veth pair straight between two guests, with no end on the host.
    AddPair {
        /// The pair.
        pair: NewPair,
    },
    /// A step in one of two guests that are linked: there, it is a step in the guest.
    At {
        /// In which.
        end: End,
        /// The guest, as the user named it.
        guest: String,
        /// The step.
        step: Box<Self>,
    },
    /// Makes a bridge that is there filter VLANs, or no longer.
    SetVlanFiltering {
        /// Which bridge.
        bridge: IfName,
        /// Whether it is to.
        on: bool,
        /// How many ports it had before. With more than ours, somebody relies on the filtering, and it stays.
        ports: usize,
    },
    /// Makes a bridge's port carry VLANs.
    AddPortVlan {
        /// Which port.
        port: IfName,
        /// Which VLANs, and how.
        vlan: PortVlan,
    },
    /// Takes VLANs from a bridge's port.
    DelPortVlan {
        /// Which port.
        port: IfName,
        /// Which VLANs, and how it carried them.
        vlan: PortVlan,
    },
    /// Makes a VLAN child of a NIC, on the host.
    AddVlan {
        /// Its name.
        name: IfName,
        /// The NIC.
        parent: IfName,
        /// The VLAN.
        vlan: NicVlan,
        /// MTU in bytes.
        mtu: u32,
    },
    /// Removes a VLAN child of a NIC unless a link lies on it.
    DelUnusedVlan {
        /// Its name.
        name: IfName,
    },
    /// Makes a macvlan, macvtap or ipvlan.
    AddShared {
        /// The NIC, on the host.
        parent: IfName,
        /// Which, and in what mode.
        sharing: Sharing,
        /// The new link.
        link: NewLink,
    },
    /// Makes an IPoIB child.
    AddIpoib {
        /// The InfiniBand interface, on the host.
        parent: IfName,
        /// The partition; the parent's when absent.
        pkey: Option<Pkey>,
        /// The new link.
        link: NewLink,
    },
    /// Makes a dummy link.
    AddDummy {
        /// The new link.
        link: NewLink,
    },
    /// Makes an intermediate functional block (ifb) in the guest: a link that packets which come in are led through, so that
    /// they wait there.
    AddIfb {
        /// Its name.
        name: IfName,
    },
    /// Deletes a link that bears our mark ([`super::mark::GROUP`]); another of its name is left.
    DelOwnLink {
        /// Which.
        link: LinkRef,
    },
    /// Deletes a link, whoever made it.
    DelLink {
        /// Which.
        link: LinkRef,
    },
    /// Moves a link to the other side, under a new name there if that differs.
    MoveLink {
        /// Where it is.
        from: LinkRef,
        /// Where it goes.
        to: LinkRef,
        /// What a NIC that existed before had on the host, to be put back.
        before: Option<NicBefore>,
    },
    /// Moves a phy with all its Wi-Fi interfaces to the other side. Only one of them is meant; the others get their names
    /// back when they come back to the host.
    MovePhy {
        /// The phy.
        phy: Phy,
        /// NL80211_ATTR_WDEV of the interface that is meant.
        wdev: u64,
        /// Where that is.
        from: LinkRef,
        /// Where it goes.
        to: LinkRef,
        /// What it had on the host, to be put back.
        before: Option<NicBefore>,
        /// Its other interfaces.
        others: Vec<PhyMember>,
    },
    /// Renames a link.
    RenameLink {
        /// Which.
        link: LinkRef,
        /// Its new name.
        name: IfName,
    },
    /// Gives a link another alternative name.
    AddAltName {
        /// Which link.
        link: LinkRef,
        /// The name.
        name: String,
    },
    /// Takes an alternative name away.
    DelAltName {
        /// Which link.
        link: LinkRef,
        /// The name.
        name: String,
    },
    /// Sets a link's MAC address.
    SetMac {
        /// Which link.
        link: LinkRef,
        /// The address.
        mac: MacAddr,
        /// What it had before.
        before: Option<MacAddr>,
    },
    /// Sets a link's MTU.
    SetMtu {
        /// Which link.
        link: LinkRef,
        /// The MTU in bytes.
        mtu: u32,
        /// What it had before.
        before: Option<u32>,
    },
    /// Sets how many packets may wait at a link.
    SetQueueLen {
        /// Which link.
        link: LinkRef,
        /// How many.
        packets: u32,
        /// How many could before.
        before: Option<u32>,
    },
    /// Switches a feature of a link on or off, as `ethtool -K`.
    SetOffload {
        /// Which link.
        link: LinkRef,
        /// The feature, and whether it is to be on.
        offload: Offload,
        /// The kernel's features that are changed by it, as they were; none on a link that goes away itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<Offload>,
    },
    /// Sets a sysctl of one link of the guest.
    SetSysctl {
        /// Which link of the guest.
        name: IfName,
        /// The setting and its value.
        sysctl: Sysctl,
        /// The value that it had; none on a link that goes away itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// Does what words of `ip route`, `ip rule` or `tc` say.
    Tool {
        /// The words.
        step: ToolStep,
    },
    /// Makes a link a port of a bridge or bond.
    SetMaster {
        /// Which link.
        link: LinkRef,
        /// Index of the master.
        master: u32,
    },
    /// Makes a host's link a port of another Linux bridge, or of none. The link stays up; the VLANs that it carried are the
    /// bridge's, and stay there.
    SetBridge {
        /// The link.
        port: IfName,
        /// The bridge that it becomes a port of.
        bridge: Option<IfName>,
        /// The bridge that it was a port of, and what it carried there.
        before: Option<OldPort>,
    },
    /// Makes a port of Open vSwitch carry other VLANs.
    SetOvsVlans {
        /// The port.
        port: IfName,
        /// What it is to carry.
        vlans: OvsVlans,
        /// What it carried.
        before: OvsVlans,
    },
    /// Takes back steps of an earlier run that belong together, so that this, too, can be taken back.
    TakeBack {
        /// The steps, in the order in which they were taken.
        steps: Vec<Op>,
    },
    /// Takes steps again that were taken back, unless that never happened.
    Again {
        /// The steps, in their order.
        steps: Vec<Op>,
    },
    /// Puts a route in the place of another to the same destination, without a moment between.
    SetRoute {
        /// The new route.
        route: NewRoute,
        /// The one that makes room.
        before: NewRoute,
    },
    /// Sets a link up.
    SetUp {
        /// Which link.
        link: LinkRef,
    },
    /// Sets a link down; one of the host's stays up while another that is up, or a guest's, lies on it.
    SetDown {
        /// Which link.
        link: LinkRef,
    },
    /// Switches IPv6 on for one link of the guest (net.ipv6.conf.IF.disable_ipv6 = 0).
    EnableIpv6 {
        /// Which link of the guest.
        name: IfName,
    },
    /// Lets a link of the guest take addresses and routes from router advertisements (net.ipv6.conf.IF.accept_ra = 2, even if
    /// the guest forwards; autoconf = 1).
    AcceptRouter {
        /// Which link of the guest.
        name: IfName,
    },
    /// Asks the network whether anybody has addresses that a link is to get. The link is up.
    Probe {
        /// Which link of the guest.
        link: LinkRef,
        /// The port on the host that has to forward first; none when there is no bridge.
        port: Option<IfName>,
        /// The addresses.
        addrs: Vec<IfAddr>,
        /// How, and what follows from an answer.
        dad: Dad,
    },
    /// Waits until the kernel has looked whether anybody has the IPv6 addresses that a link got.
    Settle {
        /// Which link of the guest.
        link: LinkRef,
        /// The addresses.
        addrs: Vec<IfAddr>,
        /// What follows when somebody has one.
        mode: DadMode,
    },
    /// Adds an address.
    AddAddr {
        /// To which link.
        link: LinkRef,
        /// The address.
        addr: IfAddr,
    },
    /// Adds an address that is lent for a time, or gives it another time.
    LeaseAddr {
        /// To which link.
        link: LinkRef,
        /// The address.
        addr: IfAddr,
        /// For how long.
        lifetime: Lifetime,
    },
    /// Deletes an address.
    DelAddr {
        /// Of which link.
        link: LinkRef,
        /// The address.
        addr: IfAddr,
    },
    /// Puts an address back as it was observed.
    RestoreAddr {
        /// To which link.
        link: LinkRef,
        /// The address.
        addr: AddrFacts,
    },
    /// Adds a route.
    AddRoute {
        /// The route.
        route: NewRoute,
    },
    /// Deletes a route that an op added.
    DelNewRoute {
        /// The route.
        route: NewRoute,
    },
    /// Deletes a route as it was observed.
    DelRoute {
        /// On which side.
        side: Side,
        /// The route.
        route: RouteFacts,
    },
    /// Puts a route back as it was observed.
    RestoreRoute {
        /// On which side.
        side: Side,
        /// The route.
        route: RouteFacts,
        /// The link that it went through, when that has been away and back.
        moved: Option<Moved>,
    },
    /// Makes the host's own macvlan on a parent of guests, up and silent.
    AddShim {
        /// The link.
        shim: NewShim,
    },
    /// Removes a shim that no route goes through.
    DelUnusedShim {
        /// Its name.
        name: IfName,
        /// Its MAC address: a link with another one is not the shim.
        mac: MacAddr,
    },
    /// Makes a neighbour known for good, in place of what was learnt of it.
    AddNeigh {
        /// The neighbour.
        neigh: Neigh,
    },
    /// Forgets a neighbour.
    DelNeigh {
        /// The neighbour.
        neigh: Neigh,
    },
    /// Adds the host's route to one guest.
    AddShimRoute {
        /// The route.
        route: ShimRoute,
    },
    /// Deletes the host's route to one guest.
    DelShimRoute {
        /// The route.
        route: ShimRoute,
    },
    /// Changes the host's own links: a bridge over its NIC, or over a VXLAN.
    Host {
        /// The change.
        step: Box<HostStep>,
    },
}

/// What a link was as a bridge's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldPort {
    /// The bridge.
    pub bridge: IfName,
    /// The VLANs that it carried; empty on a bridge that knows none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<PortVlan>,
    /// The VLAN that the bridge gives a new port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_pvid: Option<u16>,
}

/// A link that may have another index than it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The link.
    pub link: LinkRef,
    /// The index it had.
    pub index: u32,
}

/// What a NIC had before it was moved into a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicBefore {
    /// Its index.
    pub index: u32,
    /// Whether it was up.
    pub up: bool,
    /// The bridge or bond that it was a port of.
    pub master: Option<u32>,
    /// Addresses and routes.
    pub state: NicState,
}

impl Op {
    /// The new link, when the step makes one for a guest.
    pub fn newborn(&self) -> Option<&NewLink> {
        match self {
            Self::AddVeth { guest: link, .. } | Self::AddShared { link, .. } | Self::AddIpoib { link, .. } | Self::AddDummy { link } => {
                Some(link)
            }
            _ => None,
        }
    }

    /// Which side the step changes.
    pub fn side(&self) -> Side {
        match self {
            Self::AddBridge { .. } | Self::DelUnusedBridge { .. } | Self::AddVeth { .. } | Self::AddVlan { .. } => Side::Host,
            Self::Host { .. } => Side::Host,
            Self::DelUnusedVlan { .. } => Side::Host,
            Self::AddOvsBridge { .. } | Self::DelUnusedOvsBridge { .. } | Self::AddOvsPort { .. } | Self::DelOvsPort { .. } => Side::Host,
            Self::AddShim { .. } | Self::DelUnusedShim { .. } | Self::AddShimRoute { .. } | Self::DelShimRoute { .. } => Side::Host,
            Self::AddNeigh { neigh } | Self::DelNeigh { neigh } => neigh.link.side,
            Self::SetBridge { .. } | Self::SetOvsVlans { .. } => Side::Host,
            Self::TakeBack { steps } | Self::Again { steps } => steps.first().map_or(Side::Guest, Self::side),
            Self::SetVlanFiltering { .. } | Self::AddPortVlan { .. } | Self::DelPortVlan { .. } => Side::Host,
            Self::AddShared { .. } | Self::AddIpoib { .. } => Side::Host,
            Self::AddDummy { link } => link.at.side,
            Self::AddPair { .. } => Side::Guest,
            Self::At { step, .. } => step.side(),
            Self::MoveLink { from: link, .. }
            | Self::MovePhy { from: link, .. }
            | Self::DelOwnLink { link }
            | Self::DelLink { link }
            | Self::RenameLink { link, .. }
            | Self::AddAltName { link, .. }
            | Self::DelAltName { link, .. }
            | Self::SetMac { link, .. }
            | Self::SetMtu { link, .. }
            | Self::SetQueueLen { link, .. }
            | Self::SetOffload { link, .. }
            | Self::SetMaster { link, .. }
            | Self::SetUp { link }
            | Self::SetDown { link }
            | Self::AddAddr { link, .. }
            | Self::Probe { link, .. }
            | Self::Settle { link, .. }
            | Self::LeaseAddr { link, .. }
            | Self::DelAddr { link, .. }
            | Self::RestoreAddr { link, .. } => link.side,
            Self::AddIfb { .. } | Self::EnableIpv6 { .. } | Self::AcceptRouter { .. } | Self::SetSysctl { .. } => Side::Guest,
            Self::SetRoute { .. } | Self::AddRoute { .. } | Self::DelNewRoute { .. } => Side::Guest,
            Self::Tool { step } => step.side,
            Self::DelRoute { side, .. } | Self::RestoreRoute { side, .. } => *side,
        }
    }
}
