//! Three hosts as one: `pipework cluster` with real Consul servers and real engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use lab::cluster::{Cluster, no_consul};
use lab::engine::no_engine;

#[test]
fn the_lab_s_hosts_are_apart_and_reach_each_other_and_nothing_is_left_of_them() {
    if no_consul() || no_engine() {
        return;
    }
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let before = mounts();
    let mut lab = Cluster::new();
    let dir = lab.dir.path().to_owned();
    let start = std::time::Instant::now();
    lab.start_engines();
    eprintln!("engines {:?}", start.elapsed());
    lab.start_consul("");
    eprintln!("consul {:?}", start.elapsed());
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
    eprintln!("all {:?}", start.elapsed());
    assert!(!dir.exists());
    assert_eq!(mounts(), before);
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
    lab.write_file(&[]);
    let start = std::time::Instant::now();
    for ran in lab.ok_all("cluster up") {
        eprintln!("{}{}", ran.out, ran.err);
    }
    eprintln!("up {:?}", start.elapsed());
    for ran in lab.ok_all("cluster up") {
        eprintln!("{}", ran.out);
        assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    }
    let nodes = lab.host(1).docker("node ls");
    assert_eq!(nodes.matches("Ready").count(), 3, "{nodes}");
    for ran in lab.run_all("cluster down") {
        eprintln!("{}{}", ran.out, ran.err);
    }
    eprintln!("down {:?}", start.elapsed());
    for host in &lab.hosts {
        let left = host.sh("find /var/lib/pipework /run/pipework -type f 2>/dev/null || true; ps -ef | grep '[c]onsul agent' || true");
        assert_eq!(left, "");
    }
}
