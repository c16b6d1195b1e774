//! Whom an address is to go to whose holder has lost its engine.
//!
//! Containers go on when their engine dies, and hold their addresses, while Swarm starts their successors elsewhere. A host that
//! waits for an address says so in Consul, beside the lock:
//!
//! ```text
//! PREFIX/wanted/lan/192.168.116.120    {"host":"h3","container":"web.1.x","netns":...}   locked by the session of who waits
//! ```
//!
//! The host that has it asks its own engine about the container. Where that says nothing, and for some time already, the address
//! goes down here, and then to the one who waits. An engine that answers keeps what it runs: whoever waits then waits in vain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Moment;
use super::ledger::Place;
use super::{Core, fence, lock};
use crate::cluster::claims;
use crate::external::consul::{Condition, ConsulError, Freshness, Pair};
use crate::frontend::daemon::board::{Event, Kind};
use crate::guest::containers::ContainerEngine;
use crate::lifecycle::claims::User;

/// An engine that is being started again is back by then, or within half of the session's time where that is longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take for one answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often it is asked, and the longest sleep: an end is noticed within it.
const NAP: Duration = Duration::from_millis(500);
/// So long a change is waited for.
const WATCH: Duration = Duration::from_secs(60);
/// After an answer that did not come, and before what another host asks for, too, is asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// So many requests of others are looked at.
const MOST: usize = 4096;

fn folder(core: &Core) -> String {
    format!("{}/wanted/", core.prefix)
}

fn key(core: &Core, (pool, addr): &Place) -> String {
    format!("{}{pool}/{addr}", folder(core))
}

/// Follows what others ask for, for as long as the agent runs.
pub(super) fn follow(core: &Core) {
    let (mut index, folder) = (0, folder(core));
    while !core.has_ended() {
        match core.consul.watch_under(&folder, index, WATCH) {
            Ok((pairs, next)) => {
                *lock(&core.asked_for) = Some(read(&pairs, &folder, &core.host));
                core.changed();
                // An index that went back begins anew.
                index = if next < index { 0 } else { next };
            }
            // What was asked for may not be so any more.
            Err(_) => {
                *lock(&core.asked_for) = None;
                index = 0;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// What other hosts' live sessions ask for.
fn read(pairs: &[Pair], folder: &str, host: &str) -> BTreeMap<Place, User> {
    let one = |pair: &Pair| {
        let (pool, addr) = pair.key.strip_prefix(folder)?.split_once('/')?;
        let user = claims::user(pair).filter(|user| pair.session.is_some() && user.host != host)?;
        Some(((pool.parse().ok()?, addr.parse().ok()?), user))
    };
    pairs.iter().take(MOST).filter_map(one).collect()
}

/// Asks for what is waited for here, and gives what others ask for, for as long as the agent runs.
pub(super) fn tend(core: &Core) {
    let (mut asking, mut doubts, mut news) = (Asking::default(), BTreeMap::new(), 0);
    let (engines, _) = ContainerEngine::all();
    while !core.has_ended() {
        core.await_change(&mut news, NAP);
        // Whatever is not answered is asked again.
        let _ = asking.see(core);
        // Nobody can have anything while this host does not hear what is asked for: then whatever it has stays as it is.
        let heard = lock(&core.asked_for).clone();
        let Some(asked) = heard.filter(|_| core.live().is_some()) else {
            doubts.clear();
            continue;
        };
        let freed = core.ledger().yield_no_more(&asked.keys().cloned().collect());
        core.bell_again(freed);
        doubts.retain(|place, _| asked.contains_key(place));
        let mut silent = BTreeSet::new();
        for (place, user) in &asked {
            give(core, place, user, &engines, &mut silent, &mut doubts);
        }
    }
}

/// What this host asks for.
#[derive(Default)]
struct Asking {
    /// Under which session; when it was tried last.
    asked: BTreeMap<Place, String>,
    tried: BTreeMap<Place, Moment>,
    /// Whether what an agent before this one asked for has been taken back.
    is_clean: bool,
}

impl Asking {
    fn see(&mut self, core: &Core) -> Result<(), ConsulError> {
        let Some(session) = core.live() else { return Ok(()) };
        let waiting: BTreeMap<Place, u64> = {
            let ledger = core.ledger();
            // One that tries again has it in the books for a moment, and waits all the same.
            let others = ledger.waiting().iter().filter(|(place, _)| ledger.uses().all(|(own, one)| own != *place || !one.sure));
            others.filter_map(|(place, guests)| Some((place.clone(), *guests.first()?))).collect()
        };
        if !self.is_clean {
            for pair in core.way().1.keys_under(&folder(core), Freshness::Usual)? {
                self.take_back_pair(core, &pair, &session)?;
            }
            self.is_clean = true;
        }
        let over: Vec<Place> = self.asked.keys().filter(|place| !waiting.contains_key(*place)).cloned().collect();
        for place in over {
            if let Some(pair) = core.way().1.key(&key(core, &place), Freshness::Usual)? {
                self.take_back_pair(core, &pair, &session)?;
            }
            self.asked.remove(&place);
        }
        self.tried.retain(|place, _| waiting.contains_key(place));
        for (place, netns) in waiting {
            self.ask(core, place, netns, &session)?;
        }
        Ok(())
    }

    fn ask(&mut self, core: &Core, place: Place, netns: u64, session: &str) -> Result<(), ConsulError> {
        let is_asked = self.asked.get(&place).is_some_and(|by| by == session);
        let is_early = self.tried.get(&place).is_some_and(|at| Moment::now().since(*at) < PAUSE);
        if is_asked || is_early {
            return Ok(());
        }
        self.tried.insert(place.clone(), Moment::now());
        let value = serde_json::to_vec(&User { host: core.host.clone(), container: None, netns }).unwrap_or_default();
        // Of two that ask the first counts; the other is next.
        if core.way().1.write(&key(core, &place), &value, 0, Condition::Acquire(session))? {
            self.asked.insert(place, session.to_owned());
        }
        Ok(())
    }

    fn take_back_pair(&self, core: &Core, pair: &Pair, session: &str) -> Result<(), ConsulError> {
        if pair.session.as_deref() == Some(session)
            || (pair.session.is_none() && claims::user(pair).is_some_and(|user| user.host == core.host))
        {
            core.way().1.erase(&pair.key, Some(pair.modify_index))?;
        }
        Ok(())
    }
}

/// Gives an address to who asks for it, when a guest of this host has it whose engine has been silent for long enough.
fn give(
    core: &Core,
    place: &Place,
    to: &User,
    engines: &[ContainerEngine],
    silent: &mut BTreeSet<String>,
    doubts: &mut BTreeMap<Place, Moment>,
) {
    let netns = core.ledger().uses().find(|(own, _)| *own == place).map(|(_, one)| one.user.netns);
    let Some(netns) = netns else { return };
    let records = fence::records(core, &(place.clone(), netns));
    // A guest that is no engine's container is nobody's to take.
    let Some((engine, container)) = records.first().and_then(|record| Some((&record.guest.engine, record.guest.container.as_ref()?)))
    else {
        return;
    };
    let own: Vec<&ContainerEngine> = engines.iter().filter(|own| own.name() == engine).collect();
    // Nor is one whose engine is none that could be asked: a process, a sandbox, a namespace with a name.
    if own.is_empty() {
        return;
    }
    let runs = |own: &&&ContainerEngine| {
        // One that did not answer about one container is not waited for again for each.
        let runs = (!silent.contains(&own.describe())).then(|| own.runs(container, ANSWER)).flatten();
        if runs.is_none() {
            silent.insert(own.describe());
        }
        runs == Some(true)
    };
    if own.iter().find(runs).is_some() {
        doubts.remove(place);
        return;
    }
    let now = Moment::now();
    let since = *doubts.entry(place.clone()).or_insert(now);
    let known = own.iter().filter_map(|own| core.board.health().lost_since(&own.describe())).map(|since| since.elapsed()).max();
    if now.since(since).max(known.unwrap_or_default()) < PATIENCE.max(core.session().terms().ttl / 2) {
        return;
    }
    let is_new = !core.ledger().is_yielded(place, netns);
    if core.ledger().yield_up(place) && is_new {
        tell(core, place, to, engine);
    }
    core.condemn(place.clone(), netns);
}

fn tell(core: &Core, (_, addr): &Place, to: &User, engine: &str) {
    let why = format!("{addr} goes to {}, which asks for it: {engine} here says nothing any more of the container that has it", to.host);
    core.board.tell(Event { why: Some(why), source: Some("cluster".into()), ..Event::new(Kind::Warning) });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pair(key: &str, value: &str, session: Option<&str>) -> Pair {
        let session = session.map(str::to_owned);
        Pair { key: key.into(), value: value.into(), flags: 0, session, lock_index: 0, modify_index: 0 }
    }

    #[test]
    fn only_what_another_host_s_live_session_asks_for_counts() {
        let by = |host: &str| format!(r#"{{"host":"{host}","netns":7}}"#);
        let pairs = [
            pair("p/wanted/lan/10.0.0.2", &by("b"), Some("s")),
            pair("p/wanted/lan/10.0.0.3", &by("a"), Some("s")),
            pair("p/wanted/lan/10.0.0.4", &by("b"), None),
            pair("p/wanted/lan/x", &by("b"), Some("s")),
            pair("p/wanted/10.0.0.2", &by("b"), Some("s")),
            pair("p/wanted/lan/10.0.0.5", "?", Some("s")),
            pair("p/wanted/la n/10.0.0.5", &by("b"), Some("s")),
        ];
        let found = read(&pairs, "p/wanted/", "a");
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [("lan".parse().unwrap(), "10.0.0.2".parse().unwrap())]);
    }
}
