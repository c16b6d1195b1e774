//! The guest has an interface of that name: is it already what was asked?

use super::differences::of_link;
use super::{Kind, Past, Plan, PlanError};
use crate::model::facts::{Facts, LinkFacts};
use crate::model::request::AttachRequest;

/// The guest's interface, when it is the NIC that the request asks to move and that is no longer on the host.
pub(super) fn moved_before<'a>(request: &AttachRequest, facts: &'a Facts) -> Option<&'a LinkFacts> {
    let link = facts.guest.link.as_ref()?;
    let gone = if request.tag.is_some() { facts.host.vlan_link.is_none() } else { facts.host.link.is_none() };
    (request.direct_phys && gone && link.came_from(request)).then_some(link)
}

/// An empty plan when nothing differs, else all that differs.
pub(super) fn unchanged(request: &AttachRequest, facts: &Facts, link: &LinkFacts, kind: Kind) -> Result<Plan, PlanError> {
    let differences = of_link(request, facts, link, kind, &Past::default())?;
    if differences.is_empty() {
        return Ok(Plan::nothing(request, facts, kind));
    }
    Err(PlanError::GuestLinkDiffers { interface: link.name.clone(), differences })
}
