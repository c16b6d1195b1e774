//! Detach: both sides as before, whatever the kind of link, and whatever has become of the guest.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::detached::{GUEST, files, there_and_back};
use lab::{Lab, Space, assert_same, both, eventually, no_root, settled};
use serde_json::Value;

const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up";
const USED_NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up; ip link set nic0 up; \
    ip addr add 192.168.7.2/24 dev nic0; ip addr add fd07::2/64 dev nic0 nodad; ip route add 10.77.0.0/16 via 192.168.7.1";
const OLD_BRIDGE: &str =
    "ip link add br0 address 02:00:00:00:00:05 up type bridge; ip link add p0 type veth peer name p1; ip link set p0 master br0";

#[test]
fn every_kind_of_link_leaves_both_sides_as_they_were() {
    if no_root() {
        return;
    }
    for (words, host, guest) in [
        ("br0 10.1.1.2/24@10.9.1.1 02:00:00:00:00:01", "true", GUEST),
        ("br0 10.1.1.2/24", OLD_BRIDGE, "true"),
        ("br0 fd00::2/64@fd00::1", OLD_BRIDGE, GUEST),
        ("br0 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1", "true", GUEST),
        ("br0 fd00::2/64", "true", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1"),
        ("nic0 10.1.1.2/24@10.1.1.1 U:x", NIC, GUEST),
        ("nic0 0/0", NIC, "true"),
        ("--direct-phys nic0 10.1.1.2/24@10.1.1.1 U:y", USED_NIC, GUEST),
        ("--direct-phys nic0 0/0", NIC, "true"),
        ("--via-host nic0 10.1.1.2/24@10.1.1.1", NIC, GUEST),
        ("--via-host br0 10.1.1.2/24@10.1.1.1", OLD_BRIDGE, GUEST),
    ] {
        // there_and_back() wants the interface first.
        match words.split_once(' ').filter(|(first, _)| first.starts_with("--")) {
            Some((option, words)) => there_and_back(&format!("{words} {option}"), host, guest),
            None => there_and_back(words, host, guest),
        }
    }
}

#[test]
fn host_access_goes_with_the_guests_interface() {
    if no_root() {
        return;
    }
    there_and_back("nic0 192.168.7.3/24 --host-access", USED_NIC, GUEST);
}

#[test]
fn the_bridge_goes_with_its_last_guest_and_never_while_it_has_something_of_others() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guests = [lab.guest(), lab.guest()];
    let attach = |n: usize| lab.ok(&format!("br0 pid:{} 10.1.1.{}/24", guests[n].pid(), n + 2));
    let detach = |n: usize| lab.ok(&format!("detach pid:{}", guests[n].pid()));
    let there = || lab.host.try_sh("ip link show br0");
    attach(0);
    attach(1);
    detach(0);
    assert!(there(), "another guest is on it");
    detach(1);
    assert!(!there());
    for foreign in
        ["ip link add p0 type dummy || ip link add p0 type veth peer name p1; ip link set p0 master br0", "ip addr add 10.1.1.1/24 dev br0"]
    {
        attach(0);
        lab.host.sh(foreign);
        detach(0);
        assert!(there(), "{foreign}");
        lab.host.sh("ip link del br0; ip link del p0 2>/dev/null || true");
    }
    // One that was there before is nobody's to remove.
    lab.host.sh("ip link add br0 up type bridge");
    attach(0);
    detach(0);
    assert!(there());
}

#[test]
fn a_nic_that_was_set_up_is_set_down_by_the_last_that_leaves_it() {
    if no_root() {
        return;
    }
    for dies in [false, true] {
        let lab = Lab::new();
        lab.host.sh(NIC);
        let before = settled(&[&lab.host], || lab.host.state());
        let (first, second) = (lab.guest(), lab.guest());
        let (one, two) = (format!("pid:{}", first.pid()), format!("pid:{}", second.pid()));
        lab.ok(&format!("nic0 {one} 10.1.1.2/24"));
        lab.ok(&format!("nic0 {two} 10.1.1.3/24"));
        lab.ok(&format!("nic0 -i eth2 {two} 10.1.1.4/24"));
        if dies {
            drop(first);
            eventually("it is cleared up", || lab.run("gc").out.contains(&one));
        } else {
            lab.ok(&format!("detach {one}"));
        }
        let is_up = || lab.host.link("nic0")["flags"].as_array().unwrap().contains(&"UP".into());
        assert!(is_up(), "another guest is on it");
        lab.ok(&format!("detach {two} -i eth2"));
        assert!(is_up(), "the other's first interface is on it");
        lab.ok(&format!("detach {two}"));
        assert_same(&before, &settled(&[&lab.host], || lab.host.state()), &format!("the first one died: {dies}"));
        assert_eq!(files(&lab), [""; 0]);
    }
}

#[test]
fn the_default_route_comes_back_in_whatever_order_interfaces_go() {
    if no_root() {
        return;
    }
    for order in [["eth1", "eth2"], ["eth2", "eth1"]] {
        let lab = Lab::new();
        let guest = lab.guest();
        guest.sh(GUEST);
        let before = guest.routes();
        for (interface, subnet) in [("eth1", 1), ("eth2", 2)] {
            let line = format!("-i {interface} br0 pid:{} 10.1.{subnet}.2/24@10.1.{subnet}.1", guest.pid());
            assert_eq!(lab.run(&line).code, Some(0));
        }
        lab.fails(&format!("detach pid:{}", guest.pid()), "several attachments: eth1, eth2");
        for interface in order {
            lab.ok(&format!("detach pid:{} -i {interface}", guest.pid()));
        }
        assert_eq!(guest.routes(), before, "{order:?}");
        assert!(!lab.host.try_sh("ip link show br0"));
    }
}

#[test]
fn all_interfaces_go_at_once_when_asked() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let before = both(&lab, &guest);
    for n in 1..4 {
        lab.ok(&format!("-i eth{n} br{n} pid:{} 10.{n}.1.2/24", guest.pid()));
    }
    let report = lab.run(&format!("detach pid:{} --all --json", guest.pid()));
    let report: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!((&report["result"], report["interfaces"].as_array().unwrap().len()), (&"detached".into(), 3));
    assert_same(&before, &both(&lab, &guest), "all");
}

#[test]
fn a_dry_run_prints_what_would_be_done_and_does_nothing() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24", guest.pid()));
    let attached = both(&lab, &guest);
    let ran = lab.run(&format!("detach pid:{} --dry-run", guest.pid()));
    assert_eq!((ran.code, ran.out.contains("ip link del veth1pl")), (Some(0), true), "{}", ran.out);
    assert_same(&attached, &both(&lab, &guest), "a dry run");
    // A name that somebody gave it is taken away first.
    guest.sh("ip link set eth1 down; ip link set eth1 name lan0");
    let ran = lab.run(&format!("detach pid:{} --dry-run", guest.pid()));
    assert!(ran.out.contains("link set dev lan0 name eth1"), "{}", ran.out);
    lab.ok(&format!("detach pid:{}", guest.pid()));
}

#[test]
fn a_guest_that_died_is_detached_by_the_word_that_it_had() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.host.state();
    let guest = lab.guest();
    let pid = guest.pid();
    lab.ok(&format!("br0 pid:{pid} 10.1.1.2/24"));
    drop(guest);
    eventually("the veth goes with its guest", || !lab.host.sh("ip link").contains("veth1pl"));
    lab.ok(&format!("detach pid:{pid}"));
    assert_same(&before, &lab.host.state(), "a dead guest");
    assert_eq!(lab.files(), "");
    let ran = lab.run(&format!("detach pid:{pid}"));
    assert_eq!((ran.code, ran.err.contains("nothing is known of")), (Some(0), true), "{}", ran.err);
}

#[test]
fn a_new_guest_whose_namespace_has_a_dead_ones_number_has_nothing_of_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let (pid, number) = (guest.pid(), guest.sh("stat -Lc %i /proc/self/ns/net"));
    lab.ok(&format!("br0 pid:{pid} 10.1.1.2/24"));
    drop(guest);
    // The kernel gives the lowest number that is free.
    let mut others = Vec::new();
    let again = (0..64).map(|_| lab.guest()).find(|space| {
        let same = space.sh("stat -Lc %i /proc/self/ns/net") == number;
        others.push(space.pid());
        same
    });
    let Some(again) = again else { return };
    let before = again.state();
    lab.ok(&format!("br0 pid:{} 10.1.1.3/24", again.pid()));
    assert_eq!(again.addrs("eth1"), ["10.1.1.3/24"]);
    lab.ok(&format!("detach pid:{}", again.pid()));
    assert_same(&before, &again.state(), "the second guest");
}

#[test]
fn what_the_original_made_is_known_by_its_name_and_what_others_made_needs_force() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let before = guest.state();
    lab.host.sh("ip link add br0 address 02:00:00:00:00:05 up type bridge");
    let host = lab.host.state();
    let pid = guest.pid();
    let make = |name: &str| {
        lab.host.sh(&format!("ip link add {name} master br0 up type veth peer name eth1 netns {pid}"));
        guest.sh("ip addr add 10.1.1.2/24 dev eth1; ip link set eth1 up");
    };
    make(&format!("veth1pl{pid}"));
    lab.ok(&format!("detach pid:{pid}"));
    assert_same(&before, &guest.state(), "the original's");
    assert_same(&host, &lab.host.state(), "the original's");
    make("somebodys");
    let attached = both(&lab, &guest);
    lab.ok(&format!("detach pid:{pid}"));
    lab.fails(&format!("detach pid:{pid} -i eth1"), "bears no mark or name of pipework's");
    assert_same(&attached, &both(&lab, &guest), "refused");
    lab.ok(&format!("detach pid:{pid} -i eth1 --force"));
    assert_same(&before, &guest.state(), "forced");
}

#[test]
fn a_link_that_was_renamed_or_deleted_by_hand_goes_with_all_that_was_made_for_it() {
    if no_root() {
        return;
    }
    for (words, by_hand) in [
        ("br0 10.1.1.2/24@10.1.1.1", "ip link set eth1 down; ip link set eth1 name lan0; ip link set lan0 up"),
        ("nic0 10.1.1.2/24@10.1.1.1", "ip link set eth1 down; ip link set eth1 name lan0; ip link set lan0 up"),
        ("br0 10.1.1.2/24@10.1.1.1", "ip link del eth1"),
        ("nic0 10.1.1.2/24@10.1.1.1", "ip link del eth1"),
    ] {
        let lab = Lab::new();
        lab.host.sh(NIC);
        lab.host.sh("ip link set nic0 up");
        let guest = lab.guest();
        guest.sh(GUEST);
        let before = settled(&[&lab.host, &guest], || both(&lab, &guest));
        let (host_if, addr) = words.split_once(' ').unwrap();
        assert_eq!(lab.run(&format!("{host_if} pid:{} {addr}", guest.pid())).code, Some(0));
        guest.sh(by_hand);
        lab.ok(&format!("detach pid:{}", guest.pid()));
        assert_same(&before, &settled(&[&lab.host, &guest], || both(&lab, &guest)), &format!("{words}, {by_hand}"));
    }
}

#[test]
fn a_nic_whose_name_on_the_host_is_taken_meanwhile_waits_until_it_is_free() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh(USED_NIC);
    let guest = lab.guest();
    let before = settled(&[&lab.host, &guest], || both(&lab, &guest));
    lab.ok(&format!("--direct-phys nic0 pid:{} 10.1.1.2/24", guest.pid()));
    lab.host.sh("ip link add nic0 type bridge");
    let foreign = lab.host.state();
    lab.fails(&format!("detach pid:{}", guest.pid()), "move eth1 in the guest back to the host as nic0: File exists");
    assert_same(&foreign, &lab.host.state(), "the other of that name is left alone");
    lab.host.sh("ip link del nic0");
    assert_eq!(lab.run("gc").code, Some(0));
    assert_same(&before, &settled(&[&lab.host, &guest], || both(&lab, &guest)), "once the name is free");
    assert_eq!(lab.files(), "");
}

#[test]
fn another_link_of_our_name_is_left_alone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24", guest.pid()));
    // Ours is gone, and somebody made one of the same name on the host.
    guest.sh("ip link del eth1");
    lab.host.sh(&format!("ip link add veth1pl{} type veth peer name other", guest.pid()));
    lab.fails(&format!("detach pid:{}", guest.pid()), "does not bear our mark");
    assert!(lab.host.try_sh("ip link show other"));
    lab.host.sh("ip link del other");
    assert_eq!(lab.run("gc").code, Some(0));
    assert_eq!(lab.files(), "");
}

#[test]
fn a_wrong_word_says_what_to_type() {
    let lab = Lab { host: Space::here(), dir: tempfile::tempdir().unwrap() };
    lab.fails("detach a/b", "guest \"a/b\"");
    lab.fails("detach web -i eth1:2", "interface name");
    lab.fails("detach web -i eth1 --all", "cannot be used with");
}
