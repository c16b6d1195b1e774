//! Ours beside the original script and other programs that attach guests: each attach a process of its own. Writes a table
//! and two plots; `scripts/bench-peers` makes ready what it needs. Needs root.
#![allow(clippy::unwrap_used)]

mod measure;
mod peer;
mod plot;
#[path = "../private/mod.rs"]
mod private;
mod report;
mod world;

#[path = "../../tests/lab/mod.rs"]
mod lab;

use std::time::Duration;

use peer::{Kind, Peer, Verb};
use report::{Report, title};
use world::{Guest, HELD};

/// /sys shows the network namespace that it was mounted in, and holds the control groups that Docker needs.
const OWN_WORLD: &str = "mount -t tmpfs tmpfs /run; export TMPDIR=/run; ip link set lo up
    mkdir /run/cgroup; mount --rbind /sys/fs/cgroup /run/cgroup
    mount -t sysfs sysfs /sys; mount --rbind /run/cgroup /sys/fs/cgroup; umount -l /run/cgroup";

/// How often and how much.
struct Wanted {
    rounds: usize,
    ports: usize,
    out: String,
    /// Only the plugins of CNI, and netavark: one attach each.
    only_cni: bool,
}

impl Wanted {
    fn new() -> Self {
        let mut wanted = Self { rounds: 30, ports: 1000, out: "docs".to_owned(), only_cni: false };
        // `cargo bench` adds --bench.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            if word == "--cni" {
                wanted.only_cni = true;
                continue;
            }
            let value = words.next().unwrap_or_default();
            let number = || value.parse().ok().filter(|n| *n > 0);
            match (word.as_str(), number()) {
                ("--rounds", Some(rounds)) => wanted.rounds = rounds,
                ("--ports", Some(ports)) => wanted.ports = ports,
                ("--out", _) if !value.is_empty() => wanted.out = value,
                _ => {
                    eprintln!("bench-peers: [--rounds N] [--ports N] [--out DIRECTORY] [--cni]");
                    std::process::exit(2);
                }
            }
        }
        wanted
    }
}

fn main() {
    let wanted = Wanted::new();
    private::again_in(&["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"], OWN_WORLD);
    peer::paths();
    if wanted.only_cni {
        return only_cni(wanted.rounds);
    }
    let (guests, _held) = world::guests(wanted.ports.max(ROW));
    let docker = std::panic::catch_unwind(world::docker).ok();
    let mut report = Report::new(wanted.rounds);
    if docker.is_none() {
        report.absent("Docker", "no engine starts here");
    }
    let place = |peer: &Peer| docker.as_ref().filter(|_| peer.container()).map_or(&guests[0], |(_, container)| container);
    let peers = peers(&ALL, docker.as_ref().map(|(engine, _)| engine.host()), &place, &mut report);

    eprintln!("bench-peers: one attach each, {} rounds", wanted.rounds);
    let pairs: Vec<(&Peer, &Guest)> = peers.iter().map(|peer| (peer, place(peer))).collect();
    report.one(&peers, &measure::by_turns(&pairs, wanted.rounds), Kind::Ours);
    let peers: Vec<&Peer> = peers.iter().filter(|peer| !peer.container()).collect();
    let has_batch = measure::has_batch();
    if !has_batch {
        report.absent("pipework batch", "this build has no such command");
    }
    eprintln!("bench-peers: {ROW} in a row");
    in_a_row(&peers, &guests, has_batch, &mut report);
    eprintln!("bench-peers: up to {} ports", wanted.ports);
    by_ports(&peers, &guests[..wanted.ports], has_batch, &mut report);
    report.write(&wanted.out);
}

/// All whose guest is a network namespace.
const ALL: [Kind; 7] = [
    Kind::Ours,
    Kind::OursCni,
    Kind::Netavark,
    Kind::Cni("static"),
    Kind::Cni("host-local"),
    Kind::Original { arping: false },
    Kind::Original { arping: true },
];

/// One attach of each, beside that of our plugin.
fn only_cni(rounds: usize) {
    let (guests, _held) = world::guests(1);
    let mut report = Report::new(rounds);
    let kinds = [Kind::OursCni, Kind::Netavark, Kind::NetavarkRouted, Kind::Cni("static"), Kind::Cni("host-local")];
    let peers = peers(&kinds, None, &|_| &guests[0], &mut report);
    let pairs: Vec<(&Peer, &Guest)> = peers.iter().map(|peer| (peer, &guests[0])).collect();
    report.one(&peers, &measure::by_turns(&pairs, rounds), Kind::OursCni);
    report.print();
}

/// Those that can run here, and have shown it.
fn peers<'a>(kinds: &[Kind], engine: Option<String>, place: &dyn Fn(&Peer) -> &'a Guest, report: &mut Report) -> Vec<Peer> {
    let mut wanted: Vec<(Kind, Option<String>)> = kinds.iter().map(|kind| (*kind, None)).collect();
    if engine.is_some() {
        wanted.extend([Kind::Ours, Kind::Docker, Kind::Original { arping: false }].map(|kind| (kind, engine.clone())));
    }
    let mut peers = Vec::new();
    for (net, (kind, engine)) in (1..).zip(wanted) {
        let title = title(kind, engine.is_some());
        let tried = Peer::new(kind, net, engine).and_then(|peer| {
            let guest = place(&peer);
            peer.timed(Verb::Attach, guest)?;
            peer.check(guest)?;
            peer.timed(Verb::Detach, guest)?;
            Ok(peer)
        });
        match tried {
            Ok(peer) => peers.push(peer),
            Err(why) => report.absent(&title, why.trim()),
        }
    }
    peers
}

/// How many in a row.
const ROW: usize = 100;

/// 100 guests, thrice by turns. The original is slow: 10, and the time of those tenfold.
fn in_a_row(peers: &[&Peer], guests: &[Guest], has_batch: bool, report: &mut Report) {
    let mut batches = Vec::new();
    let mut times = vec![Vec::new(); peers.len()];
    for _ in 0..3 {
        for (peer, times) in peers.iter().zip(&mut times) {
            let count = if matches!(peer.kind, Kind::Original { .. }) { HELD } else { ROW };
            let sum: Duration = measure::in_a_row(peer, &guests[..count]).iter().sum();
            times.push(sum * u32::try_from(ROW / count).unwrap());
            if peer.kind == Kind::Ours && has_batch {
                batches.push(measure::batch(peer, &guests[..ROW]).0);
            }
        }
    }
    if has_batch {
        report.row("pipework batch", &batches);
    }
    for (peer, times) in peers.iter().zip(&times) {
        report.row(&peer.kind.name(), times);
    }
}

/// One guest after another onto one bridge, and how long each took.
fn by_ports(peers: &[&Peer], guests: &[Guest], has_batch: bool, report: &mut Report) {
    for peer in peers.iter().filter(|peer| matches!(peer.kind, Kind::Ours | Kind::Netavark | Kind::Cni("static"))) {
        report.ports(&peer.kind.name(), &measure::in_a_row(peer, guests));
        if peer.kind == Kind::Ours && has_batch {
            report.ports("pipework batch", &measure::batch(peer, guests).1);
        }
    }
}
