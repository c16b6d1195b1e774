//! The hosts of a cluster with an engine of a swarm, a Consul server and an agent each, and what the switch sees of them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Space;
use super::cluster::{Cluster, Host};

/// The sessions' time to live, in seconds. A leader is chosen within it also where many tests run: so long nobody renews a session.
pub const TTL: u64 = 12;

const FILE: &str = r#"
name = "lab"
datacenter = "lab"

[[hosts]]
name = "consul01"
address = "192.168.116.111"
nic = "ens32"

[[hosts]]
name = "consul02"
address = "192.168.116.112"
nic = "ens32"

[[hosts]]
name = "consul03"
address = "192.168.116.113"
nic = "ens32"

[consul]
http = "everybody"

[swarm]
mode = "none"

[bridge]
name = "br0"

[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.150-192.168.116.199"
gateway = "192.168.116.1"
"#;

pub struct World {
    pub lab: Cluster,
    pub agents: BTreeMap<usize, Child>,
    ttls: [u64; 3],
}

pub fn seconds(variable: &str, usual: u64) -> Duration {
    Duration::from_secs(std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual))
}

impl World {
    pub fn new() -> Self {
        Self::of([TTL; 3])
    }

    /// With these times to live of the agents' sessions, in seconds.
    pub fn of(ttls: [u64; 3]) -> Self {
        let mut lab = Cluster::new();
        lab.start_engines();
        lab.start_consul("autopilot{cleanup_dead_servers=false}");
        for host in &lab.hosts {
            let address = &host.address;
            host.space.sh(&format!(
                "ip link add br0 type bridge && ip link set br0 up && ip link set ens32 master br0 && ip addr flush dev ens32 && \
                 ip addr add {address}/24 dev br0 && ip route replace default via 192.168.116.1"
            ));
            host.sh("mkdir -p /etc/pipework");
            std::fs::write(host.dir.join("cluster.toml"), FILE).unwrap();
            host.sh(&format!("cp {} /etc/pipework/", host.dir.join("cluster.toml").display()));
        }
        let swarm = lab.host(1);
        swarm.docker("swarm init --advertise-addr 192.168.116.111 --dispatcher-heartbeat 1s");
        let token = swarm.docker("swarm join-token -q worker");
        for number in [2, 3] {
            lab.host(number).docker(&format!("swarm join --token {token} 192.168.116.111:2377"));
        }
        let mut world = Self { lab, agents: BTreeMap::new(), ttls };
        (1..=3).for_each(|number| world.start_agent(number));
        world
    }

    pub fn start_agent(&mut self, number: usize) {
        let host = self.lab.host(number);
        let log = std::fs::File::options().create(true).append(true).open(host.dir.join("agent.log")).unwrap();
        let mut command = host.program();
        command.args(["cluster", "agent", "--ttl", &self.ttls[number - 1].to_string()]).env("PATH", std::env::var_os("PATH").unwrap());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.agents.insert(number, child);
    }

    pub fn end_agent(&mut self, number: usize, signal: Signal) {
        let mut child = self.agents.remove(&number).unwrap();
        Host::signal(&child, signal);
        let _ = child.wait();
    }

    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.lab.host(number).dir.join("agent.log")).unwrap_or_default()
    }

    /// What belongs to whom, of those that any host knows.
    pub fn owners(&self) -> BTreeMap<String, String> {
        let text = self.lab.hosts.iter().find_map(|host| {
            let found = host.consul("/v1/kv/pipework/lab/pools/lan/owner?recurse");
            found.as_array().cloned()
        });
        let pairs = text.unwrap_or_default();
        let owner = |key: &str| key.rsplit_once("owner/").unwrap().1.to_owned();
        pairs.iter().map(|pair| (owner(pair["Key"].as_str().unwrap()), decoded(pair["Value"].as_str().unwrap()))).collect()
    }

    pub fn answers(&self, address: &str) -> bool {
        self.lab.switch.try_sh(&format!("ping -c 1 -W 1 -q {address}"))
    }

    /// The hosts that run a container of the slot, by their engines' word: number, and its ID.
    pub fn runs(&self, slot: &str) -> Vec<(usize, String)> {
        let name = slot.replace('/', ".");
        let on = |host: &Host| {
            let ids = host.tries(&format!("docker ps -q --no-trunc --filter name=^{name}\\\\."));
            ids.lines().map(|id| (host.number, id.to_owned())).collect::<Vec<_>>()
        };
        self.lab.hosts.iter().flat_map(on).collect()
    }

    /// A service of three replicas that has words for all of them, and its slots' addresses, which are names for DNS by then.
    #[track_caller]
    pub fn service(&self) -> BTreeMap<String, String> {
        let one = self.lab.host(1);
        self.lab.host(2).ok("cluster attach web pool:lan -i pw0");
        one.docker(
            "service create -d --name web --replicas 3 --endpoint-mode dnsrr --no-resolve-image --restart-delay 100ms \
             box sh -c 'trap exit TERM; sleep 100000 & wait'",
        );
        let slots = || self.owners().into_iter().filter(|(owner, _)| owner.starts_with("web/")).collect::<BTreeMap<_, _>>();
        eventually_of("three slots have addresses", || slots().len() == 3, || self.logs());
        let slots = slots();
        assert_eq!(slots.values().collect::<BTreeSet<_>>().len(), 3);
        self.all_answer(&slots, "created");
        eventually_of(
            "web-1.service.consul",
            || one.consul("/v1/health/service/web-1?passing")[0]["Service"]["Address"] == slots["web/1"].as_str(),
            || self.logs(),
        );
        slots
    }

    /// The host whose session has the use of an address locked.
    pub fn holder(&self, address: &str) -> Option<String> {
        let found = self.lab.host(1).consul(&format!("/v1/kv/pipework/lab/pools/lan/use/{address}"));
        let pair = found.as_array()?.first()?.clone();
        pair["Session"].as_str()?;
        let user: serde_json::Value = serde_json::from_str(&decoded(pair["Value"].as_str()?)).ok()?;
        Some(user["host"].as_str()?.to_owned())
    }

    /// Until Swarm has nothing to do any more: no update is under way, each slot is to run once and does, where it is to.
    #[track_caller]
    pub fn settled(&self, slots: &BTreeMap<String, String>) {
        let one = self.lab.host(1);
        let is_settled = || {
            let state = one.docker("service inspect --format '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}' web");
            let tasks = one.docker("service ps --no-trunc --filter desired-state=running --format '{{.ID}} {{.CurrentState}}' web");
            let run = tasks.lines().filter(|line| line.split(' ').nth(1) == Some("Running")).count();
            !state.contains("ing")
                && run == slots.len()
                && tasks.lines().count() == run
                && slots.keys().all(|slot| self.runs(slot).len() == 1)
        };
        eventually_of("swarm is settled", is_settled, || one.docker("service ps --no-trunc web"));
    }

    /// Waits until the slot runs in another container and answers; returns that, and tells how long that took.
    #[track_caller]
    pub fn moves(&self, slot: &str, before: &(usize, String), address: &str, what: &str, pings: Pings) -> Moved {
        let mut after = None;
        eventually_of(
            &format!("{what}: {slot} runs anew"),
            || {
                let running = self.runs(slot);
                after = running.iter().find(|(_, id)| *id != before.1).cloned();
                let has_it = |number: usize| self.holder(address).as_ref() == Some(&self.lab.host(number).name);
                running.len() == 1 && after.as_ref().is_some_and(|(number, _)| has_it(*number)) && self.answers(address)
            },
            || self.logs(),
        );
        std::thread::sleep(Duration::from_millis(500));
        let after = after.unwrap();
        let started = epoch(&self.lab.host(after.0).docker(&format!("inspect -f {{{{.State.StartedAt}}}} {}", after.1)));
        let (last, first) = pings.gap();
        let moved = Moved { to: after.0, outage: first - last, since_start: first - started };
        eprintln!(
            "{what}: outage {:.2} s, {:.2} s after the new task's start; host {} -> {}",
            moved.outage, moved.since_start, before.0, moved.to
        );
        moved
    }

    #[track_caller]
    pub fn all_answer(&self, addresses: &BTreeMap<String, String>, what: &str) {
        let start = Instant::now();
        for (owner, address) in addresses {
            eventually_of(&format!("{what}: {owner} answers at {address}"), || self.answers(address), || self.logs());
        }
        eprintln!("{what}: all answer after {:?}", start.elapsed());
    }

    pub fn logs(&self) -> String {
        (1..=3).map(|number| format!("--- agent {number}\n{}", self.log(number))).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for number in self.agents.keys().copied().collect::<Vec<_>>() {
            self.end_agent(number, Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

#[track_caller]
pub fn eventually_of(what: &str, mut so: impl FnMut() -> bool, log: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(45);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn decoded(base64: &str) -> String {
    let mut child = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), base64.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// How a slot came to another task.
pub struct Moved {
    pub to: usize,
    /// For how long nobody answered, in seconds.
    pub outage: f64,
    /// How long of that the new task ran already.
    pub since_start: f64,
}

/// Pings at 20/s, and tells how many were sent and how many came back.
pub struct Pings(Vec<(String, Program)>);

/// A program that is left to itself: what it says goes into a file, as one whose pipe is full stands still.
struct Program {
    child: Child,
    said: std::fs::File,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let said = tempfile::tempfile().unwrap();
        let child = command.stdout(said.try_clone().unwrap()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, said }
    }

    fn end(mut self) -> String {
        interrupt(&self.child);
        self.child.wait().unwrap();
        let mut text = String::new();
        self.said.seek(SeekFrom::Start(0)).unwrap();
        self.said.read_to_string(&mut text).unwrap();
        text
    }
}

impl Pings {
    pub fn begin(switch: &Space, addresses: impl IntoIterator<Item = String>) -> Self {
        let ping = |address: String| {
            let mut command = switch.command("ping");
            command.args(["-i", "0.05", "-W", "1", "-D", "-O", &address]);
            (address, Program::start(command))
        };
        Self(addresses.into_iter().map(ping).collect())
    }

    /// Of the first address, between which two answers nothing came for longest.
    pub fn gap(self) -> (f64, f64) {
        let text = self.end().remove(0).1;
        let replies = text
            .lines()
            .filter(|line| line.contains("bytes from"))
            .filter_map(|line| line.strip_prefix('[')?.split(']').next()?.parse::<f64>().ok());
        let replies: Vec<f64> = replies.collect();
        replies.windows(2).map(|two| (two[0], two[1])).max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap()
    }

    pub fn end(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|(address, ping)| (address, ping.end())).collect()
    }

    /// Those that were not answered, of each.
    #[track_caller]
    pub fn none_lost(self, what: &str, log: impl Fn() -> String) {
        for (address, text) in self.end() {
            let line = text.lines().find(|line| line.contains("packets transmitted")).unwrap_or_default().to_owned();
            eprintln!("{what}: {address}: {line}");
            let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            // The last one may be on its way.
            assert!(numbers.len() >= 2 && numbers[0] > 10 && numbers[0] - numbers[1] <= 1, "{what}: {address}: {line}\n{}", log());
        }
    }
}

/// nsenter becomes what it starts, so the child is the program itself, or its parent waits for it.
pub fn interrupt(child: &Child) {
    let inner = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
    let pids = inner.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([i32::try_from(child.id()).unwrap()]);
    for pid in pids {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT);
    }
}

/// Asks at the switch, four times a second, who has the addresses, and writes down who answers.
pub struct Watch {
    dump: Program,
    asking: Vec<Child>,
}

impl Watch {
    pub fn begin(switch: &Space, addresses: &BTreeSet<String>) -> Self {
        let mut command = switch.command("tcpdump");
        command.args(["-i", "sw0", "-e", "-n", "-l", "-tt", "arp and arp[6:2] = 2"]);
        let dump = Program::start(command);
        let mut asking = Vec::new();
        for address in addresses {
            for _ in 0..4 {
                let mut command = switch.command("busybox");
                command.args(["arping", "-b", "-q", "-I", "sw0", address]).stdout(Stdio::null()).stderr(Stdio::null());
                asking.push(command.spawn().unwrap());
                std::thread::sleep(Duration::from_millis(250) / u32::try_from(addresses.len()).unwrap());
            }
        }
        Self { dump, asking }
    }

    /// Of each address, who answered, in order: the hardware address, and from when to when.
    pub fn end(mut self) -> BTreeMap<String, Vec<(String, f64, f64)>> {
        for child in &mut self.asking {
            interrupt(child);
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = self.dump.end();
        let mut seen: BTreeMap<String, Vec<(String, f64, f64)>> = BTreeMap::new();
        for line in text.lines() {
            let Some((head, rest)) = line.split_once("Reply ") else { continue };
            let mut words = rest.split([' ', ',']);
            let (Some(address), Some("is-at"), Some(mac)) = (words.next(), words.next(), words.next()) else { continue };
            let at: f64 = head.split(' ').next().unwrap().parse().unwrap();
            let held = seen.entry(address.to_owned()).or_default();
            match held.last_mut() {
                Some((last, _, until)) if last == mac => *until = at,
                _ => held.push((mac.to_owned(), at, at)),
            }
        }
        seen
    }
}

/// Who had it once and lost it to another never answers for it again.
#[track_caller]
pub fn never_two_holders(seen: &BTreeMap<String, Vec<(String, f64, f64)>>, log: impl Fn() -> String) {
    for (address, held) in seen {
        let macs: BTreeSet<&String> = held.iter().map(|(mac, ..)| mac).collect();
        assert_eq!(macs.len(), held.len(), "{address} had two holders at once: {held:?}\n{}", log());
    }
}

pub fn epoch(text: &str) -> f64 {
    let seconds = Command::new("date").args(["-d", text, "+%s.%N"]).output().unwrap();
    String::from_utf8(seconds.stdout).unwrap().trim().parse().unwrap()
}
