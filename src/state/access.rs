//! Which guests the host has access to: a small file for each under the run directory, so that no server is needed and a
//! run that is killed leaves a trace of what it was about.

use std::io::{Error, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::lock::ExclusiveLock;
use crate::model::access::User;

/// The records of one host.
#[derive(Clone, Debug)]
pub struct Users {
    directory: PathBuf,
}

impl Users {
    /// The records of the host whose network namespace has that inode number.
    pub fn of(run_dir: &Path, home: u64) -> Self {
        Self { directory: run_dir.join(format!("host-access-{home}")) }
    }

    /// Keeps every other run from changing an access until the lock is dropped.
    ///
    /// # Errors
    /// When the lock's file cannot be made, or another run has held it for too long (`TimedOut`).
    pub fn lock(&self) -> std::io::Result<ExclusiveLock> {
        ExclusiveLock::take(&self.directory.with_extension("lock"))
    }

    /// All of them, by shim and address.
    ///
    /// # Errors
    /// When a file cannot be read or is no record (`InvalidData`).
    pub fn all(&self) -> std::io::Result<Vec<User>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut users = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                users.extend(read(&path)?);
            }
        }
        users.sort_by(|a, b| (&a.shim, a.address).cmp(&(&b.shim, b.address)));
        Ok(users)
    }

    /// Records a user, in place of what was recorded of its address, which is returned.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&self, user: &User) -> std::io::Result<Option<User>> {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.directory)?;
        let path = self.path(user.address);
        let before = read(&path)?;
        let text = serde_json::to_string(user)?;
        let passing = path.with_extension("new");
        std::fs::write(&passing, text)?;
        std::fs::rename(&passing, &path)?;
        Ok(before)
    }

    /// Forgets a user, and the directory with the last one.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, user: &User) -> std::io::Result<()> {
        match std::fs::remove_file(self.path(user.address)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Fails while there are others.
        let _ = std::fs::remove_dir(&self.directory);
        Ok(())
    }

    fn path(&self, address: IpAddr) -> PathBuf {
        self.directory.join(format!("{address}.json"))
    }
}

/// `None` when there is no such file any more.
fn read(path: &Path) -> std::io::Result<Option<User>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let broken = |error| Error::new(ErrorKind::InvalidData, format!("{}: {error}; remove it", path.display()));
    serde_json::from_str(&text).map(Some).map_err(broken)
}
