//! What the requests of one run have in common, so that it is done once for all of them.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::AttachError;
use super::attach::check_privileges;
use super::journal::recover;
use crate::guest::{self, Directory, GuestError, Held};
use crate::kernel::flood::Flood;
use crate::model::facts::GuestId;
use crate::model::record::Record;
use crate::model::request::GuestRef;
use crate::plan::execute::Event;
use crate::state::{Found, Records};

/// What a request finds done already; nothing, for one that is alone.
#[derive(Clone, Copy, Default)]
pub(super) struct Together<'a> {
    /// Whether it is known that this run may do what it is to do, and what runs before it left half done was seen to.
    pub(super) begun: bool,
    /// Keeps new ports out of the flood.
    pub(super) flood: Option<&'a Flood>,
    /// Guests that were looked up together.
    pub(super) guests: Option<&'a Directory>,
    /// What was recorded in the beginning.
    pub(super) recorded: Option<&'a Recorded>,
}

/// Which guests had attachments under which word or identifier when the run began: one that was started again has another
/// network namespace.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    by_name: HashMap<String, BTreeSet<u64>>,
}

impl Recorded {
    /// Looks once.
    pub(super) fn look(records: &Records) -> std::io::Result<Self> {
        let mut by_name: HashMap<String, BTreeSet<u64>> = HashMap::new();
        for record in records.all()?.all {
            for name in [Some(record.guest.word.to_string()), record.guest.container].into_iter().flatten() {
                by_name.entry(name).or_default().insert(record.guest.netns);
            }
        }
        Ok(Self { by_name })
    }

    /// The records, as they are now, that may be about a guest.
    pub(super) fn of(&self, records: &Records, word: &GuestRef, id: &GuestId) -> std::io::Result<Found<Record>> {
        let names = [Some(word.to_string()), id.container.clone()];
        let named = names.iter().flatten().filter_map(|name| self.by_name.get(name)).flatten().copied();
        let mut found = Found::default();
        for netns in named.chain([id.netns]).collect::<BTreeSet<u64>>() {
            let more = records.of_guest(netns)?;
            found.all.extend(more.all);
            found.unreadable.extend(more.unreadable);
        }
        Ok(found)
    }
}

impl Together<'_> {
    /// Finds a guest and holds it.
    pub(super) fn hold(&self, guest: &GuestRef) -> Result<Held, GuestError> {
        self.guests.map_or_else(|| guest::hold(guest), |guests| guests.hold(guest))
    }

    /// What has to be so before anything is done. Returns what the user should know.
    pub(super) fn begin(&self, run_dir: &Path, dry_run: bool, watch: &mut dyn FnMut(Event<'_>)) -> Result<Vec<String>, AttachError> {
        if self.begun {
            return Ok(Vec::new());
        }
        let mut warnings = check_privileges()?;
        if !dry_run {
            let recovered = recover(run_dir, watch).map_err(AttachError::Unrecorded)?;
            warnings.extend(recovered.warnings.into_iter().chain(recovered.done).chain(recovered.left));
        }
        Ok(warnings)
    }
}
