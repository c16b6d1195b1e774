//! `pipework link`: a veth straight between two guests.

use std::process::ExitCode;

use clap::Args;

use super::attach::whole_run;
use super::output::{complain, explain, print_json, say, watch};
use crate::external::hooks::HookSettings;
use crate::lifecycle::batch::Work;
use crate::lifecycle::{self, LinkOptions, Linked};
use crate::model::command::Commands;
use crate::model::error::InputError;
use crate::model::pair::PairRequest;
use crate::model::report::{Failure, Outcome};
use crate::state;

/// The words of a link, as typed.
#[derive(Clone, Debug, Args)]
pub struct LinkArgs {
    /// One end: a guest as for attach, :INTERFACE [default: eth1], =IP/PREFIX[,...][@GATEWAY[,...]] [default: no address]
    #[arg(value_name = "GUEST[:IF][=ADDR]")]
    first: String,
    /// The other end
    #[arg(value_name = "GUEST[:IF][=ADDR]")]
    second: String,
    /// MTU of both ends in bytes [default: the kernel's, 1500]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<String>,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
    /// Print what would be done as `ip` commands; change nothing
    #[arg(long)]
    dry_run: bool,
}

impl TryFrom<&LinkArgs> for PairRequest {
    type Error = InputError;

    fn try_from(args: &LinkArgs) -> Result<Self, InputError> {
        let mtu = args.mtu.as_deref().map(str::parse).transpose()?;
        Ok(Self { ends: [args.first.parse()?, args.second.parse()?], mtu })
    }
}

impl LinkArgs {
    /// What it asks for as a line of a batch.
    pub(super) fn work(&self) -> Result<Work, String> {
        if let Some(option) = whole_run([("--dry-run", self.dry_run), ("--json", self.json), ("-v", self.verbose)]) {
            return Err(option);
        }
        let request = PairRequest::try_from(self).map_err(|error| error.to_string())?;
        Ok(Work::Link { request: Box::new(request), options: Box::new(options(self)) })
    }
}

fn options(args: &LinkArgs) -> LinkOptions {
    LinkOptions {
        dry_run: args.dry_run,
        steps: args.json || args.dry_run,
        run_dir: state::run_dir(),
        hooks: HookSettings::from_environment(),
    }
}

/// Parse, run, print.
pub(super) fn run(args: &LinkArgs) -> ExitCode {
    let request = match PairRequest::try_from(args) {
        Ok(request) => request,
        Err(error) => {
            complain(&format!("pipework: {error}"));
            if args.json {
                print_json(&Failure::new(&format!("{} {}", args.first, args.second), vec![error.to_string()], None, None));
            }
            return ExitCode::FAILURE;
        }
    };
    let options = options(args);
    match lifecycle::link(&request, &options, &mut watch(args.verbose)) {
        Ok(linked) => {
            print(args, &linked);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let [first, second] = request.ends.each_ref().map(|end| end.at.to_string());
            explain("link", &format!("{first} {second}"), &error, args.json);
            ExitCode::FAILURE
        }
    }
}

fn print(args: &LinkArgs, Linked { report, guests }: &Linked) {
    for warning in &report.warnings {
        complain(&format!("pipework: warning: {warning}"));
    }
    if args.json {
        print_json(report);
    } else if report.result == Outcome::Planned && !report.steps.is_empty() {
        let each = guests.each_ref().map(Commands::new);
        each.iter().filter_map(Commands::before).for_each(|line| say(&line));
        report.steps.iter().for_each(|step| say(&step.command));
        each.iter().filter_map(Commands::after).for_each(|line| say(&line));
    }
    if args.verbose {
        let what = match report.result {
            Outcome::Unchanged => "nothing to do: it is so already",
            Outcome::Planned => "nothing done: this was the plan",
            _ => "done",
        };
        complain(&format!("pipework: {what} ({:.1} ms)", report.elapsed_us as f64 / 1000.0));
    }
}
