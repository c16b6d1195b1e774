//! `pipework status`: how the attachments stand.

use std::process::ExitCode;

use clap::Args;

use super::attach::DRIFTED;
use super::output::{complain, print_json, say};
use crate::lifecycle::{self, AttachError, StatusOptions};
use crate::model::report::Failure;
use crate::model::request::GuestRef;
use crate::model::status::{AttachmentStatus, StatusReport};
use crate::state;

/// The words of a status, as typed.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Only this guest, as for attach; one that is gone by the name or ID that it had
    #[arg(value_name = "GUEST")]
    guest: Option<String>,
    /// Report as one JSON document on standard output; with --watch a line for each change
    #[arg(long)]
    json: bool,
    /// Stay, and tell of each attachment that changes, as the kernel says so; ends by SIGINT or SIGTERM
    #[arg(long)]
    watch: bool,
    /// Also the containers that run and have no attachment
    #[arg(long)]
    all_guests: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let guest = match args.guest.as_deref().map(str::parse::<GuestRef>).transpose() {
        Ok(guest) => guest,
        Err(error) => {
            complain(&format!("pipework: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let options = StatusOptions { guest, all_guests: args.all_guests, run_dir: state::run_dir(), state_dir: state::state_dir() };
    let ended = if args.watch { watch(args, &options) } else { once(args, &options) };
    ended.unwrap_or_else(|error| {
        complain(&format!("pipework: status: {}", error.chain().join(": ")));
        error.hint().iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
        if args.json {
            print_json(&Failure::new(args.guest.as_deref().unwrap_or_default(), error.chain(), error.hint(), None));
        }
        ExitCode::FAILURE
    })
}

fn once(args: &StatusArgs, options: &StatusOptions) -> Result<ExitCode, AttachError> {
    let report = lifecycle::status(options)?;
    if args.json {
        print_json(&report);
    } else {
        print(&report);
    }
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    Ok(if report.attachments.iter().all(AttachmentStatus::is_ok) { ExitCode::SUCCESS } else { ExitCode::from(DRIFTED) })
}

fn watch(args: &StatusArgs, options: &StatusOptions) -> Result<ExitCode, AttachError> {
    let mut before: Option<Vec<(String, Vec<String>)>> = None;
    lifecycle::watch(options, &mut |report| {
        report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
        let now: Vec<(String, Vec<String>)> = report.attachments.iter().map(|status| (key(status), row(status))).collect();
        match &before {
            None if args.json => print_json(report),
            None => print(report),
            Some(before) => {
                let is_new = |status: &&AttachmentStatus| !before.contains(&(key(status), row(status)));
                let changed: Vec<AttachmentStatus> = report.attachments.iter().filter(is_new).cloned().collect();
                let left = before.iter().filter(|(key, _)| now.iter().all(|(now, _)| now != key));
                tell(args, report, changed, left.map(|(key, _)| key.as_str()));
            }
        }
        before = Some(now);
    })?;
    Ok(ExitCode::SUCCESS)
}

fn tell<'a>(args: &StatusArgs, report: &StatusReport, changed: Vec<AttachmentStatus>, left: impl Iterator<Item = &'a str>) {
    if args.json {
        let (changed, detached): (_, Vec<&str>) = (changed, left.collect());
        if !changed.is_empty() || !detached.is_empty() {
            let change = StatusReport { attachments: changed, unattached: None, ..report.clone() };
            print_json(&serde_json::json!({"schema": change.schema, "attachments": change.attachments, "detached": detached}));
        }
        return;
    }
    changed.iter().for_each(|status| say(&row(status).join("  ")));
    left.for_each(|key| say(&format!("{key}  detached")));
}

fn key(status: &AttachmentStatus) -> String {
    format!("{} {}", status.guest.name, status.interface)
}

const HEAD: [&str; 13] = ["GUEST", "ENGINE", "IF", "ADDRESSES", "GATEWAY", "HOST", "LINK", "ON", "VLAN", "MTU", "MAC", "SINCE", "STATE"];

fn row(status: &AttachmentStatus) -> Vec<String> {
    let all = |texts: Vec<String>| if texts.is_empty() { "-".to_owned() } else { texts.join(",") };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut state = status.words();
    if let Some(lease) = &status.lease {
        let kept = if status.lease_kept == Some(false) { ", nobody keeps it" } else { "" };
        state += &format!("; leased from {}{kept}", lease.server);
    }
    vec![
        status.guest.name.clone(),
        status.guest.engine.to_owned(),
        status.interface.to_string(),
        all(status.addresses.iter().map(ToString::to_string).collect()),
        all(status.gateways.iter().map(ToString::to_string).collect()),
        status.host_interface.clone(),
        or_none(status.host_link.clone()),
        or_none(status.on.clone()),
        or_none(status.vlan.clone()),
        or_none(status.mtu.map(|mtu| mtu.to_string())),
        or_none(status.mac.map(|mac| mac.to_string())),
        status.since.clone(),
        state,
    ]
}

fn print(report: &StatusReport) {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(report.attachments.iter().map(row));
    for container in report.unattached.iter().flatten() {
        let mut row = vec!["-".to_owned(); HEAD.len()];
        row.splice(..2, [container.name.clone(), container.engine.to_owned()]);
        row.pop();
        row.push("not attached".to_owned());
        rows.push(row);
    }
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|at| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say(cells.join("  ").trim_end());
    }
}
