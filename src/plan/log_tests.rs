//! The log after changes: compact, and with what there was before the first of all.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::facts::RouteFacts;
use crate::model::op::{NewLink, OldPort};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn guest() -> LinkRef {
    LinkRef::guest(&name("eth1"))
}

fn veth(bridge: &str, mtu: u32) -> Op {
    let guest = NewLink { at: guest(), mtu: Some(mtu), mac: None };
    Op::AddVeth { host: name("v1"), host_mtu: None, host_mac: None, bridge: Some(name(bridge)), queues: None, guest }
}

fn bridge(text: &str) -> Op {
    Op::AddBridge { name: name(text), mac: "02:00:00:00:00:01".parse().unwrap(), vlan_filtering: false }
}

fn addr(text: &str) -> Op {
    Op::AddAddr { link: guest(), addr: text.parse().unwrap() }
}

fn del(text: &str) -> Op {
    Op::DelAddr { link: guest(), addr: text.parse().unwrap() }
}

fn default(via: &str) -> NewRoute {
    NewRoute { to: None, via: Some(via.parse().unwrap()), dev: name("eth1"), metric: None }
}

fn observed(text: &str) -> Op {
    let route = RouteFacts {
        text: text.into(),
        family: Family::Inet,
        is_default: true,
        gateway: None,
        index: Some(7),
        links: vec![7],
        metric: 0,
        raw: Vec::new(),
    };
    Op::DelRoute { side: Side::Guest, route }
}

#[test]
fn what_is_taken_back_leaves_no_trace_and_what_is_there_is_there_once() {
    let log = vec![bridge("br1"), veth("br1", 1500), addr("10.1.1.2/24"), Op::SetUp { link: guest() }];
    assert_eq!(then(&log, &[addr("10.1.1.2/24"), Op::SetUp { link: guest() }]), log);
    let changed = then(&log, &[addr("10.1.1.3/24"), del("10.1.1.2/24"), del("10.9.9.9/24")]);
    assert_eq!(changed, [bridge("br1"), veth("br1", 1500), Op::SetUp { link: guest() }, addr("10.1.1.3/24")]);
    assert_eq!(then(&changed, &[addr("10.1.1.2/24"), del("10.1.1.3/24")]).len(), log.len());
}

#[test]
fn a_link_that_we_made_has_its_last_values_from_the_beginning_and_another_keeps_its_first() {
    let set = |mtu, before| Op::SetMtu { link: guest(), mtu, before: Some(before) };
    assert_eq!(then(&[veth("br1", 1500)], &[set(1400, 1500), set(1300, 1400)]), [veth("br1", 1300)]);
    let moved = Op::SetMtu { link: guest(), mtu: 1300, before: Some(9000) };
    assert_eq!(then(&[], &[set(1400, 9000), set(1300, 1400)]), [moved]);
}

#[test]
fn another_bridge_takes_the_place_of_the_first_and_the_first_is_left_over() {
    let before = Some(OldPort { bridge: name("br1"), vlans: Vec::new(), default_pvid: None });
    let moved = Op::SetBridge { port: name("v1"), bridge: Some(name("br2")), before };
    let log = then(&[bridge("br1"), veth("br1", 1500)], &[bridge("br2"), moved]);
    assert_eq!(log, [bridge("br1"), bridge("br2"), veth("br2", 1500)]);
    assert_eq!(leftovers(&log), [bridge("br1")]);
}

#[test]
fn the_default_route_that_was_there_first_is_the_one_that_comes_back() {
    let log = vec![observed("default via 10.9.9.1"), Op::AddRoute { route: default("10.1.1.1") }];
    let set = Op::SetRoute { route: default("10.1.1.2"), before: default("10.1.1.1") };
    let changed = then(&log, &[set]);
    assert_eq!(changed, [observed("default via 10.9.9.1"), Op::AddRoute { route: default("10.1.1.2") }]);
    // Somebody else's that came in between is not.
    assert_eq!(then(&log, &[observed("default via 10.1.1.9"), Op::AddRoute { route: default("10.1.1.1") }]), log);
    let Op::DelRoute { route, .. } = observed("default via 10.9.9.1") else { return };
    let back = Op::RestoreRoute { side: Side::Guest, route, moved: None };
    assert_eq!(then(&log, &[Op::DelNewRoute { route: default("10.1.1.1") }, back]), []);
}

#[test]
fn an_attachment_that_was_taken_back_whole_leaves_what_it_lay_on() {
    let log = vec![bridge("br1"), veth("br1", 1500), addr("10.1.1.2/24")];
    let known_better = Op::AddDummy { link: NewLink { at: guest(), mtu: None, mac: None } };
    let back = Op::TakeBack { steps: vec![veth("br1", 1500), addr("10.1.1.2/24")] };
    let log = then(&log, &[back, known_better.clone()]);
    assert_eq!(log, [bridge("br1"), known_better]);
    assert_eq!(leftovers(&log), [bridge("br1")]);
}
