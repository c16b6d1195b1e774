//! Many attaches in one run, ours beside the floor.
#![allow(clippy::unwrap_used)]

mod crowd;
mod floor;

use std::time::{Duration, Instant};

use crowd::{Crowd, Flood};
use pipework::lifecycle::Options;
use pipework::lifecycle::batch::{self, BatchOptions, Ended, Line, Work};
use pipework::model::request::{AttachRequest, GuestRef};

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// Processor time of this process in user and kernel mode, in ms.
fn cpu() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let all: Vec<f64> =
        stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(|t| t.parse::<f64>().unwrap() * 10.0).collect();
    (all[0], all[1])
}

fn main() {
    floor::in_memory_run();
    let mut numbers = std::env::args().filter_map(|a| a.parse().ok());
    let n: usize = numbers.next().unwrap_or(200);
    let rounds: usize = numbers.next().unwrap_or(3);
    let crowd = Crowd::new(n, n.div_ceil(1000));
    let lines: Vec<Line> = (0..n)
        .map(|i| {
            let (bridge, ip, gateway) = crowd.place(i);
            let word = format!("{ip}/16@{gateway}").parse().unwrap();
            let request = AttachRequest::new(bridge.parse().unwrap(), GuestRef::NetnsPath(crowd.guests[i].clone()), word);
            let options = Options { run_dir: crowd.run_dir(), ..Options::default() };
            Line { number: i + 1, work: Work::Attach { request: Box::new(request), options: Box::new(options), replace: false } }
        })
        .collect();
    for _ in 0..rounds {
        for flood in [Flood::AsItComes, Flood::KeptOut] {
            let (start, c) = (Instant::now(), cpu());
            let times = crowd.floor(flood);
            println!("floor {flood:?}: {:.1} ms, {:.3} each", ms(start.elapsed()), ms(times.iter().sum()) / n as f64);
            let d = cpu();
            println!("    user {:.0} sys {:.0}", d.0 - c.0, d.1 - c.1);
            crowd.clear();
        }
        for jobs in [1, 2, 3] {
            let (start, c) = (Instant::now(), cpu());
            let mut times = Vec::new();
            crowd.on_host(|| {
                let options = BatchOptions { jobs: Some(jobs), run_dir: crowd.run_dir(), ..BatchOptions::default() };
                let report = batch::run(&lines, &options, &mut |_, ended| {
                    if let Ended::Attached(report) = ended {
                        times.push(report.elapsed_us);
                    }
                })
                .unwrap();
                assert!(report.is_whole(), "{report:?}");
            });
            let k = (n / 10).max(1);
            let mean = |t: &[u64]| t.iter().sum::<u64>() as f64 / t.len() as f64 / 1000.0;
            println!("ours jobs {jobs}: {:.1} ms; first {:.3} last {:.3}", ms(start.elapsed()), mean(&times[..k]), mean(&times[n - k..]));
            let d = cpu();
            println!("    user {:.0} sys {:.0}", d.0 - c.0, d.1 - c.1);
            crowd.clear();
            let _ = std::fs::remove_dir_all(crowd.run_dir());
        }
    }
}
