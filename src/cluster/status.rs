//! `pipework cluster status`: what this host knows of all of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::access;
use super::agent;
use super::claims::ConsulClaims;
use super::conflicts::conflicts;
use super::verify::{self, Attached};
use crate::external::consul::{Consul, ConsulError, Freshness};
use crate::guest::swarm::SwarmEngine;
use crate::lifecycle::claims::Claims;
use crate::lifecycle::{self, StatusOptions};
use crate::model::cluster::{Cluster, Host, SwarmMode};
use crate::model::pool::Pool;
use crate::model::status::AttachmentStatus;
use crate::state;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// This host.
    pub host: String,
    /// The leader of Consul's servers.
    pub leader: Option<String>,
    /// All hosts of the file.
    pub hosts: Vec<HostStatus>,
    /// The bridge of this host.
    pub bridge: Option<BridgeStatus>,
    /// The pools.
    pub pools: Vec<PoolStatus>,
    /// The attachments of this host.
    pub attachments: Vec<AttachmentStatus>,
    /// Those of all hosts that are alive, as each has noted them in Consul.
    pub everywhere: Vec<Attached>,
    /// Which addresses two have, or one and another host's lock.
    pub conflicts: Vec<String>,
    /// What does not answer, and what is not as it is to be.
    pub problems: Vec<String>,
}

/// A host.
#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// What its Consul agent is.
    pub role: &'static str,
    /// How the local agent sees it: alive, failed, left; `none` when it does not.
    pub consul: String,
    /// How Swarm sees it; none when this host does not manage.
    pub swarm: Option<String>,
    /// Whether its agent lives, as Consul's check has it.
    pub agent: bool,
}

/// A bridge.
#[derive(Clone, Debug, Serialize)]
pub struct BridgeStatus {
    /// Its name.
    pub name: String,
    /// Whether it is there and up.
    pub up: bool,
    /// Its ports.
    pub ports: Vec<String>,
    /// The host's addresses on it.
    pub addresses: Vec<String>,
    /// Its MTU.
    pub mtu: Option<u32>,
}

/// A pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its subnet.
    pub subnet: String,
    /// How many addresses have an owner; none when that could not be read.
    pub claimed: Option<usize>,
    /// How many are in use at the moment.
    pub used: Option<usize>,
    /// How many there are.
    pub size: u128,
}

impl ClusterStatus {
    /// Whether nothing is amiss.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty() && self.conflicts.is_empty()
    }
}

/// Looks at all of it. What cannot be seen is a problem, and the rest is told all the same.
pub fn status(cluster: &Cluster, host: &Host) -> ClusterStatus {
    let mut problems = Vec::new();
    let mut note = |what: &str, error: &dyn std::error::Error| problems.push(format!("{what}: {}", lifecycle::chain(error).join(": ")));
    let consul = access::consul(cluster).map_err(|error| note("consul", &error)).ok();
    let leader = consul.as_ref().and_then(|consul| consul.leader().map_err(|error| note("consul", &error)).ok().flatten());
    let members = consul.as_ref().and_then(|consul| consul.members().map_err(|error| note("consul", &error)).ok()).unwrap_or_default();
    let states: BTreeMap<String, &str> = members.iter().map(|member| (member.name.clone(), member.state())).collect();
    let swarm = match (&consul, cluster.swarm.mode) {
        (Some(consul), SwarmMode::Engine) => swarm(cluster, consul).map_err(|why| note("swarm", &*why)).unwrap_or_default(),
        _ => BTreeMap::new(),
    };
    let agents =
        consul.as_ref().map(|consul| agent::hosts(consul).map_err(|error| note("agents", &error)).unwrap_or_default()).unwrap_or_default();
    let hosts: Vec<HostStatus> = cluster
        .hosts
        .iter()
        .map(|host| HostStatus {
            name: host.name.clone(),
            address: host.address,
            role: host.role.name(),
            consul: states.get(&host.name).copied().unwrap_or("none").to_owned(),
            swarm: swarm.get(&host.name).cloned(),
            agent: agents.contains(&host.name),
        })
        .collect();
    let pools = cluster.pools.iter().map(|pool| pool_status(cluster, consul.as_ref(), pool)).collect();
    let (attachments, warnings) = attachments().map_err(|error| note("attachments", &error)).unwrap_or_default();
    let seen = consul.as_ref().map(|consul| everywhere(cluster, consul, &hosts).map_err(|error| note("attachments", &*error)));
    let (everywhere, conflicts) = seen.and_then(Result::ok).unwrap_or_default();
    let bridge = bridge(cluster).map_err(|error| note("bridge", &*error)).ok().flatten();
    problems.extend(warnings);
    if leader.is_none() {
        problems.push("consul: there is no leader".into());
    }
    problems.extend(hosts.iter().filter(|host| host.consul != "alive").map(|host| format!("consul: {} is {}", host.name, host.consul)));
    let silent = hosts.iter().filter(|host| cluster.agent.run && !host.agent);
    problems.extend(silent.map(|host| format!("agent: that of {} does not answer", host.name)));
    let bad = |host: &&HostStatus| host.swarm.as_ref().is_some_and(|state| !state.starts_with("ready"));
    problems.extend(hosts.iter().filter(bad).map(|host| format!("swarm: {} is {}", host.name, host.swarm.as_deref().unwrap_or("none"))));
    problems.extend(bridge.iter().filter(|bridge| !bridge.up).map(|bridge| format!("bridge: {} is not there, or down", bridge.name)));
    let drifted = attachments.iter().filter(|status| !status.is_ok());
    problems.extend(drifted.map(|status| format!("{} {}: {}", status.guest.name, status.interface, status.words())));
    ClusterStatus {
        cluster: cluster.name.clone(),
        host: host.name.clone(),
        leader,
        hosts,
        bridge,
        pools,
        attachments,
        everywhere,
        conflicts,
        problems,
    }
}

/// How Swarm sees each host, as a manager knows it: nothing on a worker.
fn swarm(cluster: &Cluster, consul: &Consul) -> Result<BTreeMap<String, String>, Box<dyn std::error::Error>> {
    let engine = SwarmEngine::usual()?;
    let standing = engine.standing()?;
    if !standing.is_manager {
        return Ok(BTreeMap::new());
    }
    let (nodes, known) = (engine.nodes()?, super::up::nodes_of_hosts(cluster, consul)?);
    let word = |id: &String| {
        let node = nodes.iter().find(|node| node.id == *id)?;
        let part = if node.is_leader {
            "leader"
        } else if node.is_manager {
            "manager"
        } else {
            "worker"
        };
        Some(format!("{} {} {part}", node.state, node.availability))
    };
    Ok(cluster
        .hosts
        .iter()
        .map(|host| (host.name.clone(), known.get(&host.name).and_then(word).unwrap_or_else(|| "none".into())))
        .collect())
}

fn attachments() -> Result<(Vec<AttachmentStatus>, Vec<String>), lifecycle::AttachError> {
    let options = StatusOptions { guest: None, all_guests: false, run_dir: state::run_dir(), state_dir: state::state_dir() };
    let report = lifecycle::status(&options)?;
    Ok((report.attachments, report.warnings))
}

fn bridge(cluster: &Cluster) -> Result<Option<BridgeStatus>, Box<dyn std::error::Error>> {
    use crate::lifecycle::host_bridge::{HostOptions, observe};
    let Some(part) = &cluster.bridge else { return Ok(None) };
    let now = observe(&part.name, &HostOptions::from_environment())?;
    Ok(Some(BridgeStatus {
        name: part.name.to_string(),
        up: now.is_there && now.up,
        ports: now.ports,
        addresses: now.addresses.iter().map(ToString::to_string).collect(),
        mtu: now.mtu,
    }))
}

/// Who is attached on hosts that are alive, and where that does not fit together. What a dead host noted is no more so.
fn everywhere(
    cluster: &Cluster,
    consul: &Consul,
    hosts: &[HostStatus],
) -> Result<(Vec<Attached>, Vec<String>), Box<dyn std::error::Error>> {
    let is_alive = |name: &str| hosts.iter().any(|host| host.name == name && host.consul == "alive");
    let attached: Vec<Attached> = verify::attached(cluster, consul)?.into_iter().filter(|one| is_alive(&one.host)).collect();
    let claims = ConsulClaims::new(consul.clone(), &cluster.prefix(), cluster.pools.clone(), "cluster.toml").with_patience(Duration::ZERO);
    let pools = cluster.pools.iter().map(|pool| claims.all(&pool.name).map(|all| (pool, all))).collect::<Result<Vec<_>, _>>()?;
    let conflicts = conflicts(&attached, &pools);
    Ok((attached, conflicts))
}

/// Counted from the keys: `POOL/ip/ADDRESS` is a claim, `POOL/use/ADDRESS` its use.
fn pool_status(cluster: &Cluster, consul: Option<&Consul>, pool: &Pool) -> PoolStatus {
    let count = |part: &str| -> Option<usize> {
        let prefix = format!("{}/pools/{}/{part}/", cluster.prefix(), pool.name);
        let found: Result<_, ConsulError> = consul?.keys_under(&prefix, Freshness::Usual);
        // A use whose session has ended is none.
        Some(found.ok()?.iter().filter(|pair| part != "use" || pair.session.is_some()).count())
    };
    PoolStatus {
        name: pool.name.to_string(),
        subnet: pool.subnet.to_string(),
        claimed: count("ip"),
        used: count("use"),
        size: pool.size().saturating_sub(pool.kept_back()),
    }
}
