//! `pipework cluster attach NAME ...`, `pipework cluster detach NAME`: what every agent of the cluster goes by.

use std::process::ExitCode;

use clap::Args;

use super::Which;
use super::agent::Here;
use crate::cli::intent::words_without_guest;
use crate::cli::output::complain;
use crate::cluster::agent::{Stored, intent_key};
use crate::external::consul::{Condition, Freshness};
use crate::model::request::GuestRef;
use crate::state;

const EXAMPLES: &str = "Examples:
  pipework cluster attach web pool:lan                   all replicas of a service, or a container: an address each
  pipework cluster attach web pool:lan --bridge br1 -i eth2
  pipework cluster attach db pool:lan#192.168.116.120    a container that has one address, always that

The policy of each host (/etc/pipework/policy.toml) has the last word, as for labels. A second attach of a name replaces the first.";

/// The words of an intent, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AttachArgs {
    /// The name of a container, or of a service of Swarm
    name: String,
    /// pool:NAME, pool:NAME#ADDRESS, or any ADDR of attach
    addr: String,
    /// The bridge [default: the cluster's]
    #[arg(long, value_name = "BRIDGE")]
    bridge: Option<String>,
    #[command(flatten)]
    at: Which,
    /// What else attach takes behind ADDR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS OF attach")]
    words: Vec<String>,
}

/// What is taken back, as typed.
#[derive(Clone, Debug, Args)]
pub struct DetachArgs {
    /// The name of a container, or of a service of Swarm
    name: String,
    #[command(flatten)]
    at: Which,
}

fn fail(verb: &str, wrong: &[String]) -> ExitCode {
    wrong.iter().for_each(|wrong| complain(&format!("pipework: cluster {verb}: {wrong}")));
    ExitCode::FAILURE
}

/// Says it to all.
pub(super) fn attach(args: &AttachArgs) -> ExitCode {
    match attach_or_not(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => fail("attach", &wrong),
    }
}

fn attach_or_not(args: &AttachArgs) -> Result<(), Vec<String>> {
    let Here { cluster, host, consul } = args.at.look()?;
    let bridge = args.bridge.clone().or_else(|| cluster.bridge.as_ref().map(|bridge| bridge.name.to_string()));
    let bridge = bridge.ok_or_else(|| vec!["the cluster's file has no bridge: say --bridge br0".to_owned()])?;
    let words: Vec<String> = [bridge, args.addr.clone()].into_iter().chain(args.words.clone()).collect();
    let key = key(&cluster.prefix(), &args.name)?;
    // Whatever is wrong with them is told here, and not on some host at some time.
    let _ = words_without_guest(GuestRef::Docker(args.name.clone()), &words).map_err(|why| vec![why])?;
    let stored = Stored { words, by: host, since: state::now() };
    let value = serde_json::to_vec(&stored).map_err(|error| vec![error.to_string()])?;
    consul.write(&key, &value, 0, Condition::Always).map_err(|error| told(&error))?;
    Ok(())
}

/// Takes it back.
pub(super) fn detach(args: &DetachArgs) -> ExitCode {
    match detach_or_not(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => fail("detach", &wrong),
    }
}

fn detach_or_not(args: &DetachArgs) -> Result<(), Vec<String>> {
    let Here { cluster, consul, .. } = args.at.look()?;
    let key = key(&cluster.prefix(), &args.name)?;
    if consul.key(&key, Freshness::Usual).map_err(|error| told(&error))?.is_none() {
        return Err(vec![format!("nothing was said of {}: a label of the container's own goes with the container", args.name)]);
    }
    consul.erase(&key, None).map_err(|error| told(&error))?;
    Ok(())
}

fn key(prefix: &str, name: &str) -> Result<String, Vec<String>> {
    intent_key(prefix, name).ok_or_else(|| vec![format!("{name:?} is no name of a container or service: letters, digits, '_', '.', '-'")])
}

fn told(error: &crate::external::consul::ConsulError) -> Vec<String> {
    let all = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let chain = all.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    [chain].into_iter().chain(error.hint().map(|hint| format!("hint: {hint}"))).collect()
}
