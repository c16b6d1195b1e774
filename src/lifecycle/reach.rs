//! Whom the guests of this host reach: each attachment's interface asks the network for addresses, as before an attach (ARP, or
//! neighbour solicitations), and hears who answers. No process is started, and nothing in the guest changes.

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use super::recording;
use super::takeback::find;
use super::{AttachError, error::chain};
use crate::kernel::conflict::{Ends, Enough, Prober};
use crate::kernel::netns::Namespace;
use crate::kernel::wait::Interruptions;
use crate::model::conflict::Timing;
use crate::model::error::KernelError;
use crate::model::record::Record;
use crate::model::types::{IfName, MacAddr};

/// Whom one attachment reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// The guest.
    pub guest: String,
    /// Its interface.
    pub interface: IfName,
    /// Its addresses.
    pub from: Vec<IpAddr>,
    /// Each address that was asked for, and who answered.
    pub to: Vec<Answered>,
    /// Why nobody could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An address, and who has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The address.
    pub addr: IpAddr,
    /// Who answered; nobody when absent.
    pub mac: Option<MacAddr>,
}

/// Asks from all attachments of this host for those of the addresses that are in their own subnets, but for their own.
///
/// # Errors
/// When records cannot be read.
pub fn reach(run_dir: &Path, targets: &[IpAddr]) -> Result<Vec<Reach>, AttachError> {
    let records = recording::records(run_dir).map_err(AttachError::Observe)?.all().map_err(AttachError::Unrecorded)?;
    Ok(records.all.iter().map(|record| one(record, targets)).collect())
}

fn one(record: &Record, targets: &[IpAddr]) -> Reach {
    let own: Vec<_> = record.request.addr.addrs.iter().chain(&record.given).copied().collect();
    let from: Vec<IpAddr> = own.iter().map(|addr| addr.ip()).collect();
    let is_near = |target: &&IpAddr| own.iter().any(|addr| addr.network().contains(**target));
    let wanted: Vec<IpAddr> = targets.iter().filter(|target| is_near(target) && !from.contains(target)).copied().collect();
    let mut reach =
        Reach { guest: record.guest.word.to_string(), interface: record.interface.clone(), from, to: Vec::new(), problem: None };
    match asked(record, &wanted) {
        Ok(to) => reach.to = to,
        Err(error) => reach.problem = Some(chain(&error).join(": ")),
    }
    reach
}

fn asked(record: &Record, wanted: &[IpAddr]) -> Result<Vec<Answered>, KernelError> {
    let Some((namespace, _)) = find(record)? else { return Err(KernelError::NoLink(record.interface.to_string())) };
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let home = Namespace::current()?;
    let (mut host, mut guest) = (home.netlink()?, namespace.netlink()?);
    let mut ends = Ends { host: &mut host, guest: &mut guest, home: &home, namespace: &namespace };
    let mut until = Interruptions::default();
    let mut prober = Prober::open(&mut ends, &record.interface, None, wanted, &mut until)?;
    let heard = prober.ask(&Timing::QUICK, Enough::All, &mut until)?;
    let mac = |addr: IpAddr| heard.iter().find(|conflict| conflict.addr == addr).and_then(|conflict| conflict.mac);
    Ok(wanted.iter().map(|addr| Answered { addr: *addr, mac: mac(*addr) }).collect())
}
