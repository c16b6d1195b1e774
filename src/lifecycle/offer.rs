//! Links that an engine brings to its guests itself, because it asks a network driver only for what is to be on the host.
//!
//! ```text
//! offer     a link waits on the host, recorded as an attachment of the host's own namespace
//! arrive    the engine has moved it: the record becomes the guest's, as of any other attachment
//! withdraw  it is taken away, wherever it is
//! ```
//!
//! Between the first two nothing but the record's path tells where it is to go. Any later run can look there.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::attach::bridge_lock;
use super::conflict;
use super::journal::recover_guest;
use super::recording::{self, Recording, Subject};
use super::takeback::{Removal, Taken, is_dead};
use super::together::Together;
use super::{AttachError, Database, DetachError, Machine, Options, attach};
use crate::guest::trace;
use crate::kernel::announce::Announcement;
use crate::kernel::netns::Namespace;
use crate::kernel::signal::Signals;
use crate::kernel::{System, observe};
use crate::model::error::KernelError;
use crate::model::facts::{GuestId, LinkFacts, LinkKind, RouteFacts};
use crate::model::record::{GuestRecord, LinkIdentity, Record};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::sharing::Sharing;
use crate::model::types::{Family, IfName, LinkRef};
use crate::plan::execute::{Event, execute};
use crate::plan::{self, Announce, Plan};
use crate::state::{Records, SharedLock};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// Another run may take back the bridge or VLAN child that it made between our look at it and our use.
const MOST_TRIES: usize = 50;

/// A link that waits on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The attachment's identifier.
    pub id: String,
    /// What the link is called on the host.
    pub link: IfName,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// For whom a link is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The guest, as far as it is known: the names on the host are made of its number.
    pub id: GuestId,
    /// Where the guest's namespace is, or will be.
    pub sandbox: PathBuf,
}

/// Where a link was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// In the guest: the record as it is now.
    There(Box<Record>),
    /// Still on the host.
    Waiting,
    /// Nowhere: gone, perhaps with its guest.
    Gone,
}

/// Makes the host's part of an attachment. With `options.dry_run` it is only looked whether it could be.
///
/// # Errors
/// See [`AttachError`]. Whatever had been done is undone by then.
pub fn offer(request: &AttachRequest, waiting: &Waiting, options: &Options, watch: Watch<'_>) -> Result<Offered, AttachError> {
    let mut warnings = Together::default().begin(&options.run_dir, options.dry_run, watch)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match once(request, waiting, options, watch) {
            Err(AttachError::Execute(error)) if error.bridge_came_or_went() && tries < MOST_TRIES => {}
            Err(AttachError::Observe(error)) if error.errno() == Some(nix::errno::Errno::ENODEV) && tries < MOST_TRIES => {}
            Err(error) => return Err(error),
            Ok(offered) => {
                warnings.extend(offered.warnings);
                return Ok(Offered { warnings, ..offered });
            }
        }
    }
}

fn once(request: &AttachRequest, waiting: &Waiting, options: &Options, watch: Watch<'_>) -> Result<Offered, AttachError> {
    let home = Namespace::current().map_err(AttachError::Observe)?;
    let records = Records::of(&options.run_dir, home.inode());
    let _lock = if options.dry_run { None } else { Some(records.lock(home.inode()).map_err(AttachError::Unrecorded)?) };
    if !options.dry_run {
        recover_guest(&records, home.inode(), &options.run_dir, watch).map_err(AttachError::Unrecorded)?;
        clear_old(request, &records, &options.run_dir, watch)?;
    }
    // The engine names the guest's end; until then the host's own access waits, too.
    let bare = AttachRequest { host_access: false, ..request.clone() };
    let mut database = Database::at(options.ovsdb.as_deref()).map_err(AttachError::Ovs)?;
    let (mut facts, mut sides) = observe::look_ahead(&bare, &home, waiting.id.clone()).map_err(AttachError::Observe)?;
    database.look(&bare, &mut facts).map_err(AttachError::Ovs)?;
    let planned = plan::offer(&bare, &facts)?;
    let warnings = planned.warnings().to_vec();
    let link = planned.guest_if().clone();
    if options.dry_run {
        return Ok(Offered { id: String::new(), link, warnings });
    }
    let guest = GuestId { netns: home.inode(), pid: None, path: waiting.sandbox.display().to_string(), ..waiting.id.clone() };
    let subject = Subject { request, guest: &guest, ovsdb: database.unusual_address() };
    let bridge = bridge_lock(&planned, &home, options);
    let unused = |_: &IfName| bridge.as_ref().is_none_or(SharedLock::is_last);
    let mut signals = Signals::hold().map_err(AttachError::Observe)?;
    let recording = Recording::begin(&records, &subject, &planned)?;
    let system = System::new(&mut sides).knowing(&facts).with_bridge_check(unused).with_signals(&mut signals);
    let mut machine = Machine::new(system, &mut database).with_bridge_check(unused);
    let made = carry_out(&records, request, &recording, &planned, &mut machine, watch);
    let record = match made {
        Ok(record) => record,
        Err(error) => {
            // What could not be taken back stays in the journal: the next run tries again.
            if error.undone().is_none_or(|undone| undone.left.is_empty()) {
                recording.abandon();
            }
            return Err(error);
        }
    };
    Ok(Offered { id: record.id, link, warnings })
}

/// Takes away what a run that was killed made for a request, before anybody heard of it: nobody will take it from the host.
///
/// # Errors
/// See [`AttachError`].
pub fn withdraw_unheard(request: &AttachRequest, run_dir: &Path, watch: Watch<'_>) -> Result<(), AttachError> {
    let records = recording::records(run_dir).map_err(AttachError::Observe)?;
    let _lock = records.lock(records.home()).map_err(AttachError::Unrecorded)?;
    recover_guest(&records, records.home(), run_dir, watch).map_err(AttachError::Unrecorded)?;
    clear_old(request, &records, run_dir, watch)
}

/// The links of that request that wait.
fn clear_old(request: &AttachRequest, records: &Records, run_dir: &Path, watch: Watch<'_>) -> Result<(), AttachError> {
    let is_same =
        |old: &Record| old.request.guest == request.guest && old.request.host_if == request.host_if && old.request.addr == request.addr;
    let waiting = records.of_guest(records.home()).map_err(AttachError::Unrecorded)?.all;
    for old in waiting.iter().filter(|old| is_same(old)) {
        attach::clear(records, old, run_dir, watch)?;
    }
    Ok(())
}

fn carry_out(
    records: &Records,
    request: &AttachRequest,
    recording: &Recording<'_>,
    planned: &Plan,
    machine: &mut Machine<'_>,
    watch: Watch<'_>,
) -> Result<Record, AttachError> {
    let conflicts = conflict::claim(records, recording.record()).map_err(AttachError::Unrecorded)?;
    conflict::refuse(conflicts, request.force)?;
    let done = execute(planned, machine, watch)?;
    let known = known(machine.system(), request, planned);
    recording.commit(done.ops(), recording::Outcome { link: known, ..recording::Outcome::default() }).inspect_err(|_| {
        let _ = done.undo(machine, watch);
    })
}

/// What the link is known by when it has come to the guest: a veth by its other end, any other by its MAC address.
fn known(system: &mut System<'_>, request: &AttachRequest, planned: &Plan) -> Option<LinkIdentity> {
    let at = LinkRef::host(planned.guest_if());
    let index = system.index_of(&at).ok()?;
    let host = system.host_end_of(index).ok()?;
    let mac = system.mac_of(&at).ok().flatten().or(request.mac);
    Some(LinkIdentity { index, mac, host })
}

/// Looks where an offered link is. Once it is in the guest, so is its record, and the host has access to it where that is asked for.
///
/// # Errors
/// When it cannot be looked at, or written down.
pub fn arrive(id: &str, link: &IfName, options: &Options, watch: Watch<'_>) -> Result<Arrival, AttachError> {
    let home = Namespace::current().map_err(AttachError::Observe)?;
    let records = Records::of(&options.run_dir, home.inode());
    let waiting = |records: &Records| Ok(records.get(home.inode(), link)?.ok().flatten().filter(|record| record.id == id));
    let Some(record) = waiting(&records).map_err(AttachError::Unrecorded)? else {
        return match by_id(&records, id).map_err(AttachError::Unrecorded)? {
            Some(record) if !is_dead(&record).map_err(AttachError::Observe)? => {
                give_access(&record, options, watch)?;
                Ok(Arrival::There(Box::new(record)))
            }
            _ => Ok(Arrival::Gone),
        };
    };
    // First here, then there: it goes only that way.
    if observe::links_of_host().map_err(AttachError::Observe)?.iter().any(|one| one.is_ours() && one.name == link.as_str()) {
        return Ok(Arrival::Waiting);
    }
    let namespace = Namespace::open(Path::new(&record.guest.path)).ok().filter(|namespace| !namespace.is(&home));
    let found = namespace.and_then(|namespace| Some((own_link(&namespace, &record)?, namespace)));
    let Some((there, namespace)) = found else { return Ok(Arrival::Gone) };
    if !there.up || there.name == link.as_str() {
        // The engine is at it: first it moves, then it names, last it sets up.
        return Ok(Arrival::Waiting);
    }
    let routes = default_routes(&record.request, &namespace).map_err(AttachError::Observe)?;
    let is_others = |gateway: &IpAddr| routes.iter().any(|route| route.family == Family::of(*gateway) && route.index != Some(there.index));
    let moved = moved(&record, &there, &namespace, |gateway| !is_others(gateway));
    let locks = records.lock_both([home.inode(), namespace.inode()]).map_err(AttachError::Unrecorded)?;
    if waiting(&records).map_err(AttachError::Unrecorded)?.is_none() {
        // Another run was quicker, or it is being taken away.
        return Ok(Arrival::Waiting);
    }
    records.put(&moved).and_then(|()| records.forget(home.inode(), link)).map_err(AttachError::Unrecorded)?;
    // Its own note went with the record on the host; the address is the same attachment's.
    conflict::claim(&records, &moved).map_err(AttachError::Unrecorded)?;
    drop(locks);
    give_access(&moved, options, watch)?;
    Ok(Arrival::There(Box::new(moved)))
}

/// The host's own access, where that is asked for. What is there already is not made again.
fn give_access(record: &Record, options: &Options, watch: Watch<'_>) -> Result<(), AttachError> {
    if record.request.host_access {
        let guest = GuestRef::NetnsPath(PathBuf::from(&record.guest.path));
        // No engine is asked who it is, and whose the address is was settled before there was a link.
        let mut request = AttachRequest { guest, ..record.request.clone() };
        keep_way_out(&mut request, record);
        attach::attach(&request, &Options { claims: None, ..options.clone() }, watch)?;
    }
    Ok(())
}

/// The link of a record in the guest, whatever the engine calls it there.
fn own_link(namespace: &Namespace, record: &Record) -> Option<LinkFacts> {
    let known = record.link.as_ref()?;
    let is_it = |link: &LinkFacts| match &known.host {
        Some(host) => link.kind == LinkKind::Veth && link.link == Some(host.index),
        None => matches!(link.kind, LinkKind::Shared(_)) && (known.mac.is_none() || link.mac == known.mac),
    };
    let mut links = observe::links_of(namespace).ok()?;
    links.retain(|link| link.is_ours() && is_it(link));
    // Ipvlans of one NIC have one MAC address. An index stays the same unless the guest has it already.
    links.sort_by_key(|link| link.index != known.index);
    links.into_iter().next()
}

/// The guest's default routes of the families of the gateways that were asked for.
fn default_routes(request: &AttachRequest, namespace: &Namespace) -> Result<Vec<RouteFacts>, KernelError> {
    let mut guest = namespace.netlink()?;
    let of = |gateway: &IpAddr| observe::default_routes(&mut guest, *gateway);
    Ok(request.addr.gateways.iter().map(of).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The record as if the attach had been ours to the end. Of several networks the engine takes one for the way out: what others
/// have for it is not missing.
fn moved(record: &Record, there: &LinkFacts, namespace: &Namespace, is_way_out: impl Fn(&IpAddr) -> bool) -> Record {
    let interface: IfName = there.name.parse().unwrap_or_else(|_| record.interface.clone());
    let word = GuestRef::NetnsPath(PathBuf::from(&record.guest.path));
    let mut request = AttachRequest { guest: word.clone(), guest_if: Some(interface.clone()), ..record.request.clone() };
    request.addr.gateways.retain(is_way_out);
    let done = record.done.iter().cloned().chain(plan::brought(&request, &record.interface, &interface)).collect();
    let known = record.link.as_ref();
    let link = LinkIdentity {
        index: there.index,
        mac: there.mac.filter(|_| known.is_none_or(|l| l.host.is_none())),
        host: known.and_then(|l| l.host.clone()),
    };
    Record {
        guest: GuestRecord { word, netns: namespace.inode(), ..record.guest.clone() },
        interface,
        request,
        link: Some(link),
        by_engine: true,
        done,
        ..record.next()
    }
}

/// What the neighbours are to be told of a link that has arrived: its address may have had another MAC address before, and the engine
/// tells nobody.
pub fn announcement(record: &Record) -> Option<Announcement> {
    let is_silent = record.request.sharing.as_ref().is_some_and(Sharing::is_layer3);
    let addrs = record.request.addr.addrs.clone();
    let namespace = trace::namespace(&record.guest.path, record.guest.netns).filter(|_| !is_silent && !addrs.is_empty())?;
    let port = record.link.as_ref().and_then(|link| link.host.as_ref()).map(|end| end.name.clone());
    let what = Announce { guest_if: record.interface.clone(), port };
    Some(Announcement::new(namespace, what, addrs, None))
}

/// What an engine tells of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// The container.
    pub container: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// The gateways that the engine was given. Of several networks of a container it takes one for the way out, and another one
    /// when that is gone.
    pub gateways: &'a [IpAddr],
}

/// Writes down whose an attachment is, and whether it is the way out. Returns whether that was news.
///
/// # Errors
/// When it cannot be written down.
pub fn told(record: &Record, told: &Told<'_>, run_dir: &Path) -> std::io::Result<bool> {
    let records = recording::records(run_dir).map_err(std::io::Error::other)?;
    let Ok(word) = format!("docker:{}", told.name).parse::<GuestRef>() else { return Ok(false) };
    let _lock = records.lock(record.guest.netns)?;
    let now = records.get(record.guest.netns, &record.interface)?.ok().flatten().filter(|now| now.id == record.id);
    let Some(now) = now else { return Ok(false) };
    let mut request = AttachRequest { guest: word.clone(), ..now.request.clone() };
    request.addr.gateways = told.gateways.to_vec();
    if !keep_way_out(&mut request, &now) {
        request.addr.gateways.clone_from(&now.request.addr.gateways);
    }
    let guest = GuestRecord {
        word,
        engine: "docker".into(),
        container: Some(told.container.to_owned()),
        container_name: Some(told.name.to_owned()),
        ..now.guest.clone()
    };
    if guest == now.guest && request == now.request {
        return Ok(false);
    }
    records.put(&Record { guest, request, ..now.next() }).map(|()| true)
}

/// Strikes out the gateways that are not the guest's way out. `false`: it is not known which are.
fn keep_way_out(request: &mut AttachRequest, record: &Record) -> bool {
    let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns) else { return false };
    let Ok(routes) = default_routes(request, &namespace) else { return false };
    let index = record.link.as_ref().map(|link| link.index);
    request.addr.gateways.retain(|gateway| routes.iter().any(|route| route.gateway == Some(*gateway) && route.index == index));
    true
}

/// Takes an attachment away, whether its link waits, has come to its guest, or is gone with it. `false`: nothing is recorded of it.
///
/// # Errors
/// See [`DetachError`].
pub fn withdraw(id: &str, link: &IfName, run_dir: &Path, watch: Watch<'_>) -> Result<bool, DetachError> {
    let records = recording::records(run_dir)?;
    let waiting = records.get(records.home(), link)?.ok().flatten().filter(|record| record.id == id);
    let Some(record) = waiting.map_or_else(|| by_id(&records, id), |record| Ok(Some(record)))? else { return Ok(false) };
    if take(&records, &record, run_dir, watch)? {
        return Ok(true);
    }
    // It has come to its guest just now.
    by_id(&records, id)?.map_or(Ok(false), |record| take(&records, &record, run_dir, watch))
}

/// `false`: the record is not there any more.
fn take(records: &Records, seen: &Record, run_dir: &Path, watch: Watch<'_>) -> Result<bool, DetachError> {
    let _lock = records.lock(seen.guest.netns)?;
    let now = records.get(seen.guest.netns, &seen.interface)?.ok().flatten();
    let Some(record) = now.filter(|now| now.id == seen.id) else { return Ok(false) };
    let Taken { left, .. } = Removal::begin(records, record)?.carry_out(run_dir, watch)?;
    if left.is_empty() { Ok(true) } else { Err(DetachError::Left(left)) }
}

fn by_id(records: &Records, id: &str) -> std::io::Result<Option<Record>> {
    Ok(records.all()?.all.into_iter().find(|record| record.id == id))
}

/// Whether a record is about a link that waits on the host.
pub(super) fn is_waiting(record: &Record) -> bool {
    record.guest.netns == record.home
}

/// Whether a link that waited is neither here nor where it was to go.
pub(super) fn is_lost(record: &Record) -> Result<bool, KernelError> {
    let here = observe::links_of_host()?;
    let known = record.link.as_ref();
    let host = known.and_then(|link| link.host.as_ref());
    let is_here = |link: &LinkFacts| match host {
        // While one end of a veth is anywhere, so is the other.
        Some(end) => link.index == end.index && link.kind == LinkKind::Veth,
        None => link.name == record.interface.as_str() && link.is_ours(),
    };
    Ok(!here.iter().any(is_here) && !in_sandbox(record))
}

fn in_sandbox(record: &Record) -> bool {
    Namespace::open(Path::new(&record.guest.path)).ok().is_some_and(|namespace| own_link(&namespace, record).is_some())
}
