//! The OCI hook: what a runtime runs before a container's first process, and after its last. The runtime's stand-in does the same
//! where an engine knows no hooks.

mod bundle;
mod engine;
mod limit;
mod state;
mod tell;
mod wanted;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::Grammar;
use crate::external::hooks::HookSettings;
use crate::guest::{Starting, remembered};
use crate::kernel::announce::Announcement;
use crate::lifecycle::{self, AttachError};
use crate::model::intent::Container;
use crate::plan::execute::Event;
use bundle::Bundle;
pub use limit::Limit;
pub use state::State;
pub use tell::{Level, RuntimeLog, Teller};
pub use wanted::Stage;
use wanted::Wish;

/// Why it is not known what to do.
#[derive(Debug, Error)]
pub enum OciError {
    /// The runtime's word cannot be used.
    #[error("the state of the container, which its runtime gives on standard input: {why}")]
    State {
        /// What is wrong.
        why: String,
    },
    /// A file cannot be used.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// How long it may take, when nothing is said. The file that [`super::install`] writes gives it five seconds more.
pub const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// What annotations of ours begin with: where there are some, labels have nothing to say.
const PREFIX: &str = "pipework.";
/// Kept of that for undoing.
const RESERVE: Duration = Duration::from_secs(1);

/// How to go about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A topology of the administrator's, whose attachments of this container come first.
    pub config: Option<PathBuf>,
    /// Ask Podman for labels too: its hooks are told of annotations only.
    pub labels: bool,
    /// A container that does not get what it asks for is not to run.
    pub fail_closed: bool,
    /// How long it may take.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { config: None, labels: false, fail_closed: false, timeout: USUAL_TIMEOUT }
    }
}

/// What the hook is run for, when its command line says it; else the state's status does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The container starts, or has started.
    Start,
    /// It has ended.
    Stop,
}

/// The hook. Whether all went well, or need not have.
pub fn hook(settings: &Settings, occasion: Option<Occasion>, input: impl Read, grammar: Grammar) -> bool {
    let teller = Teller { who: "oci-hook", log: None };
    let (late, fail_closed) = (teller.clone(), settings.fail_closed);
    let limit = Limit::begin(settings.timeout, move || {
        late.tell(Level::Error, "it takes too long: `pipework gc` clears up what is left");
        std::process::exit(i32::from(fail_closed));
    });
    let limit = match limit {
        Ok(limit) => limit,
        Err(error) => {
            teller.tell(Level::Error, &error.to_string());
            return !settings.fail_closed;
        }
    };
    let done = State::read(input).map(|state| {
        let stops = occasion.map_or_else(|| state.has_ended(), |occasion| occasion == Occasion::Stop);
        if stops {
            Done { wrong: release(&state.id), ..Done::default() }
        } else {
            start(&state, Stage::Creating, settings, &limit, grammar)
        }
    });
    end(done, limit, settings, &teller)
}

/// What came of it.
#[derive(Default)]
pub struct Done {
    /// What is to be told to the neighbours.
    announcements: Vec<Announcement>,
    /// What could not be had.
    wrong: Vec<String>,
    /// What is to be known.
    warnings: Vec<String>,
    /// The container.
    id: String,
}

/// Gives a container that starts all that is wanted of it.
pub fn start(state: &State, stage: Stage, settings: &Settings, limit: &Limit, grammar: Grammar) -> Done {
    let (container, starting, unknown) = match describe(state, settings.labels) {
        Ok(described) => described,
        Err(error) => return Done { wrong: vec![error.to_string()], ..Done::default() },
    };
    let (wishes, wrong) = wanted::wishes(&container, &starting, settings.config.as_deref(), stage, grammar);
    let mut done = Done { wrong, id: state.id.clone(), ..Done::default() };
    done.wrong.extend(unknown);
    for wish in wishes {
        attach(wish, &starting, limit, &mut done);
    }
    done
}

fn attach(wish: Wish, starting: &Starting, limit: &Limit, done: &mut Done) {
    let left = limit.left().saturating_sub(RESERVE);
    let Wish { source, request, mut options } = wish;
    options.dhcp_timeout = Some(options.dhcp_timeout().min(left));
    match lifecycle::attach_starting(starting, &request, &options, &mut ignore) {
        Ok(attached) => {
            done.warnings.extend(attached.report.warnings.into_iter().map(|warning| format!("{source}: {warning}")));
            done.announcements.extend(attached.announcement);
        }
        Err(error) => done.wrong.push(format!("{source}: {}", explained(&error))),
    }
}

/// Takes back what is recorded of a container that has ended. What is wrong is told.
pub fn release(id: &str) -> Vec<String> {
    match lifecycle::release(id, &crate::state::run_dir(), HookSettings::from_environment(), &mut ignore) {
        Ok(_) => Vec::new(),
        Err(error) => vec![format!("release {id}: {}", error.chain().join(": "))],
    }
}

/// Tells what went wrong, and takes back the rest where the container is not to run. Whether it may.
pub fn end(done: Result<Done, OciError>, limit: Limit, settings: &Settings, teller: &Teller) -> bool {
    let mut done = done.unwrap_or_else(|error| Done { wrong: vec![error.to_string()], ..Done::default() });
    let may_run = done.wrong.is_empty() || !settings.fail_closed;
    if !may_run && !done.id.is_empty() {
        done.announcements.clear();
        done.wrong.extend(release(&done.id));
    }
    if !limit.end() && !done.wrong.is_empty() {
        done.wrong.push(format!("it was not done within {} s", settings.timeout.as_secs_f64()));
    }
    let level = if may_run { Level::Warning } else { Level::Error };
    done.warnings.iter().for_each(|warning| teller.tell(Level::Warning, warning));
    let whom = if done.id.is_empty() { String::new() } else { format!("{}: ", done.id.get(..12).unwrap_or(&done.id)) };
    done.wrong.iter().for_each(|why| teller.tell(level, &format!("{whom}{why}")));
    // From a process with one thread only: the limit's has ended.
    done.announcements.into_iter().for_each(Announcement::in_background);
    may_run
}

fn ignore(_: Event<'_>) {}

fn explained(error: &AttachError) -> String {
    let undone = error.undone().filter(|undone| undone.of > 0).map(|u| format!("; undone: {} of {} steps", u.undone, u.of));
    let hint = error.hint().map(|hint| format!("; hint: {hint}"));
    format!("{}{}{}", error.chain().join(": "), undone.unwrap_or_default(), hint.unwrap_or_default())
}

/// The container as its runtime, its bundle and its engine's files describe it; and why its labels are not known, where they are
/// to be.
fn describe(state: &State, with_labels: bool) -> Result<(Container, Starting, Option<String>), OciError> {
    let bundle = Bundle::read(&state.bundle)?;
    let known = engine::known(&state.id, &state.bundle, &bundle);
    let mut annotations = bundle.annotations.clone().unwrap_or_default();
    annotations.extend(state.annotations.clone().unwrap_or_default());
    let is_asked = with_labels && known.engine == Some("podman") && !annotations.keys().any(|key| key.starts_with(PREFIX));
    let asked = is_asked.then(|| remembered::labels(&state.id, known.made.unwrap_or(0)));
    let (asked, unknown) = match asked.transpose() {
        Ok(asked) => (asked.unwrap_or_default(), None),
        Err(error) => (BTreeMap::new(), Some(error.to_string())),
    };
    let labels = known.labels.into_iter().chain(asked).chain(annotations).collect();
    let container = Container {
        engine: known.engine.unwrap_or_default().to_owned(),
        id: state.id.clone(),
        name: known.name.clone().unwrap_or_else(|| state.id.clone()),
        hostname: bundle.hostname.clone().unwrap_or_default(),
        image: known.image.unwrap_or_default(),
        pid: state.pid.unwrap_or(0),
        labels,
        env: bundle.env(),
        has_user_namespace: bundle.has_user_namespace(),
    };
    let starting = Starting { engine: known.engine, id: state.id.clone(), name: known.name, pid: container.pid };
    Ok((container, starting, unknown))
}
