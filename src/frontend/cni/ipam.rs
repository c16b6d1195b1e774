//! Who gives the addresses: our pools, or a plugin to which that is delegated.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{PATIENCE, Plugin, fault};
use crate::external::delegate::Delegate;
use crate::lifecycle::claims::{Claim, ClaimError, Claims, FileClaims};
use crate::model::cni::{Addressing, BuiltIn, CniError, Code, Ipam, Key, MOST_POOLS, Source, Success};
use crate::model::pool::{Owner, Pool, PoolName};
use crate::model::types::IfAddr;
use crate::state;

/// How long another process of this host may need to let go of an address whose container is gone.
const LETTING_GO: Duration = Duration::from_secs(5);

/// A pool, or the name of one, and where addresses of it are claimed.
pub(super) type Place<P> = (Arc<dyn Claims>, P);

/// Addresses that were claimed of pools.
pub(super) struct Given {
    pub(super) addressing: Addressing,
    claimed: Vec<(Arc<dyn Claims>, Claim)>,
}

impl Given {
    /// Gives back what was claimed only for an attachment that is not made.
    pub(super) fn give_back(&self) {
        for (claims, claim) in self.claimed.iter().filter(|(_, claim)| claim.is_new) {
            // What stays is the attachment's that there is none of: a DEL, which follows, or GC frees it.
            let _ = claims.release(&claim.pool, &claim.owner);
        }
    }
}

impl Plugin {
    /// The network's own pools. They are kept in memory, as the attachments are: neither outlives a boot.
    fn own_claims(&self) -> Arc<dyn Claims> {
        let pools = match &self.conf.ipam {
            Ipam::BuiltIn(own) => own.sources.iter().filter_map(|source| match source {
                Source::Own(pools) => Some(pools.clone()),
                Source::Named(_) => None,
            }),
            _ => return Arc::new(FileClaims::given(Vec::new(), String::new(), &state::run_dir())),
        };
        let place = format!("the configuration of network {}", self.conf.network);
        Arc::new(FileClaims::given(pools.flatten().collect(), place, &state::run_dir()))
    }

    /// Claims an address of each source.
    pub(super) fn claim(&self, own: &BuiltIn) -> Result<Given, CniError> {
        let (owner, own_claims) = (self.owner()?, self.own_claims());
        let mut wishes: Vec<IpAddr> = self.conf.wishes.iter().map(|wish| wish.ip).collect();
        let mut given = Given { addressing: Addressing::default(), claimed: Vec::new() };
        for source in &own.sources {
            let claimed = match source {
                Source::Named(name) => self.claims.pool(name).and_then(|pool| {
                    let wish = take(&mut wishes, &[pool]);
                    self.claims.claim(name, &owner, wish).map(|claim| (self.claims.clone(), claim))
                }),
                Source::Own(pools) => {
                    let wish = take(&mut wishes, pools);
                    first_free(&*own_claims, pools, &owner, wish).map(|claim| (own_claims.clone(), claim))
                }
            };
            given.claimed.push(claimed.map_err(|error| fault::claim(&error)).inspect_err(|_| given.give_back())?);
        }
        if let Some(wish) = wishes.first() {
            given.give_back();
            return Err(CniError::configuration("ips", format!("{wish} is in no subnet that gives addresses here")));
        }
        let addresses = given.claimed.iter().map(|(_, claim)| (claim.addr, claim.gateway)).collect();
        match Addressing::of(addresses, own.routes.clone(), self.conf.dns.clone()) {
            Ok(addressing) => Ok(Given { addressing, ..given }),
            Err(why) => {
                given.give_back();
                Err(CniError::configuration("ipam.routes", why))
            }
        }
    }

    /// The pools that attachments of this network may have addresses of, by their names, where such were made with these addresses:
    /// one that is configured no longer may have given some.
    fn names(&self, addresses: &[IpAddr]) -> Result<Vec<Place<PoolName>>, ClaimError> {
        match &self.conf.ipam {
            Ipam::Delegated(_) => Ok(Vec::new()),
            Ipam::None => self.fixed(addresses),
            Ipam::BuiltIn(own) => {
                let named = |source: &Source| match source {
                    Source::Named(name) => Some((self.claims.clone(), name.clone())),
                    Source::Own(_) => None,
                };
                Ok(own.sources.iter().filter_map(named).collect())
            }
        }
    }

    /// Fixed addresses may be those of a pool. Of no other pool anything is asked: whoever keeps it may be away.
    fn fixed(&self, addresses: &[IpAddr]) -> Result<Vec<Place<PoolName>>, ClaimError> {
        let words = self.conf.words.addresses.iter().filter_map(|text| text.parse::<IfAddr>().ok()).map(|addr| addr.ip());
        let all: Vec<IpAddr> = words.chain(self.conf.wishes.iter().map(|wish| wish.ip)).chain(addresses.iter().copied()).collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let pools = self.claims.pools()?.into_iter().filter(|pool| all.iter().any(|ip| pool.subnet.contains(*ip)));
        Ok(pools.map(|pool| (self.claims.clone(), pool.name)).collect())
    }

    /// The network's own pools that gave addresses, whatever its configuration says by now.
    fn own_names(&self) -> Vec<Place<PoolName>> {
        let claims = self.own_claims();
        let names = (0..MOST_POOLS).map(|number| self.conf.network.pool(number));
        let has_some = |name: &PoolName| claims.all(name).map_or(true, |all| !all.is_empty());
        names.filter(has_some).map(|name| (claims.clone(), name)).collect()
    }

    /// Frees what an attachment had: by our pools, all of them. The first that is wrong is told when it is done.
    pub(super) fn free(&self, owners: &[Owner], addresses: &[IpAddr]) -> Result<(), ClaimError> {
        let (names, unknown) = all_or_none(self.names(addresses));
        let mut wrong = unknown;
        for (claims, name) in self.own_names().into_iter().chain(names) {
            for owner in owners {
                // Of a pool that is gone nobody has anything.
                let failed = release(&*claims, &name, owner).err().filter(|error| !matches!(error, ClaimError::NoPool { .. }));
                wrong = wrong.or(failed);
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Whether each source has a free address. Of a list of subnets one that has is enough.
    pub(super) fn has_room(&self, own: &BuiltIn) -> Result<(), String> {
        let own_claims = self.own_claims();
        for source in &own.sources {
            match source {
                Source::Named(name) => room(&*self.claims, &self.claims.pool(name).map_err(|error| error.to_string())?)?,
                Source::Own(pools) => {
                    let full: Vec<String> = pools.iter().map_while(|pool| room(&*own_claims, pool).err()).collect();
                    if full.len() == pools.len() {
                        return Err(full.join("; "));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the attachment has its addresses still.
    pub(super) fn check_claims(&self, own: &BuiltIn, owner: &Owner) -> Result<(), CniError> {
        let own_claims = self.own_claims();
        let lost = |what: String| CniError::new(Code::Differs, format!("ipam: {owner} has no address of {what} any more"));
        for source in &own.sources {
            let has = |claims: &dyn Claims, name: &PoolName| -> Result<bool, CniError> {
                let all = claims.all(name).map_err(|error| fault::claim(&error))?;
                Ok(all.iter().any(|claimed| claimed.owner == *owner))
            };
            match source {
                Source::Named(name) if !has(&*self.claims, name)? => return Err(lost(format!("pool {name}"))),
                Source::Named(_) => {}
                Source::Own(pools) => {
                    let mut found = false;
                    for pool in pools {
                        found |= has(&*own_claims, &pool.name)?;
                    }
                    if !found {
                        return Err(lost(pools.iter().map(|pool| pool.subnet.to_string()).collect::<Vec<_>>().join(", ")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Frees what attachments that are not to be any more have claimed on this host, of pools that this network has.
    pub(super) fn free_stale(&self, is_stale: impl Fn(&Key) -> bool, addresses: &[IpAddr]) -> Result<(), ClaimError> {
        let host = self.host();
        let (names, mut wrong) = all_or_none(self.names(addresses));
        for (claims, name) in self.own_names().into_iter().chain(names) {
            // What only this host gives is this host's, whatever it was called then.
            let is_only_ours = !Arc::ptr_eq(&claims, &self.claims);
            let is_ours = |owner: &Owner| {
                let key = owner.to_string().parse::<Key>();
                key.is_ok_and(|key| (is_only_ours || key.host == host) && is_stale(&key))
            };
            let freed = claims.all(&name).and_then(|all| {
                let mut stale = all.into_iter().map(|claimed| claimed.owner).filter(is_ours);
                stale.try_for_each(|owner| release(&*claims, &name, &owner))
            });
            wrong = wrong.or(freed.err().filter(|error| !matches!(error, ClaimError::NoPool { .. })));
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Has a plugin do its part; what it answers, or what it says is wrong.
    pub(super) fn delegate(&self, name: &str, command: &str) -> Result<Vec<u8>, CniError> {
        let found = Delegate::find(name, &self.call.path).map_err(|error| fault::delegate(&error))?;
        let answer = found.run(command, &self.input, PATIENCE).map_err(|error| fault::delegate(&error))?;
        if answer.well { Ok(answer.out) } else { Err(said(name, command, &answer.out)) }
    }

    /// Has a plugin give addresses. With an error it is asked to take back what it may have done.
    pub(super) fn delegate_add(&self, name: &str) -> Result<Addressing, CniError> {
        let read = |out: Vec<u8>| {
            let wrong = |why: String| CniError::new(Code::Decoding, format!("ipam: what {name} answered cannot be used")).with(why);
            let value = serde_json::from_slice(&out).map_err(|error| wrong(error.to_string()))?;
            let addressing = Success::read(value).and_then(Addressing::read).map_err(wrong)?;
            if addressing.addresses.is_empty() {
                return Err(CniError::new(Code::NotDone, format!("ipam: {name} gave no address")));
            }
            Ok(addressing)
        };
        self.delegate(name, "ADD").and_then(read).inspect_err(|_| drop(self.delegate(name, "DEL")))
    }
}

/// What there is, and what was wrong, each where it is so.
fn all_or_none<T>(found: Result<Vec<T>, ClaimError>) -> (Vec<T>, Option<ClaimError>) {
    match found {
        Ok(all) => (all, None),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// Whether a pool has a free address.
fn room(claims: &dyn Claims, pool: &Pool) -> Result<(), String> {
    let claimed = claims.all(&pool.name).map_err(|error| error.to_string())?;
    let taken = claimed.iter().filter(|claimed| pool.refuses(claimed.addr).is_none()).count() as u128;
    if taken < pool.size().saturating_sub(pool.kept_back()) {
        return Ok(());
    }
    Err(format!("{} has no free address: {taken} are claimed", pool.subnet))
}

/// The wish that one of the pools can meet, taken out of the list.
fn take(wishes: &mut Vec<IpAddr>, pools: &[Pool]) -> Option<IpAddr> {
    let at = wishes.iter().position(|ip| pools.iter().any(|pool| pool.subnet.contains(*ip)))?;
    Some(wishes.remove(at))
}

/// Of the pool that has the wished address, else of the first that is not full. An owner that has one keeps it.
fn first_free(claims: &dyn Claims, pools: &[Pool], owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
    let meant = |pool: &&Pool| wish.is_none_or(|ip| pool.subnet.contains(ip));
    let mut last = None;
    for pool in pools.iter().filter(meant) {
        match claims.claim(&pool.name, owner, wish) {
            Err(error @ ClaimError::Full { .. }) => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| ClaimError::Configuration("no subnet is there to give an address".into())))
}

/// Whoever keeps watch over this host's addresses may need a moment to see that the container is gone.
fn release(claims: &dyn Claims, pool: &PoolName, owner: &Owner) -> Result<(), ClaimError> {
    let deadline = Instant::now() + LETTING_GO;
    loop {
        match claims.release(pool, owner) {
            Err(ClaimError::InUse { .. }) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            other => return other.map(|_| ()),
        }
    }
}

/// What a plugin says is wrong, in its own words and with its own number.
fn said(name: &str, command: &str, out: &[u8]) -> CniError {
    #[derive(serde::Deserialize)]
    struct Told {
        code: u32,
        #[serde(default)]
        msg: String,
        #[serde(default)]
        details: String,
    }
    match serde_json::from_slice::<Told>(out) {
        Ok(told) => CniError::new(Code::Delegated(told.code), format!("ipam: {name}: {}", told.msg)).with(told.details),
        Err(_) => {
            let words = String::from_utf8_lossy(out.get(..out.len().min(500)).unwrap_or_default()).trim().to_owned();
            CniError::new(Code::NotDone, format!("ipam: {name} failed at {command}")).with(words)
        }
    }
}
