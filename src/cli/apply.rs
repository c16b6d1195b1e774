//! `pipework apply`: a topology in a file is made so.

use std::io::Read;
use std::process::ExitCode;

use clap::Args;

use super::attach::DRIFTED;
use super::output::{complain, print_json, say, say_text, tell_failure, watch};
use crate::external::hooks::HookSettings;
use crate::lifecycle::{self, ApplyError, ApplyOptions};
use crate::model::report::{Failure, Outcome};
use crate::model::topology::{self, Action, ApplyReport, Format, Lines, Located, ObjectReport, Wanted, Wrong};
use crate::state;

/// What `--help` shows of a file: the test of the schema reads it too.
pub const EXAMPLE: &str = r#"name = "shop"                        # what --prune knows its own by

[[guests]]                           # containers have to be there; a namespace is made
guest = "netns:web"
create = true

[[bridges]]                          # made when absent
name = "br1"
uplinks = ["eth1"]                   # a NIC without an address of its own
addresses = ["10.1.1.1/24"]

[[attachments]]                      # all that `pipework attach` can say
host_if = "br1"
guest = "netns:web"
addresses = ["10.1.1.10/24", "fd00::10/64"]
gateways = ["10.1.1.1"]
rate = "10mbit/2mbit"

[[links]]                            # straight between two guests
ends = [
  { guest = "netns:web", guest_if = "eth2", addresses = ["10.2.0.1/30"] },
  { guest = "db", addresses = ["10.2.0.2/30"] },
]
"#;

/// The words of an apply, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = help())]
pub struct ApplyArgs {
    /// The topology: a file that ends in .toml, .yaml, .yml or .json, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<String>,
    /// How it is written: toml, yaml or json [default: by the file's name]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// Also take away what the topology of the same name described before and does no more; never anything else
    #[arg(long)]
    prune: bool,
    /// Print the JSON Schema of such files
    #[arg(long, exclusive = true)]
    schema: bool,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document for each object as it is done, and one for all, on standard output
    #[arg(long)]
    json: bool,
    /// Tell what differs and would be done; change nothing (exit status 2 when there is something)
    #[arg(long)]
    dry_run: bool,
}

fn help() -> String {
    format!("Example file:\n\n{}\nKeys are called as the options of attach; --schema has all of them.", indented(EXAMPLE))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

/// A format by its name.
pub(super) fn format(name: &str) -> Result<Format, String> {
    Format::of(&format!("x.{name}")).ok_or_else(|| "give toml, yaml or json".to_owned())
}

/// Parse, run, print.
pub(super) fn run(args: &ApplyArgs) -> ExitCode {
    let Some(file) = &args.file else {
        return match serde_json::to_string_pretty(&topology::schema()) {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => refuse(args, "--schema", vec![error.to_string()], None),
        };
    };
    let (wanted, lines) = match read(args, file) {
        Ok(read) => read,
        Err(wrong) => return refuse(args, file, wrong, None),
    };
    let options = ApplyOptions {
        dry_run: args.dry_run,
        prune: args.prune,
        steps: args.json,
        run_dir: state::run_dir(),
        state_dir: state::state_dir(),
        pid_dir: state::pid_dir(),
        hooks: HookSettings::from_environment(),
        claims: Some(super::pool::claims()),
    };
    let mut tell = |report: &ObjectReport| print(args, report);
    match lifecycle::apply(&wanted, &options, &mut tell, &mut watch(args.verbose)) {
        Ok(report) => end(args, &report),
        Err(ApplyError::Wrong(wrong)) => refuse(args, file, wrongs(file, &lines, wrong), None),
        Err(error) => refuse(args, file, vec![format!("{file}: {}", error.chain().join(": "))], error.hint()),
    }
}

/// Reads and checks the file. All that is wrong with it is told at once, a line each.
fn read(args: &ApplyArgs, file: &str) -> Result<(Wanted, Lines), Vec<String>> {
    let unreadable = |error: std::io::Error| vec![format!("{file}: {error}")];
    let format = args.format.or_else(|| Format::of(file));
    let format =
        format.ok_or_else(|| vec![format!("{file}: its name does not tell how it is written: give --format toml or --format yaml")])?;
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
    } else {
        text = std::fs::read_to_string(file).map_err(unreadable)?;
    }
    let (topology, lines) = topology::read(&text, format).map_err(|wrong| vec![format!("{file}:{wrong}")])?;
    let wanted = topology.check().map_err(|wrong| wrongs(file, &lines, wrong))?;
    Ok((wanted, lines))
}

/// `FILE:LINE: attachments[2].mtu: what is wrong`
fn wrongs(file: &str, lines: &Lines, wrong: Vec<Wrong>) -> Vec<String> {
    let tell = |wrong: Wrong| {
        let text = format!("{}: {}", wrong.place, wrong.text);
        format!("{file}:{}", Located { line: lines.of(&wrong.place), text })
    };
    wrong.into_iter().map(tell).collect()
}

fn refuse(args: &ApplyArgs, file: &str, wrong: Vec<String>, hint: Option<String>) -> ExitCode {
    wrong.iter().for_each(|line| complain(&format!("pipework: {line}")));
    hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
    if args.json {
        print_json(&Failure::new(file, wrong, hint, None));
    }
    ExitCode::FAILURE
}

fn print(args: &ApplyArgs, report: &ObjectReport) {
    let what = format!("{} {}", report.kind.words(), report.name);
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {what}: {warning}")));
    if report.action == Action::Failed {
        tell_failure(&format!("apply {what}"), &report.error, report.hint.as_deref(), report.undone.as_ref());
    }
    if args.json {
        return print_json(report);
    }
    let planned = report.result == Outcome::Planned;
    let words = match (report.action, planned) {
        (Action::None, _) if args.verbose => "as described",
        (Action::None | Action::Failed, _) => return,
        (Action::Create, false) => "made",
        (Action::Create, true) => "would be made",
        (Action::Change, false) => "changed",
        (Action::Change, true) => "would be changed",
        (Action::Remove, false) => "taken away",
        (Action::Remove, true) => "would be taken away",
    };
    let differences: String = report.differences.iter().map(|difference| format!("\n  {difference}")).collect();
    say_text(&format!("{what}: {words}{differences}\n"));
}

fn end(args: &ApplyArgs, report: &ApplyReport) -> ExitCode {
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    let count = report.count;
    if args.json {
        print_json(report);
    } else if count.differing() + count.failed == 0 {
        say(&format!("nothing to do: all {} are as described", count.unchanged));
    } else {
        let would = if args.dry_run { "to be " } else { "" };
        say(&format!(
            "{} {would}made, {} {would}changed, {} {would}taken away, {} as described, {} failed",
            count.created, count.changed, count.removed, count.unchanged, count.failed
        ));
    }
    match (count.failed, args.dry_run, count.differing()) {
        (1.., ..) => ExitCode::FAILURE,
        (_, true, 1..) => ExitCode::from(DRIFTED),
        _ => ExitCode::SUCCESS,
    }
}
