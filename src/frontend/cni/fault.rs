//! What went wrong below, in the protocol's codes.

use crate::external::delegate::DelegateError;
use crate::lifecycle::claims::ClaimError;
use crate::lifecycle::{AttachError, DetachError, chain};
use crate::model::cni::{CniError, Code};
use crate::model::error::KernelError;
use crate::plan::PlanError;

/// The chain of reasons: the first in the message, the others behind it, and what to do about it.
fn told(kind: Code, what: &str, chain: &[String], more: Vec<String>) -> CniError {
    let (first, rest) = chain.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let details: Vec<String> = Some(rest.join(": ")).filter(|rest| !rest.is_empty()).into_iter().chain(more).collect();
    CniError::new(kind, format!("{what}: {first}")).with(details.join("; "))
}

/// An attach, or a change of one, that failed.
pub(super) fn attach(what: &str, error: &AttachError) -> CniError {
    let kind = match error {
        AttachError::Exists { .. } => Code::Exists,
        AttachError::Guest(error) if error.is_absence() => Code::UnknownContainer,
        AttachError::Guest(_) | AttachError::Observe(KernelError::NoNamespace(_)) => Code::Environment,
        AttachError::Plan(PlanError::GuestIsHost { .. }) => Code::Environment,
        AttachError::Plan(PlanError::GuestLinkDiffers { .. }) => Code::Exists,
        AttachError::Plan(_) | AttachError::Words { .. } => Code::Configuration,
        AttachError::Claim(error) => claim_kind(error),
        AttachError::Unrecorded(error) if error.kind() == std::io::ErrorKind::TimedOut => Code::TryAgain,
        _ => Code::NotDone,
    };
    let undone = error.undone().filter(|undone| undone.of > 0).map(|undone| format!("undone: {} of {} steps", undone.undone, undone.of));
    let hint = error.hint().map(|hint| format!("hint: {hint}"));
    // Whose fault it is the code says; which variable is meant the text has to.
    let what = if kind == Code::Environment || kind == Code::UnknownContainer { format!("{what}: CNI_NETNS") } else { what.to_owned() };
    told(kind, &what, &error.chain(), undone.into_iter().chain(hint).collect())
}

/// A detach that failed.
pub(super) fn detach(what: &str, error: &DetachError) -> CniError {
    let kind = match error {
        DetachError::Records(error) if error.kind() == std::io::ErrorKind::TimedOut => Code::TryAgain,
        _ => Code::Left,
    };
    told(kind, what, &error.chain(), error.hint().map(|hint| format!("hint: {hint}")).into_iter().collect())
}

fn claim_kind(error: &ClaimError) -> Code {
    match error {
        error if error.may_pass() => Code::TryAgain,
        ClaimError::NoPool { .. } | ClaimError::Configuration(_) | ClaimError::Outside { .. } => Code::Configuration,
        _ => Code::NotDone,
    }
}

/// No address of a pool.
pub(super) fn claim(error: &ClaimError) -> CniError {
    told(claim_kind(error), "ipam", &chain(error), error.hint().map(|hint| format!("hint: {hint}")).into_iter().collect())
}

/// A plugin that did not answer.
pub(super) fn delegate(error: &DelegateError) -> CniError {
    let kind = match error {
        DelegateError::NotFound { .. } => Code::Configuration,
        DelegateError::Late { .. } => Code::TryAgain,
        DelegateError::Run { .. } | DelegateError::Endless { .. } => Code::NotDone,
    };
    told(kind, "ipam", &chain(error), Vec::new())
}
