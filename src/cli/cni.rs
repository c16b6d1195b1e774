//! The program as a CNI plugin: `CNI_COMMAND` is in the environment, and there are no words.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, poll};

use super::output::{complain, say};
use crate::frontend::cni;

/// How long a runtime may need to say which version it speaks, in milliseconds.
const SOON: u8 = 200;

/// A call of the plugin; `None` when it is none.
pub(super) fn by_environment(args: &[OsString]) -> Option<ExitCode> {
    let is_called = args.len() <= 1 && std::env::var_os("CNI_COMMAND").is_some_and(|command| !command.is_empty());
    is_called.then(run)
}

fn run() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let stdin = std::io::stdin();
    // Whoever types it gives no configuration; and a runtime that asks for the versions only need not give one.
    let is_silent = stdin.is_terminal() || (variable("CNI_COMMAND").as_deref() == Some("VERSION") && !has_something(&stdin));
    let input: Box<dyn Read> = if is_silent { Box::new(std::io::empty()) } else { Box::new(stdin.lock()) };
    let ended = cni::run(variable, input, super::pool::claims());
    ended.warnings.iter().for_each(|warning| complain(&format!("pipework: cni: warning: {warning}")));
    if !ended.document.is_empty() {
        say(&ended.document);
    }
    // From a process with one thread only; the runtime does not wait for it.
    if let Some(announcement) = ended.announcement {
        announcement.in_background();
    }
    if ended.well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether there is something to be read soon, if it is only the end.
fn has_something(stdin: &std::io::Stdin) -> bool {
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, SOON).is_ok_and(|ready| ready > 0)
}
