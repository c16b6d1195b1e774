//! Sees links to their guests: the engine takes a link from the host when it is done with its own part, and tells nobody. Then the
//! attachment is the guest's, and the engine can be asked what that is called.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::driver::hinted;
use super::{Shop, addresses, leases, tidy};
use crate::frontend::daemon::board::{Event, Kind};
use crate::guest::endpoints::{self, Connected};
use crate::kernel::signal::obey;
use crate::lifecycle::{self, Arrival, Told};
use crate::model::network_driver::{Endpoint, Id};
use crate::model::record::Record;
use crate::state::DriverFiles;

/// Between two looks at links that are on their way: at first, and at most.
const LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// Between two questions to the engine.
const ASK: Duration = Duration::from_millis(300);
/// So long it is looked whether the engine makes another network the way out.
const SETTLING: Duration = Duration::from_secs(3);
/// After so long, only who tidies up looks at it again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often what the engine has no more is looked for.
const TIDY: Duration = Duration::from_secs(60);
/// How often it is said of claims that they are used: it is written at most once an hour.
const REFRESH: Duration = Duration::from_secs(1800);
const TIDY_SOON: Duration = Duration::from_secs(1);

/// Whom to look after.
#[derive(Debug, Default)]
pub(super) struct Usher {
    guests: Mutex<Guests>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Guests {
    on_their_way: BTreeMap<Id, Going>,
    is_woken: bool,
    /// An engine has begun: it may have forgotten something.
    is_new_engine: bool,
}

#[derive(Clone, Copy, Debug)]
struct Going {
    since: Instant,
    next: Instant,
    is_there: bool,
}

impl Usher {
    /// Those in a guest are looked at: a link is about to come to it, or has gone.
    pub(super) fn expect_all(&self, files: &DriverFiles, sandbox: Option<&str>) {
        let all = files.endpoints().unwrap_or_default();
        let there = all.into_iter().filter(|endpoint| endpoint.link.is_some() && endpoint.sandbox.as_deref() == sandbox);
        there.for_each(|endpoint| self.expect(endpoint.id));
    }

    fn expect(&self, endpoint: Id) {
        let now = Instant::now();
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.on_their_way.insert(endpoint, Going { since: now, next: now + LOOK, is_there: false });
        drop(guests);
        self.wake();
    }

    /// An engine has begun.
    pub(super) fn new_engine(&self) {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).is_new_engine = true;
        self.wake();
    }

    fn is_new_engine(&self) -> bool {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).is_new_engine
    }

    fn engine_is_known(&self) {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).is_new_engine = false;
    }

    pub(super) fn wake(&self) {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).is_woken = true;
        self.bell.notify_all();
    }

    /// Waits until somebody is due, or that time is over. Returns who is.
    fn due(&self, longest: Duration) -> Vec<(Id, Going)> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let next = guests.on_their_way.values().map(|going| going.next.saturating_duration_since(Instant::now())).min();
        let time = next.unwrap_or(longest).min(longest);
        if !guests.is_woken && !time.is_zero() {
            guests = self.bell.wait_timeout(guests, time).map_or_else(|error| error.into_inner().0, |(guests, _)| guests);
        }
        guests.is_woken = false;
        let now = Instant::now();
        guests.on_their_way.iter().filter(|(_, going)| going.next <= now).map(|(id, going)| (id.clone(), *going)).collect()
    }

    fn settle(&self, id: &Id, seen: Going, then: Option<(Duration, bool)>) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been expected anew meanwhile.
        let Some(going) = guests.on_their_way.get_mut(id).filter(|going| going.since == seen.since) else { return };
        match then.filter(|_| going.since.elapsed() < PATIENCE) {
            Some((pause, is_there)) => *going = Going { next: Instant::now() + pause, is_there, ..*going },
            None => drop(guests.on_their_way.remove(id)),
        }
    }
}

/// Begins: also with those that a plug-in before this one did not see to their guests.
pub(super) fn start(shop: &Arc<Shop>) -> std::io::Result<JoinHandle<()>> {
    let shop = shop.clone();
    std::thread::Builder::new().name("usher".into()).spawn(move || {
        obey(&shop.stop);
        let before = shop.files.endpoints().unwrap_or_default();
        before.into_iter().filter(|endpoint| endpoint.link.is_some()).for_each(|endpoint| shop.usher.expect(endpoint.id));
        let (mut tidied, mut suspects) = (Instant::now(), tidy::Suspects::default());
        let mut refreshed: Option<Instant> = None;
        while !shop.stop.is_asked() {
            let is_new_engine = shop.usher.is_new_engine();
            let due = shop.usher.due(if is_new_engine { TIDY_SOON } else { TIDY });
            let mut containers: Option<Vec<Connected>> = None;
            for (id, going) in due {
                let then = see(&shop, &id, going, &mut containers);
                shop.usher.settle(&id, going, then);
            }
            if tidied.elapsed() >= if is_new_engine { TIDY_SOON } else { TIDY } {
                tidied = Instant::now();
                // One that does not answer yet is asked again.
                if tidy::look(&shop, &mut suspects) {
                    shop.usher.engine_is_known();
                }
                if refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
                    refreshed = Some(Instant::now());
                    addresses::refresh(&shop).err().into_iter().for_each(|why| shop.warn(why));
                }
            }
        }
    })
}

/// Looks at one. Returns when to look again, and whether the link is there; `None` when there is nothing more to see.
fn see(shop: &Shop, id: &Id, going: Going, containers: &mut Option<Vec<Connected>>) -> Option<(Duration, bool)> {
    let endpoint = shop.files.endpoint(id).ok().flatten()?;
    let link = endpoint.link.as_ref()?;
    let record = match lifecycle::arrive(&link.attachment, &link.name, &shop.options, &mut |_| {}) {
        Ok(Arrival::There(record)) => record,
        Ok(Arrival::Waiting) => return Some(((going.since.elapsed() / 2).clamp(LOOK, LONGEST_LOOK), false)),
        Ok(Arrival::Gone) => return None,
        Err(error) => {
            shop.warn(format!("{}: {}", endpoint.guest().name, hinted(&error, error.hint())));
            return Some((LONGEST_LOOK, false));
        }
    };
    if !going.is_there && record.guest.container.is_none() {
        lifecycle::announcement(&record).into_iter().for_each(|announcement| shop.announcer.tell(announcement));
        let addresses = endpoint.addrs.iter().map(ToString::to_string).collect();
        let interface = Some(record.interface.to_string());
        shop.board.tell(Event { guest: Some(endpoint.guest().name), interface, addresses, ..Event::new(Kind::Attached) });
    }
    named(shop, &endpoint, &record, going, containers)
}

/// Asks the engine, once for all that are due.
fn named(
    shop: &Shop,
    endpoint: &Endpoint,
    record: &Record,
    going: Going,
    containers: &mut Option<Vec<Connected>>,
) -> Option<(Duration, bool)> {
    let again = Some((ASK, true));
    let all = match containers {
        Some(all) => all,
        none => none.insert(endpoints::connected().unwrap_or_default()),
    };
    let Some(owner) = all.iter().find(|one| one.endpoints.iter().any(|id| id == endpoint.id.as_str())) else { return again };
    let network = shop.files.network(&endpoint.network).ok().flatten()?;
    let options = network.options().ok()?;
    let told = Told { container: &owner.id, name: &owner.name, gateways: &network.gateways(&options, endpoint) };
    if let Err(error) = lifecycle::told(record, &told, &shop.options.run_dir) {
        shop.warn(error.to_string());
        return again;
    }
    for addr in &endpoint.addrs {
        endpoint.mac.iter().for_each(|mac| leases::belongs(shop, *mac, addr.ip(), &owner.id));
    }
    // With one network there is nothing to choose.
    let is_one = || shop.files.endpoints().unwrap_or_default().iter().filter(|other| other.sandbox == endpoint.sandbox).count() <= 1;
    again.filter(|_| going.since.elapsed() < SETTLING && !is_one())
}
