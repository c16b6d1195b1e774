//! What makes requests without anybody typing: the daemon, the OCI hook, the runtime's stand-in, the plugin of CNI. They ask the lifecycle, as the
//! command line does, and nothing else.

pub mod cni;
pub mod daemon;
pub mod install;
pub mod network_driver;
pub mod oci;
pub mod runtime;

use crate::lifecycle::Options;
use crate::model::request::{AttachRequest, GuestRef};

/// Reads the words of `attach` without the guest, by the command line's own grammar. The text of the error is for a log.
pub type Grammar = fn(guest: GuestRef, words: &[String]) -> Result<(AttachRequest, Options), String>;

/// This host's name, for its containers' words; empty when it is no text.
pub fn node() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
