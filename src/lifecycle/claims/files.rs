//! The claims of a single host: its pools stand in one file, and who has what in files beside the records.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::seen::{is_fresh, now};
use super::{Claim, ClaimError, Claimed, Claims, User};
use crate::model::pool::{self, Entry, Owner, Pool, PoolName};
use crate::state::PoolFiles;

/// Where pools are configured.
#[derive(Clone, Debug)]
enum Config {
    /// In a pools.toml.
    File(PathBuf),
    /// Elsewhere; where that is, for messages.
    Given(Vec<Pool>, String),
}

/// The pools of this host.
#[derive(Clone, Debug)]
pub struct FileClaims {
    config: Config,
    /// Where claims are kept.
    state_dir: PathBuf,
}

impl FileClaims {
    /// Of a file of pools, kept in a state directory ([`crate::state::state_dir`]).
    pub fn new(config: &Path, state_dir: &Path) -> Self {
        Self { config: Config::File(config.to_owned()), state_dir: state_dir.to_owned() }
    }

    /// Of pools that are known, and stand in `place`.
    pub fn given(pools: Vec<Pool>, place: String, state_dir: &Path) -> Self {
        Self { config: Config::Given(pools, place), state_dir: state_dir.to_owned() }
    }

    fn store(what: String) -> impl FnOnce(std::io::Error) -> ClaimError {
        move |error| ClaimError::Store { what, may_pass: error.kind() == std::io::ErrorKind::TimedOut, source: Box::new(error) }
    }

    fn lock(&self, pool: &PoolName) -> Result<PoolFiles, ClaimError> {
        PoolFiles::lock(&self.state_dir, pool).map_err(Self::store(format!("locking pool {pool}")))
    }
}

impl Claims for FileClaims {
    fn pools(&self) -> Result<Vec<Pool>, ClaimError> {
        let config = match &self.config {
            Config::File(config) => config,
            Config::Given(pools, _) => return Ok(pools.clone()),
        };
        let path = config.display();
        match std::fs::read_to_string(config) {
            Ok(text) => pool::read(&text).map_err(|wrong| {
                let lines: Vec<String> = wrong.iter().map(|wrong| format!("{path}:{wrong}")).collect();
                ClaimError::Configuration(lines.join("; "))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(ClaimError::Configuration(format!("{path}: {error}"))),
        }
    }

    fn place(&self) -> String {
        match &self.config {
            Config::File(config) => config.display().to_string(),
            Config::Given(_, place) => place.clone(),
        }
    }

    fn claim(&self, name: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
        let pool = self.pool(name)?;
        super::check_wish(&pool, wish)?;
        let files = self.lock(name)?;
        let failed = || Self::store(format!("the claim of {owner} in pool {name}"));
        if let Some((ip, entry)) = files.of(owner).map_err(failed())? {
            super::check_own(&pool, owner, ip, wish)?;
            if !is_fresh(&entry.seen) {
                files.put(ip, &Entry { seen: now(), ..entry }).map_err(failed())?;
            }
            return super::claim_of(&pool, owner, ip, false);
        }
        let ip = match wish {
            Some(ip) => match files.entry(ip).map_err(failed())? {
                Some(entry) => return Err(super::taken(&pool, ip, entry)),
                None => ip,
            },
            None => {
                let taken = files.addresses().map_err(failed())?;
                pool.for_owner(owner).find(|ip| !taken.contains(ip)).ok_or_else(|| super::full(&pool, taken.iter()))?
            }
        };
        files.put(ip, &Entry { owner: owner.clone(), since: now(), seen: now() }).map_err(failed())?;
        super::claim_of(&pool, owner, ip, true)
    }

    fn release(&self, pool: &PoolName, owner: &Owner) -> Result<Option<IpAddr>, ClaimError> {
        let failed = || Self::store(format!("releasing what {owner} has of pool {pool}"));
        let files = self.lock(pool)?;
        let Some((ip, _)) = files.of(owner).map_err(failed())? else {
            files.sweep(owner).map_err(failed())?;
            return Ok(None);
        };
        files.remove(ip, owner).map_err(failed())?;
        Ok(Some(ip))
    }

    fn forget(&self, pool: &PoolName, claimed: &Claimed) -> Result<bool, ClaimError> {
        let failed = || Self::store(format!("releasing what {} has of pool {pool}", claimed.owner));
        let files = self.lock(pool)?;
        let now = files.entry(claimed.addr).map_err(failed())?;
        let is_as_read = now.is_some_and(|entry| entry.owner == claimed.owner && entry.seen == claimed.seen);
        if is_as_read {
            files.remove(claimed.addr, &claimed.owner).map_err(failed())?;
        }
        Ok(is_as_read)
    }

    fn all(&self, pool: &PoolName) -> Result<Vec<Claimed>, ClaimError> {
        let all = PoolFiles::look(&self.state_dir, pool).all().map_err(Self::store(format!("the claims of pool {pool}")))?;
        Ok(all.into_iter().map(|(addr, entry)| Claimed::new(addr, entry, None)).collect())
    }

    fn hold(&self, _claim: &Claim, _user: &User) -> Result<(), ClaimError> {
        Ok(())
    }

    fn let_go(&self, _claim: &Claim, _user: &User) -> Result<(), ClaimError> {
        Ok(())
    }
}
