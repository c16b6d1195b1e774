//! Addresses that somebody else has: asked for on the wire, judged by who is there.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Space, both, eventually, no_root, settled};
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

/// A bridge with another host on it, and a guest that is to get an interface.
struct Lan {
    lab: Lab,
    guest: Space,
    other: Space,
}

impl Lan {
    fn new() -> Self {
        let (lab, other) = (Lab::new(), Space::new());
        lab.host.sh("ip link add br0 up type bridge");
        lab.host.sh(&format!("ip link add o0 up master br0 type veth peer name eth1 address {OTHER} netns {}", other.pid()));
        other.sh("ip addr add 10.1.1.5/24 dev eth1; ip addr add fd00::5/64 dev eth1 nodad; ip link set eth1 up");
        let guest = lab.guest();
        Self { lab, guest, other }
    }

    /// One whose other host is behind a NIC.
    fn behind_a_nic() -> Self {
        let lab = Lab::new();
        let other = lab.nic("nic0");
        other.sh(&format!("ip link set port0 address {OTHER}; ip addr add 10.1.1.5/24 dev port0; ip addr add fd00::5/64 dev port0 nodad"));
        let guest = lab.guest();
        Self { lab, guest, other }
    }

    fn words(&self, line: &str) -> String {
        line.replace("GUEST", &format!("pid:{}", self.guest.pid()))
    }

    fn state(&self) -> Vec<String> {
        settled(&[&self.lab.host, &self.guest], || both(&self.lab, &self.guest))
    }

    /// Runs it, and expects that it fails, says so, and leaves nothing.
    #[track_caller]
    fn is_refused(&self, line: &str, wanted: &str) -> String {
        let before = self.state();
        let error = self.lab.fails(&self.words(line), wanted);
        lab::assert_same(&before, &self.state(), line);
        let left: Vec<_> = std::fs::read_dir(self.lab.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| ["guests", "journal"].iter().any(|d| name == d)), "{left:?}");
        error
    }

    /// Runs it, and expects success and one warning.
    #[track_caller]
    fn warns(&self, line: &str) -> String {
        let ran = self.lab.run(&self.words(line));
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(0), "", 1), "{line}: {}", ran.err);
        ran.err
    }
}

/// How a guest may be joined to the network with the other host: what is typed, and where that is.
fn ways() -> [(&'static str, Lan); 3] {
    [("br0", Lan::new()), ("nic0", Lan::behind_a_nic()), ("--direct-phys nic0", Lan::behind_a_nic())]
}

#[test]
fn an_address_that_another_host_has_is_refused_with_its_mac_address_and_nothing_is_left() {
    if no_root() {
        return;
    }
    for (way, lan) in ways() {
        for addr in ["10.1.1.5/24@10.1.1.1", "fd00::5/64"] {
            let ip = addr.split('/').next().unwrap();
            let error = lan.is_refused(&format!("--dad fail {way} GUEST {addr}"), &format!("{ip} is in use: {OTHER} has it"));
            assert!(error.contains("undone: ") && error.contains("--dad warn takes this one"), "{error}");
        }
        assert!(!lan.other.sh("ip -6 addr").contains("dadfailed"), "{way}: the other host lost its address");
    }
}

#[test]
fn with_warn_the_address_is_taken_and_the_warning_names_the_mac_address() {
    if no_root() {
        return;
    }
    for (way, lan) in ways() {
        let said = lan.warns(&format!("--dad warn {way} GUEST 10.1.1.5/24"));
        assert_eq!(said, format!("pipework: warning: 10.1.1.5 is in use: {OTHER} has it; taken all the same (--dad warn)\n"), "{way}");
        assert_eq!(lan.guest.addrs("eth1"), ["10.1.1.5/24"]);
    }
    let lan = Lan::new();
    let ran = lan.lab.run(&lan.words("--json --dad warn br0 GUEST fd00::5/64"));
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(report["warnings"][0].as_str().unwrap().starts_with(&format!("fd00::5 is in use: {OTHER} has it")), "{report}");
    assert_eq!(report["result"], "attached");
    assert_eq!(lan.guest.addrs("eth1"), ["fd00::5/64"]);
}

#[test]
fn an_address_that_nobody_has_is_given_in_silence_and_an_ipv6_one_can_be_used_at_once() {
    if no_root() {
        return;
    }
    for (way, lan) in ways() {
        lan.lab.ok(&lan.words(&format!("--dad fail {way} GUEST 10.1.1.6/24@10.1.1.5")));
        assert_eq!(lan.guest.addrs("eth1"), ["10.1.1.6/24"], "{way}");
        assert!(lan.guest.sh("ip route").contains("default via 10.1.1.5"));
        lan.lab.ok(&lan.words("detach GUEST"));
        lan.lab.ok(&lan.words(&format!("--dad fail {way} GUEST fd00::6/64@fd00::5")));
        assert!(!lan.guest.sh("ip -6 addr show dev eth1 scope global").contains("tentative"), "{way}");
        assert!(lan.guest.try_sh("ping -6 -c 1 -w 5 fd00::5"), "{way}");
    }
}

#[test]
fn off_asks_nobody_and_is_what_happens_when_nothing_is_said() {
    if no_root() {
        return;
    }
    for words in ["", "--dad off"] {
        let lan = Lan::new();
        lan.lab.ok(&lan.words(&format!("{words} br0 GUEST 10.1.1.5/24")));
        assert_eq!(lan.guest.addrs("eth1"), ["10.1.1.5/24"]);
    }
}

#[test]
fn steps_that_ask_come_after_the_link_is_up_and_before_the_address() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let steps = |words: &str| {
        let ran = lan.lab.run(&lan.words(&format!("--json --dry-run {words}")));
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let all: Vec<String> = report["steps"].as_array().unwrap().iter().map(|step| step["text"].as_str().unwrap().to_owned()).collect();
        all[1..].to_vec()
    };
    let up = "set eth1 in the guest up";
    let ask = |ip: &str| format!("ask on eth1 in the guest who has {ip}");
    let add = |addr: &str| format!("add address {addr} to eth1 in the guest");
    assert_eq!(steps("br0 GUEST 10.1.1.6/24"), [add("10.1.1.6/24").as_str(), up]);
    assert_eq!(steps("--dad warn br0 GUEST 10.1.1.6/24"), [up, &ask("10.1.1.6"), &add("10.1.1.6/24")]);
    let settle = "wait until fd00::6 can be used on eth1 in the guest";
    assert_eq!(steps("--dad fail br0 GUEST fd00::6/64"), [up, &ask("fd00::6"), &add("fd00::6/64"), settle]);
    // Nothing is asked in a dry run.
    assert_eq!(steps("--dad fail br0 GUEST 10.1.1.5/24").len(), 3);
}

#[test]
fn where_nobody_can_be_asked_it_says_so() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    assert!(lan.warns("--dad fail br0 GUEST 0/0").contains("--dad asks nobody: there is no address"));
    lan.lab.fails(&lan.words("--dad-wait br0 GUEST 10.1.1.6/24"), "give --dad warn or --dad fail with it");
    lan.lab.fails(&lan.words("--dad on br0 GUEST 10.1.1.6/24"), "give off, warn or fail");
    // Without a carrier no question gets through; that is told at once when the command is told to end.
    let cut = Lan::behind_a_nic();
    cut.other.sh("ip link set port0 down");
    let before = cut.state();
    let mut command = cut.lab.program();
    command.args(cut.words("--dad fail nic0 GUEST 10.1.1.6/24").split(' ')).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    eventually("the interface is made", || !cut.guest.link("eth1").is_null());
    end(&child);
    let ran: lab::Ran = child.wait_with_output().unwrap().into();
    assert!(ran.code == Some(1) && ran.err.contains("interrupted by SIGTERM"), "{ran:?}");
    lab::assert_same(&before, &cut.state(), "a cut cable");
}

/// Asks a process to end.
fn end(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

#[test]
fn a_signal_while_it_asks_leaves_nothing() {
    if no_root() {
        return;
    }
    for addr in ["10.1.1.6/24", "fd00::6/64"] {
        let lan = Lan::new();
        let before = lan.state();
        let mut command = lan.lab.program();
        command.args(lan.words(&format!("-v --dad fail --dad-wait br0 GUEST {addr}")).split(' ')).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("ask on eth1") {
            assert_ne!(said.read_line(&mut text).unwrap(), 0, "{text}");
        }
        end(&child);
        std::io::Read::read_to_string(&mut said, &mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
        assert!(text.contains("interrupted by SIGTERM"), "{text}");
        lab::assert_same(&before, &lan.state(), addr);
    }
}

#[test]
fn a_guest_that_dies_while_it_is_asked_for_is_told() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let guest = lan.lab.guest();
    let mut command = lan.lab.program();
    command.args(["--dad", "fail", "--dad-wait", "br0", &format!("pid:{}", guest.pid()), "10.1.1.6/24"]).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    eventually("the interface is made", || !guest.link("eth1").is_null());
    drop(guest);
    let ran: lab::Ran = child.wait_with_output().unwrap().into();
    assert!(ran.code == Some(1) && ran.err.contains("the guest has ended"), "{ran:?}");
}

#[test]
fn on_a_bridge_with_stp_the_question_waits_until_the_port_forwards() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    // The shortest forward delay (IEEE 802.1D-2004, table 17-1).
    lan.lab.host.sh("ip link set br0 type bridge forward_delay 200 stp_state 1");
    lan.is_refused("--dad fail br0 GUEST 10.1.1.5/24", &format!("10.1.1.5 is in use: {OTHER} has it"));
}

#[test]
fn a_guest_of_this_host_that_answers_is_named() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let second = lan.lab.guest();
    lan.lab.ok(&lan.words("br0 GUEST 10.1.1.7/24"));
    // What the record does not know: the guest took another address by itself.
    lan.guest.sh("ip addr add 10.1.1.8/24 dev eth1");
    let mac = lan.guest.link("eth1")["address"].as_str().unwrap().to_owned();
    let line = format!("--dad fail br0 pid:{} 10.1.1.8/24", second.pid());
    lan.lab.fails(&line, &format!("10.1.1.8 is in use by guest pid:{} ({mac})", lan.guest.pid()));
}

#[test]
fn an_address_of_another_guest_in_the_same_network_is_refused_without_a_packet_unless_forced() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let second = lan.lab.guest();
    for addr in ["10.1.1.7/24", "fd00::7/64"] {
        lan.lab.ok(&lan.words(&format!("br0 GUEST {addr}")));
        // It is down: nobody would answer.
        lan.guest.sh("ip link set eth1 down");
        let before = settled(&[&lan.lab.host, &second], || both(&lan.lab, &second));
        let mac = lan.guest.link("eth1")["address"].as_str().unwrap().to_owned();
        let who = format!("{} is in use by guest pid:{} ({mac})", addr.split('/').next().unwrap(), lan.guest.pid());
        for words in ["", "--dad off", "--dad warn", "--dad fail", "--dry-run"] {
            let error = lan.lab.fails(&format!("{words} br0 pid:{} {addr}", second.pid()), &who);
            assert!(error.contains("--force"), "{error}");
        }
        lab::assert_same(&before, &settled(&[&lan.lab.host, &second], || both(&lan.lab, &second)), addr);
        // On another network it is another address.
        lan.lab.host.sh("ip link add br1 up type bridge");
        lan.lab.ok(&format!("br1 -l other pid:{} {addr}", second.pid()));
        lan.lab.ok(&format!("detach pid:{}", second.pid()));
        lan.lab.host.sh("ip link del br1");
        let ran = lan.lab.run(&format!("--force br0 pid:{} {addr}", second.pid()));
        assert_eq!((ran.code, ran.err), (Some(0), format!("pipework: warning: {who}; given once more (--force)\n")));
        lan.lab.ok(&format!("detach pid:{}", second.pid()));
        lan.lab.ok(&lan.words("detach GUEST"));
        lan.lab.ok(&format!("br0 pid:{} {addr}", second.pid()));
        lan.lab.ok(&format!("detach pid:{}", second.pid()));
    }
    assert!(!lan.lab.dir.path().join("addresses").exists(), "notes are left");
}

#[test]
fn a_record_of_a_guest_that_is_dead_is_no_conflict() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let dead = lan.lab.guest();
    lan.lab.ok(&format!("br0 pid:{} 10.1.1.7/24", dead.pid()));
    drop(dead);
    lan.lab.ok(&lan.words("br0 GUEST 10.1.1.7/24"));
    lan.lab.ok(&lan.words("br0 GUEST 10.1.1.7/24"));
}

#[test]
fn of_many_runs_that_give_one_address_at_the_same_time_one_does() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let guests: Vec<Space> = (0..8).map(|_| lan.lab.guest()).collect();
    let runs: Vec<lab::Ran> = std::thread::scope(|scope| {
        let lab = &lan.lab;
        let run = move |guest: &Space| lab.run(&format!("br0 pid:{} 10.1.1.7/24", guest.pid()));
        let all: Vec<_> = guests.iter().map(|guest| scope.spawn(move || run(guest))).collect();
        all.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let well = runs.iter().filter(|ran| ran.code == Some(0)).count();
    assert_eq!(well, 1, "{runs:?}");
    assert!(runs.iter().all(|ran| ran.code == Some(0) || ran.err.contains("10.1.1.7 is in use by guest pid:")), "{runs:?}");
    assert_eq!(guests.iter().filter(|guest| !guest.link("eth1").is_null()).count(), 1);
}

#[test]
fn a_note_of_an_address_that_an_attachment_has_no_more_is_in_nobody_s_way_and_goes_with_gc() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let second = lan.lab.guest();
    lan.lab.ok(&lan.words("br0 GUEST 10.1.1.7/24"));
    let notes = || {
        let all = Command::new("find").args([lan.lab.dir.path().join("addresses").as_os_str(), "-type".as_ref(), "l".as_ref()]).output();
        String::from_utf8(all.unwrap().stdout).unwrap()
    };
    assert!(notes().trim_end().ends_with("/br0/10.1.1.7"), "{}", notes());
    // One of a record that was lost.
    let note = std::path::PathBuf::from(notes().trim_end());
    std::os::unix::fs::symlink("4711/eth1", note.with_file_name("10.1.1.8")).unwrap();
    let ran = lan.lab.run("gc");
    assert!(ran.code == Some(0) && ran.out.contains("10.1.1.8 on br0"), "{ran:?}");
    assert!(notes().trim_end().ends_with("/br0/10.1.1.7"), "{}", notes());
    std::os::unix::fs::symlink("4711/eth1", note.with_file_name("10.1.1.8")).unwrap();
    lan.lab.ok(&format!("br0 pid:{} 10.1.1.8/24", second.pid()));
}

#[test]
fn of_several_addresses_each_is_asked_for_and_each_is_noted() {
    if no_root() {
        return;
    }
    let lan = Lan::new();
    let ran = lan.lab.run(&lan.words("--dad warn br0 GUEST 10.1.1.4/24,10.1.1.5/24,fd00::4/64,fd00::5/64"));
    let said = |ip: &str| format!("pipework: warning: {ip} is in use: {OTHER} has it; taken all the same (--dad warn)\n");
    assert_eq!((ran.code, ran.err), (Some(0), said("10.1.1.5") + &said("fd00::5")));
    let second = lan.lab.guest();
    for addr in ["10.1.1.4/24", "fd00::5/64"] {
        lan.lab.fails(&format!("br0 pid:{} {addr}", second.pid()), &format!("in use by guest pid:{}", lan.guest.pid()));
    }
    lan.lab.ok(&lan.words("detach GUEST"));
    lan.is_refused("--dad fail br0 GUEST 10.1.1.4/24,fd00::5/64", &format!("fd00::5 is in use: {OTHER} has it"));
}
