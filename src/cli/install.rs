//! `pipework install`: makes engines call us, and the daemon a service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::oci::How;
use super::output::{complain, say, say_text};
use crate::frontend::install::{
    BIN_DIR, Change, CniPlugin, DAEMON_JSON, DockerPluginUnits, DockerRuntime, EXEC_ROOT, HOOKS_DIR, HookFile, InstallError, ManagedPlugin,
    NET_DIR, PLUGIN_SOCKET_UNIT, Placed, SystemdUnit, UNIT, UNIT_DIR,
};
use crate::frontend::runtime;
use crate::model::cni::{self, NetworkName};

/// The words of an install, as typed.
#[derive(Clone, Debug, Args)]
pub struct InstallArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Podman's hook file: containers with annotations pipework.NAME get them before their first process runs
    OciHook {
        /// The directory of hook files
        #[arg(long, value_name = "DIR", default_value = HOOKS_DIR)]
        dir: PathBuf,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        common: Common,
    },
    /// Docker's runtime: containers that run with --runtime pipework get their labels' interfaces before their first process
    DockerRuntime {
        /// The daemon's configuration
        #[arg(long, value_name = "DAEMON_JSON", default_value = DAEMON_JSON)]
        path: PathBuf,
        /// Where the link to this program is made [default: beside it]
        #[arg(long, value_name = "PATH")]
        link: Option<PathBuf>,
        /// Containers that do not get what they ask for do not start
        #[arg(long)]
        fail_closed: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Docker's network driver: a socket and a service of systemd that run `pipework docker-plugin`
    DockerPlugin {
        /// The directory of units
        #[arg(long, value_name = "DIR", default_value = UNIT_DIR, conflicts_with = "managed")]
        dir: PathBuf,
        /// Write there a plug-in that the engine itself runs, for `docker plugin create`: swarms take no other
        #[arg(long, value_name = "DIR")]
        managed: Option<PathBuf>,
        /// Where the engine keeps its containers' namespaces (dockerd --exec-root)
        #[arg(long, value_name = "DIR", default_value = EXEC_ROOT, requires = "managed")]
        exec_root: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// A service of systemd: `pipework daemon`, with readiness, a watchdog and no more privileges than it needs
    Systemd {
        /// The directory of units
        #[arg(long, value_name = "DIR", default_value = UNIT_DIR)]
        dir: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// The plugin of CNI, for Kubernetes, containerd, Nomad and Podman, and an example of a network
    Cni {
        /// The directory of plugins
        #[arg(long, value_name = "DIR", default_value = BIN_DIR)]
        bin_dir: PathBuf,
        /// The directory of networks
        #[arg(long, value_name = "DIR", default_value = NET_DIR)]
        dir: PathBuf,
        /// Write a network of that name to begin with, in place of an example that no runtime reads
        #[arg(long, value_name = "NAME")]
        network: Option<String>,
        /// Print the JSON Schema of a plugin's configuration; change nothing
        #[arg(long)]
        schema: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct Common {
    /// Take it away again
    #[arg(long)]
    remove: bool,
    /// Say what would be written; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Parse, run, print.
pub(super) fn run(args: &InstallArgs) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail(&format!("this program's own path: {error}")),
    };
    let (done, common, then) = match &args.what {
        What::OciHook { dir, how, common } => (hook(dir, how, *common, program).map(|placed| vec![placed]), *common, None),
        What::DockerRuntime { path, link, fail_closed, common } => {
            let link = link.clone().unwrap_or_else(|| program.with_file_name(runtime::NAME));
            let args = fail_closed.then(|| "--fail-closed".to_owned()).into_iter().collect();
            let runtime = DockerRuntime { daemon_json: path.clone(), link, program, args };
            let done = if common.remove { runtime.remove(common.dry_run) } else { runtime.install(common.dry_run) };
            (done, *common, Some("the daemon reads it again with: systemctl reload docker (or SIGHUP)".to_owned()))
        }
        What::DockerPlugin { dir, managed, exec_root, common } => docker_plugin(dir, managed.as_deref(), exec_root, *common, program),
        What::Systemd { dir, common } => {
            let unit = SystemdUnit { dir: dir.clone(), program };
            let done = if common.remove { unit.remove(common.dry_run) } else { unit.install(common.dry_run) };
            let then = if common.remove { String::new() } else { format!(" && systemctl enable --now {UNIT}") };
            (done.map(|placed| vec![placed]), *common, Some(format!("it is taken over with: systemctl daemon-reload{then}")))
        }
        What::Cni { schema: true, .. } => {
            say(&format!("{:#}", cni::schema()));
            return ExitCode::SUCCESS;
        }
        What::Cni { bin_dir, dir, network, common, .. } => {
            let network = match network.as_deref().map(str::parse::<NetworkName>).transpose() {
                Ok(network) => network,
                Err(error) => return fail(&format!("--network: {error}")),
            };
            let plugin = CniPlugin { bin_dir: bin_dir.clone(), net_dir: dir.clone(), program, network };
            let done = if common.remove { plugin.remove(common.dry_run) } else { plugin.install(common.dry_run) };
            let then = done.as_ref().ok().and_then(|placed| plugin.then(placed));
            (done, *common, then)
        }
    };
    match done {
        Ok(placed) => {
            placed.iter().for_each(|placed| print(placed, common.dry_run));
            let changed = placed.iter().any(|placed| placed.change != Change::None);
            then.filter(|_| changed && !common.dry_run).iter().for_each(|text| say(text));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

type Done = (Result<Vec<Placed>, InstallError>, Common, Option<String>);

fn docker_plugin(dir: &Path, managed: Option<&Path>, exec_root: &Path, common: Common, program: PathBuf) -> Done {
    let Common { remove, dry_run } = common;
    let Some(managed) = managed else {
        let units = DockerPluginUnits { dir: dir.to_owned(), program };
        let done = if remove { units.remove(dry_run) } else { units.install(dry_run) };
        let then = if remove { String::new() } else { format!(" && systemctl enable --now {PLUGIN_SOCKET_UNIT}") };
        return (done, common, Some(format!("it is taken over with: systemctl daemon-reload{then}")));
    };
    let plugin = ManagedPlugin { dir: managed.to_owned(), program, exec_root: exec_root.to_owned() };
    let done = if remove { plugin.remove(dry_run) } else { plugin.install(dry_run) };
    let then = match remove {
        true => "the engine forgets it with: docker plugin rm -f pipework".to_owned(),
        false => format!(
            "the engine takes it over with: mkdir -p /var/lib/pipework && docker plugin create pipework {} && docker plugin enable pipework",
            managed.display()
        ),
    };
    (done, common, Some(then))
}

fn hook(dir: &Path, how: &How, common: Common, program: PathBuf) -> Result<Placed, InstallError> {
    let How { config, policy, labels, fail_closed, timeout } = how.clone();
    let file = HookFile { dir: dir.to_owned(), program, config, policy, labels, fail_closed, timeout };
    if common.remove { file.remove(common.dry_run) } else { file.install(common.dry_run) }
}

fn print(placed: &Placed, dry_run: bool) {
    let (path, would) = (placed.path.display(), if dry_run { "would be " } else { "" });
    match &placed.change {
        Change::None => say(&format!("{path}: nothing to do")),
        Change::Linked(target) => say(&format!("{path}: {would}made, a link to {}", target.display())),
        Change::Program { of, backup } => {
            let kept = backup.as_ref().map(|backup| format!("; what it was is kept as {}", backup.display())).unwrap_or_default();
            say(&format!("{path}: {would}made, the same as {}{}", of.display(), if dry_run { "" } else { &kept }));
        }
        Change::Removed => say(&format!("{path}: {would}removed")),
        Change::Written { text, backup } => {
            let kept = backup.as_ref().map(|backup| format!("; what it was is kept as {}", backup.display())).unwrap_or_default();
            say(&format!("{path}: {would}written{}", if dry_run { "" } else { &kept }));
            if dry_run {
                say_text(text);
            }
        }
    }
}

fn fail(why: &str) -> ExitCode {
    complain(&format!("pipework: install: {why}"));
    ExitCode::FAILURE
}
