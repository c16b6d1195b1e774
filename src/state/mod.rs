//! What outlives a single step: files that runs of this program share.

mod access;
mod applied;
mod claims;
mod flood_note;
mod host_bridges;
mod lock;
mod netns_link;
mod network_driver;
mod pools;
mod records;
mod said;
mod wanted;

pub use access::Users;
pub use applied::{Applied, AppliedBridge, AppliedGuest, Topologies};
pub use claims::{Claimant, Claims, Note};
pub use flood_note::FloodNote;
pub use host_bridges::{HostBridges, boot};
pub use lock::{ExclusiveLock, SharedLock};
pub use netns_link::{NetnsLink, dead as dead_netns_links};
pub use network_driver::DriverFiles;
pub use pools::PoolFiles;
pub use records::{Change, Found, Records, Unreadable};
pub use said::Said;
pub use wanted::Wanted;

use std::path::PathBuf;

/// Where DHCP clients have their pid files: `PIPEWORK_PID_DIR`, else /var/run, as in the original.
pub fn pid_dir() -> PathBuf {
    std::env::var_os("PIPEWORK_PID_DIR").filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from("/var/run"), PathBuf::from)
}

/// The time, as records have it (RFC 3339, to the second).
pub fn now() -> String {
    let now = time::OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// Where the network's configuration is: `PIPEWORK_ETC_DIR`, else /etc.
pub fn etc_dir() -> PathBuf {
    std::env::var_os("PIPEWORK_ETC_DIR").filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from("/etc"), PathBuf::from)
}

/// Where wanted attachments are kept: `PIPEWORK_STATE_DIR`, else /var/lib/pipework.
pub fn state_dir() -> PathBuf {
    std::env::var_os("PIPEWORK_STATE_DIR").filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from("/var/lib/pipework"), PathBuf::from)
}

/// Where locks and records are kept: `PIPEWORK_RUN_DIR`, else /run/pipework.
pub fn run_dir() -> PathBuf {
    std::env::var_os("PIPEWORK_RUN_DIR").filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from("/run/pipework"), PathBuf::from)
}
