//! What each topology made, or made as described: what `apply --prune` may take away, and nothing else.
//!
//! ```text
//! topologies/4026531840.shop.json      what the topology `shop` described on the host of that network namespace
//! topologies/4026531840.shop.lock      held by the one run that applies it
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::ExclusiveLock;
use super::records::{entries, remove, write};
use crate::model::op::Op;
use crate::model::pair::GuestIf;
use crate::model::types::IfName;

/// Version of the document.
const VERSION: u32 = 1;

/// What a topology made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Version of this document.
    pub version: u32,
    /// The topology's name.
    pub name: String,
    /// The network namespaces that it made.
    #[serde(default)]
    pub guests: Vec<AppliedGuest>,
    /// The bridges that it made, or changed.
    #[serde(default)]
    pub bridges: Vec<AppliedBridge>,
    /// The attachments that it described.
    #[serde(default)]
    pub attachments: Vec<GuestIf>,
    /// The links that it described.
    #[serde(default)]
    pub links: Vec<[GuestIf; 2]>,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedGuest {
    /// Its name under /run/netns.
    pub name: String,
    /// Its inode number, 0 while it is about to be made: another may have the name by now.
    pub netns: u64,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedBridge {
    /// Its name.
    pub name: IfName,
    /// The steps that took effect, or are about to.
    pub done: Vec<Op>,
}

/// The topologies of one host.
#[derive(Clone, Debug)]
pub struct Topologies {
    directory: PathBuf,
    home: u64,
}

impl Topologies {
    /// Those in a run directory, of the host whose network namespace has that inode number.
    pub fn of(run_dir: &Path, home: u64) -> Self {
        Self { directory: run_dir.join("topologies"), home }
    }

    /// Keeps every other run from applying the topology until the lock is dropped.
    ///
    /// # Errors
    /// When the lock's file cannot be made, or another run has held it for too long (`TimedOut`).
    pub fn lock(&self, name: &str) -> std::io::Result<ExclusiveLock> {
        ExclusiveLock::take(&self.directory.join(format!("{}.{name}.lock", self.home)))
    }

    /// What a topology made; nothing when it was never applied.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or made sense of.
    pub fn get(&self, name: &str) -> std::io::Result<Applied> {
        let empty = Applied { version: VERSION, name: name.to_owned(), ..Applied::default() };
        Ok(read(&self.path(name))?.unwrap_or(empty))
    }

    /// Writes down what a topology made; nothing is left of one that made nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, applied: &Applied) -> std::io::Result<()> {
        let Applied { guests, bridges, attachments, links, .. } = applied;
        if guests.is_empty() && bridges.is_empty() && attachments.is_empty() && links.is_empty() {
            return remove(&self.path(&applied.name));
        }
        write(&self.path(&applied.name), applied)
    }

    /// All of them.
    ///
    /// # Errors
    /// When a file cannot be read, or made sense of.
    pub fn all(&self) -> std::io::Result<Vec<Applied>> {
        let own = format!("{}.", self.home);
        let is_own = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(&own) && name.ends_with(".json")
        };
        let paths = entries(&self.directory)?;
        let mut all = Vec::new();
        for path in paths.iter().filter(is_own) {
            all.extend(read(path)?);
        }
        Ok(all)
    }

    /// Whether a topology describes the bridge: then it stays, although nobody uses it. What cannot be read may do so.
    pub fn has_bridge(&self, name: &IfName) -> bool {
        self.all().map_or(true, |all| all.iter().any(|applied| applied.bridges.iter().any(|bridge| bridge.name == *name)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}.{name}.json", self.home))
    }
}

fn read(path: &Path) -> std::io::Result<Option<Applied>> {
    let wrong = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let applied: Applied = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if applied.version > VERSION {
        return Err(wrong(format!("it has version {}, and this pipework knows {VERSION}", applied.version)));
    }
    Ok(Some(applied))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_topology_made_is_its_own_and_its_hosts_and_goes_with_the_last_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let (here, other) = (Topologies::of(directory.path(), 1), Topologies::of(directory.path(), 11));
        let name: IfName = "br1".parse().unwrap();
        let op = Op::DelUnusedBridge { name: name.clone() };
        let applied = Applied { bridges: vec![AppliedBridge { name: name.clone(), done: vec![op] }], ..here.get("shop").unwrap() };
        assert_eq!(here.all().unwrap(), []);
        here.put(&applied).unwrap();
        assert_eq!((here.get("shop").unwrap(), here.all().unwrap()), (applied.clone(), vec![applied.clone()]));
        assert_eq!((other.all().unwrap(), other.has_bridge(&name), here.has_bridge(&name)), (vec![], false, true));
        here.put(&Applied { bridges: Vec::new(), ..applied }).unwrap();
        assert!(!here.has_bridge(&name));
        std::fs::write(directory.path().join("topologies/1.shop.json"), r#"{"version":2,"name":"shop"}"#).unwrap();
        assert!(here.get("shop").unwrap_err().to_string().contains("version 2") && here.has_bridge(&name));
    }
}
