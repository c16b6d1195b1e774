//! The program as a CNI plugin: `CNI_COMMAND` is in the environment, and there are no words.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use super::output::{complain, say};
use crate::frontend::cni;

/// A call of the plugin; `None` when it is none.
pub(super) fn by_environment(args: &[OsString]) -> Option<ExitCode> {
    let is_called = args.len() <= 1 && std::env::var_os("CNI_COMMAND").is_some_and(|command| !command.is_empty());
    is_called.then(run)
}

fn run() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let stdin = std::io::stdin();
    // Whoever types it gives no configuration.
    let input: Box<dyn Read> = if stdin.is_terminal() { Box::new(std::io::empty()) } else { Box::new(stdin.lock()) };
    let ended = cni::run(variable, input, super::pool::claims());
    ended.warnings.iter().for_each(|warning| complain(&format!("pipework: cni: warning: {warning}")));
    if !ended.document.is_empty() {
        say(&ended.document);
    }
    // From a process with one thread only; the runtime does not wait for it.
    if let Some(announcement) = ended.announcement {
        announcement.in_background();
    }
    if ended.well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
