//! From a lease to the steps that make it so in the guest. Pure.

use std::net::IpAddr;

use super::Plan;
use super::addressing::{default_route, way_to};
use crate::model::facts::RouteFacts;
use crate::model::lease::{Lease, LeaseRoute, Lifetime};
use crate::model::op::{NewRoute, Op};
use crate::model::settings::Settings;
use crate::model::types::{IfName, LinkRef};

/// The least MTU that every IPv4 host must take (RFC 791, section 3.1); smaller ones are a server's mistake.
const LEAST_MTU: u32 = 576;

/// What the lease is for.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTarget<'a> {
    /// The guest's interface: there, and up.
    pub guest_if: &'a IfName,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The guest's default routes of the lease's family, in the kernel's order.
    pub default_routes: &'a [RouteFacts],
    /// What the interface was given beyond its address: an MTU and a metric that were asked for win.
    pub settings: &'a Settings,
    /// Whether the lease is renewed. If not, the address stays until somebody takes it away, as with `udhcpc -q`.
    pub renewed: bool,
}

impl LeaseTarget<'_> {
    fn lifetime(&self, lease: &Lease) -> Lifetime {
        if self.renewed { lease.lifetime } else { Lifetime::PERMANENT }
    }
}

/// The steps of a new lease: MTU, address, routes on the link, routes over routers, the default route last.
pub fn lease(lease: &Lease, target: &LeaseTarget<'_>) -> Plan {
    let dev = target.guest_if;
    let link = LinkRef::guest(dev);
    let mut warnings = Vec::new();
    let mut ops = Vec::new();
    if let Some(mtu) = usable_mtu(lease, target, &mut warnings) {
        ops.push(Op::SetMtu { link: link.clone(), mtu, before: Some(target.mtu) });
    }
    ops.push(Op::LeaseAddr { link, addr: lease.addr, lifetime: target.lifetime(lease) });
    // Of several routes to the same network the kernel takes one: the first.
    let first = |(n, route): &(usize, &LeaseRoute)| lease.routes[..*n].iter().all(|other| other.to != route.to);
    let mut routes: Vec<LeaseRoute> = lease.routes.iter().enumerate().filter(first).map(|(_, route)| *route).collect();
    routes.sort_by_key(|route| (route.via.is_some(), route.to.prefix() == 0));
    for route in &routes {
        let new = steps(route, lease, target);
        // Several networks may lie behind one router off the subnet; its own route is made once.
        let new: Vec<Op> = new.into_iter().filter(|op| !ops.contains(op)).collect();
        ops.extend(new);
    }
    Plan { ops, warnings, guest_if: dev.clone(), host_if: String::new(), announce: None, access: None }
}

/// The step of a lease that was given more time.
pub fn renewed(lease: &Lease, target: &LeaseTarget<'_>) -> Plan {
    let op = Op::LeaseAddr { link: LinkRef::guest(target.guest_if), addr: lease.addr, lifetime: target.lifetime(lease) };
    Plan { ops: vec![op], warnings: Vec::new(), guest_if: target.guest_if.clone(), host_if: String::new(), announce: None, access: None }
}

fn steps(route: &LeaseRoute, lease: &Lease, target: &LeaseTarget<'_>) -> Vec<Op> {
    let dev = target.guest_if;
    // A router that is the address itself means: all that is on the link, ask by ARP.
    let via = route.via.map(IpAddr::V4).filter(|via| *via != lease.addr.ip());
    let mut ops: Vec<Op> = via.and_then(|via| way_to(via, &[lease.addr], dev)).into_iter().collect();
    if route.to.prefix() == 0 {
        ops.extend(default_route(target.default_routes, via, dev, target.settings.metric));
        return ops;
    }
    // The subnet's own route comes with the address, and there is no place for another.
    let is_subnet = route.to.prefix() == lease.addr.prefix() && lease.addr.contains(route.to.ip());
    if !is_subnet {
        ops.push(Op::AddRoute { route: NewRoute { to: Some(route.to), via, dev: dev.clone(), metric: None } });
    }
    ops
}

/// The lease's MTU when it is smaller than the link's, which is its bridge's or NIC's and the most that passes.
fn usable_mtu(lease: &Lease, target: &LeaseTarget<'_>, warnings: &mut Vec<String>) -> Option<u32> {
    let mtu = lease.mtu.filter(|mtu| *mtu != target.mtu && target.settings.mtu.is_none())?;
    let dev = target.guest_if;
    if mtu > target.mtu {
        warnings.push(format!("{} says MTU {mtu} (option 26); {dev} keeps {}, the most that its link passes", lease.server, target.mtu));
        return None;
    }
    if mtu < LEAST_MTU {
        warnings.push(format!("{} says MTU {mtu} (option 26), less than any IPv4 host must take ({LEAST_MTU}): not taken", lease.server));
        return None;
    }
    Some(mtu)
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
