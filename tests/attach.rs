//! Attaching in a lab: real kernel, plain namespaces as guests, iproute2 as the judge.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::{Lab, assert_same, both, has_netns_link, no_root};
use serde_json::Value;

#[test]
fn a_bridge_is_made_with_a_pinned_address_and_the_guest_is_on_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24", guest.pid()));
    let bridge = lab.host.link("br0");
    assert_eq!(bridge["linkinfo"]["info_kind"], "bridge");
    assert_eq!(bridge["operstate"], "UP");
    let port = lab.host.link(&format!("veth1pl{}", guest.pid()));
    assert_eq!(port["master"], "br0");
    assert_ne!(port["address"], bridge["address"], "the bridge has an address of its own");
    assert_eq!(guest.addrs("eth1"), ["10.1.1.2/24"]);
    assert_eq!(guest.link("eth1")["operstate"], "UP");
    assert_eq!(guest.routes(), ["10.1.1.0/24 dev eth1 proto kernel scope link src 10.1.1.2"]);
    assert!(!has_netns_link(guest.pid()));
}

#[test]
fn two_guests_on_a_bridge_reach_each_other_over_ipv4_and_ipv6() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.guest(), lab.guest());
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24", a.pid()));
    lab.ok(&format!("br0 pid:{} 10.1.1.3/24", b.pid()));
    lab.ok(&format!("br0 -i eth2 pid:{} fd00::2/64", a.pid()));
    lab.ok(&format!("br0 -i eth2 pid:{} fd00::3/64", b.pid()));
    a.sh("ping -c1 -W2 10.1.1.3");
    lab::eventually("IPv6 reaches the other guest", || a.try_sh("ping -c1 -W1 fd00::3"));
}

#[test]
fn a_gateway_replaces_the_default_route_and_one_off_the_subnet_gets_a_host_route_first() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24@10.1.1.1", guest.pid()));
    assert!(guest.routes().contains(&"default via 10.1.1.1 dev eth1".to_owned()));
    lab.ok(&format!("br0 -i eth2 pid:{} 10.2.2.2/24@172.16.0.1", guest.pid()));
    let routes = guest.routes();
    assert_eq!(routes.iter().filter(|r| r.starts_with("default")).collect::<Vec<_>>(), [&"default via 172.16.0.1 dev eth2".to_owned()]);
    assert!(routes.contains(&"172.16.0.1 dev eth2 scope link".to_owned()), "{routes:?}");
    lab.ok(&format!("br0 -i eth3 pid:{} fd00:1::2/64@fd00:9::1", guest.pid()));
    let routes = guest.routes();
    assert!(routes.iter().any(|r| r.starts_with("default via fd00:9::1 dev eth3")), "{routes:?}");
    assert!(routes.iter().any(|r| r.starts_with("fd00:9::1 dev eth3")), "{routes:?}");
}

#[test]
fn the_same_request_again_changes_nothing_and_another_is_refused_with_the_differences() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    lab.host.sh("ip link add br0 up type bridge");
    let guest = lab.guest();
    let pid = guest.pid();
    for (line, other, difference) in [
        (
            format!("br0 pid:{pid} 10.1.1.2/24@10.1.1.1"),
            format!("br0 pid:{pid} 10.1.1.3/24@10.1.1.1"),
            "address is 10.1.1.2/24, wanted 10.1.1.3/24",
        ),
        (format!("nic0 -i eth5 pid:{pid} 10.5.1.2/24"), format!("br0 -i eth5 pid:{pid} 10.5.1.2/24"), "kind is macvlan, wanted veth"),
        (
            format!("br0 -i eth6 pid:{pid} 0/0 02:00:00:00:00:01"),
            format!("br0 -i eth6 pid:{pid} 0/0 02:00:00:00:00:02"),
            "MAC address is 02:00:00:00:00:01",
        ),
        (format!("br0 -i eth7 pid:{pid} fd00::7/64"), format!("br0 -i eth7 -l other pid:{pid} fd00::7/64"), "the host end's name"),
    ] {
        lab.ok(&line);
        let before = both(&lab, &guest);
        lab.ok(&line);
        let said = lab.run(&format!("-v {line}"));
        assert!(said.err.contains("nothing to do"), "{}", said.err);
        lab.fails(&other, difference);
        assert_same(&before, &both(&lab, &guest), &line);
    }
}

#[test]
fn the_host_interfaces_mtu_is_on_both_ends() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host
        .sh("ip link add br0 mtu 1400 up type bridge; ip link add keep mtu 1400 type veth peer name keep1; ip link set keep master br0");
    lab.ok(&format!("br0 -l far pid:{} 0/0", guest.pid()));
    assert_eq!((lab.host.link("far")["mtu"].as_u64(), guest.link("eth1")["mtu"].as_u64()), (Some(1400), Some(1400)));
}

#[test]
fn a_nic_is_shared_by_macvlan_and_set_up() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let switch = lab.nic("nic0");
    switch.sh("ip addr add 10.3.3.1/24 dev port0");
    let guest = lab.guest();
    lab.ok(&format!("nic0 pid:{} 10.3.3.2/24@10.3.3.1 U:myhost.foo.com", guest.pid()));
    let link = guest.link("eth1");
    assert_eq!(link["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
    assert_eq!(link["address"], "02:72:6c:cd:9b:8d");
    guest.sh("ping -c1 -W2 10.3.3.1");
}

#[test]
fn a_nic_moves_into_the_guest_and_is_known_there_again() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    let mac = lab.host.link("nic0")["address"].as_str().unwrap().to_owned();
    let guest = lab.guest();
    let line = format!("--direct-phys mac:{mac} -i container0 pid:{} 10.3.3.2/24", guest.pid());
    lab.ok(&line);
    assert_eq!(lab.host.link("nic0"), Value::Null);
    assert_eq!(guest.link("container0")["address"], mac.as_str());
    assert_eq!(guest.addrs("container0"), ["10.3.3.2/24"]);
    lab.ok(&line);
    lab.ok(&format!("--direct-phys nic0 -i container0 pid:{} 10.3.3.2/24", guest.pid()));
    lab.fails(&format!("--direct-phys nic7 -i container0 pid:{} 10.3.3.2/24", guest.pid()), "I do not know how to setup interface nic7");
}

#[test]
fn a_nic_that_the_host_needs_is_not_taken_without_force() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    lab.host.sh("ip addr add 10.3.3.9/24 dev nic0; ip link set nic0 up; ip route add default via 10.3.3.1");
    let guest = lab.guest();
    let before = lab.host.state();
    lab.fails(&format!("--direct-phys nic0 pid:{} 0/0", guest.pid()), "carries this host's default route");
    assert_same(&before, &lab.host.state(), "the host");
    lab.ok(&format!("--direct-phys --force nic0 pid:{} 0/0", guest.pid()));
    let (_far, other) = (lab.nic("nic1"), lab.guest());
    lab.host.sh("ip link add link nic1 name mv0 type macvlan");
    lab.fails(&format!("--direct-phys nic1 pid:{} 0/0", other.pid()), "nic1 carries mv0: they would go down");
}

#[test]
fn a_nic_that_another_guest_shares_is_not_taken_without_force() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    let (sharing, taking) = (lab.guest(), lab.guest());
    lab.ok(&format!("nic0 pid:{} 10.3.3.2/24", sharing.pid()));
    let before = lab.host.state();
    lab.fails(&format!("--direct-phys nic0 pid:{} 0/0", taking.pid()), "nic0 carries eth1 of a guest: they would go down");
    assert_same(&before, &lab.host.state(), "the host");
    lab.ok(&format!("--direct-phys --force nic0 pid:{} 0/0", taking.pid()));
}

#[test]
fn what_cannot_be_is_said_before_anything_changes() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    let guest = lab.guest();
    let pid = guest.pid();
    lab.host.sh("ip link add br0 up type bridge; ip link add brport up type bridge; ip link set nic0 master brport; ip link add inuse up type veth peer name inuse1");
    guest.sh("ip link add eth9 type bridge; ip addr add 10.9.9.9/24 dev eth9");
    let before = both(&lab, &guest);
    for (line, message) in [
        (format!("eth77 pid:{pid} 0/0"), "I do not know how to setup interface eth77."),
        (
            format!("mac:02:00:00:00:00:77 pid:{pid} 0/0"),
            "Mac address 02:00:00:00:00:77 specified for interface but no host interface matched.",
        ),
        (format!("br0 pid:{pid} 10.1.1.1"), "Maybe you meant 10.1.1.1/24 ?"),
        (format!("br0 -i sixteen-bytes-16 pid:{pid} 0/0"), "the kernel takes at most 15"),
        (format!("br0 -l inuse pid:{pid} 0/0"), "Link inuse exists and is up"),
        (format!("br0 -l brport pid:{pid} 0/0"), "not a veth pair's end but bridge"),
        (format!("nic0 pid:{pid} 0/0"), "nic0 is a port of brport: no macvlan or ipvlan can share it"),
        (format!("--direct-phys nic0 pid:{pid} 0/0"), "nic0 is a port of brport"),
        (format!("br0 pid:{pid} 10.9.9.9/24"), "the guest has 10.9.9.9/24 already, on eth9"),
        (format!("br0 -i eth9 pid:{pid} 0/0"), "eth9 exists in the guest and is not as asked: kind is bridge, wanted veth"),
        (format!("br0 pid:{pid} 10.1.1.2/24 @10"), "bridge br0 "),
        (format!("lo pid:{pid} 0/0"), "lo is not an Ethernet interface"),
        (format!("ovs0 pid:{pid} 0/0"), "looking at Open vSwitch: no Open vSwitch database server at unix:"),
        (format!("-a 6 br0 pid:{pid} 10.1.1.2/24"), "-a asks for IPv6, but the address is IPv4"),
        (format!("-a 6 br0 pid:{pid} dhcp"), "-a asks for IPv6, but the address is IPv4"),
        (format!("-a 4 br0 pid:{pid} slaac"), "-a asks for IPv4, but the address is IPv6"),
        ("br0 pid:1 0/0".to_owned(), "pid:1 has no network namespace of its own"),
        ("br0 netns:no-such-namespace 0/0".to_owned(), "No such file or directory"),
        (format!("br0 netns:/proc/{pid}/ns/uts 0/0"), "is not a network namespace"),
        ("br0 nobody 0/0".to_owned(), "Container nobody not found"),
        ("br0 vm:x 0/0".to_owned(), "one of docker, podman, lxc, pid, netns"),
    ] {
        let line = if line.starts_with("br0 pid:1 ") { format!("br0 pid:{} 0/0", lab.host.pid()) } else { line };
        let message = message.replace("pid:1 ", &format!("pid:{} ", lab.host.pid()));
        lab.fails(&line, &message);
        assert_same(&before, &both(&lab, &guest), &line);
        assert!(!has_netns_link(pid), "{line}");
    }
}

#[test]
fn a_bridge_without_uplink_is_told_when_the_gateway_lies_behind_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let (a, b) = (lab.guest(), lab.guest());
    let ran = lab.run(&format!("br0 pid:{} 10.1.1.2/24@10.1.1.1", a.pid()));
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.contains("bridge br0 is new and has no uplink: gateway 10.1.1.1"), "{}", ran.err);
    lab.ok(&format!("br0 pid:{} 10.1.1.3/24@10.1.1.1", b.pid()));
}

#[test]
fn a_link_that_is_down_makes_room_and_comes_back_when_the_attach_fails() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh("ip link add br0 address 02:00:00:00:00:05 up type bridge; ip link add mine type veth peer name mine1");
    let before = lab.host.state();
    // An address that the kernel refuses only when it comes to it: IPv6 on a link too small for it.
    lab.host.sh("ip link set br0 mtu 1000");
    lab.fails(&format!("br0 -l mine pid:{} fd00::2/64", guest.pid()), "add address fd00::2/64 to eth1 in the guest");
    lab.host.sh("ip link set br0 mtu 1500");
    assert_same(&before, &lab.host.state(), "the host");
    lab.ok(&format!("br0 -l mine pid:{} 10.1.1.2/24", guest.pid()));
    assert_eq!(lab.host.link("mine")["master"], "br0");
    assert_eq!(lab.host.link("mine1"), Value::Null);
}

#[test]
fn a_full_bridge_is_told_from_its_count() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let mut batch = String::from("link add br0 up type bridge\n");
    for n in 0..1023 {
        batch += &format!("link add p{n} type veth peer name q{n}\nlink set p{n} master br0\n");
    }
    let file = lab.dir.path().join("batch");
    std::fs::write(&file, batch).unwrap();
    lab.host.sh(&format!("ip -batch {}", file.display()));
    assert!(!lab.host.try_sh("ip link add one type veth peer name more && ip link set one master br0"), "the kernel takes 1023");
    lab.host.sh("ip link del one");
    lab.fails(&format!("br0 pid:{} 0/0", guest.pid()), "bridge br0 has 1023 ports, the most that the kernel allows");
    assert_eq!(guest.link("eth1"), Value::Null);
}

#[test]
fn a_namespace_by_path_and_an_ipv6_guest_with_ipv6_off_by_default_work() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    guest.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    lab.host.sh("ip link add br0 up type bridge");
    lab.ok(&format!("br0 netns:/proc/{}/ns/net fd00::2/64@fd00::1", guest.pid()));
    assert_eq!(guest.addrs("eth1"), ["fd00::2/64"]);
    lab.ok(&format!("br0 netns:/proc/{}/ns/net fd00::2/64@fd00::1", guest.pid()));
}
