//! What outlives a single step: files that runs of this program share.

mod access;
mod lock;
mod netns_link;
mod records;

pub use access::Users;
pub use lock::{ExclusiveLock, SharedLock};
pub use netns_link::NetnsLink;
pub use records::{Change, Found, Records, Unreadable};

use std::path::PathBuf;

/// Where DHCP clients have their pid files: `PIPEWORK_PID_DIR`, else /var/run, as in the original.
pub fn pid_dir() -> PathBuf {
    std::env::var_os("PIPEWORK_PID_DIR").filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from("/var/run"), PathBuf::from)
}

/// Where locks are kept: `PIPEWORK_RUN_DIR`, else /run/pipework.
pub fn run_dir() -> PathBuf {
    std::env::var_os("PIPEWORK_RUN_DIR").filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from("/run/pipework"), PathBuf::from)
}
