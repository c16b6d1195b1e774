//! The socket that the engine comes by: systemd's, or a file of our own.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use thiserror::Error;

use crate::frontend::daemon::serve::{ServeError, SocketFile, unix};

/// Where systemd's first socket is (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Ours.
    #[error(transparent)]
    Own(#[from] ServeError),
    /// systemd's.
    #[error("the socket that systemd hands over (LISTEN_FDS): {0}")]
    Handed(String),
    /// It cannot be used.
    #[error("{0}")]
    Unusable(PathBuf, #[source] std::io::Error),
}

/// The socket, and the file of it where that is ours to remove.
pub(super) fn open(path: &Path) -> Result<(UnixListener, Option<SocketFile>), ListenError> {
    match handed(|name| std::env::var(name).ok())? {
        Some(listener) => Ok((listener, None)),
        None => unix(path).map(|(listener, file)| (listener, Some(file))).map_err(Into::into),
    }
}

/// systemd's socket, if it hands one over to this process.
fn handed(var: impl Fn(&str) -> Option<String>) -> Result<Option<UnixListener>, ListenError> {
    let number = |name: &str| var(name).and_then(|text| text.parse::<i64>().ok());
    let own = getpid();
    if number("LISTEN_PID") != Some(own.as_raw_nonzero().get().into()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(many) => return Err(ListenError::Handed(format!("there are {many}, and one is used: write one ListenStream="))),
    }
    let wrong = |error: &dyn std::fmt::Display| ListenError::Handed(error.to_string());
    let listener = UnixListener::from(descriptor(own).map_err(|error| wrong(&error))?);
    listener.local_addr().and_then(|_| listener.set_nonblocking(true)).map_err(|error| wrong(&error))?;
    Ok(Some(listener))
}

/// The descriptor of that number, whose owner nobody is in this process: the kernel gives another one for it.
fn descriptor(own: Pid) -> rustix::io::Result<OwnedFd> {
    pidfd_getfd(pidfd_open(own, PidfdFlags::empty())?, FIRST, PidfdGetfdFlags::empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_handed_to_this_process_is_taken() {
        let own = std::process::id().to_string();
        let handed = |pid: &str, fds: &str| handed(|name| Some(if name == "LISTEN_PID" { pid.to_owned() } else { fds.to_owned() }));
        assert!(handed("1", "1").unwrap().is_none());
        assert!(handed(&own, "0").unwrap().is_none());
        assert!(handed(&own, "x").unwrap().is_none());
        assert!(handed(&own, "2").unwrap_err().to_string().contains("one is used"));
    }
}
