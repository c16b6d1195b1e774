//! `pipework tc` against `tc`, line by line; and netem at work.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "iproute/table.rs"]
mod table;

use lab::{Lab, Space, no_root, skip};
use table::Table;

/// Whether this kernel is too small: UML's has all kinds of tc.
fn no_netem() -> bool {
    let has = Space::new().try_sh("ip link set lo up && tc qdisc add dev lo root netem delay 1ms");
    !has && skip("the kernel has no netem")
}

#[test]
fn each_tc_line_does_and_prints_what_tc_does() {
    if !no_root() {
        assert_eq!(Table::read("tc").run(), Vec::<&str>::new(), "left out");
    }
}

#[test]
fn each_tc_line_for_a_larger_kernel_does_and_prints_what_tc_does() {
    if !no_root() && !no_netem() {
        assert_eq!(Table::read("tc-larger").run(), Vec::<&str>::new(), "left out");
    }
}

#[test]
fn the_tables_have_what_was_promised() {
    let lines = Table::read("tc").lines() + Table::read("tc-larger").lines();
    assert!(lines >= 400, "{lines}");
}

/// Two spaces joined by a veth pair, with a delay on the way there: the guest's `eth0`.
fn pair() -> (Lab, Space) {
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(&format!("ip link add near type veth peer name eth0 netns {}", guest.pid()));
    lab.host.sh("ip addr add 10.77.0.1/24 dev near && ip link set near up");
    guest.sh("ip addr add 10.77.0.2/24 dev eth0 && ip link set eth0 up");
    (lab, guest)
}

/// The shortest round trip of three pings in milliseconds; nothing when none came back.
fn round_trip(guest: &Space) -> Option<f64> {
    let output = guest.command("ping").args(["-c", "3", "-i", "0.3", "-W", "5", "10.77.0.1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let shortest = text.lines().find(|line| line.starts_with("rtt"))?.split(" = ").nth(1)?.split('/').next()?;
    shortest.parse().ok()
}

#[test]
fn a_larger_kernels_netem_delays_and_loses_as_it_is_told() {
    if no_root() || no_netem() {
        return;
    }
    let (lab, guest) = pair();
    let tc = |words: &str| lab.ok(&format!("tc pid:{} {words}", guest.pid()));
    assert!(round_trip(&guest).unwrap() < 100.0);
    tc("qdisc add dev eth0 root netem delay 100ms");
    let delayed = round_trip(&guest).unwrap();
    assert!(delayed >= 100.0, "{delayed}");
    tc("qdisc change dev eth0 root netem loss 100%");
    assert_eq!(round_trip(&guest), None);
    tc("qdisc del dev eth0 root");
    assert!(round_trip(&guest).unwrap() < 100.0);
}
