//! `dhcp-container`: a client in a container beside the guest's, with a private Docker engine and a real server.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::Command;

use lab::dhcp::Server;
use lab::engine::{Engine, no_engine};
use lab::{Lab, Ran, assert_same, eventually, skip};

#[must_use]
fn cannot() -> bool {
    let there = Command::new("sh").args(["-c", "command -v dnsmasq"]).output().unwrap();
    no_engine() || (!there.status.success() && skip("needs dnsmasq: scripts/setup"))
}

fn dnsmasq(lab: &Lab) -> Server {
    let range = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";
    Server::dnsmasq(lab, "br0", "10.88.0.1/24", &[range, "--dhcp-option=3,10.88.0.1"])
}

/// A private engine, with an image `client` that has busybox's client and its script.
fn engine() -> Engine {
    let engine = Engine::start();
    let root = engine.lab.dir.path().join("client");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("etc/udhcpc")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "ip", "udhcpc"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let script = root.join("etc/udhcpc/default.script");
    let text = "#!/bin/sh\ncase $1 in bound|renew) ip addr replace $ip/$mask dev $interface; \
                [ -z \"$router\" ] || ip route replace default via $router dev $interface;; esac\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    engine.sh(&format!("tar -C {} -c . | docker import - client", root.display()));
    engine
}

fn guest_pid(engine: &Engine, name: &str) -> String {
    engine.docker(&format!("inspect -f {{{{.State.Pid}}}} {name}"))
}

fn addrs_of(pid: &str) -> String {
    let output = Command::new("nsenter").args([&format!("--net=/proc/{pid}/ns/net"), "ip", "-4", "-o", "addr"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_container_beside_the_guests_gets_its_address_and_goes_or_stays_until_the_guest_ends() {
    if cannot() {
        return;
    }
    let engine = engine();
    let server = dnsmasq(&engine.lab);
    let id = engine.container("web");
    engine.ok("--dhcp-image client br0 web dhcp-container");
    let pid = guest_pid(&engine, "web");
    assert!(addrs_of(&pid).contains("inet 10.88.0."), "{}", addrs_of(&pid));
    // It sends the guest's name, and is gone.
    assert!(server.leases().iter().any(|lease| lease.contains(" web ")), "{:?}", server.leases());
    assert_eq!(engine.docker("ps -aq --filter label=pipework.dhcp-for"), "");
    // With -f it stays, once.
    let words = ["--dhcp-image", "client", "-i", "eth2", "br0", "web", "dhcp-container:-f"];
    for _ in 0..2 {
        let ran: Ran = engine.program().args(words).output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        let beside = format!("ps -q --no-trunc --filter label=pipework.dhcp-for={id} --filter label=pipework.dhcp-if=eth2");
        assert_eq!(engine.docker(&beside).lines().count(), 1);
    }
    assert_eq!(addrs_of(&pid).lines().filter(|l| l.contains("inet 10.88.0.")).count(), 2);
    // A client of the host, for a container: its pid file has the original's name.
    let pid_file = engine.lab.dir.path().join("udhcpc.web.pid");
    engine.ok("-i eth3 br0 web udhcpc-f");
    assert!(pid_file.exists());
    engine.docker("kill web");
    eventually("the host's client goes with its guest", || !pid_file.exists());
    eventually("it goes with its guest", || engine.docker("ps -aq --filter label=pipework.dhcp-for").is_empty());
}

#[test]
fn a_container_that_brings_no_address_is_removed_and_all_is_undone() {
    if cannot() {
        return;
    }
    let engine = engine();
    let _server = Server::silent(&engine.lab, "br0", &["10.88.0.1/24"]);
    engine.container("web");
    let before = engine.lab.host.state();
    let fails = |line: &str, wanted: &[&str]| {
        let error = engine.fails(line, "dhcp-container");
        assert!(wanted.iter().all(|text| error.contains(text)), "{line}: {error}");
        assert_same(&before, &engine.lab.host.state(), line);
        assert!(!addrs_of(&guest_pid(&engine, "web")).contains("eth1"));
        assert_eq!(engine.docker("ps -aq --filter label=pipework.dhcp-for"), "", "{line}");
    };
    fails("--dhcp-timeout 4 --dhcp-image client br0 web dhcp-container", &["no lease, failing"]);
    fails("--dhcp-timeout 4 --dhcp-image client br0 web dhcp-container:-f", &["container"]);
    fails("br0 web dhcp-container", &["No such image: busybox", "hint: docker pull busybox"]);
    fails("--dhcp-image box br0 web dhcp-container", &["udhcpc"]);
    let error = engine.fails("br0 web dhcp-container:-q", "-q is not for the options");
    assert!(error.contains("\"dhcp-container:-q\"") && error.contains("stays with -f"), "{error}");
    let guest = engine.lab.guest();
    let error = engine.fails(&format!("br0 pid:{} dhcp-container", guest.pid()), "You asked for a Docker-specific DHCP method.");
    assert!(error.contains("Try to replace 'dhcp-container' with another option?"), "{error}");
    let dry = engine.run("--dry-run br0 web dhcp-container:-f");
    assert!(dry.out.contains("docker run -d --net container:") && dry.out.contains("busybox udhcpc -i eth1 -n"), "{}", dry.out);
}
