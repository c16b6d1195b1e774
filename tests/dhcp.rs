//! The built-in DHCPv4 client against real servers: dnsmasq in a namespace of its own on the host's bridge.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::dhcp::Server;
use lab::{Lab, no_root};

const RANGE: &str = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";

#[test]
fn servers_of_the_lab_lease_an_address_to_an_ordinary_client() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[RANGE]);
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 0/0", guest.pid()));
    let script = lab.dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n[ $1 != bound ] || ip addr add $ip/$mask dev $interface\n").unwrap();
    guest.sh(&format!("chmod +x {0}; busybox udhcpc -i eth1 -n -q -f -s {0}", script.display()));
    assert_eq!(server.leases().len(), 1);
    assert!(server.log().contains("DHCPACK"));
}

#[test]
fn a_lease_is_applied_address_route_and_report() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[RANGE, "--dhcp-option=3,10.88.0.1"]);
    let guest = lab.guest();
    let ran = lab.run(&format!("br0 pid:{} dhcp --json", guest.pid()));
    eprintln!("{ran:?} {}", server.log());
    assert_eq!(ran.code, Some(0));
}
