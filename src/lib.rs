//! Fixed, LAN-reachable addresses for plain containers, in pure netlink.
//!
//! Data flows one way:
//!
//! ```text
//! argv -> Request                what is asked: valid, plain data, nothing of the system in it
//!      -> Facts                  what the two sides look like now: observed, plain data
//!      -> plan(&Request, &Facts) pure: an ordered list of Op, or why not
//!      -> execute(Plan)          one netlink request after another; undo in reverse when one fails
//!      -> Report                 text or JSON, exit status
//! ```
//!
//! Facts are an argument, not a look-up, because what to do depends on the host: is `br0` there, is it a bridge, what is
//! its MTU, has the guest an `eth1`? So every branch is tested as a table, without root, and `--dry-run` prints the plan.
//!
//! Who may use whom, each only what stands to its right (`tests/layering.rs` holds it):
//!
//! ```text
//! main -> cli -> lifecycle -> guest, state, external -> kernel -> plan, iproute -> model
//! ```

pub mod cli;
pub mod external;
pub mod guest;
pub mod iproute;
pub mod kernel;
pub mod lifecycle;
pub mod model;
pub mod plan;
pub mod state;
