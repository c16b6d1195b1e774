//! Addresses over IPv6 that somebody else gives: dnsmasq's DHCPv6, radvd's router advertisements.
#![allow(clippy::unwrap_used)]

mod lab;

use std::time::{Duration, Instant};

use lab::dhcp::Server;
use lab::{Lab, assert_same, both, no_root};
use serde_json::Value;

const SERVER: &str = "fd77::1/64";
const PREFIX: &str = "MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix fd77::/64 { AdvOnLink on; AdvAutonomous on; };";

fn attached(lab: &Lab, line: &str) -> Value {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// The interface's addresses that are for use beyond the link.
fn addrs(guest: &lab::Space) -> Vec<String> {
    guest.addrs("eth1")
}

#[test]
fn slaac_waits_for_an_address_of_the_routers_prefix_that_is_not_tentative() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _router = Server::radvd(&lab, "br0", SERVER, PREFIX);
    let guest = lab.guest();
    let report = attached(&lab, &format!("br0 pid:{} slaac --json", guest.pid()));
    let addr = report["address"].as_str().unwrap();
    assert!(addr.starts_with("fd77::") && addr.ends_with("/64"), "{addr}");
    assert_eq!(addrs(&guest), [addr]);
    let info = guest.ip("-6 addr show dev eth1 scope global");
    assert!(info[0]["addr_info"][0]["tentative"].is_null(), "{info}");
    assert!(guest.routes().iter().any(|r| r.starts_with("default via fe80::") && r.contains("proto ra")), "{:?}", guest.routes());
    guest.sh("ping -c1 -W3 fd77::1");
    assert_eq!(attached(&lab, &format!("br0 pid:{} slaac --json", guest.pid()))["result"], "unchanged");
}

#[test]
fn slaac_works_in_a_guest_that_forwards_and_has_ipv6_and_advertisements_off() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _router = Server::radvd(&lab, "br0", SERVER, PREFIX);
    let guest = lab.guest();
    guest.sh(
        "cd /proc/sys/net/ipv6/conf; echo 1 > all/forwarding; echo 1 > default/disable_ipv6; echo 0 > default/accept_ra; echo 0 > default/autoconf",
    );
    let report = attached(&lab, &format!("br0 pid:{} slaac --json", guest.pid()));
    assert_eq!(addrs(&guest), [report["address"].as_str().unwrap()]);
}

#[test]
fn no_router_or_one_without_a_prefix_is_told_at_the_deadline_and_all_is_undone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let before = both(&lab, &guest);
    let start = Instant::now();
    lab.fails(&format!("br0 pid:{} slaac --dhcp-timeout 3", guest.pid()), "no address within 3 s: no router advertised itself");
    assert!(start.elapsed() >= Duration::from_secs(3) && start.elapsed() < Duration::from_secs(20));
    assert_same(&before, &both(&lab, &guest), "after the deadline");
    let _router = Server::radvd(&lab, "br0", SERVER, "MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvManagedFlag on;");
    let before = both(&lab, &guest);
    let line = format!("br0 pid:{} slaac --dhcp-timeout 8", guest.pid());
    let error = lab.fails(&line, "a router is there, but advertises no prefix");
    assert!(error.contains("use dhcp6"), "{error}");
    assert_same(&before, &both(&lab, &guest), "after the second deadline");
}

#[test]
fn dhcp6_gives_an_address_and_the_same_one_again_under_another_mac() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let options = ["--dhcp-range=fd77::100,fd77::1ff,64,1h", "--dhcp-option=option6:dns-server,[fd77::53]", "--enable-ra"];
    let server = Server::dnsmasq_at(&lab, "br0", &[SERVER], &options);
    let path = lab.dir.path().join("web");
    let mut given = Vec::new();
    for _ in 0..2 {
        let guest = lab.guest();
        // IPv6 off for new links: that is undone for this one.
        guest.sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(format!("/proc/{}/ns/net", guest.pid()), &path).unwrap();
        let line = format!("br0 netns:{} dhcp6 --json", path.display());
        let report = attached(&lab, &line);
        let addr = report["address"].as_str().unwrap().to_owned();
        assert!(addr.starts_with("fd77::1") && addr.ends_with("/128"), "{addr}");
        assert!(addrs(&guest).contains(&addr), "{:?}", addrs(&guest));
        assert_eq!((&report["lease"]["lifetime"], &report["lease"]["dns"]), (&3600.into(), &serde_json::json!(["fd77::53"])));
        assert_eq!(attached(&lab, &line)["result"], "unchanged");
        given.push(addr);
    }
    assert_eq!(given[0], given[1], "{}", server.log());
}

#[test]
fn dhcp6_without_an_answer_or_with_a_refusal_is_undone_at_the_deadline() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let before = both(&lab, &guest);
    let line = format!("br0 pid:{} dhcp6 --dhcp-timeout 5", guest.pid());
    lab.fails(&line, "no lease within");
    assert_same(&before, &both(&lab, &guest), "after the deadline");
    // A server whose one address is another's.
    let only = ["--dhcp-range=fd77::100,fd77::100,64,1h", "--dhcp-host=id:00:01:00:01,[fd77::100]"];
    let _server = Server::dnsmasq_at(&lab, "br0", &[SERVER], &only);
    let before = both(&lab, &guest);
    let error = lab.fails(&line, "NoAddrsAvail");
    assert!(error.contains("undone"), "{error}");
    assert_same(&before, &both(&lab, &guest), "after the refusal");
}
