//! The time that a runtime gives its hooks: whoever is late is killed, and then nothing is undone. So we stop ourselves before.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::kernel::signal::Signals;

/// How long undoing may take, once it is late.
const GRACE: Duration = Duration::from_secs(2);

/// A limit that runs. Meanwhile a signal that asks to stop undoes what is half done, as does the limit.
pub struct Limit {
    signals: Signals,
    deadline: Instant,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Limit {
    /// Begins. `late` is for when even undoing takes too long; it is to end the process.
    ///
    /// # Errors
    /// When signals cannot be held back, or there can be no thread.
    pub fn begin(after: Duration, late: impl FnOnce() + Send + 'static) -> Result<Self, std::io::Error> {
        // Before the thread: it is not to take signals either.
        let signals = Signals::hold().map_err(std::io::Error::other)?;
        let (stop, stopped) = mpsc::channel::<()>();
        let wait = move || {
            if stopped.recv_timeout(after) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let _ = kill(Pid::this(), Signal::SIGTERM);
            if stopped.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
                // What is run next is not to find the signal still there.
                if let Ok(mut signals) = Signals::hold() {
                    let _ = signals.pending();
                }
                late();
                process::exit(1);
            }
        };
        let thread = Builder::new().name("limit".into()).spawn(wait)?;
        Ok(Self { signals, deadline: Instant::now() + after, stop, thread })
    }

    /// What is left of the time.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Ends it, and with it the thread. Whether there was time enough.
    pub fn end(mut self) -> bool {
        drop(self.stop);
        let _ = self.thread.join();
        let stopped = self.signals.pending().is_some();
        !stopped && Instant::now() < self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ends_in_time_leaves_no_thread_and_no_signal_behind() {
        let limit = Limit::begin(Duration::from_secs(1000), || {}).unwrap();
        assert!(limit.left() > Duration::from_secs(900));
        assert!(limit.end());
    }
}
