//! The claims as the agent hands them to the daemon: an address is locked by this host's session before a guest has it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::clock::Moment;
use super::ledger::{Place, place};
use crate::external::consul::{Condition, ConsulError, Freshness};
use crate::lifecycle::claims::{Claim, ClaimError, Claimed, Claims, User};
use crate::model::pool::{Owner, Pool, PoolName};

/// How long another host's lock is waited for at once: a drained task's address is let go a moment after its end. After that it is
/// told, and waited for without holding up anything.
const PATIENCE: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(50);

/// The uses of this host.
#[derive(Debug)]
pub struct Uses {
    core: Arc<Core>,
    /// Where addresses and owners are written down.
    claims: Arc<dyn Claims>,
}

impl Uses {
    pub(super) fn new(core: Arc<Core>, claims: Arc<dyn Claims>) -> Self {
        Self { core, claims }
    }

    fn lock(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        let begun = Moment::now();
        loop {
            let session = self.core.live().ok_or(ClaimError::NoSession)?;
            let value = serde_json::to_vec(user).map_err(|error| store(claim, error, false))?;
            match self.acquire(claim, user, &session, &value) {
                Ok(true) => {
                    // It may have ended while this was asked: then whoever takes all addresses down may not have seen this one.
                    return if self.core.live().as_ref() == Some(&session) { Ok(()) } else { Err(ClaimError::NoSession) };
                }
                Ok(false) if Moment::now().since(begun) < PATIENCE => std::thread::sleep(PAUSE),
                Ok(false) => return Err(self.core.in_use(claim)),
                Err(error) if error.is_dead_session() => {
                    self.core.session_is_gone(&session);
                    return Err(ClaimError::NoSession);
                }
                Err(error) => {
                    let may_pass = error.may_pass();
                    return Err(store(claim, error, may_pass));
                }
            }
        }
    }
}

impl Uses {
    /// One at a time with [`Core::pay`]: what is locked again is not given back by what was under way.
    fn acquire(&self, claim: &Claim, user: &User, session: &str, value: &[u8]) -> Result<bool, ConsulError> {
        let _gate = self.core.gate();
        let locked = self.core.consul.write(&self.core.key(&place(claim)), value, 0, Condition::Acquire(session))?;
        if locked {
            self.core.ledger().locked(claim, user, session);
        }
        Ok(locked)
    }
}

fn store(claim: &Claim, source: impl std::error::Error + Send + Sync + 'static, may_pass: bool) -> ClaimError {
    ClaimError::Store { what: format!("the use of {} cannot be locked", claim.addr), source: Box::new(source), may_pass }
}

impl Claims for Uses {
    fn pool(&self, name: &PoolName) -> Result<Pool, ClaimError> {
        self.claims.pool(name)
    }

    /// What is in use here is not read again: nobody else changes it, and it stands while Consul is away.
    fn claim(&self, pool: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
        let held = self.core.ledger().claim_of(pool, owner);
        match held.filter(|claim| wish.is_none_or(|wish| wish == claim.addr.ip()) && self.core.live().is_some()) {
            Some(claim) => Ok(claim),
            None => self.claims.claim(pool, owner, wish),
        }
    }

    fn release(&self, pool: &PoolName, owner: &Owner) -> Result<Option<IpAddr>, ClaimError> {
        self.claims.release(pool, owner)
    }

    fn forget(&self, pool: &PoolName, claimed: &Claimed) -> Result<bool, ClaimError> {
        self.claims.forget(pool, claimed)
    }

    fn all(&self, pool: &PoolName) -> Result<Vec<Claimed>, ClaimError> {
        self.claims.all(pool)
    }

    fn hold(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        let session = self.core.live().ok_or(ClaimError::NoSession)?;
        if self.core.ledger().is_held(claim, user, &session) {
            return Ok(());
        }
        if let Err(other) = self.core.ledger().begin(claim, user) {
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
            Err(_) => self.core.ledger().wait(claim, user),
        }
        locked
    }

    fn let_go(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        self.core.ledger().end(&place(claim), user.netns);
        // At once: another host may wait for it.
        self.core.pay();
        self.core.changed();
        Ok(())
    }
}

impl Core {
    /// Where the use of an address is locked.
    pub(super) fn key(&self, (pool, addr): &Place) -> String {
        format!("{}/pools/{pool}/use/{addr}", self.prefix)
    }

    /// Who has an address that could not be locked.
    fn in_use(&self, claim: &Claim) -> ClaimError {
        let addr = claim.addr.ip();
        let by = match self.consul.key(&self.key(&place(claim)), Freshness::Usual) {
            Ok(Some(pair)) if pair.session.is_some() => {
                serde_json::from_slice::<User>(&pair.value).map_or_else(|_| "?".into(), |user| user.host)
            }
            Ok(_) => "nobody any more, and Consul keeps it for a moment more".into(),
            Err(error) => error.to_string(),
        };
        ClaimError::InUse { addr, by }
    }

    /// Gives back the locks that are owed. What nobody hears now is told again.
    pub(super) fn pay(&self) {
        let _gate = self.gate();
        let owed = self.ledger().owed().clone();
        for (place, session) in owed {
            let paid = self.consul.write(&self.key(&place), b"", 0, Condition::Release(&session));
            let is_over = match &paid {
                Ok(_) => true,
                Err(error) => error.is_dead_session() || !(error.may_pass() || error.is_open()),
            };
            if is_over {
                self.ledger().paid(&place);
            }
        }
    }

    /// Wakes guests whose address is free by now.
    pub(super) fn look_at_waiting(&self) {
        let waiting: Vec<Place> = self.ledger().waiting().keys().cloned().collect();
        for place in waiting {
            let is_free =
                self.consul.key(&self.key(&place), Freshness::Usual).is_ok_and(|pair| pair.is_none_or(|pair| pair.session.is_none()));
            if is_free {
                let guests = self.ledger().woken(&place);
                self.bell_again(guests);
            }
        }
    }
}
