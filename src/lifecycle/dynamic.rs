//! Addresses that somebody else gives: after the link is up, and before the attach counts as done.

use thiserror::Error;

use super::lease::{self, LeaseError};
use super::stay::Stay;
use super::{Options, client, container, ipv6};
use crate::external::client::{ClientError, check_installed};
use crate::guest::Held;
use crate::guest::sidecar::{self, SidecarError};
use crate::kernel::System;
use crate::kernel::signal::Signals;
use crate::model::command::Commands;
use crate::model::dynamic::Dynamic;
use crate::model::error::KernelError;
use crate::model::facts::{Facts, GuestId};
use crate::model::lease::{LeaseReport, Tenure};
use crate::model::op::Op;
use crate::model::record::Keeper;
use crate::model::report::Step;
use crate::model::request::AttachRequest;
use crate::model::types::{IfAddr, IfName, Side};
use crate::plan::execute::Event;

/// Why no address came.
#[derive(Debug, Error)]
pub enum DynamicError {
    /// The clients that are built in.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A client of the host.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The engine does not start a client's container.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// A client's container brought no lease.
    #[error("the DHCP client's container {0}")]
    Container(String),
    /// The interface could not be looked at.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A signal asked to stop.
    #[error("interrupted by {0}")]
    Interrupted(&'static str),
}

impl DynamicError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lease(error) => error.hint(),
            Self::Client(error) => error.hint(),
            Self::Sidecar(error) => error.hint(),
            Self::Container(_) => Some("does a DHCP server answer on that network? --dhcp-timeout gives it more time".into()),
            Self::Kernel(_) | Self::Interrupted(_) => None,
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
    /// The steps that it took.
    pub(super) done: Vec<Op>,
    /// The process that keeps it, when that is another.
    pub(super) keeper: Option<Keeper>,
    /// How it is kept, when that is not the command's to do.
    pub(super) tenure: Option<Tenure>,
    /// What keeps it, when the command is to stay.
    pub(super) stay: Option<Box<Stay>>,
}

/// Whether what a word asks for can be had here at all; told before anything is done.
pub(super) fn check(dynamic: &Dynamic, guest: &GuestId) -> Result<(), DynamicError> {
    match dynamic {
        Dynamic::Container { .. } => Ok(sidecar::check(guest).map(|_| ())?),
        Dynamic::Client { program, .. } => Ok(check_installed(program.name())?),
        Dynamic::Dhcp { .. } | Dynamic::Dhcp6 | Dynamic::Slaac => Ok(()),
    }
}

/// The command that does the same, as a step of a plan. What is built in has none.
pub(super) fn step(asking: &Asking<'_>) -> Option<Step> {
    let guest = &asking.held.id;
    let command = match asking.dynamic {
        Dynamic::Client { program, stay, options } => {
            Commands::new(guest).inside(&client::command(*program, *stay, options, asking).print())
        }
        Dynamic::Container { options } => container::print(options, asking),
        Dynamic::Dhcp { .. } | Dynamic::Dhcp6 | Dynamic::Slaac => return None,
    };
    Some(Step { side: Side::Guest, text: format!("get an address for {} by {}", asking.guest_if, asking.dynamic), command })
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
        Dynamic::Client { program, stay, options } => client::configure(*program, *stay, options, asking, system, signals),
        Dynamic::Container { options } => container::configure(options, asking, system, signals),
    }
}
