//! Bringing attachments back to what their records want: in place, or anew in a guest that was started again.

use super::converge::{replace, replace_together};
use super::takeback::{Removal, is_dead};
use super::together::Together;
use super::{AttachError, Options, recording};
use crate::guest::{self, GuestError};
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::types::IfName;
use crate::plan::execute::Event;
use crate::state::{Records, Wanted};

use super::attach::{Attached, attach_together};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// One attachment, and what came of it.
pub struct Repaired {
    /// The guest as it was named.
    pub guest: GuestRef,
    /// The interface in the guest.
    pub interface: IfName,
    /// What was done, or why nothing could be.
    pub outcome: Result<Attached, AttachError>,
}

/// Repairs the attachments of a guest, or all of them; also those that are only wanted. One that fails keeps none of the others
/// from being repaired.
///
/// # Errors
/// When the records cannot be read, or nothing is known of the guest.
pub fn repair(
    guest: Option<&GuestRef>,
    interface: Option<&IfName>,
    options: &Options,
    watch: Watch<'_>,
) -> Result<Vec<Repaired>, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let is_named = |name: &IfName| interface.is_none_or(|interface| interface == name);
    let meant: Vec<Record> = meant(guest, &records)?.into_iter().filter(|record| is_named(&record.interface)).collect();
    let mut repaired: Vec<Repaired> = Vec::new();
    for record in &meant {
        let outcome = one(record, &records, options, watch);
        repaired.push(Repaired { guest: record.guest.word.clone(), interface: record.interface.clone(), outcome });
    }
    let is_known = |word: &GuestRef, name: &IfName| meant.iter().any(|record| record.guest.word == *word && record.interface == *name);
    let wanted = Wanted::of(&options.state_dir).all().map_err(AttachError::Unrecorded)?;
    let is_meant = |word: &GuestRef| guest.is_none_or(|guest| guest == word);
    for (record, request) in wanted.all.iter().filter(|(record, request)| is_meant(&request.guest) && is_named(&record.interface)) {
        let interface = &record.interface;
        if !is_known(&request.guest, interface) {
            let outcome = replace(request, options, watch);
            repaired.push(Repaired { guest: request.guest.clone(), interface: interface.clone(), outcome });
        }
    }
    match (guest, repaired.is_empty()) {
        (Some(guest), true) => Err(AttachError::NotRecorded { guest: guest.to_string(), interface: interface.cloned() }),
        _ => Ok(repaired),
    }
}

/// The attachments of a guest, by what is known of it and by what it is now.
pub(super) fn meant(guest: Option<&GuestRef>, records: &Records) -> Result<Vec<Record>, AttachError> {
    let all = records.all().map_err(AttachError::Unrecorded)?.all;
    let Some(guest) = guest else { return Ok(all) };
    let held = match guest::hold(guest) {
        Ok(held) => Some(held),
        Err(error) if error.is_absence() => None,
        // An engine that does not answer need not be asked of a guest that is recorded.
        Err(_) if all.iter().any(|record| record.guest.is_called(guest)) => None,
        Err(error) => return Err(error.into()),
    };
    let is_held = |record: &Record| {
        held.as_ref().is_some_and(|held| {
            record.guest.netns == held.id.netns || (held.id.container.is_some() && record.guest.container == held.id.container)
        })
    };
    Ok(all.into_iter().filter(|record| record.guest.is_called(guest) || is_held(record)).collect())
}

/// The one attachment that is meant.
pub(super) fn only(guest: &GuestRef, interface: Option<&IfName>, options: &Options) -> Result<Record, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let mut found = meant(Some(guest), &records)?;
    found.retain(|record| interface.is_none_or(|interface| *interface == record.interface));
    if found.len() > 1 {
        let interfaces = found.iter().map(|record| record.interface.to_string()).collect();
        return Err(AttachError::Several { guest: guest.to_string(), interfaces });
    }
    found.pop().ok_or_else(|| AttachError::NotRecorded { guest: guest.to_string(), interface: interface.cloned() })
}

fn one(record: &Record, records: &Records, options: &Options, watch: Watch<'_>) -> Result<Attached, AttachError> {
    let options = &Options { ovsdb: record.database().map(str::to_owned).or_else(|| options.ovsdb.clone()), ..options.clone() };
    let request = &request_of(record);
    let guests = recording::guests(record);
    let together = Together { guests: guests.as_ref(), ..Together::default() };
    if !is_dead(record).map_err(AttachError::Observe)? {
        return replace_together(request, options, together, watch);
    }
    let held = together.hold(&record.guest.word)?;
    // Another container that was given the name is another guest.
    if let (Some(was), Some(is)) = (&record.guest.container, &held.id.container)
        && was != is
    {
        return Err(GuestError::NotFound { name: record.guest.word.to_string(), looked: vec![format!("{is} has its name now")] }.into());
    }
    drop(held);
    let moved = record.done.iter().any(|op| matches!(op, Op::MoveLink { before: Some(_), .. } | Op::MovePhy { .. }));
    if options.dry_run {
        return attach_together(request, options, together, watch);
    }
    // A NIC that came back gets its addresses back first, so that they are known when it leaves again.
    if moved {
        retire(record, records, options, watch)?;
        return attach_together(request, options, together, watch);
    }
    let attached = attach_together(request, options, together, watch)?;
    retire(record, records, options, watch)?;
    Ok(attached)
}

/// What a record wants, with the interface by its name.
pub(super) fn request_of(record: &Record) -> AttachRequest {
    AttachRequest { guest_if: Some(record.interface.clone()), ..record.request.clone() }
}

/// Takes away what is left of an attachment of a namespace that is gone, and its record.
fn retire(record: &Record, records: &Records, options: &Options, watch: Watch<'_>) -> Result<(), AttachError> {
    let _lock = records.lock(record.guest.netns).map_err(AttachError::Unrecorded)?;
    let removal = Removal::begin(records, record.clone()).map_err(AttachError::Unrecorded)?;
    removal.carry_out(&options.run_dir, watch).map_err(AttachError::Observe)?;
    Ok(())
}
