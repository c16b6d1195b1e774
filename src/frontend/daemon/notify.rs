//! Telling systemd how the daemon does: sd_notify(3), a datagram. Without systemd nothing is told.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// What systemd can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// All that is wanted at the start is done, or a reload is.
    Ready,
    /// The files are read again.
    Reloading,
    /// It ends.
    Stopping,
    /// It is alive.
    Alive,
    /// A line for `systemctl status`.
    Status(&'a str),
}

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// By what the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// When the socket that it names cannot be one.
    pub fn from_environment() -> Result<Self> {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::new(var("NOTIFY_SOCKET").as_deref(), var("WATCHDOG_USEC"), var("WATCHDOG_PID"))
    }

    fn new(socket: Option<&OsStr>, usec: Option<OsString>, pid: Option<OsString>) -> Result<Self> {
        let Some(name) = socket else { return Ok(Self::default()) };
        let address = address(name)?;
        let datagram = UnixDatagram::unbound()?;
        // A manager that does not read must not hold the daemon up.
        datagram.set_nonblocking(true)?;
        let number = |text: Option<OsString>| text.and_then(|text| text.to_str()?.parse::<u64>().ok());
        // Meant for another process that this one was started by.
        let is_ours = pid.is_none() || number(pid) == Some(u64::from(std::process::id()));
        let watchdog = number(usec).filter(|usec| *usec > 0 && is_ours).map(Duration::from_micros);
        Ok(Self { socket: Some((datagram, address)), watchdog })
    }

    /// Whether anybody is told.
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// How often to say that it is alive: twice in the time after which systemd ends it.
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// Tells.
    ///
    /// # Errors
    /// When it cannot be told; the work goes on all the same.
    pub fn tell(&self, state: State<'_>) -> Result<()> {
        let Some((socket, address)) = &self.socket else { return Ok(()) };
        socket.send_to_addr(message(state)?.as_bytes(), address).map(drop)
    }
}

fn message(state: State<'_>) -> Result<String> {
    Ok(match state {
        State::Ready => "READY=1\n".to_owned(),
        State::Reloading => {
            let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
            format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
        }
        State::Stopping => "STOPPING=1\n".to_owned(),
        State::Alive => "WATCHDOG=1\n".to_owned(),
        // A line end would begin another assignment.
        State::Status(text) => format!("STATUS={}\n", text.replace(char::is_control, " ")),
    })
}

/// A path, or behind an @ a name of Linux's own.
fn address(name: &OsStr) -> Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] if !rest.is_empty() => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(Error::new(ErrorKind::InvalidInput, format!("NOTIFY_SOCKET={}: a path, or @ and a name, is known", name.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &OsStr, address: &SocketAddr) -> Vec<String> {
        let manager = UnixDatagram::bind_addr(address).unwrap();
        let notifier = Notifier::new(Some(name), None, None).unwrap();
        let states = [State::Ready, State::Reloading, State::Alive, State::Status("two\nREADY=1 lines"), State::Stopping];
        let hear = |state| {
            notifier.tell(state).unwrap();
            let mut bytes = [0; 256];
            let length = manager.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        states.into_iter().map(hear).collect()
    }

    #[test]
    fn a_manager_is_told_by_a_path_and_by_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = told(path.as_os_str(), &SocketAddr::from_pathname(&path).unwrap());
        let name = format!("pipework-notify-{}", std::process::id());
        let by_name = told(OsStr::new(&format!("@{name}")), &SocketAddr::from_abstract_name(&name).unwrap());
        for lines in [by_path, by_name] {
            assert_eq!(
                (&*lines[0], &*lines[2], &*lines[3], &*lines[4]),
                ("READY=1\n", "WATCHDOG=1\n", "STATUS=two READY=1 lines\n", "STOPPING=1\n")
            );
            let usec: i64 = lines[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end().parse().unwrap();
            assert!(usec > 0);
        }
    }

    #[test]
    fn the_watchdog_is_ours_only_when_it_names_us() {
        let pulse = |pid: Option<&str>, usec: &str| {
            Notifier::new(Some(OsStr::new("/nowhere")), Some(usec.into()), pid.map(Into::into)).unwrap().pulse()
        };
        assert_eq!(pulse(None, "30000000"), Some(Duration::from_secs(15)));
        assert_eq!(pulse(Some(&std::process::id().to_string()), "2000000"), Some(Duration::from_secs(1)));
        assert_eq!((pulse(Some("1"), "2000000"), pulse(None, "0"), pulse(None, "x")), (None, None, None));
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_a_name_that_is_none_is_refused() {
        assert!(Notifier::new(None, None, None).is_ok_and(|nobody| !nobody.is_heard() && nobody.tell(State::Ready).is_ok()));
        for bad in ["relative", "@", "vsock:2:1"] {
            assert!(Notifier::new(Some(OsStr::new(bad)), None, None).is_err(), "{bad}");
        }
        let nobody_there = Notifier::new(Some(OsStr::new("/nowhere/at/all")), None, None).unwrap();
        assert!(nobody_there.tell(State::Alive).is_err());
    }
}
