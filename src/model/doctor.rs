//! What can be wrong with a bridge that guests are to be reached through, as it is told.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::facts::LinkFacts;
use super::op::{Op, Stp};
use super::types::{Family, IfAddr, IfName};

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeFacts {
    /// The bridge.
    pub bridge: IfName,
    /// Its link; none when it is not there, or is no bridge.
    pub link: Option<LinkFacts>,
    /// Whether its ports wait.
    pub stp: Option<Stp>,
    /// Its ports.
    pub ports: Vec<PortFacts>,
    /// The NIC that `host up` made its port.
    pub recorded: Option<IfName>,
    /// The NIC that the host's default route goes through, where that is not the bridge.
    pub way_out: Option<String>,
    /// Its own addresses.
    pub addrs: Vec<IfAddr>,
    /// The link that answers to the bridge's network would leave by, where that is another.
    pub way_back: Option<String>,
    /// The larger of its own and the host's rp_filter.
    pub rp_filter: u8,
    /// Whether bridged packets pass the host's packet filter (br_netfilter), by family.
    pub filtered: Vec<Family>,
    /// What the packet filter says.
    pub firewall: Vec<Rules>,
    /// Why the packet filter could not be asked.
    pub unknown: Vec<String>,
    /// Who answered the questions for the gateways.
    pub asked: Option<Asked>,
}

/// A port of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// The link.
    pub link: LinkFacts,
    /// Whether it leads out of this host.
    pub leads_out: bool,
    /// The addresses that somebody gave it.
    pub addrs: Vec<IfAddr>,
}

/// What a program told of the packet filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// `iptables-save`, or `ip6tables-save`.
    Iptables {
        /// Of which family.
        family: Family,
        /// The program that changes them: `iptables`.
        program: String,
        /// What it printed.
        text: String,
    },
    /// `nft -j list ruleset`.
    Nft {
        /// What it printed.
        text: String,
    },
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The gateways.
    pub gateways: Vec<IpAddr>,
    /// Those that answered the host.
    pub host: Vec<IpAddr>,
    /// Those that answered a guest with a MAC address of its own.
    pub guest: Vec<IpAddr>,
}

/// What kind of thing is wrong. In JSON in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// There is no such bridge.
    NoBridge,
    /// The bridge is down.
    BridgeDown,
    /// No port leads out.
    NoUplink,
    /// The way out has no carrier, or is down.
    UplinkDown,
    /// A port has addresses of its own.
    AddressOnPort,
    /// MTUs differ.
    Mtu,
    /// The spanning tree protocol is on.
    Stp,
    /// A port does not forward.
    NotForwarding,
    /// Answers would leave by another way than they came (rp_filter).
    RpFilter,
    /// The packet filter drops what is bridged.
    ForwardDrop,
    /// It does so before anything else, in table raw.
    RawDrop,
    /// The switch drops frames of other MAC addresses than the NIC's.
    ForeignMac,
    /// The gateway answers nobody.
    GatewaySilent,
    /// It answers guests only.
    HostUnanswered,
}

/// A thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which kind.
    pub fault: Fault,
    /// What is so.
    pub what: String,
    /// What comes of it.
    pub why: String,
    /// The command that mends it, or what to do where there is none.
    pub mend: String,
    /// What `--fix` does.
    #[serde(skip)]
    pub fix: Option<Fix>,
}

/// What `--fix` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// A step of our own.
    Step(Box<Op>),
    /// A program of the packet filter's, with its words.
    Program(String, Vec<String>),
}

/// How a bridge fares: the document that `--json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// Version of this document.
    pub schema: u32,
    /// The bridge.
    pub bridge: IfName,
    /// The MTU of its way out, else its own, in bytes; none when there is no bridge.
    pub mtu: Option<u32>,
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// What is.
    pub findings: Vec<Finding>,
    /// What was, and was mended.
    pub fixed: Vec<Finding>,
    /// What could not be found out, and what else there is to say.
    pub notes: Vec<String>,
}

/// How the bridges of a host fare: the document of `doctor --all --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The host.
    pub host: String,
    /// Its bridges.
    pub bridges: Vec<DoctorReport>,
    /// Why nothing, or not all, is known.
    pub problem: Option<String>,
}

impl HostReport {
    /// Whether nothing is wrong, as far as it can be told.
    pub fn is_healthy(&self) -> bool {
        self.problem.is_none() && self.bridges.iter().all(|bridge| bridge.healthy)
    }
}
