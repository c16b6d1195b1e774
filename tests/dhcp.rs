//! The built-in DHCPv4 client against real servers: dnsmasq in a namespace of its own on the host's bridge.
#![allow(clippy::unwrap_used)]

#[path = "dhcp/engine.rs"]
mod engine;
mod lab;
#[path = "dhcp/resolver.rs"]
mod resolver;
#[path = "dhcp/steps.rs"]
mod steps;

use std::time::{Duration, Instant};

use lab::contrary::{ACK, Contrary, NAK, OFFER, USUAL, answer};
use lab::dhcp::Server;
use lab::{Lab, Ran, Space, assert_same, both, eventually, no_root};
use serde_json::Value;

const RANGE: &str = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";
const SERVER: &str = "10.88.0.1/24";

/// A guest that is known by a name: a link of that name to its namespace.
fn named(lab: &Lab, guest: &Space, name: &str) -> String {
    let path = lab.dir.path().join(name);
    let _ = std::fs::remove_file(&path);
    std::os::unix::fs::symlink(format!("/proc/{}/ns/net", guest.pid()), &path).unwrap();
    format!("netns:{}", path.display())
}

/// Runs the program with words as a shell would split them, `dhcp:-f -x y` among them.
fn run(lab: &Lab, words: &[&str]) -> Ran {
    lab.program().args(words).output().unwrap().into()
}

fn attached(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn servers_of_the_lab_lease_an_address_to_an_ordinary_client() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE]);
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 0/0", guest.pid()));
    let script = lab.dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n[ $1 != bound ] || ip addr add $ip/$mask dev $interface\n").unwrap();
    guest.sh(&format!("chmod +x {0}; busybox udhcpc -i eth1 -n -q -f -s {0}", script.display()));
    assert_eq!(server.leases().len(), 1);
    assert!(server.log().contains("DHCPACK"));
}

#[test]
fn a_lease_is_applied_address_classless_routes_before_the_router_and_mtu() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let options = [
        RANGE,
        "--dhcp-option=3,10.88.0.9",
        "--dhcp-option=121,0.0.0.0/0,10.88.0.1,172.16.0.0/12,10.88.0.2,10.99.0.0/16,0.0.0.0,192.168.7.0/24,10.77.0.1",
        "--dhcp-option=26,1400",
        "--dhcp-option=6,10.88.0.1,10.88.0.2",
        "--dhcp-option=15,lab.example",
        "--dhcp-option=119,lab.example,eng.lab.example",
        "--dhcp-option=42,10.88.0.3",
    ];
    let server = Server::dnsmasq(&lab, "br0", SERVER, &options);
    let guest = lab.guest();
    guest.sh("ip link add d0 up type veth peer name d1 && ip link set d1 up && ip addr add 10.5.0.2/24 dev d0 && ip route add default via 10.5.0.1");
    let report = attached(&lab.run(&format!("br0 pid:{} dhcp --json", guest.pid())));
    assert_eq!(report["result"], "attached");
    let addr = report["address"].as_str().unwrap();
    assert!(addr.starts_with("10.88.0.") && addr.ends_with("/24"), "{addr}");
    assert_eq!(guest.addrs("eth1"), [addr]);
    assert_eq!(guest.link("eth1")["mtu"], 1400);
    let routes = guest.routes();
    for wanted in [
        "default via 10.88.0.1 dev eth1",
        "172.16.0.0/12 via 10.88.0.2 dev eth1",
        "10.99.0.0/16 dev eth1 scope link",
        "10.77.0.1 dev eth1 scope link",
        "192.168.7.0/24 via 10.77.0.1 dev eth1",
    ] {
        assert!(routes.iter().any(|r| r == wanted), "{wanted}: {routes:?}");
    }
    assert_eq!(routes.iter().filter(|r| r.starts_with("default")).count(), 1, "the default route is replaced: {routes:?}");
    guest.sh("ping -c1 -W2 10.88.0.1");
    the_report_tells_all(&report, &guest, &server);
    let again = attached(&lab.run(&format!("br0 pid:{} dhcp --json", guest.pid())));
    assert_eq!((&again["result"], &again["address"]), (&"unchanged".into(), &addr.into()));
}

fn the_report_tells_all(report: &Value, guest: &Space, server: &Server) {
    // Nobody renews it, so nobody takes it away.
    let info = &guest.ip("addr show dev eth1")[0]["addr_info"][0];
    assert_eq!((&info["valid_life_time"], &info["broadcast"]), (&u32::MAX.into(), &"10.88.0.255".into()));
    let lease = &report["lease"];
    assert_eq!(lease["server"], "10.88.0.1");
    assert_eq!((&lease["lifetime"], &lease["mtu"], &lease["renewed"]), (&3600.into(), &1400.into(), &false.into()));
    assert_eq!(lease["dns"], serde_json::json!(["10.88.0.1", "10.88.0.2"]));
    assert_eq!(lease["search"], serde_json::json!(["lab.example", "eng.lab.example"]));
    assert_eq!((&lease["domain"], &lease["ntp"]), (&"lab.example".into(), &serde_json::json!(["10.88.0.3"])));
    let log = server.log();
    for asked in ["1:netmask", "28:broadcast", "42:ntp-server", "51:lease-time", "58:T1", "119:domain-search", "121:classless-static-route"]
    {
        assert!(log.lines().any(|l| l.contains("requested options") && l.contains(asked)), "{asked}: {log}");
    }
}

#[test]
fn a_larger_mtu_than_the_links_is_not_taken_and_the_first_router_is_the_default_route() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE, "--dhcp-option=3,10.88.0.7,10.88.0.8", "--dhcp-option=26,9000"]);
    let guest = lab.guest();
    let ran = lab.run(&format!("br0 pid:{} dhcp", guest.pid()));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("MTU 9000"), "{}", ran.err);
    assert_eq!(guest.link("eth1")["mtu"], 1500);
    assert!(guest.routes().contains(&"default via 10.88.0.7 dev eth1".to_owned()), "{:?}", guest.routes());
}

#[test]
fn the_server_sees_the_guests_name_and_the_same_client_after_a_restart_under_another_mac() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE]);
    let mut addrs = Vec::new();
    let mut macs = Vec::new();
    for _ in 0..2 {
        let guest = lab.guest();
        let name = named(&lab, &guest, "web_1");
        lab.ok(&format!("br0 {name} dhcp"));
        addrs.extend(guest.addrs("eth1"));
        macs.push(guest.link("eth1")["address"].clone());
    }
    let other = lab.guest();
    lab.ok(&format!("br0 {} dhcp", named(&lab, &other, "db")));
    assert_ne!(macs[0], macs[1]);
    assert_eq!(addrs[0], addrs[1], "{}", server.log());
    assert_ne!(other.addrs("eth1"), [addrs[0].clone()]);
    let leases = server.leases();
    assert_eq!(leases.len(), 2, "{leases:?}");
    let line: Vec<&str> = leases.iter().find(|l| l.contains(&addrs[0][..addrs[0].len() - 3])).unwrap().split(' ').collect();
    // RFC 4361: type 255, interface, then a DUID of type 4.
    assert_eq!(line[3], "web-1");
    assert!(line[4].starts_with("ff:") && line[4][15..].starts_with("00:04:"), "{line:?}");
}

#[test]
fn the_words_behind_the_colon_reach_the_server() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE, "--dhcp-option=43,01:02"]);
    let guest = lab.guest();
    let words = "dhcp:-x hostname:other -r 10.88.0.77 -V docker -x 0x3d:00:aa:bb -O 43 -O 252";
    let report = attached(&run(&lab, &["br0", &named(&lab, &guest, "web"), words, "--json"]));
    assert_eq!(report["address"], "10.88.0.77/24");
    assert_eq!(report["lease"]["options"]["43"], "0102", "{}", server.log());
    let log = server.log();
    for wanted in ["client provides name: other", "vendor class: docker", "requested options: "] {
        assert!(log.contains(wanted), "{wanted}: {log}");
    }
    assert!(server.leases()[0].ends_with("other 00:aa:bb"), "{:?}", server.leases());
    let guest = lab.guest();
    run(&lab, &["br0", &named(&lab, &guest, "web"), "dhcp:-F host.lab.example -C"]);
    assert!(server.log().contains("client FQDN") || server.log().contains("host.lab.example"), "{}", server.log());
    assert!(server.leases().iter().any(|l| l.ends_with("host *")), "{:?}", server.leases());
}

#[test]
fn nobody_answers_the_deadline_is_kept_and_all_is_undone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let state = both(&lab, &guest);
    let start = Instant::now();
    let error = lab.fails(&format!("br0 pid:{} dhcp --dhcp-timeout 3", guest.pid()), "no lease within 3 s: nobody answered");
    assert!(start.elapsed() >= Duration::from_secs(3) && start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(error.contains("undone: ") && error.contains("hint: "), "{error}");
    assert_same(&state, &both(&lab, &guest), "after the deadline");
}

#[test]
fn a_signal_or_the_guests_end_while_waiting_undoes_all() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let state = both(&lab, &guest);
    let child = lab.program().args(["br0", &format!("pid:{}", guest.pid()), "dhcp"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it waits", || guest.link("eth1")["operstate"] == "UP");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("interrupted by SIGTERM"), "{}", ran.err);
    assert_same(&state, &both(&lab, &guest), "after the signal");
    let host = lab.host.state();
    let child = lab.program().args(["br0", &format!("pid:{}", guest.pid()), "dhcp"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it waits", || guest.link("eth1")["operstate"] == "UP");
    drop(guest);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("the guest ended"), "{}", ran.err);
    assert_same(&host, &lab.host.state(), "after the guest's end");
}

#[test]
fn of_two_servers_one_is_taken_with_all_that_it_says_and_the_other_lends_nothing() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let a = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE, "--dhcp-option=3,10.88.0.1"]);
    let other = "--dhcp-range=10.66.0.50,10.66.0.99,255.255.255.0,1h";
    let b = Server::dnsmasq(&lab, "br0", "10.66.0.1/24", &[other, "--dhcp-option=3,10.66.0.1"]);
    let guest = lab.guest();
    let report = attached(&lab.run(&format!("br0 pid:{} dhcp --json", guest.pid())));
    let server = report["lease"]["server"].as_str().unwrap();
    assert!(guest.routes().contains(&format!("default via {server} dev eth1")), "{:?}", guest.routes());
    let (leased, free) = if server == "10.88.0.1" { (a, b) } else { (b, a) };
    assert_eq!((leased.leases().len(), free.leases().len()), (1, 0));
    guest.sh(&format!("ping -c1 -W2 {server}"));
}

#[test]
fn a_server_that_takes_its_word_back_is_told_at_the_deadline_and_left_for_another() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Server::silent(&lab, "br0", &["10.88.0.2/24"]);
    let contrary = Contrary::start(&at, |question, kind| {
        let server = [10, 88, 0, 2];
        match kind {
            1 => vec![answer(question, OFFER, [10, 88, 0, 200], server, &USUAL)],
            3 => vec![answer(question, NAK, [0; 4], server, b"\x38\x06not\x1bme")],
            _ => Vec::new(),
        }
    });
    let state = both(&lab, &guest);
    let error = lab.fails(&format!("br0 pid:{} dhcp --dhcp-timeout 4", guest.pid()), "10.88.0.2 refused: \"notme\"");
    assert!(error.contains("10.88.0.2 offered 10.88.0.200"), "{error}");
    assert_same(&state, &both(&lab, &guest), "after the refusals");
    assert!(contrary.heard() >= 4, "it asks anew after a refusal");
    let _good = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE]);
    let report = attached(&lab.run(&format!("br0 pid:{} dhcp --json", guest.pid())));
    assert_eq!(report["lease"]["server"], "10.88.0.1");
}

#[test]
fn offers_without_confirmation_and_garbage_are_no_lease() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Server::silent(&lab, "br0", &["10.88.0.2/24"]);
    let _contrary = Contrary::start(&at, |question, kind| {
        let good = answer(question, OFFER, [10, 88, 0, 200], [10, 88, 0, 2], &USUAL);
        let mut other = answer(question, ACK, [10, 88, 0, 200], [10, 88, 0, 2], &USUAL);
        other[4] ^= 1;
        let multicast = answer(question, OFFER, [224, 0, 0, 1], [10, 88, 0, 2], &USUAL);
        let garbage = (0..good.len()).step_by(7).map(|length| good[..length].to_vec());
        if kind == 1 { garbage.chain([multicast, good.clone()]).collect() } else { vec![other, vec![255; 300]] }
    });
    let state = both(&lab, &guest);
    let error = lab.fails(&format!("br0 pid:{} dhcp --dhcp-timeout 4", guest.pid()), "and then did not confirm it");
    assert!(error.contains("10.88.0.2 offered 10.88.0.200"), "{error}");
    assert_same(&state, &both(&lab, &guest), "after the deadline");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let state = both(&lab, &guest);
    let pid = format!("pid:{}", guest.pid());
    for (word, wanted) in [("dhcp:-z", "which has -f -q"), ("dhcp:-i eth0", "-i is not yours to say"), ("dhcp6:-f", "has no options")] {
        let ran = run(&lab, &["br0", &pid, word]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(wanted), "{word}: {}", ran.err);
    }
    assert_eq!(run(&lab, &["br0", &pid, "dhcp", "--dhcp-timeout", "0"]).code, Some(1));
    lab.fails(&format!("dummy {pid} dhcp"), "leads nowhere");
    assert_same(&state, &both(&lab, &guest), "after the refusals");
    let ran = run(&lab, &["br0", &pid, "dhcp:-x hostname:web", "--dry-run"]);
    let comment = ran.out.lines().find(|line| line.starts_with("# then: DHCP on eth1")).unwrap();
    assert!(comment.contains("udhcpc -i eth1 -n -q -x hostname:web"), "{comment}");
    let parsed = std::process::Command::new("sh").args(["-nc", &ran.out]).status().unwrap();
    assert!(parsed.success(), "{}", ran.out);
    assert_same(&state, &both(&lab, &guest), "after a dry run");
}

#[test]
fn a_port_that_does_not_forward_yet_is_waited_for() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    // Spanning tree: two seconds of listening, two of learning.
    lab.host.sh("ip link add br0 up type bridge stp_state 1 forward_delay 200");
    let _server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE]);
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} dhcp", guest.pid()));
    assert_eq!(guest.addrs("eth1").len(), 1);
}

#[test]
fn a_macvlan_on_a_nic_gets_its_address_from_the_nics_network() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE]);
    lab.host.sh("ip link add nic0 up type veth peer name port0; ip link set port0 master br0 up");
    let guest = lab.guest();
    let report = attached(&lab.run(&format!("nic0 pid:{} dhcp --json", guest.pid())));
    assert_eq!(guest.link("eth1")["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(guest.addrs("eth1"), [report["address"].as_str().unwrap()]);
    assert_eq!(server.leases().len(), 1);
}

#[test]
fn a_lease_that_cannot_be_carried_out_is_undone_with_the_routes_that_were_replaced() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let option = "--dhcp-option=121,0.0.0.0/0,10.88.0.1,172.16.0.0/12,10.88.0.2";
    let server = Server::dnsmasq(&lab, "br0", SERVER, &[RANGE, option, "--dhcp-option=26,1400"]);
    let guest = lab.guest();
    guest.sh("ip link add d0 up type veth peer name d1 && ip link set d1 up && ip addr add 10.5.0.2/24 dev d0");
    guest.sh("ip route add default via 10.5.0.1 && ip route add 172.16.0.0/12 via 10.5.0.3");
    let state = both(&lab, &guest);
    let error = lab.fails(&format!("br0 pid:{} dhcp", guest.pid()), "add route 172.16.0.0/12 via 10.88.0.2 dev eth1");
    assert!(error.contains("another route to 172.16.0.0/12"), "{error}");
    assert_same(&state, &both(&lab, &guest), "after the failure");
    eventually("the lease is given back", || server.leases().is_empty());
}
