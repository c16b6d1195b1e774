//! Where the database is, in the words of `ovs-vsctl --db` (ovsdb(7), "Active Connection Methods").

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::model::ovs::OvsError;

/// IANA's port for OVSDB (RFC 7047, section 6).
const PORT: u16 = 6640;
const RUN_DIRECTORY: &str = "/var/run/openvswitch";
const SOCKET: &str = "db.sock";

/// The address of a database server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `tcp:ADDRESS[:PORT]`
    Tcp(SocketAddr),
}

impl Address {
    /// The address in `OVS_DB`, else the one where ovs-vsctl looks by itself.
    ///
    /// # Errors
    /// When there is something else in `OVS_DB`.
    pub fn current() -> Result<Self, OvsError> {
        match std::env::var_os("OVS_DB").filter(|text| !text.is_empty()) {
            Some(text) => text.to_string_lossy().parse(),
            None => Ok(Self::usual()),
        }
    }

    /// Where ovs-vsctl looks by itself: `db.sock` in `OVS_RUNDIR`, else in /var/run/openvswitch (ovs-vsctl(8)).
    pub fn usual() -> Self {
        let directory = std::env::var_os("OVS_RUNDIR").filter(|dir| !dir.is_empty());
        Self::Unix(directory.map_or_else(|| PathBuf::from(RUN_DIRECTORY), PathBuf::from).join(SOCKET))
    }
}

impl FromStr for Address {
    type Err = OvsError;

    fn from_str(text: &str) -> Result<Self, OvsError> {
        let refuse = |why: &str| OvsError::Address { text: text.to_owned(), why: why.to_owned() };
        match text.split_once(':') {
            Some(("tcp", rest)) => tcp(rest).map(Self::Tcp).ok_or_else(|| refuse("behind tcp: stands an IP address, then :PORT")),
            Some(("ssl", _)) => Err(refuse("SSL is not available in this version: use the local socket (unix:/path)")),
            Some(("unix", path)) => unix(path).map(Self::Unix).ok_or_else(|| refuse("behind unix: stands a path")),
            _ if text.starts_with('/') => unix(text).map(Self::Unix).ok_or_else(|| refuse("it is no path")),
            _ => Err(refuse("it is neither unix:/path nor tcp:ADDRESS:PORT")),
        }
    }
}

fn unix(path: &str) -> Option<PathBuf> {
    (!path.is_empty() && !path.contains('\0')).then(|| Path::new(path).to_owned())
}

/// `1.2.3.4`, `1.2.3.4:6640`, `[::1]`, `[::1]:6640`
fn tcp(text: &str) -> Option<SocketAddr> {
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let without_port = || alone.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
    text.parse().ok().or_else(without_port)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_those_of_ovs_vsctl() {
        for (text, prints) in [
            ("unix:/run/db.sock", "unix:/run/db.sock"),
            ("/run/db.sock", "unix:/run/db.sock"),
            ("unix:db.sock", "unix:db.sock"),
            ("tcp:127.0.0.1:6641", "tcp:127.0.0.1:6641"),
            ("tcp:127.0.0.1", "tcp:127.0.0.1:6640"),
            ("tcp:[::1]:7", "tcp:[::1]:7"),
            ("tcp:[::1]", "tcp:[::1]:6640"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), prints, "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_what_to_type() {
        for text in ["", "unix:", "tcp:", "tcp:host:6640", "ptcp:6640", "db.sock", "tcp:1.2.3.4:99999", "unix:/a,tcp:1.2.3.4:x\0"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.hint().unwrap().contains("tcp:ADDRESS:PORT"), "{text}: {error}");
        }
        assert!("ssl:1.2.3.4:6640".parse::<Address>().unwrap_err().to_string().contains("SSL is not available"));
    }
}
