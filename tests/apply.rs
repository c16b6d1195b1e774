//! Topologies: made as described, once; told before; taken away again, and nothing else; written down and made again.
#![allow(clippy::unwrap_used)]

mod lab;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lab::{Lab, Space, assert_same, no_root, settled, skip};
use serde_json::Value;

static NAMES: AtomicU32 = AtomicU32::new(0);

/// A host with a NIC, and names of network namespaces that nobody else has; those that there are then go with it.
struct World {
    lab: Lab,
    nic: Option<Space>,
    names: String,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new();
        let nic = lab.nic("eth7");
        let names = format!("pw{}x{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
        Self { lab, nic: Some(nic), names }
    }

    /// `NS` stands for the beginning of the namespaces' names.
    fn text(&self, text: &str) -> String {
        text.replace("NS", &self.names)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.lab.dir.path().join(name);
        std::fs::write(&path, self.text(text)).unwrap();
        path
    }

    fn run(&self, line: &str) -> lab::Ran {
        self.lab.run(line)
    }

    fn apply(&self, file: &Path, options: &str) -> lab::Ran {
        self.run(&format!("apply {} {options}", file.display()))
    }

    #[track_caller]
    fn ok(&self, file: &Path, options: &str) -> String {
        let ran = self.apply(file, options);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{options}: {}", ran.out);
        ran.out
    }

    /// The documents that a run prints, the last of which is about all.
    fn json(&self, file: &Path, options: &str) -> (Vec<Value>, Value) {
        let ran = self.apply(file, &format!("{options} --json"));
        let mut all: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = all.pop().unwrap_or_else(|| panic!("{}", ran.err));
        (all, last)
    }

    fn path(&self, guest: &str) -> String {
        format!("/run/netns/{}{guest}", self.names)
    }

    fn has(&self, guest: &str) -> bool {
        Path::new(&self.path(guest)).exists()
    }

    /// A shell line in a namespace.
    fn sh(&self, guest: &str, line: &str) -> String {
        self.lab.host.sh(&format!("nsenter --net={} -- sh -ec '{line}'", self.path(guest)))
    }

    fn addrs(&self, guest: &str, link: &str) -> Vec<String> {
        let text = self.sh(guest, &format!("ip -j addr show dev {link}"));
        let links: Value = serde_json::from_str(&text).unwrap();
        let all = links[0]["addr_info"].as_array().unwrap().clone();
        let given = all.iter().filter(|addr| addr["scope"] != "link");
        given.map(|addr| format!("{}/{}", addr["local"].as_str().unwrap(), addr["prefixlen"])).collect()
    }

    /// What the host and the namespaces have. Indexes and random addresses are left out, where it is about what is made anew.
    fn state(&self, guests: &[&str], exact: bool) -> Vec<String> {
        let spaces = guests.iter().map(|guest| self.sh(guest, "ip -j -d addr show; ip route; ip -6 route show proto static"));
        let mut all: Vec<String> = if exact { self.lab.host.state() } else { Vec::new() };
        let host = self.lab.host.sh("ip -j -d addr show type bridge; ip -j -d addr show type veth");
        for (n, text) in spaces.chain([host]).enumerate() {
            let (addrs, routes): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('['));
            for link in
                addrs.iter().flat_map(|line| serde_json::from_str::<Vec<Value>>(line).unwrap()).filter(|link| !link["ifname"].is_null())
            {
                let addr = link["addr_info"].as_array().unwrap().iter().filter(|addr| addr["scope"] != "link");
                let addr: Vec<String> = addr.map(|addr| format!("{}/{}", addr["local"], addr["prefixlen"])).collect();
                let index = if exact { link["ifindex"].to_string() } else { String::new() };
                let filtering = &link["linkinfo"]["info_data"]["vlan_filtering"];
                all.push(format!("{n} {} mtu {} master {} {filtering} {addr:?} {index}", link["ifname"], link["mtu"], link["master"]));
            }
            all.extend(routes.iter().map(|route| format!("{n} {route}")));
        }
        all.sort();
        all
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nic = None;
        let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            let rest = name.strip_prefix(&self.names);
            if rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphabetic())) {
                let _ = std::process::Command::new("ip").args(["netns", "del", &name]).status();
            }
        }
    }
}

const SHOP: &str = r#"
name = "shop"

[[guests]]
guest = "netns:NSweb"
create = true

[[guests]]
guest = "netns:NSdb"
create = true

[[bridges]]
name = "br7"
uplinks = ["eth7"]
mtu = 1400
addresses = ["10.7.1.1/24", "fd07::1/64"]

[[bridges]]
name = "lan7"

[[attachments]]
host_if = "br7"
guest = "netns:NSweb"
local_if = "web7"
addresses = ["10.7.1.10/24", "fd07::10/64"]
gateways = ["10.7.1.1"]
routes = ["10.99.0.0/16 via 10.7.1.254"]
rate = "10mbit/2mbit"
persist = true

[[attachments]]
host_if = "lan7"
guest = "netns:NSdb"
local_if = "db7"
addresses = ["10.8.1.10/24"]

[[links]]
mtu = 1300
ends = [
  { guest = "netns:NSweb", guest_if = "eth2", addresses = ["10.7.2.1/30"] },
  { guest = "netns:NSdb", guest_if = "eth2", addresses = ["10.7.2.2/30"] },
]
"#;

#[test]
fn all_of_a_file_is_made_and_a_second_run_does_nothing() {
    if no_root() {
        return;
    }
    let world = World::new();
    let file = world.file("shop.toml", SHOP);
    let told = world.ok(&file, "");
    for line in ["guest netns:NSweb: made", "bridge br7: made", "attachment eth1 of netns:NSweb: made", "7 made, 0 changed, 0 taken away"] {
        assert!(told.contains(&world.text(line)), "{line} is not in {told}");
    }
    let host = &world.lab.host;
    assert_eq!(
        (&host.link("eth7")["master"], &host.link("br7")["mtu"], &host.link("db7")["master"]),
        (&"br7".into(), &1400.into(), &"lan7".into())
    );
    assert!(host.link("eth7")["flags"].to_string().contains("\"UP\""));
    assert_eq!(host.addrs("br7"), ["10.7.1.1/24", "fd07::1/64"]);
    assert_eq!(world.addrs("web", "eth1"), ["10.7.1.10/24", "fd07::10/64"]);
    assert_eq!(world.addrs("db", "eth2"), ["10.7.2.2/30"]);
    world.sh("web", "ip route show default | grep -q 10.7.1.1 && ip route get 10.99.1.1 | grep -q 10.7.1.254");
    world.sh("web", "ping -c1 -W5 10.7.2.2 && ping -c1 -W5 10.7.1.1");
    assert!(world.run("status --json").out.contains("\"standing\":\"ok\""));

    let guests = ["web", "db"];
    let before = settled(&[host], || world.state(&guests, true));
    let (objects, all) = world.json(&file, "");
    assert_eq!(
        (&all["result"], &all["unchanged"], &all["created"], &all["schema"]),
        (&"unchanged".into(), &7.into(), &0.into(), &1.into())
    );
    for object in &objects {
        let steps = object["steps"].as_array().unwrap().len();
        assert_eq!((&object["action"], &object["result"], steps), (&"none".into(), &"unchanged".into(), 0), "{object}");
    }
    assert_eq!(world.ok(&file, ""), "nothing to do: all 7 are as described\n");
    assert_eq!(world.ok(&file, "--dry-run --prune"), "nothing to do: all 7 are as described\n");
    assert_same(&before, &settled(&[host], || world.state(&guests, true)), "the second run");
}

#[test]
fn a_dry_run_tells_what_would_be_and_changes_nothing() {
    if no_root() {
        return;
    }
    let world = World::new();
    let file = world.file("shop.toml", SHOP);
    let before = world.lab.host.state();
    let ran = world.apply(&file, "--dry-run");
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), ""), "{}", ran.out);
    assert!(ran.out.contains("attachment eth1 of netns:") && ran.out.contains("7 to be made"), "{}", ran.out);
    assert_same(&before, &world.lab.host.state(), "dry run");
    assert!(!world.has("web") && !world.lab.dir.path().join("topologies").exists());

    world.ok(&file, "");
    let other = SHOP.replace("mtu = 1400", "mtu = 1450").replace("10.7.1.10/24", "10.7.1.11/24").replace("\"10.7.1.1/24\", ", "");
    let file = world.file("shop.toml", &other);
    let before = settled(&[&world.lab.host], || world.state(&["web", "db"], true));
    let ran = world.apply(&file, "--dry-run");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    for line in [
        "bridge br7: would be changed\n  MTU is 1400, wanted 1450\n  address is 10.7.1.1/24, wanted not described",
        "attachment eth1 of netns:NSweb: would be changed\n",
        "address is 10.7.1.10/24, wanted 10.7.1.11/24",
        "0 to be made, 2 to be changed, 0 to be taken away, 5 as described, 0 failed",
    ] {
        assert!(ran.out.contains(&world.text(line)), "{line} is not in {}", ran.out);
    }
    let (objects, _) = world.json(&file, "--dry-run");
    let bridge = objects.iter().find(|object| object["name"] == "br7").unwrap();
    assert_eq!(bridge["differences"][0], serde_json::json!({"field": "mtu", "is": "1400", "wanted": "1450"}));
    assert_same(&before, &settled(&[&world.lab.host], || world.state(&["web", "db"], true)), "dry run of a change");

    world.ok(&file, "");
    assert_eq!((world.addrs("web", "eth1")[0].as_str(), &world.lab.host.link("br7")["mtu"]), ("10.7.1.11/24", &1450.into()));
    assert_eq!(world.lab.host.addrs("br7"), ["fd07::1/64"]);
    assert_eq!(world.apply(&file, "--dry-run").code, Some(0));
}

#[test]
fn prune_takes_away_what_the_same_topology_described_and_nothing_else() {
    if no_root() {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    host.sh("ip link add br9 type bridge; ip link set br9 up; ip link add mine type veth peer name mine1; ip link set mine master br9");
    let stranger = world.lab.guest();
    world.lab.ok(&format!("br9 pid:{} 10.9.1.2/24", stranger.pid()));
    let other = world.file("other.yaml", "name: other\nguests: [{guest: 'netns:NSsolo', create: true}]\nbridges: [{name: br6}]\n");
    let before_all = host.state();
    world.ok(&other, "");
    let before = host.state();
    world.ok(&world.file("shop.toml", SHOP), "");

    // One guest, its attachment, the link and a bridge are described no more.
    let less = "name = \"shop\"\n[[guests]]\nguest = \"netns:NSweb\"\ncreate = true\n[[bridges]]\nname = \"br7\"\n\
        [[attachments]]\nhost_if = \"br7\"\nguest = \"netns:NSweb\"\naddresses = [\"10.7.1.10/24\"]\n";
    let file = world.file("shop.toml", less);
    let told = world.ok(&file, "");
    assert!(!told.contains("taken away:") && world.has("db") && !host.link("lan7").is_null(), "without --prune: {told}");
    let ran = world.apply(&file, "--prune --dry-run");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    for line in ["attachment eth1 of netns:NSdb", "link netns:NSweb:eth2 netns:NSdb:eth2", "bridge lan7", "guest netns:NSdb"] {
        assert!(ran.out.contains(&format!("{}: would be taken away", world.text(line))), "{line} is not in {}", ran.out);
    }
    let told = world.ok(&file, "--prune");
    assert!(told.contains("4 taken away") && !told.contains("failed: "), "{told}");
    assert!(!world.has("db") && host.link("lan7").is_null() && !world.addrs("web", "eth1").is_empty());
    assert!(!world.lab.host.try_sh(&format!("nsenter --net={} ip link show eth2", world.path("web"))));

    let told = world.ok(&world.file("shop.toml", "name = \"shop\"\n"), "--prune");
    assert!(told.contains("3 taken away"), "{told}");
    assert!(!world.has("web") && world.has("solo"));
    assert_same(&before, &host.state(), "all of the topology gone");
    world.ok(&world.file("other.yaml", "name: other\n"), "--prune");
    assert_same(&before_all, &host.state(), "the other gone, too");
    assert!(!stranger.link("eth1").is_null());
    let left = std::fs::read_dir(world.lab.dir.path().join("topologies")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn what_others_came_to_rely_on_is_not_pruned() {
    if no_root() {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    world.ok(&world.file("shop.toml", SHOP), "");
    let stranger = world.lab.guest();
    world.lab.ok(&format!("br7 pid:{} 10.7.1.77/24", stranger.pid()));
    world.lab.ok(&world.text("br9 -i eth5 netns:NSdb 10.9.1.1/24"));
    let ran = world.apply(&world.file("shop.toml", "name = \"shop\"\n"), "--prune");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("br7 is left as it is: port v"), "{}", ran.err);
    assert!(ran.err.contains(&world.text("netns:NSdb is left: it has eth5, which this topology does not describe")), "{}", ran.err);
    assert_eq!(host.addrs("br7"), ["10.7.1.1/24", "fd07::1/64"]);
    stranger.sh("ping -c1 -W5 10.7.1.1");
    // It is known still: once they are gone, it goes.
    world.lab.ok(&format!("detach pid:{}", stranger.pid()));
    world.lab.ok(&world.text("detach netns:NSdb"));
    let told = world.ok(&world.file("shop.toml", "name = \"shop\"\n"), "--prune");
    assert!(told.contains("2 taken away"), "{told}");
    assert!(host.link("br7").is_null() && !world.has("db"));
    assert!(host.link("eth7")["master"].is_null());
}

#[test]
fn a_described_bridge_stays_while_nobody_is_on_it() {
    if no_root() {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    let file = world.file("shop.toml", SHOP);
    world.ok(&file, "");
    world.lab.ok(&world.text("detach netns:NSdb --all"));
    assert!(!host.link("lan7").is_null(), "after the last detach");
    world.lab.ok("gc");
    assert!(!host.link("lan7").is_null(), "after gc");
    let told = world.ok(&file, "");
    assert!(told.contains("2 made"), "the attachment and the link: {told}");
}

#[test]
fn an_uplink_moves_from_a_bridge_to_another_and_comes_back_free() {
    if no_root() {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    let before = host.state();
    world.ok(&world.file("t.yaml", "bridges: [{name: br7, uplinks: [eth7]}]\n"), "");
    assert_eq!(host.link("eth7")["master"], "br7");
    let file = world.file("t.yaml", "bridges: [{name: br8, uplinks: [eth7]}]\n");
    let ran = world.apply(&file, "");
    assert!(ran.code == Some(1) && ran.err.contains("uplink eth7 is a port of br7 already"), "{}", ran.err);
    assert_eq!(world.apply(&file, "--prune --dry-run").code, Some(2));
    world.ok(&file, "--prune");
    assert_eq!((&host.link("eth7")["master"], host.link("br7").is_null()), (&"br8".into(), true));
    world.ok(&world.file("t.yaml", "bridges: []\n"), "--prune");
    assert_same(&before, &host.state(), "all gone");
}

#[test]
fn a_nic_that_has_an_address_is_no_uplink_and_only_what_depends_on_it_fails() {
    if no_root() {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    host.sh("ip addr add 192.168.7.5/24 dev eth7; ip link set eth7 up; ip route add default via 192.168.7.1");
    let before = host.sh("ip addr show eth7; ip route");
    let file = world.file("shop.toml", &SHOP.replace("guest = \"netns:NSdb\"\ncreate = true", "guest = \"netns:NSdb\""));
    let ran = world.apply(&file, "");
    assert_eq!(ran.code, Some(1));
    for line in [
        "apply bridge br7: uplink eth7 has 192.168.7.5/24: as a port of br7 it would not answer there any more",
        "hint: put the address into the bridge's `addresses`",
        "apply guest netns:NSdb: network namespace of netns:NSdb",
        "hint: create = true makes it",
        "apply attachment eth1 of netns:NSweb: bridge br7, which it is to be on, is not as described",
        "apply attachment eth1 of netns:NSdb: guest netns:NSdb is not there",
        "apply link netns:NSweb:eth2 netns:NSdb:eth2: guest netns:NSdb is not there",
    ] {
        assert!(ran.err.contains(&world.text(line)), "{line} is not in {}", ran.err);
    }
    assert!(ran.out.contains("2 made") && ran.out.contains("5 failed"), "{}", ran.out);
    assert!(world.has("web") && !host.link("lan7").is_null() && host.link("br7").is_null());
    assert_eq!(host.sh("ip addr show eth7; ip route"), before);
}

#[test]
fn a_file_with_a_mistake_is_told_line_by_line_and_nothing_is_done() {
    if no_root() {
        return;
    }
    let world = World::new();
    let before = world.lab.host.state();
    let wrong = SHOP
        .replace("\"10.7.1.10/24\"", "\"10.7.1.10\"")
        .replace("via 10.7.1.254", "vai 10.7.1.254")
        .replace("local_if = \"db7\"", "local_if = \"br7\"");
    let file = world.file("shop.toml", &wrong);
    let ran = world.apply(&file, "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let line = |text: &str| wrong.lines().position(|line| line.contains(text)).unwrap() + 1;
    let at = file.display();
    for told in [
        format!(
            "{at}:{}: attachments[1].addresses: The IP address should include a netmask. Maybe you meant 10.7.1.10/24",
            line("\"10.7.1.10\"")
        ),
        format!("{at}:{}: attachments[2].local_if: host interface br7 is in bridges[1].name already", line("local_if")),
    ] {
        assert!(ran.err.contains(&told), "{told} is not in {}", ran.err);
    }
    let words = world.file("words.toml", &SHOP.replace("via 10.7.1.254", "vai 10.7.1.254"));
    let ran = world.apply(&words, "--json");
    let routes = format!("{}:{}: attachments[1].routes: --route", words.display(), line("routes"));
    assert!(ran.code == Some(1) && ran.err.contains(&routes) && ran.err.contains("vai"), "{}", ran.err);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["result"], "failed");
    for (name, text, told) in [
        ("a.toml", "[[bridges]]\nname = \"br7\"\nmut = 1400\n", ":3: unknown field `mut`, expected one of `name`, `uplinks`, `mtu`"),
        ("a.yaml", "bridges:\n  - name: br7\n    mut: 1400\n", ":3: unknown field `mut`, expected one of name, uplinks, mtu"),
        ("a.toml", "[[bridges]\n", ":1: "),
        ("a.txt", "", "its name does not tell how it is written: give --format toml"),
        ("missing/a.toml", "", "No such file"),
    ] {
        let path = world.lab.dir.path().join(name);
        let _ = std::fs::write(&path, text);
        let ran = world.apply(&path, "");
        assert!(ran.code == Some(1) && ran.err.contains(told), "{told} is not in {}", ran.err);
    }
    assert_same(&before, &world.lab.host.state(), "nothing is done");
    assert!(!world.has("web") && !world.lab.dir.path().join("topologies").exists());
}

#[test]
fn what_is_exported_changes_nothing_and_brings_everything_back() {
    if no_root() {
        return;
    }
    for format in ["toml", "yaml", "json"] {
        let world = World::new();
        let host = &world.lab.host;
        world.ok(&world.file("shop.toml", SHOP), "");
        let pid = world.lab.guest();
        world.lab.ok(&format!("br5 -i lan0 pid:{} 10.7.3.1/24 02:00:00:00:07:01 --mtu 1300 --txqueuelen 500", pid.pid()));
        let guests = ["web", "db"];
        let state =
            || settled(&[host], || world.state(&guests, false).into_iter().chain(world.lab.host.routes()).chain(pid.state()).collect());
        let plain = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().map(|line| line.split(" index ").next().unwrap().to_owned()).collect()
        };
        let before = plain(state());
        let ran = world.run(&format!("export --format {format}"));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        let file = world.lab.dir.path().join(format!("all.{format}"));
        std::fs::write(&file, &ran.out).unwrap();
        assert!(world.ok(&file, "").starts_with("nothing to do"), "{}", ran.out);
        assert_same(&before, &plain(state()), "applied to what it was written from");
        for guest in ["netns:NSweb", "netns:NSdb"] {
            world.lab.ok(&format!("detach {} --all", world.text(guest)));
        }
        world.lab.ok(&format!("detach pid:{} --all", pid.pid()));
        world.ok(&file, "");
        assert_same(&before, &plain(state()), &format!("made again from\n{}", ran.out));
        let again = world.run(&format!("export --format {format}"));
        assert_eq!(again.out, ran.out);
    }
}

#[test]
fn a_run_that_is_stopped_or_killed_anywhere_is_ended_by_the_next_and_nothing_of_it_is_lost() {
    if no_root() || (!Path::new("/usr/bin/strace").exists() && skip("needs strace: scripts/setup")) {
        return;
    }
    let world = World::new();
    let (file, empty) = (world.file("shop.toml", SHOP), world.file("empty.toml", "name = \"shop\"\n"));
    let before = world.lab.host.state();
    world.ok(&file, "");
    let wanted = settled(&[&world.lab.host], || world.state(&["web", "db"], false));
    let mut stopped = 0;
    for (signal, what, step) in
        [("SIGKILL", "sendto", 23), ("SIGTERM", "sendto", 31), ("SIGKILL", "rename", 5), ("SIGKILL", "mount", 1), ("SIGKILL", "unshare", 1)]
    {
        for n in (1..400).step_by(step) {
            world.ok(&empty, "--prune");
            assert_same(&before, &world.lab.host.state(), &format!("{signal} at {what} {n}, and all taken away"));
            assert!(!world.has("web") && !world.has("db"), "{signal} at {what} {n}");
            let mut traced = world.lab.host.command("strace");
            let inject = format!("inject={what}:signal={signal}:when={n}");
            traced
                .args(["-f", "-o", "/dev/null", "-e", &format!("trace={what}"), "-e", &inject, env!("CARGO_BIN_EXE_pipework"), "apply"])
                .arg(&file);
            for (key, value) in world.lab.program().get_envs() {
                value.map(|value| traced.env(key, value));
            }
            let ran = lab::Ran::from(traced.output().unwrap());
            if ran.code == Some(0) {
                world.ok(&file, "");
                break;
            }
            stopped += 1;
            if signal == "SIGTERM" {
                assert!(ran.code == Some(1) && ran.out.contains(" failed\n"), "{} {}", ran.out, ran.err);
            }
            let ran = world.apply(&file, "");
            assert_eq!(ran.code, Some(0), "{signal} at {what} {n}: {}", ran.err);
            assert_same(&wanted, &settled(&[&world.lab.host], || world.state(&["web", "db"], false)), &format!("{signal} at {what} {n}"));
        }
    }
    assert!(stopped > 10, "{stopped}");
}

/// The first block of a kind in the documentation.
fn block(kind: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/topology.md")).unwrap();
    let (_, rest) = text.split_once(&format!("```{kind}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_example_is_made_and_both_examples_keep_to_the_schema() {
    let world = World::new();
    let schema: Value = serde_json::from_str(&world.run("apply --schema").out).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let example = block("toml");
    for text in [example.as_str(), pipework::cli::TOPOLOGY_EXAMPLE] {
        let value: Value = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    for wrong in [serde_json::json!({"bridge": []}), serde_json::json!({"attachments": [{"host_if": "br1"}]})] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
    assert!(world.run("apply --help").out.contains("[[attachments]]"));
    if no_root() {
        return;
    }
    world.lab.host.sh("ip link set eth7 name eth1");
    let names = example.replace("netns:", "netns:NS");
    world.ok(&world.file("example.toml", &names), "");
    assert!(world.ok(&world.file("example.toml", &names), "").starts_with("nothing to do"));
    let yaml = block("yaml").replace("netns:", "netns:NS");
    assert!(world.ok(&world.file("example.yaml", &yaml), "--prune").starts_with("nothing to do"), "TOML and YAML say the same");
}

/// Fails unless every element of an XML document is closed, every value quoted and every `&` the beginning of an entity.
#[track_caller]
fn assert_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').unwrap_or_else(|| panic!("a tag does not end: {tag}"));
        assert!(before.trim().is_empty() || !open.is_empty(), "text outside of everything: {before}");
        for entity in before.split('&').skip(1).chain(tag.split('&').skip(1)) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)), "&{entity}");
        }
        let name = tag.trim_end_matches('/').split_whitespace().next().unwrap();
        match (tag.strip_prefix('/'), tag.ends_with('/')) {
            (Some(name), _) => assert_eq!(open.pop(), Some(name), "{text}"),
            (None, true) => {}
            (None, false) => open.push(name),
        }
        assert!(tag.matches('"').count() % 2 == 0, "{tag}");
        rest = after;
    }
    assert_eq!((open, rest.trim()), (Vec::new(), ""));
}

#[test]
fn a_picture_shows_all_of_it_in_every_format() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip link add tap9 type veth peer name tap8; ip link add br9 type bridge; ip link set tap9 master br9");
    world.ok(&world.file("shop.toml", SHOP), "");
    let sharer = world.lab.guest();
    world.lab.host.sh("ip link add nic9 type veth peer name nic8; ip link set nic9 up");
    world.lab.ok(&format!("nic9 pid:{} 10.9.3.1/24 --macvlan private", sharer.pid()));
    let draw = |format: &str| {
        let ran = world.run(&format!("graph --format {format}"));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{format}");
        ran.out
    };
    let text = draw("text");
    assert_eq!(text, world.run("graph").out);
    for line in [
        "├── br7  bridge  MTU 1400, 10.7.1.1/24, fd07::1/64\n│   ├── eth7  uplink\n│   └── netns:NSweb eth1  10.7.1.10/24, fd07::10/64, via 10.7.1.1, rate 10mbit/2mbit, web7\n",
        "├── br9  bridge  MTU 1500, down\n│   └── tap9  port  down\n",
        "├── lan7  bridge  MTU 1500\n│   └── netns:NSdb eth1  10.8.1.10/24, db7\n",
        "└── links between guests\n    └── netns:NSdb eth2  10.7.2.2/30  <->  netns:NSweb eth2  10.7.2.1/30\n",
    ] {
        assert!(text.contains(&world.text(line)), "{line} is not in {text}");
    }
    let nic = format!("├── nic9  veth  MTU 1500\n│   └── pid:{} eth1  10.9.3.1/24, macvlan private\n", sharer.pid());
    assert!(text.contains(&nic), "{nic} is not in {text}");
    let svg = draw("svg");
    assert_xml(&svg);
    for (format, drawn) in [("dot", draw("dot")), ("mermaid", draw("mermaid")), ("svg", svg)] {
        for word in
            ["br7", "eth7", "lan7", "br9", "tap9", "nic9", "netns:NSweb", "netns:NSdb", "10.7.1.10/24", "10.7.2.2/30", "macvlan private"]
        {
            assert!(drawn.contains(&world.text(word)), "{word} is not in the {format}:\n{drawn}");
        }
    }
    assert!(world.run("graph --format png").err.contains("text, dot, mermaid or svg"));
}

#[test]
fn standard_input_is_read_when_its_format_is_told() {
    if no_root() {
        return;
    }
    use std::io::Write;
    let world = World::new();
    let mut command = world.lab.program();
    command.args(["apply", "-", "--format", "yaml"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"bridges: [{name: br7}]\n").unwrap();
    let ran = lab::Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.lines().next()), (Some(0), Some("bridge br7: made")));
    assert!(!world.lab.host.link("br7").is_null());
    assert!(world.run("apply -").err.contains("give --format"));
}
