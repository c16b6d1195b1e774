//! `pipework doctor`: what keeps guests on a bridge from being reached, and what mends it.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::output::{complain, print_json, say, tell_failure};
use crate::lifecycle::doctor::{self, DoctorError, DoctorOptions};
use crate::lifecycle::host_bridge::HostOptions;
use crate::model::doctor::DoctorReport;
use crate::model::error::InputError;
use crate::model::report::Failure;
use crate::model::types::IfName;

/// The words of an examination, as typed.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The bridge; may be given several times [default: those of `host up`, and those that have guests of ours]
    #[arg(long, value_name = "BRIDGE")]
    bridge: Vec<String>,
    /// Whom to ask whether guests get through [default: the default gateways through the bridge]
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// Mend what can be mended here
    #[arg(long)]
    fix: bool,
    /// Report as one JSON document for each bridge
    #[arg(long)]
    json: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let options = DoctorOptions { fix: args.fix, gateways: args.gateway.clone(), host: HostOptions::from_environment() };
    let bridges: Result<Vec<IfName>, InputError> = args.bridge.iter().map(|bridge| bridge.parse()).collect();
    let bridges = match bridges {
        Ok(bridges) if bridges.is_empty() => match doctor::bridges(&options) {
            Ok(bridges) => bridges,
            Err(error) => return fail(args, &error.chain(), error.hint()),
        },
        Ok(bridges) => bridges,
        Err(error) => return fail(args, &[error.to_string()], None),
    };
    if bridges.is_empty() {
        return fail(
            args,
            &["there is no bridge of ours to examine".into()],
            Some("name one: --bridge br0; or make one: pipework host up".into()),
        );
    }
    let mut healthy = true;
    for bridge in &bridges {
        match doctor::examine(bridge, &options) {
            Ok(report) => {
                healthy &= report.healthy;
                print(args, &report);
            }
            Err(error) => return fail_error(args, &error),
        }
    }
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail_error(args: &DoctorArgs, error: &DoctorError) -> ExitCode {
    fail(args, &error.chain(), error.hint())
}

fn fail(args: &DoctorArgs, chain: &[String], hint: Option<String>) -> ExitCode {
    tell_failure("doctor", chain, hint.as_deref(), None);
    if args.json {
        print_json(&Failure::new("doctor", chain.to_vec(), hint, None));
    }
    ExitCode::FAILURE
}

fn print(args: &DoctorArgs, report: &DoctorReport) {
    if args.json {
        return print_json(report);
    }
    let bridge = &report.bridge;
    report.notes.iter().for_each(|note| complain(&format!("pipework: note: {note}")));
    for finding in &report.fixed {
        say(&format!("{bridge}: mended: {}\n  by: {}", finding.what, finding.mend));
    }
    for finding in &report.findings {
        say(&format!("{bridge}: {}\n  so: {}\n  mend: {}", finding.what, finding.why, finding.mend));
    }
    if report.healthy {
        say(&format!("{bridge}: nothing is wrong"));
    }
}
