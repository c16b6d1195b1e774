//! Leases: asked for when a container starts, renewed while it runs, kept while it is stopped, given back when it is removed.
//!
//! The engine releases an address when a container stops, and says nothing when it removes one. So a lease whose container is known
//! stays, until the engine has that container no more, or it runs with another.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::driver::hinted;
use super::{Shop, addresses};
use crate::frontend::daemon::board::{Event, Kind};
use crate::guest::endpoints::{self, Connected};
use crate::kernel::signal::obey;
use crate::lifecycle::{Borrowed, Borrower, Confirmed};
use crate::model::lease::FOREVER;
use crate::model::network_driver::{AddressCall, Grant, Lent, Source};
use crate::model::types::{IfAddr, IfName, MacAddr};
use crate::state;

type Outcome<T> = Result<T, String>;

/// So long the first lease of a container may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// So long a server is asked for more time, before others' turn.
const RENEWAL: Duration = Duration::from_secs(4);
/// A container that starts again waits no longer than this for the word that its lease holds.
const CONFIRM: Duration = Duration::from_secs(2);
/// Nobody tells of a lease that becomes due.
const LOOK: Duration = Duration::from_secs(30);
/// Nor of a container that is removed.
const LOOK_FOR_REMOVED: Duration = Duration::from_secs(2);
/// After an answer that did not come (RFC 2131, section 4.4.5: half of what is left, a minute at least; here sooner, for it costs nothing).
const REFUSED: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(20);

/// Wakes the thread that keeps them.
#[derive(Debug, Default)]
pub(super) struct Leases {
    changed: Mutex<bool>,
    bell: Condvar,
}

impl Leases {
    pub(super) fn wake(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    fn wait(&self, time: Duration) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*changed {
            changed = self.bell.wait_timeout(changed, time).map_or_else(|error| error.into_inner().0, |(changed, _)| changed);
        }
        *changed = false;
    }
}

fn seconds(at: &str) -> u64 {
    OffsetDateTime::parse(at, &Rfc3339).ok().and_then(|at| u64::try_from(at.unix_timestamp()).ok()).unwrap_or_default()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn is_over(lent: &Lent) -> bool {
    let valid = lent.lease.lifetime.valid;
    valid != FOREVER && now() >= seconds(&lent.granted).saturating_add(valid.into())
}

fn borrower(interface: &IfName, grant: &Grant) -> Borrower {
    Borrower { interface: interface.clone(), mac: grant.mac, server_mac: grant.lent.as_ref().and_then(|lent| lent.server_mac) }
}

fn told(shop: &Shop, kind: Kind, grant: &Grant, why: Option<String>) {
    let container = grant.lent.as_ref().and_then(|lent| lent.container.clone());
    let addresses = vec![grant.addr.to_string()];
    shop.board.tell(Event { container, addresses, why, source: Some("docker-plugin".into()), ..Event::new(kind) });
}

/// An address for a MAC address: the one that it has still, or one that a server lends now.
pub(super) fn lend(shop: &Shop, call: &AddressCall, interface: &IfName, mac: MacAddr) -> Outcome<IfAddr> {
    if let Some(kept) = kept(shop, call, interface, mac)? {
        return Ok(kept);
    }
    let wish = match call.wish {
        Some(IpAddr::V4(ip)) => Some(ip),
        Some(IpAddr::V6(_)) => return Err("only IPv4 addresses are lent in this version".into()),
        None => None,
    };
    let borrower = Borrower { interface: interface.clone(), mac, server_mac: None };
    let borrowed = borrower.borrow(wish, PATIENCE).map_err(|error| format!("asking on {interface}: {}", hinted(&error, error.hint())))?;
    let refuse = |why: String| {
        // Nobody answers that, and the lease ends by itself.
        let _ = borrower.give_back(&borrowed.lease);
        Err(why)
    };
    let ip = borrowed.lease.addr.ip();
    if let Some(wish) = wish.filter(|wish| IpAddr::V4(*wish) != ip) {
        return refuse(format!("the server lends {ip}, and not {wish}: leave out --ip, or have the server give it to {mac}"));
    }
    if !call.pool.subnet.contains(ip) {
        return refuse(format!(
            "the server lends {ip}, which is not in the network's {}: create it with another --subnet",
            call.pool.subnet
        ));
    }
    let addr = IfAddr::new(ip, call.pool.subnet.prefix()).ok_or("it has no prefix")?;
    let lent = lent(borrowed.clone(), None);
    let grant = Grant { pool: call.pool.clone(), addr, mac, since: state::now(), lent: Some(lent) };
    let _lock = shop.grants();
    match shop.files.put_grant(&grant) {
        Ok(()) => {
            told(shop, Kind::Leased, &grant, None);
            shop.leases.wake();
            Ok(addr)
        }
        Err(error) => refuse(error.to_string()),
    }
}

fn lent(borrowed: Borrowed, before: Option<&Lent>) -> Lent {
    Lent {
        lease: borrowed.lease,
        granted: state::now(),
        server_mac: borrowed.server_mac,
        container: before.and_then(|before| before.container.clone()),
        is_idle: before.is_some_and(|before| before.is_idle),
    }
}

/// What a container had before it stopped.
fn kept(shop: &Shop, call: &AddressCall, interface: &IfName, mac: MacAddr) -> Outcome<Option<IfAddr>> {
    let grants = shop.files.grants().map_err(|error| error.to_string())?;
    let Some(grant) = grants.into_iter().find(|grant| grant.pool == call.pool && grant.mac == mac) else { return Ok(None) };
    let Some(before) = &grant.lent else { return Ok(None) };
    if !before.is_idle && addresses::is_used(shop, grant.addr.ip())? {
        return Err(format!("{mac} has {} already: another container of this host has that MAC address", grant.addr.ip()));
    }
    // From here on nobody gives it back for its container's sake.
    if !note(shop, &grant, |lent| Lent { is_idle: false, ..lent.clone() }) {
        return Ok(None);
    }
    let is_wished = call.wish.is_none_or(|wish| wish == grant.addr.ip());
    let confirmed = if is_wished { borrower(interface, &grant).confirm(&before.lease, CONFIRM) } else { Ok(Confirmed::No) };
    let now = match confirmed {
        Ok(Confirmed::Yes(borrowed)) => lent(*borrowed, Some(before)),
        Ok(Confirmed::Unknown) | Err(_) if !is_over(before) => before.clone(),
        _ => {
            let _lock = shop.grants();
            back(shop, &grant)?;
            return Ok(None);
        }
    };
    // Given back meanwhile all the same: another is asked for.
    if !note(shop, &grant, |_| Lent { is_idle: false, ..now }) {
        return Ok(None);
    }
    told(shop, Kind::Renewed, &grant, None);
    Ok(Some(grant.addr))
}

/// The engine releases an address: its container has stopped, or is gone.
pub(super) fn idle_or_back(shop: &Shop, grant: Grant) -> Outcome<()> {
    let Some(lent) = grant.lent.clone().filter(|lent| lent.container.is_some()) else { return back(shop, &grant) };
    let idle = Grant { lent: Some(Lent { is_idle: true, ..lent }), ..grant };
    shop.files.put_grant(&idle).map_err(|error| error.to_string())?;
    shop.leases.wake();
    Ok(())
}

/// Gives a lease back.
pub(super) fn back(shop: &Shop, grant: &Grant) -> Outcome<()> {
    if let (Some(interface), Some(lent)) = (interface(grant), &grant.lent) {
        // Nobody answers, and nothing depends on it.
        let _ = borrower(&interface, grant).give_back(&lent.lease);
    }
    shop.files.remove_grant(&grant.pool, grant.addr.ip()).map_err(|error| error.to_string())?;
    told(shop, Kind::Released, grant, None);
    Ok(())
}

/// Begins to keep them: also those of a plug-in before this one.
pub(super) fn start(shop: &Arc<Shop>) -> std::io::Result<JoinHandle<()>> {
    let shop = shop.clone();
    std::thread::Builder::new().name("leases".into()).spawn(move || {
        obey(&shop.stop);
        while !shop.stop.is_asked() {
            let next = look(&shop);
            shop.leases.wait(next);
        }
    })
}

/// Renews what is due, and gives back what nobody needs. Returns when to look again.
fn look(shop: &Shop) -> Duration {
    let grants = match shop.files.grants() {
        Ok(grants) => grants,
        Err(error) => {
            shop.warn(format!("leases: {error}"));
            return LOOK;
        }
    };
    let lent: Vec<(IfName, Grant)> = grants.into_iter().filter_map(|grant| Some((interface(&grant)?, grant))).collect();
    let mut next = LOOK;
    for (interface, grant) in &lent {
        if shop.stop.is_asked() {
            break;
        }
        next = next.min(renew(shop, interface, grant));
    }
    if lent.iter().any(|(_, grant)| grant.lent.as_ref().is_some_and(|lent| lent.is_idle)) {
        next = next.min(LOOK_FOR_REMOVED);
        if let Ok(containers) = endpoints::connected() {
            give_up(shop, &lent, &containers);
        }
    }
    next
}

fn interface(grant: &Grant) -> Option<IfName> {
    match &grant.pool.source {
        Source::Dhcp(interface) => grant.lent.as_ref().map(|_| interface.clone()),
        Source::Claims(_) => None,
    }
}

/// Asks for more time, when half of it is over. Returns when to look at it again.
fn renew(shop: &Shop, interface: &IfName, grant: &Grant) -> Duration {
    let Some(before) = grant.lent.as_ref().filter(|lent| lent.lease.lifetime.valid != FOREVER) else { return LOOK };
    let due = seconds(&before.granted).saturating_add(before.lease.renew.into());
    let left = due.saturating_sub(now());
    if left > 0 {
        return Duration::from_secs(left);
    }
    let confirmed = borrower(interface, grant).confirm(&before.lease, RENEWAL);
    let (kind, why, next) = match confirmed {
        Ok(Confirmed::Yes(borrowed)) => {
            let next = u64::from(borrowed.lease.renew).max(1);
            if note(shop, grant, |now| Lent { is_idle: now.is_idle, ..lent(*borrowed, Some(now)) }) {
                told(shop, Kind::Renewed, grant, None);
            }
            return Duration::from_secs(next);
        }
        Ok(Confirmed::No) => {
            if anew(shop, interface, grant) {
                return AGAIN;
            }
            (Kind::Lost, "the server lends it no more; the container has it still: restart it for another".to_owned(), REFUSED)
        }
        Ok(Confirmed::Unknown) if is_over(before) => (Kind::Lost, "no server gives more time; the container has it still".into(), REFUSED),
        Ok(Confirmed::Unknown) => return AGAIN,
        Err(error) => (Kind::Failed, hinted(&error, error.hint()), AGAIN),
    };
    told(shop, kind, grant, Some(why));
    next
}

/// Asks for the same address once more, of a server that does not know the lease any more. Another one is of no use to a container
/// that runs.
fn anew(shop: &Shop, interface: &IfName, grant: &Grant) -> bool {
    let IpAddr::V4(ip) = grant.addr.ip() else { return false };
    let borrower = borrower(interface, grant);
    let Ok(borrowed) = borrower.borrow(Some(ip), RENEWAL) else { return false };
    if borrowed.lease.addr.ip() != grant.addr.ip() {
        // Nobody answers that.
        let _ = borrower.give_back(&borrowed.lease);
        return false;
    }
    let is_noted = note(shop, grant, |now| lent(borrowed, Some(now)));
    told(shop, Kind::Leased, grant, None);
    is_noted
}

/// Writes down what is lent now, unless it was given back meanwhile, or is another's.
fn note(shop: &Shop, grant: &Grant, change: impl FnOnce(&Lent) -> Lent) -> bool {
    let _lock = shop.grants();
    let now = shop.files.grant(&grant.pool, grant.addr.ip()).ok().flatten().filter(|now| now.mac == grant.mac);
    let Some((now, lent)) = now.and_then(|now| Some((now.clone(), now.lent?))) else { return false };
    shop.files.put_grant(&Grant { lent: Some(change(&lent)), ..now }).is_ok()
}

/// Gives back what was kept for containers that are removed, or have another lease by now.
fn give_up(shop: &Shop, lent: &[(IfName, Grant)], containers: &[Connected]) {
    let of = |grant: &Grant| grant.lent.as_ref().and_then(|lent| lent.container.clone());
    for (_, grant) in lent.iter().filter(|(_, grant)| grant.lent.as_ref().is_some_and(|lent| lent.is_idle)) {
        let Some(container) = of(grant) else { continue };
        let is_there = containers.iter().any(|one| one.id == container);
        let is_other = |(_, other): &&(IfName, Grant)| {
            other.pool == grant.pool
                && other.mac != grant.mac
                && of(other).as_deref() == Some(&container)
                && other.lent.as_ref().is_some_and(|lent| !lent.is_idle)
        };
        if is_there && lent.iter().find(is_other).is_none() {
            continue;
        }
        let _lock = shop.grants();
        // It may have begun again between the two looks.
        let now = shop.files.grant(&grant.pool, grant.addr.ip()).ok().flatten();
        if now.as_ref().and_then(|now| now.lent.as_ref()).is_some_and(|lent| lent.is_idle)
            && let Err(why) = back(shop, grant)
        {
            shop.warn(why);
        }
    }
}

/// Whose a lease is, once the engine has told.
pub(super) fn belongs(shop: &Shop, mac: MacAddr, ip: IpAddr, container: &str) {
    let Ok(grants) = shop.files.grants() else { return };
    let is_news = |grant: &&Grant| grant.lent.as_ref().is_some_and(|lent| lent.container.as_deref() != Some(container));
    for grant in grants.iter().filter(|grant| grant.mac == mac && grant.addr.ip() == ip).filter(is_news) {
        note(shop, grant, |lent| Lent { container: Some(container.to_owned()), ..lent.clone() });
        shop.leases.wake();
    }
}
