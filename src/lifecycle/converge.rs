//! Making an attachment that is there be as asked, and telling what of it is not.

use std::time::Instant;

use super::access::{Accesses, Claim};
use super::attach::{Account, Attached, Ends, announcement, attach_together, begin_access, bridge_lock, told_links};
use super::claims::Asked;
use super::journal::recover_guest;
use super::together::Together;
use super::{AttachError, Database, Machine, Options, conflict, recording, settings};
use crate::guest::Held;
use crate::kernel::again::{Known, look_again};
use crate::kernel::random_id;
use crate::kernel::signal::Signals;
use crate::kernel::{Findings, System};
use crate::model::difference::Difference;
use crate::model::error::KernelError;
use crate::model::facts::{Facts, LinkFacts};
use crate::model::op::Op;
use crate::model::record::{GuestRecord, LinkIdentity, Record, VERSION};
use crate::model::report::{DiffReport, Outcome, SCHEMA};
use crate::model::request::{AddrSpec, AttachRequest, GuestRef};
use crate::model::types::{IfAddr, IfName, LinkRef};
use crate::plan::execute::{Done, Event, ExecuteError, Kernel, execute};
use crate::plan::{Birth, Past, Plan, PlanError, converge, differences, leftovers, plan, settled, then};
use crate::state::{self, Change, Records, SharedLock};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// How often a bridge may come or go between the look at it and its use.
const MOST_TRIES: usize = 10;

/// `attach --replace`: as an attach, but an interface of ours that is there is made as asked, in place where the kernel can.
///
/// # Errors
/// As [`attach`]. Then all is as it was.
pub fn replace(request: &AttachRequest, options: &Options, watch: Watch<'_>) -> Result<Attached, AttachError> {
    replace_together(request, options, Together::default(), watch)
}

/// As [`replace`], among others.
pub(super) fn replace_together(
    request: &AttachRequest,
    options: &Options,
    together: Together<'_>,
    watch: Watch<'_>,
) -> Result<Attached, AttachError> {
    let start = Instant::now();
    let warnings = together.begin(&options.run_dir, options.dry_run, watch)?;
    let asked = Asked::of(request, options, together)?;
    let request = asked.request();
    asked.ended(replace_claimed(request, options, together, warnings, start, watch))
}

/// With an address that is known, and the guest's own.
fn replace_claimed(
    request: &AttachRequest,
    options: &Options,
    together: Together<'_>,
    warnings: Vec<String>,
    start: Instant,
    watch: Watch<'_>,
) -> Result<Attached, AttachError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match replace_once(request, options, together, warnings.clone(), start, watch) {
            Ok(Some(attached)) => return Ok(attached),
            Ok(None) => return anew(request, options, together, watch),
            Err(AttachError::Execute(error)) if error.bridge_came_or_went() && tries < MOST_TRIES => {}
            Err(AttachError::Observe(error)) if error.errno() == Some(nix::errno::Errno::ENODEV) && tries < MOST_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// There is no interface: one is made. What was recorded of the one that was there stays recorded when that fails, so that it
/// can be tried again.
fn anew(request: &AttachRequest, options: &Options, together: Together<'_>, watch: Watch<'_>) -> Result<Attached, AttachError> {
    let held = together.hold(&request.guest)?;
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let interface = crate::model::facts::guest_if(request);
    let old = records.get(held.id.netns, &interface).ok().and_then(Result::ok).flatten().filter(|_| !options.dry_run);
    attach_together(request, options, together, watch).inspect_err(|_| {
        let gone = matches!(records.get(held.id.netns, &interface), Ok(Ok(None)));
        if let Some(old) = old.filter(|_| gone) {
            let _ = records.put(&Record { done: Vec::new(), ..old.next() });
        }
    })
}

/// What is looked at, and what is known of it.
struct Seen<'a> {
    facts: Facts,
    ends: Ends<'a>,
    record: Option<Record>,
}

/// `None`: there is no such interface. Nothing was done then, and nobody is kept waiting.
fn replace_once(
    request: &AttachRequest,
    options: &Options,
    together: Together<'_>,
    mut warnings: Vec<String>,
    start: Instant,
    watch: Watch<'_>,
) -> Result<Option<Attached>, AttachError> {
    let held = together.hold(&request.guest)?;
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let _lock = if options.dry_run { None } else { Some(records.lock(held.id.netns).map_err(AttachError::Unrecorded)?) };
    if !options.dry_run {
        let recovered = recover_guest(&records, held.id.netns, &options.run_dir, watch).map_err(AttachError::Unrecorded)?;
        warnings.extend(recovered.warnings.into_iter().chain(recovered.left));
    }
    let request = &*settings::resolved(request, &held)?;
    let accesses = begin_access(request, options, &mut warnings, watch)?;
    let Seen { facts, mut ends, record } = look(request, &held, &records, options.ovsdb.as_deref())?;
    let Some(link) = &facts.guest.link else { return Ok(None) };
    let job = Job { request, options, held: &held, facts: &facts, records: &records };
    let (record, planned) = job.plan(link, record, ends.database.unusual_address())?;
    warnings.extend(planned.warnings().iter().cloned());
    let account = Account { request, options, guest: &held.id, ovsdb: ends.database.unusual_address(), start };
    let claim = claim(accesses.as_ref(), &planned, &held)?;
    if options.dry_run || planned.ops().is_empty() {
        claim.into_iter().for_each(Claim::keep);
        let outcome = if options.dry_run { Outcome::Planned } else { Outcome::Unchanged };
        if let (Outcome::Unchanged, Some(record)) = (outcome, record) {
            job.note(&record, &mut warnings)?;
        }
        let report = account.report(&planned, outcome, warnings);
        let links = told_links(options, &mut ends, &report.interface);
        return Ok(Some(Attached { report, guest: held.id.clone(), announcement: None, links, stay: None }));
    }
    let record = record.unwrap_or_else(|| job.record(Vec::new(), ends.database.unusual_address(), &planned));
    let ended = job.carry_out(&record, &planned, &mut ends, &mut warnings, watch);
    let is_left = ended.as_ref().map_or_else(|error| error.undone().is_some_and(|u| !u.left.is_empty()), |()| true);
    claim.into_iter().filter(|_| is_left).for_each(Claim::keep);
    ended?;
    let report = account.report(&planned, Outcome::Changed, warnings);
    let links = told_links(options, &mut ends, &report.interface);
    drop(ends);
    let guest = held.id.clone();
    let announcement = announcement(report.addresses.clone(), &planned, held);
    Ok(Some(Attached { report, guest, announcement, links, stay: None }))
}

fn claim<'a>(accesses: Option<&'a Accesses>, planned: &Plan, held: &Held) -> Result<Option<Claim<'a>>, AttachError> {
    match (accesses, planned.access()) {
        (Some(accesses), Some(grant)) => Ok(Some(accesses.claim(&held.id, grant)?)),
        _ => Ok(None),
    }
}

/// Looks at the interface of a request, and into its record.
fn look<'a>(request: &AttachRequest, held: &'a Held, records: &Records, ovsdb: Option<&str>) -> Result<Seen<'a>, AttachError> {
    let mut interface = crate::model::facts::guest_if(request);
    let mut record = of_interface(records, held.id.netns, &interface)?;
    if request.guest_if.is_none() && record.is_none() {
        // InfiniBand's has another usual name.
        interface = IfName::made("ib0");
        record = of_interface(records, held.id.netns, &interface)?.filter(|record| record.request.host_if == request.host_if);
    }
    let ovsdb = ovsdb.or_else(|| record.as_ref().and_then(Record::database));
    let mut database = Database::at(ovsdb).map_err(AttachError::Ovs)?;
    let log: &[Op] = record.as_ref().map_or(&[], |record| &record.done);
    let known = Known { index: record.as_ref().and_then(|record| Some(record.link.as_ref()?.index)), log };
    let (mut facts, sides) = look_again(request, &held.namespace, held.id.clone(), known).map_err(AttachError::Observe)?;
    database.look(request, &mut facts).map_err(AttachError::Ovs)?;
    Ok(Seen { facts, ends: Ends { sides, database }, record })
}

fn of_interface(records: &Records, netns: u64, interface: &IfName) -> Result<Option<Record>, AttachError> {
    records.get(netns, interface).map_err(AttachError::Unrecorded)?.map_err(AttachError::Unreadable)
}

/// What is known of the past of a recorded attachment.
fn past_of(record: Option<&Record>) -> Past<'_> {
    record.map(|record| Past { log: &record.done, mac: record.link.as_ref().and_then(|link| link.mac) }).unwrap_or_default()
}

struct Job<'a> {
    request: &'a AttachRequest,
    options: &'a Options,
    held: &'a Held,
    facts: &'a Facts,
    records: &'a Records,
}

impl Job<'_> {
    /// What is to be done to the link that is there. Without a record it has to bear our mark, or to be as asked already.
    fn plan(&self, link: &LinkFacts, record: Option<Record>, ovsdb: Option<String>) -> Result<(Option<Record>, Plan), AttachError> {
        let (request, facts) = (self.request, self.facts);
        let record = match record {
            Some(record) => record,
            None if link.is_ours() || link.is_marked() => match plan(request, &as_new(facts), Birth::Guest) {
                Ok(made) => self.record(settled(made.ops()), ovsdb, &made),
                // Not even a new one could be made so.
                Err(_) => return Ok((None, plan(request, facts, self.options.birth)?)),
            },
            None => return Ok((None, plan(request, facts, self.options.birth)?)),
        };
        if record.request.dynamic != request.dynamic {
            let (guest, interface) = (self.held.id.name.clone(), record.interface.to_string());
            return Err(PlanError::NotInPlace { guest, interface }.into());
        }
        let planned = converge(request, facts, &past_of(Some(&record)), self.options.birth)?;
        Ok((Some(record), planned))
    }

    /// A record of what nobody has recorded.
    fn record(&self, done: Vec<Op>, ovsdb: Option<String>, planned: &Plan) -> Record {
        Record {
            version: VERSION,
            id: random_id(),
            revision: 0,
            since: state::now(),
            home: self.records.home(),
            guest: GuestRecord::new(&self.request.guest, &self.held.id),
            interface: planned.guest_if().clone(),
            host_interface: planned.host_if().to_owned(),
            request: self.request.clone(),
            link: None,
            given: Vec::new(),
            lease: None,
            tenure: None,
            keeper: None,
            by_engine: false,
            mate: None,
            ovsdb,
            done,
            planned: Vec::new(),
        }
    }

    /// Writes down a request that says the same in other words.
    fn note(&self, record: &Record, warnings: &mut Vec<String>) -> Result<(), AttachError> {
        if record.revision > 0 && record.request == *self.request {
            return Ok(());
        }
        let noted = Record { request: self.request.clone(), ..record.next() };
        self.records.put(&noted).map_err(AttachError::Unrecorded)?;
        warnings.extend(self.options.want(&noted));
        Ok(())
    }

    /// Writes down what is about to be done, does it, and writes down how it stands.
    fn carry_out(
        &self,
        record: &Record,
        planned: &Plan,
        ends: &mut Ends<'_>,
        warnings: &mut Vec<String>,
        watch: Watch<'_>,
    ) -> Result<(), AttachError> {
        let mut signals = Signals::hold().map_err(AttachError::Observe)?;
        let lock = bridge_lock(planned, &ends.sides.home, self.options);
        let (netns, interface) = (record.guest.netns, &record.interface);
        let host_interface = planned.host_if().to_owned();
        let next = Record { planned: planned.ops().to_vec(), request: self.request.clone(), host_interface, ..record.next() };
        self.records.begin(Change::Replacing, &next).map_err(AttachError::Unrecorded)?;
        if let Err(error) = self.claim(&next, warnings) {
            let _ = self.records.abandon(Change::Replacing, netns, interface);
            return Err(error);
        }
        let remakes = planned.ops().iter().any(|op| matches!(op, Op::TakeBack { .. }));
        let ended = self.execute(planned, ends, lock.as_ref(), &mut signals, watch).and_then(|(done, link, findings)| {
            warnings.extend(conflict::warnings(findings, self.records));
            let link =
                link.map(|link| LinkIdentity { mac: link.mac.filter(|_| keeps_mac(record, remakes)), ..link }).or(record.link.clone());
            let log = settled(&then(&record.done, done.ops()));
            let host_interface = planned.host_if().to_owned();
            let now = Record { request: self.request.clone(), host_interface, link, done: log, planned: Vec::new(), ..record.next() };
            match self.records.commit(Change::Replacing, &now) {
                Ok(()) => Ok(now),
                Err(error) => {
                    let _ = done.undo(&mut self.machine(ends, lock.as_ref()), watch);
                    Err(AttachError::Unrecorded(error))
                }
            }
        });
        match ended {
            Ok(now) => {
                warnings.extend(self.options.want(&now));
                warnings.extend(self.clear(now, ends, lock.as_ref(), watch));
                Ok(())
            }
            Err(error) => {
                if remakes {
                    self.know_again(record, ends);
                }
                if error.undone().is_none_or(|undone| undone.left.is_empty()) {
                    let _ = self.records.abandon(Change::Replacing, netns, interface);
                }
                Err(error)
            }
        }
    }

    /// Nobody else on this host has the addresses, in the same network.
    fn claim(&self, next: &Record, warnings: &mut Vec<String>) -> Result<(), AttachError> {
        let is_dummy = next.done.iter().any(|op| matches!(op, Op::AddDummy { .. }));
        if !is_dummy {
            let conflicts = conflict::claim(self.records, next).map_err(AttachError::Unrecorded)?;
            warnings.extend(conflict::refuse(conflicts, self.request.force)?);
        }
        Ok(())
    }

    fn execute(
        &self,
        planned: &Plan,
        ends: &mut Ends<'_>,
        lock: Option<&SharedLock>,
        signals: &mut Signals,
        watch: Watch<'_>,
    ) -> Result<(Done, Option<LinkIdentity>, Findings), AttachError> {
        let unused = |_: &IfName| lock.is_none_or(SharedLock::is_last);
        let system = System::new(&mut ends.sides)
            .knowing(self.facts)
            .with_process(self.held.process.as_ref())
            .with_bridge_check(unused)
            .with_signals(signals);
        let mut machine = Machine::new(system, &mut ends.database).with_bridge_check(unused);
        let done = execute(planned, &mut machine, watch).map_err(|error| conflict::named(error, self.records))?;
        let link = identity(machine.system(), planned.guest_if()).ok();
        if let (Some(signal), Some(op)) = (machine.interrupted(), planned.ops().last()) {
            let undone = done.undo(&mut machine, watch);
            return Err(Box::new(ExecuteError { op: op.clone(), cause: KernelError::Interrupted(signal), undone }).into());
        }
        Ok((done, link, machine.system().findings()))
    }

    fn machine<'s>(&'s self, ends: &'s mut Ends<'_>, lock: Option<&'s SharedLock>) -> Machine<'s> {
        let unused = move |_: &IfName| lock.is_none_or(SharedLock::is_last);
        Machine::new(System::new(&mut ends.sides).with_bridge_check(unused), &mut ends.database).with_bridge_check(unused)
    }

    /// Takes back what the attachment does not need any more. It is done, so nothing of this can fail it.
    fn clear(&self, now: Record, ends: &mut Ends<'_>, lock: Option<&SharedLock>, watch: Watch<'_>) -> Vec<String> {
        let left = leftovers(&now.done);
        if left.is_empty() {
            return Vec::new();
        }
        let mut machine = self.machine(ends, lock);
        let mut done = now.done.clone();
        let mut warnings = Vec::new();
        for op in &left {
            for back in op.undo() {
                watch(Event::Undoing(&back));
                let ended = crate::plan::execute::Kernel::apply(&mut machine, &back);
                let failed = ended.err().filter(|error| !error.errno().is_some_and(|errno| back.tolerates(errno)));
                warnings.extend(failed.map(|error| format!("could not {}: {error}", back.describe())));
            }
            done.retain(|kept| kept != op);
        }
        if let Err(error) = self.records.put(&Record { done, ..now }) {
            warnings.push(error.to_string());
        }
        warnings
    }

    /// A link that was taken away and made again has another index.
    fn know_again(&self, record: &Record, ends: &mut Ends<'_>) {
        let link = identity(&mut System::new(&mut ends.sides), &record.interface).ok();
        if let Some(link) = link {
            let mac = record.link.as_ref().and_then(|link| link.mac);
            let _ = self.records.put(&Record { link: Some(LinkIdentity { mac, ..link }), ..record.clone() });
        }
    }
}

/// Whether the MAC address was known by which the link is told apart; a veth's is not asked for.
fn keeps_mac(record: &Record, remakes: bool) -> bool {
    remakes || record.link.as_ref().is_some_and(|link| link.mac.is_some())
}

/// What a link is known by.
pub(super) fn identity(system: &mut System<'_>, interface: &IfName) -> Result<LinkIdentity, crate::model::error::KernelError> {
    let at = LinkRef::guest(interface);
    let (index, mac) = (system.index_of(&at)?, system.mac_of(&at)?);
    Ok(LinkIdentity { index, mac, host: system.host_end_of(index)? })
}

/// The facts as they would be without the interface: what a new one would be planned by.
fn as_new(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    let index = facts.guest.link.take().map(|link| link.index);
    facts.guest.addrs.retain(|addr| Some(addr.index) != index);
    facts.guest.default_routes.retain(|route| route.index != index);
    facts.host.local_link = None;
    facts.host.peer = None;
    facts
}

/// What of an interface is not as its record, or the words of an attach, want it.
///
/// # Errors
/// When the guest or the interfaces cannot be looked at, or the request could not be met at all.
pub fn diff(request: &AttachRequest, options: &Options) -> Result<DiffReport, AttachError> {
    diff_together(request, options, Together::default())
}

/// As [`diff`], among others.
pub(super) fn diff_together(request: &AttachRequest, options: &Options, together: Together<'_>) -> Result<DiffReport, AttachError> {
    let held = together.hold(&request.guest)?;
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let looking = Options { dry_run: true, ..options.clone() };
    let asked = Asked::of(request, &looking, together)?;
    let request = &*settings::resolved(asked.request(), &held)?;
    let Seen { facts, record, .. } = look(request, &held, &records, options.ovsdb.as_deref())?;
    let differences = differences(request, &facts, &past_of(record.as_ref()))?;
    Ok(report(&held, request, record.as_ref(), differences))
}

/// As [`diff`], of the recorded attachments of a guest, or of one of them.
///
/// # Errors
/// As there; when nothing is recorded.
pub fn drift(guest: &GuestRef, interface: Option<&IfName>, options: &Options) -> Result<Vec<DiffReport>, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let meant = super::repair::meant(Some(guest), &records)?;
    let named: Vec<Record> = meant.into_iter().filter(|record| interface.is_none_or(|name| *name == record.interface)).collect();
    if named.is_empty() {
        return Err(AttachError::NotRecorded { guest: guest.to_string(), interface: interface.cloned() });
    }
    named.iter().map(|record| drift_of(record, options)).collect()
}

/// As [`diff`], of one recorded attachment.
pub(super) fn drift_of(record: &Record, options: &Options) -> Result<DiffReport, AttachError> {
    let guests = recording::guests(record);
    let together = Together { guests: guests.as_ref(), ..Together::default() };
    let options = Options { ovsdb: record.database().map(str::to_owned), ..options.clone() };
    diff_together(&super::repair::request_of(record), &options, together)
}

fn report(held: &Held, request: &AttachRequest, record: Option<&Record>, differences: Vec<Difference>) -> DiffReport {
    let interface = record.map_or_else(|| crate::model::facts::guest_if(request), |record| record.interface.clone());
    DiffReport { schema: SCHEMA, guest: (&held.id).into(), interface, recorded: record.is_some(), differences }
}

/// Addresses that an attachment is to have besides, or no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// To be added; one that is there is no error.
    pub add: Vec<IfAddr>,
    /// To be deleted; one that is gone is no error.
    pub del: Vec<IfAddr>,
}

/// `attach GUEST --add ADDR --del ADDR`: changes the addresses of a recorded attachment.
///
/// # Errors
/// As [`replace`]; when there is no attachment, or several and none is named.
pub fn edit(
    guest: &GuestRef,
    interface: Option<&IfName>,
    edit: &Edit,
    options: &Options,
    watch: Watch<'_>,
) -> Result<Attached, AttachError> {
    let record = super::repair::only(guest, interface, options)?;
    let mut spec: AddrSpec = record.request.addr.clone();
    spec.addrs.retain(|addr| !edit.del.contains(addr));
    for addr in &edit.add {
        if !spec.addrs.contains(addr) {
            spec.addrs.push(*addr);
        }
    }
    // What a word could not say is refused as a word is.
    let spec: AddrSpec = spec.to_string().parse().map_err(|error| AttachError::Plan(PlanError::Input(error)))?;
    // From here on it has these: that of a pool still belongs to it, as a fixed one does.
    let guests = recording::guests(&record);
    let together = Together { guests: guests.as_ref(), ..Together::default() };
    replace_together(&AttachRequest { addr: spec, pool: None, ..record.request.clone() }, options, together, watch)
}
