//! `pipework`: parse, run, print, exit. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipework::cli::run(std::env::args_os())
}
