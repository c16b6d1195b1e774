//! Whether the daemon does what it is for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// A check that is late by so much is a fault. A busy machine is not.
const GRACE: Duration = Duration::from_secs(30);

/// How it stands with an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// It tells its events.
    Connected,
    /// It does not; why.
    Lost(String),
}

/// What is known of the daemon's health.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// What is wanted at the start has been gone through.
    pub ready: bool,
    engines: BTreeMap<String, EngineState>,
    /// Since when those that are lost are.
    lost: BTreeMap<String, Instant>,
    checked: Option<Checked>,
}

#[derive(Clone, Copy, Debug)]
struct Checked {
    at: Instant,
    at_time: SystemTime,
    next_within: Duration,
}

impl Health {
    /// Takes an engine's state down; whether it is news.
    pub(super) fn engine(&mut self, name: &str, state: EngineState) -> bool {
        let before = self.engines.insert(name.to_owned(), state.clone());
        match state {
            EngineState::Connected => drop(self.lost.remove(name)),
            EngineState::Lost(_) => drop(self.lost.entry(name.to_owned()).or_insert_with(Instant::now)),
        }
        // Another reason for the same trouble is no news.
        before.is_none_or(|before| std::mem::discriminant(&before) != std::mem::discriminant(&state))
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.engines.remove(name);
    }

    /// Since when an engine has told nothing, where it is looked after and does not.
    pub fn lost_since(&self, name: &str) -> Option<Instant> {
        self.lost.get(name).copied()
    }

    pub(super) fn checked(&mut self, next_within: Duration) {
        self.checked = Some(Checked { at: Instant::now(), at_time: SystemTime::now(), next_within });
    }

    /// The engines that are looked after.
    pub fn engines(&self) -> &BTreeMap<String, EngineState> {
        &self.engines
    }

    /// When all attachments were looked at last.
    pub fn last_check(&self) -> Option<SystemTime> {
        self.checked.map(|checked| checked.at_time)
    }

    /// What is wrong; nothing when all is well.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if !self.ready {
            complaints.push("starting: what is wanted is not gone through yet".to_owned());
        }
        for (name, state) in &self.engines {
            if let EngineState::Lost(why) = state {
                complaints.push(format!("engine {name}: {why}"));
            }
        }
        if let Some(checked) = self.checked {
            let (since, due) = (checked.at.elapsed(), checked.next_within.saturating_add(GRACE));
            if since > due {
                complaints.push(format!("the attachments were last looked at {} s ago", since.as_secs()));
            }
        }
        complaints
    }
}
