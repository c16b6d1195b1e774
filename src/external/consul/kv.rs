//! The key-value store: `/v1/kv`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serializer};

use super::{Consul, ConsulError, PATIENCE, Verb};

/// A key and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pair {
    /// The key.
    pub key: String,
    /// Its value, up to 512 KiB.
    #[serde(deserialize_with = "decoded", default)]
    pub value: Vec<u8>,
    /// A number that means what its writer says.
    #[serde(default)]
    pub flags: u64,
    /// Grows with each change, and with that of any key: it is what compare-and-set compares.
    pub modify_index: u64,
    /// Counts how often it was locked; a plain write makes it 0.
    #[serde(default)]
    pub lock_index: u64,
    /// The session that has it locked.
    #[serde(default)]
    pub session: Option<String>,
}

impl Pair {
    /// The value, if it is a text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}

/// How new an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As new as the leader believes that it is.
    #[default]
    Usual,
    /// The leader has asked the others whether it still is: what was written before is seen.
    Consistent,
    /// From any server, also without a leader; it may be old.
    Stale,
}

impl Freshness {
    pub(super) fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Usual => &[],
            Self::Consistent => &[("consistent", "")],
            Self::Stale => &[("stale", "")],
        }
    }
}

/// What a plain write does besides writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition<'a> {
    /// It is written whatever is there.
    #[default]
    Always,
    /// Only where nothing was written since, by the pair's `modify_index`; 0: only where nothing is.
    Unchanged(u64),
    /// Only where the session gets, or has, the lock on it.
    Acquire(&'a str),
    /// Only where the session has the lock on it, which ends with the write.
    Release(&'a str),
}

impl Consul {
    /// One key; `None` when it is not there.
    ///
    /// # Errors
    /// When the agent refuses, or its answer is none.
    pub fn key(&self, key: &str, freshness: Freshness) -> Result<Option<Pair>, ConsulError> {
        let found: Option<Vec<Pair>> = self.get(&path(key), freshness.query())?;
        Ok(found.and_then(|pairs| pairs.into_iter().next()))
    }

    /// All keys that begin so, in order.
    ///
    /// # Errors
    /// As for [`Self::key`].
    pub fn keys_under(&self, prefix: &str, freshness: Freshness) -> Result<Vec<Pair>, ConsulError> {
        let query = [&[("recurse", "")], freshness.query()].concat();
        Ok(self.get(&path(prefix), &query)?.unwrap_or_default())
    }

    /// The names alone of all keys that begin so.
    ///
    /// # Errors
    /// As for [`Self::key`].
    pub fn key_names(&self, prefix: &str, freshness: Freshness) -> Result<Vec<String>, ConsulError> {
        let query = [&[("keys", "")], freshness.query()].concat();
        Ok(self.get(&path(prefix), &query)?.unwrap_or_default())
    }

    /// All keys that begin so, once one of them is newer than `index` or `wait` is over; with the next index to wait for.
    ///
    /// # Errors
    /// As for [`Self::key`].
    pub fn watch_under(&self, prefix: &str, index: u64, wait: Duration) -> Result<(Vec<Pair>, u64), ConsulError> {
        let (found, next) = self.watch(&path(prefix), &[("recurse", "")], index, wait)?;
        Ok((found.unwrap_or_default(), next))
    }

    /// Writes a key. Returns whether the condition held: else nothing was written.
    ///
    /// # Errors
    /// When the agent refuses, or its answer is none: then it may have been written ([`ConsulError::is_open`]).
    pub fn write(&self, key: &str, value: &[u8], flags: u64, condition: Condition<'_>) -> Result<bool, ConsulError> {
        let (number, index);
        let mut query: Vec<(&str, &str)> = Vec::new();
        match condition {
            Condition::Always => {}
            Condition::Unchanged(since) => {
                index = since.to_string();
                query.push(("cas", &index));
            }
            Condition::Acquire(session) => query.push(("acquire", session)),
            Condition::Release(session) => query.push(("release", session)),
        }
        if flags != 0 {
            number = flags.to_string();
            query.push(("flags", &number));
        }
        let path = path(key);
        self.ask(Verb::Put, &path, &query, value, PATIENCE)?.good(Verb::Put, &path)?.json(&path)
    }

    /// Removes a key. Returns whether the condition held; `since` as for [`Condition::Unchanged`].
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn erase(&self, key: &str, since: Option<u64>) -> Result<bool, ConsulError> {
        let index = since.map(|index| index.to_string());
        let query: Vec<(&str, &str)> = index.iter().map(|index| ("cas", index.as_str())).collect();
        let path = path(key);
        self.ask(Verb::Delete, &path, &query, b"", PATIENCE)?.good(Verb::Delete, &path)?.json(&path)
    }
}

fn path(key: &str) -> String {
    format!("kv/{key}")
}

/// A value as the API writes it: base64, or null for an empty one.
fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

pub(super) fn encoded<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(value))
}
