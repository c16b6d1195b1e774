//! What the topology described before and does no more: only what it is noted for, and what bears our mark.

use std::collections::BTreeSet;

use super::bridges::is_still_so;
use super::interfaces::{INFINIBAND, attachment_name, ends_of, interface_of, link_name, recorded_end};
use super::{ApplyError, Run, Watch};
use crate::kernel::netns::Namespace;
use crate::kernel::survey::HostSurvey;
use crate::lifecycle::Which;
use crate::lifecycle::batch::{Ended, Work};
use crate::lifecycle::error::chain;
use crate::model::host::HostView;
use crate::model::op::Op;
use crate::model::pair::GuestIf;
use crate::model::record::Record;
use crate::model::report::{DetachReport, Outcome};
use crate::model::request::GuestRef;
use crate::model::topology::{Action, Kind, ObjectReport, WantedAttachment};
use crate::model::types::IfAddr;
use crate::state::{Applied, AppliedBridge, AppliedGuest};

impl Run<'_> {
    /// Attachments and links go first: what is made next may want their addresses.
    pub(super) fn prune_interfaces(&mut self) -> Result<(), ApplyError> {
        let (mut subjects, mut items) = (Vec::new(), Vec::new());
        let recorded = self.records.all().map_err(super::AttachError::Unrecorded)?.all;
        let is_it = |r: &Record, at: &GuestIf| r.guest.word == at.guest && r.interface == at.interface && r.mate.is_none();
        let is_recorded = |at: &GuestIf| recorded.iter().any(|r| is_it(r, at));
        let gone = |at: &GuestIf| Work::Detach {
            guest: at.guest.clone(),
            options: Box::new(self.options.detach(Which::Interface(at.interface.clone()))),
        };
        let others = self.others()?;
        let is_others = |at: &GuestIf| others.iter().any(|other| other.attachments.contains(at));
        for at in self.applied.attachments.iter().filter(|at| !self.describes(at) && is_recorded(at) && !is_others(at)) {
            subjects.push((Kind::Attachment, attachment_name(at)));
            items.push(gone(at));
        }
        let is_others = |ends: &[GuestIf; 2]| others.iter().any(|other| other.links.iter().any(|link| is_same(link, ends)));
        for ends in self.applied.links.iter().filter(|ends| !self.describes_link(ends) && !is_others(ends)) {
            if let Some(at) = recorded_end(&recorded, ends) {
                subjects.push((Kind::Link, link_name(ends.each_ref())));
                items.push(gone(at));
            }
        }
        if self.options.dry_run {
            for (kind, name) in subjects {
                self.tell(&ObjectReport::new(kind, name, Action::Remove, Outcome::Planned));
            }
            return Ok(());
        }
        // What is not told of, because a signal came, is as little done as what failed.
        let mut left: BTreeSet<String> = subjects.iter().map(|(_, name)| name.clone()).collect();
        let mut tell = |run: &mut Self, index: usize, ended: &Ended| {
            let Some((kind, name)) = subjects.get(index) else { return };
            match ended {
                Ended::Detached(report) => {
                    left.remove(name);
                    run.tell(&removed(*kind, name.clone(), report));
                }
                Ended::Failed { failure, .. } => run.not_made(*kind, name.clone(), failure),
                Ended::Attached(_) | Ended::Linked(_) => {}
            }
        };
        self.carry_out(items, &mut tell)?;
        let (attachments, links) = (std::mem::take(&mut self.applied.attachments), std::mem::take(&mut self.applied.links));
        let stays = |at: &GuestIf| self.describes(at) || left.contains(&attachment_name(at));
        let attachments = attachments.into_iter().filter(stays).collect();
        let links = links.into_iter().filter(|ends| self.describes_link(ends) || left.contains(&link_name(ends.each_ref()))).collect();
        (self.applied.attachments, self.applied.links) = (attachments, links);
        self.keep()
    }

    fn describes(&self, at: &GuestIf) -> bool {
        // On InfiniBand the usual name is another.
        let usual = |wanted: &WantedAttachment| {
            wanted.request.guest_if.is_none() && wanted.request.guest == at.guest && at.interface.as_str() == INFINIBAND
        };
        self.wanted.attachments.iter().any(|wanted| interface_of(wanted) == *at || usual(wanted))
    }

    fn describes_link(&self, ends: &[GuestIf; 2]) -> bool {
        self.wanted.links.iter().any(|link| is_same(&ends_of(link), ends))
    }

    /// What other topologies describe, too, stays.
    fn others(&self) -> Result<Vec<Applied>, ApplyError> {
        let all = self.topologies.all().map_err(|source| ApplyError::Applied { name: self.applied.name.clone(), source })?;
        Ok(all.into_iter().filter(|other| other.name != self.applied.name).collect())
    }

    pub(super) fn prune_bridges(&mut self, watch: Watch<'_>) -> Result<(), ApplyError> {
        let is_described = |known: &AppliedBridge| self.wanted.bridges.iter().any(|bridge| bridge.name == known.name);
        let gone: Vec<AppliedBridge> = self.applied.bridges.iter().filter(|known| !is_described(known)).cloned().collect();
        for bridge in gone {
            let view = HostSurvey::view()?;
            if let Some(report) = self.prune_bridge(&bridge, &view, watch)? {
                self.tell(&report);
            }
            self.keep()?;
        }
        Ok(())
    }

    /// `None`: there is nothing of it any more.
    fn prune_bridge(&mut self, bridge: &AppliedBridge, view: &HostView, watch: Watch<'_>) -> Result<Option<ObjectReport>, ApplyError> {
        let name = bridge.name.to_string();
        let ops: Vec<Op> = bridge.done.iter().filter(|op| is_still_so(op, &bridge.name, view)).cloned().collect();
        if ops.is_empty() {
            self.applied.bridges.retain(|known| known.name != bridge.name);
            return Ok(None);
        }
        let report = |action, result| ObjectReport::new(Kind::Bridge, name.clone(), action, result);
        let described = self.others()?.into_iter().find(|other| other.bridges.iter().any(|known| known.name == bridge.name));
        let described = described.map(|other| format!("topology {} describes it, too", other.name));
        let reason = described.or_else(|| Some(format!("{} is on it, which this topology did not make", self.others_on(bridge, view)?)));
        if let Some(reason) = reason {
            let warnings = vec![format!("{name} is left as it is: {reason}")];
            return Ok(Some(ObjectReport { warnings, ..report(Action::None, Outcome::Unchanged) }));
        }
        if self.options.dry_run {
            return Ok(Some(report(Action::Remove, Outcome::Planned)));
        }
        let left = self.take_back(&bridge.name, &ops, watch)?;
        if !left.is_empty() {
            return Ok(Some(ObjectReport::failed(Kind::Bridge, name, left, None)));
        }
        self.applied.bridges.retain(|known| known.name != bridge.name);
        let steps = self.steps(&ops.iter().rev().flat_map(Op::undo).collect::<Vec<_>>());
        Ok(Some(ObjectReport { steps, ..report(Action::Remove, Outcome::Detached) }))
    }

    /// What is on a bridge that this topology made, and is not its own. In a dry run its own attachments are there still.
    fn others_on(&self, bridge: &AppliedBridge, view: &HostView) -> Option<String> {
        if !bridge.done.iter().any(|op| matches!(op, Op::AddBridge { .. })) {
            return None;
        }
        let there = view.called(bridge.name.as_str())?;
        let own_uplink = |name: &str| bridge.done.iter().any(|op| matches!(op, Op::SetBridge { port, .. } if port.as_str() == name));
        let own_addr = |addr: &&IfAddr| bridge.done.iter().any(|op| matches!(op, Op::AddAddr { addr: own, .. } if own == *addr));
        let going = self.going();
        let own_port = |name: &str| own_uplink(name) || going.iter().any(|going| going == name);
        let port = view.ports(there).map(|port| port.link.name.clone()).find(|name| !own_port(name));
        port.map(|name| format!("port {name}")).or_else(|| Some(format!("address {}", there.addrs.iter().find(|addr| !own_addr(addr))?)))
    }

    /// The host's ends of attachments that a dry run only says to take away.
    fn going(&self) -> Vec<String> {
        if !self.options.dry_run {
            return Vec::new();
        }
        let noted = |at: GuestIf| self.applied.attachments.contains(&at) && !self.describes(&at);
        let all = self.records.all().map(|found| found.all).unwrap_or_default();
        let going =
            all.into_iter().filter(|record| noted(GuestIf { guest: record.guest.word.clone(), interface: record.interface.clone() }));
        going.filter_map(|record| Some(record.link?.host?.name.to_string())).collect()
    }

    pub(super) fn prune_guests(&mut self) -> Result<(), ApplyError> {
        let is_described = |known: &AppliedGuest| {
            let word = GuestRef::NetnsName(known.name.clone());
            self.wanted.guests.iter().any(|guest| guest.guest == word)
        };
        let gone: Vec<AppliedGuest> = self.applied.guests.iter().filter(|known| !is_described(known)).cloned().collect();
        for guest in gone {
            let report = self.prune_guest(&guest);
            if report.as_ref().is_none_or(|report| report.action == Action::Remove) {
                self.applied.guests.retain(|known| *known != guest);
            }
            report.iter().for_each(|report| self.tell(report));
            self.keep()?;
        }
        Ok(())
    }

    fn prune_guest(&self, guest: &AppliedGuest) -> Option<ObjectReport> {
        let word = GuestRef::NetnsName(guest.name.clone());
        let held = crate::guest::hold(&word).ok().filter(|held| held.id.netns == guest.netns)?;
        let report = |action, result| ObjectReport::new(Kind::Guest, word.to_string(), action, result);
        let own = |at: GuestIf| self.applied.attachments.contains(&at) || self.applied.links.iter().flatten().any(|end| *end == at);
        let attached = self.records.of_guest(guest.netns).map(|found| found.all).unwrap_or_default();
        let is_going = |interface| self.options.dry_run && own(GuestIf { guest: word.clone(), interface });
        if let Some(record) = attached.iter().find(|record| !is_going(record.interface.clone())) {
            let text = format!("{word} is left: it has {}, which this topology does not describe", record.interface);
            return Some(ObjectReport { warnings: vec![text], ..report(Action::None, Outcome::Unchanged) });
        }
        if self.options.dry_run {
            return Some(report(Action::Remove, Outcome::Planned));
        }
        drop(held);
        Some(match Namespace::del_named(&guest.name, guest.netns) {
            Ok(()) => report(Action::Remove, Outcome::Detached),
            Err(error) => ObjectReport::failed(Kind::Guest, word.to_string(), chain(&error), None),
        })
    }
}

fn removed(kind: Kind, name: String, detached: &DetachReport) -> ObjectReport {
    let steps = detached.interfaces.iter().flat_map(|interface| interface.steps.clone()).collect();
    ObjectReport { steps, warnings: detached.warnings.clone(), ..ObjectReport::new(kind, name, Action::Remove, Outcome::Detached) }
}

/// Whether both are one link, whichever end is told first.
fn is_same(one: &[GuestIf; 2], other: &[GuestIf; 2]) -> bool {
    let [first, second] = other;
    one == other || *one == [second.clone(), first.clone()]
}
