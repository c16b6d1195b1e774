//! `pipework batch`: many lines in one run.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::attach::AttachArgs;
use super::detach::DetachArgs;
use super::link::LinkArgs;
use super::output::{complain, print_json, say};
use super::{Cli, words};
use crate::external::hooks::HookSettings;
use crate::lifecycle::batch::{self, BatchOptions, Ended, Flaw, Line, MOST_JOBS, Work};
use crate::lifecycle::{ApplyOptions, Which};
use crate::model::error::InputError;
use crate::model::report::{BatchReport, Failure, Outcome};
use crate::model::topology::{self, Attachment};
use crate::state;

const EXAMPLES: &str = "A line is the words of attach (with or without that word), detach or link, quoted as in a shell but
never given to one; a leading `pipework` is taken, too. Empty lines and # comments are skipped.
JSON Lines: an array of the words, or an object with the keys that `apply` has (docs/topology.md).

  br0 web 192.168.1.10/24@192.168.1.1
  br0 -i eth2 \"db\" 10.0.0.2/24 --mtu 1400     # options as on the command line
  link r1:eth1=10.9.0.1/30 r2:eth1=10.9.0.2/30
  detach old --all
  [\"br0\", \"netns:/run/netns/lab one\", \"10.0.0.3/24\"]
  {\"attach\": {\"host_if\": \"br0\", \"guest\": \"web\", \"addresses\": [\"10.0.0.4/24\"]}}
  {\"detach\": {\"guest\": \"old\", \"guest_if\": \"eth2\"}}

Nothing is done when a line is wrong: all that is wrong is told, with its number. Lines of one guest are
done in their order; a line of another verb waits for all before it. What is so already is left as it
is: the same file again goes on where a run was ended.

Exit status: 0 all done, or already so; 1 not all.";

/// The words of a batch, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BatchArgs {
    /// The lines; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// All or nothing: when a line fails, those that were done are undone
    #[arg(long)]
    atomic: bool,
    /// Leave out lines that are wrong, and do the others
    #[arg(long, conflicts_with = "atomic")]
    keep_going: bool,
    /// How many lines are done at the same time [default: 2, where answers are waited for (dhcp, --dad) 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_JOBS as i64))]
    jobs: Option<u16>,
    /// Only say what is wrong with the lines; change nothing
    #[arg(long)]
    check: bool,
    /// Say what became of each line
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report each line, and the whole in the end, as a JSON document of its own on standard output
    #[arg(long)]
    json: bool,
}

/// What became of a line, as a JSON document.
#[derive(Serialize)]
struct LineDocument<'a, R> {
    line: usize,
    #[serde(flatten)]
    report: &'a R,
}

#[derive(Serialize)]
struct Summary<'a> {
    summary: &'a BatchReport,
}

/// Parse, check, run, print.
pub(super) fn run(args: &BatchArgs) -> ExitCode {
    let bytes = match read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            complain(&format!("pipework: batch: {}: {error}", args.file));
            return ExitCode::FAILURE;
        }
    };
    let (mut lines, mut flaws) = parse(&bytes);
    drop(bytes);
    let run_dir = state::run_dir();
    flaws.extend(batch::check(&lines, Some(&run_dir)));
    flaws.sort_by_key(|flaw| flaw.number);
    flaws.iter().for_each(|flaw| tell_flaw(args, flaw));
    let wrong: BTreeSet<usize> = flaws.iter().map(|flaw| flaw.number).collect();
    if !wrong.is_empty() && !args.keep_going {
        complain(&format!(
            "pipework: batch: nothing was done: {} of {} lines are wrong (--keep-going leaves these out)",
            wrong.len(),
            count(&lines, &wrong)
        ));
        return ExitCode::FAILURE;
    }
    lines.retain(|line| !wrong.contains(&line.number));
    if args.check {
        return if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let options = BatchOptions { jobs: args.jobs.map(usize::from), atomic: args.atomic, run_dir };
    let bar = progress(args, lines.len());
    let report = batch::run(&lines, &options, &mut |line, ended| {
        bar.inc(1);
        bar.suspend(|| tell(args, line, ended));
    });
    bar.finish_and_clear();
    match report {
        Ok(report) => {
            summarize(args, &report);
            if report.is_whole() && wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            super::output::explain("batch", &args.file, &error, args.json);
            ExitCode::FAILURE
        }
    }
}

fn count(lines: &[Line], wrong: &BTreeSet<usize>) -> usize {
    lines.iter().map(|line| line.number).chain(wrong.iter().copied()).collect::<BTreeSet<usize>>().len()
}

fn read(file: &str) -> std::io::Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A bar for people who wait at a terminal; elsewhere it is not to be seen.
fn progress(args: &BatchArgs, lines: usize) -> ProgressBar {
    if args.json || args.verbose {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(lines as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The lines that can be read, and what is wrong with the others.
fn parse(bytes: &[u8]) -> (Vec<Line>, Vec<Flaw>) {
    let mut parser = LineParser::new();
    let (mut lines, mut flaws) = (Vec::new(), Vec::new());
    for (at, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = at + 1;
        match parser.line(bytes) {
            Ok(work) => lines.extend(work.map(|work| Line { number, work })),
            Err(why) => flaws.push(Flaw { number, why }),
        }
    }
    (lines, flaws)
}

/// The grammar, made once for all lines.
struct LineParser {
    whole: clap::Command,
    attach: clap::Command,
    detach: clap::Command,
    link: clap::Command,
    options: ApplyOptions,
}

/// A line as a JSON object.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Object {
    Attach(Box<Attachment>),
    Link(Box<topology::Link>),
    Detach(Box<Gone>),
}

/// What a detach says as a JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gone {
    guest: String,
    guest_if: Option<String>,
    #[serde(default)]
    all: bool,
}

impl Object {
    fn work(&self, options: &ApplyOptions) -> Result<Work, String> {
        let told =
            |wrong: Vec<(&'static str, String)>| wrong.iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>().join("; ");
        match self {
            Self::Attach(attachment) => {
                let wrong = |all: Vec<(&'static str, InputError)>| told(all.into_iter().map(|(key, why)| (key, why.to_string())).collect());
                let request = Box::new(attachment.request().map_err(wrong)?);
                Ok(Work::Attach { request, options: Box::new(options.attach(&attachment.how())), replace: false })
            }
            Self::Link(link) => {
                let request = Box::new(link.request().map_err(told)?);
                Ok(Work::Link { request, options: Box::new(options.link()) })
            }
            Self::Detach(gone) => {
                let which = match (&gone.guest_if, gone.all) {
                    (Some(_), true) => return Err("all and guest_if are one too many".into()),
                    (_, true) => Which::All,
                    (Some(name), _) => Which::Interface(name.parse().map_err(|error: InputError| error.to_string())?),
                    (None, _) => Which::Only,
                };
                let guest = gone.guest.parse().map_err(|error: InputError| error.to_string())?;
                Ok(Work::Detach { guest, options: Box::new(options.detach(which)) })
            }
        }
    }
}

impl LineParser {
    fn new() -> Self {
        let verb = |name: &'static str| clap::Command::new(name).disable_help_flag(true);
        Self {
            whole: Cli::command(),
            attach: AttachArgs::augment_args(verb("attach")),
            detach: DetachArgs::augment_args(verb("detach")),
            link: LinkArgs::augment_args(verb("link")),
            options: ApplyOptions {
                run_dir: state::run_dir(),
                state_dir: state::state_dir(),
                pid_dir: state::pid_dir(),
                hooks: HookSettings::from_environment(),
                claims: Some(super::pool::claims()),
                ..ApplyOptions::default()
            },
        }
    }

    /// `None`: there is nothing in it.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<Work>, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())?.trim();
        if text.starts_with('{') {
            let object = serde_json::from_str::<Object>(text).map_err(|error| format!("as a JSON object: {error}"))?;
            return object.work(&self.options).map(Some);
        }
        let mut words = if text.starts_with('[') {
            serde_json::from_str::<Vec<String>>(text).map_err(|error| format!("it is no JSON array of words: {error}"))?
        } else {
            split(text)?
        };
        if words.first().is_some_and(|word| word == "pipework") {
            words.remove(0);
        }
        if words.is_empty() {
            return Ok(None);
        }
        let args = std::iter::once("pipework".to_owned()).chain(words).map(OsString::from).collect();
        let args = words::with_subcommand(args, &self.whole);
        let verb = args.get(1).and_then(|word| word.to_str()).unwrap_or_default().to_owned();
        let rest = args.get(1..).unwrap_or_default();
        let failed = |error: clap::Error| shortened(&error);
        match verb.as_str() {
            "attach" => {
                let matches = self.attach.try_get_matches_from_mut(rest).map_err(failed)?;
                AttachArgs::from_arg_matches(&matches).map_err(failed)?.work().map(Some)
            }
            "detach" => {
                let matches = self.detach.try_get_matches_from_mut(rest).map_err(failed)?;
                DetachArgs::from_arg_matches(&matches).map_err(failed)?.work().map(Some)
            }
            "link" => {
                let matches = self.link.try_get_matches_from_mut(rest).map_err(failed)?;
                LinkArgs::from_arg_matches(&matches).map_err(failed)?.work().map(Some)
            }
            other => Err(format!("{other:?} is nothing for a batch: a line is an attach, a detach or a link")),
        }
    }
}

/// Words as a shell would split them, and nothing else of a shell.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut lexer = shlex::Shlex::new(text);
    let words: Vec<String> = lexer.by_ref().collect();
    if lexer.had_error { Err("a quotation mark, or what a \\ is for, is missing".into()) } else { Ok(words) }
}

/// What clap has to say, on one line, without the usage.
pub(super) fn shortened(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let said: Vec<&str> = said.filter(|line| !line.is_empty()).collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

fn tell_flaw(args: &BatchArgs, flaw: &Flaw) {
    complain(&format!("pipework: line {}: {}", flaw.number, flaw.why));
    if args.json {
        let failure = Failure::new("", vec![flaw.why.clone()], None, None);
        print_json(&LineDocument { line: flaw.number, report: &failure });
    }
}

fn tell(args: &BatchArgs, line: &Line, ended: &Ended) {
    let number = line.number;
    let (warnings, text): (&[String], String) = match ended {
        Ended::Attached(report) => {
            if args.json {
                print_json(&LineDocument { line: number, report });
            }
            let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
            (&report.warnings, format!("{} {} {}", report.guest.name, report.interface, addresses.join(",")))
        }
        Ended::Detached(report) => {
            if args.json {
                print_json(&LineDocument { line: number, report });
            }
            let names: Vec<String> = report.interfaces.iter().map(|taken| taken.interface.to_string()).collect();
            (&report.warnings, format!("{} {}", report.guest, names.join(",")))
        }
        Ended::Linked(report) => {
            if args.json {
                print_json(&LineDocument { line: number, report });
            }
            let ends: Vec<String> = report.ends.iter().map(|end| format!("{}:{}", end.guest.name, end.interface)).collect();
            (&report.warnings, ends.join(" "))
        }
        Ended::Failed { failure, .. } => {
            if args.json {
                print_json(&LineDocument { line: number, report: failure });
            }
            complain(&format!("pipework: line {number}: {}: {}", failure.guest, failure.error.join(": ")));
            failure.hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
            (&[], failure.guest.clone())
        }
    };
    warnings.iter().for_each(|warning| complain(&format!("pipework: warning: line {number}: {warning}")));
    if args.verbose && !args.json {
        say(&format!("{number}: {text} {}", ended.outcome()));
    }
}

fn summarize(args: &BatchArgs, report: &BatchReport) {
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    report.left.iter().for_each(|left| complain(&format!("pipework: {left}")));
    if args.json {
        print_json(&Summary { summary: report });
    } else {
        let counts = [
            (report.attached, Outcome::Attached.to_string()),
            (report.changed, Outcome::Changed.to_string()),
            (report.unchanged, Outcome::Unchanged.to_string()),
            (report.detached, Outcome::Detached.to_string()),
            (report.failed, Outcome::Failed.to_string()),
            (report.not_begun, "not begun".to_owned()),
            (report.undone, "undone".to_owned()),
        ];
        let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let seconds = report.elapsed_us as f64 / 1e6;
        say(&format!(
            "{} lines: {} ({seconds:.2} s)",
            report.lines,
            if counts.is_empty() { "nothing to do".into() } else { counts.join(", ") }
        ));
    }
    if let Some(signal) = report.interrupted {
        let next = if args.atomic { "what was done is undone" } else { "the same file again goes on from here" };
        complain(&format!("pipework: batch: ended by {signal}: {next}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn numbers(text: &str) -> (Vec<usize>, Vec<usize>) {
        let (lines, flaws) = parse(text.as_bytes());
        (lines.iter().map(|line| line.number).collect(), flaws.iter().map(|flaw| flaw.number).collect())
    }

    #[test]
    fn lines_are_words_of_attach_detach_and_link_in_any_quotes() {
        let text = "# a comment\n\nbr0 web 10.0.0.2/24  # another\n  pipework attach -i eth2 br0 'web' \"10.0.0.3/24\"\ndetach web --all\nlink a b\n[\"br0\",\"netns:/run/a b\",\"0/0\"]\r\n--direct-phys eth1 web 0/0";
        assert_eq!(numbers(text), (vec![3, 4, 5, 6, 7, 8], vec![]));
    }

    #[test]
    fn json_objects_have_the_keys_of_apply() {
        let good = r#"{"attach":{"host_if":"br0","guest":"web","addresses":["10.0.0.2/24"],"gateways":["10.0.0.1"],"mtu":1400}}
{"link":{"ends":[{"guest":"a"},{"guest":"b","addresses":["10.9.0.2/30"]}]}}
{"detach":{"guest":"web","all":true}}"#;
        assert_eq!(numbers(good), (vec![1, 2, 3], vec![]));
        let bad = r#"{"attach":{"host_if":"br0","guest":"web","adresses":["10.0.0.2/24"]}}
{"attach":{"host_if":"br0","guest":"web","addresses":["10.0.0.2/33"],"mtu":7}}
{"detach":{"guest":"web","all":true,"guest_if":"eth1"}}
{"status":{}}
{"attach":"#;
        assert_eq!(numbers(bad), (vec![], vec![1, 2, 3, 4, 5]));
        let why = &parse(bad.as_bytes()).1[1].why;
        assert!(why.contains("addresses:") && why.contains("mtu:"), "{why}");
    }

    #[test]
    fn every_line_that_is_wrong_is_told_with_its_number() {
        let text = "br0 web 10.0.0.2/24\nbr0 web\nbr0 'web 0/0\nstatus web\nbr0 web 10.0.0.999/24\n[1]\ndetach\nbr0 web 0/0 --json\nbr0 web 0/0 --dry-run\nlink a\nbr0 web dhcp --nonsense\n\u{1b}";
        assert_eq!(numbers(text), (vec![1], (2..=12).collect()));
        let (_, flaws) = parse(b"br0 web 10.0.0.2/24\nbr0 \xff 0/0");
        assert_eq!(flaws, [Flaw { number: 2, why: "it is no UTF-8 text".into() }]);
    }

    #[test]
    fn what_stands_in_a_line_is_never_run() {
        for text in ["br0 $(id) 0/0", "br0 `id` 0/0", "br0 web;id 0/0", "br0 a|b 0/0"] {
            assert_eq!(numbers(text).1, [1], "{text}");
        }
    }

    #[test]
    fn clap_s_words_fit_on_one_line() {
        let why = parse(b"br0 web 0/0 --mtuu 9").1.remove(0).why;
        assert!(why.contains("--mtuu") && why.contains("--mtu") && !why.contains('\n') && !why.contains("Usage"), "{why}");
    }

    proptest! {
        #[test]
        fn any_text_is_lines_or_flaws(text in "(?s).{0,200}") {
            let (lines, flaws) = parse(text.as_bytes());
            prop_assert!(lines.len() + flaws.len() <= text.split('\n').count());
        }
    }
}
