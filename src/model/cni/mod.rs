//! The Container Network Interface: what a runtime says to a plugin, and what a plugin answers. Pure: environment and network
//! configuration to a request, and what came of it to a result, each in the version of the specification that was asked for.
//!
//! ```text
//! CNI_* variables, configuration -> Call, NetConf    checked, plain data
//! NetConf, addresses             -> AttachRequest    by the parsers that a topology's attachments go through
//! what was made                  -> Success          as version 0.3.1, 0.4.0, 1.0.0 or 1.1.0 has it
//! ```

mod addresses;
mod config;
mod environment;
mod error;
mod ipam;
mod key;
mod result;
mod runtime;
mod schema;
mod version;

pub use addresses::{Addressing, wanted_routes};
pub use config::{NetConf, NetworkName, Wish};
pub use environment::{Arguments, Call, ContainerId, Verb};
pub use error::{CniError, Code, Failure};
pub use ipam::{BuiltIn, Ipam, MOST_POOLS, Source};
pub use key::Key;
pub use result::{Dns, Interface, Ip, Route, Success};
pub use schema::{example, schema};
pub use version::{Version, Versions};

/// The name of our own address management in `ipam.type`, and of the plugin itself.
pub const OWN: &str = "pipework";
