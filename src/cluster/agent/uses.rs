//! The claims as the agent hands them to the daemon: an address is locked by this host's session before a guest has it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::clock::Moment;
use super::ledger::{Place, place};
use crate::cluster::claims::ConsulClaims;
use crate::external::consul::{ConsulError, Freshness, Pair};
use crate::guest::trace;
use crate::lifecycle::claims::{Claim, ClaimError, Claimed, Claims, User};
use crate::lifecycle::tend;
use crate::model::pool::{Owner, Pool, PoolName};

/// How long another host's lock is waited for at once: a drained task's address is let go a moment after its end. After that it is
/// told, and waited for without holding up anything.
const PATIENCE: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(50);
/// How often a lock that another host has is looked at.
const IMPATIENT: Duration = Duration::from_millis(250);
/// The longest sleep: an end is noticed within it.
const NAP: Duration = Duration::from_millis(500);
/// How often a claim that is in use is noted as seen.
const SEEN: Duration = Duration::from_secs(3600);
/// How long Consul may take to do what is asked.
const ANSWER: Duration = Duration::from_secs(2);

/// The uses of this host.
#[derive(Debug)]
pub struct Uses {
    core: Arc<Core>,
}

impl Uses {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Asks until another host has let go, or the patience is over.
    fn lock(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        let begun = Moment::now();
        loop {
            let session = self.core.live().ok_or(ClaimError::NoSession)?;
            match self.acquire(claim, user, &session) {
                // It may have ended while this was asked: then whoever takes all addresses down may not have seen this one.
                Ok(()) if self.core.live().as_ref() == Some(&session) => return Ok(()),
                Ok(()) => return Err(ClaimError::NoSession),
                Err(ClaimError::InUse { .. }) if Moment::now().since(begun) < PATIENCE => std::thread::sleep(PAUSE),
                Err(ClaimError::NoSession) => {
                    self.core.session_is_gone(&session);
                    return Err(ClaimError::NoSession);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Another host is to have it.
    fn yielded(&self, claim: &Claim, user: &User) -> Option<ClaimError> {
        if !self.core.ledger().is_yielded(&place(claim), user.netns) {
            return None;
        }
        self.core.ledger().wait_too(claim, user);
        let by =
            super::lock(&self.core.asked_for).as_ref().and_then(|asked| Some(asked.get(&place(claim))?.host.clone())).unwrap_or_default();
        Some(ClaimError::InUse { addr: claim.addr.ip(), by })
    }

    /// One at a time with [`Core::pay`]: what is locked again is not given back by what was under way.
    fn acquire(&self, claim: &Claim, user: &User, session: &str) -> Result<(), ClaimError> {
        let _gate = self.core.gate();
        let held = self.core.claims_of(session).hold(claim, user);
        if matches!(held, Err(ClaimError::Store { .. })) {
            // It may be locked all the same, and nobody else would give it back.
            self.core.ledger().owe(claim, user, session);
        }
        held?;
        self.core.ledger().locked(claim, user, session);
        // Before a guest has it: whoever follows an agent that is killed has to know.
        self.core.store();
        Ok(())
    }
}

/// Gives back what is owed and wakes who waits, for as long as the agent runs.
pub(super) fn tend_locks(core: &Core) {
    let (mut news, mut stored, mut tidied, mut swept) = (0, 0, Moment::now(), None);
    let mut seen = Moment::now();
    while !core.has_ended() {
        let time = if core.ledger().waiting().is_empty() { NAP } else { IMPATIENT };
        core.await_change(&mut news, time);
        if news != stored {
            stored = news;
            core.store();
        }
        core.pay();
        let live = core.live().filter(|live| swept.as_ref() != Some(live));
        swept = live.filter(|_| core.sweep()).or(swept);
        core.look_at_waiting();
        if Moment::now().since(tidied) > core.session().terms().pulse() {
            core.tidy();
            (tidied, swept) = (Moment::now(), None);
        }
        if Moment::now().since(seen) > SEEN {
            core.see_claims();
            seen = Moment::now();
        }
    }
}

impl Claims for Uses {
    fn pools(&self) -> Result<Vec<Pool>, ClaimError> {
        self.core.claims.pools()
    }

    fn place(&self) -> String {
        self.core.claims.place()
    }

    /// What is in use here is not read again: nobody else changes it, and it stands while Consul is away.
    fn claim(&self, pool: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
        let held = self.core.ledger().claim_of(pool, owner);
        match held.filter(|claim| wish.is_none_or(|wish| wish == claim.addr.ip()) && self.core.live().is_some()) {
            Some(claim) => Ok(claim),
            // Nobody could use it, and who waits for Consul here does not hear at once that there is a session again.
            None if self.core.live().is_none() => Err(ClaimError::NoSession),
            None => self.core.claims().claim(pool, owner, wish),
        }
    }

    fn release(&self, pool: &PoolName, owner: &Owner) -> Result<Option<IpAddr>, ClaimError> {
        self.core.claims().release(pool, owner)
    }

    fn forget(&self, pool: &PoolName, claimed: &Claimed) -> Result<bool, ClaimError> {
        self.core.claims().forget(pool, claimed)
    }

    fn all(&self, pool: &PoolName) -> Result<Vec<Claimed>, ClaimError> {
        self.core.claims().all(pool)
    }

    fn hold(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        // As the cluster's file calls this host, which need not be its own name.
        let user = &User { host: self.core.host.clone(), ..user.clone() };
        let session = self.core.live().ok_or(ClaimError::NoSession)?;
        if self.core.ledger().is_held(claim, user, &session) {
            return Ok(());
        }
        if let Some(error) = self.yielded(claim, user) {
            return Err(error);
        }
        let had = self.core.ledger().has(&place(claim), user.netns);
        let begun = self.core.ledger().begin(claim, user);
        if let Err(other) = begun {
            self.core.ledger().wait_too(claim, user);
            let by = format!("{} by {}", other.host, other.container.unwrap_or_else(|| "another container".into()));
            return Err(ClaimError::InUse { addr: claim.addr.ip(), by });
        }
        let locked = self.lock(claim, user);
        match &locked {
            Ok(()) => self.core.changed(),
            Err(ClaimError::InUse { .. }) => {
                self.core.ledger().wait(claim, user);
                self.core.condemn(place(claim), user.netns);
            }
            // Whatever it may have had before, nobody knows that it may have it now.
            Err(ClaimError::NoSession) => {}
            // It may have it all the same: then it goes down with all others, when nobody answers in time.
            Err(_) if had => self.core.ledger().wait_too(claim, user),
            Err(_) => self.core.ledger().wait(claim, user),
        }
        locked
    }

    fn let_go(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        self.core.ledger().end(&place(claim), user.netns);
        // Another host may wait for it: it is given back at once, and by a thread that may wait for Consul.
        self.core.changed();
        Ok(())
    }

    fn settle(&self, netns: u64, addrs: &[IpAddr], is_all: bool) {
        let is_other = self.core.ledger().settle(netns, addrs, is_all);
        if is_other {
            self.core.changed();
        }
    }
}

impl Core {
    /// What is asked with a session.
    fn claims_of(&self, session: &str) -> ConsulClaims {
        self.claims().with_session(Some(session.to_owned())).with_patience(ANSWER)
    }

    /// Gives back the locks that are owed. What nobody hears now is told again.
    fn pay(&self) {
        let owed = self.ledger().owed().clone();
        for (place, (one, session)) in owed {
            let _gate = self.gate();
            // Locked again meanwhile, by a guest that came after: then it is owed no more.
            if self.ledger().owed().get(&place).is_none_or(|(_, own)| *own != session) {
                continue;
            }
            match self.claims_of(&session).let_go(&one.claim, &one.user) {
                Ok(()) => self.ledger().paid(&place),
                Err(error) if error.may_pass() => return,
                // Somebody has to see to that first, and it is owed for as long.
                Err(_) => {}
            }
        }
    }

    /// Gives back locks of this host's session that nobody here knows of: an agent that was killed had not written them down, or
    /// an answer did not come. All guests have been gone through by then. `false`: it is to be tried again.
    fn sweep(&self) -> bool {
        let Some(session) = self.live().filter(|_| self.board.health().ready) else { return false };
        let of_pool = |pool: &Pool| -> Result<(), ConsulError> {
            let keys = self.claims.use_keys(&pool.name);
            let place = |pair: &Pair| Some((pool.name.clone(), pair.key.strip_prefix(&keys)?.parse().ok()?));
            for pair in self.way().1.keys_under(&keys, Freshness::Consistent)? {
                let Some(place) = place(&pair).filter(|_| pair.session.as_ref() == Some(&session)) else { continue };
                // What is locked at this moment is in the books when the gate opens, and has another index.
                let _gate = self.gate();
                if !self.ledger().knows(&place) {
                    self.way().1.erase(&pair.key, Some(pair.modify_index))?;
                }
            }
            Ok(())
        };
        self.claims.pools().unwrap_or_default().iter().try_for_each(of_pool).is_ok()
    }

    /// What is in use has been seen: nobody collects it as forgotten (`pipework pool gc`).
    fn see_claims(&self) {
        let sure: Vec<Claim> = self.ledger().uses().filter(|(_, one)| one.sure).map(|(_, one)| one.claim.clone()).collect();
        for claim in sure {
            // Not known at the moment; there is another round.
            if self.claims().with_patience(ANSWER).claim(&claim.pool, &claim.owner, Some(claim.addr.ip())).is_err() {
                return;
            }
        }
    }

    /// A guest that died before it had the address, or whose attach failed, has left no record that would end with it.
    fn tidy(&self) {
        let uses: Vec<(Place, u64)> = self.ledger().uses().map(|(place, one)| (place.clone(), one.user.netns)).collect();
        for (place, netns) in uses {
            if tend::recorded_of(netns, &self.lifecycle).is_ok_and(|records| records.is_empty()) && trace::namespace("", netns).is_none() {
                self.ledger().end(&place, netns);
            }
        }
    }

    /// Wakes guests whose address is free by now.
    fn look_at_waiting(&self) {
        let waiting: Vec<Place> = self.ledger().waiting().keys().cloned().collect();
        for (pool, addr) in waiting {
            let key = self.claims.use_key(&pool, addr);
            let is_free = |pair: Option<Pair>| pair.is_none_or(|pair| pair.session.is_none());
            if self.live().is_some() && self.way().1.key(&key, Freshness::Usual).is_ok_and(is_free) {
                let guests = self.ledger().woken(&(pool, addr));
                self.bell_again(guests);
            }
        }
    }
}
