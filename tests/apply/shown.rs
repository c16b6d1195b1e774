//! What is written of the present state: as a file again, and as a picture; and the documented example.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use serde_json::Value;

use super::lab::{assert_same, no_root, settled};
use super::world::{SHOP, World};

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
