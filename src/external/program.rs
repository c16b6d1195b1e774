//! Programs that are installed here, run in a guest's network namespace without a shell.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::kernel::netns::Namespace;
use crate::model::error::KernelError;

/// Where programs are, when PATH does not say.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Shells' status of a program that a signal has ended: this and the signal.
const SIGNALLED: i32 = 128;

/// So many bytes of a program's words are read.
const MOST: u64 = 8 * 1024 * 1024;

/// Why a program did not run.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("{program} cannot be started")]
    Start {
        /// Its path.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Finds a program in PATH. Parts of PATH that are not absolute are passed over: what lies in the current directory is not
/// run as root.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL.into());
    let runnable = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(runnable)
}

/// What a program came to that was run for its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Whether it ended well.
    pub well: bool,
    /// Its standard output, as far as it was read.
    pub out: String,
    /// Its standard error, likewise.
    pub err: String,
}

/// Runs a program in the calling thread's network namespace, with no input and an environment of its own, and reads what it says. It is ended
/// when its time is over.
///
/// # Errors
/// When it cannot be started.
pub fn read(program: &Path, words: &[String], limit: Duration) -> Result<Printed, ProgramError> {
    let start = |source| ProgramError::Start { program: program.display().to_string(), source };
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", USUAL).env("LANG", "C").current_dir("/");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.map(|pipe| pipe.take(MOST).read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = reader(child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let err = reader(child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let deadline = Instant::now() + limit;
    let well = loop {
        match child.try_wait().map_err(start)? {
            Some(status) => break status.success(),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            None => {
                let _ = (child.kill(), child.wait());
                break false;
            }
        }
    };
    Ok(Printed { well, out: out.join().unwrap_or_default(), err: err.join().unwrap_or_default() })
}

/// Runs a program inside a network namespace, with our own input and output, and waits for its end. Returns its exit status.
///
/// # Errors
/// When it cannot be started there.
pub fn run_inside(namespace: &Namespace, program: &Path, words: &[String]) -> Result<u8, ProgramError> {
    // A child begins in the network namespace of the thread that starts it.
    let ended = namespace.inside(|| Ok(Command::new(program).args(words).status()))?;
    let status = ended.map_err(|source| ProgramError::Start { program: program.display().to_string(), source })?;
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
