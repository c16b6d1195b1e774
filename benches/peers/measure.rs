//! The three measurements.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::peer::{Peer, Verb, ours};
use super::world::{DIR, Guest};

/// What a detach leaves to be done behind its back is not the next one's.
const PAUSE: Duration = Duration::from_millis(20);

/// One attach of each peer, by turns: the times of each.
pub fn by_turns(peers: &[(&Peer, &Guest)], rounds: usize) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::new(); peers.len()];
    for _ in 0..rounds {
        for ((peer, guest), times) in peers.iter().zip(&mut times) {
            std::thread::sleep(PAUSE);
            times.push(peer.timed(Verb::Attach, guest).unwrap());
            peer.timed(Verb::Detach, guest).unwrap();
        }
    }
    times
}

/// A process for each guest, one after another; the time of each.
pub fn in_a_row(peer: &Peer, guests: &[Guest]) -> Vec<Duration> {
    std::thread::sleep(PAUSE);
    let times = guests.iter().map(|guest| peer.timed(Verb::Attach, guest).unwrap()).collect();
    take_away(peer, guests);
    times
}

fn take_away(peer: &Peer, guests: &[Guest]) {
    for guest in guests {
        peer.timed(Verb::Detach, guest).unwrap();
    }
}

/// Whether our program has the command.
pub fn has_batch() -> bool {
    ours().args(["help", "batch"]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// `pipework batch` with a line for each guest: the time of the process, and what it says of each line.
pub fn batch(peer: &Peer, guests: &[Guest]) -> (Duration, Vec<Duration>) {
    let file = format!("{DIR}/batch");
    let lines: Vec<String> = guests.iter().map(|guest| peer.line(guest) + "\n").collect();
    std::fs::write(&file, lines.concat()).unwrap();
    std::thread::sleep(PAUSE);
    let mut command: Command = ours();
    command.args(["batch", "--json", &file]).stderr(Stdio::inherit());
    let start = Instant::now();
    let output = command.output().unwrap();
    let time = start.elapsed();
    assert!(output.status.success(), "batch: {}", output.status);
    let mut each: Vec<(u64, u64)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let said: Value = serde_json::from_str(line).unwrap();
            Some((said["line"].as_u64()?, said["elapsed_us"].as_u64()?))
        })
        .collect();
    each.sort_unstable();
    assert_eq!(each.len(), guests.len(), "batch: not a time for each line");
    take_away(peer, guests);
    (time, each.into_iter().map(|(_, us)| Duration::from_micros(us)).collect())
}

/// In milliseconds.
pub fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// In milliseconds.
pub fn least(times: &[Duration]) -> f64 {
    times.iter().min().unwrap().as_secs_f64() * 1000.0
}
