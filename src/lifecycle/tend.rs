//! Looking after what is wanted in guests that are known already: for a process that runs for long, began as every run does
//! ([`begin`]), and heard who it is about.

use super::attach::attach_together;
use super::claims::let_go;
use super::converge::replace_together;
use super::repair::request_of;
use super::takeback::{Removal, find, is_dead};
use super::together::Together;
use super::{AttachError, Attached, DetachError, Options, keeper, recording};
use crate::guest::{Directory, trace};
use crate::kernel::{System, observe};
use crate::model::error::KernelError;
use crate::model::facts::guest_if;
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::report::Outcome;
use crate::model::request::AttachRequest;
use crate::model::types::{IfName, LinkRef};
use crate::plan::execute::{Event, Kernel};
use crate::state::{Records, Wanted};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// What has to be so before anything is done, and what runs before it left half done is seen to. Returns what the user should
/// know.
///
/// # Errors
/// When a capability is missing, or the journal cannot be read.
pub fn begin(options: &Options, watch: Watch<'_>) -> Result<Vec<String>, AttachError> {
    Together::default().begin(&options.run_dir, false, watch)
}

/// Makes an interface be as asked, whatever is there: anew, in place, or nothing at all. `guests` knows the guest.
///
/// # Errors
/// See [`AttachError`]. Then all is as it was.
pub fn tend(request: &AttachRequest, options: &Options, guests: &Directory, watch: Watch<'_>) -> Result<Attached, AttachError> {
    let together = Together { begun: true, guests: Some(guests), ..Together::default() };
    let held = together.hold(&request.guest)?;
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let is_known = !matches!(records.get(held.id.netns, &guest_if(request)), Ok(Ok(None)));
    drop(held);
    if is_known {
        return replace_together(request, options, together, watch);
    }
    // Mostly nothing is there, and one look less is needed to make it.
    match attach_together(request, options, together, watch) {
        // It is there, and nobody has recorded it, or it is not as asked.
        Ok(Attached { report, .. }) if report.result == Outcome::Unchanged => replace_together(request, options, together, watch),
        Err(AttachError::Plan(_)) => replace_together(request, options, together, watch),
        ended => ended,
    }
}

/// What was taken away of an attachment whose guest is gone.
#[derive(Clone, Debug)]
pub struct Retired {
    /// As it was recorded.
    pub record: Record,
    /// What could not be taken away: tried again by the next run.
    pub left: Vec<String>,
}

/// All attachments that are recorded on this host.
///
/// # Errors
/// When they cannot be read.
pub fn recorded(options: &Options) -> Result<Vec<Record>, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    Ok(records.all().map_err(AttachError::Unrecorded)?.all)
}

/// Those of a guest, by the number of its namespace.
///
/// # Errors
/// When they cannot be read.
pub fn recorded_of(netns: u64, options: &Options) -> Result<Vec<Record>, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    Ok(records.of_guest(netns).map_err(AttachError::Unrecorded)?.all)
}

/// Whether these are all: nothing of the guest is in a file that cannot be read.
///
/// # Errors
/// When they cannot be read.
pub fn is_clear(netns: u64, options: &Options) -> Result<bool, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    records.is_clear(netns).map_err(AttachError::Unrecorded)
}

/// What is wanted also after a restart, as requests that name their interface.
///
/// # Errors
/// When it cannot be read.
pub fn wanted(options: &Options) -> Result<Vec<AttachRequest>, AttachError> {
    let all = Wanted::of(&options.state_dir).all().map_err(AttachError::Unrecorded)?.all;
    Ok(all.into_iter().map(|(record, request)| request_of(&Record { request, ..record })).collect())
}

/// Whether an attachment is wanted also after a restart: still, by now.
pub fn is_wanted(request: &AttachRequest, options: &Options) -> bool {
    Wanted::of(&options.state_dir).has(&request.guest, &guest_if(request))
}

/// Takes away what is left of the attachments of guests that are gone, of those with these namespaces. `is_over` says of a
/// guest whose namespace is still there, though its process is not, that it is gone all the same.
///
/// # Errors
/// When records cannot be read.
pub fn retire(
    numbers: impl IntoIterator<Item = u64>,
    is_over: &dyn Fn(&Record) -> bool,
    options: &Options,
    watch: Watch<'_>,
) -> Result<Vec<Retired>, DetachError> {
    let records = recording::records(&options.run_dir)?;
    let mut all = Vec::new();
    for netns in numbers {
        for record in records.of_guest(netns)?.all {
            let has_process = record.guest.pid.is_some_and(|pid| trace::is_in(pid, netns));
            let is_gone = !has_process && (is_over(&record) || is_dead(&record)?);
            if is_gone && !record.keeper.as_ref().is_some_and(keeper::is_alive) {
                all.extend(take(&records, record, options, watch)?);
            }
        }
    }
    Ok(all)
}

/// Takes an attachment away that nobody wants any more.
///
/// # Errors
/// When records cannot be read.
pub fn release(netns: u64, interface: &IfName, options: &Options, watch: Watch<'_>) -> Result<Option<Retired>, DetachError> {
    let records = recording::records(&options.run_dir)?;
    match records.get(netns, interface)?.ok().flatten() {
        Some(record) => take(&records, record, options, watch),
        None => Ok(None),
    }
}

/// What came of taking away an attachment without waiting for anybody.
#[derive(Debug)]
pub enum Released {
    /// Another run is at work on the guest: nothing was done.
    Busy,
    /// There is none any more.
    Absent,
    /// It was taken away.
    Retired(Box<Retired>),
}

/// As [`release`], unless another run is at work on the guest.
///
/// # Errors
/// When records cannot be read.
pub fn try_release(netns: u64, interface: &IfName, options: &Options, watch: Watch<'_>) -> Result<Released, DetachError> {
    let records = recording::records(&options.run_dir)?;
    let Some(record) = records.get(netns, interface)?.ok().flatten() else { return Ok(Released::Absent) };
    let Some(_lock) = records.try_lock(netns)? else { return Ok(Released::Busy) };
    let taken = take_locked(&records, record, options, watch)?;
    Ok(taken.map_or(Released::Absent, |retired| Released::Retired(Box::new(retired))))
}

/// Lets nobody hear an attachment any more, at once: its end on the host goes down, which the guest cannot undo; where there is
/// none, the interface. It waits for nobody, also not for a run that is at work there. `false`: there is none.
///
/// # Errors
/// When the kernel refuses.
pub fn silence(record: &Record) -> Result<bool, KernelError> {
    let Some((namespace, _)) = find(record)? else { return Ok(false) };
    let mut sides = observe::open(&namespace)?;
    let mut system = System::new(&mut sides);
    let end = record.link.as_ref().and_then(|link| link.host.as_ref());
    if let Some(end) = end {
        let link = LinkRef::host(&end.name);
        // Names come again; the host's numbers do not.
        if system.index_of(&link).is_ok_and(|index| index == end.index) && system.apply(&Op::SetDown { link }).is_ok() {
            return Ok(true);
        }
    }
    system.apply(&Op::SetDown { link: LinkRef::guest(&record.interface) }).map(|()| true)
}

fn take(records: &Records, record: Record, options: &Options, watch: Watch<'_>) -> Result<Option<Retired>, DetachError> {
    let _lock = records.lock(record.guest.netns)?;
    take_locked(records, record, options, watch)
}

fn take_locked(records: &Records, record: Record, options: &Options, watch: Watch<'_>) -> Result<Option<Retired>, DetachError> {
    // Another run may have done it meanwhile.
    let now = records.get(record.guest.netns, &record.interface)?.ok().flatten().filter(|now| now.id == record.id);
    let Some(record) = now else { return Ok(None) };
    let mut taken = Removal::begin(records, record.clone())?.carry_out(&options.run_dir, watch)?;
    if taken.left.is_empty()
        && let Err(error) = let_go(&record, options)
    {
        taken.warnings.push(error.to_string());
    }
    Ok(Some(Retired { record, left: taken.left }))
}
