//! Claims: an address of a pool belongs to an owner, for good. It outlives containers, sessions, hosts and restarts, and ends
//! when it is released.
//!
//! A claim and its use are two things. The claim says whose the address is, and nobody else ever gets it. The use says on which
//! host the owner has it at the moment: it is locked by a session of that host's, so that it ends with the host, and the
//! owner's next container has the same address elsewhere.
//!
//! One command that attaches once and ends has no session that could keep a use; it locks none. The agent of a cluster
//! (`pipework cluster agent`) has one, and holds the uses of all containers of its host.

mod asked;
mod collect;
mod error;
mod files;
mod seen;

use std::fmt::Debug;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use asked::owner_of;
pub(super) use asked::{Asked, let_go};
pub use collect::{Collected, InUse, collect};
pub use error::ClaimError;
pub use files::FileClaims;
pub use seen::{age, is_fresh};

use crate::model::pool::{Entry, Owner, Pool, PoolName};
use crate::model::types::IfAddr;

/// Where claims are written down: files of a single host, or Consul's key-value store.
pub trait Claims: Send + Sync + Debug {
    /// All pools, as they are configured.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    fn pools(&self) -> Result<Vec<Pool>, ClaimError>;

    /// Where pools are configured, for messages.
    fn place(&self) -> String;

    /// The pool of that name.
    ///
    /// # Errors
    /// [`ClaimError::NoPool`], or as for [`Self::pools`].
    fn pool(&self, name: &PoolName) -> Result<Pool, ClaimError> {
        let pools = self.pools()?;
        let names: Vec<String> = pools.iter().map(|pool| pool.name.to_string()).collect();
        let there = if names.is_empty() { "no pool".to_owned() } else { names.join(", ") };
        let missing = || ClaimError::NoPool { pool: name.clone(), why: format!("{} has {there}", self.place()) };
        pools.into_iter().find(|pool| pool.name == *name).ok_or_else(missing)
    }

    /// The owner's address of the pool: what it has, else `wish`, else a free one. Address and owner are written together or not
    /// at all, and only where nobody wrote in between; what had no answer is read back before it is tried again.
    ///
    /// # Errors
    /// [`ClaimError::Taken`] when another owner has `wish`, [`ClaimError::Other`] when the owner has another address,
    /// [`ClaimError::Full`], or when it cannot be written.
    fn claim(&self, pool: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError>;

    /// Ends the owner's claim. Returns the address that it had.
    ///
    /// # Errors
    /// [`ClaimError::InUse`] when a live session holds the use of it, or when it cannot be written.
    fn release(&self, pool: &PoolName, owner: &Owner) -> Result<Option<IpAddr>, ClaimError>;

    /// Ends a claim that is still as it was read: nobody asked for it since, and no live session holds the use of it. Returns
    /// whether it was.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget(&self, pool: &PoolName, claimed: &Claimed) -> Result<bool, ClaimError>;

    /// All claims of the pool, by address.
    ///
    /// # Errors
    /// When they cannot be read.
    fn all(&self, pool: &PoolName) -> Result<Vec<Claimed>, ClaimError>;

    /// Locks the use of a claimed address for this host, by the session that these claims were made with
    /// ([`crate::cluster::claims::ConsulClaims::with_session`]). Without one, and in a single host's files, there is nothing to
    /// lock, and it is well.
    ///
    /// # Errors
    /// [`ClaimError::InUse`] when another host's live session has it; [`ClaimError::NoSession`] when our own is dead.
    fn hold(&self, claim: &Claim, user: &User) -> Result<(), ClaimError>;

    /// Ends the use of an address by this host, if it is this host's session that has it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn let_go(&self, claim: &Claim, user: &User) -> Result<(), ClaimError>;

    /// The guest of that namespace was looked at, and all that could be was made: it has these addresses and no others. Whoever
    /// took one away from it, its use ends here. `is_all`: it waits for none.
    fn settle(&self, _netns: u64, _addrs: &[IpAddr], _is_all: bool) {}
}

/// An address that an owner has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The pool it is of.
    pub pool: PoolName,
    /// Whose it is.
    pub owner: Owner,
    /// The address, with the pool's prefix.
    pub addr: IfAddr,
    /// The pool's gateway.
    pub gateway: Option<IpAddr>,
    /// Whether it was made just now: an attach that fails gives such a one back.
    pub is_new: bool,
}

/// A claim as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claimed {
    /// The address.
    pub addr: IpAddr,
    /// Whose it is.
    pub owner: Owner,
    /// Since when (RFC 3339).
    pub since: String,
    /// When the owner last asked for it, or an agent last saw it in use, to within an hour.
    pub seen: String,
    /// Who uses it at the moment, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
}

/// Who uses an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The host's name.
    pub host: String,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Inode number of its network namespace.
    pub netns: u64,
}

impl Claimed {
    /// As an entry says it.
    pub fn new(addr: IpAddr, entry: Entry, user: Option<User>) -> Self {
        Self { addr, owner: entry.owner, since: entry.since, seen: entry.seen, user }
    }
}

/// Refuses to wish for what a pool does not give.
///
/// # Errors
/// [`ClaimError::Outside`]
pub fn check_wish(pool: &Pool, wish: Option<IpAddr>) -> Result<(), ClaimError> {
    match wish.and_then(|addr| Some((addr, pool.refuses(addr)?))) {
        Some((addr, why)) => Err(ClaimError::Outside { addr, pool: pool.name.clone(), why }),
        None => Ok(()),
    }
}

/// Refuses to wish for another address than one has.
///
/// # Errors
/// [`ClaimError::Other`]
pub fn check_own(pool: &Pool, owner: &Owner, has: IpAddr, wish: Option<IpAddr>) -> Result<(), ClaimError> {
    match wish.filter(|wish| *wish != has) {
        Some(wish) => Err(ClaimError::Other { owner: owner.clone(), pool: pool.name.clone(), has, wish }),
        None => Ok(()),
    }
}

/// An owner's claim, in the pool as it is configured now.
///
/// # Errors
/// [`ClaimError::Outside`] when the pool was changed, so that the address is of another family.
pub fn claim_of(pool: &Pool, owner: &Owner, ip: IpAddr, is_new: bool) -> Result<Claim, ClaimError> {
    let outside = || ClaimError::Outside { addr: ip, pool: pool.name.clone(), why: format!("it has {} now", pool.subnet) };
    // A gateway that guests cannot reach would be none.
    let addr = pool.with_prefix(ip).filter(|_| pool.subnet.contains(ip)).ok_or_else(outside)?;
    Ok(Claim { pool: pool.name.clone(), owner: owner.clone(), addr, gateway: pool.gateway, is_new })
}

/// Another owner has the address.
pub fn taken(pool: &Pool, addr: IpAddr, entry: Entry) -> ClaimError {
    ClaimError::Taken { addr, pool: pool.name.clone(), owner: entry.owner, since: entry.since }
}

/// All addresses are taken, told with numbers.
pub fn full<'a>(pool: &Pool, taken: impl Iterator<Item = &'a IpAddr>) -> ClaimError {
    let claimed = taken.filter(|ip| pool.spans(**ip)).count() as u128;
    ClaimError::Full { pool: pool.name.clone(), size: pool.size(), claimed, reserved: pool.kept_back() }
}
