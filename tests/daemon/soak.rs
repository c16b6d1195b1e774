//! For minutes: containers, engine and daemon end and start again in any order. `PIPEWORK_SOAK` says for how many seconds.

use std::time::{Duration, Instant};

use super::lab::engine::{Engine, no_engine};
use super::lab::eventually;
use super::world::{Daemon, addresses, veths, with_engine};

const CONTAINERS: u64 = 50;

/// Numbers that look drawn by lot, the same in each run (Knuth's MMIX constants).
struct Lot(u64);

impl Lot {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn records(engine: &Engine) -> Vec<String> {
    let guests = engine.lab.dir.path().join("guests");
    let all = std::fs::read_dir(guests).map(|all| all.flatten().collect::<Vec<_>>()).unwrap_or_default();
    all.iter().filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
#[ignore = "takes five minutes"]
fn none_of_fifty_is_missing_or_left_over_after_minutes_of_restarts() {
    if no_engine() {
        return;
    }
    let mut engine = Engine::start();
    let mut daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
    for n in 1..=CONTAINERS {
        engine.docker(&format!("create --net none --name c{n} --label 'pipework.lan=br0 10.66.0.{n}/24' box sleep 100000"));
    }
    let all: Vec<String> = (1..=CONTAINERS).map(|n| format!("c{n}")).collect();
    engine.docker(&format!("start {}", all.join(" ")));
    let seconds = std::env::var("PIPEWORK_SOAK").map_or(300, |seconds| seconds.parse().unwrap());
    let (end, mut lot, mut rounds) = (Instant::now() + Duration::from_secs(seconds), Lot(seconds), [0; 5]);
    while Instant::now() < end {
        let some = format!("c{} c{} c{}", lot.below(CONTAINERS) + 1, lot.below(CONTAINERS) + 1, lot.below(CONTAINERS) + 1);
        let what = match lot.below(40) {
            0 => {
                daemon.kill();
                engine.docker(&format!("restart -t 0 {some}"));
                daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
                0
            }
            1 => {
                engine.restart();
                engine.docker(&format!("start {}", all.join(" ")));
                1
            }
            2..=5 => {
                // One that has only just begun holds no signal yet.
                assert!(matches!(daemon.end(), Some(0) | None));
                daemon = Daemon::start(with_engine(&engine), &engine.lab, &[]);
                2
            }
            6..=15 => {
                let _ = std::panic::catch_unwind(|| engine.docker(&format!("kill {some}")));
                engine.docker(&format!("start {some}"));
                3
            }
            _ => {
                engine.docker(&format!("restart -t 0 {some}"));
                4
            }
        };
        rounds[what] += 1;
    }
    println!(
        "daemon killed {}, engine restarted {}, daemon stopped {}, killed and started {}, restarted {} times",
        rounds[0], rounds[1], rounds[2], rounds[3], rounds[4]
    );
    for n in 1..=CONTAINERS {
        eventually(&format!("c{n} has its address"), || addresses(&engine, &format!("c{n}"), "eth1").contains(&format!("10.66.0.{n}/24")));
    }
    eventually("nothing is left over", || veths(&engine.lab.host) == 50 && records(&engine).len() == 50);
    engine.docker(&format!("kill {}", all.join(" ")));
    eventually("all is taken back", || veths(&engine.lab.host) == 0 && records(&engine).is_empty());
}
