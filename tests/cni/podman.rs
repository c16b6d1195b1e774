//! Debian's Podman with CNI as its networks' backend: the real libcni, and a runtime that keeps and forgets on its own.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::lab::{Lab, Ran, no_root, skip};
use crate::runtime::{PLUGINS, exists};

fn lacks() -> bool {
    let has = |program: &str| Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    let missing = ["podman", "crun"].into_iter().find(|program| !has(program));
    no_root()
        || missing.is_some_and(|program| skip(&format!("needs {program}")))
        || (!exists(&format!("{PLUGINS}/tuning")) && skip("needs containernetworking-plugins"))
}

/// How often Podman is killed; `PIPEWORK_TEST_KILLS=40 cargo test --test cni podman` runs it long.
fn kills() -> String {
    std::env::var("PIPEWORK_TEST_KILLS").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(4).to_string()
}

#[test]
fn podman_runs_restarts_and_removes_containers_and_pods_and_may_be_killed() {
    if lacks() {
        return;
    }
    let lab = Lab::new();
    let dir = lab.dir.path();
    let image = dir.join("image/bin");
    std::fs::create_dir_all(&image).unwrap();
    std::fs::copy("/bin/busybox", image.join("busybox")).unwrap();
    ["sh", "sleep", "ip", "cat"].iter().for_each(|applet| symlink("busybox", image.join(applet)).unwrap());
    let script = include_str!("podman.sh")
        .replace("@DIR@", &dir.display().to_string())
        .replace("@ROOT@", &dir.join("image").display().to_string())
        .replace("@PIPEWORK@", env!("CARGO_BIN_EXE_pipework"))
        .replace("@KILLS@", &kills());
    let mut command = lab.host.command("unshare");
    // What it starts ends with it.
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script]).env_remove("DOCKER_HOST");
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let part = |name: &str| {
        let found = ran.out.split(&format!("== {name}\n")).nth(1).unwrap_or_else(|| panic!("no {name}: {} {}", ran.out, ran.err));
        found.split("== ").next().unwrap().to_owned()
    };
    let address = |text: &str, dev: &str| {
        let line = text.lines().find(|line| line.contains(&format!("{dev}    inet "))).unwrap_or_else(|| panic!("no {dev}: {text}"));
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    let web = address(&part("run"), "eth0");
    assert!(web.starts_with("10.1.0.") && part("run").contains("default via 10.1.0.1"), "{}", ran.out);
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
