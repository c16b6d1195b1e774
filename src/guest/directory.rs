//! Many guests at once: each engine is asked for one list, and the control groups are walked through once, where guests that are
//! looked up one by one cost a question and a search each.

use std::collections::HashMap;

use super::cgroup::Groups;
use super::docker::{self, Listed};
use super::{GuestError, Held, Sandbox, Starting, hold, hold_container};
use crate::model::request::GuestRef;

/// So few are quicker asked for one by one.
const WORTH_IT: usize = 4;

/// Containers that run, by all that they can be called.
#[derive(Debug, Default)]
pub struct Directory {
    containers: Vec<Listed>,
    by_name: HashMap<String, Vec<usize>>,
    groups: Groups,
    /// The process of the only one.
    pid: Option<u32>,
    /// A container whose runtime has told of it.
    known: Option<(GuestRef, Known)>,
}

/// Who it is, without asking anybody.
#[derive(Debug)]
enum Known {
    Starting(Starting),
    Sandbox(Sandbox),
}

impl Directory {
    /// One that is known without asking anybody.
    pub fn knowing(word: GuestRef, container: Starting) -> Self {
        Self { known: Some((word, Known::Starting(container))), ..Self::default() }
    }

    /// A namespace that a runtime has named.
    pub fn of_sandbox(sandbox: Sandbox) -> Self {
        Self { known: Some((sandbox.word(), Known::Sandbox(sandbox))), ..Self::default() }
    }

    /// Looks guests up. What is not found here is looked for as always when it is held.
    pub fn of<'a>(guests: impl Iterator<Item = &'a GuestRef>) -> Self {
        let by_engine = |guest: &&GuestRef| matches!(guest, GuestRef::Any(_) | GuestRef::Docker(_) | GuestRef::Podman(_));
        if guests.filter(by_engine).take(WORTH_IT + 1).count() <= WORTH_IT {
            return Self::default();
        }
        let containers = docker::listed();
        let groups = Groups::walk();
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (n, container) in containers.iter().enumerate() {
            for name in container.names() {
                by_name.entry(name.to_owned()).or_default().push(n);
            }
        }
        Self { containers, by_name, groups, pid: None, known: None }
    }

    /// One container that is known to run, and its process.
    pub(super) fn running(container: Listed, pid: u32) -> Self {
        let by_name = container.names().map(|name| (name.to_owned(), vec![0])).collect();
        Self { containers: vec![container], by_name, groups: Groups::default(), pid: Some(pid), known: None }
    }

    /// As [`hold`].
    ///
    /// # Errors
    /// As there.
    pub fn hold(&self, guest: &GuestRef) -> Result<Held, GuestError> {
        match self.known.as_ref().filter(|(word, _)| word == guest) {
            Some((_, Known::Starting(container))) => return container.hold(guest),
            Some((_, Known::Sandbox(sandbox))) => return sandbox.hold(guest),
            None => {}
        }
        match self.container(guest) {
            Some((listed, pid)) => hold_container(&guest.to_string(), listed.with_pid(pid)),
            None => hold(guest),
        }
    }

    /// The one container of a name, where it is sure that no other guest is called so; and its process.
    fn container(&self, guest: &GuestRef) -> Option<(&Listed, u32)> {
        let (name, engine) = match guest {
            GuestRef::Any(name) => (name, None),
            GuestRef::Docker(name) => (name, Some("docker")),
            GuestRef::Podman(name) => (name, Some("podman")),
            _ => return None,
        };
        let found = self.by_name.get(name)?.iter().filter_map(|n| self.containers.get(*n));
        let mut found = found.filter(|listed| engine.is_none_or(|engine| engine == listed.engine_name()));
        let listed = found.next().filter(|_| found.next().is_none())?;
        // Another guest may be called so: a group of that name, which is not the container's own.
        if engine.is_none() && self.groups.has_named(name, listed.id()) {
            return None;
        }
        Some((listed, self.pid.or_else(|| self.groups.process_of(listed.id()))?))
    }
}
