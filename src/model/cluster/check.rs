//! What can be wrong with a cluster's file though each word can be read, and what is not wrong but not wise.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::tree::Node;
use super::{AclPart, BridgeKind, BridgePart, Cluster, ConsulPart, Host, HttpPart, Role, SwarmMode, SwarmPart};
use crate::model::pool::Pool;

/// A name that can stand in keys, host names and DNS: lower-case letters, digits and dashes.
pub(super) fn label(node: &Node<'_>, key: &str) -> Option<String> {
    let is_good = |word: &&str| {
        let inside = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        inside && word.len() <= 63 && !word.starts_with('-') && !word.ends_with('-')
    };
    if !node.has(key) {
        node.wrong(key, "it is missing");
        return None;
    }
    let word = node.word(key)?;
    if !is_good(&word) {
        node.wrong(key, format!("{word:?} is no name: give up to 63 lower-case letters, digits and dashes"));
        return None;
    }
    Some(word.to_owned())
}

/// A label of a node, as Consul's metadata takes it, which is the stricter (agent/structs: validMetaKey).
pub(super) fn node_label(key: &str, value: &str) -> Result<(), &'static str> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if key.is_empty() || key.len() > 128 || !key.bytes().all(is_good) || key.starts_with("consul-") {
        return Err("a label's key has letters, digits, dashes and underscores, and does not begin with consul-");
    }
    if value.len() > 512 || value.chars().any(char::is_control) {
        return Err("a label's value has up to 512 printable characters");
    }
    Ok(())
}

pub(super) fn subnet(node: &Node<'_>) -> Option<IpNetwork> {
    let word = node.word("subnet")?;
    let Some(network) = word.parse::<IpNetwork>().ok().filter(|_| word.contains('/')) else {
        node.wrong("subnet", format!("{word:?} is no subnet: give one like 192.168.1.0/24"));
        return None;
    };
    if network.ip() != network.network() {
        node.wrong("subnet", format!("{word} has bits set behind its prefix: {}/{} is the subnet", network.network(), network.prefix()));
    }
    Some(network)
}

/// Names and addresses are each one host's; there is a server.
pub(super) fn hosts(hosts: &[(Host, &Node<'_>)], has_consul: bool, top: &Node<'_>) {
    for (index, (host, node)) in hosts.iter().enumerate() {
        let before = || hosts.iter().take(index).map(|(host, _)| host);
        if before().any(|other| other.name == host.name) {
            node.wrong("name", format!("{} is another host's, too", host.name));
        }
        if let Some(other) = before().find(|other| other.address == host.address) {
            node.wrong("address", format!("{} is that of {}, too", host.address, other.name));
        }
        if host.address.is_unspecified() || host.address.is_multicast() {
            node.wrong("address", format!("{} is no host's own address", host.address));
        }
    }
    if !hosts.is_empty() && !has_consul && !hosts.iter().any(|(host, _)| host.role == Role::Server) {
        top.wrong("hosts", "none has role = \"server\": Consul needs one, better three");
    }
}

pub(super) fn bridge(hosts: &[(Host, &Node<'_>)], bridge: Option<&BridgePart>) {
    let Some(bridge) = bridge else { return };
    for (host, node) in hosts.iter().filter(|_| bridge.kind == BridgeKind::Nic) {
        match &host.nic {
            None if !node.has("nic") => node.wrong("nic", format!("name the NIC that becomes a port of {}", bridge.name)),
            Some(nic) if *nic == bridge.name => node.wrong("nic", format!("{nic} is the bridge's name")),
            _ => {}
        }
    }
}

pub(super) fn consul(part: &ConsulPart, node: &Node<'_>) {
    if part.address.is_some() {
        let ours = ["binary", "data_dir", "ui", "gossip_key_file", "raft_multiplier", "http", "session_ttl_min"];
        for key in ours.into_iter().filter(|key| node.has(key)) {
            node.wrong(key, "with address, agents run already and are not changed: leave it out");
        }
        if part.acl == AclPart::Bootstrap {
            node.wrong("acl", "with address, ACLs are somebody else's to make: give \"given\" and a token_file");
        }
    }
    if part.acl != AclPart::Off && part.token_file.is_none() && !node.has("token_file") {
        let what = if part.acl == AclPart::Given { "the token is" } else { "the token that is made is to be put" };
        node.wrong("acl", format!("say where {what}: token_file = \"/etc/pipework/consul.token\""));
    }
    if part.http == HttpPart::Everybody && part.tls.is_some() {
        node.wrong("http", "with TLS nothing is served without it: leave it out");
    }
    if part.acl != AclPart::Off && part.http == HttpPart::Everybody {
        node.wrong("http", "tokens would go over the network for all to read: give TLS files, or leave it out");
    }
    let is_time = |word: &String| {
        let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        digits.len() < word.len() && digits.parse::<u32>().is_ok() && ["ms", "s", "m"].contains(&&word[digits.len()..])
    };
    if part.session_ttl_min.as_ref().is_some_and(|word| !is_time(word)) {
        node.wrong("session_ttl_min", "give a time like \"10s\"");
    }
}

pub(super) fn managers(hosts: &[(Host, &Node<'_>)], swarm: &SwarmPart, node: Option<&Node<'_>>) {
    let Some(node) = node else { return };
    let mut seen = Vec::new();
    for (name, span) in node.words("managers") {
        if !hosts.iter().any(|(host, _)| host.name == name) {
            node.mistakes.at(span, format!("swarm.managers: {name:?} is no host of this file"));
        } else if seen.contains(&name) {
            node.mistakes.at(span, format!("swarm.managers: {name} is named twice"));
        }
        seen.push(name);
    }
    if swarm.mode == SwarmMode::Engine && seen.is_empty() && !node.has("managers") {
        node.wrong("managers", "name one host, three or five: managers = [\"...\"]");
    }
    for key in ["engine_port", "manager_port", "image", "path"].into_iter().filter(|key| swarm.mode == SwarmMode::Engine && node.has(key)) {
        node.wrong(key, "it goes with mode = \"classic\"");
    }
    for key in ["port", "data_path_port"].into_iter().filter(|key| swarm.mode == SwarmMode::Classic && node.has(key)) {
        node.wrong(key, "it goes with mode = \"engine\"");
    }
}

/// What the old manager of an image cannot do.
pub(super) fn classic(swarm: &SwarmPart, consul: Option<&ConsulPart>, node: Option<&Node<'_>>) {
    let (Some(node), SwarmMode::Classic) = (node, swarm.mode) else { return };
    if swarm.image.is_some() && swarm.managers.is_empty() {
        node.wrong("managers", "name the hosts on which the image's manager runs: managers = [\"...\"]");
    }
    let is_closed = |consul: &ConsulPart| {
        let is_https = consul.address.as_ref().is_some_and(|address| address.starts_with("https:"));
        is_https || consul.tls.is_some() || consul.acl != AclPart::Off
    };
    if swarm.image.is_some() && consul.is_some_and(is_closed) {
        node.wrong("image", "the old manager asks Consul in plain HTTP and without a token: leave it out, or TLS and ACLs");
    }
    if swarm.engine_port == swarm.manager_port && !swarm.managers.is_empty() {
        node.wrong("manager_port", "it is the engines' own: give another, like 2377");
    }
}

pub(super) fn pools(pools: &[(Pool, &Node<'_>)]) {
    for (index, (pool, node)) in pools.iter().enumerate() {
        let inside = |address: &IpAddr| pool.subnet.contains(*address);
        if pools.iter().take(index).any(|(other, _)| other.name == pool.name) {
            node.wrong("name", format!("{} is another pool's, too", pool.name));
        }
        if pool.gateway.is_some_and(|gateway| !inside(&gateway)) {
            node.wrong("gateway", format!("it is not in {}", pool.subnet));
        }
        match &pool.range {
            Some((first, last)) if !inside(first) || !inside(last) => node.wrong("range", format!("it is not in {}", pool.subnet)),
            Some((first, last)) if first > last => node.wrong("range", "its first address is behind its last"),
            _ => {}
        }
        if let Some(address) = pool.reserved.iter().find(|address| !inside(address)) {
            node.wrong("reserved", format!("{address} is not in {}", pool.subnet));
        }
        let (first, last) = ends(pool);
        let met = pools.iter().take(index).find(|(other, _)| {
            let (begin, end) = ends(other);
            begin.is_ipv4() == first.is_ipv4() && first <= end && begin <= last
        });
        if let Some((other, _)) = met.filter(|(other, _)| other.name != pool.name) {
            node.wrong("range", format!("pool {} has some of these addresses, too: two could be given the same", other.name));
        }
    }
}

fn ends(pool: &Pool) -> (IpAddr, IpAddr) {
    pool.range.unwrap_or_else(|| (pool.subnet.network(), pool.subnet.broadcast()))
}

impl Cluster {
    /// What is not wrong, but not wise.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let servers = self.servers().count();
        if self.consul.address.is_none() && servers > 0 && servers.is_multiple_of(2) {
            advice.push(format!("{servers} Consul servers bear the loss of no more than {} do: take an odd number", servers - 1));
        }
        let managers = self.swarm.managers.len();
        if self.swarm.mode == SwarmMode::Engine && managers > 0 && managers.is_multiple_of(2) {
            advice.push(format!("{managers} Swarm managers bear the loss of no more than {} do: take an odd number", managers - 1));
        }
        if self.consul.http == HttpPart::Everybody {
            advice.push("consul.http = \"everybody\": whoever reaches a host may read and change all that Consul knows".into());
        }
        if self.consul.address.is_none() && self.consul.gossip_key_file.is_none() && self.hosts.len() > 1 {
            advice.push("consul.gossip_key_file is not given: whoever reaches port 8301 may join".into());
        }
        if self.swarm.mode == SwarmMode::Classic {
            advice.push(format!(
                "classic Swarm needs engines that listen on port {} without TLS: whoever reaches it is root there",
                self.swarm.engine_port
            ));
        }
        advice
    }
}
