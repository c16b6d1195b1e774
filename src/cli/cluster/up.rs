//! `pipework cluster up` and `down`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Which, file};
use crate::cli::output::{complain, print_json, say};
use crate::cluster::up::{Note, Outcome, Place, StepReport, UpError};
use crate::cluster::{self};
use crate::model::cluster::{Cluster, Host};
use crate::state;

/// The words of `cluster up`.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    which: Which,
    /// How long one step may take, in seconds: other hosts may still be to come
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u32,
    /// Wait also until all servers vote: 10 s after they have joined
    #[arg(long)]
    voters: bool,
    /// Do nothing about `pipework cluster agent`
    #[arg(long)]
    no_agent: bool,
    /// Report each step as a line of JSON on standard output
    #[arg(long)]
    json: bool,
}

/// The words of `cluster down`.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    #[command(flatten)]
    which: Which,
    /// Also when containers are still attached to the bridge, or have addresses of pools
    #[arg(long)]
    yes: bool,
    /// How long one step may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u32,
    /// Report each step as a line of JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn up(args: &UpArgs) -> ExitCode {
    let Some((cluster, host)) = file::place("up", &args.which) else { return ExitCode::FAILURE };
    cluster.advice().iter().for_each(|advice| complain(&format!("pipework: warning: {advice}")));
    let place = Place { voters: args.voters, no_agent: args.no_agent, ..place(&args.which, &cluster, &host) };
    let ended = cluster::up::up(&place, Duration::from_secs(args.timeout.into()), &mut teller(args.json));
    end("up", &host, args.json, ended)
}

pub(super) fn down(args: &DownArgs) -> ExitCode {
    let Some((cluster, host)) = file::place("down", &args.which) else { return ExitCode::FAILURE };
    let place = place(&args.which, &cluster, &host);
    let ended = cluster::up::down(&place, args.yes, Duration::from_secs(args.timeout.into()), &mut teller(args.json));
    end("down", &host, args.json, ended)
}

pub(super) fn place<'a>(which: &Which, cluster: &'a Cluster, host: &'a Host) -> Place<'a> {
    // What stays runs in another directory.
    let file = std::path::absolute(&which.file).unwrap_or_else(|_| which.file.clone());
    let note = Note::new(&state::state_dir(), &cluster.name);
    Place { cluster, host, file, note, run_dir: state::run_dir(), voters: false, no_agent: false }
}

/// Tells each step as it ends: on standard output, what failed on standard error.
pub(super) fn teller(json: bool) -> impl FnMut(&StepReport) {
    move |step: &StepReport| {
        if json {
            return print_json(step);
        }
        let StepReport { host, step: name, outcome, detail, seconds, .. } = step;
        match outcome {
            Outcome::Already => say(&format!("{host}  {name:22} already  {detail}")),
            Outcome::Done => say(&format!("{host}  {name:22} {seconds:5.2} s  {detail}")),
            Outcome::Failed => {}
        }
    }
}

/// The last word.
pub(super) fn end(verb: &str, host: &Host, json: bool, ended: Result<usize, UpError>) -> ExitCode {
    match ended {
        Ok(done) => {
            if done == 0 && !json {
                say(&format!("{}  nothing to do", host.name));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("pipework: cluster {verb} on {}: {}", host.name, crate::lifecycle::chain(&error).join(": ")));
            error.hint().iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
            ExitCode::FAILURE
        }
    }
}
