//! What containers ask for themselves: labels, annotations and environment variables with the words of an attach in them.
//! Whoever may start a container wrote them, so they are read by the strict grammar only, and [`Policy`] has the last word.

mod daemon;
mod labels;
mod policy;

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

pub use daemon::{DaemonEnvironment, ManualCommand, RunModes};
pub use labels::intents;
pub use policy::{Policy, Refusal};

use super::request::{AttachRequest, GuestRef};

/// A container as its engine, or its runtime's bundle, describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `docker` or `podman`; empty where only a bundle is known.
    pub engine: String,
    /// The whole identifier.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// The image as it was named.
    pub image: String,
    /// Its process, 0 while it does not run.
    pub pid: u32,
    /// Labels, or annotations.
    pub labels: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Whether its root is not the host's.
    pub has_user_namespace: bool,
}

impl Container {
    /// The least of an identifier that is taken for it: what `docker ps` shows.
    const SHORT_ID: usize = 12;

    /// The identifier's beginning, as `docker ps` shows it.
    pub fn short_id(&self) -> &str {
        self.id.get(..Self::SHORT_ID).unwrap_or(&self.id)
    }

    /// Whether a guest's word means this container: its name, its identifier, or at least twelve digits of that.
    pub fn is_called(&self, guest: &GuestRef) -> bool {
        let (engine, word) = match guest {
            GuestRef::Any(word) => (None, word),
            GuestRef::Docker(word) => (Some("docker"), word),
            GuestRef::Podman(word) => (Some("podman"), word),
            GuestRef::Pid(pid) => return *pid != 0 && *pid == self.pid,
            GuestRef::Lxc(_) | GuestRef::NetnsName(_) | GuestRef::NetnsPath(_) => return false,
        };
        let is_id = word.len() >= Self::SHORT_ID && self.id.starts_with(word.as_str());
        engine.is_none_or(|engine| engine == self.engine) && (is_id || *word == self.name && !word.is_empty())
    }
}

/// What the host has to say to its containers' words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name, for `{{.Node}}`.
    pub node: String,
    /// What the daemon's own environment says.
    pub environment: DaemonEnvironment,
}

/// One attachment that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Where it is written.
    pub source: Source,
    /// The words of `attach` without the guest.
    pub words: Vec<String>,
    /// Whether host and guest are to reach each other, as `--host-access` says; it is not among the words.
    pub host_access: bool,
}

impl Intent {
    /// The request that its words are, with what is not among them.
    ///
    /// # Errors
    /// When it cannot be made again and again with the same end, as one that is wanted has to be.
    pub fn complete(&self, request: AttachRequest) -> Result<AttachRequest, IntentError> {
        if request.settings.auto_name {
            let why = "-i auto would make another interface each time: give the name itself, like -i eth1";
            return Err(self.source.wrong(why));
        }
        Ok(AttachRequest { host_access: request.host_access || self.host_access, ..request })
    }
}

/// Where the words of an intent are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A label or annotation, by its key.
    Label(String),
    /// An environment variable, by its name.
    Env(String),
}

impl Source {
    fn wrong(&self, why: impl Into<String>) -> IntentError {
        IntentError { source_: self.clone(), why: why.into() }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(key) => write!(f, "label {key}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Why there is nothing to be made of a container's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{source_}: {why}")]
pub struct IntentError {
    /// Where they are written.
    pub source_: Source,
    /// What is wrong with them.
    pub why: String,
}
