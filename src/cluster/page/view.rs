//! What is on the page, as it is now.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cluster::agent::Seen;
use crate::frontend::daemon::board::{Event, Kind, Since};
use crate::lifecycle::claims::{Claimed, Claims};
use crate::lifecycle::{StatusOptions, status};
use crate::model::pool::PoolName;

/// So many of the latest events, and so many addresses.
const MOST_EVENTS: usize = 30;
const MOST_ADDRESSES: usize = 4096;

/// The page.
#[derive(Debug, Serialize)]
pub struct View {
    ready: bool,
    cluster: String,
    host: String,
    session: String,
    session_is_live: bool,
    hosts: Vec<HostLine>,
    addresses: Vec<AddressLine>,
    pools: Vec<PoolLine>,
    links: Vec<LinkLine>,
    conflicts: Vec<ConflictLine>,
    events: Vec<EventLine>,
}

#[derive(Debug, Serialize)]
struct HostLine {
    name: String,
    address: String,
    role: String,
    consul: String,
    agent: String,
    uses: usize,
}

#[derive(Debug, Serialize)]
struct AddressLine {
    addr: String,
    owner: String,
    pool: String,
    host: String,
    container: String,
    since: String,
}

#[derive(Debug, Serialize)]
struct PoolLine {
    name: String,
    subnet: String,
    gateway: String,
    claimed: usize,
    used: usize,
}

#[derive(Debug, Serialize)]
struct LinkLine {
    guest: String,
    interface: String,
    addresses: Vec<String>,
    on: String,
    host_link: String,
    mtu: Option<u32>,
    standing: serde_json::Value,
    problem: String,
}

#[derive(Debug, Serialize)]
struct ConflictLine {
    what: String,
    r#where: String,
    address: String,
    why: String,
    since: String,
}

#[derive(Debug, Serialize)]
struct EventLine {
    at: String,
    kind: &'static str,
    guest: String,
    addresses: Vec<String>,
    why: String,
}

impl View {
    /// As it is now. What cannot be asked is said as a conflict.
    pub fn of(seen: &Seen) -> Self {
        let mut conflicts = Vec::new();
        let claims = claims(seen, &mut conflicts);
        let hosts = hosts(seen, &claims, &mut conflicts);
        let links = links(seen, &mut conflicts);
        let events: Vec<_> = seen.board().recent(&Since::default());
        conflicts.extend(waiting(seen));
        conflicts.extend(lost(events.iter().map(AsRef::as_ref), &links));
        let (session, session_is_live) = seen.session();
        Self {
            ready: true,
            cluster: seen.cluster.clone(),
            host: seen.host().to_owned(),
            session,
            session_is_live,
            pools: pools(seen, &claims),
            addresses: claims.into_iter().take(MOST_ADDRESSES).map(|(pool, claimed)| address(&pool, claimed)).collect(),
            hosts,
            links,
            conflicts,
            events: events.iter().rev().take(MOST_EVENTS).map(|event| line(event)).collect(),
        }
    }
}

fn wrong(what: &str, r#where: &str, why: String) -> ConflictLine {
    ConflictLine { what: what.into(), r#where: r#where.into(), address: String::new(), why, since: String::new() }
}

fn claims(seen: &Seen, conflicts: &mut Vec<ConflictLine>) -> Vec<(PoolName, Claimed)> {
    let mut all = Vec::new();
    for pool in seen.claims().pools().unwrap_or_default() {
        match seen.claims().all(&pool.name) {
            Ok(claimed) => all.extend(claimed.into_iter().map(|claimed| (pool.name.clone(), claimed))),
            Err(error) => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                conflicts.push(wrong("Consul does not answer", seen.host(), format!("{error}{source}")));
                break;
            }
        }
    }
    all
}

fn address(pool: &PoolName, claimed: Claimed) -> AddressLine {
    let (host, container) = claimed.user.map(|user| (user.host, user.container.unwrap_or_default())).unwrap_or_default();
    let (addr, owner) = (claimed.addr.to_string(), claimed.owner.to_string());
    AddressLine { addr, owner, pool: pool.to_string(), host, container, since: claimed.since }
}

fn pools(seen: &Seen, claims: &[(PoolName, Claimed)]) -> Vec<PoolLine> {
    let line = |pool: crate::model::pool::Pool| {
        let own = || claims.iter().filter(|(name, _)| *name == pool.name);
        PoolLine {
            subnet: pool.subnet.to_string(),
            gateway: pool.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
            claimed: own().count(),
            used: own().filter(|(_, claimed)| claimed.user.is_some()).count(),
            name: pool.name.to_string(),
        }
    };
    seen.claims().pools().unwrap_or_default().into_iter().map(line).collect()
}

fn hosts(seen: &Seen, claims: &[(PoolName, Claimed)], conflicts: &mut Vec<ConflictLine>) -> Vec<HostLine> {
    let members: BTreeMap<String, &str> =
        seen.consul().members().unwrap_or_default().into_iter().map(|member| (member.name.clone(), member.state())).collect();
    let agents: BTreeSet<String> = seen.agents();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for user in claims.iter().filter_map(|(_, claimed)| claimed.user.as_ref()) {
        *uses.entry(&user.host).or_default() += 1;
    }
    let mut lines = Vec::new();
    for (name, address, role) in &seen.hosts {
        let consul = members.get(name).copied().unwrap_or("unknown");
        let agent = if agents.contains(name) { "passing" } else { "absent" };
        if !members.is_empty() && consul != "alive" {
            conflicts.push(wrong("Host is not there", name, format!("Consul says that it is {consul}")));
        }
        lines.push(HostLine {
            name: name.clone(),
            address: address.clone(),
            role: role.clone(),
            consul: consul.into(),
            agent: agent.into(),
            uses: uses.get(name.as_str()).copied().unwrap_or(0),
        });
    }
    lines
}

fn links(seen: &Seen, conflicts: &mut Vec<ConflictLine>) -> Vec<LinkLine> {
    let options = &seen.lifecycle();
    let asked = StatusOptions { run_dir: options.run_dir.clone(), state_dir: options.state_dir.clone(), ..StatusOptions::default() };
    let report = match status(&asked) {
        Ok(report) => report,
        Err(error) => {
            conflicts.push(wrong("Links cannot be looked at", seen.host(), error.chain().join(": ")));
            return Vec::new();
        }
    };
    let line = |one: crate::model::status::AttachmentStatus| {
        let differences: Vec<String> = one.differences.iter().map(ToString::to_string).collect();
        LinkLine {
            guest: one.guest.name.clone(),
            interface: one.interface.to_string(),
            addresses: one.addresses.iter().map(ToString::to_string).collect(),
            on: one.on.clone().unwrap_or(one.host_interface.clone()),
            host_link: one.host_link.clone().unwrap_or_default(),
            mtu: one.mtu,
            standing: serde_json::to_value(&one.standing).unwrap_or_default(),
            problem: one.problem.clone().into_iter().chain(differences).collect::<Vec<_>>().join("; "),
        }
    };
    report.attachments.into_iter().map(line).collect()
}

/// Guests of this host whose address somebody else has.
fn waiting(seen: &Seen) -> Vec<ConflictLine> {
    let line = |(pool, addr): (PoolName, std::net::IpAddr)| ConflictLine {
        what: "Waits for its address".into(),
        r#where: seen.host().to_owned(),
        address: addr.to_string(),
        why: format!("another host has the use of it, of pool {pool}"),
        since: String::new(),
    };
    seen.waiting().into_iter().map(line).collect()
}

/// What was lost or failed last at each interface that is not there, or not well.
fn lost<'a>(events: impl DoubleEndedIterator<Item = &'a Event>, links: &[LinkLine]) -> Vec<ConflictLine> {
    let is_well = |event: &Event| {
        let is_it = |link: &&LinkLine| Some(&link.guest) == event.guest.as_ref() && Some(&link.interface) == event.interface.as_ref();
        links.iter().find(is_it).is_some_and(|link| link.standing == "ok")
    };
    let mut seen = BTreeSet::new();
    let last =
        events.rev().filter(|event| event.guest.is_some()).filter(|event| seen.insert((event.guest.clone(), event.interface.clone())));
    let bad = last.filter(|event| matches!(event.kind, Kind::Failed | Kind::Lost | Kind::Refused) && !is_well(event));
    bad.map(|event| ConflictLine {
        what: event.kind.word().into(),
        r#where: [event.guest.as_deref(), event.interface.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" "),
        address: event.addresses.join(", "),
        why: event.why.clone().unwrap_or_default(),
        since: event.at.clone(),
    })
    .collect()
}

fn line(event: &Event) -> EventLine {
    EventLine {
        at: event.at.clone(),
        kind: event.kind.word(),
        guest: event.guest.clone().unwrap_or_default(),
        addresses: event.addresses.clone(),
        why: event.why.clone().or_else(|| event.source.clone()).unwrap_or_default(),
    }
}
