//! Many containers at once, and a plug-in that is killed at any moment.

use nix::sys::signal::Signal;

use super::plugin::{attached, create, nothing_left, run, world};
use crate::lab::engine::no_engine;
use crate::lab::eventually;

const INNER: &str = "-o bridge=br0 --subnet 10.5.0.0/24 inner";

/// How much of it: a variable, else few. Long: a crowd of 60, 60 kills.
fn number(variable: &str, few: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

#[test]
fn containers_that_start_at_once_all_have_an_address_of_their_own() {
    if no_engine() {
        return;
    }
    let many = number("PIPEWORK_PLUGIN_CROWD", 12);
    let (lab, _plugin) = world(1);
    let host = lab.host(1);
    create(host, INNER);
    host.sh(&format!("for n in $(seq {many}); do docker run -d --name c$n --stop-timeout 1 --network inner box sleep 100000 & done; wait"));
    for n in 1..=many {
        attached(host, &format!("c{n}"), 1);
    }
    let addresses =
        host.sh("for c in $(docker ps -q); do docker exec $c ip -o -4 addr show dev eth0 | grep -o 'inet [0-9.]*'; done | sort -u");
    assert_eq!(addresses.lines().count() as u64, many, "{addresses}");
    host.sh("docker rm -f $(docker ps -aq)");
    nothing_left(host);
}

#[test]
fn a_plug_in_that_is_killed_at_any_moment_leaves_nothing_and_the_container_starts_then_or_when_it_is_asked_again() {
    if no_engine() {
        return;
    }
    let (lab, mut plugin) = world(1);
    let host = lab.host(1);
    create(host, INNER);
    run(host, "web", "--network inner --ip 10.5.0.7");
    for turn in 0..number("PIPEWORK_PLUGIN_KILLS", 4) {
        attached(host, "web", 1);
        let mut restart = host.command("docker").args(["restart", "-t", "0", "web"]).spawn().unwrap();
        // Another moment each time, over the whole of it.
        std::thread::sleep(std::time::Duration::from_millis(60 + turn * 83 % 500));
        plugin.again(host, Signal::SIGKILL);
        // The engine repeats what it asked without the words, when these had been read already: that start fails.
        if !restart.wait().unwrap().success() {
            host.docker("start web");
        }
        eventually("it has its address", || host.docker("exec web ip -o -4 addr").contains("10.5.0.7/24"));
    }
    attached(host, "web", 1);
    host.docker("rm -f web");
    nothing_left(host);
    assert_eq!(host.ok("gc"), "");
}
