//! A note that ports are kept out of the flood of multicast, for the next run, should this one be killed before it lets them in:
//!
//! ```text
//! journal/4026531840.1234.0f3a9c2b7d6e5a41.flood    of the host with that namespace; ports after the link of that number
//! ```
//!
//! The run holds a lock (flock(2)) on it as long as it lives.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::records::entries;

const SUFFIX: &str = ".flood";

/// A note of this run, or of one that is no more.
#[derive(Debug)]
pub struct FloodNote {
    path: PathBuf,
    newest: u32,
    _lock: Flock<File>,
}

impl FloodNote {
    /// Leaves a note: ports of links that are newer than the one with that index will be kept out. `home` is the inode number of
    /// the host's network namespace, `id` nobody else's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(run_dir: &Path, home: u64, newest: u32, id: &str) -> Result<Self> {
        let directory = run_dir.join("journal");
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&directory)?;
        let path = directory.join(format!("{home}.{newest}.{id}{SUFFIX}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| std::io::Error::from(errno))?;
        Ok(Self { path, newest, _lock: lock })
    }

    /// Notes of this host's runs that do not live any more.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn abandoned(run_dir: &Path, home: u64) -> Result<Vec<Self>> {
        let mut notes = Vec::new();
        for path in entries(&run_dir.join("journal"))? {
            let Some(newest) = newest(&path, home) else { continue };
            let Ok(file) = File::open(&path) else { continue };
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                notes.push(Self { path, newest, _lock: lock });
            }
        }
        Ok(notes)
    }

    /// Ports of links that are newer than the one with this index may be kept out.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// Removes it: all are in.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn newest(path: &Path, home: u64) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let mut parts = name.split('.');
    (parts.next()?.parse() == Ok(home)).then_some(())?;
    parts.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_note_is_abandoned_once_its_run_is_gone() {
        let run_dir = tempfile::tempdir().unwrap();
        let note = FloodNote::leave(run_dir.path(), 7, 12, "a").unwrap();
        assert!(FloodNote::abandoned(run_dir.path(), 7).unwrap().is_empty(), "it lives");
        drop(note);
        assert!(FloodNote::abandoned(run_dir.path(), 8).unwrap().is_empty(), "another host's");
        let found = FloodNote::abandoned(run_dir.path(), 7).unwrap();
        assert_eq!(found.iter().map(FloodNote::newest).collect::<Vec<_>>(), [12]);
        found.into_iter().for_each(FloodNote::remove);
        assert!(FloodNote::abandoned(run_dir.path(), 7).unwrap().is_empty());
    }
}
