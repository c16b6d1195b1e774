//! Where hosts have no network of their own in common: whom the VXLAN's broadcasts go to. The hosts that Consul knows to be alive,
//! and no longer those that it has missed for long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::clock::Moment;
use super::{Core, seen};
use crate::external::consul::ConsulError;
use crate::lifecycle::chain;
use crate::lifecycle::host_bridge::{self, HostOptions};
use crate::model::cluster::rights::{self, Right};
use crate::model::host_bridge::Below;
use crate::model::types::IfName;

/// How often it is looked. The local agent has what is asked from gossip.
const PACE: Duration = Duration::from_secs(1);
/// How often the kernel's own entries are looked at, though nothing was heard.
const CHECK: Duration = Duration::from_secs(30);

/// A bridge over a VXLAN.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// Its name.
    pub bridge: IfName,
    /// The other hosts of the cluster's file.
    pub others: BTreeSet<IpAddr>,
}

/// Keeps them for as long as the agent runs.
pub(super) fn keep(core: &Core) {
    let Some(overlay) = &core.overlay else { return };
    let (mut peers, mut told, mut complaint) = (Peers::default(), None, None);
    while !core.has_ended() {
        let now = Moment::now();
        let is_due = |set: &Option<(BTreeSet<IpAddr>, Moment)>, wanted: &BTreeSet<IpAddr>| {
            set.as_ref().is_none_or(|(before, at)| before != wanted || now.since(*at) > CHECK)
        };
        let kept = peers.look(core, overlay, now).and_then(|wanted| match wanted {
            Some(wanted) if is_due(&told, &wanted) => {
                set(core, overlay, &wanted)?;
                told = Some((wanted, now));
                Ok(())
            }
            _ => Ok(()),
        });
        let wrong = kept.err();
        if let Some(wrong) = wrong.as_ref().filter(|wrong| complaint.as_ref() != Some(*wrong)) {
            core.warn(format!("the peers of {} stay as they are: {wrong}", overlay.bridge));
        }
        complaint = wrong;
        std::thread::sleep(PACE);
    }
}

/// When each was known to be alive.
#[derive(Default)]
struct Peers {
    alive: BTreeMap<IpAddr, Moment>,
    has_begun: bool,
}

impl Peers {
    /// Who is to be one. `None`: Consul does not say, and all stays as it is.
    fn look(&mut self, core: &Core, overlay: &Overlay, now: Moment) -> Result<Option<BTreeSet<IpAddr>>, String> {
        if !self.has_begun {
            self.alive = there(overlay)?.into_iter().map(|peer| (peer, now)).collect();
            self.has_begun = true;
        }
        // That Consul does not answer says nothing of other hosts. When it does again, it may not have found them yet.
        let Ok(members) = core.consul.members() else {
            self.alive.values_mut().for_each(|at| *at = now);
            return Ok(None);
        };
        let alive: BTreeSet<IpAddr> =
            members.iter().filter(|member| member.is_alive()).filter_map(|member| member.addr.parse().ok()).collect();
        // Under access control all are left out that the token may not see.
        if !alive.contains(&core.address) {
            self.alive.values_mut().for_each(|at| *at = now);
            return Err(format!("Consul does not name even this host: {}", rights::missing(Right::See, &core.prefix, &core.host)));
        }
        let of_file = alive.intersection(&overlay.others).copied();
        // One that was added to the file is known by its agent, until this host has the file, too.
        let of_agents = agents(core).unwrap_or_default().into_iter().filter(|addr| *addr != core.address);
        self.alive.extend(of_file.chain(of_agents).map(|addr| (addr, now)));
        let patience = core.session().terms().ttl;
        self.alive.retain(|_, at| now.since(*at) < patience);
        Ok(Some(self.alive.keys().copied().collect()))
    }
}

/// The addresses of the hosts whose agents say that they are well.
fn agents(core: &Core) -> Result<Vec<IpAddr>, ConsulError> {
    Ok(seen::agents(&core.consul)?.into_iter().filter_map(|agent| agent.address).collect())
}

fn there(overlay: &Overlay) -> Result<Vec<IpAddr>, String> {
    let now = host_bridge::observe(&overlay.bridge, &HostOptions::from_environment()).map_err(|error| chain(&error).join(": "))?;
    match now.record.map(|record| record.below) {
        Some(Below::Vxlan(vxlan)) => Ok(vxlan.peers),
        _ => Err(format!("there is none: `pipework cluster up` makes it, or `pipework host up {} --vxlan ...`", overlay.bridge)),
    }
}

fn set(core: &Core, overlay: &Overlay, wanted: &BTreeSet<IpAddr>) -> Result<(), String> {
    let before: BTreeSet<IpAddr> = there(overlay)?.into_iter().collect();
    let peers: Vec<IpAddr> = wanted.iter().copied().collect();
    host_bridge::set_peers(&overlay.bridge, &peers, &HostOptions::from_environment(), &mut |_| {})
        .map_err(|error| error.chain().join(": "))?;
    let text = |all: Vec<&IpAddr>| all.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (what, all) in [("came", wanted.difference(&before).collect::<Vec<_>>()), ("went", before.difference(wanted).collect())] {
        if !all.is_empty() {
            core.warn(format!("{}: {what} as peers: {}", overlay.bridge, text(all)));
        }
    }
    Ok(())
}
