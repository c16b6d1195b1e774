//! DHCP as IPAM: a lease for the MAC address, kept by the plug-in, released when the container is removed.

use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use super::plugin::{attached, create, run, seen, text, world};
use crate::lab::cluster::Cluster;
use crate::lab::engine::no_engine;
use crate::lab::eventually;

/// dnsmasq on the switch that the hosts are on. It ends with this.
struct Server {
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(lab: &Cluster, seconds: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        let mut command = lab.switch.command("dnsmasq");
        command.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--port=0", "--bind-interfaces", "--except-interface=lo"]);
        command.args(["--interface=sw0", "--no-ping", "--log-dhcp", "--user=root", "--dhcp-authoritative"]);
        command.arg(format!("--dhcp-range=192.168.116.150,192.168.116.199,255.255.255.0,{seconds}"));
        command.args([format!("--conf-file={}", file("empty")), format!("--dhcp-leasefile={}", file("leases"))]);
        command.args([format!("--pid-file={}", file("pid")), format!("--log-facility={}", file("log"))]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let server = Self { child, dir };
        eventually("dnsmasq runs", || server.log().contains("started, version") && server.dir.path().join("pid").exists());
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// How often it logged a message about an address.
    fn count(&self, message: &str, address: &str) -> usize {
        self.log().lines().filter(|line| line.contains(message) && line.contains(address)).count()
    }

    fn has_lease(&self, mac: &str) -> bool {
        std::fs::read_to_string(self.dir.path().join("leases")).unwrap_or_default().contains(mac)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MAC: &str = "02:00:00:00:00:99";

#[test]
fn a_lease_is_kept_through_restarts_of_container_and_plug_in_and_released_when_the_container_is_removed() {
    let there = std::path::Path::new("/usr/sbin/dnsmasq").exists();
    if no_engine() || (!there && crate::lab::skip("needs dnsmasq: scripts/setup")) {
        return;
    }
    let (lab, mut plugin) = world(1);
    let host = lab.host(1);
    let server = Server::start(&lab, 120);
    super::plugin::refused(
        host,
        "-o parent=ens32 --ipam-driver pipework --ipam-opt dhcp=true --ipam-opt parent=ens32 lan",
        "say that it is meant, with --subnet 192.168.116.0/24",
    );
    create(host, "-o parent=ens32 --subnet 192.168.116.0/24 --ipam-driver pipework --ipam-opt dhcp=true --ipam-opt parent=ens32 lan");
    run(host, "web", &format!("--network lan --mac-address {MAC}"));
    let web = seen(host, "web", "lan");
    let address = text(&web, "IPAddress").to_owned();
    assert!(server.has_lease(MAC), "{}", server.log());
    assert_eq!((text(&web, "MacAddress"), text(&web, "Gateway")), (MAC, "192.168.116.1"));
    assert!(address.starts_with("192.168.116.1"), "{address}");
    host.docker("exec web ping -c 1 -W 5 192.168.116.1");
    attached(host, "web", 1);

    // The container begins again: the engine releases the address, and asks for one.
    host.docker("restart -t 0 web");
    attached(host, "web", 1);
    assert_eq!(text(&seen(host, "web", "lan"), "IPAddress"), address);
    // So does the plug-in, also while the container is stopped.
    plugin.again(host, Signal::SIGKILL);
    host.docker("stop -t 0 web");
    plugin.again(host, Signal::SIGTERM);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(server.has_lease(MAC) && server.count("DHCPRELEASE", &address) == 0, "{}", server.log());
    host.docker("start web");
    attached(host, "web", 1);
    assert_eq!(text(&seen(host, "web", "lan"), "IPAddress"), address);
    assert_eq!(server.count("DHCPDISCOVER", MAC), 1, "{}", server.log());

    host.docker("rm -f web");
    eventually("the lease is released", || server.count("DHCPRELEASE", &address) == 1 && !server.has_lease(MAC));
    super::plugin::nothing_left(host);
}

#[test]
fn a_lease_is_renewed_while_the_container_runs_and_a_new_mac_address_gives_the_old_lease_back() {
    let there = std::path::Path::new("/usr/sbin/dnsmasq").exists();
    if no_engine() || (!there && crate::lab::skip("needs dnsmasq: scripts/setup")) {
        return;
    }
    let (lab, _plugin) = world(1);
    let host = lab.host(1);
    let server = Server::start(&lab, 120);
    host.sh("ip link add br0 type bridge && ip link set br0 up && ip addr flush dev ens32 && ip link set ens32 master br0");
    // Nobody on this host has a route there: the subnet is the server's to tell.
    create(host, "-o bridge=br0 --ipam-driver pipework --ipam-opt dhcp=true --ipam-opt bridge=br0 lan");
    let subnet = host.docker("network inspect lan -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}'");
    assert_eq!(subnet, "192.168.116.0/24");
    run(host, "web", "--network lan");
    attached(host, "web", 1);
    let address = text(&seen(host, "web", "lan"), "IPAddress").to_owned();
    host.docker("exec web ping -c 1 -W 5 192.168.116.1");
    // dnsmasq lends for two minutes at least: what is half over is renewed.
    let before = server.count("DHCPACK", &address);
    let file = "/var/lib/pipework/docker-plugin/grants/*.json";
    host.sh(&format!("sed -i 's/\"renew\": [0-9]*/\"renew\": 1/' {file}"));
    let _other = host.docker("run --rm --network lan box ip addr");
    eventually("it is renewed", || server.count("DHCPACK", &address) > before);
    host.docker("restart -t 0 web");
    attached(host, "web", 1);
    let second = text(&seen(host, "web", "lan"), "IPAddress").to_owned();
    eventually("the old lease is released", || second == address || server.count("DHCPRELEASE", &address) == 1);
    // The network goes before the container.
    host.docker("stop -t 0 web");
    assert_eq!(server.count("DHCPRELEASE", &second), 0, "{}", server.log());
    host.docker("network disconnect lan web");
    host.docker("network rm lan");
    eventually("the lease is released", || server.count("DHCPRELEASE", &second) >= 1);
    host.docker("rm -f web");
    super::plugin::nothing_left(host);
}
