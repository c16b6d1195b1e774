//! What `host up` made: in the run directory as long as the host is up, and in the state directory so that a later boot knows it.
//!
//! ```text
//! RUN/host/4026531840.br0.json      the bridge of the host of that network namespace
//! RUN/host/4026531840.br0.lock      held by the one run that changes it
//! STATE/host/br0.json               the same, for after a boot
//! ```

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::lock::ExclusiveLock;
use super::records::{entries, remove, write};
use crate::model::host_bridge::{HostBridge, VERSION};
use crate::model::types::IfName;

/// The bridges of one host.
#[derive(Clone, Debug)]
pub struct HostBridges {
    run: PathBuf,
    lasting: PathBuf,
    home: u64,
}

impl HostBridges {
    /// Those of the host whose network namespace has that inode number.
    pub fn of(run_dir: &Path, state_dir: &Path, home: u64) -> Self {
        Self { run: run_dir.join("host"), lasting: state_dir.join("host"), home }
    }

    /// Keeps every other run from changing the bridge until the lock is dropped.
    ///
    /// # Errors
    /// When the lock's file cannot be made, or another run has held it for too long (`TimedOut`).
    pub fn lock(&self, bridge: &IfName) -> Result<ExclusiveLock> {
        ExclusiveLock::take(&self.run.join(format!("{}.{bridge}.lock", self.home)))
    }

    /// What was written down of a bridge: of this boot, else of an earlier one.
    ///
    /// # Errors
    /// When a file is there and cannot be read, or made sense of.
    pub fn get(&self, bridge: &IfName) -> Result<Option<HostBridge>> {
        if let Some(record) = read(&self.path(bridge))? {
            return Ok(Some(record));
        }
        // Of this boot it would be in the run directory: what is not there is another namespace's.
        let boot = boot();
        Ok(read(&self.lasting_path(bridge))?.filter(|record| record.boot != boot || record.home == self.home))
    }

    /// All of this host's.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn all(&self) -> Result<Vec<HostBridge>> {
        let own = format!("{}.", self.home);
        let names = |directory: &Path, prefix: &str| -> Result<Vec<IfName>> {
            let name = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(".json")?.parse().ok();
            Ok(entries(directory)?.iter().filter_map(name).collect())
        };
        let mut bridges = names(&self.run, &own)?;
        bridges.extend(names(&self.lasting, "")?);
        bridges.sort_unstable();
        bridges.dedup();
        let all: Result<Vec<Option<HostBridge>>> = bridges.iter().map(|bridge| self.get(bridge)).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// Writes it down, in both places.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, record: &HostBridge) -> Result<()> {
        write(&self.lasting_path(&record.bridge), record)?;
        write(&self.path(&record.bridge), record)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget(&self, bridge: &IfName) -> Result<()> {
        remove(&self.lasting_path(bridge))?;
        remove(&self.path(bridge))
    }

    fn path(&self, bridge: &IfName) -> PathBuf {
        self.run.join(format!("{}.{bridge}.json", self.home))
    }

    fn lasting_path(&self, bridge: &IfName) -> PathBuf {
        self.lasting.join(format!("{bridge}.json"))
    }
}

/// Which boot this is; empty where the kernel does not tell.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn read(path: &Path) -> Result<Option<HostBridge>> {
    let wrong = |why: String| Error::new(ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let record: HostBridge = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if record.version > VERSION {
        return Err(wrong(format!("it has version {}, and this pipework knows {VERSION}", record.version)));
    }
    Ok(Some(record))
}
