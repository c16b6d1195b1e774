//! `pipework cluster leave` and `drain`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::up::{end, place, teller};
use super::{Which, file};
use crate::cluster::up;

/// The words of `cluster leave`.
#[derive(Clone, Debug, Args)]
pub struct LeaveArgs {
    #[command(flatten)]
    which: Which,
    /// Also when containers have addresses of pools: others can be given the same ones at once
    #[arg(long)]
    yes: bool,
    /// How long one step may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u32,
    /// Report each step as a line of JSON on standard output
    #[arg(long)]
    json: bool,
}

/// The words of `cluster drain`.
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    which: Which,
    /// Which host: Swarm gives its tasks to others, and Consul says that it is under maintenance [default: this one]
    #[arg(value_name = "HOST")]
    target: Option<String>,
    /// It is given tasks again
    #[arg(long)]
    end: bool,
    /// How long one step may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u32,
    /// Report each step as a line of JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn leave(args: &LeaveArgs) -> ExitCode {
    let Some((cluster, host)) = file::place("leave", &args.which) else { return ExitCode::FAILURE };
    let wait = Duration::from_secs(args.timeout.into());
    let ended = up::leave(&place(&args.which, &cluster, &host), args.yes, wait, &mut teller(args.json));
    end("leave", &host, args.json, ended)
}

pub(super) fn drain(args: &DrainArgs) -> ExitCode {
    let Some((cluster, host)) = file::place("drain", &args.which) else { return ExitCode::FAILURE };
    let wait = Duration::from_secs(args.timeout.into());
    let target = args.target.as_deref().unwrap_or(&host.name);
    let ended = up::drain(&place(&args.which, &cluster, &host), target, !args.end, wait, &mut teller(args.json));
    end("drain", &host, args.json, ended)
}
