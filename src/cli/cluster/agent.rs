//! `pipework cluster agent`: the daemon, with the cluster of this host around it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::Which;
use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::output::{complain, say};
use crate::cluster::access;
use crate::cluster::agent::{Agent, AgentOptions, Overlay};
use crate::cluster::claims::ConsulClaims;
use crate::cluster::page::StatusPage;
use crate::external::consul::Consul;
use crate::frontend::daemon::serve::PageOptions;
use crate::frontend::node;
use crate::lifecycle::Options;
use crate::model::cluster::{AclPart, BridgeKind, Cluster, ConsulPart, HttpPart, rights};

const EXAMPLES: &str = "Examples:
  pipework cluster agent                         with /etc/pipework/cluster.toml, as this host
  docker run -d --net none --name web --label 'pipework.lan=br0 pool:lan' IMAGE
  pipework cluster attach web pool:lan           the same for a container or service of that name, wherever it runs
  dig @127.0.0.1 -p 8600 web.service.consul      each address has a name

SIGTERM ends the agent and leaves all attachments standing, and their locks for as long as the session lives:
an agent that is started again by then goes on with it.";

/// Where Consul's servers listen for each other.
const RPC: u16 = 8300;

/// The words of an agent, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AgentArgs {
    #[command(flatten)]
    pub(super) at: Which,
    /// How long another host waits for the addresses of this one when nothing is heard of it: between once and twice that
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    ttl: f64,
    /// Serve a page for people: on this host alone, or with --token-file, whose token is the page's password
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8585")]
    page: Option<SocketAddr>,
    /// Print the policy that its token needs where Consul controls access, and end
    #[arg(long)]
    policy: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// A cluster as this host sees it.
pub(super) struct Here {
    pub(super) cluster: Cluster,
    pub(super) host: String,
    pub(super) consul: Consul,
}

impl Which {
    /// Reads the file, and finds the host in it.
    pub(super) fn look(&self) -> Result<Here, Vec<String>> {
        let at = |why: String| vec![format!("{}: {why}", self.file.display())];
        let cluster = super::file::read(&self.file)?;
        let host = self.host.clone().unwrap_or_else(node);
        if cluster.host(&host).is_none() {
            let names: Vec<&str> = cluster.hosts.iter().map(|host| host.name.as_str()).collect();
            return Err(at(format!("{host} is none of its hosts: say --host with one of {}", names.join(", "))));
        }
        let consul = access::consul(&cluster).map_err(|error| vec![error.to_string()])?;
        Ok(Here { cluster, host, consul })
    }
}

/// Where Consul controls access, whoever has no token is told of nothing, and would take that for nothing to do.
fn tokenless(here: &Here) -> Option<String> {
    let is_tokenless = here.cluster.consul.acl != AclPart::Off && here.consul.access().token().is_none();
    let file = here.cluster.consul.token_file.as_ref().map(|file| format!(", or put it into {}", file.display())).unwrap_or_default();
    is_tokenless.then(|| format!("Consul controls access, and there is no token: set CONSUL_HTTP_TOKEN_FILE{file}"))
}

/// The agents of the other hosts that are servers, where they can be asked from here: `cluster up` has them listen on loopback, unless
/// the file says that everybody may ask.
fn others(here: &Here) -> Vec<Consul> {
    let part = &here.cluster.consul;
    let scheme = match (&part.address, part.http, &part.tls) {
        (None, HttpPart::Everybody, Some(_)) => Some(("https", 8501)),
        (None, HttpPart::Everybody, None) => Some(("http", 8500)),
        _ => None,
    };
    let Some((scheme, port)) = scheme else { return Vec::new() };
    let others = here.cluster.servers().filter(|host| host.name != here.host);
    let consul = |host: &crate::model::cluster::Host| {
        let address = Some(format!("{scheme}://{}", SocketAddr::new(host.address, port)));
        let there = Cluster { consul: ConsulPart { address, ..part.clone() }, ..here.cluster.clone() };
        access::consul(&there).ok()
    };
    others.filter_map(consul).collect()
}

/// The cluster's bridge, where it lies over a VXLAN, and the other hosts.
fn overlay(here: &Here) -> Option<Overlay> {
    let bridge = here.cluster.bridge.as_ref().filter(|bridge| bridge.kind != BridgeKind::Nic)?;
    let others = here.cluster.hosts.iter().filter(|host| host.name != here.host).map(|host| host.address);
    Some(Overlay { bridge: bridge.name.clone(), others: others.collect() })
}

/// Parse, run, say why not.
pub(super) fn run(args: &AgentArgs) -> ExitCode {
    let fail = |wrong: Vec<String>| {
        wrong.iter().for_each(|wrong| complain(&format!("pipework: cluster agent: {wrong}")));
        ExitCode::FAILURE
    };
    if args.daemon.once {
        return fail(vec!["an agent stays, to keep what it locks: leave out --once".into()]);
    }
    let Ok(ttl) = Duration::try_from_secs_f64(args.ttl) else { return fail(vec!["--ttl: give seconds, like 30".into()]) };
    if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&ttl) {
        return fail(vec!["--ttl: Consul takes 1 s (where its configuration says so; else 10 s) to a day".into()]);
    }
    let here = match args.at.look() {
        Ok(here) => here,
        Err(wrong) => return fail(wrong),
    };
    if args.policy {
        say(rights::policy(&here.cluster.prefix(), &here.host).trim_end());
        return ExitCode::SUCCESS;
    }
    if let Some(wrong) = tokenless(&here) {
        return fail(vec![wrong]);
    }
    let mut options = match daemon::prepared(&args.daemon) {
        Ok(options) => options,
        Err(wrong) => return fail(wrong.iter().map(ToString::to_string).collect()),
    };
    let Some(own) = here.cluster.host(&here.host) else { return fail(vec!["this host is not in the file".into()]) };
    let address = own.address;
    let others = others(&here);
    let servers = here.cluster.servers().map(|host| SocketAddr::new(host.address, RPC));
    // Servers that are not ours may be others than the file's hosts.
    let servers = if here.cluster.consul.address.is_none() { servers.collect() } else { Vec::new() };
    let prefix = here.cluster.prefix();
    let overlay = overlay(&here);
    let claims = ConsulClaims::new(here.consul.clone(), &prefix, here.cluster.pools.clone(), &args.at.file.display().to_string());
    let agent = Agent::new(AgentOptions {
        consul: here.consul,
        others,
        prefix,
        host: here.host,
        address,
        servers,
        ttl,
        overlay,
        claims,
        board: options.board.clone(),
        lifecycle: Options { claims: None, ..options.options.clone() },
    });
    options.options.claims = Some(agent.claims());
    if let Some(address) = args.page {
        let line = |host: &crate::model::cluster::Host| (host.name.clone(), host.address.to_string(), host.role.to_string());
        let seen = agent.seen(&here.cluster.name, here.cluster.hosts.iter().map(line).collect());
        options.serve.page = Some(PageOptions { address, page: Arc::new(StatusPage::new(seen)) });
    }
    options.beside = Some(agent.begin());
    daemon::carry_out("cluster agent", false, options)
}
