//! Containers of a real Docker engine, private to each test.
#![allow(clippy::unwrap_used)]

mod lab;

use std::sync::Mutex;
use std::time::Duration;

use lab::engine::{Engine, StandIn, no_engine, pass_on};
use lab::{Lab, Space, assert_same, both, has_netns_link, no_root};

#[test]
fn containers_are_found_by_name_id_and_unique_prefix_and_reach_each_other() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    let (web, db) = (engine.container("web"), engine.container("db"));
    engine.ok("br0 web 192.168.77.2/24");
    engine.ok(&format!("br0 {db} 192.168.77.3/24"));
    engine.ok(&format!("br0 -i eth2 {} 0/0", &web[..10]));
    engine.ok("br0 -i eth3 docker:web 10.1.1.1/24");
    engine.ok("br0 -i eth4 /web 10.2.1.1/24");
    engine.docker("exec web ping -c1 -W2 192.168.77.3");
    let text = engine.docker("exec web ip -o link");
    assert!(["eth1", "eth2", "eth3", "eth4"].iter().all(|name| text.contains(name)), "{text}");
    engine.ok("br0 web 192.168.77.2/24");
}

#[test]
fn several_matches_are_listed_and_nothing_is_done() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    let mut ids = Vec::new();
    // Seventeen IDs share a first digit somewhere.
    for n in 0..17 {
        ids.push(engine.docker(&format!("create --net none --name c{n} box sleep 1")));
    }
    let digit = |id: &String| id.chars().next().unwrap();
    let shared = ids.iter().map(digit).find(|d| ids.iter().filter(|i| digit(i) == *d).count() > 1).unwrap();
    let error = engine.fails(&format!("br0 {shared} 0/0"), "Found more than one container matching");
    for (n, id) in ids.iter().enumerate().filter(|(_, id)| digit(id) == shared) {
        assert!(error.contains(&format!("docker:c{n} ({})", &id[..12])), "{error}");
    }
    assert!(engine.lab.host.link("br0").is_null());
}

#[test]
fn a_container_that_is_not_running_is_waited_for_as_long_as_the_original_did() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    engine.docker("create --net none --name late box sleep 100000");
    let error = engine.fails("br0 late 10.1.1.1/24", "is not running (its engine says PID 0)");
    assert!(error.contains("docker start late"), "{error}");
    let mut waiting = engine.program().args(["br0", "late", "10.1.1.1/24"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    engine.docker("start late");
    assert!(waiting.wait().unwrap().success());
    assert!(engine.docker("exec late ip addr show eth1").contains("10.1.1.1/24"));
}

#[test]
fn a_container_on_the_hosts_network_is_refused() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    engine.docker("run -d --net host --name hosty box sleep 100000");
    engine.fails("br0 hosty 10.1.1.1/24@10.1.1.254", "hosty has no network namespace of its own");
}

#[test]
fn contexts_tcp_and_tls_lead_to_the_engine() {
    if no_engine() {
        return;
    }
    let certificates = tempfile::tempdir().unwrap();
    make_certificates(certificates.path());
    let file = |name: &str| format!("{}/{name}", certificates.path().display());
    let tls = [
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", file("ca.pem")),
        format!("--tlscert={}", file("cert.pem")),
        format!("--tlskey={}", file("key.pem")),
        "-H=tcp://127.0.0.1:2376".to_owned(),
    ];
    let engine = Engine::start_with(&tls.iter().map(String::as_str).collect::<Vec<_>>());
    engine.container("web");
    let run = |program: &mut std::process::Command, line: &str| -> lab::Ran { program.args(line.split(' ')).output().unwrap().into() };

    let mut program = engine.lab.program();
    program.env("DOCKER_HOST", "tcp://127.0.0.1:2376").env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", certificates.path());
    let ran = run(&mut program, "br0 web 10.1.1.1/24");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));

    let ran = run(engine.lab.program().env("DOCKER_HOST", "tcp://127.0.0.1:2376"), "br0 -i eth2 web 10.1.2.1/24");
    assert_eq!(ran.code, Some(1), "plain HTTP to a TLS port: {}", ran.err);

    let config = engine.lab.dir.path().join("config");
    std::fs::create_dir_all(config.join("contexts/meta/0a")).unwrap();
    let meta = format!(r#"{{"Name":"lab","Endpoints":{{"docker":{{"Host":"{}"}}}}}}"#, engine.host());
    std::fs::write(config.join("contexts/meta/0a/meta.json"), meta).unwrap();
    std::fs::write(config.join("config.json"), r#"{"currentContext":"lab"}"#).unwrap();
    let ran = run(engine.lab.program().env("DOCKER_CONFIG", &config), "br0 -i eth3 web 10.1.3.1/24");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let ran = run(engine.lab.program().env("DOCKER_CONFIG", &config).env("DOCKER_CONTEXT", "gone"), "br0 -i eth4 web 0/0");
    assert!(ran.err.contains("docker context \"gone\": there is no such context"), "{}", ran.err);
}

/// A certificate authority, and one certificate for both ends.
fn make_certificates(directory: &std::path::Path) {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 2 2>/dev/null
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost 2>/dev/null
        printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext
        openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -days 2 -extfile ext 2>/dev/null";
    let done = std::process::Command::new("sh").args(["-ec", script]).current_dir(directory).status().unwrap();
    assert!(done.success(), "openssl");
}

#[test]
fn podman_is_asked_at_its_own_socket() {
    if no_engine() {
        return;
    }
    // Podman's service speaks Docker's API: the engine plays it.
    let engine = Engine::start();
    engine.container("web");
    let ran: lab::Ran = engine
        .lab
        .program()
        .env("CONTAINER_HOST", engine.host())
        .args(["--json", "br0", "podman:web", "10.1.1.1/24"])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&report["schema"], &report["guest"]["engine"]), (&1.into(), &"podman".into()));
    // One container behind both sockets is one container.
    let ran: lab::Ran =
        engine.program().env("CONTAINER_HOST", engine.host()).args(["br0", "-i", "eth2", "web", "0/0"]).output().unwrap().into();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn a_container_removed_between_look_up_and_use_is_refused() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    engine.container("web");
    let real = engine.socket.clone();
    let host = engine.host();
    // The engine tells the PID, then the container is removed, then the answer arrives.
    let removed = Mutex::new(false);
    let between = StandIn::start(&engine.lab, move |path| {
        let answer = pass_on(&real, path);
        let mut removed = removed.lock().unwrap();
        if !*removed {
            *removed = true;
            let done = std::process::Command::new("docker").args(["rm", "-f", "web"]).env("DOCKER_HOST", &host).output().unwrap();
            assert!(done.status.success());
        }
        answer
    });
    let before = engine.lab.host.state();
    let ran: lab::Ran =
        engine.lab.program().env("DOCKER_HOST", between.host()).args(["br0", "web", "10.1.1.1/24"]).output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("container web ended while it was looked up"), "{}", ran.err);
    assert_same(&before, &engine.lab.host.state(), "the host");
}

/// A container's PID that is another's by now.
fn inspect(id: &str, pid: u32, started: &str) -> String {
    format!(
        r#"{{"Id":"{id}","Name":"/web","State":{{"Status":"running","Running":true,"Pid":{pid},"StartedAt":"{started}"}},"NetworkSettings":{{"SandboxKey":""}}}}"#
    )
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn a_pid_that_has_become_a_strangers_is_refused_and_the_stranger_left_alone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let stranger = Space::new();
    let pid = stranger.pid();
    // First the stale PID, then the container's end.
    let asked = Mutex::new(0);
    let engine = StandIn::start(&lab, move |path| {
        if !path.contains("/containers/") {
            return (200, "{}".into());
        }
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        if *asked == 1 { (200, inspect(ID, pid, "2020-01-01T00:00:00Z")) } else { (404, r#"{"message":"No such container"}"#.into()) }
    });
    let before = both(&lab, &stranger);
    let ran: lab::Ran = lab.program().env("DOCKER_HOST", engine.host()).args(["br0", "web", "10.1.1.1/24"]).output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("is not (or no longer) its own"), "{}", ran.err);
    assert_same(&before, &both(&lab, &stranger), "host and stranger");
    assert!(!has_netns_link(pid));
}

#[test]
fn an_engine_on_another_machine_is_refused() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let stranger = Space::new();
    let pid = stranger.pid();
    // It keeps saying so, of a process that is its own machine's: here the number is a stranger's.
    let engine = StandIn::start(&lab, move |_| (200, inspect(ID, pid, "2020-01-01T00:00:00Z")));
    let before = both(&lab, &stranger);
    let ran: lab::Ran = lab.program().env("DOCKER_HOST", engine.host()).args(["br0", "web", "10.1.1.1/24"]).output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("runs on another machine"), "{}", ran.err);
    assert_same(&before, &both(&lab, &stranger), "host and stranger");
}

#[test]
fn a_swarm_manager_that_answers_for_another_node_is_refused_by_name() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let engine = StandIn::start(&lab, |path| match path {
        p if p.contains("/containers/") => (200, inspect(ID, 4_194_303, "2020-01-01T00:00:00Z")),
        p if p.contains("/version") => (200, r#"{"Version":"swarm/1.2.9","ApiVersion":"1.22"}"#.into()),
        _ => (200, r#"{"Name":"manager"}"#.into()),
    });
    let ran: lab::Ran = lab.program().env("DOCKER_HOST", engine.host()).args(["br0", "web", "10.1.1.1/24"]).output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("a Swarm manager that answers for its nodes"), "{}", ran.err);
}

#[test]
fn an_engine_that_is_down_is_named() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let ran: lab::Ran =
        lab.program().env("DOCKER_HOST", "unix:///nonexistent/docker.sock").args(["br0", "web", "0/0"]).output().unwrap().into();
    assert!(ran.err.contains("docker at unix:///nonexistent/docker.sock"), "{}", ran.err);
    let ran: lab::Ran = lab.program().env("DOCKER_HOST", "ssh://far").args(["br0", "web", "0/0"]).output().unwrap().into();
    assert!(ran.err.contains("on another machine"), "{}", ran.err);
}

#[test]
fn a_container_that_was_killed_restarted_or_renamed_is_detached_clean() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    let host = || engine.sh("ip -o link show type veth; ip -o link show type bridge");
    for (act, word) in [("kill web", "web"), ("restart -t 0 web", "web"), ("rename web other", "other"), ("rename web other", "web")] {
        engine.container("web");
        let before = host();
        engine.ok("br1 web 10.1.1.2/24");
        assert_ne!(host(), before);
        engine.docker(act);
        engine.ok(&format!("detach {word}"));
        assert_eq!(host(), before, "{act}, detach {word}");
        engine.ok("gc");
        let name = if act.starts_with("rename") { "other" } else { "web" };
        engine.docker(&format!("rm -f {name}"));
    }
}

#[test]
fn a_topology_of_containers_is_made_and_made_again_when_one_was_started_anew() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    engine.container("web");
    engine.container("db");
    let file = engine.lab.dir.path().join("shop.yaml");
    let text = "guests: [{guest: web}, {guest: 'docker:db'}]\n\
        bridges: [{name: br7, addresses: [10.7.1.1/24]}]\n\
        attachments:\n\
        - {host_if: br7, guest: web, addresses: [10.7.1.2/24], gateways: [10.7.1.1]}\n\
        - {host_if: br7, guest: 'docker:db', addresses: [10.7.1.3/24]}\n\
        links:\n\
        - ends: [{guest: web, guest_if: eth2, addresses: [10.7.2.1/30]}, {guest: 'docker:db', guest_if: eth2, addresses: [10.7.2.2/30]}]\n";
    std::fs::write(&file, text).unwrap();
    let apply = |options: &str| engine.run(&format!("apply {} {options}", file.display()));
    let ran = apply("");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    engine.docker("exec web ping -c1 -W2 10.7.2.2");
    assert!(apply("").out.starts_with("nothing to do: all 6"));
    engine.docker("restart -t 0 web");
    let ran = apply("--dry-run");
    assert_eq!(ran.code, Some(2), "{} {}", ran.out, ran.err);
    assert!(ran.out.contains("attachment eth1 of web: would be made") && ran.out.contains("4 as described, 0 failed"), "{}", ran.out);
    let ran = apply("");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    engine.docker("exec web ping -c1 -W2 10.7.2.2");
    engine.docker("exec web ping -c1 -W2 10.7.1.3");
    assert!(apply("").out.starts_with("nothing to do: all 6"));

    // A container that is not there, and nothing but what it would have.
    std::fs::write(&file, text.replace("docker:db", "nobody")).unwrap();
    let ran = apply("");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("apply guest nobody: Container nobody not found") && ran.out.contains("3 as described, 3 failed"),
        "{} {}",
        ran.out,
        ran.err
    );
    std::fs::write(&file, "bridges: []\n").unwrap();
    let ran = apply("--prune");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("4 taken away") && engine.lab.host.link("br7").is_null(), "{}", ran.out);
}

#[test]
fn a_batch_asks_the_engine_for_one_list_and_not_for_each_container() {
    if no_engine() {
        return;
    }
    let engine = Engine::start();
    let names: Vec<String> = (0..6).map(|n| format!("web{n}")).collect();
    names.iter().for_each(|name| drop(engine.container(name)));
    let real = engine.socket.clone();
    let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&asked);
    let between = StandIn::start(&engine.lab, move |path| {
        heard.lock().unwrap().push(path.to_owned());
        pass_on(&real, path)
    });
    let lines: String = names.iter().enumerate().map(|(n, name)| format!("br0 {name} 192.168.77.{}/24\n", n + 2)).collect();
    let file = engine.lab.dir.path().join("lines");
    std::fs::write(&file, lines).unwrap();
    let mut command = engine.lab.program();
    let ran: lab::Ran = command.env("DOCKER_HOST", between.host()).arg("batch").arg(&file).output().unwrap().into();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    for (n, name) in names.iter().enumerate() {
        assert!(engine.docker(&format!("exec {name} ip addr show eth1")).contains(&format!("192.168.77.{}/24", n + 2)));
    }
    let asked = asked.lock().unwrap();
    let lists = asked.iter().filter(|path| path.contains("/containers/json")).count();
    assert!((1..=2).contains(&lists) && asked.len() == lists, "{asked:?}");
}
