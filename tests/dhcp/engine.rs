//! Leases of containers of a real Docker engine.

use crate::lab::dhcp::Server;
use crate::lab::engine::{Engine, no_engine};
use crate::{RANGE, SERVER};

#[test]
fn a_container_that_is_made_anew_has_its_address_again_and_the_dns_servers_in_its_own_file() {
    if no_engine() {
        return;
    }
    let before = std::fs::read("/etc/resolv.conf").ok();
    let engine = Engine::start();
    let server = Server::dnsmasq(&engine.lab, "br0", SERVER, &[RANGE, "--dhcp-option=6,10.88.0.1"]);
    let mut addrs = Vec::new();
    for guest in ["web", "docker:web"] {
        engine.container("web");
        engine.ok(&format!("br0 {guest} dhcp --dhcp-dns"));
        assert!(engine.docker("exec web cat /etc/resolv.conf").contains("nameserver 10.88.0.1"));
        addrs.push(engine.docker("exec web ip -o -4 addr show dev eth1").split_whitespace().nth(3).unwrap().to_owned());
        engine.docker("rm -f web");
    }
    assert_eq!(addrs[0], addrs[1]);
    let leases = server.leases();
    assert_eq!((leases.len(), leases[0].split(' ').nth(3)), (1, Some("web")), "{leases:?}");
    assert_eq!(std::fs::read("/etc/resolv.conf").ok(), before);
    engine.container("web");
    let mut kept = engine.program().args(["br0", "web", "dhcp:-f"]).spawn().unwrap();
    crate::lab::eventually("it is bound", || engine.docker("exec web ip -o -4 addr").contains(&addrs[0]));
    engine.docker("rm -f web");
    assert_eq!(kept.wait().unwrap().code(), Some(0), "it ends with the container");
}
