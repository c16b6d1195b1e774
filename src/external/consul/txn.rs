//! Several keys at once, all or none: `/v1/txn`.

use serde::{Deserialize, Serialize};

use super::kv::{Pair, encoded};
use super::{Consul, ConsulError, PATIENCE, Verb, text};

/// The most steps of one transaction (the API answers 413 to more).
pub const MOST_STEPS: usize = 64;

/// One step of a transaction. None takes effect unless all do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "Verb", rename_all = "kebab-case")]
pub enum Step {
    /// Writes a key whatever is there.
    #[serde(rename_all = "PascalCase")]
    Set {
        /// The key.
        key: String,
        /// Its value.
        #[serde(serialize_with = "encoded")]
        value: Vec<u8>,
    },
    /// Writes a key where nothing was written since `index`; 0: where nothing is.
    #[serde(rename_all = "PascalCase")]
    Cas {
        /// The key.
        key: String,
        /// Its value.
        #[serde(serialize_with = "encoded")]
        value: Vec<u8>,
        /// The pair's `modify_index`.
        index: u64,
    },
    /// Writes a key that the session gets, or has, the lock on.
    #[serde(rename_all = "PascalCase")]
    Lock {
        /// The key.
        key: String,
        /// Its value.
        #[serde(serialize_with = "encoded")]
        value: Vec<u8>,
        /// The session.
        session: String,
    },
    /// Writes a key that the session has the lock on, and gives up the lock.
    #[serde(rename_all = "PascalCase")]
    Unlock {
        /// The key.
        key: String,
        /// Its value.
        #[serde(serialize_with = "encoded")]
        value: Vec<u8>,
        /// The session.
        session: String,
    },
    /// Removes a key to which nothing was written since `index`.
    #[serde(rename_all = "PascalCase")]
    DeleteCas {
        /// The key.
        key: String,
        /// The pair's `modify_index`.
        index: u64,
    },
    /// Goes on only where nothing was written since `index`.
    #[serde(rename_all = "PascalCase")]
    CheckIndex {
        /// The key.
        key: String,
        /// The pair's `modify_index`.
        index: u64,
    },
    /// Goes on only where the session has the lock.
    #[serde(rename_all = "PascalCase")]
    CheckSession {
        /// The key.
        key: String,
        /// The session.
        session: String,
    },
    /// Goes on only where nothing is.
    #[serde(rename_all = "PascalCase")]
    CheckNotExists {
        /// The key.
        key: String,
    },
}

/// Why a transaction had no effect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fault {
    /// Which of the steps it was.
    pub op_index: usize,
    /// In the server's words.
    pub what: String,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps took effect. What was written, with its new indices, without the values.
    Done(Vec<Pair>),
    /// None did.
    Refused(Vec<Fault>),
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "KV")]
    kv: &'a Step,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Results")]
    results: Option<Vec<OneResult>>,
    #[serde(rename = "Errors")]
    errors: Option<Vec<Fault>>,
}

#[derive(Deserialize)]
struct OneResult {
    #[serde(rename = "KV")]
    kv: Option<Pair>,
}

impl Consul {
    /// All steps, or none.
    ///
    /// # Errors
    /// When the agent refuses to try, or its answer is none: then it may have been done ([`ConsulError::is_open`]).
    pub fn transact(&self, steps: &[Step]) -> Result<Ended, ConsulError> {
        const PATH: &str = "txn";
        let wire: Vec<Wire<'_>> = steps.iter().map(|kv| Wire { kv }).collect();
        let answer = self.ask(Verb::Put, PATH, &[], &text(PATH, &wire)?, PATIENCE)?;
        // 409: a step was refused, and the answer says which (agent/txn_endpoint.go).
        let answer = if answer.status == 409 { answer } else { answer.good(Verb::Put, PATH)? };
        let outcome: Outcome = answer.json(PATH)?;
        Ok(match outcome.errors {
            Some(faults) if !faults.is_empty() => Ended::Refused(faults),
            _ => Ended::Done(outcome.results.unwrap_or_default().into_iter().filter_map(|result| result.kv).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_step_is_written_as_the_api_has_it() {
        let key = || "a/b".to_owned();
        for (step, wanted) in [
            (Step::Cas { key: key(), value: b"x".to_vec(), index: 0 }, r#"{"KV":{"Verb":"cas","Key":"a/b","Value":"eA==","Index":0}}"#),
            (Step::DeleteCas { key: key(), index: 7 }, r#"{"KV":{"Verb":"delete-cas","Key":"a/b","Index":7}}"#),
            (Step::CheckNotExists { key: key() }, r#"{"KV":{"Verb":"check-not-exists","Key":"a/b"}}"#),
            (Step::CheckSession { key: key(), session: "s".into() }, r#"{"KV":{"Verb":"check-session","Key":"a/b","Session":"s"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&Wire { kv: &step }).unwrap(), wanted);
        }
    }
}
