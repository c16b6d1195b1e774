//! Claims in Consul's key-value store:
//!
//! ```text
//! PREFIX/pools/lan/ip/192.168.116.120     {"owner":"web","since":...,"seen":...}   for good
//! PREFIX/pools/lan/owner/web              192.168.116.120                          for good, written with the one above
//! PREFIX/pools/lan/use/192.168.116.120    {"host":"h2","container":...,"netns":...}  locked by the host's session
//! ```
//!
//! The first two are one claim, and change in one transaction; no session can end them. Whatever had no answer is read back
//! before anything else is tried: an owner has one key, so it never gets two addresses, however often it asks.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::external::consul::{Consul, ConsulError, Ended, Freshness, Pair, Step};
use crate::lifecycle::claims::{Claim, ClaimError, Claimed, Claims, User, check_own, check_wish, claim_of, full, is_fresh, taken};
use crate::model::pool::{Entry, Owner, Pool, PoolName};
use crate::state::now;

/// So long a claim waits for a leader, or for an agent that is being started again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries, while nobody leads.
const PAUSE: Duration = Duration::from_millis(100);
/// How often others may be quicker, one after another, before it is told.
const MOST_TRIES: usize = 1000;

/// The claims of a cluster.
#[derive(Clone, Debug)]
pub struct ConsulClaims {
    consul: Consul,
    prefix: String,
    pools: Vec<Pool>,
    place: String,
    session: Option<String>,
    patience: Duration,
}

/// One try: what came of it, or that another has to be made.
enum Try<T> {
    Ended(T),
    /// Somebody else wrote in between.
    Again,
}

type Tried<T> = Result<Try<T>, Failure>;

/// Why a try came to nothing.
enum Failure {
    /// It is so, and stays so.
    Claim(ClaimError),
    /// Consul did not do it, or did not say.
    Consul(ConsulError),
}

impl From<ConsulError> for Failure {
    fn from(error: ConsulError) -> Self {
        Self::Consul(error)
    }
}

impl From<ClaimError> for Failure {
    fn from(error: ClaimError) -> Self {
        Self::Claim(error)
    }
}

impl ConsulClaims {
    /// Under a prefix, without a slash at its end. `place` says where the pools are configured, for messages.
    pub fn new(consul: Consul, prefix: &str, pools: Vec<Pool>, place: &str) -> Self {
        let (prefix, place) = (prefix.trim_matches('/').to_owned(), place.to_owned());
        Self { consul, prefix, pools, place, session: None, patience: PATIENCE }
    }

    /// The same claims, asked of another agent of the same cluster.
    #[must_use]
    pub fn through(self, consul: Consul) -> Self {
        Self { consul, ..self }
    }

    /// With a session of this host's local agent, by which the use of addresses is locked.
    #[must_use]
    pub fn with_session(self, session: Option<String>) -> Self {
        Self { session, ..self }
    }

    /// Waits so long for a leader; 10 s when nothing is said.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn ip_key(&self, pool: &PoolName, ip: IpAddr) -> String {
        format!("{}/pools/{pool}/ip/{ip}", self.prefix)
    }

    fn owner_key(&self, pool: &PoolName, owner: &Owner) -> String {
        format!("{}/pools/{pool}/owner/{owner}", self.prefix)
    }

    /// The key by which the use of an address is locked.
    pub fn use_key(&self, pool: &PoolName, ip: IpAddr) -> String {
        format!("{}{ip}", self.use_keys(pool))
    }

    /// What all of these begin with.
    pub fn use_keys(&self, pool: &PoolName) -> String {
        format!("{}/pools/{pool}/use/", self.prefix)
    }

    /// Tries until it ends, others stop being quicker, or the patience is over.
    fn persist<T>(&self, what: &str, mut one: impl FnMut(Freshness) -> Tried<T>) -> Result<T, ClaimError> {
        let deadline = Instant::now() + self.patience;
        let (mut freshness, mut tries) = (Freshness::Usual, 0);
        loop {
            match one(freshness) {
                Ok(Try::Ended(value)) => return Ok(value),
                Ok(Try::Again) if tries < MOST_TRIES => tries += 1,
                Ok(Try::Again) => return Err(store(what, "others were quicker each time".into(), true)),
                Err(Failure::Claim(error)) => return Err(error),
                Err(Failure::Consul(error)) if error.may_pass() && Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Failure::Consul(error)) => {
                    let may_pass = error.may_pass();
                    return Err(store(what, error.into(), may_pass));
                }
            }
            // What was written, also by a try without an answer, is to be seen from here on.
            freshness = Freshness::Consistent;
        }
    }

    /// What an owner has, both keys of it.
    fn of(&self, pool: &PoolName, owner: &Owner, freshness: Freshness) -> Result<Option<Owned>, Failure> {
        let Some(named) = self.consul.key(&self.owner_key(pool, owner), freshness)? else { return Ok(None) };
        let Some(ip) = named.text().and_then(|text| text.parse::<IpAddr>().ok()) else {
            return Err(broken(&named, "it holds no address").into());
        };
        let pair = self.consul.key(&self.ip_key(pool, ip), freshness)?;
        let why = match pair.as_ref().map(entry) {
            Some(Some(entry)) if entry.owner == *owner => return Ok(pair.map(|pair| Owned { ip, entry, pair, named })),
            Some(Some(entry)) => format!("{ip} belongs to {}", entry.owner),
            Some(None) => format!("{} holds no claim", self.ip_key(pool, ip)),
            None => format!("there is no {}", self.ip_key(pool, ip)),
        };
        // Released between the two looks; or written by hand.
        let still = self.consul.key(&named.key, Freshness::Consistent)?.is_some_and(|now| now.modify_index == named.modify_index);
        if still { Err(broken(&named, &why).into()) } else { Ok(None) }
    }

    fn claim_once(&self, pool: &Pool, owner: &Owner, wish: Option<IpAddr>, freshness: Freshness, tries: &mut Tries) -> Tried<Claim> {
        if let Some(owned) = self.of(&pool.name, owner, freshness)? {
            check_own(pool, owner, owned.ip, wish)?;
            if !is_fresh(&owned.entry.seen) {
                self.see(&owned)?;
            }
            return Ok(Try::Ended(claim_of(pool, owner, owned.ip, tries.open.contains(&owned.ip))?));
        }
        let ip = match wish {
            Some(ip) => ip,
            // The owner's own place first, without asking what is free.
            None if !std::mem::replace(&mut tries.is_second, true) => pool.for_owner(owner).next().ok_or_else(|| full(pool, [].iter()))?,
            None => {
                let taken = self.addresses(&pool.name)?;
                pool.for_owner(owner).find(|ip| !taken.contains(ip)).ok_or_else(|| full(pool, taken.iter()))?
            }
        };
        let value = Entry { owner: owner.clone(), since: now(), seen: now() };
        let steps = [
            Step::Cas { key: self.ip_key(&pool.name, ip), value: text(&value)?, index: 0 },
            Step::Cas { key: self.owner_key(&pool.name, owner), value: ip.to_string().into_bytes(), index: 0 },
        ];
        let ended = self.consul.transact(&steps).inspect_err(|error| tries.open.extend(error.is_open().then_some(ip)))?;
        match ended {
            Ended::Done(_) => Ok(Try::Ended(claim_of(pool, owner, ip, true)?)),
            Ended::Refused(_) if wish.is_none() => Ok(Try::Again),
            Ended::Refused(_) => match self.consul.key(&self.ip_key(&pool.name, ip), Freshness::Consistent)? {
                Some(pair) => {
                    let entry = entry(&pair).ok_or_else(|| broken(&pair, "it holds no claim"))?;
                    if entry.owner == *owner { Ok(Try::Again) } else { Err(taken(pool, ip, entry).into()) }
                }
                None => Ok(Try::Again),
            },
        }
    }

    /// Which addresses are claimed, whatever their values say.
    fn addresses(&self, pool: &PoolName) -> Result<std::collections::BTreeSet<IpAddr>, Failure> {
        let prefix = format!("{}/pools/{pool}/ip/", self.prefix);
        let keys = self.consul.key_names(&prefix, Freshness::Consistent)?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect())
    }

    /// Writes down that a claim was seen. Should somebody else write in between, it was seen by that one.
    fn see(&self, owned: &Owned) -> Result<(), Failure> {
        let value = text(&Entry { seen: now(), ..owned.entry.clone() })?;
        self.consul.transact(&[Step::Cas { key: owned.pair.key.clone(), value, index: owned.pair.modify_index }])?;
        Ok(())
    }

    /// Ends a claim whose use nobody has locked.
    fn end(&self, pool: &PoolName, owned: &Owned) -> Tried<IpAddr> {
        let key = self.use_key(pool, owned.ip);
        let used = self.consul.key(&key, Freshness::Consistent)?;
        let unused = match used {
            Some(pair) if pair.session.is_some() => return Err(in_use(owned.ip, &pair).into()),
            Some(pair) => Step::DeleteCas { key, index: pair.modify_index },
            None => Step::CheckNotExists { key },
        };
        let gone = |pair: &Pair| Step::DeleteCas { key: pair.key.clone(), index: pair.modify_index };
        // The checks first: whatever is deleted already is well for Consul, and ought not to be for us.
        let same = |pair: &Pair| Step::CheckIndex { key: pair.key.clone(), index: pair.modify_index };
        let steps = [unused, same(&owned.pair), same(&owned.named), gone(&owned.pair), gone(&owned.named)];
        match self.consul.transact(&steps)? {
            Ended::Done(_) => Ok(Try::Ended(owned.ip)),
            Ended::Refused(_) => Ok(Try::Again),
        }
    }
}

/// What was tried for one claim.
#[derive(Default)]
struct Tries {
    /// The owner's own place was not free.
    is_second: bool,
    /// What may have been written by a try without an answer.
    open: Vec<IpAddr>,
}

/// A claim as it was read.
struct Owned {
    ip: IpAddr,
    entry: Entry,
    /// The address's key.
    pair: Pair,
    /// The owner's key.
    named: Pair,
}

impl Claims for ConsulClaims {
    fn pools(&self) -> Result<Vec<Pool>, ClaimError> {
        Ok(self.pools.clone())
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn claim(&self, name: &PoolName, owner: &Owner, wish: Option<IpAddr>) -> Result<Claim, ClaimError> {
        let pool = self.pool(name)?;
        check_wish(&pool, wish)?;
        let mut tries = Tries::default();
        self.persist(&format!("claiming an address of pool {name} for {owner}"), |freshness| {
            self.claim_once(&pool, owner, wish, freshness, &mut tries)
        })
    }

    fn release(&self, pool: &PoolName, owner: &Owner) -> Result<Option<IpAddr>, ClaimError> {
        self.persist(&format!("releasing what {owner} has of pool {pool}"), |_| match self.of(pool, owner, Freshness::Consistent)? {
            None => Ok(Try::Ended(None)),
            Some(owned) => Ok(match self.end(pool, &owned)? {
                Try::Ended(ip) => Try::Ended(Some(ip)),
                Try::Again => Try::Again,
            }),
        })
    }

    fn forget(&self, pool: &PoolName, claimed: &Claimed) -> Result<bool, ClaimError> {
        self.persist(&format!("releasing what {} has of pool {pool}", claimed.owner), |_| {
            match self.of(pool, &claimed.owner, Freshness::Consistent)? {
                Some(owned) if owned.ip == claimed.addr && owned.entry.seen == claimed.seen => match self.end(pool, &owned) {
                    Ok(Try::Ended(_)) => Ok(Try::Ended(true)),
                    Ok(Try::Again) => Ok(Try::Again),
                    Err(Failure::Claim(ClaimError::InUse { .. })) => Ok(Try::Ended(false)),
                    Err(failure) => Err(failure),
                },
                _ => Ok(Try::Ended(false)),
            }
        })
    }

    fn all(&self, pool: &PoolName) -> Result<Vec<Claimed>, ClaimError> {
        let prefix = format!("{}/pools/{pool}/", self.prefix);
        let pairs = self.persist(&format!("reading the claims of pool {pool}"), |freshness| {
            Ok(Try::Ended(self.consul.keys_under(&prefix, freshness)?))
        })?;
        let of = |pair: &Pair, kind: &str| pair.key.strip_prefix(&prefix)?.strip_prefix(kind)?.parse::<IpAddr>().ok();
        let users: std::collections::BTreeMap<IpAddr, User> =
            pairs.iter().filter(|pair| pair.session.is_some()).filter_map(|pair| Some((of(pair, "use/")?, user(pair)?))).collect();
        let claimed = |pair: &Pair| {
            let ip = of(pair, "ip/")?;
            Some(Claimed::new(ip, entry(pair)?, users.get(&ip).cloned()))
        };
        let mut all: Vec<Claimed> = pairs.iter().filter_map(claimed).collect();
        all.sort_by_key(|claimed| claimed.addr);
        Ok(all)
    }

    fn hold(&self, claim: &Claim, user: &User) -> Result<(), ClaimError> {
        let Some(session) = &self.session else { return Ok(()) };
        let (pool, ip) = (&claim.pool, claim.addr.ip());
        let key = self.use_key(pool, ip);
        self.persist(&format!("locking the use of {ip}"), |_| {
            let Some(owned) = self.of(pool, &claim.owner, Freshness::Consistent)?.filter(|owned| owned.ip == ip) else {
                return Err(ClaimError::Lost { addr: ip, owner: claim.owner.clone() }.into());
            };
            let same = Step::CheckIndex { key: owned.pair.key.clone(), index: owned.pair.modify_index };
            let lock = Step::Lock { key: key.clone(), value: text(user)?, session: session.clone() };
            match self.consul.transact(&[same, lock])? {
                Ended::Done(_) => Ok(Try::Ended(())),
                Ended::Refused(faults) if faults.iter().any(|fault| fault.what.contains("invalid session")) => {
                    Err(ClaimError::NoSession.into())
                }
                Ended::Refused(faults) if faults.iter().all(|fault| fault.op_index == 0) => Ok(Try::Again),
                Ended::Refused(_) => match self.consul.key(&key, Freshness::Consistent)? {
                    Some(pair) => Err(in_use(ip, &pair).into()),
                    None => Ok(Try::Again),
                },
            }
        })
    }

    fn let_go(&self, claim: &Claim, _user: &User) -> Result<(), ClaimError> {
        let Some(session) = &self.session else { return Ok(()) };
        let ip = claim.addr.ip();
        let key = self.use_key(&claim.pool, ip);
        self.persist(&format!("ending the use of {ip}"), |_| {
            let held = self.consul.key(&key, Freshness::Consistent)?.filter(|pair| pair.session.as_ref() == Some(session));
            let Some(pair) = held else { return Ok(Try::Ended(())) };
            match self.consul.transact(&[Step::DeleteCas { key: key.clone(), index: pair.modify_index }])? {
                Ended::Done(_) => Ok(Try::Ended(())),
                Ended::Refused(_) => Ok(Try::Again),
            }
        })
    }
}

fn entry(pair: &Pair) -> Option<Entry> {
    serde_json::from_slice(&pair.value).ok()
}

pub(super) fn user(pair: &Pair) -> Option<User> {
    serde_json::from_slice(&pair.value).ok()
}

fn in_use(addr: IpAddr, pair: &Pair) -> ClaimError {
    ClaimError::InUse { addr, by: user(pair).map_or_else(|| "(of another session)".to_owned(), |user| user.host) }
}

fn text(value: &impl serde::Serialize) -> Result<Vec<u8>, ClaimError> {
    serde_json::to_vec(value).map_err(|error| store("writing a claim", error.into(), false))
}

/// Somebody wrote there who does not know what it means.
fn broken(pair: &Pair, why: &str) -> ClaimError {
    store(&format!("reading {}", pair.key), format!("{why}: set it right, or remove it (consul kv delete {})", pair.key).into(), false)
}

fn store(what: &str, source: Box<dyn std::error::Error + Send + Sync>, may_pass: bool) -> ClaimError {
    ClaimError::Store { what: what.to_owned(), source, may_pass }
}
