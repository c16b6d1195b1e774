//! The OCI hook, called by real runtimes and by Podman; and its installation.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lab::{Lab, Ran, assert_same, no_root, skip};
use serde_json::{Value, json};

const RUNTIMES: [&str; 2] = ["runc", "crun"];

fn lacks(programs: &[&str]) -> bool {
    let has = |program: &&str| Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    let absent: Vec<&str> = programs.iter().copied().filter(|program| !has(program)).collect();
    no_root() || (!absent.is_empty() && skip(&format!("needs {}: scripts/setup", absent.join(", "))))
}

/// A file system with a busybox in it.
fn root(at: &Path) -> PathBuf {
    let root = at.join("rootfs");
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "ip", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

/// What the program's hook needs to know of the lab: a hook has no environment but what its file gives it.
fn env(lab: &Lab) -> Value {
    let dir = lab.dir.path().display();
    json!([
        format!("PIPEWORK_RUN_DIR={dir}"),
        format!("PIPEWORK_STATE_DIR={dir}/state"),
        format!("PIPEWORK_PID_DIR={dir}"),
        format!("PIPEWORK_HOOKS_DIR={dir}/hooks.d"),
        format!("PIPEWORK_POOLS={dir}/pools.toml"),
        format!("PIPEWORK_CLUSTER={dir}/no-cluster.toml"),
        format!("OVS_DB={}", lab.ovsdb())
    ])
}

/// A bundle whose process 1 runs a shell line, with annotations and the hook before and after.
fn bundle(lab: &Lab, line: &str, annotations: Value, options: &[&str]) -> PathBuf {
    let bundle = lab.dir.path().join("bundle");
    let _ = std::fs::remove_dir_all(&bundle);
    std::fs::create_dir_all(&bundle).unwrap();
    root(&bundle);
    assert!(Command::new("runc").arg("spec").current_dir(&bundle).status().unwrap().success());
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", line]);
    config["annotations"] = annotations;
    let args: Vec<&str> = ["pipework", "oci-hook"].iter().chain(options).copied().collect();
    let hook = json!([{ "path": env!("CARGO_BIN_EXE_pipework"), "args": args, "env": env(lab) }]);
    config["hooks"] = json!({ "createRuntime": hook, "poststart": hook, "poststop": hook });
    std::fs::write(path, config.to_string()).unwrap();
    bundle
}

/// Runs a shell line on the lab's host, where crun finds control groups that it can use: it refuses those of a machine that has
/// both versions.
fn sh(lab: &Lab, line: &str) -> Ran {
    let prepared = format!("umount /sys/fs/cgroup/unified 2> /dev/null || true\n{line}");
    let mut command = lab.host.command("unshare");
    command.args(["--mount", "sh", "-c", &prepared]);
    for pair in env(lab).as_array().unwrap() {
        let (name, value) = pair.as_str().unwrap().split_once('=').unwrap();
        command.env(name, value);
    }
    command.env_remove("DOCKER_HOST").output().unwrap().into()
}

fn run(lab: &Lab, runtime: &str, bundle: &Path) -> Ran {
    let (dir, bundle) = (lab.dir.path().display(), bundle.display());
    sh(lab, &format!("{runtime} --root {dir}/{runtime} run --bundle {bundle} {}", name(lab)))
}

/// Runtimes make control groups of that name, for the whole machine.
fn name(lab: &Lab) -> String {
    format!("box{}", lab.host.pid())
}

/// Records and what is begun.
fn records(lab: &Lab) -> Vec<String> {
    lab.files().lines().filter(|path| path.ends_with(".json") && !path.contains("/bundle/")).map(str::to_owned).collect()
}

#[test]
fn process_1_finds_its_interface_and_nothing_is_left_when_it_has_ended() {
    if lacks(&RUNTIMES) {
        return;
    }
    let lab = Lab::new();
    for runtime in RUNTIMES {
        let before = lab.host.state();
        let asked = json!({ "pipework.lan": "br0 10.1.1.2/24@10.1.1.1", "pipework.two": "br0 -i eth2 fd00::2/64", "other": "br9 x" });
        let ran = run(&lab, runtime, &bundle(&lab, "ip -o addr; ip route; exit 7", asked, &[]));
        assert_eq!((ran.code, ran.err.as_str()), (Some(7), ""), "{runtime}");
        for wanted in ["eth1    inet 10.1.1.2/24", "eth2    inet6 fd00::2/64", "default via 10.1.1.1 dev eth1"] {
            assert!(ran.out.contains(wanted), "{runtime}: {wanted:?} is not in {}", ran.out);
        }
        assert_same(&before, &lab.host.state(), runtime);
        assert_eq!(records(&lab), Vec::<String>::new(), "{runtime}");
    }
}

#[test]
fn what_cannot_be_had_is_told_and_only_fail_closed_keeps_the_container_from_running() {
    if lacks(&RUNTIMES) {
        return;
    }
    let lab = Lab::new();
    let before = lab.host.state();
    let asked =
        json!({ "pipework.a": "br0 -i eth7 10.1.1.2/24", "pipework.b": "br0 10.1.1.300/24", "pipework.c": "eth0 0/0 --direct-phys" });
    let ran = run(&lab, "runc", &bundle(&lab, "echo runs; ip -o addr", asked.clone(), &[]));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("runs") && ran.out.contains("eth7    inet 10.1.1.2/24"), "{}", ran.out);
    assert_same(&before, &lab.host.state(), "after one that ran");
    let policy = lab.dir.path().join("policy.toml");
    std::fs::write(&policy, "[[rules]]\nname = \"nobody\"\ndeny = { parents = [\"br0\"] }\n").unwrap();
    let asked_with_policy = bundle(&lab, "ip -o addr", json!({ "pipework.a": "br0 10.1.1.2/24" }), &["--policy", policy.to_str().unwrap()]);
    let ran = run(&lab, "runc", &asked_with_policy);
    assert!(ran.code == Some(0) && ran.out.contains("lo") && !ran.out.contains("eth1"), "{ran:?}");
    for runtime in RUNTIMES {
        let ran = run(&lab, runtime, &bundle(&lab, "echo runs", asked.clone(), &["--fail-closed"]));
        assert_ne!(ran.code, Some(0), "{runtime}");
        assert!(!ran.out.contains("runs"), "{runtime}");
        assert_same(&before, &lab.host.state(), "after one that did not run");
        assert_eq!(records(&lab), Vec::<String>::new(), "{runtime}");
    }
}

#[test]
fn a_lease_that_never_comes_ends_with_the_time_limit_and_is_undone() {
    if lacks(&RUNTIMES) {
        return;
    }
    let lab = Lab::new();
    let before = lab.host.state();
    let asked = json!({ "pipework.lan": "br0 dhcp" });
    let ran = run(&lab, "runc", &bundle(&lab, "echo runs", asked.clone(), &["--timeout", "2"]));
    assert_eq!((ran.code, ran.out.trim()), (Some(0), "runs"), "{}", ran.err);
    let ran = run(&lab, "runc", &bundle(&lab, "echo runs", asked, &["--timeout", "2", "--fail-closed"]));
    assert_ne!(ran.code, Some(0));
    assert!(ran.out.is_empty() && ran.err.contains("label pipework.lan: dhcp for eth1"), "{}", ran.err);
    assert_same(&before, &lab.host.state(), "after both");
}

#[test]
fn the_administrators_file_gives_a_container_what_it_does_not_ask_for() {
    if lacks(&RUNTIMES) {
        return;
    }
    let lab = Lab::new();
    let file = lab.dir.path().join("lan.toml");
    let text = format!("[[attachments]]\nhost_if = \"br0\"\nguest = \"{}\"\naddresses = [\"10.1.1.9/24\"]\nmtu = 1400\n", name(&lab));
    std::fs::write(&file, text).unwrap();
    let bundle = bundle(&lab, "ip -o addr; ip link show eth1", json!({}), &["--config", file.to_str().unwrap(), "--fail-closed"]);
    let ran = run(&lab, "runc", &bundle);
    assert!(ran.out.contains("eth1    inet 10.1.1.9/24") && ran.out.contains("mtu 1400"), "{} {}", ran.out, ran.err);
}

#[test]
fn a_container_finds_the_address_of_a_pool_that_it_had_before() {
    if lacks(&RUNTIMES) {
        return;
    }
    let lab = Lab::new();
    let pools = "[[pools]]\nname = \"lan\"\nsubnet = \"10.1.1.0/24\"\nrange = \"10.1.1.50-10.1.1.99\"\ngateway = \"10.1.1.1\"\n";
    std::fs::write(lab.dir.path().join("pools.toml"), pools).unwrap();
    let before = lab.host.state();
    let shown =
        |ran: &Ran| ran.out.split("eth1    inet ").nth(1).unwrap_or_else(|| panic!("{ran:?}")).split('/').next().unwrap().to_owned();
    let mut seen: Vec<String> = Vec::new();
    for runtime in RUNTIMES {
        let asking = bundle(&lab, "ip -o addr; ip route", json!({ "pipework.lan": "br0 pool:lan" }), &["--fail-closed"]);
        let ran = run(&lab, runtime, &asking);
        assert!(ran.out.contains("default via 10.1.1.1 dev eth1"), "the pool has the gateway: {ran:?}");
        seen.push(shown(&ran));
    }
    // The administrator's file, too.
    let file = lab.dir.path().join("lan.toml");
    let text = format!("[[attachments]]\nhost_if = \"br0\"\nguest = \"{}\"\naddresses = [\"pool:lan\"]\n", name(&lab));
    std::fs::write(&file, text).unwrap();
    let ran = run(&lab, "runc", &bundle(&lab, "ip -o addr", json!({}), &["--config", file.to_str().unwrap(), "--fail-closed"]));
    seen.push(shown(&ran));
    assert!(seen.iter().all(|address| *address == seen[0] && address.starts_with("10.1.1.")), "{seen:?}");
    // What another has keeps it from running, and nothing is left.
    std::fs::remove_dir_all(lab.dir.path().join("state/pools/lan/owner")).unwrap();
    std::fs::write(lab.dir.path().join("state/pools/lan/ip").join(&seen[0]), r#"{"owner":"x","since":"","seen":""}"#).unwrap();
    let asking = bundle(&lab, "echo runs", json!({ "pipework.lan": format!("br0 pool:lan#{}", seen[0]) }), &["--fail-closed"]);
    let ran = run(&lab, "runc", &asking);
    assert!(ran.code != Some(0) && ran.out.is_empty() && ran.err.contains(&seen[0]), "{ran:?}");
    assert_same(&before, &lab.host.state(), "after all of them");
}

/// Gives the hook a text on its standard input.
fn hook(lab: &Lab, options: &[&str], input: &[u8]) -> (Ran, bool) {
    let mut command = lab.program();
    command.arg("oci-hook").args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let all_read = child.stdin.take().unwrap().write_all(input).is_ok();
    (child.wait_with_output().unwrap().into(), all_read)
}

#[test]
fn what_is_no_state_is_read_to_its_end_and_told() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.host.state();
    let huge = vec![b'{'; 5_000_000];
    let own = format!(r#"{{"id":"x","pid":{},"status":"created","bundle":"/nowhere"}}"#, std::process::id());
    for input in [&b""[..], b"{", b"[]", b"\xff\xfe", br#"{"id":"../x","pid":1}"#, own.as_bytes(), &huge] {
        let (ran, all_read) = hook(&lab, &[], input);
        assert_eq!((ran.code, all_read, ran.out.as_str()), (Some(0), true, ""));
        assert!(ran.err.starts_with("pipework: oci-hook: "), "{}", ran.err);
        let (ran, all_read) = hook(&lab, &["--fail-closed"], input);
        assert_eq!((ran.code, all_read), (Some(1), true), "{}", ran.err);
    }
    // A container that nobody knows has ended: there is nothing to do, and nothing to say.
    let (ran, _) = hook(&lab, &["--fail-closed", "poststop"], br#"{"id":"x","status":"stopped"}"#);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_same(&before, &lab.host.state(), "after all of them");
}

#[test]
fn podman_calls_the_hook_that_is_installed_and_its_names_are_known() {
    if lacks(&["podman", "crun"]) {
        return;
    }
    let lab = Lab::new();
    let before = lab.host.state();
    for (directory, option) in [("oci-hooks", ""), ("oci-hooks-labels", "--labels --fail-closed")] {
        let hooks = lab.dir.path().join(directory);
        lab.run(&format!("install oci-hook --dir {} {option}", hooks.display()));
        let file = hooks.join("50-pipework.json");
        let mut installed: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let socket = format!("CONTAINER_HOST=unix://{}/podman/sock", lab.dir.path().display());
        installed["hook"]["env"] = env(&lab).as_array().unwrap().iter().cloned().chain([json!(socket)]).collect();
        std::fs::write(&file, installed.to_string()).unwrap();
    }
    let image = root(&lab.dir.path().join("image"));
    let script = include_str!("oci/podman.sh")
        .replace("@DIR@", &lab.dir.path().display().to_string())
        .replace("@ROOT@", &image.display().to_string())
        .replace("@PIPEWORK@", env!("CARGO_BIN_EXE_pipework"));
    let ran = sh(&lab, &script);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let part = |name: &str| ran.out.split(&format!("== {name}\n")).nth(1).unwrap().split("== ").next().unwrap().to_owned();
    assert!(part("first").contains("eth1    inet 10.1.1.2/24"), "{}", ran.out);
    assert!(part("status").contains("web") && part("status").contains("eth1"), "{}", ran.out);
    assert!(part("again").contains("eth1    inet 10.1.1.3/24"), "after a restart: {}", ran.out);
    assert!(!part("detached").contains("eth1"), "{}", ran.out);
    assert!(part("labels").contains("eth1    inet 10.1.1.4/24"), "{} {}", ran.out, ran.err);
    assert!(!part("plain").contains("eth1"), "{}", ran.out);
    assert!(records(&lab).iter().all(|path| path.contains("/podman/") || path.contains("/oci-hooks")), "{:?}", records(&lab));
    assert_same(&before, &lab.host.state(), "when all containers are gone");
}

#[test]
fn the_hook_file_is_written_once_and_what_was_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let hooks = dir.path().join("hooks.d");
    let file = hooks.join("50-pipework.json");
    let install = |options: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
        command.args(["install", "oci-hook", "--dir"]).arg(&hooks).args(options).output().unwrap().into()
    };
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&hooks).map(|all| all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect());
        let mut names: Vec<String> = entries.unwrap_or_default();
        names.sort();
        names
    };
    assert!(install(&["--dry-run"]).out.contains("would be written") && names().is_empty());
    assert_eq!(install(&[]).code, Some(0));
    let hook: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((hook["version"].as_str(), &hook["stages"]), (Some("1.0.0"), &json!(["createRuntime", "poststop"])));
    assert_eq!(hook["hook"]["path"], env!("CARGO_BIN_EXE_pipework"));
    assert!(install(&[]).out.contains("nothing to do"));
    assert_eq!(names(), ["50-pipework.json"]);
    std::fs::write(&file, "mine, about oci-hook\n").unwrap();
    assert_eq!(install(&["--fail-closed", "--config", "/etc/pipework/lan.toml"]).code, Some(0));
    assert_eq!(names(), ["50-pipework.json", "50-pipework.json.bak"]);
    assert_eq!(std::fs::read_to_string(hooks.join("50-pipework.json.bak")).unwrap(), "mine, about oci-hook\n");
    let hook: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(hook["when"], json!({ "always": true }));
    assert!(hook["hook"]["args"].as_array().unwrap().contains(&json!("--fail-closed")));
    assert_eq!(install(&["--config", "lan.toml"]).code, Some(1), "a relative path means nothing to a runtime");
    assert_eq!((install(&["--remove"]).code, names()), (Some(0), vec!["50-pipework.json.bak".to_owned()]));
    assert!(install(&["--remove"]).out.contains("nothing to do"));
}
