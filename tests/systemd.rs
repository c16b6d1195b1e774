//! `pipework install systemd`: the unit is one, and what it lets the daemon do is enough, and not more.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

#[path = "daemon/world.rs"]
mod world;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use lab::dhcp::Server;
use lab::{Lab, Ran, eventually, no_root, skip};
use world::{Daemon, config, write_attachment};

fn install(words: &[&str]) -> Ran {
    Command::new(env!("CARGO_BIN_EXE_pipework")).args(["install", "systemd"]).args(words).output().unwrap().into()
}

/// The unit's setting.
fn setting(name: &str) -> String {
    let text = install(&["--dry-run"]).out;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
}

#[test]
fn the_unit_is_written_once_and_removed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, unit) = (dir.path().to_str().unwrap(), dir.path().join("pipework.service"));
    let tried = install(&["--dir", path, "--dry-run"]);
    assert_eq!((tried.code, unit.exists()), (Some(0), false), "{}", tried.err);
    let written = install(&["--dir", path]);
    assert_eq!(written.code, Some(0), "{}", written.err);
    assert!(written.out.contains("systemctl daemon-reload && systemctl enable --now pipework.service"), "{}", written.out);
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(tried.out.contains(&text) && text.contains(&format!("ExecStart={} daemon\n", env!("CARGO_BIN_EXE_pipework"))), "{text}");
    assert!(install(&["--dir", path]).out.contains("nothing to do"));
    assert_eq!(install(&["--dir", path, "--remove"]).code, Some(0));
    assert!(!unit.exists());
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if !Path::new("/usr/bin/systemd-analyze").exists() && skip("needs systemd-analyze, of Debian's package systemd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(install(&["--dir", dir.path().to_str().unwrap()]).code, Some(0));
    let unit = dir.path().join("pipework.service");
    let verify = || Ran::from(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap());
    let ours = |ran: &Ran| ran.err.lines().filter(|line| line.contains("pipework")).map(str::to_owned).collect::<Vec<_>>();
    let verified = verify();
    assert_eq!(ours(&verified), [""; 0], "{}", verified.err);
    // It would say so.
    let text = std::fs::read_to_string(&unit).unwrap().replace("ProtectSystem=strict", "ProtectSystem=perhaps");
    std::fs::write(&unit, text).unwrap();
    assert_ne!(ours(&verify()), [""; 0]);
}

/// The daemon as the unit lets it be: its capabilities but for `without`, no new ones, all read-only but its own.
fn confined(lab: &Lab, without: &str) -> Command {
    let all = setting("CapabilityBoundingSet");
    let capabilities = all.split(' ').filter(|name| *name != without);
    let bounds =
        capabilities.fold("-all".to_owned(), |bounds, name| format!("{bounds},+{}", name.trim_start_matches("CAP_").to_lowercase()));
    let nowhere = format!("unix://{}", lab.dir.path().join("nowhere.sock").display());
    // What is mounted first stays as it is.
    let script = "mount --bind \"$1\" \"$1\" && mount --bind /run /run && mount -o remount,bind,ro / && shift && exec \"$@\"";
    let mut command = lab.host.command("unshare");
    command.args(["--mount", "--propagation", "slave", "--", "sh", "-ec", script, "sh"]).arg(lab.dir.path());
    command.args(["setpriv", "--no-new-privs", "--inh-caps", "-all", "--bounding-set", &bounds, env!("CARGO_BIN_EXE_pipework")]);
    command.env("PIPEWORK_RUN_DIR", lab.dir.path()).env("PIPEWORK_STATE_DIR", lab.dir.path().join("state"));
    command.env("PIPEWORK_HOOKS_DIR", lab.dir.path().join("hooks.d")).env("OVS_DB", lab.ovsdb());
    command.env("DOCKER_HOST", &nowhere).env("CONTAINER_HOST", &nowhere);
    command
}

/// A process of another user's, in a network namespace of its own.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        let sleep = ["--net", "--", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sleep", "100000"];
        let child = Command::new("unshare").args(sleep).stdin(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        eventually("it is another user's", || std::fs::read_to_string(&status).unwrap().contains("Uid:\t65534"));
        eventually("it sleeps", || std::fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap() == "sleep\n");
        Self(child)
    }

    fn sh(&self, line: &str) -> String {
        let net = format!("--net=/proc/{}/ns/net", self.0.id());
        let ran: Ran = Command::new("nsenter").args([&net, "sh", "-ec", line]).output().unwrap().into();
        ran.out
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_daemon_does_its_work_with_the_units_capabilities_and_a_system_that_is_read_only() {
    if no_root() {
        return;
    }
    assert_eq!((setting("NoNewPrivileges"), setting("ProtectSystem")), ("yes".to_owned(), "strict".to_owned()));
    assert_eq!(setting("RuntimeDirectoryPreserve"), "yes", "records outlive the daemon");
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &["--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h"]);
    let (leased, stranger) = (lab.guest(), Stranger::new());
    write_attachment(&lab, "a.toml", &format!("pid:{}", leased.pid()), "dynamic = \"dhcp\"");
    let words = "addresses = [\"10.66.0.2/24\", \"fd00::2/64\"]\ngateways = [\"10.66.0.254\"]\nmtu = 1400\nsysctls = [\"net.ipv4.conf.IF.arp_filter=1\"]";
    write_attachment(&lab, "b.toml", &format!("pid:{}", stranger.0.id()), words);
    let mut daemon = Daemon::start(confined(&lab, ""), &lab, &[]);
    eventually("all is there", || leased.addrs("eth1").len() == 1 && stranger.sh("ip addr show eth1").contains("fd00::2/64"));
    assert_eq!(daemon.of_kind("failed").len() + daemon.of_kind("refused").len(), 0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    stranger.sh("ip addr del 10.66.0.2/24 dev eth1");
    eventually("it is put back", || stranger.sh("ip addr show eth1; ip route").contains("10.66.0.2/24"));
    drop(leased);
    eventually("the lease is given back", || server.leases().is_empty());
    assert_eq!(daemon.end(), Some(0));
    assert!(stranger.sh("ip addr show eth1").contains("10.66.0.2/24"));
}

#[test]
fn without_one_of_the_capabilities_something_is_missing() {
    if no_root() {
        return;
    }
    // With all of them nothing is: what is missed below is missed for that.
    for missing in ["", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"] {
        let lab = Lab::new();
        let _server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &["--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h"]);
        let (guest, stranger) = (lab.guest(), Stranger::new());
        write_attachment(&lab, "a.toml", &format!("pid:{}", guest.pid()), "dynamic = \"dhcp\"\ndhcp_timeout = 5");
        write_attachment(&lab, "b.toml", &format!("pid:{}", stranger.0.id()), "addresses = [\"10.66.0.2/24\"]");
        let ran: Ran = confined(&lab, missing).args(["daemon", "--once", "--config"]).arg(config(&lab)).output().unwrap().into();
        let is_there = !guest.link("eth1").is_null() && stranger.sh("ip -o link").contains("eth1");
        assert_eq!(is_there, missing.is_empty(), "{missing:?}: {}", ran.err);
    }
}
