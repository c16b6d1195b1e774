//! No words behind `route`, `rule` and `tc` make their grammar panic: the lines that are compared with iproute2, with words
//! left out, doubled, and put in the place of others.
#![allow(clippy::unwrap_used)]

use pipework::iproute::names::LookUps;
use pipework::iproute::tc::{Clock, Ground};
use pipework::iproute::{route, rule, tc};
use proptest::prelude::*;
use proptest::sample::Index;

/// Values at the edges of what is a number, a rate, a time, an address.
const EDGES: [&str; 40] = [
    "",
    "-",
    "0",
    "-1",
    "1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "0x",
    "0xffffffff",
    "1e308",
    "1e-308",
    "1e999",
    "-1e9",
    "inf",
    "nan",
    ".",
    "1.",
    "ffff:ffff",
    ":",
    "1:",
    ":1",
    "ffff:",
    "::/0",
    "0.0.0.0/0",
    "10.0.0.1/33",
    "255.255.255.255/32",
    "100%",
    "101%",
    "1bit",
    "18446744073709551615bit",
    "100tbit",
    "4294967295b",
    "1ns",
    "4294967295s",
    "2147483648",
    "-2147483648",
    "ä€",
    "at",
    "/",
];

struct Known;

impl Ground for Known {
    fn clock(&self) -> Clock {
        Clock::default()
    }

    fn index(&self, link: &str) -> Option<u32> {
        link.strip_prefix("eth")?.parse().ok()
    }

    fn speed(&self, _: &str) -> Option<u64> {
        Some(u64::MAX)
    }

    fn distribution(&self, _: &str) -> Option<Vec<i16>> {
        Some(vec![1, -1])
    }
}

/// What happens to a word.
#[derive(Clone, Debug)]
enum Change {
    Leave(Index),
    Double(Index),
    Edge(Index, Index),
    Swap(Index, Index),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Change::Leave),
        index().prop_map(Change::Double),
        (index(), index()).prop_map(|(at, edge)| Change::Edge(at, edge)),
        (index(), index()).prop_map(|(at, edge)| Change::Edge(at, edge)),
        (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
        index().prop_map(Change::Cut),
    ]
}

fn apply(words: &mut Vec<String>, change: &Change) {
    if words.is_empty() {
        return;
    }
    let count = words.len();
    match change {
        Change::Leave(at) => drop(words.remove(at.index(count))),
        Change::Double(at) => words.insert(at.index(count), words[at.index(count)].clone()),
        Change::Edge(at, edge) => words[at.index(count)] = EDGES[edge.index(EDGES.len())].to_owned(),
        Change::Swap(a, b) => words.swap(a.index(count), b.index(count)),
        Change::Cut(at) => words.truncate(at.index(count)),
    }
}

/// The lines of the tables that begin with a tool's name, without it.
fn lines(text: &str, tool: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(tool)).map(words).collect();
    assert!(lines.len() > 20, "{tool}: {}", lines.len());
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_words_make_the_grammar_of_iproute2_panic(line in any::<Index>(), changes in proptest::collection::vec(change(), 0..4)) {
        let lookups = LookUps::default();
        for (tool, text) in [
            ("route", include_str!("iproute/route.txt")),
            ("rule", include_str!("iproute/rule.txt")),
            ("tc", include_str!("iproute/tc.txt")),
            ("tc", include_str!("iproute/tc-larger.txt")),
        ] {
            let all = lines(text, tool);
            let mut words = all[line.index(all.len())].clone();
            changes.iter().for_each(|change| apply(&mut words, change));
            match tool {
                "route" => drop(route::parse(&words, &lookups)),
                "rule" => drop(rule::parse(&words, &lookups)),
                _ => drop(tc::parse(&words, &Known)),
            }
        }
    }
}
