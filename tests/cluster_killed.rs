//! `pipework cluster up` and `down`, killed half way and run again: after each step, and at moments that are drawn by lot.
//!
//! `PIPEWORK_KILLS=20 cargo test --test cluster_killed` draws more of them than one; `PIPEWORK_SEED`, which each run prints, draws
//! the same again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use lab::cluster::{Cluster, Host, no_consul};
use lab::engine::no_engine;
use nix::sys::signal::Signal;

/// Of `up` with all that there is.
const STEPS: u64 = 9;
/// About what a whole run takes, in milliseconds: later than that there is nothing to kill.
const WHOLE: u64 = 6000;

#[test]
fn killed_at_each_step_and_at_any_moment_it_goes_on_from_there() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    lab.start_engines();
    lab.write_file(&[]);
    // The first host's run is killed after each of its steps, and a moment into each.
    for step in 0..STEPS {
        let mut runs = begin(&lab, "up");
        let mut lines = BufReader::new(runs[0].stdout.take().unwrap()).lines();
        for _ in 0..step {
            lines.next().unwrap_or_else(|| panic!("step {step}: {}", told(&mut runs))).unwrap();
        }
        std::thread::sleep(Duration::from_millis(step % 2 * 60));
        kill(&mut runs);
    }
    completes(&lab);
    let mut lot = Lot::new();
    let rounds = std::env::var("PIPEWORK_KILLS").map_or(1, |count| count.parse().unwrap());
    for round in 1..=rounds {
        let (down, up) = (lot.below(WHOLE), lot.below(WHOLE));
        println!("round {round}: down killed after {down} ms, up after {up} ms");
        kill_after(&lab, "down", down);
        kill_after(&lab, "up", up);
        completes(&lab);
    }
    kill_after(&lab, "down", 300);
    lab.ok_all("cluster down");
    for host in &lab.hosts {
        assert_eq!(host.left(), "");
    }
}

fn begin(lab: &Cluster, verb: &str) -> Vec<Child> {
    let start = |host: &Host| {
        let mut command = host.program();
        command.args(["cluster", verb, "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    lab.hosts.iter().map(start).collect()
}

fn kill(runs: &mut Vec<Child>) {
    for run in runs {
        Host::signal(run, Signal::SIGKILL);
        run.wait().unwrap();
    }
}

/// What they said that failed.
fn told(runs: &mut [Child]) -> String {
    use std::io::Read;
    let mut all = String::new();
    for run in runs {
        Host::signal(run, Signal::SIGKILL);
        for mut pipe in
            [run.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>), run.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>)]
                .into_iter()
                .flatten()
        {
            let _ = pipe.read_to_string(&mut all);
        }
    }
    all
}

fn kill_after(lab: &Cluster, verb: &str, moment: u64) {
    let mut runs = begin(lab, verb);
    std::thread::sleep(Duration::from_millis(moment));
    kill(&mut runs);
}

/// Run again it is whole, and run once more there is nothing to do; but Swarm needs some time to see that a node is gone, which then
/// is forgotten.
fn completes(lab: &Cluster) {
    lab.ok_all("cluster up");
    let mut last = lab.ok_all("cluster up");
    for _ in 0..2 {
        if last.iter().all(|ran| ran.out.contains("nothing to do")) {
            break;
        }
        last = lab.ok_all("cluster up");
    }
    for ran in last {
        assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    }
    let nodes = lab.host(2).docker("node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'");
    for host in &lab.hosts {
        let manages = ["Leader", "Reachable"].map(|part| format!("{} Ready {part}", host.name));
        assert!(nodes.lines().any(|line| manages.iter().any(|wanted| line == wanted)), "{}: {nodes}", host.name);
    }
    assert_eq!(lab.host(1).consul("/v1/kv/pipework/lab/swarm/rotation-due"), serde_json::Value::Null);
    for host in &lab.hosts {
        let twice = "ps -ef | grep -c -e '[c]onsul agent' -e '[p]ipework cluster agent'";
        assert_eq!(host.sh(twice), "2", "{}: one of each", host.name);
    }
}

/// Numbers by lot (xorshift64), the same for the same seed.
struct Lot(u64);

impl Lot {
    fn new() -> Self {
        let seed = std::env::var("PIPEWORK_SEED").map_or_else(|_| u64::from(std::process::id()) << 20 | 1, |seed| seed.parse().unwrap());
        println!("PIPEWORK_SEED={seed}");
        Self(seed.max(1))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
