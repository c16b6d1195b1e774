//! `pool:` in the words of an attach: claimed before anything is done, given back when that fails, kept until it is released.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::{Child, Stdio};

use lab::consul::no_consul;
use lab::engine::{Engine, no_engine};
use lab::eventually;
use serde_json::Value;

const POOLS: &str = r#"[[pools]]
name = "lan"
subnet = "192.168.77.0/24"
range = "192.168.77.100-192.168.77.199"
gateway = "192.168.77.1"

[[pools]]
name = "one"
subnet = "192.168.78.0/24"
range = "192.168.78.5-192.168.78.5"
"#;

fn engine() -> Engine {
    let engine = Engine::start();
    engine.lab.host.sh("ip link add br0 type bridge && ip link set br0 up && ip addr add 192.168.77.1/24 dev br0");
    std::fs::write(engine.lab.dir.path().join("pools.toml"), POOLS).unwrap();
    engine
}

/// Who has what of a pool: `OWNER ADDRESS`, a line each.
fn owners(engine: &Engine, pool: &str) -> Vec<String> {
    let shown: Value = serde_json::from_str(&engine.run(&format!("pool show {pool} --json")).out).unwrap();
    let line = |claim: &Value| format!("{} {}", claim["owner"].as_str().unwrap(), claim["addr"].as_str().unwrap());
    let mut all: Vec<String> = shown["claims"].as_array().unwrap().iter().map(line).collect();
    all.sort();
    all
}

/// The address of a container's eth1.
fn address(engine: &Engine, container: &str) -> String {
    let text = engine.docker(&format!("exec {container} ip -o -4 addr show dev eth1"));
    text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_container_has_its_address_for_good() {
    if no_engine() {
        return;
    }
    let engine = engine();
    engine.container("web");
    engine.ok("br0 web pool:lan");
    let had = address(&engine, "web");
    let ip = had.strip_suffix("/24").unwrap().to_owned();
    assert!(ip.starts_with("192.168.77.1"), "{ip}");
    assert!(engine.docker("exec web ip route").contains("default via 192.168.77.1"), "the pool has the gateway");
    assert_eq!(owners(&engine, "lan"), [format!("web {ip}")]);
    engine.ok("br0 web pool:lan");
    engine.docker("restart -t 0 web");
    let repaired = engine.run("repair web");
    assert_eq!(repaired.code, Some(0), "{}", repaired.err);
    assert_eq!(address(&engine, "web"), had);
    engine.ok("detach web");
    assert_eq!(owners(&engine, "lan"), [format!("web {ip}")], "it outlives the attachment");

    engine.container("db");
    let told = engine.fails(&format!("br0 db pool:lan#{ip}"), "belongs to web since");
    assert!(told.contains("pipework release pool:lan web"), "{told}");
    engine.fails(&format!("br0 db {ip}/24"), "belongs to web since");
    engine.fails("br0 db pool:lan#192.168.77.5", "it gives 192.168.77.100 to 192.168.77.199");
    engine.fails("br0 db pool:wan", "there is no pool wan");
    engine.fails("br0 db pool:lan@192.168.77.1", "leave out @");
    let free = if ip == "192.168.77.150" { "192.168.77.151" } else { "192.168.77.150" };
    engine.ok(&format!("br0 db {free}/24"));
    assert!(owners(&engine, "lan").contains(&format!("db {free}")), "a fixed address of a pool is claimed, too");
    engine.ok("br0 db -i eth5 192.168.77.9/24");
    engine.ok("br0 web pool:lan");
    assert_eq!(address(&engine, "web"), had);

    engine.ok("detach db -i eth1");
    let released = engine.run("release pool:lan db");
    assert_eq!(released.out.trim(), format!("{free} of pool lan is free: it was db's"));
    assert_eq!(engine.run("release lan db").out.trim(), "db has no address of pool lan");
    let listed = engine.run("pool list").out;
    assert!(
        listed.starts_with("lan  192.168.77.0/24  192.168.77.100-192.168.77.199  100 addresses, 1 claimed, 0 reserved, 99 free"),
        "{listed}"
    );
    let gc = engine.run("pool gc --older 1 --json");
    assert!(gc.code == Some(0) && gc.out.contains("\"freed\":[]"), "{} {}", gc.out, gc.err);
}

#[test]
fn an_attach_that_fails_or_only_plans_leaves_no_claim() {
    if no_engine() {
        return;
    }
    let engine = engine();
    engine.container("web");
    let plan = engine.run("--dry-run br0 web pool:lan");
    assert!(plan.code == Some(0) && plan.out.contains("192.168.77.1") && plan.out.contains("/24"), "{} {}", plan.out, plan.err);
    assert_eq!(owners(&engine, "lan"), [] as [String; 0]);
    engine.fails("br0 -i lo web pool:lan", "lo");
    engine.fails("nosuch0 web pool:lan", "nosuch0");
    assert_eq!(owners(&engine, "lan"), [] as [String; 0]);
    // Somebody who asked nobody has the only address of the pool.
    engine.lab.host.sh("ip addr add 192.168.78.5/24 dev br0");
    engine.fails("br0 web pool:one", "192.168.78.5 is in use");
    assert_eq!(owners(&engine, "one"), [] as [String; 0]);
    assert_eq!(engine.docker("exec web ip -o link").lines().count(), 1, "only lo is left");
    // Whoever says so does not ask.
    engine.ok("br0 web pool:one --dad off");
    // What was there before the attach that fails stays.
    engine.fails("br0 -i lo web pool:one", "lo");
    assert_eq!(owners(&engine, "one"), ["web 192.168.78.5"]);
    engine.container("db");
    let full = engine.fails("br0 db pool:one", "pool one is full: 1 addresses, 1 claimed, 0 reserved");
    assert!(full.contains("pipework pool show one"), "{full}");
    let pid = engine.docker("inspect -f {{.State.Pid}} db");
    engine.fails(&format!("br0 pid:{pid} pool:lan"), "no name that lasts");
}

#[test]
fn all_ways_to_ask_for_an_attachment_know_pools() {
    if no_engine() {
        return;
    }
    let engine = engine();
    let task = |id: &str| format!("web.3.{id}");
    let first = task("0123456789abcdefghijklmno");
    engine.container(&first);
    engine.ok(&format!("br0 {first} pool:lan"));
    let slot = owners(&engine, "lan");
    assert!(slot[0].starts_with("web/3 "), "a Swarm task's address is its slot's: {slot:?}");
    engine.docker(&format!("rm -f {first}"));

    let second = task("zyxwvutsrqponmlkjihgfedcb");
    engine.container(&second);
    engine.container("many");
    let file = engine.lab.dir.path().join("lines");
    std::fs::write(&file, format!("attach br0 {second} pool:lan\nbr0 many pool:lan#192.168.77.123\n")).unwrap();
    let batch = engine.run(&format!("batch {}", file.display()));
    assert_eq!(batch.code, Some(0), "{} {}", batch.out, batch.err);
    assert_eq!(owners(&engine, "lan"), ["many 192.168.77.123".to_owned(), slot[0].clone()], "the next task of the slot has it");

    engine.docker("run -d --net none --name label --label pipework.lan='br0 pool:lan#192.168.77.124' box sleep 100000");
    let daemon = engine.run("daemon --once");
    assert_eq!(daemon.code, Some(0), "{} {}", daemon.out, daemon.err);
    assert_eq!(address(&engine, "label"), "192.168.77.124/24");

    engine.container("described");
    let topology = engine.lab.dir.path().join("t.toml");
    let text = "[[attachments]]\nhost_if = \"br0\"\nguest = \"described\"\naddresses = [\"pool:lan#192.168.77.125\"]\n";
    std::fs::write(&topology, text).unwrap();
    let apply = format!("apply {}", topology.display());
    assert_eq!(engine.run(&apply).code, Some(0));
    assert_eq!(address(&engine, "described"), "192.168.77.125/24");
    let again = engine.run(&format!("{apply} --dry-run"));
    assert_eq!(again.code, Some(0), "nothing differs: {}{}", again.out, again.err);
    let exported = engine.run("export").out;
    assert!(exported.contains("pool:lan#192.168.77.125"), "{exported}");
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn with_a_cluster_toml_claims_are_consul_s_and_without_consul_nothing_is_done() {
    if no_engine() || no_consul() {
        return;
    }
    let engine = Engine::start();
    let cluster = r#"name = "lab"
[[hosts]]
name = "h1"
address = "192.168.77.11"
role = "server"
[consul]
address = "http://127.0.0.1:8500"
[[pools]]
name = "lan"
subnet = "192.168.77.0/24"
gateway = "192.168.77.1"
"#;
    std::fs::write(engine.lab.dir.path().join("cluster.toml"), cluster).unwrap();
    engine.container("web");
    let told =
        engine.fails("br0 web pool:lan", "claiming an address of pool lan for web: Consul at http://127.0.0.1:8500 cannot be reached");
    assert!(told.contains("nothing was changed"), "{told}");
    assert!(engine.lab.host.link("br0").is_null());
    // Addresses that are in no pool need no Consul.
    engine.ok("br0 web -i eth7 10.9.9.9/24");

    let mut agent = engine.lab.host.command("consul");
    agent.args(["agent", "-dev", "-bind=127.0.0.1", "-log-level=warn"]).stdout(Stdio::null()).stderr(Stdio::null());
    let _agent = Agent(agent.spawn().unwrap());
    eventually("Consul answers", || engine.run("pool list").code == Some(0));
    engine.ok("br0 web pool:lan#192.168.77.20");
    assert_eq!((owners(&engine, "lan"), address(&engine, "web")), (vec!["web 192.168.77.20".to_owned()], "192.168.77.20/24".to_owned()));
    engine.container("db");
    engine.fails("br0 db pool:lan#192.168.77.11", "reserved");
    let keys = engine.lab.host.sh("consul kv get -recurse pipework/");
    assert!(keys.contains("pipework/lab/pools/lan/ip/192.168.77.20") && keys.contains("pipework/lab/pools/lan/owner/web"), "{keys}");
}
