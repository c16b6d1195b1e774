//! Three hosts as one: `pipework cluster` with real Consul servers and real engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

#[path = "cluster/classic.rs"]
mod classic;
#[path = "cluster/secure.rs"]
mod secure;
#[path = "cluster/systemd.rs"]
mod systemd;

use std::process::Stdio;

use lab::cluster::{Cluster, no_consul};
use lab::engine::no_engine;
use lab::{Ran, eventually};

#[test]
fn the_lab_s_hosts_are_apart_and_reach_each_other_and_nothing_is_left_of_them() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    let dir = lab.dir.path().to_owned();
    lab.start_engines();
    lab.start_consul("");
    for host in &lab.hosts {
        host.sh("ping -c 1 -W 5 192.168.116.1; ping -c 1 -W 5 192.168.116.111; test $(hostname) = $(cat /etc/hostname)");
        let id = host.container("web");
        assert!(!id.is_empty());
    }
    lab.cut(3);
    assert!(!lab.host(1).try_sh("ping -c 1 -W 1 192.168.116.113"));
    let ids: Vec<String> = lab.hosts.iter().map(|host| host.docker("info -f {{.ID}}")).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    drop(lab);
    assert!(!dir.exists());
    // Other tests mount as well.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
    let name = dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    let left = std::process::Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{name}*")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn three_hosts_become_a_cluster_and_a_second_run_does_nothing_and_nothing_is_left_after_down() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    lab.start_engines();
    let last = "name = \"consul03\"\n";
    let mut changes = vec![
        (last, "name = \"consul03\"\nrole = \"client\"\nlabels = { rack = \"b\" }\n"),
        ("managers = [\"consul01\", \"consul02\", \"consul03\"]", "managers = [\"consul01\"]"),
        ("# persist = true", "persist = \"networkd\""),
    ];
    lab.write_file(&changes);
    let own = "/etc/systemd/network/10-ens32.network";
    lab.host(1).sh(&format!("mkdir -p /etc/systemd/network; printf '[Match]\nName=ens32\n[Network]\nAddress=192.168.116.111/24\nGateway=192.168.116.1\n' > {own}"));
    let nics: Vec<Vec<String>> = lab.hosts.iter().map(|host| host.space.addrs("ens32")).collect();
    lab.ok_all("cluster up");
    for ran in lab.ok_all("cluster up --json") {
        assert!(!ran.out.is_empty() && ran.out.lines().all(|line| line.contains(r#""outcome":"already""#)), "{}", ran.out);
    }
    let nodes = lab.host(1).docker("node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'");
    assert_eq!(nodes.lines().map(str::trim).collect::<Vec<_>>(), ["consul01 Ready Leader", "consul02 Ready", "consul03 Ready"]);
    let labels = |host: &str| lab.host(1).docker(&format!("node inspect -f '{{{{.Spec.Labels}}}}' {host}"));
    assert_eq!(labels("consul02"), "map[pipework.host:consul02]");
    assert_eq!(labels("consul03"), "map[pipework.host:consul03 rack:b]");
    assert_eq!(lab.host(1).consul("/v1/operator/raft/configuration")["Servers"].as_array().unwrap().len(), 2);
    assert_eq!(lab.host(2).consul("/v1/catalog/nodes?node-meta=rack:b")[0]["Node"], "consul03");
    assert_eq!(lab.host(3).consul("/v1/session/list").as_array().unwrap().len(), 3, "an agent's on each host");
    lasts(&lab);
    only_what_changed_is_done_again(&lab, &mut changes);
    assert_eq!(lab.host(1).consul("/v1/kv/pipework/lab/swarm/join"), serde_json::Value::Null, "no token is left there");

    let mut watch = Watch::begin(lab.host(1));
    lab.host(2).container("ubuntu114");
    lab.host(3).container("ubuntu119");
    lab.host(2).ok("br0 ubuntu114 192.168.116.114/24@192.168.116.1");
    lab.host(3).ok("br0 ubuntu119 192.168.116.119/24@192.168.116.1");
    lab.host(2).docker("exec ubuntu114 ping -c 1 -W 5 192.168.116.119");
    lab.host(3).docker("exec ubuntu119 ping -c 1 -W 5 192.168.116.1");
    lab.ok_all("cluster status");
    // Each host's agent notes what it has, within a moment; then each container is seen to reach all others.
    eventually("each has noted what it has", || {
        let verified: serde_json::Value = serde_json::from_str(&lab.host(2).ok("cluster verify --json")).unwrap();
        let to: Vec<&str> = verified["reach"][0]["to"].as_array().unwrap().iter().map(|to| to["addr"].as_str().unwrap()).collect();
        to == ["192.168.116.1", "192.168.116.119"]
    });
    // By now they vote, or nearly; whoever asks for it sooner waits.
    lab.ok_all("cluster up --voters");
    lab.cut(3);
    watch.until(r#""consul":"failed""#);
    let ran = lab.host(2).run("cluster verify");
    assert!(ran.code == Some(2) && ran.out.contains("does not reach 192.168.116.119 (ubuntu119 on consul03)"), "{}{}", ran.out, ran.err);
    lab.mend(3);
    watch.end();

    let availability = || lab.host(1).docker("node inspect -f '{{.Spec.Availability}}' consul03");
    lab.host(1).ok("cluster drain consul03");
    assert_eq!(availability(), "drain");
    lab.host(1).ok("cluster drain consul03 --end");
    assert_eq!(availability(), "active");
    lab.host(3).fails("cluster drain", "on consul01: pipework cluster drain consul03");
    lab.host(1).ok("cluster drain");
    assert!(lab.host(2).consul("/v1/health/node/consul01").to_string().contains("_node_maintenance"));
    lab.host(1).ok("cluster drain --end");

    // Another name in the file: the bridge that is there is told, and is the one that goes.
    changes.push(("name = \"br0\"", "name = \"br7\""));
    lab.write_file(&changes);
    lab.host(1).fails("cluster up", "the bridge that was made here is br0, and cluster.toml says br7");
    lab.host(2).fails("cluster down", "attached here are still ubuntu114");
    lab.host(2).ok("detach ubuntu114 --all");
    lab.host(3).ok("detach ubuntu119 --all");
    // Out of Consul and Swarm; what is attached here goes on.
    lab.host(3).ok("cluster leave");
    assert_ne!(lab.host(3).space.link("br0"), serde_json::Value::Null);
    eventually("the others see that it has left", || {
        let members = lab.host(1).consul("/v1/agent/members");
        members.as_array().is_some_and(|all| all.iter().any(|member| member["Name"] == "consul03" && member["Status"] == 3))
    });
    lab.ok_all("cluster down");
    for (host, nic) in lab.hosts.iter().zip(nics) {
        assert_eq!(host.left(), "");
        assert_eq!((host.space.addrs("ens32"), &host.space.link("br0")), (nic, &serde_json::Value::Null));
        assert_eq!(host.docker("info -f {{.Swarm.LocalNodeState}}"), "inactive");
    }
    assert_eq!(lab.host(1).sh("ls -A /etc/systemd/network"), "10-ens32.network");
    assert_eq!(lab.host(1).sh(&format!("cat {own}")), "[Match]\nName=ens32\n[Network]\nAddress=192.168.116.111/24\nGateway=192.168.116.1");
}

/// The bridge is in networkd's files; those of the administrator lie beside.
fn lasts(lab: &Cluster) {
    let files = lab.host(1).sh("ls -A /etc/systemd/network");
    for wanted in ["00-pipework-br0.netdev", "00-pipework-br0.network", "00-pipework-br0-uplink.network"] {
        assert!(files.contains(wanted), "{files}");
    }
    assert!(lab.host(1).sh("cat /etc/systemd/network/00-pipework-br0.network").contains("192.168.116.111/24"));
}

/// Another comment: nothing. Another word for the agent, or another file of this program: the agent alone is started anew. With
/// `--no-agent` it is let be.
fn only_what_changed_is_done_again(lab: &Cluster, changes: &mut Vec<(&str, &str)>) {
    let done = |ran: Ran| {
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        let steps = ran.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        steps.filter(|step| step["outcome"] == "done").map(|step| step["step"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let host = lab.host(2);
    changes.push(("# Its keys in Consul", "# All its keys in Consul"));
    lab.write_file(changes);
    assert_eq!(done(host.run("cluster up --json")), [""; 0]);
    changes.push(("# ttl = 30", "ttl = 20"));
    lab.write_file(changes);
    assert_eq!(done(host.run("cluster up --json --no-agent")), [""; 0]);
    assert_eq!(done(host.run("cluster up --json")), ["agent"]);
    assert_eq!(done(host.run("cluster up --json")), [""; 0]);
    let copy = lab.dir.path().join("pipework");
    std::fs::copy(env!("CARGO_BIN_EXE_pipework"), &copy).unwrap();
    let of_copy = || Ran::from(host.command(copy.to_str().unwrap()).args(["cluster", "up", "--json"]).output().unwrap());
    assert_eq!(done(of_copy()), ["agent"]);
    assert_eq!(done(of_copy()), [""; 0]);
    lab.ok_all("cluster up");
    // One that was killed is there again by itself.
    let pid = || host.sh("cut -d' ' -f2 /run/pipework/cluster/pipework-agent.pid");
    let before = pid();
    host.sh(&format!("kill -KILL {before}"));
    eventually("it is there again", || {
        host.try_sh(&format!("test $(cut -d' ' -f2 -s /run/pipework/cluster/pipework-agent.pid) -ne {before}"))
    });
    assert_eq!(done(host.run("cluster up --json")).iter().filter(|step| *step != "agent").count(), 0);
}

/// `cluster status --watch`, line by line.
struct Watch {
    child: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn begin(host: &lab::cluster::Host) -> Self {
        use std::io::BufRead;
        let mut child = host.program().args(["cluster", "status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Until a line says so; each that it tells is another one.
    fn until(&mut self, wanted: &str) {
        let mut before = String::new();
        loop {
            let line = self.lines.next().expect("it stays").unwrap();
            assert_ne!(line, before);
            if line.contains(wanted) {
                return;
            }
            before = line;
        }
    }

    fn end(mut self) {
        lab::cluster::Host::signal(&self.child, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
