//! `pipework events`: what the daemon did, and what it does.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::complain;
use crate::frontend::daemon::ask::{self, Wish};
use crate::frontend::daemon::board::{Event, Since};
use crate::frontend::daemon::serve::SOCKET;
use crate::state;

/// The words of it, as typed.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Stay, and tell of each that is to come; ends with the daemon
    #[arg(short = 'f', long)]
    follow: bool,
    /// Only those after an event's number, or since a time (RFC 3339)
    #[arg(long, value_name = "NUMBER|TIME")]
    since: Option<String>,
    /// A JSON object for each, one a line
    #[arg(long)]
    json: bool,
    /// The daemon's socket [default: daemon.sock in $PIPEWORK_RUN_DIR, else in /run/pipework]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Ask, print.
pub(super) fn run(args: &EventsArgs) -> ExitCode {
    if let Some(Err(error)) = args.since.as_deref().map(str::parse::<Since>) {
        complain(&format!("pipework: events: --{error}"));
        return ExitCode::FAILURE;
    }
    let socket = args.socket.clone().unwrap_or_else(|| state::run_dir().join(SOCKET));
    let wish = Wish { follow: args.follow, since: args.since.as_deref() };
    // Who does not read any more wants no more.
    let mut tell = |event: &Event| {
        let text = if args.json { event.json() } else { event.to_string() };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    };
    match ask::events(&socket, wish, &mut tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            complain(&format!("pipework: events: {error}{source}"));
            ExitCode::FAILURE
        }
    }
}
