//! `route`, `rule` and `tc` in a guest: by netlink where we know the words, else by the program that is installed.

use thiserror::Error;

use super::error::chain;
use crate::guest::{self, GuestError};
use crate::iproute::{Tool, WordsError};
use crate::kernel::netns::Namespace;
use crate::kernel::tc::{self, TcError};
use crate::model::error::KernelError;
use crate::model::request::GuestRef;

/// What a command in a guest came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// What it prints.
    pub output: String,
    /// Exit status: 0, or that of the program that did it.
    pub status: u8,
}

/// Why a command in a guest was not carried out.
#[derive(Debug, Error)]
pub enum InsideError {
    /// No guest to work on.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The words make no command.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl InsideError {
    /// What to type, or what is missing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Guest(error) => error.hint(),
            Self::Words(_) | Self::Kernel(_) => None,
        }
    }

    /// The chain of reasons, outermost first.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }
}

/// Carries out iproute2's words in a guest. `watch` is told what is done.
///
/// # Errors
/// See [`InsideError`].
pub fn inside(tool: Tool, guest: &GuestRef, words: &[String], watch: &mut dyn FnMut(&str)) -> Result<Ended, InsideError> {
    let held = guest::hold(guest)?;
    watch(&format!("{tool} in {}", held.namespace.path().display()));
    native(tool, words, &held.namespace)
}

fn native(tool: Tool, words: &[String], namespace: &Namespace) -> Result<Ended, InsideError> {
    if tool == Tool::Tc {
        let output = tc::run(words, namespace)?;
        return Ok(Ended { output, status: 0 });
    }
    let word = words.first().cloned().unwrap_or_default();
    Err(WordsError::Unknown { word, place: Some(tool.program().0) }.into())
}

impl From<TcError> for InsideError {
    fn from(error: TcError) -> Self {
        match error {
            TcError::Words(error) => Self::Words(error),
            TcError::Kernel(error) => Self::Kernel(error),
        }
    }
}
