//! Services and checks of the local agent: what is told of an address for as long as it is there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Consul, ConsulError, Verb};

/// A service of one address, whose check passes for as long as somebody says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its own among all of the agent's.
    pub id: String,
    /// The name that DNS answers for.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// Words that it can be asked for by.
    pub tags: Vec<String>,
    /// What else is known of it.
    pub meta: BTreeMap<String, String>,
    /// It counts as failed when nobody has said for so long that it passes.
    pub ttl: Duration,
    /// It is forgotten when it has failed for so long; a minute is the least that the agent keeps to.
    pub forgotten_after: Duration,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Registration<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: IpAddr,
    tags: &'a [String],
    meta: &'a BTreeMap<String, String>,
    check: Check<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check<'a> {
    #[serde(rename = "CheckID")]
    id: &'a str,
    name: &'a str,
    #[serde(rename = "TTL")]
    ttl: String,
    status: &'a str,
    deregister_critical_service_after: String,
}

/// A service as the local agent lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Registered {
    /// Its own among all of the agent's.
    #[serde(rename = "ID")]
    pub id: String,
    /// The name that DNS answers for.
    pub service: String,
    /// The address.
    #[serde(default)]
    pub address: String,
    /// What else is known of it.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
}

impl Consul {
    /// Registers a service, or registers it anew; it passes from now on.
    ///
    /// # Errors
    /// As [`Consul::tell`].
    pub fn register(&self, service: &Service) -> Result<(), ConsulError> {
        let check = Check {
            id: &service.id,
            name: "pipework agent",
            ttl: seconds(service.ttl),
            status: "passing",
            deregister_critical_service_after: seconds(service.forgotten_after),
        };
        let Service { id, name, address, tags, meta, .. } = service;
        self.tell("agent/service/register", &[], &Registration { id, name, address: *address, tags, meta, check })
    }

    /// Says that a check passes. `false`: the agent does not know it (any more).
    ///
    /// # Errors
    /// As [`Consul::poke`].
    pub fn pass(&self, check: &str) -> Result<bool, ConsulError> {
        let path = format!("agent/check/pass/{check}");
        let answer = self.ask(Verb::Put, &path, &[], b"", super::PATIENCE)?;
        // 404 since Consul 1.11, 500 with these words before.
        let is_unknown = answer.status == 404 || (answer.status == 500 && is_about_unknown(&answer.text()));
        if is_unknown { Ok(false) } else { answer.good(Verb::Put, &path).map(|_| true) }
    }

    /// Strikes a service out, and its check. That there is none is no error.
    ///
    /// # Errors
    /// As [`Consul::poke`].
    pub fn deregister(&self, id: &str) -> Result<(), ConsulError> {
        let path = format!("agent/service/deregister/{id}");
        let answer = self.ask(Verb::Put, &path, &[], b"", super::PATIENCE)?;
        let is_unknown = answer.status == 404 || (answer.status == 500 && is_about_unknown(&answer.text()));
        if is_unknown { Ok(()) } else { answer.good(Verb::Put, &path).map(drop) }
    }

    /// The services of the local agent, by their identifiers.
    ///
    /// # Errors
    /// As [`Consul::get`].
    pub fn services(&self) -> Result<BTreeMap<String, Registered>, ConsulError> {
        Ok(self.get("agent/services", &[])?.unwrap_or_default())
    }
}

/// "Unknown service", "CheckID ... does not have associated TTL", "Unknown check".
fn is_about_unknown(text: &str) -> bool {
    text.contains("Unknown service") || text.contains("nknown check") || text.contains("does not have associated TTL")
}

/// As Go writes a time.
fn seconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
