//! Containers as their engines tell of them: which run, which start and which end.

use super::directory::Directory;
use super::docker::{self, Engine, Listed, describe, events};
use super::{GuestError, Held, cgroup};
use crate::model::intent::Container;
use crate::model::request::GuestRef;

/// What an engine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// All containers that run: told once, after the connection is made.
    Running(Vec<Container>),
    /// A container was started.
    Started {
        /// As the event describes it.
        container: Box<Container>,
        /// When, in nanoseconds since the epoch.
        at: i64,
    },
    /// A container's process has ended.
    Ended {
        /// Its identifier.
        id: String,
        /// When.
        at: i64,
    },
    /// A container is no more.
    Removed {
        /// Its identifier.
        id: String,
        /// When.
        at: i64,
    },
    /// A container has another name.
    Renamed {
        /// Its identifier.
        id: String,
        /// The new name.
        name: String,
        /// When.
        at: i64,
    },
}

impl News {
    /// When it happened, in nanoseconds since the epoch, by the engine's clock.
    pub fn at(&self) -> Option<i64> {
        match self {
            Self::Running(_) => None,
            Self::Started { at, .. } | Self::Ended { at, .. } | Self::Removed { at, .. } | Self::Renamed { at, .. } => Some(*at),
        }
    }
}

/// Why an engine does not describe a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDescription {
    /// Whether it answered at all: one that does not is about to end, or to begin.
    pub answered: bool,
    /// Its words, or why there is no answer.
    pub why: String,
}

/// An engine that may be on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEngine {
    engine: Engine,
}

impl ContainerEngine {
    /// All that may be here, now or later, and what is wrong with the address of one.
    pub fn all() -> (Vec<Self>, Vec<String>) {
        let mut failed = Vec::new();
        let engines = docker::usual(&mut failed);
        (engines.into_iter().map(|engine| Self { engine }).collect(), failed)
    }

    /// `docker` or `podman`
    pub fn name(&self) -> &'static str {
        self.engine.name()
    }

    /// Its name and address.
    pub fn describe(&self) -> String {
        self.engine.describe()
    }

    /// Whether it is worth a try.
    pub fn may_answer(&self) -> bool {
        self.engine.may_answer()
    }

    /// Whether there is a socket of its, where it is to have one.
    pub fn is_there(&self) -> bool {
        self.engine.has_socket()
    }

    /// Tells its events since a time, in nanoseconds since the epoch, for as long as the connection lasts. Returns why it ended.
    pub fn follow(&self, since: i64, tell: &mut dyn FnMut(News)) -> String {
        events::follow(&self.engine, since, tell)
    }

    /// The container as it is now, with host name and environment; `None` when there is none of that identifier.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn inspect(&self, id: &str) -> Result<Option<Container>, NoDescription> {
        describe::inspect(&self.engine, id)
    }

    /// Whether a container of that identifier runs, by the engine's word. `None`: the engine does not say so in time.
    pub fn runs(&self, id: &str, patience: std::time::Duration) -> Option<bool> {
        describe::runs(&self.engine, id, patience)
    }

    /// Finds the process of a container, and holds its namespace: by its control group where that is in a usual place, which
    /// asks the engine nothing. `None` when it does not run.
    ///
    /// # Errors
    /// As [`super::hold`].
    pub fn find(&self, container: &Container) -> Result<Option<Found>, GuestError> {
        let engine = |none: NoDescription| GuestError::Engine { engine: self.describe(), why: none.why };
        let pid = match cgroup::process_of(&container.id) {
            Some(pid) => pid,
            None => self.inspect(&container.id).map_err(engine)?.map_or(0, |container| container.pid),
        };
        if pid == 0 {
            return Ok(None);
        }
        let directory = Directory::running(Listed::new(&self.engine, &container.id, &container.name), pid);
        match directory.hold(&self.word(container)) {
            Ok(held) => Ok(Some(Found { directory, held })),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The word for a container of this engine: its name, which is the same after it was made anew.
    pub fn word(&self, container: &Container) -> GuestRef {
        let name = if container.name.is_empty() { &container.id } else { &container.name };
        match self.engine {
            Engine::Docker(_) => GuestRef::Docker(name.clone()),
            Engine::Podman(_) => GuestRef::Podman(name.clone()),
        }
    }
}

/// A container that runs.
pub struct Found {
    /// Knows it by all that it can be called.
    pub directory: Directory,
    /// It.
    pub held: Held,
}

/// Whether a process is not the host's root: user_namespaces(7).
pub fn has_user_namespace(pid: u32) -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
    matches!((of("self"), of(&pid.to_string())), (Some(mine), Some(other)) if mine != other)
}
