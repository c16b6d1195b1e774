//! Many guests that are nothing but network namespaces, held by files: a process for each would be too many.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::mount::{MntFlags, umount2};
use serde_json::Value;

use super::{Lab, Ran};

pub struct Crowd {
    pub lab: Lab,
    pub guests: Vec<PathBuf>,
    directory: tempfile::TempDir,
}

/// What differs from one attach to the next of the same words: numbers that the kernel gives out, and addresses drawn by lot.
const DIFFERS: [&str; 5] = ["ifindex", "link_index", "link_netnsid", "address", "preferred_life_time"];

impl Crowd {
    /// Guests, and a host with a bridge br0 that has the first address of 10.100.0.0/16.
    pub fn new(count: usize) -> Self {
        let lab = Lab::new();
        lab.host.sh("ip link add br0 address 02:00:00:00:00:05 up type bridge; ip addr add 10.100.0.1/16 dev br0");
        let directory = tempfile::tempdir().unwrap();
        let guests: Vec<PathBuf> = (0..count).map(|n| directory.path().join(format!("g{n}"))).collect();
        for guest in &guests {
            std::fs::File::create(guest).unwrap();
            let made = Command::new("unshare").args([&format!("--net={}", guest.display()), "true"]).status().unwrap();
            assert!(made.success());
        }
        Self { lab, guests, directory }
    }

    /// As many guests as `PIPEWORK_TEST_GUESTS` says, or `usual`.
    pub fn wanted(usual: usize) -> Self {
        Self::new(std::env::var("PIPEWORK_TEST_GUESTS").map_or(usual, |count| count.parse().unwrap()))
    }

    /// The word for a guest.
    pub fn word(&self, n: usize) -> String {
        format!("netns:{}", self.guests[n].display())
    }

    /// The address of a guest.
    pub fn ip(n: usize) -> String {
        format!("10.100.{}.{}", n / 200 + 1, n % 200 + 1)
    }

    /// A line for each guest: `br0 GUEST ADDR/16@10.100.0.1`.
    pub fn lines(&self) -> String {
        (0..self.guests.len()).map(|n| format!("br0 {} {}/16@10.100.0.1\n", self.word(n), Self::ip(n))).collect()
    }

    /// A line that detaches each.
    pub fn detaches(&self) -> String {
        (0..self.guests.len()).map(|n| format!("detach {} --all\n", self.word(n))).collect()
    }

    fn inside(&self, n: usize, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.guests[n].display())).args(["sh", "-ec", line]).stdin(Stdio::null());
        command
    }

    /// Runs a shell line in a guest, which has to succeed, and returns what it printed.
    #[track_caller]
    pub fn sh(&self, n: usize, line: &str) -> String {
        let output = self.inside(n, line).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}: {line}: {} {}", self.word(n), text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Links, addresses and routes of a guest, without what differs from one attach to the next of the same words.
    pub fn facts(&self, n: usize) -> Value {
        let text = self.sh(n, "ip -j -d addr show; echo ,; ip -j route show table all; echo ,; ip -j -6 route show table all");
        // ip prints nothing at all where it finds no route.
        let parts: Vec<Value> = text.split("\n,\n").map(|part| serde_json::from_str(part.trim()).unwrap_or_default()).collect();
        let mut facts = Value::Array(parts);
        strip(&mut facts);
        facts
    }

    /// The bridge's ports as `bridge -d` sees them, by name; and which of these are in the flood of multicast.
    pub fn flooded(&self) -> Vec<(String, bool)> {
        let links: Value = serde_json::from_str(&self.lab.host.sh("bridge -j -d link show")).unwrap();
        let ports = links.as_array().unwrap().iter().filter(|port| port["master"] == "br0");
        ports.map(|port| (port["ifname"].as_str().unwrap().to_owned(), port["mcast_flood"].as_bool().unwrap())).collect()
    }

    /// Names of ports that are not in the flood.
    pub fn kept_out(&self) -> Vec<String> {
        self.flooded().into_iter().filter(|(_, flooded)| !flooded).map(|(name, _)| name).collect()
    }

    /// Files of the run directory below a directory of that name.
    pub fn files(&self, below: &str) -> Vec<String> {
        let wanted = format!("/{below}/");
        self.lab.files().lines().filter(|path| path.contains(&wanted)).map(str::to_owned).collect()
    }

    fn command(&self, options: &str, text: &str) -> Command {
        let file = self.directory.path().join("lines");
        std::fs::write(&file, text).unwrap();
        let mut command = self.lab.program();
        command.arg("batch").args(options.split_whitespace()).arg(file);
        command
    }

    /// Runs a batch of these lines.
    pub fn batch(&self, options: &str, text: &str) -> Ran {
        self.command(options, text).output().unwrap().into()
    }

    /// Runs a batch, which has to do all its lines without a word on standard error; returns its last line.
    #[track_caller]
    pub fn ok(&self, options: &str, text: &str) -> String {
        let ran = self.batch(options, text);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
        ran.out.lines().last().unwrap_or_default().to_owned()
    }

    /// Starts a batch.
    pub fn start(&self, options: &str, text: &str) -> Child {
        self.command(options, text).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            DIFFERS.iter().for_each(|field| drop(fields.remove(*field)));
            fields.values_mut().for_each(strip);
        }
        Value::Array(all) => {
            let is_link_local = |one: &Value| {
                let starts = |field: &str| one[field].as_str().is_some_and(|text| text.starts_with("fe80") || text.starts_with("ff00"));
                starts("local") || starts("dst")
            };
            all.retain(|one| !is_link_local(one));
            all.iter_mut().for_each(strip);
        }
        _ => {}
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for guest in &self.guests {
            let _ = umount2(guest, MntFlags::MNT_DETACH);
        }
    }
}
