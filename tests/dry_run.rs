//! `--dry-run`: changes nothing, and what it prints does the same as the attach when it is fed to a shell.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::Write;
use std::process::Stdio;

use lab::{Lab, Ran, Space, assert_same, has_netns_link, no_root};

/// A host with a guest, and the far end of its NIC where it has one.
struct World {
    lab: Lab,
    guest: Space,
    _switch: Option<Space>,
}

/// How a world is made and what is asked of it. `GUEST`, `PID` and the like are filled in for each world.
struct Case {
    name: &'static str,
    /// Shell lines on the host and in the guest.
    host: &'static str,
    guest: String,
    nic: bool,
    attach: &'static str,
}

const BRIDGE: &str = "ip link add br0 address 02:00:00:00:00:0a up type bridge";

fn case(name: &'static str, attach: &'static str) -> Case {
    Case { name, host: "", guest: String::new(), nic: false, attach }
}

fn on_bridge(name: &'static str, attach: &'static str) -> Case {
    Case { host: BRIDGE, ..case(name, attach) }
}

fn on_nic(name: &'static str, attach: &'static str) -> Case {
    Case { nic: true, ..case(name, attach) }
}

impl World {
    fn new(case: &Case) -> Self {
        let (lab, guest) = (Lab::new(), Space::new());
        let switch = case.nic.then(|| lab.nic("nic0"));
        lab.host.sh(case.host);
        guest.sh(&case.guest);
        Self { lab, guest, _switch: switch }
    }

    fn state(&self) -> Vec<String> {
        let guest = self.guest.state().into_iter().map(|line| format!("guest {line}"));
        self.lab.host.state().into_iter().chain(guest).collect()
    }

    /// The state in words that are the same in a twin: no PID, no name made of the namespace's number, no address that
    /// was picked at random (`given` has those that were not).
    fn comparable(&self, given: &str) -> Vec<String> {
        let pid = format!("pl{}", self.guest.pid());
        let plain = |line: &String| {
            let words = line.split(' ').map(|word| {
                let is_mac = word.len() == 19 && word.matches(':').count() == 5;
                let is_made = word.len() == 16 && word.starts_with("\"pw");
                match word {
                    _ if is_mac && !given.contains(word.trim_matches('"')) => "RANDOM".to_owned(),
                    _ if is_made => "MADE".to_owned(),
                    _ => word.replace(&pid, "plPID"),
                }
            });
            words.collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<_> = self.state().iter().map(plain).collect();
        lines.sort();
        lines
    }

    fn run(&self, options: &str, case: &Case) -> Ran {
        let line = case.attach.replace("PID", &self.guest.pid().to_string());
        self.lab.run(&format!("{options} {line}"))
    }

    /// Feeds lines to a shell on the host.
    fn shell(&self, script: &str) -> Ran {
        let mut command = self.lab.host.command("sh");
        command.arg("-e").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }
}

/// Whether the two worlds, one by `--dry-run` and a shell, one by the attach itself, end alike.
#[track_caller]
fn check(case: &Case) {
    let (printed, attached) = (World::new(case), World::new(case));
    let before = printed.state();
    let given = format!("{} {}", case.host, case.attach);
    let unlike = attached.comparable(&given);
    let dry = printed.run("--dry-run", case);
    assert_eq!(dry.code, Some(0), "{}: {}", case.name, dry.err);
    assert_same(&before, &printed.state(), &format!("{}: --dry-run changed something", case.name));
    assert!(!has_netns_link(printed.guest.pid()), "{}: --dry-run left a link", case.name);

    let shell = printed.shell(&dry.out);
    assert_eq!((shell.code, shell.out.as_str(), shell.err.as_str()), (Some(0), "", ""), "{}:\n{}", case.name, dry.out);
    assert!(!has_netns_link(printed.guest.pid()), "{}: the commands left a link:\n{}", case.name, dry.out);
    let real = attached.run("", case);
    assert_eq!(real.code, Some(0), "{}: {}", case.name, real.err);
    assert_eq!(real.err, dry.err, "{}: the same warnings", case.name);
    let (by_shell, by_us) = (printed.comparable(&given), attached.comparable(&given));
    assert_same(&by_us, &by_shell, &format!("{}: - attached, + by the shell from\n{}", case.name, dry.out));
    assert_ne!(unlike, by_us, "{}: nothing happened", case.name);

    // The shell's world is as asked, in the program's own eyes too: nothing more to do, so nothing is printed.
    let again = printed.run("--dry-run", case);
    assert_eq!((again.code, again.out.as_str()), (Some(0), ""), "{}: {}", case.name, again.err);
}

fn all(cases: &[Case]) {
    if !no_root() {
        cases.iter().for_each(check);
    }
}

#[test]
fn printed_commands_for_a_bridge_do_what_the_attach_does() {
    all(&[
        case("absent bridge", "br0 pid:PID 10.1.1.2/24"),
        case("absent bridge and a gateway, with a warning", "br0 pid:PID 10.1.1.2/24@10.1.1.1"),
        on_bridge("bridge", "br0 pid:PID 10.1.1.2/24"),
        on_bridge("names", "br0 -i data0 -l far0 pid:PID 10.1.1.2/24@10.1.1.1"),
        on_bridge("MAC address", "br0 pid:PID 10.1.1.2/24 02:00:00:00:00:07"),
        on_bridge("no address", "br0 pid:PID 0/0 02:00:00:00:00:07"),
        on_bridge("gateway off the subnet", "br0 pid:PID 10.1.1.2/24@172.16.0.1"),
        on_bridge("prefixes without broadcast", "br0 pid:PID 10.1.1.2/31@10.1.1.3"),
        on_bridge("a host's prefix", "br0 pid:PID 10.1.1.2/32@10.1.1.1"),
        on_bridge("by way of the host", "--via-host br0 pid:PID 10.1.1.2/24@10.1.1.1 02:00:00:00:00:07"),
        Case {
            host: "ip link add br0 mtu 1400 up type bridge; ip link add keep mtu 1400 type veth peer name keep1; ip link set keep master br0",
            ..case("MTU", "br0 pid:PID 0/0")
        },
        Case {
            host: "ip link add br0 up type bridge; ip link add far0 type veth peer name gone0",
            ..case("a dead link makes room", "br0 -l far0 pid:PID 10.1.1.2/24")
        },
    ]);
}

#[test]
fn printed_commands_for_ipv6_do_what_the_attach_does() {
    all(&[
        on_bridge("gateway", "br0 pid:PID fd00::2/64@fd00::1"),
        on_bridge("gateway off the subnet", "br0 pid:PID fd00::2/64@fd00:9::1"),
        on_bridge("link-local gateway", "br0 pid:PID fd00::2/64@fe80::1"),
        Case {
            guest: "sysctl -qw net.ipv6.conf.default.disable_ipv6=1".into(),
            ..on_bridge("IPv6 off by default", "br0 pid:PID fd00::2/64@fd00::1")
        },
        Case {
            guest: "sysctl -qw net.ipv6.conf.all.disable_ipv6=1".into(),
            ..on_bridge("IPv6 off, name with a dot", "br0 -i eth1.7 pid:PID fd00::2/64")
        },
    ]);
}

#[test]
fn printed_commands_for_a_guest_with_a_default_route_do_what_the_attach_does() {
    const LINK: &str = "ip link add old type veth peer name far; ip link set far up; ip link set old up; ip addr add 10.9.9.2/24 dev old; ip addr add fd09::2/64 nodad dev old;";
    for (name, attach, routes) in [
        ("v4", "br0 pid:PID 10.1.1.2/24@10.1.1.1", "ip route add default via 10.9.9.1"),
        ("v4 with a metric", "br0 pid:PID 10.1.1.2/24@10.1.1.1", "ip route add default via 10.9.9.1 proto static metric 100"),
        (
            "v4, several",
            "br0 pid:PID 10.1.1.2/24@10.1.1.1",
            "ip route add default via 10.9.9.1; ip route add default via 10.9.9.7 metric 100",
        ),
        ("v4, on the link", "br0 pid:PID 10.1.1.2/24@10.1.1.1", "ip route add default dev old"),
        (
            "v4, the other family stays",
            "br0 pid:PID 10.1.1.2/24@10.1.1.1",
            "ip route add default via 10.9.9.1; ip -6 route add default dev old",
        ),
        ("v6", "br0 pid:PID fd00::2/64@fd00::1", "ip route add default via fd09::1"),
        ("v6, on the link", "br0 pid:PID fd00::2/64@fd00::1", "ip -6 route add default dev old"),
        ("v6, several", "br0 pid:PID fd00::2/64@fd00::1", "ip route add default via fd09::1 metric 10; ip route add default via fd09::7"),
        ("v6, multipath", "br0 pid:PID fd00::2/64@fd00::1", "ip -6 route add default nexthop via fd09::1 nexthop via fd09::7"),
    ] {
        if no_root() {
            return;
        }
        check(&Case { guest: format!("{LINK} {routes}"), ..on_bridge(name, attach) });
    }
}

#[test]
fn printed_commands_for_a_nic_do_what_the_attach_does() {
    all(&[
        on_nic("macvlan", "nic0 pid:PID 10.3.3.2/24@10.3.3.1"),
        on_nic("macvlan with a MAC address", "nic0 pid:PID 10.3.3.2/24 02:00:00:00:00:07"),
        on_nic("macvlan by way of the host", "--via-host nic0 pid:PID 0/0"),
        on_nic("the NIC itself", "--direct-phys nic0 pid:PID 10.3.3.2/24@10.3.3.1"),
        on_nic("the NIC itself, with a MAC address", "--direct-phys nic0 -i lan0 pid:PID 0/0 02:00:00:00:00:07"),
        on_nic("the NIC itself under its name", "--direct-phys nic0 -i nic0 pid:PID fd00::2/64@fd00::1"),
        on_nic("the NIC itself by way of the host", "--via-host --direct-phys nic0 -i lan0 pid:PID 10.3.3.2/24"),
        Case {
            host: "ip link set nic0 up; ip addr add 10.3.3.9/24 dev nic0; ip route add default via 10.3.3.1",
            ..on_nic("the host's own NIC", "--direct-phys --force nic0 pid:PID 10.3.3.2/24")
        },
    ]);
}

#[test]
fn printed_commands_for_a_namespace_by_its_path_do_what_the_attach_does() {
    all(&[
        on_bridge("bridge", "br0 netns:/proc/PID/ns/net 10.1.1.2/24@10.1.1.1"),
        on_bridge("IPv6", "br0 netns:/proc/PID/ns/net fd00::2/64@fd00::1"),
        Case {
            guest: "sysctl -qw net.ipv6.conf.default.disable_ipv6=1".into(),
            ..on_bridge("IPv6 off by default", "br0 netns:/proc/PID/ns/net fd00::2/64@fd00::1")
        },
        on_nic("macvlan", "nic0 netns:/proc/PID/ns/net 10.3.3.2/24"),
        on_nic("the NIC itself", "--direct-phys nic0 netns:/proc/PID/ns/net 10.3.3.2/24 02:00:00:00:00:07"),
    ]);
}

#[test]
fn a_dry_run_says_on_standard_error_what_it_would_do_and_fails_as_the_attach_would() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let ran = lab.run(&format!("--dry-run -v br0 pid:{} 10.1.1.2/24", guest.pid()));
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("nothing done: this was the plan"), "{}", ran.err);
    lab.fails(&format!("--dry-run eth77 pid:{} 0/0", guest.pid()), "I do not know how to setup interface eth77.");
    lab.fails(&format!("--dry-run -i sixteen-bytes-16 br0 pid:{} 0/0", guest.pid()), "the kernel takes at most 15");
}
