//! Looking at two guests that are to be linked.

use super::decode;
use super::netns::Namespace;
use super::observe::{self, Sides};
use super::siblings::number_of;
use super::system::link_answer;
use super::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::facts::{GuestId, LinkFacts, LinkKind};
use crate::model::pair::{PairFacts, PairRequest};

/// Looks at both guests. Returns what is there, and both open for what is to be done.
///
/// # Errors
/// When a namespace cannot be entered or the kernel refuses to tell.
pub fn look<'a>(request: &PairRequest, guests: [(&'a Namespace, &GuestId); 2]) -> Result<(PairFacts, [Sides<'a>; 2]), KernelError> {
    let [first, second] = request.requests();
    let [(near, near_id), (far, far_id)] = guests;
    let (first, mut near_sides) = observe::look(&first, near, near_id.clone())?;
    let (second, mut far_sides) = observe::look(&second, far, far_id.clone())?;
    let joined = match (&first.guest.link, &second.guest.link) {
        (Some(one), Some(other)) => leads_to(&mut near_sides.guest, one, far, other)? && leads_to(&mut far_sides.guest, other, near, one)?,
        _ => false,
    };
    Ok((PairFacts { ends: [first, second], one: near.is(far), joined }, [near_sides, far_sides]))
}

/// Whether a veth's other end is that link of that namespace. Indexes are small numbers in each: only with the namespace's
/// own number (IFLA_LINK_NETNSID) one means a link.
fn leads_to(socket: &mut Netlink, from: &LinkFacts, namespace: &Namespace, to: &LinkFacts) -> Result<bool, KernelError> {
    if from.kind != LinkKind::Veth || to.kind != LinkKind::Veth || from.link != Some(to.index) {
        return Ok(false);
    }
    let answers = link_answer(socket, from.index)?;
    let there = answers.iter().find_map(decode::parent_namespace);
    Ok(there.is_some_and(|number| number >= 0) && there == Some(number_of(socket, namespace)?))
}
