//! The units of systemd, and its way to hand a socket over.

use std::process::{Command, Stdio};

use crate::lab::{Lab, Ran, eventually, no_root, skip};

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_they_are_removed_again() {
    if !std::path::Path::new("/usr/bin/systemd-analyze").exists() && skip("needs systemd-analyze, of Debian's package systemd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let install = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
        let ran: Ran = command.args(["install", "docker-plugin", "--dir"]).arg(dir.path()).args(words).output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out
    };
    assert!(install(&[]).contains("systemctl enable --now pipework-docker-plugin.socket"));
    let units = ["socket", "service"].map(|kind| dir.path().join(format!("pipework-docker-plugin.{kind}")));
    let ours = || {
        let mut command = Command::new("systemd-analyze");
        let ran: Ran = command.args(["verify", "--man=no"]).args(&units).output().unwrap().into();
        ran.err.lines().filter(|line| line.contains("pipework")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ours(), [""; 0]);
    // It would say so.
    let text = std::fs::read_to_string(&units[0]).unwrap().replace("SocketMode=0660", "SocketMode=wide");
    std::fs::write(&units[0], text).unwrap();
    assert_ne!(ours(), [""; 0]);
    assert!(install(&["--remove"]).contains("removed") && !units[1].exists());
}

#[test]
fn a_socket_that_systemd_hands_over_is_used_and_left_where_it_is() {
    if no_root()
        || (!std::path::Path::new("/usr/bin/systemd-socket-activate").exists()
            && skip("needs systemd-socket-activate, of Debian's package systemd"))
    {
        return;
    }
    let lab = Lab::new();
    let socket = lab.dir.path().join("handed.sock");
    // The lab's own environment is not handed on by itself.
    let run_dir = format!("--setenv=PIPEWORK_RUN_DIR={}", lab.dir.path().join("run").display());
    let state_dir = format!("--setenv=PIPEWORK_STATE_DIR={}", lab.dir.path().join("state").display());
    let mut command = lab.host.command("systemd-socket-activate");
    command.arg("-l").arg(&socket).args([
        &run_dir,
        &state_dir,
        env!("CARGO_BIN_EXE_pipework"),
        "docker-plugin",
        "--socket",
        "/nowhere/x.sock",
    ]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the socket is there", || socket.exists());
    let ask = format!("curl -sf -X POST --unix-socket {} http://x/Plugin.Activate", socket.display());
    assert_eq!(lab.host.sh(&ask), r#"{"Implements":["NetworkDriver","IpamDriver"]}"#);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(socket.exists());
}
