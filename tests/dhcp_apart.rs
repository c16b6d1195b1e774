//! Named DHCP clients and the host's own files, on hosts that differ from this one: each in mounts of its own.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::Command;

use lab::dhcp::Server;
use lab::{Lab, Ran, no_root, skip};

#[must_use]
fn cannot() -> bool {
    let there = Command::new("sh").args(["-c", "command -v dnsmasq && command -v udhcpc && command -v dhclient"]).output().unwrap();
    no_root() || (!there.status.success() && skip("needs dnsmasq, udhcpc, dhclient: scripts/setup"))
}

/// Runs shell lines on the lab's host, with mounts and a host name that only they see; `$P` is the program. /etc and /run
/// are there to be changed.
fn on_another_host(lab: &Lab, lines: &str) -> Ran {
    let dir = lab.dir.path().display();
    let prepare = format!(
        "mkdir {dir}/u {dir}/w; mount -t overlay o /etc -o lowerdir=/etc,upperdir={dir}/u,workdir={dir}/w; mount -t tmpfs t /run; \
         P={}; export PIPEWORK_RUN_DIR={dir} PIPEWORK_PID_DIR={dir}; {lines}",
        env!("CARGO_BIN_EXE_pipework")
    );
    let mut command = lab.host.command("unshare");
    command.args(["--mount", "--uts", "--", "sh", "-ec", &prepare]).output().unwrap().into()
}

fn dnsmasq(lab: &Lab) -> Server {
    let range = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";
    Server::dnsmasq(lab, "br0", "10.88.0.1/24", &[range, "--dhcp-option=6,10.88.0.1", "--dhcp-option=12,given"])
}

#[test]
fn a_resolv_conf_that_leads_into_run_stays_and_so_does_none() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let server = dnsmasq(&lab);
    for client in ["udhcpc", "dhclient"] {
        let (one, other) = (lab.guest(), lab.guest());
        let lines = format!(
            "rm -f /etc/resolv.conf; mkdir -p /run/stub; echo nameserver 192.0.2.1 > /run/stub/resolv.conf; \
             ln -s ../run/stub/resolv.conf /etc/resolv.conf; $P br0 pid:{} {client}; readlink /etc/resolv.conf; cat /run/stub/resolv.conf; \
             rm /etc/resolv.conf; $P br0 pid:{} {client}; ls -d /etc/resolv.conf* /etc/dhclient* 2>/dev/null || echo none; find /run -type f",
            one.pid(),
            other.pid()
        );
        let ran = on_another_host(&lab, &lines);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{client}");
        assert_eq!(ran.out, "../run/stub/resolv.conf\nnameserver 192.0.2.1\nnone\n/run/stub/resolv.conf\n", "{client}");
        assert!([&one, &other].iter().all(|guest| guest.addrs("eth1")[0].starts_with("10.88.0.")), "{client}: {}", server.log());
        lab.host.sh(&format!("rm -r {0}/u {0}/w", lab.dir.path().display()));
    }
}

#[test]
fn a_host_without_a_name_does_not_take_the_guests() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let _server = dnsmasq(&lab);
    let guest = lab.guest();
    let ran = on_another_host(&lab, &format!("hostname localhost; $P br0 pid:{} dhclient; hostname", guest.pid()));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "localhost\n", ""));
    assert!(guest.addrs("eth1")[0].starts_with("10.88.0."));
}

#[test]
fn a_directory_for_pid_files_that_is_not_there_is_named() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let words = ["br0", &format!("pid:{}", guest.pid()), "udhcpc"];
    let ran: Ran = lab.program().args(words).env("PIPEWORK_PID_DIR", "/nonexistent/pids").output().unwrap().into();
    assert!(ran.code == Some(1) && ran.err.contains("the directory for its pid file, /nonexistent/pids"), "{}", ran.err);
    assert_eq!(lab.host.link("br0"), serde_json::Value::Null);
}
