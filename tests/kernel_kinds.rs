//! Kinds of link that this machine's own kernel may not have (802.1Q, dummy): run under another one, with
//! `scripts/uml-run`, by `scripts/test`.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::detached::{self, GUEST, files};
use lab::inside::{every_step_rolls_back, request, there_and_back};
use lab::{Lab, eventually, has_kind, no_root, skip};
use pipework::plan::Birth;
use serde_json::Value;

const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up";

fn cannot(kind: &str) -> bool {
    no_root() || (!has_kind(kind) && skip(&format!("this kernel has no {kind}; scripts/uml-run gives one that has")))
}

#[test]
fn a_vlan_child_is_made_when_absent_and_used_when_there() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.guest(), lab.guest());
    lab.host.sh(NIC);
    lab.ok(&format!("nic0 pid:{} 10.1.1.2/24 @10", a.pid()));
    let child = lab.host.link("nic0.10");
    assert_eq!(
        (&child["linkinfo"]["info_data"]["id"], &child["mtu"], &child["link"]),
        (&Value::from(10), &Value::from(1450), &Value::from("nic0"))
    );
    assert!(lab.host.link("nic0")["flags"].as_array().unwrap().contains(&"UP".into()));
    lab.ok(&format!("nic0 pid:{} 10.1.1.3/24 02:00:00:00:00:03@10", b.pid()));
    assert_eq!(b.link("eth1")["address"], "02:00:00:00:00:03");
    a.sh("ping -c1 -W2 10.1.1.3");
    lab.ok(&format!("nic0 pid:{} 10.1.1.2/24 @10", a.pid()));
    lab.fails(&format!("nic0 pid:{} 10.1.1.2/24 @11", a.pid()), "the parent is interface");
}

#[test]
fn a_foreign_link_with_the_childs_name_is_refused() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(&format!("{NIC}; ip link add nic0.10 type bridge; ip link add link nic0 name nic0.11 type vlan id 12; ip link add nic1 type veth peer name far1; ip link add link nic1 name nic0.13 type vlan id 13"));
    let before = lab.host.state();
    for vlan in [10, 11, 13] {
        lab.fails(
            &format!("nic0 pid:{} 0/0 @{vlan}", guest.pid()),
            &format!("nic0.{vlan} already exists but is not a VLAN device for tag {vlan} on nic0"),
        );
    }
    lab::assert_same(&before, &lab.host.state(), "the host");
}

#[test]
fn a_vlan_child_moves_whole_with_direct_phys() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(NIC);
    let line = format!("--direct-phys nic0 pid:{} 10.1.1.2/24 @10", guest.pid());
    lab.ok(&line);
    assert_eq!(guest.link("eth1")["linkinfo"]["info_kind"], "vlan");
    assert_eq!(lab.host.link("nic0.10"), Value::Null);
    lab.ok(&line);
}

#[test]
fn a_host_has_access_to_a_guest_on_a_vlan_through_the_vlan_child() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(NIC);
    let line = format!("--host-access nic0 pid:{} 10.1.1.2/24 @10", guest.pid());
    lab.fails(&line, "no IPv4 address on nic0.10");
    assert_eq!(lab.host.link("nic0.10"), Value::Null);
    // ping(8) asks for IPv6 too: where that is a module, it is loaded now rather than in between.
    lab.host.try_sh("ping -c1 -W1 ::1");
    lab.host.sh("ip link set nic0 up; ip link add link nic0 name nic0.10 type vlan id 10; ip link set nic0.10 up; ip addr add 10.1.1.1/24 dev nic0.10");
    let before = lab.host.state();
    lab.ok(&line);
    lab.ok(&line);
    assert_eq!(lab.host.link("pws-nic0.10")["link"], "nic0.10");
    lab.host.sh("ping -c1 -W2 10.1.1.2");
    guest.sh("ping -c1 -W2 10.1.1.1");
    lab.run(&format!("host-access --remove pid:{}", guest.pid()));
    lab::assert_same(&before, &lab.host.state(), "the host");
}

#[test]
fn a_dummy_has_address_and_gateway() {
    if cannot("dummy") {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let line = format!("dummy pid:{} 192.168.21.101/24@192.168.21.1 U:dum", guest.pid());
    lab.ok(&line);
    lab.ok(&line);
    assert_eq!(guest.link("eth1")["linkinfo"]["info_kind"], "dummy");
    assert!(guest.routes().contains(&"default via 192.168.21.1 dev eth1".to_owned()));
    assert_eq!(lab.host.ip("link show").as_array().unwrap().len(), 1, "nothing on the host");
}

#[test]
fn links_made_on_the_host_and_moved_come_to_the_same_end_state() {
    if cannot("vlan") || cannot("dummy") {
        return;
    }
    for words in [
        "br0 G 10.1.1.2/24@10.1.1.1 U:a",
        "nic0 G 10.1.1.2/24 U:b",
        "nic0 G 10.1.1.2/24 U:c@7",
        "dummy G fd00::2/64 U:d",
        "--direct-phys nic0 G 10.1.1.2/24 U:f@9",
        "--direct-phys nic0 G 0/0 U:e",
    ] {
        let states: Vec<Vec<String>> = ["", "--via-host "]
            .iter()
            .map(|birth| {
                let lab = Lab::new();
                let guest = lab.guest();
                lab.host.sh(&format!("ip link add br0 address 02:00:00:00:00:05 up type bridge; {NIC}"));
                lab.ok(&format!("{birth}{}", words.replace('G', &format!("pid:{}", guest.pid()))));
                // Indexes and the addresses that nobody asked for differ by themselves.
                lab::both(&lab, &guest)
                    .iter()
                    .map(|line| {
                        let line = line.replace(&guest.pid().to_string(), "PID");
                        let line = line.split(" index ").next().unwrap().to_owned();
                        if line.starts_with("guest link") { line } else { line.split(" mac ").next().unwrap().to_owned() }
                    })
                    .collect()
            })
            .collect();
        lab::assert_same(&states[0], &states[1], words);
    }
}

#[test]
fn every_step_with_a_vlan_rolls_back() {
    if cannot("vlan") {
        return;
    }
    every_step_rolls_back("nic0 10.1.1.2/24@10.1.1.1 U:x@10", NIC, "true");
    every_step_rolls_back("--direct-phys nic0 10.1.1.2/24 U:x@10", NIC, "true");
    let child = format!(
        "{NIC}; ip link set nic0 up; ip link add link nic0 name nic0.10 type vlan id 10; ip link set nic0.10 up; ip addr add 10.7.7.7/24 dev nic0.10"
    );
    every_step_rolls_back("--direct-phys nic0 10.1.1.2/24 @10", &child, "true");
    // Another VLAN child goes up, and down again, with the NIC.
    every_step_rolls_back("nic0 10.1.1.2/24 @10", &format!("{NIC}; ip link add link nic0 name nic0.20 type vlan id 20"), "true");
}

#[test]
fn a_vlan_child_that_was_made_stays_when_another_guest_came_to_lie_on_it() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    let (guest, other) = (lab.guest(), lab.guest());
    lab.host.sh(NIC);
    let request = request("nic0 10.1.1.2/24 @10", &guest);
    there_and_back(&lab.host, &request, Birth::Guest, || lab.ok(&format!("nic0 pid:{} 10.1.1.3/24 @10", other.pid())));
    assert_eq!(guest.link("eth1"), Value::Null);
    eventually("the other's link is neither gone nor cut off", || other.link("eth1")["operstate"] == "UP");
    other.sh("ip link del eth1");
    lab.host.sh("ip link del nic0.10");
    there_and_back(&lab.host, &request, Birth::Guest, || assert_eq!(lab.host.link("nic0.10")["link"], "nic0"));
    assert_eq!(lab.host.link("nic0.10"), Value::Null, "nobody is left who needs it");
}

#[test]
fn many_at_once_that_all_make_the_vlan_child_end_well() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    lab.host.sh(NIC);
    let guests: Vec<_> = (0..6).map(|_| lab.guest()).collect();
    let start = |(n, guest): (usize, &lab::Space)| {
        let line = format!("nic0 pid:{} 10.1.1.{}/24 @10", guest.pid(), n + 2);
        lab.program().args(line.split(' ')).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = guests.iter().enumerate().map(start).collect();
    for child in running {
        let ran: lab::Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    }
    // The kernel tells it a moment later (linkwatch).
    eventually("every guest's link is up", || guests.iter().all(|guest| guest.link("eth1")["operstate"] == "UP"));
}

#[test]
fn every_step_with_a_dummy_rolls_back() {
    if cannot("dummy") {
        return;
    }
    every_step_rolls_back("dummy 10.1.1.2/24@10.1.1.1 U:x", "true", "true");
}

/// A VLAN child that was there, with what it has.
const CHILD: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up; ip link set nic0 up; \
    ip link add link nic0 name nic0.10 type vlan id 10; ip link set nic0.10 up; ip addr add 10.7.7.7/24 dev nic0.10";

#[test]
fn a_vlan_child_or_a_dummy_that_is_detached_leaves_both_sides_as_they_were() {
    if cannot("vlan") || cannot("dummy") {
        return;
    }
    for (words, host, guest) in [
        ("nic0 10.1.1.2/24@10.9.1.1 U:x@10", NIC, GUEST),
        ("nic0 10.1.1.2/24 @10", CHILD, "true"),
        ("nic0 10.1.1.2/24 @20 --direct-phys", CHILD, "true"),
        ("nic0 10.1.1.2/24@10.1.1.1 U:x@10 --direct-phys", CHILD, GUEST),
        ("dummy 10.1.1.2/24,fd00::2/64@10.1.1.1 U:x", "true", GUEST),
    ] {
        detached::there_and_back(words, host, guest);
    }
}

#[test]
fn a_vlan_child_goes_with_its_last_guest_whether_that_lives_or_not() {
    if cannot("vlan") {
        return;
    }
    let lab = Lab::new();
    lab.host.sh(NIC);
    // ping(8) asks for IPv6 too: where that is a module, it is loaded now rather than in between.
    lab.host.try_sh("ping -c1 -W1 ::1");
    let before = lab.host.state();
    let guests: Vec<_> = (0..3).map(|_| lab.guest()).collect();
    let pids: Vec<u32> = guests.iter().map(lab::Space::pid).collect();
    for (n, pid) in pids.iter().enumerate() {
        lab.ok(&format!("nic0 pid:{pid} 10.1.1.{}/24 @10", n + 2));
    }
    lab.ok(&format!("detach pid:{}", pids[0]));
    guests[1].sh("ping -c1 -W2 10.1.1.4");
    let mut guests = guests.into_iter();
    drop(guests.next_back());
    lab.ok(&format!("detach pid:{}", pids[2]));
    assert_eq!(lab.host.link("nic0.10")["link"], "nic0", "another guest is on it");
    drop(guests);
    lab.ok(&format!("detach pid:{}", pids[1]));
    lab::assert_same(&before, &lab.host.state(), "its last guest left");
    assert_eq!(files(&lab), [""; 0]);
}
