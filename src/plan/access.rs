//! `--host-access`: a macvlan of the host's own beside the guest's, and a route to each guest through it.

use std::net::IpAddr;

use thiserror::Error;

use super::{Job, Kind, PlanError};
use crate::model::access::{AccessFacts, Grant, Neigh, NewShim, SHIM_MARK, ShimRoute, User, shim_mac, shim_name};
use crate::model::facts::{LinkFacts, LinkKind};
use crate::model::op::{NewRoute, Op};
use crate::model::sharing::{MacvlanMode, Sharing};
use crate::model::types::{Family, IfAddr, IfName, LinkRef, MacAddr};
use crate::model::vlan::NicVlan;

/// Why there can be no access.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessRefusal {
    /// Only a macvlan shuts the host out.
    #[error("--host-access is for guests with a macvlan on a NIC: {host_if} is {is}")]
    NoMacvlan {
        /// The host interface.
        host_if: String,
        /// What it is, or becomes.
        is: &'static str,
        /// What to do.
        instead: String,
    },
    /// There is nothing to make a route to.
    #[error("--host-access needs the guest's address: {asked} tells none")]
    NoAddress {
        /// The third word.
        asked: String,
    },
    /// The host has nothing to talk to the guest from.
    #[error("--host-access: this host has no {family} address on {parent} to talk to the guest from")]
    NoSource {
        /// The guest's family.
        family: Family,
        /// The parent.
        parent: String,
        /// The guest's address.
        guest: IfAddr,
    },
    /// The guest would have an address of the host's.
    #[error("{addr} is an address of this host's own, on {dev}")]
    OwnAddress {
        /// The address.
        addr: IpAddr,
        /// Where the host has it.
        dev: String,
    },
    /// Somebody else's link has the shim's name.
    #[error("{name} already exists but is not the host's own macvlan on {parent}: it is {is}")]
    ForeignShim {
        /// The name.
        name: String,
        /// The parent.
        parent: String,
        /// What it is.
        is: String,
    },
    /// The host has a route to the guest's address.
    #[error("this host has a route to the guest's address already: {route}")]
    RouteInTheWay {
        /// The route.
        route: String,
    },
    /// The host's addresses are in another table.
    #[error("{parent} belongs to a VRF: --host-access through one is not available in this version")]
    Vrf {
        /// The parent.
        parent: String,
    },
}

impl AccessRefusal {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoMacvlan { instead, .. } => instead.clone(),
            Self::NoAddress { .. } => {
                "give one, like 192.168.1.10/24; for one that is leased, attach without --host-access, then again with the address it got".into()
            }
            Self::NoSource { parent, guest, .. } => {
                format!("give it one, in the guest's subnet at best: ip addr add ADDRESS/{} dev {parent}", guest.prefix())
            }
            Self::OwnAddress { .. } => "choose another address for the guest".into(),
            Self::ForeignShim { name, .. } => format!("rename or remove it: ip link del {name}"),
            Self::RouteInTheWay { .. } => {
                "if a guest has it that is no longer meant: pipework host-access --remove GUEST; else remove the route, or choose another address".into()
            }
            Self::Vrf { .. } => "leave out --host-access".into(),
        })
    }
}

/// Refuses what can never work, before anything else is looked at.
pub(super) fn check(job: &Job<'_>, kind: Kind) -> Result<(), AccessRefusal> {
    if !job.request.host_access {
        return Ok(());
    }
    let refuse = |is, instead: &str| Err(AccessRefusal::NoMacvlan { host_if: job.host_name(), is, instead: instead.to_owned() });
    let leave = "leave out --host-access";
    match kind {
        Kind::Bridge => refuse(
            "a bridge",
            "leave it out: guests on a bridge reach the host by the bridge's own address (ip addr add ADDRESS/PREFIX dev BRIDGE)",
        ),
        Kind::Ovs => {
            refuse("an Open vSwitch bridge", "leave it out: give the bridge's own port an address, and guests reach the host by that")
        }
        Kind::Ipoib => refuse("an InfiniBand interface", leave),
        Kind::Dummy => refuse("a dummy, which leads nowhere", leave),
        Kind::Nic if job.request.direct_phys => refuse("moved into the guest whole", leave),
        // Frames between siblings pass in bridge mode only; behind a macvtap is a machine with a stack of its own.
        Kind::Nic => match job.request.sharing.as_ref() {
            None | Some(Sharing::Macvlan(MacvlanMode::Bridge)) => Ok(()),
            Some(_) => refuse("shared in another way", "leave out --host-access, or use --macvlan bridge"),
        },
    }?;
    match (&job.request.dynamic, job.request.addr.first()) {
        (Some(dynamic), _) => Err(AccessRefusal::NoAddress { asked: dynamic.to_string() }),
        (None, None) => Err(AccessRefusal::NoAddress { asked: job.request.addr.to_string() }),
        (None, Some(_)) => Ok(()),
    }
}

/// That only one of several addresses is reached.
pub(super) fn warning(job: &Job<'_>) -> Option<String> {
    let first = job.request.addr.first().filter(|_| job.request.host_access && job.request.addr.addrs.len() > 1)?;
    Some(format!("--host-access is for the first address: this host reaches {} only", first.ip()))
}

/// The MAC address of the guest's link: the host has to know it beforehand.
pub(super) fn guest_mac(job: &Job<'_>) -> Option<MacAddr> {
    job.request.mac.or(job.facts.host.access.as_ref().map(|access| access.fresh_mac))
}

/// Who is to reach whom, when it is asked for.
pub(super) fn grant(job: &Job<'_>) -> Result<Option<Grant>, PlanError> {
    let (Some(facts), Some(addr)) = (&job.facts.host.access, job.request.addr.first()) else { return Ok(None) };
    let (name, link) = parent(job)?;
    let no_source = || AccessRefusal::NoSource { family: addr.family(), parent: name.to_string(), guest: addr };
    let link = link.ok_or_else(no_source)?;
    if link.master.is_some() {
        // Any other master was refused for the macvlan's own sake.
        return Err(AccessRefusal::Vrf { parent: name.to_string() }.into());
    }
    if let Some(dev) = &facts.taken_by {
        return Err(AccessRefusal::OwnAddress { addr: addr.ip(), dev: dev.clone() }.into());
    }
    let source = source(facts, addr.ip()).ok_or_else(no_source)?;
    let existing = job.facts.guest.link.as_ref().and_then(|l| l.mac);
    let shim = facts.shim.as_ref().and_then(|l| l.mac);
    let parents_own = link.mac.ok_or_else(|| PlanError::NotEthernet { name: name.to_string() })?;
    Ok(Some(Grant {
        shim: shim_name(name.as_str()),
        shim_mac: shim.map_or_else(|| shim_mac(name.as_str(), parents_own), Ok)?,
        parent_index: link.base_for(&Sharing::default()),
        parent: name,
        interface: job.guest_if.clone(),
        mac: existing.or_else(|| guest_mac(job)).unwrap_or(facts.fresh_mac),
        address: addr.ip(),
        source,
        on_link: !addr.contains(source),
    }))
}

/// The macvlan's parent, which has no link yet when it is a VLAN child that is to be made.
fn parent<'a>(job: &Job<'a>) -> Result<(IfName, Option<&'a LinkFacts>), PlanError> {
    let (host, name) = (&job.facts.host, job.host_if()?);
    Ok(match &job.request.tag {
        None => (name, host.link.as_ref()),
        Some(tag) => (NicVlan::of(tag)?.child(name.as_str())?, host.vlan_link.as_ref()),
    })
}

/// The host's address that the route has already, else the one whose subnet the guest is in, else any that stays.
fn source(facts: &AccessFacts, guest: IpAddr) -> Option<IpAddr> {
    let index = facts.shim.as_ref().map(|l| l.index);
    let used = facts.route.as_ref().filter(|r| r.index == index).and_then(|r| r.src);
    let rank = |a: &&crate::model::access::ParentAddr| (used != Some(a.addr.ip()), !a.addr.contains(guest), a.passing);
    facts.addrs.iter().min_by_key(rank).map(|a| a.addr.ip())
}

/// What is missing of it.
pub(super) fn ops(job: &Job<'_>, grant: Option<&Grant>) -> Result<Vec<Op>, PlanError> {
    let (Some(grant), Some(facts)) = (grant, &job.facts.host.access) else { return Ok(Vec::new()) };
    let (mut ops, shim) = shim_ops(job, grant, facts)?;
    // The neighbours first: the host never asks for one through the shim, which would tell the whole LAN a wrong address.
    let host = Neigh { link: LinkRef::host(&grant.shim), ip: grant.address, mac: grant.mac };
    ops.extend(neigh_ops(host, facts.neigh.filter(|_| shim.is_some())));
    let guest = Neigh { link: LinkRef::guest(&grant.interface), ip: grant.source, mac: grant.shim_mac };
    let known = facts.guest_neighs.iter().find(|(ip, _)| *ip == grant.source).map(|(_, mac)| *mac);
    ops.extend(neigh_ops(guest, known));
    if grant.on_link && !facts.guest_routes.contains(&grant.source) {
        ops.push(Op::AddRoute { route: NewRoute { to: Some(grant.source.into()), via: None, dev: grant.interface.clone(), metric: None } });
    }
    ops.extend(route_ops(grant, facts, shim)?);
    Ok(ops)
}

/// The shim, made when absent; its index when it is there and can be used.
fn shim_ops(job: &Job<'_>, grant: &Grant, facts: &AccessFacts) -> Result<(Vec<Op>, Option<u32>), PlanError> {
    let (_, parent) = parent(job)?;
    let mtu = parent.map_or(1500, |l| l.mtu);
    let shim = NewShim { name: grant.shim.clone(), parent: grant.parent.clone(), mac: grant.shim_mac, mtu };
    let make = Op::AddShim { shim };
    match &facts.shim {
        None => Ok((vec![make], None)),
        Some(link) if !is_shim_of(link, parent) => {
            Err(AccessRefusal::ForeignShim { name: link.name.clone(), parent: grant.parent.to_string(), is: link.describe() }.into())
        }
        Some(link) if link.up => Ok((Vec::new(), Some(link.index))),
        // Left by a run that was killed while it made it, or set down by hand: nothing goes through it.
        Some(_) => Ok((vec![Op::DelLink { link: LinkRef::host(&grant.shim) }, make], None)),
    }
}

/// Whether the link is a shim on that parent: marked so, or with the address that only a shim has (Linux before 5.5 has no
/// other names to be marked with).
fn is_shim_of(link: &LinkFacts, parent: Option<&LinkFacts>) -> bool {
    let Some(parent) = parent else { return false };
    let marked = link.alt_names.iter().any(|name| name.starts_with(SHIM_MARK));
    let own = parent.mac.and_then(|mac| shim_mac(&parent.name, mac).ok());
    matches!(link.kind, LinkKind::Shared(Sharing::Macvlan(MacvlanMode::Bridge)))
        && link.link == Some(parent.base_for(&Sharing::default()))
        && (marked || (own.is_some() && link.mac == own))
}

fn neigh_ops(wanted: Neigh, known: Option<MacAddr>) -> Vec<Op> {
    match known {
        Some(mac) if mac == wanted.mac => Vec::new(),
        Some(mac) => vec![Op::DelNeigh { neigh: Neigh { mac, ..wanted.clone() } }, Op::AddNeigh { neigh: wanted }],
        None => vec![Op::AddNeigh { neigh: wanted }],
    }
}

fn route_ops(grant: &Grant, facts: &AccessFacts, shim: Option<u32>) -> Result<Vec<Op>, AccessRefusal> {
    let wanted = ShimRoute { dev: grant.shim.clone(), to: grant.address, src: grant.source };
    match &facts.route {
        None => Ok(vec![Op::AddShimRoute { route: wanted }]),
        Some(route) if shim.is_none() || route.index != shim => Err(AccessRefusal::RouteInTheWay { route: route.text.clone() }),
        Some(route) if route.src == Some(grant.source) => Ok(Vec::new()),
        Some(route) => {
            // The host's address has changed. One without a source gets one back only with it.
            let src = route.src.unwrap_or(grant.source);
            Ok(vec![Op::DelShimRoute { route: ShimRoute { src, ..wanted.clone() } }, Op::AddShimRoute { route: wanted }])
        }
    }
}

/// What takes a guest's access away: on the host, and in the guest when that is still there. The route goes first: without a
/// neighbour behind it, it would have nobody to lead to.
pub fn removal(user: &User, guest_is_there: bool, is_last: bool) -> Vec<Op> {
    let route = ShimRoute { dev: user.shim.clone(), to: user.address, src: user.source };
    let neigh = Neigh { link: LinkRef::host(&user.shim), ip: user.address, mac: user.mac };
    let mut ops = vec![Op::DelShimRoute { route }, Op::DelNeigh { neigh }];
    if guest_is_there {
        let link = LinkRef::guest(&user.interface);
        ops.push(Op::DelNeigh { neigh: Neigh { link, ip: user.source, mac: user.shim_mac } });
        if user.on_link {
            ops.push(Op::DelNewRoute {
                route: NewRoute { to: Some(user.source.into()), via: None, dev: user.interface.clone(), metric: None },
            });
        }
    }
    if is_last {
        ops.push(Op::DelUnusedShim { name: user.shim.clone(), mac: user.shim_mac });
    }
    ops
}
