//! Attachments and links.

use std::collections::{BTreeSet, HashSet};

use super::{ApplyError, Run, Watch};
use crate::lifecycle::batch::{Ended, Work};
use crate::lifecycle::{AttachError, diff, link};
use crate::model::difference::{Difference, Field};
use crate::model::dynamic::Dynamic;
use crate::model::facts::guest_if;
use crate::model::pair::{GuestIf, PairRequest};
use crate::model::record::Record;
use crate::model::report::Outcome;
use crate::model::request::{GuestRef, HostIf};
use crate::model::topology::{Action, Kind, ObjectReport, WantedAttachment};
use crate::model::types::IfName;
use crate::state::Wanted as Persisted;

/// The usual name of an interface on InfiniBand.
pub(super) const INFINIBAND: &str = "ib0";

/// An attachment as people call it.
pub(super) fn attachment_name(at: &GuestIf) -> String {
    format!("{} of {}", at.interface, at.guest)
}

pub(super) fn link_name(ends: [&GuestIf; 2]) -> String {
    let [first, second] = ends;
    format!("{first} {second}")
}

pub(super) fn interface_of(attachment: &WantedAttachment) -> GuestIf {
    GuestIf { guest: attachment.request.guest.clone(), interface: guest_if(&attachment.request) }
}

pub(super) fn ends_of(request: &PairRequest) -> [GuestIf; 2] {
    request.ends.each_ref().map(|end| end.at.clone())
}

/// The end of a link that is recorded as one that leads to the other.
pub(super) fn recorded_end<'a>(records: &[Record], ends: &'a [GuestIf; 2]) -> Option<&'a GuestIf> {
    let [first, second] = ends;
    let leads = |at: &GuestIf, to: &GuestIf| {
        let is_to = |r: &Record| matches!(&r.request.host_if, HostIf::Guest(end) if **end == *to);
        records.iter().any(|r| r.guest.word == at.guest && r.interface == at.interface && is_to(r))
    };
    if leads(first, second) { Some(first) } else { leads(second, first).then_some(second) }
}

/// What an item of the list is about.
enum Subject<'a> {
    Attachment(&'a WantedAttachment),
    Link(&'a PairRequest),
}

impl Subject<'_> {
    fn name(&self) -> (Kind, String) {
        match self {
            Self::Attachment(attachment) => (Kind::Attachment, attachment_name(&interface_of(attachment))),
            Self::Link(request) => (Kind::Link, link_name(request.ends.each_ref().map(|end| &end.at))),
        }
    }
}

impl Run<'_> {
    /// Whoever is killed half way knows the next time what it was at.
    pub(super) fn note_interfaces(&mut self) -> Result<(), ApplyError> {
        let interfaces = self.wanted.attachments.iter().map(interface_of);
        let links = self.wanted.links.iter().map(ends_of);
        let (attachments, links): (Vec<GuestIf>, Vec<[GuestIf; 2]>) = (interfaces.collect(), links.collect());
        let (here, linked): (HashSet<&GuestIf>, HashSet<&[GuestIf; 2]>) = (attachments.iter().collect(), links.iter().collect());
        self.applied.attachments.retain(|known| !here.contains(known));
        self.applied.links.retain(|known| !linked.contains(known));
        self.applied.attachments.extend(attachments);
        self.applied.links.extend(links);
        self.keep()
    }

    pub(super) fn interfaces(&mut self, watch: Watch<'_>) -> Result<(), ApplyError> {
        let wanted = self.wanted;
        let (mut subjects, mut items) = (Vec::new(), Vec::new());
        for attachment in &wanted.attachments {
            if let Some(item) = self.attachment(attachment) {
                subjects.push(Subject::Attachment(attachment));
                items.push(item);
            }
        }
        for link in &wanted.links {
            if let Some(item) = self.link(link, watch) {
                subjects.push(Subject::Link(link));
                items.push(item);
            }
        }
        if self.stop().is_some() {
            items.clear();
        }
        let mut told = BTreeSet::new();
        let mut tell = |run: &mut Self, index: usize, ended: &Ended| {
            told.insert(index);
            match subjects.get(index) {
                Some(Subject::Attachment(attachment)) => run.attached(attachment, ended),
                Some(Subject::Link(link)) => run.linked(link, ended),
                None => {}
            }
        };
        self.carry_out(items, &mut tell)?;
        if let Some(signal) = self.stop() {
            for (_, subject) in subjects.iter().enumerate().filter(|(index, _)| !told.contains(index)) {
                let (kind, name) = subject.name();
                self.not_done(kind, name, signal);
            }
        }
        self.note_made()
    }

    /// What came to nothing is not the topology's: somebody else may come to have it.
    fn note_made(&mut self) -> Result<(), ApplyError> {
        let recorded = self.records.all().map_err(AttachError::Unrecorded)?.all;
        let alone = recorded.iter().filter(|record| record.mate.is_none());
        let known: HashSet<(&GuestRef, &str)> = alone.map(|record| (&record.guest.word, record.interface.as_str())).collect();
        let called = |guest: &GuestRef, name: &str| known.contains(&(guest, name));
        for attachment in &self.wanted.attachments {
            let at = interface_of(attachment);
            if called(&at.guest, at.interface.as_str()) {
                continue;
            }
            self.applied.attachments.retain(|known| *known != at);
            // On InfiniBand the usual name is another.
            if attachment.request.guest_if.is_none() && called(&at.guest, INFINIBAND) {
                self.applied.attachments.push(GuestIf { interface: IfName::made(INFINIBAND), ..at });
            }
        }
        let ends = self.wanted.links.iter().map(ends_of);
        let gone: Vec<[GuestIf; 2]> = ends.filter(|ends| recorded_end(&recorded, ends).is_none()).collect();
        self.applied.links.retain(|known| !gone.contains(known));
        self.keep()
    }

    /// What is to be done about an attachment; `None` when that is told already.
    fn attachment(&mut self, attachment: &WantedAttachment) -> Option<Work> {
        let (request, how) = (&attachment.request, &attachment.how);
        let name = attachment_name(&interface_of(attachment));
        let host_if = request.host_if.to_string();
        let missing = self.missing_guest(&request.guest).or_else(|| {
            let failed = self.lacks.failed_bridges.contains(&host_if);
            failed.then(|| format!("bridge {host_if}, which it is to be on, is not as described"))
        });
        if let Some(missing) = missing {
            self.tell(&ObjectReport::failed(Kind::Attachment, name, vec![missing], None));
            return None;
        }
        let options = self.options.attach(how);
        let stays = request.dynamic.as_ref().is_some_and(Dynamic::stays);
        if !self.options.dry_run && !stays {
            return Some(Work::Attach { request: Box::new(request.clone()), options: Box::new(options), replace: true });
        }
        let new_guest = self.lacks.planned_guests.contains(&request.guest.to_string());
        let differences = if new_guest || self.lacks.planned_bridges.contains(&host_if) {
            Ok(vec![absent(attachment)])
        } else {
            diff(request, &options).map(|report| report.differences)
        };
        match differences {
            Ok(differences) if stays && !self.options.dry_run && !differences.is_empty() => self.tell(&no_stay(attachment, name)),
            Ok(differences) => self.tell(&planned(Kind::Attachment, name, differences)),
            Err(error) => self.failed(Kind::Attachment, name, &error),
        }
        None
    }

    fn link(&mut self, request: &PairRequest, watch: Watch<'_>) -> Option<Work> {
        let [first, second] = request.ends.each_ref().map(|end| &end.at);
        let name = link_name([first, second]);
        if let Some(missing) = self.missing_guest(&first.guest).or_else(|| self.missing_guest(&second.guest)) {
            self.tell(&ObjectReport::failed(Kind::Link, name, vec![missing], None));
            return None;
        }
        if !self.options.dry_run {
            return Some(Work::Link { request: Box::new(request.clone()), options: Box::new(self.options.link()) });
        }
        let is_new = |guest: &GuestRef| self.lacks.planned_guests.contains(&guest.to_string());
        let made = || Difference { field: Field::Interface, is: "not there".into(), wanted: name.clone() };
        let differences = if is_new(&first.guest) || is_new(&second.guest) {
            Ok(vec![made()])
        } else {
            let steps = super::LinkOptions { steps: true, ..self.options.link() };
            link(request, &steps, watch).map(|linked| if linked.report.steps.is_empty() { Vec::new() } else { vec![made()] })
        };
        match differences {
            Ok(differences) => self.tell(&planned(Kind::Link, name, differences)),
            Err(error) => self.failed(Kind::Link, name, &error),
        }
        None
    }

    fn missing_guest(&self, guest: &GuestRef) -> Option<String> {
        let failed = self.lacks.failed_guests.contains(&guest.to_string());
        failed.then(|| format!("guest {guest} is not there"))
    }

    fn attached(&mut self, attachment: &WantedAttachment, ended: &Ended) {
        let name = attachment_name(&interface_of(attachment));
        match ended {
            Ended::Attached(attached) => {
                let mut report = ObjectReport::new(Kind::Attachment, name, action_of(attached.result), attached.result);
                report.steps.clone_from(&attached.steps);
                report.warnings.clone_from(&attached.warnings);
                report.warnings.extend(self.persist(attachment, attached.guest.netns));
                self.tell(&report);
            }
            Ended::Failed { failure, .. } => self.not_made(Kind::Attachment, name, failure),
            Ended::Linked(_) | Ended::Detached(_) => {}
        }
    }

    /// One that was there before may be wanted for a restart only since now.
    fn persist(&self, attachment: &WantedAttachment, netns: u64) -> Option<String> {
        let persisted = Persisted::of(&self.options.state_dir);
        let interface = interface_of(attachment).interface;
        if !attachment.how.persist || persisted.has(&attachment.request.guest, &interface) {
            return None;
        }
        let record = self.records.get(netns, &interface).ok()?.ok()??;
        persisted.put(&record).err().map(|error| format!("it is not kept for a restart: {error}"))
    }

    fn linked(&mut self, request: &PairRequest, ended: &Ended) {
        let [first, second] = request.ends.each_ref().map(|end| &end.at);
        let name = link_name([first, second]);
        match ended {
            Ended::Linked(linked) => {
                let report = ObjectReport::new(Kind::Link, name, action_of(linked.result), linked.result);
                self.tell(&ObjectReport { steps: linked.steps.clone(), warnings: linked.warnings.clone(), ..report });
            }
            Ended::Failed { failure, .. } => self.not_made(Kind::Link, name, failure),
            Ended::Attached(_) | Ended::Detached(_) => {}
        }
    }
}

fn action_of(result: Outcome) -> Action {
    match result {
        Outcome::Attached => Action::Create,
        Outcome::Unchanged => Action::None,
        _ => Action::Change,
    }
}

fn absent(attachment: &WantedAttachment) -> Difference {
    Difference { field: Field::Interface, is: "not there".into(), wanted: interface_of(attachment).interface.to_string() }
}

/// What would be done.
fn planned(kind: Kind, name: String, differences: Vec<Difference>) -> ObjectReport {
    let (action, result) = match differences.first().map(|difference| difference.field) {
        None => (Action::None, Outcome::Unchanged),
        Some(Field::Interface) => (Action::Create, Outcome::Planned),
        Some(_) => (Action::Change, Outcome::Planned),
    };
    let differences = if action == Action::Create { Vec::new() } else { differences };
    ObjectReport { differences, ..ObjectReport::new(kind, name, action, result) }
}

/// Nobody would be there to keep the lease.
fn no_stay(attachment: &WantedAttachment, name: String) -> ObjectReport {
    let request = &attachment.request;
    let dynamic = request.dynamic.as_ref().map(ToString::to_string).unwrap_or_default();
    let error = vec![format!("{dynamic} stays with the lease, and this command ends")];
    let at = interface_of(attachment);
    let hint =
        format!("write dynamic = \"dhcp\", or run it beside: pipework {} -i {} {} {dynamic}", request.host_if, at.interface, at.guest);
    ObjectReport::failed(Kind::Attachment, name, error, Some(hint))
}
