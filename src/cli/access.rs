//! `pipework host-access`: who of the host's macvlan guests it can reach.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::output::{complain, say};
use crate::lifecycle::{self, AccessError};
use crate::model::report::{AccessReport, UserReport};
use crate::model::request::GuestRef;
use crate::plan::execute::Event;
use crate::state;

/// The words of a host-access, as typed.
#[derive(Clone, Debug, Args)]
pub struct AccessArgs {
    /// Take away what is left of guests that are gone
    #[arg(long, conflicts_with = "remove")]
    prune: bool,
    /// Take a guest's access away
    #[arg(long, value_name = "GUEST")]
    remove: Option<String>,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &AccessArgs) -> ExitCode {
    let fail = |text: &str, hint: Option<String>| {
        complain(&format!("pipework: host-access: {text}"));
        hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
        ExitCode::FAILURE
    };
    let guest = match args.remove.as_deref().map(str::parse::<GuestRef>).transpose() {
        Ok(guest) => guest,
        Err(error) => return fail(&error.to_string(), None),
    };
    match report(args, guest.as_ref(), &state::run_dir()) {
        Ok(report) if args.json => match serde_json::to_string(&report) {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&format!("JSON: {error}"), None),
        },
        Ok(report) => {
            let changes = args.prune || guest.is_some();
            let lines = if changes { removed(&report) } else { listed(&report) };
            lines.iter().for_each(|line| say(line));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.chain().join(": "), error.hint()),
    }
}

fn report(args: &AccessArgs, guest: Option<&GuestRef>, run_dir: &Path) -> Result<AccessReport, AccessError> {
    let mut watch = |event: Event<'_>| {
        if let (true, Event::Doing(op)) = (args.verbose, event) {
            complain(&format!("pipework: {}", op.describe()));
        }
    };
    match guest {
        Some(guest) => lifecycle::remove_access(run_dir, guest, &mut watch),
        None if args.prune => lifecycle::prune_access(run_dir, &mut watch),
        None => lifecycle::list_access(run_dir),
    }
}

/// A line for each shim, and below it one for each guest.
fn listed(report: &AccessReport) -> Vec<String> {
    let mut lines = Vec::new();
    for shim in &report.shims {
        let missing = if shim.present { "" } else { " (missing)" };
        lines.push(format!("{} on {}{missing}", shim.name, shim.parent));
        lines.extend(shim.users.iter().map(line));
    }
    lines
}

fn line(UserReport { gone, user }: &UserReport) -> String {
    let gone = if *gone { " (gone; --prune takes it away)" } else { "" };
    format!("  {} from {}: {} of {}{gone}", user.address, user.source, user.interface, user.guest)
}

fn removed(report: &AccessReport) -> Vec<String> {
    report.removed.iter().map(|user| format!("removed: {}, {} of {}", user.address, user.interface, user.guest)).collect()
}
