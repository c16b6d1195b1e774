//! The session's file, with the addresses that are locked by it: an agent that was killed, or ended, is followed by one that goes
//! on with its session, and takes them down in time where it cannot.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::Moment;
use super::ledger::Use;
use crate::lifecycle::claims::{Claim, User};

/// Its name in the run directory.
pub const FILE: &str = "agent-session.json";

/// Which run of the kernel the time is of.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default)]
    session: Option<String>,
    boot: String,
    sent_ms: u64,
    ttl_ms: u64,
    #[serde(default)]
    uses: Vec<StoredUse>,
}

/// Texts, which are read as all that comes from outside.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredUse {
    pool: String,
    owner: String,
    addr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<std::net::IpAddr>,
    user: User,
}

impl StoredUse {
    fn of(one: &Use) -> Self {
        let Claim { pool, owner, addr, gateway, .. } = &one.claim;
        Self { pool: pool.to_string(), owner: owner.to_string(), addr: addr.to_string(), gateway: *gateway, user: one.user.clone() }
    }

    fn read(self) -> Option<(Claim, User)> {
        let (pool, owner, addr) = (self.pool.parse().ok()?, self.owner.parse().ok()?, self.addr.parse().ok()?);
        Some((Claim { pool, owner, addr, gateway: self.gateway, is_new: false }, self.user))
    }
}

/// What an agent left.
#[derive(Debug, Default)]
pub struct Left {
    /// Its session.
    pub session: Option<LeftSession>,
    /// What it had locked.
    pub uses: Vec<(Claim, User)>,
}

/// A session that an agent left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftSession {
    /// Its identifier.
    pub id: String,
    /// When the last renewal was sent.
    pub sent: Moment,
    /// For how long it lives from then.
    pub ttl: Duration,
}

/// What the agent before left. Of before the host was started again nothing counts: no address is left of then.
pub fn read(path: &Path) -> Left {
    let stored = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Stored>(&text).ok());
    let Some(stored) = stored.filter(|stored| Some(&stored.boot) == boot().as_ref()) else { return Left::default() };
    let is_plain = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let (sent, ttl) = (Moment(Duration::from_millis(stored.sent_ms)), Duration::from_millis(stored.ttl_ms));
    Left {
        session: stored.session.filter(is_plain).map(|id| LeftSession { id, sent, ttl }),
        uses: stored.uses.into_iter().filter_map(StoredUse::read).collect(),
    }
}

/// Writes it: whole, or as it was.
///
/// # Errors
/// When it cannot be written.
pub fn write<'a>(path: &Path, session: Option<&LeftSession>, uses: impl Iterator<Item = &'a Use>) -> std::io::Result<()> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let stored = Stored {
        session: session.map(|session| session.id.clone()),
        boot: boot().unwrap_or_default(),
        sent_ms: session.map_or(0, |session| millis(session.sent.0)),
        ttl_ms: session.map_or(0, |session| millis(session.ttl)),
        uses: uses.map(StoredUse::of).collect(),
    };
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
        assert!(read(&path).session.is_none());
        let claim = Claim {
            pool: "lan".parse().unwrap(),
            owner: "web/1".parse().unwrap(),
            addr: "10.0.0.2/24".parse().unwrap(),
            gateway: Some("10.0.0.1".parse().unwrap()),
            is_new: false,
        };
        let user = User { host: "a".into(), container: Some("web.1.x".into()), netns: 7 };
        let one = Use { claim: claim.clone(), user: user.clone(), session: None, sure: true };
        let session = LeftSession { id: "0a-1".into(), sent: Moment(Duration::from_millis(1234)), ttl: Duration::from_secs(8) };
        write(&path, Some(&session), [&one].into_iter()).unwrap();
        let left = read(&path);
        assert_eq!(left.session.unwrap(), session);
        assert_eq!(left.uses, [(claim, user)]);
        let text = std::fs::read_to_string(&path).unwrap();
        for other in [text.replace(&boot().unwrap(), "x"), "{}".into(), "?".into()] {
            std::fs::write(&path, other).unwrap();
            assert!(read(&path).session.is_none() && read(&path).uses.is_empty());
        }
        std::fs::write(&path, text.replace("0a-1", "../x")).unwrap();
        assert!(read(&path).session.is_none());
        assert_eq!(read(&path).uses.len(), 1, "what was locked has to go down all the same");
        std::fs::write(&path, text.replace("10.0.0.2/24", "10.0.0.2/240")).unwrap();
        assert!(read(&path).uses.is_empty());
    }
}
