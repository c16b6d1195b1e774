//! How the attachments of this host stand. Nothing is locked and nothing changed; each namespace is looked at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::repair::{meant, request_of};
use super::{AttachError, Database, keeper, recording};
use crate::guest::{self, trace};
use crate::kernel::events::{Ear, Heard, listen};
use crate::kernel::netns::Namespace;
use crate::kernel::signal::Signals;
use crate::kernel::survey::{GuestSurvey, HostSurvey};
use crate::model::error::KernelError;
use crate::model::facts::{Facts, LinkKind};
use crate::model::record::Record;
use crate::model::report::SCHEMA;
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::status::{AttachmentStatus, Standing, StatusReport};
use crate::plan::{Past, differences};
use crate::state::{Change, Records, Wanted};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct StatusOptions {
    /// Only this guest.
    pub guest: Option<GuestRef>,
    /// Also the containers of the engines that have no attachment.
    pub all_guests: bool,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// Where wanted attachments are kept ([`crate::state::state_dir`]).
    pub state_dir: PathBuf,
}

/// A guest's namespace, and what is in it.
enum Look {
    Seen(Box<GuestSurvey>),
    Gone,
    Failed(String),
}

/// Tells how the attachments stand.
///
/// # Errors
/// When the records cannot be read, or the host's links cannot be looked at.
pub fn status(options: &StatusOptions) -> Result<StatusReport, AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let mut warnings = unreadable(&records)?;
    let all = meant(options.guest.as_ref(), &records)?;
    let begun = records.unfinished().map_err(AttachError::Unrecorded)?;
    warnings.extend(begun.unreadable.iter().map(ToString::to_string));
    let host = HostSurvey::take().map_err(AttachError::Observe)?;
    let mut survey = Survey { host, guests: BTreeMap::new(), databases: BTreeMap::new() };
    let mut attachments: Vec<AttachmentStatus> = all.iter().map(|record| survey.one(record)).collect();
    for (change, record) in begun.all.iter().filter(|(_, record)| options.guest.as_ref().is_none_or(|guest| record.guest.is_called(guest)))
    {
        survey.unfinished(*change, record, &mut attachments);
    }
    let wanted = Wanted::of(&options.state_dir).all().map_err(AttachError::Unrecorded)?;
    warnings.extend(wanted.unreadable.iter().map(ToString::to_string));
    for (record, _) in wanted.all.iter().filter(|(record, _)| options.guest.as_ref().is_none_or(|guest| record.guest.is_called(guest))) {
        let known = |status: &AttachmentStatus| status.guest.name == record.guest.word.to_string() && status.interface == record.interface;
        if !attachments.iter().any(known) {
            attachments.push(AttachmentStatus { standing: Standing::Wanted, ..blank(record) });
        }
    }
    let unattached = options.all_guests.then(|| {
        let (containers, failed) = guest::containers();
        warnings.extend(failed);
        let is_known = |id: &str| all.iter().any(|record| record.guest.container.as_deref() == Some(id));
        containers.into_iter().filter(|container| !is_known(&container.id)).collect()
    });
    Ok(StatusReport { schema: SCHEMA, attachments, unattached, warnings })
}

/// Tells what is recorded of the attachments, without a look at them: cheap, and for those who ask often.
///
/// # Errors
/// When the records cannot be read.
pub fn recorded(run_dir: &Path) -> Result<StatusReport, AttachError> {
    let found = recording::records(run_dir).map_err(AttachError::Observe)?.all().map_err(AttachError::Unrecorded)?;
    let warnings = found.unreadable.iter().map(ToString::to_string).collect();
    let as_recorded = |record: &Record| AttachmentStatus {
        standing: Standing::Recorded,
        addresses: record.request.addr.addrs.iter().chain(&record.given).copied().collect(),
        gateways: record.request.addr.gateways.clone(),
        host_link: record.link.as_ref().and_then(|link| link.host.as_ref()).map(|end| end.name.to_string()),
        mac: record.link.as_ref().and_then(|link| link.mac),
        ..blank(record)
    };
    Ok(StatusReport { schema: SCHEMA, attachments: found.all.iter().map(as_recorded).collect(), unattached: None, warnings })
}

/// Records that cannot be read. Reading sets a damaged one aside, so that it is told once.
fn unreadable(records: &Records) -> Result<Vec<String>, AttachError> {
    Ok(records.all().map_err(AttachError::Unrecorded)?.unreadable.iter().map(ToString::to_string).collect())
}

struct Survey {
    host: HostSurvey,
    guests: BTreeMap<u64, Look>,
    databases: BTreeMap<Option<String>, Database>,
}

impl Survey {
    fn one(&mut self, record: &Record) -> AttachmentStatus {
        let netns = record.guest.netns;
        let with_tables = record.request.settings.table.is_some();
        self.guests.entry(netns).or_insert_with(|| look(record, with_tables));
        let guest = match self.guests.get(&netns) {
            Some(Look::Seen(guest)) => guest.as_ref().clone(),
            Some(Look::Failed(why)) => {
                return AttachmentStatus { standing: Standing::Unknown, problem: Some(why.clone()), ..blank(record) };
            }
            Some(Look::Gone) | None => return AttachmentStatus { standing: Standing::Gone, ..blank(record) },
        };
        let request = request_of(record);
        let index = record.link.as_ref().map(|link| link.index);
        let mut facts = self.host.facts(&request, &guest, record.guest.id(), record.interface.as_str(), index);
        let alive = record.guest.pid.is_none_or(|pid| trace::is_in(pid, netns));
        if facts.guest.link.is_none() && !alive {
            return AttachmentStatus { standing: Standing::Gone, ..blank(record) };
        }
        match self.differences(record, &request, &mut facts) {
            Ok(differences) => {
                let standing = if differences.is_empty() { Standing::Ok } else { Standing::Drifted };
                AttachmentStatus { standing, differences, ..self.seen(record, &facts) }
            }
            Err(why) => AttachmentStatus { standing: Standing::Unknown, problem: Some(why), ..self.seen(record, &facts) },
        }
    }

    fn differences(
        &mut self,
        record: &Record,
        request: &AttachRequest,
        facts: &mut Facts,
    ) -> Result<Vec<crate::model::difference::Difference>, String> {
        let database = match self.databases.entry(record.database().map(str::to_owned)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Database::at(record.database()).map_err(|error| error.to_string())?)
            }
        };
        database.look(request, facts).map_err(|error| error.to_string())?;
        if record.done.iter().any(|op| matches!(op, crate::model::op::Op::Tool { .. })) {
            facts.guest.lost = lost(record).map_err(|error| error.to_string())?;
        }
        let past = Past { log: &record.done, mac: record.link.as_ref().and_then(|link| link.mac) };
        differences(request, facts, &past).map_err(|error| error.to_string())
    }

    /// What the attachment looks like now.
    fn seen(&self, record: &Record, facts: &Facts) -> AttachmentStatus {
        let Some(link) = &facts.guest.link else { return blank(record) };
        let peer = facts.host.peer.as_ref();
        let port = facts.host.ovs.as_ref().and_then(|ovs| ovs.port.as_ref()).and_then(|port| port.bridge.clone());
        let lies_on = match &link.kind {
            LinkKind::Shared(_) | LinkKind::Ipoib { .. } => facts.host.vlan_link.as_ref().or(facts.host.link.as_ref()),
            _ => None,
        };
        let on = port.or_else(|| peer.and_then(|peer| self.host.master_of(peer).map(str::to_owned)));
        let given = |addr: &&crate::model::facts::AddrFacts| addr.index == link.index && !is_link_local(addr.addr.ip());
        let through = facts.guest.default_routes.iter().filter(|route| route.index == Some(link.index));
        AttachmentStatus {
            addresses: facts.guest.addrs.iter().filter(given).map(|addr| addr.addr).collect(),
            gateways: through.filter_map(|route| route.gateway).collect(),
            host_link: peer.map(|peer| peer.name.clone()),
            on: on.or_else(|| lies_on.map(|parent| parent.name.clone())),
            mtu: Some(link.mtu),
            mac: link.mac,
            ..blank(record)
        }
    }

    /// Says of an attachment that a run is at work on it.
    fn unfinished(&mut self, change: Change, record: &Record, attachments: &mut Vec<AttachmentStatus>) {
        let problem = Some(match change {
            Change::Attaching => "attaching".to_owned(),
            Change::Replacing => "changing".to_owned(),
            Change::Detaching => "detaching".to_owned(),
        });
        let is_it = |status: &&mut AttachmentStatus| status.guest.netns == record.guest.netns && status.interface == record.interface;
        match attachments.iter_mut().find(is_it) {
            Some(status) => (status.standing, status.problem) = (Standing::Unfinished, problem),
            None => attachments.push(AttachmentStatus { standing: Standing::Unfinished, problem, ..blank(record) }),
        }
    }
}

fn look(record: &Record, with_tables: bool) -> Look {
    let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns) else { return Look::Gone };
    match GuestSurvey::take(&namespace, with_tables) {
        Ok(survey) => Look::Seen(Box::new(survey)),
        Err(error) => Look::Failed(error.to_string()),
    }
}

fn lost(record: &Record) -> Result<Vec<crate::model::op::Op>, KernelError> {
    let Some(namespace) = trace::namespace(&record.guest.path, record.guest.netns) else { return Ok(Vec::new()) };
    let mut sides = crate::kernel::observe::open(&namespace)?;
    crate::kernel::again::lost(&record.done, &mut sides)
}

fn is_link_local(ip: std::net::IpAddr) -> bool {
    matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// What is known of an attachment without a look at it.
fn blank(record: &Record) -> AttachmentStatus {
    AttachmentStatus {
        guest: (&record.guest.id()).into(),
        interface: record.interface.clone(),
        standing: Standing::Unknown,
        addresses: Vec::new(),
        gateways: Vec::new(),
        host_interface: record.host_interface.clone(),
        host_link: None,
        on: None,
        vlan: record.request.tag.as_ref().map(ToString::to_string),
        mtu: None,
        mac: None,
        lease: record.lease.clone(),
        lease_kept: record.keeper.as_ref().map(keeper::is_alive),
        since: record.since.clone(),
        differences: Vec::new(),
        problem: None,
    }
}

/// How often a guest without a process is looked after: its namespace's name may be taken away any time, and nothing tells.
const LOOK: Duration = Duration::from_secs(2);

/// Tells how the attachments stand, and again whenever the kernel says that something changed, until a signal asks to stop.
///
/// # Errors
/// As [`status`].
pub fn watch(options: &StatusOptions, tell: &mut dyn FnMut(&StatusReport)) -> Result<(), AttachError> {
    let mut signals = Signals::hold().map_err(AttachError::Observe)?;
    loop {
        // Listening first: what happens between the look and the waiting is heard then.
        let (mut ears, named) = ears(options)?;
        tell(&status(options)?);
        let patience = if named { Some(LOOK) } else { None };
        match listen(&mut ears, &mut signals, patience).map_err(AttachError::Observe)? {
            Heard::Stop => return Ok(()),
            Heard::Change | Heard::Nothing => {}
        }
    }
}

/// Ears on the host and in every guest that lives, and whether one of those has no process.
fn ears(options: &StatusOptions) -> Result<(Vec<Ear>, bool), AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let home = Namespace::current().map_err(AttachError::Observe)?;
    let mut ears = vec![Ear::new(&home, None).map_err(AttachError::Observe)?];
    let (mut heard, mut named) = (Vec::new(), false);
    for record in meant(options.guest.as_ref(), &records)? {
        let netns = record.guest.netns;
        if heard.contains(&netns) {
            continue;
        }
        heard.push(netns);
        let process = match record.guest.pid.map(|pid| trace::process(pid, netns)) {
            // A namespace that only we would keep is not listened to.
            Some(None) => continue,
            process => process.flatten(),
        };
        named |= process.is_none();
        let Some(namespace) = trace::namespace(&record.guest.path, netns) else { continue };
        ears.extend(Ear::new(&namespace, process).ok());
    }
    Ok((ears, named))
}
