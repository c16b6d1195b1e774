//! `route`, `rule` and `tc` in a guest: by netlink where we know the words, else by the program that is installed.

use thiserror::Error;

use super::error::chain;
use super::routing;
use crate::external::program::{self, ProgramError};
use crate::guest::{self, GuestError, Held};
use crate::iproute::{Tool, WordsError, options};
use crate::kernel::tc::{self, TcError};
use crate::model::error::KernelError;
use crate::model::request::GuestRef;

/// iproute2's exit status when the kernel has refused.
const REFUSED: u8 = 2;

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
    /// A word that only the installed program may know, and none is installed.
    #[error("{unknown}, and {program} is not installed")]
    NotInstalled {
        /// Which would be needed.
        program: &'static str,
        /// The word.
        unknown: WordsError,
    },
    /// The installed program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl InsideError {
    /// What to type, or what is missing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Guest(error) => error.hint(),
            Self::NotInstalled { program, .. } => {
                Some(format!("is the word misspelt? If not, install iproute2: {program} then does what is not known here"))
            }
            Self::Words(_) | Self::Kernel(_) | Self::Program(_) => None,
        }
    }

    /// The chain of reasons, outermost first.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }

    /// The exit status: as iproute2's own, 2 when the kernel has refused.
    pub fn status(&self) -> u8 {
        if matches!(self, Self::Kernel(KernelError::Refused { .. })) { REFUSED } else { 1 }
    }
}

/// Carries out iproute2's words in a guest. `watch` is told what is done.
///
/// # Errors
/// See [`InsideError`].
pub fn inside(tool: Tool, guest: &GuestRef, words: &[String], watch: &mut dyn FnMut(&str)) -> Result<Ended, InsideError> {
    let held = guest::hold(guest)?;
    watch(&format!("{tool} in {}", held.namespace.path().display()));
    match native(tool, words, &held) {
        Err(InsideError::Words(unknown @ WordsError::Unknown { .. })) => {
            let (program, _) = tool.program();
            let Some(path) = program::find(program) else { return Err(InsideError::NotInstalled { program, unknown }) };
            watch(&format!("{unknown}: {} does it", path.display()));
            // What it prints goes where ours would.
            let status = program::run_inside(&held.namespace, &path, &program_words(tool, words))?;
            Ok(Ended { output: String::new(), status })
        }
        ended => ended,
    }
}

fn native(tool: Tool, words: &[String], held: &Held) -> Result<Ended, InsideError> {
    match tool {
        Tool::Route => routing::route(words, held),
        Tool::Rule => routing::rule(words, held),
        Tool::Tc => Ok(Ended { output: tc::run(words, &held.namespace)?, status: 0 }),
    }
}

/// The words for the program that is installed: options of `ip` stand before its object.
fn program_words(tool: Tool, words: &[String]) -> Vec<String> {
    let (_, object) = tool.program();
    let (options, rest) = if object.is_empty() { (&[][..], words) } else { options::split(words) };
    let object = object.iter().map(|word| (*word).to_owned());
    options.iter().cloned().chain(object).chain(rest.iter().cloned()).collect()
}

impl From<TcError> for InsideError {
    fn from(error: TcError) -> Self {
        match error {
            TcError::Words(error) => Self::Words(error),
            TcError::Kernel(error) => Self::Kernel(error),
        }
    }
}
