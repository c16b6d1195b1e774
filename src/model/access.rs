//! The host's access to its own macvlan guests: what is there of it, what is granted, and who has it.
//!
//! The kernel lets a macvlan and its parent not talk to each other. A *shim* is a macvlan of the host's own on the same
//! parent: a sibling of the guest's, to which it can talk. It has no address, knows no ARP and hears no broadcast; the
//! guest's address is routed through it with the host's own as source, and each side has the other's MAC address as a
//! permanent neighbour. So no address is burned, and nothing on the LAN ever learns the shim's MAC address for the host's.

use std::fmt::{self, Display};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::error::InputError;
use super::facts::{GuestId, LinkFacts};
use super::types::{IfAddr, IfName, LinkRef, MacAddr};

/// The mark on a shim: its other name begins so and ends with the parent's name.
pub const SHIM_MARK: &str = "pipework.shim.";

/// A shim that is to be made on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewShim {
    /// Its name.
    pub name: IfName,
    /// The guests' parent.
    pub parent: IfName,
    /// Its MAC address, which is its broadcast address too, so that it hears no broadcast.
    pub mac: MacAddr,
    /// MTU in bytes.
    pub mtu: u32,
}

impl NewShim {
    /// Its other name.
    pub fn mark(&self) -> String {
        format!("{SHIM_MARK}{}", self.parent)
    }
}

/// A permanent neighbour: whoever wants to reach `ip` through `link` sends to `mac` and asks nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neigh {
    /// Through which link.
    pub link: LinkRef,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// Its MAC address.
    pub mac: MacAddr,
}

/// The host's route to one guest, through a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimRoute {
    /// The shim.
    pub dev: IfName,
    /// The guest's address.
    pub to: IpAddr,
    /// The host's own address, from which it sends.
    pub src: IpAddr,
}

impl Display for ShimRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {} src {}", self.to, self.dev, self.src)
    }
}

/// An address of the parent that the host may send from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentAddr {
    /// The address.
    pub addr: IfAddr,
    /// Whether it ends by itself (from a lease or a router advertisement).
    pub passing: bool,
}

/// The host's route to the guest's address alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactRoute {
    /// As `ip route` prints it.
    pub text: String,
    /// Index of its link, if it has just one.
    pub index: Option<u32>,
    /// The preferred source.
    pub src: Option<IpAddr>,
}

/// What there is of an access, or in its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFacts {
    /// The link that has the shim's name.
    pub shim: Option<LinkFacts>,
    /// The parent's addresses of the guest's family.
    pub addrs: Vec<ParentAddr>,
    /// The link of the host that has the guest's address.
    pub taken_by: Option<String>,
    /// The host's route to the guest's address alone, in table main.
    pub route: Option<ExactRoute>,
    /// The guest's address as a permanent neighbour on the shim.
    pub neigh: Option<MacAddr>,
    /// Permanent neighbours on the guest's link.
    pub guest_neighs: Vec<(IpAddr, MacAddr)>,
    /// Single addresses that the guest reaches through its link without a gateway.
    pub guest_routes: Vec<IpAddr>,
    /// A random address for a guest's link that is to be made: the shim has to know it.
    pub fresh_mac: MacAddr,
}

/// An access as planned: what is recorded of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The parent, on the host.
    pub parent: IfName,
    /// Index of the link that macvlans on it come to lie on.
    pub parent_index: u32,
    /// The shim.
    pub shim: IfName,
    /// Its MAC address.
    pub shim_mac: MacAddr,
    /// The guest's interface.
    pub interface: IfName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its address.
    pub address: IpAddr,
    /// The host's own.
    pub source: IpAddr,
    /// Whether the guest needs a route of its own to that.
    pub on_link: bool,
}

/// A guest that has access: as recorded. The record is the program's own, but may be of another version, or nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The guest as the user named it.
    pub guest: String,
    /// How it was found.
    pub engine: String,
    /// A process in its namespace, then.
    pub pid: Option<u32>,
    /// The namespace file, then.
    pub path: String,
    /// Inode number of the namespace.
    pub netns: u64,
    /// The guest's interface.
    pub interface: IfName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its address.
    pub address: IpAddr,
    /// The host's address that it is reached from.
    pub source: IpAddr,
    /// Whether it got a route to that.
    pub on_link: bool,
    /// The parent.
    pub parent: IfName,
    /// Index of the link that macvlans on it come to lie on.
    pub parent_index: u32,
    /// The shim.
    pub shim: IfName,
    /// Its MAC address.
    pub shim_mac: MacAddr,
}

impl User {
    /// A guest that is granted access.
    pub fn new(guest: &GuestId, grant: &Grant) -> Self {
        Self {
            guest: guest.name.clone(),
            engine: guest.engine.to_owned(),
            pid: guest.pid,
            path: guest.path.clone(),
            netns: guest.netns,
            interface: grant.interface.clone(),
            mac: grant.mac,
            address: grant.address,
            source: grant.source,
            on_link: grant.on_link,
            parent: grant.parent.clone(),
            parent_index: grant.parent_index,
            shim: grant.shim.clone(),
            shim_mac: grant.shim_mac,
        }
    }

    /// Whether both are the same interface of the same guest.
    pub fn is(&self, other: &Self) -> bool {
        (self.netns, &self.interface) == (other.netns, &other.interface)
    }
}

/// The name of a parent's shim: `pws-<parent>`, or a short name that is as unique.
pub fn shim_name(parent: &str) -> IfName {
    super::facts::short_name(&format!("pws-{parent}"))
}

/// The MAC address of a parent's shim: always the same, so that guests know it again when it had to be made anew.
///
/// # Errors
/// None for any name that a link can have.
pub fn shim_mac(parent: &str, mac: MacAddr) -> Result<MacAddr, InputError> {
    MacAddr::from_unique(&format!("{SHIM_MARK}{parent}.{mac}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_addresses_of_shims_are_short_and_their_own() {
        assert_eq!(shim_name("eth0.10").as_str(), "pws-eth0.10");
        let long = shim_name("enp0s31f6.4094");
        assert!(long.as_str().len() <= IfName::MAX && long == shim_name("enp0s31f6.4094") && long != shim_name("enp0s31f6.4093"));
        let mac = "02:00:00:00:00:01".parse().unwrap();
        assert_eq!(shim_mac("eth0", mac).unwrap(), shim_mac("eth0", mac).unwrap());
        assert_ne!(shim_mac("eth0", mac).unwrap(), shim_mac("eth0.10", mac).unwrap());
    }

    #[test]
    fn a_record_that_names_no_link_is_refused() {
        let user = User {
            guest: "web".into(),
            engine: "docker".into(),
            pid: Some(4711),
            path: "/proc/4711/ns/net".into(),
            netns: 42,
            interface: "eth1".parse().unwrap(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            address: "10.0.0.2".parse().unwrap(),
            source: "10.0.0.1".parse().unwrap(),
            on_link: false,
            parent: "eth0".parse().unwrap(),
            parent_index: 2,
            shim: "pws-eth0".parse().unwrap(),
            shim_mac: "02:00:00:00:00:02".parse().unwrap(),
        };
        let text = serde_json::to_string(&user).unwrap();
        assert_eq!(serde_json::from_str::<User>(&text).unwrap(), user);
        for bad in [text.replace("pws-eth0", "../../x"), text.replace("02:00:00:00:00:02", "01:00:00:00:00:02"), "{}".into()] {
            assert!(serde_json::from_str::<User>(&bad).is_err(), "{bad}");
        }
    }
}
