//! Macvlan's modes and macvtap: who reaches whom, as ip-link(8) and the kernel's own comments have it
//! (drivers/net/macvlan.c), told by ping.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "lab/outside.rs"]
mod outside;

use lab::inside::every_step_rolls_back;
use lab::{Lab, Space, assert_same, both, no_root};
use outside::{FIRST, HOST, Network, SECOND, expect};
use serde_json::Value;

const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up";

#[test]
fn who_reaches_whom_is_as_the_mode_says() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    for (mode, each_other, each_other_by_hairpin) in
        [("--macvlan bridge", true, true), ("--macvlan vepa", false, true), ("--macvlan private", false, false), ("", true, true)]
    {
        net.lab.ok(&format!("{mode} nic0 pid:{} 10.1.1.1/24", a.pid()));
        net.lab.ok(&format!("{mode} nic0 pid:{} 10.1.1.2/24", b.pid()));
        expect(&a, &[(FIRST, true), (HOST, false), ("10.1.1.2", each_other)], mode);
        net.hairpin();
        expect(&a, &[("10.1.1.2", each_other_by_hairpin)], &format!("{mode} with a switch that sends frames back"));
        net.no_hairpin();
        [&a, &b].iter().for_each(|guest| drop(guest.sh("ip link del eth1")));
    }
}

#[test]
fn source_mode_hears_only_the_addresses_told() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    let line = format!("--macvlan source:{} nic0 pid:{} 10.1.1.1/24", net.first_mac(), a.pid());
    net.lab.ok(&line);
    expect(&a, &[(FIRST, true), (SECOND, false)], &line);
    net.lab.ok(&format!("--macvlan source:{},{} nic0 pid:{} 10.1.1.2/24", net.second_mac(), net.first_mac(), b.pid()));
    expect(&b, &[(FIRST, true), (SECOND, true)], "both allowed");
    expect(&net.lab.host, &[(FIRST, true)], "the host hears as before");
    net.lab.ok(&line);
    let other = line.replace(&net.first_mac(), &net.second_mac());
    let said = format!("kind is macvlan in source:{} mode, wanted macvlan in source:{} mode", net.first_mac(), net.second_mac());
    net.lab.fails(&other, &said);
}

#[test]
fn passthru_is_for_one_guest_who_gets_every_frame() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    let ran = net.lab.run(&format!("--macvlan passthru nic0 pid:{} 10.1.1.1/24", a.pid()));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("nic0 is the guest's alone"), "{}", ran.err);
    assert_eq!(a.link("eth1")["address"], net.lab.host.link("nic0")["address"]);
    expect(&a, &[(FIRST, true)], "the guest");
    expect(&net.lab.host, &[(FIRST, false)], "the host hears nothing any more");
    let before = both(&net.lab, &b);
    for mode in ["passthru", "bridge"] {
        let line = format!("--macvlan {mode} nic0 pid:{} 10.1.1.2/24", b.pid());
        let refused = net.lab.fails(&line, "nic0 carries macvlan in passthru mode eth1: a macvlan in passthru mode has its NIC to itself");
        assert!(refused.contains("use another NIC"), "{refused}");
    }
    // Without the option it is the kernel that refuses.
    net.lab.fails(&format!("nic0 pid:{} 10.1.1.2/24", b.pid()), "a NIC carries one macvlan in passthru mode and no other");
    assert_same(&before, &both(&net.lab, &b), "the second guest");
}

#[test]
fn passthru_never_takes_the_hosts_way_out() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let guest = net.lab.guest();
    net.lab.host.sh(&format!("ip route add default via {FIRST}"));
    let before = both(&net.lab, &guest);
    net.lab.fails(&format!("--macvlan passthru nic0 pid:{} 0/0", guest.pid()), "nic0 carries this host's default route: in passthru mode");
    assert_same(&before, &both(&net.lab, &guest), "what is refused");
    assert_eq!(net.lab.run(&format!("--force --macvlan passthru nic0 pid:{} 0/0", guest.pid())).code, Some(0));
}

#[test]
fn siblings_are_found_in_whatever_guest_they_are() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    net.lab.ok(&format!("nic0 -i lan0 pid:{} 0/0", a.pid()));
    net.lab.fails(
        &format!("--ipvlan l2 nic0 pid:{} 0/0", b.pid()),
        "nic0 carries macvlan in bridge mode lan0: macvlan and ipvlan cannot be together on a NIC",
    );
    net.lab.fails(
        &format!("--macvlan passthru nic0 pid:{} 0/0", b.pid()),
        "nic0 carries macvlan in bridge mode lan0: passthru mode wants the NIC to itself",
    );
    // A NIC of the same index in another namespace is another NIC.
    let far = Lab::new();
    let index = net.lab.host.link("nic0")["ifindex"].clone();
    far.host.sh(&format!("ip link add nic0 index {index} type veth peer name far0 index 77"));
    let ran = far.run(&format!("--macvlan passthru nic0 pid:{} 0/0", b.pid()));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_macvtap_is_up_and_has_its_device() {
    if no_root() {
        return;
    }
    let net = Network::new();
    for (option, mode, mac) in [
        ("--macvtap", "bridge", "02:00:00:00:00:07"),
        ("--macvtap=vepa", "vepa", "02:00:00:00:00:08"),
        ("--via-host --macvtap", "bridge", "02:00:00:00:00:09"),
    ] {
        let guest = net.lab.guest();
        let line = format!("{option} nic0 pid:{} 0/0 {mac}", guest.pid());
        net.lab.ok(&line);
        let link = guest.link("eth1");
        assert_eq!((&link["linkinfo"]["info_kind"], &link["linkinfo"]["info_data"]["mode"]), (&"macvtap".into(), &mode.into()));
        assert_eq!(link["address"], mac);
        assert!(link["flags"].as_array().unwrap().contains(&"UP".into()), "{link}");
        // sysfs shows the namespace that it was mounted in.
        let uevent = guest.sh(&format!(
            "unshare --mount sh -ec 'mount -t sysfs sys /sys; cat /sys/class/net/eth1/macvtap/tap{}/uevent'",
            link["ifindex"]
        ));
        assert!(uevent.contains(&format!("DEVNAME=tap{}", link["ifindex"])), "{uevent}");
        net.lab.ok(&line);
        net.lab.fails(&format!("nic0 pid:{} 0/0", guest.pid()), &format!("kind is macvtap in {mode} mode, wanted macvlan in bridge mode"));
    }
}

#[test]
fn one_mac_address_is_for_one_guest() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let (a, b) = (net.lab.guest(), net.lab.guest());
    net.lab.ok(&format!("--macvlan private nic0 pid:{} 0/0 U:one", a.pid()));
    let before = both(&net.lab, &b);
    net.lab.fails(&format!("--macvlan private nic0 pid:{} 0/0 U:one", b.pid()), "another macvlan of the same NIC has the MAC address");
    assert_same(&before, &both(&net.lab, &b), "the second guest");
}

#[test]
fn another_mode_than_before_is_a_difference_and_the_same_is_none() {
    if no_root() {
        return;
    }
    let net = Network::new();
    for mode in ["bridge", "vepa", "private"] {
        let guest = net.lab.guest();
        let line = format!("--macvlan {mode} nic0 pid:{} 10.1.1.2/24", guest.pid());
        net.lab.ok(&line);
        net.lab.ok(&line);
        let other = if mode == "vepa" { "private" } else { "vepa" };
        let said = format!("kind is macvlan in {mode} mode, wanted macvlan in {other} mode");
        net.lab.fails(&format!("--macvlan {other} nic0 pid:{} 10.1.1.2/24", guest.pid()), &said);
    }
}

#[test]
fn a_macvlan_on_a_macvlan_comes_to_lie_beside_it() {
    if no_root() {
        return;
    }
    let net = Network::new();
    let guest = net.lab.guest();
    net.lab.host.sh("ip link add link nic0 name mv0 type macvlan mode bridge; ip link set mv0 up");
    let line = format!("mv0 pid:{} 10.1.1.2/24", guest.pid());
    let ran = net.lab.run(&line);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("mv0 is itself a macvlan: the new link comes to lie beside it, on the NIC below"), "{}", ran.err);
    assert_eq!(guest.link("eth1")["link_index"], net.lab.host.link("nic0")["ifindex"]);
    net.lab.ok(&line);
}

#[test]
fn what_cannot_be_shared_is_said_before_anything_changes() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let pid = guest.pid();
    lab.host.sh(&format!("{NIC}; ip link add br0 up type bridge; ip link add p0 type veth peer name p1; ip link set p0 master br0"));
    let before = both(&lab, &guest);
    for (line, message) in [
        (format!("--macvlan vepa br0 pid:{pid} 0/0"), "--macvlan vepa is for NICs: br0 is a bridge"),
        (format!("--ipvlan l2 dummy pid:{pid} 0/0"), "--ipvlan l2 is for NICs: dummy is no interface at all"),
        (format!("--macvlan up nic0 pid:{pid} 0/0"), "give bridge, vepa, private, passthru, or source:MAC,MAC..."),
        (format!("--macvlan source nic0 pid:{pid} 0/0"), "source:MAC,MAC..."),
        (format!("--macvtap=l2 nic0 pid:{pid} 0/0"), "macvlan mode \"l2\""),
        (format!("--ipvlan bridge nic0 pid:{pid} 0/0"), "ipvlan mode \"bridge\": give l2, l3 or l3s"),
        (format!("--ipvlan l2 nic0 pid:{pid} 0/0 U:x"), "an ipvlan has the NIC's own MAC address"),
        (format!("--macvlan passthru nic0 pid:{pid} 0/0 U:x"), "a macvlan in passthru mode has the NIC's own MAC address"),
        (format!("--ipvlan l3 nic0 pid:{pid} dhcp"), "dhcp cannot work with --ipvlan l3"),
        (format!("--macvlan vepa p0 pid:{pid} 0/0"), "p0 is a port of br0: no macvlan or ipvlan can share it"),
        (format!("--ipvlan l2 p0 pid:{pid} 0/0"), "p0 is a port of br0: no macvlan or ipvlan can share it"),
        (format!("--macvlan vepa lo pid:{pid} 0/0"), "lo is not an Ethernet interface"),
        (format!("--macvlan vepa --ipvlan l2 nic0 pid:{pid} 0/0"), "cannot be used with"),
        (format!("--macvtap --macvlan vepa nic0 pid:{pid} 0/0"), "cannot be used with"),
        (format!("--direct-phys --macvlan vepa nic0 pid:{pid} 0/0"), "cannot be used with"),
    ] {
        lab.fails(&line, message);
        assert_same(&before, &both(&lab, &guest), &line);
    }
}

#[test]
fn every_step_of_every_kind_rolls_back() {
    if no_root() {
        return;
    }
    for option in ["--macvlan=passthru", "--macvlan=source:02:00:00:00:00:08", "--macvtap=bridge"] {
        every_step_rolls_back(&format!("{option} nic0 0/0"), NIC, "true");
    }
}

#[test]
fn printed_commands_make_the_same_links() {
    if no_root() {
        return;
    }
    for option in ["--macvlan vepa", "--macvlan source:02:00:00:00:00:08,02:00:00:00:00:09", "--via-host --macvtap=private"] {
        let lab = Lab::new();
        let (printed, attached): (Space, Space) = (lab.guest(), lab.guest());
        lab.host.sh(NIC);
        let dry = lab.run(&format!("{option} --dry-run nic0 pid:{} 10.1.1.2/24", printed.pid()));
        assert_eq!(dry.code, Some(0), "{}", dry.err);
        lab.host.sh(&dry.out);
        assert_eq!(lab.run(&format!("{option} nic0 pid:{} 10.1.1.2/24", attached.pid())).code, Some(0));
        let info = |guest: &Space| guest.link("eth1")["linkinfo"].clone();
        assert_ne!(info(&printed), Value::Null);
        assert_eq!(info(&printed), info(&attached), "{}", dry.out);
    }
}
