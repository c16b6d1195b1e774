//! Networks and containers, as with Docker's own macvlan driver.

use super::plugin::{attached, attachments, create, nothing_left, refused, run, seen, text, world};
use crate::lab::engine::no_engine;
use crate::lab::eventually;

const LAN: &str = "--subnet 192.168.116.0/24 --gateway 192.168.116.1";

/// What a container sees: without numbers of interfaces, and what the kernel counts.
const INSIDE: &str = "ip -o -4 addr show dev eth0 | sed 's/^[0-9]*: //'; ip route; ip -o link show eth0 | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/qlen [0-9]*//'";

#[test]
fn a_container_is_the_same_as_with_docker_s_own_macvlan_driver() {
    if no_engine() {
        return;
    }
    let (lab, _plugin) = world(2);
    let (ours, dockers) = (lab.host(1), lab.host(2));
    for (host, driver, number) in [(ours, "pipework", 50), (dockers, "macvlan", 60)] {
        host.docker(&format!("network create -d {driver} -o parent=ens32 {LAN} --ip-range 192.168.116.{}/28 lan", number / 16 * 16));
        run(host, "fixed", &format!("--network lan --ip 192.168.116.{number}"));
        run(host, "free", "--network lan");
        run(host, "mac", &format!("--network lan --ip 192.168.116.{} --mac-address 02:00:00:00:00:77", number + 1));
    }
    for name in ["fixed", "free", "mac"] {
        // The addresses are those of two hosts on one network.
        let plain = |text: String| {
            text.replace("192.168.116.50", "A").replace("192.168.116.60", "A").replace("c0:a8:74:32", "M").replace("c0:a8:74:3c", "M")
        };
        let all = [ours, dockers].map(|host| plain(host.docker(&format!("exec {name} sh -c \"{}\"", INSIDE.replace('"', "\\\"")))));
        let [one, other] = all.each_ref().map(|text| text.lines().count());
        assert!(one == other && one >= 4, "{all:?}");
        if name == "fixed" {
            assert_eq!(all[0], all[1]);
        }
        let [a, b] = [ours, dockers].map(|host| seen(host, name, "lan"));
        for key in ["Gateway", "IPPrefixLen", "IPv6Gateway"] {
            assert_eq!(a[key], b[key], "{name} {key}");
        }
    }
    let fixed = seen(ours, "fixed", "lan");
    assert_eq!((text(&fixed, "IPAddress"), text(&fixed, "MacAddress")), ("192.168.116.50", "02:42:c0:a8:74:32"));
    assert_eq!(text(&seen(ours, "mac", "lan"), "MacAddress"), "02:00:00:00:00:77");
    ours.docker("exec fixed ping -c 1 -W 5 192.168.116.1");
    ours.docker("exec fixed ping -c 1 -W 5 192.168.116.60");
    ours.docker("exec mac ping -c 1 -W 5 192.168.116.50");
    for name in ["fixed", "free", "mac"] {
        attached(ours, name, 1);
    }
    ours.docker("rm -f fixed free mac");
    nothing_left(ours);
    ours.docker("network rm lan");
    assert_eq!(ours.sh("find /var/lib/pipework/docker-plugin -name '*.json'"), "");
}

#[test]
fn a_running_container_is_disconnected_and_connected_and_in_a_second_network_and_the_host_reaches_it() {
    if no_engine() {
        return;
    }
    let (lab, _plugin) = world(1);
    let host = lab.host(1);
    create(host, &format!("-o parent=ens32 -o host_access=true {LAN} lan"));
    host.sh("ip link add br0 type bridge && ip addr add 10.5.0.1/24 dev br0 && ip link set br0 up");
    create(
        host,
        "-o bridge=br0 -o mtu=1400 -o routes='10.77.0.0/16 via 10.5.0.9' --subnet 10.5.0.0/24 --gateway 10.5.0.1 \
         --ipv6 --subnet fd00:5::/64 --gateway fd00:5::1 inner",
    );
    run(host, "web", "--network lan --ip 192.168.116.50");
    attached(host, "web", 1);
    // As no macvlan of Docker's own.
    eventually("the host reaches it", || host.try_sh("ping -c 1 -W 1 192.168.116.50"));
    host.docker("exec web ping -c 1 -W 5 192.168.116.111");
    host.docker("exec web ping -c 1 -W 5 192.168.116.1");
    host.docker("network connect inner web");
    attached(host, "web", 2);
    let inner = attachments(host, "web").into_iter().find(|one| one["host_interface"] == "br0").unwrap();
    let interface = inner["interface"].as_str().unwrap().to_owned();
    let link = host.docker(&format!("exec web ip -o link show {interface}"));
    assert!(link.contains("mtu 1400"), "{link}");
    let routes = host.docker("exec web ip route");
    assert!(
        routes.contains("10.77.0.0/16 via 10.5.0.9")
            && routes.contains("default via 10.5.0.1") != routes.contains("default via 192.168.116.1"),
        "{routes}"
    );
    let address = text(&seen(host, "web", "inner"), "IPAddress").to_owned();
    host.sh(&format!("ping -c 1 -W 5 {address}"));
    let six = text(&seen(host, "web", "inner"), "GlobalIPv6Address").to_owned();
    let inside = host.docker("exec web ip -o -6 addr");
    assert!(six.starts_with("fd00:5::") && inside.contains(&six) && host.ok("status").contains(&six), "{six}: {inside}");
    host.ok("diff docker:web -i eth0");
    host.docker("network disconnect lan web");
    attached(host, "web", 1);
    assert!(!host.docker("exec web ip -o -4 addr").contains("192.168.116."));
    assert!(!host.try_sh("ip route get 192.168.116.50 | grep -q pwh"), "its access is gone");
    host.docker("network connect --ip 192.168.116.51 lan web");
    attached(host, "web", 2);
    eventually("the host reaches it again", || host.try_sh("ping -c 1 -W 1 192.168.116.51"));
    // What pipework takes away the engine does not miss.
    host.ok(&format!("detach docker:web -i {interface}"));
    host.docker("network disconnect inner web");
    host.docker("rm -f web");
    nothing_left(host);
    host.docker("network rm lan inner");
}

#[test]
fn what_cannot_be_is_said_when_the_network_is_made() {
    if no_engine() {
        return;
    }
    let (lab, _plugin) = world(1);
    let host = lab.host(1);
    for (words, wanted) in [
        ("-o parnt=ens32 x", "-o parnt: there is no such option; there are parent, bridge, vlan"),
        ("x", "say which network it is: -o parent=eth0"),
        ("-o parent=ens32 -o bridge=br0 x", "cannot stand together"),
        ("-o parent=ens32 -o mode=fast x", "give bridge, private, vepa"),
        ("-o parent=nic77 x", "I do not know how to setup interface nic77"),
        ("-o parent=ens32 -o mtu=9000 x", "1500"),
        ("-o parent=ens32 -o vlan=5000 x", "5000"),
        ("-o parent=lo x", "lo"),
        ("-o parent=ens32 -o pool=none x", "pool"),
        ("-o parent=ens32 --ipam-driver pipework x", "give --ipam-opt pool=NAME"),
        ("-o parent=ens32 --ipam-driver pipework --ipam-opt dhcp=true x", "where is the server"),
    ] {
        refused(host, &format!("--subnet 10.9.0.0/24 {words}"), wanted);
    }
    assert_eq!(host.docker("network ls -q --filter name=x"), "");
    assert_eq!(host.sh("find /var/lib/pipework/docker-plugin -name '*.json' 2>/dev/null || true"), "");
    // An address that another guest of this host has is nobody else's.
    create(host, &format!("-o parent=ens32 {LAN} lan"));
    host.container("old");
    host.ok("ens32 old 192.168.116.70/24");
    let error = host.sh("docker run -d --network lan --ip 192.168.116.70 box sleep 1 2>&1 || true");
    assert!(error.contains("192.168.116.70") && error.contains("old"), "{error}");
    host.docker("run --rm --network lan --ip 192.168.116.71 box ping -c 1 -W 5 192.168.116.1");
    host.docker("rm -f old");
}

#[test]
fn a_compose_file_has_a_network_of_its_own_and_fixed_addresses() {
    let there = std::process::Command::new("docker-compose").arg("version").output().is_ok();
    if no_engine() || (!there && crate::lab::skip("needs docker-compose: scripts/setup")) {
        return;
    }
    let (lab, _plugin) = world(1);
    let host = lab.host(1);
    let file = "version: '2.4'
services:
  web:
    image: box
    command: sleep 100000
    stop_grace_period: 0s
    mac_address: 02:00:00:00:00:42
    networks: {lan: {ipv4_address: 192.168.116.80}}
  db:
    image: box
    command: sleep 100000
    stop_grace_period: 0s
    networks: [lan]
networks:
  lan:
    driver: pipework
    driver_opts: {parent: ens32}
    ipam: {config: [{subnet: 192.168.116.0/24, gateway: 192.168.116.1, ip_range: 192.168.116.96/28}]}
";
    let directory = host.dir.join("shop");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("docker-compose.yml"), file).unwrap();
    host.sh(&format!("cd {} && docker-compose -p shop up -d 2>&1", directory.display()));
    attached(host, "shop_web_1", 1);
    let web = seen(host, "shop_web_1", "shop_lan");
    assert_eq!((text(&web, "IPAddress"), text(&web, "MacAddress")), ("192.168.116.80", "02:00:00:00:00:42"));
    host.docker("exec shop_web_1 ping -c 1 -W 5 192.168.116.1");
    host.docker("exec shop_db_1 ping -c 1 -W 5 192.168.116.80");
    host.sh(&format!("cd {} && docker-compose -p shop restart 2>&1", directory.display()));
    attached(host, "shop_web_1", 1);
    host.sh(&format!("cd {} && docker-compose -p shop down 2>&1", directory.display()));
    nothing_left(host);
    assert_eq!(host.sh("find /var/lib/pipework/docker-plugin -name '*.json'"), "");
}
