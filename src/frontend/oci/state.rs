//! The state that a runtime hands to its hooks, and prints for its `state` command (OCI runtime specification, "State").

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;

use super::OciError;

/// A state has an identifier, a path and annotations: more than this is none.
const LARGEST: usize = 1024 * 1024;
/// Runtimes make a directory of this name.
const LONGEST_ID: usize = 255;

/// A container as its runtime tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct State {
    /// The runtime's identifier, which is the engine's.
    pub id: String,
    /// `creating`, `created`, `running`, `stopped`. Runtimes do not agree on when it is which.
    #[serde(default)]
    pub status: String,
    /// Its process; absent or 0 when it has ended.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The directory with its config.json.
    #[serde(default)]
    pub bundle: PathBuf,
    /// Its annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl State {
    /// Reads a state, all of it: a runtime that cannot write the rest calls its hook a failure.
    ///
    /// # Errors
    /// [`OciError::State`].
    pub fn read(mut from: impl Read) -> Result<Self, OciError> {
        let mut text = Vec::new();
        let wrong = |why: String| OciError::State { why };
        from.by_ref().take(LARGEST as u64 + 1).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
        if text.len() > LARGEST {
            let _ = std::io::copy(&mut from, &mut std::io::sink());
            return Err(wrong(format!("it is larger than {LARGEST} bytes")));
        }
        Self::parse(&text)
    }

    /// Reads one that is there as a whole.
    ///
    /// # Errors
    /// [`OciError::State`].
    pub fn parse(text: &[u8]) -> Result<Self, OciError> {
        let state: Self = serde_json::from_slice(text).map_err(|error| OciError::State { why: error.to_string() })?;
        let good = |c: char| !c.is_control() && c != '/';
        if state.id.is_empty() || state.id.len() > LONGEST_ID || !state.id.chars().all(good) {
            return Err(OciError::State { why: "its id is empty, too long, or has a slash or control characters".into() });
        }
        Ok(state)
    }

    /// Whether the container has ended.
    pub fn has_ended(&self) -> bool {
        self.status == "stopped" || self.pid.unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runc_and_crun_say_before_a_start_and_after_the_end_is_read() {
        let runc =
            br#"{"ociVersion":"1.0.2-dev","id":"t1","status":"creating","pid":31,"bundle":"/b","annotations":{"pipework.lan":"br0 0/0"}}"#;
        let state = State::read(runc.as_slice()).unwrap();
        assert_eq!((state.id.as_str(), state.pid, state.has_ended()), ("t1", Some(31), false));
        assert_eq!(state.annotations.unwrap()["pipework.lan"], "br0 0/0");
        for ended in [r#"{"id":"t1","status":"stopped","bundle":"/b"}"#, r#"{"id":"t1","pid":0,"status":"stopped","annotations":null}"#] {
            assert!(State::parse(ended.as_bytes()).unwrap().has_ended());
        }
    }

    #[test]
    fn what_is_no_state_is_refused_and_read_to_its_end_all_the_same() {
        for text in ["", "{}", "[]", r#"{"id":""}"#, r#"{"id":"a/b"}"#, r#"{"id":"a\u0000"}"#, r#"{"id":"a","pid":-1}"#, "\u{1}"] {
            assert!(State::parse(text.as_bytes()).is_err(), "{text}");
        }
        let mut endless = std::io::repeat(b' ').take(3 * LARGEST as u64);
        assert!(State::read(&mut endless).unwrap_err().to_string().contains("larger"));
        assert_eq!(endless.limit(), 0);
    }
}
