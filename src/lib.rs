//! Fixed, LAN-reachable addresses for plain containers, in pure netlink.
pub mod cli;
pub mod guest;
pub mod kernel;
pub mod lifecycle;
pub mod model;
pub mod plan;
pub mod state;
