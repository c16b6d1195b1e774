//! A host whose topology is in a file, and names of network namespaces that nobody else has.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::lab::{self, Lab, Space};

static NAMES: AtomicU32 = AtomicU32::new(0);

/// A host with a NIC, and names of network namespaces that nobody else has; those that there are then go with it.
pub struct World {
    pub lab: Lab,
    nic: Option<Space>,
    names: String,
}

impl World {
    pub fn new() -> Self {
        let lab = Lab::new();
        let nic = lab.nic("eth7");
        let names = format!("pw{}x{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
        Self { lab, nic: Some(nic), names }
    }

    /// `NS` stands for the beginning of the namespaces' names.
    pub fn text(&self, text: &str) -> String {
        text.replace("NS", &self.names)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.lab.dir.path().join(name);
        std::fs::write(&path, self.text(text)).unwrap();
        path
    }

    pub fn run(&self, line: &str) -> lab::Ran {
        self.lab.run(line)
    }

    pub fn apply(&self, file: &Path, options: &str) -> lab::Ran {
        self.run(&format!("apply {} {options}", file.display()))
    }

    #[track_caller]
    pub fn ok(&self, file: &Path, options: &str) -> String {
        let ran = self.apply(file, options);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{options}: {}", ran.out);
        ran.out
    }

    /// The documents that a run prints, the last of which is about all.
    pub fn json(&self, file: &Path, options: &str) -> (Vec<Value>, Value) {
        let ran = self.apply(file, &format!("{options} --json"));
        let mut all: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = all.pop().unwrap_or_else(|| panic!("{}", ran.err));
        (all, last)
    }

    pub fn path(&self, guest: &str) -> String {
        format!("/run/netns/{}{guest}", self.names)
    }

    pub fn has(&self, guest: &str) -> bool {
        Path::new(&self.path(guest)).exists()
    }

    /// A shell line in a namespace.
    pub fn sh(&self, guest: &str, line: &str) -> String {
        self.lab.host.sh(&format!("nsenter --net={} -- sh -ec '{line}'", self.path(guest)))
    }

    pub fn addrs(&self, guest: &str, link: &str) -> Vec<String> {
        let text = self.sh(guest, &format!("ip -j addr show dev {link}"));
        let links: Value = serde_json::from_str(&text).unwrap();
        let all = links[0]["addr_info"].as_array().unwrap().clone();
        let given = all.iter().filter(|addr| addr["scope"] != "link");
        given.map(|addr| format!("{}/{}", addr["local"].as_str().unwrap(), addr["prefixlen"])).collect()
    }

    /// What the host and the namespaces have. Indexes and random addresses are left out, where it is about what is made anew.
    pub fn state(&self, guests: &[&str], exact: bool) -> Vec<String> {
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

pub const SHOP: &str = r#"
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
