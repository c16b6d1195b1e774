//! The record of one attach: written before the first step, and anew once it is done.

use super::AttachError;
use crate::guest::{Directory, Sandbox};
use crate::kernel::netns::Namespace;
use crate::kernel::{System, random_id};
use crate::model::error::KernelError;
use crate::model::facts::Names;
use crate::model::lease::{LeaseReport, Tenure};
use crate::model::op::Op;
use crate::model::record::{GuestRecord, HostEnd, Keeper, LinkIdentity, Mate, Record, VERSION};
use crate::model::request::AttachRequest;
use crate::model::types::{IfAddr, LinkRef};
use crate::plan::{Plan, settled};
use crate::state::{self, Change, Records};

/// What a plan is about.
pub(super) struct Subject<'a> {
    pub(super) request: &'a AttachRequest,
    pub(super) guest: &'a crate::model::facts::GuestId,
    pub(super) ovsdb: Option<String>,
}

/// What came of it besides the steps.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) link: Option<LinkIdentity>,
    pub(super) given: Vec<IfAddr>,
    pub(super) lease: Option<LeaseReport>,
    pub(super) keeper: Option<Keeper>,
    pub(super) tenure: Option<Tenure>,
}

/// A record in the making.
pub(super) struct Recording<'a> {
    records: &'a Records,
    record: Record,
    /// What is recorded of the interface already, when it is not made but added to.
    old: Option<Record>,
}

impl<'a> Recording<'a> {
    /// Writes down what is about to be done.
    pub(super) fn begin(records: &'a Records, subject: &Subject<'_>, planned: &Plan) -> Result<Self, AttachError> {
        let old = match planned.makes_link() {
            true => None,
            false => records.get(subject.guest.netns, planned.guest_if()).map_err(AttachError::Unrecorded)?.ok().flatten(),
        };
        let new = new(records, subject, planned);
        let record = match &old {
            Some(old) => Record { planned: new.planned, request: new.request, ..old.next() },
            None => new,
        };
        let recording = Self { records, record, old };
        recording.write()?;
        Ok(recording)
    }

    /// Writes down what is about to be done to two guests that are linked.
    pub(super) fn begin_pair(records: &'a Records, subjects: &[Subject<'_>; 2], planned: &[Plan; 2]) -> Result<[Self; 2], AttachError> {
        let mates = [1, 0].map(|n: usize| Mate { netns: subjects[n].guest.netns, interface: planned[n].guest_if().clone() });
        let [second, first] = mates;
        let id = random_id();
        let linked = |subject: &Subject<'_>, planned: &Plan, mate: Mate| {
            let record = Record { id: id.clone(), mate: Some(mate), ..new(records, subject, planned) };
            let recording = Self { records, record, old: None };
            recording.write()?;
            Ok(recording)
        };
        let [one, other] = subjects;
        let near = linked(one, &planned[0], second)?;
        match linked(other, &planned[1], first) {
            Ok(far) => Ok([near, far]),
            Err(error) => {
                near.abandon();
                Err(error)
            }
        }
    }

    /// The record as it stands in the journal.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Another plan takes the place of the first, of which nothing is left.
    pub(super) fn again(&mut self, planned: &Plan) -> Result<(), AttachError> {
        self.record.planned = planned.ops().to_vec();
        self.write()
    }

    fn write(&self) -> Result<(), AttachError> {
        self.records.begin(self.change(), &self.record).map_err(AttachError::Unrecorded)
    }

    fn change(&self) -> Change {
        if self.old.is_some() { Change::Replacing } else { Change::Attaching }
    }

    /// Strikes it out: nothing is left of what was begun.
    pub(super) fn abandon(self) {
        // Should the file stay, the next run finds nothing to take back.
        let _ = self.records.abandon(self.change(), self.record.guest.netns, &self.record.interface);
    }

    /// Writes down how it stands now.
    pub(super) fn commit(&self, done: &[Op], outcome: Outcome) -> Result<Record, AttachError> {
        let Outcome { link, given, lease, keeper, tenure } = outcome;
        let record = match &self.old {
            Some(old) => Record { done: [old.done.clone(), settled(done)].concat(), planned: Vec::new(), ..self.record.clone() },
            None => Record { link, given, lease, keeper, tenure, done: settled(done), planned: Vec::new(), ..self.record.clone() },
        };
        self.records.commit(self.change(), &record).map_err(AttachError::Unrecorded)?;
        Ok(record)
    }
}

fn new(records: &Records, subject: &Subject<'_>, planned: &Plan) -> Record {
    Record {
        version: VERSION,
        id: random_id(),
        revision: 1,
        since: state::now(),
        home: records.home(),
        guest: GuestRecord::new(&subject.request.guest, subject.guest),
        interface: planned.guest_if().clone(),
        host_interface: planned.host_if().to_owned(),
        request: subject.request.clone(),
        link: None,
        mate: None,
        given: Vec::new(),
        lease: None,
        tenure: None,
        keeper: None,
        by_engine: false,
        ovsdb: subject.ovsdb.clone(),
        done: Vec::new(),
        planned: planned.ops().to_vec(),
    }
}

/// What a link that was just made is known by. A veth's ends are known from the answer that made them.
pub(super) fn identity(system: &mut System<'_>, subject: &Subject<'_>, planned: &Plan) -> Result<LinkIdentity, KernelError> {
    let interface = LinkRef::guest(planned.guest_if());
    let is_veth = planned.ops().iter().any(|op| matches!(op, Op::AddVeth { .. }));
    let index = system.index_of(&interface)?;
    if !is_veth {
        return Ok(LinkIdentity { index, mac: system.mac_of(&interface)?, host: None });
    }
    let name = Names::of(subject.guest).host_end(subject.request);
    let host = HostEnd { index: system.index_of(&LinkRef::host(&name))?, name };
    Ok(LinkIdentity { index, mac: None, host: Some(host) })
}

/// Who the guest of a record is, where its word alone does not say: a namespace that a runtime named with its container.
pub(super) fn guests(record: &Record) -> Option<Directory> {
    Sandbox::of(&record.guest).map(Directory::of_sandbox)
}

/// The records of the host that this process is on.
pub(super) fn records(run_dir: &std::path::Path) -> Result<Records, KernelError> {
    Ok(Records::of(run_dir, Namespace::current()?.inode()))
}
