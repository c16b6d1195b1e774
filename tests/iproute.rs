//! `pipework route` and `pipework rule` against `ip route` and `ip rule`, line by line.
#![allow(clippy::unwrap_used)]

mod lab;
#[path = "iproute/table.rs"]
mod table;

use lab::no_root;
use table::Table;

#[test]
fn each_route_line_does_and_prints_what_ip_route_does() {
    if !no_root() {
        Table::read("route").run();
    }
}

#[test]
fn each_rule_line_does_and_prints_what_ip_rule_does() {
    if !no_root() {
        Table::read("rule").run();
    }
}

#[test]
fn the_tables_have_what_was_promised() {
    let lines = Table::read("route").lines() + Table::read("rule").lines();
    assert!(lines >= 130, "{lines}");
}
