//! Addresses that somebody else has: asked for on the wire, judged by who is there.
#![allow(clippy::unwrap_used)]

mod lab;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lab::{Lab, Space, eventually, no_root};
use pipework::kernel::conflict::{Ends, Enough, Prober};
use pipework::kernel::netns::Namespace;
use pipework::kernel::wait::Interruptions;
use pipework::model::conflict::{Conflict, Timing};
use pipework::model::error::KernelError;

const OTHER: &str = "02:00:00:00:00:99";

fn namespace(space: &Space) -> Namespace {
    Namespace::open(format!("/proc/{}/ns/net", space.pid()).as_ref()).unwrap()
}

/// A bridge with a guest on it whose eth1 is up and has no address, and another host there with two.
fn with_another() -> (Lab, Space, Space) {
    let (lab, other) = (Lab::new(), Space::new());
    let guest = lab.guest();
    lab.host.sh("ip link add br0 up type bridge");
    lab.host.sh(&format!("ip link add o0 up master br0 type veth peer name eth1 address {OTHER} netns {}", other.pid()));
    lab.host.sh(&format!("ip link add g0 up master br0 type veth peer name eth1 netns {}", guest.pid()));
    other.sh("ip addr add 10.1.1.5/24 dev eth1; ip addr add fd00::5/64 dev eth1 nodad; ip link set eth1 up");
    guest.sh("ip link set eth1 up");
    (lab, guest, other)
}

/// What an interface without an address hears when it asks.
fn asks(lab: &Lab, guest: &Space, addrs: &[&str], timing: &Timing, enough: Enough) -> Result<Vec<Conflict>, KernelError> {
    let (home, namespace) = (namespace(&lab.host), namespace(guest));
    let (mut host, mut socket) = (home.netlink()?, namespace.netlink()?);
    let mut ends = Ends { host: &mut host, guest: &mut socket, home: &home, namespace: &namespace };
    let addrs: Vec<IpAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    let mut until = Interruptions::default();
    let interface = "eth1".parse().unwrap();
    Prober::open(&mut ends, &interface, Some(&"g0".parse().unwrap()), &addrs, &mut until)?.ask(timing, enough, &mut until)
}

fn conflicts(addrs: &[&str]) -> Vec<Conflict> {
    addrs.iter().map(|addr| Conflict::heard(addr.parse().unwrap(), OTHER.parse().ok())).collect()
}

#[test]
fn nobody_is_found_on_a_silent_network_and_silence_counts_after_the_time() {
    if no_root() {
        return;
    }
    let (lab, guest, _other) = with_another();
    let start = Instant::now();
    let found = asks(&lab, &guest, &["10.1.1.6", "fd00::6"], &Timing::QUICK, Enough::All).unwrap();
    assert_eq!(found, []);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[test]
fn whoever_has_an_address_is_named_and_nothing_more_is_waited_for() {
    if no_root() {
        return;
    }
    let (lab, guest, _other) = with_another();
    // With the RFC's timing four seconds pass in silence.
    let found = asks(&lab, &guest, &["10.1.1.5", "10.1.1.6", "fd00::5"], &Timing::RFC, Enough::First).unwrap();
    let there = conflicts(&["10.1.1.5", "fd00::5"]);
    assert!(!found.is_empty() && found.iter().all(|conflict| there.contains(conflict)), "{found:?}");
    let found = asks(&lab, &guest, &["10.1.1.5", "10.1.1.6", "fd00::5"], &Timing::QUICK, Enough::All).unwrap();
    assert_eq!(found, conflicts(&["10.1.1.5", "fd00::5"]));
}

#[test]
fn a_guest_that_asks_has_no_address_afterwards_and_the_other_keeps_its_own() {
    if no_root() {
        return;
    }
    let (lab, guest, other) = with_another();
    let before = other.state();
    asks(&lab, &guest, &["10.1.1.5", "fd00::5"], &Timing::QUICK, Enough::All).unwrap();
    assert_eq!(guest.addrs("eth1"), Vec::<String>::new());
    lab::assert_same(&before, &other.state(), "the other host");
    assert!(!other.sh("ip -6 addr show dev eth1").contains("dadfailed"));
}

#[test]
fn of_two_guests_that_ask_for_the_same_address_at_the_same_time_one_at_least_hears_the_other() {
    if no_root() {
        return;
    }
    let (lab, guest, _other) = with_another();
    let second = lab.guest();
    lab.host.sh(&format!("ip link add s0 up master br0 type veth peer name eth1 netns {}", second.pid()));
    second.sh("ip link set eth1 up");
    eventually("the second's port forwards", || lab.host.link("s0")["linkinfo"]["info_slave_data"]["state"] == "forwarding");
    let wanted = ["10.1.1.6", "fd00::6"];
    std::thread::scope(|scope| {
        let first = scope.spawn(|| asks(&lab, &guest, &wanted, &Timing::RFC, Enough::All).unwrap());
        let found = asks(&lab, &second, &wanted, &Timing::RFC, Enough::All).unwrap();
        let of = |space: &Space| space.link("eth1")["address"].as_str().unwrap().parse().ok();
        let named = |mac| wanted.map(|addr| Conflict::heard(addr.parse().unwrap(), mac)).to_vec();
        // Whoever hears the other before it has asked never asks.
        let heard = [(found, named(of(&guest))), (first.join().unwrap(), named(of(&second)))];
        assert!(heard.iter().any(|(found, _)| !found.is_empty()), "{heard:?}");
        assert!(heard.iter().all(|(found, there)| found.iter().all(|one| there.contains(one))), "{heard:?}");
    });
}

#[test]
fn an_address_that_the_kernel_finds_to_be_another_s_is_told_with_its_mac_address() {
    if no_root() {
        return;
    }
    let (lab, guest, other) = with_another();
    other.sh("ip addr del fd00::5/64 dev eth1");
    let (home, namespace) = (namespace(&lab.host), namespace(&guest));
    let (mut host, mut socket) = (home.netlink().unwrap(), namespace.netlink().unwrap());
    let mut ends = Ends { host: &mut host, guest: &mut socket, home: &home, namespace: &namespace };
    let (interface, mut until) = ("eth1".parse().unwrap(), Interruptions::default());
    let wanted = ["fd00::5".parse().unwrap(), "fd00::6".parse().unwrap()];
    let addrs = wanted.map(IpAddr::V6);
    let mut prober = Prober::open(&mut ends, &interface, None, &addrs, &mut until).unwrap();
    assert_eq!(prober.ask(&Timing::QUICK, Enough::All, &mut until).unwrap(), []);
    // Somebody takes it in the meantime.
    other.sh("ip addr add fd00::5/64 dev eth1 nodad");
    guest.sh("ip addr add fd00::5/64 dev eth1; ip addr add fd00::6/64 dev eth1");
    assert_eq!(prober.settle(&mut ends, &wanted, &mut until).unwrap(), conflicts(&["fd00::5"]));
    assert!(guest.sh("ip -6 addr show dev eth1 -tentative").contains("fd00::6"));
}

#[test]
fn a_port_that_does_not_forward_yet_is_waited_for() {
    if no_root() {
        return;
    }
    let (lab, guest, _other) = with_another();
    // The shortest forward delay (IEEE 802.1D-2004, table 17-1).
    lab.host.sh("ip link set g0 nomaster; ip link set br0 type bridge forward_delay 200 stp_state 1; ip link set g0 master br0");
    let start = Instant::now();
    assert_eq!(asks(&lab, &guest, &["10.1.1.5"], &Timing::QUICK, Enough::All).unwrap(), conflicts(&["10.1.1.5"]));
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
}
