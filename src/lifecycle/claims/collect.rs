//! Ending the claims of owners that are gone for good: nobody asked for them for long, and no attachment that is known has them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::{ClaimError, Claimed, Claims, age, owner_of};
use crate::lifecycle::{AttachError, recording};
use crate::model::pool::{Owner, PoolName};

/// A claim that was old enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// Of which pool.
    pub pool: PoolName,
    /// The claim.
    pub claimed: Claimed,
}

/// Which claims this host's attachments are about: these are in use, whenever they were last asked for.
#[derive(Debug, Default)]
pub struct InUse(BTreeSet<(IpAddr, Owner)>);

impl InUse {
    /// By the records of this host.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn here(run_dir: &Path) -> Result<Self, AttachError> {
        let records = recording::records(run_dir).map_err(AttachError::Observe)?.all().map_err(AttachError::Unrecorded)?;
        let of = |record: &crate::model::record::Record| {
            let owner = owner_of(&record.guest.word, &record.guest.id()).ok();
            record.addrs().filter_map(|ip| Some((ip, owner.clone()?))).collect::<Vec<_>>()
        };
        Ok(Self(records.all.iter().flat_map(of).collect()))
    }

    fn has(&self, claimed: &Claimed) -> bool {
        claimed.user.is_some() || self.0.contains(&(claimed.addr, claimed.owner.clone()))
    }
}

/// Ends what nobody asked for since so many seconds, and what is in use is asked for anew, so that the other hosts' collectors
/// know of it. With `dry_run`, only tells what would end.
///
/// # Errors
/// When claims cannot be read or written.
pub fn collect(claims: &dyn Claims, pool: &PoolName, older: u64, in_use: &InUse, dry_run: bool) -> Result<Vec<Collected>, ClaimError> {
    let mut collected = Vec::new();
    for claimed in claims.all(pool)? {
        if in_use.has(&claimed) {
            if !dry_run {
                claims.claim(pool, &claimed.owner, Some(claimed.addr))?;
            }
            continue;
        }
        // What is no time says nothing of its age.
        let is_old = age(&claimed.seen).is_some_and(|age| age >= older);
        if is_old && (dry_run || claims.forget(pool, &claimed)?) {
            collected.push(Collected { pool: pool.clone(), claimed });
        }
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lifecycle::claims::FileClaims;
    use crate::model::pool::Entry;
    use crate::state::PoolFiles;

    #[test]
    fn what_is_old_and_not_in_use_ends_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("pools.toml");
        std::fs::write(&config, "[[pools]]\nname = \"lan\"\nsubnet = \"10.0.0.0/24\"\n").unwrap();
        let (claims, lan) = (FileClaims::new(&config, dir.path()), "lan".parse().unwrap());
        let put = |ip: &str, owner: &str, seen: &str| {
            let entry = Entry { owner: owner.parse().unwrap(), since: "2020-01-01T00:00:00Z".into(), seen: seen.into() };
            PoolFiles::lock(dir.path(), &lan).unwrap().put(ip.parse().unwrap(), &entry).unwrap();
        };
        put("10.0.0.1", "old", "2020-01-01T00:00:00Z");
        put("10.0.0.2", "used", "2020-01-01T00:00:00Z");
        put("10.0.0.3", "odd", "some day");
        put("10.0.0.4", "new", &crate::state::now());
        let in_use = InUse(BTreeSet::from([("10.0.0.2".parse().unwrap(), "used".parse().unwrap())]));
        let owners = |all: Vec<Collected>| all.into_iter().map(|one| one.claimed.owner.to_string()).collect::<Vec<_>>();
        assert_eq!(owners(collect(&claims, &lan, 86400, &in_use, true).unwrap()), ["old"]);
        assert_eq!(claims.all(&lan).unwrap().len(), 4);
        assert_eq!(owners(collect(&claims, &lan, 86400, &in_use, false).unwrap()), ["old"]);
        let left = claims.all(&lan).unwrap();
        assert_eq!(left.iter().map(|claimed| claimed.owner.to_string()).collect::<Vec<_>>(), ["used", "odd", "new"]);
        assert!(super::super::is_fresh(&left[0].seen), "in use, so seen");
        assert_eq!(owners(collect(&claims, &lan, 0, &InUse::default(), false).unwrap()), ["used", "new"]);
    }
}
