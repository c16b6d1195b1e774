//! `pipework export`: the present state as a topology.

use std::process::ExitCode;

use clap::Args;

use super::output::{complain, say_text, tell_failure};
use crate::lifecycle::{self, ExportOptions};
use crate::model::topology::{Format, write};
use crate::state;

/// The words of an export, as typed.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// How to write it: toml, yaml or json
    #[arg(long, value_name = "FORMAT", default_value = "toml", value_parser = super::apply::format)]
    format: Format,
}

/// Run, print.
pub(super) fn run(args: &ExportArgs) -> ExitCode {
    let options = ExportOptions { run_dir: state::run_dir(), state_dir: state::state_dir() };
    let (topology, warnings) = match lifecycle::export(&options) {
        Ok(exported) => exported,
        Err(error) => {
            tell_failure("export", &error.chain(), error.hint().as_deref(), None);
            return ExitCode::FAILURE;
        }
    };
    warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    match write(&topology, args.format) {
        Ok(text) => {
            say_text(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("pipework: export: {error}"));
            ExitCode::FAILURE
        }
    }
}
