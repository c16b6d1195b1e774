//! Signals that ask to stop, held back while things are half done and looked at between steps.

use std::cell::RefCell;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::model::error::KernelError;

/// SIGINT, SIGTERM and SIGHUP, blocked as long as this lives.
#[derive(Debug)]
pub struct Signals {
    source: Source,
    came: Option<&'static str>,
}

#[derive(Debug)]
enum Source {
    /// The process's own.
    Signals { fd: SignalFd, before: SigSet },
    /// Another thread takes the signals, and says so.
    Stop(Arc<Stop>),
}

/// Asks threads to stop, where one thread has the signals of a process with many: a signal that any of them took from a
/// signalfd(2) would be lost to the others.
#[derive(Debug)]
pub struct Stop {
    /// Readable, because at its end, once it was asked.
    reader: PipeReader,
    writer: Mutex<Option<PipeWriter>>,
    asked: AtomicBool,
}

impl Stop {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// When the process has no file left to open.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Arc::new(Self { reader, writer: Mutex::new(Some(writer)), asked: AtomicBool::new(false) }))
    }

    /// Asks all threads that [`obey`] it.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

thread_local! {
    static OBEYED: RefCell<Option<Arc<Stop>>> = const { RefCell::new(None) };
}

/// From now on the calling thread's [`Signals`] are what `stop` asks for, and no signal.
pub fn obey(stop: &Arc<Stop>) {
    OBEYED.with_borrow_mut(|obeyed| *obeyed = Some(stop.clone()));
}

/// Whether the calling thread works for another, which has the signals.
pub fn obeys() -> bool {
    OBEYED.with_borrow(Option::is_some)
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
        if let Some(stop) = OBEYED.with_borrow(Clone::clone) {
            return Ok(Self { source: Source::Stop(stop), came: None });
        }
        let refused = |errno| KernelError::Refused { errno, text: Some("holding signals".into()) };
        let mut set = SigSet::empty();
        signals.iter().for_each(|signal| set.add(*signal));
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).map_err(refused)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(refused)?;
        Ok(Self { source: Source::Signals { fd, before }, came: None })
    }

    /// The signal that has come, if any. Once one has, it stays so.
    pub fn pending(&mut self) -> Option<&'static str> {
        while self.came.is_none() {
            self.came = match &self.source {
                Source::Stop(stop) => return stop.is_asked().then_some(Signal::SIGTERM.as_str()),
                Source::Signals { fd, .. } => {
                    let info = fd.read_signal().ok().flatten()?;
                    let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
                    signal.filter(|s| *s != Signal::SIGCHLD).map(Signal::as_str)
                }
            };
        }
        self.came
    }

    /// Takes the next signal that has come: for whoever goes on after it.
    pub fn take(&mut self) -> Option<&'static str> {
        let came = self.pending();
        self.came = None;
        came
    }
}

impl AsFd for Signals {
    /// Readable when a signal has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Signals { fd, .. } => fd.as_fd(),
            Source::Stop(stop) => stop.reader.as_fd(),
        }
    }
}

/// Holds no signal back any more, in this thread: a program that it starts begins as it was.
pub(crate) fn let_all_through() {
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

impl Drop for Signals {
    fn drop(&mut self) {
        let Source::Signals { fd, before } = &self.source else { return };
        // Asked once is asked: the same again, while it was obeyed, is not to end the process before it has told.
        while self.came.is_some() && matches!(fd.read_signal(), Ok(Some(_))) {}
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
    }
}
