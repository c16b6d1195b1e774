//! `pipework daemon`: looks after all that is wanted, for as long as it runs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::intent::words_without_guest;
use super::output::complain;
use crate::external::hooks::HookSettings;
use crate::frontend::daemon::board::{Board, Log};
use crate::frontend::daemon::serve::{SOCKET, ServeOptions};
use crate::frontend::daemon::{self, DaemonOptions};
use crate::frontend::node;
use crate::lifecycle::Options;
use crate::model::intent::{DaemonEnvironment, Host, IntentError};
use crate::state;

const EXAMPLES: &str = "What is wanted, in this order; the first that names an interface counts:
  /etc/pipework/*.toml             attachments as `pipework apply --help` shows
  attach --persist                 wanted records
  docker run --label 'pipework.lan=br0 192.168.1.10/24@192.168.1.1'    labels: the words of attach without GUEST
  docker run -e pipework_cmd=...   the dreamcat4 image's variables

What containers ask for themselves is under /etc/pipework/policy.toml. SIGHUP reads the files again;
SIGTERM ends the daemon and leaves all attachments standing.";

/// The words of a daemon, as typed.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DaemonArgs {
    /// Go through all that is wanted once, and end (exit status 1 when something failed or was refused)
    #[arg(long)]
    pub(super) once: bool,
    /// Where the files are
    #[arg(long, value_name = "DIR", default_value = "/etc/pipework")]
    config: PathBuf,
    /// How often what nobody tells of is looked at
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86400))]
    interval: u32,
    /// How the log on standard error is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// Where `pipework events` and other programs ask [default: daemon.sock in $PIPEWORK_RUN_DIR, else in /run/pipework]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Answer by TCP, too (HTTP without encryption); needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// A file with the token that whoever asks by TCP has to know; others must not be able to read it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT [default: $OVS_DB, else ovs-vsctl's]
    #[arg(long, value_name = "ADDRESS")]
    ovsdb: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
    /// Nothing
    None,
}

/// Parse, run, say why not.
pub(super) fn run(args: &DaemonArgs) -> ExitCode {
    match prepared(args) {
        Ok(options) => carry_out("daemon", args.once, options),
        Err(wrong) => {
            wrong.iter().for_each(|wrong| complain(&format!("pipework: daemon: {wrong}")));
            ExitCode::FAILURE
        }
    }
}

/// Runs it to its end, and says why not.
pub(super) fn carry_out(what: &str, once: bool, options: DaemonOptions) -> ExitCode {
    match daemon::run(options) {
        Ok(false) if once => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let all = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            complain(&format!("pipework: {what}: {}", all.map(ToString::to_string).collect::<Vec<_>>().join(": ")));
            error.hint().iter().for_each(|hint| complain(&format!("pipework: hint: {hint}")));
            ExitCode::FAILURE
        }
    }
}

/// All that a daemon needs to run, with nothing beside it.
pub(super) fn prepared(args: &DaemonArgs) -> Result<DaemonOptions, Vec<IntentError>> {
    let log = match args.log {
        LogFormat::Text => Log::Text,
        LogFormat::Json => Log::Json,
        LogFormat::None => Log::Silent,
    };
    let options = Options {
        ovsdb: args.ovsdb.clone().filter(|address| !address.is_empty()),
        run_dir: state::run_dir(),
        state_dir: state::state_dir(),
        pid_dir: state::pid_dir(),
        hooks: HookSettings::from_environment(),
        resident: true,
        claims: Some(super::pool::claims()),
        ..Options::default()
    };
    let serve = ServeOptions {
        socket: args.socket.clone().unwrap_or_else(|| options.run_dir.join(SOCKET)),
        listen: args.listen,
        token_file: args.token_file.clone(),
        run_dir: options.run_dir.clone(),
        page: None,
    };
    Ok(DaemonOptions {
        config: args.config.clone(),
        once: args.once,
        interval: Duration::from_secs(args.interval.into()),
        board: Board::new(log),
        grammar: words_without_guest,
        options,
        serve,
        host: Host { node: node(), environment: environment()? },
        beside: None,
    })
}

/// The image's variables, as far as they are text.
fn environment() -> Result<DaemonEnvironment, Vec<IntentError>> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    DaemonEnvironment::read(&std::env::vars_os().filter_map(text).collect())
}
