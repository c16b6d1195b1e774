//! A process's children and theirs. The process adopts those whose parents end (PR_SET_CHILD_SUBREAPER, prctl(2)), so none
//! escapes; and it has not waited for them, so none of their numbers can be another's.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// For so long they may end by themselves.
const GRACE: Duration = Duration::from_secs(1);
/// What is not dead then, the kernel holds.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(10);

/// Those of the calling process.
#[derive(Debug)]
pub(super) struct Children(());

impl Children {
    /// Adopts from now on.
    pub(super) fn adopt() -> nix::Result<Self> {
        set_child_subreaper(true).map(Self)
    }

    /// Waits for those that have ended, without waiting for the others. Tells how `first` ended if it is one of them, and
    /// whether any is left.
    pub(super) fn reap(&self, first: Pid) -> (Option<WaitStatus>, bool) {
        let mut how = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return (how, true),
                Ok(status) if status.pid() == Some(first) => how = Some(status),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return (how, false),
            }
        }
    }

    /// The eldest of them.
    pub(super) fn eldest(&self) -> Option<Pid> {
        self.all().into_iter().min()
    }

    fn all(&self) -> Vec<Pid> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        numbers.filter(|number| parent(*number) == Some(getpid().as_raw())).map(Pid::from_raw).collect()
    }

    /// Asks all to end, and ends those that do not.
    pub(super) fn end(&self, first: Pid) {
        let start = Instant::now();
        let mut asked = Vec::new();
        while self.reap(first).1 && start.elapsed() < PATIENCE {
            // New ones may come at any time: children of those that have just ended.
            for child in self.all() {
                if start.elapsed() > GRACE {
                    let _ = kill(child, Signal::SIGKILL);
                } else if !asked.contains(&child) {
                    let _ = kill(child, Signal::SIGTERM);
                    asked.push(child);
                }
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// The parent of a process (proc(5): the second field behind the name, which may have anything in it).
fn parent(number: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
