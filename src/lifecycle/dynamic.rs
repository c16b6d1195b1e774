//! Addresses that somebody else gives: after the link is up, and before the attach counts as done.

use thiserror::Error;

use super::lease::{self, LeaseError};
use super::stay::Stay;
use super::{Options, ipv6};
use crate::guest::Held;
use crate::kernel::System;
use crate::kernel::signal::Signals;
use crate::model::dynamic::Dynamic;
use crate::model::facts::Facts;
use crate::model::lease::LeaseReport;
use crate::model::request::AttachRequest;
use crate::model::types::{IfAddr, IfName};
use crate::plan::execute::Event;

/// Why no address came.
#[derive(Debug, Error)]
pub enum DynamicError {
    /// The clients that are built in.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Not in this version.
    #[error("{0} is not available in this version")]
    NotYet(Dynamic),
}

impl DynamicError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lease(error) => error.hint(),
            Self::NotYet(_) => None,
        }
    }
}

/// What somebody is to be asked for an address with.
pub(super) struct Asking<'a> {
    pub(super) dynamic: &'a Dynamic,
    pub(super) request: &'a AttachRequest,
    pub(super) options: &'a Options,
    pub(super) facts: &'a Facts,
    pub(super) held: &'a Held,
    /// The guest's interface: there, and up.
    pub(super) guest_if: &'a IfName,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Configured {
    /// The address that the interface has now.
    pub(super) addr: Option<IfAddr>,
    /// What a DHCP server lent.
    pub(super) lease: Option<LeaseReport>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
    /// What keeps it, when the command is to stay.
    pub(super) stay: Option<Box<Stay>>,
}

/// Gets an address and gives it to the guest's interface. Leaves nothing of its own when it fails.
pub(super) fn configure(
    asking: &Asking<'_>,
    system: &mut System<'_>,
    signals: &mut Signals,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Configured, DynamicError> {
    match asking.dynamic {
        Dynamic::Dhcp { options } => Ok(lease::dhcp(asking, options, system, signals, watch)?),
        Dynamic::Dhcp6 => Ok(ipv6::dhcp6(asking, system, signals, watch)?),
        Dynamic::Slaac => Ok(ipv6::slaac(asking, signals)?),
        Dynamic::Container { .. } | Dynamic::Client { .. } => Err(DynamicError::NotYet(asking.dynamic.clone())),
    }
}
