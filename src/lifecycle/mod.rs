//! The use cases that every front end calls.

mod access;
mod attach;
mod dynamic;
mod error;
mod inside;
mod machine;
mod ovs;
mod routing;

pub use access::{AccessError, list_access, prune_access, remove_access};
pub use attach::{Attached, Options, attach};
pub use dynamic::DynamicError;
pub use error::{AttachError, NoAddress};
pub use inside::{Ended, InsideError, inside};
pub use machine::Machine;
pub use ovs::Database;
