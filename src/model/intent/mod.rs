//! What containers ask for themselves: labels, annotations and environment variables with the words of an attach in them.
//! Whoever may start a container wrote them, so they are read by the strict grammar only, and [`Policy`] has the last word.

mod labels;
mod policy;

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

pub use labels::intents;
pub use policy::{Policy, Refusal};

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

/// One attachment that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Where it is written.
    pub source: Source,
    /// The words of `attach` without the guest.
    pub words: Vec<String>,
}

/// Where the words of an intent are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A label or annotation, by its key.
    Label(String),
    /// An environment variable, by its name.
    Env(String),
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
