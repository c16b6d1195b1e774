//! Two engines as a swarm: a swarm-scoped network whose addresses are claimed in Consul, so that no two nodes give the same one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::cluster::{Cluster, Host, no_consul};
use crate::lab::engine::no_engine;
use crate::lab::eventually;

/// So many task starts: `PIPEWORK_SWARM_STARTS`, else 12. Long: 200, which takes five minutes.
fn starts() -> usize {
    std::env::var("PIPEWORK_SWARM_STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// A plug-in that the engine itself runs: swarms take no other.
fn managed(host: &Host) {
    let dir = host.dir.join("managed");
    let said = host.ok(&format!("install docker-plugin --managed {} --exec-root {}", dir.display(), host.dir.join("exec").display()));
    assert!(said.contains("docker plugin create pipework"), "{said}");
    host.sh(&format!("mkdir -p /var/lib/pipework && docker plugin create pipework {} && docker plugin enable pipework", dir.display()));
}

/// Two hosts with Consul, one swarm and one network.
fn swarm() -> Cluster {
    let mut lab = Cluster::of(2);
    // As systemd has it on every host: what is mounted later is seen in the plug-in, too.
    lab.hosts.iter().for_each(|host| drop(host.sh("mount --make-rshared /")));
    lab.start_engines();
    lab.start_consul("");
    lab.write_file(&[]);
    lab.hosts.iter().for_each(managed);
    lab.host(1).docker("swarm init --advertise-addr 192.168.116.111 --default-addr-pool 10.200.0.0/16");
    let token = lab.host(1).docker("swarm join-token -q worker");
    lab.host(2).docker(&format!("swarm join --token {token} 192.168.116.111:2377"));
    // What is each node's own: its NIC.
    for host in &lab.hosts {
        host.docker(
            "network create --config-only -o parent=ens32 --subnet 192.168.116.0/24 --ipam-driver pipework:latest --ipam-opt pool=lan lan-here",
        );
    }
    lab.host(1).docker("network create -d pipework:latest --scope swarm --attachable --config-from lan-here lan");
    lab
}

/// The addresses of all containers that run on the network, with who has each.
fn addresses(lab: &Cluster) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for host in &lab.hosts {
        let listed = host.command("curl").args(["-s", "--unix-socket", "/run/docker.sock", "http://x/containers/json"]).output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or(Value::Null);
        for container in listed.as_array().into_iter().flatten() {
            let address = container["NetworkSettings"]["Networks"]["lan"]["IPAddress"].as_str().unwrap_or_default();
            if !address.is_empty() {
                all.push((address.to_owned(), format!("{} on {}", container["Names"][0].as_str().unwrap_or_default(), host.name)));
            }
        }
    }
    all
}

/// Nobody has what another has. Returns how many there are.
#[track_caller]
fn all_apart(lab: &Cluster) -> usize {
    let mut by_address: BTreeMap<String, String> = BTreeMap::new();
    let all = addresses(lab);
    for (address, owner) in &all {
        if let Some(other) = by_address.insert(address.clone(), owner.clone()) {
            panic!("{address} is given twice: to {other} and to {owner}");
        }
    }
    all.len()
}

fn task_starts(lab: &Cluster) -> usize {
    // Of old tasks the swarm keeps the last few of each slot: containers are counted, by when they were created.
    lab.hosts.iter().map(|host| host.sh("cat /run/starts 2>/dev/null | sort -u | wc -l").parse::<usize>().unwrap_or_default()).sum()
}

/// Writes down each container that an engine starts.
fn count_starts(host: &Host) -> std::process::Child {
    let line = "docker events --filter type=container --filter event=start --format '{{.ID}}' >> /run/starts";
    host.command("sh").args(["-c", line]).spawn().unwrap()
}

#[test]
fn no_address_is_given_twice_by_two_nodes_however_often_tasks_start() {
    if no_engine() || no_consul() {
        return;
    }
    const REPLICAS: usize = 6;
    let lab = swarm();
    let mut counters: Vec<_> = lab.hosts.iter().map(count_starts).collect();
    lab.host(1).docker(&format!(
        "service create --detach --name web --network lan --endpoint-mode dnsrr --replicas {REPLICAS} --stop-grace-period 0s \
         --update-parallelism {REPLICAS} --update-order start-first --update-monitor 0s --restart-delay 0s box sleep 100000"
    ));
    let settled = |what: &str| {
        eventually(what, || {
            all_apart(&lab) == REPLICAS && lab.host(1).docker("service ps -q -f desired-state=running web").lines().count() == REPLICAS
        })
    };
    settled("all tasks run");
    assert!(lab.hosts.iter().all(|host| !host.docker("ps -q").is_empty()), "both nodes have some");
    let mut updates = 0;
    while task_starts(&lab) < starts() {
        lab.host(1).docker("service update --detach --force -q web");
        updates += 1;
        // While old and new ones run together, too.
        for _ in 0..5 {
            all_apart(&lab);
        }
        eventually("the update is through", || {
            all_apart(&lab);
            lab.host(1).docker("service inspect -f '{{.UpdateStatus.State}}' web") == "completed"
        });
        settled("all tasks run again");
    }
    println!("{} task starts in {updates} updates, on two nodes; no address was given twice", task_starts(&lab));

    // A container of one node reaches those of the other.
    let names: Vec<String> = lab.hosts.iter().map(|host| host.docker("ps -q").lines().next().unwrap().to_owned()).collect();
    let other = lab.host(2).docker(&format!("inspect -f '{{{{.NetworkSettings.Networks.lan.IPAddress}}}}' {}", names[1]));
    lab.host(1).docker(&format!("exec {} ping -c 1 -W 5 {other}", names[0]));
    eventually("what the plug-in made is seen by all of pipework", || {
        let ran = lab.host(1).run("status");
        ran.code == Some(0) && ran.out.matches("docker:web.").count() == lab.host(1).docker("ps -q").lines().count()
    });

    lab.host(1).docker("service rm web");
    eventually("no task is left", || lab.hosts.iter().all(|host| host.docker("ps -aq").is_empty()));
    let claimed = || lab.host(1).consul("/v1/kv/pipework/lab/pools/lan/ip/?keys").as_array().map_or(0, Vec::len);
    eventually("no claim is left", || claimed() == 0);
    for counter in &mut counters {
        let _ = counter.kill();
        let _ = counter.wait();
    }
}
