//! What `cluster up` has made on this host, written down before it is made: `cluster down` takes away that and nothing else.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::UpError;
use crate::model::types::IfName;

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Made {
    /// The Consul agent and its data.
    pub consul: bool,
    /// The file with the first token.
    pub token: bool,
    /// The file with this host's own token.
    pub host_token: bool,
    /// What this host's own token was last allowed: its policy's rules, hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_rules: Option<String>,
    /// This engine's part in a swarm.
    pub swarm: bool,
    /// The bridge.
    pub bridge: MadeBridge,
    /// The agent.
    pub agent: bool,
    /// Classic Swarm: what keeps this engine registered.
    pub member: bool,
    /// Classic Swarm: its manager's container.
    pub manager: bool,
}

/// The bridge that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MadeBridge {
    /// One of this name.
    Named(IfName),
    /// Whether there is one at all. Earlier versions wrote no more: it has the name that the cluster's file says.
    Is(bool),
}

impl Default for MadeBridge {
    fn default() -> Self {
        Self::Is(false)
    }
}

/// The note itself.
#[derive(Clone, Debug)]
pub struct Note {
    path: PathBuf,
}

impl Note {
    /// Of a cluster, in a state directory.
    pub fn new(state_dir: &Path, cluster: &str) -> Self {
        Self { path: state_dir.join("cluster").join(format!("{cluster}.json")) }
    }

    /// What was made; nothing where there is no note.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<Made, UpError> {
        let text = match std::fs::read(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Made::default()),
            read => read.map_err(UpError::file(&self.path))?,
        };
        serde_json::from_slice(&text).map_err(|error| UpError::file(&self.path)(error.into()))
    }

    /// Notes something.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut Made)) -> Result<(), UpError> {
        let before = self.read()?;
        let mut made = before.clone();
        change(&mut made);
        if made == before {
            return Ok(());
        }
        if made == Made::default() {
            return std::fs::remove_file(&self.path).map_err(UpError::file(&self.path));
        }
        let text = serde_json::to_vec(&made).map_err(|error| UpError::file(&self.path)(error.into()))?;
        write(&self.path, &text, 0o644)
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(path: &Path, text: &[u8], mode: u32) -> Result<(), UpError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fail = UpError::file(path);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(&fail)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).map_err(&fail)?;
    let written = file.write_all(text).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        fail(error)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_note_of_an_earlier_version_is_understood_and_the_bridge_s_name_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note::new(dir.path(), "lab");
        write(&note.path, br#"{"consul":true,"host_token":true,"bridge":true}"#, 0o644).unwrap();
        let made = note.read().unwrap();
        assert!(made.consul && made.host_rules.is_none());
        assert_eq!(made.bridge, MadeBridge::Is(true));
        note.change(|made| made.bridge = MadeBridge::Named("br7".parse().unwrap())).unwrap();
        assert_eq!(note.read().unwrap().bridge, MadeBridge::Named("br7".parse().unwrap()));
        note.change(|made| *made = Made::default()).unwrap();
        assert!(!note.path.exists() && note.read().unwrap() == Made::default());
    }
}
