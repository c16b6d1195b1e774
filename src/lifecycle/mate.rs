//! The other end of a link between two guests, when one end is taken away: the pair goes with either, and so do both records.

use std::path::Path;

use super::detach::hand_over;
use super::takeback::{Taken, take_back_one};
use crate::model::error::KernelError;
use crate::model::op::Op;
use crate::model::record::Record;
use crate::plan::execute::Event;
use crate::state::{Change, Records};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// The record of the other end of a link, and where it stands: in the journal, when something was begun with it.
pub(super) fn of(records: &Records, record: &Record) -> std::io::Result<Option<(Option<Change>, Record)>> {
    let Some(mate) = &record.mate else { return Ok(None) };
    // Another attachment may have come to be where the other end was.
    let is_it = |found: &Record| found.id == record.id;
    if let Some(found) = records.get(mate.netns, &mate.interface)?.ok().flatten().filter(is_it) {
        return Ok(Some((None, found)));
    }
    for change in Change::ALL {
        if let Some(found) = records.begun(change, mate.netns, &mate.interface)?.filter(is_it) {
            return Ok(Some((Some(change), found)));
        }
    }
    Ok(None)
}

/// What was done for one end besides the link itself.
pub(super) fn own(steps: &[Op]) -> Vec<Op> {
    steps.iter().filter(|op| !matches!(op, Op::AddPair { .. })).cloned().collect()
}

/// Takes back all that was done for the other end but the link itself, as long as that is there to do it by, and its record.
/// `is_locked`: the caller has the lock of that guest, too. A guest that another run is at is left to it.
pub(super) fn release(records: &Records, record: &Record, is_locked: bool, run_dir: &Path, watch: Watch<'_>) -> Result<Taken, KernelError> {
    let (Some(there), Ok(Some(_))) = (&record.mate, of(records, record)) else { return Ok(Taken::default()) };
    let lock = if is_locked { None } else { records.try_lock(there.netns).ok().flatten() };
    if lock.is_none() && !is_locked {
        return Ok(Taken::default());
    }
    let Ok(Some((change, mate))) = of(records, record) else { return Ok(Taken::default()) };
    let mut mate = mate;
    let begun = match change {
        Some(_) => Ok(()),
        None => hand_over(records, &mut mate).and_then(|()| records.begin_detach(mate.guest.netns, &mate.interface)),
    };
    let (netns, interface) = (mate.guest.netns, &mate.interface);
    let failed = |error: std::io::Error| format!("record that {interface} of {} is taken away: {error}", mate.guest.word);
    if let Err(error) = begun {
        return Ok(Taken { left: vec![failed(error)], ..Taken::default() });
    }
    let own = own(if matches!(change, None | Some(Change::Detaching)) { &mate.done } else { &mate.planned });
    let mut taken = take_back_one(&mate, &own, run_dir, watch)?;
    if taken.left.is_empty()
        && let Err(error) = records.abandon(change.unwrap_or(Change::Detaching), netns, interface)
    {
        taken.left.push(failed(error));
    }
    Ok(taken)
}
