//! What others may see of an agent: its session, who waits, whom it knows.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::clock::Moment;
use super::{AGENT, Core};
use crate::cluster::claims::ConsulClaims;
use crate::external::consul::Consul;
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
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Entry {
            service: Service,
            node: Instance,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Service {
            #[serde(default)]
            meta: std::collections::BTreeMap<String, String>,
        }
        let found: Vec<Entry> =
            self.core.consul.get(&format!("health/service/{AGENT}"), &[("passing", "")]).ok().flatten().unwrap_or_default();
        found.into_iter().map(|entry| entry.service.meta.get("host").cloned().unwrap_or(entry.node.node)).collect()
    }
}
