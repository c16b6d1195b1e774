//! Ours against the floor, one after the other by turns, so that both have the same machine: medians and their ratio.
#![allow(clippy::unwrap_used)]

mod floor;

use std::time::Duration;

use floor::{Link, World};

const TIMES: usize = 300;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("ratio: needs root");
        std::process::exit(1);
    }
    floor::in_memory_run();
    println!("{:22} {:>10} {:>10} {:>7}", "median of 300, ms", "floor", "ours", "ratio");
    for link in [Link::Veth, Link::Macvlan] {
        let world = World::new(link);
        let row = |what: &str, floor: &(dyn Fn() -> Duration + Sync), ours: &(dyn Fn() -> Duration + Sync)| {
            let (a, b) = world.on_host(|| {
                (0..20).for_each(|_| {
                    floor();
                    ours();
                });
                (0..TIMES).map(|_| (floor(), ours())).unzip::<_, _, Vec<_>, Vec<_>>()
            });
            let (a, b) = (median(a), median(b));
            println!("{:22} {a:10.3} {b:10.3} {:7.2}", format!("{what} {link:?}"), b / a);
        };
        row("attach", &|| world.floor(link), &|| world.ours(link));
        row("detach", &|| world.detach(link, false), &|| world.detach(link, true));
    }
}
