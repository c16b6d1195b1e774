//! What each step sends equals, attribute by attribute, what iproute2 sends for the command that the step prints as.
//!
//! Both run under strace in worlds that were made alike, and strace's dump of what went through the socket is taken
//! apart here, by the same code for both. So interface indexes are compared too. The kernel need not know the kind of
//! link: a message that it refuses was sent all the same.
#![allow(clippy::unwrap_used)]

#[path = "wire/cases.rs"]
mod cases;
#[path = "wire/differs.rs"]
mod differs;
mod lab;
#[path = "wire/messages.rs"]
mod messages;

use std::path::Path;
use std::process::Command;

use cases::{Case, GUEST_UP, cases, del_default_v4, del_default_v6, restored};
use differs::Differs;
use lab::{Space, assert_same, no_root};
use messages::{describe, dumps};
use pipework::kernel::System;
use pipework::kernel::netns::Namespace;
use pipework::kernel::observe::Sides;
use pipework::model::command::Commands;
use pipework::model::facts::GuestId;
use pipework::model::op::Op;
use pipework::plan::execute::Kernel;

/// How a world's process is told which step to carry out, and on which guest.
const STEP: &str = "PIPEWORK_TEST_STEP";
const GUEST: &str = "PIPEWORK_TEST_GUEST";

/// A guest without a process, so that nothing is needed in /var/run/netns.
fn id(path: &Path) -> GuestId {
    GuestId {
        name: "x".into(),
        engine: "netns",
        container: None,
        container_name: None,
        pid: None,
        path: path.display().to_string(),
        netns: 0,
    }
}

/// Not a test by itself: the process that a test below runs under strace.
#[test]
fn a_step_is_carried_out_alone_when_a_test_asks_for_it() {
    let (Ok(step), Ok(path)) = (std::env::var(STEP), std::env::var(GUEST)) else { return };
    let path = Path::new(&path);
    let case = cases().into_iter().find(|c| c.name == step).unwrap();
    let op = (case.step)(path);
    let namespace = Namespace::open(path).unwrap();
    let (host, guest) = (pipework::kernel::wire::Netlink::open().unwrap(), namespace.netlink().unwrap());
    let mut sides = Sides { host, home: Namespace::current().unwrap(), guest, namespace: &namespace };
    // The kernel may refuse: what was sent is all that counts.
    let _ = System::new(&mut sides).apply(&op);
}

#[test]
fn every_step_sends_what_ip_sends_for_the_command_that_it_prints_as() {
    if no_root() {
        return;
    }
    if Command::new("strace").arg("--version").output().is_err() {
        let _ = lab::skip("needs strace");
        return;
    }
    let mut wrong = Vec::new();
    for case in cases() {
        let ours = sent(&case, |space, path, file| {
            let mut command = space.command("strace");
            strace(&mut command, file).arg(std::env::current_exe().unwrap());
            command.args(["--exact", "a_step_is_carried_out_alone_when_a_test_asks_for_it"]);
            command.env(STEP, case.name).env(GUEST, path);
            command
        });
        let theirs = sent(&case, |space, path, file| {
            let inside = format!("/proc/{}/ns/net", space.pid());
            let home = Namespace::open(Path::new(&inside)).unwrap();
            let op = home.inside(|| Ok((case.step)(path))).unwrap();
            let mut command = space.command("strace");
            strace(&mut command, file).args(["sh", "-c", &Commands::new(&id(path)).print(&op)]);
            command
        });
        wrong.extend(compare(&case, ours, theirs));
    }
    assert!(wrong.is_empty(), "- ours, + iproute2's:\n{}", wrong.join("\n"));
}

/// The kernel's own flags of such a route (RTNH_F_LINKDOWN) would make it refuse the route.
#[test]
fn a_route_through_a_link_without_carrier_is_put_back_as_it_was() {
    if no_root() {
        return;
    }
    for (line, deletion) in [
        ("ip route add default via 10.1.1.1", del_default_v4 as fn(&Path) -> Op),
        ("ip route add default nexthop via 10.1.1.1 nexthop via 10.1.1.9", del_default_v4),
        ("ip -6 route add default via fd00::1", del_default_v6),
    ] {
        let (host, guest) = (Space::new(), Space::new());
        guest.sh("ip link add eth1 type veth peer name far");
        guest.sh(GUEST_UP.1);
        guest.sh(line);
        let before = guest.state();
        let path = |space: &Space| format!("/proc/{}/ns/net", space.pid());
        let (home, namespace) = (Namespace::open(Path::new(&path(&host))).unwrap(), Namespace::open(Path::new(&path(&guest))).unwrap());
        let mut sides = Sides { host: home.netlink().unwrap(), guest: namespace.netlink().unwrap(), home, namespace: &namespace };
        let op = deletion(namespace.path());
        let mut system = System::new(&mut sides);
        system.apply(&op).unwrap();
        assert_ne!(before, guest.state(), "{line}");
        system.apply(&restored(op)).unwrap();
        assert_same(&before, &guest.state(), line);
    }
}

/// strace, dumping to a file what the command to be added writes to sockets.
fn strace<'a>(command: &'a mut Command, to: &Path) -> &'a mut Command {
    command.args(["-f", "-qq", "-e", "trace=sendmsg,sendto", "-e", "write=all", "-e", "signal=none", "-o"]).arg(to)
}

/// Runs a command in a world of its own, made as the case wants it, and returns the messages that ask for a change.
fn sent(case: &Case, command: impl Fn(&Space, &Path, &Path) -> Command) -> Vec<Vec<String>> {
    let (host, guest) = (Space::new(), Space::new());
    for (side, line) in case.before {
        if *side == 'H' { &host } else { &guest }.sh(line);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strace");
    let path = format!("/proc/{}/ns/net", guest.pid());
    let output = command(&host, Path::new(&path), &file).output().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let found: Vec<_> = dumps(&text).iter().filter_map(|bytes| describe(bytes)).collect();
    assert!(!found.is_empty(), "{}: nothing was sent: {}", case.name, String::from_utf8_lossy(&output.stderr));
    found
}

/// What differs although the case does not say so, and what it says and is not so.
fn compare(case: &Case, ours: Vec<Vec<String>>, theirs: Vec<Vec<String>>) -> Vec<String> {
    if ours.len() != 1 || theirs.len() != 1 {
        return vec![format!("{}: {} messages of ours, {} of iproute2's", case.name, ours.len(), theirs.len())];
    }
    let only = |a: &[String], b: &[String]| -> Vec<String> { a.iter().filter(|line| !b.contains(line)).cloned().collect() };
    let (mut minus, mut plus) = (only(&ours[0], &theirs[0]), only(&theirs[0], &ours[0]));
    let mut wrong = Vec::new();
    for Differs { ours, theirs, why } in &case.differs {
        let mut take = |lines: &mut Vec<String>, line: &str| {
            if line.is_empty() {
                return;
            }
            match lines.iter().position(|l| l == line) {
                Some(at) => drop(lines.remove(at)),
                None => wrong.push(format!("{}: {line} does not differ any more ({why})", case.name)),
            }
        };
        take(&mut minus, ours);
        take(&mut plus, theirs);
    }
    wrong.extend(minus.iter().map(|line| format!("{}: - {line}", case.name)));
    wrong.extend(plus.iter().map(|line| format!("{}: + {line}", case.name)));
    wrong
}
