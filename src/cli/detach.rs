//! `pipework detach`: taking an interface away again.

use std::process::ExitCode;

use clap::Args;

use super::attach::whole_run;
use super::output::{complain, print_json, say};
use crate::external::hooks::HookSettings;
use crate::lifecycle::batch::Work;
use crate::lifecycle::{self, DetachOptions, Which};
use crate::model::report::{DetachReport, Failure, Outcome};
use crate::model::request::GuestRef;
use crate::plan::execute::Event;
use crate::state;

/// The words of a detach, as typed.
#[derive(Clone, Debug, Args)]
pub struct DetachArgs {
    /// The guest, as for attach; one that is gone by the name or ID that it had
    #[arg(value_name = "GUEST")]
    guest: String,
    /// The interface in the guest [default: the only one]
    #[arg(short = 'i', value_name = "GUESTIF", conflicts_with = "all")]
    guest_if: Option<String>,
    /// All interfaces that pipework gave the guest
    #[arg(long)]
    all: bool,
    /// With -i: also an interface that pipework has no record of and that bears no mark or name of its
    #[arg(long)]
    force: bool,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT [default: $OVS_DB, else ovs-vsctl's]
    #[arg(long, value_name = "ADDRESS")]
    ovsdb: Option<String>,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
    /// Print what would be done as `ip` and `ovs-vsctl` commands; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &DetachArgs) -> ExitCode {
    let (guest, which) = match parse(args) {
        Ok(parsed) => parsed,
        Err(error) => return fail(args, vec![error.to_string()], None),
    };
    let options = options(args, which);
    let mut watch = |event: Event<'_>| match event {
        Event::Undoing(op) if args.verbose => complain(&format!("pipework: {}", op.describe())),
        Event::Running(hook) if args.verbose => complain(&format!("pipework: run hook {}", hook.display())),
        _ => {}
    };
    match lifecycle::detach(&guest, &options, &mut watch) {
        Ok(report) => {
            print(args, &report);
            ExitCode::SUCCESS
        }
        Err(error) => fail(args, error.chain(), error.hint()),
    }
}

impl DetachArgs {
    /// What it asks for as a line of a batch.
    pub(super) fn work(&self) -> Result<Work, String> {
        if let Some(option) = whole_run([("--dry-run", self.dry_run), ("--json", self.json), ("-v", self.verbose)]) {
            return Err(option);
        }
        let (guest, which) = parse(self).map_err(|error| error.to_string())?;
        Ok(Work::Detach { guest, options: Box::new(options(self, which)) })
    }
}

fn options(args: &DetachArgs, which: Which) -> DetachOptions {
    DetachOptions {
        which,
        force: args.force,
        dry_run: args.dry_run,
        steps: args.json || args.dry_run,
        run_dir: state::run_dir(),
        state_dir: state::state_dir(),
        ovsdb: args.ovsdb.clone().filter(|address| !address.is_empty()),
        hooks: HookSettings::from_environment(),
    }
}

fn parse(args: &DetachArgs) -> Result<(GuestRef, Which), crate::model::error::InputError> {
    let which = match (&args.guest_if, args.all) {
        (_, true) => Which::All,
        (Some(name), _) => Which::Interface(name.parse()?),
        (None, _) => Which::Only,
    };
    Ok((args.guest.parse()?, which))
}

fn print(args: &DetachArgs, report: &DetachReport) {
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    if args.json {
        print_json(report);
    } else if args.dry_run {
        report.interfaces.iter().flat_map(|interface| &interface.steps).for_each(|step| say(&step.command));
    }
    if args.verbose {
        let what = match report.result {
            Outcome::Unchanged => "nothing to do: it has none",
            Outcome::Planned => "nothing done: this was the plan",
            _ => "done",
        };
        complain(&format!("pipework: {what} ({:.1} ms)", report.elapsed_us as f64 / 1000.0));
    }
}

fn fail(args: &DetachArgs, chain: Vec<String>, hint: Option<String>) -> ExitCode {
    complain(&format!("pipework: detach {}: {}", args.guest, chain.join(": ")));
    hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
    if args.json {
        print_json(&Failure::new(&args.guest, chain, hint, None));
    }
    ExitCode::FAILURE
}
