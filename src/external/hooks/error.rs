//! Why a hook was not run, or not well.

use std::path::PathBuf;

use thiserror::Error;

use crate::model::error::KernelError;

/// Why a hook was not run, or not well.
#[derive(Debug, Error)]
pub enum HookError {
    /// The folder cannot be read.
    #[error("hooks: {}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `PIPEWORK_HOOK_TIMEOUT` is no time.
    #[error("PIPEWORK_HOOK_TIMEOUT={text}: give seconds, from 1 to 3600")]
    Limit {
        /// What was given.
        text: String,
    },
    /// It is not what may be run with all privileges.
    #[error("hook {} is refused: {why}", .path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to type.
        remedy: String,
    },
    /// There could be no process for it.
    #[error("hook {} could not be started: {why}", .path.display())]
    NotStarted {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Signals cannot be held back.
    #[error("hooks")]
    Signals(#[source] KernelError),
    /// It ended, and not with exit status 0.
    #[error("hook {} ended {how}{}", .path.display(), quoted(.words))]
    Failed {
        /// Which.
        path: PathBuf,
        /// How.
        how: String,
        /// The end of its output.
        words: String,
    },
    /// It was still at it when its time was over.
    #[error("hook {} was not done after {seconds} s{}", .path.display(), quoted(.words))]
    TimedOut {
        /// Which.
        path: PathBuf,
        /// How long it had.
        seconds: u64,
        /// The end of its output.
        words: String,
    },
    /// A signal asked to stop while it ran.
    #[error("hook {} was interrupted by {signal}", .path.display())]
    Interrupted {
        /// Which.
        path: PathBuf,
        /// The signal.
        signal: &'static str,
    },
}

fn quoted(words: &str) -> String {
    if words.is_empty() { ", without a word".to_owned() } else { format!("; it said: {words}") }
}

impl HookError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { remedy, .. } => Some(remedy.clone()),
            Self::TimedOut { .. } => Some("PIPEWORK_HOOK_TIMEOUT=SECONDS gives each more time".into()),
            Self::Failed { path, .. } => {
                Some(format!("what it does not like is its own affair; without it: mv {0} {0}.off", path.display()))
            }
            Self::Folder { .. } | Self::Limit { .. } | Self::Signals(_) | Self::NotStarted { .. } | Self::Interrupted { .. } => None,
        }
    }
}
