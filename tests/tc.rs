//! `pipework tc` against `tc`, line by line; and netem at work.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "iproute/table.rs"]
mod table;

use lab::{Lab, Space, no_root, skip};
use pipework::iproute::WordsError;
use pipework::iproute::tc::{self, Clock, Ground, Object, Show, View};
use pipework::kernel::tc::print;
use proptest::prelude::*;
use table::Table;

/// Whether this kernel is too small: UML's has all kinds of tc.
fn no_netem() -> bool {
    let has = Space::new().try_sh("ip link set lo up && tc qdisc add dev lo root netem delay 1ms");
    !has && skip("the kernel has no netem")
}

#[test]
fn each_tc_line_does_and_prints_what_tc_does() {
    if !no_root() {
        assert_eq!(Table::read("tc").run(), Vec::<&str>::new(), "left out");
    }
}

#[test]
fn each_tc_line_for_a_larger_kernel_does_and_prints_what_tc_does() {
    if !no_root() && !no_netem() {
        assert_eq!(Table::read("tc-larger").run(), Vec::<&str>::new(), "left out");
    }
}

#[test]
fn the_tables_have_what_was_promised() {
    let lines = Table::read("tc").lines() + Table::read("tc-larger").lines();
    assert!(lines >= 400, "{lines}");
}

/// Two spaces joined by a veth pair, with a delay on the way there: the guest's `eth0`.
fn pair() -> (Lab, Space) {
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(&format!("ip link add near type veth peer name eth0 netns {}", guest.pid()));
    lab.host.sh("ip addr add 10.77.0.1/24 dev near && ip link set near up");
    guest.sh("ip addr add 10.77.0.2/24 dev eth0 && ip link set eth0 up");
    (lab, guest)
}

/// The shortest round trip of three pings in milliseconds; nothing when none came back.
fn round_trip(guest: &Space) -> Option<f64> {
    let output = guest.command("ping").args(["-c", "3", "-i", "0.3", "-W", "5", "10.77.0.1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let shortest = text.lines().find(|line| line.starts_with("rtt"))?.split(" = ").nth(1)?.split('/').next()?;
    shortest.parse().ok()
}

#[test]
fn a_larger_kernels_netem_delays_and_loses_as_it_is_told() {
    if no_root() || no_netem() {
        return;
    }
    let (lab, guest) = pair();
    let tc = |words: &str| lab.ok(&format!("tc pid:{} {words}", guest.pid()));
    assert!(round_trip(&guest).unwrap() < 100.0);
    tc("qdisc add dev eth0 root netem delay 100ms");
    let delayed = round_trip(&guest).unwrap();
    assert!(delayed >= 100.0, "{delayed}");
    tc("qdisc change dev eth0 root netem loss 100%");
    assert_eq!(round_trip(&guest), None);
    tc("qdisc del dev eth0 root");
    assert!(round_trip(&guest).unwrap() < 100.0);
}

#[test]
fn a_word_that_nobody_knows_is_named_and_changes_nothing() {
    if no_root() {
        return;
    }
    let (_lab, guest) = pair();
    let before = guest.sh("tc qdisc show");
    for (words, named) in [
        ("qdisc add dev eth0 root nosuchkind", "nosuchkind"),
        ("qdisc add dev eth0 root tbf rate 1mbit burst 10k latency 50ms colour red", "colour"),
        ("class add dev eth0 parent 1: classid 1:1 hfsc", "hfsc"),
        ("filter add dev eth0 ingress protocol ip basic", "basic"),
        ("-j qdisc show", "-j"),
        ("monitor", "monitor"),
    ] {
        let mut ours = std::process::Command::new(env!("CARGO_BIN_EXE_pipework"));
        ours.env("PATH", "/nonexistent").args(["tc", &format!("pid:{}", guest.pid())]).args(words.split(' '));
        let ran = lab::Ran::from(ours.output().unwrap());
        assert_eq!(ran.code, Some(1), "{words}: {ran:?}");
        assert!(ran.err.contains(&format!("{named:?} is not known here")), "{words}: {}", ran.err);
    }
    assert_eq!(guest.sh("tc qdisc show"), before);
}

#[test]
fn a_percentage_of_a_rate_is_of_the_links_speed_as_with_tc() {
    if no_root() {
        return;
    }
    let (lab, guest) = pair();
    for percent in ["30%", "0.5%", "100%"] {
        let words = |kind: &str| format!("qdisc replace dev eth0 root {kind} rate {percent} burst 100kb latency 5ms");
        lab.ok(&format!("tc pid:{} {}", guest.pid(), words("tbf")));
        let ours = guest.sh("tc -d qdisc show dev eth0");
        // tc reads the speed in sysfs, which shows the links of where it was mounted.
        guest.sh(&format!("tc qdisc del dev eth0 root; unshare --mount sh -ec 'mount -t sysfs sys /sys; tc {}'", words("tbf")));
        let number = |text: &str| text.split_whitespace().skip(3).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(number(&ours), number(&guest.sh("tc -d qdisc show dev eth0")), "{percent}");
    }
    guest.sh("ip link add br0 type bridge");
    let refused = lab.fails(&format!("tc pid:{} qdisc add dev br0 root tbf rate 5% burst 1k limit 1k", guest.pid()), "speed");
    assert!(refused.contains("10mbit"), "{refused}");
}

#[test]
fn a_larger_kernels_kinds_that_are_not_known_are_left_to_the_installed_tc() {
    if no_root() || no_netem() {
        return;
    }
    let (lab, guest) = pair();
    let pid = guest.pid();
    lab.ok(&format!("tc pid:{pid} qdisc add dev eth0 root codel limit 100"));
    let shown = lab.run(&format!("tc -v pid:{pid} qdisc show dev eth0"));
    assert_eq!(shown.out, guest.sh("tc qdisc show dev eth0"));
    assert!(shown.out.starts_with("qdisc codel "), "{shown:?}");
    assert!(shown.err.contains("\"codel\" is not known here") && shown.err.contains("does it"), "{}", shown.err);
}

/// A system with one link, and one table of a distribution.
struct Small;

impl Ground for Small {
    fn clock(&self) -> Clock {
        Clock::default()
    }

    fn index(&self, link: &str) -> Option<u32> {
        (link == "eth0").then_some(2)
    }

    fn speed(&self, _: &str) -> Option<u64> {
        Some(10_000)
    }

    fn distribution(&self, name: &str) -> Option<Vec<i16>> {
        (name == "normal").then(|| vec![-1, 0, 1])
    }
}

/// Words of the tables, and others.
fn word() -> impl Strategy<Value = String> {
    let texts = ["tc", "tc-larger"]
        .map(|name| std::fs::read_to_string(format!("{}/tests/iproute/{name}.txt", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("tc ") || line.starts_with("! "));
    let mut known: Vec<String> = lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
    known.sort();
    known.dedup();
    prop_oneof![8 => prop::sample::select(known), 1 => "[0-9]{0,12}[a-z%:/.+-]{0,4}", 1 => ".{0,6}"]
}

/// Beginnings of commands, so that the words behind them are read by each of the parsers.
fn beginning() -> impl Strategy<Value = Vec<String>> {
    let all = [
        "",
        "qdisc",
        "qdisc add dev eth0 root netem",
        "qdisc add dev eth0 root tbf rate 1mbit burst 10k latency 5ms",
        "qdisc add dev eth0 root sfq redflowlimit 100000",
        "qdisc add dev eth0 root prio priomap",
        "qdisc add dev eth0 root fq",
        "qdisc add dev eth0 root fq_codel",
        "class add dev eth0 parent 1: htb rate 1mbit",
        "filter add dev eth0 parent 1: protocol ip u32 match",
        "filter add dev eth0 parent 1: protocol ip u32 match ip",
        "filter add dev eth0 parent 1: protocol ip u32 sample",
        "filter add dev eth0 parent 1: protocol ip matchall action",
        "filter add dev eth0 parent 1: protocol ip flower",
        "filter add dev eth0 parent 1: protocol 802.1q flower vlan_ethtype ip ip_proto tcp",
        "filter add dev eth0 parent 1: protocol ip matchall action police",
    ];
    prop::sample::select(all.to_vec()).prop_map(|text| text.split_whitespace().map(str::to_owned).collect())
}

/// Attributes with small kinds, one in the other up to some depth.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let kinds = [
        &b"u32\0"[..],
        b"flower\0",
        b"matchall\0",
        b"netem\0",
        b"htb\0",
        b"tbf\0",
        b"sfq\0",
        b"fq\0",
        b"fq_codel\0",
        b"gact\0",
        b"police\0",
        b"mirred\0",
    ];
    let kind = prop::sample::select(kinds.to_vec()).prop_map(<[u8]>::to_vec);
    let value = prop_oneof![prop::collection::vec(any::<u8>(), 0..80), kind];
    value.prop_recursive(4, 48, 8, |inner| {
        prop::collection::vec((0u16..24, inner), 1..8).prop_map(|all| {
            let mut bytes = Vec::new();
            for (kind, value) in all {
                bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.extend(value);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        })
    })
}

fn print_all(raw: &[u8]) {
    for object in [Object::Qdisc, Object::Class, Object::Filter] {
        for all in [true, false] {
            let name = |index: u32| format!("if{index}");
            let view = View { details: all, statistics: all, pretty: all, clock: Clock::default(), name: &name };
            let _ = print(object, raw, &Show::default(), view);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_words_make_the_parser_panic(first in beginning(), rest in prop::collection::vec(word(), 0..10)) {
        let words: Vec<String> = first.into_iter().chain(rest).collect();
        if let Err(WordsError::Bad(text)) = tc::parse(&words, &Small) {
            prop_assert!(!text.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_the_printer_panic(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        print_all(&raw);
    }

    #[test]
    fn no_attributes_make_the_printer_panic(
        head in prop::collection::vec(any::<u8>(), 20),
        kind in prop::sample::select(vec!["u32", "flower", "matchall", "netem", "htb", "tbf", "sfq", "fq", "fq_codel", "prio", "bfifo"]),
        options in attributes(),
        rest in attributes(),
    ) {
        let mut raw = head;
        for (number, value) in [(1u16, [kind.as_bytes(), &[0]].concat()), (2, options), (7, rest)] {
            raw.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            raw.extend(number.to_ne_bytes());
            raw.extend(value);
            raw.resize(raw.len().next_multiple_of(4), 0);
        }
        print_all(&raw);
    }
}
