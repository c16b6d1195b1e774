//! Taking a guest's interface away again, whatever has become of the guest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::error::chain;
use super::hooks::{Around, Told};
use super::journal::{Recovered, recover, recover_guest};
use super::takeback::{Removal, Taken};
use super::together::Together;
use super::{foreign, keeper, mate};
use crate::external::hooks::{HookError, HookSettings};
use crate::guest::{GuestError, Held};
use crate::kernel::netns::Namespace;
use crate::kernel::privilege::{self, Missing};
use crate::kernel::signal::Signals;
use crate::model::command::Commands;
use crate::model::error::KernelError;
use crate::model::facts::GuestId;
use crate::model::hook::HookEvent;
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::report::{DetachReport, DetachedInterface, Outcome, SCHEMA};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::types::{IfName, Side};
use crate::plan;
use crate::plan::execute::Event;
use crate::state::{Records, Unreadable, Wanted};

/// Which of a guest's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The only one.
    #[default]
    Only,
    /// One by name.
    Interface(IfName),
    /// All that are recorded.
    All,
}

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct DetachOptions {
    /// Which interfaces.
    pub which: Which,
    /// Also what bears neither our mark nor one of the original's names.
    pub force: bool,
    /// Say only what would be done.
    pub dry_run: bool,
    /// List the steps in the report.
    pub steps: bool,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// Where wanted attachments are kept ([`crate::state::state_dir`]); none are when empty.
    pub state_dir: PathBuf,
    /// Address of Open vSwitch's database; `OVS_DB`'s or the usual one when absent.
    pub ovsdb: Option<String>,
    /// The administrator's own programs; none when empty.
    pub hooks: HookSettings,
}

/// Why nothing, or not all, was taken away.
#[derive(Debug, Error)]
pub enum DetachError {
    /// A capability is missing.
    #[error(transparent)]
    Privilege(#[from] Missing),
    /// It is not known whether there is such a guest.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// Several interfaces, and none was named.
    #[error("{guest} has several attachments: {}", .interfaces.join(", "))]
    Several {
        /// The guest.
        guest: String,
        /// Their names in the guest.
        interfaces: Vec<String>,
    },
    /// The name fits attachments of several guests that are gone.
    #[error("{word} may be any of several guests: {}", .guests.join(", "))]
    Ambiguous {
        /// What was typed.
        word: String,
        /// All of them.
        guests: Vec<String>,
    },
    /// An interface that we know nothing of.
    #[error("{interface} of {guest} is {is}: pipework has no record of it, and it bears no mark or name of pipework's")]
    Foreign {
        /// The guest.
        guest: String,
        /// The interface.
        interface: IfName,
        /// What it is.
        is: String,
    },
    /// What is recorded of the guest cannot be used.
    #[error("{0}")]
    Unreadable(Unreadable),
    /// The records.
    #[error("records of attachments")]
    Records(#[from] std::io::Error),
    /// The interfaces cannot be looked at.
    #[error("looking at the interfaces")]
    Kernel(#[from] KernelError),
    /// The process that keeps the lease does not end.
    #[error("the process that keeps its lease ({pid}) does not end")]
    Keeper {
        /// Its number.
        pid: u32,
    },
    /// A hook does not want it, and nothing was taken away.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// Something was left.
    #[error("could not {}", .0.join("; could not "))]
    Left(Vec<String>),
}

impl DetachError {
    /// What to type, or what is missing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Privilege(_) => Some("run it with sudo".into()),
            Self::Guest(error) => error.hint(),
            Self::Several { guest, .. } => Some(format!("name one with -i, or take all: pipework detach {guest} --all")),
            Self::Ambiguous { .. } => Some("type one of these".into()),
            Self::Foreign { .. } => Some("--force deletes it, or moves a NIC back to the host".into()),
            Self::Records(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some("run it with sudo".into()),
            Self::Hook(error) => error.hint(),
            Self::Left(_) => Some("`pipework gc` tries again".into()),
            Self::Keeper { pid } => Some(format!("end it: kill -9 {pid}; then try again")),
            Self::Records(_) | Self::Kernel(_) | Self::Unreadable(_) => None,
        }
    }

    /// The chain of reasons, outermost first.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }
}

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// Takes a guest's interfaces away, with all that was made for them, and puts back what they replaced. What is gone already is
/// no error, nor is a guest that is gone.
///
/// # Errors
/// See [`DetachError`]. It never stops at the first step that fails.
pub fn detach(guest: &GuestRef, options: &DetachOptions, watch: Watch<'_>) -> Result<DetachReport, DetachError> {
    privilege::check()?;
    detach_together(guest, options, Together::default(), watch)
}

/// As [`detach`], among others.
pub(super) fn detach_together(
    guest: &GuestRef,
    options: &DetachOptions,
    together: Together<'_>,
    watch: Watch<'_>,
) -> Result<DetachReport, DetachError> {
    detach_found(guest, options, together, watch, |records, warnings| {
        let (held, meant) = meant(guest, together, records, warnings)?;
        Ok((held, choose(guest, &options.which, meant)?))
    })
}

/// As [`detach_together`], of attachments that somebody else finds, and of a guest that is held where there are none.
pub(super) fn detach_found(
    guest: &GuestRef,
    options: &DetachOptions,
    together: Together<'_>,
    watch: Watch<'_>,
    find: impl FnOnce(&Records, &mut Vec<String>) -> Result<(Option<Held>, Vec<Record>), DetachError>,
) -> Result<DetachReport, DetachError> {
    let start = Instant::now();
    let records = Records::of(&options.run_dir, Namespace::current()?.inode());
    // Once begun it is ended: half of it would be worse than none or all.
    let mut signals = Signals::hold()?;
    let recovered = if options.dry_run || together.begun { Recovered::default() } else { recover(&options.run_dir, watch)? };
    let mut warnings: Vec<String> = recovered.warnings.into_iter().chain(recovered.done).chain(recovered.left).collect();
    let (held, chosen) = find(&records, &mut warnings)?;
    let mut around = Around::find(&options.hooks)?;
    let leaving = if options.dry_run { Vec::new() } else { leaving(&records, &chosen)? };
    let told: Vec<Told<'_, AttachRequest>> = leaving.iter().map(|(id, record)| told(id, record)).collect();
    if !told.is_empty() && around.is_due(HookEvent::PreDetach)? {
        around.before(HookEvent::PreDetach, &told, watch)?;
    }
    let mut job = Job { records: &records, options, warnings, interfaces: Vec::new(), left: Vec::new() };
    if chosen.is_empty() {
        job.foreign(guest, held.as_ref(), watch)?;
    }
    for record in chosen {
        job.take(record, watch)?;
    }
    job.unwant(guest)?;
    if !job.left.is_empty() {
        return Err(DetachError::Left(job.left));
    }
    let result = match (options.dry_run, job.interfaces.is_empty()) {
        (_, true) => Outcome::Unchanged,
        (true, _) => Outcome::Planned,
        (false, _) => Outcome::Detached,
    };
    let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (interfaces, warnings) = (job.interfaces, job.warnings);
    let mut report = DetachReport { schema: SCHEMA, result, guest: guest.to_string(), interfaces, warnings, elapsed_us };
    for told in &told {
        let failed = around.after(HookEvent::PostDetach, told, &report, Some(&mut signals), watch);
        report.warnings.extend(failed);
    }
    Ok(report)
}

/// All that goes: with one end of a link between two guests goes the other.
fn leaving(records: &Records, chosen: &[Record]) -> Result<Vec<(GuestId, Record)>, DetachError> {
    let mut all = chosen.to_vec();
    for record in chosen {
        let other = mate::of(records, record)?.map(|(_, other)| other);
        let is_new = |other: &Record| !all.iter().any(|r| (r.guest.netns, &r.interface) == (other.guest.netns, &other.interface));
        let other = other.filter(is_new);
        all.extend(other);
    }
    Ok(all.into_iter().map(|record| (record.guest.id(), record)).collect())
}

/// What hooks are told of an attachment.
fn told<'a>(guest: &'a GuestId, record: &'a Record) -> Told<'a, AttachRequest> {
    let addr = &record.request.addr;
    let addresses = addr.addrs.iter().chain(&record.given).copied().collect();
    Told { guest, interface: record.interface.clone(), addresses, gateways: addr.gateways.clone(), request: &record.request }
}

/// The attachments of who is meant: of the guest as it is now, and of those that bore its name or identifier before.
fn meant(
    guest: &GuestRef,
    together: Together<'_>,
    records: &Records,
    warnings: &mut Vec<String>,
) -> Result<(Option<Held>, Vec<Record>), DetachError> {
    let held = together.hold(guest);
    // Among many, only those that may be meant are read.
    let found = match (&held, together.recorded) {
        (Ok(held), Some(recorded)) => recorded.of(records, guest, &held.id)?,
        _ => records.all()?,
    };
    warnings.extend(found.unreadable.iter().map(ToString::to_string));
    let held = match held {
        Ok(held) => Some(held),
        Err(error) if error.is_absence() => None,
        // An engine that does not answer need not be asked of a guest that is recorded.
        Err(_) if found.all.iter().any(|record| record.guest.is_called(guest)) => None,
        Err(error) => return Err(error.into()),
    };
    let is_meant = |record: &Record| match &held {
        Some(held) => {
            let same_container = held.id.container.is_some() && record.guest.container == held.id.container;
            record.guest.netns == held.id.netns || same_container || record.guest.word == *guest
        }
        None => record.guest.is_called(guest),
    };
    let meant: Vec<Record> = found.all.into_iter().filter(is_meant).collect();
    if held.is_none() {
        check_one_guest(guest, &meant)?;
        if meant.is_empty() {
            warnings.push(format!("nothing is known of {guest}: there is no such guest, and no attachment of that name is recorded"));
        }
    }
    Ok((held, meant))
}

/// Names of containers that are gone come again: two that bore one are told apart by their identifiers.
fn check_one_guest(word: &GuestRef, meant: &[Record]) -> Result<(), DetachError> {
    let exact = |r: &&Record| r.guest.word == *word;
    let mut guests: Vec<String> = meant
        .iter()
        .filter(|r| !exact(r))
        .map(|r| r.guest.container.clone().map_or_else(|| r.guest.word.to_string(), |id| format!("{}:{id}", r.guest.engine)))
        .collect();
    guests.sort();
    guests.dedup();
    if guests.len() > 1 && !meant.iter().any(|r| exact(&r)) {
        return Err(DetachError::Ambiguous { word: word.to_string(), guests });
    }
    Ok(())
}

fn choose(guest: &GuestRef, which: &Which, meant: Vec<Record>) -> Result<Vec<Record>, DetachError> {
    let mut names: Vec<String> = meant.iter().map(|record| record.interface.to_string()).collect();
    names.sort();
    names.dedup();
    match which {
        Which::All => Ok(meant),
        Which::Interface(name) => Ok(meant.into_iter().filter(|record| record.interface == *name).collect()),
        Which::Only if names.len() > 1 => Err(DetachError::Several { guest: guest.to_string(), interfaces: names }),
        Which::Only => Ok(meant),
    }
}

/// How long a process that keeps a lease may take to give it back.
const KEEPER_PATIENCE: Duration = Duration::from_secs(15);

struct Job<'a> {
    records: &'a Records,
    options: &'a DetachOptions,
    warnings: Vec<String>,
    interfaces: Vec<DetachedInterface>,
    left: Vec<String>,
}

impl Job<'_> {
    /// Takes one attachment away.
    fn take(&mut self, record: Record, watch: Watch<'_>) -> Result<(), DetachError> {
        if self.options.dry_run {
            self.interfaces.push(self.account(&record, planned(&record)?));
            if let Some((_, other)) = mate::of(self.records, &record)? {
                let other = Record { done: mate::own(&other.done), ..other };
                self.interfaces.push(self.account(&other, planned(&other)?));
            }
            return Ok(());
        }
        if let Some(keeper) = &record.keeper {
            // It takes the interface away itself, should it be one of ours, and waits for the lock to say so.
            if !keeper::end(keeper, KEEPER_PATIENCE) {
                return Err(DetachError::Keeper { pid: keeper.pid });
            }
        }
        let netns = record.guest.netns;
        let other = record.mate.as_ref().map_or(netns, |mate| mate.netns);
        let _locks = self.records.lock_both([netns, other])?;
        let recovered = recover_guest(self.records, netns, &self.options.run_dir, watch)?;
        self.warnings.extend(recovered.warnings.into_iter().chain(recovered.left));
        let Some(record) = self.records.get(netns, &record.interface)?.ok().flatten() else {
            self.interfaces.push(self.account(&record, Taken::default()));
            return Ok(());
        };
        let removal = Removal::begin(self.records, record)?;
        let record = removal.record().clone();
        if let Some((_, other)) = mate::of(self.records, &record)? {
            let taken = mate::release(self.records, &record, true, &self.options.run_dir, watch)?;
            self.note(&other, taken);
        }
        let taken = removal.carry_out(&self.options.run_dir, watch)?;
        self.note(&record, taken);
        Ok(())
    }

    fn note(&mut self, record: &Record, taken: Taken) {
        self.warnings.extend(taken.warnings.iter().cloned());
        self.left.extend(taken.left.iter().cloned());
        self.interfaces.push(self.account(record, taken));
    }

    /// What was taken away is not wanted any more after a reboot either.
    fn unwant(&mut self, guest: &GuestRef) -> Result<(), DetachError> {
        if self.options.dry_run || self.options.state_dir.as_os_str().is_empty() {
            return Ok(());
        }
        let wanted = Wanted::of(&self.options.state_dir);
        let found = wanted.all()?;
        self.warnings.extend(found.unreadable.iter().map(ToString::to_string));
        let meant: Vec<Record> = found.all.into_iter().map(|(record, _)| record).filter(|record| record.guest.is_called(guest)).collect();
        let taken = |record: &Record| self.interfaces.iter().any(|taken| taken.interface == record.interface);
        for record in &meant {
            let is_meant = match &self.options.which {
                Which::All => true,
                Which::Interface(name) => record.interface == *name,
                Which::Only => taken(record) || (self.interfaces.is_empty() && meant.len() == 1),
            };
            if is_meant {
                wanted.remove(&record.guest.word, &record.interface)?;
            }
        }
        Ok(())
    }

    fn account(&self, record: &Record, taken: Taken) -> DetachedInterface {
        let id = record.guest.id();
        let commands = Commands::new(&id).with_ovsdb(record.ovsdb.clone());
        let step = |op: &Op| commands.step(op);
        DetachedInterface {
            guest: (&id).into(),
            interface: record.interface.clone(),
            host_interface: Some(record.host_interface.clone()),
            steps: taken.ops.iter().filter(|_| self.options.steps).map(step).collect(),
        }
    }

    /// An interface without a record: made by the original script, or by somebody else.
    fn foreign(&mut self, guest: &GuestRef, held: Option<&Held>, watch: Watch<'_>) -> Result<(), DetachError> {
        let Some(held) = held else { return Ok(()) };
        // What a later version keeps of the guest may be about this very interface.
        let unreadable = self.records.of_guest(held.id.netns)?.unreadable;
        if let Some(later) = unreadable.into_iter().find(|file| matches!(file, Unreadable::Later { .. })) {
            return Err(DetachError::Unreadable(later));
        }
        let lock = if self.options.dry_run { None } else { Some(self.records.lock(held.id.netns)?) };
        // Another run may have made it since the records were read.
        let by_now = choose(guest, &self.options.which, self.records.of_guest(held.id.netns)?.all)?;
        if !by_now.is_empty() {
            drop(lock);
            return by_now.into_iter().try_for_each(|record| self.take(record, watch));
        }
        if let Some(taken) = foreign::detach(guest, held, self.options, watch)? {
            self.left.extend(taken.left);
            self.interfaces.push(taken.interface);
        }
        Ok(())
    }
}

/// Another attachment of the guest may have replaced the default route of this one: what this one would put back is then
/// for that to put back.
pub(super) fn hand_over(records: &Records, leaving: &mut Record) -> std::io::Result<()> {
    hand_over_up(records, leaving)?;
    for heir in records.of_guest(leaving.guest.netns)?.all {
        if let Some((done, rest)) = plan::inherit(&heir, leaving) {
            records.put(&Record { done, ..heir.next() })?;
            leaving.done = rest;
            return records.put(leaving);
        }
    }
    Ok(())
}

/// A NIC that this one has set up stays up while others lie on it: the last of them is to set it down.
fn hand_over_up(records: &Records, leaving: &Record) -> std::io::Result<()> {
    if !leaving.done.iter().any(|op| matches!(op, Op::SetUp { link } if link.side == Side::Host)) {
        return Ok(());
    }
    let is_other = |r: &Record| (r.guest.netns, &r.interface) != (leaving.guest.netns, &leaving.interface);
    for heir in records.all()?.all.into_iter().filter(|heir| is_other(heir) && !plan::inherit_up(heir, leaving).is_empty()) {
        let netns = heir.guest.netns;
        // A guest that another run is at may be leaving as well.
        let lock = if netns == leaving.guest.netns { None } else { records.try_lock(netns)? };
        if lock.is_none() && netns != leaving.guest.netns {
            continue;
        }
        if let Some(heir) = records.get(netns, &heir.interface)?.ok().flatten().filter(|now| now.id == heir.id) {
            let done = plan::inherit_up(&heir, leaving).into_iter().chain(heir.done.iter().cloned()).collect();
            return records.put(&Record { done, ..heir.next() });
        }
    }
    Ok(())
}

/// What would be taken back.
fn planned(record: &Record) -> Result<Taken, DetachError> {
    let ops = super::takeback::planned(record)?;
    Ok(Taken { ops, ..Taken::default() })
}
