//! What can become of a use case, as one chain with a hint.

use thiserror::Error;

use super::{AccessError, DynamicError};
use crate::external::hooks::HookError;
use crate::guest::GuestError;
use crate::iproute::WordsError;
use crate::kernel::privilege::{self, Missing};
use crate::model::conflict::Conflict;
use crate::model::dynamic::Dynamic;
use crate::model::error::KernelError;
use crate::model::ovs::OvsError;
use crate::model::report;
use crate::model::types::IfName;
use crate::plan::execute::{ExecuteError, Undone};
use crate::plan::{PlanError, hint};
use crate::state::Unreadable;

/// Why an attach failed.
#[derive(Debug, Error)]
pub enum AttachError {
    /// A capability is missing.
    #[error(transparent)]
    Privilege(#[from] Missing),
    /// The attachment cannot be recorded, and so is not made.
    #[error("the attachment cannot be recorded, so nothing is left of it")]
    Unrecorded(#[source] std::io::Error),
    /// What is recorded of the guest cannot be used.
    #[error("{0}")]
    Unreadable(Unreadable),
    /// There is nothing to change.
    #[error("{guest} has no attachment{} that is recorded", .interface.as_ref().map(|name| format!(" {name}")).unwrap_or_default())]
    NotRecorded {
        /// The guest.
        guest: String,
        /// Its interface, when one was named.
        interface: Option<IfName>,
    },
    /// Several interfaces, and none was named.
    #[error("{guest} has several attachments: {}", .interfaces.join(", "))]
    Several {
        /// The guest.
        guest: String,
        /// Their names in the guest.
        interfaces: Vec<String>,
    },
    /// Another attachment of this host has the address, and nothing was done.
    #[error(transparent)]
    Taken(Box<Conflict>),
    /// An interface is there that was to be made, and nothing was done.
    #[error("{guest} has an interface {interface} already")]
    Exists {
        /// The guest.
        guest: String,
        /// The interface.
        interface: String,
    },
    /// No guest to work on.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The two sides could not be looked at.
    #[error("looking at the interfaces")]
    Observe(#[source] KernelError),
    /// Open vSwitch could not be looked at.
    #[error("looking at Open vSwitch")]
    Ovs(#[source] OvsError),
    /// The words of a route or a rule are none, and nothing was done.
    #[error("{option} {words:?}")]
    Words {
        /// The option.
        option: &'static str,
        /// The words.
        words: String,
        /// What is wrong with them.
        #[source]
        source: WordsError,
    },
    /// It cannot be done, and nothing was.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The host's access to the guest cannot be had, and nothing was done.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A hook does not want it, and nothing was done.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// No address of a pool can be had, and nothing was done.
    #[error(transparent)]
    Claim(#[from] super::claims::ClaimError),
    /// It failed half way, and was undone.
    #[error(transparent)]
    Execute(#[from] Box<ExecuteError>),
    /// The link was made, but no address came; undone.
    #[error(transparent)]
    Dynamic(#[from] Box<NoAddress>),
}

/// The link was made, but no address came.
#[derive(Debug, Error)]
#[error("{wanted} for {interface}")]
pub struct NoAddress {
    /// The word.
    pub wanted: Dynamic,
    /// The guest's interface.
    pub interface: IfName,
    /// Why.
    #[source]
    pub cause: DynamicError,
    /// How much was taken back.
    pub undone: Undone,
}

impl NoAddress {
    /// It is known beforehand; nothing was done.
    pub(super) fn before(wanted: &Dynamic, interface: &IfName, cause: DynamicError) -> Box<Self> {
        Box::new(Self { wanted: wanted.clone(), interface: interface.clone(), cause, undone: Undone::default() })
    }
}

impl AttachError {
    /// What to type, or what is missing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Privilege(_) => Some("run it with sudo".into()),
            Self::Guest(error) => missing_for(error).or_else(|| error.hint()),
            Self::Unrecorded(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some("run it with sudo".into()),
            Self::Unrecorded(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Some("another pipework is at work on this guest: wait for it, or end it".into())
            }
            Self::Unrecorded(_) => Some("PIPEWORK_RUN_DIR names another directory; /run is the usual place, in memory".into()),
            Self::Unreadable(_) | Self::Exists { .. } => None,
            Self::NotRecorded { .. } => Some("`pipework status` lists what there is".into()),
            Self::Several { .. } => Some("name one with -i".into()),
            Self::Taken(_) => Some("give another address, or take it from there first: pipework detach; --force gives it twice".into()),
            Self::Observe(_) => None,
            Self::Words { option, source: WordsError::Unknown { .. }, .. } => Some(format!(
                "is the word misspelt? What is not known here is not for {option}: `pipework {} GUEST add ...` hands it to the installed ip",
                option.trim_start_matches('-')
            )),
            Self::Words { .. } => None,
            Self::Ovs(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Access(error) => error.hint(),
            Self::Claim(error) => error.hint(),
            Self::Hook(error) => error.hint(),
            Self::Execute(error) => hint(&error.op, &error.cause),
            Self::Dynamic(error) => error.cause.hint(),
        }
    }

    /// How much was taken back, when something had been done.
    pub fn undone(&self) -> Option<report::Undone> {
        let Undone { of, undone, left } = match self {
            Self::Execute(error) => &error.undone,
            Self::Dynamic(error) => &error.undone,
            _ => return None,
        };
        let left = left.iter().map(|(op, error)| format!("{}: {error}", op.describe())).collect();
        Some(report::Undone { undone: *undone, of: *of, left })
    }

    /// The chain of reasons, outermost first.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }
}

/// An error and its sources, as text, outermost first.
pub fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    chain
}

/// A namespace that may not be opened or entered, and the capability that would do it.
fn missing_for(error: &GuestError) -> Option<String> {
    let GuestError::Namespace { source, .. } = error else { return None };
    if !matches!(source.errno(), Some(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM)) {
        return None;
    }
    let missing = privilege::missing().into_iter().find(|m| m.name == "CAP_SYS_PTRACE")?;
    Some(format!("{} is missing: it {}", missing.name, missing.what_for))
}
