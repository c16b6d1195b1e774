//! `pipework repair`: attachments are made again what their records want.

use std::process::ExitCode;

use clap::Args;

use super::output::{complain, explain, print_json, say, watch};
use crate::lifecycle::{self, Options, Repaired};
use crate::model::report::{Outcome, Report};
use crate::model::request::GuestRef;
use crate::model::types::IfName;
use crate::state;

/// The words of a repair, as typed.
#[derive(Clone, Debug, Args)]
pub struct RepairArgs {
    /// The guest, as for attach
    #[arg(value_name = "GUEST", required_unless_present = "all")]
    guest: Option<String>,
    /// The interface in the guest [default: all that pipework gave it]
    #[arg(short = 'i', value_name = "GUESTIF")]
    guest_if: Option<String>,
    /// All guests
    #[arg(long, conflicts_with_all = ["guest", "guest_if"])]
    all: bool,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT [default: $OVS_DB, else ovs-vsctl's]
    #[arg(long, value_name = "ADDRESS")]
    ovsdb: Option<String>,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document for each attachment on standard output
    #[arg(long)]
    json: bool,
    /// Print what would be done as `ip` and `ovs-vsctl` commands; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &RepairArgs) -> ExitCode {
    let parsed = args.guest.as_deref().map(str::parse::<GuestRef>).transpose();
    let parsed = parsed.and_then(|guest| Ok((guest, args.guest_if.as_deref().map(str::parse::<IfName>).transpose()?)));
    let (guest, interface) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            complain(&format!("pipework: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        dry_run: args.dry_run,
        steps: args.json || args.dry_run,
        ovsdb: args.ovsdb.clone().filter(|address| !address.is_empty()),
        run_dir: state::run_dir(),
        state_dir: state::state_dir(),
        pid_dir: state::pid_dir(),
        claims: Some(super::pool::claims()),
        ..Options::default()
    };
    match lifecycle::repair(guest.as_ref(), interface.as_ref(), &options, &mut watch(args.verbose)) {
        Ok(all) => {
            let failed = all.into_iter().map(|repaired| one(args, repaired)).filter(|well| !well).count();
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            explain("repair", &guest.map_or_else(|| "--all".to_owned(), |guest| guest.to_string()), &error, args.json);
            ExitCode::FAILURE
        }
    }
}

/// Prints what came of one attachment. Whether it went well.
fn one(args: &RepairArgs, repaired: Repaired) -> bool {
    let Repaired { guest, interface, outcome } = repaired;
    match outcome {
        Ok(attached) => {
            print(args, &attached.report);
            if let Some(announcement) = attached.announcement {
                announcement.in_background();
            }
            true
        }
        Err(error) => {
            explain("repair", &format!("{interface} of {guest}"), &error, args.json);
            false
        }
    }
}

fn print(args: &RepairArgs, report: &Report) {
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    if args.json {
        print_json(report);
        return;
    }
    report.steps.iter().filter(|_| args.dry_run).for_each(|step| say(&step.command));
    let what = match report.result {
        Outcome::Unchanged => return,
        Outcome::Planned => return,
        Outcome::Attached => "made anew",
        _ => "repaired",
    };
    say(&format!("{} of {}: {what}", report.interface, report.guest.name));
}
