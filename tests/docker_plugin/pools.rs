//! Addresses of a pool of this host: each is somebody's, and nobody else's.

use nix::sys::signal::Signal;

use super::plugin::{attached, create, nothing_left, refused, run, seen, text, world};
use crate::lab::engine::no_engine;
use crate::lab::eventually;

const POOLS: &str = "[[pools]]
name = \"lan\"
subnet = \"192.168.116.0/24\"
range = \"192.168.116.150-192.168.116.152\"
gateway = \"192.168.116.1\"
";

#[test]
fn an_address_of_a_pool_is_claimed_while_a_container_has_it() {
    if no_engine() {
        return;
    }
    let (lab, mut plugin) = world(1);
    let host = lab.host(1);
    let file = host.dir.join("pools.toml");
    std::fs::write(&file, POOLS).unwrap();
    host.sh(&format!("mkdir -p /etc/pipework && cp {} /etc/pipework/pools.toml", file.display()));
    let ours = "-o parent=ens32 --ipam-driver pipework --ipam-opt pool=lan";
    refused(host, &format!("{ours} lan"), "say that it is meant, with --subnet 192.168.116.0/24");
    refused(host, &format!("{ours} --subnet 10.0.0.0/8 lan"), "pool lan has 192.168.116.0/24");
    refused(host, &format!("{ours} --subnet 192.168.116.0/24 --ip-range 192.168.116.0/28 lan"), "--ip-range is not for this IPAM driver");
    refused(host, &format!("{ours} -o mode=l2 --subnet 192.168.116.0/24 lan"), "use Docker's own IPAM");
    create(host, &format!("{ours} --subnet 192.168.116.0/24 lan"));
    run(host, "two", "--network lan --ip 192.168.116.152");
    run(host, "one", "--network lan");
    attached(host, "one", 1);
    let one = seen(host, "one", "lan");
    assert_eq!(text(&one, "Gateway"), "192.168.116.1");
    host.docker("exec one ping -c 1 -W 5 192.168.116.152");
    let shown = host.ok("pool show lan");
    assert!(shown.contains(text(&one, "IPAddress")) && shown.contains("192.168.116.152") && shown.contains("consul01/"), "{shown}");

    // With a new MAC address it is reached at once: the neighbours are told.
    let neighbour = || lab.switch.sh("ip -j neigh show 192.168.116.152").contains(text(&seen(host, "two", "lan"), "MacAddress"));
    lab.switch.sh("ping -c 1 -W 5 192.168.116.152");
    let mac = text(&seen(host, "two", "lan"), "MacAddress").to_owned();
    assert!(neighbour());
    host.docker("restart -t 0 two");
    attached(host, "two", 1);
    assert_ne!(text(&seen(host, "two", "lan"), "MacAddress"), mac);
    eventually("its neighbour knows the new one", neighbour);

    // Whose the address is, is known, whoever asks, and however long the container runs.
    host.ok("diff docker:two -i eth0");
    host.docker("exec two ip addr add 192.168.116.152/24 dev eth0 2>/dev/null || true");
    host.ok("repair docker:two");
    host.sh("sed -i 's/\"seen\": \"20../\"seen\": \"19/' /var/lib/pipework/pools/lan/ip/*.json");
    plugin.again(host, Signal::SIGTERM);
    eventually("its claims are said to be used", || !host.sh("cat /var/lib/pipework/pools/lan/ip/*.json").contains("\"seen\": \"19"));
    assert_eq!(host.ok("pool gc --older 30"), "");
    let twice = host.sh(&format!(
        "/usr/bin/docker run -d --name twin --network lan --mac-address {} box sleep 1 2>&1 || true",
        text(&seen(host, "two", "lan"), "MacAddress")
    ));
    assert!(twice.contains("another container of this host has that MAC address"), "{twice}");
    host.docker("rm -f twin");
    assert!(host.ok("pool show lan").contains("192.168.116.152"));

    // Another way to ask gets what is left, and no more.
    host.container("old");
    host.fails("ens32 old 192.168.116.152/24", "192.168.116.152");
    host.ok("ens32 old pool:lan");
    let full = host.sh("docker run -d --network lan box sleep 1 2>&1 || true");
    assert!(full.contains("pool lan"), "{full}");
    host.ok("detach old");
    host.ok("release pool:lan old");

    // What Docker's own IPAM gives is claimed where the network says so.
    host.docker("rm -f two");
    create(host, "-o parent=ens32 -o pool=lan --subnet 192.168.116.0/24 --gateway 192.168.116.1 --ip-range 192.168.116.152/32 dockers");
    run(host, "three", "--network dockers");
    assert_eq!(text(&seen(host, "three", "dockers"), "IPAddress"), "192.168.116.152");
    let taken = host.sh("docker run -d --network lan --ip 192.168.116.152 box sleep 1 2>&1 || true");
    assert!(taken.contains("192.168.116.152") && taken.contains("consul01/"), "{taken}");
    host.docker("rm -f $(docker ps -aq)");
    nothing_left(host);
    assert_eq!(host.sh("find /var/lib/pipework/pools -name '*.json'"), "");
    host.docker("network rm lan dockers");
}
