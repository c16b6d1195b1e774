//! Addresses that somebody else gives: after the link is up, and before the attach counts as done.

use thiserror::Error;

use super::Options;
use crate::guest::Held;
use crate::kernel::System;
use crate::kernel::signal::Signals;
use crate::model::dynamic::Dynamic;
use crate::model::facts::Facts;
use crate::model::request::AttachRequest;
use crate::model::types::{IfAddr, IfName};
use crate::plan::execute::Event;

/// Why no address came.
#[derive(Debug, Error)]
pub enum DynamicError {
    /// Not in this version.
    #[error("{0} is not available in this version")]
    NotYet(Dynamic),
}

impl DynamicError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
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
#[derive(Clone, Debug, Default)]
pub(super) struct Configured {
    /// The address that the interface has now.
    pub(super) addr: Option<IfAddr>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

/// Gets an address and gives it to the guest's interface. Leaves nothing of its own when it fails.
pub(super) fn configure(
    asking: &Asking<'_>,
    _system: &mut System<'_>,
    _signals: &mut Signals,
    _watch: &mut dyn FnMut(Event<'_>),
) -> Result<Configured, DynamicError> {
    let _ = (asking.request, asking.options, asking.facts, &asking.held.id, asking.guest_if);
    Err(DynamicError::NotYet(asking.dynamic.clone()))
}
