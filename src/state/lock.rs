//! A file that several runs hold at once, and whose last holder knows that it is the last.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::model::types::IfName;

const PRIVATE: u32 = 0o600;

/// A shared lock (flock(2)) on a file that goes away with its last holder.
#[derive(Debug)]
pub struct SharedLock {
    path: PathBuf,
    file: Flock<File>,
}

impl SharedLock {
    /// Takes the lock; waits only while a last holder tidies up.
    ///
    /// # Errors
    /// When the directory or the file cannot be made.
    pub fn take(directory: &Path, name: &str) -> std::io::Result<Self> {
        match Self::open(directory, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
                Self::open(directory, name)
            }
            taken => taken,
        }
    }

    /// Takes the lock that every run holds which uses a bridge of the host, whose network namespace has that inode number.
    ///
    /// # Errors
    /// As [`SharedLock::take`].
    pub fn of_bridge(directory: &Path, bridge: &IfName, home: u64) -> std::io::Result<Self> {
        Self::take(directory, &format!("{bridge}-{home}.lock"))
    }

    fn open(directory: &Path, name: &str) -> std::io::Result<Self> {
        let path = directory.join(name);
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(&path)?;
            let file = lock(file)?;
            // The one that was opened may have been removed by its last holder before the lock came.
            if is_still_at(&file, &path) {
                return Ok(Self { path, file });
            }
        }
    }

    /// Whether nobody else holds it. If so nobody else gets it until this is dropped. If not, it is no longer held here
    /// either: a lock cannot be tried for without giving up the shared one (flock(2)). Of several runs that end at the
    /// same time, at least the one that asks last is told yes.
    pub fn is_last(&self) -> bool {
        self.file.relock(FlockArg::LockExclusiveNonblock).is_ok()
    }
}

impl Drop for SharedLock {
    fn drop(&mut self) {
        if self.is_last() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// How long another run may hold an exclusive lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lock (flock(2)) on a file that only one run holds at a time, and that goes away with its last holder.
#[derive(Debug)]
pub struct ExclusiveLock {
    path: PathBuf,
    _file: Flock<File>,
}

impl ExclusiveLock {
    /// Takes the lock; waits while another run holds it, but not for ever.
    ///
    /// # Errors
    /// When the file cannot be made; `TimedOut` when another run does not give it up.
    pub fn take(path: &Path) -> std::io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // As above: what was opened may have been removed meanwhile.
                Ok(file) if is_still_at(&file, path) => return Ok(Self { path: path.to_owned(), _file: file }),
                Ok(_) => {}
                Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(std::io::Error::new(ErrorKind::TimedOut, format!("{}: another run holds it", path.display())));
                }
                Err((_, errno)) => return Err(errno.into()),
            }
        }
    }
}

impl ExclusiveLock {
    /// Takes the lock unless another run holds it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn try_take(path: &Path) -> std::io::Result<Option<Self>> {
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) if is_still_at(&file, path) => return Ok(Some(Self { path: path.to_owned(), _file: file })),
                Ok(_) | Err((_, Errno::EINTR)) => {}
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for ExclusiveLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|mine| mine.ino() == now.ino()))
}

fn lock(mut file: File) -> std::io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, FlockArg::LockShared) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EINTR)) => file = back,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_last_holder_is_last_and_the_file_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let one = SharedLock::take(directory.path(), "x").unwrap();
        let two = SharedLock::take(directory.path(), "x").unwrap();
        assert!(!one.is_last());
        drop(one);
        assert!(directory.path().join("x").exists());
        assert!(two.is_last());
        drop(two);
        assert!(!directory.path().join("x").exists());
    }

    #[test]
    fn an_exclusive_lock_is_held_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/yet/there/x.lock");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = ExclusiveLock::take(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
