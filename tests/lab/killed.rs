//! Runs that are killed at an instant drawn by lot, and cleared up after.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Lab, Ran, Space, assert_same, both, settled};

/// Numbers that look drawn by lot, the same in each run (Numerical Recipes' generator).
struct Lot(u64);

impl Lot {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

pub struct World {
    pub lab: Lab,
    pub guest: Space,
}

impl World {
    pub fn new(host: &str, guest: &str) -> Self {
        let world = Self { lab: Lab::new(), guest: Space::new() };
        world.lab.host.sh(host);
        world.guest.sh(guest);
        world
    }

    /// Both sides, once they stay as they are.
    pub fn state(&self) -> Vec<String> {
        settled(&[&self.lab.host, &self.guest], || both(&self.lab, &self.guest))
    }

    /// The line with the guest's word in the place of `G`.
    pub fn words(&self, line: &str) -> Vec<String> {
        let guest = format!("pid:{}", self.guest.pid());
        line.split(' ').map(|word| if word == "G" { guest.clone() } else { word.to_owned() }).collect()
    }

    fn start(&self, line: &str) -> Child {
        let mut command = self.lab.program();
        command.args(self.words(line)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn run(&self, line: &str) -> Ran {
        self.lab.run(&self.words(line).join(" "))
    }

    /// How long the line takes when nothing happens to it, in microseconds.
    fn usual(&self, line: &str) -> u64 {
        let start = Instant::now();
        assert!(self.start(line).wait().unwrap().success(), "{line}");
        u64::try_from(start.elapsed().as_micros()).unwrap()
    }

    /// Whether the words find nothing to do.
    fn is_as(&self, words: &str) -> bool {
        let ran = self.run(&format!("{words} --dry-run --json"));
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        ran.code == Some(0) && report["steps"].as_array().unwrap().is_empty()
    }
}

/// What is attached, and what takes its place in a run with `--replace`.
pub type Line = (&'static str, Option<&'static str>);

/// Kills runs of attach, detach and replace in turn, and clears up. Then an interface is wholly there, which `is_whole` looks
/// at for the words that made it, or wholly gone: the state is as before.
pub fn kill_at_random(
    world: &World,
    lines: &[Line],
    (seed, rounds): (u64, usize),
    state: impl Fn() -> Vec<String>,
    is_whole: impl Fn(&str) -> bool,
) {
    let mut lot = Lot(seed);
    let before = state();
    let (mut whole, mut gone) = (0, 0);
    for round in 0..rounds {
        let (attach, other) = lines[round % lines.len()];
        let time = world.usual(attach);
        let replace = other.map(|other| format!("--replace {other}"));
        let time_to = replace.as_ref().map_or(0, |replace| world.usual(replace));
        let time_back = world.usual("detach G");
        let (line, most) = match (round % 3, &replace) {
            (0, _) => (attach, time),
            (2, Some(replace)) => (replace.as_str(), time_to),
            _ => ("detach G", time_back),
        };
        if line != attach {
            assert_eq!(world.run(attach).code, Some(0));
        }
        let mut child = world.start(line);
        std::thread::sleep(Duration::from_micros(lot.below(most * 6 / 5)));
        let _ = child.kill();
        let _ = child.wait();
        let cleared = world.run("gc");
        assert_eq!(cleared.code, Some(0), "{line}: {}", cleared.err);
        let what = format!("round {round}, {line}, {}", cleared.out);
        // Wholly there, as it was or as it was to be: the words find nothing to do. Wholly gone: as before.
        if let Some(words) = [Some(attach), other].into_iter().flatten().find(|words| world.is_as(words)) {
            whole += 1;
            assert!(is_whole(words), "{what}: not wholly as {words}");
            assert_eq!(world.run("detach G").code, Some(0), "{what}");
        } else {
            assert!(replace.as_deref() != Some(line), "{what}: what was there is gone");
            gone += 1;
        }
        assert_same(&before, &state(), &what);
        let left = Command::new("find").arg(world.lab.dir.path()).args(["-name", "*.json*"]).output().unwrap();
        assert_eq!(String::from_utf8(left.stdout).unwrap(), "", "{what}");
    }
    assert!(whole > 0 && gone > 0, "{whole} were wholly there, {gone} wholly gone: both were to be seen");
}
