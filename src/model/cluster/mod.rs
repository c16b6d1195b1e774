//! A cluster in one file, the same on all of its hosts: what `pipework cluster up` makes so, and everything else asks.

mod check;
mod example;
mod read;
pub mod rights;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

pub use example::EXAMPLE;
pub use read::read;

use super::host_bridge::Keeper;
use super::pool::{Pool, PoolName};
use super::settings::Mtu;
use super::types::IfName;

/// Where the file is, unless it is named.
pub const DEFAULT_FILE: &str = "/etc/pipework/cluster.toml";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name: a part of its keys in Consul.
    pub name: String,
    /// Consul's name for the place.
    pub datacenter: String,
    /// All hosts.
    pub hosts: Vec<Host>,
    /// Consul.
    pub consul: ConsulPart,
    /// Swarm.
    pub swarm: SwarmPart,
    /// The bridge that containers are attached to, the same on all hosts; `None`: somebody else sees to it.
    pub bridge: Option<BridgePart>,
    /// `pipework cluster agent` on each host.
    pub agent: AgentPart,
    /// Addresses that are given out. The hosts' own and the gateways are reserved in them.
    pub pools: Vec<Pool>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, which is Consul's and Swarm's for it, too.
    pub name: String,
    /// Its address, by which the others reach it.
    pub address: IpAddr,
    /// The NIC that becomes a port of the bridge.
    pub nic: Option<IfName>,
    /// What its Consul agent is.
    pub role: Role,
    /// Labels of its Swarm node, and metadata of its Consul node.
    pub labels: BTreeMap<String, String>,
}

/// What a Consul agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It keeps the data.
    Server,
    /// It passes on what it is asked.
    Client,
}

impl Role {
    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// What is said of Consul.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulPart {
    /// The program.
    pub binary: String,
    /// Agents that run already, and are not ours: each host's is reached there.
    pub address: Option<String>,
    /// Where the agent keeps its data.
    pub data_dir: PathBuf,
    /// Whether it serves its page.
    pub ui: bool,
    /// The key of its gossip (`consul keygen`).
    pub gossip_key_file: Option<PathBuf>,
    /// Files for TLS: who signed, this host's certificate, its key.
    pub tls: Option<TlsPart>,
    /// Who may do what.
    pub acl: AclPart,
    /// The token that this program uses; where ACLs are made by it, it is written there.
    pub token_file: Option<PathBuf>,
    /// `performance.raft_multiplier`: 1 is for quick networks, Consul's own is 5.
    pub raft_multiplier: u8,
    /// Whether the API is served in plain HTTP to everybody.
    pub http: HttpPart,
    /// The shortest TTL that a session may have, as Consul writes it; its own is 10s.
    pub session_ttl_min: Option<String>,
}

/// Files for TLS, the same paths on all hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPart {
    /// Who signed the certificates.
    pub ca_file: PathBuf,
    /// This host's certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// Who may do what in Consul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclPart {
    /// Everybody everything.
    Off,
    /// Default deny; the first token is made by the first `cluster up`, and put where the file says.
    Bootstrap,
    /// Default deny; the file has a token that somebody made.
    Given,
}

/// To whom the API is served without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpPart {
    /// This host's own processes.
    Loopback,
    /// Everybody: what is asked and answered, tokens too, can be read on the way.
    Everybody,
}

/// What is said of Swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmPart {
    /// Which.
    pub mode: SwarmMode,
    /// The hosts that manage it.
    pub managers: Vec<String>,
    /// Engine mode: the managers' port.
    pub port: u16,
    /// Engine mode: the port of its own overlay networks, when it is not 4789.
    pub data_path_port: Option<u16>,
    /// Classic: the engines' own port.
    pub engine_port: u16,
    /// Classic: the port on which a manager listens.
    pub manager_port: u16,
    /// Classic: the image of its manager; none is started when it is absent.
    pub image: Option<String>,
    /// Classic: what its keys begin with in Consul.
    pub path: String,
}

/// Which Swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwarmMode {
    /// The engine's own.
    Engine,
    /// The old one, which finds its engines in Consul.
    Classic,
    /// None.
    None,
}

impl SwarmMode {
    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Classic => "classic",
            Self::None => "none",
        }
    }
}

/// The bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePart {
    /// Its name.
    pub name: IfName,
    /// What joins the hosts' bridges.
    pub kind: BridgeKind,
    /// The gateway of the network, which has to answer when the bridge is there.
    pub gateway: Option<IpAddr>,
    /// Its MTU.
    pub mtu: Option<Mtu>,
    /// Whether it is there again after the next boot, and by whose configuration.
    pub persist: Option<Persist>,
}

/// Whose configuration makes a bridge last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// That of whoever keeps the host's network.
    Whoever,
    /// That one's.
    Keeper(Keeper),
}

/// What is said of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentPart {
    /// Whether `cluster up` starts it.
    pub run: bool,
    /// How long its session lives without being renewed, in seconds; its own is 30.
    pub ttl: Option<u32>,
    /// Whether it serves the status page, on the host alone.
    pub page: bool,
}

/// What joins the hosts' bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeKind {
    /// Each host's NIC is a port of its bridge, and the switch does the rest.
    Nic,
    /// Frames go over the hosts' network in UDP.
    Vxlan {
        /// VXLAN's number of the network.
        id: u32,
        /// The UDP port; not 4789, which is Docker's.
        port: u16,
    },
}

impl Cluster {
    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The hosts whose agents are servers.
    pub fn servers(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.role == Role::Server)
    }

    /// The pool of that name.
    pub fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// What its keys begin with in Consul, without a slash at its end.
    pub fn prefix(&self) -> String {
        format!("pipework/{}", self.name)
    }

    /// Where a host finds its own agent.
    pub fn agent_address(&self) -> String {
        match (&self.consul.address, &self.consul.tls) {
            (Some(address), _) => address.clone(),
            (None, Some(_)) => "https://127.0.0.1:8501".to_owned(),
            (None, None) => "http://127.0.0.1:8500".to_owned(),
        }
    }

    /// Whether a host manages Swarm.
    pub fn is_manager(&self, host: &str) -> bool {
        self.swarm.managers.iter().any(|manager| manager == host)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
