//! Ipvlan's modes: who reaches whom, as Documentation/networking/ipvlan.rst has it, told by ping. Needs a kernel with ipvlan,
//! run under one with `scripts/uml-run` by `scripts/test`.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "lab/outside.rs"]
mod outside;

use lab::detached::{GUEST, there_and_back};
use lab::inside::every_step_of_a_birth_rolls_back;
use lab::{Lab, Space, assert_same, both, has_kind, no_root, skip};
use outside::{FIRST, HOST, Network, expect};
use pipework::plan::Birth;

const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up";

fn cannot() -> bool {
    no_root() || (!has_kind("ipvlan") && skip("this kernel has no ipvlan; scripts/uml-run gives one that has"))
}

fn info(guest: &Space) -> String {
    let info = guest.link("eth1")["linkinfo"].clone();
    let flag = |name: &str| if info["info_data"][name] == serde_json::Value::Null { String::new() } else { format!(" {name}") };
    format!("{} {}{}{}", info["info_kind"], info["info_data"]["mode"], flag("private"), flag("vepa")).replace('"', "")
}

/// With its last ipvlan a NIC's mode is gone.
fn take_away(guests: &[&Space]) {
    guests.iter().for_each(|guest| drop(guest.sh("ip link del eth1")));
}

#[test]
fn at_layer_2_guests_reach_each_other_and_the_outside_but_not_their_host() {
    if cannot() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    for (mode, shown, each_other) in
        [("l2", "ipvlan l2", true), ("l2:private", "ipvlan l2 private", false), ("l2:vepa", "ipvlan l2 vepa", false)]
    {
        let line = format!("--ipvlan {mode} nic0 pid:{} 10.1.1.1/24@{FIRST}", a.pid());
        net.lab.ok(&line);
        net.lab.ok(&format!("--ipvlan {mode} nic0 pid:{} 10.1.1.2/24", b.pid()));
        net.lab.ok(&line);
        assert!(info(&a).starts_with(shown), "{}", info(&a));
        assert_eq!(a.link("eth1")["address"], net.lab.host.link("nic0")["address"]);
        expect(&a, &[("10.1.1.2", each_other), (HOST, false), (FIRST, true)], mode);
        take_away(&[&a, &b]);
    }
}

/// Two guests in subnets of their own, the way back by the host's address: ipvlan.rst, L3: "routing from that [master's]
/// instance will be used before packets are queued on the outbound device".
#[test]
fn at_layer_3_the_host_routes_and_nobody_answers_arp() {
    if cannot() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    for (mode, shown, each_other) in [("l3", "ipvlan l3", true), ("l3s", "ipvlan l3s", true), ("l3:private", "ipvlan l3 private", false)] {
        for (guest, addr) in [(&a, "10.2.1.1/24@10.2.1.254"), (&b, "10.2.2.1/24@10.2.2.254")] {
            let line = format!("--ipvlan {mode} nic0 pid:{} {addr}", guest.pid());
            let ran = net.lab.run(&line);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            assert!(ran.err.contains("this host's own routes decide") && ran.err.contains("is never asked"), "{}", ran.err);
            net.lab.ok(&line);
        }
        assert!(info(&a).starts_with(shown), "{}", info(&a));
        assert!(a.link("eth1")["flags"].as_array().unwrap().contains(&"NOARP".into()));
        if mode == "l3" {
            expect(&net.first, &[("10.2.1.1", false)], "nobody told the outside where the guests are");
            net.first.sh(&format!("ip route add 10.2.0.0/16 via {HOST}"));
        }
        expect(&a, &[("10.2.2.1", each_other), (HOST, false), (FIRST, true)], mode);
        take_away(&[&a, &b]);
    }
}

#[test]
fn a_sibling_in_another_guest_keeps_its_mode() {
    if cannot() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    net.lab.ok(&format!("--ipvlan l2 nic0 pid:{} 10.1.1.1/24", a.pid()));
    let before = (both(&net.lab, &b), a.state());
    for (option, why) in [
        ("--ipvlan l3", "nic0 carries ipvlan in mode l2 eth1: all ipvlans on a NIC have one mode, and a new one would change theirs"),
        ("--ipvlan l2:private", "all ipvlans on a NIC have one mode"),
        ("--macvlan bridge", "nic0 carries ipvlan in mode l2 eth1: macvlan and ipvlan cannot be together on a NIC"),
        ("--macvtap", "macvlan and ipvlan cannot be together on a NIC"),
        // The kernel's own refusal.
        ("", "or carries a guest's ipvlan, which cannot be together with macvlan"),
    ] {
        net.lab.fails(&format!("{option} nic0 pid:{} 10.1.1.2/24", b.pid()), why);
    }
    assert_same(&before.0, &both(&net.lab, &b), "the second guest");
    assert_same(&before.1, &a.state(), "the first guest");
    net.lab.ok(&format!("--ipvlan l2 nic0 pid:{} 10.1.1.2/24", b.pid()));
    net.lab.fails(&format!("nic0 pid:{} 10.1.1.2/24", b.pid()), "kind is ipvlan in mode l2, wanted macvlan in bridge mode");
    net.lab.fails(&format!("--ipvlan l2 nic0 -i eth2 pid:{} 10.1.1.1/24", b.pid()), "10.1.1.1 is in use by guest pid:");
}

#[test]
fn an_ipvlan_by_way_of_the_host_and_one_on_a_vlan_are_the_same() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.guest(), lab.guest());
    lab.host.sh(NIC);
    lab.ok(&format!("--via-host --ipvlan l2 nic0 pid:{} 10.1.1.1/24", a.pid()));
    lab.ok(&format!("--ipvlan l2 nic0 pid:{} 10.1.1.2/24", b.pid()));
    assert_eq!(info(&a), info(&b));
    assert_eq!(lab.host.ip("link show type ipvlan").as_array().unwrap().len(), 0);
    let c = lab.guest();
    let line = format!("--ipvlan l3s nic0 pid:{} 10.1.3.1/24 @7", c.pid());
    assert_eq!(lab.run(&line).code, Some(0), "another parent, another mode");
    lab.ok(&line);
    let dry = lab.run(&format!("--ipvlan l2 -i eth5 --dry-run nic0 pid:{} 10.1.1.5/24", b.pid()));
    lab.host.sh(&dry.out);
    lab.ok(&format!("--ipvlan l2 -i eth5 nic0 pid:{} 10.1.1.5/24", b.pid()));
}

#[test]
fn every_step_with_an_ipvlan_rolls_back() {
    if cannot() {
        return;
    }
    every_step_of_a_birth_rolls_back(Birth::Guest, "--ipvlan=l3:vepa nic0 0/0", NIC, "true");
}

#[test]
fn an_ipvlan_that_is_detached_leaves_both_sides_as_they_were() {
    if cannot() {
        return;
    }
    for words in
        ["nic0 10.1.1.2/24@10.9.1.1 --ipvlan l2", "nic0 10.1.1.2/24@10.1.1.1 --ipvlan l3 @7", "nic0 10.1.1.2/24,fd00::2/64 --ipvlan l3s"]
    {
        there_and_back(words, NIC, GUEST);
    }
}
