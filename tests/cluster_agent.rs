//! `pipework cluster agent` on three hosts, each with an engine of a swarm and a Consul server: an address follows its slot, and
//! nobody else ever has it, through drains, kills, cuts and outages. One lab for all of it.
//!
//! `PIPEWORK_PARTITION=60` and `PIPEWORK_OUTAGE=60` make the cut and Consul's absence last a minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::cluster::{Cluster, Host, no_consul};
use lab::engine::no_engine;
use lab::{Space, eventually};
use nix::sys::signal::Signal;

/// The sessions' time to live, in seconds.
const TTL: u64 = 8;

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

struct World {
    lab: Cluster,
    agents: BTreeMap<usize, Child>,
}

fn seconds(variable: &str, usual: u64) -> Duration {
    Duration::from_secs(std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual))
}

impl World {
    fn new() -> Self {
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
        let mut world = Self { lab, agents: BTreeMap::new() };
        (1..=3).for_each(|number| world.start_agent(number));
        world
    }

    fn start_agent(&mut self, number: usize) {
        let host = self.lab.host(number);
        let log = std::fs::File::options().create(true).append(true).open(host.dir.join("agent.log")).unwrap();
        let ttl = TTL.to_string();
        let mut command = host.program();
        command.args(["cluster", "agent", "--ttl", &ttl]).env("PATH", std::env::var_os("PATH").unwrap());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.agents.insert(number, child);
    }

    fn end_agent(&mut self, number: usize, signal: Signal) {
        let mut child = self.agents.remove(&number).unwrap();
        Host::signal(&child, signal);
        let _ = child.wait();
    }

    fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.lab.host(number).dir.join("agent.log")).unwrap_or_default()
    }

    /// What belongs to whom, of those that any host knows.
    fn owners(&self) -> BTreeMap<String, String> {
        let text = self.lab.hosts.iter().find_map(|host| {
            let found = host.consul("/v1/kv/pipework/lab/pools/lan/owner?recurse");
            found.as_array().cloned()
        });
        let pairs = text.unwrap_or_default();
        let owner = |key: &str| key.rsplit_once("owner/").unwrap().1.to_owned();
        pairs.iter().map(|pair| (owner(pair["Key"].as_str().unwrap()), decoded(pair["Value"].as_str().unwrap()))).collect()
    }

    fn answers(&self, address: &str) -> bool {
        self.lab.switch.try_sh(&format!("ping -c 1 -W 1 -q {address}"))
    }

    /// The hosts that run a container of the slot: number, its ID, and its addresses.
    fn runs(&self, slot: &str) -> Vec<(usize, String)> {
        let name = slot.replace('/', ".");
        let on = |host: &Host| {
            let ids = host.docker(&format!("ps -q --no-trunc --filter name=^{name}\\\\."));
            ids.lines().map(|id| (host.number, id.to_owned())).collect::<Vec<_>>()
        };
        self.lab.hosts.iter().flat_map(on).collect()
    }

    #[track_caller]
    fn all_answer(&self, addresses: &BTreeMap<String, String>, what: &str) {
        let start = Instant::now();
        for (owner, address) in addresses {
            eventually_of(&format!("{what}: {owner} answers at {address}"), || self.answers(address), || self.logs());
        }
        eprintln!("{what}: all answer after {:?}", start.elapsed());
    }

    fn logs(&self) -> String {
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
fn eventually_of(what: &str, mut so: impl FnMut() -> bool, log: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(45);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn decoded(base64: &str) -> String {
    let mut child = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), base64.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Pings at 20/s, and tells how many were sent and how many came back.
struct Pings(Vec<(String, Child)>);

impl Pings {
    fn begin(switch: &Space, addresses: impl IntoIterator<Item = String>) -> Self {
        let ping = |address: String| {
            let mut command = switch.command("ping");
            command.args(["-i", "0.05", "-W", "1", "-D", "-O", &address]).stdout(Stdio::piped()).stderr(Stdio::null());
            (address, command.spawn().unwrap())
        };
        Self(addresses.into_iter().map(ping).collect())
    }

    fn end(self) -> Vec<(String, String)> {
        let end = |(address, child): (String, Child)| {
            interrupt(&child);
            (address, String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
        };
        self.0.into_iter().map(end).collect()
    }

    /// Those that were not answered, of each.
    #[track_caller]
    fn none_lost(self, what: &str, log: impl Fn() -> String) {
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
fn interrupt(child: &Child) {
    let inner = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
    let pids = inner.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([i32::try_from(child.id()).unwrap()]);
    for pid in pids {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT);
    }
}

/// Asks at the switch, four times a second, who has the addresses, and writes down who answers.
struct Watch {
    dump: Child,
    asking: Vec<Child>,
}

impl Watch {
    fn begin(switch: &Space, addresses: &BTreeSet<String>) -> Self {
        let mut command = switch.command("tcpdump");
        command.args(["-i", "sw0", "-e", "-n", "-l", "-tt", "arp and arp[6:2] = 2"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let dump = command.spawn().unwrap();
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
    fn end(mut self) -> BTreeMap<String, Vec<(String, f64, f64)>> {
        for child in &mut self.asking {
            interrupt(child);
            let _ = child.kill();
            let _ = child.wait();
        }
        interrupt(&self.dump);
        let text = String::from_utf8(self.dump.wait_with_output().unwrap().stdout).unwrap();
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
fn never_two_holders(seen: &BTreeMap<String, Vec<(String, f64, f64)>>, log: impl Fn() -> String) {
    for (address, held) in seen {
        let macs: BTreeSet<&String> = held.iter().map(|(mac, ..)| mac).collect();
        assert_eq!(macs.len(), held.len(), "{address} had two holders at once: {held:?}\n{}", log());
    }
}

fn epoch(text: &str) -> f64 {
    let seconds = Command::new("date").args(["-d", text, "+%s.%N"]).output().unwrap();
    String::from_utf8(seconds.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn addresses_follow_their_owners_and_are_nobody_else_s_through_drains_kills_cuts_and_outages() {
    if no_consul() || no_engine() {
        return;
    }
    let begun = Instant::now();
    let mut world = World::new();
    eprintln!("lab: {:?}", begun.elapsed());
    let slots = a_service_s_replicas_have_an_address_each(&world);
    eprintln!("service: {:?}", begun.elapsed());
    a_drained_node_s_slot_keeps_its_address(&world, &slots);
    a_killed_task_s_slot_keeps_its_address(&world, &slots);
    eprintln!("drain and kill: {:?}", begun.elapsed());
    restarts_are_not_noticed(&mut world, &slots);
    eprintln!("restarts: {:?}", begun.elapsed());
    nobody_notices_that_consul_is_away(&mut world, &slots);
    eprintln!("outage: {:?}", begun.elapsed());
    a_cut_off_host_lets_go_before_another_has_it(&world, &slots);
    eprintln!("cut: {:?}", begun.elapsed());
    what_is_taken_back_goes(&world, &slots);
    eprintln!("all: {:?}", begun.elapsed());
}

fn a_service_s_replicas_have_an_address_each(world: &World) -> BTreeMap<String, String> {
    let one = world.lab.host(1);
    world.lab.host(2).ok("cluster attach web pool:lan -i pw0");
    one.docker(
        "service create -d --name web --replicas 3 --endpoint-mode dnsrr --no-resolve-image --restart-delay 100ms \
         --stop-grace-period 1s box sleep 100000",
    );
    let slots = || world.owners().into_iter().filter(|(owner, _)| owner.starts_with("web/")).collect::<BTreeMap<_, _>>();
    eventually_of("three slots have addresses", || slots().len() == 3, || world.logs());
    let slots = slots();
    assert_eq!(slots.values().collect::<BTreeSet<_>>().len(), 3);
    world.all_answer(&slots, "created");
    // Each is a name, for DNS.
    eventually_of(
        "web-1.service.consul",
        || one.consul("/v1/health/service/web-1?passing")[0]["Service"]["Address"] == slots["web/1"].as_str(),
        || world.logs(),
    );
    slots
}

/// Waits until the slot runs in another container, and tells how long after that one's start its address answered.
#[track_caller]
fn moves(world: &World, slot: &str, before: &(usize, String), address: &str, what: &str, pings: Pings) -> (usize, String) {
    let mut after = None;
    eventually_of(
        &format!("{what}: {slot} runs anew"),
        || {
            let running = world.runs(slot);
            after = running.iter().find(|(_, id)| *id != before.1).cloned();
            after.is_some() && world.answers(address) && running.len() == 1
        },
        || world.logs(),
    );
    std::thread::sleep(Duration::from_millis(500));
    let after = after.unwrap();
    let started = epoch(&world.lab.host(after.0).docker(&format!("inspect -f {{{{.State.StartedAt}}}} {}", after.1)));
    let text = pings.end().remove(0).1;
    let replies = text
        .lines()
        .filter(|line| line.contains("bytes from"))
        .filter_map(|line| line.strip_prefix('[')?.split(']').next()?.parse::<f64>().ok());
    let replies: Vec<f64> = replies.collect();
    let (last, first) = replies.windows(2).map(|two| (two[0], two[1])).max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap();
    eprintln!(
        "{what}: outage {:.2} s, of which {:.2} s after the new task's start; host {} -> {}",
        first - last,
        first - started,
        before.0,
        after.0
    );
    assert!(first - started < 5.0, "{what}: {:.2} s after the start\n{}", first - started, world.logs());
    after
}

fn a_drained_node_s_slot_keeps_its_address(world: &World, slots: &BTreeMap<String, String>) {
    let (slot, before) =
        slots.keys().find_map(|slot| world.runs(slot).into_iter().find(|(host, _)| *host == 2).map(|at| (slot, at))).unwrap();
    let pings = Pings::begin(&world.lab.switch, [slots[slot].clone()]);
    let watch = Watch::begin(&world.lab.switch, &slots.values().cloned().collect());
    world.lab.host(1).docker("node update --availability drain consul02");
    let after = moves(world, slot, &before, &slots[slot], "drain", pings);
    assert!(after.0 != 2);
    assert_eq!(world.owners().get(slot), slots.get(slot), "its address is the same");
    never_two_holders(&watch.end(), || world.logs());
    world.lab.host(1).docker("node update --availability active consul02");
    world.all_answer(slots, "after the drain");
}

fn a_killed_task_s_slot_keeps_its_address(world: &World, slots: &BTreeMap<String, String>) {
    let before = world.runs("web/1").remove(0);
    let pings = Pings::begin(&world.lab.switch, [slots["web/1"].clone()]);
    world.lab.host(before.0).docker(&format!("kill {}", before.1));
    moves(world, "web/1", &before, &slots["web/1"], "kill", pings);
    assert_eq!(world.owners().get("web/1"), slots.get("web/1"));
}

fn restarts_are_not_noticed(world: &mut World, slots: &BTreeMap<String, String>) {
    let pings = Pings::begin(&world.lab.switch, slots.values().cloned());
    for number in 1..=3 {
        world.end_agent(number, Signal::SIGKILL);
        world.start_agent(number);
    }
    // The hosts' Consul agents, one after the other.
    let all: Vec<String> = world.lab.hosts.iter().map(|host| host.address.clone()).collect();
    let host = world.lab.host_mut(3);
    host.end_consul(Signal::SIGKILL);
    host.begin_consul(&all, "autopilot{cleanup_dead_servers=false}");
    std::thread::sleep(Duration::from_secs(TTL - 1));
    pings.none_lost("restarts", || world.logs());
    let locked = || {
        let found = world.lab.host(1).consul("/v1/kv/pipework/lab/pools/lan/use?recurse");
        found.as_array().is_some_and(|all| all.iter().filter(|pair| pair["Session"].is_string()).count() == 3)
    };
    eventually_of("all three uses are locked", locked, || world.logs());
}

fn nobody_notices_that_consul_is_away(world: &mut World, slots: &BTreeMap<String, String>) {
    let all: Vec<String> = world.lab.hosts.iter().map(|host| host.address.clone()).collect();
    let settings = "autopilot{cleanup_dead_servers=false}";
    let leader = || world.lab.host(1).consul("/v1/status/leader").as_str().map(|text| text.trim_end_matches(":8300").to_owned());
    eventually("there is a leader", || leader().is_some_and(|leader| all.contains(&leader)));
    let leader = all.iter().position(|address| Some(address) == leader().as_ref()).unwrap() + 1;
    let pings = Pings::begin(&world.lab.switch, slots.values().cloned());
    world.lab.host_mut(leader).end_consul(Signal::SIGKILL);
    std::thread::sleep(Duration::from_secs(TTL - 1));
    pings.none_lost("leader killed", || world.logs());
    let pings = Pings::begin(&world.lab.switch, slots.values().cloned());
    (1..=3).filter(|number| *number != leader).for_each(|number| world.lab.host_mut(number).end_consul(Signal::SIGKILL));
    // One that starts meanwhile waits, and gets its address when Consul is back.
    let outage = Instant::now();
    world.lab.host(2).docker("run -d --net none --name late --label pipework.lan='br0 pool:lan' box sleep 100000");
    eventually_of("the late one's wait is told", || world.log(2).contains("docker:late"), || world.logs());
    let rest = seconds("PIPEWORK_OUTAGE", TTL + 2).saturating_sub(outage.elapsed());
    std::thread::sleep(rest);
    for host in &mut world.lab.hosts {
        host.begin_consul(&all, settings);
    }
    let back = Instant::now();
    eventually_of("the late one has an address", || world.owners().get("late").is_some_and(|at| world.answers(at)), || world.logs());
    eprintln!("consul away: the late one answers {:?} after the servers were started", back.elapsed());
    std::thread::sleep(Duration::from_secs(TTL / 2));
    pings.none_lost("all of consul away", || world.logs());
}

fn a_cut_off_host_lets_go_before_another_has_it(world: &World, slots: &BTreeMap<String, String>) {
    // A container of its own, which nobody else can take, and a slot, which moves.
    world.lab.host(3).docker("run -d --net none --name own --label pipework.lan='br0 pool:lan' box sleep 100000");
    let mut all = slots.clone();
    eventually_of("the container has an address", || world.owners().contains_key("own"), || world.logs());
    all.insert("own".into(), world.owners()["own"].clone());
    // So that host 3 has one.
    if !slots.keys().any(|slot| world.runs(slot).iter().any(|(host, _)| *host == 3)) {
        world.lab.host(1).docker("node update --availability drain consul02");
        // Not `-d`: the cut must not come in the middle of the update, as that then waits a minute for a task it cannot stop.
        world.lab.host(1).docker("service update --quiet --force web");
        eventually_of("a slot on host 3", || slots.keys().any(|slot| world.runs(slot).iter().any(|(host, _)| *host == 3)), || world.logs());
        world.lab.host(1).docker("node update --availability active consul02");
    }
    world.all_answer(&all, "before the cut");
    let watch = Watch::begin(&world.lab.switch, &all.values().cloned().collect());
    let cut = Instant::now();
    world.lab.cut(3);
    // Nothing that it has is up any more when its session's time is over.
    let is_down = || !world.lab.host(3).space.sh("ip -br link show master br0 up").lines().any(|line| !line.starts_with("ens32"));
    eventually_of("host 3 is silent", is_down, || world.logs());
    eprintln!("cut: host 3 silent after {:?}", cut.elapsed());
    assert!(cut.elapsed() < Duration::from_secs(TTL + 3), "{:?}", cut.elapsed());
    std::thread::sleep(seconds("PIPEWORK_PARTITION", TTL + 4).saturating_sub(cut.elapsed()));
    for (slot, address) in slots {
        eventually_of(&format!("{slot} answers elsewhere"), || world.answers(address), || world.logs());
    }
    eprintln!("cut: all slots answer elsewhere after {:?}", cut.elapsed());
    let mended = Instant::now();
    world.lab.mend(3);
    eventually_of("the container is back", || world.answers(&all["own"]), || world.logs());
    world.all_answer(&all, "mended");
    eprintln!("cut: healed after {:?}", mended.elapsed());
    assert!(mended.elapsed() < Duration::from_secs(20));
    let mut seen = watch.end();
    // The hosts answer for themselves, too.
    seen.retain(|address, _| all.values().any(|own| own == address));
    assert_eq!(seen.len(), all.len(), "all were seen at the switch: {seen:?}");
    never_two_holders(&seen, || world.logs());
    eprintln!("cut: holders, as the switch saw them: {seen:?}");
}

fn what_is_taken_back_goes(world: &World, slots: &BTreeMap<String, String>) {
    world.lab.host(1).ok("cluster detach web");
    for address in slots.values() {
        eventually_of("the address is gone", || !world.answers(address), || world.logs());
    }
    let services = || world.lab.host(1).consul("/v1/catalog/services").as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    eventually_of("no service is left", || !services().iter().any(|name| name.starts_with("web-")), || world.logs());
    let locked = || {
        let found = world.lab.host(1).consul("/v1/kv/pipework/lab/pools/lan/use?recurse");
        found.as_array().map_or(0, |all| all.iter().filter(|pair| pair["Session"].is_string()).count())
    };
    // The two containers of their own are still there.
    eventually_of("two locks are left", || locked() == 2, || world.logs());
    assert_eq!(world.owners().len(), slots.len() + 2, "what is claimed stays claimed");
    world.lab.host(1).fails("cluster detach web", "nothing was said of web");
    world.lab.host(1).fails("cluster attach web pool:lan --mtuu 9", "--mtuu");
    world.lab.host(1).fails("cluster attach a/b pool:lan", "no name of a container");
}
