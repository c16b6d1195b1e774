//! `pipework cluster agent` where engines, agents and all of a host die: an address goes on to who is to have it, and nobody else
//! ever answers for it. One lab for all of it, as in `cluster_agent`.
//!
//! `PIPEWORK_ENGINE=frozen` has an engine stand still in place of dying.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::agents::{Pings, TTL, Watch, World, epoch, eventually_of, never_two_holders};
use lab::cluster::{Host, no_consul};
use lab::engine::no_engine;
use nix::sys::signal::Signal;

/// The time to live of host 3's session, in seconds, which is waited for.
const SHORT: u64 = 4;

type Slots = BTreeMap<String, String>;

#[test]
fn addresses_outlive_engines_agents_and_hosts_and_have_one_holder_all_the_time() {
    if no_consul() || no_engine() {
        return;
    }
    let begun = Instant::now();
    let mut world = World::of([TTL, TTL, SHORT]);
    let slots = world.service();
    eprintln!("lab and service: {:?}", begun.elapsed());
    a_dead_engine_s_slot_goes_to_its_successor(&mut world, &slots);
    eprintln!("engine: {:?}", begun.elapsed());
    all_is_started_again(&mut world, &slots);
    eprintln!("all started again: {:?}", begun.elapsed());
    let own = a_container_of_host_3(&world);
    an_agent_that_slept_takes_down_what_another_may_have(&mut world, &own);
    eprintln!("slept: {:?}", begun.elapsed());
    an_agent_that_begins_too_late_takes_down_what_it_cannot_prove(&mut world, &own);
    eprintln!("begun too late: {:?}", begun.elapsed());
    what_is_detached_by_hand_is_let_go(&world);
    eprintln!("detached by hand: {:?}", begun.elapsed());
    what_was_taken_back_while_no_agent_ran_goes(&mut world, &slots, &own);
    eprintln!("all: {:?}", begun.elapsed());
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
    let is_frozen = std::env::var("PIPEWORK_ENGINE").is_ok_and(|how| how == "frozen");
    if is_frozen {
        world.lab.host(before.0).freeze_engine(false);
    } else {
        world.lab.host_mut(before.0).end_engine(Signal::SIGKILL);
    }
    assert!(world.answers(&address), "its containers go on");
    let moved = world.moves(&slot, &before, &address, "engine killed", pings);
    eprintln!("engine killed: answers elsewhere {:?} later", killed.elapsed());
    assert_ne!(moved.to, before.0);
    assert_eq!(world.owners().get(&slot), slots.get(&slot), "its address is the same");
    if is_frozen {
        world.lab.host(before.0).freeze_engine(true);
    } else {
        world.lab.host_mut(before.0).begin_engine();
    }
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

fn a_container_of_host_3(world: &World) -> String {
    world
        .lab
        .host(3)
        .docker("run -d --net none --name own --label pipework.lan='br0 pool:lan' box sh -c 'trap exit TERM; sleep 100000 & wait'");
    eventually_of("the container answers", || world.owners().get("own").is_some_and(|at| world.answers(at)), || world.logs());
    world.owners()["own"].clone()
}

/// Stopped for so long that its session ended, and the address became another's: it is down before anything else is done, and
/// stays so until the other lets go.
fn an_agent_that_slept_takes_down_what_another_may_have(world: &mut World, own: &str) {
    let one = world.lab.host(1);
    let session_of = |name: &str| {
        let all = one.consul("/v1/session/list");
        let is_it = |session: &&serde_json::Value| session["Name"].as_str().is_some_and(|is| is.ends_with(name));
        all.as_array().and_then(|all| Some(all.iter().find(is_it)?["ID"].as_str()?.to_owned()))
    };
    let is_held = || world.holder(own).as_deref() == Some("consul03") && world.answers(own);
    eventually_of("it is locked again", is_held, || world.logs());
    let watch = Watch::begin(&world.lab.switch, &[own.to_owned()].into());
    Host::signal(&world.agents[&3], Signal::SIGSTOP);
    eventually_of("its session ends", || session_of("on consul03").is_none(), || world.logs());
    let put = |path: &str, body: &str| one.sh(&format!("curl -s -X PUT -d '{body}' 'http://127.0.0.1:8500/v1/{path}'"));
    let made: serde_json::Value =
        serde_json::from_str(&put("session/create", r#"{"Name":"other","LockDelay":"1ms","NodeChecks":[]}"#)).unwrap();
    let other = made["ID"].as_str().unwrap();
    let take = || put(&format!("kv/pipework/lab/pools/lan/use/{own}?acquire={other}"), r#"{"host":"other","netns":1}"#) == "true";
    eventually_of("another has the address", take, || world.logs());
    assert!(world.answers(own), "nobody takes it down while its agent sleeps");
    let woken = Instant::now();
    let since = epoch("now");
    let nsenter = nix::unistd::Pid::from_raw(i32::try_from(world.agents[&3].id()).unwrap());
    Host::signal(&world.agents[&3], Signal::SIGCONT);
    // It stops with its child, and would not see its end.
    nix::sys::signal::kill(nsenter, Signal::SIGCONT).unwrap();
    eventually_of("it is down", || !world.answers(own), || world.logs());
    eprintln!("slept: silent {:?} after it went on", woken.elapsed());
    std::thread::sleep(Duration::from_secs(2));
    assert!(!world.answers(own), "it stays down while another may have it");
    let seen = watch.end();
    let last = seen[own].iter().map(|(.., until)| *until).fold(0.0, f64::max);
    eprintln!("slept: the switch saw the last answer {:.2} s after it went on", last - since);
    put(&format!("session/destroy/{other}"), "");
    eventually_of("it comes back", || world.answers(own), || world.logs());
}

/// Killed, and started again when its session's time is over and nobody can be asked: nothing is proven, so all goes down.
fn an_agent_that_begins_too_late_takes_down_what_it_cannot_prove(world: &mut World, own: &str) {
    eventually_of("it is locked", || world.holder(own).as_deref() == Some("consul03"), || world.logs());
    world.end_agent(3, Signal::SIGKILL);
    world.lab.cut(3);
    std::thread::sleep(Duration::from_secs(SHORT));
    let is_up = |world: &World| world.lab.host(3).space.sh("ip -br link show master br0 up").lines().any(|line| !line.starts_with("ens32"));
    assert!(is_up(world), "a process that does not run takes nothing down");
    let begun = Instant::now();
    world.start_agent(3);
    eventually_of("host 3 is silent", || !is_up(world), || world.logs());
    eprintln!("begun too late: silent {:?} after it began", begun.elapsed());
    world.lab.mend(3);
    let mended = Instant::now();
    eventually_of("the container is back", || world.answers(own), || world.logs());
    eprintln!("begun too late: back {:?} after the cut was mended", mended.elapsed());
}

fn what_is_detached_by_hand_is_let_go(world: &World) {
    let host = world.lab.host(1);
    host.container("plain");
    host.ok("br0 plain pool:lan --persist");
    let address = world.owners()["plain"].clone();
    eventually_of("it is locked", || world.holder(&address).as_deref() == Some("consul01"), || world.logs());
    host.ok("detach plain");
    eventually_of("it is let go", || world.holder(&address).is_none(), || world.logs());
    assert_eq!(world.owners().get("plain"), Some(&address), "what is claimed stays claimed");
    assert!(!world.answers(&address));
}

fn what_was_taken_back_while_no_agent_ran_goes(world: &mut World, slots: &Slots, own: &str) {
    world.all_answer(slots, "before");
    (1..=3).for_each(|number| world.end_agent(number, Signal::SIGKILL));
    world.lab.host(1).ok("cluster detach web");
    assert!(slots.values().all(|address| world.answers(address)), "nobody has heard it");
    (1..=3).for_each(|number| world.start_agent(number));
    let begun = Instant::now();
    for address in slots.values() {
        eventually_of("the address is gone", || !world.answers(address), || world.logs());
        eventually_of("its lock, too", || world.holder(address).is_none(), || world.logs());
    }
    eprintln!("taken back: gone {:?} after the agents began", begun.elapsed());
    eventually_of("what was not taken back stays", || world.answers(own), || world.logs());
}
