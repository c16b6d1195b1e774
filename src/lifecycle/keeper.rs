//! The process that keeps a lease: known by its number and the time it started, ended by a signal.

use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use std::os::fd::AsFd;

use crate::guest::trace;
use crate::kernel::signal;
use crate::model::record::Keeper;

/// This process, as the keeper of a lease; none where it keeps many, and cannot be asked to end for one.
pub(super) fn this_process() -> Option<Keeper> {
    if signal::obeys() { None } else { of(std::process::id()) }
}

/// A process, as the keeper of a lease.
pub(super) fn of(pid: u32) -> Option<Keeper> {
    Some(Keeper { pid, started: trace::started(pid)? })
}

/// Whether it still runs.
pub(super) fn is_alive(keeper: &Keeper) -> bool {
    trace::started(keeper.pid) == Some(keeper.started)
}

/// Asks it to end, and waits. `false`: it has not ended in that time.
pub(super) fn end(keeper: &Keeper, patience: Duration) -> bool {
    let Some(pid) = i32::try_from(keeper.pid).ok().and_then(Pid::from_raw) else { return true };
    // Held first, then looked at: it is the one, or there is none any more.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    if !is_alive(keeper) {
        return true;
    }
    if pidfd_send_signal(&process, Signal::TERM).is_err() {
        return !is_alive(keeper);
    }
    let milliseconds = u16::try_from(patience.as_millis()).unwrap_or(u16::MAX);
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut fds, PollTimeout::from(milliseconds));
    !is_alive(keeper)
}
