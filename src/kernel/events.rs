//! Changes of links, addresses, routes and rules in several namespaces, told by the kernel.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::netns::Namespace;
use super::signal::Signals;
use super::wire::Netlink;
use crate::model::error::KernelError;

/// RTNLGRP_LINK, and IPV4 and IPV6 of IFADDR, ROUTE and RULE (linux/rtnetlink.h).
pub(super) const GROUPS: [u32; 7] = [1, 5, 9, 7, 11, 8, 19];
/// Several events belong to one change: so long must it be quiet before it is looked at.
const QUIET: Duration = Duration::from_millis(150);

/// What is listened to in one namespace.
pub struct Ear {
    socket: Netlink,
    /// Readable when the guest has ended. While we listen its namespace stays, though nobody is in it any more.
    process: Option<OwnedFd>,
}

/// Why listening ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something changed, or a guest has ended.
    Change,
    /// So long nothing happened.
    Nothing,
    /// A signal asks to stop.
    Stop,
}

impl Ear {
    /// Listens in a namespace.
    ///
    /// # Errors
    /// When it cannot be entered, or the kernel refuses.
    pub fn new(namespace: &Namespace, process: Option<OwnedFd>) -> Result<Self, KernelError> {
        let mut socket = namespace.netlink()?;
        for group in GROUPS {
            socket.subscribe(group)?;
        }
        Ok(Self { socket, process })
    }
}

/// Waits for a change, and then until it is quiet again.
///
/// # Errors
/// When a socket fails.
pub fn listen(ears: &mut [Ear], signals: &mut Signals, patience: Option<Duration>) -> Result<Heard, KernelError> {
    let mut heard = false;
    loop {
        if signals.pending().is_some() {
            return Ok(Heard::Stop);
        }
        let wait = if heard { Some(QUIET) } else { patience };
        match (wait_once(ears, signals, wait)?, heard) {
            (Ready::Nothing, true) | (Ready::Ended, _) => return Ok(Heard::Change),
            (Ready::Nothing, false) => return Ok(Heard::Nothing),
            (Ready::Signal, _) => {}
            (Ready::Events, _) => {
                heard = true;
                for ear in ears.iter_mut() {
                    ear.socket.drain()?;
                }
            }
        }
    }
}

enum Ready {
    Nothing,
    Signal,
    Events,
    Ended,
}

fn wait_once(ears: &[Ear], signals: &Signals, wait: Option<Duration>) -> Result<Ready, KernelError> {
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = vec![readable(signals.as_fd())];
    fds.extend(ears.iter().map(|ear| readable(ear.socket.as_fd())));
    let sockets = fds.len();
    fds.extend(ears.iter().filter_map(|ear| ear.process.as_ref()).map(|process| readable(process.as_fd())));
    let timeout = wait.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
    match poll(&mut fds, timeout) {
        Ok(0) => return Ok(Ready::Nothing),
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(Ready::Signal),
        Err(errno) => return Err(KernelError::Refused { errno, text: Some("waiting for changes".into()) }),
    }
    let any = |fds: &[PollFd<'_>]| fds.iter().any(|fd| fd.any().unwrap_or(false));
    let (signal, rest) = fds.split_at(1);
    let (events, ended) = rest.split_at(sockets - 1);
    Ok(if any(signal) {
        Ready::Signal
    } else if any(ended) {
        Ready::Ended
    } else if any(events) {
        Ready::Events
    } else {
        Ready::Nothing
    })
}
