//! Debian's Podman with CNI as its networks' backend, and containerd: the real libcni, and runtimes that keep and forget on their own.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::lab::{Lab, Ran, no_root, skip};
use crate::runtime::{PLUGINS, exists};

fn lacks(programs: &[&str]) -> bool {
    let has = |program: &str| Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    let missing = programs.iter().find(|program| !has(program));
    no_root()
        || missing.is_some_and(|program| skip(&format!("needs {program}")))
        || (!exists(&format!("{PLUGINS}/tuning")) && skip("needs containernetworking-plugins"))
}

/// Runs a script on the lab's host, in namespaces of its own; what it says in each of its parts.
fn run(lab: &Lab, script: &str) -> BTreeMap<String, String> {
    let dir = lab.dir.path();
    let image = dir.join("image/bin");
    std::fs::create_dir_all(&image).unwrap();
    std::fs::copy("/bin/busybox", image.join("busybox")).unwrap();
    ["sh", "sleep", "ip", "cat"].iter().for_each(|applet| symlink("busybox", image.join(applet)).unwrap());
    let script = script
        .replace("@DIR@", &dir.display().to_string())
        .replace("@ROOT@", &dir.join("image").display().to_string())
        .replace("@PIPEWORK@", env!("CARGO_BIN_EXE_pipework"))
        .replace("@KILLS@", &kills());
    let mut command = lab.host.command("unshare");
    // What it starts ends with it.
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script]).env_remove("DOCKER_HOST");
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let parts = ran.out.split("== ").filter_map(|part| part.split_once('\n'));
    parts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The address that `ip -o -4 addr` tells of an interface.
fn address(text: &str, dev: &str) -> String {
    let line = text.lines().find(|line| line.contains(&format!("{dev}    inet "))).unwrap_or_else(|| panic!("no {dev}: {text}"));
    line.split_whitespace().nth(3).unwrap().to_owned()
}

/// How often Podman is killed; `PIPEWORK_TEST_KILLS=40 cargo test --test cni podman` runs it long.
fn kills() -> String {
    std::env::var("PIPEWORK_TEST_KILLS").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(4).to_string()
}

#[test]
fn podman_runs_restarts_and_removes_containers_and_pods_and_may_be_killed() {
    if lacks(&["podman", "crun"]) {
        return;
    }
    let told = run(&Lab::new(), include_str!("podman.sh"));
    let part = |name: &str| told[name].clone();
    let web = address(&part("run"), "eth0");
    assert!(web.starts_with("10.1.0.") && part("run").contains("default via 10.1.0.1"), "{}", part("run"));
    assert_eq!(part("inspect").trim(), format!("{} 10.1.0.1", web.trim_end_matches("/24")));
    assert!(part("status").contains(&web) && part("status").contains("cni") && part("status").contains(" ok"), "{}", part("status"));
    assert!(address(&part("fixed"), "eth0") == "10.1.0.55/24" && part("fixed").contains("02:00:00:00:00:55"), "{}", part("fixed"));
    assert!(part("taken").contains("10.1.0.55") && part("taken").contains("belongs to cni:lan:"), "{}", part("taken"));
    assert_eq!(address(&part("again"), "eth0"), "10.1.0.55/24");
    assert!(address(&part("networks"), "eth0").starts_with("10.1.0.") && address(&part("networks"), "eth1").starts_with("10.2.0."));
    assert!(address(&part("connected"), "eth1").starts_with("10.2.0."), "{}", part("connected"));
    assert_eq!(address(&part("disconnected"), "eth0"), web);
    assert!(!part("disconnected").contains("eth1"), "{}", part("disconnected"));
    let pod: Vec<String> = part("pod").lines().map(|line| address(line, "eth0")).collect();
    assert!(pod.len() == 2 && pod[0] == pod[1], "both are in one namespace: {pod:?}");
    assert!(part("ends").trim().ends_with("\n4"), "web, fixed, both and pod have an eth0: {}", part("ends"));
    assert_eq!(part("left"), "", "after podman rm");
    assert!(part("killed").trim().ends_with("\n1"), "{}", part("killed"));
    assert_eq!(part("end"), "", "after kills");
}

#[test]
fn containerd_runs_containers_with_the_network_that_is_installed() {
    if lacks(&["containerd", "ctr", "runc"]) {
        return;
    }
    let told = run(&Lab::new(), include_str!("containerd.sh"));
    assert!(address(&told["runs"], "eth0").starts_with("10.3.0.1") && told["runs"].contains("default via 10.3.0.1"), "{}", told["runs"]);
    let beside = &told["beside"];
    let two = beside.lines().find_map(|line| line.split_whitespace().find(|word| word.starts_with("10.3.0."))).unwrap();
    assert!(beside.contains(" cni ") && beside.contains(" ok"), "{beside}");
    assert_ne!(address(beside, "eth0"), two, "the second is still there");
    assert_eq!(told["left"], "");
}
