//! `pipework cluster ...`: several hosts as one.

mod agent;
mod intents;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The words behind `cluster`.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// The daemon with a cluster: addresses of pools, locked while a guest of this host has them; they follow their containers
    Agent(agent::AgentArgs),
    /// Say what a container or service is to have, on whichever host it runs
    Attach(intents::AttachArgs),
    /// Take that back; the addresses stay claimed
    Detach(intents::DetachArgs),
}

/// Parse, run, say why not.
pub(super) fn run(args: &ClusterArgs) -> ExitCode {
    match &args.command {
        Command::Agent(args) => agent::run(args),
        Command::Attach(args) => intents::attach(args),
        Command::Detach(args) => intents::detach(args),
    }
}
