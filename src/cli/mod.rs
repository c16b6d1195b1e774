//! The command line: the original's grammar and the subcommands, to requests. The only place that knows clap.

mod access;
mod apply;
mod attach;
mod batch;
mod cluster;
mod cni;
mod daemon;
mod detach;
mod docker_plugin;
mod doctor;
mod documents;
mod events;
mod export;
mod gc;
mod graph;
mod host;
mod inside;
mod install;
mod intent;
mod link;
mod oci;
mod output;
mod pool;
mod quick;
mod repair;
mod settings;
mod status;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::iproute::Tool;
use crate::kernel::wait;
use crate::model::types::IfName;
pub use apply::EXAMPLE as TOPOLOGY_EXAMPLE;
pub use attach::AttachArgs;
pub use intent::words_without_guest;
use output::complain;

const ABOUT: &str = "Gives containers fixed, LAN-reachable addresses, in pure netlink";

const USAGE: &str = "pipework [OPTIONS] <HOSTIF> [-i GUESTIF] [-l LOCALIF] [-a FAMILY] <GUEST> <ADDR> [[MAC][@VLAN]]
       pipework --wait [-i GUESTIF] [--timeout SECONDS]
       pipework route|rule|tc <GUEST> <WORDS OF iproute2>...
       pipework <COMMAND>";

const EXAMPLES: &str = "Examples:
  pipework br1 web 192.168.1.10/24                a bridge (made when absent), an address
  pipework br1 web 192.168.1.10/24@192.168.1.1    and the default route
  pipework br1 -i eth2 -l hostapp1 web fd00::2/64 other names, IPv6
  pipework br1 web 192.168.1.10/24,fd00::10/64@192.168.1.1,fd00::1      several, both families
  pipework br1 -i auto web 10.2.0.9/24@10.2.0.1 --table auto    a second way in and out
  pipework br1 web 10.2.0.9/24 --rate 10mbit/2mbit --mtu 1400   into/out of the guest
  pipework eth0 web 192.168.1.10/24 @10           a macvlan on VLAN 10 of a NIC
  pipework br1 web 192.168.1.10/24 @10,20-30      a bridge's VLANs: 10 untagged, 20 to 30 tagged
  pipework eth0 web 192.168.1.10/24 U:web1        a MAC address made of a string
  pipework --host-access eth0 web 192.168.1.10/24 a macvlan guest that this host reaches, too
  pipework br1 web pool:lan                       the address that belongs to it, or a free one
  pipework br1 web dhcp                           address and routes from a DHCP server
  pipework br1 web dhcp:-f                        stay and renew the lease
  pipework ovs1 web 192.168.1.10/24 @10           Open vSwitch, VLAN 10
  pipework --direct-phys mac:00:f3:15:4a:42:c8 web 0/0    the NIC itself, no address
  pipework dummy web 192.168.21.101/24            an interface that leads nowhere
  pipework br1 netns:lab 10.0.0.1/24              a guest without an engine
  pipework link web=10.0.0.1/30 db=10.0.0.2/30    straight between two guests, no bridge
  pipework apply shop.toml --prune                all of a file, and nothing that it no longer has
  pipework --dry-run br1 web 192.168.1.10/24      the same as `ip` commands, nothing done
  pipework route web add 10.9.0.0/16 via 192.168.1.9      what ip route, ip rule and tc do,
  pipework tc web qdisc add dev eth1 root netem delay 9ms in the container and without them
  pipework --wait -i eth1                         in the container: until eth1 is up

Guests: a name, an ID or its beginning (Docker, Podman, LXC, systemd-nspawn), docker:NAME,
podman:NAME, lxc:NAME, pid:N, netns:NAME, netns:/path.

Hooks: /etc/pipework/hooks.d/{pre,post}-{attach,detach}/*, with JSON on standard input.

Exit status: 0 done, or already so; 1 not done, and nothing changed. For route, rule and tc also
2: the kernel refuses; or that of the installed ip or tc, where one had to do it.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "pipework", version, about = ABOUT, override_usage = USAGE, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, max_term_width = 100)]
struct Cli {
    /// The original's own form is that of `attach`.
    #[command(flatten)]
    bare: Option<AttachArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give a guest an interface (also without the word: pipework br0 web 10.0.0.2/24)
    Attach(Box<AttachArgs>),
    /// Take an interface away again, with all that was made for it; also from a guest that is gone
    Detach(detach::DetachArgs),
    /// Clear up what runs that were killed, and guests that died, left behind
    Gc(gc::GcArgs),
    /// Tell what of a guest's attachments, or of what an attach's words ask for, is not so (exit status 2)
    Diff(Box<AttachArgs>),
    /// Make guests, bridges, attachments and links as a file describes them (--dry-run: exit status 2 when they are not)
    Apply(apply::ApplyArgs),
    /// Write attachments, links and our bridges as a file for apply
    Export(export::ExportArgs),
    /// Draw bridges, NICs, guests and links: as a tree, or for Graphviz, Mermaid, a browser
    Graph(graph::GraphArgs),
    /// Tell how all attachments stand (exit status 2 when one is not as it is wanted)
    Status(status::StatusArgs),
    /// Tell what the daemon did, and (--follow) what it does
    Events(events::EventsArgs),
    /// Make attachments again what their records want; also those of guests that were started again
    Repair(repair::RepairArgs),
    /// Look after all that is wanted: files, wanted records, labels and environment of containers
    Daemon(daemon::DaemonArgs),
    /// Several hosts as one: Consul, Swarm, a bridge on each, addresses that are nobody else's
    Cluster(cluster::ClusterArgs),
    /// Wait until an interface is up; for use inside a container (also: pipework --wait)
    Wait(WaitArgs),
    /// Link two guests by a veth straight between them, without a bridge
    Link(link::LinkArgs),
    /// Many attaches, detaches and links from a file, at the kernel's own speed
    Batch(batch::BatchArgs),
    /// `ip route WORDS` in a guest
    Route(inside::InsideArgs),
    /// `ip rule WORDS` in a guest
    Rule(inside::InsideArgs),
    /// `tc WORDS` in a guest
    Tc(inside::InsideArgs),
    /// Make a bridge over this host's NIC, or over a VXLAN among hosts, and give it back
    Host(host::HostArgs),
    /// Tell what keeps guests on a bridge from being reached, and mend it (exit status 1 when something is wrong)
    Doctor(doctor::DoctorArgs),
    /// List pools of addresses and who has them; free those of owners that are gone for good
    Pool(pool::PoolArgs),
    /// Give an address of a pool back that belongs to an owner: release pool:lan web
    Release(pool::ReleaseArgs),
    /// List which macvlan guests this host has access to (--host-access), and take it away
    HostAccess(access::AccessArgs),
    /// For OCI runtimes: attach a container before its first process runs (its state is read from standard input)
    OciHook(oci::HookArgs),
    /// Stand in for runc (also by the name pipework-runtime): a container gets its interfaces before its first process runs
    Runtime(oci::RuntimeArgs),
    /// Serve Docker's network driver: docker network create -d pipework
    DockerPlugin(docker_plugin::DockerPluginArgs),
    /// Put in place: the daemon as a service, the hook for Podman, the runtime for Docker
    Install(install::InstallArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a directory
    Man {
        /// Where to write pipework.1, pipework-attach.1, ...
        directory: Option<std::path::PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct WaitArgs {
    /// The interface to wait for
    #[arg(short = 'i', value_name = "GUESTIF", default_value = "eth1")]
    interface: String,
    /// Give up after so many seconds, with exit status 1 [default: never]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

/// Runs the program on its arguments, the first of which is its own name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(ended) = oci::by_name(&args).or_else(|| cni::by_environment(&args)) {
        return ended;
    }
    match quick::Quick::read(&args) {
        Some(quick::Quick::Attach(words)) => return attach::run(&words),
        Some(quick::Quick::Detach(words)) => return detach::run(&words),
        None => {}
    }
    let args = words::with_subcommand(args, &Cli::command());
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match cli.command {
        Some(Command::Attach(words)) => attach::run(&words),
        Some(Command::Detach(words)) => detach::run(&words),
        Some(Command::Gc(words)) => gc::run(&words),
        Some(Command::Diff(words)) => attach::diff(&words),
        Some(Command::Apply(words)) => apply::run(&words),
        Some(Command::Export(words)) => export::run(&words),
        Some(Command::Graph(words)) => graph::run(&words),
        Some(Command::Status(words)) => status::run(&words),
        Some(Command::Events(words)) => events::run(&words),
        Some(Command::Repair(words)) => repair::run(&words),
        Some(Command::Daemon(words)) => daemon::run(&words),
        Some(Command::Cluster(words)) => cluster::run(&words),
        Some(Command::Wait(words)) => wait_for(&words),
        Some(Command::Link(words)) => link::run(&words),
        Some(Command::Batch(words)) => batch::run(&words),
        Some(Command::Route(words)) => inside::run(Tool::Route, &words),
        Some(Command::Rule(words)) => inside::run(Tool::Rule, &words),
        Some(Command::Tc(words)) => inside::run(Tool::Tc, &words),
        Some(Command::Host(words)) => host::run(&words),
        Some(Command::Doctor(words)) => doctor::run(&words),
        Some(Command::Pool(words)) => pool::run(&words),
        Some(Command::Release(words)) => pool::release(&words),
        Some(Command::HostAccess(words)) => access::run(&words),
        Some(Command::OciHook(words)) => oci::hook(&words),
        Some(Command::Runtime(words)) => oci::runtime(&words),
        Some(Command::DockerPlugin(words)) => docker_plugin::run(&words),
        Some(Command::Install(words)) => install::run(&words),
        Some(Command::Completions { shell }) => documents::completions(&mut Cli::command(), shell),
        Some(Command::Man { directory }) => documents::man(Cli::command(), directory.as_deref()),
        None => match cli.bare {
            Some(words) => attach::run(&words),
            None => {
                complain(&format!("Usage: {USAGE}\n\nFor more information, try '--help'."));
                ExitCode::FAILURE
            }
        },
    }
}

/// Words are missing that only their meaning tells of.
fn missing(subcommand: &str, what: &str) -> ExitCode {
    let mut command = Cli::command();
    let kind = clap::error::ErrorKind::MissingRequiredArgument;
    refuse(&match command.find_subcommand_mut(subcommand) {
        Some(command) => command.clone().bin_name(format!("pipework {subcommand}")).error(kind, what),
        None => command.error(kind, what),
    })
}

/// Help and version are no failures. The grammar of the original has exit status 1 for all that are.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let _ = error.print();
    ExitCode::FAILURE
}

fn wait_for(args: &WaitArgs) -> ExitCode {
    let fail = |text: String| {
        complain(&format!("pipework: wait: {text}"));
        ExitCode::FAILURE
    };
    let name = match args.interface.parse::<IfName>() {
        Ok(name) => name,
        Err(error) => return fail(error.to_string()),
    };
    let timeout = match args.timeout.map(Duration::try_from_secs_f64).transpose() {
        Ok(timeout) => timeout,
        Err(_) => return fail("--timeout: give seconds, like 30 or 0.5".into()),
    };
    match wait::for_carrier(&name, timeout) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail(format!("{name} is not up after {} s", args.timeout.unwrap_or_default())),
        Err(error) => fail(error.to_string()),
    }
}
