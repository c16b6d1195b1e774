//! `pipework doctor`: each fault that is planted is named, with what mends it, and none on a healthy host.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use lab::{Lab, Space, no_root, skip};

const GATEWAY: &str = "192.168.116.1";

/// A host whose bridge `host up` made, behind a switch with a gateway.
struct World {
    lab: Lab,
    switch: Space,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new();
        let switch = lab.nic("ens32");
        switch.sh(&format!(
            "ip link add sw0 type bridge && ip link set port0 master sw0 && ip link set sw0 up && ip addr add {GATEWAY}/24 dev sw0"
        ));
        lab.host.sh(&format!(
            "ip link set ens32 up && ip addr add 192.168.116.112/24 dev ens32 && ip route add default via {GATEWAY} && \
             echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables || true; echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables || true"
        ));
        lab.ok("host up br0 --uplink ens32 --confirm 0");
        Self { lab, switch }
    }

    /// The faults that are named, and all that is said.
    fn faults(&self, more: &str) -> (Vec<String>, serde_json::Value) {
        let ran = self.lab.run(&format!("doctor --json {more}"));
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err));
        let faults: Vec<String> =
            report["findings"].as_array().unwrap().iter().map(|finding| finding["fault"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ran.code, Some(i32::from(!faults.is_empty())), "{report}");
        (faults, report)
    }

    fn has_filter(&self) -> bool {
        self.lab.host.try_sh("echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")
    }
}

#[test]
fn a_healthy_host_has_nothing_wrong_and_nothing_is_left_of_the_question() {
    if no_root() {
        return;
    }
    let world = World::new();
    let before = lab::settled(&[&world.lab.host], || world.lab.host.state());
    let neighbours = || world.switch.sh("ip neigh show");
    let known = neighbours();
    let (faults, report) = world.faults("");
    assert_eq!(faults, [""; 0], "{report}");
    assert_eq!(report["notes"].as_array().unwrap().len(), 0, "{report}");
    assert_eq!(neighbours().lines().count(), known.lines().count(), "the gateway remembers nobody new");
    lab::assert_same(&before, &lab::settled(&[&world.lab.host], || world.lab.host.state()), "after an examination");
    // As hosts are: guests on it, filtering on with nothing in its way, strict rp_filter, a wide bridge elsewhere.
    let guest = world.lab.guest();
    world.lab.ok(&format!("br0 pid:{} 192.168.116.150/24@{GATEWAY}", guest.pid()));
    world.has_filter();
    world.lab.host.sh("echo 1 > /proc/sys/net/ipv4/conf/br0/rp_filter; ip link add other type bridge stp_state 1");
    let (faults, report) = world.faults("--bridge br0");
    assert_eq!(faults, [""; 0], "{report}");
}

#[test]
fn a_policy_that_drops_what_is_forwarded_is_named_with_its_rule_and_mended() {
    if no_root() {
        return;
    }
    let world = World::new();
    if !world.has_filter() && skip("this kernel has no br_netfilter") {
        return;
    }
    if !world.lab.host.try_sh("iptables -P FORWARD DROP") && skip("iptables does not work here") {
        return;
    }
    let guest = world.lab.guest();
    world.lab.ok(&format!("br0 pid:{} 192.168.116.150/24@{GATEWAY}", guest.pid()));
    assert!(!guest.try_sh(&format!("ping -c 1 -W 1 {GATEWAY}")), "the fault is one");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["forward-drop"], "{report}");
    assert_eq!(report["findings"][0]["mend"], "iptables -I FORWARD -i br0 -o br0 -j ACCEPT");
    let text = world.lab.run("doctor");
    assert!(text.out.contains("mend: iptables -I FORWARD -i br0 -o br0 -j ACCEPT"), "{}", text.out);
    world.lab.host.sh("iptables -N DOCKER-USER && iptables -A DOCKER-USER -j RETURN && iptables -I FORWARD -j DOCKER-USER");
    let (faults, report) = world.faults("--fix");
    assert_eq!(faults, [""; 0], "{report}");
    assert_eq!(report["fixed"][0]["mend"], "iptables -I DOCKER-USER -i br0 -o br0 -j ACCEPT");
    guest.sh(&format!("ping -c 1 -W 5 {GATEWAY}"));
    assert_eq!(world.lab.host.sh("iptables -S DOCKER-USER").matches("-i br0 -o br0 -j ACCEPT").count(), 1);
    world.lab.host.sh("iptables -t raw -A PREROUTING -d 192.168.116.150/32 ! -i eth9 -j DROP");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["raw-drop"], "{report}");
    assert_eq!(report["findings"][0]["mend"], "iptables -t raw -D PREROUTING -d 192.168.116.150/32 ! -i eth9 -j DROP");
}

#[test]
fn a_switch_that_takes_no_foreign_mac_is_told_from_a_gateway_that_is_down() {
    if no_root() {
        return;
    }
    let world = World::new();
    let mac = world.lab.host.link("ens32")["address"].as_str().unwrap().to_owned();
    // The switch's port takes frames of the NIC's own address, and of no other.
    let filter = format!("ebtables-nft -A INPUT -i port0 -s ! {mac} -j DROP && ebtables-nft -A FORWARD -i port0 -s ! {mac} -j DROP");
    if !world.switch.try_sh(&filter) && skip("this kernel filters no bridge's frames") {
        return;
    }
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["foreign-mac"], "{report}");
    assert!(report["findings"][0]["mend"].as_str().unwrap().contains("promiscuous mode"), "{report}");
    world.switch.sh("ebtables-nft -F && ip addr del 192.168.116.1/24 dev sw0");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["gateway-silent"], "{report}");
    let (faults, _) = world.faults("--gateway 192.168.116.77");
    assert_eq!(faults, ["gateway-silent"]);
}

#[test]
fn mtus_that_differ_are_named_and_mended() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip link set ens32 mtu 1400 && ip link set br0 mtu 1500");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["mtu"], "{report}");
    assert_eq!(report["findings"][0]["mend"], "ip link set dev br0 mtu 1400");
    let (faults, report) = world.faults("--fix");
    assert_eq!(faults, [""; 0], "{report}");
    assert_eq!(world.lab.host.link("br0")["mtu"], 1400);
}

#[test]
fn a_bridge_without_its_nic_is_named() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip link set ens32 nomaster");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["no-uplink"], "{report}");
    assert_eq!(report["findings"][0]["mend"], "pipework host up br0 --uplink ens32");
    // One that an attach made, as nobody said what it is to lie on.
    let guest = world.lab.guest();
    world.lab.ok(&format!("br7 pid:{} 10.7.7.2/24", guest.pid()));
    let (faults, _) = world.faults("--bridge br7");
    assert_eq!(faults, ["no-uplink"]);
    let (faults, report) = world.faults("--bridge br8");
    assert_eq!(faults, ["no-bridge"], "{report}");
    world.lab.host.sh("ip link set ens32 master br0 && ip link set ens32 down");
    let (faults, report) = world.faults("--bridge br0");
    assert_eq!(faults[0], "uplink-down", "{report}");
}

#[test]
fn a_strict_way_back_that_leads_elsewhere_is_named_and_mended() {
    if no_root() {
        return;
    }
    let world = World::new();
    // As by hand, and half: the route is still the NIC's.
    world.lab.host.sh("ip addr del 192.168.116.112/24 dev br0 && ip addr add 192.168.116.112/24 dev br0 noprefixroute && \
         ip route add 192.168.116.0/24 dev ens32 && ip route add default via 192.168.116.1 dev ens32 && \
         echo 1 > /proc/sys/net/ipv4/conf/br0/rp_filter");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["rp-filter"], "{report}");
    assert_eq!(report["findings"][0]["mend"], "sysctl -w net/ipv4/conf/br0/rp_filter=2");
    let (faults, report) = world.faults("--fix");
    assert_eq!(faults, [""; 0], "{report}");
    world.lab.host.sh("ip addr add 192.168.116.113/24 dev ens32");
    let (faults, report) = world.faults("");
    assert_eq!(faults, ["address-on-port"], "{report}");
}

#[test]
fn a_bridge_whose_ports_wait_is_named_and_mended() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip link set br0 type bridge stp_state 1 forward_delay 1500");
    let (faults, report) = world.faults("");
    assert_eq!(faults[0], "stp", "{report}");
    assert!(report["findings"][0]["why"].as_str().unwrap().contains("30 s"), "{report}");
    let (faults, report) = world.faults("--fix");
    assert_eq!(faults, [""; 0], "{report}");
}

#[test]
fn a_host_without_a_bridge_of_ours_is_told_to_name_one() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.fails("doctor", "no bridge of ours");
    lab.fails("doctor --bridge not/a/name", "interface name");
}
