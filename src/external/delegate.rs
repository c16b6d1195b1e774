//! Other CNI plugins, to which a part of the work is delegated: found by their name, run with our own environment and the whole
//! configuration, and ended when they take too long.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use thiserror::Error;

/// Longer answers are none.
const LONGEST: usize = 1 << 20;
/// How long a plugin that has said all may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Why a plugin did not answer.
#[derive(Debug, Error)]
pub enum DelegateError {
    /// There is none of that name.
    #[error("plugin {name} is not in {}: CNI_PATH says where plugins are", if .looked.is_empty() { "any directory".to_owned() } else { .looked.join(", ") })]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// It cannot be run.
    #[error("plugin {path}")]
    Run {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was ended.
    #[error("plugin {path} did not end within {seconds} s")]
    Late {
        /// Which.
        path: String,
        /// How long it had.
        seconds: u64,
    },
    /// It says too much.
    #[error("plugin {path} says more than {LONGEST} bytes")]
    Endless {
        /// Which.
        path: String,
    },
}

/// What a plugin said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it ended well.
    pub well: bool,
    /// Its standard output.
    pub out: Vec<u8>,
}

/// A plugin, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    path: PathBuf,
}

impl Delegate {
    /// Looks for a plugin in directories. What is not absolute is passed over: what lies in the current directory is not run.
    ///
    /// # Errors
    /// [`DelegateError::NotFound`]
    pub fn find(name: &str, directories: &[PathBuf]) -> Result<Self, DelegateError> {
        let runnable = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        let found = directories.iter().filter(|directory| directory.is_absolute()).map(|directory| directory.join(name)).find(runnable);
        let looked = || directories.iter().map(|directory| directory.display().to_string()).collect();
        found.map(|path| Self { path }).ok_or_else(|| DelegateError::NotFound { name: name.to_owned(), looked: looked() })
    }

    /// Runs it for a command, with the configuration on its standard input. Its standard error is ours.
    ///
    /// # Errors
    /// When it cannot be run, or does not end.
    pub fn run(&self, command: &str, configuration: &[u8], limit: Duration) -> Result<Answer, DelegateError> {
        let fail = |source| DelegateError::Run { path: self.shown(), source };
        let input = document(configuration).map_err(fail)?;
        let mut program = Command::new(&self.path);
        program.env("CNI_COMMAND", command).stdin(input).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = program.spawn().map_err(fail)?;
        let deadline = Instant::now() + limit;
        let said = self.listen(&mut child, deadline, limit);
        let ended = said.and_then(|out| Ok((out, self.wait(&mut child, deadline.max(Instant::now() + GRACE), limit)?)));
        match ended {
            Ok((out, well)) => Ok(Answer { well, out }),
            Err(error) => {
                let _ = (child.kill(), child.wait());
                Err(error)
            }
        }
    }

    fn listen(&self, child: &mut Child, deadline: Instant, limit: Duration) -> Result<Vec<u8>, DelegateError> {
        let mut said = Vec::new();
        let Some(mut pipe) = child.stdout.take() else { return Ok(said) };
        let mut bytes = [0; 8192];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(DelegateError::Late { path: self.shown(), seconds: limit.as_secs() });
            }
            let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)) != Ok(1) {
                continue;
            }
            match pipe.read(&mut bytes) {
                Ok(0) => return Ok(said),
                Ok(count) => said.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(DelegateError::Run { path: self.shown(), source }),
            }
            if said.len() > LONGEST {
                return Err(DelegateError::Endless { path: self.shown() });
            }
        }
    }

    /// It may have closed its output long before its end.
    fn wait(&self, child: &mut Child, deadline: Instant, limit: Duration) -> Result<bool, DelegateError> {
        loop {
            match child.try_wait().map_err(|source| DelegateError::Run { path: self.shown(), source })? {
                Some(status) => return Ok(status.success()),
                None if Instant::now() >= deadline => return Err(DelegateError::Late { path: self.shown(), seconds: limit.as_secs() }),
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    fn shown(&self) -> String {
        Path::new(&self.path).display().to_string()
    }
}

/// As a file without a name: a plugin that does not read it keeps nobody waiting.
fn document(text: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("pipework-cni", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plugin(text: &str) -> (tempfile::TempDir, Delegate) {
        let dir = tempfile::tempdir().unwrap();
        let text_file = dir.path().join("text");
        std::fs::write(&text_file, format!("#!/bin/sh\n{text}\n")).unwrap();
        // By a process of its own: what another test's child holds open for writing cannot be run (execve(2), ETXTBSY).
        let made = Command::new("install").args(["-m", "755"]).args([text_file, dir.path().join("some")]).status().unwrap();
        assert!(made.success());
        let found = Delegate::find("some", &["relative".into(), "/nowhere".into(), dir.path().to_owned()]).unwrap();
        (dir, found)
    }

    fn run(text: &str, limit: Duration) -> Result<Answer, DelegateError> {
        let (_dir, plugin) = plugin(text);
        plugin.run("ADD", b"some configuration", limit)
    }

    #[test]
    fn a_plugin_is_run_with_the_command_and_the_configuration() {
        let answer = run("echo $CNI_COMMAND; cat; exit 3", Duration::from_secs(60)).unwrap();
        assert_eq!((answer.well, String::from_utf8(answer.out).unwrap().as_str()), (false, "ADD\nsome configuration"));
        assert!(run("exec true", Duration::from_secs(60)).unwrap().well);
    }

    #[test]
    fn one_that_does_not_end_or_says_too_much_is_ended_and_one_that_is_not_there_is_told() {
        assert!(matches!(run("exec sleep 1000", Duration::from_millis(200)), Err(DelegateError::Late { .. })));
        assert!(matches!(run("exec cat /dev/zero", Duration::from_secs(60)), Err(DelegateError::Endless { .. })));
        let error = Delegate::find("none", &["/nowhere".into()]).unwrap_err();
        assert!(error.to_string().contains("none is not in /nowhere"), "{error}");
    }
}
