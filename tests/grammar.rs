//! No line of the original's grammar is without a test: parity/grammar.txt names each, and what shows it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "parity/case.rs"]
#[allow(dead_code)]
mod case;

use std::collections::BTreeMap;
use std::path::Path;

/// Each line of the grammar with what shows it.
fn lines() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in include_str!("parity/grammar.txt").lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        match line.strip_prefix("    ") {
            None => all.push((line, Vec::new())),
            Some(shown) => all.last_mut().unwrap().1.push(shown),
        }
    }
    all
}

#[test]
fn every_line_of_the_grammar_has_a_test_and_every_test_that_is_named_is_there() {
    let records: BTreeMap<String, serde_json::Value> = serde_json::from_str(include_str!("parity/recorded.json")).unwrap();
    let titles: Vec<String> = case::cases().into_iter().map(|case| case.title).collect();
    let lines = lines();
    assert!(lines.len() > 45, "{} lines", lines.len());
    for (line, shown) in lines {
        assert!(!shown.is_empty(), "nothing shows: {line}");
        for what in shown {
            if let Some((group, title)) = what.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
                let title = format!("{group}: {title}");
                assert!(titles.contains(&title) && records.contains_key(&title), "{line}: no case, or none recorded: {title}");
            } else {
                let (file, test) = what.split_once(": ").unwrap();
                let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)).unwrap();
                assert!(text.contains(&format!("fn {test}(")), "{line}: no test {test} in {file}");
            }
        }
    }
}

#[test]
fn every_group_of_the_parity_tables_shows_a_line_of_the_grammar() {
    let shown: Vec<&str> = lines().into_iter().flat_map(|(_, shown)| shown).collect();
    for case in case::cases() {
        // What is left of a group shows that group's line in more ways.
        let is_named = shown.iter().any(|what| what.starts_with(&format!("[{}]", case.group)));
        assert!(is_named, "no line of the grammar has the group of: {}", case.title);
    }
}
