//! A link that is made on the host for somebody else to bring to its guest: a container engine asks its network driver for one,
//! moves it, names it, and gives it its addresses and routes itself.

use super::{Birth, Plan, PlanError, plan};
use crate::model::facts::Facts;
use crate::model::op::{NewRoute, Op};
use crate::model::request::AttachRequest;
use crate::model::types::{IfName, LinkRef, Side};

/// The host's part of an attach.
///
/// # Errors
/// As for [`plan`]; [`PlanError::NoOffer`] when there is no such part.
pub fn offer(request: &AttachRequest, facts: &Facts) -> Result<Plan, PlanError> {
    let whole = plan(request, facts, Birth::Host)?;
    let passing = whole.ops.iter().find_map(|op| op.newborn().filter(|link| link.at.side == Side::Host)).map(|link| link.at.name.clone());
    let passing = passing.filter(|_| !request.direct_phys).ok_or_else(|| PlanError::NoOffer { host_if: whole.host_if.clone() })?;
    let is_hosts = |op: &Op| op.side() == Side::Host && !matches!(op, Op::MoveLink { .. } | Op::Probe { .. });
    let ops = whole.ops.into_iter().filter(is_hosts).collect();
    // The host's end is named so that it is known again, in case there is one: nobody asked for that.
    let warnings = whole.warnings.into_iter().filter(|warning| !warning.starts_with("-l ")).collect();
    Ok(Plan { ops, warnings, guest_if: passing, announce: None, access: None, host_if: whole.host_if })
}

/// What the engine did of an attach, so that it is recorded, and taken back, as if it had been done here.
pub fn brought(request: &AttachRequest, passing: &IfName, interface: &IfName) -> Vec<Op> {
    let (there, link) = (LinkRef::guest(passing), LinkRef::guest(interface));
    let mut ops = vec![
        Op::MoveLink { from: LinkRef::host(passing), to: there.clone(), before: None },
        Op::RenameLink { link: there, name: interface.clone() },
    ];
    ops.extend(request.addr.addrs.iter().map(|addr| Op::AddAddr { link: link.clone(), addr: *addr }));
    ops.push(Op::SetUp { link });
    let gateway = |via| Op::AddRoute { route: NewRoute { to: None, via: Some(via), dev: interface.clone(), metric: None } };
    ops.extend(request.addr.gateways.iter().copied().map(gateway));
    ops
}
