//! `pipework host`: a bridge over this host's NIC, or over a VXLAN among hosts.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::{complain, print_json, say, tell_failure, watch};
use crate::lifecycle::host_bridge::{self, HostError, HostOptions, HostUp};
use crate::model::host_bridge::{Below, HostReport, Keeper, VXLAN_PORT, Vxlan, Watched};
use crate::model::report::{Failure, Outcome};
use crate::model::types::IfName;

/// The words of a host command, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  pipework host up br0 --uplink ens32                      addresses and routes go over, nothing is lost
  pipework host up br0 --uplink ens32 --confirm 60s        back again unless the gateway answers
  pipework host up br0 --uplink ens32 --persist            also after the next boot
  pipework host up brv --vxlan 42 --local 10.0.0.1 --peer 10.0.0.2 --peer 10.9.0.3
  pipework host peers brv 10.0.0.2 10.9.0.3 10.9.0.4       these, and no others of ours
  pipework host down br0                                   all back to the NIC")]
pub struct HostArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Make a bridge over a NIC, or over a VXLAN; of one that is there nothing is changed
    Up(Box<UpArgs>),
    /// Give back what `host up` changed
    Down(DownArgs),
    /// End the watch over a new bridge: it stays
    Confirm(NamedArgs),
    /// Set whom a VXLAN's broadcasts go to
    Peers(PeersArgs),
    /// Tell how the bridges of `host up` stand
    Status(StatusArgs),
}

#[derive(Clone, Debug, Args)]
struct Output {
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
struct UpArgs {
    /// The bridge
    #[arg(value_name = "BRIDGE")]
    bridge: String,
    /// The NIC whose addresses and routes go over to it
    #[arg(long, value_name = "NIC", required_unless_present = "vxlan", conflicts_with = "vxlan")]
    uplink: Option<String>,
    /// A VXLAN of that number instead, among hosts that share no Ethernet
    #[arg(long, value_name = "ID", requires = "local")]
    vxlan: Option<u32>,
    /// This host's address among its peers
    #[arg(long, value_name = "IP", requires = "vxlan")]
    local: Option<IpAddr>,
    /// UDP port of the VXLAN, on all hosts
    #[arg(long, value_name = "PORT", requires = "vxlan", default_value_t = VXLAN_PORT)]
    port: u16,
    /// Another host of the VXLAN; may be given several times
    #[arg(long, value_name = "IP", requires = "vxlan")]
    peer: Vec<IpAddr>,
    /// Give all back when the gateway does not answer through the bridge in that time; without a gateway, unless `host confirm`
    /// comes; 0: never [default: 30s where the gateway answered before, else 0]
    #[arg(long, value_name = "TIME", value_parser = time)]
    confirm: Option<Duration>,
    /// Make it last over a boot: networkd, networkmanager or ifcfg [default: whichever this host has]
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with = "vxlan")]
    persist: Option<String>,
    /// Print what would be done as `ip` commands; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, Args)]
struct DownArgs {
    /// The bridge
    #[arg(value_name = "BRIDGE")]
    bridge: String,
    /// Also while guests are on it, who stay there without a way out
    #[arg(long)]
    force: bool,
    /// Print what would be done as `ip` commands; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, Args)]
struct NamedArgs {
    /// The bridge
    #[arg(value_name = "BRIDGE")]
    bridge: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, Args)]
struct PeersArgs {
    /// The bridge
    #[arg(value_name = "BRIDGE")]
    bridge: String,
    /// All other hosts of the VXLAN; none: nobody
    #[arg(value_name = "IP")]
    peers: Vec<IpAddr>,
    /// Print what would be done as `bridge` commands; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, Args)]
struct StatusArgs {
    /// Report as JSON documents, one a line
    #[arg(long)]
    json: bool,
}

/// `30`, `30s` or `2m`.
fn time(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|seconds| *seconds <= 86_400);
    seconds.map(Duration::from_secs).ok_or_else(|| "give seconds like 30s, or minutes like 2m, up to a day".to_owned())
}

/// Parse, run, print.
pub(super) fn run(args: &HostArgs) -> ExitCode {
    let options = HostOptions::from_environment();
    match &args.what {
        What::Up(args) => {
            let options = HostOptions { dry_run: args.dry_run, steps: args.output.json, ..options };
            let done = request(args, &options).map(|request| host_bridge::up(&request, &options, &mut watch(args.output.verbose)));
            end("up", &args.bridge, &args.output, done)
        }
        What::Down(args) => {
            let options = HostOptions { dry_run: args.dry_run, steps: args.output.json, ..options };
            let done = name(&args.bridge).map(|bridge| host_bridge::down(&bridge, args.force, &options, &mut watch(args.output.verbose)));
            end("down", &args.bridge, &args.output, done)
        }
        What::Confirm(args) => {
            let done = name(&args.bridge).map(|bridge| host_bridge::confirm(&bridge, &options));
            end("confirm", &args.bridge, &args.output, done)
        }
        What::Peers(args) => {
            let options = HostOptions { dry_run: args.dry_run, steps: args.output.json, ..options };
            let set = |bridge: IfName| host_bridge::set_peers(&bridge, &args.peers, &options, &mut watch(args.output.verbose));
            end("peers", &args.bridge, &args.output, name(&args.bridge).map(set))
        }
        What::Status(args) => status(args, &options),
    }
}

fn name(text: &str) -> Result<IfName, String> {
    text.parse().map_err(|error: crate::model::error::InputError| error.to_string())
}

fn request(args: &UpArgs, options: &HostOptions) -> Result<HostUp, String> {
    let below = match (&args.uplink, args.vxlan, args.local) {
        (Some(nic), ..) => Below::Uplink(name(nic)?),
        (None, Some(id), Some(local)) => Below::Vxlan(Vxlan { id, local, port: args.port, peers: args.peer.clone() }),
        _ => return Err("give --uplink NIC, or --vxlan ID --local IP".into()),
    };
    let persist = match args.persist.as_deref() {
        None => None,
        Some("") => Some(host_bridge::keeper_of(&options.etc_dir).ok_or_else(|| {
            format!(
                "--persist: neither systemd-networkd, NetworkManager nor ifcfg files are known under {}: give --persist=networkd, --persist=networkmanager or --persist=ifcfg",
                options.etc_dir.display()
            )
        })?),
        Some(kind) => Some(kind.parse::<Keeper>()?),
    };
    Ok(HostUp { bridge: name(&args.bridge)?, below, confirm: args.confirm, persist })
}

fn end(verb: &str, bridge: &str, output: &Output, done: Result<Result<HostReport, HostError>, String>) -> ExitCode {
    let (chain, hint, undone) = match done {
        Ok(Ok(report)) => {
            print(verb, output, &report);
            return ExitCode::SUCCESS;
        }
        Ok(Err(error)) => (error.chain(), error.hint(), error.undone()),
        Err(error) => (vec![error], None, None),
    };
    tell_failure(&format!("host {verb} {bridge}"), &chain, hint.as_deref(), undone.as_ref());
    if output.json {
        print_json(&Failure::new(bridge, chain, hint, undone));
    }
    ExitCode::FAILURE
}

fn print(verb: &str, output: &Output, report: &HostReport) {
    report.warnings.iter().for_each(|warning| complain(&format!("pipework: warning: {warning}")));
    if output.json {
        return print_json(report);
    }
    if report.result == Outcome::Planned {
        report.steps.iter().for_each(|step| say(&step.command));
        report.files.iter().for_each(|file| say(&format!("# and write {file}")));
        return;
    }
    let bridge = &report.bridge;
    match &report.watched {
        Watched::Waiting { seconds } => {
            say(&format!("{bridge} is given back in {seconds} s, unless you say that it is well: pipework host confirm {bridge}"));
        }
        Watched::Answered { gateways } if output.verbose => {
            let list: Vec<String> = gateways.iter().map(IpAddr::to_string).collect();
            complain(&format!("pipework: {} answered through {bridge}", list.join(", ")));
        }
        _ => {}
    }
    if output.verbose {
        report.files.iter().for_each(|file| complain(&format!("pipework: file {file}")));
        let what = if report.result == Outcome::Unchanged { "nothing to do: it is so already" } else { "done" };
        complain(&format!("pipework: host {verb} {bridge}: {what} ({:.1} ms)", report.elapsed_us as f64 / 1000.0));
    }
}

fn status(args: &StatusArgs, options: &HostOptions) -> ExitCode {
    let seen = host_bridge::all(options)
        .and_then(|all| all.iter().map(|record| host_bridge::observe(&record.bridge, options)).collect::<Result<Vec<_>, HostError>>());
    let all = match seen {
        Ok(all) => all,
        Err(error) => {
            tell_failure("host status", &error.chain(), error.hint().as_deref(), None);
            return ExitCode::FAILURE;
        }
    };
    for one in all {
        if args.json {
            print_json(&one);
            continue;
        }
        let list = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        let state = match (one.is_there, one.up) {
            (false, _) => "not there",
            (true, false) => "down",
            (true, true) => "up",
        };
        let addresses = list(one.addresses.iter().map(ToString::to_string).collect());
        say(&format!("{} {state}, ports {}, addresses {addresses}", one.bridge, list(one.ports)));
        if !one.peers.is_empty() {
            say(&format!("  peers {}", list(one.peers.iter().map(ToString::to_string).collect())));
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_in_seconds_or_minutes() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("2m", 120), ("0", 0)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "s", "-1", "1h", "99999999999999999999", "100000m"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
