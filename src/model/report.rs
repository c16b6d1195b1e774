//! What came of a request: the document that `--json` prints.

use serde::Serialize;

use super::access::User;
use super::difference::Difference;
use super::facts::GuestId;
use super::lease::LeaseReport;
use super::types::{IfAddr, IfName, Side};
use std::net::IpAddr;

/// Version of the JSON document. Fields are only ever added within one version.
pub const SCHEMA: u32 = 1;

/// What an attach did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// `attached`, `unchanged` or `planned`; `failed` stands in [`Failure`].
    pub result: Outcome,
    /// The guest.
    pub guest: GuestReport,
    /// The interface in the guest.
    pub interface: IfName,
    /// Its first address; absent for `0/0`.
    pub address: Option<IfAddr>,
    /// All its addresses.
    pub addresses: Vec<IfAddr>,
    /// What a DHCP server lent, when it was asked.
    pub lease: Option<LeaseReport>,
    /// The guest's first default gateway, when one was asked for.
    pub gateway: Option<IpAddr>,
    /// All its default gateways that were asked for, at most one of a family.
    pub gateways: Vec<IpAddr>,
    /// The host interface of the request, as it is called on this host.
    pub host_interface: String,
    /// What was done, step by step; what would be done with `planned`.
    pub steps: Vec<Step>,
    /// What the user should know although it went well.
    pub warnings: Vec<String>,
    /// Time from start to end in microseconds.
    pub elapsed_us: u64,
}

impl Report {
    /// The address turned out to be that one: told, or given by somebody.
    pub fn address_is(&mut self, addr: Option<IfAddr>) {
        self.address = addr;
        if self.addresses.is_empty() {
            self.addresses.extend(addr);
        }
    }
}

/// What a link between two guests did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct LinkReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// `attached`, `unchanged` or `planned`; `failed` stands in [`Failure`].
    pub result: Outcome,
    /// Both ends, as they were told.
    pub ends: Vec<LinkEndReport>,
    /// What was done, step by step; what would be done with `planned`.
    pub steps: Vec<Step>,
    /// What the user should know although it went well.
    pub warnings: Vec<String>,
    /// Time from start to end in microseconds.
    pub elapsed_us: u64,
}

/// One end of a link between two guests.
#[derive(Clone, Debug, Serialize)]
pub struct LinkEndReport {
    /// The guest.
    pub guest: GuestReport,
    /// The interface in the guest.
    pub interface: IfName,
    /// Its addresses.
    pub addresses: Vec<IfAddr>,
    /// The guest's default gateways that were asked for, at most one of a family.
    pub gateways: Vec<IpAddr>,
}

/// What of an interface is not as it is wanted: what `diff --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct DiffReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// The guest.
    pub guest: GuestReport,
    /// The interface in the guest.
    pub interface: IfName,
    /// Whether the attachment is recorded.
    pub recorded: bool,
    /// Field by field; none when all is as wanted.
    pub differences: Vec<Difference>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The interface was made.
    Attached,
    /// It was there already, just as asked.
    Unchanged,
    /// It was there, and was made as asked.
    Changed,
    /// The interface was taken away.
    Detached,
    /// What was left over was cleared up.
    Cleared,
    /// `--dry-run`: this would be done.
    Planned,
    /// Nothing is left of it.
    Failed,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attached => "attached",
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Detached => "detached",
            Self::Cleared => "cleared",
            Self::Planned => "planned",
            Self::Failed => "failed",
        })
    }
}

/// Who the guest is.
#[derive(Clone, Debug, Serialize)]
pub struct GuestReport {
    /// As the user named it.
    pub name: String,
    /// `docker`, `podman`, `lxc`, `pid`, `netns` or `cni`.
    pub engine: &'static str,
    /// The engine's identifier of the container.
    pub id: Option<String>,
    /// A process of it.
    pub pid: Option<u32>,
    /// Inode number of its network namespace.
    pub netns: u64,
}

impl From<&GuestId> for GuestReport {
    fn from(id: &GuestId) -> Self {
        Self { name: id.name.clone(), engine: id.engine, id: id.container.clone(), pid: id.pid, netns: id.netns }
    }
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// On which side.
    pub side: Side,
    /// In words.
    pub text: String,
    /// As a command.
    pub command: String,
}

/// A failed request as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// Always `failed`.
    pub result: Outcome,
    /// The guest as the user named it.
    pub guest: String,
    /// The errors, outermost first.
    pub error: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// How many steps were done and taken back.
    pub undone: Option<Undone>,
}

/// How much of a failed plan was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// Steps taken back.
    pub undone: usize,
    /// Steps that had been done.
    pub of: usize,
    /// What could not be taken back, and why.
    pub left: Vec<String>,
}

impl Failure {
    /// A failure of a request for `guest`.
    pub fn new(guest: &str, error: Vec<String>, hint: Option<String>, undone: Option<Undone>) -> Self {
        Self { schema: SCHEMA, result: Outcome::Failed, guest: guest.to_owned(), error, hint, undone }
    }
}

/// What came of a batch.
#[derive(Clone, Debug, Serialize)]
pub struct BatchReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// How many lines there are.
    pub lines: usize,
    /// How many were attached or linked.
    pub attached: usize,
    /// How many were made as asked.
    pub changed: usize,
    /// How many were so already.
    pub unchanged: usize,
    /// How many were taken away.
    pub detached: usize,
    /// How many failed; nothing is left of them.
    pub failed: usize,
    /// How many were not begun.
    pub not_begun: usize,
    /// How many were done and, with `--atomic`, undone.
    pub undone: usize,
    /// What could not be undone, in words.
    pub left: Vec<String>,
    /// The signal that ended it early.
    pub interrupted: Option<&'static str>,
    /// What the user should know besides.
    pub warnings: Vec<String>,
    /// Time from start to end in microseconds.
    pub elapsed_us: u64,
}

impl BatchReport {
    /// Of that many lines, none of which has been done.
    pub fn of(lines: usize) -> Self {
        Self {
            schema: SCHEMA,
            lines,
            attached: 0,
            changed: 0,
            unchanged: 0,
            detached: 0,
            failed: 0,
            not_begun: lines,
            undone: 0,
            left: Vec::new(),
            interrupted: None,
            warnings: Vec::new(),
            elapsed_us: 0,
        }
    }

    /// Counts a line.
    pub fn count(&mut self, outcome: Outcome) {
        self.not_begun = self.not_begun.saturating_sub(1);
        *match outcome {
            Outcome::Attached => &mut self.attached,
            Outcome::Changed => &mut self.changed,
            Outcome::Unchanged | Outcome::Planned | Outcome::Cleared => &mut self.unchanged,
            Outcome::Detached => &mut self.detached,
            Outcome::Failed => &mut self.failed,
        } += 1;
    }

    /// Counts what was undone, or could not be.
    pub fn undone(&mut self, all: Vec<Result<(), String>>) {
        for one in all {
            match one {
                Ok(()) => self.undone += 1,
                Err(why) => self.left.push(why),
            }
        }
    }

    /// Whether all was done.
    pub fn is_whole(&self) -> bool {
        self.failed == 0 && self.not_begun == 0 && self.undone == 0 && self.left.is_empty() && self.interrupted.is_none()
    }
}

/// What a detach did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct DetachReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// `detached`, `unchanged` when there was nothing to take away, or `planned`.
    pub result: Outcome,
    /// The guest as it was typed.
    pub guest: String,
    /// What was taken away.
    pub interfaces: Vec<DetachedInterface>,
    /// What the user should know although it went well.
    pub warnings: Vec<String>,
    /// Time from start to end in microseconds.
    pub elapsed_us: u64,
}

/// What gc cleared up, or would.
#[derive(Clone, Debug, Serialize)]
pub struct GcReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// `cleared`, `unchanged` when there was nothing, or `planned`.
    pub result: Outcome,
    /// What.
    pub items: Vec<GcItem>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Something that was left over.
#[derive(Clone, Debug, Serialize)]
pub struct GcItem {
    /// `unfinished`, `record`, `netns-link`, `link`, `ovs-port`, `host-access`.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// An interface that was taken away.
#[derive(Clone, Debug, Serialize)]
pub struct DetachedInterface {
    /// The guest, as it was when it got the interface.
    pub guest: GuestReport,
    /// The interface in the guest.
    pub interface: IfName,
    /// The host interface, where it is known.
    pub host_interface: Option<String>,
    /// The steps that took effect, or would.
    pub steps: Vec<Step>,
}

/// Who the host has access to: what `host-access --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct AccessReport {
    /// Version of this document ([`SCHEMA`]).
    pub schema: u32,
    /// The host's own macvlans, each with the guests it leads to.
    pub shims: Vec<ShimReport>,
    /// Whose access was taken away.
    pub removed: Vec<User>,
}

/// One of the host's own macvlans.
#[derive(Clone, Debug, Serialize)]
pub struct ShimReport {
    /// Its name.
    pub name: String,
    /// Its parent and the guests'.
    pub parent: String,
    /// Whether it is there.
    pub present: bool,
    /// The guests.
    pub users: Vec<UserReport>,
}

/// A guest that has access.
#[derive(Clone, Debug, Serialize)]
pub struct UserReport {
    /// Whether its macvlan is no more: it will be taken away.
    pub gone: bool,
    /// The guest as recorded.
    #[serde(flatten)]
    pub user: User,
}
