//! Why an address cannot be had.

use std::error::Error;
use std::net::IpAddr;

use thiserror::Error;

use crate::external::consul::ConsulError;
use crate::model::pool::{Owner, PoolName};

/// Why an owner has no address of a pool.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// No such pool is configured, or none at all.
    #[error("there is no pool {pool}: {why}")]
    NoPool {
        /// The name.
        pool: PoolName,
        /// Which there are, and where they would stand.
        why: String,
    },
    /// The guest has no name by which it would be known again.
    #[error("{guest} has no name that lasts, which an address could belong to")]
    Nobody {
        /// As it was typed.
        guest: String,
    },
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The address is not one that the pool gives.
    #[error("{addr} is not to be had of pool {pool}: {why}")]
    Outside {
        /// The address.
        addr: IpAddr,
        /// The pool.
        pool: PoolName,
        /// Why not.
        why: String,
    },
    /// Another owner has the address.
    #[error("{addr} of pool {pool} belongs to {owner} since {since}: release it with 'pipework release pool:{pool} {owner}'")]
    Taken {
        /// The address.
        addr: IpAddr,
        /// The pool.
        pool: PoolName,
        /// Whose it is.
        owner: Owner,
        /// Since when.
        since: String,
    },
    /// The owner has another address than it wishes for.
    #[error("{owner} has {has} of pool {pool}, not {wish}: release it with 'pipework release pool:{pool} {owner}'")]
    Other {
        /// The owner.
        owner: Owner,
        /// The pool.
        pool: PoolName,
        /// What it has.
        has: IpAddr,
        /// What it wishes for.
        wish: IpAddr,
    },
    /// No address is free.
    #[error("pool {pool} is full: {size} addresses, {claimed} claimed, {reserved} reserved")]
    Full {
        /// The pool.
        pool: PoolName,
        /// How many addresses it spans.
        size: u128,
        /// How many of them are claimed.
        claimed: u128,
        /// How many of them are reserved.
        reserved: u128,
    },
    /// A live session holds the use of the address.
    #[error("{addr} is in use on host {by}")]
    InUse {
        /// The address.
        addr: IpAddr,
        /// The host that has it.
        by: String,
    },
    /// The owner has the address no longer: it was released.
    #[error("{addr} does not belong to {owner} any more: it was released")]
    Lost {
        /// The address.
        addr: IpAddr,
        /// Who had it.
        owner: Owner,
    },
    /// Our session is dead: another host may have the address by now.
    #[error("this host has no session in Consul that lives: another host may have the address")]
    NoSession,
    /// It cannot be read or written.
    #[error("{what}")]
    Store {
        /// What was about to be done.
        what: String,
        /// Why it went wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
        /// Whether it may go well later: Consul has no leader at the moment, for example.
        may_pass: bool,
    },
}

impl ClaimError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPool { .. } => Some("pools stand in /etc/pipework/pools.toml, or on a cluster's hosts in cluster.toml".into()),
            Self::Nobody { .. } => Some("name a container, or a namespace as netns:NAME; or give a fixed address".into()),
            Self::Full { pool, .. } => Some(format!("`pipework pool show {pool}` tells who has them, `pipework pool gc` frees old ones")),
            Self::InUse { .. } => Some("it is free when that host lets go of it, or is gone".into()),
            Self::Store { may_pass: true, .. } => Some("nothing was changed; it may go well in a moment: try again".into()),
            Self::Store { source, .. } => source.downcast_ref::<ConsulError>().and_then(ConsulError::hint),
            _ => None,
        }
    }

    /// Whether it may go well later, with nothing done about it.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store { may_pass: true, .. } | Self::InUse { .. })
    }
}
