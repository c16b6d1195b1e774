//! What an attach does with an address of a pool: it is claimed before anything is looked at or changed, and a claim that was made
//! only for an attach that fails is given back.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Claim, ClaimError, Claims, User, check_own, check_wish, claim_of, full, taken};
use crate::lifecycle::together::Together;
use crate::lifecycle::{AttachError, Options, recording};
use crate::model::facts::GuestId;
use crate::model::pool::{Entry, Owner, Pool, PoolName};
use crate::model::record::Record;
use crate::model::request::{AddrSpec, AttachRequest, GuestRef};

/// A request whose address is known, and the claims that were made for it.
pub(in crate::lifecycle) struct Asked<'a> {
    request: Cow<'a, AttachRequest>,
    claims: Option<Arc<dyn Claims>>,
    user: Option<User>,
    made: Vec<Claim>,
    run_dir: PathBuf,
}

impl<'a> Asked<'a> {
    /// Claims what a request needs: an address of the pool that it names, or the fixed addresses that are in a pool. With
    /// `dry_run` it is only told which one that would be.
    pub(in crate::lifecycle) fn of(request: &'a AttachRequest, options: &Options, together: Together<'_>) -> Result<Self, AttachError> {
        let plain = Self { request: Cow::Borrowed(request), claims: None, user: None, made: Vec::new(), run_dir: options.run_dir.clone() };
        let wishes = match (&request.pool, &options.claims) {
            (None, None) => return Ok(plain),
            (Some(word), None) => return Err(nowhere(&word.pool).into()),
            (Some(word), Some(_)) => {
                // What is recorded is what it had.
                vec![(word.pool.clone(), word.wish.or_else(|| request.addr.first().map(|addr| addr.ip())))]
            }
            (None, Some(claims)) => fixed(request, &**claims)?,
        };
        let Some(claims) = options.claims.clone().filter(|_| !wishes.is_empty()) else { return Ok(plain) };
        let held = together.hold(&request.guest)?;
        if request.pool.is_none() && is_by_engine(request, &held.id, options) {
            return Ok(plain);
        }
        let owner = owner_of(&request.guest, &held.id)?;
        let mut asked = Self { user: Some(user_of(&held.id)), claims: Some(claims.clone()), ..plain };
        for (pool, wish) in wishes {
            let claim = match options.dry_run {
                true => foretell(&*claims, &pool, &owner, wish),
                false => asked.claim(&*claims, &pool, &owner, wish),
            };
            let claim = claim.inspect_err(|_| asked.give_back())?;
            if request.pool.is_some() {
                let addr = AddrSpec { addrs: vec![claim.addr], gateways: claim.gateway.into_iter().collect() };
                asked.request = Cow::Owned(AttachRequest { addr, ..request.clone() });
            }
            if !options.dry_run {
                asked.made.push(claim);
            }
        }
        Ok(asked)
    }

    pub(in crate::lifecycle) fn request(&self) -> &AttachRequest {
        &self.request
    }

    /// Gives back what was claimed only for an attach that failed. What could not be taken away again may still have its address.
    pub(in crate::lifecycle) fn ended<T>(&self, ended: Result<T, AttachError>) -> Result<T, AttachError> {
        ended.inspect_err(|error| {
            if error.undone().is_none_or(|undone| undone.left.is_empty()) {
                self.give_back();
            }
        })
    }

    fn claim(&self, claims: &dyn Claims, pool: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
        let claim = claims.claim(pool, owner, wish)?;
        let Some(user) = &self.user else { return Ok(claim) };
        match claims.hold(&claim, user) {
            Ok(()) => Ok(claim),
            Err(error) => {
                if claim.is_new {
                    let _ = claims.release(pool, owner);
                }
                Err(error)
            }
        }
    }

    /// What an attachment still has stays in use. A claim that could not be given back would be found again by its owner, and by
    /// `pipework pool gc`: so nothing is made of it when that fails.
    fn give_back(&self) {
        let (Some(claims), Some(user)) = (&self.claims, &self.user) else { return };
        let recorded = recording::records(&self.run_dir).ok().and_then(|records| records.of_guest(user.netns).ok()).unwrap_or_default().all;
        for claim in &self.made {
            if !recorded.iter().any(|record| record.addrs().any(|ip| ip == claim.addr.ip())) {
                let _ = claims.let_go(claim, user);
            }
            if claim.is_new {
                let _ = claims.release(&claim.pool, &claim.owner);
            }
        }
    }
}

/// Ends the use of what a record had, by a process that holds uses. The claim stays.
pub(in crate::lifecycle) fn let_go(record: &Record, options: &Options) -> Result<(), ClaimError> {
    let Some(claims) = &options.claims else { return Ok(()) };
    let id = record.guest.id();
    let Ok(owner) = owner_of(&record.guest.word, &id) else { return Ok(()) };
    for pool in claims.pools()? {
        for addr in record.addrs().filter(|addr| pool.spans(*addr)) {
            claims.let_go(&claim_of(&pool, &owner, addr, false)?, &user_of(&id))?;
        }
    }
    Ok(())
}

/// Whether an engine's network driver has the attachment, and with it the claims of its addresses.
fn is_by_engine(request: &AttachRequest, guest: &GuestId, options: &Options) -> bool {
    let interface = crate::model::facts::guest_if(request);
    let record = recording::records(&options.run_dir).ok().and_then(|records| records.get(guest.netns, &interface).ok()?.ok()?);
    record.is_some_and(|record| record.by_engine)
}

/// The fixed addresses of a request that a pool gives. What a pool keeps back is somebody's for other reasons.
fn fixed(request: &AttachRequest, claims: &dyn Claims) -> Result<Vec<(PoolName, Option<IpAddr>)>, ClaimError> {
    if request.addr.addrs.is_empty() {
        return Ok(Vec::new());
    }
    let pools = claims.pools()?;
    let of = |ip: IpAddr| pools.iter().find(|pool| pool.refuses(ip).is_none()).map(|pool| (pool.name.clone(), Some(ip)));
    let all: Vec<_> = request.addr.addrs.iter().filter_map(|addr| of(addr.ip())).collect();
    let mut seen = BTreeSet::new();
    match all.iter().find(|(pool, _)| !seen.insert(pool.clone())) {
        Some((pool, Some(addr))) => {
            let why = "a guest has one address of a pool, and another stands here, too".to_owned();
            Err(ClaimError::Outside { addr: *addr, pool: pool.clone(), why })
        }
        _ => Ok(all),
    }
}

/// What a claim would come to, if nobody else claims in between.
fn foretell(claims: &dyn Claims, name: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
    let pool = claims.pool(name)?;
    check_wish(&pool, wish)?;
    let all = claims.all(name)?;
    if let Some(own) = all.iter().find(|claimed| claimed.owner == *owner) {
        check_own(&pool, owner, own.addr, wish)?;
        return claim_of(&pool, owner, own.addr, false);
    }
    let ip = match wish {
        Some(wish) => match all.into_iter().find(|claimed| claimed.addr == wish) {
            Some(other) => return Err(taken(&pool, wish, Entry { owner: other.owner, since: other.since, seen: other.seen })),
            None => wish,
        },
        None => first_free(&pool, owner, all.iter().map(|claimed| claimed.addr).collect())?,
    };
    claim_of(&pool, owner, ip, true)
}

fn first_free(pool: &Pool, owner: &Owner, taken: BTreeSet<IpAddr>) -> Result<IpAddr, ClaimError> {
    pool.for_owner(owner).find(|ip| !taken.contains(ip)).ok_or_else(|| full(pool, taken.iter()))
}

/// Who a guest is, for good. A process or a file is nobody that comes again.
///
/// # Errors
/// [`ClaimError::Nobody`]
pub fn owner_of(word: &GuestRef, guest: &GuestId) -> Result<Owner, ClaimError> {
    let nobody = || ClaimError::Nobody { guest: word.to_string() };
    let name = match (&guest.container_name, word) {
        (Some(name), _) => return Owner::of_container(name.trim_start_matches('/')).map_err(|_| nobody()),
        (None, GuestRef::NetnsName(name)) => format!("netns:{name}"),
        (None, GuestRef::Lxc(name) | GuestRef::Any(name)) if guest.engine == "lxc" => name.clone(),
        _ => return Err(nobody()),
    };
    name.parse().map_err(|_| nobody())
}

fn user_of(guest: &GuestId) -> User {
    User { host: host_name(), container: guest.container_name.clone().or_else(|| guest.container.clone()), netns: guest.netns }
}

fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn nowhere(pool: &PoolName) -> ClaimError {
    ClaimError::NoPool { pool: pool.clone(), why: "nobody gives out addresses here".into() }
}
