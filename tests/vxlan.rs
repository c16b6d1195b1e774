//! A bridge over a VXLAN: hosts that share no Ethernet, and guests on them that do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::net::IpAddr;

use lab::{Lab, Ran, Space, assert_same, no_root, settled};

/// Hosts, each behind a router on a network of its own.
struct World {
    hosts: Vec<Lab>,
    router: Space,
}

impl World {
    fn new(hosts: usize) -> Self {
        let router = Space::new();
        router.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        let hosts = (1..=hosts).map(|n| {
            let lab = Lab::new();
            lab.host.sh(&format!("ip link add eth0 type veth peer name to{n} netns {}", router.pid()));
            router
                .sh(&format!("ip addr add 10.0.{n}.254/24 dev to{n} && ip addr add fd0{n}::fe/64 dev to{n} nodad && ip link set to{n} up"));
            lab.host.sh(&format!(
                "ip addr add 10.0.{n}.1/24 dev eth0 && ip addr add fd0{n}::1/64 dev eth0 nodad && ip link set eth0 up && \
                 ip route add default via 10.0.{n}.254 && ip -6 route add default via fd0{n}::fe"
            ));
            lab
        });
        Self { hosts: hosts.collect(), router }
    }

    fn run(&self, host: usize, line: &str) -> Ran {
        self.hosts[host].run(line)
    }

    fn peers(&self, host: usize) -> Vec<IpAddr> {
        let text = self.hosts[host].host.sh("bridge fdb show dev brv-vx");
        let all = text.lines().filter(|line| line.starts_with("00:00:00:00:00:00"));
        let mut all: Vec<IpAddr> = all.map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
        all.sort();
        all
    }
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[test]
fn guests_of_three_hosts_behind_a_router_reach_each_other_also_with_packets_of_full_size() {
    if no_root() {
        return;
    }
    let world = World::new(3);
    let before: Vec<_> = world.hosts.iter().map(|lab| settled(&[&lab.host], || lab.host.state())).collect();
    let guests: Vec<Space> = world.hosts.iter().map(Lab::guest).collect();
    for (n, lab) in world.hosts.iter().enumerate() {
        lab.ok(&format!("host up brv --vxlan 4242 --local 10.0.{}.1 --peer 10.0.1.1 --peer 10.0.2.1 --peer 10.0.3.1", n + 1));
        lab.ok(&format!("brv pid:{} 192.168.50.{}/24", guests[n].pid(), n + 1));
        assert_eq!(guests[n].link("eth1")["mtu"], 1450);
        let link = lab.host.link("brv-vx");
        let data = &link["linkinfo"]["info_data"];
        assert_eq!(
            (data["id"].as_u64(), data["port"].as_u64(), data["learning"].as_bool()),
            (Some(4242), Some(4790), Some(false)),
            "{data}"
        );
    }
    for (n, guest) in guests.iter().enumerate() {
        for other in (0..3).filter(|other| *other != n) {
            let to = format!("192.168.50.{}", other + 1);
            // 1450 less 20 for IPv4 and 8 for ICMP; one more does not fit.
            guest.sh(&format!("ping -n -c 1 -W 10 {to} && ping -n -c 2 -i 0.1 -W 10 -M do -s 1422 {to}"));
            assert!(!guest.try_sh(&format!("ping -n -c 1 -W 1 -M do -s 1423 {to}")), "1451 bytes pass");
        }
    }
    assert!(world.router.try_sh("ip link show to3"));
    world.hosts[0].fails("host down brv", "has ports: veth1pl");
    for (n, lab) in world.hosts.iter().enumerate() {
        lab.ok(&format!("detach pid:{}", guests[n].pid()));
        lab.ok("host down brv");
        assert_same(&before[n], &settled(&[&lab.host], || lab.host.state()), "after down");
        assert_eq!(lab::detached::files(lab), [""; 0]);
    }
}

#[test]
fn peers_come_and_go_and_entries_of_others_stay() {
    if no_root() {
        return;
    }
    let world = World::new(1);
    let ok = |line: &str| {
        let ran = world.run(0, line);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{line}");
    };
    ok("host up brv --vxlan 7 --local 10.0.1.1 --peer 10.0.2.1 --peer 10.0.1.1");
    assert_eq!(world.peers(0), ips(&["10.0.2.1"]), "this host is no peer of its own");
    world.hosts[0].host.sh("bridge fdb append 00:00:00:00:00:00 dev brv-vx dst 10.9.9.9");
    ok("host peers brv 10.0.3.1 10.0.4.1");
    assert_eq!(world.peers(0), ips(&["10.0.3.1", "10.0.4.1", "10.9.9.9"]));
    let again = world.run(0, "host peers brv 10.0.4.1 10.0.3.1 --json");
    assert!(again.out.contains("\"result\":\"unchanged\""), "{}", again.out);
    ok("host up brv --vxlan 7 --local 10.0.1.1 --peer 10.0.5.1");
    assert_eq!(world.peers(0), ips(&["10.0.5.1", "10.9.9.9"]));
    ok("host peers brv");
    assert_eq!(world.peers(0), ips(&["10.9.9.9"]));
    world.hosts[0].fails("host peers brv fd02::1", "same family");
    world.hosts[0].fails("host peers br9", "not made by `host up`");
    ok("host down brv");
    assert!(world.hosts[0].host.link("brv-vx").is_null() && world.hosts[0].host.link("brv").is_null());
}

#[test]
fn the_way_below_may_be_ipv6_or_narrow_and_what_cannot_be_is_refused() {
    if no_root() {
        return;
    }
    let world = World::new(2);
    let guests: Vec<Space> = world.hosts.iter().map(Lab::guest).collect();
    for (n, lab) in world.hosts.iter().enumerate() {
        lab.host.sh("ip link set eth0 mtu 1480");
        lab.ok(&format!("host up brv --vxlan 9 --local fd0{}::1 --peer fd01::1 --peer fd02::1", n + 1));
        lab.ok(&format!("brv pid:{} 192.168.50.{}/24", guests[n].pid(), n + 1));
        assert_eq!(lab.host.link("brv")["mtu"], 1410);
    }
    guests[0].sh("ping -n -c 2 -i 0.1 -W 10 -M do -s 1382 192.168.50.2");
    let lab = &world.hosts[0];
    for (line, why) in [
        ("host up brw --vxlan 9 --local 10.0.1.1 --port 4789", "Docker's overlay networks have that port"),
        ("host up brw --vxlan 0 --local 10.0.1.1", "from 1 to 16777215"),
        ("host up brw --vxlan 16777216 --local 10.0.1.1", "from 1 to 16777215"),
        ("host up brw --vxlan 9 --local 10.7.7.7", "no interface of this host has 10.7.7.7"),
        ("host up brw --vxlan 9 --local 10.0.1.1 --peer fd02::1", "same family"),
        ("host up brw --vxlan 9 --local 127.0.0.1", "an address of this host"),
        ("host up brw", "--uplink"),
    ] {
        let ran = lab.run(line);
        assert_ne!(ran.code, Some(0), "{line}");
        assert!(ran.err.contains(why), "{line}: {}", ran.err);
    }
    assert!(lab.host.link("brw").is_null() && lab.host.link("brw-vx").is_null());
}
