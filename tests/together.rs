//! Many runs at once on the same guests: what stands in the end is what is recorded, and nothing hangs or is lost.
#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lab::{Lab, Space, assert_same, no_root, settled};

const GUESTS: usize = 6;
const PROCESSES: usize = 50;
const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up; ip link set nic0 up";

/// Seconds of it; the minute by PIPEWORK_TEST_SECONDS=60.
fn duration() -> Duration {
    let seconds = std::env::var("PIPEWORK_TEST_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// The n-th of a row of numbers that look drawn by lot.
fn lot(seed: u64, end: usize) -> usize {
    let mixed = (seed ^ (seed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    usize::try_from((mixed ^ (mixed >> 32)) % u64::try_from(end).unwrap()).unwrap()
}

/// A line for one guest and interface; each interface has an address of its own, so that two may be there at once.
fn line(seed: u64, guests: &[Space]) -> String {
    let guest = lot(seed, guests.len());
    let interface = lot(seed.wrapping_mul(3), 3) + 1;
    let pid = guests[guest].pid();
    let addr = format!("10.{interface}.{guest}.{}/24", lot(seed.wrapping_mul(5), 2) + 2);
    let host_if = ["br0", "br1", "nic0"][lot(seed.wrapping_mul(7), 3)];
    match lot(seed.wrapping_mul(11), 10) {
        0..=3 => format!("-i eth{interface} {host_if} pid:{pid} {addr}"),
        4..=5 => format!("--replace -i eth{interface} {host_if} pid:{pid} {addr}"),
        6..=8 => format!("detach pid:{pid} -i eth{interface}"),
        _ => "gc".to_owned(),
    }
}

/// Why a run may refuse: another one gave the interface otherwise, or has the address.
const REFUSALS: [&str; 3] = ["exists in the guest and is not as asked", "has 10.", "detach it first"];

/// Interfaces of ours that stand in the guests, and those that are recorded, as `PID IF`.
fn standing_and_recorded(lab: &Lab, guests: &[Space]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut standing, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for guest in guests {
        for link in guest.ip("link show").as_array().unwrap() {
            let name = link["ifname"].as_str().unwrap();
            if name != "lo" {
                standing.insert(format!("{} {name}", guest.pid()));
            }
        }
    }
    let found = std::process::Command::new("find").arg(lab.dir.path()).args(["-name", "*.json"]).output().unwrap();
    for path in String::from_utf8(found.stdout).unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        recorded.insert(format!("{} {}", record["guest"]["pid"], record["interface"].as_str().unwrap()));
    }
    (standing, recorded)
}

#[test]
fn fifty_processes_attach_detach_and_replace_and_the_records_tell_what_stands() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.host.sh(NIC);
    let guests: Vec<Space> = (0..GUESTS).map(|_| lab.guest()).collect();
    let spaces: Vec<&Space> = std::iter::once(&lab.host).chain(&guests).collect();
    let state = || spaces.iter().enumerate().flat_map(|(n, space)| space.state().into_iter().map(move |l| format!("{n} {l}"))).collect();
    let before: Vec<String> = settled(&spaces, state);
    let (end, runs, done) = (Instant::now() + duration(), AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                while Instant::now() < end {
                    let n = runs.fetch_add(1, Ordering::Relaxed);
                    let line = line(u64::try_from(n).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15), &guests);
                    let ran = lab.run(&line);
                    match ran.code {
                        Some(0) => _ = done.fetch_add(1, Ordering::Relaxed),
                        Some(1) if REFUSALS.iter().any(|why| ran.err.contains(why)) => {}
                        _ => wrong.lock().unwrap().push(format!("{line}: {:?} {}", ran.code, ran.err)),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {runs:?}:\n{}", wrong.len(), wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n"));
    eprintln!("{runs:?} runs, {done:?} of them done");
    assert!(done.into_inner() > 50);
    let (standing, recorded) = standing_and_recorded(&lab, &guests);
    assert_eq!(standing, recorded);
    for guest in &guests {
        lab.ok(&format!("detach pid:{} --all", guest.pid()));
    }
    assert_eq!(lab.run("gc").code, Some(0));
    assert_same(&before, &settled(&spaces, state), "after all");
    assert_eq!(lab.files(), "");
}
