//! Links that need nothing but themselves on the guest's side: IPoIB children and dummies.

use super::{Job, PlanError};
use crate::model::facts::{LinkFacts, LinkKind, child_name};
use crate::model::op::Op;
use crate::model::settings::Mtu;
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
    let mark = child_name(parent.as_str(), &job.facts.guest.id, &job.guest_if);
    ops.push(Op::AddIpoib { parent, pkey, link });
    ops.extend(moves);
    ops.push(Op::AddAltName { link: LinkRef::guest(&job.guest_if), name: mark });
    Ok(ops)
}

/// Children of the same partition whose guests died: they came back to the host and serve nobody. They go last, when nothing
/// can fail any more, since nobody could bring them back.
pub(super) fn returned(job: &Job<'_>) -> Vec<Op> {
    let wanted = match &job.request.tag {
        Some(tag) => tag.pkey().ok().map(|key| key.get()),
        None => job.facts.host.link.as_ref().and_then(|parent| pkey(&parent.kind)),
    };
    // The driver sets the membership bit of every child's key.
    let same = |link: &&LinkFacts| pkey(&link.kind).zip(wanted).is_some_and(|(is, wanted)| is | 0x8000 == wanted | 0x8000);
    let names = job.facts.host.returned.iter().filter(same).filter_map(|link| link.name.parse().ok());
    names.map(|name| Op::DelLink { link: LinkRef::host(&name) }).collect()
}

fn pkey(kind: &LinkKind) -> Option<u16> {
    match kind {
        LinkKind::Ipoib { pkey } => *pkey,
        _ => None,
    }
}

/// A link that leads nowhere.
pub(super) fn dummy(job: &Job<'_>) -> Result<Vec<Op>, PlanError> {
    let (link, moves) = job.newborn("du", job.request.settings.mtu.map(Mtu::get), job.request.mac);
    let mut ops = vec![Op::AddDummy { link }];
    ops.extend(moves);
    Ok(ops)
}
