//! The session's file: an agent that was killed, or ended, is followed by one that goes on with its session.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::Moment;

/// Its name in the run directory.
pub const FILE: &str = "agent-session.json";

/// Which run of the kernel the time is of.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    session: String,
    boot: String,
    sent_ms: u64,
}

/// The session, and when its last renewal was sent. One of before the host was started again is none: it has no addresses.
pub fn read(path: &Path) -> Option<(String, Moment)> {
    let stored: Stored = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let is_plain = !stored.session.is_empty() && stored.session.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (is_plain && stored.boot == boot()?).then(|| (stored.session, Moment(Duration::from_millis(stored.sent_ms))))
}

/// Writes it: whole, or as it was.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, session: &str, sent: Moment) -> std::io::Result<()> {
    let sent_ms = u64::try_from(sent.0.as_millis()).unwrap_or(u64::MAX);
    let stored = Stored { session: session.to_owned(), boot: boot().unwrap_or_default(), sent_ms };
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(&stored)?)?;
    std::fs::rename(&new, path)
}

fn boot() -> Option<String> {
    std::fs::read_to_string(BOOT).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_of_another_boot_or_no_session_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert!(read(&path).is_none());
        write(&path, "0a-1", Moment(Duration::from_millis(1234))).unwrap();
        assert_eq!(read(&path).unwrap(), ("0a-1".into(), Moment(Duration::from_millis(1234))));
        let text = std::fs::read_to_string(&path).unwrap();
        for other in [text.replace("0a-1", "../x"), text.replace(&boot().unwrap(), "x"), "{}".into(), "?".into()] {
            std::fs::write(&path, other).unwrap();
            assert!(read(&path).is_none());
        }
    }
}
