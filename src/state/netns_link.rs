//! The link /var/run/netns/PID -> /proc/PID/ns/net, by which ip(8) finds a guest while it is worked on.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::lock::SharedLock;

const DIRECTORY: &str = "/var/run/netns";

/// The link, for as long as this lives. The last of several runs on one guest removes it, when one of them made it.
#[derive(Debug)]
pub struct NetnsLink {
    path: PathBuf,
    lock: SharedLock,
    keep: bool,
}

impl NetnsLink {
    /// Makes the link for a process, or uses the one that is there. With `keep` it is left in the end.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn place(run_dir: &Path, pid: u32, keep: bool) -> std::io::Result<Self> {
        let lock = SharedLock::take(run_dir, &format!("netns-{pid}.lock"))?;
        let path = Path::new(DIRECTORY).join(pid.to_string());
        let target = format!("/proc/{pid}/ns/net");
        let made = match symlink(&target, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::create_dir_all(DIRECTORY)?;
                symlink(&target, &path)
            }
            made => made,
        };
        match made {
            Ok(()) => {
                // Marked at once: should this run be killed, the next one on the guest knows whose it is.
                if let Err(error) = lock.set_mark(true) {
                    let _ = std::fs::remove_file(&path);
                    return Err(error);
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { path, lock, keep })
    }
}

impl Drop for NetnsLink {
    fn drop(&mut self) {
        if self.keep {
            // From now on it is the user's.
            let _ = self.lock.set_mark(false);
        } else if self.lock.is_last() && self.lock.is_marked() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
