//! The program as a process: what it starts, what signals do to it, many at once, with less than all privileges.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::{Child, Stdio};

use lab::{Lab, Ran, Space, assert_same, both, has_kind, has_netns_link, no_root, skip};

fn no_strace() -> bool {
    no_root() || (!std::path::Path::new("/usr/bin/strace").exists() && skip("needs strace: scripts/setup"))
}

/// The program under strace, which says what happened to it on standard error.
fn traced(lab: &Lab, strace: &str, line: &str) -> Ran {
    let mut command = lab.host.command("strace");
    command.args(strace.split(' ')).arg(env!("CARGO_BIN_EXE_pipework")).args(line.split(' '));
    command.env("PIPEWORK_RUN_DIR", lab.dir.path()).env_remove("DOCKER_HOST");
    command.output().unwrap().into()
}

#[test]
fn an_attach_starts_no_process() {
    if no_strace() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let ran = traced(&lab, "-f -e trace=execve", &format!("br0 pid:{} 10.1.1.2/24", guest.pid()));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.err.matches("execve(").count(), 1, "{}", ran.err);
}

#[test]
fn a_signal_at_any_step_leaves_everything_as_before() {
    if no_strace() {
        return;
    }
    let nic = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up; ip addr add 10.3.3.9/24 dev nic0";
    for (words, setup) in [
        ("br0 G 10.1.1.2/24@10.9.1.1", "true"),
        ("nic0 G 10.1.1.2/24", nic),
        ("--direct-phys nic0 G 10.1.1.2/24 U:x", nic),
        ("--via-host br0 G 10.1.1.2/24", "true"),
    ] {
        for signal in ["SIGTERM", "SIGINT"] {
            let lab = Lab::new();
            let guest = lab.guest();
            lab.host.sh(setup);
            guest.sh("ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1");
            let line = words.replace('G', &format!("pid:{}", guest.pid()));
            let before = both(&lab, &guest);
            let mut interrupted = 0;
            for n in 1..200 {
                // Every message to the kernel is one sendto; the signal comes with the n-th.
                let ran = traced(&lab, &format!("-o /dev/null -e trace=sendto -e inject=sendto:signal={signal}:when={n}"), &line);
                if ran.code == Some(0) {
                    break;
                }
                interrupted += 1;
                assert_same(&before, &both(&lab, &guest), &format!("{line}, {signal} at message {n}: {}", ran.err));
                assert!(!has_netns_link(guest.pid()), "{line}, {signal} at message {n}");
            }
            assert!(interrupted > 5, "{line}: {interrupted} interruptions");
            assert!(!guest.link("eth1").is_null(), "{line}: without a signal it is done");
        }
    }
}

#[test]
fn an_interruption_says_what_was_undone() {
    if no_strace() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let line = format!("br0 pid:{} 10.1.1.2/24", guest.pid());
    let told = (1..200).map(|n| traced(&lab, &format!("-o /dev/null -e trace=sendto -e inject=sendto:signal=SIGTERM:when={n}"), &line));
    let told: Vec<Ran> = told.take_while(|ran| ran.code != Some(0)).filter(|ran| ran.code == Some(1)).collect();
    assert!(
        told.iter().any(|ran| ran.err.contains("interrupted by SIGTERM") && ran.err.contains("pipework: undone: 2 of 2 steps")),
        "{told:?}"
    );
}

fn spawn(lab: &Lab, line: &str) -> Child {
    lab.program().args(line.split(' ')).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

fn all_succeed(children: Vec<Child>) {
    for child in children {
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn fifty_at_once_on_fifty_guests_then_fifty_on_one() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guests: Vec<Space> = (0..50).map(|_| lab.guest()).collect();
    // The bridge is not there: all fifty want to make it.
    all_succeed(guests.iter().enumerate().map(|(n, g)| spawn(&lab, &format!("br0 pid:{} 10.1.1.{}/24", g.pid(), n + 1))).collect());
    let one = lab.guest();
    all_succeed((0..50).map(|n| spawn(&lab, &format!("br0 -i eth{n} pid:{} 10.2.{n}.1/24", one.pid()))).collect());
    assert_eq!(lab.host.ip("link show master br0").as_array().unwrap().len(), 100);
    for (n, guest) in guests.iter().enumerate() {
        assert_eq!(guest.addrs("eth1"), [format!("10.1.1.{}/24", n + 1)]);
        assert!(!has_netns_link(guest.pid()));
    }
    for n in 0..50 {
        assert_eq!(one.addrs(&format!("eth{n}")), [format!("10.2.{n}.1/24")]);
    }
    assert!(!has_netns_link(one.pid()));
    lab::eventually("no lock file is left", || {
        let found = std::process::Command::new("find").arg(lab.dir.path()).args(["-name", "*.lock"]).output().unwrap();
        found.stdout.is_empty()
    });
}

#[test]
fn of_many_that_want_one_name_one_gets_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let guest = lab.guest();
    let children: Vec<Child> = (1..20).map(|n| spawn(&lab, &format!("br0 pid:{} 10.1.1.{n}/24", guest.pid()))).collect();
    let ended: Vec<Ran> = children.into_iter().map(|c| c.wait_with_output().unwrap().into()).collect();
    assert_eq!(ended.iter().filter(|ran| ran.code == Some(0)).count(), 1, "{ended:?}");
    assert_eq!(guest.addrs("eth1").len(), 1);
    assert_eq!(lab.host.ip("link show master br0").as_array().unwrap().len(), 1);
    assert!(!has_netns_link(guest.pid()));
}

#[test]
fn the_link_in_the_netns_directory_stands_on_request_and_a_foreign_one_is_left_alone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let pid = guest.pid();
    lab.ok(&format!("--keep-netns br0 pid:{pid} 10.1.1.2/24"));
    assert!(has_netns_link(pid));
    lab.ok(&format!("br0 -i eth2 pid:{pid} 10.1.2.2/24"));
    assert!(has_netns_link(pid), "it is the user's now");
    std::fs::remove_file(format!("/var/run/netns/{pid}")).unwrap();
    lab.ok(&format!("br0 -i eth3 pid:{pid} 10.1.3.2/24"));
    assert!(!has_netns_link(pid));
}

#[test]
fn a_group_named_after_the_guest_leads_to_it() {
    if no_root() {
        return;
    }
    let roots: Vec<&str> = ["/sys/fs/cgroup/devices", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .filter(|r| std::path::Path::new(r).join("cgroup.procs").exists())
        .collect();
    if roots.is_empty() && skip("no control groups are mounted") {
        return;
    }
    let lab = Lab::new();
    for root in roots {
        let name = format!("pw-test-{}", std::process::id());
        for (n, group) in
            [name.clone(), format!("lxc.payload.{name}"), format!("machine-{}.scope", name.replace('-', "\\x2d"))].iter().enumerate()
        {
            let guest = lab.guest();
            let path = std::path::Path::new(root).join(group);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("cgroup.procs"), guest.pid().to_string()).unwrap();
            let plain = lab.run(&format!("br0 {name} 10.1.1.2/24"));
            let forced = lab.run(&format!("br0 -i eth2 lxc:{name} 10.1.2.2/24"));
            std::fs::write(std::path::Path::new(root).join("cgroup.procs"), guest.pid().to_string()).unwrap();
            std::fs::remove_dir(&path).unwrap();
            assert_eq!((plain.code, plain.err.as_str()), (Some(0), ""), "{root} {n}");
            assert_eq!((forced.code, forced.err.as_str()), (Some(0), ""), "{root} {n}");
            assert_eq!(guest.addrs("eth2"), ["10.1.2.2/24"]);
        }
    }
}

#[test]
fn four_capabilities_are_enough_and_a_missing_one_is_named() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let run = |capabilities: &str, name: &str| -> Ran {
        let mut command = lab.host.command("setpriv");
        let set = format!("-all{capabilities}");
        command.args([&format!("--bounding-set={set}"), &format!("--inh-caps={set}"), "--"]);
        command.arg(env!("CARGO_BIN_EXE_pipework")).env("PIPEWORK_RUN_DIR", lab.dir.path());
        command.args(["br0", "-i", name, &format!("pid:{}", guest.pid()), "0/0"]).output().unwrap().into()
    };
    let ran = run(",+net_admin,+sys_admin,+sys_ptrace,+net_raw", "eth1");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for (capabilities, missing) in
        [(",+sys_admin,+sys_ptrace,+net_raw", "CAP_NET_ADMIN"), (",+net_admin,+sys_ptrace,+net_raw", "CAP_SYS_ADMIN")]
    {
        let ran = run(capabilities, "eth2");
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(&format!("{missing} is missing")), "{}", ran.err);
    }
    let ran = run(",+net_admin,+sys_admin,+sys_ptrace", "eth3");
    assert_eq!(ran.code, Some(0), "announcing is never a failure");
    assert!(ran.err.contains("CAP_NET_RAW is missing"), "{}", ran.err);
    // Another user's process, with capabilities of its own, is not opened without CAP_SYS_PTRACE.
    let ran = run(",+net_admin,+sys_admin,+net_raw", "eth4");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("CAP_SYS_PTRACE is missing"), "{}", ran.err);
}

#[test]
fn a_kernel_without_a_kind_of_link_is_told_with_the_option_that_is_missing() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh("ip link add nic0 type veth peer name far0");
    let mut told = 0;
    for (kind, words, option) in [("dummy", "dummy", "CONFIG_DUMMY"), ("vlan", "nic0", "CONFIG_VLAN_8021Q")] {
        if !has_kind(kind) {
            let tag = if kind == "vlan" { " @10" } else { "" };
            let before = both(&lab, &guest);
            lab.fails(&format!("{words} pid:{} 10.1.1.2/24{tag}", guest.pid()), option);
            assert_same(&before, &both(&lab, &guest), kind);
            told += 1;
        }
    }
    if told == 0 {
        println!("this kernel has them all: nothing to be told");
    }
}

#[test]
fn reports_are_json_with_a_version_whether_it_goes_well_or_not() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let parse = |ran: &Ran| -> serde_json::Value { serde_json::from_str(&ran.out).unwrap() };
    let line = format!("--json br0 pid:{} 10.1.1.2/24", guest.pid());
    let report = parse(&lab.run(&line));
    assert_eq!(
        (&report["schema"], &report["result"], &report["interface"], &report["address"]),
        (&1.into(), &"attached".into(), &"eth1".into(), &"10.1.1.2/24".into())
    );
    assert_eq!(report["steps"].as_array().unwrap().len(), 4);
    assert_eq!(parse(&lab.run(&line))["result"], "unchanged");
    assert_eq!(parse(&lab.run(&format!("--dry-run --json br0 -i eth2 pid:{} 0/0", guest.pid())))["result"], "planned");
    let failed = parse(&lab.run(&format!("--json br0 pid:{} 10.1.1.3/24", guest.pid())));
    assert_eq!((&failed["schema"], &failed["result"]), (&1.into(), &"failed".into()));
    assert!(failed["hint"].as_str().unwrap().contains("--replace"));
}
