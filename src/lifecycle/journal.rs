//! Finishing what a run that was killed had begun: any later run does it, before its own work.

use std::path::Path;

use super::converge::identity;
use super::takeback::{Taken, take_back};
use crate::guest::trace;
use crate::kernel::flood;
use crate::kernel::netns::Namespace;
use crate::kernel::{System, observe};
use crate::model::error::KernelError;
use crate::model::op::Op;
use crate::model::record::{LinkIdentity, Record};
use crate::plan::execute::Event;
use crate::state::{Change, FloodNote, Records};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// What was found unfinished, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Changes that were taken back, or finished, in words.
    pub done: Vec<String>,
    /// What could not be: tried again by the next run.
    pub left: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What was begun by runs that do not live any more, in words.
pub(super) fn unfinished(records: &Records) -> Result<Vec<String>, std::io::Error> {
    let mut all = Vec::new();
    for (change, record) in records.unfinished()?.all {
        if records.try_lock(record.guest.netns)?.is_some() {
            all.push(format!("{} of {}: {}", record.interface, record.guest.word, change.was_cut_off()));
        }
    }
    Ok(all)
}

/// Takes back, or finishes, all that runs on this host began and did not end. What a living run is at is left to it.
///
/// # Errors
/// When the journal cannot be read.
pub fn recover(run_dir: &Path, watch: Watch<'_>) -> Result<Recovered, std::io::Error> {
    let mut recovered = Recovered::default();
    // Mostly there is no journal, or an empty one.
    if std::fs::read_dir(run_dir.join("journal")).map_or(true, |mut entries| entries.next().is_none()) {
        return Ok(recovered);
    }
    let home = Namespace::current().map_err(|error| std::io::Error::other(error.to_string()))?;
    let records = Records::of(run_dir, home.inode());
    for note in FloodNote::abandoned(run_dir, home.inode())? {
        match flood::let_in_after(note.newest()) {
            Ok(0) => note.remove(),
            Ok(ports) => {
                recovered
                    .done
                    .push(format!("{ports} ports are in their bridges' flood of multicast again, after a batch that was cut off"));
                note.remove();
            }
            Err(error) => recovered.left.push(format!("letting ports into the flood of multicast again: {error}")),
        }
    }
    let found = records.unfinished()?;
    recovered.warnings.extend(found.unreadable.iter().map(ToString::to_string));
    for (change, record) in found.all {
        let Some(_lock) = records.try_lock(record.guest.netns)? else { continue };
        // Its run may have ended it meanwhile.
        if let Some(record) = records.begun(change, record.guest.netns, &record.interface)? {
            finish(&records, change, &record, run_dir, &mut recovered, watch);
        }
    }
    Ok(recovered)
}

/// As [`recover`], for one guest, whose lock the caller has.
pub(super) fn recover_guest(records: &Records, netns: u64, run_dir: &Path, watch: Watch<'_>) -> Result<Recovered, std::io::Error> {
    let mut recovered = Recovered::default();
    for (change, record) in records.unfinished_of(netns)?.all {
        finish(records, change, &record, run_dir, &mut recovered, watch);
    }
    Ok(recovered)
}

/// Ends one change under the guest's lock. What cannot be taken back stays in the journal, for the next try.
fn finish(records: &Records, change: Change, record: &Record, run_dir: &Path, recovered: &mut Recovered, watch: Watch<'_>) {
    let what = format!("{} of {}", record.interface, record.guest.word);
    let is_committed = change != Change::Detaching && is_committed(records, record);
    let taken = match (change, is_committed) {
        (_, true) => Ok(Taken::default()),
        (Change::Detaching, _) => take_back(record, &record.done, run_dir, watch),
        (Change::Attaching | Change::Replacing, _) => take_back(record, &record.planned, run_dir, watch),
    };
    match taken {
        Ok(taken) if taken.left.is_empty() => {
            recovered.warnings.extend(taken.warnings);
            if !is_committed {
                let ended = if change == Change::Detaching { "finished" } else { "undone" };
                recovered.done.push(format!("{what}: {}, {ended}", change.was_cut_off()));
            }
            if let (Change::Replacing, false) = (change, is_committed) {
                know_again(records, record);
            }
            if let Err(error) = records.abandon(change, record.guest.netns, &record.interface) {
                recovered.warnings.push(error.to_string());
            }
        }
        Ok(taken) => recovered.left.extend(taken.left.iter().map(|left| format!("{what}: could not {left}"))),
        Err(error) => recovered.left.push(left(&what, &error)),
    }
}

/// A link that a change had taken away, and that was made again, has another index than its record says.
fn know_again(records: &Records, begun: &Record) {
    let remade = begun.planned.iter().any(|op| matches!(op, Op::TakeBack { .. }));
    let Ok(Ok(Some(record))) = records.get(begun.guest.netns, &begun.interface) else { return };
    let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns).filter(|_| remade) else { return };
    let Ok(mut sides) = observe::open(&namespace) else { return };
    if let Ok(link) = identity(&mut System::new(&mut sides), &record.interface) {
        let mac = record.link.as_ref().and_then(|link| link.mac);
        // Should it not be written, the link is still known by its mark.
        let _ = records.put(&Record { link: Some(LinkIdentity { mac, ..link }), ..record });
    }
}

fn left(what: &str, error: &KernelError) -> String {
    format!("{what}: what a run that was cut off left could not be looked at: {error}")
}

/// Whether the run came to write the record before it was cut off.
fn is_committed(records: &Records, begun: &Record) -> bool {
    let now = records.get(begun.guest.netns, &begun.interface);
    matches!(now, Ok(Ok(Some(now))) if now.id == begun.id && now.revision >= begun.revision)
}
