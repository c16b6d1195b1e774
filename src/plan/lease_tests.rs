//! Leases as tables: steps and their order.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::lease::FOREVER;
use crate::model::types::Family;

fn a_lease(routes: &[(&str, Option<&str>)], mtu: Option<u32>) -> Lease {
    let route = |(to, via): &(&str, Option<&str>)| LeaseRoute { to: to.parse().unwrap(), via: via.map(|v| v.parse().unwrap()) };
    Lease {
        addr: "10.0.0.9/24".parse().unwrap(),
        server: "10.0.0.1".parse().unwrap(),
        lifetime: Lifetime { preferred: 60, valid: 60 },
        renew: 30,
        rebind: 50,
        routes: routes.iter().map(route).collect(),
        mtu,
        dns: Vec::new(),
        domain: None,
        search: Vec::new(),
        ntp: Vec::new(),
        others: Vec::new(),
    }
}

fn steps_of(of: &Lease, default_routes: &[RouteFacts], renewed: bool) -> (Vec<String>, Vec<String>) {
    let dev = "eth1".parse().unwrap();
    let plan = lease(of, &LeaseTarget { guest_if: &dev, mtu: 1500, default_routes, settings: &Settings::default(), renewed });
    (plan.ops().iter().map(Op::describe).collect(), plan.warnings().to_vec())
}

#[test]
fn the_way_to_a_router_comes_before_what_lies_behind_it_and_the_default_route_comes_last() {
    let default = RouteFacts {
        text: "default via 10.5.0.1 dev eth0".into(),
        family: Family::Inet,
        is_default: true,
        gateway: None,
        index: None,
        links: Vec::new(),
        metric: 0,
        raw: Vec::new(),
    };
    let routes = [
        ("0.0.0.0/0", Some("192.168.0.1")),
        ("172.16.0.0/12", Some("192.168.0.1")),
        ("10.9.0.0/16", None),
        ("10.0.0.0/24", Some("10.0.0.1")),
        ("10.9.0.0/16", Some("10.0.0.2")),
        ("0.0.0.0/0", Some("10.0.0.3")),
        ("10.8.0.0/16", Some("10.0.0.9")),
    ];
    let (steps, _) = steps_of(&a_lease(&routes, None), &[default], false);
    assert_eq!(
        steps,
        [
            "put the lent address 10.0.0.9/24 on eth1 in the guest",
            "add route 10.9.0.0/16 dev eth1 in the guest",
            "add route 192.168.0.1 dev eth1 in the guest",
            "add route 172.16.0.0/12 via 192.168.0.1 dev eth1 in the guest",
            "add route 10.8.0.0/16 dev eth1 in the guest",
            "delete route default via 10.5.0.1 dev eth0 in the guest",
            "add route default via 192.168.0.1 dev eth1 in the guest",
        ]
    );
}

#[test]
fn only_a_smaller_mtu_that_hosts_can_live_with_is_taken() {
    for (mtu, taken, told) in
        [(Some(1400), true, false), (Some(1500), false, false), (Some(9000), false, true), (Some(100), false, true), (None, false, false)]
    {
        let (steps, warnings) = steps_of(&a_lease(&[], mtu), &[], true);
        assert_eq!((steps.len() == 2, !warnings.is_empty()), (taken, told), "{mtu:?}: {steps:?} {warnings:?}");
    }
}

#[test]
fn an_address_that_nobody_renews_stays() {
    let dev = "eth1".parse().unwrap();
    for (renewed, valid) in [(true, 60), (false, FOREVER)] {
        let plan = lease(
            &a_lease(&[], None),
            &LeaseTarget { guest_if: &dev, mtu: 1500, default_routes: &[], settings: &Settings::default(), renewed },
        );
        assert!(matches!(plan.ops(), [Op::LeaseAddr { lifetime, .. }] if lifetime.valid == valid), "{:?}", plan.ops());
    }
}
