//! There and back: an attachment that is taken away by its record leaves everything as it was.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use serde_json::Value;

use super::{Lab, Space, assert_same, both, has_netns_link, settled};

/// A guest with a way out of its own, which a gateway replaces.
pub const GUEST: &str = "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; \
    ip route add default via 172.17.0.1 metric 5; ip -6 addr add fd17::2/64 dev eth0 nodad; ip -6 route add default via fd17::1";

/// Files and symbolic links of the run directory, but for set-aside ones. Those of a test's Open vSwitch lie beside them.
pub fn files(lab: &Lab) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(lab.dir.path()).args(["(", "-type", "f", "-o", "-type", "l", ")"]);
    for others in ["conf.db", "*.log", ".*~lock~"] {
        find.args(["-not", "-name", others]);
    }
    let found = find.output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Attaches `HOSTIF ADDR ...` in a lab of its own, and detaches it.
pub fn there_and_back(words: &str, host: &str, guest: &str) {
    let lab = Lab::new();
    lab.host.sh(host);
    there_and_back_in(&lab, words, guest, |space| both(&lab, space));
}

/// The same in a lab that is there, for what its state is.
pub fn there_and_back_in(lab: &Lab, words: &str, guest: &str, state: impl Fn(&Space) -> Vec<String>) {
    let space = lab.guest();
    space.sh(guest);
    let at_rest = || settled(&[&lab.host, &space], || state(&space));
    let before = at_rest();
    let known = files(lab);
    let words: Vec<&str> = words.split(' ').collect();
    let line = format!("{} pid:{} {}", words[0], space.pid(), words[1..].join(" "));
    let ran = lab.run(&line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
    assert_ne!(space.link("eth1"), Value::Null, "{line}");
    assert_ne!(files(lab), known, "{line}");
    lab.ok(&format!("detach pid:{}", space.pid()));
    // Under another kernel each look costs a second.
    if state(&space) != before {
        assert_same(&before, &at_rest(), &line);
    }
    assert_eq!(files(lab), known, "{line}");
    lab.ok(&format!("detach pid:{}", space.pid()));
    assert!(!has_netns_link(space.pid()));
}
