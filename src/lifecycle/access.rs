//! The host's access to its macvlan guests over time: claimed by an attach, listed, taken away, pruned.
//!
//! Nobody watches the guests: what is left of one that has ended goes with the next run that is about an access at all.

use std::path::Path;

use thiserror::Error;

use super::error::chain;
use crate::guest::{self, GuestError, trace};
use crate::kernel::access::{has_macvlan, shims};
use crate::kernel::netns::Namespace;
use crate::kernel::{System, observe};
use crate::model::access::{Grant, SHIM_MARK, User};
use crate::model::error::KernelError;
use crate::model::facts::GuestId;
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::report::{AccessReport, SCHEMA, ShimReport, UserReport};
use crate::model::request::GuestRef;
use crate::model::types::IfName;
use crate::plan::execute::{Event, Kernel};
use crate::plan::removal;
use crate::state::{ExclusiveLock, Users};

/// Why an access was not granted, listed or taken away.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The records cannot be read or written.
    #[error("records of host access")]
    Records(#[from] std::io::Error),
    /// Another guest has the address.
    #[error("the host has access to {address} already: it is {interface} of {guest}")]
    Taken {
        /// The address.
        address: std::net::IpAddr,
        /// The other guest's interface.
        interface: IfName,
        /// The other guest.
        guest: String,
    },
    /// No guest to work on.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The guest has none.
    #[error("{guest} has no host access: nothing to remove")]
    NoUser {
        /// The guest.
        guest: String,
    },
    /// The kernel refuses to tell.
    #[error("looking at the interfaces")]
    Kernel(#[from] KernelError),
    /// Something was left.
    #[error("could not {}", .0.join("; could not "))]
    Left(Vec<String>),
}

impl AccessError {
    /// What to type, or what is missing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { guest, .. } => {
                Some(format!("choose another address, or take it from there: pipework host-access --remove {guest}"))
            }
            Self::NoUser { .. } => Some("`pipework host-access` lists who has".into()),
            Self::Guest(error) => error.hint(),
            Self::Records(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some("run it with sudo".into()),
            Self::Records(_) | Self::Kernel(_) | Self::Left(_) => None,
        }
    }

    /// The chain of reasons, outermost first.
    pub fn chain(&self) -> Vec<String> {
        chain(self)
    }
}

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// The accesses of this host while one of them changes: nobody else changes one meanwhile.
pub(super) struct Accesses {
    users: Users,
    lock: Option<ExclusiveLock>,
}

impl Accesses {
    /// Waits for its turn, and tidies up after guests that are gone. With `look_only` nothing is changed.
    pub(super) fn begin(run_dir: &Path, look_only: bool, watch: Watch<'_>) -> Result<(Self, Vec<String>), AccessError> {
        let users = Users::of(run_dir, Namespace::current()?.inode());
        if look_only {
            return Ok((Self { users, lock: None }, Vec::new()));
        }
        let lock = users.lock()?;
        let left = prune_all(&users, watch)?.left;
        Ok((Self { users, lock: Some(lock) }, left))
    }

    /// Records what is about to be granted, unless another guest has it. Taken back unless it is kept.
    pub(super) fn claim(&self, guest: &GuestId, grant: &Grant) -> Result<Claim<'_>, AccessError> {
        let user = User::new(guest, grant);
        let all = self.users.all()?;
        if let Some(other) = all.iter().find(|other| other.address == user.address && !other.is(&user) && !is_gone(other)) {
            let (interface, guest) = (other.interface.clone(), other.guest.clone());
            return Err(AccessError::Taken { address: other.address, interface, guest });
        }
        let before = if self.lock.is_some() { self.users.put(&user)? } else { None };
        Ok(Claim { users: self.lock.as_ref().map(|_| &self.users), user, before })
    }
}

/// A record that goes away again unless it is kept.
pub(super) struct Claim<'a> {
    users: Option<&'a Users>,
    user: User,
    before: Option<User>,
}

impl Claim<'_> {
    /// What it is about has been done, or could not be taken back.
    pub(super) fn keep(mut self) {
        self.users = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Some(users) = self.users else { return };
        // Should this fail, the record is pruned with the guest.
        let _ = match &self.before {
            Some(before) => users.put(before).map(|_| ()),
            None => users.remove(&self.user),
        };
    }
}

/// Lists shims and who uses them.
///
/// # Errors
/// When records or interfaces cannot be read.
pub fn list_access(run_dir: &Path) -> Result<AccessReport, AccessError> {
    report(&Users::of(run_dir, Namespace::current()?.inode()), Vec::new())
}

/// Takes away what is left of guests that are gone.
///
/// # Errors
/// When records or interfaces cannot be read, or something could not be taken away.
pub fn prune_access(run_dir: &Path, watch: Watch<'_>) -> Result<AccessReport, AccessError> {
    let users = Users::of(run_dir, Namespace::current()?.inode());
    let _lock = users.lock()?;
    ended(&users, prune_all(&users, watch)?)
}

/// Takes a guest's access away, whether the guest is still there or not.
///
/// # Errors
/// When the guest has none, or something could not be taken away.
pub fn remove_access(run_dir: &Path, guest: &GuestRef, watch: Watch<'_>) -> Result<AccessReport, AccessError> {
    let users = Users::of(run_dir, Namespace::current()?.inode());
    let _lock = users.lock()?;
    let (held, name) = (guest::hold(guest), guest.to_string());
    let is_meant = |user: &User| match &held {
        Ok(held) => user.netns == held.id.netns || (user.guest == name && is_gone(user)),
        Err(_) => user.guest == name,
    };
    let meant: Vec<User> = users.all()?.into_iter().filter(is_meant).collect();
    match held {
        Err(error) if meant.is_empty() => return Err(error.into()),
        Ok(_) if meant.is_empty() => return Err(AccessError::NoUser { guest: name }),
        _ => {}
    }
    ended(&users, take_all(&users, meant, watch)?)
}

/// Takes away what is left of guests that are gone, or only says what. Returns that, and what could not be taken away.
pub(super) fn clear(run_dir: &Path, dry_run: bool, watch: Watch<'_>) -> Result<(Vec<String>, Vec<String>), AccessError> {
    let users = Users::of(run_dir, Namespace::current()?.inode());
    let text = |user: &User| format!("the host's access to {}, {} of {}, which is gone", user.address, user.interface, user.guest);
    let gone: Vec<User> = users.all()?.into_iter().filter(is_gone).collect();
    if dry_run || gone.is_empty() {
        return Ok((gone.iter().map(text).collect(), Vec::new()));
    }
    let _lock = users.lock()?;
    let taken = prune_all(&users, watch)?;
    Ok((taken.users.iter().map(text).collect(), taken.left))
}

/// Takes the access to an interface away that is about to go. Returns what could not be.
pub(super) fn forget(run_dir: &Path, record: &Record, watch: Watch<'_>) -> Vec<String> {
    let mut work = || {
        let users = Users::of(run_dir, Namespace::current()?.inode());
        let _lock = users.lock()?;
        let is_it = |user: &User| user.netns == record.guest.netns && user.interface == record.interface;
        let meant = users.all()?.into_iter().filter(is_it).collect();
        Ok::<_, AccessError>(take_all(&users, meant, watch)?.left)
    };
    work().unwrap_or_else(|error| vec![format!("the host's access to {}: {}", record.interface, error.chain().join(": "))])
}

/// What was taken away, and what could not be.
#[derive(Default)]
struct Taken {
    users: Vec<User>,
    left: Vec<String>,
}

fn ended(users: &Users, taken: Taken) -> Result<AccessReport, AccessError> {
    if taken.left.is_empty() { report(users, taken.users) } else { Err(AccessError::Left(taken.left)) }
}

fn prune_all(users: &Users, watch: Watch<'_>) -> Result<Taken, AccessError> {
    let gone = users.all()?.into_iter().filter(is_gone).collect();
    take_all(users, gone, watch)
}

/// Never stops at an error. What could not be taken away keeps its record.
fn take_all(users: &Users, meant: Vec<User>, watch: Watch<'_>) -> Result<Taken, AccessError> {
    let mut taken = Taken::default();
    for user in meant {
        let is_last = !users.all()?.iter().any(|other| other.shim == user.shim && other.address != user.address);
        let left = take_away(&user, is_last, watch)?;
        if left.is_empty() {
            users.remove(&user)?;
            taken.users.push(user);
        }
        taken.left.extend(left);
    }
    Ok(taken)
}

fn take_away(user: &User, is_last: bool, watch: Watch<'_>) -> Result<Vec<String>, AccessError> {
    let has_it = |namespace: &Namespace| matches!(has_macvlan(namespace, user.mac, user.parent_index), Ok(true));
    let guest = trace::namespace(&user.path, user.netns).filter(has_it);
    let there = guest.is_some();
    // Without a guest all steps are the host's, and its own namespace stands in.
    let namespace = guest.map_or_else(Namespace::current, Ok)?;
    let mut sides = observe::open(&namespace)?;
    let mut system = System::new(&mut sides);
    let mut left = Vec::new();
    for op in removal(user, there, is_last) {
        watch(Event::Doing(&op));
        left.extend(apply(&mut system, &op).map(|error| format!("{}: {error}", op.describe())));
    }
    Ok(left)
}

fn apply(system: &mut System<'_>, op: &Op) -> Option<KernelError> {
    system.apply(op).err().filter(|error| !error.errno().is_some_and(|errno| op.tolerates(errno)))
}

/// Whether the guest's macvlan is no more. A namespace that will not let us look counts as there.
fn is_gone(user: &User) -> bool {
    let there = trace::namespace(&user.path, user.netns).map(|namespace| has_macvlan(&namespace, user.mac, user.parent_index));
    matches!(there, None | Some(Ok(false)))
}

fn report(users: &Users, removed: Vec<User>) -> Result<AccessReport, AccessError> {
    let links = shims()?;
    let parent_of = |marks: &[String]| marks.iter().find_map(|mark| mark.strip_prefix(SHIM_MARK)).unwrap_or_default().to_owned();
    let new = |name: &str, parent: String| ShimReport { name: name.to_owned(), parent, present: false, users: Vec::new() };
    let mut all: Vec<ShimReport> =
        links.iter().map(|link| ShimReport { present: true, ..new(&link.name, parent_of(&link.alt_names)) }).collect();
    for user in users.all()? {
        let at = all.iter().position(|shim| shim.name == user.shim.as_str()).unwrap_or_else(|| {
            all.push(new(user.shim.as_str(), user.parent.to_string()));
            all.len() - 1
        });
        if let Some(shim) = all.get_mut(at) {
            shim.users.push(UserReport { gone: is_gone(&user), user });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(AccessReport { schema: SCHEMA, shims: all, removed })
}
