//! Attaching a container while its runtime starts it, and releasing what it had once it has ended.

use std::path::Path;

use super::detach::{DetachError, DetachOptions, Which, detach_together};
use super::together::Together;
use super::{AttachError, Attached, Options, attach, recording};
use crate::external::hooks::HookSettings;
use crate::guest::{Directory, Starting};
use crate::kernel::privilege;
use crate::model::report::DetachReport;
use crate::model::request::{AttachRequest, GuestRef};
use crate::plan::execute::Event;

/// Gives a container that is just starting an interface. As [`super::attach`], but no engine is asked who it is.
///
/// # Errors
/// As there.
pub fn attach_starting(
    container: &Starting,
    request: &AttachRequest,
    options: &Options,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Attached, AttachError> {
    let directory = Directory::knowing(request.guest.clone(), container.clone());
    attach::attach_together(request, options, Together { guests: Some(&directory), ..Together::default() }, watch)
}

/// Whether anything is recorded of a container with that identifier.
pub fn is_recorded(id: &str, run_dir: &Path) -> bool {
    let records = recording::records(run_dir).ok().and_then(|records| records.all().ok());
    records.is_some_and(|found| found.all.iter().any(|record| record.guest.container.as_deref() == Some(id)))
}

/// Takes back all that is recorded of a container that has ended; what is wanted stays wanted. `None`: there is nothing.
///
/// # Errors
/// See [`DetachError`].
pub fn release(
    id: &str,
    run_dir: &Path,
    hooks: HookSettings,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Option<DetachReport>, DetachError> {
    if !is_recorded(id, run_dir) {
        return Ok(None);
    }
    privilege::check()?;
    // Its identifier, whole: a name may be another container's by now.
    let word = GuestRef::Any(id.to_owned());
    let ended = Starting { engine: None, id: id.to_owned(), name: None, pid: 0 };
    let directory = Directory::knowing(word.clone(), ended);
    let options = DetachOptions { which: Which::All, run_dir: run_dir.to_owned(), hooks, ..DetachOptions::default() };
    detach_together(&word, &options, Together { guests: Some(&directory), ..Together::default() }, watch).map(Some)
}
