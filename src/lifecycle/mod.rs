//! The use cases that every front end calls.

mod attach;
mod client;
mod container;
mod dynamic;
mod error;
mod inside;

pub use attach::{Attached, Options, attach};
pub use dynamic::DynamicError;
pub use error::{AttachError, NoAddress};
pub use inside::{Ended, InsideError, inside};
