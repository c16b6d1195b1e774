//! `pipework doctor`: what keeps guests on a bridge from being reached, and what mends it.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::cluster::{self, Which};
use super::output::{complain, print_json, say, tell_failure};
use crate::cluster::access;
use crate::cluster::examined::examine_all;
use crate::lifecycle::doctor::{self, DoctorError, DoctorOptions};
use crate::lifecycle::host_bridge::HostOptions;
use crate::model::doctor::{DoctorReport, Finding, HostReport};
use crate::model::error::InputError;
use crate::model::report::{Failure, SCHEMA};
use crate::model::types::IfName;
use crate::plan::between;

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
    #[arg(long, conflicts_with = "all")]
    fix: bool,
    /// All hosts of the cluster, each by its `pipework cluster agent`, and what differs between them
    #[arg(long, conflicts_with = "bridge")]
    all: bool,
    /// With --all: so long the other hosts are waited for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "all")]
    timeout: u32,
    #[command(flatten)]
    which: Which,
    /// Report as one JSON document for each bridge; with --all one for each host, and one of what differs between them
    #[arg(long)]
    json: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let options = DoctorOptions { fix: args.fix, gateways: args.gateway.clone(), host: HostOptions::from_environment() };
    if args.all {
        return all(args, &options);
    }
    if args.which.is_said() {
        return fail(args, &["--file and --host say whose hosts are all: they need --all".into()], None);
    }
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

/// Every host of the cluster.
fn all(args: &DoctorArgs, options: &DoctorOptions) -> ExitCode {
    let Some((cluster, own)) = cluster::file::place("doctor", &args.which) else { return ExitCode::FAILURE };
    let patience = Duration::from_secs(args.timeout.into());
    let examined = access::consul(&cluster).and_then(|consul| examine_all(&cluster, &consul, &own, options, patience));
    let hosts = match examined {
        Ok(hosts) => hosts,
        Err(error) => return fail(args, &[error.to_string()], None),
    };
    let between = between(&hosts);
    if args.json {
        hosts.iter().for_each(print_json);
        print_json(&serde_json::json!({"schema": SCHEMA, "between": between}));
    } else {
        for host in &hosts {
            host.bridges.iter().for_each(|report| tell(&format!("{}: ", host.host), report));
            host.problem.iter().for_each(|problem| say(&plain(&format!("{}: {problem}", host.host))));
        }
        between.iter().for_each(|finding| say(&words("", finding)));
    }
    let healthy = between.is_empty() && hosts.iter().all(HostReport::is_healthy);
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
    tell("", report);
}

/// A report, for people.
fn tell(place: &str, report: &DoctorReport) {
    let bridge = &report.bridge;
    report.notes.iter().for_each(|note| complain(&plain(&format!("pipework: note: {place}{note}"))));
    for finding in &report.fixed {
        say(&format!("{place}{bridge}: mended: {}\n  by: {}", finding.what, finding.mend));
    }
    report.findings.iter().for_each(|finding| say(&words(&format!("{place}{bridge}: "), finding)));
    if report.healthy {
        say(&format!("{place}{bridge}: nothing is wrong"));
    }
}

fn words(place: &str, finding: &Finding) -> String {
    let Finding { what, why, mend, .. } = finding;
    format!("{}\n  so: {}\n  mend: {}", plain(&format!("{place}{what}")), plain(why), plain(mend))
}

/// Other hosts' words go to a terminal: no control characters.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
