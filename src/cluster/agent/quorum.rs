//! Whether servers can decide anything at all: looked at where an answer would be, and does not come.
//!
//! A session ends when a leader ends it. A leader has the voices of more than half of the servers, and a server that runs
//! listens on its RPC port. So where the hosts of half of them answer that nothing listens there, none of the others can be
//! leader. A host that does not answer at all proves nothing: it may be well, on the other side of a cut.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A host in the same network answers in a moment or not at all.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a server's port says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something listens.
    Runs,
    /// Its host answers that nothing does.
    Stopped,
    /// No answer.
    Unknown,
}

/// Looks at one of them.
pub fn look(server: &SocketAddr) -> Seen {
    match TcpStream::connect_timeout(server, PATIENCE) {
        Ok(_) => Seen::Runs,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Seen::Stopped,
        Err(_) => Seen::Unknown,
    }
}

/// Whether so many are stopped for certain that the others cannot be more than half.
pub fn nobody_decides(seen: &[Seen]) -> bool {
    let stopped = seen.iter().filter(|seen| **seen == Seen::Stopped).count();
    !seen.is_empty() && seen.len() - stopped < seen.len() / 2 + 1
}

/// Looks at all of them, at once.
pub fn look_at_all(servers: &[SocketAddr]) -> Vec<Seen> {
    std::thread::scope(|scope| {
        let looks: Vec<_> = servers
            .iter()
            .map(|server| std::thread::Builder::new().name("quorum".into()).spawn_scoped(scope, move || look(server)))
            .collect();
        looks.into_iter().map(|look| look.ok().and_then(|look| look.join().ok()).unwrap_or(Seen::Unknown)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::Seen::{Runs, Stopped, Unknown};
    use super::*;

    #[test]
    fn only_what_is_known_to_be_stopped_proves_that_nobody_decides() {
        for (seen, wanted) in [
            (&[Stopped, Stopped, Stopped][..], true),
            (&[Runs, Stopped, Stopped], true),
            (&[Unknown, Stopped, Stopped], true),
            // A cut: the other two may well agree.
            (&[Stopped, Unknown, Unknown], false),
            (&[Runs, Unknown, Unknown], false),
            // One leader lost, two left to choose another.
            (&[Runs, Runs, Stopped], false),
            (&[Stopped, Unknown, Runs], false),
            (&[Stopped], true),
            (&[Unknown], false),
            (&[Stopped, Stopped, Runs, Runs], true),
            (&[Stopped, Runs, Runs, Unknown], false),
            (&[], false),
        ] {
            assert_eq!(nobody_decides(seen), wanted, "{seen:?}");
        }
    }

    #[test]
    fn a_port_tells_whether_something_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(look(&address), Runs);
        drop(listener);
        assert_eq!(look_at_all(&[address]), [Stopped]);
    }
}
