//! Consul of the test's own: one agent, or three servers, on loopback addresses that no other test has.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use pipework::external::consul::{Access, Consul};

use super::{eventually, skip};

/// Whether the test has to be skipped for want of Consul.
#[must_use]
pub fn no_consul() -> bool {
    let there = Command::new("sh").args(["-c", "command -v consul"]).output().unwrap().status.success();
    !there && skip("needs consul: scripts/setup")
}

/// What tests wait for is soon there: elections, and sessions of a second.
const SOON: &str = r#"session_ttl_min = "1s"  performance { raft_multiplier = 1 }  autopilot { server_stabilization_time = "1s" }"#;

/// Agents that are ended with it.
pub struct Agents {
    agents: Vec<Agent>,
    _dir: tempfile::TempDir,
}

struct Agent {
    address: String,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Agents {
    /// One agent that is server, client and leader, and keeps nothing.
    pub fn one() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = addresses(1).remove(0);
        let arguments = ["agent", "-dev", "-node=one", "-hcl", SOON].map(str::to_owned).to_vec();
        let agents = vec![Agent::new(&dir, address, arguments)];
        Self { agents, _dir: dir }.started()
    }

    /// Three servers, `s1` to `s3`, which have a leader and know each other as voters.
    pub fn three() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let all = addresses(3);
        let agents = all.iter().enumerate().map(|(n, address)| {
            let name = format!("s{}", n + 1);
            let mut arguments: Vec<String> =
                ["agent", "-server", "-bootstrap-expect=3", "-retry-interval=1s", "-hcl", SOON].map(str::to_owned).to_vec();
            arguments.extend([format!("-node={name}"), format!("-data-dir={}", dir.path().join(&name).display())]);
            arguments.extend(all.iter().map(|other| format!("-retry-join={other}")));
            Agent::new(&dir, address.clone(), arguments)
        });
        Self { agents: agents.collect(), _dir: dir }.started()
    }

    fn started(mut self) -> Self {
        self.agents.iter_mut().for_each(Agent::start);
        self.wait();
        self
    }

    /// Until there is a leader that knows all, and the store takes a key.
    pub fn wait(&self) {
        let all = self.agents.len();
        eventually("Consul has a leader", || {
            let nodes = self.client(0).get::<Vec<serde_json::Value>>("catalog/nodes", &[]);
            nodes.is_ok_and(|nodes| nodes.is_some_and(|nodes| nodes.len() == all))
                && self.client(0).write("lab/ready", b"", 0, pipework::external::consul::Condition::Always).is_ok()
        });
    }

    /// Where an agent answers: `http://127.x.y.z:8500`.
    pub fn address(&self, n: usize) -> String {
        format!("http://{}:8500", self.agents[n].address)
    }

    pub fn ip(&self, n: usize) -> &str {
        &self.agents[n].address
    }

    pub fn client(&self, n: usize) -> Consul {
        Consul::new(&self.address(n).parse::<Access>().unwrap()).unwrap()
    }

    /// Which of them leads.
    pub fn leader(&self) -> Option<usize> {
        let ask = |n: usize| self.client(n).get::<String>("status/leader", &[]).ok()?;
        let up = (0..self.agents.len()).filter(|n| self.agents[*n].child.is_some());
        let leader = up.filter_map(ask).find(|leader| !leader.is_empty())?;
        self.agents.iter().position(|agent| leader == format!("{}:8300", agent.address))
    }

    /// Ends an agent at once, as a power cut does.
    pub fn kill(&mut self, n: usize) {
        self.agents[n].kill();
    }

    /// Starts one again that was ended, with what it had written down.
    pub fn start(&mut self, n: usize) {
        self.agents[n].start();
    }

    /// Has it neither run nor end: what is sent to it is not answered.
    pub fn freeze(&self, n: usize) {
        self.agents[n].signal(nix::sys::signal::Signal::SIGSTOP);
    }

    /// Has it run on.
    pub fn thaw(&self, n: usize) {
        self.agents[n].signal(nix::sys::signal::Signal::SIGCONT);
    }
}

impl Agent {
    fn new(dir: &tempfile::TempDir, address: String, mut arguments: Vec<String>) -> Self {
        arguments.extend([format!("-bind={address}"), format!("-client={address}"), "-log-level=warn".to_owned()]);
        let log = dir.path().join(format!("{address}.log"));
        Self { address, arguments, log, child: None }
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new("consul");
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("consul"));
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let child = self.child.as_ref().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for agent in &self.agents {
                eprintln!("== {}\n{}", agent.address, std::fs::read_to_string(&agent.log).unwrap_or_default());
            }
        }
        self.agents.iter_mut().for_each(Agent::kill);
    }
}

/// Of 127/8, all of which is this host, without anything to set up. Test binaries run at the same time differ by their numbers.
fn addresses(count: u8) -> Vec<String> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let first = NEXT.fetch_add(count, Ordering::SeqCst);
    let pid = std::process::id();
    (first..first + count).map(|n| format!("127.{}.{}.{n}", 16 + pid / 250 % 200, pid % 250)).collect()
}
