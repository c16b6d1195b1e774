//! The link /var/run/netns/PID -> /proc/PID/ns/net, by which ip(8) finds a guest while it is worked on.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, flock, utimensat};

use crate::kernel::netns::Namespace;

const DIRECTORY: &str = "/var/run/netns";
/// Links that a run of this program made, and is to remove, bear this time of modification: the epoch. So the next run on
/// the guest knows whose it is, should this one be killed.
const OURS: i64 = 0;
const PATIENCE: Duration = Duration::from_millis(500);

/// The link, for as long as this lives. The last of several runs on one guest removes it, when one of them made it: each
/// holds a shared lock (flock(2)) on the guest's namespace itself, so there is no other file to make and remove.
#[derive(Debug)]
pub struct NetnsLink<'a> {
    path: PathBuf,
    namespace: &'a Namespace,
    keep: bool,
}

impl<'a> NetnsLink<'a> {
    /// Makes the link for a process, or uses the one that is there. With `keep` it is left in the end.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn place(namespace: &'a Namespace, pid: u32, keep: bool) -> std::io::Result<Self> {
        let link = Self { path: Path::new(DIRECTORY).join(pid.to_string()), namespace, keep };
        take_shared(namespace)?;
        // From here on the drop takes back what follows.
        link.make(&format!("/proc/{pid}/ns/net"))?;
        Ok(link)
    }

    fn make(&self, target: &str) -> std::io::Result<()> {
        let made = match symlink(target, &self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::create_dir_all(DIRECTORY)?;
                symlink(target, &self.path)
            }
            made => made,
        };
        match made {
            Ok(()) => self.set_time(OURS),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn set_time(&self, seconds: i64) -> std::io::Result<()> {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(CWD, &self.path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn is_ours(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.file_type().is_symlink() && m.mtime() == OURS)
    }

    /// Whether no other run is on this guest. None can begin before the lock is given up.
    fn is_last(&self) -> bool {
        flock(self.namespace.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

/// Links that runs of this program made, and that lead to processes that are dead.
pub fn dead() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
    let is_dead = |path: &PathBuf| {
        let ours = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_symlink() && m.mtime() == OURS);
        let named = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        ours && named && !path.exists()
    };
    entries.flatten().map(|entry| entry.path()).filter(is_dead).collect()
}

/// Waits while a last run tidies up, but not for ever: processes of the guest can lock its namespace too.
fn take_shared(namespace: &Namespace) -> std::io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(namespace.as_fd(), FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            ended => return Ok(ended?),
        }
    }
}

impl Drop for NetnsLink<'_> {
    fn drop(&mut self) {
        if self.keep {
            // From now on it is the user's.
            if self.is_ours() {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let _ = self.set_time(i64::try_from(now.as_secs()).unwrap_or(1).max(1));
            }
        } else if self.is_last() && self.is_ours() {
            let _ = std::fs::remove_file(&self.path);
        }
        // Not left to the file's end: whoever inherits it would go on holding the lock.
        let _ = flock(self.namespace.as_fd(), FlockOperation::Unlock);
    }
}
