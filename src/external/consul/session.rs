//! Sessions: what locks end with. `/v1/session`.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::{Consul, ConsulError, PATIENCE, Verb};

/// What becomes of a session's locks, and of what they lock, when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// The keys stay, unlocked.
    #[default]
    Release,
    /// The keys go.
    Delete,
}

/// A session to be made. It is of the agent that is asked, and ends with that agent's node (`serfHealth`) unless it says
/// which checks it hangs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewSession {
    /// What becomes of its locks.
    pub behavior: Behavior,
    /// How long nobody else gets a lock that a dead session had; an explicit release has no such delay. Consul's 15 s when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub lock_delay: Option<Duration>,
    /// What it is for, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The node that it is of; the asked agent's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The node's checks it ends with; `serfHealth` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_checks: Option<Vec<String>>,
    /// Checks of services of the same node that it ends with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_checks: Vec<ServiceCheck>,
    /// It ends when it is not renewed for so long; at the latest after twice that. 10 s at least, unless the servers say
    /// otherwise.
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub ttl: Option<Duration>,
}

/// A check of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceCheck {
    /// Its identifier.
    #[serde(rename = "ID")]
    pub id: String,
}

/// A session that is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Session {
    /// Its identifier.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it is for.
    #[serde(default)]
    pub name: String,
    /// The agent's node that it is of.
    pub node: String,
    /// What becomes of its locks.
    pub behavior: Behavior,
    /// In nanoseconds.
    #[serde(default)]
    pub lock_delay: u64,
    /// As it was given: `10s`; empty when it has none.
    #[serde(rename = "TTL", default)]
    pub ttl: String,
    /// The node's checks that it ends with.
    #[serde(default)]
    pub node_checks: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Made {
    #[serde(rename = "ID")]
    id: String,
}

impl Consul {
    /// Makes a session. Returns its identifier.
    ///
    /// # Errors
    /// When the agent refuses: a check is critical, the TTL is too short, the agent is not registered.
    pub fn begin_session(&self, session: &NewSession) -> Result<String, ConsulError> {
        let made: Made = self.put("session/create", &[], session)?;
        Ok(made.id)
    }

    /// Keeps a session for another while. Returns whether it still is: one that is dead stays so, and its locks are gone.
    ///
    /// # Errors
    /// When the agent refuses, or its answer is none: then it may have ended meanwhile.
    pub fn renew_session(&self, id: &str) -> Result<bool, ConsulError> {
        self.renew_session_within(id, PATIENCE)
    }

    /// The same, for those whose patience ends before the session does.
    ///
    /// # Errors
    /// As for [`Self::renew_session`].
    pub fn renew_session_within(&self, id: &str, patience: Duration) -> Result<bool, ConsulError> {
        let path = format!("session/renew/{id}");
        let answer = self.ask(Verb::Put, &path, &[], b"", patience)?;
        if answer.status == 404 {
            return Ok(false);
        }
        answer.good(Verb::Put, &path).map(|_| true)
    }

    /// Ends a session; one that has ended is well.
    ///
    /// # Errors
    /// When the agent refuses, or its answer is none.
    pub fn end_session(&self, id: &str) -> Result<(), ConsulError> {
        self.poke(&format!("session/destroy/{id}"), &[])
    }

    /// A session; `None` when it has ended.
    ///
    /// # Errors
    /// As for [`Self::end_session`].
    pub fn session(&self, id: &str) -> Result<Option<Session>, ConsulError> {
        let found: Option<Option<Vec<Session>>> = self.get(&format!("session/info/{id}"), &[])?;
        Ok(found.flatten().and_then(|found| found.into_iter().next()))
    }

    /// All sessions.
    ///
    /// # Errors
    /// As for [`Self::end_session`].
    pub fn sessions(&self) -> Result<Vec<Session>, ConsulError> {
        Ok(self.get::<Option<Vec<Session>>>("session/list", &[])?.flatten().unwrap_or_default())
    }
}

/// A time as the API reads it (Go's `time.ParseDuration`).
fn time<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let time = time.unwrap_or_default();
    let text = match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    };
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_session_says_what_was_said_and_no_more() {
        let second = Duration::from_secs(1);
        let session =
            NewSession { behavior: Behavior::Delete, lock_delay: Some(second / 1000), ttl: Some(10 * second), ..NewSession::default() };
        assert_eq!(serde_json::to_string(&session).unwrap(), r#"{"Behavior":"delete","LockDelay":"1ms","TTL":"10s"}"#);
        let session = NewSession { name: "x".into(), ttl: Some(second * 3 / 2), ..NewSession::default() };
        assert_eq!(serde_json::to_string(&session).unwrap(), r#"{"Behavior":"release","Name":"x","TTL":"1500ms"}"#);
    }
}
