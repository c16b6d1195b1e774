//! What an attach costs before the kernel is asked: parsing, planning, printing.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use pipework::cli::AttachArgs;
use pipework::model::command::Commands;
use pipework::model::facts::{Facts, GuestFacts, GuestId, HostFacts, TableFacts};
use pipework::model::request::AttachRequest;
use pipework::plan::{Birth, plan};

fn words(criterion: &mut Criterion) {
    let args = AttachArgs::of("br0", "web", "192.168.1.10/24@192.168.1.1", "U:web@", None);
    criterion.bench_function("parse", |b| b.iter(|| AttachRequest::try_from(&args).unwrap()));
    let request = AttachRequest::try_from(&args).unwrap();
    let id = GuestId {
        name: "web".into(),
        engine: "docker",
        container: None,
        container_name: None,
        pid: Some(4711),
        path: "/proc/4711/ns/net".into(),
        netns: 42,
    };
    let guest = GuestFacts {
        id,
        shares_host: false,
        link: None,
        addrs: Vec::new(),
        default_routes: Vec::new(),
        tables: TableFacts::default(),
        lost: Vec::new(),
        ipv6_disabled: false,
    };
    let facts = Facts { host: HostFacts::default(), guest, fresh_mac: "02:00:00:00:00:01".parse().unwrap() };
    criterion.bench_function("plan", |b| b.iter(|| plan(&request, &facts, Birth::Guest).unwrap()));
    let planned = plan(&request, &facts, Birth::Guest).unwrap();
    let commands = Commands::new(&facts.guest.id);
    criterion.bench_function("print", |b| b.iter(|| planned.ops().iter().map(|op| commands.print(op)).collect::<Vec<_>>()));
}

criterion_group!(benches, words);
criterion_main!(benches);
