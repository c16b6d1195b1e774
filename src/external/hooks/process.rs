//! A hook at work: a process of its own session, which ends in time whatever it does.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::process::{PidfdFlags, pidfd_open};

use super::tail::Tail;
use super::{HookError, Occasion};
use crate::kernel::fork;
use crate::kernel::signal::{Signals, let_all_through, obeys};

/// The PATH of a login as root (login.defs(5), ENV_SUPATH).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// So long it may tidy up once it was asked to end.
const GRACE: Duration = Duration::from_secs(1);
/// What shells say when a program cannot be run.
const CANNOT_RUN: i32 = 126;
/// Reads after its end: more than a pipe holds. What it left behind may write for ever.
const LAST_READS: usize = 32;

/// A hook that was started.
pub(super) struct Run {
    path: PathBuf,
    child: Pid,
    /// Readable once it has ended.
    process: OwnedFd,
    /// Its output, until all who have it have closed it.
    output: Option<PipeReader>,
    tail: Tail,
    ended: bool,
}

/// Why it is to be ended.
enum Stop {
    Late,
    Signal(&'static str),
}

impl Run {
    /// Starts a hook.
    pub(super) fn start(path: &Path, occasion: &Occasion<'_>) -> Result<Self, HookError> {
        let fail = |why: String| HookError::NotStarted { path: path.to_owned(), why };
        let input = document(occasion.document).map_err(|error| fail(error.to_string()))?;
        let (output, theirs) = std::io::pipe().map_err(|error| fail(error.to_string()))?;
        fcntl_setfl(&output, OFlags::NONBLOCK).map_err(|error| fail(error.to_string()))?;
        let child = if obeys() {
            beside_threads(path, occasion, input, theirs).map_err(|error| fail(error.to_string()))?
        } else {
            let child = fork::child(&[input.as_raw_fd(), theirs.as_raw_fd()], || become_hook(path, occasion, &input, theirs));
            child.ok_or_else(|| fail("there can be no process for it, because this one has several threads".into()))?
        };
        let raw = rustix::process::Pid::from_raw(child.as_raw());
        let process = raw.ok_or(rustix::io::Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let process = process.map_err(|error| {
            let _ = (kill(child, Signal::SIGKILL), waitpid(child, None));
            fail(error.to_string())
        })?;
        Ok(Self { path: path.to_owned(), child, process, output: Some(output), tail: Tail::default(), ended: false })
    }

    /// Waits for its end, and ends it when its time is over or a signal comes.
    pub(super) fn finish(mut self, limit: Duration, signals: &mut Signals) -> Result<(), HookError> {
        let stop = self.watch(Instant::now() + limit, Some(signals));
        if stop.is_some() {
            self.signal(Signal::SIGTERM);
            self.watch(Instant::now() + GRACE, None);
            // Those of its group that did not end with it. The number cannot be another's: the process is not waited for yet.
            self.signal(Signal::SIGKILL);
        }
        let status = waitpid(self.child, None);
        self.ended = true;
        (0..LAST_READS).take_while(|_| self.read()).for_each(drop);
        let (path, words) = (self.path.clone(), self.tail.words());
        match (stop, status) {
            (Some(Stop::Signal(signal)), _) => Err(HookError::Interrupted { path, signal }),
            (Some(Stop::Late), _) => Err(HookError::TimedOut { path, seconds: limit.as_secs(), words }),
            (None, Ok(WaitStatus::Exited(_, 0))) => Ok(()),
            (None, Ok(WaitStatus::Exited(_, status))) => Err(HookError::Failed { path, how: format!("with exit status {status}"), words }),
            (None, Ok(WaitStatus::Signaled(_, signal, _))) => Err(HookError::Failed { path, how: format!("by {signal}"), words }),
            (None, other) => Err(HookError::Failed { path, how: format!("in a way that cannot be told ({other:?})"), words }),
        }
    }

    /// Takes its output until it has ended, or has to.
    fn watch(&mut self, deadline: Instant, mut signals: Option<&mut Signals>) -> Option<Stop> {
        loop {
            if let Some(signal) = signals.as_mut().and_then(|signals| signals.pending()) {
                return Some(Stop::Signal(signal));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(Stop::Late);
            }
            let mut fds = vec![PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.output.as_ref().map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN)));
            fds.extend(signals.as_ref().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
            // Rounded up: not to turn round and round in the last millisecond.
            let _ = poll(&mut fds, PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX));
            let has_ended = fds.first().and_then(PollFd::any).unwrap_or(false);
            drop(fds);
            self.read();
            if has_ended {
                return None;
            }
        }
    }

    /// Takes what there is of its output, a little at a time: a hook that never stops writing is to be ended in time, too.
    /// Whether there was something.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.output.as_mut().map(|output| output.read(&mut bytes)) {
            Some(Ok(0)) => self.output = None,
            Some(Ok(count)) => {
                self.tail.push(bytes.get(..count).unwrap_or_default());
                return true;
            }
            _ => {}
        }
        false
    }

    /// Sends a signal to it and to all of its group. It leads one once it has come so far.
    fn signal(&self, signal: Signal) {
        if killpg(self.child, signal) == Err(Errno::ESRCH) {
            let _ = kill(self.child, signal);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGKILL);
            let _ = waitpid(self.child, None);
        }
    }
}

/// The document as a file without a name: a hook that does not read it keeps nobody waiting.
fn document(text: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("pipework-hook", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}

/// Starts a hook in a process that has other threads. It is in a group of its own, though in no session, and does not end with
/// this process: what sees to that may only be called where there is one thread.
fn beside_threads(path: &Path, occasion: &Occasion<'_>, input: File, output: PipeWriter) -> std::io::Result<Pid> {
    let mut hook = command(path, occasion);
    hook.stdin(input).stdout(output.try_clone()?).stderr(output).current_dir("/").process_group(0);
    // It is waited for by its number, which is its own until then.
    let child = hook.spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?))
}

/// The program and its environment.
fn command(path: &Path, occasion: &Occasion<'_>) -> Command {
    let mut hook = Command::new(path);
    hook.env_clear().env("PATH", PATH).env("LANG", "C");
    hook.env("PIPEWORK_EVENT", occasion.event.as_str());
    hook.env("PIPEWORK_GUEST", occasion.guest).env("PIPEWORK_INTERFACE", occasion.interface);
    hook
}

/// The rest of the hook's own process before it becomes the hook. Its files but these two are closed, and it is in `/`.
fn become_hook(path: &Path, occasion: &Occasion<'_>, input: &File, output: PipeWriter) {
    let _ = (setsid(), set_pdeathsig(Signal::SIGTERM), umask(Mode::from_bits_truncate(0o022)));
    let _ = (dup2_stdin(input), dup2_stdout(&output), dup2_stderr(&output));
    drop(output);
    // A program begins with the signals held back that its parent holds back (signal(7)).
    let_all_through();
    let error = command(path, occasion).exec();
    let _ = writeln!(std::io::stderr(), "it cannot be run: {error}");
    std::process::exit(CANNOT_RUN)
}
