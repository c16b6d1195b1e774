//! `pipework oci-hook`, and the program by its name as a runtime.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::words_without_guest;
use crate::frontend::oci::{self, Occasion, Settings};
use crate::frontend::runtime;

/// The words of a hook, as typed.
#[derive(Clone, Debug, Args)]
pub struct HookArgs {
    /// What the hook is run for [default: by the state's status]
    #[arg(value_name = "STAGE")]
    stage: Option<StageWord>,
    #[command(flatten)]
    how: How,
}

/// What the hook and the runtime have in common.
#[derive(Clone, Debug, Args)]
pub(super) struct How {
    /// A topology (see apply), whose attachments of this container come before its own words
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Podman: look for labels too, where a container has no annotations of ours. Needs its socket (podman.socket)
    #[arg(long)]
    pub(super) labels: bool,
    /// A container that does not get what it asks for does not start [default: it starts, and the log tells]
    #[arg(long)]
    pub(super) fail_closed: bool,
    /// How long it may take; then all is undone
    #[arg(long, value_name = "SECONDS", default_value_t = oci::USUAL_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) timeout: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StageWord {
    Prestart,
    #[value(name = "createRuntime")]
    CreateRuntime,
    Poststart,
    Poststop,
}

/// The words of a runtime, as they are.
#[derive(Clone, Debug, Args)]
pub struct RuntimeArgs {
    /// As for runc; before them --fail-closed, --timeout SECONDS and --config FILE as for oci-hook
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// The hook.
pub(super) fn hook(args: &HookArgs) -> ExitCode {
    let occasion = args.stage.map(|stage| match stage {
        StageWord::Prestart | StageWord::CreateRuntime | StageWord::Poststart => Occasion::Start,
        StageWord::Poststop => Occasion::Stop,
    });
    let How { config, labels, fail_closed, timeout } = args.how.clone();
    let settings = Settings { config, labels, fail_closed, timeout: Duration::from_secs(timeout) };
    let well = oci::hook(&settings, occasion, std::io::stdin().lock(), words_without_guest);
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `pipework runtime -- WORDS`
pub(super) fn runtime(args: &RuntimeArgs) -> ExitCode {
    runtime::run(args.words.clone(), words_without_guest)
}

/// The program under its other name: all words are the runtime's. `None`: it has its own.
pub(super) fn by_name(args: &[OsString]) -> Option<ExitCode> {
    let (name, words) = args.split_first()?;
    let is_runtime = Path::new(name).file_name() == Some(OsStr::new(runtime::NAME));
    is_runtime.then(|| runtime::run(words.to_vec(), words_without_guest))
}
