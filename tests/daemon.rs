//! `pipework daemon`: what is wanted is so, and stays so, whatever happens to containers, engine and daemon.
#![allow(clippy::unwrap_used)]

mod lab;

#[path = "daemon/hostile.rs"]
mod hostile;
#[path = "daemon/soak.rs"]
mod soak;
#[path = "daemon/world.rs"]
mod world;

use std::time::{Duration, Instant};

use lab::engine::{Engine, no_engine};
use lab::{Lab, Ran, Space, eventually, no_root};
use nix::sys::signal::Signal;
use world::{
    Daemon, Podman, addresses, config, end_namespace, eventually_has, inside, namespace, no_podman, veths, with_engine, without_engine,
    write_attachment,
};

const LABEL: &str = "--label 'pipework.lan=br0 10.66.0.N/24@10.66.0.254'";

/// Starts a container with a label for an address that ends in `n`, and words of `docker run`.
fn labelled(engine: &Engine, n: usize, words: &str) {
    engine.docker(&format!("run -d --net none --name c{n} {} {words} box sleep 100000", LABEL.replace('N', &n.to_string())));
}

#[test]
fn labelled_containers_have_their_addresses_through_restarts_of_themselves_and_their_engine() {
    if no_engine() {
        return;
    }
    let mut engine = Engine::start();
    labelled(&engine, 1, "--restart always");
    let daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
    eventually_has(&engine, "c1", "10.66.0.1/24");
    // Eight at once.
    std::thread::scope(|scope| {
        (2..10).for_each(|n| {
            drop(scope.spawn({
                let engine = &engine;
                move || labelled(engine, n, "")
            }))
        });
    });
    (2..10).for_each(|n| eventually_has(&engine, &format!("c{n}"), &format!("10.66.0.{n}/24")));
    engine.docker("restart -t 0 c2");
    eventually_has(&engine, "c2", "10.66.0.2/24");
    assert!(engine.docker("exec c2 ip route").contains("default via 10.66.0.254"));
    engine.docker("kill c3");
    eventually("nothing is left of c3", || veths(&engine.lab.host) == 8);
    daemon.eventually_tells("detached", |event| event["guest"] == "docker:c3");
    engine.docker("start c3");
    eventually_has(&engine, "c3", "10.66.0.3/24");
    engine.docker("rename c3 other");
    engine.docker("restart -t 0 other");
    eventually_has(&engine, "other", "10.66.0.3/24");
    engine.restart();
    eventually_has(&engine, "c1", "10.66.0.1/24");
    eventually("only c1 is left, and what is its own", || veths(&engine.lab.host) == 1);
    let took = daemon.of_kind("attached").iter().filter_map(|event| event["elapsed_us"].as_u64()).count();
    assert!(took >= 10, "the time since the engine's word is told");
    assert_eq!(daemon.of_kind("failed"), [0; 0], "nothing failed on the way");
}

#[test]
fn a_daemon_that_was_killed_finds_what_happened_meanwhile() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    (1..4).for_each(|n| labelled(&engine, n, ""));
    let mut daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
    (1..4).for_each(|n| eventually_has(&engine, &format!("c{n}"), &format!("10.66.0.{n}/24")));
    daemon.kill();
    engine.docker("restart -t 0 c1");
    engine.docker("kill c2");
    labelled(&engine, 4, "");
    assert!(addresses(&engine, "c3", "eth1").contains("10.66.0.3/24"), "the daemon's end takes nothing away");
    let mut daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
    [1, 3, 4].iter().for_each(|n| eventually_has(&engine, &format!("c{n}"), &format!("10.66.0.{n}/24")));
    eventually("nothing is left of c2", || veths(&engine.lab.host) == 3);
    assert_eq!(daemon.end(), Some(0));
    [1, 3, 4].iter().for_each(|n| eventually_has(&engine, &format!("c{n}"), &format!("10.66.0.{n}/24")));
}

#[test]
fn what_a_label_may_not_have_is_refused_once_and_its_container_runs_on() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    let _switch = engine.lab.nic("nic0");
    let daemon = Daemon::start(with_engine(&engine), &engine.lab, &["--interval", "1"]);
    engine.docker("run -d --net none --name grab --label 'pipework.x=--direct-phys nic0 10.1.1.1/24' --label 'pipework.y=br0 $(reboot) ;' box sleep 100000");
    daemon.eventually_tells("refused", |event| event["source"] == "label pipework.x" && event["guest"] == "docker:grab");
    daemon.eventually_tells("refused", |event| event["source"] == "label pipework.y");
    labelled(&engine, 5, "");
    eventually_has(&engine, "c5", "10.66.0.5/24");
    // Some checks later it was told once still.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(daemon.of_kind("refused").len(), 2);
    assert!(!engine.lab.host.link("nic0").is_null());
    assert_eq!(engine.docker("inspect -f {{.State.Running}} grab"), "true");
    engine.docker("restart -t 0 grab");
    eventually("it is told again when the container was started again", || daemon.of_kind("refused").len() == 4);
}

#[test]
fn wanted_records_bring_all_back_after_the_run_directory_and_the_namespaces_are_gone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let paths: Vec<_> = (1..6).map(|n| lab.dir.path().join(format!("ns{n}"))).collect();
    paths.iter().for_each(|path| namespace(path));
    for (n, path) in paths.iter().enumerate() {
        let ran: Ran = lab.run(&format!("--persist br0 netns:{} 10.67.0.{n}/24", path.display()));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    paths.iter().for_each(|path| end_namespace(path));
    eventually("the host's ends are gone", || veths(&lab.host) == 0);
    ["guests", "journal", "addresses"].iter().for_each(|name| drop(std::fs::remove_dir_all(lab.dir.path().join(name))));
    lab.host.sh("ip link del br0; ip link add br0 up type bridge");
    // Some are there before the daemon, some come later.
    let (before, later) = paths.split_at(3);
    before.iter().for_each(|path| namespace(path));
    let daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    let has = |n: usize| inside(&paths[n], "ip -o -4 addr show eth1").contains(&format!("10.67.0.{n}/24"));
    eventually("those that are there are back", || (0..3).all(has));
    later.iter().for_each(|path| namespace(path));
    eventually("those that came later too", || (3..5).all(has));
    // One that goes leaves nothing.
    end_namespace(&paths[4]);
    eventually("its end on the host goes with it", || veths(&lab.host) == 4);
    // One that is detached is not wanted any more.
    let ran: Ran = without_engine(&lab).args(["detach", &format!("netns:{}", paths[0].display())]).output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!has(0), "{:?}", daemon.told());
    paths.iter().take(4).for_each(|path| end_namespace(path));
}

#[test]
fn a_guest_that_waits_for_a_silent_server_holds_nobody_up() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let waiting = Space::new();
    write_attachment(&lab, "a.toml", &format!("pid:{}", waiting.pid()), "dynamic = \"dhcp\"\ndhcp_timeout = 20");
    let others: Vec<Space> = (0..8).map(|_| Space::new()).collect();
    for (n, other) in others.iter().enumerate() {
        write_attachment(&lab, &format!("b{n}.toml"), &format!("pid:{}", other.pid()), &format!("addresses = [\"10.68.0.{}/24\"]", n + 1));
    }
    let start = Instant::now();
    let mut daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    eventually("the others are there", || others.iter().enumerate().all(|(n, o)| o.addrs("eth1") == [format!("10.68.0.{}/24", n + 1)]));
    assert!(start.elapsed() < Duration::from_secs(20), "before the silent server was given up");
    assert!(!waiting.link("eth1").is_null(), "it is still waited for");
    assert_eq!(daemon.of_kind("failed"), [0; 0]);
    // What waits is ended, and undone.
    assert_eq!(daemon.end(), Some(0));
    assert!(waiting.link("eth1").is_null());
    assert_eq!(others[0].addrs("eth1"), ["10.68.0.1/24"]);
}

#[test]
fn what_is_changed_by_hand_is_put_back_without_waiting_for_the_next_check() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let guest = Space::new();
    let word = format!("pid:{}", guest.pid());
    write_attachment(&lab, "a.toml", &word, "addresses = [\"10.69.0.1/24\"]\ngateways = [\"10.69.0.254\"]");
    let mut program = without_engine(&lab);
    program.env("pipework_debug", "true");
    let daemon = Daemon::start(program, &lab, &["--interval", "3600"]);
    let is_whole = || {
        let on_bridge = lab.host.sh("ip -o link show type veth").contains("master br0");
        on_bridge
            && guest.addrs("eth1") == ["10.69.0.1/24"]
            && guest.routes().iter().any(|route| route.starts_with("default via 10.69.0.254"))
    };
    eventually("it is attached", is_whole);
    for (what, line) in [
        ("an address", "ip addr del 10.69.0.1/24 dev eth1"),
        ("the default route", "ip route del default"),
        ("the link", "ip link set eth1 down"),
        ("all of it", "ip link del eth1"),
    ] {
        guest.sh(line);
        eventually(&format!("{what} is put back"), is_whole);
    }
    lab.host.sh(&format!("ip link set veth1pl{} nomaster", guest.pid()));
    eventually("its place on the bridge is put back", is_whole);
    daemon.eventually_tells("repaired", |event| event["guest"] == word.as_str() && event["interface"] == "eth1");
    // The link's own address and announcements stir it once more.
    daemon.eventually_tells("checked", |event| event["guest"] == word.as_str() && event["interface"] == "eth1");
}

#[test]
fn files_are_read_again_on_sighup_and_one_with_a_mistake_changes_nothing() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let (one, two) = (Space::new(), Space::new());
    let word = |guest: &Space| format!("pid:{}", guest.pid());
    write_attachment(&lab, "a.toml", &word(&one), "addresses = [\"10.70.0.1/24\"]");
    let daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    eventually("the first is there", || one.addrs("eth1") == ["10.70.0.1/24"]);
    std::fs::write(config(&lab).join("b.toml"), "[[attachments]]\nhost_if = 1\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.eventually_tells("warning", |event| event["why"].as_str().is_some_and(|why| why.contains("b.toml:2")));
    assert_eq!(one.addrs("eth1"), ["10.70.0.1/24"]);
    write_attachment(&lab, "a.toml", &word(&one), "addresses = [\"10.70.0.9/24\"]");
    write_attachment(&lab, "b.toml", &word(&two), "addresses = [\"10.70.0.2/24\"]");
    daemon.signal(Signal::SIGHUP);
    eventually("the second is there, and the first as it is written now", || {
        two.addrs("eth1") == ["10.70.0.2/24"] && one.addrs("eth1") == ["10.70.0.9/24"]
    });
    std::fs::remove_file(config(&lab).join("b.toml")).unwrap();
    daemon.signal(Signal::SIGHUP);
    eventually("the second is taken away", || two.link("eth1").is_null());
    assert_eq!(one.addrs("eth1"), ["10.70.0.9/24"]);
}

#[test]
fn there_is_one_daemon_and_one_pass_says_by_its_exit_status_whether_all_is_there() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let guest = Space::new();
    write_attachment(&lab, "a.toml", &format!("pid:{}", guest.pid()), "addresses = [\"10.71.0.1/24\"]");
    let once = || -> Ran { without_engine(&lab).args(["daemon", "--once", "--config"]).arg(config(&lab)).output().unwrap().into() };
    let ran = once();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(guest.addrs("eth1"), ["10.71.0.1/24"]);
    let other = Space::new();
    write_attachment(&lab, "b.toml", &format!("pid:{}", other.pid()), "addresses = [\"10.71.0.1/24\"]");
    let ran = once();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("10.71.0.1"), "{}", ran.err);
    std::fs::write(config(&lab).join("c.toml"), "name = 1").unwrap();
    let ran = once();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("c.toml:1"), "{}", ran.err);
    std::fs::remove_file(config(&lab).join("c.toml")).unwrap();
    let daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    daemon.eventually_tells("started", |_| true);
    let ran = once();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("another daemon looks after this host"), "{}", ran.err);
}

#[test]
fn replicas_of_two_compose_projects_have_the_addresses_of_their_instances() {
    let there = std::process::Command::new("docker-compose").arg("version").output().is_ok();
    if no_engine() || (!there && lab::skip("needs docker-compose: scripts/setup")) {
        return;
    }
    let engine = Engine::start();
    let file = "version: '2.4'\nservices:\n  web:\n    image: box\n    command: sleep 100000\n    network_mode: none\n    stop_grace_period: 0s\n    \
        labels:\n      pipework.lan: 'br0 10.NET.0.{{.Instance}}/24 U:{{.Project}}-{{.Instance}}'\n";
    let _daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
    for (project, net) in [("shop", "72"), ("blog", "73")] {
        let directory = engine.lab.dir.path().join(project);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("docker-compose.yml"), file.replace("NET", net)).unwrap();
        engine.sh(&format!("cd {} && docker-compose -p {project} up -d --scale web=3 2>&1", directory.display()));
    }
    for (project, net) in [("shop", "72"), ("blog", "73")] {
        (1..4).for_each(|n| eventually_has(&engine, &format!("{project}_web_{n}"), &format!("10.{net}.0.{n}/24")));
    }
    engine.sh(&format!("cd {} && docker-compose -p shop restart 2>&1", engine.lab.dir.path().join("shop").display()));
    (1..4).for_each(|n| eventually_has(&engine, &format!("shop_web_{n}"), &format!("10.72.0.{n}/24")));
}

#[test]
fn hooks_run_beside_the_daemons_threads() {
    use std::os::unix::fs::PermissionsExt;
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let guest = Space::new();
    write_attachment(&lab, "a.toml", &format!("pid:{}", guest.pid()), "addresses = [\"10.74.0.1/24\"]");
    let (hook, ran) = (lab.dir.path().join("hooks.d/post-attach/note"), lab.dir.path().join("ran"));
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\necho \"$PIPEWORK_GUEST $PIPEWORK_INTERFACE\" >> {}\n", ran.display())).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let _daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    let told = format!("pid:{} eth1\n", guest.pid());
    eventually("the hook has run", || std::fs::read_to_string(&ran).is_ok_and(|text| text == told));
}

#[test]
fn containers_of_podman_have_what_their_labels_say_through_restarts() {
    if no_podman() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh("ip link add br0 up type bridge");
    let podman = Podman::start(&lab);
    let mut program = without_engine(&lab);
    program.env("CONTAINER_HOST", podman.host());
    let daemon = Daemon::start(program, &lab, &[]);
    daemon.eventually_tells("engine-connected", |event| event["source"].as_str().is_some_and(|source| source.starts_with("podman")));
    let limits = "--cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024";
    let run = format!("run -d --name web --network none {limits} --label 'pipework.lan=br0 10.71.0.1/24' box sleep 100000");
    assert!(podman.tries(&run).is_some());
    eventually("web has its address", || podman.addresses("web").contains("10.71.0.1/24"));
    assert!(podman.tries("restart -t 0 web").is_some());
    eventually("web has it again", || podman.addresses("web").contains("10.71.0.1/24"));
    assert!(podman.tries("rm -f -t 0 web").is_some());
    eventually("nothing is left", || veths(&lab.host) == 0);
    daemon.eventually_tells("detached", |event| event["guest"] == "podman:web");
}

/// So many in each run; PIPEWORK_HOSTILE has another number.
const HOSTILE: usize = 1000;

#[test]
fn of_words_that_mean_harm_nothing_is_run_and_nothing_attached_and_the_daemon_stays_small() {
    if no_root() {
        return;
    }
    let count = std::env::var("PIPEWORK_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(HOSTILE);
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    lab.host.sh("ip link add br0 up type bridge");
    let guest = Space::new();
    let (host_before, guest_before) = (lab.host.state(), guest.state());
    let canary = lab.dir.path().join("canary").display().to_string();
    let mut lot = hostile::Lot(1);
    let all: Vec<_> = (1..=count).map(|n| hostile::container(&mut lot, n, &canary)).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let nanos = u64::try_from(now.as_nanos()).unwrap();
    let started = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap();
    let events: String = all.iter().map(|(id, labels, _)| format!("{}\n", hostile::event(id, labels, nanos))).collect();
    let pid = guest.pid();
    let told = std::sync::atomic::AtomicBool::new(false);
    let engine = lab::engine::StandIn::start(&lab, move |path| {
        let inspected = path.split("/containers/").nth(1).and_then(|rest| rest.strip_suffix("/json"));
        match inspected.and_then(|id| usize::from_str_radix(id, 16).ok()).and_then(|n| all.get(n - 1)) {
            Some((id, labels, env)) => (200, hostile::inspected(id, labels, env, pid, &started).to_string()),
            None if path.contains("/events") && !told.swap(true, std::sync::atomic::Ordering::SeqCst) => (200, events.clone()),
            None if path.contains("/events") => {
                // Nothing more happens.
                std::thread::sleep(Duration::from_secs(600));
                (200, String::new())
            }
            None if path.contains("/containers/json") => (200, "[]".into()),
            None => (404, "{}".into()),
        }
    });
    let mut program = without_engine(&lab);
    program.env("DOCKER_HOST", engine.host());
    let mut daemon = Daemon::start(program, &lab, &[]);
    let last = format!("{count:064x}");
    // It is idle when it has told of the last one, and tells no more.
    let patience = Instant::now() + Duration::from_secs(60 + u64::try_from(count).unwrap() / 10);
    let mut before = 0;
    loop {
        let told = daemon.told();
        if told.len() == before && told.iter().any(|event| event["container"] == last.as_str()) {
            break;
        }
        assert!(Instant::now() < patience, "{} events, and no end", told.len());
        before = told.len();
        std::thread::sleep(Duration::from_millis(1500));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok()).unwrap();
    println!("of {count}: at most {} MB", peak / 1024);
    assert!(peak < 200 * 1024, "{peak} KB");
    assert_eq!(daemon.end(), Some(0));
    assert!(!std::path::Path::new(&canary).exists());
    assert_eq!(daemon.of_kind("attached"), [0; 0]);
    lab::assert_same(&host_before, &lab.host.state(), "the host");
    lab::assert_same(&guest_before, &guest.state(), "the guest");
    let refused = daemon
        .of_kind("refused")
        .iter()
        .filter_map(|event| event["container"].as_str().map(str::to_owned))
        .collect::<std::collections::BTreeSet<_>>();
    assert!(refused.len() > count * 9 / 10, "{} of {count} were refused something", refused.len());
}
