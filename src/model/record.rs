//! What is kept of an attachment: what was asked, what was done and what was there before, so that it can be seen, checked
//! and taken back by any later run. Plain JSON, for people too.

use serde::{Deserialize, Serialize};

use super::facts::GuestId;
use super::lease::{LeaseReport, Tenure};
use super::op::Op;
use super::request::{AttachRequest, GuestRef};
use super::types::{IfAddr, IfName, MacAddr};

/// Version of the document. A later one is refused, never guessed at.
pub const VERSION: u32 = 1;

/// One attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this document ([`VERSION`]).
    pub version: u32,
    /// Its own, for as long as it lasts.
    pub id: String,
    /// Counts its changes, from 1.
    pub revision: u32,
    /// When it was made (RFC 3339).
    pub since: String,
    /// Inode number of the host's network namespace.
    pub home: u64,
    /// The guest.
    pub guest: GuestRecord,
    /// The interface in the guest.
    pub interface: IfName,
    /// The host interface, as it is called on this host.
    pub host_interface: String,
    /// What was asked.
    pub request: AttachRequest,
    /// By what the link is known; absent until it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkIdentity>,
    /// The other end, where two guests are linked: it has a record of its own, with the same `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mate: Option<Mate>,
    /// Addresses that somebody else gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<IfAddr>,
    /// What a DHCP server lent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseReport>,
    /// The lease as the daemon keeps it, which takes it up again after its own restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
    /// The process that keeps the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<Keeper>,
    /// An engine brought the link to its guest, and says whose the address is: that is claimed by the network driver, or by nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_engine: bool,
    /// Address of Open vSwitch's database, when it is an unusual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovsdb: Option<String>,
    /// The steps that took effect, with what they replaced: taken back in reverse by a detach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Op>,
    /// The steps of a change that is under way: taken back in reverse when the run that makes it does not end it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<Op>,
}

/// Who the guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// As it was typed.
    pub word: GuestRef,
    /// `docker`, `podman`, `lxc`, `pid`, `netns` or `cni`.
    pub engine: String,
    /// The engine's identifier of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The engine's name of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// A process of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The namespace file.
    pub path: String,
    /// Inode number of its network namespace.
    pub netns: u64,
}

/// The other end of a link between two guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mate {
    /// Inode number of the guest's network namespace.
    pub netns: u64,
    /// The interface there.
    pub interface: IfName,
}

/// What tells a link from another of the same name. Namespaces' inode numbers and processes' numbers come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkIdentity {
    /// Its index in the guest.
    pub index: u32,
    /// Its MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The other end on the host, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostEnd>,
}

/// A veth's end on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEnd {
    /// Its name.
    pub name: IfName,
    /// Its index: the host's are not given twice until it boots.
    pub index: u32,
}

/// A process that keeps a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of proc_pid_stat(5)): numbers come again.
    pub started: u64,
}

impl GuestRecord {
    /// A guest by the word that was typed.
    pub fn new(word: &GuestRef, id: &GuestId) -> Self {
        Self {
            word: word.clone(),
            engine: id.engine.to_owned(),
            container: id.container.clone(),
            container_name: id.container_name.clone(),
            pid: id.pid,
            path: id.path.clone(),
            netns: id.netns,
        }
    }

    /// The guest as it was when it was found. An engine that this version does not know is not told apart from a namespace.
    pub fn id(&self) -> GuestId {
        let known = ["docker", "podman", "lxc", "pid", "netns", "cni"];
        GuestId {
            name: self.word.to_string(),
            engine: known.into_iter().find(|name| *name == self.engine).unwrap_or("netns"),
            container: self.container.clone(),
            container_name: self.container_name.clone(),
            pid: self.pid,
            path: self.path.clone(),
            netns: self.netns,
        }
    }

    /// Whether a word means this guest, by what is known of it: its word, name, identifier or the beginning of that.
    pub fn is_called(&self, word: &GuestRef) -> bool {
        if self.word == *word {
            return true;
        }
        let named = |name: &str| {
            let is_id = |id: &String| name.len() >= SHORTEST_ID && id.starts_with(name);
            self.container_name.as_deref().map(|own| own.trim_start_matches('/')) == Some(name)
                || self.container.as_ref().is_some_and(is_id)
        };
        match (word, self.engine.as_str()) {
            (GuestRef::Any(name), engine) => named(name) || matches!((&self.word, engine), (GuestRef::Lxc(own), "lxc") if own == name),
            (GuestRef::Docker(name), "docker") | (GuestRef::Podman(name), "podman") => {
                named(name) || matches!(&self.word, GuestRef::Any(own) if own == name)
            }
            (GuestRef::Lxc(name), "lxc") => matches!(&self.word, GuestRef::Any(own) if own == name),
            (GuestRef::Pid(pid), _) => self.pid == Some(*pid),
            _ => false,
        }
    }
}

/// The shortest beginning of a container's identifier that is taken for it, where no engine is there to be asked.
const SHORTEST_ID: usize = 4;

impl Record {
    /// The address of Open vSwitch's database, where the attachment is a port of it and the address an unusual one.
    pub fn database(&self) -> Option<&str> {
        let is_port = self.done.iter().chain(&self.planned).any(|op| matches!(op, Op::AddOvsPort { .. }));
        self.ovsdb.as_deref().filter(|_| is_port)
    }

    /// The next state of it.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { revision: self.revision.saturating_add(1), planned: Vec::new(), ..self.clone() }
    }
}
