//! One step of a plan. Every step prints as the `ip` command that does the same, and knows its undo.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::access::{Neigh, NewShim, ShimRoute};
use super::facts::{AddrFacts, NicState, RouteFacts};
use super::lease::Lifetime;
use super::ovs::NewOvsPort;
use super::phy::{Phy, PhyMember};
use super::sharing::Sharing;
use super::types::{IfAddr, IfName, LinkRef, MacAddr, Pkey, Side};
use super::vlan::{NicVlan, PortVlan};

/// A link that is to be made: where, how it is called, and what it starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLink {
    /// Side and name.
    pub at: LinkRef,
    /// MTU in bytes; the kernel's default when absent.
    pub mtu: Option<u32>,
    /// MAC address; random, or the kind's own, when absent.
    pub mac: Option<MacAddr>,
}

/// A change of the system. At most one thing of one object, so that it can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// The Linux bridge; Open vSwitch's ports are made in its database.
        bridge: Option<IfName>,
        /// The guest's end.
        guest: NewLink,
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
    /// Deletes a link that we made.
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
    /// Makes a link a port of a bridge or bond.
    SetMaster {
        /// Which link.
        link: LinkRef,
        /// Index of the master.
        master: u32,
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
}

/// A link that may have another index than it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The link.
    pub link: LinkRef,
    /// The index it had.
    pub index: u32,
}

/// What a NIC had before it was moved into a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A route that is to be made, through a link of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoute {
    /// A network without host bits, or a single host; everything when absent.
    pub to: Option<IpNetwork>,
    /// The gateway; none for an on-link route.
    pub via: Option<IpAddr>,
    /// The guest's link.
    pub dev: IfName,
}

impl NewRoute {
    /// Whether it is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.to.map(|to| to.ip()).or(self.via).is_some_and(|ip| ip.is_ipv6())
    }
}

impl Op {
    /// What takes this step back, in order. Empty when there is nothing to take back.
    pub fn undo(&self) -> Vec<Self> {
        match self {
            Self::AddBridge { name, .. } => vec![Self::DelUnusedBridge { name: name.clone() }],
            Self::AddOvsBridge { name } => vec![Self::DelUnusedOvsBridge { name: name.clone() }],
            Self::AddOvsPort { port } => vec![Self::DelOvsPort { port: port.clone() }],
            Self::AddVeth { host, .. } => vec![Self::DelLink { link: LinkRef::host(host) }],
            Self::AddVlan { name, .. } => vec![Self::DelUnusedVlan { name: name.clone() }],
            Self::SetVlanFiltering { bridge, on, ports } => vec![Self::SetVlanFiltering { bridge: bridge.clone(), on: !on, ports: *ports }],
            Self::AddPortVlan { port, vlan } => vec![Self::DelPortVlan { port: port.clone(), vlan: *vlan }],
            Self::DelPortVlan { port, vlan } => vec![Self::AddPortVlan { port: port.clone(), vlan: *vlan }],
            Self::AddShared { link, .. } | Self::AddIpoib { link, .. } | Self::AddDummy { link } => {
                vec![Self::DelLink { link: link.at.clone() }]
            }
            Self::MoveLink { from, to, before } => undo_move(from, to, before.as_ref()),
            Self::MovePhy { phy, wdev, from, to, before, others } => {
                let mut ops = vec![Self::MovePhy {
                    phy: phy.clone(),
                    wdev: *wdev,
                    from: to.clone(),
                    to: from.clone(),
                    before: None,
                    others: others.clone(),
                }];
                ops.extend(before.iter().flat_map(|before| put_back(from, before)));
                ops.extend(others.iter().filter(|_| before.is_some()).flat_map(|m| put_back(&LinkRef::host(&m.name), &m.before)));
                ops
            }
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
            Self::SetUp { link } => vec![Self::SetDown { link: link.clone() }],
            Self::AddAddr { link, addr } | Self::LeaseAddr { link, addr, .. } => vec![Self::DelAddr { link: link.clone(), addr: *addr }],
            Self::AddRoute { route } => vec![Self::DelNewRoute { route: route.clone() }],
            Self::DelRoute { side, route } => vec![Self::RestoreRoute { side: *side, route: route.clone(), moved: None }],
            Self::AddShim { shim } => vec![Self::DelUnusedShim { name: shim.name.clone(), mac: shim.mac }],
            Self::AddNeigh { neigh } => vec![Self::DelNeigh { neigh: neigh.clone() }],
            Self::DelNeigh { neigh } => vec![Self::AddNeigh { neigh: neigh.clone() }],
            Self::AddShimRoute { route } => vec![Self::DelShimRoute { route: route.clone() }],
            Self::DelShimRoute { route } => vec![Self::AddShimRoute { route: route.clone() }],
            // A sysctl of a link that goes with the link, and the steps that only undoing has.
            Self::EnableIpv6 { .. }
            | Self::DelUnusedShim { .. }
            | Self::DelUnusedVlan { .. }
            | Self::AcceptRouter { .. }
            | Self::DelUnusedBridge { .. }
            | Self::DelUnusedOvsBridge { .. }
            | Self::DelOvsPort { .. }
            | Self::DelLink { .. }
            | Self::DelAltName { .. }
            | Self::SetMaster { .. }
            | Self::SetDown { .. }
            | Self::DelAddr { .. }
            | Self::RestoreAddr { .. }
            | Self::DelNewRoute { .. }
            | Self::RestoreRoute { .. } => Vec::new(),
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
            Self::DelRoute { .. } | Self::DelNewRoute { .. } | Self::DelShimRoute { .. } => {
                matches!(errno, Errno::ESRCH | Errno::ENODEV | Errno::ENOENT)
            }
            Self::DelLink { .. } | Self::DelUnusedBridge { .. } | Self::DelUnusedShim { .. } | Self::SetDown { .. } => {
                errno == Errno::ENODEV
            }
            Self::DelPortVlan { .. } | Self::SetVlanFiltering { on: false, .. } | Self::DelUnusedVlan { .. } => errno == Errno::ENODEV,
            // A link of the host's that was to make room has gone by itself, or is deleted for good: the name is free.
            Self::RenameLink { link, .. } => link.side == Side::Host && errno == Errno::ENODEV,
            Self::DelAddr { .. } => matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV),
            // Alternative names are younger (Linux 5.5) than the rest: nothing but knowing the NIC again hangs on them.
            Self::AddAltName { .. } => matches!(errno, Errno::EOPNOTSUPP | Errno::EEXIST | Errno::EINVAL),
            Self::DelAltName { .. } => true,
            _ => false,
        }
    }

    /// Which side the step changes.
    pub fn side(&self) -> Side {
        match self {
            Self::AddBridge { .. } | Self::DelUnusedBridge { .. } | Self::AddVeth { .. } | Self::AddVlan { .. } => Side::Host,
            Self::DelUnusedVlan { .. } => Side::Host,
            Self::AddOvsBridge { .. } | Self::DelUnusedOvsBridge { .. } | Self::AddOvsPort { .. } | Self::DelOvsPort { .. } => Side::Host,
            Self::AddShim { .. } | Self::DelUnusedShim { .. } | Self::AddShimRoute { .. } | Self::DelShimRoute { .. } => Side::Host,
            Self::AddNeigh { neigh } | Self::DelNeigh { neigh } => neigh.link.side,
            Self::SetVlanFiltering { .. } | Self::AddPortVlan { .. } | Self::DelPortVlan { .. } => Side::Host,
            Self::AddShared { .. } | Self::AddIpoib { .. } => Side::Host,
            Self::AddDummy { link } => link.at.side,
            Self::MoveLink { from: link, .. }
            | Self::MovePhy { from: link, .. }
            | Self::DelLink { link }
            | Self::RenameLink { link, .. }
            | Self::AddAltName { link, .. }
            | Self::DelAltName { link, .. }
            | Self::SetMac { link, .. }
            | Self::SetMtu { link, .. }
            | Self::SetMaster { link, .. }
            | Self::SetUp { link }
            | Self::SetDown { link }
            | Self::AddAddr { link, .. }
            | Self::LeaseAddr { link, .. }
            | Self::DelAddr { link, .. }
            | Self::RestoreAddr { link, .. } => link.side,
            Self::EnableIpv6 { .. } | Self::AcceptRouter { .. } | Self::AddRoute { .. } | Self::DelNewRoute { .. } => Side::Guest,
            Self::DelRoute { side, .. } | Self::RestoreRoute { side, .. } => *side,
        }
    }

    /// The step in words, for `-v` and for errors: `add address 10.1.1.5/24 to eth1 in the guest`.
    pub fn describe(&self) -> String {
        match self {
            Self::AddBridge { name, vlan_filtering: false, .. } => format!("make bridge {name}"),
            Self::AddBridge { name, vlan_filtering: true, .. } => format!("make bridge {name}, which filters VLANs"),
            Self::DelUnusedBridge { name } => format!("remove bridge {name}"),
            Self::AddOvsBridge { name } => format!("make Open vSwitch bridge {name}"),
            Self::DelUnusedOvsBridge { name } => format!("remove Open vSwitch bridge {name}"),
            Self::AddOvsPort { port } => format!("make {} a port of {}", port.name, port.bridge),
            Self::DelOvsPort { port } => format!("remove port {} from {}", port.name, port.bridge),
            Self::AddVeth { host, bridge: Some(bridge), guest } => format!("make veth pair {host} on {bridge} and {}", guest.at),
            Self::AddVeth { host, bridge: None, guest } => format!("make veth pair {host} and {}", guest.at),
            Self::SetVlanFiltering { bridge, on: true, .. } => format!("make {bridge} filter VLANs"),
            Self::SetVlanFiltering { bridge, on: false, .. } => format!("make {bridge} filter no VLANs"),
            Self::AddPortVlan { port, vlan } => format!("let {port} carry VLAN {vlan}"),
            Self::DelPortVlan { port, vlan } => format!("take VLAN {vlan} from {port}"),
            Self::AddVlan { name, parent, vlan, .. } => format!("make {name}, {vlan} of {parent}"),
            Self::DelUnusedVlan { name } => format!("remove {name}"),
            Self::AddShared { parent, sharing, link } => format!("make {} {} on {parent}", sharing.kind(), link.at),
            Self::AddIpoib { parent, link, .. } => format!("make IPoIB child {} of {parent}", link.at),
            Self::AddDummy { link } => format!("make dummy {}", link.at),
            Self::DelLink { link } => format!("delete {link}"),
            Self::MoveLink { from, to, .. } => match to.side {
                Side::Guest => format!("move {from} into the guest as {}", to.name),
                Side::Host => format!("move {from} back to the host as {}", to.name),
            },
            Self::MovePhy { phy, from, to, .. } => match to.side {
                Side::Guest => format!("move {from} with its phy {} into the guest as {}", phy.name, to.name),
                Side::Host => format!("move {from} with its phy {} back to the host as {}", phy.name, to.name),
            },
            Self::RenameLink { link, name } => format!("rename {link} to {name}"),
            Self::AddAltName { link, name } => format!("give {link} the other name {name}"),
            Self::DelAltName { link, name } => format!("take the other name {name} from {link}"),
            Self::SetMac { link, mac, .. } => format!("set the address of {link} to {mac}"),
            Self::SetMtu { link, mtu, .. } => format!("set the MTU of {link} to {mtu}"),
            Self::SetMaster { link, master } => format!("make {link} a port of interface {master} again"),
            Self::SetUp { link } => format!("set {link} up"),
            Self::SetDown { link } => format!("set {link} down"),
            Self::EnableIpv6 { name } => format!("switch IPv6 on for {name} in the guest"),
            Self::AcceptRouter { name } => format!("let {name} in the guest take addresses from routers"),
            Self::AddAddr { link, addr } => format!("add address {addr} to {link}"),
            Self::LeaseAddr { link, addr, .. } => format!("put the lent address {addr} on {link}"),
            Self::DelAddr { link, addr } => format!("delete address {addr} from {link}"),
            Self::RestoreAddr { link, addr } => format!("put address {} back on {link}", addr.addr),
            Self::AddRoute { route } => format!("add route {route} in the guest"),
            Self::DelNewRoute { route } => format!("delete route {route} in the guest"),
            Self::DelRoute { side, route } => format!("delete route {} {}", route.text, on(*side)),
            Self::RestoreRoute { side, route, .. } => format!("put route {} back {}", route.text, on(*side)),
            Self::AddShim { shim } => format!("make {}, the host's own macvlan on {}", shim.name, shim.parent),
            Self::DelUnusedShim { name, .. } => format!("remove {name}"),
            Self::AddNeigh { neigh } => format!("make {} known as {} on {}", neigh.ip, neigh.mac, neigh.link),
            Self::DelNeigh { neigh } => format!("forget {} on {}", neigh.ip, neigh.link),
            Self::AddShimRoute { route } => format!("add route {route} on the host"),
            Self::DelShimRoute { route } => format!("delete route {route} on the host"),
        }
    }
}

fn on(side: Side) -> &'static str {
    match side {
        Side::Host => "on the host",
        Side::Guest => "in the guest",
    }
}

/// Back to the host under its name; then what the move took away.
fn undo_move(from: &LinkRef, to: &LinkRef, before: Option<&NicBefore>) -> Vec<Op> {
    let mut ops = vec![Op::MoveLink { from: to.clone(), to: from.clone(), before: None }];
    ops.extend(before.iter().flat_map(|before| put_back(from, before)));
    ops
}

/// What a NIC had before it was moved away, in the order that the kernel wants.
fn put_back(nic: &LinkRef, before: &NicBefore) -> Vec<Op> {
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

/// A destination as `ip route` has it: a host without its prefix length.
pub(super) fn destination(to: &IpNetwork) -> String {
    let host = if to.is_ipv4() { 32 } else { 128 };
    if to.prefix() == host { to.ip().to_string() } else { to.to_string() }
}

impl std::fmt::Display for NewRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to {
            Some(to) => f.write_str(&destination(&to))?,
            None => f.write_str("default")?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.dev)
    }
}
