//! A veth straight between two guests: no bridge, nothing on the host, all or nothing, and gone from both when it goes from one.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::inside::{FAULTS, fail_link_at};
use lab::{Lab, Space, assert_same, eventually, no_root, settled, skip};
use pipework::model::pair::PairRequest;
use serde_json::Value;

/// A guest with a way out of its own, which a gateway replaces.
const WAY_OUT: &str = "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; \
    ip route add default via 172.17.0.1 metric 5; ip -6 addr add fd17::2/64 dev eth0 nodad; ip -6 route add default via fd17::1";

struct Two {
    lab: Lab,
    a: Space,
    b: Space,
}

impl Two {
    fn new() -> Self {
        let lab = Lab::new();
        let (a, b) = (lab.guest(), lab.guest());
        Self { lab, a, b }
    }

    /// A line with the guests' words for `A` and `B`: the first by its process, the second by its namespace's file.
    fn line(&self, line: &str) -> String {
        line.replace('A', &format!("pid:{}", self.a.pid())).replace('B', &format!("netns:/proc/{}/ns/net", self.b.pid()))
    }

    fn ok(&self, line: &str) {
        self.lab.ok(&self.line(line));
    }

    fn fails(&self, line: &str, wanted: &str) -> String {
        self.lab.fails(&self.line(line), &self.line(wanted))
    }

    /// The host and both guests.
    fn state(&self) -> Vec<String> {
        let of = |name: &str, space: &Space| space.state().into_iter().map(|line| format!("{name} {line}")).collect::<Vec<_>>();
        [of("host", &self.lab.host), of("a", &self.a), of("b", &self.b)].concat()
    }

    fn settled(&self) -> Vec<String> {
        settled(&[&self.a, &self.b], || self.state())
    }

    /// Files with records, and of the journal.
    fn records(&self) -> Vec<String> {
        let text = std::process::Command::new("find").arg(self.lab.dir.path()).args(["-name", "*.json*"]).output().unwrap().stdout;
        let mut all: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
        all.sort();
        all
    }
}

fn request(words: [&str; 2], two: &Two) -> PairRequest {
    PairRequest { ends: words.map(|word| two.line(word).parse().unwrap()), mtu: None }
}

#[test]
fn two_guests_reach_each_other_and_the_host_has_nothing_of_it() {
    if no_root() {
        return;
    }
    let two = Two::new();
    let host = two.lab.host.state();
    two.ok("link A=10.0.0.1/30,fd00::1/64 B:lan0=10.0.0.2/30,fd00::2/64 --mtu 1400");
    two.a.sh("ping -c1 -W5 10.0.0.2");
    eventually("IPv6 across", || two.b.try_sh("ping -c1 -W1 fd00::1"));
    assert_same(&host, &two.lab.host.state(), "the host");
    let (near, far) = (two.a.link("eth1"), two.b.link("lan0"));
    for end in [&near, &far] {
        assert_eq!(
            (&end["mtu"], &end["linkinfo"]["info_kind"], &end["group"]),
            (&1400.into(), &"veth".into(), &"1885958245".into()),
            "{end}"
        );
    }
    assert_eq!(two.records().len(), 2);
    // Many between the same two; each step says where it is.
    let ran = two.lab.run(&two.line("link -v A:eth2 B:eth2"));
    for words in ["make veth pair eth2 in A and eth2 in B", "set eth2 in A up", "set eth2 in B up"] {
        assert!(ran.err.contains(&two.line(words)), "{words}: {}", ran.err);
    }
    assert!(!ran.err.contains("the guest") && !ran.err.contains("host"), "{}", ran.err);
    two.ok("link B:eth3=10.0.1.1/24 A:eth3=10.0.1.2/24");
    two.b.sh("ping -c1 -W5 10.0.1.2");
    assert_eq!(two.records().len(), 6);
}

#[test]
fn whichever_step_goes_wrong_all_look_as_before() {
    if no_root() {
        return;
    }
    for words in
        [["A", "B"], ["A=10.0.0.1/30@10.0.0.2", "B:lan0=10.0.0.2/30,fd00::2/64@10.0.0.1,fd00::1"], ["A=fd00::1/64", "B=fd00::2/64@fe80::1"]]
    {
        let two = Two::new();
        two.a.sh(WAY_OUT);
        two.b.sh(&format!("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; {}", WAY_OUT.split("; ip -6").next().unwrap()));
        let before = two.settled();
        let request = request(words, &two);
        let mut steps = None;
        for n in 0..50 {
            for fault in FAULTS {
                let outcome = fail_link_at(&two.lab.host, &request, n, fault);
                if !outcome.failed {
                    steps = Some(outcome.steps);
                    break;
                }
                assert_eq!(outcome.left, Vec::<String>::new(), "{words:?}, step {n}");
                assert_same(&before, &two.state(), &format!("{words:?}, step {n}, {fault:?}"));
            }
            if let Some(steps) = steps {
                assert_eq!(n, steps, "every step was made to fail");
                break;
            }
        }
        assert!(steps.is_some(), "{words:?}: the plan was never carried out");
    }
}

#[test]
fn what_a_dry_run_prints_does_the_same() {
    if no_root() {
        return;
    }
    let line = "link A=10.0.0.1/30,fd00::1/64@10.0.0.2 B:lan0=10.0.0.2/30,fd00::2/64@10.0.0.1,fd00::1 --mtu 1400";
    let run = |by_hand: bool| {
        let two = Two::new();
        two.a.sh(WAY_OUT);
        two.b.sh(WAY_OUT);
        let ran = two.lab.run(&two.line(&format!("--dry-run {line}")));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(two.records(), Vec::<String>::new());
        if by_hand {
            two.lab.host.sh(&ran.out);
        } else {
            two.ok(line);
        }
        let plain = |line: &String| {
            let mut words: Vec<&str> = line.split(' ').collect();
            // A MAC address is random.
            if let Some(at) = words.iter().position(|word| *word == "mac") {
                words[at + 1] = "";
            }
            words.join(" ")
        };
        two.settled().iter().map(plain).collect::<Vec<_>>()
    };
    assert_same(&run(false), &run(true), "by hand");
}

#[test]
fn the_same_again_does_nothing_and_another_is_told_what_differs() {
    if no_root() {
        return;
    }
    let two = Two::new();
    let line = "link A=10.0.0.1/30 B=10.0.0.2/30@10.0.0.1";
    two.ok(line);
    let before = two.settled();
    let report = |line: &str| serde_json::from_str::<Value>(&two.lab.run(&two.line(line)).out).unwrap();
    let again = report(&format!("{line} --json"));
    assert_eq!((&again["schema"], &again["result"]), (&1.into(), &"unchanged".into()));
    assert_eq!(again["ends"][1]["addresses"][0], "10.0.0.2/30");
    // In the other order it is the same link.
    two.ok("link B=10.0.0.2/30@10.0.0.1 A=10.0.0.1/30");
    let told = two.fails("link A=10.0.0.5/30 B=10.0.0.2/30 --mtu 1400", "eth1 exists in A and is not as asked: MTU is 1500, wanted 1400");
    assert!(told.contains("address is 10.0.0.1/30, wanted 10.0.0.5/30"), "{told}");
    assert!(told.contains(&two.line("eth1 exists in B and is not as asked: MTU is 1500")), "{told}");
    assert!(told.contains(&two.line("pipework detach A -i eth1")), "{told}");
    two.fails("link A B:eth2", "the other end is another one, or none, wanted netns:");
    // One end of another pair has the same index, as it mostly has: it is another pair all the same.
    let (c, d) = (two.lab.guest(), two.lab.guest());
    two.lab.ok(&format!("link pid:{} pid:{}", c.pid(), d.pid()));
    assert_eq!(two.a.link("eth1")["ifindex"], c.link("eth1")["ifindex"]);
    two.fails(&format!("link A=10.0.0.1/30 pid:{}", c.pid()), "the other end is another one, or none");
    assert_same(&before, &two.state(), "after all that");
}

#[test]
fn status_takes_no_interface_of_the_host_for_the_other_end() {
    if no_root() {
        return;
    }
    let two = Two::new();
    two.ok("link A B");
    // A veth of the host whose ends have the indexes that the link's have.
    let (a, b) = (two.a.link("eth1")["ifindex"].clone(), two.b.link("eth1")["ifindex"].clone());
    assert_eq!(a, b);
    let elsewhere = two.lab.guest();
    two.lab.host.sh(&format!("ip link add h0 index {a} type veth peer name h1 index {b} netns {}", elsewhere.pid()));
    let status: Value = serde_json::from_str(&two.lab.run("status --json").out).unwrap();
    for attachment in status["attachments"].as_array().unwrap() {
        assert_eq!((&attachment["host_link"], &attachment["standing"]), (&Value::Null, &"ok".into()), "{attachment}");
    }
}

#[test]
fn what_cannot_be_is_told_beforehand() {
    if no_root() {
        return;
    }
    let two = Two::new();
    two.a.sh(WAY_OUT);
    let before = two.settled();
    two.fails("link A A:eth2", "A and A are the same network namespace");
    let host = format!("pid:{}", two.lab.host.pid());
    let told = two.fails(&format!("link A {host}"), &format!("{host} is this host itself"));
    assert!(told.contains(&two.line("pipework br1 A 10.0.0.2/24")), "{told}");
    two.fails("link A=10.0.0.1/24 B=10.0.0.1/30", "both ends are to have 10.0.0.1/24");
    two.fails("link A=172.17.0.2/24 B", "A has 172.17.0.2/16 already, on eth0");
    two.fails("link A=dhcp B", "nobody gives addresses on a link");
    two.fails("link A=fd00::1/64 B --mtu 1000", "1000");
    two.fails("link A:eth1:eth2 B", "guest \"A:eth1\"");
    two.fails("link A nobody-of-that-name", "not found");
    two.fails("link:A:eth1 B 10.0.0.2/24", "both are made at once\npipework: hint: pipework link B:eth1=10.0.0.2/24 A:eth1");
    let ran = two.lab.run(&two.line("link --dry-run A=10.0.0.1/30 B=10.0.1.1/30"));
    assert!(ran.err.contains("are not in one subnet"), "{}", ran.err);
    assert_same(&before, &two.state(), "refused");
    assert_eq!(two.records(), Vec::<String>::new());
}

#[test]
fn a_detach_of_either_end_takes_all_of_it_away() {
    if no_root() {
        return;
    }
    for (end, other) in [("A", "B"), ("B -i lan0", "A")] {
        let two = Two::new();
        two.a.sh(WAY_OUT);
        two.b.sh(WAY_OUT);
        let before = two.settled();
        let link = "link A=10.0.0.1/30,fd00::1/64@10.0.0.2,fd00::2 B:lan0=10.0.0.2/30,fd00::2/64@10.0.0.1,fd00::1";
        two.ok(link);
        assert_eq!(two.records().len(), 2);
        let ran = two.lab.run(&two.line(&format!("detach --dry-run {end}")));
        assert!(ran.out.contains("link del") && ran.out.contains("route add default via 172.17.0.1"), "{} {}", ran.out, ran.err);
        two.ok(&format!("detach {end}"));
        assert_same(&before, &two.settled(), end);
        assert_eq!(two.records(), Vec::<String>::new());
        two.ok(&format!("detach {end}"));
        two.lab.ok(&two.line(&format!("detach {other} --all")));
        two.ok(link);
    }
}

#[test]
fn when_one_of_the_two_is_dead_the_other_is_cleared_up() {
    if no_root() {
        return;
    }
    // Whoever dies, whichever is named: what the living one had is back.
    for (dies, named) in [("A", "A"), ("A", "B"), ("B", "B"), ("B", "A"), ("A", "gc"), ("B", "gc")] {
        let Two { lab, a, b } = Two::new();
        let word = |name: &str| if name == "A" { format!("pid:{}", a.pid()) } else { format!("netns:/proc/{}/ns/net", b.pid()) };
        let (dead_is_a, line) = (dies == "A", if named == "gc" { "gc".to_owned() } else { format!("detach {}", word(named)) });
        a.sh(WAY_OUT);
        b.sh(WAY_OUT);
        let before = [a.state(), b.state()];
        lab.ok(&format!("link {}=10.0.0.1/30@10.0.0.2 {}=10.0.0.2/30@10.0.0.1", word("A"), word("B")));
        let (dead, alive, before) = if dead_is_a { (a, b, &before[1]) } else { (b, a, &before[0]) };
        drop(dead);
        eventually("the link has gone with it", || alive.link("eth1").is_null());
        let ran = lab.run(&line);
        assert_eq!(ran.code, Some(0), "{dies} dead, {named}: {}", ran.err);
        assert_same(before, &settled(&[&alive], || alive.state()), &format!("{dies} dead, {named}"));
        let left = std::process::Command::new("find").arg(lab.dir.path()).args(["-name", "*.json*"]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(left).unwrap(), "", "{dies} dead, {named}");
    }
}

#[test]
fn a_link_whose_guest_died_can_be_made_anew() {
    if no_root() {
        return;
    }
    let two = Two::new();
    two.a.sh(WAY_OUT);
    let before = two.a.state();
    let c = two.lab.guest();
    two.lab.ok(&two.line(&format!("link A=10.0.0.1/30@10.0.0.2 pid:{}=10.0.0.2/30", c.pid())));
    drop(c);
    eventually("the link has gone with it", || two.a.link("eth1").is_null());
    two.ok("link A=10.0.0.1/30@10.0.0.2 B=10.0.0.2/30");
    two.a.sh("ping -c1 -W5 10.0.0.2");
    two.ok("detach B");
    assert_same(&before, &settled(&[&two.a], || two.a.state()), "the first link's way out came back first");
    assert_eq!(two.records(), Vec::<String>::new());
}

#[test]
fn a_signal_or_a_kill_at_any_step_leaves_all_or_nothing() {
    if no_root() || (!std::path::Path::new("/usr/bin/strace").exists() && skip("needs strace: scripts/setup")) {
        return;
    }
    for signal in ["SIGTERM", "SIGKILL"] {
        let two = Two::new();
        two.a.sh(WAY_OUT);
        two.b.sh(WAY_OUT);
        let before = two.settled();
        let line = two.line("link A=10.0.0.1/30@10.0.0.2 B=10.0.0.2/30@10.0.0.1");
        let mut interrupted = 0;
        for n in 1..200 {
            // Every message to the kernel is one sendto; the signal comes with the n-th.
            let inject = format!("inject=sendto:signal={signal}:when={n}");
            let mut command = two.lab.host.command("strace");
            command.args(["-o", "/dev/null", "-e", "trace=sendto", "-e", &inject, env!("CARGO_BIN_EXE_pipework")]).args(line.split(' '));
            command.env("PIPEWORK_RUN_DIR", two.lab.dir.path()).env("PIPEWORK_HOOKS_DIR", "/nowhere");
            if command.output().unwrap().status.code() == Some(0) {
                break;
            }
            interrupted += 1;
            if signal == "SIGKILL" {
                let ran = two.lab.run("gc");
                assert_eq!(ran.code, Some(0), "{signal} at message {n}: {}", ran.err);
            }
            assert_same(&before, &two.state(), &format!("{signal} at message {n}"));
            assert_eq!(two.records(), Vec::<String>::new(), "{signal} at message {n}");
        }
        assert!(interrupted > 5, "{interrupted} interruptions");
        assert!(!two.a.link("eth1").is_null(), "without a signal it is done");
        assert_eq!(two.records().len(), 2);
    }
}

#[test]
fn many_links_at_once_come_to_be_all() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guests: Vec<Space> = (0..5).map(|_| lab.guest()).collect();
    let mut children = Vec::new();
    for (i, a) in guests.iter().enumerate() {
        for (j, b) in guests.iter().enumerate().filter(|(j, _)| *j != i) {
            let line = format!("link pid:{}:to{j}from{i} pid:{}:fr{i}to{j}", a.pid(), b.pid());
            children.push(lab.program().args(line.split(' ')).stderr(std::process::Stdio::piped()).spawn().unwrap());
        }
    }
    for child in children {
        let ran = lab::Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    }
    for guest in &guests {
        assert_eq!(guest.ip("link show type veth").as_array().unwrap().len(), 8);
    }
}

#[test]
fn hooks_are_asked_of_both_ends() {
    if no_root() {
        return;
    }
    let two = Two::new();
    for event in ["pre-attach", "post-attach", "pre-detach", "post-detach"] {
        let folder = two.lab.dir.path().join("hooks.d").join(event);
        std::fs::create_dir_all(&folder).unwrap();
        let (draft, log) = (two.lab.dir.path().join("draft"), two.lab.dir.path().join("log"));
        std::fs::write(&draft, format!("#!/bin/sh\necho $PIPEWORK_EVENT $PIPEWORK_GUEST $PIPEWORK_INTERFACE >> {}\n", log.display()))
            .unwrap();
        lab::executable(&draft, &folder.join("a"));
    }
    two.ok("link A B:lan0");
    let log = std::fs::read_to_string(two.lab.dir.path().join("log")).unwrap();
    assert_eq!(log, two.line("pre-attach A eth1\npre-attach B lan0\npost-attach A eth1\npost-attach B lan0\n"));
    std::fs::remove_file(two.lab.dir.path().join("log")).unwrap();
    two.ok("detach B");
    let log = std::fs::read_to_string(two.lab.dir.path().join("log")).unwrap();
    assert_eq!(log, two.line("pre-detach B lan0\npre-detach A eth1\npost-detach B lan0\npost-detach A eth1\n"));
}
