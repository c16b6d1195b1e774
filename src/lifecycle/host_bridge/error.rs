//! What can become of a bridge of the host.

use std::net::IpAddr;

use thiserror::Error;

use super::super::error::chain;
use crate::kernel::privilege::Missing;
use crate::model::error::KernelError;
use crate::model::host_bridge::VxlanError;
use crate::model::report;
use crate::model::types::IfName;
use crate::plan::UplinkError;
use crate::plan::execute::{ExecuteError, Undone};

/// Why something was not done.
#[derive(Debug, Error)]
pub enum HostError {
    /// A capability is missing.
    #[error(transparent)]
    Privilege(#[from] Missing),
    /// What is made cannot be written down.
    #[error("what is made cannot be written down")]
    Record(#[source] std::io::Error),
    /// Nothing is written down of it.
    #[error("{bridge} was not made by `host up` here: nothing of it is touched")]
    NotOurs {
        /// The bridge.
        bridge: IfName,
    },
    /// It lies on something else.
    #[error("{bridge} lies on {below}")]
    Otherwise {
        /// The bridge.
        bridge: IfName,
        /// On what.
        below: String,
    },
    /// Another run's watch is not over.
    #[error("{bridge} is watched by an earlier `host up`")]
    Watched {
        /// The bridge.
        bridge: IfName,
    },
    /// It is over a NIC.
    #[error("{bridge} is no bridge over a VXLAN, and has no peers")]
    NoVxlan {
        /// The bridge.
        bridge: IfName,
    },
    /// Somebody took the VXLAN link away.
    #[error("VXLAN link {link} is not there any more")]
    VxlanGone {
        /// The link.
        link: IfName,
    },
    /// A VXLAN cannot be so.
    #[error(transparent)]
    Vxlan(#[from] VxlanError),
    /// It cannot be done on this host.
    #[error(transparent)]
    Plan(#[from] UplinkError),
    /// The kernel refuses to tell.
    #[error("looking at the interfaces")]
    Observe(#[source] KernelError),
    /// A step failed.
    #[error(transparent)]
    Execute(#[from] Box<ExecuteError>),
    /// Nobody answered, and all was given back.
    #[error("{} did not answer through {bridge} within {seconds} s, and all was given back", gateways(.asked))]
    NoAnswer {
        /// The bridge.
        bridge: IfName,
        /// Who was asked.
        asked: Vec<IpAddr>,
        /// For how long.
        seconds: u64,
    },
    /// The watch ended, and it is not known how.
    #[error("the watch over {bridge} ended early")]
    WatchLost {
        /// The bridge.
        bridge: IfName,
    },
    /// A file of the network's configuration.
    #[error("{path}: {why}")]
    Persist {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

fn gateways(asked: &[IpAddr]) -> String {
    let list: Vec<String> = asked.iter().map(IpAddr::to_string).collect();
    match list.len() {
        0 => "nobody".into(),
        1 => format!("gateway {}", list.concat()),
        _ => format!("gateways {}", list.join(", ")),
    }
}

impl HostError {
    /// The way out, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Privilege(_) => Some("run it with sudo".into()),
            Self::NotOurs { .. } => Some("`pipework host status` lists what there is".into()),
            Self::Otherwise { bridge, .. } => Some(format!("give that back first: pipework host down {bridge}")),
            Self::Watched { bridge } => {
                Some(format!("say that it is well: pipework host confirm {bridge}; or wait until it is given back"))
            }
            Self::VxlanGone { .. } => Some("make it again: the same `pipework host up`".into()),
            Self::Plan(error) => Some(error.hint()),
            Self::NoAnswer { .. } => {
                Some("is the gateway's address right, and does the switch let this host through? pipework doctor".into())
            }
            Self::WatchLost { bridge } => {
                Some(format!("it stays: pipework host confirm {bridge}; or give it back: pipework host down {bridge}"))
            }
            Self::Execute(error) => crate::plan::hint(&error.op, &error.cause),
            _ => None,
        }
    }

    /// Itself and what caused it.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }

    /// Whether nothing is left of what was begun.
    pub fn is_clean(&self) -> bool {
        !matches!(self, Self::Execute(error) if !error.undone.left.is_empty())
    }

    /// How much was taken back.
    pub fn undone(&self) -> Option<report::Undone> {
        let Self::Execute(error) = self else { return None };
        let Undone { of, undone, left } = &error.undone;
        let left = left.iter().map(|(op, error)| format!("{}: {error}", op.describe())).collect();
        Some(report::Undone { undone: *undone, of: *of, left })
    }
}
