//! A process and its network namespace, held so that a reused PID is noticed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::kernel::netns::Namespace;
use crate::model::error::KernelError;

/// Holds a process and then its namespace. The process is alive after the namespace was opened, so the namespace is
/// its own: its PID cannot have become another's in between.
pub(super) fn hold(pid: u32) -> Result<(OwnedFd, Namespace), KernelError> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let file_error = |errno| KernelError::File { path: path.display().to_string(), errno };
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| file_error(Errno::ESRCH))?;
    let process = pidfd_open(raw, PidfdFlags::empty()).map_err(|e| file_error(Errno::from_raw(e.raw_os_error())))?;
    let namespace = Namespace::open(&path)?;
    if has_ended(&process) {
        return Err(file_error(Errno::ESRCH));
    }
    Ok((process, namespace))
}

/// Whether a process that is held has ended (pidfd_open(2): it is readable then).
pub(super) fn has_ended(process: &OwnedFd) -> bool {
    !matches!(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO), Ok(0))
}

/// Whether the error says that there is no such process.
pub(super) fn is_absent(error: &KernelError) -> bool {
    matches!(error.errno(), Some(Errno::ESRCH | Errno::ENOENT))
}

/// When a process started, in seconds since the epoch.
pub(super) fn started(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may have anything in it (proc(5)); starttime is the 22nd field.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let all = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = all.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / f64::from(i32::try_from(per_second).ok()?))
}
