//! The original's end states. With the script's path in PIPEWORK_ORIGINAL it is run; without, the commands that it starts
//! (commit 9ba97f1) are given here.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::lab::Space;
use super::sh;

/// Gives a guest an interface in the original's way: `--direct-phys NIC` or `PARENT@PKEY`.
pub fn original(host_if: &str, guest: &Space, addr: &str) {
    let pid = guest.pid();
    if let Ok(script) = std::env::var("PIPEWORK_ORIGINAL") {
        run(&script, host_if, guest, addr);
    } else if let Some(nic) = host_if.strip_prefix("--direct-phys ") {
        sh(&format!("ip link set {nic} up; iw phy $(cat /sys/class/net/{nic}/phy80211/name) set netns {pid}"));
        finish(guest, nic, "eth1", addr);
    } else {
        let (parent, key) = host_if.split_once('@').unwrap();
        let made = format!("{parent}.{key}.{pid}");
        sh(&format!(
            "ip link add link {parent} name {made} type ipoib pkey 0x{key}; ip link set {parent} up; ip link set {made} netns {pid}"
        ));
        finish(guest, &made, "ib0", addr);
    }
}

/// What it does once the interface is in the guest.
fn finish(guest: &Space, name: &str, guest_if: &str, addr: &str) {
    let (addr, gateway) = addr.split_once('@').unwrap_or((addr, ""));
    guest.sh(&format!("ip link set {name} name {guest_if}; ip addr add {addr} brd + dev {guest_if}; ip link set {guest_if} up"));
    if !gateway.is_empty() {
        guest.sh(&format!("ip route get {gateway} >/dev/null; ip route replace default via {gateway} dev {guest_if}"));
    }
}

/// Runs the script itself. Of Docker it wants no more than three answers.
fn run(script: &str, host_if: &str, guest: &Space, addr: &str) {
    let dir = tempfile::tempdir().unwrap();
    let docker = "#!/bin/sh\ncase \"$2\" in *Pid*) echo $GUEST ;; *) echo guest ;; esac\n";
    for (name, text) in [("docker", docker), ("arping", "#!/bin/sh\n")] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (host_if, key) = host_if.split_once('@').unwrap_or((host_if, ""));
    let key = if key.is_empty() { String::new() } else { format!("@{key}") };
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec sh \"$0\" {host_if} guest {addr} {key}"), script]);
    let output = command.env("PATH", path).env("GUEST", guest.pid().to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A guest's state without what differs by itself, and without the mark, which the original does not leave.
pub fn like_ours(guest: &Space) -> Vec<String> {
    let plain = |line: String| match line.split_once(" alt ") {
        Some((link, _)) if line.starts_with("link") => link.split(" mac ").next().unwrap().to_owned(),
        _ => line,
    };
    guest.state().into_iter().map(plain).collect()
}
