//! `pipework cluster`: several hosts as one.

mod agent;
pub(super) mod file;
mod intents;
mod leave;
mod status;
mod swarm;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The words of `cluster`, as typed.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ClusterCommand {
    /// Write a commented cluster.toml
    Init(file::InitArgs),
    /// Tell every mistake in cluster.toml, with its line
    Check(file::CheckArgs),
    /// Make this host a part of the cluster: Consul, Swarm, the bridge; a second time it does nothing
    Up(up::UpArgs),
    /// Take away from this host what `up` made
    Down(up::DownArgs),
    /// The daemon with a cluster: addresses of pools, locked while a guest of this host has them; they follow their containers
    Agent(agent::AgentArgs),
    /// Say what a container or service is to have, on whichever host it runs
    Attach(intents::AttachArgs),
    /// Take that back; the addresses stay claimed
    Detach(intents::DetachArgs),
    /// Take this host out of Consul and Swarm; its bridge and its containers' addresses stay
    Leave(leave::LeaveArgs),
    /// Give a host's Swarm tasks to others, and (--end) take it back
    Drain(leave::DrainArgs),
    /// Tell how hosts, Consul, Swarm, the bridge, pools and attachments stand (exit status 2 when something is amiss)
    Status(status::StatusArgs),
    /// Check this host, and whom its containers reach: all others of the cluster, and the gateway (exit status 2 when not)
    Verify(status::VerifyArgs),
    /// Classic Swarm's discovery: its `list` and `join`
    Swarm(swarm::SwarmArgs),
}

/// Which cluster, and which of its hosts this is.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Which {
    /// The cluster's file
    #[arg(long, value_name = "FILE", default_value = crate::model::cluster::DEFAULT_FILE)]
    pub(super) file: PathBuf,
    /// Which of the file's hosts this is [default: by its host name]
    #[arg(long, value_name = "NAME")]
    pub(super) host: Option<String>,
}

impl Which {
    /// Whether anything of it was typed.
    pub(in crate::cli) fn is_said(&self) -> bool {
        self.host.is_some() || self.file != Path::new(crate::model::cluster::DEFAULT_FILE)
    }
}

/// Parse, run, print.
pub(super) fn run(args: &ClusterArgs) -> ExitCode {
    match &args.command {
        ClusterCommand::Init(words) => file::init(words),
        ClusterCommand::Check(words) => file::check(words),
        ClusterCommand::Up(words) => up::up(words),
        ClusterCommand::Down(words) => up::down(words),
        ClusterCommand::Agent(words) => agent::run(words),
        ClusterCommand::Attach(words) => intents::attach(words),
        ClusterCommand::Detach(words) => intents::detach(words),
        ClusterCommand::Leave(words) => leave::leave(words),
        ClusterCommand::Drain(words) => leave::drain(words),
        ClusterCommand::Status(words) => status::run(words),
        ClusterCommand::Verify(words) => status::verify(words),
        ClusterCommand::Swarm(words) => swarm::run(words),
    }
}
