//! `dhcp:-f`: the command stays, keeps the lease, and gives it back at the end.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::lease::{Applied, LeaseError, Place};
use super::takeback::Removal;
use super::tenure::Book;
use super::{Database, Machine, recording};
use crate::external::dhcp::v4::{Answer, Client, Who, Whom};
use crate::external::dhcp::{DhcpError, Patience, Wake};
use crate::kernel::System;
use crate::kernel::netns::Namespace;
use crate::kernel::observe::{self, Sides};
use crate::kernel::signal::Signals;
use crate::kernel::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::lease::{FOREVER, Lease};
use crate::model::record::Record;
use crate::plan::execute::{Done, Event};

/// The least time between two questions for more time. RFC 2131, section 4.4.5, has 60 s, which leaves a short lease one try.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// How long servers are asked whether a lease still holds; then it is used on (RFC 2131, section 4.4.2).
const CONFIRMING: Duration = Duration::from_secs(10);

/// A lease that is kept for as long as the command runs.
pub struct Stay {
    namespace: Namespace,
    process: Option<OwnedFd>,
    place: Place,
    who: Who,
    lease: Lease,
    granted: Instant,
    applied: Applied,
    /// The link's own steps: taken back at the end.
    link: Done,
    /// Held without a gap since before the link was made.
    signals: Option<Signals>,
    /// The attachment's record, by which all is taken back at the end.
    recorded: Option<Recorded>,
}

/// A record, and where it is kept.
pub(super) struct Recorded {
    pub(super) record: Record,
    pub(super) run_dir: PathBuf,
}

impl Recorded {
    /// The interface and all that was made for it. Another run may have done it: then there is no record any more.
    fn take_back(self, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), std::io::Error> {
        let Self { record, run_dir } = self;
        let records = recording::records(&run_dir).map_err(std::io::Error::other)?;
        let _lock = records.lock(record.guest.netns)?;
        let now = records.get(record.guest.netns, &record.interface)?.ok().flatten().filter(|now| now.id == record.id);
        let Some(record) = now else { return Ok(()) };
        let taken = Removal::begin(&records, record)?.carry_out(&run_dir, watch).map_err(std::io::Error::other)?;
        if taken.left.is_empty() { Ok(()) } else { Err(std::io::Error::other(format!("could not {}", taken.left.join("; could not ")))) }
    }
}

/// What happens to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept<'a> {
    /// More time was given.
    Renewed(&'a Lease),
    /// A new lease is there.
    Leased(&'a Lease),
    /// The address is not ours any more, and is removed; a new one is asked for.
    Lost,
    /// A lease cannot be carried out in the guest.
    Failed(&'a str),
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A signal: the address is given back, and the link is taken away.
    Released(&'static str),
    /// The guest has ended.
    GuestEnded,
    /// The interface was taken away.
    LinkGone,
    /// The process that keeps it ends, and another will take it up: all stays as it is.
    Left,
}

impl End {
    /// What ends waiting is no failure here.
    pub(super) fn from_error(error: LeaseError) -> Result<Self, LeaseError> {
        match error {
            LeaseError::Dhcp(DhcpError::Interrupted(signal)) => Ok(Self::Released(signal)),
            LeaseError::Dhcp(DhcpError::GuestEnded) => Ok(Self::GuestEnded),
            LeaseError::Dhcp(DhcpError::LinkGone) => Ok(Self::LinkGone),
            error => Err(error),
        }
    }
}

impl Stay {
    pub(super) fn new(held: (Namespace, Option<OwnedFd>), place: Place, who: Who, lease: Lease, applied: Applied) -> Self {
        let (namespace, process) = held;
        Self {
            namespace,
            process,
            place,
            who,
            lease,
            granted: Instant::now(),
            applied,
            link: Done::default(),
            signals: None,
            recorded: None,
        }
    }

    /// What the attach leaves to be taken back at the end, and its hold on the signals.
    pub(super) fn inherit(&mut self, recorded: Recorded, signals: Signals) {
        (self.recorded, self.signals) = (Some(recorded), Some(signals));
    }

    /// What holds the signals back.
    pub(super) fn signals(&mut self) -> Option<&mut Signals> {
        self.signals.as_mut()
    }

    /// Keeps the lease until a signal comes or the guest ends.
    ///
    /// # Errors
    /// When the kernel refuses what cannot be done without.
    pub fn run(mut self, tell: &mut dyn FnMut(Kept<'_>), watch: &mut dyn FnMut(Event<'_>)) -> Result<End, LeaseError> {
        // A second signal must not cut off what the first one asked for.
        let _signals = Signals::hold()?;
        let recorded = self.recorded.take();
        let end = self.keep(tell, watch).or_else(End::from_error);
        if let Some(Err(error)) = recorded.map(|recorded| recorded.take_back(watch)) {
            tell(Kept::Failed(&error.to_string()));
        }
        end
    }

    fn keep(self, tell: &mut dyn FnMut(Kept<'_>), watch: &mut dyn FnMut(Event<'_>)) -> Result<End, LeaseError> {
        let Self { namespace, process, place, who, lease, granted, applied, link, signals, recorded: _ } = self;
        let mut signals = signals.map_or_else(Signals::hold, Ok)?;
        let mut sides = match sides(&namespace) {
            Ok(sides) => sides,
            Err(error) => {
                applied.undo_files();
                return Err(error.into());
            }
        };
        let mut system = System::new(&mut sides).with_bridge_check(|_| false);
        let (client, patience, guest) = match begin(&namespace, &who, process.as_ref(), &mut signals) {
            Ok(begun) => begun,
            // The guest or its link may have gone since the link was made; what was written for it has not.
            Err(error) => {
                let end = End::from_error(error);
                if matches!(end, Ok(End::GuestEnded | End::LinkGone)) {
                    applied.undo_files();
                } else {
                    applied.undo(&mut system, watch);
                    take_away(link, system, &place, watch);
                }
                return end;
            }
        };
        let applied = Some(applied);
        let mut keeper = Keeper { client, patience, guest, system, place: &place, lease, granted, applied, tell, watch, book: None };
        let end = End::from_error(keeper.keep());
        match (&end, keeper.applied.take()) {
            // The guest's namespace takes the rest with it; a file outlives it.
            (Ok(End::GuestEnded | End::LinkGone), Some(applied)) => applied.undo_files(),
            (Ok(End::GuestEnded | End::LinkGone), None) => {}
            (_, applied) => {
                keeper.applied = applied;
                keeper.give_back(link);
            }
        }
        end
    }
}

/// What the lease's steps are carried out on.
pub(super) fn sides(namespace: &Namespace) -> Result<Sides<'_>, KernelError> {
    Ok(Sides { host: Netlink::open()?, home: Namespace::current()?, guest: namespace.netlink()?, namespace })
}

/// A client that has a lease, what it waits with, and a way to look at the guest.
pub(super) fn begin<'a>(
    namespace: &'a Namespace,
    who: &Who,
    process: Option<&'a OwnedFd>,
    signals: &'a mut Signals,
) -> Result<(Client<'a>, Patience<'a>, Netlink), LeaseError> {
    let client = Client::new(who.clone(), namespace)?;
    Ok((client, Patience::new(signals, namespace, process, who.index)?, namespace.netlink()?))
}

/// Whether the guest has a lease's address.
pub(super) fn has(guest: &mut Netlink, lease: &Lease) -> Result<bool, KernelError> {
    Ok(observe::addrs(guest, lease.addr.family())?.iter().any(|addr| addr.addr == lease.addr))
}

/// Takes the link away that the lease was for.
fn take_away(link: Done, system: System<'_>, place: &Place, watch: &mut dyn FnMut(Event<'_>)) {
    // The bridge may be wanted by others meanwhile: it stays.
    let mut database = Database::at(place.ovsdb.as_deref()).unwrap_or_default();
    let mut machine = Machine::new(system, &mut database).with_bridge_check(|_| false);
    let _ = link.undo(&mut machine, watch);
}

pub(super) struct Keeper<'a, 'b> {
    pub(super) client: Client<'a>,
    pub(super) patience: Patience<'a>,
    pub(super) guest: Netlink,
    pub(super) system: System<'b>,
    pub(super) place: &'a Place,
    pub(super) lease: Lease,
    pub(super) granted: Instant,
    pub(super) applied: Option<Applied>,
    pub(super) tell: &'a mut dyn FnMut(Kept<'_>),
    pub(super) watch: &'a mut dyn FnMut(Event<'_>),
    /// Where it is written down, when it is to outlive this process.
    pub(super) book: Option<Book<'a>>,
}

impl Keeper<'_, '_> {
    /// Never ends but by what ends waiting.
    pub(super) fn keep(&mut self) -> LeaseError {
        loop {
            if let Err(error) = self.once() {
                return error;
            }
        }
    }

    /// One life of a lease: bound, renewing, rebinding; then, when it was not extended, a new one.
    fn once(&mut self) -> Result<(), LeaseError> {
        self.sleep_until(self.at(self.lease.renew))?;
        let t2 = self.at(self.lease.rebind);
        let end = self.at(self.lease.lifetime.valid);
        let extension = match self.ask_until(t2, Whom::Server)? {
            Answer::Silence => self.ask_until(end, Whom::Anybody)?,
            extension => extension,
        };
        match extension {
            Answer::Granted(lease) => self.renewed(*lease),
            Answer::Refused | Answer::Silence => self.anew(),
        }
    }

    /// So many seconds after the lease was given; none when that is never.
    fn at(&self, seconds: u32) -> Option<Instant> {
        if seconds == FOREVER { None } else { self.granted.checked_add(Duration::from_secs(u64::from(seconds))) }
    }

    fn sleep_until(&mut self, until: Option<Instant>) -> Result<(), LeaseError> {
        // There may be thousands that sleep.
        self.guest.rest();
        self.system.rest();
        while self.patience.wait(&[], until)? != Wake::Time {}
        Ok(())
    }

    /// Asks again and again: each time half of what is left is waited for an answer.
    fn ask_until(&mut self, end: Option<Instant>, whom: Whom) -> Result<Answer, LeaseError> {
        loop {
            let now = Instant::now();
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(Answer::Silence);
            }
            let until = now.checked_add((left / 2).max(LEAST_PAUSE).min(left)).unwrap_or(now + LEAST_PAUSE);
            let asked = Instant::now();
            match self.client.extend(&self.lease, whom, &mut self.patience, until)? {
                Answer::Silence => {}
                extension => {
                    // Time counts from the question (RFC 2131, section 4.4.5).
                    self.granted = asked;
                    return Ok(extension);
                }
            }
        }
    }

    /// Asks whether the lease, which another process had, still holds. Where nobody says no, it does until its time is over.
    pub(super) fn confirm(&mut self) -> Result<(), LeaseError> {
        let asked = Instant::now();
        let end = self.at(self.lease.lifetime.valid);
        if end.is_some_and(|end| end <= asked) {
            return self.anew();
        }
        let until = asked.checked_add(CONFIRMING).map_or(asked, |until| end.map_or(until, |end| end.min(until)));
        match self.client.confirm(&self.lease, &mut self.patience, until)? {
            Answer::Granted(lease) => {
                self.granted = asked;
                // Somebody may have taken the address away while nobody kept it, and its routes went along.
                if !has(&mut self.guest, &lease)? {
                    self.lease = *lease;
                    return self.leased();
                }
                self.renewed(*lease)
            }
            Answer::Refused => self.anew(),
            Answer::Silence => Ok(()),
        }
    }

    /// Gives the address back with its guest, which has ended, and takes away what outlives that.
    pub(super) fn give_up(mut self) {
        if let Some(applied) = self.applied.take() {
            let _ = self.client.release(&self.lease);
            applied.undo_files();
        }
        // Should it not be written down, whoever takes the attachment away gives it back once more.
        let _ = self.book.as_ref().map(Book::strike);
    }

    /// Writes down how it stands, for whoever takes it up.
    fn note(&mut self) {
        let Some(book) = &self.book else { return };
        let done = self.applied.as_ref().map(Applied::ops).unwrap_or_default();
        let granted = SystemTime::now().checked_sub(self.granted.elapsed()).unwrap_or(UNIX_EPOCH);
        if let Err(error) = book.note(Some(&self.lease), granted, self.client.who(), done) {
            (self.tell)(Kept::Failed(&format!("it is not written down: {error}")));
        }
    }

    /// Writes down that there is none, and another is asked for.
    fn note_lost(&mut self) {
        let Some(book) = &self.book else { return };
        if let Err(error) = book.note(None, SystemTime::now(), self.client.who(), Vec::new()) {
            (self.tell)(Kept::Failed(&format!("that it is lost is not written down: {error}")));
        }
    }

    /// The address gets its new time; other routes or servers are put in the place of the old ones.
    fn renewed(&mut self, lease: Lease) -> Result<(), LeaseError> {
        let same = self.lease.is_as(&lease) && self.applied.is_some();
        self.lease = lease;
        if !same || self.place.renew(&self.lease, &mut self.system, self.watch).is_err() {
            self.put()?;
        }
        self.note();
        (self.tell)(Kept::Renewed(&self.lease));
        Ok(())
    }

    /// The address must not be used any longer; another is asked for until there is one.
    fn anew(&mut self) -> Result<(), LeaseError> {
        self.take_back();
        self.note_lost();
        (self.tell)(Kept::Lost);
        self.lease = self.client.acquire(&mut self.patience, None)?;
        self.granted = Instant::now();
        self.leased()
    }

    /// A new lease is carried out.
    pub(super) fn leased(&mut self) -> Result<(), LeaseError> {
        self.put()?;
        self.note();
        (self.tell)(Kept::Leased(&self.lease));
        Ok(())
    }

    fn take_back(&mut self) {
        if let Some(applied) = self.applied.take() {
            applied.undo(&mut self.system, self.watch);
        }
    }

    /// Carries the lease out. What the guest refuses now it may take with the next lease: told, and tried again then.
    fn put(&mut self) -> Result<(), LeaseError> {
        self.take_back();
        match self.place.apply(&self.lease, &mut self.system, &mut self.guest, self.watch) {
            Ok((applied, _)) => {
                self.applied = Some(applied);
                Ok(())
            }
            Err(LeaseError::Kernel(error @ KernelError::NoLink(_))) => Err(error.into()),
            Err(error) => {
                (self.tell)(Kept::Failed(&error.to_string()));
                Ok(())
            }
        }
    }

    /// Tells the server, then takes back the address, and the link with it.
    fn give_back(mut self, link: Done) {
        if self.applied.is_some() {
            let _ = self.client.release(&self.lease);
        }
        self.take_back();
        take_away(link, self.system, self.place, self.watch);
    }
}
