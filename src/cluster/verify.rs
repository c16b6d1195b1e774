//! `pipework cluster verify`: each of this host's checks, and whom its attached containers reach: every other attached container
//! of the cluster, and the gateway.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::access;
use super::status::{ClusterStatus, status};
use crate::external::consul::{Condition, Consul, ConsulError, Freshness};
use crate::lifecycle::{AttachError, Reach, reach};
use crate::model::cluster::{Cluster, Host};
use crate::state;

/// An attached container of some host, as that host has noted it in Consul.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The host.
    pub host: String,
    /// The guest.
    pub guest: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A check, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// Whether it is well.
    pub ok: bool,
    /// How it is.
    pub detail: String,
}

/// All checks of this host.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// This host.
    pub host: String,
    /// The checks.
    pub checks: Vec<Check>,
    /// Who is attached, on all hosts.
    pub attached: Vec<Attached>,
    /// Whom this host's containers reach.
    pub reach: Vec<Reach>,
}

impl Verified {
    /// Whether all is well.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// Looks at all of it.
///
/// # Errors
/// When this host's records cannot be read.
pub fn verify(cluster: &Cluster, host: &Host) -> Result<Verified, AttachError> {
    let now = status(cluster, host);
    let mut checks = checks(cluster, &now);
    let own = own(&now);
    let noted = access::consul(cluster).and_then(|consul| {
        note(cluster, &consul, &host.name, &own)?;
        attached(cluster, &consul)
    });
    let attached = noted.unwrap_or_else(|error| {
        checks.push(Check { what: "attached containers".into(), ok: false, detail: error.to_string() });
        own
    });
    let gateways = cluster.bridge.iter().filter_map(|bridge| bridge.gateway);
    let gateways = gateways.chain(now.attachments.iter().flat_map(|status| status.gateways.iter().copied()));
    let mut targets: Vec<IpAddr> = attached.iter().flat_map(|one| one.addresses.iter().copied()).chain(gateways).collect();
    targets.sort_unstable();
    targets.dedup();
    let reach = reach(&state::run_dir(), &targets)?;
    let names: BTreeMap<IpAddr, String> =
        attached.iter().flat_map(|one| one.addresses.iter().map(|addr| (*addr, format!("{} on {}", one.guest, one.host)))).collect();
    checks.extend(reach.iter().map(|reach| reached(reach, &names)));
    Ok(Verified { host: host.name.clone(), checks, attached, reach })
}

fn checks(cluster: &Cluster, now: &ClusterStatus) -> Vec<Check> {
    let alive = now.hosts.iter().filter(|host| host.consul == "alive").count();
    let mut checks = vec![Check {
        what: "consul".into(),
        ok: now.leader.is_some() && alive == now.hosts.len(),
        detail: format!("{alive} of {} hosts alive, leader {}", now.hosts.len(), now.leader.as_deref().unwrap_or("none")),
    }];
    let swarm: Vec<&str> = now.hosts.iter().filter_map(|host| host.swarm.as_deref()).collect();
    if !swarm.is_empty() {
        let ready = swarm.iter().filter(|state| state.starts_with("ready")).count();
        checks.push(Check {
            what: "swarm".into(),
            ok: ready == now.hosts.len(),
            detail: format!("{ready} of {} nodes ready", now.hosts.len()),
        });
    }
    if cluster.agent.run {
        let live = now.hosts.iter().filter(|host| host.agent).count();
        checks.push(Check { what: "agents".into(), ok: live == now.hosts.len(), detail: format!("{live} of {} live", now.hosts.len()) });
    }
    if let Some(bridge) = &now.bridge {
        let detail = format!("{} {}, ports {}", bridge.name, if bridge.up { "up" } else { "not there, or down" }, bridge.ports.join(","));
        checks.push(Check { what: "bridge".into(), ok: bridge.up, detail });
    }
    let attachment = |status: &crate::model::status::AttachmentStatus| Check {
        what: format!("{} {}", status.guest.name, status.interface),
        ok: status.is_ok(),
        detail: status.words(),
    };
    checks.extend(now.attachments.iter().map(attachment));
    checks
}

fn reached(reach: &Reach, names: &BTreeMap<IpAddr, String>) -> Check {
    let name = |addr: &IpAddr| names.get(addr).map_or_else(|| addr.to_string(), |name| format!("{addr} ({name})"));
    let silent: Vec<String> = reach.to.iter().filter(|to| to.mac.is_none()).map(|to| name(&to.addr)).collect();
    let detail = match &reach.problem {
        Some(problem) => problem.clone(),
        None if silent.is_empty() => format!("reaches all {}", reach.to.len()),
        None => format!("does not reach {}", silent.join(", ")),
    };
    Check { what: format!("{} {} to all others", reach.guest, reach.interface), ok: reach.problem.is_none() && silent.is_empty(), detail }
}

fn own(now: &ClusterStatus) -> Vec<Attached> {
    let one = |status: &crate::model::status::AttachmentStatus| Attached {
        host: now.host.clone(),
        guest: status.guest.name.clone(),
        addresses: status.addresses.iter().map(|addr| addr.ip()).collect(),
    };
    now.attachments.iter().filter(|status| status.is_ok()).map(one).collect()
}

fn prefix(cluster: &Cluster) -> String {
    format!("{}/attached/", cluster.prefix())
}

/// Where a host's note stands.
fn key(prefix: &str, host: &str) -> String {
    format!("{prefix}/attached/{host}")
}

/// Notes who is attached on this host, where that has changed and no agent of the host keeps the note.
fn note(cluster: &Cluster, consul: &Consul, host: &str, own: &[Attached]) -> Result<(), ConsulError> {
    if super::agent::is_kept(consul, host)? {
        return Ok(());
    }
    write(consul, &cluster.prefix(), host, own)
}

/// Writes a host's note where it is not so: somebody may have taken it away.
pub(super) fn write(consul: &Consul, prefix: &str, host: &str, own: &[Attached]) -> Result<(), ConsulError> {
    let (key, text) = (key(prefix, host), serde_json::to_vec(own).unwrap_or_default());
    let is_so = consul.key(&key, Freshness::Usual)?.is_some_and(|pair| pair.value == text);
    if is_so { Ok(()) } else { consul.write(&key, &text, 0, Condition::Always).map(drop) }
}

/// Who is attached anywhere, as each host has noted it. What cannot be read is nobody.
pub(super) fn attached(cluster: &Cluster, consul: &Consul) -> Result<Vec<Attached>, ConsulError> {
    let pairs = consul.keys_under(&prefix(cluster), Freshness::Usual)?;
    Ok(pairs.iter().filter_map(|pair| serde_json::from_slice::<Vec<Attached>>(&pair.value).ok()).flatten().collect())
}

/// Notes this host's containers for the others.
///
/// # Errors
/// When Consul refuses.
pub fn announce(cluster: &Cluster, now: &ClusterStatus) -> Result<(), ConsulError> {
    note(cluster, &access::consul(cluster)?, &now.host, &own(now))
}

/// This host's note goes.
pub(super) fn forget(cluster: &Cluster, consul: &Consul, host: &str) -> Result<(), ConsulError> {
    consul.erase(&key(&cluster.prefix(), host), None).map(drop)
}
