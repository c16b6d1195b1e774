//! Classic Swarm (`swarm manage`, `join`, `list` of docker/swarm 1.2.9): how its hosts find each other through Consul.
//!
//! ```text
//! PREFIX/docker/swarm/nodes                         ""      a marker, which says that there is a directory
//! PREFIX/docker/swarm/nodes/192.168.116.112:2375    "192.168.116.112:2375"    locked by its host's session
//! ```
//!
//! Keys, flags and sessions are those of its own (libkv over Consul), so that its `manage` and `list` see our hosts, and ours
//! see its. A host registers at the agent that it names, with whose node its session ends: it ought to be its own.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::external::consul::{Access, Behavior, Condition, Consul, ConsulError, Freshness, NewSession, Pair};

/// By this libkv knows keys of its own (`api.LockFlagValue` of Consul's client).
pub const FLAGS: u64 = 3_304_740_253_564_472_344;
/// Where Swarm's discovery keeps its nodes, below the prefix of the address.
const NODES: &str = "docker/swarm/nodes";
const LOCK_DELAY: Duration = Duration::from_millis(1);

/// Why an address of a discovery is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// It is of another kind.
    #[error("{0:?}: give consul://HOST:PORT/PREFIX")]
    Kind(String),
    /// The original's own words.
    #[error("consul does not support multiple endpoints")]
    Several,
    /// The host or the port cannot be read, or the prefix.
    #[error("{text}: {why}")]
    Wrong {
        /// What was given.
        text: String,
        /// Why.
        why: String,
    },
}

/// `consul://HOST:PORT/PREFIX`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The agent.
    pub access: Access,
    /// Without slashes around it; may be empty.
    pub prefix: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("consul://").ok_or_else(|| AddressError::Kind(text.to_owned()))?;
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains(',') {
            return Err(AddressError::Several);
        }
        let wrong = |why: String| AddressError::Wrong { text: text.to_owned(), why };
        let access = format!("http://{host}").parse().map_err(|error: ConsulError| wrong(error.to_string()))?;
        let prefix = prefix.trim_matches('/');
        let is_good = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if !prefix.split('/').all(is_good) || prefix.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(wrong("a prefix is of letters, digits, '-', '.', '_', '~' and slashes".into()));
        }
        Ok(Self { access, prefix: prefix.to_owned() })
    }
}

/// `HOST:PORT` of an engine, as managers reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised(String);

impl FromStr for Advertised {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_host = |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
        match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(Self(text.to_owned())),
            _ => Err(AddressError::Wrong { text: text.to_owned(), why: "give HOST:PORT, where managers reach the engine".into() }),
        }
    }
}

/// The nodes of a classic Swarm.
#[derive(Clone, Debug)]
pub struct Nodes {
    consul: Consul,
    directory: String,
}

impl Nodes {
    /// At an agent, below a prefix.
    pub fn new(consul: Consul, prefix: &str) -> Self {
        let directory = if prefix.is_empty() { NODES.to_owned() } else { format!("{prefix}/{NODES}") };
        Self { consul, directory }
    }

    /// The addresses of all nodes. As the original does, it makes the marker when there is none.
    ///
    /// # Errors
    /// When Consul does not answer, or refuses.
    pub fn list(&self) -> Result<Vec<String>, ConsulError> {
        if self.consul.key(&self.directory, Freshness::Usual)?.is_none() {
            // Another may be quicker, with the same.
            self.consul.write(&self.directory, b"", FLAGS, Condition::Unchanged(0))?;
        }
        let below = format!("{}/", self.directory);
        let pairs = self.consul.keys_under(&below, Freshness::Usual)?;
        // A node that is just registering has no value yet.
        let value = |pair: &Pair| pair.text().filter(|text| text.parse::<Advertised>().is_ok()).map(str::to_owned);
        Ok(pairs.iter().filter_map(value).collect())
    }

    /// A node to be kept registered: its session ends half of `ttl` after it was last renewed, or up to that much later.
    pub fn member(&self, node: &Advertised, ttl: Duration) -> Member {
        let key = format!("{}/{}", self.directory, node.0);
        Member { consul: self.consul.clone(), key, value: node.0.clone(), ttl, session: None }
    }
}

/// A node that is registered for as long as it is kept so.
#[derive(Debug)]
pub struct Member {
    consul: Consul,
    key: String,
    value: String,
    ttl: Duration,
    session: Option<String>,
}

impl Member {
    /// Registers the node, or renews that; to be called again and again. Returns whether it was registered anew.
    ///
    /// # Errors
    /// When Consul does not answer, or refuses: then it may have ended, and the next call makes it anew.
    pub fn beat(&mut self) -> Result<bool, ConsulError> {
        let found = self.consul.key(&self.key, Freshness::Usual)?;
        if let Some(session) = self.session.clone() {
            let is_ours = found.as_ref().is_some_and(|pair| pair.session.as_ref() == Some(&session));
            if self.consul.renew_session(&session)? && is_ours {
                return self.write().map(|()| false);
            }
            self.leave_session();
        }
        // One that was killed here is not waited for: it is the same engine's.
        if found.is_some_and(|pair| pair.session.is_some()) {
            self.consul.erase(&self.key, None)?;
        }
        let new = NewSession { behavior: Behavior::Delete, lock_delay: Some(LOCK_DELAY), ttl: Some(self.ttl / 2), ..NewSession::default() };
        let session = self.consul.begin_session(&new)?;
        self.session = Some(session.clone());
        // With its value at once: the original's key is empty for a moment, and managers then see a node without address.
        if !self.consul.write(&self.key, self.value.as_bytes(), FLAGS, Condition::Acquire(&session))? {
            self.leave_session();
            return Err(ConsulError::Access(format!("{}: another session has it; it is tried again", self.key)));
        }
        self.write().map(|()| true)
    }

    /// The value, plainly: the lock stays.
    fn write(&self) -> Result<(), ConsulError> {
        self.consul.write(&self.key, self.value.as_bytes(), FLAGS, Condition::Always).map(drop)
    }

    fn leave_session(&mut self) {
        if let Some(session) = self.session.take() {
            // Should it be there still, it ends by itself.
            let _ = self.consul.end_session(&session);
        }
    }

    /// Takes the node away at once, which the original leaves to its session's end.
    ///
    /// # Errors
    /// When Consul does not answer: then it ends by itself.
    pub fn leave(&mut self) -> Result<(), ConsulError> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // Its behaviour is that its keys go with it.
        self.consul.end_session(&session)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_the_original_s_and_has_one_endpoint() {
        let address: Address = "consul://192.168.116.111:8500/swarm".parse().unwrap();
        assert_eq!((address.access.address(), address.prefix.as_str()), ("http://192.168.116.111:8500", "swarm"));
        assert_eq!("consul://127.0.0.1:8500".parse::<Address>().unwrap().prefix, "");
        assert_eq!("consul://h:1/a/b/".parse::<Address>().unwrap().prefix, "a/b");
        assert_eq!(
            "consul://10.0.0.1:8500,10.0.0.2:8500/swarm".parse::<Address>().unwrap_err().to_string(),
            "consul does not support multiple endpoints"
        );
        for bad in ["etcd://x/y", "consul://", "consul://h:port/x", "consul://h:1/a?b", "consul://h:1/../x", "consul://u@h:1/x"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        for (text, good) in
            [("10.0.0.1:2375", true), ("[fd00::1]:2375", true), ("host", false), (":2375", false), ("h:0", false), ("a/b:1", false)]
        {
            assert_eq!(text.parse::<Advertised>().is_ok(), good, "{text}");
        }
    }
}
