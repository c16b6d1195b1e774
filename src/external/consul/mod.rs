//! Consul's HTTP API (developer.hashicorp.com/consul/api-docs), as far as a cluster of hosts needs it.
//!
//! This file carries requests; what is asked stands in the files beside it, one for each part of the API. A request that had
//! no answer may have been done: [`ConsulError::is_open`]. Tokens stand in a header, never in an address.

mod access;
mod error;
mod kv;
mod members;
mod service;
mod session;
mod txn;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

pub use access::{Access, Secret, TlsFiles};
pub use error::ConsulError;
pub use kv::{Condition, Freshness, Pair};
pub use members::{AgentSelf, CatalogNode, Member, RaftServer};
pub use service::{Registered, Service};
pub use session::{Behavior, NewSession, ServiceCheck, Session};
pub use txn::{Ended, Fault, MOST_STEPS, Step};

/// The longest answer: a value has at most 512 KiB, and a list of all addresses of a /16 fits.
const LONGEST: u64 = 64 << 20;
/// So long is an answer waited for that needs no waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection is made in a moment, or not at all.
const CONNECT: Duration = Duration::from_secs(3);

/// A Consul agent.
#[derive(Clone, Debug)]
pub struct Consul {
    agent: Agent,
    access: Access,
}

/// What the agent answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// `X-Consul-Index`: it grows whenever what was asked for changes.
    pub index: Option<u64>,
    /// The text.
    pub body: Vec<u8>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Only looked at.
    Get,
    /// Written, or done.
    Put,
    /// Removed.
    Delete,
}

impl Consul {
    /// An agent; nothing is asked yet.
    ///
    /// # Errors
    /// When the files for TLS cannot be read or understood.
    pub fn new(access: &Access) -> Result<Self, ConsulError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // Whoever sets a proxy for downloads does not mean that it is to see tokens.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(PATIENCE));
        let config = match access.tls()? {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        Ok(Self { agent: config.build().into(), access: access.clone() })
    }

    /// How it is reached.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// One request, and its answer whatever that is. `path` begins behind `/v1/`; keys of `query` are ours, values are anything.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, verb: Verb, path: &str, query: &[(&str, &str)], body: &[u8], patience: Duration) -> Result<Answer, ConsulError> {
        let url = self.access.url(path, query);
        let what = format!("{} /v1/{path}", verb.name());
        let request = Request::builder().method(verb.name()).uri(&url);
        let request = match self.access.token() {
            Some(token) => request.header("X-Consul-Token", token.reveal()),
            None => request,
        };
        let request = request.body(body).map_err(|error| ConsulError::Request { what: what.clone(), source: Box::new(error.into()) })?;
        let request = self.agent.configure_request(request).timeout_global(Some(patience)).allow_non_standard_methods(true).build();
        let answered = self.agent.run(request).map_err(|error| self.failed(&what, error))?;
        self.read(&what, answered)
    }

    fn read(&self, what: &str, mut answered: Response<Body>) -> Result<Answer, ConsulError> {
        let index = answered.headers().get("X-Consul-Index").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = answered.body_mut().with_config().limit(LONGEST).read_to_vec().map_err(|error| self.failed(what, error))?;
        Ok(Answer { status: answered.status().as_u16(), index, body })
    }

    fn failed(&self, what: &str, error: ureq::Error) -> ConsulError {
        ConsulError::of(what, self.access.address(), error)
    }

    /// What is there; `None` when there is nothing.
    ///
    /// # Errors
    /// When the agent refuses, or its answer is none.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<T>, ConsulError> {
        let answer = self.ask(Verb::Get, path, query, b"", PATIENCE)?;
        if answer.status == 404 { Ok(None) } else { answer.good(Verb::Get, path)?.json(path).map(Some) }
    }

    /// What is there, once that is newer than `index` or `wait` is over; with the next index to wait for. The agent adds up to a
    /// sixteenth of the wait.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        index: u64,
        wait: Duration,
    ) -> Result<(Option<T>, u64), ConsulError> {
        let (index, time) = (index.to_string(), format!("{}ms", wait.as_millis()));
        let query = [query, &[("index", index.as_str()), ("wait", time.as_str())]].concat();
        let answer = self.ask(Verb::Get, path, &query, b"", wait + wait / 16 + PATIENCE)?;
        // An index of 0, or one that went back, begins anew (the API's "Blocking Queries").
        let next = answer.index.unwrap_or(0);
        let value = if answer.status == 404 { None } else { Some(answer.good(Verb::Get, path)?.json(path)?) };
        Ok((value, next))
    }

    /// Writes, or has something done, and reads the answer.
    ///
    /// # Errors
    /// As for [`Self::get`]; see [`ConsulError::is_open`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)], body: &impl Serialize) -> Result<T, ConsulError> {
        self.ask(Verb::Put, path, query, &text(path, body)?, PATIENCE)?.good(Verb::Put, path)?.json(path)
    }

    /// Writes, or has something done that has no answer but that it was done.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub fn tell(&self, path: &str, query: &[(&str, &str)], body: &impl Serialize) -> Result<(), ConsulError> {
        self.ask(Verb::Put, path, query, &text(path, body)?, PATIENCE)?.good(Verb::Put, path).map(drop)
    }

    /// Has something done that needs no words.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub fn poke(&self, path: &str, query: &[(&str, &str)]) -> Result<(), ConsulError> {
        self.ask(Verb::Put, path, query, b"", PATIENCE)?.good(Verb::Put, path).map(drop)
    }
}

fn text(path: &str, body: &impl Serialize) -> Result<Vec<u8>, ConsulError> {
    serde_json::to_vec(body).map_err(|source| ConsulError::Nonsense { what: path.to_owned(), source })
}

impl Verb {
    /// As HTTP calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl Answer {
    /// The answer, if it is no refusal.
    ///
    /// # Errors
    /// [`ConsulError::Refused`] with the agent's own words.
    pub fn good(self, verb: Verb, path: &str) -> Result<Self, ConsulError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(ConsulError::Refused { what: format!("{} /v1/{path}", verb.name()), status: self.status, text: self.text() })
    }

    /// The text, as far as it is fit for a message.
    pub fn text(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.body).chars().take(400).collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ConsulError::Nonsense`]
    pub fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConsulError> {
        serde_json::from_slice(&self.body).map_err(|source| ConsulError::Nonsense { what: path.to_owned(), source })
    }
}
