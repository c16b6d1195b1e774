//! Classic Swarm's discovery through Consul: what we write against what the original was recorded to write, and ours reading its.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lab::consul::{Agents, no_consul};
use lab::eventually;
use pipework::cluster::swarm::classic::Nodes;
use pipework::external::consul::{Behavior, Condition, Consul, Freshness};

const SECOND: Duration = Duration::from_secs(1);

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework"));
    command.args(["cluster", "swarm"]).args(arguments).env_remove("CONSUL_HTTP_TOKEN").env_remove("CONSUL_HTTP_TOKEN_FILE");
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// Key, value, flags, whether a session has it, and how often it was locked: as `swarm join` 1.2.9 of two hosts left it with
/// Consul 1.8.7.
fn dump(consul: &Consul) -> Vec<(String, String, u64, bool, u64)> {
    let pairs = consul.keys_under("swarm", Freshness::Consistent).unwrap();
    let line = |pair: pipework::external::consul::Pair| {
        let value = pair.text().unwrap().to_owned();
        (pair.key, value, pair.flags, pair.session.is_some(), pair.lock_index)
    };
    pairs.into_iter().map(line).collect()
}

fn recorded() -> Vec<(String, String, u64, bool, u64)> {
    const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
    let line = |key: &str, value: &str, locked| (key.to_owned(), value.to_owned(), FLAGS, locked, 0);
    vec![
        line("swarm/docker/swarm/nodes", "", false),
        line("swarm/docker/swarm/nodes/192.168.116.112:2375", "192.168.116.112:2375", true),
        line("swarm/docker/swarm/nodes/192.168.116.113:2375", "192.168.116.113:2375", true),
    ]
}

#[test]
fn what_is_written_is_what_the_original_writes() {
    if no_consul() {
        return;
    }
    let agents = Agents::one();
    let consul = agents.client(0);
    let nodes = Nodes::new(consul.clone(), "swarm");
    let mut members =
        ["192.168.116.112:2375", "192.168.116.113:2375"].map(|node| nodes.member(&node.parse().unwrap(), Duration::from_secs(180)));
    assert_eq!(nodes.list().unwrap(), [] as [String; 0]);
    for member in &mut members {
        assert!(member.beat().unwrap());
    }
    assert_eq!(dump(&consul), recorded());
    assert_eq!(nodes.list().unwrap(), ["192.168.116.112:2375", "192.168.116.113:2375"]);

    // {"Name":"","TTL":"1m30s","LockDelay":1000000,"Behavior":"delete","NodeChecks":["serfHealth"]}
    let keys = consul.keys_under("swarm/docker/swarm/nodes/", Freshness::Consistent).unwrap();
    let session = consul.session(keys[0].session.as_ref().unwrap()).unwrap().unwrap();
    assert_eq!((session.name.as_str(), session.behavior, session.lock_delay), ("", Behavior::Delete, 1_000_000));
    assert!(matches!(session.ttl.as_str(), "90s" | "1m30s"), "{session:?}");
    assert_eq!(session.node_checks.unwrap(), ["serfHealth"]);
    assert_ne!(keys[0].session, keys[1].session);

    assert!(!members[0].beat().unwrap(), "it is renewed");
    assert_eq!(dump(&consul), recorded());
    // Its session ends, as with its agent: it is registered anew.
    consul.end_session(keys[0].session.as_ref().unwrap()).unwrap();
    assert_eq!(nodes.list().unwrap(), ["192.168.116.113:2375"]);
    assert!(members[0].beat().unwrap());
    assert_eq!(dump(&consul), recorded());
    // Somebody was killed here, and its session is not over.
    let mut second = nodes.member(&"192.168.116.112:2375".parse().unwrap(), Duration::from_secs(180));
    assert!(second.beat().unwrap());
    assert_eq!(dump(&consul), recorded());
    members[0].leave().unwrap();
    assert_eq!(dump(&consul), recorded(), "what another has taken over stays");
    second.leave().unwrap();
    members[1].leave().unwrap();
    assert_eq!(dump(&consul), recorded()[..1]);
}

#[test]
fn list_prints_as_the_original_does_and_makes_the_marker() {
    if no_consul() {
        return;
    }
    let agents = Agents::one();
    let (consul, discovery) = (agents.client(0), format!("consul://{}:8500/swarm", agents.ip(0)));
    let empty = run(&["list", &discovery]);
    assert_eq!((empty.status.code(), empty.stdout.as_slice(), empty.stderr.as_slice()), (Some(0), &b""[..], &b""[..]));
    assert_eq!(dump(&consul), recorded()[..1]);
    for (key, value, flags, ..) in recorded() {
        assert!(consul.write(&key, value.as_bytes(), flags, Condition::Always).unwrap());
    }
    // Half registered, as the original's are for a moment; and nothing of its own.
    consul.write("swarm/docker/swarm/nodes/192.168.116.114:2375", b"", 0, Condition::Always).unwrap();
    consul.write("swarm/docker/swarm/nodes/x", b"\x1b[2J", 0, Condition::Always).unwrap();
    let listed = run(&["list", &discovery]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "192.168.116.112:2375\n192.168.116.113:2375\n");
    let several = run(&["list", "consul://127.0.0.1:8500,127.0.0.2:8500/swarm"]);
    assert_eq!(several.status.code(), Some(1));
    assert!(String::from_utf8(several.stderr).unwrap().contains("consul does not support multiple endpoints"));
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn join_keeps_a_node_registered_and_takes_it_away_when_it_is_stopped() {
    if no_consul() {
        return;
    }
    let mut agents = Agents::three();
    let discovery = format!("consul://{}:8500/swarm", agents.ip(0));
    let words = ["join", "--advertise=192.168.116.112:2375", "--heartbeat=1s", "--ttl=4s", &discovery];
    let mut join = Running(program(&words).stderr(Stdio::null()).spawn().unwrap());
    let nodes = Nodes::new(agents.client(1), "swarm");
    let is_there = || nodes.list().is_ok_and(|all| all == ["192.168.116.112:2375"]);
    eventually("it is registered", is_there);
    std::thread::sleep(5 * SECOND);
    assert!(is_there(), "its session would have ended");
    // Its agent dies, and comes back.
    agents.kill(0);
    eventually("its session ends with its agent", || nodes.list().is_ok_and(|all| all.is_empty()));
    agents.start(0);
    eventually("it is registered again", is_there);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(join.0.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(join.0.wait().unwrap().success());
    assert_eq!(nodes.list().unwrap(), [] as [String; 0], "at once");
    let bad = run(&["join", "--advertise", "192.168.116.112", &discovery]);
    assert!(bad.status.code() == Some(1) && String::from_utf8(bad.stderr).unwrap().contains("give HOST:PORT"));
}
