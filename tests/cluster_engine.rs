//! `pipework cluster agent` where engines, agents and all of a host die: an address goes on to who is to have it, and nobody else
//! ever answers for it. One lab for all of it, as in `cluster_agent`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::agents::{Pings, Watch, World, eventually_of, never_two_holders};
use lab::cluster::no_consul;
use lab::engine::no_engine;
use nix::sys::signal::Signal;

type Slots = BTreeMap<String, String>;

#[test]
fn addresses_outlive_engines_agents_and_hosts_and_have_one_holder_all_the_time() {
    if no_consul() || no_engine() {
        return;
    }
    let begun = Instant::now();
    let mut world = World::new();
    let slots = world.service();
    eprintln!("lab and service: {:?}", begun.elapsed());
    a_dead_engine_s_slot_goes_to_its_successor(&mut world, &slots);
    eprintln!("engine: {:?}", begun.elapsed());
    all_is_started_again(&mut world, &slots);
    eprintln!("all started again: {:?}", begun.elapsed());
}

fn a_dead_engine_s_slot_goes_to_its_successor(world: &mut World, slots: &Slots) {
    world.settled(slots);
    // Not the manager's.
    let on = |slot: &String| world.runs(slot).into_iter().find(|(host, _)| *host != 1);
    let (slot, before) = slots.keys().find_map(|slot| Some((slot.clone(), on(slot)?))).unwrap();
    let address = slots[&slot].clone();
    let watch = Watch::begin(&world.lab.switch, &slots.values().cloned().collect());
    let pings = Pings::begin(&world.lab.switch, [address.clone()]);
    let killed = Instant::now();
    world.lab.host_mut(before.0).end_engine(Signal::SIGKILL);
    assert!(world.answers(&address), "its containers go on");
    let moved = world.moves(&slot, &before, &address, "engine killed", pings);
    eprintln!("engine killed: answers elsewhere {:?} later", killed.elapsed());
    assert_ne!(moved.to, before.0);
    assert_eq!(world.owners().get(&slot), slots.get(&slot), "its address is the same");
    world.lab.host_mut(before.0).begin_engine();
    world.lab.host(before.0).await_engine();
    let back = Instant::now();
    world.settled(slots);
    world.all_answer(slots, "engine started again");
    eprintln!("engine started again: settled after {:?}", back.elapsed());
    let seen = watch.end();
    eprintln!("engine killed: holders, as the switch saw them: {:?}", seen.get(&address));
    never_two_holders(&seen, || world.logs());
}

/// As after a power cut.
fn all_is_started_again(world: &mut World, slots: &Slots) {
    for number in 1..=3 {
        world.end_agent(number, Signal::SIGKILL);
        world.lab.host_mut(number).end_consul(Signal::SIGKILL);
        world.lab.host_mut(number).end_engine(Signal::SIGKILL);
    }
    let watch = Watch::begin(&world.lab.switch, &slots.values().cloned().collect());
    let begun = Instant::now();
    let all: Vec<String> = world.lab.hosts.iter().map(|host| host.address.clone()).collect();
    for host in &mut world.lab.hosts {
        host.begin_consul(&all, "autopilot{cleanup_dead_servers=false}");
        host.begin_engine();
    }
    (1..=3).for_each(|number| world.start_agent(number));
    world.lab.hosts.iter().for_each(|host| host.await_engine());
    world.settled(slots);
    world.all_answer(slots, "all started again");
    eprintln!("all started again: each slot answers after {:?}", begun.elapsed());
    assert!(slots.iter().all(|slot| world.owners().get(slot.0) == Some(slot.1)), "each slot has its address");
    std::thread::sleep(Duration::from_secs(1));
    never_two_holders(&watch.end(), || world.logs());
    let services = || world.lab.host(1).consul("/v1/health/service/web-1?passing")[0]["Service"]["Address"] == slots["web/1"].as_str();
    eventually_of("its name is known again", services, || world.logs());
}
