//! `pipework cluster up` and `down`, killed half way and run again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use lab::cluster::{Cluster, Host, no_consul};
use lab::engine::no_engine;
use nix::sys::signal::Signal;

#[test]
fn killed_at_each_step_it_goes_on_from_there() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    lab.start_engines();
    lab.write_file(&[]);
    // The first host's run is killed after each of its steps, and a moment into each.
    for step in 0..8 {
        let start = |host: &Host| {
            let mut command = host.program();
            command.args(["cluster", "up", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut runs: Vec<Child> = lab.hosts.iter().map(start).collect();
        let mut lines = BufReader::new(runs[0].stdout.take().unwrap()).lines();
        for _ in 0..step {
            lines.next().unwrap().unwrap();
        }
        std::thread::sleep(Duration::from_millis(step % 2 * 60));
        for run in &mut runs {
            Host::signal(run, Signal::SIGKILL);
            run.wait().unwrap();
        }
    }
    lab.ok_all("cluster up");
    for ran in lab.ok_all("cluster up") {
        assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    }
    assert_eq!(lab.host(2).docker("node ls").matches("Ready").count(), 3);
    assert_eq!(lab.host(1).consul("/v1/kv/pipework/lab/swarm/rotation-due"), serde_json::Value::Null);

    let mut down = lab.host(1).program().args(["cluster", "down"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    Host::signal(&down, Signal::SIGKILL);
    down.wait().unwrap();
    lab.ok_all("cluster down");
    for host in &lab.hosts {
        assert_eq!(host.left(), "");
    }
}
