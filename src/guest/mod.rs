//! Who is meant: from the guest word to a network namespace that is held open and known to be the right one.

mod cgroup;
pub mod containers;
mod directory;
mod docker;
mod endpoint;
mod names;
mod process;
pub mod resolver;
mod sandbox;
mod starting;
pub mod trace;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::kernel::netns::Namespace;
use crate::model::error::KernelError;
use crate::model::facts::GuestId;
use crate::model::request::GuestRef;
use crate::model::status::Unattached;
pub use directory::Directory;
use docker::Container;
pub use docker::{endpoints, kept, remembered, sidecar, swarm};
pub use names::names;
pub use sandbox::{ENGINE as SANDBOX, Sandbox};
pub use starting::Starting;

/// Why there is no guest to work on.
#[derive(Debug, Error)]
pub enum GuestError {
    /// Nobody of that name.
    #[error("Container {name} not found{}", in_brackets(.looked))]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for, and what was said there.
        looked: Vec<String>,
    },
    /// More than one.
    #[error("Found more than one container matching {name}: {}", .matches.join(", "))]
    Several {
        /// The name.
        name: String,
        /// All of them, as they can be typed.
        matches: Vec<String>,
    },
    /// It has no process, and got none while we waited.
    #[error("container {name} is not running (its engine says PID 0)")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// It ended, or its PID became another's, between look-up and use.
    #[error("container {name} ended while it was looked up: process {pid} is not (or no longer) its own")]
    Gone {
        /// The name.
        name: String,
        /// The PID that the engine had told.
        pid: u32,
    },
    /// The engine is on another machine.
    #[error("container {name} runs on another machine: {engine}")]
    Elsewhere {
        /// The name.
        name: String,
        /// The engine and what it says of itself.
        engine: String,
    },
    /// An engine that was asked for does not answer.
    #[error("{engine}: {why}")]
    Engine {
        /// Its address.
        engine: String,
        /// What is wrong.
        why: String,
    },
    /// The namespace cannot be opened.
    #[error("network namespace of {name}")]
    Namespace {
        /// The guest.
        name: String,
        /// Why.
        #[source]
        source: KernelError,
    },
}

fn in_brackets(places: &[String]) -> String {
    if places.is_empty() { String::new() } else { format!(" ({})", places.join("; ")) }
}

impl GuestError {
    /// Whether it says that there is no such guest, or none that runs.
    pub fn is_absence(&self) -> bool {
        use nix::errno::Errno;
        match self {
            Self::NotFound { .. } | Self::NotRunning { .. } | Self::Gone { .. } => true,
            Self::Namespace { source, .. } => matches!(source.errno(), Some(Errno::ENOENT | Errno::ESRCH | Errno::EINVAL)),
            Self::Several { .. } | Self::Elsewhere { .. } | Self::Engine { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } => "`docker ps` and `podman ps` list names; other guests are pid:N, netns:NAME, netns:/path".into(),
            Self::Several { .. } => "type one of these".into(),
            Self::NotRunning { name } => format!("start it: docker start {name}"),
            Self::Gone { .. } => "nothing was changed; start it and try again".into(),
            Self::Elsewhere { .. } => "run pipework on that machine: a process ID of another machine means nothing here".into(),
            Self::Engine { .. } => "is it running, and is DOCKER_HOST or the docker context right? `docker info` tells; a guest that is not its own is named with lxc:, podman:, pid: or netns:".into(),
            Self::Namespace { source, .. } => match source {
                KernelError::File { errno: nix::errno::Errno::ENOENT | nix::errno::Errno::ESRCH, .. } => {
                    "`ip netns` lists the named ones, `ps` the processes".into()
                }
                _ => return None,
            },
        })
    }
}

/// A guest whose namespace is held open: it stays the right one whatever becomes of the guest.
pub struct Held {
    /// Who it is.
    pub id: GuestId,
    /// Its network namespace.
    pub namespace: Namespace,
    /// Its process, where it has one: readable once that has ended.
    pub process: Option<OwnedFd>,
}

/// Finds a guest, holds its namespace and makes sure that it is the guest's.
///
/// # Errors
/// See [`GuestError`].
pub fn hold(guest: &GuestRef) -> Result<Held, GuestError> {
    let name = guest.to_string();
    match guest {
        GuestRef::Pid(pid) => {
            let (process, namespace) = process::hold(*pid).map_err(namespace_error(&name))?;
            let id = GuestId {
                name,
                engine: "pid",
                container: None,
                container_name: None,
                pid: Some(*pid),
                path: ns_path(*pid),
                netns: namespace.inode(),
            };
            Ok(Held { id, namespace, process: Some(process) })
        }
        GuestRef::NetnsName(netns) => hold_path(name, &named(netns)),
        GuestRef::NetnsPath(path) => hold_path(name, path),
        GuestRef::Lxc(wanted) => hold_cgroup(&name, one(wanted, cgroup::search(wanted))?),
        GuestRef::Docker(wanted) => hold_container(&name, docker::find_docker(wanted)?),
        GuestRef::Podman(wanted) => hold_container(&name, docker::find_podman(wanted)?),
        GuestRef::Any(wanted) => hold_any(wanted),
    }
}

/// The containers that run, of all engines that are here, and what engines there are that do not answer.
pub fn containers() -> (Vec<Unattached>, Vec<String>) {
    docker::list()
}

/// Engines first, then the cgroups: quickly in the usual places when an engine knows the name, thoroughly when none does.
fn hold_any(name: &str) -> Result<Held, GuestError> {
    let (containers, looked) = docker::find_any(name)?;
    let cgroups = if containers.is_empty() { cgroup::search(name) } else { cgroup::probe(name) };
    let is_container = |group: &cgroup::Match| containers.iter().any(|c| group.names(&c.id));
    let others: Vec<cgroup::Match> = cgroups.into_iter().filter(|group| !is_container(group)).collect();
    let mut matches: Vec<String> = containers.iter().map(Container::as_typed).collect();
    matches.extend(others.iter().map(|group| format!("lxc:{name} ({})", group.path.display())));
    if matches.len() > 1 {
        return Err(GuestError::Several { name: name.to_owned(), matches });
    }
    match (containers.into_iter().next(), others.into_iter().next()) {
        (Some(container), _) => hold_container(name, container),
        (None, Some(group)) => hold_cgroup(name, group),
        (None, None) => Err(GuestError::NotFound { name: name.to_owned(), looked }),
    }
}

fn one(name: &str, mut groups: Vec<cgroup::Match>) -> Result<cgroup::Match, GuestError> {
    if groups.len() > 1 {
        let matches = groups.iter().map(|g| format!("pid:{} ({})", g.pid, g.path.display())).collect();
        return Err(GuestError::Several { name: name.to_owned(), matches });
    }
    groups.pop().ok_or_else(|| GuestError::NotFound {
        name: name.to_owned(),
        looked: vec!["no cgroup of that name has a process with a network of its own".into()],
    })
}

fn hold_path(name: String, path: &Path) -> Result<Held, GuestError> {
    let namespace = Namespace::open(path).map_err(namespace_error(&name))?;
    let id = GuestId {
        name,
        engine: "netns",
        container: None,
        container_name: None,
        pid: None,
        path: path.display().to_string(),
        netns: namespace.inode(),
    };
    Ok(Held { id, namespace, process: None })
}

fn hold_cgroup(name: &str, group: cgroup::Match) -> Result<Held, GuestError> {
    let gone = || GuestError::Gone { name: name.to_owned(), pid: group.pid };
    let (process, namespace) = process::hold(group.pid).map_err(namespace_error(name))?;
    if !cgroup::is_in(group.pid, &group.path) || process::has_ended(&process) {
        return Err(gone());
    }
    let id = GuestId {
        name: name.to_owned(),
        engine: "lxc",
        container: None,
        container_name: None,
        pid: Some(group.pid),
        path: ns_path(group.pid),
        netns: namespace.inode(),
    };
    Ok(Held { id, namespace, process: Some(process) })
}

/// The engine's PID is a number that was right a moment ago, on the engine's machine. It counts only when the process
/// that has it here, held, is still the container's.
fn hold_container(name: &str, container: Container) -> Result<Held, GuestError> {
    let container = docker::wait_for_start(name, container)?;
    let pid = container.pid;
    let gone = || GuestError::Gone { name: name.to_owned(), pid };
    let (process, namespace) = match process::hold(pid) {
        Ok(held) => held,
        Err(error) if process::is_absent(&error) => return Err(docker::why_absent(name, &container).unwrap_or_else(gone)),
        Err(error) => return Err(namespace_error(name)(error)),
    };
    let ours = cgroup::names_container(pid, &container.id) || docker::confirm(name, &container, &namespace)?;
    if !ours || process::has_ended(&process) {
        return Err(docker::why_absent(name, &container).unwrap_or_else(gone));
    }
    let id = GuestId {
        name: name.to_owned(),
        engine: container.engine.name(),
        container: Some(container.id),
        container_name: Some(container.name).filter(|name| !name.is_empty()),
        pid: Some(pid),
        path: ns_path(pid),
        netns: namespace.inode(),
    };
    Ok(Held { id, namespace, process: Some(process) })
}

fn ns_path(pid: u32) -> String {
    format!("/proc/{pid}/ns/net")
}

/// ip-netns(8) keeps names under /run/netns, of old under /var/run/netns.
fn named(netns: &str) -> PathBuf {
    let run = Path::new("/run/netns").join(netns);
    if run.exists() { run } else { Path::new("/var/run/netns").join(netns) }
}

fn namespace_error(name: &str) -> impl Fn(KernelError) -> GuestError {
    let name = name.to_owned();
    move |source| GuestError::Namespace { name: name.clone(), source }
}
