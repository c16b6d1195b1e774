//! The present state as a topology: what `apply` would have nothing to do for.

use std::path::PathBuf;

use super::repair::request_of;
use super::takeback::is_dead;
use super::{AttachError, recording};
use crate::kernel::survey::HostSurvey;
use crate::model::facts::LinkKind;
use crate::model::host::{HostLink, HostView};
use crate::model::op::Op;
use crate::model::pair::{EndWord, GuestIf};
use crate::model::record::Record;
use crate::model::topology::{Attachment, Bridge, Guest, Link, LinkEnd, Topology, Word};
use crate::model::types::IfName;
use crate::state::{Applied, Topologies, Wanted};

/// Where the state is kept.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// Where wanted attachments are kept ([`crate::state::state_dir`]).
    pub state_dir: PathBuf,
}

/// What a new bridge has (ETH_DATA_LEN, linux/if_ether.h).
const USUAL_MTU: u32 = 1500;

/// The records and our bridges as a topology, and what of them could not be told.
///
/// # Errors
/// When the records cannot be read, or the host's links cannot be looked at.
pub fn export(options: &ExportOptions) -> Result<(Topology, Vec<String>), AttachError> {
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let found = records.all().map_err(AttachError::Unrecorded)?;
    let mut warnings: Vec<String> = found.unreadable.iter().map(ToString::to_string).collect();
    let mut alive = Vec::new();
    for record in found.all {
        if is_dead(&record).map_err(AttachError::Observe)? {
            warnings.push(format!("{} of {} is left out: the guest is gone", record.interface, record.guest.word));
        } else {
            alive.push(record);
        }
    }
    let applied = Topologies::of(&options.run_dir, records.home()).all().map_err(AttachError::Unrecorded)?;
    let view = HostSurvey::view().map_err(AttachError::Observe)?;
    let name = match applied.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    };
    let wanted = Wanted::of(&options.state_dir);
    let attachments = alive.iter().filter(|record| record.mate.is_none()).map(|record| attachment(record, &wanted));
    let topology = Topology {
        name,
        guests: guests(&alive, &applied),
        bridges: view.bridges().filter_map(|link| bridge(link, &view, &applied)).collect(),
        attachments: attachments.collect(),
        links: links(&alive),
    };
    Ok((topology, warnings))
}

fn attachment(record: &Record, wanted: &Wanted) -> Attachment {
    Attachment {
        persist: wanted.has(&record.guest.word, &record.interface),
        ovsdb: record.database().map(str::to_owned),
        ..Attachment::from(&request_of(record))
    }
}

/// Each guest once; of namespaces, those that a topology made are made again.
fn guests(alive: &[Record], applied: &[Applied]) -> Vec<Guest> {
    let made: Vec<String> = applied.iter().flat_map(|applied| &applied.guests).map(|guest| format!("netns:{}", guest.name)).collect();
    let mut names: Vec<String> = alive.iter().map(|record| record.guest.word.to_string()).chain(made.iter().cloned()).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|guest| Guest { create: made.contains(&guest), guest }).collect()
}

/// A bridge that we made, or that a topology describes.
fn bridge(link: &HostLink, view: &HostView, applied: &[Applied]) -> Option<Bridge> {
    let name: IfName = link.link.name.parse().ok()?;
    let described = applied.iter().flat_map(|applied| &applied.bridges).find(|known| known.name == name);
    let done = described.map(|known| known.done.as_slice()).unwrap_or_default();
    let ours = link.link.is_ours();
    if !ours && described.is_none() {
        return None;
    }
    let noted = |port: &str| done.iter().any(|op| matches!(op, Op::SetBridge { port: own, .. } if own.as_str() == port));
    // Of another's bridge, only what a topology did to it is ours to say.
    let is_uplink = |port: &&HostLink| noted(&port.link.name) || (ours && port.link.kind == LinkKind::Device);
    let is_own = |addr| ours || done.iter().any(|op| matches!(op, Op::AddAddr { addr: own, .. } if own == addr));
    let sets_mtu = done.iter().any(|op| matches!(op, Op::SetMtu { .. })) || (ours && link.link.mtu != USUAL_MTU);
    Some(Bridge {
        uplinks: view.ports(link).filter(is_uplink).map(|port| port.link.name.clone()).collect(),
        mtu: sets_mtu.then(|| Word::from(link.link.mtu)),
        vlan_filtering: (ours && link.vlan_filtering).then_some(true),
        addresses: link.addrs.iter().filter(|addr| is_own(*addr)).map(ToString::to_string).collect(),
        name: name.to_string(),
    })
}

/// Both ends of a link have one identifier.
fn links(alive: &[Record]) -> Vec<Link> {
    let mut all = Vec::new();
    for (at, first) in alive.iter().enumerate().filter(|(_, record)| record.mate.is_some()) {
        let second = alive.iter().skip(at + 1).find(|other| other.id == first.id && other.mate.is_some());
        let Some(second) = second else { continue };
        let end = |record: &Record| {
            let at = GuestIf { guest: record.guest.word.clone(), interface: record.interface.clone() };
            LinkEnd::from(&EndWord { at, addr: record.request.addr.clone() })
        };
        all.push(Link { ends: [end(first), end(second)], mtu: first.request.settings.mtu.map(Word::from) });
    }
    all
}
