//! The host's own bridge: over its NIC, or over a VXLAN among hosts that share no Ethernet.

mod record;
mod report;

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facts::{AddrFacts, LinkFacts, RouteFacts};
use super::op::{Conf, Stp};
use super::types::{IfName, MacAddr};
pub use record::{HostBridge, Lasting, Phase, VERSION, WrittenFile};
pub use report::{HostReport, Watched};

/// The port that Docker's own overlay networks have (4789, RFC 7348), and ours beside it.
pub const VXLAN_PORT: u16 = 4790;
/// What VXLAN puts around a frame over IPv4, in bytes: Ethernet, IP, UDP, VXLAN (RFC 7348, section 5).
const OVER_IPV4: u32 = 50;
/// The same over IPv6.
const OVER_IPV6: u32 = 70;

/// What a bridge of the host lies on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Below {
    /// A NIC, whose addresses and routes go over to the bridge.
    Uplink(IfName),
    /// A VXLAN among hosts.
    Vxlan(Vxlan),
}

/// A VXLAN among hosts that share no Ethernet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vxlan {
    /// The network's number (VNI).
    pub id: u32,
    /// This host's address among the peers.
    pub local: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// The peers that are known at once; this host's own address is none.
    pub peers: Vec<IpAddr>,
}

/// What is wrong with the description of a VXLAN.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VxlanError {
    /// No such number.
    #[error("--vxlan {0}: give a number from 1 to 16777215")]
    Id(u32),
    /// Docker's.
    #[error("--port {0}: Docker's overlay networks have that port: give another, like {VXLAN_PORT}")]
    Port(u16),
    /// A peer of the other family, or no host's address.
    #[error("peer {0}: give a host's address of the same family as --local {1}")]
    Peer(IpAddr, IpAddr),
    /// No host's address.
    #[error("--local {0}: give an address of this host")]
    Local(IpAddr),
}

impl Vxlan {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// See [`VxlanError`].
    pub fn check(&self) -> Result<(), VxlanError> {
        if !(1..1 << 24).contains(&self.id) {
            return Err(VxlanError::Id(self.id));
        }
        if matches!(self.port, 0 | 4789) {
            return Err(VxlanError::Port(self.port));
        }
        if super::types::check_unicast(self.local).is_err() || self.local.is_loopback() {
            return Err(VxlanError::Local(self.local));
        }
        check_peers(self.local, &self.peers)
    }

    /// How much smaller than the way below it a bridge's MTU is.
    pub fn overhead(&self) -> u32 {
        if self.local.is_ipv4() { OVER_IPV4 } else { OVER_IPV6 }
    }
}

/// Says which of the peers cannot be one.
///
/// # Errors
/// [`VxlanError::Peer`].
pub fn check_peers(local: IpAddr, peers: &[IpAddr]) -> Result<(), VxlanError> {
    let fits = |peer: &IpAddr| peer.is_ipv4() == local.is_ipv4() && super::types::check_unicast(*peer).is_ok() && !peer.is_loopback();
    match peers.iter().find(|peer| !fits(peer)) {
        Some(peer) => Err(VxlanError::Peer(*peer, local)),
        None => Ok(()),
    }
}

/// The VXLAN link's name on the host, made of its bridge's.
pub fn vxlan_name(bridge: &IfName) -> IfName {
    super::facts::short_name(&format!("{bridge}-vx"))
}

/// What the network's configuration is kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// systemd-networkd: /etc/systemd/network.
    Networkd,
    /// NetworkManager: keyfiles.
    NetworkManager,
    /// initscripts: /etc/sysconfig/network-scripts.
    Ifcfg,
}

impl FromStr for Keeper {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "networkd" => Ok(Self::Networkd),
            "networkmanager" | "nm" => Ok(Self::NetworkManager),
            "ifcfg" => Ok(Self::Ifcfg),
            _ => Err(format!("--persist={text}: give networkd, networkmanager or ifcfg")),
        }
    }
}

impl std::fmt::Display for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Networkd => "systemd-networkd",
            Self::NetworkManager => "NetworkManager",
            Self::Ifcfg => "ifcfg files",
        })
    }
}

/// A link of the host with all that goes over to another, or came from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNow {
    /// The link.
    pub link: LinkFacts,
    /// Its addresses.
    pub addrs: Vec<AddrNow>,
    /// Routes through it that the kernel does not make by itself, in the order in which they can be added again.
    pub routes: Vec<RouteFacts>,
    /// The names and kinds of links that lie on it.
    pub children: Vec<(String, String)>,
    /// Its settings.
    pub conf: Vec<Conf>,
    /// Of a bridge: whether its ports wait.
    pub stp: Option<Stp>,
}

/// An address, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrNow {
    /// The address.
    pub facts: AddrFacts,
    /// Whether it has an end: a lease, or from a router.
    pub lent: bool,
    /// Whether the kernel made it for outgoing connections only (RFC 8981).
    pub temporary: bool,
}

/// What the host looks like before its bridge is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNow {
    /// The link that has the bridge's name.
    pub bridge: Option<LinkNow>,
    /// The NIC.
    pub uplink: Option<LinkNow>,
    /// The name of the NIC's master.
    pub master: Option<String>,
    /// The bridge's ports.
    pub ports: Vec<LinkFacts>,
    /// The VXLAN link, if it is there.
    pub vxlan: Option<VxlanNow>,
    /// MTU of the way to the peers.
    pub underlay_mtu: Option<u32>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: u8,
    /// The settings that a new link starts with.
    pub defaults: Vec<Conf>,
    /// A random address for a bridge that has no NIC to take one from.
    pub fresh_mac: MacAddr,
}

/// A VXLAN link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanNow {
    /// The link.
    pub link: LinkFacts,
    /// The network's number.
    pub id: Option<u32>,
    /// This host's address.
    pub local: Option<IpAddr>,
    /// The UDP port.
    pub port: Option<u16>,
    /// Where its broadcasts go.
    pub peers: Vec<IpAddr>,
}

/// How a bridge of the host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostBridgeNow {
    /// Its name.
    pub bridge: IfName,
    /// Whether it is there, and is a bridge.
    pub is_there: bool,
    /// Whether it is up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<super::types::IfAddr>,
    /// Its default gateways.
    pub gateways: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<String>,
    /// What `host up` wrote down of it.
    pub record: Option<HostBridge>,
    /// Where the VXLAN link's broadcasts go.
    pub peers: Vec<IpAddr>,
}
