//! Attach and detach of a veth and a macvlan, ours and the floor (benches/floor). Needs root. For the ratio of the two
//! measured side by side see benches/ratio.rs: a machine's moods last longer than one of criterion's groups.
#![allow(clippy::unwrap_used)]

mod floor;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use floor::{Link, World};

fn attach(criterion: &mut Criterion) {
    floor::in_memory_run();
    for link in [Link::Veth, Link::Macvlan] {
        let world = World::new(link);
        let mut group = criterion.benchmark_group(format!("{link:?}"));
        group.sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
        let mut measure = |name: &str, one: &(dyn Fn() -> Duration + Sync)| {
            group.bench_function(name, |b| b.iter_custom(|times| world.on_host(|| (0..times).map(|_| one()).sum())));
        };
        measure("attach/floor", &|| world.floor(link));
        measure("attach/ours", &|| world.ours(link));
        measure("detach/floor", &|| world.detach(link, false));
        measure("detach/ours", &|| world.detach(link, true));
    }
}

criterion_group!(benches, attach);
criterion_main!(benches);
