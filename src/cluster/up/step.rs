//! One step: looked at first, done if needed, looked at again until it is so.

use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

use crate::external::consul::ConsulError;
use crate::external::resident::ResidentError;
use crate::guest::GuestError;
use crate::lifecycle::chain;

/// Between two looks; longer each time.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(30), Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(500)];

/// Why a step was not done.
#[derive(Debug, Error)]
pub enum UpError {
    /// Consul.
    #[error(transparent)]
    Consul(#[from] ConsulError),
    /// A program does not stay.
    #[error(transparent)]
    Resident(#[from] ResidentError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] GuestError),
    /// What is attached.
    #[error(transparent)]
    Attached(#[from] crate::lifecycle::AttachError),
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] crate::lifecycle::host_bridge::HostError),
    /// A file.
    #[error("{path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something is not as it has to be.
    #[error("{what}")]
    Wrong {
        /// What.
        what: String,
        /// What to do.
        hint: String,
    },
    /// It did not become so.
    #[error("not so after {seconds:.0} s: {why}")]
    Late {
        /// How long it was waited for.
        seconds: f64,
        /// How it is instead.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl UpError {
    /// Something is not as it has to be.
    pub(crate) fn wrong(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wrong { what: what.into(), hint: hint.into() }
    }

    /// A file cannot be read or written.
    pub(crate) fn file(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::File { path: path.display().to_string(), source }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Consul(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Bridge(error) => error.hint(),
            Self::Attached(error) => error.hint(),
            Self::Wrong { hint, .. } => Some(hint.clone()),
            Self::Late { hint, .. } => hint.clone(),
            Self::Resident(_) | Self::File { .. } => None,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Consul(error) => error.may_pass(),
            Self::Engine(_) => true,
            _ => false,
        }
    }
}

/// How something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As it is to be: in a few words.
    So(String),
    /// Not yet: what is missing.
    Not(String),
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was so already.
    Already,
    /// It was done.
    Done,
    /// It was not.
    Failed,
}

/// A step, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// On which host.
    pub host: String,
    /// Which.
    pub step: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How it is now, or why not.
    pub detail: String,
    /// How long it took.
    pub seconds: f64,
    /// What to do, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Steps of one host, told as they end.
pub struct Steps<'a> {
    host: String,
    wait: Duration,
    tell: &'a mut dyn FnMut(&StepReport),
    /// How many were done.
    pub(super) done: usize,
}

impl<'a> Steps<'a> {
    /// Steps that each may take so long.
    pub fn new(host: &str, wait: Duration, tell: &'a mut dyn FnMut(&StepReport)) -> Self {
        Self { host: host.to_owned(), wait, tell, done: 0 }
    }

    /// One step. `act` does what is missing, and may be asked again and again.
    ///
    /// # Errors
    /// Why it is not so.
    pub fn step(
        &mut self,
        name: &str,
        mut look: impl FnMut() -> Result<Seen, UpError>,
        mut act: impl FnMut() -> Result<(), UpError>,
    ) -> Result<(), UpError> {
        let began = Instant::now();
        let ended = self.until(began, &mut look, &mut act);
        let seconds = (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let (outcome, detail, hint) = match &ended {
            Ok((outcome, detail)) => (*outcome, detail.clone(), None),
            Err(error) => (Outcome::Failed, chain(error).join(": "), error.hint()),
        };
        self.done += usize::from(outcome == Outcome::Done);
        (self.tell)(&StepReport { host: self.host.clone(), step: name.to_owned(), outcome, detail, seconds, hint });
        ended.map(drop)
    }

    fn until(
        &self,
        began: Instant,
        look: &mut dyn FnMut() -> Result<Seen, UpError>,
        act: &mut dyn FnMut() -> Result<(), UpError>,
    ) -> Result<(Outcome, String), UpError> {
        let mut outcome = Outcome::Already;
        for round in 0.. {
            let why = match look() {
                Ok(Seen::So(detail)) => return Ok((outcome, detail)),
                Ok(Seen::Not(why)) => match act() {
                    Ok(()) => (why, None),
                    Err(error) if error.may_pass() => (chain(&error).join(": "), error.hint()),
                    Err(error) => return Err(error),
                },
                Err(error) if error.may_pass() => (chain(&error).join(": "), error.hint()),
                Err(error) => return Err(error),
            };
            outcome = Outcome::Done;
            if began.elapsed() > self.wait {
                return Err(UpError::Late { seconds: began.elapsed().as_secs_f64(), why: why.0, hint: why.1 });
            }
            std::thread::sleep(PAUSES[PAUSES.len().min(round + 1) - 1]);
        }
        Ok((outcome, String::new()))
    }
}
