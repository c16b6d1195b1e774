//! Taking back what a record tells of: by a detach, by the next run after one that was killed, and by gc.

use std::path::Path;

use super::detach::hand_over;
use super::{Database, Machine, access, mate, offer, tenure};
use crate::guest::trace;
use crate::kernel::netns::Namespace;
use crate::kernel::{System, nl80211, observe};
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, origin_name};
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::types::{IfName, LinkRef, Side};
use crate::plan::execute::{Event, Kernel};
use crate::plan::{self, GuestNow};
use crate::state::{Change, Records, SharedLock, Topologies};

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// The steps that took effect.
    pub(super) ops: Vec<Op>,
    /// What could not be taken back, and why.
    pub(super) left: Vec<String>,
    /// What was not there any more to be put back.
    pub(super) warnings: Vec<String>,
}

/// An attachment that is being taken away, under its guest's lock. Until nothing is left of it the journal tells of it.
pub(super) struct Removal<'a> {
    records: &'a Records,
    record: Record,
}

impl<'a> Removal<'a> {
    /// Hands over to other attachments what they are to put back now, and writes down that it begins.
    pub(super) fn begin(records: &'a Records, mut record: Record) -> std::io::Result<Self> {
        hand_over(records, &mut record)?;
        records.begin_detach(record.guest.netns, &record.interface)?;
        Ok(Self { records, record })
    }

    /// What is taken away.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Takes it back, and strikes it out when nothing is left.
    pub(super) fn carry_out(self, run_dir: &Path, watch: Watch<'_>) -> Result<Taken, KernelError> {
        let Self { records, record } = self;
        tenure::give_back(&record);
        let mut taken = take_back(&record, &record.done, run_dir, watch)?;
        if taken.left.is_empty()
            && let Err(error) = records.abandon(Change::Detaching, record.guest.netns, &record.interface)
        {
            taken.left.push(format!("strike out that {} of {} is taken away: {error}", record.interface, record.guest.word));
        }
        Ok(taken)
    }
}

/// Takes steps of a record back, last first. Never stops at an error; what is gone already is no error.
pub(super) fn take_back(record: &Record, done: &[Op], run_dir: &Path, watch: Watch<'_>) -> Result<Taken, KernelError> {
    let records = Records::of(run_dir, Namespace::current()?.inode());
    // What the other end of a link replaced can be put back only while the link is there.
    let other = mate::release(&records, record, false, run_dir, watch)?;
    let mut taken = take_back_one(record, done, run_dir, watch)?;
    taken.left.splice(0..0, other.left);
    taken.warnings.splice(0..0, other.warnings);
    Ok(taken)
}

/// As [`take_back`], without a look at the other end of a link.
pub(super) fn take_back_one(record: &Record, done: &[Op], run_dir: &Path, watch: Watch<'_>) -> Result<Taken, KernelError> {
    let home = Namespace::current()?;
    let mut taken = Taken::default();
    if record.request.host_access {
        taken.warnings.extend(access::forget(run_dir, record, watch));
    }
    let (found, ops) = steps(record, done)?;
    // Without a guest all steps are the host's, and its own namespace stands in.
    let guest = found.map_or_else(Namespace::current, Ok)?;
    let lock = bridge_of(&ops).and_then(|bridge| SharedLock::of_bridge(run_dir, bridge, home.inode()).ok());
    let topologies = Topologies::of(run_dir, home.inode());
    let unused = |bridge: &IfName| lock.as_ref().is_none_or(SharedLock::is_last) && !topologies.has_bridge(bridge);
    let mut database = Database::at(record.database()).map_err(KernelError::Ovs)?;
    let mut sides = observe::open(&guest)?;
    let system = System::new(&mut sides).with_bridge_check(unused);
    let mut machine = Machine::new(system, &mut database).with_bridge_check(unused);
    let mut failed = Vec::<Op>::new();
    for op in ops {
        if failed.iter().any(|failed| op.hangs_on(failed)) {
            continue;
        }
        watch(Event::Undoing(&op));
        match machine.apply(&op) {
            Ok(()) => taken.ops.push(op),
            Err(error) if is_gone(&op, &error) => {}
            Err(error) if is_past(&op, &error) => taken.warnings.push(format!("could not {}: {error}", op.describe())),
            Err(error) => {
                taken.left.push(format!("{}: {error}", op.describe()));
                failed.push(op);
            }
        }
    }
    Ok(taken)
}

/// The steps that [`take_back`] would try.
pub(super) fn planned(record: &Record) -> Result<Vec<Op>, KernelError> {
    steps(record, &record.done).map(|(_, ops)| ops)
}

/// The guest's namespace, if it is there still, and what takes `done` back.
fn steps(record: &Record, done: &[Op]) -> Result<(Option<Namespace>, Vec<Op>), KernelError> {
    let found = find(record)?;
    let now = guest_now(record, found.is_some())?;
    let (namespace, renamed) = found.unzip();
    let ops = renamed.into_iter().flatten().chain(plan::detach(record, done, &now)).collect();
    Ok((namespace, ops))
}

fn guest_now(record: &Record, is_there: bool) -> Result<GuestNow, KernelError> {
    if is_there {
        return Ok(GuestNow::There);
    }
    let is_wifi = record.done.iter().chain(&record.planned).any(|op| matches!(op, Op::MovePhy { .. }));
    let wifi = if is_wifi { nl80211::names()? } else { Vec::new() };
    Ok(GuestNow::Gone { returned: returned(record)?, wifi })
}

/// Whether there is nothing to take back: the link, address, ... is not there any more.
fn is_gone(op: &Op, error: &KernelError) -> bool {
    use nix::errno::Errno;
    let Some(errno) = error.errno() else { return false };
    op.tolerates(errno) || (errno == Errno::ENODEV && !matches!(op, Op::RestoreRoute { .. } | Op::AddNeigh { .. }))
}

/// Whether what a step would put back has lost its ground meanwhile: the route's interface is gone, or down. Nobody can mend
/// that later either.
fn is_past(op: &Op, error: &KernelError) -> bool {
    use nix::errno::Errno;
    let lost = [Errno::ENODEV, Errno::ENETUNREACH, Errno::ENETDOWN, Errno::EHOSTUNREACH, Errno::EINVAL];
    matches!(op, Op::RestoreRoute { .. } | Op::AddNeigh { .. } | Op::RestoreAddr { .. }) && error.errno().is_some_and(|e| lost.contains(&e))
}

/// The bridge that a step may remove.
fn bridge_of(ops: &[Op]) -> Option<&IfName> {
    ops.iter().find_map(|op| match op {
        Op::DelUnusedBridge { name } | Op::DelUnusedOvsBridge { name } => Some(name),
        _ => None,
    })
}

/// The guest's namespace, if it is still the one: it has the link, or the guest's own process. With it, what gives the link its
/// name back, should somebody have renamed it.
pub(super) fn find(record: &Record) -> Result<Option<(Namespace, Vec<Op>)>, KernelError> {
    let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns) else { return Ok(None) };
    let mut socket = namespace.netlink()?;
    let is_own = |link: &LinkFacts| link.is_ours() || link.is_marked();
    let named = observe::link_called(&mut socket, &record.interface)?.filter(is_own);
    let is_same = |link: &LinkFacts| record.link.as_ref().is_none_or(|known| known.index == link.index);
    if named.as_ref().is_some_and(is_same) {
        return Ok(Some((namespace, Vec::new())));
    }
    let by_index = match &record.link {
        Some(known) => observe::link_of(&mut socket, known.index)?.filter(is_own),
        None => None,
    };
    if let Some(name) = by_index.and_then(|link| link.name.parse::<IfName>().ok()) {
        let link = LinkRef::guest(&name);
        let back = vec![Op::SetDown { link: link.clone() }, Op::RenameLink { link, name: record.interface.clone() }];
        return Ok(Some((namespace, back)));
    }
    // A link between two guests goes with either. A namespace without a process is then the same still.
    let alive = record.guest.pid.map_or(record.mate.is_some(), |pid| trace::is_in(pid, record.guest.netns));
    Ok(alive.then_some((namespace, Vec::new())))
}

/// Whether the guest of a record is gone for good. A namespace without a process stays one for as long as it is there.
pub(super) fn is_dead(record: &Record) -> Result<bool, KernelError> {
    if offer::is_waiting(record) {
        return offer::is_lost(record);
    }
    if trace::namespace(&record.guest.path, record.guest.netns).is_none() {
        return Ok(true);
    }
    Ok(record.guest.pid.is_some() && find(record)?.is_none())
}

/// The NIC, or IPoIB child, of the record that came back to the host when its guest died.
fn returned(record: &Record) -> Result<Option<IfName>, KernelError> {
    let all = record.done.iter().chain(&record.planned);
    let marks: Vec<String> = all
        .filter_map(|op| match op {
            Op::MoveLink { from, before: Some(_), .. } | Op::MovePhy { from, before: Some(_), .. } => Some(origin_name(from.name.as_str())),
            Op::AddAltName { link, name } if link.side == Side::Guest => Some(name.clone()),
            _ => None,
        })
        .collect();
    if marks.is_empty() {
        return Ok(None);
    }
    let links = observe::links_of_host()?;
    let is_it = |link: &&LinkFacts| link.alt_names.iter().any(|name| marks.contains(name));
    Ok(links.iter().find(is_it).and_then(|link| link.name.parse().ok()))
}
