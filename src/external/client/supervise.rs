//! The process beside a client: it starts it in the guest's network, apart from the host's files, and ends it with whatever
//! it started when the guest ends, when it is asked to, or when the one who wants the lease is gone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::children::Children;
use super::guest_end::GuestEnd;
use super::pid_file::PidFile;
use super::view;
use crate::kernel::netns::{Namespace, file_error};
use crate::kernel::signal::{Signals, let_all_through};
use crate::model::client::{ClientCommand, Release, ReleaseSignal};
use crate::model::error::KernelError;

/// What the client writes, in its own /run.
const OUTPUT: &str = "/run/pipework/output";
/// So much of its end is told.
const TAIL_BYTES: u64 = 2000;
const TAIL_LINES: usize = 6;
/// A guest without a process is looked at from time to time: nothing tells when a name of a namespace goes.
const GUEST_PAUSE_MS: u16 = 1000;

/// What came of a client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It has a lease, and has applied it.
    Lease,
    /// It could not be started.
    NotStarted(String),
    /// It has ended without a lease: how, and its last words.
    Ended(String, String),
    /// It was ended: its last words.
    Stopped(String),
}

/// What is to be done.
pub(super) struct Job<'a> {
    pub(super) command: &'a ClientCommand,
    pub(super) stay: bool,
    pub(super) namespace: &'a Namespace,
    pub(super) guest_end: GuestEnd<'a>,
    pub(super) pid_file: PidFile,
}

/// Does it, in a process of its own. Tells the verdict on `link`; a byte from there lets the client stay, its end ends it.
pub(super) fn supervise(job: Job<'_>, mut link: UnixStream) {
    let verdict = match Supervisor::start(job) {
        Ok(mut supervisor) => supervisor.watch(&mut link),
        Err(error) => Some(Verdict::NotStarted(error.to_string())),
    };
    if let Some(verdict) = verdict {
        tell(&mut link, &verdict);
    }
}

/// Whoever is to be told may be gone.
fn tell(link: &mut UnixStream, verdict: &Verdict) {
    if let Ok(mut line) = serde_json::to_vec(verdict) {
        line.push(b'\n');
        let _ = link.write_all(&line);
    }
}

/// So long a client that is to give its lease back, and then ends, may take.
const RELEASE_PATIENCE: Duration = Duration::from_secs(8);
/// One that does not end by it: its signals reach it in their order, so it does this first whatever comes next.
const SENDING_PATIENCE: Duration = Duration::from_millis(300);

struct Supervisor<'a> {
    command: &'a ClientCommand,
    stay: bool,
    guest_end: GuestEnd<'a>,
    pid_file: PidFile,
    children: Children,
    first: Pid,
    signals: Signals,
}

/// What a supervisor waits for.
enum Wake {
    /// A child may have ended.
    Child,
    /// The client may stay.
    Stay,
    /// All is to end.
    End,
}

impl<'a> Supervisor<'a> {
    fn start(job: Job<'a>) -> Result<Self, KernelError> {
        // Signals of the terminal are not for it.
        let _ = nix::unistd::setsid();
        let refused = |errno| KernelError::Refused { errno, text: Some("adopting the client's processes".into()) };
        let children = Children::adopt().map_err(refused)?;
        job.namespace.enter_apart()?;
        view::lay()?;
        let mut pid_file = job.pid_file;
        let first = spawn(job.command)?;
        let signals = Signals::hold_with_children()?;
        let _ = pid_file.write(first);
        Ok(Self { command: job.command, stay: job.stay, guest_end: job.guest_end, pid_file, children, first, signals })
    }

    /// Until there is an end to it. `None` when the verdict has been told.
    fn watch(&mut self, link: &mut UnixStream) -> Option<Verdict> {
        let (mut has_lease, mut stays) = (false, false);
        loop {
            let (ended, any_left) = self.children.reap(self.first);
            match ended {
                Some(WaitStatus::Exited(_, 0)) if self.stay && any_left => {
                    has_lease = true;
                    let _ = self.children.eldest().map(|pid| self.pid_file.write(pid));
                    tell(link, &Verdict::Lease);
                }
                Some(how) => return Some(self.last_words(how)),
                None if !any_left => return None,
                None => {}
            }
            match self.wait(link, stays) {
                Wake::Child => {}
                Wake::Stay => stays = true,
                Wake::End => {
                    if has_lease && !self.guest_end.has_come() {
                        self.release();
                    }
                    self.children.end(self.first);
                    return if has_lease { None } else { Some(Verdict::Stopped(tail())) };
                }
            }
        }
    }

    /// Has the lease given back: the link is there still, and so is the server, as far as we know.
    fn release(&self) {
        let start = Instant::now();
        match self.command.release() {
            Release::Signal(signal) => {
                let (signal, patience) = match signal {
                    ReleaseSignal::User2 => (Signal::SIGUSR2, SENDING_PATIENCE),
                    ReleaseSignal::Alarm => (Signal::SIGALRM, RELEASE_PATIENCE),
                };
                if let Some(client) = self.children.eldest() {
                    let _ = kill(client, signal);
                }
                // It says nothing of it. One that ends has done it; a packet is sent at once.
                while start.elapsed() < patience && self.children.reap(self.first).1 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Release::Command(command) => {
                if let Ok(other) = spawn(&command) {
                    while start.elapsed() < RELEASE_PATIENCE && self.children.reap(other).0.is_none() {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            }
        }
    }

    /// The client's first process has ended, and is not to leave another.
    fn last_words(&self, how: WaitStatus) -> Verdict {
        self.children.end(self.first);
        match how {
            WaitStatus::Exited(_, 0) if self.stay => Verdict::Ended("without staying".into(), tail()),
            WaitStatus::Exited(_, 0) => Verdict::Lease,
            WaitStatus::Exited(_, status) => Verdict::Ended(format!("with exit status {status}"), tail()),
            WaitStatus::Signaled(_, signal, _) => Verdict::Ended(format!("by {signal}"), tail()),
            other => Verdict::Ended(format!("{other:?}"), tail()),
        }
    }

    fn wait(&mut self, link: &mut UnixStream, stays: bool) -> Wake {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.guest_end.process().map(|process| PollFd::new(process, PollFlags::POLLIN)));
        let at = fds.len();
        if !stays {
            fds.push(PollFd::new(link.as_fd(), PollFlags::POLLIN));
        }
        let timeout = if self.guest_end.process().is_some() { PollTimeout::NONE } else { PollTimeout::from(GUEST_PAUSE_MS) };
        let _ = poll(&mut fds, timeout);
        let asked = fds.get(at).and_then(PollFd::any).unwrap_or(false);
        drop(fds);
        if self.guest_end.has_come() || self.signals.pending().is_some() {
            return Wake::End;
        }
        match asked.then(|| link.read(&mut [0])) {
            None => Wake::Child,
            Some(Ok(1..)) => Wake::Stay,
            Some(_) => Wake::End,
        }
    }
}

/// Starts the client with its output in a file: a pipe would have to be emptied for as long as it lives.
fn spawn(command: &ClientCommand) -> Result<Pid, KernelError> {
    let output = Path::new(OUTPUT);
    let fail = |error: std::io::Error| file_error(output, &error);
    let file = File::create(output).map_err(fail)?;
    let mut client = Command::new(command.program);
    client.args(&command.args).stdin(Stdio::null()).stdout(file.try_clone().map_err(fail)?).stderr(file).current_dir("/");
    // A program begins with the signals held back that its parent holds back (signal(7)).
    let_all_through();
    let child = client.spawn().map_err(|error| file_error(Path::new(command.program), &error))?;
    Ok(Pid::from_raw(i32::try_from(child.id()).unwrap_or_default()))
}

/// What the client said: how it began, and its last words.
fn tail() -> String {
    let Ok(mut file) = File::open(OUTPUT) else { return String::new() };
    let mut read = |from, count| {
        let mut bytes = Vec::new();
        // Before the beginning of a short file it cannot be; then it is read from there.
        let _ = file.seek(from).or_else(|_| file.seek(SeekFrom::Start(0)));
        let _ = (&file).take(count).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).replace(|c: char| c.is_control() && c != '\n', " ")
    };
    let (head, tail) = (read(SeekFrom::Start(0), TAIL_BYTES), read(SeekFrom::End(-TAIL_BYTES.cast_signed()), TAIL_BYTES));
    let lines = |text| str::lines(text).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let (first, last) = (lines(&head), lines(&tail));
    if last.len() <= TAIL_LINES {
        return last.join("; ");
    }
    let first = first.first().copied().into_iter().chain(["..."]);
    first.chain(last.iter().copied().skip(last.len() - TAIL_LINES + 1)).collect::<Vec<_>>().join("; ")
}
