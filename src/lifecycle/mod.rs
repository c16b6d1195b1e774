//! The use cases that every front end calls.

mod access;
mod attach;
mod client;
mod container;
mod detach;
mod dynamic;
mod error;
mod foreign;
mod gc;
mod identity;
mod inside;
mod ipv6;
mod journal;
mod keeper;
mod lease;
mod machine;
mod ovs;
mod port;
mod recording;
mod routing;
mod settings;
mod stay;
mod takeback;

pub use access::{AccessError, list_access, prune_access, remove_access};
pub use attach::{Attached, Options, attach};
pub use detach::{DetachError, DetachOptions, Which, detach};
pub use dynamic::DynamicError;
pub use error::{AttachError, NoAddress};
pub use gc::{GcOptions, gc};
pub use inside::{Ended, InsideError, inside};
pub use journal::{Recovered, recover};
pub use lease::LeaseError;
pub use machine::Machine;
pub use ovs::Database;
pub use stay::{End, Kept, Stay};
