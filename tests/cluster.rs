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
