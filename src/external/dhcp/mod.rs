//! DHCP, the client's side: messages as pure functions, exchanges over a port of the guest's network.
//!
//! It is our own because the crates at hand fall short of what a container needs (looked at in November 2026): mozim 0.3
//! takes no DHCPNAK for an answer and sends no vendor class or further options; dhcproto 0.15 panics on options that are
//! too short and loses all that stand behind a malformed one.

mod error;
pub mod frame;
pub mod identity;
pub mod message;
pub mod message6;
pub mod names;
mod patience;
pub mod v4;
pub mod v6;

pub use error::{DhcpError, Heard};
pub use patience::{Patience, Wake};
