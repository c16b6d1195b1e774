//! Address, link up, routes: the same for every kind of link.

use std::net::IpAddr;

use super::{Job, PlanError};
use crate::model::op::{NewRoute, Op};
use crate::model::types::{Family, LinkRef, Side};

/// Refuses an address that another interface of the guest has.
pub(super) fn check(job: &Job<'_>) -> Result<(), PlanError> {
    let Some(wanted) = job.request.addr.addr else { return Ok(()) };
    match job.facts.guest.addrs.iter().find(|a| a.addr.ip() == wanted.ip()) {
        None => Ok(()),
        Some(taken) => Err(PlanError::GuestHasAddress {
            addr: taken.addr.to_string(),
            dev: taken.dev.clone().unwrap_or_else(|| format!("interface {}", taken.index)),
        }),
    }
}

/// The kernel takes a gateway only through a link that is up, and only when it can be reached on it.
pub(super) fn ops(job: &Job<'_>) -> Vec<Op> {
    let link = LinkRef::guest(&job.guest_if);
    let mut ops = Vec::new();
    let spec = job.request.addr;
    if spec.family() == Some(Family::Inet6) && job.facts.guest.ipv6_disabled {
        ops.push(Op::EnableIpv6 { name: job.guest_if.clone() });
    }
    ops.extend(spec.addr.map(|addr| Op::AddAddr { link: link.clone(), addr }));
    ops.push(Op::SetUp { link });
    ops.extend(spec.gateway.into_iter().flat_map(|gateway| gateway_ops(job, gateway)));
    ops
}

fn gateway_ops(job: &Job<'_>, gateway: IpAddr) -> Vec<Op> {
    let mut ops = Vec::new();
    let dev = &job.guest_if;
    if !on_link(job, gateway) {
        ops.push(Op::AddRoute { route: NewRoute { to: Some(gateway), via: None, dev: dev.clone() } });
    }
    ops.extend(replaced_routes(job, gateway).map(|route| Op::DelRoute { side: Side::Guest, route: route.clone() }));
    ops.push(Op::AddRoute { route: NewRoute { to: None, via: Some(gateway), dev: dev.clone() } });
    ops
}

fn on_link(job: &Job<'_>, gateway: IpAddr) -> bool {
    let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
    link_local || job.request.addr.addr.is_some_and(|addr| addr.contains(gateway))
}

/// What `ip route del default; ip route replace default ...` takes away: the first default route, and any of the
/// metric that the new one gets (0 for IPv4; IP6_RT_PRIO_USER, 1024, for IPv6: net/ipv6/route.c).
fn replaced_routes<'a>(job: &'a Job<'_>, gateway: IpAddr) -> impl Iterator<Item = &'a crate::model::facts::RouteFacts> {
    let metric = if gateway.is_ipv4() { 0 } else { 1024 };
    job.facts.guest.default_routes.iter().enumerate().filter(move |(n, route)| *n == 0 || route.metric == metric).map(|(_, route)| route)
}
