//! The use cases that every front end calls.

mod access;
mod attach;
mod client;
mod container;
mod dynamic;
mod error;
mod identity;
mod inside;
mod ipv6;
mod lease;
mod machine;
mod ovs;
mod port;
mod routing;
mod settings;
mod stay;

pub use access::{AccessError, list_access, prune_access, remove_access};
pub use attach::{Attached, Options, attach};
pub use dynamic::DynamicError;
pub use error::{AttachError, NoAddress};
pub use inside::{Ended, InsideError, inside};
pub use lease::LeaseError;
pub use machine::Machine;
pub use ovs::Database;
pub use stay::{End, Kept, Stay};
