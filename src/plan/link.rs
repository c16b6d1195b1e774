//! Links that need nothing but themselves on the guest's side: IPoIB children and dummies.

use super::{Job, PlanError};
use crate::model::op::Op;
use crate::model::types::LinkRef;

/// A child of an InfiniBand interface. There is no Ethernet below it, so neither macvlan nor bridge can be.
pub(super) fn ipoib(job: &Job<'_>) -> Result<Vec<Op>, PlanError> {
    let parent = job.host_if()?;
    let pkey = job.request.tag.as_ref().map(|tag| tag.pkey()).transpose()?;
    let mut ops = Vec::new();
    if !job.facts.host.link.as_ref().is_some_and(|l| l.up) {
        ops.push(Op::SetUp { link: LinkRef::host(&parent) });
    }
    // The child's MTU is the parent's less nothing: the driver sets it, and refuses to be told at creation.
    let (link, moves) = job.newborn("pi", None, None);
    ops.push(Op::AddIpoib { parent, pkey, link });
    ops.extend(moves);
    Ok(ops)
}

/// A link that leads nowhere.
pub(super) fn dummy(job: &Job<'_>) -> Result<Vec<Op>, PlanError> {
    let (link, moves) = job.newborn("du", None, job.request.mac);
    let mut ops = vec![Op::AddDummy { link }];
    ops.extend(moves);
    Ok(ops)
}
