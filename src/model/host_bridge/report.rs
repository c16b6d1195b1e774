//! What came of a `host` command: the document that `--json` prints.

use std::net::IpAddr;

use serde::Serialize;

use crate::model::report::{Outcome, Step};
use crate::model::types::{IfAddr, IfName};

/// What came of `host up`, `down`, `confirm` or `peers`.
#[derive(Clone, Debug, Serialize)]
pub struct HostReport {
    /// Version of this document.
    pub schema: u32,
    /// What was done.
    pub result: Outcome,
    /// The bridge.
    pub bridge: IfName,
    /// The NIC, or the VXLAN link.
    pub port: Option<IfName>,
    /// The addresses that went over.
    pub addresses: Vec<IfAddr>,
    /// The routes that went over.
    pub routes: Vec<String>,
    /// The peers of a VXLAN.
    pub peers: Vec<IpAddr>,
    /// Whether somebody watches over it.
    pub watched: Watched,
    /// The files that were written, or put back.
    pub files: Vec<String>,
    /// Each step, in its order.
    pub steps: Vec<Step>,
    /// What the user should know although it is done.
    pub warnings: Vec<String>,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
}

/// What became of the watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Watched {
    /// Nobody watches.
    No,
    /// The gateway answered.
    Answered {
        /// Which.
        gateways: Vec<IpAddr>,
    },
    /// It is given back unless somebody says that it is well: `host confirm`.
    Waiting {
        /// For so many seconds.
        seconds: u64,
    },
    /// Somebody said so.
    Confirmed,
}
