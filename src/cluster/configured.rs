//! The claims that this host goes by: those of the cluster where there is a cluster.toml that has pools, else those of its own
//! files.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::access;
use super::claims::ConsulClaims;
use crate::lifecycle::claims::{Claim, ClaimError, Claimed, Claims, FileClaims, User};
use crate::model::cluster::{self, Cluster};
use crate::model::pool::{Owner, Pool, PoolName};

/// Where pools are configured. Nothing is read before it is asked for, and what has changed is read again.
#[derive(Debug)]
pub struct Configured {
    cluster: PathBuf,
    files: FileClaims,
    /// What was made of cluster.toml, and its text.
    read: Mutex<Option<(String, Arc<dyn Claims>)>>,
}

/// A larger file is no cluster's.
const LARGEST: u64 = 1 << 20;

impl Configured {
    /// By cluster.toml, pools.toml and the directory in which a single host keeps its claims.
    pub fn new(cluster: &Path, pools: &Path, state_dir: &Path) -> Self {
        Self { cluster: cluster.to_owned(), files: FileClaims::new(pools, state_dir), read: Mutex::new(None) }
    }

    fn claims(&self) -> Result<Arc<dyn Claims>, ClaimError> {
        let wrong = |why: String| ClaimError::Configuration(format!("{}: {why}", self.cluster.display()));
        let text = match std::fs::metadata(&self.cluster) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Arc::new(self.files.clone()));
            }
            Ok(found) if found.len() > LARGEST => return Err(wrong("it is larger than a cluster's file".into())),
            _ => std::fs::read_to_string(&self.cluster).map_err(|error| wrong(error.to_string()))?,
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, claims)) = read.as_ref().filter(|(before, _)| *before == text) {
            return Ok(claims.clone());
        }
        let cluster = cluster::read(&text).map_err(|all| {
            let lines: Vec<String> = all.iter().map(|one| format!("{}:{one}", self.cluster.display())).collect();
            ClaimError::Configuration(lines.join("; "))
        })?;
        let claims = self.of(cluster)?;
        *read = Some((text, claims.clone()));
        Ok(claims)
    }

    fn of(&self, cluster: Cluster) -> Result<Arc<dyn Claims>, ClaimError> {
        if cluster.pools.is_empty() {
            return Ok(Arc::new(self.files.clone()));
        }
        let consul = access::consul(&cluster).map_err(|error| ClaimError::Configuration(format!("{}: {error}", self.cluster.display())))?;
        let place = self.cluster.display().to_string();
        Ok(Arc::new(ConsulClaims::new(consul, &cluster.prefix(), cluster.pools, &place)))
    }
}

impl Claims for Configured {
    fn pools(&self) -> Result<Vec<Pool>, ClaimError> {
        self.claims()?.pools()
    }

    fn place(&self) -> String {
        self.claims().map_or_else(|_| self.cluster.display().to_string(), |claims| claims.place())
    }

    fn claim(&self, pool: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
        self.claims()?.claim(pool, owner, wish)
    }

    fn release(&self, pool: &PoolName, owner: &Owner) -> Result<Option<IpAddr>, ClaimError> {
        self.claims()?.release(pool, owner)
    }

    fn forget(&self, pool: &PoolName, claimed: &Claimed) -> Result<bool, ClaimError> {
        self.claims()?.forget(pool, claimed)
    }

    fn all(&self, pool: &PoolName) -> Result<Vec<Claimed>, ClaimError> {
        self.claims()?.all(pool)
    }

    fn hold(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        self.claims()?.hold(claim, user)
    }

    fn let_go(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        self.claims()?.let_go(claim, user)
    }
}
