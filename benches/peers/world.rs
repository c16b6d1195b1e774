//! The host, which is this process's own network namespace, and its guests.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use super::lab::{Lab, engine::Engine, eventually};

/// Where the files of this run are: in memory, seen by nobody else.
pub const DIR: &str = "/run/peers";

/// How many of the guests have a process. The original knows a guest by nothing else.
pub const HELD: usize = 10;

/// A network namespace with a name below /run/netns.
pub struct Guest {
    pub name: String,
    /// A process in it.
    pub pid: Option<u32>,
    number: u16,
}

impl Guest {
    pub fn netns(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Its address on a bridge.
    pub fn ip(&self, net: u8) -> Ipv4Addr {
        let [high, low] = (self.number + 2).to_be_bytes();
        Ipv4Addr::new(10, net, high, low)
    }
}

/// A shell line that has to succeed; what it printed.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Namespaces `g0`, `g1` and so on.
pub fn guests(count: usize) -> (Vec<Guest>, Vec<Held>) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..count).map(|n| format!("netns add g{n}\n")).collect();
    ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
    let mut guests: Vec<Guest> =
        (0..count).map(|n| Guest { name: format!("g{n}"), pid: None, number: u16::try_from(n).unwrap() }).collect();
    let held = guests.iter_mut().take(HELD).map(Held::new).collect();
    (guests, held)
}

/// A process that does nothing but be in a guest.
pub struct Held(Child);

impl Held {
    fn new(guest: &mut Guest) -> Self {
        let child = Command::new("nsenter").arg(format!("--net={}", guest.netns())).args(["sleep", "100000"]).spawn().unwrap();
        guest.pid = Some(child.id());
        let netns = |path: &str| std::fs::metadata(path).unwrap().ino();
        eventually("a process in the guest", || netns(&format!("/proc/{}/ns/net", child.id())) == netns(&guest.netns()));
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bridge of one peer, with an address, and a port that stays: netavark takes a bridge without ports away.
pub fn bridge(net: u8) {
    sh(&format!(
        "ip link add br{net} up type bridge; ip addr add 10.{net}.0.1/16 dev br{net}
         ip link add keep{net} master br{net} up type veth peer name far{net}; ip link set far{net} up"
    ));
}

/// A Docker engine on this host, and a container that has a network already: Docker adds none to one without.
pub fn docker() -> (Engine, Guest) {
    let engine = Engine::start_on(Lab::here(), &["--cgroup-parent=/pipework-bench"]);
    engine.docker("network create --subnet 10.200.0.0/16 -o com.docker.network.bridge.name=brfirst zz-first");
    engine.docker("run -d --net zz-first --name container box sleep 100000");
    let pid: u32 = engine.docker("inspect -f {{.State.Pid}} container").parse().unwrap();
    std::os::unix::fs::symlink(format!("/proc/{pid}/ns/net"), "/run/netns/container").unwrap();
    (engine, Guest { name: "container".to_owned(), pid: Some(pid), number: 8 })
}
