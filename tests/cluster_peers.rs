//! Hosts without a network of their own in common: `pipework cluster agent` keeps the peers of the VXLAN that joins their bridges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::agents::{decoded, eventually_of};
use lab::cluster::{Cluster, Host, no_consul};
use nix::sys::signal::Signal;

fn file() -> String {
    let host = |n: usize| format!("[[hosts]]\nname = \"consul0{n}\"\naddress = \"192.168.116.11{n}\"\n");
    let hosts: String = (1..=3).map(host).collect();
    let pool = "[[pools]]\nname = \"lan\"\nsubnet = \"10.9.0.0/24\"\n";
    format!(
        "name = \"lab\"\ndatacenter = \"lab\"\n{hosts}[swarm]\nmode = \"none\"\n\
         [bridge]\nname = \"brv\"\nkind = \"vxlan\"\nvxlan_id = 77\n{pool}"
    )
}

const OWN: &str = "[[attachments]]\nhost_if = \"brv\"\nguest = \"netns:own\"\naddresses = [\"pool:lan#10.9.0.50\"]\n";

fn has_own(host: &Host) -> bool {
    host.sh("ip netns exec own ip -o addr").contains("10.9.0.50/24")
}

fn start_agent(host: &Host) -> Child {
    let log = std::fs::File::create(host.dir.join("agent.log")).unwrap();
    let mut command = host.program();
    // By the cluster's name of the host, which its own need not be.
    command.args(["cluster", "agent", "--ttl", "6", "--host", &host.name]).env("PATH", std::env::var_os("PATH").unwrap());
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn log(host: &Host) -> String {
    std::fs::read_to_string(host.dir.join("agent.log")).unwrap_or_default()
}

/// Where the broadcasts of a host's VXLAN go.
fn peers(host: &Host) -> Vec<String> {
    let text = host.space.sh("bridge fdb show | grep 00:00:00:00:00:00 || true");
    let mut all: Vec<String> = text.lines().filter_map(|line| line.split(" dst ").nth(1)?.split(' ').next().map(str::to_owned)).collect();
    all.sort();
    all
}

fn is(lab: &Cluster, number: usize, wanted: &[&str]) -> bool {
    peers(lab.host(number)) == wanted
}

/// Ends its agents with it.
struct Agents(Vec<Child>);

impl Drop for Agents {
    fn drop(&mut self) {
        for agent in &mut self.0 {
            Host::signal(agent, Signal::SIGTERM);
            let _ = agent.wait();
        }
    }
}

#[test]
fn hosts_that_consul_knows_alive_are_peers_and_those_it_misses_are_none_any_more() {
    if no_consul() {
        return;
    }
    let mut lab = Cluster::of(3);
    for host in &lab.hosts {
        std::fs::write(host.dir.join("cluster.toml"), file()).unwrap();
        host.sh(&format!("mkdir -p /etc/pipework && cp {} /etc/pipework/", host.dir.join("cluster.toml").display()));
        host.ok(&format!("host up brv --vxlan 77 --local {}", host.address));
    }
    lab.host(3).sh("hostname another");
    // Host 3 has an address of a pool, and an agent that may ask its own Consul alone.
    std::fs::write(lab.host(3).dir.join("own.toml"), OWN).unwrap();
    lab.host(3).sh(&format!("cp {} /etc/pipework/ && ip netns add own", lab.host(3).dir.join("own.toml").display()));
    let servers: Vec<String> = lab.hosts[..2].iter().map(|host| host.address.clone()).collect();
    (1..=2).for_each(|n| lab.host_mut(n).begin_consul(&servers, ""));
    assert!(peers(lab.host(1)).is_empty());
    let _agents = Agents(lab.hosts.iter().map(start_agent).collect());
    eventually_of(
        "two hosts know each other",
        || is(&lab, 1, &["192.168.116.112"]) && is(&lab, 2, &["192.168.116.111"]),
        || log(lab.host(1)),
    );
    // What somebody else put there stays.
    lab.host(1).space.sh("bridge fdb append 00:00:00:00:00:00 dev brv-vx dst 192.168.116.250");

    let added = Instant::now();
    lab.host_mut(3).begin_consul(&servers, "");
    eventually_of("a third is added", || is(&lab, 2, &["192.168.116.111", "192.168.116.113"]), || log(lab.host(2)));
    eventually_of("and knows the others", || is(&lab, 3, &["192.168.116.111", "192.168.116.112"]), || log(lab.host(3)));
    println!("a host was added: in all peers' tables after {:?}", added.elapsed());
    eventually_of("the first knows it", || is(&lab, 1, &["192.168.116.112", "192.168.116.113", "192.168.116.250"]), || log(lab.host(1)));
    // Containers on two hosts reach each other over it.
    for (number, address) in [(1, "10.9.0.201"), (3, "10.9.0.203")] {
        lab.host(number).sh(&format!("ip netns add c{number} && {} brv netns:c{number} {address}/24", env!("CARGO_BIN_EXE_pipework")));
    }
    lab.host(1).sh("ip netns exec c1 ping -c 1 -W 5 -q 10.9.0.203");

    eventually_of("host 3 has its own address", || has_own(lab.host(3)), || log(lab.host(3)));

    let used = lab.host(1).consul("/v1/kv/pipework/lab/pools/lan/use/10.9.0.50");
    let user = decoded(used[0]["Value"].as_str().unwrap());
    assert!(user.contains(r#""host":"consul03""#), "{user}");

    let removed = Instant::now();
    lab.host_mut(3).end_consul(Signal::SIGKILL);
    eventually_of("it is missed, and goes", || is(&lab, 2, &["192.168.116.111"]), || log(lab.host(2)));
    println!("a host's Consul was killed: out of its peers' tables after {:?}", removed.elapsed());
    // The other servers live, and cannot be asked: what is locked cannot be proven any more.
    eventually_of("its own address goes down", || !has_own(lab.host(3)), || log(lab.host(3)));
    assert!(log(lab.host(3)).contains("no other host's agent may be asked"), "{}", log(lab.host(3)));
    // It hears nobody, which says nothing of others.
    std::thread::sleep(Duration::from_secs(1));
    assert!(is(&lab, 3, &["192.168.116.111", "192.168.116.112"]), "{:?}", peers(lab.host(3)));
    // Longer than the session's time, after which whoever is missed is none any more; then its Consul knows itself alone at first.
    std::thread::sleep(Duration::from_secs(7));
    lab.host_mut(3).begin_consul(&servers, "");
    eventually_of(
        "its own address is back",
        || {
            assert!(is(&lab, 3, &["192.168.116.111", "192.168.116.112"]), "no peer went meanwhile: {:?}", peers(lab.host(3)));
            has_own(lab.host(3))
        },
        || log(lab.host(3)),
    );
    eventually_of("and the others know it again", || is(&lab, 2, &["192.168.116.111", "192.168.116.113"]), || log(lab.host(2)));
    println!("{}", lab.host(2).space.sh("bridge fdb show | grep 00:00:00:00:00:00"));
}
