//! The use cases that every front end calls.

mod attach;
mod error;

pub use attach::{Attached, Options, attach};
pub use error::AttachError;
