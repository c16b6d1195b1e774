//! SIGKILL at any instant: an interface is wholly there, or wholly gone, and what others made stays as it is.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Space, assert_same, both, no_root, settled};

/// Things of others beside ours, with names and kinds like ours.
const FOREIGN_HOST: &str = "ip link add brx address 02:00:00:00:00:06 up type bridge; \
    ip link add veth1pl1 type veth peer name foreign1; ip link set veth1pl1 master brx; \
    ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up; ip link set nic0 up; \
    ip addr add 192.168.7.2/24 dev nic0; ip route add 10.77.0.0/16 via 192.168.7.1";
const FOREIGN_GUEST: &str = "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; \
    ip route add default via 172.17.0.1; ip link add other type veth peer name other2";

/// Numbers that look drawn by lot, the same in each run (Numerical Recipes' generator).
struct Lot(u64);

impl Lot {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

struct World {
    lab: Lab,
    guest: Space,
}

impl World {
    fn new() -> Self {
        let world = Self { lab: Lab::new(), guest: Space::new() };
        world.lab.host.sh(FOREIGN_HOST);
        world.guest.sh(FOREIGN_GUEST);
        world
    }

    fn state(&self) -> Vec<String> {
        settled(&[&self.lab.host, &self.guest], || both(&self.lab, &self.guest))
    }

    /// The line with the guest's word in the place of `G`.
    fn words(&self, line: &str) -> Vec<String> {
        let guest = format!("pid:{}", self.guest.pid());
        line.split(' ').map(|word| if word == "G" { guest.clone() } else { word.to_owned() }).collect()
    }

    fn start(&self, line: &str) -> Child {
        let mut command = self.lab.program();
        command.args(self.words(line)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn run(&self, line: &str) -> lab::Ran {
        self.lab.run(&self.words(line).join(" "))
    }

    /// How long the line takes when nothing happens to it, in microseconds.
    fn usual(&self, line: &str) -> u64 {
        let start = Instant::now();
        assert!(self.start(line).wait().unwrap().success(), "{line}");
        u64::try_from(start.elapsed().as_micros()).unwrap()
    }
}

const ATTACHES: [&str; 4] = [
    "br0 G 10.1.1.2/24,fd00::2/64@10.1.1.1",
    "nic0 G 10.1.1.2/24@10.1.1.1",
    "--direct-phys nic0 G 10.1.1.2/24@10.1.1.1 U:y",
    "--host-access nic0 G 192.168.7.9/24",
];

/// Whether the words find nothing to do.
fn is_as(world: &World, words: &str) -> bool {
    let ran = world.run(&format!("{words} --dry-run --json"));
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    ran.code == Some(0) && report["steps"].as_array().unwrap().is_empty()
}

/// Kills runs of attach, detach and replace in turn.
fn kill_at_random(seed: u64, rounds: usize) {
    let (world, mut lot) = (World::new(), Lot(seed));
    let before = world.state();
    let (mut whole, mut gone) = (0, 0);
    for round in 0..rounds {
        let attach = ATTACHES[round % ATTACHES.len()];
        let time = world.usual(attach);
        let other = &attach.replace("10.1.1.2/24", "10.1.1.7/24").replace("192.168.7.9", "192.168.7.8");
        let replace = &format!("--replace {other}");
        let has_replace = !attach.contains("--host-access");
        let time_to = if has_replace { world.usual(replace) } else { 0 };
        let time_back = world.usual("detach G");
        let (line, most) = match round % 3 {
            0 => (attach, time),
            2 if has_replace => (replace.as_str(), time_to),
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
        if is_as(&world, attach) || is_as(&world, other) {
            whole += 1;
            assert_eq!(world.run("detach G").code, Some(0), "{what}");
        } else {
            assert_ne!(line, replace.as_str(), "{what}: what was there is gone");
            gone += 1;
        }
        assert_same(&before, &world.state(), &what);
        let left = std::process::Command::new("find").arg(world.lab.dir.path()).args(["-name", "*.json*"]).output().unwrap();
        assert_eq!(String::from_utf8(left.stdout).unwrap(), "", "{what}");
    }
    assert!(whole > 0 && gone > 0, "{whole} were wholly there, {gone} wholly gone: both were to be seen");
}

#[test]
fn two_hundred_runs_killed_at_random_leave_all_or_nothing() {
    if no_root() {
        return;
    }
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            scope.spawn(move || kill_at_random(seed, 100));
        }
    });
}

#[test]
fn the_next_run_of_any_command_finishes_what_a_killed_one_began() {
    if no_root() {
        return;
    }
    let world = World::new();
    let before = world.state();
    let line = "--direct-phys nic0 G 10.1.1.2/24@10.1.1.1 U:y";
    // Killed at each message to the kernel, one after the other.
    for message in 1..40 {
        let mut command = world.lab.host.command("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=sendto,sendmsg,rename,renameat2"]);
        command.args(["-e", &format!("inject=sendto,sendmsg:signal=SIGKILL:when={message}")]);
        command.arg(env!("CARGO_BIN_EXE_pipework")).args(world.words(line)).env("PIPEWORK_RUN_DIR", world.lab.dir.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let killed = !command.status().unwrap().success();
        // A detach of what is not there any more recovers first.
        let ran = world.run("detach G");
        assert_eq!(ran.code, Some(0), "message {message}: {}", ran.err);
        assert_same(&before, &world.state(), &format!("killed at message {message}"));
        if !killed {
            assert!(message > 5, "only {message} messages");
            return;
        }
    }
    panic!("more than 40 messages");
}
