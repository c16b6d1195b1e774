//! What the two sides look like when a plan is made: observed, plain data.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::access::AccessFacts;
use super::bridge::BridgeVlans;
use super::op::{OldPort, Op};
use super::ovs::OvsFacts;
use super::phy::PhyFacts;
use super::request::{AttachRequest, HostIf};
use super::settings::Features;
use super::sharing::Sharing;
use super::types::{Family, IfAddr, IfName, MacAddr};
use super::vlan::{NicVlan, VlanProtocol};

/// Everything that planning an attach has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The host's side.
    pub host: HostFacts,
    /// The guest's side.
    pub guest: GuestFacts,
    /// A random address, for a bridge that is to be made; no more than a placeholder when there is one.
    pub fresh_mac: MacAddr,
}

/// The host's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The host interface of the request.
    pub link: Option<LinkFacts>,
    /// The link that has the name of the NIC's child for the VLAN ([`NicVlan::child`]).
    pub vlan_link: Option<LinkFacts>,
    /// The link that has the name our veth's host end is to have.
    pub local_link: Option<LinkFacts>,
    /// The bridge, bond or VRF that the NIC is a port of.
    pub master: Option<LinkFacts>,
    /// The link of the host that is the other end of the guest's interface.
    pub peer: Option<LinkFacts>,
    /// The Linux bridge that the peer is a port of, when that is not the one of the request.
    pub peer_bridge: Option<OldPort>,
    /// What Open vSwitch's database has; `None` when there was no reason to ask it.
    pub ovs: Option<OvsFacts>,
    /// How many ports the bridge has.
    pub ports: usize,
    /// The gateways asked for that are the host's own addresses.
    pub own_gateways: Vec<IpAddr>,
    /// What goes with a NIC when it is moved away, or is given to one guest whole.
    pub nic: NicState,
    /// What there is of the host's access to the guest, when it is asked for.
    pub access: Option<AccessFacts>,
    /// Whether the NIC is a Wi-Fi station's or the like.
    pub wireless: bool,
    /// Who shares the NIC already, on this host and in guests; looked at only when it is asked how to share it.
    pub siblings: Vec<Sibling>,
    /// How the bridge filters VLANs; looked at only when it matters: a VLAN is asked for, or the guest's link is there.
    pub vlans: Option<BridgeVlans>,
    /// The phy of a Wi-Fi interface that is to be moved away.
    pub phy: Option<PhyFacts>,
    /// The features of a NIC that is to be moved away; looked at only when some are to be switched.
    pub features: Option<Features>,
    /// IPoIB children of the InfiniBand interface that we made, and that came back when their guest died.
    pub returned: Vec<LinkFacts>,
}

impl HostFacts {
    /// Whether a gateway that is asked for is one of the host's own addresses.
    pub fn owns(&self, gateway: &IpAddr) -> bool {
        self.own_gateways.contains(gateway)
    }
}

/// A link that shares a NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its name, in whatever namespace it is.
    pub name: String,
    /// How it shares.
    pub sharing: Sharing,
}

/// What a NIC loses when it leaves the host: recorded to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicState {
    /// Its addresses.
    pub addrs: Vec<AddrFacts>,
    /// Routes through it, in the order in which they can be added again.
    pub routes: Vec<RouteFacts>,
    /// Names of the links that are made on it (VLANs, macvlans), on the host and in guests: they go down with it.
    pub children: Vec<String>,
}

impl NicState {
    /// Whether the host's default route goes through the NIC.
    pub fn carries_default(&self) -> bool {
        self.routes.iter().any(|r| r.is_default)
    }
}

/// The guest's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFacts {
    /// Who it is.
    pub id: GuestId,
    /// Whether its network namespace is the host's own.
    pub shares_host: bool,
    /// The link that has the wanted name already.
    pub link: Option<LinkFacts>,
    /// All its addresses of the request's families.
    pub addrs: Vec<AddrFacts>,
    /// Its default routes in table main, of the gateways' families, in the kernel's order.
    pub default_routes: Vec<RouteFacts>,
    /// Its routing tables; looked at only when the interface is to have one of its own.
    pub tables: TableFacts,
    /// Steps in the words of `tc`, `ip route` and `ip rule` that were taken for the interface, and whose effect is gone.
    pub lost: Vec<Op>,
    /// Whether new links have IPv6 switched off (net.ipv6.conf.default.disable_ipv6).
    pub ipv6_disabled: bool,
}

/// The routing tables of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// Those that have routes, or that rules lead to.
    pub used: BTreeSet<u32>,
    /// The tables that rules have for what comes from a single address.
    pub rules: Vec<(IpAddr, u32)>,
}

impl TableFacts {
    /// The table of an address.
    pub fn of(&self, ip: IpAddr) -> Option<u32> {
        self.rules.iter().find(|(from, _)| *from == ip).map(|(_, table)| *table)
    }
}

/// Who a guest is: for messages, made names and printed commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestId {
    /// As the user named it.
    pub name: String,
    /// How it was found: `docker`, `podman`, `lxc`, `pid`, `netns`, `cni`.
    pub engine: &'static str,
    /// The engine's own identifier.
    pub container: Option<String>,
    /// The engine's own name of the container.
    pub container_name: Option<String>,
    /// A process in its namespace, where there is one.
    pub pid: Option<u32>,
    /// The namespace file, as one would give it to nsenter(1).
    pub path: String,
    /// The inode number of the namespace.
    pub netns: u64,
}

impl GuestId {
    /// The host itself, which steps are printed for that are about no guest.
    pub fn of_host(path: String, netns: u64) -> Self {
        Self { name: "this host".into(), engine: "netns", container: None, container_name: None, pid: None, path, netns }
    }

    /// What stands in made interface names for the guest: the PID as in the original, else the namespace.
    pub fn number(&self) -> u64 {
        self.pid.map_or(self.netns, u64::from)
    }
}

/// A link as observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Other names (IFLA_PROP_LIST).
    pub alt_names: Vec<String>,
    /// What it is.
    pub kind: LinkKind,
    /// What it carries.
    pub layer: Layer,
    /// IFF_UP.
    pub up: bool,
    /// IFLA_CARRIER.
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// How many packets may wait (IFLA_TXQLEN).
    pub queue_len: u32,
    /// Ethernet address.
    pub mac: Option<MacAddr>,
    /// Index of the bridge, bond, ... that it is a port of.
    pub master: Option<u32>,
    /// IFLA_LINK: the parent, or a veth's other end.
    pub link: Option<u32>,
    /// Whether a port of a Linux bridge forwards; `None` when it is no such port.
    pub forwarding: Option<bool>,
    /// IFLA_GROUP: ours is [`super::mark::GROUP`].
    pub group: u32,
}

/// What kind of link it is (IFLA_INFO_KIND).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// None: a NIC.
    Device,
    /// `bridge`
    Bridge,
    /// `openvswitch`: a bridge's own port.
    OpenVswitch,
    /// `veth`
    Veth,
    /// `macvlan`, `macvtap` or `ipvlan`, in a mode that we know.
    Shared(Sharing),
    /// `vlan`
    Vlan {
        /// The VLAN identifier.
        id: Option<u16>,
        /// Which tags.
        protocol: VlanProtocol,
    },
    /// `dummy`
    Dummy,
    /// `ipoib` with its partition key.
    Ipoib {
        /// The partition key.
        pkey: Option<u16>,
    },
    /// Any other, by name.
    Other(String),
}

impl LinkKind {
    /// The name that `ip link ... type` has for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Device => "physical",
            Self::Bridge => "bridge",
            Self::OpenVswitch => "openvswitch",
            Self::Veth => "veth",
            Self::Shared(sharing) => sharing.kind(),
            Self::Vlan { .. } => "vlan",
            Self::Dummy => "dummy",
            Self::Ipoib { .. } => "ipoib",
            Self::Other(name) => name,
        }
    }
}

/// The link layer (ARPHRD_*, linux/if_arp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// ARPHRD_ETHER
    Ethernet,
    /// ARPHRD_INFINIBAND
    Infiniband,
    /// Any other.
    Other,
}

/// An address as observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddrFacts {
    /// Index of its link.
    pub index: u32,
    /// Name of its link, where it was looked up.
    pub dev: Option<String>,
    /// The address.
    pub addr: IfAddr,
    /// Whether the kernel makes it by itself (link-local, or from a router advertisement).
    pub automatic: bool,
    /// Whether it bears our mark ([`super::mark::PROTO`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ours: bool,
    /// The kernel's own message, from which it is made again.
    #[serde(with = "hex")]
    pub raw: Vec<u8>,
}

/// A route as observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFacts {
    /// As `ip route` prints it.
    pub text: String,
    /// Its family, which the text need not show.
    pub family: Family,
    /// Whether it is a default route.
    pub is_default: bool,
    /// Gateway.
    pub gateway: Option<IpAddr>,
    /// Index of the link it goes through; none when it has several next hops.
    pub index: Option<u32>,
    /// Indexes of all the links it goes through.
    pub links: Vec<u32>,
    /// Priority; 0 is the first for IPv4.
    pub metric: u32,
    /// The kernel's own message, from which it is deleted or made again.
    #[serde(with = "hex")]
    pub raw: Vec<u8>,
}

impl RouteFacts {
    /// As `ip route` prints it, without the link that it goes through.
    pub fn without_link(&self) -> String {
        let mut words: Vec<&str> = self.text.split(' ').collect();
        if let Some(at) = words.iter().position(|word| *word == "dev") {
            words.drain(at..(at + 2).min(words.len()));
        }
        words.join(" ")
    }
}

/// The names that a request leads to, before anything is known of the system but the guest's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Number of the guest: PID or namespace.
    number: u64,
}

impl Names {
    /// Names for a guest.
    pub fn of(guest: &GuestId) -> Self {
        Self { number: guest.number() }
    }

    /// `-l`, else the original's name of a veth's host end, `v<guestif>pl<pid>`.
    pub fn host_end(&self, request: &AttachRequest) -> IfName {
        request.local_if.clone().unwrap_or_else(|| {
            let guest_if = guest_if(request);
            self.made(&format!("v{guest_if}pl{}", self.number))
        })
    }

    /// A temporary name on the host for a link that is to be the guest's.
    pub fn passing(&self, prefix: &str, guest_if: &IfName) -> IfName {
        self.made(&format!("{prefix}{}{guest_if}", self.number))
    }

    /// How the names begin under which old links are set aside.
    pub const ASIDE: &str = "old-";

    /// A name to set an old link of the name `name` aside under.
    pub fn aside(&self, name: &IfName) -> IfName {
        self.made(&format!("{}{name}-{}", Self::ASIDE, self.number))
    }

    /// See [`short_name`].
    pub fn made(&self, text: &str) -> IfName {
        short_name(text)
    }
}

/// `text` when it is short enough for an interface name, else a short name that is as unique.
pub fn short_name(text: &str) -> IfName {
    use md5::{Digest, Md5};
    text.parse().unwrap_or_else(|_| {
        let digest = Md5::digest(text.as_bytes());
        let hex: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
        IfName::made(&format!("pw{hex}"))
    })
}

/// The guest interface's name on Ethernet: `-i`, else `eth1`.
pub fn guest_if(request: &AttachRequest) -> IfName {
    request.guest_if.clone().unwrap_or_else(|| IfName::made("eth1"))
}

/// The alternative name that a NIC bears in a guest, from which its name on the host is known again.
pub fn origin_name(host_if: &str) -> String {
    format!("pipework.from.{host_if}")
}

/// The alternative name of an IPoIB child that we made for a guest: it comes back to the first namespace when the guest dies
/// (`netns_refund` in the kernel's drivers/infiniband/ulp/ipoib), and is then known to serve nobody.
pub fn child_name(parent: &str, guest: &GuestId, guest_if: &IfName) -> String {
    format!("{CHILD}{parent}.{}.{guest_if}", guest.number())
}

/// How such names begin.
const CHILD: &str = "pipework.ipoib.";

impl LinkFacts {
    /// Whether we made it.
    pub fn is_ours(&self) -> bool {
        self.group == super::mark::GROUP
    }

    /// Whether we made it as an InfiniBand interface's child for a guest.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        let ours = self.alt_names.iter().any(|name| name.starts_with(CHILD));
        ours && matches!(self.kind, LinkKind::Ipoib { .. }) && self.link == Some(parent.index) && self.index != parent.index
    }

    /// Whether we made it as an InfiniBand interface's child for a guest, whatever interface that was.
    pub fn is_child(&self) -> bool {
        self.alt_names.iter().any(|name| name.starts_with(CHILD))
    }

    /// Whether it bears a name that says where it came from.
    pub fn is_marked(&self) -> bool {
        self.alt_names.iter().any(|name| name.starts_with(&origin_name("")))
    }

    /// Whether this is the NIC that the request means, moved into the guest before.
    pub fn came_from(&self, request: &AttachRequest) -> bool {
        let vlan = request.tag.as_ref().map(NicVlan::of).transpose();
        match (&request.host_if, vlan) {
            (_, Err(_)) | (HostIf::Guest(_), _) => false,
            (HostIf::Name(name), Ok(None)) => self.alt_names.contains(&origin_name(name.as_str())),
            (HostIf::Name(name), Ok(Some(vlan))) => {
                vlan.child(name.as_str()).is_ok_and(|child| self.alt_names.contains(&origin_name(child.as_str())))
            }
            (HostIf::Mac(mac), Ok(vlan)) => {
                let end = vlan.map(|vlan| vlan.suffix()).unwrap_or_default();
                self.mac == Some(*mac) && self.alt_names.iter().any(|n| n.starts_with(&origin_name("")) && n.ends_with(&end))
            }
        }
    }

    /// Index of the link that a new one comes to lie on: a macvlan's own parent takes its place (macvlan_dev_real_dev, in
    /// macvlan_common_newlink), an ipvlan's likewise (ipvlan_link_new).
    pub fn base_for(&self, sharing: &Sharing) -> u32 {
        match &self.kind {
            LinkKind::Shared(own) if own.is_ipvlan() == sharing.is_ipvlan() => self.link.unwrap_or(self.index),
            _ => self.index,
        }
    }

    /// The side-neutral one-line description of a link, for messages.
    pub fn describe(&self) -> String {
        format!("{} ({}, mtu {}{})", self.name, self.kind.name(), self.mtu, if self.up { ", up" } else { ", down" })
    }
}
