//! `--wait`: until an interface is up and has carrier, told by the kernel's events.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

use super::system::find_link;
use super::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::types::IfName;

/// RTNLGRP_LINK, linux/rtnetlink.h
const LINK_GROUP: u32 = 1;

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
