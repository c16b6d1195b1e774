//! Open vSwitch's database: a client of the Open vSwitch Database Management Protocol (RFC 7047), as much of it as
//! bridges and ports need, and those as verbs.

mod address;
mod client;
mod frame;
mod look;
mod rows;
mod switch;
mod transaction;

pub use address::Address;
pub use client::Client;
pub use frame::Frames;
pub use switch::Switch;
