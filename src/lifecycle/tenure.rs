//! A lease that outlives the process that keeps it: its record has all that another needs to take it up again.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::lease::{Applied, LeaseError, Place, link, who};
use super::stay::{self, End, Keeper, Kept, sides};
use super::takeback::find;
use super::{conflict, recording};
use crate::external::dhcp::DhcpError;
use crate::external::dhcp::v4::{Client, Who};
use crate::guest::trace;
use crate::kernel::netns::Namespace;
use crate::kernel::signal::Signals;
use crate::kernel::{System, observe};
use crate::model::dynamic::Dynamic;
use crate::model::facts::LinkFacts;
use crate::model::lease::{FOREVER, Lease, LeaseReport, Tenure};
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::types::MacAddr;
use crate::plan::execute::{Done, Event};
use crate::state::Records;

/// What went before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TookUp {
    /// The lease was given to this process a moment ago.
    Now,
    /// Another process had it: a server is asked whether it still holds.
    FromAnother,
}

/// A recorded attachment whose lease is kept by a process that may end and begin again.
#[derive(Clone, Debug)]
pub struct Tenancy {
    records: Records,
    record: Record,
    tenure: Tenure,
    over: Arc<AtomicBool>,
}

impl Tenancy {
    /// The one of an attachment; none when it has no lease, or a process of its own keeps that.
    pub fn of(run_dir: &Path, record: Record) -> Option<Self> {
        let tenure = record.tenure.clone()?;
        Some(Self { records: recording::records(run_dir).ok()?, record, tenure, over: Arc::default() })
    }

    /// As the attachment is recorded by now.
    pub fn again(run_dir: &Path, before: &Record) -> Option<Self> {
        let records = recording::records(run_dir).ok()?;
        let now = records.get(before.guest.netns, &before.interface).ok()?.ok().flatten()?;
        Self::of(run_dir, now).filter(|tenancy| tenancy.record.id == before.id)
    }

    /// All that are recorded on this host.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn all(run_dir: &Path) -> Result<Vec<Self>> {
        let records = recording::records(run_dir).map_err(Error::other)?;
        Ok(records.all()?.all.into_iter().filter_map(|record| Self::of(run_dir, record)).collect())
    }

    /// The attachment.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Set before the thread is asked to stop, it says that the guest has ended: the lease is given back then. Of a guest without
    /// a process nothing else may tell.
    pub fn over(&self) -> Arc<AtomicBool> {
        self.over.clone()
    }

    /// Keeps the lease until the guest ends or the interface goes; or until the [`crate::kernel::signal::Stop`] that the calling
    /// thread obeys is asked: then all stays as it is. With the guest the lease is given back.
    ///
    /// # Errors
    /// When the kernel refuses what cannot be done without. All stays as it is then, too.
    pub fn keep(
        self,
        took_up: TookUp,
        tell: &mut dyn FnMut(Kept<'_>),
        watch: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<End, LeaseError> {
        let ended = self.keep_on(took_up, tell, watch);
        match ended.or_else(End::from_error)? {
            End::Released(_) => Ok(End::Left),
            end => Ok(end),
        }
    }

    fn keep_on(
        &self,
        took_up: TookUp,
        tell: &mut dyn FnMut(Kept<'_>),
        watch: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<End, LeaseError> {
        let record = &self.record;
        let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns) else { return Ok(End::GuestEnded) };
        let process = match record.guest.pid.map(|pid| trace::process(pid, record.guest.netns)) {
            Some(None) => {
                give_back(record);
                return Ok(End::GuestEnded);
            }
            process => process.flatten(),
        };
        let mut signals = Signals::hold()?;
        let Some(link) = own_link(record, &namespace)? else { return Ok(End::LinkGone) };
        let who = self.who(&link)?;
        let place = self.place(&link);
        let mut sides = sides(&namespace)?;
        let system = System::new(&mut sides).with_bridge_check(|_| false);
        let (mut client, mut patience, guest) = stay::begin(&namespace, &who, process.as_ref(), &mut signals)?;
        let mut granted = since(&self.tenure.granted);
        let book = Some(Book { records: &self.records, record, dns: place.dns });
        let applied = Some(Applied::of(Done::of(self.tenure.steps.clone())));
        let (lease, begin): (Lease, Begin) = match (self.tenure.lease.clone(), took_up) {
            (Some(lease), TookUp::Now) => (lease, |_| Ok(())),
            (Some(lease), TookUp::FromAnother) => (lease, |keeper| keeper.confirm()),
            (None, _) => {
                let lease = client.acquire(&mut patience, None)?;
                granted = Instant::now();
                (lease, |keeper| keeper.leased())
            }
        };
        let mut keeper = Keeper { client, patience, guest, system, place: &place, lease, granted, applied, tell, watch, book };
        let begun = begin(&mut keeper);
        let ended = begun.map_or_else(|error| error, |()| keeper.keep());
        let is_over = match &ended {
            LeaseError::Dhcp(DhcpError::Interrupted(_)) => self.over.load(Ordering::SeqCst),
            LeaseError::Dhcp(DhcpError::GuestEnded) => true,
            _ => false,
        };
        if !is_over {
            return Err(ended);
        }
        // Its namespace, which is held here, still leads to the server.
        keeper.give_up();
        Ok(End::GuestEnded)
    }

    fn who(&self, link: &LinkFacts) -> std::result::Result<Who, LeaseError> {
        let options = match &self.record.request.dynamic {
            Some(Dynamic::Dhcp { options }) => options.as_str(),
            _ => "",
        };
        let who = who(&self.record.request.guest, link, &self.record.interface, options.parse()?)?;
        Ok(Who { server_mac: self.tenure.server_mac.map(|mac| mac.octets()), ..who })
    }

    /// Whether the guest has the address. Where none is lent nothing is missing.
    ///
    /// # Errors
    /// When the guest cannot be looked at.
    pub fn is_there(&self) -> std::result::Result<bool, LeaseError> {
        let (Some(lease), Some(namespace)) = (&self.tenure.lease, trace::namespace(&self.record.guest.path, self.record.guest.netns))
        else {
            return Ok(true);
        };
        Ok(stay::has(&mut namespace.netlink()?, lease)?)
    }

    fn place(&self, link: &LinkFacts) -> Place {
        let before = self.tenure.steps.iter().find_map(|op| match op {
            Op::SetMtu { before, .. } => *before,
            _ => None,
        });
        Place {
            guest: self.record.request.guest.clone(),
            id: self.record.guest.id(),
            guest_if: self.record.interface.clone(),
            mtu: before.unwrap_or(link.mtu),
            settings: self.record.request.settings.clone(),
            stays: true,
            dns: self.tenure.dns,
            ovsdb: self.record.ovsdb.clone(),
        }
    }
}

/// What a keeper does before it keeps.
type Begin = fn(&mut Keeper<'_, '_>) -> std::result::Result<(), LeaseError>;

/// Where a lease that changes is written down.
pub(super) struct Book<'a> {
    records: &'a Records,
    record: &'a Record,
    dns: bool,
}

impl Book<'_> {
    /// Writes down what is lent now, and the steps that made it so. An attachment that is gone, or another one, is let alone.
    pub(super) fn note(&self, lease: Option<&Lease>, granted: SystemTime, who: &Who, steps: Vec<Op>) -> Result<()> {
        self.change(|now| Record {
            given: lease.map(|lease| lease.addr).into_iter().collect(),
            lease: lease.map(|lease| LeaseReport::new(lease, true)).or_else(|| now.lease.clone()),
            done: exchanged(now, &steps),
            tenure: Some(of(lease, granted, who, self.dns, steps)),
            ..now.next()
        })
    }

    /// Writes down that it was given back.
    pub(super) fn strike(&self) -> Result<()> {
        self.change(|now| Record { tenure: None, ..now.next() })
    }

    fn change(&self, change: impl FnOnce(&Record) -> Record) -> Result<()> {
        let netns = self.record.guest.netns;
        let _lock = self.records.lock(netns)?;
        let now = self.records.get(netns, &self.record.interface)?.ok().flatten();
        let Some(now) = now.filter(|now| now.id == self.record.id) else { return Ok(()) };
        let next = change(&now);
        self.records.amend(now, &next)?;
        // Whoever lent it answers for it: that another guest has it is no reason to give it back.
        conflict::claim(self.records, &next).map(drop)
    }
}

/// A lease as its record has it.
pub(super) fn of(lease: Option<&Lease>, granted: SystemTime, who: &Who, dns: bool, steps: Vec<Op>) -> Tenure {
    let written = |at: SystemTime| OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default();
    let valid = lease.map(|lease| lease.lifetime.valid).filter(|valid| *valid != FOREVER);
    let ends = valid.and_then(|valid| granted.checked_add(Duration::from_secs(valid.into()))).map(written);
    Tenure { lease: lease.cloned(), granted: written(granted), ends, server_mac: who.server_mac.map(MacAddr::of_frame), dns, steps }
}

/// Tells the server that an attachment which is about to be taken away needs its lease no more. Nobody answers that, and nothing
/// depends on it.
pub(super) fn give_back(record: &Record) {
    let Some((tenure, lease)) = record.tenure.as_ref().and_then(|tenure| Some((tenure, tenure.lease.clone()?))) else { return };
    let _ = (|| -> std::result::Result<(), LeaseError> {
        let Some((namespace, _)) = find(record)? else { return Ok(()) };
        let Some(link) = own_link(record, &namespace)? else { return Ok(()) };
        let tenancy = Tenancy {
            records: Records::of(Path::new(""), record.home),
            record: record.clone(),
            tenure: tenure.clone(),
            over: Arc::default(),
        };
        Ok(Client::new(tenancy.who(&link)?, &namespace)?.release(&lease)?)
    })();
}

/// The attachment's interface, if it is there still.
fn own_link(record: &Record, namespace: &Namespace) -> std::result::Result<Option<LinkFacts>, LeaseError> {
    let mut guest = namespace.netlink()?;
    match &record.link {
        Some(known) => Ok(observe::link_of(&mut guest, known.index)?),
        None => Ok(Some(link(&mut guest, &record.interface)?)),
    }
}

/// The attachment's steps with those of its lease exchanged for others.
fn exchanged(now: &Record, steps: &[Op]) -> Vec<Op> {
    let mut old = now.tenure.iter().flat_map(|tenure| tenure.steps.clone()).collect::<Vec<Op>>();
    let is_other = |op: &&Op| match old.iter().position(|old| old == *op) {
        Some(at) => {
            old.remove(at);
            false
        }
        None => true,
    };
    now.done.iter().filter(is_other).chain(steps).cloned().collect()
}

/// When it was, by the clock that does not jump. What the time of day has in the future was now.
fn since(granted: &str) -> Instant {
    let at = OffsetDateTime::parse(granted, &Rfc3339).map_or(UNIX_EPOCH, SystemTime::from);
    let ago = SystemTime::now().duration_since(at).unwrap_or_default();
    let now = Instant::now();
    now.checked_sub(ago).unwrap_or(now)
}
