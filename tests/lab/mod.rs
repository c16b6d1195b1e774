//! A private world for a test: a host and guests, each a network namespace held by a process, judged by iproute2.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod agents;
pub mod cluster;
pub mod consul;
pub mod contrary;
pub mod crowd;
pub mod detached;
pub mod dhcp;
pub mod engine;
pub mod inside;
pub mod killed;
pub mod ovs;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Says why a test cannot run here. With PIPEWORK_TEST_STRICT=1 that is a failure.
#[must_use]
pub fn skip(why: &str) -> bool {
    assert!(std::env::var("PIPEWORK_TEST_STRICT").as_deref() != Ok("1"), "cannot run here: {why}");
    eprintln!("SKIP: {why}");
    true
}

/// Whether the test has to be skipped for want of root.
#[must_use]
pub fn no_root() -> bool {
    !nix::unistd::geteuid().is_root() && skip("needs root")
}

/// A network namespace with a process in it: a host or a guest.
pub struct Space {
    child: Child,
}

impl Space {
    pub fn new() -> Self {
        Self::holding("unshare", &["--net", "--", "sh", "-c", "ip link set lo up && echo ready && exec sleep 100000"])
    }

    /// The namespace that the test itself is in: for machines that are the test's own.
    pub fn here() -> Self {
        Self::holding("sh", &["-c", "echo ready && exec sleep 100000"])
    }

    fn holding(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect(program);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        let space = Self { child };
        // A run that was killed, for a process of this number that is long dead.
        space.remove_netns_link();
        space
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The link of its own process in the netns directory, which runs that are killed leave.
    fn remove_netns_link(&self) {
        let _ = std::fs::remove_file(format!("/var/run/netns/{}", self.pid()));
    }

    /// Runs a command inside; its environment is the test's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", self.pid()), "--", program]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a shell line inside, which has to succeed, and returns what it printed.
    pub fn sh(&self, line: &str) -> String {
        let output = self.command("sh").args(["-ec", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether a shell line inside succeeds.
    pub fn try_sh(&self, line: &str) -> bool {
        self.command("sh").args(["-ec", line]).output().unwrap().status.success()
    }

    /// `ip -j -d ...` inside.
    pub fn ip(&self, arguments: &str) -> Value {
        let text = self.sh(&format!("ip -j -d {arguments}"));
        if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).unwrap() }
    }

    /// The one link of that name, or null.
    pub fn link(&self, name: &str) -> Value {
        let links = self.ip("link show");
        let found = links.as_array().unwrap().iter().find(|l| l["ifname"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// Addresses of a link that somebody gave it, as `10.0.0.1/24`.
    pub fn addrs(&self, name: &str) -> Vec<String> {
        let links = self.ip("addr show");
        let mut all = Vec::new();
        for link in links.as_array().unwrap().iter().filter(|l| l["ifname"] == name) {
            for addr in link["addr_info"].as_array().unwrap() {
                if addr["scope"] != "link" {
                    all.push(format!("{}/{}", addr["local"].as_str().unwrap(), addr["prefixlen"]));
                }
            }
        }
        all
    }

    /// Routes as `ip route` prints them, without those of table local.
    pub fn routes(&self) -> Vec<String> {
        let both = self.sh("ip route show; ip -6 route show");
        both.lines().map(|l| l.trim().to_owned()).filter(|l| !l.starts_with("fe80::/64")).collect()
    }

    /// Everything that a test may want to find as it was before, a line each: links, addresses, routes, permanent
    /// neighbours. What the kernel changes by itself and in its own time is left out: operational state, counters, timers,
    /// link-local addresses.
    pub fn state(&self) -> Vec<String> {
        let mut lines = Vec::new();
        // One entry into the namespace for all: under another kernel each costs a tenth of a second.
        let text = self
            .sh("ip -j -d addr show; echo =; bridge -j vlan show; echo =; ip -4 route show table all; ip -6 route show table all; \
             echo neighbours; ip neigh show nud permanent; echo rules; ip rule; ip -6 rule 2>/dev/null || true; echo qdiscs; tc qdisc show");
        let mut parts = text.splitn(3, "=\n");
        let (addrs, vlans, routes) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let (routes, neighbours) = routes.split_once("neighbours\n").unwrap();
        let (neighbours, rules) = neighbours.split_once("rules\n").unwrap();
        let (rules, qdiscs) = rules.split_once("qdiscs\n").unwrap();
        lines.extend(rules.lines().map(|rule| format!("rule {}", rule.trim())));
        // Those that the kernel gives every link have no number.
        lines.extend(qdiscs.lines().filter(|q| !q.contains(" 0: ")).map(|q| q.trim().to_owned()));
        lines.extend(neighbours.lines().map(|n| format!("neigh {}", n.trim())));
        for link in serde_json::from_str::<Value>(addrs).unwrap().as_array().unwrap() {
            let up = link["flags"].as_array().unwrap().iter().any(|f| f == "UP");
            let kind = &link["linkinfo"]["info_kind"];
            let data = ["mode", "id", "pkey", "protocol", "vlan_filtering"].map(|field| link["linkinfo"]["info_data"][field].to_string());
            let name = &link["ifname"];
            lines.push(format!(
                "link {name} kind {kind} {data:?} mtu {} qlen {} mac {} master {} up {up} alt {} index {}",
                link["mtu"], link["txqlen"], link["address"], link["master"], link["altnames"], link["ifindex"]
            ));
            for addr in link["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] != "link") {
                lines
                    .push(format!("addr {name} {}/{} brd {} scope {}", addr["local"], addr["prefixlen"], addr["broadcast"], addr["scope"]));
            }
        }
        let vlans = serde_json::from_str::<Value>(vlans).unwrap_or_default();
        lines.extend(vlans.as_array().into_iter().flatten().map(|port| format!("vlans {} {}", port["ifname"], port["vlans"])));
        for route in routes.lines().filter(|r| !r.is_empty() && !r.contains("fe80::") && !r.contains("ff00::")) {
            lines.push(format!("route {}", route.trim().replace(" linkdown", "")));
        }
        lines.sort();
        lines
    }
}

/// Fails with what is missing and what is new, when the two are not the same.
#[track_caller]
pub fn assert_same(before: &[String], after: &[String], what: &str) {
    let only = |a: &[String], b: &[String], sign: &str| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    let mut differences = only(before, after, "-");
    differences.extend(only(after, before, "+"));
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.remove_netns_link();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A host with guests.
pub struct Lab {
    pub host: Space,
    pub dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self { host: Space::new(), dir: tempfile::tempdir().unwrap() }
    }

    /// A host that is the machine itself, where hardware appears.
    pub fn here() -> Self {
        Self { host: Space::here(), dir: tempfile::tempdir().unwrap() }
    }

    pub fn guest(&self) -> Space {
        Space::new()
    }

    /// The program under test, on this host. No engine is there unless the test gives one.
    pub fn program(&self) -> Command {
        let mut command = self.host.command(env!("CARGO_BIN_EXE_pipework"));
        command.env("PIPEWORK_RUN_DIR", self.dir.path()).env_remove("DOCKER_HOST").env("HOME", self.dir.path());
        command.env("PIPEWORK_STATE_DIR", self.dir.path().join("state"));
        command.env("PIPEWORK_PID_DIR", self.dir.path()).env("OVS_DB", self.ovsdb());
        command.env("PIPEWORK_POOLS", self.dir.path().join("pools.toml"));
        command.env("PIPEWORK_CLUSTER", self.dir.path().join("cluster.toml"));
        command.env("PIPEWORK_STATE_DIR", self.dir.path().join("state")).env("PIPEWORK_HOOKS_DIR", self.dir.path().join("hooks.d"));
        command.env("PIPEWORK_HOOKS_DIR", self.dir.path().join("hooks.d"));
        command
    }

    /// Where the program looks for Open vSwitch's database: nobody is there unless the test starts it.
    pub fn ovsdb(&self) -> String {
        format!("unix:{}", self.dir.path().join("db.sock").display())
    }

    /// Runs the program with the words of a line (split at spaces).
    pub fn run(&self, line: &str) -> Ran {
        self.program().args(line.split_whitespace()).output().unwrap().into()
    }

    /// Runs it and expects silence and success.
    pub fn ok(&self, line: &str) {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""), "{line}");
    }

    /// Runs it and expects exit status 1 and an error that contains `wanted`; returns the error.
    pub fn fails(&self, line: &str, wanted: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(1), "{line}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains(wanted), "{line}: {:?} is not in {}", wanted, ran.err);
        ran.err
    }

    /// The files of the run directory, a line each.
    pub fn files(&self) -> String {
        let found = Command::new("find").arg(self.dir.path()).args(["-type", "f"]).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    }

    /// A NIC of the host: one end of a veth pair whose other end is a switch in a namespace of its own.
    pub fn nic(&self, name: &str) -> Space {
        let switch = Space::new();
        self.host.sh(&format!("ip link add {name} type veth peer name port0 netns {}", switch.pid()));
        switch.sh("ip link set port0 up");
        switch
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of both sides.
pub fn both(lab: &Lab, guest: &Space) -> Vec<String> {
    let guests = guest.state().into_iter().map(|line| format!("guest {line}"));
    lab.host.state().into_iter().chain(guests).collect()
}

/// The state once it stays as it is: the kernel makes the routes of an IPv6 address in its own time, when nobody else has it.
pub fn settled(spaces: &[&Space], state: impl Fn() -> Vec<String>) -> Vec<String> {
    let is_tentative = |space: &&Space| !space.sh("ip -6 addr show tentative scope global").trim().is_empty();
    let deadline = Instant::now() + Duration::from_secs(5);
    while spaces.iter().any(&is_tentative) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut before = state();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = state();
        if now == before {
            return now;
        }
        before = now;
    }
}

/// A file that can be run, copied from another by a process of its own: one that this process has open for writing, another
/// test's child may hold open for a moment longer, and nobody can run it then (ETXTBSY, execve(2)).
pub fn executable(from: &Path, to: &Path) {
    let made = Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap();
    assert!(made.success(), "{}", to.display());
}

/// Waits until something is so, for at most 45 seconds: the machine may be busy.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(45);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether this machine's kernel has a kind of link. Asked in a namespace that goes away.
pub fn has_kind(kind: &str) -> bool {
    let lab = Space::new();
    match kind {
        "vlan filtering" => lab.try_sh("ip link add b0 type bridge vlan_filtering 1"),
        "ipvlan" => lab.try_sh("ip link add v0 type veth peer name v1 && ip link add link v0 name v0.5 type ipvlan"),
        "vlan" => lab.try_sh("ip link add v0 type veth peer name v1 && ip link add link v0 name v0.5 type vlan id 5"),
        "ovs" => lab.try_sh("modprobe -q openvswitch || test -e /sys/module/openvswitch"),
        "netem" => lab.try_sh("ip link add v0 type veth peer name v1 && tc qdisc add dev v0 root netem delay 1ms"),
        kind => lab.try_sh(&format!("ip link add x0 type {kind}")),
    }
}

/// Whether a link in the netns directory is left of a guest.
pub fn has_netns_link(pid: u32) -> bool {
    std::fs::symlink_metadata(format!("/var/run/netns/{pid}")).is_ok()
}
