//! Which owner has which address of a pool, on a single host:
//!
//! ```text
//! pools/lan/ip/192.168.116.120.json    {"owner":"web","since":...,"seen":...}
//! pools/lan/owner/web               -> 192.168.116.120
//! ```
//!
//! The file is the claim, and comes into being whole, by a rename. The link is there before it and goes after it, so an owner's
//! file is found by its link; one that points to another's file, or to none, is what a run that was killed left, and means
//! nothing. All changes of a pool are made under one lock.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::lock::ExclusiveLock;
use super::records::{entries, remove, write};
use crate::model::pool::{Entry, Owner, PoolName};

/// The claims of a pool, which nobody else changes meanwhile.
#[derive(Debug)]
pub struct PoolFiles {
    directory: PathBuf,
    _lock: Option<ExclusiveLock>,
}

impl PoolFiles {
    /// Those in a state directory ([`super::state_dir`]), to be changed.
    ///
    /// # Errors
    /// When the lock cannot be had.
    pub fn lock(state_dir: &Path, pool: &PoolName) -> Result<Self> {
        let pools = state_dir.join("pools");
        let lock = ExclusiveLock::take(&pools.join(format!("{pool}.lock")))?;
        Ok(Self { directory: pools.join(pool.to_string()), _lock: Some(lock) })
    }

    /// The same, only to be looked at.
    pub fn look(state_dir: &Path, pool: &PoolName) -> Self {
        Self { directory: state_dir.join("pools").join(pool.to_string()), _lock: None }
    }

    /// What is claimed, by address.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn all(&self) -> Result<Vec<(IpAddr, Entry)>> {
        let mut all = Vec::new();
        for ip in self.addresses()? {
            all.extend(self.entry(ip)?.map(|entry| (ip, entry)));
        }
        Ok(all)
    }

    /// Which addresses are claimed, also those whose file is damaged: nobody knows who has them, so nobody else gets them.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn addresses(&self) -> Result<BTreeSet<IpAddr>> {
        let files = entries(&self.directory.join("ip"))?;
        let named = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok();
        Ok(files.iter().filter_map(named).collect())
    }

    /// Who has an address.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn entry(&self, ip: IpAddr) -> Result<Option<Entry>> {
        let path = self.file(ip);
        let read = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read,
        };
        let wrong = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
        serde_json::from_slice(&read.map_err(wrong)?).map(Some).map_err(|error| wrong(Error::new(ErrorKind::InvalidData, error)))
    }

    /// What an owner has.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub fn of(&self, owner: &Owner) -> Result<Option<(IpAddr, Entry)>> {
        let linked = match std::fs::read_link(self.link(owner)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput) => None,
            linked => Some(linked?),
        };
        let Some(ip) = linked.and_then(|ip| ip.to_str()?.parse().ok()) else { return Ok(None) };
        Ok(self.entry(ip)?.filter(|entry| entry.owner == *owner).map(|entry| (ip, entry)))
    }

    /// Writes down that an address is an owner's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, ip: IpAddr, entry: &Entry) -> Result<()> {
        let link = self.link(&entry.owner);
        if !std::fs::read_link(&link).is_ok_and(|to| to.to_str() == Some(ip.to_string().as_str())) {
            remove(&link)?;
            std::fs::create_dir_all(self.directory.join("owner"))?;
            std::os::unix::fs::symlink(ip.to_string(), &link)?;
        }
        write(&self.file(ip), entry)
    }

    /// Strikes an owner's claim out.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, ip: IpAddr, owner: &Owner) -> Result<()> {
        remove(&self.file(ip))?;
        remove(&self.link(owner))
    }

    /// Removes what a run that was killed left of an owner that has nothing.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn sweep(&self, owner: &Owner) -> Result<()> {
        remove(&self.link(owner))
    }

    fn file(&self, ip: IpAddr) -> PathBuf {
        self.directory.join("ip").join(format!("{ip}.json"))
    }

    /// An owner's name has no character that a file's may not have, but for one slash.
    fn link(&self, owner: &Owner) -> PathBuf {
        self.directory.join("owner").join(owner.to_string().replace('/', "%"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(owner: &str) -> Entry {
        Entry { owner: owner.parse().unwrap(), since: "2026-01-01T00:00:00Z".into(), seen: "2026-01-01T00:00:00Z".into() }
    }

    #[test]
    fn what_a_killed_run_left_means_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = PoolFiles::lock(dir.path(), &"lan".parse().unwrap()).unwrap();
        let [one, two]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        assert_eq!((files.all().unwrap(), files.of(&entry("web/1").owner).unwrap()), (vec![], None));
        files.put(one, &entry("web/1")).unwrap();
        assert_eq!(files.of(&entry("web/1").owner).unwrap(), Some((one, entry("web/1"))));
        // Killed between the link and the file.
        std::os::unix::fs::symlink("10.0.0.2", files.link(&entry("db").owner)).unwrap();
        assert_eq!(files.of(&entry("db").owner).unwrap(), None);
        files.sweep(&entry("db").owner).unwrap();
        assert!(!files.link(&entry("db").owner).is_symlink());
        std::os::unix::fs::symlink("10.0.0.2", files.link(&entry("db").owner)).unwrap();
        files.put(two, &entry("web/2")).unwrap();
        assert_eq!(files.of(&entry("db").owner).unwrap(), None, "it is another's by now");
        // Killed between the removal of the file and that of the link.
        std::fs::remove_file(files.file(one)).unwrap();
        assert_eq!(files.of(&entry("web/1").owner).unwrap(), None);
        files.put(one, &entry("db")).unwrap();
        assert_eq!(files.all().unwrap(), [(one, entry("db")), (two, entry("web/2"))]);
        files.remove(one, &entry("db").owner).unwrap();
        // A file that is no claim keeps its address.
        std::fs::write(files.file(one), "{").unwrap();
        assert!(files.addresses().unwrap().contains(&one) && files.entry(one).is_err());
    }
}
