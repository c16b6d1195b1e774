//! What was changed by hand is told field by field, and mended in place by the fewest steps.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use lab::{Lab, Space, assert_same, both, no_root, settled};
use serde_json::Value;

fn lab() -> (Lab, Space, String) {
    let lab = Lab::new();
    let guest = lab.guest();
    let word = format!("pid:{}", guest.pid());
    (lab, guest, word)
}

/// The steps of a run with -v.
fn steps(lab: &Lab, line: &str) -> Vec<String> {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
    let lines = ran.err.lines().map(|line| line.trim_start_matches("pipework: ").to_owned());
    lines.filter(|line| !line.starts_with("done (") && !line.starts_with("nothing to do")).collect()
}

/// An attach that may have something to say of a bridge without an uplink.
fn attach(lab: &Lab, line: &str) {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
}

/// The fields that `diff --json` names, with exit status 2; none with 0.
fn drift(lab: &Lab, words: &str) -> Vec<String> {
    let ran = lab.run(&format!("diff --json {words}"));
    let report: Value = serde_json::from_str(ran.out.lines().next().unwrap_or_else(|| panic!("{}", ran.err))).unwrap();
    let fields: Vec<String> = report["differences"].as_array().unwrap().iter().map(|d| d["field"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ran.code, Some(if fields.is_empty() { 0 } else { 2 }), "{}", ran.out);
    fields
}

/// Something done by hand is named, mended by so many steps, and then all is as before.
#[track_caller]
fn mends(by_hand: impl Fn(&Lab, &Space), fields: &[&str], count: usize, words: &str) {
    let (lab, guest, word) = lab();
    lab.host.sh("ip link add br9 address 02:00:00:00:00:09 type bridge && ip link set br9 up");
    attach(&lab, &words.replace("GUEST", &word));
    let before = settled(&[&guest], || both(&lab, &guest));
    assert_eq!(drift(&lab, &word), [""; 0], "right after the attach");
    by_hand(&lab, &guest);
    assert_eq!(drift(&lab, &word), fields);
    let done = steps(&lab, &format!("repair -v {word}"));
    assert_eq!(done.len(), count, "{done:#?}");
    assert_eq!(drift(&lab, &word), [""; 0], "{done:#?}");
    let after = settled(&[&guest], || both(&lab, &guest));
    assert_same(&before, &after, "after the repair");
    assert_eq!(steps(&lab, &format!("repair -v {word}")), [""; 0]);
    lab.ok(&format!("detach {word}"));
    assert_eq!(guest.link("eth1"), Value::Null);
    assert!(lab.host.link("br1").is_null(), "the bridge that we made is left");
}

const PLAIN: &str = "br1 GUEST 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1";

#[test]
fn an_address_that_was_removed_is_named_and_put_back_by_one_step() {
    if no_root() {
        return;
    }
    mends(|_, guest| drop(guest.sh("ip addr del fd00::2/64 dev eth1")), &["address"], 1, PLAIN);
}

#[test]
fn a_link_that_was_set_down_is_set_up_with_what_the_kernel_took_away_with_it() {
    if no_root() {
        return;
    }
    // Going down takes the IPv6 addresses and all routes.
    let fields = ["state", "address", "default-route", "default-route"];
    mends(|_, guest| drop(guest.sh("ip link set eth1 down")), &fields, 4, PLAIN);
}

#[test]
fn a_host_end_that_was_moved_to_another_bridge_comes_back_by_one_step() {
    if no_root() {
        return;
    }
    let move_it = |lab: &Lab, guest: &Space| drop(lab.host.sh(&format!("ip link set veth1pl{} master br9", guest.pid())));
    mends(move_it, &["host-end"], 1, PLAIN);
}

#[test]
fn a_host_end_that_is_down_or_on_no_bridge_is_mended() {
    if no_root() {
        return;
    }
    let down = |lab: &Lab, guest: &Space| drop(lab.host.sh(&format!("ip link set veth1pl{} down nomaster", guest.pid())));
    mends(down, &["host-end-state", "host-end"], 2, PLAIN);
}

#[test]
fn an_mtu_and_a_mac_that_were_changed_are_put_back() {
    if no_root() {
        return;
    }
    let change = |_: &Lab, guest: &Space| drop(guest.sh("ip link set eth1 mtu 1400 address 02:00:00:00:00:99"));
    mends(change, &["mtu", "mac"], 2, "br1 GUEST 10.1.1.2/24 02:00:00:00:00:05");
}

#[test]
fn a_default_route_that_was_replaced_is_ours_again_by_two_steps() {
    if no_root() {
        return;
    }
    let change = |_: &Lab, guest: &Space| drop(guest.sh("ip route replace default via 10.1.1.9 dev eth1"));
    mends(change, &["default-route"], 2, "br1 GUEST 10.1.1.2/24@10.1.1.1");
}

#[test]
fn a_bridges_port_carries_its_vlans_again() {
    if no_root() || (!lab::has_kind("vlan filtering") && lab::skip("the kernel's bridges filter no VLANs")) {
        return;
    }
    let change = |lab: &Lab, guest: &Space| {
        let port = format!("veth1pl{}", guest.pid());
        drop(lab.host.sh(&format!("bridge vlan del dev {port} vid 10; bridge vlan add dev {port} vid 77")));
    };
    mends(change, &["vlan"], 2, "br1 GUEST 10.1.1.2/24 @10,20-30");
    let off = |lab: &Lab, _: &Space| drop(lab.host.sh("ip link set br1 type bridge vlan_filtering 0"));
    mends(off, &["vlan-filtering"], 1, "br1 GUEST 10.1.1.2/24 @10");
}

#[test]
fn routes_rules_and_shaping_that_are_gone_are_made_again() {
    if no_root() {
        return;
    }
    let words = "--route 10.9.0.0/16 --rate 10mbit/ --txqueuelen 500 br1 GUEST 10.1.1.2/24";
    let change = |lab: &Lab, guest: &Space| {
        drop(guest.sh("ip route del 10.9.0.0/16 && ip link set eth1 txqueuelen 100"));
        drop(lab.host.sh(&format!("tc qdisc del dev veth1pl{} root", guest.pid())));
    };
    mends(change, &["txqueuelen", "shaping", "route"], 3, words);
}
