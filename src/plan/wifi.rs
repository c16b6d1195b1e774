//! Wi-Fi interfaces, which move only with their phy.

use super::{Job, PlanError};
use crate::model::op::{NicBefore, Op};
use crate::model::phy::PhyFacts;
use crate::model::types::{IfName, LinkRef};

/// Refuses a phy that its driver keeps, and without `--force` one whose other interfaces would be taken from the host.
pub(super) fn check(job: &Job<'_>, nic: &IfName) -> Result<(), PlanError> {
    let Some(facts) = &job.facts.host.phy else { return Ok(()) };
    let (nic, phy) = (nic.to_string(), facts.phy.name.clone());
    if !facts.may_leave {
        return Err(PlanError::PhyStays { nic, phy });
    }
    if !facts.others.is_empty() && !job.request.force {
        return Err(PlanError::PhyShared { nic, phy, others: facts.others.iter().map(|other| other.name.to_string()).collect() });
    }
    Ok(())
}

/// The phy into the guest. Both births are one: the kernel moves it under its name, whatever is asked.
pub(super) fn move_phy(facts: &PhyFacts, from: LinkRef, to: LinkRef, before: NicBefore) -> Op {
    Op::MovePhy { phy: facts.phy.clone(), wdev: facts.wdev, from, to, before: Some(before), others: facts.others.clone() }
}
