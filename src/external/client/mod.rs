//! A DHCP client that is installed on the host, run in a guest's network and apart from the host's files.
//!
//! A process of ours stands beside each (`supervise`): it adopts what the client starts, so that nothing of it is left
//! behind when there is no lease, when this process is killed, or when the guest ends.

mod children;
mod guest_end;
mod pid_file;
mod supervise;
mod view;

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use thiserror::Error;

use crate::kernel::fork;
use crate::kernel::netns::Namespace;
use crate::model::client::ClientCommand;
use guest_end::GuestEnd;
use pid_file::PidFile;
use supervise::{Job, Verdict, supervise};

/// The longest that ending a client can take.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Why a client brought no lease.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Not installed: the original's own words.
    #[error("You asked for DHCP client {0}, but I can't find it")]
    Missing(&'static str),
    /// It could not be run.
    #[error("{program} could not be started: {why}")]
    NotStarted {
        /// The program.
        program: &'static str,
        /// Why.
        why: String,
    },
    /// It ended without a lease.
    #[error("{program} ended {how}{}", quoted(.words))]
    Ended {
        /// The program.
        program: &'static str,
        /// How.
        how: String,
        /// The end of its output.
        words: String,
    },
    /// It says that it has a lease, but the interface has no address.
    #[error("{program} has ended well, but {interface} has no address")]
    NotApplied {
        /// The program.
        program: &'static str,
        /// The guest's interface.
        interface: String,
    },
    /// It was still at it when the time was over.
    #[error("{program} has no lease after {seconds} s{}", quoted(.words))]
    TimedOut {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its output.
        words: String,
    },
}

fn quoted(words: &str) -> String {
    if words.is_empty() { ", without a word".to_owned() } else { format!("; it said: {words}") }
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing(program) => {
                let package = match *program {
                    "dhclient" => "isc-dhcp-client",
                    "dhcpcd" => "dhcpcd-base or dhcpcd",
                    other => other,
                };
                format!("install it (Debian: apt-get install {package}), or take the client that is built in: dhcp")
            }
            Self::NotStarted { .. } => "the client that is built in needs nothing: dhcp".into(),
            Self::NotApplied { .. } => "does its script give the address to the interface?".into(),
            Self::Ended { .. } | Self::TimedOut { .. } => {
                "does a DHCP server answer on that network, and are the options right? --dhcp-timeout gives it more time".into()
            }
        })
    }
}

/// Makes sure that a client is installed where PATH leads.
///
/// # Errors
/// [`ClientError::Missing`].
pub fn check_installed(program: &'static str) -> Result<(), ClientError> {
    let is_program = |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|directory| is_program(&directory.join(program)));
    if is_there { Ok(()) } else { Err(ClientError::Missing(program)) }
}

/// Where and how a client is to run.
pub struct Place<'a> {
    /// The guest's network.
    pub namespace: &'a Namespace,
    /// A pidfd of the guest, where it has a process.
    pub process: Option<&'a OwnedFd>,
    /// The directory of the host for its process ID.
    pub pid_dir: &'a Path,
    /// The file's name there, and the one that is taken when the first is in use.
    pub pid_names: [String; 2],
}

/// A client at work. It ends with this, unless it is let stay.
#[derive(Debug)]
pub struct Client {
    program: &'static str,
    link: UnixStream,
    supervisor: Option<Pid>,
}

impl Client {
    /// Starts a client.
    ///
    /// # Errors
    /// When there can be no process for it.
    pub fn start(command: &ClientCommand, stay: bool, place: Place<'_>) -> Result<Self, ClientError> {
        let program = command.program;
        let fail = |why: String| ClientError::NotStarted { program, why };
        let pid_file = PidFile::choose(place.pid_dir, place.pid_names, program)
            .map_err(|error| fail(format!("the directory for its pid file, {}: {error}", place.pid_dir.display())))?;
        let (link, theirs) = UnixStream::pair().map_err(|error| fail(error.to_string()))?;
        let guest_end = GuestEnd::of(place.process, place.namespace);
        let mut keep = vec![place.namespace.raw_fd(), theirs.as_raw_fd(), pid_file.raw_fd()];
        keep.extend(guest_end.raw_fd());
        let job = Job { command, stay, namespace: place.namespace, guest_end, pid_file };
        let child = fork::child(&keep, move || supervise(job, theirs));
        let supervisor = child.ok_or_else(|| fail("there can be no process beside it, because this one has several threads".into()))?;
        Ok(Self { program, link, supervisor: Some(supervisor) })
    }

    /// Waits for the lease for so long. `false`: not yet.
    ///
    /// # Errors
    /// When the client has ended without one.
    pub fn has_lease(&mut self, patience: Duration) -> Result<bool, ClientError> {
        match self.verdict(patience) {
            None => Ok(false),
            Some(Verdict::Lease) => Ok(true),
            Some(Verdict::NotStarted(why)) => Err(ClientError::NotStarted { program: self.program, why }),
            Some(Verdict::Ended(how, words)) => Err(ClientError::Ended { program: self.program, how, words }),
            Some(Verdict::Stopped(words)) => {
                Err(ClientError::Ended { program: self.program, how: "with the guest, or because somebody asked it to".into(), words })
            }
        }
    }

    /// Ends it, because its time is over.
    pub fn time_out(mut self, after: Duration) -> ClientError {
        let _ = self.link.shutdown(Shutdown::Write);
        let words = match self.verdict(END_PATIENCE) {
            Some(Verdict::Stopped(words) | Verdict::Ended(_, words)) => words,
            _ => String::new(),
        };
        ClientError::TimedOut { program: self.program, seconds: after.as_secs(), words }
    }

    /// Lets it stay: from now on it ends with the guest, or when the process beside it, whose number this tells, is asked to
    /// end: then it gives its lease back.
    pub fn stay(mut self) -> Option<u32> {
        if self.link.write_all(b"s").is_err() {
            return None;
        }
        self.supervisor.take().and_then(|pid| u32::try_from(pid.as_raw()).ok())
    }

    /// The supervisor's next word; `None` when there is none in time.
    fn verdict(&mut self, patience: Duration) -> Option<Verdict> {
        self.link.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).ok()?;
        let mut line = Vec::new();
        match BufReader::new(&self.link).read_until(b'\n', &mut line) {
            Ok(0) => Some(Verdict::NotStarted("the process beside it has ended early".into())),
            Ok(_) => serde_json::from_slice(&line).ok(),
            Err(_) => None,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Some(supervisor) = self.supervisor else { return };
        let _ = self.link.shutdown(Shutdown::Write);
        let start = Instant::now();
        while matches!(waitpid(supervisor, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)) && start.elapsed() < END_PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
