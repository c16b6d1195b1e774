//! Taking addresses down that this host may not have any more: first so that nobody hears of them, all of them; then for good.
//!
//! It waits for a time, and for nothing else: neither for Consul nor for whoever is at work on a guest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Moment;
use super::ledger::Place;
use super::{Core, lock};
use crate::frontend::daemon::board::{Event, Kind};
use crate::lifecycle::tend::{self, Released};
use crate::model::record::Record;

/// What is not down yet is tried again so often, and after so long more seldom.
const AGAIN: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);
/// The longest sleep: an end is noticed within it.
const NAP: Duration = Duration::from_millis(500);

/// What has to be down, and since when. An address that is being given to a guest at the very moment is not recorded yet, and a
/// guest may be at work on: each stays here until it is known to be down, or to be locked again.
type Late = BTreeMap<(Place, u64), Delay>;

struct Delay {
    since: Moment,
    /// Whether it was told why it is not down.
    is_told: bool,
}

impl Default for Delay {
    fn default() -> Self {
        Self { since: Moment::now(), is_told: false }
    }
}

/// Stands guard for as long as the agent runs.
pub(super) fn stand(core: &Core) {
    let mut late = Late::new();
    while !core.has_ended() {
        if core.session().is_over(Moment::now()) {
            late.extend(take_all_down(core));
        }
        for one in std::mem::take(&mut *lock(&core.condemned)) {
            late.entry(one).or_default();
        }
        let before = late.len();
        late.retain(|one, delay| !take_down(core, one, delay));
        if late.len() != before {
            core.changed();
        }
        let is_new = late.values().any(|delay| Moment::now().since(delay.since) < LONG);
        wait(core, if is_new { AGAIN } else { NAP });
    }
}

/// Sleeps until the deadline, until somebody says that something is to be done, or for so long.
fn wait(core: &Core, longest: Duration) {
    let session = core.session();
    let deadline = session.deadline().map(|deadline| deadline.since(Moment::now()));
    let time = deadline.unwrap_or(longest).min(longest);
    let is_due = !lock(&core.condemned).is_empty();
    if !time.is_zero() && !is_due {
        drop(core.alarm.wait_timeout(session, time));
    }
}

/// The session cannot be relied on. Returns what is not known to be down: it may be just about to come up.
fn take_all_down(core: &Core) -> Late {
    let uses: BTreeSet<(Place, u64)> = {
        let mut ledger = core.ledger();
        ledger.doubt();
        ledger.uses().map(|(place, one)| (place.clone(), one.user.netns)).collect()
    };
    // None is waited for before all are silent.
    uses.iter().for_each(|one| silence(core, one));
    core.session().fenced();
    let mut left: Late = uses.into_iter().map(|one| (one, Delay::default())).collect();
    left.retain(|one, delay| !take_down(core, one, delay));
    core.changed();
    left
}

/// The attachments that have these addresses.
pub(super) fn records(core: &Core, (place, netns): &(Place, u64)) -> Vec<Record> {
    recorded(core, place, *netns).unwrap_or_default()
}

/// `None`: it cannot be read.
fn recorded(core: &Core, place: &Place, netns: u64) -> Option<Vec<Record>> {
    let of_guest = tend::recorded_of(netns, &core.lifecycle).ok()?;
    Some(of_guest.into_iter().filter(|record| record.addrs().any(|addr| addr == place.1)).collect())
}

fn silence(core: &Core, one: &(Place, u64)) {
    for record in records(core, one) {
        // Whatever hinders it: it is taken away next.
        let _ = tend::silence(&record);
    }
}

/// Takes an address away from a guest, and tells of it. Returns whether nothing is left to be done.
fn take_down(core: &Core, one: &(Place, u64), delay: &mut Delay) -> bool {
    let (place, netns) = one;
    let sure = core.ledger().uses().find(|(own, again)| *own == place && again.user.netns == *netns).map(|(_, again)| again.sure);
    if sure == Some(true) {
        return true;
    }
    silence(core, one);
    let Some(records) = recorded(core, place, *netns) else { return false };
    if records.is_empty() {
        // Where it is in the books it may come up yet: whoever gives it to the guest says how that ended.
        return sure.is_none();
    }
    // All of them, whatever becomes of the first. One that is not down keeps its lock, as long as that lasts.
    let is_down = records.iter().filter(|record| take_away(core, record, delay)).count() == records.len();
    if is_down {
        core.ledger().end(place, *netns);
    }
    is_down
}

/// Takes one away. Returns whether nobody hears it any more.
fn take_away(core: &Core, record: &Record, delay: &mut Delay) -> bool {
    let is_silent = tend::silence(record).is_ok();
    let (is_whole, why) = match tend::try_release(record.guest.netns, &record.interface, &core.lifecycle, &mut |_| {}) {
        // Whoever is at work there may make it heard again.
        Ok(Released::Busy) => return false,
        Ok(Released::Absent) => return true,
        Ok(Released::Retired(retired)) if !retired.left.is_empty() => (false, format!("could not {}", retired.left.join("; could not "))),
        Err(error) => (false, error.chain().join(": ")),
        Ok(Released::Retired(_)) => (true, "another host may have it now".to_owned()),
    };
    let is_down = is_whole || is_silent;
    if !is_down && std::mem::replace(&mut delay.is_told, true) {
        return false;
    }
    core.board.tell(Event {
        guest: Some(record.guest.word.to_string()),
        container: record.guest.container.clone(),
        interface: Some(record.interface.to_string()),
        addresses: record.addrs().map(|addr| addr.to_string()).collect(),
        source: Some("cluster".into()),
        why: Some(why),
        ..Event::new(Kind::Lost)
    });
    is_down
}
