//! What one host tells of all: `pipework doctor --all`, each examined by its agent, and what does not fit together; `cluster status`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::{Child, Stdio};

use lab::cluster::{Cluster, Host, no_consul};
use lab::{Ran, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

const CHANGES: [(&str, &str); 1] = [("mode = \"engine\"", "mode = \"none\"")];

fn agent(host: &Host) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(host.dir.join("agent.log")).unwrap();
    host.program().args(["cluster", "agent", "--ttl", "8"]).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// The faults that were told of each host, and those between hosts (`""`).
fn faults(ran: &Ran) -> Vec<(String, String)> {
    let faults = |host: &str, findings: &Value| -> Vec<(String, String)> {
        findings.as_array().unwrap().iter().map(|one| (host.to_owned(), one["fault"].as_str().unwrap().to_owned())).collect()
    };
    let of = |line: &str| -> Vec<(String, String)> {
        let document: Value = serde_json::from_str(line).unwrap();
        match document["host"].as_str() {
            Some(host) => document["bridges"].as_array().unwrap().iter().flat_map(|one| faults(host, &one["findings"])).collect(),
            None => faults("", &document["between"]),
        }
    };
    ran.out.lines().flat_map(of).collect()
}

#[test]
fn one_command_examines_all_hosts_and_another_tells_who_has_what() {
    if no_consul() {
        return;
    }
    let mut lab = Cluster::new();
    lab.start_consul("");
    lab.write_file(&CHANGES);
    lab.ok_all("host up br0 --uplink ens32");
    let mut agents: Vec<Child> = lab.hosts.iter().map(agent).collect();
    let all = "doctor --all --timeout 20";
    let ask = |words: &str| lab.host(1).run(&format!("{all}{words}"));

    // Agents that have not begun yet do not answer: then it is asked again.
    let mut ran = ask("");
    eventually("no host has anything wrong", || {
        ran = ask("");
        ran.code == Some(0) || {
            eprintln!("{}{}", ran.out, ran.err);
            false
        }
    });
    for name in ["consul01", "consul02", "consul03"] {
        assert!(ran.out.contains(&format!("{name}: br0: nothing is wrong")), "{}{}", ran.out, ran.err);
    }

    // Each of these hosts is well by itself.
    lab.host(3).space.sh("ip link set ens32 mtu 1400 && ip link set br0 mtu 1400");
    let ran = ask(" --json");
    assert_eq!(ran.code, Some(1));
    assert_eq!(faults(&ran), [(String::new(), "mtu".to_owned())], "{}{}", ran.out, ran.err);
    let told = ask("").out;
    assert!(told.contains("the MTU of br0 differs between hosts: 1400 on consul03; 1500 on consul01, consul02"), "{told}");
    assert!(told.contains("on consul03: ip link set dev NIC mtu 1500"), "{told}");
    lab.host(3).space.sh("ip link set ens32 mtu 1500 && ip link set br0 mtu 1500");

    // What is wrong on another host is told here, and mended nowhere.
    lab.host(2).space.sh("ip link set br0 type bridge stp_state 1 && sleep 0.2");
    assert!(faults(&ask(" --json")).contains(&("consul02".to_owned(), "stp".to_owned())));
    assert_eq!(lab.host(2).sh("cat /sys/class/net/br0/bridge/stp_state"), "1");
    lab.host(2).space.sh("ip link set br0 type bridge stp_state 0");

    // Two hosts gave one address, each without asking.
    for (number, address) in [(1, "192.168.116.50"), (2, "192.168.116.50"), (3, "192.168.116.51")] {
        lab.host(number).sh("ip netns add g");
        lab.host(number).ok(&format!("attach br0 netns:/run/netns/g {address}/24"));
    }
    // The agents note it within a moment.
    let mut ran = lab.host(3).run("cluster status --json");
    let everywhere = |ran: &Ran| {
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        told["everywhere"].as_array().unwrap().len()
    };
    eventually("all is noted", || {
        ran = lab.host(3).run("cluster status --json");
        everywhere(&ran) == 3
    });
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let twice = "192.168.116.50 is attached more than once: netns:/run/netns/g on consul01, netns:/run/netns/g on consul02";
    assert_eq!(told["conflicts"], serde_json::json!([twice]), "{told}");
    lab.host(2).ok("detach netns:/run/netns/g");
    eventually("it is noted that one is gone", || everywhere(&lab.host(3).run("cluster status --json")) == 2);
    let told = lab.host(3).ok("cluster status");
    assert!(told.contains("attached on consul01: netns:/run/netns/g 192.168.116.50"), "{told}");

    // A host without an agent does not answer, and is told so.
    Host::signal(&agents[1], Signal::SIGKILL);
    let _ = agents[1].wait();
    let ran = lab.host(1).run("doctor --all --timeout 3");
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("consul02: no answer: does `pipework cluster agent` run there?"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("consul03: br0: nothing is wrong"), "{}", ran.out);

    lab.host(1).fails("doctor --host consul01", "they need --all");
    for (at, agent) in agents.iter_mut().enumerate().filter(|(at, _)| *at != 1) {
        Host::signal(agent, Signal::SIGTERM);
        assert!(agent.wait().unwrap().success(), "agent {at}");
    }
}
