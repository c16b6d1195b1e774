//! `--host-access`: the host and its own macvlan guests reach each other, and nobody else notices.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

use lab::inside::{Fault, every_step_rolls_back, fail_at, request};
use lab::{Lab, Space, assert_same, both, eventually, no_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipework::plan::Birth;
use serde_json::Value;

const NIC: &str = "ip link add nic0 mtu 1450 address 02:00:00:00:00:aa type veth peer name far0; ip link set far0 up; ip link set nic0 up; \
    ip addr add 192.168.1.5/24 dev nic0; ip -6 addr add fd00::5/64 dev nic0 nodad; \
    for n in $(seq 100); do ip -6 route show table local | grep -q fd00::5 && break; sleep 0.05; done";
const SHIM: &str = "pws-nic0";
const MAC: &str = "02:00:00:00:00:aa";

/// A host on a LAN with a gateway.
struct Lan {
    lab: Lab,
    gateway: Space,
}

impl Lan {
    fn new() -> Self {
        let lab = Lab::new();
        let gateway = lab.nic("nic0");
        gateway.sh("ip addr add 192.168.1.1/24 dev port0; ip -6 addr add fd00::1/64 dev port0 nodad");
        lab.host.sh(&format!(
            "ip link set nic0 address {MAC} mtu 1450 up; ip addr add 192.168.1.5/24 dev nic0; ip -6 addr add fd00::5/64 dev nic0 nodad"
        ));
        // The kernel takes its time with an IPv6 address's route.
        eventually("fd00::5 is local", || lab.host.sh("ip -6 route show table local").contains("fd00::5"));
        Self { lab, gateway }
    }

    fn attach(&self, guest: &Space, addr: &str) {
        self.lab.ok(&format!("--host-access nic0 pid:{} {addr}", guest.pid()));
    }

    /// The report of `host-access --json`.
    fn report(&self) -> Value {
        let ran = self.lab.run("host-access --json");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }

    fn has_shim(&self) -> bool {
        self.lab.host.link(SHIM) != Value::Null
    }

    /// No file is left under the run directory.
    fn has_no_records(&self) -> bool {
        let mut entries = std::fs::read_dir(self.lab.dir.path()).unwrap();
        !entries.any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with("host-access"))
    }
}

fn reaches(from: &Space, to: &str) -> bool {
    // The first may come while duplicate address detection runs, or a link comes up.
    (0..5).any(|_| from.try_sh(&format!("ping -c1 -W1 {to}")))
}

#[track_caller]
fn reach_each_other(host: &Space, guest: &Space, host_ip: &str, guest_ip: &str) {
    assert!(reaches(host, guest_ip), "host to {guest_ip}: {}", host.sh("ip route get 192.168.1.10; ip neigh; ip -s link"));
    assert!(reaches(guest, host_ip), "{guest_ip} to host: {}", guest.sh("ip neigh; ip route"));
}

/// A program that runs until it is stopped, for what it prints.
struct Running(Child);

impl Running {
    fn start(space: &Space, program: &str, arguments: &str) -> Self {
        Self(space.command(program).args(arguments.split(' ')).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn stop(mut self) -> String {
        assert!(self.0.try_wait().unwrap().is_none(), "it ran until now");
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT).unwrap();
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails unless each of the pings was answered: the last may have been on its way when the program was stopped.
#[track_caller]
fn nothing_was_lost(output: &str) {
    let answered: Vec<u64> = output.lines().filter_map(|l| l.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok()).collect();
    let last = *answered.last().unwrap();
    assert_eq!(answered, (1..=last).collect::<Vec<_>>(), "each was answered once, in order");
    let sent: u64 = output.lines().find(|l| l.contains("transmitted")).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(last > 20 && sent - last <= 1, "{last} of {sent} answered");
}

#[test]
fn host_and_guest_reach_each_other_and_neither_the_host_nor_the_lan_notices() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let (host, gateway) = (&lan.lab.host, &lan.gateway);
    let (four, six) = (lan.lab.guest(), lan.lab.guest());
    assert!(reaches(gateway, "192.168.1.5") && reaches(gateway, "fd00::5"));
    let before = host.state();
    let news = Running::start(gateway, "ip", "monitor neigh");
    let pings = [("192.168.1.1", host), ("fd00::1", host), ("192.168.1.5", gateway), ("fd00::5", gateway)]
        .map(|(to, from)| Running::start(from, "ping", &format!("-i 0.01 {to}")));

    lan.attach(&four, "192.168.1.10/24@192.168.1.1");
    lan.attach(&six, "fd00::10/64@fd00::1");
    // What a neighbour has just learnt it does not change for a second (LOCKTIME, net/ipv4/arp.c): it would be too late then.
    std::thread::sleep(Duration::from_millis(1500));
    reach_each_other(host, &four, "192.168.1.5", "192.168.1.10");
    reach_each_other(host, &six, "fd00::5", "fd00::10");
    assert!(reaches(&four, "192.168.1.1") && reaches(&six, "fd00::1") && reaches(gateway, "192.168.1.10"));
    // Whoever asks for the host, or for somebody who is not there, is told what he was always told.
    for ask in ["192.168.1.5", "192.168.1.77"] {
        gateway.try_sh(&format!("ip neigh del {ask} dev port0; ping -c1 -W1 {ask}"));
        four.try_sh(&format!("ping -c1 -W1 {ask}"));
        host.try_sh("ping -c1 -W1 192.168.1.77");
    }

    let shim = host.link(SHIM);
    assert_eq!((&shim["mtu"], &shim["link"], &shim["linkinfo"]["info_data"]["mode"]), (&1450.into(), &"nic0".into(), &"bridge".into()));
    assert_eq!(shim["broadcast"], shim["address"]);
    assert_eq!(shim["altnames"], serde_json::json!(["pipework.shim.nic0"]));
    assert!(shim["flags"].as_array().unwrap().contains(&"NOARP".into()));
    let addresses = host.ip(&format!("addr show dev {SHIM}"));
    assert_eq!(addresses[0]["addr_info"], serde_json::json!([]), "not even a link-local one");
    assert_eq!(host.sh(&format!("sysctl -n net/ipv6/conf/{SHIM}/accept_ra")).trim(), "0");

    for guest in [&four, &six] {
        assert!(lan.lab.run(&format!("host-access --remove pid:{}", guest.pid())).out.starts_with("removed: "));
    }
    for ping in pings {
        nothing_was_lost(&ping.stop());
    }
    let news = news.stop();
    let of_host: Vec<&str> =
        news.lines().filter(|l| l.contains("lladdr") && (l.contains("192.168.1.5 ") || l.contains("fd00::5 "))).collect();
    assert!(of_host.iter().all(|line| line.contains(MAC)), "{news}");
    assert_same(&before, &host.state(), "the host");
    assert!(four.link("eth1") != Value::Null && lan.has_no_records());
    assert!(!four.try_sh("ping -c1 -W1 192.168.1.5"), "as macvlan has it");
}

#[test]
fn guests_share_one_shim_and_it_goes_with_the_last_one() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let (a, b) = (lan.lab.guest(), lan.lab.guest());
    lan.attach(&a, "192.168.1.10/24");
    let index = lan.lab.host.link(SHIM)["ifindex"].clone();
    lan.attach(&b, "192.168.1.11/24");
    assert_eq!(lan.lab.host.link(SHIM)["ifindex"], index);
    reach_each_other(&lan.lab.host, &a, "192.168.1.5", "192.168.1.10");
    reach_each_other(&lan.lab.host, &b, "192.168.1.5", "192.168.1.11");
    assert!(reaches(&a, "192.168.1.11"));
    let listed = lan.lab.run("host-access").out;
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "pws-nic0 on nic0",
            &format!("  192.168.1.10 from 192.168.1.5: eth1 of pid:{}", a.pid()),
            &format!("  192.168.1.11 from 192.168.1.5: eth1 of pid:{}", b.pid()),
        ]
    );
    lan.lab.run(&format!("host-access --remove pid:{}", a.pid()));
    assert!(!a.try_sh("ping -c1 -W1 192.168.1.5") && reaches(&b, "192.168.1.5"));
    lan.lab.fails(&format!("host-access --remove pid:{}", a.pid()), "has no host access");
    lan.lab.run(&format!("host-access --remove pid:{}", b.pid()));
    assert!(!lan.has_shim() && lan.has_no_records());
}

#[test]
fn the_same_again_changes_nothing_and_what_is_missing_is_added() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let guest = lan.lab.guest();
    let line = format!("nic0 pid:{} 192.168.1.10/24", guest.pid());
    lan.lab.ok(&line);
    let macvlan = guest.link("eth1");
    lan.lab.ok(&format!("--host-access {line}"));
    assert_eq!(guest.link("eth1"), macvlan);
    reach_each_other(&lan.lab.host, &guest, "192.168.1.5", "192.168.1.10");
    let unchanged = |line: &str| {
        let before = both(&lan.lab, &guest);
        let ran = lan.lab.run(&format!("--json {line}"));
        assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["result"], "unchanged", "{}", ran.err);
        assert_same(&before, &both(&lan.lab, &guest), line);
    };
    unchanged(&format!("--host-access {line}"));
    unchanged(&line);
    // What others take away comes back, and a changed MAC address is followed.
    for harm in ["ip link set pws-nic0 down", "ip link del pws-nic0", "ip route del 192.168.1.10", "ip neigh del 192.168.1.10 dev pws-nic0"]
    {
        lan.lab.host.sh(harm);
        lan.lab.ok(&format!("--host-access {line}"));
        reach_each_other(&lan.lab.host, &guest, "192.168.1.5", "192.168.1.10");
    }
    guest.sh("ip neigh flush all nud permanent; ip link set eth1 down; ip link set eth1 address 02:00:00:00:00:77; ip link set eth1 up");
    lan.lab.ok(&format!("--host-access {line}"));
    reach_each_other(&lan.lab.host, &guest, "192.168.1.5", "192.168.1.10");
    std::fs::remove_dir_all(lan.lab.dir.path().join(format!("host-access-{}", inode(&lan.lab.host)))).unwrap();
    unchanged(&format!("--host-access {line}"));
    assert_eq!(lan.report()["shims"][0]["users"][0]["address"], "192.168.1.10", "recorded again");
}

fn inode(space: &Space) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{}/ns/net", space.pid())).unwrap().ino()
}

#[test]
fn what_a_guest_leaves_that_was_killed_goes_with_the_next_run_or_when_asked_to() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let before = lan.lab.host.state();
    let (a, b) = (lan.lab.guest(), lan.lab.guest());
    lan.attach(&a, "192.168.1.10/24");
    let name = format!("pid:{}", a.pid());
    drop(a);
    eventually("the guest's end is seen", || lan.report()["shims"][0]["users"][0]["gone"] == true);
    assert!(lan.lab.run("host-access").out.contains("(gone; --prune takes it away)"));
    // The same address, for another guest.
    lan.attach(&b, "192.168.1.10/24");
    reach_each_other(&lan.lab.host, &b, "192.168.1.5", "192.168.1.10");
    lan.lab.fails(&format!("host-access --remove {name}"), &name);
    // A guest that lives on without its interface has no use for the access either.
    b.sh("ip link del eth1");
    assert_eq!(lan.lab.run("host-access --prune").out, format!("removed: 192.168.1.10, eth1 of pid:{}\n", b.pid()));
    assert_same(&before, &lan.lab.host.state(), "the host");
    assert!(lan.has_no_records());
    let c = lan.lab.guest();
    lan.attach(&c, "192.168.1.12/24");
    let name = format!("pid:{}", c.pid());
    drop(c);
    eventually("it is gone", || lan.report()["shims"][0]["users"][0]["gone"] == true);
    assert!(lan.lab.run(&format!("host-access --remove {name}")).out.contains("192.168.1.12"), "by its name");
    assert!(!lan.has_shim());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let host = &lan.lab.host;
    host.sh("ip link add br0 type bridge; ip link add nic1 type veth peer name far1; ip link set nic1 up; ip route add 192.168.1.99 via 192.168.1.1");
    let (guest, other) = (lan.lab.guest(), lan.lab.guest());
    lan.attach(&other, "192.168.1.20/24");
    let before = both(&lan.lab, &guest);
    for (words, wanted) in [
        ("br0 G 192.168.1.10/24", "br0 is a bridge"),
        ("dummy G 192.168.1.10/24", "dummy is a dummy"),
        ("--direct-phys nic1 G 192.168.1.10/24", "nic1 is moved into the guest whole"),
        ("--macvlan private nic0 G 192.168.1.10/24", "nic0 is shared in another way"),
        ("--macvlan=passthru nic1 G 192.168.1.10/24", "use --macvlan bridge"),
        ("--macvtap nic0 G 192.168.1.10/24", "nic0 is shared in another way"),
        ("--ipvlan l2 nic0 G 192.168.1.10/24", "nic0 is shared in another way"),
        ("nic0 G 0/0", "needs the guest's address: 0/0 tells none"),
        ("nic0 G dhcp", "needs the guest's address: dhcp tells none"),
        ("nic1 G 192.168.1.10/24", "no IPv4 address on nic1"),
        ("nic1 G fd00::10/64", "ip addr add ADDRESS/64 dev nic1"),
        ("nic0 G 192.168.1.5/24", "192.168.1.5 is an address of this host's own, on nic0"),
        ("nic0 G 192.168.1.99/24", "has a route to the guest's address already: 192.168.1.99/32 via 192.168.1.1"),
        ("nic0 G 192.168.1.20/24", &format!("it is eth1 of pid:{}", other.pid())),
    ] {
        for dry in ["", "--dry-run "] {
            lan.lab.fails(&format!("{dry}--host-access {}", words.replace('G', &format!("pid:{}", guest.pid()))), wanted);
        }
        assert_same(&before, &both(&lan.lab, &guest), words);
    }
    assert_eq!(lan.report()["shims"].as_array().unwrap().len(), 1);
    lan.lab.fails("host-access --remove nobody:x", "the word before ':'");
    lan.lab.fails(&format!("host-access --prune --remove pid:{}", guest.pid()), "cannot be used with");
}

#[test]
fn somebody_elses_link_of_the_shims_name_stays() {
    if no_root() {
        return;
    }
    for foreign in ["ip link add pws-nic0 type bridge", "ip link add pws-nic0 link nic0 type macvlan mode bridge"] {
        let lan = Lan::new();
        let guest = lan.lab.guest();
        lan.lab.host.sh(foreign);
        let before = both(&lan.lab, &guest);
        let error = lan.lab.fails(
            &format!("--host-access nic0 pid:{} 192.168.1.10/24", guest.pid()),
            "pws-nic0 already exists but is not the host's own macvlan on nic0",
        );
        assert!(error.contains("hint: rename or remove it"), "{error}");
        assert_same(&before, &both(&lan.lab, &guest), foreign);
        assert!(lan.has_no_records());
    }
}

#[test]
fn every_step_rolls_back_with_access() {
    if no_root() {
        return;
    }
    every_step_rolls_back("--host-access nic0 192.168.1.10/24@192.168.1.1 U:x", NIC, "true");
    every_step_rolls_back("--host-access nic0 fd77::10/64", NIC, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
}

#[test]
fn an_access_that_fails_leaves_the_link_that_was_there() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let (guest, other) = (lab.guest(), lab.guest());
    lab.host.sh(NIC);
    lab.ok(&format!("nic0 pid:{} 10.7.7.7/24", guest.pid()));
    for shared in [false, true] {
        if shared {
            lab.ok(&format!("--host-access nic0 pid:{} 192.168.1.11/24", other.pid()));
        }
        let before = both(&lab, &guest);
        let request = request("--host-access nic0 10.7.7.7/24", &guest);
        let mut steps = 0;
        for fault in [Fault::Refused, Fault::AnswerLost] {
            for n in 0.. {
                let outcome = fail_at(&lab.host, None, &request, Birth::Guest, n, fault);
                if !outcome.failed {
                    steps = outcome.steps;
                    lab.run(&format!("host-access --remove pid:{}", guest.pid()));
                    break;
                }
                assert_eq!(outcome.left, Vec::<String>::new(), "step {n}");
                assert_same(&before, &both(&lab, &guest), &format!("shared {shared}, step {n}, {fault:?}"));
            }
            // Carried out by the library alone, so nobody recorded it: as if the run directory had been lost.
            undo_by_hand(&lab, &guest, shared);
            assert_same(&before, &both(&lab, &guest), "taken away by hand");
        }
        assert_eq!(steps, if shared { 4 } else { 5 });
    }
}

fn undo_by_hand(lab: &Lab, guest: &Space, shared: bool) {
    guest.sh("ip neigh del 192.168.1.5 dev eth1; ip route del 192.168.1.5 dev eth1");
    lab.host.sh(if shared { "ip route del 10.7.7.7; ip neigh del 10.7.7.7 dev pws-nic0" } else { "ip link del pws-nic0" });
}

#[test]
fn a_host_with_strict_settings_and_an_address_of_another_subnet_works_too() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    lan.lab.host.sh(
        "for conf in all default; do sysctl -qw net.ipv4.conf.$conf.rp_filter=1 net.ipv4.conf.$conf.arp_ignore=2 net.ipv4.conf.$conf.arp_announce=2; done; \
         sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
    );
    let (four, six) = (lan.lab.guest(), lan.lab.guest());
    lan.attach(&four, "10.5.0.2/24");
    lan.attach(&six, "fd55::2/128");
    reach_each_other(&lan.lab.host, &four, "192.168.1.5", "10.5.0.2");
    reach_each_other(&lan.lab.host, &six, "fd00::5", "fd55::2");
    assert!(four.routes().contains(&"192.168.1.5 dev eth1 scope link".to_owned()), "{:?}", four.routes());
    let routes = lan.lab.host.routes();
    assert!(routes.contains(&"10.5.0.2 dev pws-nic0 scope link src 192.168.1.5".to_owned()), "{routes:?}");
    for guest in [&four, &six] {
        lan.lab.run(&format!("host-access --remove pid:{}", guest.pid()));
    }
    assert!(!four.routes().iter().any(|r| r.contains("192.168.1.5")) && !lan.has_shim());
}

#[test]
fn the_host_talks_from_its_address_in_the_guests_subnet_and_follows_it() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let host = &lan.lab.host;
    host.sh("ip addr add 10.8.0.1/24 dev nic0; ip addr add 169.254.3.3/16 dev nic0 scope link");
    let guest = lan.lab.guest();
    lan.attach(&guest, "10.8.0.2/24");
    assert!(host.sh("ip route get 10.8.0.2").contains("dev pws-nic0 src 10.8.0.1"));
    // The kernel takes the route away with its source; the next run finds another one.
    host.sh("ip addr del 10.8.0.1/24 dev nic0");
    lan.attach(&guest, "10.8.0.2/24");
    assert!(host.sh("ip route get 10.8.0.2").contains("dev pws-nic0 src 192.168.1.5"));
    reach_each_other(host, &guest, "192.168.1.5", "10.8.0.2");
}

#[test]
fn what_the_kernel_refuses_leaves_neither_link_nor_record() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let guest = lan.lab.guest();
    let line = format!("--host-access nic0 pid:{} 192.168.1.10/24", guest.pid());
    // Two macvlans on one NIC cannot both be up with one MAC address: the shim is made, and then refused.
    let planned = lan.lab.run(&format!("--dry-run {line}")).out;
    let mac = planned.split("broadcast ").nth(1).unwrap().split(' ').next().unwrap();
    lan.lab.host.sh(&format!("ip link add twin link nic0 address {mac} type macvlan mode bridge; ip link set twin up"));
    let before = both(&lan.lab, &guest);
    let error = lan.lab.fails(&line, "make pws-nic0, the host's own macvlan on nic0");
    assert!(error.contains("undone: 3 of 3 steps"), "{error}");
    assert_same(&before, &both(&lan.lab, &guest), "both sides");
    assert!(lan.has_no_records());
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_made_good_by_the_next_one() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let before = lan.lab.host.state();
    for n in 0..12 {
        let guest = lan.lab.guest();
        let line = format!("--host-access nic0 pid:{} 192.168.1.10/24", guest.pid());
        let mut killed = lan.lab.program().args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(1500 * n));
        killed.kill().unwrap();
        killed.wait().unwrap();
        // What has no address yet is not what was asked for, with access or without it.
        if lan.lab.run(&line).code != Some(0) {
            guest.sh("ip link del eth1");
            lan.lab.ok(&line);
        }
        reach_each_other(&lan.lab.host, &guest, "192.168.1.5", "192.168.1.10");
        lan.lab.run(&format!("host-access --remove pid:{}", guest.pid()));
        assert_same(&before, &lan.lab.host.state(), &format!("killed after {n} times 1.5 ms"));
        assert!(lan.has_no_records());
        let _ = std::fs::remove_file(format!("/var/run/netns/{}", guest.pid()));
    }
}

#[test]
fn five_at_once_share_one_shim_and_leave_none() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let before = lan.lab.host.state();
    let guests: Vec<Space> = (0..5).map(|_| lan.lab.guest()).collect();
    let all = |line: &dyn Fn(usize, &Space) -> String| {
        let running: Vec<Child> = guests
            .iter()
            .enumerate()
            .map(|(n, guest)| lan.lab.program().args(line(n, guest).split(' ')).stdout(Stdio::null()).spawn().unwrap())
            .collect();
        running.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    };
    all(&|n, guest| format!("--host-access nic0 pid:{} 192.168.1.1{n}/24", guest.pid()));
    assert_eq!(lan.report()["shims"][0]["users"].as_array().unwrap().len(), 5);
    for (n, guest) in guests.iter().enumerate() {
        reach_each_other(&lan.lab.host, guest, "192.168.1.5", &format!("192.168.1.1{n}"));
    }
    all(&|_, guest| format!("host-access --remove pid:{}", guest.pid()));
    assert_same(&before, &lan.lab.host.state(), "the host");
    assert!(lan.has_no_records());
}

#[test]
fn the_printed_commands_do_the_same() {
    if no_root() {
        return;
    }
    for addr in ["192.168.1.10/24", "fd77::10/64"] {
        let lan = Lan::new();
        let guest = lan.lab.guest();
        lan.lab.host.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
        let line = format!("--host-access nic0 pid:{} {addr}", guest.pid());
        let planned = lan.lab.run(&format!("--dry-run {line}"));
        assert!(!lan.has_shim() && lan.has_no_records(), "{}", planned.err);
        lan.lab.host.sh(&planned.out);
        let before = both(&lan.lab, &guest);
        lan.lab.ok(&line);
        assert_same(&before, &both(&lan.lab, &guest), &planned.out);
    }
}
