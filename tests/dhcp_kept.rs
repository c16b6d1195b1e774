//! `dhcp:-f`: leases of a few seconds that are kept, lost and found again; busybox's udhcpd lends them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::contrary::{ACK, Contrary, NAK, OFFER, answer};
use lab::dhcp::Server;
use lab::ovs::{Ovs, no_ovs};
use lab::{Lab, Space, assert_same, eventually, no_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A command that stays; its standard error is in a file.
struct Kept {
    child: Child,
    report: Value,
    errors: std::path::PathBuf,
}

impl Kept {
    /// Starts it and waits for its report.
    fn start(lab: &Lab, guest: &str) -> Self {
        Self::start_with(lab, "br0", guest, "dhcp:-f")
    }

    fn start_with(lab: &Lab, bridge: &str, guest: &str, word: &str) -> Self {
        let errors = lab.dir.path().join("errors");
        let mut command = lab.program();
        command.args([bridge, guest, word, "--json", "-v"]);
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = std::fs::read_to_string(&errors).unwrap();
        Self { child, report: serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line} {said}")), errors }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Waits for its end; a minute is for ever.
    fn ended(&mut self) -> Option<i32> {
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not end: {}", self.said());
    }

    fn terminate(&mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.ended()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lent(lab: &Lab, seconds: u32) -> Server {
    let mut server = Server::silent(lab, "br0", &["10.88.0.1/24"]);
    start(&mut server, seconds);
    server
}

fn start(server: &mut Server, seconds: u32) {
    server.start_udhcpd(
        "10.88.0.50",
        "10.88.0.60",
        &format!("option subnet 255.255.255.0\noption router 10.88.0.1\noption lease {seconds}"),
    );
}

/// Waits for at most half a minute.
fn within_half_a_minute(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn acks(server: &Server) -> usize {
    server.log().matches("sending ACK").count()
}

fn addr(guest: &Space) -> Option<String> {
    guest.addrs("eth1").into_iter().find(|a| !a.contains(':'))
}

#[test]
fn a_lease_is_renewed_over_three_lease_times_and_released_at_the_end() {
    if no_root() {
        return;
    }
    let host_file = std::fs::read("/etc/resolv.conf").ok();
    let lab = Lab::new();
    let server = lent(&lab, 6);
    let guest = lab.guest();
    let before = lab::both(&lab, &guest);
    let mut kept = Kept::start(&lab, &format!("pid:{}", guest.pid()));
    let first = kept.report["address"].as_str().unwrap().to_owned();
    assert_eq!((&kept.report["lease"]["lifetime"], &kept.report["lease"]["renewed"]), (&6.into(), &true.into()));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(19) {
        let info = guest.ip("addr show dev eth1 scope global")[0]["addr_info"][0].clone();
        assert_eq!(format!("{}/24", info["local"].as_str().unwrap_or_default()), first, "{} {}", kept.said(), server.log());
        assert!(info["valid_life_time"].as_u64().unwrap() <= 6, "{info}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(acks(&server) >= 4, "{}", server.log());
    assert!(kept.said().contains("renewed by 10.88.0.1"), "{}", kept.said());
    assert!(guest.routes().contains(&"default via 10.88.0.1 dev eth1".to_owned()));
    assert_eq!(kept.terminate(), Some(0), "{}", kept.said());
    assert!(kept.said().contains("released"), "{}", kept.said());
    assert_same(&before, &lab::both(&lab, &guest), "after the end");
    assert_eq!(std::fs::read("/etc/resolv.conf").ok(), host_file);
}

#[test]
fn a_release_reaches_the_server() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &["--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h"]);
    let guest = lab.guest();
    // With the client identifier of the user, too: the server knows the lease by it.
    for word in ["dhcp:-f", "dhcp:-f -x 0x3d:00:77"] {
        let mut kept = Kept::start_with(&lab, "br0", &format!("pid:{}", guest.pid()), word);
        assert_eq!(server.leases().len(), 1);
        assert_eq!(kept.terminate(), Some(0), "{}", kept.said());
        eventually("the server has its lease back", || server.log().contains("DHCPRELEASE") && server.leases().is_empty());
    }
}

#[test]
fn another_server_takes_the_lease_over_when_the_first_is_gone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let mut first = lent(&lab, 6);
    let guest = lab.guest();
    let mut kept = Kept::start(&lab, &format!("pid:{}", guest.pid()));
    let leased = kept.report["address"].as_str().unwrap().to_owned();
    first.stop();
    let second = Server::dnsmasq(&lab, "br0", "10.88.0.2/24", &["--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h"]);
    within_half_a_minute("the second server has the lease", || second.leases().len() == 1);
    within_half_a_minute("it is told", || kept.said().contains("renewed by 10.88.0.2"));
    assert_eq!(addr(&guest), Some(leased));
    assert!(!kept.said().contains("removed"), "the address stays all the time: {}", kept.said());
    assert_eq!(kept.terminate(), Some(0));
    eventually("the second server has its lease back", || second.leases().is_empty());
}

#[test]
fn a_lease_that_nobody_extends_is_removed_and_another_is_asked_for() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let mut server = lent(&lab, 4);
    let guest = lab.guest();
    let mut kept = Kept::start(&lab, &format!("pid:{}", guest.pid()));
    server.stop();
    within_half_a_minute("the address is gone", || addr(&guest).is_none() && kept.said().contains("address removed"));
    assert_eq!(guest.routes(), Vec::<String>::new());
    start(&mut server, 60);
    within_half_a_minute("there is another", || addr(&guest).is_some() && kept.said().contains("new address"));
    assert!(guest.routes().contains(&"default via 10.88.0.1 dev eth1".to_owned()));
    assert_eq!(kept.terminate(), Some(0));
}

#[test]
fn a_refusal_takes_the_address_away_at_once() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let at = Server::silent(&lab, "br0", &["10.88.0.2/24"]);
    let short = [51, 4, 0, 0, 0, 100, 58, 4, 0, 0, 0, 1, 59, 4, 0, 0, 0, 50, 1, 4, 255, 255, 255, 0];
    // The first lease is not extended; from then on another address is lent, for ever.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let _contrary = Contrary::start(&at, move |question, kind| {
        let server = [10, 88, 0, 2];
        let was_refused = refused.load(std::sync::atomic::Ordering::Relaxed);
        let (lent, options): ([u8; 4], &[u8]) =
            if was_refused { ([10, 88, 0, 201], &[51, 4, 255, 255, 255, 255, 1, 4, 255, 255, 255, 0]) } else { ([10, 88, 0, 200], &short) };
        match kind {
            1 => vec![answer(question, OFFER, lent, server, options)],
            // A question with an address of its own is for more time.
            3 if question[12..16] != [0; 4] && !was_refused => {
                refused.store(true, std::sync::atomic::Ordering::Relaxed);
                vec![answer(question, NAK, [0; 4], server, &[])]
            }
            3 => vec![answer(question, ACK, lent, server, options)],
            _ => Vec::new(),
        }
    });
    let guest = lab.guest();
    let mut kept = Kept::start(&lab, &format!("pid:{}", guest.pid()));
    assert_eq!(kept.report["address"], "10.88.0.200/24");
    within_half_a_minute("the other address is there", || addr(&guest).as_deref() == Some("10.88.0.201/24"));
    assert!(kept.said().contains("address removed") && kept.said().contains("new address 10.88.0.201/24"), "{}", kept.said());
    assert_eq!(kept.terminate(), Some(0));
}

#[test]
fn the_command_ends_with_the_guest_or_the_interface() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _server = lent(&lab, 600);
    let guest = lab.guest();
    let mut kept = Kept::start(&lab, &format!("pid:{}", guest.pid()));
    guest.sh("ip link del eth1");
    assert_eq!(kept.ended(), Some(0), "{}", kept.said());
    assert!(kept.said().contains("interface was removed"), "{}", kept.said());
    let mut kept = Kept::start(&lab, &format!("pid:{}", guest.pid()));
    drop(guest);
    assert_eq!(kept.ended(), Some(0), "{}", kept.said());
    assert!(kept.said().contains("guest has ended"), "{}", kept.said());
    // Named by a file: nothing but its name tells that the guest is gone.
    let guest = lab.guest();
    let path = lab.dir.path().join("web");
    std::os::unix::fs::symlink(format!("/proc/{}/ns/net", guest.pid()), &path).unwrap();
    let mut kept = Kept::start(&lab, &format!("netns:{}", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(kept.ended(), Some(0), "{}", kept.said());
}

#[test]
fn on_open_vswitch_the_port_goes_with_the_lease() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let _server = lent(&lab, 600);
    lab.host.sh("ip link add up0 type veth peer name up1; ip link set up0 master br0 up; ip link set up1 up");
    ovs.vsctl("add-port ovsu up1");
    let guest = lab.guest();
    let rows = ovs.rows();
    let mut kept = Kept::start_with(&lab, "ovsu", &format!("pid:{}", guest.pid()), "dhcp:-f");
    assert_eq!(addr(&guest).as_deref(), kept.report["address"].as_str());
    assert_ne!(ovs.rows(), rows);
    assert_eq!(kept.terminate(), Some(0), "{}", kept.said());
    assert_same(&rows, &ovs.rows(), "after the end");
    assert!(guest.link("eth1").is_null());
}
