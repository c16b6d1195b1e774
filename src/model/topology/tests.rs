#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::request::AttachRequest;
use proptest::prelude::*;

const TOML: &str = r#"
name = "shop"

[[guests]]
guest = "netns:web"
create = true

[[bridges]]
name = "br1"
uplinks = ["eth1"]
mtu = 1400
vlan_filtering = true
addresses = ["10.1.1.1/24", "fd00::1/64"]

[[attachments]]
host_if = "br1"
guest = "netns:web"
addresses = ["10.1.1.10/24"]
gateways = ["10.1.1.1"]
vlan = 10
rate = "10mbit/2mbit"

[[links]]
ends = [
  { guest = "netns:web", guest_if = "eth2", addresses = ["10.0.0.1/30"] },
  { guest = "db", addresses = ["10.0.0.2/30"] },
]
"#;

const YAML: &str = r"
name: shop
guests:
  - guest: netns:web
    create: true
bridges:
  - name: br1
    uplinks: [eth1]
    mtu: 1400
    vlan_filtering: true
    addresses: [10.1.1.1/24, fd00::1/64]
attachments:
  - host_if: br1
    guest: netns:web
    addresses: [10.1.1.10/24]
    gateways: [10.1.1.1]
    vlan: 10
    rate: 10mbit/2mbit
links:
  - ends:
      - {guest: netns:web, guest_if: eth2, addresses: [10.0.0.1/30]}
      - {guest: db, addresses: [10.0.0.2/30]}
";

fn toml(text: &str) -> Topology {
    read(text, Format::Toml).unwrap().0
}

/// All that is wrong, each with its line.
fn wrongs(text: &str, format: Format) -> Vec<String> {
    let (topology, lines) = read(text, format).unwrap();
    let tell = |wrong: Wrong| format!("{}: {}: {}", lines.of(&wrong.place).unwrap_or_default(), wrong.place, wrong.text);
    topology.check().unwrap_err().into_iter().map(tell).collect()
}

#[test]
fn toml_and_yaml_say_the_same_and_each_prints_what_is_read_back() {
    let topology = toml(TOML);
    assert_eq!(read(YAML, Format::Yaml).unwrap().0, topology);
    for format in [Format::Toml, Format::Yaml, Format::Json] {
        assert_eq!(read(&write(&topology, format).unwrap(), format).unwrap().0, topology, "{format:?}");
    }
    let wanted = topology.check().unwrap();
    assert_eq!((wanted.name.as_str(), wanted.bridges[0].addresses.len()), ("shop", 2));
    assert_eq!(wanted.attachments[0].request.tag.as_ref().unwrap().to_string(), "10");
    assert_eq!(wanted.links[0].ends[1].to_string(), "db:eth1=10.0.0.2/30");
}

#[test]
fn a_key_that_there_is_not_is_told_with_its_line_and_those_that_there_are() {
    for (text, format, line, wanted) in [
        ("[[bridges]]\nname = \"br1\"\nmut = 1400\n", Format::Toml, 3, "unknown field `mut`, expected one of `name`"),
        ("bridges:\n  - name: br1\n    mut: 1400\n", Format::Yaml, 3, "unknown field `mut`, expected one of name, uplinks"),
        ("{\n\"bridges\": [{\"name\": \"br1\",\n\"mut\": 1400}]}", Format::Json, 3, "unknown field `mut`, expected one of `name`"),
        ("bridge = []\n", Format::Toml, 1, "unknown field `bridge`"),
        ("[[attachments]]\nhost_if = \"br1\"\n", Format::Toml, 1, "missing field `guest`"),
        ("attachments:\n  - host_if: br1\n", Format::Yaml, 2, "missing field `guest`"),
        ("[[guests]]\nguest = 7\n", Format::Toml, 2, "invalid type: integer"),
        ("[[bridges]]\nname = \"br1\"\nmtu = 1.5\n", Format::Toml, 3, "a number or a word in quotes"),
        ("[[links]]\nends = [{ guest = \"web\" }]\n", Format::Toml, 2, "2"),
        ("[[guests]\n", Format::Toml, 1, "]"),
        ("guests: [\n", Format::Yaml, 1, ""),
    ] {
        let error = read(text, format).unwrap_err();
        assert!(error.text.contains(wanted), "{text}: {error}");
        assert!(error.line.is_some_and(|at| at.abs_diff(line) <= 1), "{text}: {error}");
        assert!(!error.text.contains('\n'), "{error}");
    }
}

#[test]
fn the_key_that_was_probably_meant_is_named() {
    let attachment = "[[attachments]]\nhost_if = \"br1\"\nguest = \"web\"\n";
    for (line, meant) in [
        ("mut = 1400", "mtu"),
        ("adresses = []", "addresses"),
        ("guestif = \"eth1\"", "guest_if"),
        ("route = []", "routes"),
        ("vlna = 10", "vlan"),
    ] {
        let error = read(&format!("{attachment}{line}\n"), Format::Toml).unwrap_err();
        assert!(error.text.ends_with(&format!(". Maybe you meant {meant} ?")), "{error}");
    }
    let error = read(&format!("{attachment}nonsense = 1\n"), Format::Toml).unwrap_err();
    assert!(error.text.contains("expected one of") && !error.text.contains("Maybe"), "{error}");
    let error = read("bridges:\n  - {name: br1, mut: 7}\n", Format::Yaml).unwrap_err();
    assert!(error.text.ends_with("Maybe you meant mtu ?"), "{error}");
}

#[test]
fn every_word_that_is_wrong_is_told_at_once() {
    let text = "name = \"a b\"\n\
        [[attachments]]\nhost_if = \"much-too-long-a-name\"\nguest = \"web\"\naddresses = [\"10.1.1.10\"]\nmtu = 67\nvlan = 4096000\ndad_wait = true\n\
        [[bridges]]\nname = \"ovs1\"\nmtu = \"big\"\n\
        [[guests]]\nguest = \"web\"\ncreate = true\n\
        [[links]]\nends = [{ guest = \"web\" }, { guest = \"web\", guest_if = \"eth2\", addresses = [\"10.0.0.1\"] }]\n";
    let told = wrongs(text, Format::Toml);
    let wanted = [
        "0: name: \"a b\": give up to 64 letters",
        "14: guests[1].create: web cannot be made here: only a network namespace can, like netns:lab; leave out create",
        "10: bridges[1].name: ovs1 would be a bridge of Open vSwitch",
        "11: bridges[1].mtu: --mtu \"big\": give bytes from 68",
        "3: attachments[1].host_if: interface name \"much-too-long-a-name\"",
        "5: attachments[1].addresses: The IP address should include a netmask. Maybe you meant 10.1.1.10/24",
        "7: attachments[1].vlan: VLAN \"4096000\"",
        "6: attachments[1].mtu: --mtu \"67\"",
        "8: attachments[1].dad_wait: --dad-wait waits",
        "16: links[1].ends: The IP address should include a netmask",
    ];
    for line in wanted {
        assert!(told.iter().any(|told| told.starts_with(line)), "{line} is not in {told:#?}");
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
}

#[test]
fn what_is_there_twice_is_told_with_both_places() {
    let text = r#"
guests:
  - guest: web
  - guest: web
bridges:
  - name: br1
    uplinks: [eth0]
    addresses: [10.1.1.10/24]
  - name: br2
    uplinks: [eth0]
  - name: br1
attachments:
  - {host_if: br1, guest: web, addresses: [10.1.1.10/24], mac: "02:00:00:00:00:01", local_if: x1}
  - {host_if: br1, guest: web, guest_if: eth1, addresses: [10.1.1.11/24]}
  - {host_if: br1, guest: db, addresses: [10.1.1.11/24], mac: "02:00:00:00:00:01", local_if: x1}
  - {host_if: br1, guest: dc, addresses: [10.1.1.11/24], vlan: 7}
  - {host_if: br1, guest: dd, addresses: [10.1.1.11/24], force: true}
  - {host_if: eth9, guest: web, guest_if: eth3, addresses: [10.1.1.10/24]}
links:
  - ends: [{guest: web, guest_if: eth1}, {guest: db, guest_if: eth2, addresses: [10.0.0.1/30]}]
  - ends: [{guest: web, guest_if: eth5, addresses: [10.5.0.1/30]}, {guest: db, guest_if: eth5, addresses: [10.5.0.1/30]}]
"#;
    let told = wrongs(text, Format::Yaml);
    let wanted = [
        "guests[2].guest: guest web is in guests[1].guest already",
        "bridges[2].uplinks: host interface eth0 is in bridges[1].uplinks already",
        "bridges[3].name: host interface br1 is in bridges[1].name already",
        "attachments[1].addresses: address 10.1.1.10 on br1 is in bridges[1].addresses already",
        "attachments[2].guest_if: eth1 of guest web is in attachments[1].guest_if already",
        "attachments[3].addresses: address 10.1.1.11 on br1 is in attachments[2].addresses already",
        "attachments[3].mac: MAC address 02:00:00:00:00:01 on br1 is in attachments[1].mac already",
        "attachments[3].local_if: host interface x1 is in attachments[1].local_if already",
        "attachments[6].addresses: address 10.1.1.10 of guest web is in attachments[1].addresses already",
        "links[1].ends: eth1 of guest web is in attachments[1].guest_if already",
        "links[2].ends: address 10.5.0.1 on link 2 is in links[2].ends already",
    ];
    for line in wanted {
        assert!(told.iter().any(|told| told.contains(line)), "{line} is not in {told:#?}");
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    assert!(told.iter().any(|told| told.starts_with("15: attachments[3].mac")), "{told:#?}");
}

#[test]
fn what_no_file_can_ask_is_refused() {
    for (words, wanted) in [
        ("guest_if = \"auto\"", "auto would make another interface each time"),
        ("macvlan = \"bridge\"\nipvlan = \"l2\"", "give one of direct_phys, macvlan, macvtap, ipvlan"),
        ("dynamic = \"dhcp\"\naddresses = [\"10.0.0.1/24\"]", "dhcp gives it: leave out addresses and gateways"),
        ("dynamic = \"nonsense\"", "no word for a dynamic address"),
        ("routes = [\"add 10.0.0.0/8\"]", "leave out add"),
        ("sysctls = [\"kernel.panic=1\"]", "kernel.panic"),
    ] {
        let told = wrongs(&format!("[[attachments]]\nhost_if = \"br1\"\nguest = \"web\"\n{words}\n"), Format::Toml);
        assert!(told.len() == 1 && told[0].contains(wanted), "{words}: {told:?}");
    }
}

#[test]
fn what_is_on_a_bridge_has_to_fit_its_description() {
    let file = |filtering: &str, host_if: &str| {
        format!("bridges: [{{name: br1, uplinks: [eth0]{filtering}}}]\nattachments: [{{host_if: {host_if}, guest: web, vlan: 10}}]\n")
    };
    let told = wrongs(&file("", "eth0"), Format::Yaml);
    assert_eq!(told, ["2: attachments[1].host_if: eth0 is an uplink of br1: attach to br1"]);
    let told = wrongs(&file(", vlan_filtering: false", "br1"), Format::Yaml);
    assert!(told.len() == 1 && told[0].contains("attachments[1].vlan: br1 is described with vlan_filtering = false"), "{told:?}");
    let filters = |text: &str| read(text, Format::Yaml).unwrap().0.check().unwrap().bridges[0].is_tagged;
    assert!(filters(&file("", "br1")) && filters(&file(", vlan_filtering: true", "br2")) && !filters(&file("", "br2")));
}

#[test]
fn the_schema_names_every_list_and_forbids_other_keys() {
    let schema = schema();
    let keys = |at: &serde_json::Value| at["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&schema), ["attachments", "bridges", "guests", "links", "name"]);
    assert_eq!(schema["additionalProperties"], false);
    let attachment = &schema["$defs"]["Attachment"];
    assert_eq!((&attachment["required"], &attachment["additionalProperties"]), (&serde_json::json!(["host_if", "guest"]), &false.into()));
    assert_eq!(attachment["properties"]["mtu"]["anyOf"][0]["$ref"], "#/$defs/Word");
    assert!(attachment["properties"]["rate"]["description"].as_str().unwrap().contains("10mbit/2mbit"));
}

/// A word that is a right value of a key, or none.
fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(proptest::sample::select(values).prop_map(str::to_owned))
}

prop_compose! {
    fn attachment()(
        number in 1..250u8,
        host_if in proptest::sample::select(&["br1", "eth0", "mac:02:00:00:00:00:01", "dummy"][..]),
        named in (maybe(&["eth1", "lan0"]), maybe(&["x1"]), maybe(&["02:00:00:00:00:02"]), maybe(&["02:00:00:00:00:03"])),
        vlan in proptest::option::of(proptest::sample::select(&["10", "10,20-30", ",5", "ad:100", "8001"][..])),
        addresses in any::<(bool, bool)>(),
        shared in proptest::sample::select(&["", "bridge", "source:02:00:00:00:00:01,02:00:00:00:00:02", "l3:vepa"][..]),
        flags in any::<(bool, bool, bool, bool)>(),
        dad in maybe(&["warn", "fail"]),
        numbers in (proptest::option::of(68..65536u32), proptest::option::of(any::<u32>()), proptest::option::of(any::<u32>())),
        table in maybe(&["auto", "100"]),
        shaping in (maybe(&["10mbit/2mbit", "10mbit/2mbit:64kb", "10mbit/"]), maybe(&["delay=100ms,loss=0.3%"])),
        lists in (any::<bool>(), any::<bool>()),
    ) -> Attachment {
        let (guest_if, local_if, mac, link_mac) = named;
        let ipvlan = (shared == "l3:vepa").then(|| shared.to_owned());
        let macvlan = (!shared.is_empty() && ipvlan.is_none()).then(|| shared.to_owned());
        let listed = |on: bool, all: &[&str]| if on { all.iter().map(|one| (*one).to_owned()).collect() } else { Vec::new() };
        let mut addrs = if addresses.0 { vec![format!("10.1.1.{number}/24")] } else { Vec::new() };
        addrs.extend(addresses.1.then(|| format!("fd00::{number:x}/64")));
        Attachment {
            host_if: host_if.to_owned(), guest: format!("web{number}"), guest_if, local_if, addresses: addrs,
            gateways: listed(addresses.0, &["10.1.1.254"]), mac, vlan: vlan.map(Word::from), macvlan, ipvlan,
            vlan_filtering: flags.0, force: flags.1, host_access: flags.2, dad_wait: dad.is_some() && flags.3, dad,
            mtu: numbers.0.map(Word::from), metric: numbers.1, txqueuelen: numbers.2, queues: numbers.2.and_then(|n| u16::try_from(n).ok()).and_then(std::num::NonZeroU16::new), table: table.map(Word::from),
            rate: shaping.0, netem: shaping.1, link_mac,
            routes: listed(lists.0, &["10.9.0.0/16 via 10.1.1.1", "-6 default table auto"]), rules: listed(lists.0, &["from 10.1.1.0/24 lookup 7"]),
            offloads: listed(lists.1, &["tx=off", "tso=on"]), sysctls: listed(lists.1, &["net.ipv4.conf.IF.arp_ignore=1"]),
            ..Attachment::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_asks_the_same(attachments in proptest::collection::vec(attachment(), 0..4), name in maybe(&["shop"])) {
        let topology = Topology { name, attachments, ..Topology::default() };
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let text = write(&topology, format).unwrap();
            prop_assert_eq!(&read(&text, format).map_err(|error| format!("{error}: {text}")).unwrap().0, &topology);
        }
        for attachment in &topology.attachments {
            let request = attachment.request().unwrap();
            prop_assert_eq!(&Attachment::from(&request).request().unwrap(), &request);
            // As it is typed, and as it is recorded, it is the same.
            let text = serde_json::to_string(&request).unwrap();
            prop_assert_eq!(&serde_json::from_str::<AttachRequest>(&text).unwrap(), &request);
        }
    }

    #[test]
    fn any_string_is_written_so_that_it_is_read_back(words in proptest::collection::vec("(?s).{0,24}", 6), odd in proptest::sample::select(
        &["", "true", "null", "~", "1e3", "0x10", "012", "- a", "a: b", "#", "'", "\"", "1:20", "2026-11-24", "<<", "*a", "&a", "!!int 3", ".inf", " a ", "a\nb\n", "a\u{fffe}", "\u{ffff}: x"][..]
    )) {
        let [name, guest, host_if, route, mtu, local] = <[String; 6]>::try_from(words).unwrap();
        let attachment = Attachment {
            host_if, guest: odd.to_owned(), routes: vec![route, odd.to_owned()], mtu: Some(Word::from(mtu)), local_if: Some(local), ..Attachment::default()
        };
        let topology = Topology { name: Some(name), guests: vec![Guest { guest, create: false }], attachments: vec![attachment], ..Topology::default() };
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let text = write(&topology, format).unwrap();
            prop_assert_eq!(&read(&text, format).map_err(|error| format!("{format:?} {error}: {text:?}")).unwrap().0, &topology, "{:?}", text);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        for format in [Format::Toml, Format::Yaml] {
            let _ = read(&text, format).map(|(topology, _)| topology.check());
        }
    }
}
