//! Finding a network namespace again that a guest had, when the guest itself may be gone.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::kernel::netns::Namespace;

/// Where namespaces without a process are kept: by ip-netns(8) and by the Docker engine.
const KEPT: [&str; 4] = ["/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns"];

/// The namespace with that inode number, if it can still be found: behind the file it was first opened by, among those that
/// are kept, or with any process. An inode number can come back with another namespace: what is looked for in it has to tell.
pub fn namespace(first: &str, inode: u64) -> Option<Namespace> {
    let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|m| m.ino() == inode);
    let kept = KEPT.iter().flat_map(|directory| entries(Path::new(directory)));
    let candidates = std::iter::once(PathBuf::from(first)).chain(kept).chain(std::iter::once_with(of_processes).flatten());
    let opened = candidates.filter(is_it).filter_map(|path| Namespace::open(&path).ok());
    // The file may have become another's between the look at it and its opening.
    opened.into_iter().find(|namespace| namespace.inode() == inode)
}

/// When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); `None` when there is no such process, or it
/// has ended and nobody has asked how.
pub fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    // Field 3 is gone: 22 is the nineteenth from here.
    fields.nth(18)?.parse().ok()
}

/// A process, held: readable once it has ended. `None` when it is not in the namespace with that inode number.
pub fn process(pid: u32, netns: u64) -> Option<OwnedFd> {
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    let held = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).ok()?;
    is_in(pid, netns).then_some(held)
}

/// Whether a process is in the namespace with that inode number.
pub fn is_in(pid: u32, netns: u64) -> bool {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| m.ino() == netns)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn of_processes() -> impl Iterator<Item = PathBuf> {
    let is_process = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    entries(Path::new("/proc")).into_iter().filter(is_process).map(|path| path.join("ns/net"))
}
