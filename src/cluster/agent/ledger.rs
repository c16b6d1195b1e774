//! Which addresses this host uses, and who waits for which. Bookkeeping: it asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::lifecycle::claims::{Claim, User};
use crate::model::pool::{Owner, PoolName};

/// So many guests of this host are known to wait for one address, and so many addresses are waited for.
const MOST_WAITING: usize = 256;

/// An address: pools of different networks may have the same.
pub type Place = (PoolName, IpAddr);

/// An address that a guest of this host has, or is about to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Whose it is.
    pub claim: Claim,
    /// Which guest has it.
    pub user: User,
    /// The session that it is locked by; none while it is not.
    pub session: Option<String>,
    /// Whether that is known. What an agent before this one had locked may be another's by now, or be given to another host.
    pub sure: bool,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    uses: BTreeMap<Place, Use>,
    waiting: BTreeMap<Place, BTreeSet<u64>>,
    /// Locks that are to be given back as soon as somebody hears it, and by which session they are had.
    owed: BTreeMap<Place, (Use, String)>,
    /// What another host is to have in place of a guest of this one, whose engine is silent.
    yielded: BTreeMap<Place, u64>,
}

/// Where a claim's address is written.
pub fn place(claim: &Claim) -> Place {
    (claim.pool.clone(), claim.addr.ip())
}

impl Ledger {
    /// The use that a guest has already under that session: nothing is to be asked.
    pub fn is_held(&self, claim: &Claim, user: &User, session: &str) -> bool {
        self.uses
            .get(&place(claim))
            .filter(|one| one.sure && one.session.as_deref() == Some(session))
            .is_some_and(|one| one.user.netns == user.netns && one.claim.owner == claim.owner)
    }

    /// A claim that is in use here, which need not be read again.
    pub fn claim_of(&self, pool: &PoolName, owner: &Owner) -> Option<Claim> {
        let of = |one: &&Use| one.claim.pool == *pool && one.claim.owner == *owner && one.sure;
        self.uses.values().find(of).map(|one| Claim { is_new: false, ..one.claim.clone() })
    }

    /// A guest is about to have it. One that has it already, another of this host's, is in the way: `Err` names it.
    ///
    /// # Errors
    /// Who has it.
    pub fn begin(&mut self, claim: &Claim, user: &User) -> Result<(), User> {
        match self.uses.get(&place(claim)) {
            Some(one) if one.user.netns != user.netns => Err(one.user.clone()),
            Some(_) => Ok(()),
            None => {
                self.uses.insert(place(claim), Use { claim: claim.clone(), user: user.clone(), session: None, sure: false });
                Ok(())
            }
        }
    }

    /// It is locked.
    pub fn locked(&mut self, claim: &Claim, user: &User, session: &str) {
        let place = place(claim);
        self.owed.remove(&place);
        self.wait_no_more(&place, user.netns);
        self.uses.insert(place, Use { claim: claim.clone(), user: user.clone(), session: Some(session.to_owned()), sure: true });
    }

    /// What an agent before this one had locked. A guest may have it still: it goes down in time, unless it is locked again.
    pub fn left_behind(&mut self, claim: Claim, user: User, session: Option<String>) {
        self.uses.insert(place(&claim), Use { claim, user, session, sure: false });
    }

    /// Whether a guest has it, or had it when an agent before this one ran.
    pub fn has(&self, place: &Place, netns: u64) -> bool {
        self.uses.get(place).is_some_and(|one| one.user.netns == netns)
    }

    /// Another host is to have it: the guest gets it no more, and its lock is owed once it is down. `false`: it has it not.
    pub fn yield_up(&mut self, place: &Place) -> bool {
        let Some(one) = self.uses.get_mut(place) else { return false };
        one.sure = false;
        self.yielded.insert(place.clone(), one.user.netns);
        true
    }

    /// Whether another host is to have it in place of this guest.
    pub fn is_yielded(&self, place: &Place, netns: u64) -> bool {
        self.yielded.get(place) == Some(&netns)
    }

    /// Nobody else asks any more for what is not among these. Returns which guests may have it again.
    pub fn yield_no_more(&mut self, asked: &BTreeSet<Place>) -> BTreeSet<u64> {
        let (kept, freed) = std::mem::take(&mut self.yielded).into_iter().partition(|(place, _)| asked.contains(place));
        self.yielded = kept;
        freed.into_values().collect()
    }

    /// It cannot be had now: told when it may be.
    pub fn wait(&mut self, claim: &Claim, user: &User) {
        self.uses.remove(&place(claim));
        self.wait_too(claim, user);
    }

    /// The same, of one that another guest of this host has.
    pub fn wait_too(&mut self, claim: &Claim, user: &User) {
        if self.waiting.len() < MOST_WAITING || self.waiting.contains_key(&place(claim)) {
            let guests = self.waiting.entry(place(claim)).or_default();
            if guests.len() < MOST_WAITING {
                guests.insert(user.netns);
            }
        }
    }

    fn wait_no_more(&mut self, place: &Place, netns: u64) {
        if let Some(guests) = self.waiting.get_mut(place) {
            guests.remove(&netns);
            if guests.is_empty() {
                self.waiting.remove(place);
            }
        }
    }

    /// A guest has it no more. Its lock is owed from now on.
    pub fn end(&mut self, place: &Place, netns: u64) {
        self.wait_no_more(place, netns);
        if self.uses.get(place).is_some_and(|one| one.user.netns == netns)
            && let Some(one) = self.uses.remove(place)
            && let Some(session) = one.session.clone()
        {
            self.owed.insert(place.clone(), (one, session));
        }
    }

    /// A guest has these addresses and no others. `is_all`: and waits for none.
    pub fn settle(&mut self, netns: u64, addrs: &[IpAddr], is_all: bool) -> bool {
        let gone = |(place, one): &(&Place, &Use)| one.user.netns == netns && !addrs.contains(&place.1);
        let gone: Vec<Place> = self.uses.iter().filter(gone).map(|(place, _)| place.clone()).collect();
        gone.iter().for_each(|place| self.end(place, netns));
        if is_all {
            let waited: Vec<Place> = self.waiting.keys().cloned().collect();
            waited.iter().for_each(|place| self.wait_no_more(place, netns));
        }
        !gone.is_empty()
    }

    /// Those that are in use.
    pub fn uses(&self) -> impl Iterator<Item = (&Place, &Use)> {
        self.uses.iter()
    }

    /// What is waited for.
    pub fn waiting(&self) -> &BTreeMap<Place, BTreeSet<u64>> {
        &self.waiting
    }

    /// Nobody waits for it any more. Returns who did.
    pub fn woken(&mut self, place: &Place) -> BTreeSet<u64> {
        self.waiting.remove(place).unwrap_or_default()
    }

    /// What is to be given back, and by which session.
    pub fn owed(&self) -> &BTreeMap<Place, (Use, String)> {
        &self.owed
    }

    /// It may be locked, for a guest that is not to have it: nobody knows. What is in use is given back when that ends.
    pub fn owe(&mut self, claim: &Claim, user: &User, session: &str) {
        let place = place(claim);
        let is_had = self.uses.get(&place).is_some_and(|one| one.session.is_some());
        if !is_had {
            let one = Use { claim: claim.clone(), user: user.clone(), session: Some(session.to_owned()), sure: false };
            self.owed.insert(place, (one, session.to_owned()));
        }
    }

    /// It was given back.
    pub fn paid(&mut self, place: &Place) {
        self.owed.remove(place);
    }

    /// The session may have ended, and all locks with it. Those that are in use are none to rely on; whatever is left of them is
    /// given back once they are down: the session may live as well.
    pub fn doubt(&mut self) {
        self.uses.values_mut().for_each(|one| one.sure = false);
    }

    /// Whether anything is known of an address.
    pub fn knows(&self, place: &Place) -> bool {
        self.uses.contains_key(place) || self.owed.contains_key(place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn claim(addr: &str, owner: &str) -> Claim {
        let pool = "lan".parse().unwrap();
        Claim { pool, owner: owner.parse().unwrap(), addr: addr.parse().unwrap(), gateway: None, is_new: true }
    }

    fn user(netns: u64) -> User {
        User { host: "a".into(), container: None, netns }
    }

    #[test]
    fn a_lock_is_owed_once_its_guest_has_the_address_no_more() {
        let (mut ledger, web) = (Ledger::default(), claim("10.0.0.2/24", "web"));
        ledger.begin(&web, &user(1)).unwrap();
        ledger.locked(&web, &user(1), "s");
        assert!(ledger.is_held(&web, &user(1), "s") && !ledger.is_held(&web, &user(1), "t") && !ledger.is_held(&web, &user(2), "s"));
        assert_eq!(ledger.begin(&web, &user(2)), Err(user(1)));
        ledger.end(&place(&web), 2);
        assert!(ledger.owed().is_empty(), "another guest's end is no matter");
        ledger.end(&place(&web), 1);
        assert_eq!(ledger.owed().get(&place(&web)).unwrap().1, "s");
        // Had again before it was given back: nothing is owed.
        ledger.begin(&web, &user(2)).unwrap();
        ledger.locked(&web, &user(2), "s");
        assert!(ledger.owed().is_empty());
    }

    #[test]
    fn who_waits_is_woken_once() {
        let (mut ledger, web) = (Ledger::default(), claim("10.0.0.2/24", "web"));
        ledger.begin(&web, &user(1)).unwrap();
        ledger.wait(&web, &user(1));
        assert_eq!(ledger.uses().count(), 0);
        assert_eq!(ledger.woken(&place(&web)), [1].into());
        assert!(ledger.woken(&place(&web)).is_empty() && ledger.waiting().is_empty());
    }

    #[test]
    fn a_lock_that_is_in_doubt_is_none_to_rely_on_and_is_given_back_once_its_guest_is_down() {
        let (mut ledger, web) = (Ledger::default(), claim("10.0.0.2/24", "web"));
        ledger.locked(&web, &user(1), "s");
        assert_eq!(ledger.claim_of(&web.pool, &web.owner).unwrap(), Claim { is_new: false, ..web.clone() });
        ledger.doubt();
        assert!(!ledger.is_held(&web, &user(1), "s") && ledger.claim_of(&web.pool, &web.owner).is_none());
        ledger.end(&place(&web), 1);
        assert_eq!((ledger.owed()[&place(&web)].1.as_str(), ledger.uses().count()), ("s", 0));
        ledger.locked(&web, &user(1), "t");
        assert!(ledger.owed().is_empty(), "locked again");
    }

    #[test]
    fn what_an_agent_before_had_locked_is_not_relied_on_and_given_back() {
        let (mut ledger, web) = (Ledger::default(), claim("10.0.0.2/24", "web"));
        ledger.left_behind(web.clone(), user(1), Some("s".into()));
        assert!(ledger.has(&place(&web), 1) && ledger.knows(&place(&web)) && !ledger.is_held(&web, &user(1), "s"));
        assert!(ledger.settle(1, &[], true));
        assert_eq!(ledger.owed()[&place(&web)].1, "s");
    }

    #[test]
    fn a_guest_is_settled_with_what_it_has_and_waits_for_nothing_when_all_is_made() {
        let (mut ledger, web, db) = (Ledger::default(), claim("10.0.0.2/24", "web"), claim("10.0.0.3/24", "db"));
        ledger.locked(&web, &user(1), "s");
        ledger.wait_too(&db, &user(1));
        assert!(!ledger.settle(1, &[web.addr.ip()], false) && !ledger.settle(2, &[], true));
        assert_eq!((ledger.uses().count(), ledger.waiting().len()), (1, 1));
        assert!(!ledger.settle(1, &[web.addr.ip()], true));
        assert_eq!((ledger.uses().count(), ledger.waiting().len()), (1, 0));
    }

    #[test]
    fn what_may_be_locked_is_owed_unless_a_guest_has_it() {
        let (mut ledger, web, db) = (Ledger::default(), claim("10.0.0.2/24", "web"), claim("10.0.0.3/24", "db"));
        ledger.begin(&web, &user(1)).unwrap();
        ledger.owe(&web, &user(1), "s");
        ledger.wait(&web, &user(1));
        assert!(ledger.owed()[&place(&web)].1 == "s" && ledger.knows(&place(&web)));
        ledger.locked(&web, &user(1), "t");
        assert!(ledger.owed().is_empty(), "it is wanted after all");
        ledger.left_behind(db.clone(), user(2), Some("s".into()));
        ledger.owe(&db, &user(2), "s");
        assert!(ledger.owed().is_empty(), "a guest may have it up");
        ledger.end(&place(&db), 2);
        assert_eq!(ledger.owed().len(), 1);
    }

    #[test]
    fn what_another_host_is_to_have_is_kept_from_its_guest_until_nobody_asks_any_more() {
        let (mut ledger, web) = (Ledger::default(), claim("10.0.0.2/24", "web"));
        assert!(!ledger.yield_up(&place(&web)));
        ledger.locked(&web, &user(1), "s");
        assert!(ledger.yield_up(&place(&web)));
        assert!(ledger.is_yielded(&place(&web), 1) && !ledger.is_held(&web, &user(1), "s"));
        ledger.end(&place(&web), 1);
        assert_eq!(ledger.owed()[&place(&web)].1, "s");
        assert!(ledger.yield_no_more(&[place(&web)].into()).is_empty());
        assert_eq!(ledger.yield_no_more(&BTreeSet::new()), [1].into());
        assert!(!ledger.is_yielded(&place(&web), 1));
    }
}
