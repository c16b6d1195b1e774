//! `pipework-runtime`: stands in for runc, for engines without hooks. Every command goes to the real runtime as it is. Before a
//! container is started, which by then has been made and waits, it gets its interfaces; once it is deleted, they are released.
//!
//! At `start` and not behind `create`: no process of ours stands between engine and runtime then, and nobody's console, signals or
//! exit status pass through us. Engines that set the network up between the two (Docker from 28 on) have done so by then.

mod words;

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use thiserror::Error;

use super::Grammar;
use super::oci::{self, Level, Limit, OciError, Stage, State, Teller};
use crate::external::program;
use crate::lifecycle;
use crate::state;
use words::Words;
pub use words::WordsError;

/// The name by which the program is this.
pub const NAME: &str = "pipework-runtime";
/// Names another runtime than those of [`USUAL`].
const VARIABLE: &str = "PIPEWORK_RUNTIME";
/// Looked for in this order.
const USUAL: [&str; 2] = ["runc", "crun"];
/// A state is a small document.
const LARGEST_STATE: u64 = 1024 * 1024;
/// Shells' status of a program that a signal has ended: this and the signal.
const SIGNALLED: i32 = 128;

/// Why the runtime was not run.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// There is none.
    #[error("{what} is not there: install runc or crun, or name another runtime's whole path in {VARIABLE}")]
    NoRuntime {
        /// What was looked for.
        what: String,
    },
    /// It cannot be started.
    #[error("{program}")]
    Start {
        /// Its path.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An option of ours makes no sense.
    #[error(transparent)]
    Words(#[from] WordsError),
}

/// Runs the real runtime on the words, which are without our own name. Returns only when there is something to say.
pub fn run(args: Vec<OsString>, grammar: Grammar) -> ExitCode {
    let mut teller = Teller { who: "runtime", log: None };
    let ended = Words::read(args).map_err(RuntimeError::from).and_then(|words| {
        teller.log.clone_from(&words.log);
        let runtime = real()?;
        match (words.verb(), words.id()) {
            (Some("start"), Some(id)) => start(&runtime, &words, id, &teller, grammar),
            (Some("delete"), Some(id)) => delete(&runtime, &words, id, &teller),
            _ => Err(become_it(&runtime, &words)),
        }
    });
    ended.unwrap_or_else(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        teller.tell(Level::Error, &format!("{error}{}", source.unwrap_or_default()));
        ExitCode::FAILURE
    })
}

/// Gives the container what it is to have, and then becomes the runtime.
fn start(runtime: &Path, words: &Words, id: &str, teller: &Teller, grammar: Grammar) -> Result<ExitCode, RuntimeError> {
    let settings = &words.settings;
    let (late, program, all, fail_closed) = (teller.clone(), runtime.to_owned(), words.clone(), settings.fail_closed);
    let limit = Limit::begin(settings.timeout, move || {
        late.tell(Level::Error, "it takes too long: `pipework gc` clears up what is left");
        if !fail_closed {
            let _ = become_it(&program, &all);
        }
    });
    let limit = match limit {
        Ok(limit) => limit,
        Err(error) => {
            teller.tell(Level::Error, &error.to_string());
            return if fail_closed { Ok(ExitCode::FAILURE) } else { Err(become_it(runtime, words)) };
        }
    };
    let done = ask(runtime, words, id).map(|state| match state.has_ended() {
        // The runtime says so itself, better.
        true => oci::Done::default(),
        false => oci::start(&state, Stage::Created, settings, &limit, grammar),
    });
    if oci::end(done, limit, settings, teller) { Err(become_it(runtime, words)) } else { Ok(ExitCode::FAILURE) }
}

/// The container's state, by the runtime's own word.
fn ask(runtime: &Path, words: &Words, id: &str) -> Result<State, OciError> {
    let wrong = |why: String| OciError::State { why };
    let mut command = Command::new(runtime);
    command.args(words.ask(id)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| wrong(error.to_string()))?;
    let mut text = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |out| out.take(LARGEST_STATE).read_to_end(&mut text));
    let status = child.wait().map_err(|error| wrong(error.to_string()))?;
    read.map_err(|error| wrong(error.to_string()))?;
    if status.success() { State::parse(&text) } else { Err(wrong(format!("{} state {id}: {status}", runtime.display()))) }
}

/// Deletes the container, and then releases what it had. One that has nothing is the runtime's alone.
fn delete(runtime: &Path, words: &Words, id: &str, teller: &Teller) -> Result<ExitCode, RuntimeError> {
    if !lifecycle::is_recorded(id, &state::run_dir()) {
        return Err(become_it(runtime, words));
    }
    let status = Command::new(runtime).args(words.all()).status();
    let status = status.map_err(|source| RuntimeError::Start { program: runtime.display().to_string(), source })?;
    if status.success() {
        oci::release(id).iter().for_each(|why| teller.tell(Level::Warning, why));
    }
    Ok(code(status))
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Becomes the runtime. Returns only when that cannot be.
fn become_it(runtime: &Path, words: &Words) -> RuntimeError {
    let source = Command::new(runtime).args(words.all()).exec();
    RuntimeError::Start { program: runtime.display().to_string(), source }
}

/// The real runtime: never this program, under whatever name it lies.
fn real() -> Result<PathBuf, RuntimeError> {
    let ours = std::env::current_exe().and_then(|path| path.canonicalize()).ok();
    let is_other = |path: &PathBuf| path.canonicalize().is_ok_and(|path| Some(path) != ours);
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(&named);
        let found = if path.is_absolute() { Some(path) } else { named.to_str().and_then(program::find) };
        return found.filter(is_other).ok_or_else(|| RuntimeError::NoRuntime { what: named.to_string_lossy().into_owned() });
    }
    let found = USUAL.iter().filter_map(|name| program::find(name)).find(is_other);
    found.ok_or_else(|| RuntimeError::NoRuntime { what: USUAL.join(" or ") })
}
