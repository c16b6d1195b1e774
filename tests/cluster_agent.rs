//! `pipework cluster agent` on three hosts, each with an engine of a swarm and a Consul server: an address follows its slot, and
//! nobody else ever has it, through drains, kills, cuts and outages. One lab for all of it.
//!
//! `PIPEWORK_PARTITION=60` and `PIPEWORK_OUTAGE=60` make the cut and Consul's absence last a minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lab::agents::{Pings, TTL, Watch, World, eventually_of, never_two_holders, seconds};
use lab::cluster::no_consul;
use lab::engine::no_engine;
use lab::eventually;
use nix::sys::signal::Signal;

#[test]
fn addresses_follow_their_owners_and_are_nobody_else_s_through_drains_kills_cuts_and_outages() {
    if no_consul() || no_engine() {
        return;
    }
    let begun = Instant::now();
    let mut world = World::new();
    eprintln!("lab: {:?}", begun.elapsed());
    let slots = world.service();
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

fn a_drained_node_s_slot_keeps_its_address(world: &World, slots: &BTreeMap<String, String>) {
    world.settled(slots);
    let (slot, before) =
        slots.keys().find_map(|slot| world.runs(slot).into_iter().find(|(host, _)| *host == 2).map(|at| (slot, at))).unwrap();
    let pings = Pings::begin(&world.lab.switch, [slots[slot].clone()]);
    let watch = Watch::begin(&world.lab.switch, &slots.values().cloned().collect());
    world.lab.host(1).docker("node update --availability drain consul02");
    let moved = world.moves(slot, &before, &slots[slot], "drain", pings);
    assert!(moved.to != 2);
    // 2 s are what it takes at most; other tests run at the same time.
    eprintln!("drain: answers {:.2} s after the start", moved.since_start);
    assert!(moved.since_start < 6.0, "{:.2} s after the start\n{}", moved.since_start, world.logs());
    assert_eq!(world.owners().get(slot), slots.get(slot), "its address is the same");
    never_two_holders(&watch.end(), || world.logs());
    world.lab.host(1).docker("node update --availability active consul02");
    world.settled(slots);
    world.all_answer(slots, "after the drain");
}

fn a_killed_task_s_slot_keeps_its_address(world: &World, slots: &BTreeMap<String, String>) {
    let before = world.runs("web/1").remove(0);
    let pings = Pings::begin(&world.lab.switch, [slots["web/1"].clone()]);
    world.lab.host(before.0).docker(&format!("kill {}", before.1));
    let moved = world.moves("web/1", &before, &slots["web/1"], "kill", pings);
    eprintln!("kill: answers {:.2} s after the start", moved.since_start);
    assert!(moved.since_start < 6.0, "{:.2} s after the start\n{}", moved.since_start, world.logs());
    assert_eq!(world.owners().get("web/1"), slots.get("web/1"));
}

fn restarts_are_not_noticed(world: &mut World, slots: &BTreeMap<String, String>) {
    let pings = Pings::begin(&world.lab.switch, slots.values().cloned());
    for number in 1..=3 {
        world.end_agent(number, Signal::SIGKILL);
        world.start_agent(number);
    }
    // A host's own Consul, for longer than the sessions live: the other servers are asked.
    let all: Vec<String> = world.lab.hosts.iter().map(|host| host.address.clone()).collect();
    let host = world.lab.host_mut(3);
    host.end_consul(Signal::SIGKILL);
    std::thread::sleep(Duration::from_secs(TTL + 2));
    host.begin_consul(&all, "autopilot{cleanup_dead_servers=false}");
    std::thread::sleep(Duration::from_secs(1));
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
    world
        .lab
        .host(2)
        .docker("run -d --net none --name late --label pipework.lan='br0 pool:lan' box sh -c 'trap exit TERM; sleep 100000 & wait'");
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
    world
        .lab
        .host(3)
        .docker("run -d --net none --name own --label pipework.lan='br0 pool:lan' box sh -c 'trap exit TERM; sleep 100000 & wait'");
    let mut all = slots.clone();
    eventually_of("the container has an address", || world.owners().contains_key("own"), || world.logs());
    all.insert("own".into(), world.owners()["own"].clone());
    // So that host 3 has one.
    if !slots.keys().any(|slot| world.runs(slot).iter().any(|(host, _)| *host == 3)) {
        world.lab.host(1).docker("node update --availability drain consul02");
        // Not `-d`, and waited for: a cut in the middle of the update has Swarm wait a minute for a task that it cannot stop.
        world.lab.host(1).docker("service update --quiet --force web");
        eventually_of("a slot on host 3", || slots.keys().any(|slot| world.runs(slot).iter().any(|(host, _)| *host == 3)), || world.logs());
        world.lab.host(1).docker("node update --availability active consul02");
    }
    world.settled(slots);
    world.all_answer(&all, "before the cut");
    let watch = Watch::begin(&world.lab.switch, &all.values().cloned().collect());
    let cut = Instant::now();
    world.lab.cut(3);
    // Nothing that it has is up any more when its session's time is over.
    let is_down = || !world.lab.host(3).space.sh("ip -br link show master br0 up").lines().any(|line| !line.starts_with("ens32"));
    eventually_of("host 3 is silent", is_down, || world.logs());
    eprintln!("cut: host 3 silent after {:?}", cut.elapsed());
    assert!(cut.elapsed() < Duration::from_secs(3 * TTL), "{:?}", cut.elapsed());
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
    // After a long cut Consul's servers, which know no vote before the vote, are without a leader for some 8 s.
    let election = if seconds("PIPEWORK_PARTITION", 0) > Duration::from_secs(30) { 10 } else { 0 };
    assert!(mended.elapsed() < Duration::from_secs(30 + election), "{:?}", mended.elapsed());
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
