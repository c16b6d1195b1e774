//! Why a request cannot be planned. Each message names the fact; the hint says what to type.

use thiserror::Error;

use super::{PairError, SettingError, SharingError, VlanError};
use crate::model::difference::Difference;
use crate::model::error::InputError;

/// A reason known before anything is changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A word that only now turned out wrong, such as a VLAN on InfiniBand.
    #[error(transparent)]
    Input(#[from] InputError),
    /// VLANs.
    #[error(transparent)]
    Vlan(#[from] VlanError),
    /// What the interface is to be given beyond its addresses.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// How a NIC is to be shared.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// A link between two guests.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The first word names nothing that can be attached to. The original's words.
    #[error("I do not know how to setup interface {name}.")]
    UnknownInterface {
        /// The word.
        name: String,
    },
    /// No NIC has the MAC address. The original's words.
    #[error("Mac address {} specified for interface but no host interface matched.", .text.trim_start_matches("mac:"))]
    NoSuchMac {
        /// The word.
        text: String,
    },
    /// The guest runs in the host's own namespace.
    #[error("{guest} has no network namespace of its own: it shares the host's")]
    GuestIsHost {
        /// The guest.
        guest: String,
    },
    /// It is not made, or not on the host.
    #[error("{host_if} cannot be had through a container engine's network driver: no link is made for the guest there")]
    NoOffer {
        /// The host interface.
        host_if: String,
    },
    /// The guest's interface exists and is not what was asked.
    #[error("{interface} exists in the guest and is not as asked: {}", list(.differences))]
    GuestLinkDiffers {
        /// Its name.
        interface: String,
        /// Field by field.
        differences: Vec<Difference>,
    },
    /// What is asked needs another link, and this one cannot make way for it by itself.
    #[error("{interface} of {guest} would have to be made anew")]
    NotInPlace {
        /// The guest.
        guest: String,
        /// The interface.
        interface: String,
    },
    /// Another interface of the guest has the address.
    #[error("the guest has {addr} already, on {dev}")]
    GuestHasAddress {
        /// The address.
        addr: String,
        /// The other interface.
        dev: String,
    },
    /// The name of the veth's host end is taken.
    #[error("Link {name} exists and is {state}")]
    HostLinkInUse {
        /// The name.
        name: String,
        /// What it is.
        state: String,
    },
    /// `<nic>.<vlan>` is something else.
    #[error("{name} already exists but is not a VLAN device for {vlan} on {parent}: it is {is}")]
    ForeignVlanLink {
        /// The name.
        name: String,
        /// The VLAN wanted.
        vlan: String,
        /// The NIC wanted.
        parent: String,
        /// What it is.
        is: String,
    },
    /// A NIC that belongs to a bridge or bond.
    #[error("{nic} is a port of {master}: {why}")]
    NicIsPort {
        /// The NIC.
        nic: String,
        /// The bridge or bond.
        master: String,
        /// What that makes impossible or dangerous.
        why: &'static str,
    },
    /// The NIC that this host is reached by.
    #[error("{nic} carries this host's default route: inside the guest it would cut the host off")]
    NicCarriesDefault {
        /// The NIC.
        nic: String,
    },
    /// A NIC that other links of the host are made on.
    #[error("{nic} carries {}: they would go down when it leaves this host", .children.join(", "))]
    NicHasChildren {
        /// The NIC.
        nic: String,
        /// The links on it.
        children: Vec<String>,
    },
    /// A Wi-Fi driver that keeps its phy where it is.
    #[error("the driver of {nic} does not let its phy {phy} leave the host's network namespace")]
    PhyStays {
        /// The interface.
        nic: String,
        /// Its phy.
        phy: String,
    },
    /// A Wi-Fi interface that does not have its phy to itself.
    #[error("{nic} is not alone on its phy {phy}: {} would move along", .others.join(", "))]
    PhyShared {
        /// The interface.
        nic: String,
        /// Its phy.
        phy: String,
        /// The other interfaces.
        others: Vec<String>,
    },
    /// The bridge has no room.
    #[error("bridge {name} is full: it has {ports} ports, the most that the kernel allows")]
    BridgeFull {
        /// The bridge.
        name: String,
        /// Its ports.
        ports: usize,
    },
    /// Neither a macvlan nor a veth fits.
    #[error("{name} is not an Ethernet interface: no guest can be attached to it")]
    NotEthernet {
        /// The interface.
        name: String,
    },
    /// Open vSwitch has a port of the name, and it is not ours.
    #[error("Open vSwitch has a port {name} already, on {bridge}, and pipework did not make it")]
    OvsPortInUse {
        /// The name.
        name: String,
        /// The bridge it is on.
        bridge: String,
    },
    /// 802.1ad on a port of Open vSwitch.
    #[error("@{tag}: a port of Open vSwitch takes no 802.1ad VLAN")]
    OvsServiceVlan {
        /// What was asked.
        tag: String,
    },
    /// A bridge that is itself a VLAN, and a VLAN besides.
    #[error("{name} is VLAN {vlan} of {parent} already: its ports have no other")]
    OvsFakeBridge {
        /// The bridge.
        name: String,
        /// The bridge that it is a part of.
        parent: String,
        /// Its VLAN.
        vlan: u16,
    },
    /// MAC on InfiniBand. The original's words.
    #[error("MACADDR configuration unsupported for IPoIB interfaces.")]
    IpoibMac,
    /// `--host-access` cannot be had.
    #[error(transparent)]
    Access(#[from] super::access::AccessRefusal),
    /// DHCP without Ethernet.
    #[error("the built-in DHCP client does Ethernet only, and {name} is InfiniBand")]
    DhcpNeedsEthernet {
        /// The interface.
        name: String,
    },
    /// Nobody can be asked over a dummy.
    #[error("a dummy interface leads nowhere: nobody is there to give it an address")]
    DummyDynamic,
    /// VLAN on a dummy.
    #[error("a dummy interface has no VLAN")]
    DummyVlan,
}

pub(super) fn list(differences: &[Difference]) -> String {
    let parts: Vec<String> = differences.iter().map(Difference::to_string).collect();
    parts.join("; ")
}

impl PlanError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Pair(error) => error.hint(),
            Self::UnknownInterface { name } => format!(
                "there is no interface {name} here; a name that starts with br makes a bridge, with ovs one of Open vSwitch, the word dummy a dummy interface. `ip link` lists what there is"
            ),
            Self::NoOffer { .. } => "give a bridge, or a NIC to be shared by macvlan or ipvlan".into(),
            Self::NoSuchMac { .. } => "`ip link` lists the addresses; one that is in a guest already is not on the host".into(),
            Self::GuestIsHost { .. } => "start the container with a network of its own, like --net none, or use netns:NAME".into(),
            Self::GuestLinkDiffers { interface, .. } => {
                format!("choose another name with -i, or have {interface} changed in place with --replace")
            }
            Self::NotInPlace { guest, interface } => {
                format!("take it away first, then attach: pipework detach {guest} -i {interface}")
            }
            Self::GuestHasAddress { dev, .. } => format!("choose another address, or take it from {dev} first"),
            Self::HostLinkInUse { name, .. } => format!("choose another name with -l; `ip -d link show {name}` tells what has this one"),
            Self::ForeignVlanLink { name, .. } => format!("rename or remove {name}, or choose another VLAN"),
            // The kernel's datapath under its own name (dpif-netlink.c): the database did not tell the bridge.
            Self::NicIsPort { nic, master, .. } if master == "ovs-system" => {
                format!(
                    "attach to its bridge, which `ovs-vsctl iface-to-br {nic}` names; with --direct-phys, --force takes {nic} all the same"
                )
            }
            Self::NicIsPort { nic, master, .. } => {
                format!("attach to {master} itself if it is a bridge; with --direct-phys, --force takes {nic} all the same")
            }
            Self::NicCarriesDefault { .. } | Self::NicHasChildren { .. } => {
                "leave out --direct-phys to share it through a macvlan; --force moves it all the same".into()
            }
            Self::PhyStays { .. } => {
                "a Wi-Fi interface moves only with its phy: attach to a bridge, and route between it and the Wi-Fi".into()
            }
            Self::PhyShared { others, .. } => {
                let commands: Vec<String> = others.iter().map(|name| format!("iw dev {name} del")).collect();
                format!("remove what is not needed ({}); --force moves all of them", commands.join("; "))
            }
            Self::BridgeFull { .. } => "make another bridge, or use a macvlan on the NIC".into(),
            Self::OvsPortInUse { name, .. } => format!("choose another name with -l; `ovs-vsctl list Interface {name}` shows what it is"),
            Self::OvsServiceVlan { .. } => "give @10, @10,20-30 or @,20-30; 802.1ad is for NICs".into(),
            Self::OvsFakeBridge { parent, .. } => format!("leave the VLAN out, or attach to {parent} with it"),
            Self::IpoibMac => "leave the MAC address out".into(),
            Self::DhcpNeedsEthernet { .. } => "name a client of the host, like dhclient, or give the address".into(),
            Self::DummyDynamic => "give the address, like 192.168.21.101/24".into(),
            Self::DummyVlan => "leave the VLAN out".into(),
            Self::Access(error) => return error.hint(),
            Self::Vlan(error) => error.hint(),
            Self::Sharing(error) => error.hint(),
            Self::Setting(error) => return error.hint(),
            Self::NotEthernet { .. } | Self::Input(_) => return None,
        })
    }
}
