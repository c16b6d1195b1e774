//! Addresses that somebody else has: what our own records say before anybody is asked, and what the network's answers mean.

use std::net::IpAddr;

use super::AttachError;
use super::takeback::{find, is_dead};
use crate::guest::trace;
use crate::kernel::{Findings, observe};
use crate::model::conflict::Conflict;
use crate::model::error::KernelError;
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::types::MacAddr;
use crate::plan::Plan;
use crate::plan::execute::ExecuteError;
use crate::state::{Change, Claimant, Note, Records};

/// Notes the addresses of an attachment that is about to be made, or was changed, so that no other attachment of this host in the
/// same network gets one. Returns those that another guest has: of these, nothing is noted.
///
/// # Errors
/// When notes cannot be read or written.
pub(super) fn claim(records: &Records, record: &Record) -> std::io::Result<Vec<Conflict>> {
    let network = record.network();
    let claims = records.claims(&network);
    let own = Claimant { netns: record.guest.netns, interface: record.interface.clone() };
    let mut conflicts = Vec::new();
    for ip in record.addrs() {
        let holder = claims.take(ip, &own, |other| Ok(holds(records, &network, other, ip)?.is_some()))?;
        conflicts.extend(holder.filter(|holder| *holder != own).map(|other| conflict(records, &network, &other, ip)).transpose()?);
    }
    Ok(conflicts)
}

/// As [`claim`], of addresses on a network that are only asked about.
///
/// # Errors
/// When notes cannot be read.
pub(super) fn look(records: &Records, network: &str, own: &Claimant, ips: impl Iterator<Item = IpAddr>) -> std::io::Result<Vec<Conflict>> {
    let claims = records.claims(network);
    let mut conflicts = Vec::new();
    for ip in ips {
        let Some(other) = claims.holder(ip)?.filter(|holder| holder != own) else { continue };
        if holds(records, network, &other, ip)?.is_some() {
            conflicts.push(conflict(records, network, &other, ip)?);
        }
    }
    Ok(conflicts)
}

/// Whether addresses mean anything to others: a dummy leads nowhere.
pub(super) fn is_on_a_network(planned: &Plan) -> bool {
    !planned.ops().iter().any(|op| matches!(op, Op::AddDummy { .. }))
}

/// Conflicts that our own records tell of: the attach's failure, or warnings when it is forced.
pub(super) fn refuse(conflicts: Vec<Conflict>, force: bool) -> Result<Vec<String>, AttachError> {
    match conflicts.into_iter().next() {
        Some(first) if !force => Err(AttachError::Taken(Box::new(first))),
        first => Ok(first.into_iter().map(|conflict| format!("{conflict}; given once more (--force)")).collect()),
    }
}

/// The attachment that is noted for an address on a network, if it still is, still has it there, and its guest lives.
fn holds(records: &Records, network: &str, holder: &Claimant, ip: IpAddr) -> std::io::Result<Option<Record>> {
    let has = |record: &Record| record.network() == network && record.addrs().any(|addr| addr == ip);
    let recorded = || std::io::Result::Ok(records.get(holder.netns, &holder.interface)?.ok().flatten().filter(has));
    // One that cannot be looked into is not known to be dead.
    let lives = |record: &Record| !is_dead(record).unwrap_or(false);
    if let Some(record) = recorded()? {
        return Ok(Some(record).filter(lives));
    }
    // Another run is about to make it: there need not be a link yet.
    for change in [Change::Attaching, Change::Replacing] {
        if let Some(begun) = records.begun(change, holder.netns, &holder.interface)?.filter(has) {
            return Ok(Some(begun).filter(|record| trace::namespace(&record.guest.path, record.guest.netns).is_some()));
        }
    }
    // It may have ended between the two looks.
    Ok(recorded()?.filter(lives))
}

fn conflict(records: &Records, network: &str, holder: &Claimant, ip: IpAddr) -> std::io::Result<Conflict> {
    let record = holds(records, network, holder, ip)?;
    let guest = record.as_ref().map(|record| record.guest.word.to_string());
    Ok(Conflict { addr: ip, mac: record.as_ref().and_then(mac_of), guest })
}

/// Notes that are about nothing any more: of records that were lost, or have other addresses now. Strikes them out unless it is
/// only asked. Returns them in words.
pub(super) fn clear(records: &Records, dry_run: bool) -> std::io::Result<Vec<String>> {
    let mut old = Vec::new();
    for Note { network, ip, claimant } in records.claimed()? {
        if holds(records, &network, &claimant, ip)?.is_none() {
            if !dry_run {
                records.claims(&network).release(ip, &claimant);
            }
            old.push(format!("note that {} of a guest has {ip} on {network}, which it has not", claimant.interface));
        }
    }
    Ok(old)
}

/// The MAC address of an attachment's interface, if it is there.
fn mac_of(record: &Record) -> Option<MacAddr> {
    let (namespace, _) = find(record).ok()??;
    observe::link_called(&mut namespace.netlink().ok()?, &record.interface).ok()??.mac
}

/// The guest of this host whose attachment has the MAC address that was heard. Ipvlans have it in common with their NIC: of
/// these, it is only one that has the address as well.
pub(super) fn whose(records: &Records, conflict: &Conflict) -> Option<String> {
    let mac = conflict.mac?;
    let all = records.all().ok()?.all;
    let has = |record: &&Record| record.addrs().any(|addr| addr == conflict.addr);
    let is_shared = |record: &Record| record.request.sharing.as_ref().is_some_and(crate::model::sharing::Sharing::is_ipvlan);
    let (first, rest): (Vec<&Record>, Vec<&Record>) = all.iter().partition(has);
    let rest = rest.into_iter().filter(|record| !is_shared(record));
    let found = first.into_iter().chain(rest).find(|record| mac_of(record) == Some(mac))?;
    Some(found.guest.word.to_string())
}

/// What was found on the network and did not end the attach, as warnings.
pub(super) fn warnings(findings: Findings, records: &Records) -> Vec<String> {
    let named = |conflict: Conflict| Conflict { guest: whose(records, &conflict), ..conflict };
    let conflicts = findings.conflicts.into_iter().map(|conflict| format!("{}; taken all the same (--dad warn)", named(conflict)));
    let unasked = findings.unasked.into_iter().map(|why| KernelError::Unasked(why).to_string());
    conflicts.chain(unasked).collect()
}

/// Puts the guest's name into an attach's failure, where that is a conflict.
pub(super) fn named(mut error: Box<ExecuteError>, records: &Records) -> Box<ExecuteError> {
    if let KernelError::Taken(conflict) = &mut error.cause {
        conflict.guest = whose(records, conflict);
    }
    error
}
