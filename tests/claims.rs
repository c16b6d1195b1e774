//! Claims of addresses: the same of a single host's files and of Consul's store, and what happens when hosts, workers and
//! servers die in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::consul::{Agents, no_consul};
use lab::eventually;
use pipework::cluster::claims::ConsulClaims;
use pipework::external::consul::{Access, Condition, Consul, Freshness, NewSession};
use pipework::lifecycle::claims::{ClaimError, Claims, FileClaims, User};
use pipework::model::pool::{Owner, Pool, PoolName};

const SECOND: Duration = Duration::from_secs(1);

const POOLS: &str = r#"
[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.100-192.168.116.109"
gateway = "192.168.116.1"
reserved = ["192.168.116.105"]

[[pools]]
name = "large"
subnet = "10.7.0.0/24"

[[pools]]
name = "six"
subnet = "fd00:116::/64"
"#;

fn pools() -> Vec<Pool> {
    pipework::model::pool::read(POOLS).unwrap()
}

fn name(text: &str) -> PoolName {
    text.parse().unwrap()
}

fn owner(text: &str) -> Owner {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_consul(address: &str) -> ConsulClaims {
    let consul = Consul::new(&address.parse::<Access>().unwrap()).unwrap();
    ConsulClaims::new(consul, "pipework/test", pools(), "cluster.toml")
}

fn in_files(dir: &Path) -> FileClaims {
    let config = dir.join("pools.toml");
    std::fs::write(&config, POOLS).unwrap();
    FileClaims::new(&config, &dir.join("state"))
}

/// What holds whoever keeps the claims.
fn contract(claims: &dyn Claims) {
    let lan = name("lan");
    let claim = |owner_is: &str, wish: Option<&str>| claims.claim(&lan, &owner(owner_is), wish.map(ip));
    let web = claim("web", None).unwrap();
    assert!(web.is_new && web.addr.prefix() == 24 && web.gateway == Some(ip("192.168.116.1")), "{web:?}");
    let again = claim("web", None).unwrap();
    assert_eq!((again.addr, again.is_new), (web.addr, false), "an owner has one address");
    assert_eq!(claim("web", Some(&web.addr.ip().to_string())).unwrap().addr, web.addr);
    let other = if web.addr.ip() == ip("192.168.116.103") { "192.168.116.104" } else { "192.168.116.103" };
    assert!(matches!(claim("web", Some(other)), Err(ClaimError::Other { has, .. }) if has == web.addr.ip()));
    let slot = claim("shop/1", Some(other)).unwrap();
    assert_eq!((slot.addr.ip(), slot.is_new), (ip(other), true));
    assert!(matches!(claim("db", Some(other)), Err(ClaimError::Taken { owner: whose, .. }) if whose == owner("shop/1")));
    for (wish, why) in [("192.168.116.105", "reserved"), ("192.168.116.99", "it gives"), ("10.7.0.5", "it gives")] {
        let error = claim("db", Some(wish)).unwrap_err();
        assert!(matches!(&error, ClaimError::Outside { why: told, .. } if told.contains(why)), "{error}");
    }
    let rest: BTreeSet<IpAddr> = (0..7).map(|n| claim(&format!("fill{n}"), None).unwrap().addr.ip()).collect();
    assert_eq!(rest.len(), 7);
    let full = claim("late", None).unwrap_err().to_string();
    assert_eq!(full, "pool lan is full: 10 addresses, 9 claimed, 1 reserved");
    let all = claims.all(&lan).unwrap();
    assert_eq!(all.len(), 9);
    assert!(all.is_sorted_by_key(|claimed| claimed.addr) && all.iter().any(|claimed| claimed.owner == owner("shop/1")));

    assert_eq!(claims.release(&lan, &owner("shop/1")).unwrap(), Some(ip(other)));
    assert_eq!(claims.release(&lan, &owner("shop/1")).unwrap(), None);
    assert_eq!(claim("late", None).unwrap().addr.ip(), ip(other), "the only one that is free");
    let old = all.iter().find(|claimed| claimed.owner == owner("fill0")).unwrap();
    assert!(claims.forget(&lan, old).unwrap() && !claims.forget(&lan, old).unwrap());
    claim("fill9", None).unwrap();
    assert!(!claims.forget(&lan, old).unwrap(), "another has it by now");

    assert!(matches!(claims.claim(&name("wan"), &owner("web"), None), Err(ClaimError::NoPool { .. })));
    let six = claims.claim(&name("six"), &owner("web"), None).unwrap();
    assert_eq!((six.addr.prefix(), six.addr.ip().is_ipv6()), (64, true));
    for pool in ["lan", "six"] {
        for claimed in claims.all(&name(pool)).unwrap() {
            claims.release(&name(pool), &claimed.owner).unwrap();
        }
        assert_eq!(claims.all(&name(pool)).unwrap(), []);
    }
    let back = claim("web", None).unwrap();
    assert_eq!(back.addr, web.addr, "an owner comes back to its place when nobody has taken it");
    claims.release(&lan, &owner("web")).unwrap();
}

#[test]
fn a_single_host_s_files_keep_what_the_trait_says() {
    let dir = tempfile::tempdir().unwrap();
    contract(&in_files(dir.path()));
}

#[test]
fn a_mistake_in_pools_toml_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let claims = in_files(dir.path());
    let config = dir.path().join("pools.toml");
    std::fs::write(&config, "[[pools]]\nname = \"lan\"\nsubnet = \"10.0.0.1/24\"\n").unwrap();
    let told = claims.claim(&name("lan"), &owner("web"), None).unwrap_err().to_string();
    assert!(told.contains("pools.toml:3: ") && told.contains("10.0.0.0/24"), "{told}");
    std::fs::remove_file(&config).unwrap();
    let told = claims.claim(&name("lan"), &owner("web"), None).unwrap_err().to_string();
    assert!(told.contains("there is no pool lan") && told.contains("pools.toml has no pool"), "{told}");
}

#[test]
fn consul_s_store_keeps_what_the_trait_says() {
    if no_consul() {
        return;
    }
    let agents = Agents::one();
    let consul = agents.client(0);
    contract(&in_consul(&agents.address(0)));
    assert_eq!(consul.keys_under("pipework/", Freshness::Consistent).unwrap(), [], "nothing is left");
    what_the_store_looks_like(&agents, &consul);
    the_use_of_an_address_is_one_session_s(&agents, &consul);
    what_others_wrote_there_is_told(&agents, &consul);
    a_write_without_an_answer_is_read_back(&agents);
}

fn what_the_store_looks_like(agents: &Agents, consul: &Consul) {
    let claims = in_consul(&agents.address(0));
    let claim = claims.claim(&name("lan"), &owner("web/1"), Some(ip("192.168.116.107"))).unwrap();
    let pairs = consul.keys_under("pipework/test/pools/", Freshness::Consistent).unwrap();
    let keys: Vec<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["pipework/test/pools/lan/ip/192.168.116.107", "pipework/test/pools/lan/owner/web/1"]);
    let entry: serde_json::Value = serde_json::from_slice(&pairs[0].value).unwrap();
    assert!(entry["owner"] == "web/1" && entry["since"].is_string() && entry["seen"].is_string() && pairs[0].session.is_none());
    assert_eq!(pairs[1].text(), Some("192.168.116.107"));
    // Seen long ago: written anew, and the claim stays what it is.
    let old = r#"{"owner":"web/1","since":"2020-01-01T00:00:00Z","seen":"2020-01-01T00:00:00Z"}"#;
    assert!(consul.write(&pairs[0].key, old.as_bytes(), 0, Condition::Always).unwrap());
    assert_eq!(claims.claim(&name("lan"), &owner("web/1"), None).unwrap().addr, claim.addr);
    let seen = claims.all(&name("lan")).unwrap().remove(0);
    assert!(seen.since.starts_with("2020") && !seen.seen.starts_with("2020"), "{seen:?}");
    claims.release(&name("lan"), &owner("web/1")).unwrap();
}

fn the_use_of_an_address_is_one_session_s(agents: &Agents, consul: &Consul) {
    let session = || {
        let session = NewSession { ttl: Some(60 * SECOND), lock_delay: Some(SECOND / 1000), ..NewSession::default() };
        consul.begin_session(&session).unwrap()
    };
    let user = |host: &str| User { host: host.into(), container: Some("web".into()), netns: 7 };
    let (id1, id2) = (session(), session());
    let plain = in_consul(&agents.address(0));
    let [one, two] = [&id1, &id2].map(|id| plain.clone().with_session(Some(id.clone())));
    let claim = one.claim(&name("lan"), &owner("web"), None).unwrap();
    plain.hold(&claim, &user("h0")).unwrap();
    one.hold(&claim, &user("h1")).unwrap();
    one.hold(&claim, &user("h1")).unwrap();
    assert_eq!(plain.all(&name("lan")).unwrap()[0].user, Some(user("h1")));
    assert!(matches!(two.hold(&claim, &user("h2")), Err(ClaimError::InUse { by, .. }) if by == "h1"));
    two.let_go(&claim, &user("h2")).unwrap();
    assert!(matches!(plain.release(&name("lan"), &owner("web")), Err(ClaimError::InUse { .. })), "its use is locked");
    assert!(!plain.forget(&name("lan"), &plain.all(&name("lan")).unwrap()[0]).unwrap());
    consul.end_session(&id1).unwrap();
    assert!(matches!(one.hold(&claim, &user("h1")), Err(ClaimError::NoSession)));
    eventually("another host has it once the session has ended", || two.hold(&claim, &user("h2")).is_ok());
    two.let_go(&claim, &user("h2")).unwrap();
    assert_eq!(plain.release(&name("lan"), &owner("web")).unwrap(), Some(claim.addr.ip()));
    assert!(matches!(two.hold(&claim, &user("h2")), Err(ClaimError::Lost { .. })), "a claim that was released is not used");
    assert_eq!(consul.keys_under("pipework/", Freshness::Consistent).unwrap(), []);
    consul.end_session(&id2).unwrap();
}

fn what_others_wrote_there_is_told(agents: &Agents, consul: &Consul) {
    let claims = in_consul(&agents.address(0));
    let write = |key: &str, value: &str| assert!(consul.write(key, value.as_bytes(), 0, Condition::Always).unwrap());
    write("pipework/test/pools/lan/owner/web", "nonsense");
    let told = |error: ClaimError| format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(told(claims.claim(&name("lan"), &owner("web"), None).unwrap_err()).contains("it holds no address"));
    write("pipework/test/pools/lan/owner/web", "192.168.116.101");
    assert!(told(claims.claim(&name("lan"), &owner("web"), None).unwrap_err()).contains("there is no pipework/test/pools/lan/ip/"));
    write("pipework/test/pools/lan/ip/192.168.116.101", r#"{"owner":"db","since":"","seen":""}"#);
    assert!(told(claims.claim(&name("lan"), &owner("web"), None).unwrap_err()).contains("belongs to db"));
    write("pipework/test/pools/lan/ip/192.168.116.101", "?");
    assert!(told(claims.claim(&name("lan"), &owner("web"), None).unwrap_err()).contains("holds no claim"));
    consul.erase("pipework/test/pools/lan/owner/web", None).unwrap();
    // An address whose value is nonsense is nobody's to take.
    let got: Vec<IpAddr> = (0..8).map(|n| claims.claim(&name("lan"), &owner(&format!("f{n}")), None).unwrap().addr.ip()).collect();
    assert!(!got.contains(&ip("192.168.116.101")));
    assert!(matches!(claims.claim(&name("lan"), &owner("late"), None), Err(ClaimError::Full { .. })));
    consul.ask(pipework::external::consul::Verb::Delete, "kv/pipework", &[("recurse", "")], b"", 10 * SECOND).unwrap();
}

/// Something between us and the agent swallows the answer to the first transaction, which took effect.
fn a_write_without_an_answer_is_read_back(agents: &Agents) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (near, far) = (listener.local_addr().unwrap(), format!("{}:8500", agents.ip(0)));
    let swallowed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let has_swallowed = swallowed.clone();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, mut far) = (near.unwrap(), std::net::TcpStream::connect(&far).unwrap());
            let mut buffer = [0; 65536];
            // One request and its answer after another.
            while let Ok(read @ 1..) = near.read(&mut buffer) {
                far.write_all(&buffer[..read]).unwrap();
                let is_write = buffer.starts_with(b"PUT /v1/txn");
                if is_write {
                    far.set_read_timeout(Some(SECOND / 5)).unwrap();
                    // The body may come in a piece of its own.
                    near.set_read_timeout(Some(SECOND / 20)).unwrap();
                    if let Ok(read @ 1..) = near.read(&mut buffer) {
                        far.write_all(&buffer[..read]).unwrap();
                    }
                    near.set_read_timeout(None).unwrap();
                }
                let Ok(read @ 1..) = far.read(&mut buffer) else { break };
                if is_write && !swallowed.swap(true, std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                near.write_all(&buffer[..read]).unwrap();
            }
        }
    });
    let claims = in_consul(&format!("http://{near}"));
    let claim = claims.claim(&name("lan"), &owner("web"), None).unwrap();
    assert!(has_swallowed.load(std::sync::atomic::Ordering::SeqCst));
    assert!(claim.is_new, "it is its own write that it found");
    assert_eq!(in_consul(&agents.address(0)).all(&name("lan")).unwrap().len(), 1);
    claims.release(&name("lan"), &owner("web")).unwrap();
}

// ---- twelve workers on three hosts, killed at random ----

const WORKER: &str = "PIPEWORK_TEST_CLAIM_WORKER";
const WORKERS: usize = 12;
const REQUESTS: usize = 300;

/// A process of its own: claims an address for each of its owners, and tells each with the time that it took.
#[test]
fn worker() {
    let Ok(job) = std::env::var(WORKER) else { return };
    let [where_, number] = job.split(' ').collect::<Vec<_>>()[..] else { panic!("{job}") };
    let claims: Box<dyn Claims> = match where_.strip_prefix("files:") {
        Some(dir) => Box::new(FileClaims::new(&Path::new(dir).join("pools.toml"), &Path::new(dir).join("state"))),
        None => Box::new(in_consul(where_)),
    };
    let number: usize = number.parse().unwrap();
    for request in 0..REQUESTS / WORKERS {
        let owner = owner(&format!("w{number}/{request}"));
        let begun = Instant::now();
        let claimed = claims.claim(&name("large"), &owner, None);
        let us = begun.elapsed().as_micros();
        match claimed {
            Ok(claim) => println!("\nclaim {owner} {} {us}", claim.addr.ip()),
            Err(ClaimError::Full { .. }) => println!("\nclaim {owner} none {us}"),
            Err(error) => panic!("{error} {:?}", std::error::Error::source(&error)),
        }
    }
    println!("\nclaim all done 0");
}

struct Worker {
    child: Child,
    job: String,
    out: std::path::PathBuf,
}

impl Worker {
    fn start(dir: &Path, job: String, number: usize) -> Self {
        let out = dir.join(format!("worker-{number}"));
        let file = std::fs::File::options().create(true).append(true).open(&out).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker", "--nocapture"]).env(WORKER, &job).stdout(file).stderr(Stdio::inherit());
        Self { child: command.spawn().unwrap(), job, out }
    }

    fn words(&self) -> Vec<(String, String, u64)> {
        let text = std::fs::read_to_string(&self.out).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("claim "));
        let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            [owner, addr, us] => Some((owner.to_owned(), addr.to_owned(), us.parse().ok()?)),
            _ => None,
        };
        lines.filter_map(line).collect()
    }
}

fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() % below
}

/// Workers at these places, killed at random and started again until all are done. Nobody gets what another has.
fn workers_that_are_killed(dir: &Path, places: &[String], claims: &dyn Claims) {
    let mut workers: Vec<Worker> = (0..WORKERS).map(|n| Worker::start(dir, format!("{} {n}", places[n % places.len()]), n)).collect();
    let mut kills = 0;
    for round in 0.. {
        std::thread::sleep(Duration::from_millis(5 + random(30)));
        let done = |worker: &mut Worker| worker.child.try_wait().unwrap().is_some();
        let mut running: Vec<usize> = (0..WORKERS).filter(|n| !done(&mut workers[*n])).collect();
        if running.is_empty() {
            break;
        }
        if round < 30 {
            let n = running.swap_remove(usize::try_from(random(running.len() as u64)).unwrap());
            workers[n].child.kill().unwrap();
            workers[n].child.wait().unwrap();
            workers[n] = Worker::start(dir, workers[n].job.clone(), n);
            kills += 1;
        }
    }
    let (mut of_owner, mut times): (BTreeMap<String, String>, Vec<u64>) = (BTreeMap::new(), Vec::new());
    for worker in &mut workers {
        assert!(worker.child.wait().unwrap().success());
        for (owner, addr, us) in worker.words().into_iter().filter(|(owner, ..)| owner != "all") {
            times.push(us);
            match of_owner.get(&owner).filter(|had| *had != "none") {
                Some(had) => assert_eq!(*had, addr, "{owner} had it before its worker was killed"),
                None => drop(of_owner.insert(owner, addr)),
            }
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100] as f64 / 1000.0;
    println!("{} claims, {kills} workers killed: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", times.len(), at(50), at(99), at(100));
    assert!(kills > 0, "none was killed");

    assert_eq!(of_owner.len(), REQUESTS);
    let got: Vec<&String> = of_owner.values().filter(|addr| *addr != "none").collect();
    let different: BTreeSet<&&String> = got.iter().collect();
    assert_eq!((got.len(), different.len()), (254, 254), "all are given, none twice");
    let all = claims.all(&name("large")).unwrap();
    assert_eq!(all.len(), 254);
    assert!(all.iter().all(|claimed| of_owner[&claimed.owner.to_string()] == claimed.addr.to_string()));
    for owner_is in of_owner.keys() {
        let released = claims.release(&name("large"), &owner(owner_is)).unwrap();
        assert_eq!(released.map_or("none".into(), |ip| ip.to_string()), of_owner[owner_is]);
    }
    assert_eq!(claims.all(&name("large")).unwrap(), [], "nothing is left");
}

#[test]
fn workers_of_three_hosts_killed_at_random_get_no_address_twice_and_leave_none_behind() {
    if no_consul() {
        return;
    }
    let agents = Agents::three();
    let dir = tempfile::tempdir().unwrap();
    let places: Vec<String> = (0..3).map(|n| agents.address(n)).collect();
    workers_that_are_killed(dir.path(), &places, &in_consul(&places[0]));
    assert_eq!(agents.client(0).keys_under("pipework/", Freshness::Consistent).unwrap(), []);
}

#[test]
fn workers_of_one_host_killed_at_random_get_no_address_twice_and_leave_none_behind() {
    let dir = tempfile::tempdir().unwrap();
    let claims = in_files(dir.path());
    workers_that_are_killed(dir.path(), &[format!("files:{}", dir.path().display())], &claims);
    assert_eq!(std::fs::read_dir(dir.path().join("state/pools/large/owner")).unwrap().count(), 0);
}

#[test]
fn claims_wait_for_a_new_leader_and_fail_clearly_while_nobody_is_there() {
    if no_consul() {
        return;
    }
    let mut agents = Agents::three();
    let leader = agents.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    let claims = Arc::new(in_consul(&agents.address(others[0])).with_patience(40 * SECOND));
    let first = claims.claim(&name("lan"), &owner("web"), None).unwrap();
    agents.kill(leader);
    let begun = Instant::now();
    let second = claims.claim(&name("lan"), &owner("db"), None).unwrap();
    println!("leader killed: the next claim took {:.2} s", begun.elapsed().as_secs_f64());
    assert_ne!(first.addr, second.addr);

    others.iter().for_each(|n| agents.kill(*n));
    let short = claims.as_ref().clone().with_patience(SECOND / 2);
    let error = short.claim(&name("lan"), &owner("late"), None).unwrap_err();
    assert!(error.may_pass(), "{error}");
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("cannot be reached"), "{error}: {why}");
    // One that waits has it as soon as they are back.
    let waiting = claims.clone();
    let waits = std::thread::spawn(move || waiting.claim(&name("lan"), &owner("late"), None));
    std::thread::sleep(SECOND / 2);
    (0..3).for_each(|n| agents.start(n));
    let late = waits.join().unwrap().unwrap();
    let all: BTreeSet<IpAddr> = claims.all(&name("lan")).unwrap().into_iter().map(|claimed| claimed.addr).collect();
    assert_eq!(all, BTreeSet::from([first.addr.ip(), second.addr.ip(), late.addr.ip()]), "nothing is lost");
}
