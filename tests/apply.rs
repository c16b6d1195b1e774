//! Topologies: made as described, once; told before; taken away again, and nothing else; written down and made again.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "apply/shown.rs"]
mod shown;
#[path = "apply/world.rs"]
mod world;

use std::path::Path;

use lab::{assert_same, has_kind, no_root, settled, skip};
use serde_json::Value;
use world::{SHOP, World};

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
fn a_namespace_or_bridge_that_was_there_before_or_is_another_by_now_stays() {
    if no_root() {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    host.sh(&world.text("ip netns add NSold; ip link add br9 type bridge; ip link set br9 up; ip addr add 10.9.9.1/24 dev br9"));
    let before = host.state();
    let text = "guests: [{guest: 'netns:NSold', create: true}, {guest: 'netns:NSnew', create: true}]\n\
        bridges: [{name: br9, addresses: [10.9.9.1/24, 10.9.8.1/24]}]\n";
    let told = world.ok(&world.file("t.yaml", text), "");
    assert!(told.contains("bridge br9: changed") && told.contains("1 made, 1 changed, 0 taken away, 1 as described"), "{told}");
    host.sh(&world.text("ip netns del NSnew; ip netns add NSnew"));
    let told = world.ok(&world.file("t.yaml", "guests: []\n"), "--prune");
    assert!(told.contains("1 taken away"), "what was done to the bridge: {told}");
    assert!(world.has("old") && world.has("new"));
    world.sh("new", "ip link show lo");
    assert_same(&before, &host.state(), "only the added address has gone");
}

#[test]
fn what_two_topologies_describe_goes_with_the_second() {
    if no_root() {
        return;
    }
    let world = World::new();
    let before = world.lab.host.state();
    let (one, other) = (world.file("one.toml", SHOP), world.file("other.toml", &SHOP.replace("\"shop\"", "\"other\"")));
    world.ok(&one, "");
    assert!(world.ok(&other, "").starts_with("nothing to do"));
    let ran = world.apply(&world.file("empty.toml", "name = \"shop\"\n"), "--prune");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("br7 is left as it is: topology other describes it, too"), "{}", ran.err);
    assert_eq!(world.apply(&other, "--dry-run").code, Some(0), "all of it is there");
    // The bridges and namespaces are still those of the one that made them.
    world.ok(&world.file("empty.toml", "name = \"other\"\n"), "--prune");
    world.ok(&world.file("empty.toml", "name = \"shop\"\n"), "--prune");
    assert_same(&before, &world.lab.host.state(), "both gone");
    assert!(!world.has("web") && !world.has("db"));
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
    let nic = || (host.addrs("eth7"), host.routes(), host.link("eth7")["master"].clone());
    let before = settled(&[host], || vec![format!("{:?}", nic())]);
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
    assert_same(&before, &[format!("{:?}", nic())], "the host's own NIC");
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
        format!("{at}:{}: attachments[2].local_if: host interface br7 is in bridges[1].name already", line("local_if = \"br7\"")),
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
fn a_bridge_that_is_made_filters_vlans_when_an_attachment_is_in_one() {
    if no_root() || (!has_kind("vlan filtering") && skip("this kernel's bridges filter no VLANs: use scripts/uml-run")) {
        return;
    }
    let world = World::new();
    let host = &world.lab.host;
    host.sh("ip link add nic0 type dummy; ip link set nic0 up");
    let text = "guests: [{guest: 'netns:NSweb', create: true}]\nbridges: [{name: br7, uplinks: [nic0]}]\n\
        attachments: [{host_if: br7, guest: 'netns:NSweb', local_if: web7, vlan: '10,20-30', addresses: [10.7.1.2/24]}]\n";
    let file = world.file("t.yaml", text);
    let ran = world.apply(&file, "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("nic0"), "the uplink's VLANs are told: {}", ran.err);
    assert_eq!(host.link("br7")["linkinfo"]["info_data"]["vlan_filtering"], 1);
    let vlans = host.sh("bridge -compressvlans vlan show dev web7");
    assert!(vlans.contains("10 PVID Egress Untagged") && vlans.contains("20-30"), "{vlans}");
    assert!(world.ok(&file, "").starts_with("nothing to do"));
    let drawn = world.run("graph").out;
    assert!(drawn.contains("br7  bridge  MTU 1500, filters VLANs") && drawn.contains("VLAN 10,20-30"), "{drawn}");
    let exported = world.run("export --format yaml").out;
    assert!(exported.contains("vlan_filtering: true") && exported.contains("nic0") && exported.contains("vlan: 10,20-30"), "{exported}");
    let other = world.file("t.yaml", &text.replace("uplinks: [nic0]", "vlan_filtering: true"));
    let ran = world.apply(&other, "--dry-run");
    assert!(ran.out.contains("uplink is nic0, wanted not described"), "{} {}", ran.out, ran.err);
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
        [("SIGKILL", "sendto", 7), ("SIGTERM", "sendto", 9), ("SIGKILL", "rename", 3), ("SIGKILL", "mount", 1), ("SIGKILL", "unshare", 1)]
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
