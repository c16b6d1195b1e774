//! The guest has an interface of that name: is it already what was asked?

use super::differences::of_link;
use super::{Kind, Past, Plan, PlanError};
use crate::model::difference::{Difference, Field};
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

/// What differs in one end of a link between two guests.
///
/// # Errors
/// When what is asked cannot be looked for at all.
pub(super) fn linked(request: &AttachRequest, facts: &Facts, link: &LinkFacts, joined: bool) -> Result<Vec<Difference>, PlanError> {
    let mut differences = of_link(request, facts, link, Kind::Pair, &Past::default())?;
    if !joined {
        let wanted = request.host_if.to_string();
        let wanted = wanted.trim_start_matches("link:").to_owned();
        differences.push(Difference { field: Field::OtherEnd, is: "another one, or none".into(), wanted });
    }
    Ok(differences)
}
