//! What makes requests without anybody typing: the daemon, the OCI hook, the runtime's stand-in. They ask the lifecycle, as the
//! command line does, and nothing else.

pub mod daemon;
pub mod install;
pub mod oci;
pub mod runtime;

use crate::lifecycle::Options;
use crate::model::request::{AttachRequest, GuestRef};

/// Reads the words of `attach` without the guest, by the command line's own grammar. The text of the error is for a log.
pub type Grammar = fn(guest: GuestRef, words: &[String]) -> Result<(AttachRequest, Options), String>;
