//! Waiting, told by the kernel's events: `--wait`, until an interface is up and has carrier, and what ends a wait early.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::ppoll;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use std::os::fd::{AsFd, BorrowedFd};

use super::signal::Signals;
use super::system::find_link;
use super::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::types::IfName;

/// RTNLGRP_LINK, linux/rtnetlink.h
pub(super) const LINK_GROUP: u32 = 1;

/// What makes waiting pointless: a signal to stop, and the guest's end.
#[derive(Debug, Default)]
pub struct Interruptions<'a> {
    /// Signals that are held back.
    pub signals: Option<&'a mut Signals>,
    /// A pidfd of the guest: readable when it has ended.
    pub process: Option<BorrowedFd<'a>>,
}

impl Interruptions<'_> {
    /// Waits until something can be read, or until `until`: then it is `false`.
    ///
    /// # Errors
    /// A signal, or the guest's end.
    pub fn wait(&mut self, readable: &[BorrowedFd<'_>], until: Instant) -> Result<bool, KernelError> {
        loop {
            if let Some(signal) = self.signals.as_mut().and_then(|signals| signals.pending()) {
                return Err(KernelError::Interrupted(signal));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let ears = readable.iter().copied().chain(self.process).chain(self.signals.as_ref().map(|signals| signals.as_fd()));
            let mut fds: Vec<PollFd<'_>> = ears.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match ppoll(&mut fds, Some(TimeSpec::from(left)), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(KernelError::Refused { errno, text: Some("waiting".into()) }),
            }
            let came = |fds: &[PollFd<'_>]| fds.iter().any(|fd| fd.any().unwrap_or(false));
            let (wanted, ends) = fds.split_at(readable.len());
            if came(ends.get(..usize::from(self.process.is_some())).unwrap_or_default()) {
                return Err(KernelError::GuestEnded);
            }
            if came(wanted) {
                return Ok(true);
            }
        }
    }
}

/// Waits until the interface of that name is there, up and has carrier. `Ok(false)` when `timeout` passes first.
///
/// # Errors
/// When the kernel's socket fails.
pub fn for_carrier(name: &IfName, timeout: Option<Duration>) -> Result<bool, KernelError> {
    // Far beyond any clock: as good as none.
    let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
    // Subscribed before looking, so that nothing falls in between.
    let mut events = Netlink::open()?;
    events.subscribe(LINK_GROUP)?;
    let mut socket = Netlink::open()?;
    loop {
        if find_link(&mut socket, name.as_str())?.is_some_and(|l| l.up && l.carrier) {
            return Ok(true);
        }
        if !wait_for_event(&events, deadline)? {
            return Ok(false);
        }
        events.drain()?;
    }
}

fn wait_for_event(events: &Netlink, deadline: Option<Instant>) -> Result<bool, KernelError> {
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = match left {
            None => PollTimeout::NONE,
            Some(left) if left.is_zero() => return Ok(false),
            // Rounded up: an early end would look like the deadline.
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(KernelError::Refused { errno, text: Some("waiting for events".into()) }),
        }
    }
}
