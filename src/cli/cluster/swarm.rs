//! `pipework cluster swarm`: classic Swarm's discovery, as its own `list` and `join`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::cli::output::{complain, say, tell_failure};
use crate::cluster::access;
use crate::cluster::swarm::classic::{Address, Advertised, Nodes};
use crate::external::consul::{Consul, ConsulError};
use crate::kernel::signal::Signals;
use crate::lifecycle::chain;

/// The words of `cluster swarm`, as typed.
#[derive(Clone, Debug, Args)]
pub struct SwarmArgs {
    #[command(subcommand)]
    command: SwarmCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum SwarmCommand {
    /// The engines of a classic Swarm, an address a line: list consul://HOST:PORT/PREFIX
    List {
        /// Where its nodes are registered: consul://HOST:PORT/PREFIX
        #[arg(value_name = "DISCOVERY")]
        discovery: String,
    },
    /// Keep this host's engine registered, until it is stopped: join --advertise HOST:PORT consul://HOST:PORT/PREFIX
    Join(JoinArgs),
}

/// The words of `cluster swarm join`, as typed.
#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    /// Where managers reach the engine
    #[arg(long, value_name = "HOST:PORT")]
    advertise: String,
    /// How often it is told that it is there, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60s", value_parser = seconds)]
    heartbeat: Duration,
    /// How long after its last word it counts as gone, in seconds: at least twice the heartbeat
    #[arg(long, value_name = "SECONDS", default_value = "180s", value_parser = seconds)]
    ttl: Duration,
    /// Where it is registered: consul://HOST:PORT/PREFIX, best this host's own agent
    #[arg(value_name = "DISCOVERY", required_unless_present = "file", conflicts_with = "file")]
    discovery: Option<String>,
    /// Instead: with this host's agent, token, certificates and the path that this cluster's file names
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// `60`, or `60s` as the original has it.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<u32>().ok().filter(|seconds| (1..=86400).contains(seconds));
    number.map(|seconds| Duration::from_secs(seconds.into())).ok_or_else(|| "give seconds from 1 to 86400, like 60s".into())
}

/// Parse, run, print.
pub(super) fn run(args: &SwarmArgs) -> ExitCode {
    let (verb, done) = match &args.command {
        SwarmCommand::List { discovery } => ("list", list(discovery)),
        SwarmCommand::Join(words) => ("join", join(words)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(chain) => {
            tell_failure(&format!("cluster swarm {verb}"), &chain, None, None);
            ExitCode::FAILURE
        }
    }
}

fn nodes(discovery: &str) -> Result<Nodes, Vec<String>> {
    let address: Address = discovery.parse().map_err(|error| vec![format!("{error}")])?;
    let token = access::token(None).map_err(reasons)?;
    let consul = Consul::new(&address.access.with_token(token)).map_err(reasons)?;
    Ok(Nodes::new(consul, &address.prefix))
}

/// Where cluster.toml says.
fn nodes_of(file: &Path) -> Result<Nodes, Vec<String>> {
    let cluster = super::file::read(file)?;
    Ok(Nodes::new(access::consul(&cluster).map_err(reasons)?, &cluster.swarm.path))
}

fn reasons(error: ConsulError) -> Vec<String> {
    chain(&error)
}

fn list(discovery: &str) -> Result<(), Vec<String>> {
    nodes(discovery)?.list().map_err(reasons)?.iter().for_each(|node| say(node));
    Ok(())
}

fn join(args: &JoinArgs) -> Result<(), Vec<String>> {
    if args.ttl < args.heartbeat * 2 {
        return Err(vec!["--ttl: give at least twice the --heartbeat, or it counts as gone between two".into()]);
    }
    let node: Advertised = args.advertise.parse().map_err(|error| vec![format!("--advertise: {error}")])?;
    let nodes = match (&args.file, &args.discovery) {
        (Some(file), _) => nodes_of(file)?,
        (None, discovery) => nodes(discovery.as_deref().unwrap_or_default())?,
    };
    let mut member = nodes.member(&node, args.ttl);
    let mut signals = Signals::hold().map_err(|error| vec![error.to_string()])?;
    let mut is_well = true;
    while signals.pending().is_none() {
        let wait = match member.beat() {
            Ok(anew) => {
                if anew {
                    complain(&format!("pipework: {} is registered", args.advertise));
                }
                is_well = true;
                args.heartbeat
            }
            Err(error) => {
                // Told once for each time that it goes wrong.
                if std::mem::replace(&mut is_well, false) {
                    complain(&format!("pipework: {}: trying again", chain(&error).join(": ")));
                }
                Duration::from_secs(1).min(args.heartbeat)
            }
        };
        let until = Instant::now() + wait;
        while Instant::now() < until && signals.pending().is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    member.leave().map_err(reasons)
}
