//! SIGKILL at any instant: an interface is wholly there, or wholly gone, and what others made stays as it is.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::Stdio;

use lab::killed::{Line, World, kill_at_random};
use lab::{assert_same, no_root};

/// Things of others beside ours, with names and kinds like ours.
const FOREIGN_HOST: &str = "ip link add brx address 02:00:00:00:00:06 up type bridge; \
    ip link add veth1pl1 type veth peer name foreign1; ip link set veth1pl1 master brx; \
    ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up; ip link set nic0 up; \
    ip addr add 192.168.7.2/24 dev nic0; ip route add 10.77.0.0/16 via 192.168.7.1";
const FOREIGN_GUEST: &str = "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; \
    ip route add default via 172.17.0.1; ip link add other type veth peer name other2";

/// With what replaces each of them.
const LINES: [Line; 4] = [
    ("br0 G 10.1.1.2/24,fd00::2/64@10.1.1.1", Some("br0 G 10.1.1.7/24,fd00::2/64@10.1.1.1")),
    ("nic0 G 10.1.1.2/24@10.1.1.1", Some("nic0 G 10.1.1.7/24@10.1.1.1")),
    ("--direct-phys nic0 G 10.1.1.2/24@10.1.1.1 U:y", Some("--direct-phys nic0 G 10.1.1.7/24@10.1.1.1 U:y")),
    ("--host-access nic0 G 192.168.7.9/24", None),
];

#[test]
fn two_hundred_runs_killed_at_random_leave_all_or_nothing() {
    if no_root() {
        return;
    }
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            scope.spawn(move || {
                let world = World::new(FOREIGN_HOST, FOREIGN_GUEST);
                let has_address = |words: &str| {
                    let addr = words.split(' ').find_map(|word| word.split([',', '@']).next().filter(|addr| addr.contains("/24")));
                    world.guest.addrs("eth1").iter().any(|is| Some(is.as_str()) == addr)
                };
                kill_at_random(&world, &LINES, (seed, 100), || world.state(), has_address);
            });
        }
    });
}

#[test]
fn the_next_run_of_any_command_finishes_what_a_killed_one_began() {
    if no_root() {
        return;
    }
    let world = World::new(FOREIGN_HOST, FOREIGN_GUEST);
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
