//! What others may see of an agent: its session, who waits, whom it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::clock::Moment;
use super::{AGENT, Core};
use crate::cluster::claims::ConsulClaims;
use crate::external::consul::{Consul, ConsulError};
use crate::frontend::daemon::board::Board;
use crate::lifecycle::Options;
use crate::model::pool::PoolName;

/// An agent as it is seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub(super) core: Arc<Core>,
    /// The cluster's name.
    pub cluster: String,
    /// All hosts: name, address, role.
    pub hosts: Vec<(String, String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: String,
}

impl Seen {
    /// This host's name.
    pub fn host(&self) -> &str {
        &self.core.host
    }

    /// The local Consul agent.
    pub fn consul(&self) -> &Consul {
        &self.core.consul
    }

    /// Addresses and owners.
    pub fn claims(&self) -> ConsulClaims {
        self.core.claims.clone().with_patience(std::time::Duration::ZERO)
    }

    /// What is told of it.
    pub fn board(&self) -> &Board {
        &self.core.board
    }

    /// Where records are.
    pub fn lifecycle(&self) -> &Options {
        &self.core.lifecycle
    }

    /// How the session stands, for people, and whether it lives.
    pub fn session(&self) -> (String, bool) {
        let session = self.core.session();
        match (session.live(Moment::now()), session.id()) {
            (Some(id), _) => (format!("Connected: the session of this host lives ({id})"), true),
            (None, Some(_)) => ("Cut off: nothing was heard of the session in time, and the addresses of pools are down".into(), false),
            (None, None) => ("Consul has no session for this host: addresses of pools wait".into(), false),
        }
    }

    /// Addresses that guests of this host wait for.
    pub fn waiting(&self) -> Vec<(PoolName, IpAddr)> {
        self.core.ledger().waiting().keys().cloned().collect()
    }

    /// The hosts whose agents say that they are well.
    pub fn agents(&self) -> BTreeSet<String> {
        hosts(&self.core.consul).unwrap_or_default()
    }
}

/// An agent that says that it is well.
pub(super) struct AgentSeen {
    pub host: String,
    pub address: Option<IpAddr>,
}

/// The hosts whose agents say that they are well.
///
/// # Errors
/// When Consul does not answer.
pub fn hosts(consul: &Consul) -> Result<BTreeSet<String>, ConsulError> {
    Ok(agents(consul)?.into_iter().map(|agent| agent.host).collect())
}

/// All of them.
pub(super) fn agents(consul: &Consul) -> Result<Vec<AgentSeen>, ConsulError> {
    let found: Option<Vec<Entry>> = consul.get(&format!("health/service/{AGENT}"), &[("passing", "")])?;
    let agent = |Entry { service, node }: Entry| AgentSeen {
        host: service.meta.get("host").cloned().unwrap_or(node.node),
        address: service.address.parse().ok(),
    };
    Ok(found.unwrap_or_default().into_iter().map(agent).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    service: ServiceSeen,
    node: Instance,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceSeen {
    #[serde(default)]
    address: String,
    #[serde(default)]
    meta: BTreeMap<String, String>,
}
