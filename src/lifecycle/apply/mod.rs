//! A topology made so: guests, bridges, attachments, links; and what it described before and does no more, taken away.

mod bridges;
mod carry;
mod guests;
mod interfaces;
mod prune;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::attach::check_privileges;
use super::claims::Claims;
use super::error::chain;
use super::{AttachError, DetachOptions, LinkOptions, Options, Which, recording, settings};
use crate::external::hooks::HookSettings;
use crate::guest;
use crate::kernel::netns::Namespace;
use crate::kernel::signal::Signals;
use crate::model::error::KernelError;
use crate::model::report::{Failure, Outcome, SCHEMA};
use crate::model::request::GuestRef;
use crate::model::topology::{ApplyReport, Count, How, Kind, ObjectReport, Place, Wanted, WantedAttachment, Wrong};
use crate::plan::execute::Event;
use crate::state::{Applied, Records, Topologies};

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Tell only what would be done.
    pub dry_run: bool,
    /// Take away what the same topology described before, and does no more.
    pub prune: bool,
    /// List the steps in the reports.
    pub steps: bool,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// Where wanted attachments are kept ([`crate::state::state_dir`]).
    pub state_dir: PathBuf,
    /// Where DHCP clients have their pid files ([`crate::state::pid_dir`]).
    pub pid_dir: PathBuf,
    /// The administrator's own programs; none when empty.
    pub hooks: HookSettings,
    /// Where addresses of pools are claimed; there are no pools when absent.
    pub claims: Option<Arc<dyn Claims>>,
}

impl ApplyOptions {
    /// For one attachment.
    pub fn attach(&self, how: &How) -> Options {
        let options = Options {
            dry_run: self.dry_run,
            steps: self.steps,
            run_dir: self.run_dir.clone(),
            state_dir: self.state_dir.clone(),
            pid_dir: self.pid_dir.clone(),
            hooks: self.hooks.clone(),
            claims: self.claims.clone(),
            ..Options::default()
        };
        options.with(how)
    }

    /// For one link.
    pub fn link(&self) -> LinkOptions {
        LinkOptions { dry_run: self.dry_run, steps: self.steps, run_dir: self.run_dir.clone(), hooks: self.hooks.clone() }
    }

    /// For what is taken away.
    pub fn detach(&self, which: Which) -> DetachOptions {
        DetachOptions {
            which,
            steps: self.steps,
            run_dir: self.run_dir.clone(),
            state_dir: self.state_dir.clone(),
            hooks: self.hooks.clone(),
            ..DetachOptions::default()
        }
    }
}

/// Why nothing was done, or not all is known.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Words that mean nothing.
    #[error("{}", .0.iter().map(|wrong| wrong.text.as_str()).collect::<Vec<_>>().join("; "))]
    Wrong(Vec<Wrong>),
    /// A capability is missing, or the records cannot be used.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// What is kept of the topology cannot be read or written.
    #[error("what is kept of topology {name}")]
    Applied {
        /// The topology.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The host cannot be looked at.
    #[error("looking at the interfaces")]
    Kernel(#[from] KernelError),
}

impl ApplyError {
    /// What to type, or what is missing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Attach(error) => error.hint(),
            Self::Applied { source, .. } if source.kind() == std::io::ErrorKind::TimedOut => {
                Some("another pipework applies it: wait for it, or end it".into())
            }
            Self::Wrong(_) | Self::Applied { .. } | Self::Kernel(_) => None,
        }
    }

    /// The chain of reasons, outermost first.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }
}

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);
type Tell<'t> = &'t mut dyn FnMut(&ObjectReport);

/// Makes a topology so. `tell` hears of each object as it is done; one that fails keeps from being done only what depends on it.
///
/// # Errors
/// See [`ApplyError`]. What fails of single objects is told in their reports.
pub fn apply(wanted: &Wanted, options: &ApplyOptions, tell: Tell<'_>, watch: Watch<'_>) -> Result<ApplyReport, ApplyError> {
    let start = Instant::now();
    let warnings = check_privileges()?;
    check_words(&wanted.attachments)?;
    let records = recording::records(&options.run_dir)?;
    let topologies = Topologies::of(&options.run_dir, records.home());
    let kept = |source| ApplyError::Applied { name: wanted.name.clone(), source };
    let _lock = if options.dry_run { None } else { Some(topologies.lock(&wanted.name).map_err(kept)?) };
    let applied = topologies.get(&wanted.name).map_err(kept)?;
    let home = Namespace::current()?;
    // A signal between two objects is obeyed before the next.
    let signals = Signals::hold()?;
    let mut run = Run {
        wanted,
        options,
        records,
        topologies,
        applied,
        home,
        tell,
        count: Count::default(),
        lacks: Lacks::default(),
        signals,
        stopped: None,
        warnings,
    };
    if options.prune {
        run.prune_interfaces()?;
    }
    run.guests()?;
    run.bridges(watch)?;
    run.note_interfaces()?;
    run.interfaces(watch)?;
    if options.prune && run.stop().is_none() {
        run.prune_bridges(watch)?;
        run.prune_guests()?;
    }
    let (count, warnings) = (run.count, run.warnings);
    let result = match (count.failed, options.dry_run, count.differing()) {
        (1.., ..) => Outcome::Failed,
        (_, true, _) => Outcome::Planned,
        (_, _, 0) => Outcome::Unchanged,
        _ => Outcome::Changed,
    };
    let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(ApplyReport { schema: SCHEMA, topology: wanted.name.clone(), result, count, warnings, elapsed_us })
}

/// What is not there for others to be made on: it failed, or it is only to be made (`--dry-run`).
#[derive(Default)]
struct Lacks {
    failed_guests: BTreeSet<String>,
    planned_guests: BTreeSet<String>,
    failed_bridges: BTreeSet<String>,
    planned_bridges: BTreeSet<String>,
}

struct Run<'a> {
    wanted: &'a Wanted,
    options: &'a ApplyOptions,
    records: Records,
    topologies: Topologies,
    applied: Applied,
    home: Namespace,
    tell: Tell<'a>,
    count: Count,
    lacks: Lacks,
    signals: Signals,
    /// The signal that asked to stop.
    stopped: Option<&'static str>,
    warnings: Vec<String>,
}

impl Run<'_> {
    fn tell(&mut self, report: &ObjectReport) {
        self.count.add(report.action);
        (self.tell)(report);
    }

    fn failed(&mut self, kind: Kind, name: String, error: &AttachError) {
        let report = ObjectReport { undone: error.undone(), ..ObjectReport::failed(kind, name, error.chain(), error.hint()) };
        self.tell(&report);
    }

    /// What came to nothing among others.
    fn not_made(&mut self, kind: Kind, name: String, failure: &Failure) {
        let report = ObjectReport::failed(kind, name, failure.error.clone(), failure.hint.clone());
        self.tell(&ObjectReport { undone: failure.undone.clone(), ..report });
    }

    /// The signal that asks to stop, if one has come.
    fn stop(&mut self) -> Option<&'static str> {
        self.stopped = self.stopped.or_else(|| self.signals.pending());
        self.stopped
    }

    /// What was not come to before a signal asked to stop.
    fn not_done(&mut self, kind: Kind, name: String, signal: &str) {
        self.tell(&ObjectReport::failed(kind, name, vec![format!("not done: {signal} came")], None));
    }

    /// Writes down what the topology made so far: a run that is killed leaves nothing that the next could not know.
    fn keep(&self) -> Result<(), ApplyError> {
        if self.options.dry_run {
            return Ok(());
        }
        self.topologies.put(&self.applied).map_err(|source| ApplyError::Applied { name: self.applied.name.clone(), source })
    }
}

/// Words of routes and rules that mean nothing are told before anything is done.
fn check_words(attachments: &[WantedAttachment]) -> Result<(), ApplyError> {
    let mut wrong = Vec::new();
    for (index, attachment) in attachments.iter().enumerate() {
        let request = &attachment.request;
        if request.settings.routes.is_empty() && request.settings.rules.is_empty() {
            continue;
        }
        // A guest that is not there yet has the host's names of tables.
        let held = guest::hold(&request.guest).or_else(|_| guest::hold(&GuestRef::NetnsPath("/proc/thread-self/ns/net".into())));
        let Ok(held) = held else { continue };
        if let Err(error @ AttachError::Words { option, .. }) = settings::resolved(request, &held) {
            let key = if option == "--route" { "routes" } else { "rules" };
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            let text = format!("{}{hint}", error.chain().join(": "));
            wrong.push(Wrong { place: Place { list: "attachments", index, key: Some(key) }, text });
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(ApplyError::Wrong(wrong)) }
}
