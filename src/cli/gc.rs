//! `pipework gc`: clearing up what was left over.

use std::process::ExitCode;

use clap::Args;

use super::output::{complain, print_json, say};
use crate::lifecycle::{self, GcOptions};
use crate::model::report::{Failure, GcReport, Outcome};
use crate::plan::execute::Event;
use crate::state;

/// The words of a gc, as typed.
#[derive(Clone, Debug, Args)]
pub struct GcArgs {
    /// Say what would be cleared up; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT [default: $OVS_DB, else ovs-vsctl's]
    #[arg(long, value_name = "ADDRESS")]
    ovsdb: Option<String>,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &GcArgs) -> ExitCode {
    let ovsdb = args.ovsdb.clone().filter(|address| !address.is_empty());
    let options = GcOptions { dry_run: args.dry_run, run_dir: state::run_dir(), ovsdb };
    let mut watch = |event: Event<'_>| {
        if let (true, Event::Undoing(op)) = (args.verbose, event) {
            complain(&format!("pipework: {}", op.describe()));
        }
    };
    match lifecycle::gc(&options, &mut watch) {
        Ok(report) => {
            print(args, &report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let (chain, hint) = (error.chain(), error.hint());
            complain(&format!("pipework: gc: {}", chain.join(": ")));
            hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
            if args.json {
                print_json(&Failure::new("", chain, hint, None));
            }
            ExitCode::FAILURE
        }
    }
}

fn print(args: &GcArgs, report: &GcReport) {
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    if args.json {
        return print_json(report);
    }
    let verb = if report.result == Outcome::Planned { "would clear up" } else { "cleared up" };
    report.items.iter().for_each(|item| say(&format!("{verb}: {}", item.text)));
}
