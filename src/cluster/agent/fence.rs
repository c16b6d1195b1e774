//! Taking addresses down that this host may not have any more: first so that nobody hears of them, all of them; then for good.
//!
//! It waits for a time, and for nothing else: neither for Consul nor for whoever is at work on a guest.

use std::collections::BTreeSet;
use std::time::Duration;

use super::clock::Moment;
use super::ledger::Place;
use super::{Core, lock};
use crate::frontend::daemon::board::{Event, Kind};
use crate::lifecycle::tend;
use crate::model::record::Record;

/// An address that is being given to a guest at the very moment is not recorded yet: it is looked for so often, and so long.
const AGAIN: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);
/// The longest sleep: an end is noticed within it.
const NAP: Duration = Duration::from_millis(500);

/// Stands guard for as long as the agent runs.
pub(super) fn stand(core: &Core) {
    let mut late: Vec<(Place, u64, Moment)> = Vec::new();
    while !core.has_ended() {
        let session_is_over = core.session().is_over(Moment::now());
        if session_is_over {
            late.extend(take_all_down(core));
        }
        let condemned = std::mem::take(&mut *lock(&core.condemned));
        late.extend(condemned.into_iter().map(|(place, netns)| (place, netns, Moment::now())));
        late.retain(|(place, netns, since)| {
            let is_again = core.ledger().uses().any(|(own, one)| own == place && one.user.netns == *netns && one.sure);
            let ends = is_again || take_down(core, &[(place.clone(), *netns)]) > 0 || Moment::now().since(*since) > LONGEST;
            !ends
        });
        wait(core, !late.is_empty());
    }
}

/// Sleeps until the deadline, or until somebody says that something is to be done.
fn wait(core: &Core, is_late: bool) {
    let session = core.session();
    let deadline = session.deadline().map(|deadline| deadline.since(Moment::now()));
    let time = deadline.unwrap_or(NAP).min(if is_late { AGAIN } else { NAP });
    let is_due = !lock(&core.condemned).is_empty();
    if !time.is_zero() && !is_due {
        drop(core.alarm.wait_timeout(session, time));
    }
}

/// The session cannot be relied on. Returns what was not found: it may be just about to come up.
fn take_all_down(core: &Core) -> Vec<(Place, u64, Moment)> {
    let uses: Vec<(Place, u64)> = {
        let mut ledger = core.ledger();
        ledger.doubt();
        ledger.uses().map(|(place, one)| (place.clone(), one.user.netns)).collect()
    };
    // None is waited for before all are silent.
    silence(core, &uses);
    core.session().fenced();
    take_down(core, &uses);
    let now = Moment::now();
    let left: BTreeSet<(Place, u64)> = core.ledger().uses().map(|(place, one)| (place.clone(), one.user.netns)).collect();
    uses.into_iter().filter(|one| left.contains(one)).map(|(place, netns)| (place, netns, now)).collect()
}

/// The attachments that have these addresses.
pub(super) fn records(core: &Core, (place, netns): &(Place, u64)) -> Vec<Record> {
    let of_guest = tend::recorded_of(*netns, &core.lifecycle).unwrap_or_default();
    of_guest.into_iter().filter(|record| record.addrs().any(|addr| addr == place.1)).collect()
}

fn silence(core: &Core, uses: &[(Place, u64)]) {
    for one in uses {
        for record in records(core, one) {
            // Whatever hinders it: it is taken away next.
            let _ = tend::silence(&record);
        }
    }
}

/// Takes them away, and tells of it. Returns how many there were.
fn take_down(core: &Core, uses: &[(Place, u64)]) -> usize {
    silence(core, uses);
    let mut count = 0;
    for one in uses {
        let is_again = core.ledger().uses().any(|(place, again)| *place == one.0 && again.user.netns == one.1 && again.sure);
        if is_again {
            continue;
        }
        let records = records(core, one);
        let is_down = records.iter().filter(|record| take_away(core, record)).count() == records.len();
        count += records.len();
        // One that could not be taken down keeps its lock, as long as that lasts.
        if !records.is_empty() && is_down {
            core.ledger().end(&one.0, one.1);
        }
    }
    core.changed();
    count
}

/// Takes one away. Returns whether nobody hears it any more.
fn take_away(core: &Core, record: &Record) -> bool {
    let is_silent = tend::silence(record).is_ok();
    let taken = tend::release(record.guest.netns, &record.interface, &core.lifecycle, &mut |_| {});
    let (is_whole, why) = match taken {
        Ok(Some(retired)) if !retired.left.is_empty() => (false, format!("could not {}", retired.left.join("; could not "))),
        Err(error) => (false, error.chain().join(": ")),
        Ok(_) => (true, "another host may have it now".to_owned()),
    };
    core.board.tell(Event {
        guest: Some(record.guest.word.to_string()),
        container: record.guest.container.clone(),
        interface: Some(record.interface.to_string()),
        addresses: record.addrs().map(|addr| addr.to_string()).collect(),
        source: Some("cluster".into()),
        why: Some(why),
        ..Event::new(Kind::Lost)
    });
    is_whole || is_silent
}
