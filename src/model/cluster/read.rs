//! cluster.toml: read with all its mistakes, each with its line.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::de::DeTable;

use super::tree::{Mistakes, Node};
use super::{
    AclPart, AgentPart, BridgeKind, BridgePart, Cluster, ConsulPart, Host, HttpPart, Persist, Role, SwarmMode, SwarmPart, TlsPart, check,
};
use crate::model::host_bridge::Keeper;
use crate::model::pool::Pool;
use crate::model::topology::Located;

const TOP: [&str; 8] = ["name", "datacenter", "hosts", "consul", "swarm", "bridge", "agent", "pools"];
const HOST: [&str; 5] = ["name", "address", "nic", "role", "labels"];
const CONSUL: [&str; 13] = [
    "binary",
    "address",
    "data_dir",
    "ui",
    "gossip_key_file",
    "ca_file",
    "cert_file",
    "key_file",
    "acl",
    "token_file",
    "raft_multiplier",
    "http",
    "session_ttl_min",
];
const SWARM: [&str; 8] = ["mode", "managers", "port", "data_path_port", "engine_port", "manager_port", "image", "path"];
const BRIDGE: [&str; 7] = ["name", "kind", "gateway", "mtu", "vxlan_id", "vxlan_port", "persist"];
const AGENT: [&str; 3] = ["run", "ttl", "page"];
const POOL: [&str; 5] = ["name", "subnet", "range", "gateway", "reserved"];

/// The port of VXLAN that is the engine's own (IANA's).
const DOCKERS_VXLAN: u16 = 4789;

/// Reads the file.
///
/// # Errors
/// All that is wrong with it.
pub fn read(text: &str) -> Result<Cluster, Vec<Located>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mistakes = Mistakes::new(text);
    for error in &errors {
        let said: Vec<&str> = error.message().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        mistakes.at(error.span().unwrap_or_default(), said.join(", "));
    }
    if !errors.is_empty() {
        return Err(mistakes.done());
    }
    let cluster = whole(&Node::new(&mistakes, document.get_ref(), 0..0, String::new(), &TOP));
    match cluster {
        Some(cluster) if mistakes.is_none() => Ok(cluster),
        _ => Err(mistakes.done()),
    }
}

fn whole(top: &Node<'_>) -> Option<Cluster> {
    let name = check::label(top, "name");
    let datacenter = if top.has("datacenter") { check::label(top, "datacenter") } else { Some("dc1".to_owned()) };
    let host_nodes = top.nodes("hosts", &HOST);
    if !top.has("hosts") {
        top.wrong("hosts", "there are none: each begins with [[hosts]]");
    }
    let hosts: Vec<(Host, &Node<'_>)> = host_nodes.iter().filter_map(|node| Some((host(node)?, node))).collect();
    let consul = match top.node("consul", &CONSUL) {
        Some(node) => consul(&node),
        None => Some(ConsulPart::default()),
    };
    let swarm_node = top.node("swarm", &SWARM);
    let swarm = swarm_node.as_ref().map(swarm).unwrap_or_default();
    let bridge_node = top.node("bridge", &BRIDGE);
    let bridge = bridge_node.as_ref().map(bridge);
    let agent = top.node("agent", &AGENT).as_ref().map(agent).unwrap_or_default();
    let pool_nodes = top.nodes("pools", &POOL);
    let pools: Vec<(Pool, &Node<'_>)> = pool_nodes.iter().filter_map(|node| Some((pool(node)?, node))).collect();

    check::hosts(&hosts, consul.as_ref().is_some_and(|consul| consul.address.is_some()), top);
    check::bridge(&hosts, bridge.as_ref().and_then(Option::as_ref));
    check::managers(&hosts, &swarm, swarm_node.as_ref());
    check::classic(&swarm, consul.as_ref(), swarm_node.as_ref());
    check::pools(&pools);
    let (hosts, pools): (Vec<Host>, Vec<Pool>) = (first(hosts), first(pools));
    let pools = pools.into_iter().map(|pool| reserved(pool, &hosts)).collect();
    let bridge = match bridge {
        Some(bridge) => Some(bridge?),
        None => None,
    };
    Some(Cluster { name: name?, datacenter: datacenter?, hosts, consul: consul?, swarm, bridge, agent, pools })
}

fn first<T>(pairs: Vec<(T, &Node<'_>)>) -> Vec<T> {
    pairs.into_iter().map(|(one, _)| one).collect()
}

/// The hosts' own addresses are nobody else's.
fn reserved(mut pool: Pool, hosts: &[Host]) -> Pool {
    let own = hosts.iter().map(|host| host.address).filter(|address| pool.subnet.contains(*address));
    let new: Vec<IpAddr> = own.filter(|address| !pool.reserved.contains(address)).collect();
    pool.reserved.extend(new);
    pool
}

fn host(node: &Node<'_>) -> Option<Host> {
    let name = check::label(node, "name");
    let address = node.address("address");
    if !node.has("address") {
        node.wrong("address", "give the address by which the other hosts reach it");
    }
    let role = node.choice("role", &[("server", Role::Server), ("client", Role::Client)], Role::Server);
    let mut labels = std::collections::BTreeMap::new();
    for (key, value, span) in node.pairs("labels") {
        if let Err(why) = check::node_label(&key, &value) {
            node.mistakes.at(span, format!("labels.{key}: {why}"));
        }
        labels.insert(key, value);
    }
    Some(Host { name: name?, address: address?, nic: node.parsed("nic"), role, labels })
}

impl Default for ConsulPart {
    fn default() -> Self {
        Self {
            binary: "consul".into(),
            address: None,
            data_dir: "/var/lib/pipework/consul".into(),
            ui: true,
            gossip_key_file: None,
            tls: None,
            acl: AclPart::Off,
            token_file: None,
            raft_multiplier: 5,
            http: HttpPart::Loopback,
            session_ttl_min: None,
        }
    }
}

fn consul(node: &Node<'_>) -> Option<ConsulPart> {
    let usual = ConsulPart::default();
    let path = |key: &str| {
        let path = PathBuf::from(node.word(key)?);
        if path.is_absolute() {
            return Some(path);
        }
        node.wrong(key, "give a whole path, which begins with /");
        None
    };
    let acls = [("off", AclPart::Off), ("bootstrap", AclPart::Bootstrap), ("given", AclPart::Given)];
    let part = ConsulPart {
        binary: node.word("binary").map_or(usual.binary, str::to_owned),
        address: node.word("address").map(str::to_owned),
        data_dir: path("data_dir").unwrap_or(usual.data_dir),
        ui: node.flag("ui", true),
        gossip_key_file: path("gossip_key_file"),
        tls: tls([path("ca_file"), path("cert_file"), path("key_file")], node),
        acl: node.choice("acl", &acls, AclPart::Off),
        token_file: path("token_file"),
        raft_multiplier: node.number("raft_multiplier", &(1..=10)).unwrap_or(usual.raft_multiplier),
        http: node.choice("http", &[("loopback", HttpPart::Loopback), ("everybody", HttpPart::Everybody)], HttpPart::Loopback),
        session_ttl_min: node.word("session_ttl_min").map(str::to_owned),
    };
    check::consul(&part, node);
    Some(part)
}

fn tls(files: [Option<PathBuf>; 3], node: &Node<'_>) -> Option<TlsPart> {
    match files {
        [Some(ca_file), Some(cert_file), Some(key_file)] => Some(TlsPart { ca_file, cert_file, key_file }),
        [None, None, None] => None,
        _ => {
            let key = ["ca_file", "cert_file", "key_file"].into_iter().find(|key| node.has(key)).unwrap_or_default();
            node.wrong(key, "ca_file, cert_file and key_file are given together");
            None
        }
    }
}

impl Default for SwarmPart {
    fn default() -> Self {
        Self {
            mode: SwarmMode::None,
            managers: Vec::new(),
            port: 2377,
            data_path_port: None,
            engine_port: 2375,
            manager_port: 2377,
            image: None,
            path: "swarm".into(),
        }
    }
}

fn swarm(node: &Node<'_>) -> SwarmPart {
    let usual = SwarmPart::default();
    let modes = [("engine", SwarmMode::Engine), ("classic", SwarmMode::Classic), ("none", SwarmMode::None)];
    let port = |key: &str| node.number(key, &(1..=u16::MAX));
    let path = node.word("path").map_or(usual.path, str::to_owned);
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) || path.starts_with('/') || path.ends_with('/') {
        node.wrong("path", "give letters, digits, dashes and slashes, with no slash at its ends");
    }
    SwarmPart {
        mode: node.choice("mode", &modes, SwarmMode::None),
        managers: node.words("managers").into_iter().map(|(name, _)| name.to_owned()).collect(),
        port: port("port").unwrap_or(usual.port),
        data_path_port: node.number("data_path_port", &(1024..=49151)),
        engine_port: port("engine_port").unwrap_or(usual.engine_port),
        manager_port: port("manager_port").unwrap_or(usual.manager_port),
        image: node.word("image").map(str::to_owned),
        path,
    }
}

fn bridge(node: &Node<'_>) -> Option<BridgePart> {
    let is_vxlan = node.choice("kind", &[("nic", false), ("vxlan", true)], false);
    let (id, port) = (node.number("vxlan_id", &(1..=0xff_ffff)), node.number("vxlan_port", &(1..=u16::MAX)));
    if port == Some(DOCKERS_VXLAN) {
        node.wrong("vxlan_port", "4789 is the engine's own for its overlay networks: take another, like 4790");
    }
    for key in ["vxlan_id", "vxlan_port"].into_iter().filter(|key| !is_vxlan && node.has(key)) {
        node.wrong(key, "it goes with kind = \"vxlan\"");
    }
    let kind = if is_vxlan { BridgeKind::Vxlan { id: id.unwrap_or(4242), port: port.unwrap_or(4790) } } else { BridgeKind::Nic };
    if !node.has("name") {
        node.wrong("name", "give the bridge a name, like br0");
    }
    let mtu = node.number::<u32>("mtu", &(576..=65535)).and_then(|mtu| mtu.to_string().parse().ok());
    let persist = persist(node);
    if persist.is_some() && is_vxlan {
        node.wrong("persist", "it goes with kind = \"nic\": after a boot, `cluster up` makes a VXLAN and its bridge again");
    }
    Some(BridgePart { name: node.parsed("name")?, kind, gateway: node.address("gateway"), mtu, persist })
}

/// `true`, `false`, or whose configuration.
fn persist(node: &Node<'_>) -> Option<Persist> {
    if !node.is_word("persist") {
        return node.flag("persist", false).then_some(Persist::Whoever);
    }
    let keepers = [("networkd", Keeper::Networkd), ("networkmanager", Keeper::NetworkManager), ("ifcfg", Keeper::Ifcfg)];
    Some(Persist::Keeper(node.choice("persist", &keepers, Keeper::Networkd)))
}

impl Default for AgentPart {
    fn default() -> Self {
        Self { run: true, ttl: None, page: false }
    }
}

fn agent(node: &Node<'_>) -> AgentPart {
    let usual = AgentPart::default();
    AgentPart { run: node.flag("run", usual.run), ttl: node.number("ttl", &(1..=86_400)), page: node.flag("page", usual.page) }
}

fn pool(node: &Node<'_>) -> Option<Pool> {
    for key in ["name", "subnet"].into_iter().filter(|key| !node.has(key)) {
        node.wrong(key, "a pool has a name, and a subnet like 192.168.1.0/24");
    }
    let (name, subnet) = (node.parsed("name"), check::subnet(node));
    let range = node.word("range").and_then(|word| {
        let ends = word.split_once('-').and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
        if ends.is_none() {
            node.wrong("range", format!("{word:?} is no range: give FIRST-LAST, like 192.168.1.100-192.168.1.199"));
        }
        ends
    });
    let mut reserved = Vec::new();
    for (word, span) in node.words("reserved") {
        match word.parse() {
            Ok(address) => reserved.push(address),
            Err(_) => node.mistakes.at(span, format!("reserved: {word:?} is no address")),
        }
    }
    Some(Pool { name: name?, subnet: subnet?, range, gateway: node.address("gateway"), reserved })
}
