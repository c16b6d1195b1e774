//! Manual pages and completions, made of the same definition as the parser.

use std::path::Path;
use std::process::ExitCode;

use super::output::complain;

pub(super) fn completions(command: &mut clap::Command, shell: clap_complete::Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, command, "pipework", &mut text);
    print(&text)
}

pub(super) fn man(command: clap::Command, directory: Option<&Path>) -> ExitCode {
    let done = match directory {
        Some(directory) => clap_mangen::generate_to(command, directory),
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text).map(|()| {
                print(&text);
            })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("pipework: man: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &[u8]) -> ExitCode {
    use std::io::Write;
    let _ = std::io::stdout().lock().write_all(text);
    ExitCode::SUCCESS
}
