//! Guests that have to be there, and network namespaces that are made.

use super::{ApplyError, Run};
use crate::guest::{self, GuestError};
use crate::kernel::netns::Namespace;
use crate::lifecycle::error::chain;
use crate::model::error::KernelError;
use crate::model::report::Outcome;
use crate::model::request::GuestRef;
use crate::model::topology::{Action, Kind, ObjectReport, WantedGuest};
use crate::state::AppliedGuest;

/// No namespace's inode number: it is about to be made.
const UNKNOWN: u64 = 0;

impl Run<'_> {
    pub(super) fn guests(&mut self) -> Result<(), ApplyError> {
        let wanted = self.wanted;
        for guest in &wanted.guests {
            let name = guest.guest.to_string();
            if let Some(signal) = self.stop() {
                self.lacks.failed_guests.insert(name.clone());
                self.not_done(Kind::Guest, name, signal);
                continue;
            }
            self.clear_begun(&guest.guest);
            let report = |action, result| ObjectReport::new(Kind::Guest, name.clone(), action, result);
            let report = match (guest::hold(&guest.guest), &guest.guest) {
                (Ok(held), _) => {
                    self.note_guest(&guest.guest, held.id.netns);
                    report(Action::None, Outcome::Unchanged)
                }
                (Err(error), GuestRef::NetnsName(_)) if guest.create && error.is_absence() && self.options.dry_run => {
                    self.lacks.planned_guests.insert(name.clone());
                    report(Action::Create, Outcome::Planned)
                }
                (Err(error), GuestRef::NetnsName(netns)) if guest.create && error.is_absence() => {
                    self.applied.guests.retain(|known| known.name != *netns);
                    self.applied.guests.push(AppliedGuest { name: netns.clone(), netns: UNKNOWN });
                    self.keep()?;
                    match Namespace::add_named(netns) {
                        Ok(made) => {
                            self.note_guest(&guest.guest, made.inode());
                            report(Action::Create, Outcome::Changed)
                        }
                        Err(error) => {
                            self.applied.guests.retain(|known| known.name != *netns);
                            self.no_namespace(&name, &error)
                        }
                    }
                }
                (Err(error), _) => self.no_guest(guest, &name, &error),
            };
            self.keep()?;
            self.tell(&report);
        }
        Ok(())
    }

    /// A run that was killed may have left the name with no namespace behind it.
    fn clear_begun(&self, guest: &GuestRef) {
        let GuestRef::NetnsName(name) = guest else { return };
        let is_begun = self.applied.guests.iter().any(|known| known.name == *name && known.netns == UNKNOWN);
        if is_begun && !self.options.dry_run && guest::hold(guest).is_ok_and(|held| held.namespace.netlink().is_err()) {
            Namespace::clear_named(name);
        }
    }

    /// One that a run was about to make which was killed then, or this one has made.
    fn note_guest(&mut self, guest: &GuestRef, inode: u64) {
        let GuestRef::NetnsName(name) = guest else { return };
        let begun = self.applied.guests.iter_mut().filter(|known| known.name == *name && known.netns == UNKNOWN);
        begun.for_each(|known| known.netns = inode);
    }

    fn no_namespace(&mut self, name: &str, error: &KernelError) -> ObjectReport {
        self.lacks.failed_guests.insert(name.to_owned());
        let hint = (error.errno() == Some(nix::errno::Errno::EEXIST)).then(|| {
            format!("/run/netns has a file of that name which is no namespace: ip netns del {}", name.trim_start_matches("netns:"))
        });
        ObjectReport::failed(Kind::Guest, name.to_owned(), chain(error), hint)
    }

    fn no_guest(&mut self, guest: &WantedGuest, name: &str, error: &GuestError) -> ObjectReport {
        self.lacks.failed_guests.insert(name.to_owned());
        let can_be_made = matches!(guest.guest, GuestRef::NetnsName(_)) && !guest.create && error.is_absence();
        let hint = if can_be_made { Some("create = true makes it".to_owned()) } else { error.hint() };
        ObjectReport::failed(Kind::Guest, name.to_owned(), chain(error), hint)
    }
}
