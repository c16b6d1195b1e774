//! `route`, `rule` and `tc` in a guest: their words are iproute2's.

use std::process::ExitCode;

use clap::Args;

use super::output::{complain, say_text};
use crate::iproute::Tool;
use crate::lifecycle;
use crate::model::request::GuestRef;

/// The words of a command in a guest, as typed.
#[derive(Clone, Debug, Args)]
pub struct InsideArgs {
    /// Say on standard error what is done, and when the installed ip or tc does it
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Container's name or ID, docker:NAME, podman:NAME, lxc:NAME, pid:N, netns:NAME, netns:/path
    #[arg(value_name = "GUEST")]
    guest: String,
    /// The words that would follow `ip route`, `ip rule` or `tc`
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Parse, run, print.
pub(super) fn run(tool: Tool, args: &InsideArgs) -> ExitCode {
    let fail = |text: &str| {
        complain(&format!("pipework: {tool}: {text}"));
        ExitCode::FAILURE
    };
    let guest = match args.guest.parse::<GuestRef>() {
        Ok(guest) => guest,
        Err(error) => return fail(&error.to_string()),
    };
    let mut watch = |text: &str| {
        if args.verbose {
            complain(&format!("pipework: {text}"));
        }
    };
    match lifecycle::inside(tool, &guest, &args.words, &mut watch) {
        Ok(ended) => {
            say_text(&ended.output);
            ExitCode::from(ended.status)
        }
        Err(error) => {
            complain(&format!("pipework: {tool} in {guest}: {}", error.chain().join(": ")));
            if let Some(hint) = error.hint() {
                complain(&format!("pipework: hint: {hint}"));
            }
            ExitCode::from(error.status())
        }
    }
}
