//! A bridge over a NIC: which steps, and in what order.

use std::net::IpAddr;

use crate::model::facts::{AddrFacts, Layer, LinkFacts, LinkKind, RouteFacts};
use crate::model::host_bridge::{AddrNow, Below, HostBridge, HostNow, LinkNow, Phase, VERSION, Vxlan, VxlanNow};
use crate::model::op::{Conf, Op, Stp};
use crate::model::types::{Family, IfName, MacAddr};
use crate::plan::{UplinkError, over_nic, over_vxlan, taken_down};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn link(text: &str, index: u32, kind: LinkKind) -> LinkNow {
    let facts = LinkFacts {
        index,
        name: text.into(),
        alt_names: Vec::new(),
        kind,
        layer: Layer::Ethernet,
        up: true,
        carrier: true,
        mtu: 1500,
        queue_len: 1000,
        mac: Some(MacAddr::local_from([2, 0, 0, 0, 0, 7])),
        master: None,
        link: None,
        forwarding: None,
        group: 0,
    };
    LinkNow { link: facts, addrs: Vec::new(), routes: Vec::new(), children: Vec::new(), conf: Vec::new(), stp: None }
}

fn addr(text: &str, index: u32) -> AddrNow {
    let facts = AddrFacts { index, dev: None, addr: text.parse().unwrap(), automatic: false, ours: false, raw: Vec::new() };
    AddrNow { facts, lent: false, temporary: false }
}

fn route(text: &str, index: u32) -> RouteFacts {
    RouteFacts {
        text: text.into(),
        family: Family::Inet,
        is_default: text.starts_with("default"),
        gateway: text.split(' ').nth(2).and_then(|via| via.parse().ok()),
        index: Some(index),
        links: vec![index],
        metric: 0,
        raw: Vec::new(),
    }
}

fn host() -> HostNow {
    let mut nic = link("ens32", 2, LinkKind::Device);
    nic.addrs = vec![addr("10.0.0.2/24", 2), addr("10.0.0.3/24", 2), addr("fe80::1/64", 2)];
    nic.routes = vec![route("default via 10.0.0.1 dev ens32", 2)];
    HostNow {
        bridge: None,
        uplink: Some(nic),
        master: None,
        ports: Vec::new(),
        vxlan: None,
        underlay_mtu: Some(1500),
        rp_filter_all: 0,
        defaults: Vec::new(),
        fresh_mac: MacAddr::local_from([2, 0, 0, 0, 0, 1]),
    }
}

fn words(ops: &[Op]) -> Vec<String> {
    ops.iter().map(Op::describe).collect()
}

fn over(now: &HostNow) -> Result<Vec<String>, UplinkError> {
    Ok(words(over_nic(&name("br0"), &name("ens32"), now)?.plan.ops()))
}

fn record(below: Below) -> HostBridge {
    HostBridge {
        version: VERSION,
        bridge: name("br0"),
        below,
        made: true,
        uplink_was_up: true,
        addresses: vec!["10.0.0.2/24".parse().unwrap()],
        routes: Vec::new(),
        files: Vec::new(),
        keeper: None,
        lasting: None,
        phase: Phase::Kept,
        boot: String::new(),
        home: 1,
        since: String::new(),
    }
}

#[test]
fn all_is_there_twice_before_anything_goes_and_the_last_address_goes_first() {
    assert_eq!(
        over(&host()).unwrap(),
        [
            "make bridge br0, whose ports forward at once",
            "make ens32 a port of br0",
            "wait until br0 sends",
            "put address fe80::1/64 on br0",
            "put address 10.0.0.2/24 on br0",
            "put address 10.0.0.3/24 on br0",
            "lead route default via 10.0.0.1 through br0",
            "lead route default via 10.0.0.1 through ens32 no more",
            "take address 10.0.0.3/24 from ens32",
            "take address 10.0.0.2/24 from ens32",
        ]
    );
}

#[test]
fn each_step_is_taken_back_by_its_opposite() {
    let plan = over_nic(&name("br0"), &name("ens32"), &host()).unwrap().plan;
    let back: Vec<String> = plan.ops().iter().rev().flat_map(Op::undo).map(|op| op.describe()).collect();
    assert_eq!(
        back,
        [
            "put address 10.0.0.2/24 on ens32",
            "put address 10.0.0.3/24 on ens32",
            "lead route default via 10.0.0.1 through ens32",
            "lead route default via 10.0.0.1 through br0 no more",
            "take address 10.0.0.3/24 from br0",
            "take address 10.0.0.2/24 from br0",
            "take address fe80::1/64 from br0",
            "make ens32 no bridge's port",
            "remove bridge br0",
        ]
    );
}

#[test]
fn a_strict_filter_by_the_way_back_is_loose_in_between() {
    let mut now = host();
    now.uplink.as_mut().unwrap().conf = vec![Conf { family: Family::Inet, name: "rp_filter".into(), value: "1".into() }];
    let steps = over(&now).unwrap();
    let at = |text: &str| steps.iter().position(|step| step == text).unwrap();
    assert!(at("set net/ipv4/conf/br0/rp_filter=2") < at("make ens32 a port of br0"), "{steps:?}");
    assert_eq!(steps.last().unwrap(), "set net/ipv4/conf/br0/rp_filter=1");
    now.rp_filter_all = 2;
    assert!(!over(&now).unwrap().contains(&"set net/ipv4/conf/br0/rp_filter=2".to_owned()), "it is loose anyhow");
}

#[test]
fn a_port_without_addresses_needs_nothing_and_one_with_some_the_rest() {
    let mut now = host();
    now.bridge = Some(link("br0", 3, LinkKind::Bridge));
    now.master = Some("br0".into());
    assert_eq!(over(&now).unwrap().first().unwrap(), "wait until br0 sends");
    let nic = now.uplink.as_mut().unwrap();
    (nic.addrs, nic.routes) = (Vec::new(), Vec::new());
    assert_eq!(over(&now).unwrap(), [""; 0]);
    now.bridge.as_mut().unwrap().stp = Some(Stp { on: true, forward_delay: 1500 });
    assert_eq!(over(&now).unwrap(), ["let ports of br0 forward at once"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |change: &dyn Fn(&mut HostNow)| {
        let mut now = host();
        change(&mut now);
        let error = over(&now).unwrap_err();
        assert!(!error.hint().is_empty());
        error.to_string()
    };
    assert!(refused(&|now| now.uplink = None).contains("is not there"));
    assert!(refused(&|now| now.master = Some("br9".into())).contains("port of br9"));
    assert!(refused(&|now| now.uplink.as_mut().unwrap().link.layer = Layer::Infiniband).contains("cannot be a bridge's port"));
    assert!(refused(&|now| now.uplink.as_mut().unwrap().children = vec![("mv0".into(), "macvlan".into())]).contains("mv0"));
    assert!(refused(&|now| now.bridge = Some(link("br0", 3, LinkKind::Dummy))).contains("no bridge but dummy"));
}

#[test]
fn what_comes_home_is_what_was_recorded_lent_or_leads_to_a_gateway() {
    let mut now = host();
    let mut bridge = link("br0", 3, LinkKind::Bridge);
    bridge.addrs = vec![addr("10.0.0.2/24", 3), AddrNow { lent: true, ..addr("10.0.0.9/24", 3) }, addr("172.30.0.1/24", 3)];
    bridge.routes = vec![route("default via 10.0.0.1 dev br0", 3), route("172.31.0.0/16 dev br0", 3)];
    (now.bridge, now.master) = (Some(bridge), Some("br0".into()));
    now.ports = vec![now.uplink.as_ref().unwrap().link.clone()];
    let nic = now.uplink.as_mut().unwrap();
    (nic.addrs, nic.routes) = (Vec::new(), Vec::new());
    let record = record(Below::Uplink(name("ens32")));
    let plan = taken_down(&record, &now, false).unwrap().plan;
    assert_eq!(
        words(plan.ops()),
        [
            "put address 10.0.0.2/24 on ens32",
            "put address 10.0.0.9/24 on ens32",
            "lead route default via 10.0.0.1 through ens32",
            "lead route default via 10.0.0.1 through br0 no more",
            "take address 10.0.0.9/24 from br0",
            "take address 10.0.0.2/24 from br0",
            "make ens32 no bridge's port",
            "remove bridge br0",
        ]
    );
    assert!(plan.warnings()[0].contains("172.30.0.1/24"), "{:?}", plan.warnings());
    now.ports.push(link("veth1pl7", 9, LinkKind::Veth).link);
    assert!(matches!(taken_down(&record, &now, false), Err(UplinkError::HasPorts { .. })));
    assert!(taken_down(&record, &now, true).unwrap().plan.warnings()[0].contains("veth1pl7"));
    now.bridge = None;
    assert_eq!(taken_down(&record, &now, false).unwrap().plan.ops(), [], "gone by itself, as after a boot");
}

#[test]
fn a_vxlan_gets_the_peers_that_are_missing_and_loses_only_its_own() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let wanted = Vxlan { id: 7, local: ip("10.0.0.2"), port: 4790, peers: vec![ip("10.0.0.2"), ip("10.0.0.4"), ip("10.0.0.3")] };
    let mut now = host();
    let made = words(over_vxlan(&name("br0"), &wanted, &[], &now).unwrap().plan.ops());
    assert_eq!(
        made[1..],
        ["make VXLAN link br0-vx of network 7 on br0", "make 10.0.0.3 a peer of br0-vx", "make 10.0.0.4 a peer of br0-vx"]
    );
    let mut vxlan = link("br0-vx", 4, LinkKind::Other("vxlan".into())).link;
    (vxlan.group, vxlan.master) = (crate::model::mark::GROUP, Some(3));
    now.bridge = Some(link("br0", 3, LinkKind::Bridge));
    let peers = vec![ip("10.0.0.3"), ip("10.0.0.8"), ip("10.0.0.9")];
    now.vxlan = Some(VxlanNow { link: vxlan, id: Some(7), local: Some(wanted.local), port: Some(4790), peers });
    let changed = words(over_vxlan(&name("br0"), &wanted, &[ip("10.0.0.8")], &now).unwrap().plan.ops());
    assert_eq!(changed, ["make 10.0.0.4 a peer of br0-vx", "make 10.0.0.8 no peer of br0-vx"]);
    let other = Vxlan { id: 8, ..wanted.clone() };
    assert!(matches!(over_vxlan(&name("br0"), &other, &[], &now), Err(UplinkError::OtherVxlan { .. })));
    now.underlay_mtu = Some(100);
    assert!(matches!(over_vxlan(&name("br0"), &wanted, &[], &now), Err(UplinkError::TooNarrow { mtu: 100 })));
    now.underlay_mtu = None;
    assert!(matches!(over_vxlan(&name("br0"), &wanted, &[], &now), Err(UplinkError::NoLocal(_))));
}
