//! A program that stays: as a unit of systemd where that runs, else as a child of a process of ours that starts it again when
//! it ends. It knows by a word in its environment which version of its configuration it was started with.

mod supervise;
mod unit;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The word in its environment.
const VERSION: &str = "PIPEWORK_CONFIGURATION";
/// So long a program may take to end.
const ENDING: Duration = Duration::from_secs(20);
/// So many bytes at the end of a log are looked at.
const LAST_WORDS: u64 = 1024;

/// Why a program does not stay.
#[derive(Debug, Error)]
pub enum ResidentError {
    /// A file of its cannot be written or read.
    #[error("{path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// systemd refuses.
    #[error("systemctl {words}: {why}")]
    Systemctl {
        /// What it was asked.
        words: String,
        /// What it said.
        why: String,
    },
    /// No process could be made.
    #[error("no process could be made for {0}")]
    NoProcess(String),
    /// It did not end.
    #[error("{0} does not end")]
    Stays(String),
}

/// The program.
#[derive(Clone, Debug)]
pub struct Resident {
    /// A short name: of its files, and of its unit.
    pub name: String,
    /// What it is, in a few words.
    pub description: String,
    /// Its path.
    pub program: PathBuf,
    /// Its words. They are no secrets: everybody can read them.
    pub args: Vec<String>,
    /// Which version of its configuration it is to have been started with.
    pub version: String,
    /// Where its pid file and its log are, when there is no systemd.
    pub dir: PathBuf,
    /// What its unit says besides.
    pub unit: UnitWords,
}

/// What a unit says besides what is to be run, and that it is after the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitWords {
    /// Units that are started before it where they are started at all.
    pub after: String,
    /// Lines of its section `[Service]`.
    pub service: String,
}

impl Default for UnitWords {
    /// A program that is started again when it fails.
    fn default() -> Self {
        Self { after: String::new(), service: "Restart=on-failure\nRestartSec=2\nLimitNOFILE=65536\n".into() }
    }
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs, as it is to.
    Runs,
    /// It runs with another configuration.
    Old,
    /// It does not run.
    No,
}

impl Resident {
    /// Whether systemd runs here (sd_booted(3)).
    pub fn by_systemd() -> bool {
        Path::new("/run/systemd/system").is_dir()
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let pid = if Self::by_systemd() { unit::main_pid(self) } else { supervise::program_pid(self) };
        let Some(pid) = pid else { return Standing::No };
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let wanted = format!("{VERSION}={}", self.version);
        if environ.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes()) { Standing::Runs } else { Standing::Old }
    }

    /// Whether somebody sees to it that it runs, and starts it again when it does not.
    pub fn is_tended(&self) -> bool {
        if Self::by_systemd() { unit::is_tended(self) } else { supervise::is_there(self) }
    }

    /// Whether nothing of it is left but the log: nobody who would start it again, now or at the next boot. One that does not run
    /// may only be between two starts.
    pub fn is_gone(&self) -> bool {
        if Self::by_systemd() { unit::is_gone(self) } else { supervise::is_gone(self) }
    }

    /// Starts it, in place of one with another configuration.
    ///
    /// # Errors
    /// See [`ResidentError`].
    pub fn start(&self) -> Result<(), ResidentError> {
        if Self::by_systemd() {
            return unit::start(self);
        }
        self.stop()?;
        supervise::start(self)
    }

    /// Ends it, and waits for that; one that does not run is well. Its files but the log are gone then.
    ///
    /// # Errors
    /// See [`ResidentError`].
    pub fn stop(&self) -> Result<(), ResidentError> {
        if Self::by_systemd() {
            return unit::stop(self);
        }
        let deadline = Instant::now() + ENDING;
        while supervise::ask_to_end(self) {
            if Instant::now() > deadline {
                return Err(ResidentError::Stays(self.name.clone()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        supervise::tidy(self);
        Ok(())
    }

    /// Where what it says is found.
    pub fn log(&self) -> String {
        if Self::by_systemd() { format!("journalctl -u {}", unit::name(self)) } else { self.file("log").display().to_string() }
    }

    /// The last line of its log, where that is a file.
    pub fn last_words(&self) -> Option<String> {
        use std::io::{Read, Seek, SeekFrom};
        let mut log = std::fs::File::open(self.file("log")).ok()?;
        let length = log.metadata().ok()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS))).ok()?;
        let mut text = Vec::new();
        log.take(LAST_WORDS).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(|line| line.replace(char::is_control, " "))
    }

    /// Its log goes, too, where that is a file; and the directory with the last one.
    pub fn forget_log(&self) {
        let _ = std::fs::remove_file(self.file("log"));
        let _ = std::fs::remove_dir(&self.dir);
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", self.name))
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> ResidentError {
    move |source| ResidentError::File { path: path.display().to_string(), source }
}
