//! Signals that ask to stop, held back while things are half done and looked at between steps.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::model::error::KernelError;

/// SIGINT, SIGTERM and SIGHUP, blocked as long as this lives.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
    came: Option<&'static str>,
}

impl Signals {
    /// Blocks the signals for the calling thread and those it starts.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hold() -> Result<Self, KernelError> {
        Self::hold_all(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
    }

    /// As [`Self::hold`]; it is readable also when a child has ended, which is no signal to stop.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hold_with_children() -> Result<Self, KernelError> {
        Self::hold_all(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD])
    }

    fn hold_all(signals: &[Signal]) -> Result<Self, KernelError> {
        let refused = |errno| KernelError::Refused { errno, text: Some("holding signals".into()) };
        let mut set = SigSet::empty();
        signals.iter().for_each(|signal| set.add(*signal));
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).map_err(refused)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(refused)?;
        Ok(Self { fd, before, came: None })
    }

    /// The signal that has come, if any. Once one has, it stays so.
    pub fn pending(&mut self) -> Option<&'static str> {
        while self.came.is_none() {
            let info = self.fd.read_signal().ok().flatten()?;
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
            self.came = signal.filter(|s| *s != Signal::SIGCHLD).map(Signal::as_str);
        }
        self.came
    }
}

impl AsFd for Signals {
    /// Readable when a signal has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Holds no signal back any more, in this thread: a program that it starts begins as it was.
pub(crate) fn let_all_through() {
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Asked once is asked: the same again, while it was obeyed, is not to end the process before it has told.
        while self.came.is_some() && matches!(self.fd.read_signal(), Ok(Some(_))) {}
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
