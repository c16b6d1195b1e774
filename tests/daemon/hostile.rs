//! Containers whose words mean harm: made by lot, the same in each run.
#![allow(dead_code, clippy::unwrap_used)]

use serde_json::{Value, json};

/// Numbers that look drawn by lot (Numerical Recipes' generator).
pub struct Lot(pub u64);

impl Lot {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// What a label or variable may be. None of it is allowed without a policy's word, and none is an attachment that could be.
const VALUES: [&str; 22] = [
    "--direct-phys nic0 10.1.1.1/24",
    "nic0 10.1.1.1/24 --macvlan passthru --force",
    "br0 10.1.1.1/24; touch CANARY",
    "br0 $(touch CANARY) 10.1.1.1/24",
    "br0 `touch CANARY`/24",
    "br0 10.1.1.1/24 && touch CANARY",
    "br0 10.1.1.1/24 --route '10.9.0.0/16 via 10.1.1.2'",
    "br0 10.1.1.1/24 --sysctl net.ipv4.ip_forward=1",
    "br0 10.1.1.1/24 --ovsdb unix:CANARY",
    "br0 10.1.1.1/24 --keep-netns",
    "br0 10.1.1.1/24 -l eth0",
    "-i ../../CANARY br0 10.1.1.1/24",
    "br0 udhcpc",
    "br0 dhcp-container --dhcp-image evil",
    "br0 netns:victim 10.1.1.1/24",
    "route add default via 10.1.1.1",
    "{{.Label \"x\"}} br0 10.1.1.1/24",
    "{{.Nothing}} 10.1.1.1/24",
    "br0 {{.Name}} {{.ID}} {{.ID}} {{.ID}}",
    "\u{0}\u{1b}[2J\n\r br0",
    "'br0 10.1.1.1/24",
    "br0 10.1.1.1/24 --persist",
];

/// A container with such words: its identifier, labels, and environment.
pub fn container(lot: &mut Lot, number: usize, canary: &str) -> (String, Value, Vec<String>) {
    let value = |lot: &mut Lot| {
        let mut text = lot.one_of(&VALUES).replace("CANARY", canary);
        match lot.below(12) {
            // Behind a word no grammar knows, so that what is cut off of it is no attachment either.
            0 => text = format!("--nonsense {} {text}", "x".repeat(lot.below(200_000))),
            1 => text = format!("--nonsense {text} {}", "10.1.1.1/24 ".repeat(lot.below(5_000))),
            _ => {}
        }
        text
    };
    let mut labels = serde_json::Map::new();
    for n in 0..=lot.below(4) {
        let key = lot.one_of(&["pipework.", "pipework.a", "pipework.../../x", "pipework.$(id)", "pipework.\n", "Pipework.b"]);
        labels.insert(format!("{key}{n}"), value(lot).into());
    }
    labels.insert("x".into(), "--force".into());
    let env = (0..lot.below(3)).map(|n| format!("{}_pipework_cmd{n}={}", lot.one_of(&["a", "$(id)", ""]), value(lot))).collect();
    (format!("{number:064x}"), Value::Object(labels), env)
}

/// As an engine's event of its start.
pub fn event(id: &str, labels: &Value, nanos: u64) -> Value {
    let mut attributes = labels.clone();
    (attributes["name"], attributes["image"]) = (format!("evil-{}", &id[56..]).into(), "evil".into());
    json!({"Type": "container", "Action": "start", "Actor": {"ID": id, "Attributes": attributes}, "scope": "local", "time": nanos / 1_000_000_000, "timeNano": nanos})
}

/// As an engine describes it: the process, on a host with no engine, is the test's.
pub fn inspected(id: &str, labels: &Value, env: &[String], pid: u32, started: &str) -> Value {
    json!({
        "Id": id, "Name": format!("/evil-{}", &id[56..]),
        "State": {"Status": "running", "Running": true, "Pid": pid, "StartedAt": started},
        "Config": {"Hostname": "evil", "Image": "evil", "Labels": labels, "Env": env},
    })
}
