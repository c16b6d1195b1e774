//! `pipework cluster status` and `verify`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Which, file};
use crate::cli::attach::DRIFTED;
use crate::cli::output::{complain, print_json, say};
use crate::cluster::status::{ClusterStatus, status};
use crate::cluster::verify::{self, Verified};
use crate::model::status::AttachmentStatus;

/// Between two looks of --watch.
const PAUSE: Duration = Duration::from_secs(1);

/// The words of `cluster status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    which: Which,
    /// Report as one JSON document on standard output; with --watch a line for each change
    #[arg(long)]
    json: bool,
    /// Stay, and tell whenever something has changed; ends by SIGINT or SIGTERM
    #[arg(long)]
    watch: bool,
}

/// The words of `cluster verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    which: Which,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let Some((cluster, host)) = file::place("status", &args.which) else { return ExitCode::FAILURE };
    let mut before = String::new();
    loop {
        let now = status(&cluster, &host);
        // Whoever cannot write there has been told so above.
        let _ = verify::announce(&cluster, &now);
        let text = serde_json::to_string(&now).unwrap_or_default();
        if text != before {
            if args.json { print_json(&now) } else { print(&now) }
        }
        before = text;
        if !args.watch {
            return if now.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(DRIFTED) };
        }
        std::thread::sleep(PAUSE);
    }
}

fn print(now: &ClusterStatus) {
    say(&format!("cluster {}, seen from {}; leader {}", now.cluster, now.host, now.leader.as_deref().unwrap_or("none")));
    let mut rows = vec![["HOST", "ADDRESS", "ROLE", "CONSUL", "SWARM", "AGENT"].map(str::to_owned).to_vec()];
    rows.extend(now.hosts.iter().map(|host| {
        let swarm = host.swarm.clone().unwrap_or_else(|| "-".into());
        vec![
            host.name.clone(),
            host.address.to_string(),
            host.role.to_owned(),
            host.consul.clone(),
            swarm,
            if host.agent { "alive" } else { "-" }.to_owned(),
        ]
    }));
    table(&rows);
    if let Some(bridge) = &now.bridge {
        let state = if bridge.up { "up" } else { "not there, or down" };
        say(&format!("bridge {}: {state}, ports {}, addresses {}", bridge.name, all(&bridge.ports), all(&bridge.addresses)));
    }
    let count = |count: Option<usize>| count.map_or("?".to_owned(), |count| count.to_string());
    for pool in &now.pools {
        let free = pool.claimed.map_or("?".to_owned(), |claimed| pool.size.saturating_sub(claimed as u128).to_string());
        let (claimed, used) = (count(pool.claimed), count(pool.used));
        say(&format!("pool {}: {}, {claimed} of {} claimed, {free} free, {used} in use", pool.name, pool.subnet, pool.size));
    }
    now.attachments.iter().for_each(|status| say(&format!("attached {}", words(status))));
    now.everywhere.iter().filter(|one| one.host != now.host).for_each(|one| {
        let addresses: Vec<String> = one.addresses.iter().map(ToString::to_string).collect();
        say(&format!("attached on {}: {} {}", one.host, one.guest, all(&addresses)).replace(char::is_control, " "));
    });
    now.conflicts.iter().for_each(|conflict| complain(&format!("pipework: conflict: {conflict}").replace(char::is_control, " ")));
    now.problems.iter().for_each(|problem| complain(&format!("pipework: warning: {problem}")));
}

fn words(status: &AttachmentStatus) -> String {
    let addresses: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
    format!("{} {} {} on {}: {}", status.guest.name, status.interface, all(&addresses), status.host_interface, status.words())
}

fn all(texts: &[String]) -> String {
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn table(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(|at| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say(cells.join("  ").trim_end());
    }
}

pub(super) fn verify(args: &VerifyArgs) -> ExitCode {
    let Some((cluster, host)) = file::place("verify", &args.which) else { return ExitCode::FAILURE };
    match verify::verify(&cluster, &host) {
        Ok(verified) => {
            if args.json {
                print_json(&verified)
            } else {
                tell(&verified)
            }
            if verified.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(DRIFTED) }
        }
        Err(error) => {
            complain(&format!("pipework: cluster verify: {}", error.chain().join(": ")));
            ExitCode::FAILURE
        }
    }
}

fn tell(verified: &Verified) {
    for check in &verified.checks {
        let word = if check.ok { "ok  " } else { "FAIL" };
        say(&format!("{word}  {}  {}", check.what, check.detail));
    }
    if verified.reach.iter().all(|reach| reach.to.is_empty()) {
        return;
    }
    let mut rows = vec![["FROM", "TO", "WHOSE", "ANSWERED BY"].map(str::to_owned).to_vec()];
    for reach in &verified.reach {
        for to in &reach.to {
            let whose = verified.attached.iter().find(|one| one.addresses.contains(&to.addr));
            let whose = whose.map_or("gateway".to_owned(), |one| format!("{} on {}", one.guest, one.host));
            let mac = to.mac.map_or("nobody".to_owned(), |mac| mac.to_string());
            rows.push(vec![reach.guest.clone(), to.addr.to_string(), whose, mac]);
        }
    }
    table(&rows);
}
