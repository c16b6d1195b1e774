//! Address, link up, routes: the same for every kind of link.

use std::net::IpAddr;

use super::conflict::{self, Asked};
use super::{Job, Kind, PlanError, settings};
use crate::model::dynamic::Dynamic;
use crate::model::facts::RouteFacts;
use crate::model::op::{NewRoute, Op};
use crate::model::types::{Family, IfAddr, IfName, LinkRef, Side};

/// Refuses addresses that other interfaces of the guest have.
pub(super) fn check(job: &Job<'_>) -> Result<(), PlanError> {
    let is_wanted = |ip: IpAddr| job.request.addr.addrs.iter().any(|wanted| wanted.ip() == ip);
    match job.facts.guest.addrs.iter().find(|a| is_wanted(a.addr.ip())) {
        None => Ok(()),
        Some(taken) => Err(PlanError::GuestHasAddress {
            addr: taken.addr.to_string(),
            dev: taken.dev.clone().unwrap_or_else(|| format!("interface {}", taken.index)),
        }),
    }
}

/// The kernel takes a gateway only through a link that is up, and only when it can be reached on it. Whoever has the addresses is
/// asked on a link that is up, before they are on it.
pub(super) fn ops(job: &Job<'_>, kind: Kind) -> Vec<Op> {
    let link = LinkRef::guest(&job.guest_if);
    let mut ops = settings::before_up(job, kind);
    let spec = &job.request.addr;
    if job.request.has_family(Family::Inet6) && job.facts.guest.ipv6_disabled {
        ops.push(Op::EnableIpv6 { name: job.guest_if.clone() });
    }
    // Before the link is up: it asks for routers once only.
    if matches!(job.request.dynamic, Some(Dynamic::Slaac)) {
        ops.push(Op::AcceptRouter { name: job.guest_if.clone() });
    }
    let up = Op::SetUp { link: link.clone() };
    let addrs = spec.addrs.iter().map(|addr| Op::AddAddr { link: link.clone(), addr: *addr });
    match conflict::asked(job, kind) {
        None => {
            ops.extend(addrs);
            ops.push(up);
        }
        Some(Asked { probe, settle }) => {
            ops.extend([up, probe]);
            ops.extend(addrs);
            ops.extend(settle);
        }
    }
    ops.extend(spec.gateways.iter().flat_map(|gateway| gateway_ops(job, *gateway)));
    ops.extend(settings::after_up(job));
    ops
}

fn gateway_ops(job: &Job<'_>, gateway: IpAddr) -> Vec<Op> {
    let (dev, settings) = (&job.guest_if, &job.request.settings);
    let existing = &job.facts.guest.default_routes;
    // An interface with a table of its own has its gateway there, and leaves the guest's way out alone.
    if settings.table.is_some() && existing.iter().any(|route| route.family == Family::of(gateway)) {
        return Vec::new();
    }
    let mut ops: Vec<Op> = way_to(gateway, &job.request.addr.addrs, dev).into_iter().collect();
    ops.extend(default_route(existing, Some(gateway), dev, settings.metric));
    ops
}

/// The on-link route that a gateway outside the subnets needs.
pub(super) fn way_to(gateway: IpAddr, addrs: &[IfAddr], dev: &IfName) -> Option<Op> {
    let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let on_link = link_local || addrs.iter().any(|addr| addr.contains(gateway));
    (!on_link).then(|| Op::AddRoute { route: NewRoute { to: Some(gateway.into()), via: None, dev: dev.clone(), metric: None } })
}

/// The default route, in the place of those that the guest has.
pub(super) fn default_route(
    existing: &[RouteFacts],
    gateway: Option<IpAddr>,
    dev: &IfName,
    metric: Option<u32>,
) -> impl Iterator<Item = Op> {
    let replaced = replaced_routes(existing, gateway, metric).map(|route| Op::DelRoute { side: Side::Guest, route: route.clone() });
    let new = Op::AddRoute { route: NewRoute { to: None, via: gateway, dev: dev.clone(), metric } };
    replaced.chain([new])
}

/// What `ip route del default; ip route replace default ...` takes away: the first default route, and any of the
/// metric that the new one gets (0 for IPv4; IP6_RT_PRIO_USER, 1024, for IPv6: net/ipv6/route.c). With a metric that was
/// asked for, only one of the same.
fn replaced_routes(existing: &[RouteFacts], gateway: Option<IpAddr>, asked: Option<u32>) -> impl Iterator<Item = &RouteFacts> {
    let metric = default_metric(gateway, asked);
    let is_family = move |route: &&RouteFacts| gateway.is_none_or(|gateway| Family::of(gateway) == route.family);
    let existing = existing.iter().filter(is_family).enumerate();
    existing.filter(move |(n, route)| (*n == 0 && asked.is_none()) || route.metric == metric).map(|(_, route)| route)
}

/// The metric that a default route comes to have.
pub(super) fn default_metric(gateway: Option<IpAddr>, asked: Option<u32>) -> u32 {
    let is_ipv6 = gateway.is_some_and(|gateway| gateway.is_ipv6());
    asked.filter(|metric| *metric != 0 || !is_ipv6).unwrap_or(if is_ipv6 { 1024 } else { 0 })
}
