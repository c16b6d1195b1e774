//! The runtime's stand-in under a real Docker engine, and its installation.
#![allow(clippy::unwrap_used)]

mod lab;

use std::path::Path;
use std::process::Command;

use lab::engine::{Engine, no_engine};
use lab::{Lab, Ran, assert_same, eventually};
use serde_json::{Value, json};

/// A runtime by the program's other name, with the lab's directories in its environment.
fn runtime(lab: &Lab, name: &str, options: &str) -> String {
    let dir = lab.dir.path();
    let link = dir.join("pipework-runtime");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pipework"), &link).unwrap();
    }
    let text = format!(
        "#!/bin/sh\nexport PIPEWORK_RUN_DIR={dir} PIPEWORK_STATE_DIR={dir}/state PIPEWORK_PID_DIR={dir} PIPEWORK_HOOKS_DIR={dir}/hooks.d OVS_DB={}\n\
         exec {} {options} \"$@\"\n",
        lab.ovsdb(),
        link.display(),
        dir = dir.display()
    );
    let (draft, path) = (dir.join(format!("{name}.draft")), dir.join(name));
    std::fs::write(&draft, text).unwrap();
    lab::executable(&draft, &path);
    format!("--add-runtime={name}={}", path.display())
}

fn engine() -> Engine {
    let lab = Lab::new();
    let runtimes = [runtime(&lab, "pipework", ""), runtime(&lab, "closed", "--fail-closed --timeout 9")];
    Engine::start_on(lab, &runtimes.each_ref().map(String::as_str))
}

fn docker(engine: &Engine, words: &[&str]) -> Ran {
    engine.lab.host.command("docker").args(words).env("DOCKER_HOST", engine.host()).output().unwrap().into()
}

fn records(engine: &Engine) -> usize {
    let records = engine.lab.dir.path().join("records");
    let found = Command::new("find").arg(records).args(["-name", "*.json"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().count()
}

/// Runs so many labelled containers, four at a time, whose process 1 prints its addresses and ends.
fn many(count: usize) {
    let engine = engine();
    let before = engine.lab.host.state();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for n in (0..count).filter(|n| n % 4 == worker) {
                    let (addr, name) = (format!("10.7.0.{}/24", n + 1), format!("c{n}"));
                    let label = format!("pipework.lan=br0 {addr}");
                    let words = ["run", "--rm", "--net", "none", "--runtime", "pipework", "--name", &name, "--label", &label];
                    let ran = docker(engine, &[&words[..], &["box", "ip", "-o", "addr"]].concat());
                    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
                    assert!(ran.out.contains(&format!("eth1    inet {addr}")), "{name}: {}", ran.out);
                }
            });
        }
    });
    eventually("all are released", || records(&engine) == 0);
    assert_same(&before, &engine.lab.host.state(), "when all have ended");
}

#[test]
fn process_1_of_twenty_containers_finds_its_interface_each_time() {
    if !no_engine() {
        many(20);
    }
}

#[test]
#[ignore = "takes a minute; scripts/test has the one with twenty"]
fn process_1_of_a_hundred_containers_finds_its_interface_each_time() {
    if !no_engine() {
        many(100);
    }
}

#[test]
fn ordinary_options_do_as_they_do_with_runc() {
    if no_engine() {
        return;
    }
    let engine = engine();
    let label = ["--label", "pipework.lan=br0 10.7.0.1/24"];
    let compare = |words: &[&str], command: &[&str]| -> Ran {
        let [with_runc, with_us] = ["runc", "pipework"].map(|runtime| {
            docker(&engine, &[&["run", "--net", "none", "--runtime", runtime], &label[..], words, &["box"], command].concat())
        });
        // An identifier stands in some messages, and in what -d prints.
        let known = |text: &str| text.split_whitespace().filter(|word| word.len() < 40).collect::<Vec<_>>().join(" ");
        assert_eq!((with_us.code, known(&with_us.err)), (with_runc.code, known(&with_runc.err)), "{words:?} {command:?}");
        with_us
    };
    compare(&["--rm"], &["sh", "-c", "exit 7"]);
    compare(&["--rm"], &["/nowhere"]);
    compare(&["--rm"], &["sh", "-c", "kill -9 $$"]);
    compare(&["--rm", "--user", "1000:1000", "--read-only", "--memory", "64m", "--pids-limit", "50"], &["cat", "/proc/self/status"]);
    let ran = compare(&["--rm", "--init"], &["sh", "-c", "cat /proc/1/comm; ip -o addr show eth1 2>&1; true"]);
    assert!(ran.out.contains("init") && ran.out.contains("10.7.0.1/24"), "{}", ran.out);
    // A terminal, its size, and a key that interrupts.
    let line = format!(
        "docker run --rm -it --net none --runtime pipework --label '{}' box sh -c 'test -t 0 && ip -o addr show eth1; exit 3'",
        label[1]
    );
    let ran = terminal(&engine, &line, "");
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    assert!(ran.out.contains("10.7.0.1/24"), "{}", ran.out);
    let ran =
        terminal(&engine, "docker run --rm -it --net none --runtime pipework box sh -c 'read line; echo got $line; exit 4'", "echo hello");
    assert!(ran.code == Some(4) && ran.out.contains("got hello"), "{ran:?}");
}

/// Runs a line on a terminal of its own; a shell line types.
fn terminal(engine: &Engine, line: &str, typed: &str) -> Ran {
    let whole = format!("{{ sleep 1; {}; sleep 1; }} | script -qec \"$LINE\" /dev/null", if typed.is_empty() { "true" } else { typed });
    engine.lab.host.command("sh").args(["-c", &whole]).env("LINE", line).env("DOCKER_HOST", engine.host()).output().unwrap().into()
}

#[test]
fn a_container_that_stays_is_worked_with_as_ever_and_has_its_address_after_each_start() {
    if no_engine() {
        return;
    }
    let engine = engine();
    engine.docker("network create lan > /dev/null");
    let before = engine.lab.host.state();
    let words = "-d --net lan --runtime pipework --name web --label 'pipework.lan=br0 10.7.0.1/24@10.7.0.254'";
    engine.docker(&format!("run {words} box sh -c 'ip -o addr; trap \"exit 5\" TERM; while :; do sleep 0.1; done'"));
    let first = |text: String| text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect::<String>();
    eventually("it has printed", || docker(&engine, &["logs", "web"]).out.contains("eth1"));
    let printed = first(engine.docker("logs web"));
    assert!(printed.contains("eth0    inet ") && printed.contains("eth1    inet 10.7.0.1/24"), "{printed}");
    assert!(engine.docker("exec web ip route").contains("default via 10.7.0.254"));
    let status: Value = serde_json::from_str(engine.run("status --json").out.trim()).unwrap();
    assert!(status.to_string().contains("docker:web") && status.to_string().contains("10.7.0.1/24"), "{status}");
    engine.ok("br0 web 10.7.0.1/24@10.7.0.254");
    engine.docker("restart -t 5 web");
    assert!(engine.docker("exec web ip -o addr show eth1").contains("10.7.0.1/24"));
    engine.docker("stop -t 5 web");
    assert_eq!(engine.docker("wait web"), "5");
    eventually("it is released", || records(&engine) == 0);
    engine.docker("start web");
    assert!(engine.docker("exec web ip -o addr show eth1").contains("10.7.0.1/24"));
    assert_eq!(engine.run("detach web").code, Some(0));
    assert!(!engine.docker("exec web ip -o link").contains("eth1"));
    engine.docker("kill -s KILL web");
    assert_eq!(engine.docker("wait web"), "137");
    engine.docker("rm web");
    assert_same(&before, &engine.lab.host.state(), "when it is gone");
}

#[test]
fn what_cannot_be_had_is_no_hindrance_unless_it_is_to_be() {
    if no_engine() {
        return;
    }
    let engine = engine();
    let before = engine.lab.host.state();
    let run = |runtime: &str, label: &str| {
        docker(&engine, &["run", "--rm", "--net", "none", "--runtime", runtime, "--label", label, "box", "ip", "-o", "link"])
    };
    for label in
        ["pipework.lan=br0", "pipework.lan=br0 10.7.0.300/24", "pipework.lan=eth0 0/0 --direct-phys", "pipework.lan=$(touch /x) `id`"]
    {
        let ran = run("pipework", label);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{label}");
        assert!(!ran.out.contains("eth1"), "{label}: {}", ran.out);
        let ran = run("closed", label);
        assert_eq!(ran.code, Some(125), "{label}: {}", ran.err);
        assert!(ran.err.contains("label pipework.lan: "), "the reason is shown: {}", ran.err);
        assert_eq!(ran.out, "", "{label}");
    }
    let ran = run("closed", "pipework.lan=br0 10.7.0.1/24");
    assert!(ran.code == Some(0) && ran.out.contains("eth1"), "{ran:?}");
    assert_eq!(engine.docker("ps -aq"), "");
    eventually("all are released", || records(&engine) == 0);
    assert_same(&before, &engine.lab.host.state(), "when all have ended");
}

#[test]
fn waiting_for_the_interface_inside_the_container_is_over_at_once() {
    if no_engine() {
        return;
    }
    let engine = engine();
    let program = env!("CARGO_BIN_EXE_pipework");
    let mounts = format!("-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro -v {program}:/pipework:ro");
    let line = |runtime: &str| {
        format!(
            "docker run --rm --net none {mounts} --runtime {runtime} --label 'pipework.lan=br0 10.7.0.1/24' box /pipework --wait -i eth1 --timeout 1"
        )
    };
    engine.sh(&line("pipework"));
    // The same without us has nothing to find.
    engine.sh(&format!("! {} 2> /dev/null", line("runc")));
}

#[test]
fn without_a_runtime_behind_it_that_is_said_and_never_is_it_itself() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("pipework-runtime");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pipework"), &own).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pipework"), dir.path().join("runc")).unwrap();
    let log = dir.path().join("log.json");
    let run = |variable: Option<&Path>| -> Ran {
        let mut command = Command::new(&own);
        command.args(["--log", log.to_str().unwrap(), "--log-format", "json", "list"]).env("PATH", dir.path());
        if let Some(path) = variable {
            command.env("PIPEWORK_RUNTIME", path);
        }
        command.output().unwrap().into()
    };
    for variable in [None, Some(own.as_path()), Some(Path::new("/nowhere/runc"))] {
        let ran = run(variable);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(ran.err.contains("install runc or crun"), "{}", ran.err);
    }
    let lines = std::fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(last["level"] == "error" && last["msg"].as_str().unwrap().contains("install runc or crun"), "{last}");
    std::fs::write(dir.path().join("script"), "#!/bin/sh\necho \"$@\"; exit 9\n").unwrap();
    lab::executable(&dir.path().join("script"), &dir.path().join("other"));
    let ran = run(Some(&dir.path().join("other")));
    assert_eq!((ran.code, ran.out.trim()), (Some(9), format!("--log {} --log-format json list", log.display()).as_str()));
}

#[test]
fn daemon_json_gets_the_runtime_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("daemon.json"), dir.path().join("bin/pipework-runtime"));
    let install = |options: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
        command.args(["install", "docker-runtime", "--path"]).arg(&file).arg("--link").arg(&link).args(options).output().unwrap().into()
    };
    let read = || -> Value { serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap() };
    std::fs::write(&file, "{ \"debug\": true,").unwrap();
    let ran = install(&[]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("daemon.json: EOF while parsing") && !link.exists(), "{}", ran.err);
    let old = "{ \"log-level\": \"warn\", \"debug\": true }\n";
    std::fs::write(&file, old).unwrap();
    assert!(install(&["--dry-run"]).out.contains("would be written") && std::fs::read_to_string(&file).unwrap() == old);
    assert_eq!(install(&["--fail-closed"]).code, Some(0));
    let runtimes = json!({ "pipework": { "path": link, "runtimeArgs": ["--fail-closed"] } });
    assert_eq!(read(), json!({ "log-level": "warn", "debug": true, "runtimes": runtimes }));
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new(env!("CARGO_BIN_EXE_pipework")));
    assert_eq!(std::fs::read_to_string(dir.path().join("daemon.json.bak")).unwrap(), old);
    assert!(!install(&["--fail-closed"]).out.contains("written"));
    assert_eq!(install(&["--remove"]).code, Some(0));
    assert!(read() == json!({ "log-level": "warn", "debug": true }) && !link.exists());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}
