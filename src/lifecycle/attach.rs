//! Giving a guest an interface.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::{Accesses, Claim};
use super::claims::{Asked, Claims};
use super::dynamic::{self, Asking, Configured, configure};
use super::hooks::{Around, Told};
use super::journal::recover_guest;
use super::recording::{self, Recording, Subject};
use super::settings;
use super::stay::{Recorded, Stay};
use super::takeback::Removal;
use super::together::Together;
use super::{AttachError, Database, Links, Machine, NoAddress, conflict, keeper};
use crate::external::hooks::HookSettings;
use crate::guest::Held;
use crate::kernel::announce::Announcement;
use crate::kernel::netns::Namespace;
use crate::kernel::observe::{self, Sides};
use crate::kernel::signal::Signals;
use crate::kernel::{Findings, System, privilege};
use crate::model::command::Commands;
use crate::model::conflict::network;
use crate::model::dynamic::Dynamic;
use crate::model::error::KernelError;
use crate::model::facts::{AddrFacts, Facts, GuestId};
use crate::model::hook::HookEvent;
use crate::model::op::Op;
use crate::model::record::{LinkIdentity, Record};
use crate::model::report::{Outcome, Report, SCHEMA};
use crate::model::request::AttachRequest;
use crate::model::topology::How;
use crate::model::types::{IfAddr, IfName};
use crate::plan::execute::{Done, Event, ExecuteError, Kernel, execute};
use crate::plan::{Birth, Plan, plan};
use crate::state::{Claimant, NetnsLink, Records, SharedLock, Unreadable, Wanted};

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Plan only.
    pub dry_run: bool,
    /// List the steps in the report.
    pub steps: bool,
    /// Leave the link in /var/run/netns.
    pub keep_netns: bool,
    /// Where new links are made first.
    pub birth: Birth,
    /// How long an address that somebody else gives is waited for; [`Options::dhcp_timeout`] when absent.
    pub dhcp_timeout: Option<Duration>,
    /// The DHCP server's DNS servers go into the guest's resolv.conf.
    pub dhcp_dns: bool,
    /// Address of Open vSwitch's database; `OVS_DB`'s or the usual one when absent.
    pub ovsdb: Option<String>,
    /// Where locks are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// Where wanted attachments are kept ([`crate::state::state_dir`]); none is when empty.
    pub state_dir: PathBuf,
    /// Keep the attachment as a wanted one, which `repair` brings back after a restart.
    pub persist: bool,
    /// Where DHCP clients have their pid files ([`crate::state::pid_dir`]); /var/run when empty.
    pub pid_dir: PathBuf,
    /// The image of `dhcp-container`; busybox when absent.
    pub dhcp_image: Option<String>,
    /// The administrator's own programs; none when empty.
    pub hooks: HookSettings,
    /// This process serves many guests and may begin again: DHCP leases are kept by [`super::Tenancy`], not by [`Attached::stay`].
    pub resident: bool,
    /// The interface is not to be there: that it is as asked already is no success.
    pub only_new: bool,
    /// Look at the links once more when they are made, and tell of them ([`Attached::links`]).
    pub tell_links: bool,
    /// Where addresses of pools are claimed; there are no pools when absent.
    pub claims: Option<Arc<dyn Claims>>,
}

impl Options {
    /// How long an address that somebody else gives is waited for: 30 s when nothing is said, and 136 years at most, so that
    /// there is a time of day when it ends.
    pub fn dhcp_timeout(&self) -> Duration {
        self.dhcp_timeout.unwrap_or(Duration::from_secs(30)).min(Duration::from_secs(u32::MAX.into()))
    }

    /// As the words of an attach say it, and as it is where they say nothing.
    #[must_use]
    pub fn with(self, how: &How) -> Self {
        Self {
            persist: how.persist,
            dhcp_timeout: how.dhcp_timeout.map(|seconds| Duration::from_secs(seconds.into())),
            dhcp_dns: how.dhcp_dns,
            dhcp_image: how.dhcp_image.clone(),
            ovsdb: how.ovsdb.clone().or(self.ovsdb),
            keep_netns: how.keep_netns,
            ..self
        }
    }

    /// What of it the words of an attach can say, for a policy to look at.
    pub fn how(&self) -> How {
        How {
            persist: self.persist,
            dhcp_timeout: self.dhcp_timeout.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
            dhcp_dns: self.dhcp_dns,
            dhcp_image: self.dhcp_image.clone(),
            ovsdb: self.ovsdb.clone(),
            keep_netns: self.keep_netns,
        }
    }

    /// Keeps what is wanted also after a reboot, when it is asked to, or was before. What went wrong is told.
    pub(super) fn want(&self, record: &Record) -> Option<String> {
        if self.state_dir.as_os_str().is_empty() {
            return None;
        }
        let wanted = Wanted::of(&self.state_dir);
        if !self.persist && !wanted.has(&record.guest.word, &record.interface) {
            return None;
        }
        wanted.put(record).err().map(|error| format!("it is not kept for a restart: {error}"))
    }

    pub(super) fn pid_dir(&self) -> &Path {
        if self.pid_dir.as_os_str().is_empty() { Path::new("/var/run") } else { &self.pid_dir }
    }
}

/// An attach that went well.
pub struct Attached {
    /// What was done.
    pub report: Report,
    /// The guest.
    pub guest: GuestId,
    /// What is still to be told to the neighbours. It takes its time and cannot fail. Before hooks ran it was told already.
    pub announcement: Option<Announcement>,
    /// The links that were made, when they were to be told of.
    pub links: Option<Links>,
    /// What keeps a lease, when the command is to stay.
    pub stay: Option<Box<Stay>>,
}

/// Gives a guest an interface: look, plan, do, or undo.
///
/// # Errors
/// See [`AttachError`]. Whatever had been done is undone by then.
pub fn attach(request: &AttachRequest, options: &Options, watch: &mut dyn FnMut(Event<'_>)) -> Result<Attached, AttachError> {
    attach_together(request, options, Together::default(), watch)
}

/// As [`attach`], among others.
pub(super) fn attach_together(
    request: &AttachRequest,
    options: &Options,
    together: Together<'_>,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Attached, AttachError> {
    let start = Instant::now();
    let warnings = together.begin(&options.run_dir, options.dry_run, watch)?;
    let asked = Asked::of(request, options, together)?;
    asked.ended(attach_claimed(asked.request(), options, together, warnings, start, watch))
}

/// With an address that is known, and the guest's own.
fn attach_claimed(
    request: &AttachRequest,
    options: &Options,
    together: Together<'_>,
    warnings: Vec<String>,
    start: Instant,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Attached, AttachError> {
    let mut around = Around::find(&options.hooks)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match attach_once(request, options, together, &mut around, warnings.clone(), start, watch) {
            // Another run took back the bridge or VLAN child that it had made, or made it, between our look at it and our use:
            // look again.
            Err(AttachError::Execute(error)) if error.bridge_came_or_went() && tries < MOST_TRIES => {}
            Err(AttachError::Observe(error)) if error.errno() == Some(nix::errno::Errno::ENODEV) && tries < MOST_TRIES => {}
            Ok(None) => {}
            Ok(Some(attached)) => return Ok(attached),
            Err(error) => return Err(error),
        }
    }
}

/// Many runs that use and remove one bridge at the same time may be in each other's way more than once.
const MOST_TRIES: usize = 50;

/// `None`: hooks have run, and may have changed what was looked at.
fn attach_once(
    request: &AttachRequest,
    options: &Options,
    together: Together<'_>,
    around: &mut Around,
    mut warnings: Vec<String>,
    start: Instant,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Attached>, AttachError> {
    let mut database = Database::at(options.ovsdb.as_deref()).map_err(AttachError::Ovs)?;
    let held = together.hold(&request.guest)?;
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let guest_lock = if options.dry_run { None } else { Some(records.lock(held.id.netns).map_err(AttachError::Unrecorded)?) };
    if guest_lock.is_some() {
        let recovered = recover_guest(&records, held.id.netns, &options.run_dir, watch).map_err(AttachError::Unrecorded)?;
        warnings.extend(recovered.warnings.into_iter().chain(recovered.left));
    }
    let request = &*settings::resolved(request, &held)?;
    let told = warnings.clone();
    let accesses = begin_access(request, options, &mut warnings, watch)?;
    let (mut facts, sides) = observe::look(request, &held.namespace, held.id.clone()).map_err(AttachError::Observe)?;
    database.look(request, &mut facts).map_err(AttachError::Ovs)?;
    if let Some(link) = facts.guest.link.as_ref().filter(|_| options.only_new) {
        return Err(AttachError::Exists { guest: held.id.name.clone(), interface: link.name.clone() });
    }
    let mut ends = Ends { sides, database };
    let planned = plan(request, &facts, options.birth)?;
    warnings.extend(planned.warnings().iter().cloned());
    warnings.extend(without_effect(request, options, &planned));

    let wanted = request.dynamic.as_ref().filter(|_| !planned.ops().is_empty());
    if let Some(dynamic) = wanted {
        dynamic::check(dynamic, &held.id).map_err(|cause| NoAddress::before(dynamic, planned.guest_if(), cause))?;
    }
    let is_idle = options.dry_run || planned.ops().is_empty();
    let guest = held.id.clone();
    let mut occasion = Told {
        guest: &guest,
        interface: planned.guest_if().clone(),
        addresses: request.addr.addrs.clone(),
        gateways: request.addr.gateways.clone(),
        request,
    };
    if !is_idle && around.is_due(HookEvent::PreAttach)? {
        // Others need not wait for them, and what they change is to be looked at again.
        drop((ends, accesses, guest_lock));
        around.before(HookEvent::PreAttach, &[occasion], watch)?;
        return Ok(None);
    }
    if !options.dry_run
        && planned.makes_link()
        && let Some(old) = old_record(&records, held.id.netns, &planned, &mut warnings)?
    {
        // What is left of an older attachment goes first, and the access of its own; then look again.
        drop((ends, accesses));
        let told = told.into_iter().chain(clear(&records, &old, &options.run_dir, watch)?).collect();
        drop(guest_lock);
        return attach_once(request, options, together, around, told, start, watch);
    }
    let account = Account { request, options, guest: &held.id, ovsdb: ends.database.unusual_address(), start };
    let claim = match (&accesses, planned.access()) {
        (Some(accesses), Some(grant)) => Some(accesses.claim(&held.id, grant)?),
        _ => None,
    };
    if options.dry_run && conflict::is_on_a_network(&planned) {
        let own = Claimant { netns: held.id.netns, interface: planned.guest_if().clone() };
        let ips = request.addr.addrs.iter().map(IfAddr::ip);
        let found = conflict::look(&records, &network(request, planned.host_if()), &own, ips).map_err(AttachError::Unrecorded)?;
        warnings.extend(conflict::refuse(found, request.force)?);
    }
    if is_idle {
        claim.into_iter().for_each(Claim::keep);
        if let (false, Ok(Ok(Some(record)))) = (options.dry_run, records.get(held.id.netns, planned.guest_if())) {
            warnings.extend(options.want(&record));
        }
        let outcome = if options.dry_run { Outcome::Planned } else { Outcome::Unchanged };
        let mut report = account.report(&planned, outcome, warnings);
        report.steps.extend(wanted.filter(|_| options.dry_run && options.steps).and_then(|dynamic| {
            dynamic::step(&Asking { dynamic, request, options, facts: &facts, held: &held, guest_if: planned.guest_if() })
        }));
        report.address_is(report.address.or_else(|| given(request, &facts).filter(|_| outcome == Outcome::Unchanged)));
        let links = told_links(options, &mut ends, planned.guest_if());
        drop(ends);
        return Ok(Some(Attached { report, guest: held.id, announcement: None, links, stay: None }));
    }

    let ovsdb = ends.database.unusual_address();
    let lock = bridge_lock(&planned, &ends.sides.home, options);
    let run = Run { request, options, together, facts: &facts, held: &held, lock, records: &records, ovsdb };
    let ended = run.carry_out(planned, &mut ends, &mut warnings, watch);
    drop(guest_lock);
    // A record goes when nothing is left of what it is about.
    let is_left = ended.as_ref().map_or_else(|error| error.undone().is_some_and(|u| !u.left.is_empty()), |_| true);
    claim.into_iter().filter(|_| is_left).for_each(Claim::keep);
    let (done, configured) = ended?;
    let mut report = account.report(&done, Outcome::Attached, warnings);
    let Configured { addr, lease, mut stay, .. } = configured;
    report.address_is(addr);
    report.lease = lease;
    let links = told_links(options, &mut ends, &report.interface);
    drop(ends);
    let mut announcement = announcement(report.addresses.clone(), &done, held);
    if around.has(HookEvent::PostAttach) {
        // A hook may take its time, and may want to be reached.
        announcement.take().into_iter().for_each(Announcement::in_background);
        occasion.addresses.clone_from(&report.addresses);
        let signals = stay.as_mut().and_then(|stay| stay.signals());
        let failed = around.after(HookEvent::PostAttach, &occasion, &report, signals, watch);
        report.warnings.extend(failed);
    }
    Ok(Some(Attached { report, guest, announcement, links, stay }))
}

/// Somebody may have taken them away again by now: then there is nothing to tell.
pub(super) fn told_links(options: &Options, ends: &mut Ends<'_>, interface: &IfName) -> Option<Links> {
    if options.tell_links { Links::look(&mut ends.sides, interface).ok() } else { None }
}

/// What is recorded of an interface that is to be made: it is about a link that is gone, by hand, or with a guest whose
/// namespace had the same number.
pub(super) fn old_record(records: &Records, netns: u64, planned: &Plan, warnings: &mut Vec<String>) -> Result<Option<Record>, AttachError> {
    match records.get(netns, planned.guest_if()).map_err(AttachError::Unrecorded)? {
        Ok(record) => Ok(record),
        Err(later @ Unreadable::Later { .. }) => Err(AttachError::Unreadable(later)),
        Err(damaged) => {
            warnings.push(damaged.to_string());
            Ok(None)
        }
    }
}

/// Takes back what is left of an attachment whose link is gone. Returns what the user should know.
pub(super) fn clear(records: &Records, old: &Record, run_dir: &Path, watch: &mut dyn FnMut(Event<'_>)) -> Result<Vec<String>, AttachError> {
    let removal = Removal::begin(records, old.clone()).map_err(AttachError::Unrecorded)?;
    let taken = removal.carry_out(run_dir, watch).map_err(AttachError::Observe)?;
    let left = taken.left.iter().map(|left| format!("of the old {}: could not {left}", old.interface));
    Ok(taken.warnings.iter().cloned().chain(left).collect())
}

/// What is asked and cannot be had, although the rest can.
fn without_effect(request: &AttachRequest, options: &Options, planned: &Plan) -> Option<String> {
    if options.dhcp_dns && request.dynamic.is_none() {
        return Some("--dhcp-dns has no effect: no DHCP server is asked".into());
    }
    let stays = request.dynamic.as_ref().is_some_and(Dynamic::stays);
    let dev = planned.guest_if();
    (stays && !options.resident && !options.dry_run && planned.ops().is_empty())
        .then(|| format!("{dev} is there already, so this command does not stay: its lease is kept by the one that made it, or by nobody"))
}

/// The address that somebody gave the interface before.
fn given(request: &AttachRequest, facts: &Facts) -> Option<IfAddr> {
    let (dynamic, link) = (request.dynamic.as_ref()?, facts.guest.link.as_ref()?);
    let ours = |addr: &&AddrFacts| addr.index == link.index && addr.addr.family() == dynamic.family();
    let link_local = |addr: &&AddrFacts| matches!(addr.addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    facts.guest.addrs.iter().filter(ours).find(|addr| !link_local(addr)).map(|addr| addr.addr)
}

/// Waits until no other run changes an access of the host's, when the request is about one.
pub(super) fn begin_access(
    request: &AttachRequest,
    options: &Options,
    warnings: &mut Vec<String>,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Accesses>, AttachError> {
    if !request.host_access {
        return Ok(None);
    }
    let (accesses, left) = Accesses::begin(&options.run_dir, options.dry_run, watch)?;
    warnings.extend(left.into_iter().map(|left| format!("of a guest that is gone: could not {left}")));
    Ok(Some(accesses))
}

/// What is missing and can be done without: without CAP_NET_RAW, only the neighbours are not told.
pub(super) fn check_privileges() -> Result<Vec<String>, AttachError> {
    let missing = privilege::check()?;
    let raw = missing.iter().filter(|m| m.name == "CAP_NET_RAW");
    Ok(raw.map(|m| format!("{} is missing: nothing {}, neighbours may take a while to notice", m.name, m.what_for)).collect())
}

/// A run that uses a bridge holds a shared lock for as long as it does, so that none that takes its own port away, or fails,
/// takes the bridge away too: only the last one may.
pub(super) fn bridge_lock(planned: &Plan, home: &Namespace, options: &Options) -> Option<SharedLock> {
    let ops = planned.ops();
    let uses = ops.iter().any(|op| matches!(op, Op::AddVeth { .. } | Op::SetBridge { .. } | Op::AddOvsPort { .. }));
    let bridge: IfName = uses.then(|| planned.host_if().parse().ok())??;
    SharedLock::of_bridge(&options.run_dir, &bridge, home.inode()).ok()
}

/// What the steps are carried out on.
pub(super) struct Ends<'a> {
    pub(super) sides: Sides<'a>,
    pub(super) database: Database,
}

struct Run<'a> {
    request: &'a AttachRequest,
    options: &'a Options,
    together: Together<'a>,
    facts: &'a Facts,
    held: &'a Held,
    lock: Option<SharedLock>,
    records: &'a Records,
    /// Address of Open vSwitch's database, when it is an unusual one.
    ovsdb: Option<String>,
}

/// A link that was made, with its address.
struct Made {
    planned: Plan,
    done: Done,
    link: Option<LinkIdentity>,
    configured: Configured,
}

/// Steps that were carried out.
struct Executed {
    done: Done,
    link: Option<LinkIdentity>,
    findings: Findings,
}

impl Run<'_> {
    /// Carries the plan out with signals held back and the namespace link in place, and records it. Returns what was done, and
    /// the interface's address.
    fn carry_out(
        &self,
        planned: Plan,
        ends: &mut Ends<'_>,
        warnings: &mut Vec<String>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Plan, Configured), AttachError> {
        let mut signals = Signals::hold().map_err(AttachError::Observe)?;
        let link = self.facts.guest.id.pid.map(|pid| NetnsLink::place(ends.sides.namespace, pid, self.options.keep_netns));
        if let Some(Err(error)) = &link {
            warnings.push(format!("no link in /var/run/netns for `ip netns`: {error}"));
        }
        let mut recording = Recording::begin(self.records, &self.subject(), &planned)?;
        let claimed = self.claim(&planned, &recording, warnings);
        let made = claimed.and_then(|()| self.make(planned, &mut recording, ends, &mut signals, watch));
        let recorded = made.and_then(|made| self.record(&recording, made, ends, watch));
        match recorded {
            Ok((planned, mut configured, record)) => {
                warnings.extend(self.options.want(&record));
                warnings.append(&mut configured.warnings);
                if configured.stay.is_none() {
                    // One that comes from here on finds all done: that is told, rather than nothing.
                    let _ = signals.pending();
                }
                if let Some(stay) = &mut configured.stay {
                    stay.inherit(Recorded { record, run_dir: self.options.run_dir.clone() }, signals);
                }
                Ok((planned, configured))
            }
            Err(error) => {
                // What could not be taken back stays in the journal: the next run tries again.
                if error.undone().is_none_or(|undone| undone.left.is_empty()) {
                    recording.abandon();
                }
                Err(error)
            }
        }
    }

    /// Nobody else on this host has the addresses, in the same network.
    fn claim(&self, planned: &Plan, recording: &Recording<'_>, warnings: &mut Vec<String>) -> Result<(), AttachError> {
        if conflict::is_on_a_network(planned) {
            let conflicts = conflict::claim(self.records, recording.record()).map_err(AttachError::Unrecorded)?;
            warnings.extend(conflict::refuse(conflicts, self.request.force)?);
        }
        Ok(())
    }

    /// The link, and then its address where somebody else gives it.
    fn make(
        &self,
        planned: Plan,
        recording: &mut Recording<'_>,
        ends: &mut Ends<'_>,
        signals: &mut Signals,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Made, AttachError> {
        let (planned, Executed { done, link, findings }) = match self.execute(&planned, ends, signals, watch) {
            Ok(done) => (planned, done),
            Err(error) if error.birth_refused() && self.options.birth == Birth::Guest => {
                // The kernel would not make the link where it belongs; the original's way is left.
                let fallback = plan(self.request, self.facts, Birth::Host)?;
                recording.again(&fallback)?;
                let done = self.execute(&fallback, ends, signals, watch).map_err(|error| conflict::named(error, self.records))?;
                (fallback, done)
            }
            Err(error) => return Err(conflict::named(error, self.records).into()),
        };
        let mut configured = match &self.request.dynamic {
            None => Configured { addr: self.request.addr.first(), ..Configured::default() },
            Some(dynamic) => self.configure(dynamic, planned.guest_if(), done.clone(), ends, signals, watch)?,
        };
        configured.warnings.extend(conflict::warnings(findings, self.records));
        Ok(Made { planned, done, link, configured })
    }

    /// Writes down how it stands. What cannot be recorded is taken back.
    fn record(
        &self,
        recording: &Recording<'_>,
        made: Made,
        ends: &mut Ends<'_>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Plan, Configured, Record), AttachError> {
        let Made { planned, done, link, mut configured } = made;
        let done = done.and(std::mem::take(&mut configured.done));
        let given = if self.request.dynamic.is_some() { configured.addr.into_iter().collect() } else { Vec::new() };
        let keeper = configured.keeper.take().or_else(|| configured.stay.as_ref().and_then(|_| keeper::this_process()));
        let tenure = configured.tenure.take();
        let outcome = recording::Outcome { link, given, lease: configured.lease.clone(), keeper, tenure };
        let recorded = recording.commit(done.ops(), outcome).inspect(|record| {
            if !record.given.is_empty() {
                // Whoever gave the address answers for it: that another guest has it is no reason to give it back.
                let _ = conflict::claim(self.records, record);
            }
        });
        recorded.map(|record| (planned, configured, record)).inspect_err(|_| {
            let mut machine = Machine::new(self.system(&mut ends.sides), &mut ends.database).with_bridge_check(|_| self.is_unused());
            let _ = done.undo(&mut machine, watch);
        })
    }

    fn subject(&self) -> Subject<'_> {
        Subject { request: self.request, guest: &self.held.id, ovsdb: self.ovsdb.clone() }
    }

    fn execute(
        &self,
        planned: &Plan,
        ends: &mut Ends<'_>,
        signals: &mut Signals,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Executed, Box<ExecuteError>> {
        let unused = |_: &_| self.is_unused();
        let system = self.system(&mut ends.sides).with_signals(signals);
        let mut machine = Machine::new(system, &mut ends.database).with_bridge_check(unused);
        let done = execute(planned, &mut machine, watch)?;
        // A guest that has just died has none any more.
        let link = recording::identity(machine.system(), &self.subject(), planned).ok();
        if let (Some(signal), Some(op)) = (machine.interrupted(), planned.ops().last()) {
            let undone = done.undo(&mut machine, watch);
            return Err(Box::new(ExecuteError { op: op.clone(), cause: KernelError::Interrupted(signal), undone }));
        }
        Ok(Executed { done, link, findings: machine.system().findings() })
    }

    fn system<'s>(&'s self, sides: &'s mut Sides<'_>) -> System<'s> {
        let unused = |_: &_| self.is_unused();
        System::new(sides)
            .knowing(self.facts)
            .with_process(self.held.process.as_ref())
            .with_bridge_check(unused)
            .with_flood(self.together.flood)
    }

    /// Whether no other run is about to use the bridge.
    fn is_unused(&self) -> bool {
        self.lock.as_ref().is_none_or(SharedLock::is_last)
    }

    /// Gets the address of a link that is there and up; takes the link back when none comes.
    fn configure(
        &self,
        dynamic: &Dynamic,
        guest_if: &IfName,
        done: Done,
        ends: &mut Ends<'_>,
        signals: &mut Signals,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Configured, AttachError> {
        let asking = Asking { dynamic, request: self.request, options: self.options, facts: self.facts, held: self.held, guest_if };
        let mut machine = Machine::new(self.system(&mut ends.sides), &mut ends.database).with_bridge_check(|_| self.is_unused());
        configure(&asking, machine.system(), signals, watch).map_err(|cause| {
            let undone = done.undo(&mut machine, watch);
            Box::new(NoAddress { wanted: dynamic.clone(), interface: guest_if.clone(), cause, undone }).into()
        })
    }
}

pub(super) fn announcement(addrs: Vec<IfAddr>, planned: &Plan, held: Held) -> Option<Announcement> {
    let what = planned.announce().filter(|_| !addrs.is_empty())?.clone();
    Some(Announcement::new(held.namespace, what, addrs, held.process))
}

/// What every report of one attach has in common.
pub(super) struct Account<'a> {
    pub(super) request: &'a AttachRequest,
    pub(super) options: &'a Options,
    pub(super) guest: &'a GuestId,
    pub(super) ovsdb: Option<String>,
    pub(super) start: Instant,
}

impl Account<'_> {
    pub(super) fn report(&self, planned: &Plan, result: Outcome, warnings: Vec<String>) -> Report {
        let commands = Commands::new(self.guest).with_ovsdb(self.ovsdb.clone());
        let step = |op: &Op| commands.step(op);
        Report {
            schema: SCHEMA,
            result,
            guest: self.guest.into(),
            interface: planned.guest_if().clone(),
            address: self.request.addr.first(),
            addresses: self.request.addr.addrs.clone(),
            lease: None,
            gateway: self.request.addr.gateway(),
            gateways: self.request.addr.gateways.clone(),
            host_interface: planned.host_if().to_owned(),
            steps: planned.ops().iter().filter(|_| self.options.steps).map(step).collect(),
            warnings,
            elapsed_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_timeout_that_a_caller_can_name_is_a_time_and_no_panic() {
        let options = Options { dhcp_timeout: Some(Duration::MAX), ..Options::default() };
        assert!(Instant::now().checked_add(options.dhcp_timeout()).is_some());
    }
}
