//! `pipework docker-plugin`: serves Docker's network driver.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::{complain, say};
use crate::external::hooks::HookSettings;
use crate::frontend::daemon::board::{Board, Log};
use crate::frontend::network_driver::{self, DriverOptions, SOCKET};
use crate::frontend::node;
use crate::lifecycle::{Options, chain};
use crate::state;

const EXAMPLES: &str = "Examples:
  pipework install docker-plugin                  a socket and a service of systemd that run it
  docker network create -d pipework -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 lan
  docker run --network lan --ip 192.168.1.10 web
  docker network create -d pipework -o bridge=br0 --subnet 192.168.1.0/24 \\
      --ipam-driver pipework --ipam-opt dhcp=true --ipam-opt bridge=br0 leased
  docker network create -d pipework -o parent=eth0 --ipam-driver pipework --ipam-opt pool=lan \\
      --subnet 192.168.1.0/24 claimed

Options (-o): parent, bridge, vlan, mode, mtu, gateway, routes, pool, host_access.";

/// The words of the plug-in, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DockerPluginArgs {
    /// Where Docker asks; a socket of systemd's (LISTEN_FDS) is used instead where there is one
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// Networks are under this policy, too (docs/labels.md): its rules that name no image, container or label
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Remove what Docker has no more (endpoints, networks, addresses), and end
    #[arg(long)]
    gc: bool,
    /// The log on standard error is a JSON object a line
    #[arg(long)]
    json: bool,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT [default: $OVS_DB, else ovs-vsctl's]
    #[arg(long, value_name = "ADDRESS")]
    ovsdb: Option<String>,
}

/// Parse, run, say why not.
pub(super) fn run(args: &DockerPluginArgs) -> ExitCode {
    let options = Options {
        ovsdb: args.ovsdb.clone().filter(|address| !address.is_empty()),
        run_dir: state::run_dir(),
        state_dir: state::state_dir(),
        hooks: HookSettings::default(),
        resident: true,
        claims: Some(super::pool::claims()),
        ..Options::default()
    };
    let log = match (args.gc, args.json) {
        (true, _) => Log::Silent,
        (false, true) => Log::Json,
        (false, false) => Log::Text,
    };
    let options = DriverOptions { socket: args.socket.clone(), options, board: Board::new(log), node: node(), policy: args.policy.clone() };
    if args.gc {
        return match network_driver::clear(options) {
            Ok(gone) => {
                gone.iter().for_each(|word| say(&format!("removed: {word}")));
                ExitCode::SUCCESS
            }
            Err(why) => fail(&why, None),
        };
    }
    match network_driver::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&chain(&error).join(": "), error.hint()),
    }
}

fn fail(why: &str, hint: Option<String>) -> ExitCode {
    complain(&format!("pipework: docker-plugin: {why}"));
    hint.iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
    ExitCode::FAILURE
}
