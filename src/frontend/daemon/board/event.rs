//! One thing that happened: as JSON, and as a line for people.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The longest text of one field. What comes from labels may be of any length, and is kept for a while.
const LONGEST: usize = 1024;
/// The most addresses of one event.
const MOST_ADDRESSES: usize = 32;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An attachment was made.
    Attached,
    /// One was taken away.
    Detached,
    /// The policy, or the grammar, does not let it.
    Refused,
    /// It could not be made, or taken away.
    Failed,
    /// It is not as it is wanted.
    Drifted,
    /// It is again.
    Repaired,
    /// A server lent an address, or another one.
    Leased,
    /// A lease was given more time.
    Renewed,
    /// A lease ended, and nobody gave more time: the address is removed.
    Lost,
    /// A lease was given back.
    Released,
    /// An engine tells its events.
    EngineConnected,
    /// An engine does not any more.
    EngineLost,
    /// The daemon runs.
    Started,
    /// It ends, and leaves everything standing.
    Stopped,
    /// It has read its files again.
    Reloaded,
    /// Something that the administrator should know.
    Warning,
    /// A reader was too slow for some events.
    Missed,
    /// It was looked at, and is as it is wanted: told with `pipework_debug`.
    Checked,
}

impl Kind {
    /// All of them, in the order of the figures.
    pub const ALL: [Self; 18] = [
        Self::Attached,
        Self::Detached,
        Self::Refused,
        Self::Failed,
        Self::Drifted,
        Self::Repaired,
        Self::Leased,
        Self::Renewed,
        Self::Lost,
        Self::Released,
        Self::EngineConnected,
        Self::EngineLost,
        Self::Started,
        Self::Stopped,
        Self::Reloaded,
        Self::Warning,
        Self::Missed,
        Self::Checked,
    ];

    /// As it is in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "detached",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Drifted => "drifted",
            Self::Repaired => "repaired",
            Self::Leased => "leased",
            Self::Renewed => "renewed",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::EngineConnected => "engine-connected",
            Self::EngineLost => "engine-lost",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Reloaded => "reloaded",
            Self::Warning => "warning",
            Self::Missed => "missed",
            Self::Checked => "checked",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts the daemon's events from 1; 0 until it is told.
    #[serde(default)]
    pub number: u64,
    /// When (RFC 3339, in UTC).
    pub at: String,
    /// What.
    pub kind: Kind,
    /// The guest, as people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<String>,
    /// The engine's identifier of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The interface in the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Who wanted it: a label, a variable, a file, a record; the engine, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why: an error's chain, the policy's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// From the engine's word until it was done, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_us: Option<u64>,
    /// How many events were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

impl Event {
    /// Now, and nothing known but what.
    pub fn new(kind: Kind) -> Self {
        Self {
            number: 0,
            at: now(),
            kind,
            guest: None,
            container: None,
            interface: None,
            addresses: Vec::new(),
            source: None,
            why: None,
            elapsed_us: None,
            missed: None,
        }
    }

    /// With the time that it took.
    #[must_use]
    pub fn took(self, elapsed: Duration) -> Self {
        Self { elapsed_us: Some(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)), ..self }
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// No longer than is kept for each.
    pub(super) fn bounded(mut self) -> Self {
        for field in [&mut self.guest, &mut self.container, &mut self.interface, &mut self.source, &mut self.why] {
            field.iter_mut().for_each(shorten);
        }
        self.addresses.truncate(MOST_ADDRESSES);
        self.addresses.iter_mut().for_each(shorten);
        self
    }
}

impl fmt::Display for Event {
    /// On one line: text that is not ours could hold line ends, and would make lines of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Plain(&self.at), self.kind.word())?;
        let addresses = self.addresses.iter().map(String::as_str);
        for text in self.guest.as_deref().into_iter().chain(self.interface.as_deref()).chain(addresses) {
            write!(f, " {}", Plain(text))?;
        }
        if let Some(source) = &self.source {
            write!(f, " by {}", Plain(source))?;
        }
        if let Some(elapsed) = self.elapsed_us {
            write!(f, " in {}.{:03} ms", elapsed / 1000, elapsed % 1000)?;
        }
        if let Some(missed) = self.missed {
            write!(f, " {missed} events: the reader is too slow")?;
        }
        self.why.iter().try_for_each(|why| write!(f, ": {}", Plain(why)))
    }
}

/// Text with its control characters escaped.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // U+2028 and the characters that turn the direction of text are no control characters to char::is_control.
        let hidden = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
        self.0.chars().try_for_each(|c| if hidden(c) { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// Which events somebody has seen already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// None.
    #[default]
    Beginning,
    /// Those up to this number.
    Number(u64),
    /// Those before this time.
    Time(OffsetDateTime),
}

impl Since {
    /// Whether the event is one of those not seen.
    pub fn is_before(&self, event: &Event) -> bool {
        match self {
            Self::Beginning => true,
            Self::Number(number) => event.number > *number,
            Self::Time(time) => OffsetDateTime::parse(&event.at, &Rfc3339).is_ok_and(|at| at >= *time),
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = || text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().map(Self::Number);
        let time = || OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::Time);
        number()
            .or_else(time)
            .ok_or_else(|| format!("since {text:?}: give an event's number, like 17, or a time, like 2026-01-31T12:00:00Z"))
    }
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let micros = now.nanosecond() / 1000 * 1000;
    now.replace_nanosecond(micros).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}
