//! Many attaches in one run, ours beside the floor.
#![allow(clippy::unwrap_used)]

mod crowd;
mod floor;

use std::time::{Duration, Instant};

use crowd::{Crowd, Flood};
use pipework::lifecycle::{self, Options};
use pipework::model::request::{AttachRequest, GuestRef};

fn ms(d: Duration) -> f64 { d.as_secs_f64() * 1000.0 }

fn main() {
    floor::in_memory_run();
    let n: usize = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(200);
    let crowd = Crowd::new(n, 1);
    for flood in [Flood::AsItComes, Flood::KeptOut] {
        let start = Instant::now();
        let times = crowd.floor(flood);
        println!("floor {flood:?}: {:.1} ms, {:.3} each", ms(start.elapsed()), ms(times.iter().sum()) / n as f64);
        crowd.clear();
        std::thread::sleep(Duration::from_secs(1));
    }
    for jobs in [1, 2] {
        let options = Options { run_dir: crowd.run_dir(), ..Options::default() };
        let next = std::sync::atomic::AtomicUsize::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| crowd.on_host(|| {
                    loop {
                        let i = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        if i >= n { break }
                        let (bridge, ip, gateway) = crowd.place(i);
                        let request = AttachRequest::new(bridge.parse().unwrap(), GuestRef::NetnsPath(crowd.guests[i].clone()), format!("{ip}/16@{gateway}").parse().unwrap());
                        lifecycle::attach(&request, &options, &mut |_| {}).unwrap();
                    }
                }));
            }
        });
        println!("ours jobs {jobs}: {:.1} ms", ms(start.elapsed()));
        crowd.clear();
        let _ = std::fs::remove_dir_all(crowd.run_dir());
        std::thread::sleep(Duration::from_secs(1));
    }
}
