//! `pipework graph`: the host's networks as a picture.

use std::process::ExitCode;

use clap::Args;

use super::output::{complain, say_text, tell_failure};
use crate::lifecycle::{self, StatusOptions};
use crate::model::graph::Drawing;
use crate::state;

/// The words of a graph, as typed.
#[derive(Clone, Debug, Args)]
pub struct GraphArgs {
    /// text (a tree), dot (Graphviz), mermaid, or svg (a picture that needs nothing else)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Drawing,
}

/// Run, print.
pub(super) fn run(args: &GraphArgs) -> ExitCode {
    let options = StatusOptions { run_dir: state::run_dir(), state_dir: state::state_dir(), ..StatusOptions::default() };
    match lifecycle::graph(&options) {
        Ok((graph, warnings)) => {
            warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
            say_text(&graph.draw(args.format));
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell_failure("graph", &error.chain(), error.hint().as_deref(), None);
            ExitCode::FAILURE
        }
    }
}
