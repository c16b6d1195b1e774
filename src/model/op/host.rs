//! Steps that only the host's own bridge needs: a NIC's addresses and routes go over to it, and a VXLAN link knows its peers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Op;
use crate::model::command::quoted;
use crate::model::facts::{AddrFacts, RouteFacts};
use crate::model::types::{Family, IfName, LinkRef, MacAddr};

/// A change of the host's own links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum HostStep {
    /// Makes a bridge whose ports forward at once, up.
    AddBridge {
        /// Its name.
        name: IfName,
        /// Its address, which does not follow its ports'.
        mac: MacAddr,
        /// MTU in bytes.
        mtu: u32,
    },
    /// Has a bridge speak the spanning tree protocol or not, and its ports wait before they forward.
    SetStp {
        /// Which bridge.
        bridge: IfName,
        /// How it is to be.
        to: Stp,
        /// How it was.
        before: Stp,
    },
    /// Waits until the kernel has brought a bridge to work whose first port came: until then what it sends is lost.
    Ready {
        /// Which bridge.
        link: IfName,
    },
    /// Gives a link an address as another has it, without asking whether somebody has it: the other does.
    PutAddr {
        /// The link.
        link: IfName,
        /// The address as it was observed.
        addr: AddrFacts,
    },
    /// Takes an address away, as it was observed.
    DropAddr {
        /// The link.
        link: IfName,
        /// The address.
        addr: AddrFacts,
    },
    /// Adds a route as another link has it, behind those to the same destination.
    PutRoute {
        /// The link.
        link: IfName,
        /// The route as it was observed.
        route: RouteFacts,
        /// Index of the link that it went through then.
        from: u32,
    },
    /// Takes a route away that goes through a link.
    DropRoute {
        /// The link.
        link: IfName,
        /// The route as it was observed.
        route: RouteFacts,
        /// Index of the link that it went through then.
        from: u32,
    },
    /// Sets a setting of one link under `net/ipv4/conf` or `net/ipv6/conf`.
    SetConf {
        /// The link.
        link: IfName,
        /// The setting, and its value.
        conf: Conf,
        /// The value that it had.
        before: String,
    },
    /// Makes a VXLAN link that learns no peers by itself (learning off), up, as a bridge's port.
    AddVxlan {
        /// The link.
        link: VxlanLink,
    },
    /// Sends a VXLAN link's broadcasts, and what it knows no place for, to one peer more.
    AddPeer {
        /// The link.
        link: IfName,
        /// The peer's address.
        peer: IpAddr,
    },
    /// Sends them no more.
    DelPeer {
        /// The link.
        link: IfName,
        /// The peer's address.
        peer: IpAddr,
    },
}

/// What makes a bridge's new port wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stp {
    /// Whether the spanning tree protocol is on.
    pub on: bool,
    /// For how long a port listens, and then learns, in hundredths of a second.
    pub forward_delay: u32,
}

/// A setting of one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conf {
    /// Under `net/ipv4` or `net/ipv6`.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Conf {
    /// Its path under /proc/sys for a link.
    pub fn path(&self, link: &str) -> String {
        let family = if self.family == Family::Inet { "ipv4" } else { "ipv6" };
        format!("net/{family}/conf/{link}/{}", self.name)
    }
}

/// A VXLAN link that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VxlanLink {
    /// Its name.
    pub name: IfName,
    /// The bridge that it is a port of.
    pub bridge: IfName,
    /// The network's number (VNI).
    pub id: u32,
    /// This host's address among its peers.
    pub local: IpAddr,
    /// The UDP port of all of them.
    pub port: u16,
    /// MTU in bytes.
    pub mtu: u32,
}

impl HostStep {
    /// As a step of a plan.
    pub fn op(self) -> Op {
        Op::Host { step: Box::new(self) }
    }

    /// What takes the step back.
    pub(super) fn undo(&self) -> Vec<Op> {
        let back = match self.clone() {
            Self::AddBridge { name, .. } => return vec![Op::DelUnusedBridge { name }],
            Self::AddVxlan { link } => return vec![Op::DelOwnLink { link: LinkRef::host(&link.name) }],
            Self::Ready { .. } => return Vec::new(),
            Self::SetStp { bridge, to, before } => Self::SetStp { bridge, to: before, before: to },
            Self::PutAddr { link, addr } => Self::DropAddr { link, addr },
            Self::DropAddr { link, addr } => Self::PutAddr { link, addr },
            Self::PutRoute { link, route, from } => Self::DropRoute { link, route, from },
            Self::DropRoute { link, route, from } => Self::PutRoute { link, route, from },
            Self::SetConf { link, conf, before } => {
                Self::SetConf { link, before: conf.value.clone(), conf: Conf { value: before, ..conf } }
            }
            Self::AddPeer { link, peer } => Self::DelPeer { link, peer },
            Self::DelPeer { link, peer } => Self::AddPeer { link, peer },
        };
        vec![back.op()]
    }

    /// Whether the error means that what the step is for is already so.
    pub(super) fn tolerates(&self, errno: nix::errno::Errno) -> bool {
        use nix::errno::Errno;
        match self {
            Self::PutAddr { .. } | Self::PutRoute { .. } | Self::AddPeer { .. } => errno == Errno::EEXIST,
            Self::DropAddr { .. } => matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV),
            Self::DropRoute { .. } | Self::DelPeer { .. } => matches!(errno, Errno::ESRCH | Errno::ENODEV | Errno::ENOENT),
            // A kernel without it, or without IPv6, has nothing to set; under a read-only /proc/sys things are as the kernel has
            // them; and addresses that are made of a secret (addr_gen_mode 2) need that, which no other link may have.
            Self::SetConf { conf, .. } => {
                matches!(errno, Errno::ENOENT | Errno::EROFS | Errno::EACCES) || (errno == Errno::EINVAL && conf.name == "addr_gen_mode")
            }
            _ => false,
        }
    }

    /// The step in words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::AddBridge { name, .. } => format!("make bridge {name}, whose ports forward at once"),
            Self::SetStp { bridge, to, .. } if to.on => format!("switch the spanning tree protocol of {bridge} on again"),
            Self::SetStp { bridge, .. } => format!("let ports of {bridge} forward at once"),
            Self::Ready { link } => format!("wait until {link} sends"),
            Self::PutAddr { link, addr } => format!("put address {} on {link}", addr.addr),
            Self::DropAddr { link, addr } => format!("take address {} from {link}", addr.addr),
            Self::PutRoute { link, route, .. } => format!("lead route {} through {link}", text(route)),
            Self::DropRoute { link, route, .. } => format!("lead route {} through {link} no more", text(route)),
            Self::SetConf { link, conf, .. } => format!("set {}={}", conf.path(link.as_str()), conf.value),
            Self::AddVxlan { link } => format!("make VXLAN link {} of network {} on {}", link.name, link.id, link.bridge),
            Self::AddPeer { link, peer } => format!("make {peer} a peer of {link}"),
            Self::DelPeer { link, peer } => format!("make {peer} no peer of {link}"),
        }
    }

    /// The command that does the same.
    pub(in crate::model) fn command(&self) -> String {
        let q = |name: &IfName| quoted(name.as_str());
        match self {
            Self::AddBridge { name, mac, mtu } => format!(
                "ip link add name {} up address {mac} mtu {mtu} group {} type bridge stp_state 0 forward_delay 0",
                q(name),
                crate::model::mark::GROUP
            ),
            Self::SetStp { bridge, to, .. } => {
                let set = |what: &str, value: u32| format!("ip link set dev {} type bridge {what} {value}", q(bridge));
                let [state, delay] = [set("stp_state", to.on.into()), set("forward_delay", to.forward_delay)];
                if to.on { format!("{delay} && {state}") } else { format!("{state} && {delay}") }
            }
            Self::Ready { link } => format!("# wait until it is UP: ip link show dev {}", q(link)),
            Self::PutAddr { link, addr } => format!("ip addr add {} dev {}{}", addr.addr, q(link), nodad(addr)),
            Self::DropAddr { link, addr } => format!("ip addr del {} dev {}", addr.addr, q(link)),
            Self::PutRoute { link, route, .. } => format!("ip {}route append {} dev {}", family(route), text(route), q(link)),
            Self::DropRoute { link, route, .. } => format!("ip {}route del {} dev {}", family(route), text(route), q(link)),
            Self::SetConf { link, conf, .. } => {
                format!("sysctl -qw {}", quoted(&format!("{}={}", conf.path(link.as_str()), conf.value)))
            }
            Self::AddVxlan { link } => format!(
                "ip link add name {} up mtu {} master {} group {} type vxlan id {} dstport {} local {} nolearning",
                q(&link.name),
                link.mtu,
                q(&link.bridge),
                crate::model::mark::GROUP,
                link.id,
                link.port,
                link.local
            ),
            Self::AddPeer { link, peer } => format!("bridge fdb append 00:00:00:00:00:00 dev {} dst {peer}", q(link)),
            Self::DelPeer { link, peer } => format!("bridge fdb del 00:00:00:00:00:00 dev {} dst {peer}", q(link)),
        }
    }
}

fn nodad(addr: &AddrFacts) -> &'static str {
    if addr.addr.family() == Family::Inet6 { " nodad" } else { "" }
}

fn family(route: &RouteFacts) -> &'static str {
    if route.family == Family::Inet6 { "-6 " } else { "" }
}

/// Without the link that it went through.
fn text(route: &RouteFacts) -> String {
    route.without_link()
}
