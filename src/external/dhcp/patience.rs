//! Waiting for a server, and for all that makes waiting pointless.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::DhcpError;
use crate::kernel::netns::Namespace;
use crate::kernel::observe;
use crate::kernel::signal::Signals;
use crate::kernel::wire::Netlink;
use crate::model::error::KernelError;

/// RTNLGRP_LINK, linux/rtnetlink.h
const LINK_GROUP: u32 = 1;
/// How often a guest without a process is looked after: its namespace's name may be taken away any time.
const LOOK: Duration = Duration::from_secs(2);

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something can be received.
    Ready,
    /// The time has come.
    Time,
}

/// What is watched while waiting.
pub struct Patience<'a> {
    signals: &'a mut Signals,
    namespace: &'a Namespace,
    /// Readable when the guest has ended.
    process: Option<&'a OwnedFd>,
    /// The guest's events of links, and the link that matters.
    links: Netlink,
    index: u32,
    began: Instant,
    looked: Instant,
}

impl<'a> Patience<'a> {
    /// Watches for signals, for the guest's end and for the end of its link `index`.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the link is gone already.
    pub fn new(signals: &'a mut Signals, namespace: &'a Namespace, process: Option<&'a OwnedFd>, index: u32) -> Result<Self, DhcpError> {
        let mut links = namespace.netlink()?;
        links.subscribe(LINK_GROUP)?;
        // What went before is told by no event.
        if observe::link_of(&mut namespace.netlink()?, index)?.is_none() {
            return Err(DhcpError::LinkGone);
        }
        let now = Instant::now();
        Ok(Self { signals, namespace, process, links, index, began: now, looked: now })
    }

    /// How long this has been, in seconds.
    pub fn seconds(&self) -> u64 {
        (self.began.elapsed() + Duration::from_millis(500)).as_secs()
    }

    /// Waits until one of the sockets is readable, or until `until`; for ever when that is none.
    ///
    /// # Errors
    /// A signal, the guest's end, the link's end.
    pub fn wait(&mut self, sockets: &[BorrowedFd<'_>], until: Option<Instant>) -> Result<Wake, DhcpError> {
        loop {
            if let Some(signal) = self.signals.pending() {
                return Err(DhcpError::Interrupted(signal));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Wake::Time);
            }
            let [events, ended, ready] = self.poll(sockets, left)?;
            if ended || self.is_gone() {
                return Err(DhcpError::GuestEnded);
            }
            if events {
                self.links.drain()?;
                if observe::link_of(&mut self.namespace.netlink()?, self.index)?.is_none() {
                    return Err(DhcpError::LinkGone);
                }
            }
            if ready {
                return Ok(Wake::Ready);
            }
        }
    }

    /// Whether there are events of links, the guest has ended, and a socket is readable.
    fn poll(&self, sockets: &[BorrowedFd<'_>], left: Option<Duration>) -> Result<[bool; 3], KernelError> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(self.signals.as_fd()), readable(self.links.as_fd())];
        fds.extend(self.process.map(|process| readable(process.as_fd())));
        let first = fds.len();
        fds.extend(sockets.iter().map(|socket| readable(*socket)));
        let left = if self.process.is_none() { Some(left.unwrap_or(LOOK).min(LOOK)) } else { left };
        // Rounded up, so that the time has come when the wait is over.
        let timeout = left.map(|left| PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX));
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(KernelError::Refused { errno, text: Some("waiting for an answer".into()) }),
        }
        let any = |fds: &[PollFd<'_>]| fds.iter().any(|fd| fd.any().unwrap_or(false));
        Ok([any(&fds[1..2]), any(&fds[2..first]), any(&fds[first..])])
    }

    /// Whether a guest that has no process is no longer there under its name. We hold its namespace: nothing else tells.
    fn is_gone(&mut self) -> bool {
        if self.process.is_some() || self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        Namespace::open(self.namespace.path()).is_ok_and(|now| !now.is(self.namespace)) || !self.namespace.path().exists()
    }
}

/// A random number: transactions are told apart by it, and many clients' retries are spread. Should the kernel have no
/// random bytes, the clock must do.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u32::from_ne_bytes(bytes),
        Err(_) => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos()),
    }
}
