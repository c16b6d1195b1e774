//! Batches of 100 and 1,000 on one bridge and on ten, ours and the floor (benches/crowd). Needs root. For the figures side by side
//! see benches/scale.rs.
#![allow(clippy::unwrap_used)]

mod crowd;
mod floor;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use crowd::{Crowd, Flood};
use pipework::lifecycle::Options;
use pipework::lifecycle::batch::{self, BatchOptions, Line, Work};
use pipework::model::request::{AttachRequest, GuestRef};

fn lines(crowd: &Crowd) -> Vec<Line> {
    let line = |n: usize| {
        let (bridge, ip, gateway) = crowd.place(n);
        let word = format!("{ip}/16@{gateway}").parse().unwrap();
        let request = AttachRequest::new(bridge.parse().unwrap(), GuestRef::NetnsPath(crowd.guests[n].clone()), word);
        let options = Options { run_dir: crowd.run_dir(), ..Options::default() };
        Line { number: n + 1, work: Work::Attach { request: Box::new(request), options: Box::new(options), replace: false } }
    };
    (0..crowd.guests.len()).map(line).collect()
}

fn ours(crowd: &Crowd, lines: &[Line]) -> Duration {
    let options = BatchOptions { run_dir: crowd.run_dir(), ..BatchOptions::default() };
    let start = Instant::now();
    let report = crowd.on_host(|| batch::run(lines, &options, &mut |_, _| {}).unwrap());
    let time = start.elapsed();
    assert!(report.is_whole(), "{report:?}");
    crowd.clear();
    let _ = std::fs::remove_dir_all(crowd.run_dir());
    time
}

fn floor_of(crowd: &Crowd, flood: Flood) -> Duration {
    let start = Instant::now();
    crowd.floor(flood);
    let time = start.elapsed();
    crowd.clear();
    time
}

fn batches(criterion: &mut Criterion) {
    floor::in_memory_run();
    for (guests, bridges) in [(100, 1), (100, 10), (1000, 1), (1000, 10)] {
        let crowd = Crowd::new(guests, bridges);
        let lines = lines(&crowd);
        let mut group = criterion.benchmark_group(format!("batch/{guests} on {bridges}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(1));
        let mut measure = |name: &str, one: &dyn Fn() -> Duration| {
            group.bench_function(name, |b| b.iter_custom(|times| (0..times).map(|_| one()).sum()));
        };
        measure("floor", &|| floor_of(&crowd, Flood::AsItComes));
        measure("floor out of the flood", &|| floor_of(&crowd, Flood::KeptOut));
        measure("ours", &|| ours(&crowd, &lines));
    }
}

criterion_group!(benches, batches);
criterion_main!(benches);
