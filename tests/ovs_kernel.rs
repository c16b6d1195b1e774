//! Open vSwitch with the kernel's datapath, and guests with VLANs of their own: run under a kernel that has both, with
//! `scripts/uml-run`, by `scripts/test`.
#![allow(clippy::unwrap_used)]

mod lab;

use std::time::Duration;

use lab::detached::{GUEST, there_and_back_in};
use lab::inside::{FAULTS, rolls_back_on};
use lab::ovs::{Ovs, everything, no_ovs};
use lab::{Lab, Space, assert_same, both, eventually, has_kind, skip};
use pipework::plan::Birth;
use serde_json::Value;

fn cannot() -> bool {
    if no_ovs() {
        return true;
    }
    let loaded = std::process::Command::new("modprobe").args(["-q", "openvswitch"]).status().is_ok_and(|status| status.success());
    if !loaded && !std::path::Path::new("/sys/module/openvswitch").exists() || !has_kind("vlan") {
        return skip("this kernel has no openvswitch or no 802.1Q; scripts/uml-run gives one that has");
    }
    // An ovs-vswitchd started within ten seconds of boot has no threads to handle packets (seen with 3.1).
    let up = || std::fs::read_to_string("/proc/uptime").unwrap().split('.').next().unwrap().parse::<u64>().unwrap();
    while up() < 12 {
        std::thread::sleep(Duration::from_millis(200));
    }
    false
}

fn with_switch() -> (Lab, Ovs) {
    let lab = Lab::new();
    let mut ovs = Ovs::server_only(&lab);
    ovs.start_switch(&lab.host, &[]);
    (lab, ovs)
}

fn reaches(from: &Space, to: &str) -> bool {
    from.try_sh(&format!("ping -c1 -W2 {to}"))
}

#[test]
fn a_bridge_is_made_when_absent_a_tag_isolates_and_a_trunk_passes() {
    if cannot() {
        return;
    }
    let (lab, ovs) = with_switch();
    let guests: Vec<Space> = (0..4).map(|_| lab.guest()).collect();
    for (n, vlan) in ["@10", "@10", "@20", "@10,20-30"].iter().enumerate() {
        lab.ok(&format!("ovs0 pid:{} 10.1.1.{}/24 {vlan}", guests[n].pid(), n + 1));
    }
    let port = lab.host.link(&format!("veth1pl{}", guests[0].pid()));
    assert_eq!((&port["master"], &port["mtu"]), (&Value::from("ovs-system"), &Value::from(1500)), "the kernel's datapath has it");
    assert_eq!(lab.host.link("ovs0")["linkinfo"]["info_kind"], "openvswitch");
    // The trunk's guest on VLAN 20, by a VLAN link of its own.
    guests[3].sh("ip link add link eth1 name eth1.20 type vlan id 20; ip link set eth1.20 up; ip addr add 10.2.2.4/24 dev eth1.20");
    guests[2].sh("ip addr add 10.2.2.3/24 dev eth1");
    guests[0].sh("ip addr add 10.2.2.1/24 dev eth1");
    eventually("10 reaches 10", || reaches(&guests[0], "10.1.1.2"));
    eventually("10 reaches the trunk untagged", || reaches(&guests[0], "10.1.1.4"));
    eventually("20 reaches the trunk tagged", || reaches(&guests[2], "10.2.2.4"));
    eventually("the trunk reaches 20 tagged", || reaches(&guests[3], "10.2.2.3"));
    assert!(!reaches(&guests[0], "10.1.1.3"), "10 reaches 20");
    assert!(!reaches(&guests[2], "10.1.1.1"), "20 reaches 10");
    assert!(!reaches(&guests[0], "10.2.2.4"), "10 reaches the trunk's 20");
    // The same again is nothing to do, and it is known by the database.
    for (n, vlan) in ["@10", "@10", "@20", "@10,20-30"].iter().enumerate() {
        let said = lab.run(&format!("-v ovs0 pid:{} 10.1.1.{}/24 {vlan}", guests[n].pid(), n + 1));
        assert!(said.code == Some(0) && said.err.contains("nothing to do"), "{}", said.err);
    }
    // A NIC that is a port of it is refused with the bridge to attach to.
    lab.host.sh("ip link add nic0 up type veth peer name far0");
    ovs.vsctl("add-port ovs0 nic0");
    let said = lab.fails(&format!("nic0 -i eth2 pid:{} 0/0", guests[0].pid()), "nic0 is a port of ovs0");
    assert!(said.contains("attach to ovs0"), "{said}");
    let rows = ovs.rows();
    assert!(rows.contains(&format!("ovs0 has veth1pl{}", guests[3].pid())), "{rows:?}");
}

#[test]
fn whichever_step_goes_wrong_the_bridge_its_link_and_its_port_go_again() {
    if cannot() {
        return;
    }
    let (lab, ovs) = with_switch();
    let guest = lab.guest();
    // The datapath's own device stays with the switch: it comes with its first bridge.
    ovs.vsctl("add-br keep");
    let state = || both(&lab, &guest).into_iter().chain(ovs.rows()).collect::<Vec<_>>();
    let before = state();
    rolls_back_on(&lab, &guest, Some(&ovs.address()), "ovs0 10.1.1.2/24@10.9.1.1 @10,20-30", Birth::Guest, &FAULTS, &state);
    ovs.vsctl("del-br ovs0");
    lab.host.sh(&format!("ip link del veth1pl{}", guest.pid()));
    let after: Vec<String> = state().into_iter().filter(|line| !line.starts_with("guest route default")).collect();
    assert_same(&before, &after, "ovs-vsctl takes away what is left");
}

#[test]
fn an_attachment_that_is_detached_leaves_the_kernels_switch_as_it_was() {
    if cannot() {
        return;
    }
    let (lab, ovs) = with_switch();
    // The datapath's own device stays with the switch: it comes with its first bridge.
    ovs.vsctl("add-br keep");
    there_and_back_in(&lab, "ovs0 10.1.1.2/24@10.9.1.1 @10", GUEST, |space| everything(&lab, space, &ovs));
}
