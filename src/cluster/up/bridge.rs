//! The bridge that containers are attached to: over this host's NIC, or over a VXLAN to the other hosts.

use super::made::MadeBridge;
use super::step::{Seen, Steps};
use super::{Place, UpError};
use crate::lifecycle::host_bridge::{self, HostOptions, HostUp};
use crate::model::cluster::{BridgeKind, BridgePart, Cluster, Host, Persist};
use crate::model::host_bridge::{Below, HostBridgeNow, Keeper, Vxlan, vxlan_name};
use crate::model::types::IfName;

/// What it lies on.
fn below(cluster: &Cluster, host: &Host, part: &BridgePart) -> Result<Below, UpError> {
    let others = cluster.hosts.iter().filter(|other| other.name != host.name);
    match (part.kind, &host.nic) {
        (BridgeKind::Nic, Some(nic)) => Ok(Below::Uplink(nic.clone())),
        (BridgeKind::Nic, None) => Err(UpError::wrong(format!("{} has no nic in cluster.toml", host.name), "name it: nic = \"...\"")),
        (BridgeKind::Vxlan { id, port }, _) => {
            Ok(Below::Vxlan(Vxlan { id, local: host.address, port, peers: others.map(|other| other.address).collect() }))
        }
    }
}

/// The one that was made here, whatever the cluster's file says by now.
pub(super) fn made(place: &Place<'_>) -> Result<Option<IfName>, UpError> {
    match (place.note.read()?.bridge, &place.cluster.bridge) {
        (MadeBridge::Is(false), _) => Ok(None),
        (MadeBridge::Named(name), _) => Ok(Some(name)),
        (MadeBridge::Is(true), Some(part)) => Ok(Some(part.name.clone())),
        (MadeBridge::Is(true), None) => {
            let what = format!("a bridge was made here, and {} has none", place.file.display());
            Err(UpError::wrong(what, "put its [bridge] back: by that it is known which"))
        }
    }
}

/// All of it.
pub(super) fn up(place: &Place<'_>, part: &BridgePart, steps: &mut Steps<'_>) -> Result<(), UpError> {
    if let Some(other) = made(place)?.filter(|name| *name != part.name) {
        let what = format!("the bridge that was made here is {other}, and cluster.toml says {}", part.name);
        return Err(UpError::wrong(what, format!("`pipework cluster down` takes {other} away; or name it in [bridge]")));
    }
    let options = HostOptions::from_environment();
    let below = below(place.cluster, place.host, part)?;
    let keeper = keeper(part, &options)?;
    let look = || seen(place, &below, part, &host_bridge::observe(&part.name, &options)?);
    steps.step("bridge", look, || {
        place.note.change(|made| made.bridge = MadeBridge::Named(part.name.clone()))?;
        // Whether the gateway still answers is looked at before this returns; if it does not, all is as it was.
        let request = HostUp { bridge: part.name.clone(), below: below.clone(), confirm: None, persist: keeper };
        host_bridge::up(&request, &options, &mut |_| {})?;
        Ok(())
    })
}

/// Whose configuration is to make it last.
fn keeper(part: &BridgePart, options: &HostOptions) -> Result<Option<Keeper>, UpError> {
    match part.persist {
        None => Ok(None),
        Some(Persist::Keeper(keeper)) => Ok(Some(keeper)),
        Some(Persist::Whoever) => host_bridge::keeper_of(&options.etc_dir).map(Some).ok_or_else(|| {
            let what = format!("nobody is known to keep this host's network: no files under {}", options.etc_dir.display());
            UpError::wrong(what, "say who does: [bridge] persist = \"networkd\", \"networkmanager\" or \"ifcfg\"; or leave it out")
        }),
    }
}

fn seen(place: &Place<'_>, below: &Below, part: &BridgePart, now: &HostBridgeNow) -> Result<Seen, UpError> {
    let not = |why: String| Ok(Seen::Not(why));
    let port = match below {
        Below::Uplink(nic) => nic.clone(),
        Below::Vxlan(_) => vxlan_name(&part.name),
    };
    if !now.is_there {
        return not(format!("there is no {}", part.name));
    }
    if !now.ports.iter().any(|name| *name == port.to_string()) {
        return not(format!("{port} is no port of {}", part.name));
    }
    if !now.up {
        return not(format!("{} is down", part.name));
    }
    if let (Some(wanted), Some(is)) = (part.mtu, now.mtu.filter(|is| part.mtu.is_some_and(|wanted| wanted.get() != *is))) {
        let what = format!("{} has an MTU of {is}, and cluster.toml says {wanted}", part.name);
        return Err(UpError::wrong(what, format!("ip link set {port} mtu {wanted} and ip link set {} mtu {wanted}", part.name)));
    }
    if part.persist.is_some() && now.record.as_ref().is_none_or(|record| record.files.is_empty()) {
        return not(format!("{} would be gone after the next boot", part.name));
    }
    // An agent knows which of them are there.
    let is_kept = place.cluster.agent.run && !place.no_agent;
    if let (Below::Vxlan(vxlan), false) = (below, is_kept)
        && let Some(peer) = vxlan.peers.iter().find(|peer| !now.peers.contains(peer))
    {
        return not(format!("{peer} is no peer of {port}"));
    }
    let addresses: Vec<String> = now.addresses.iter().map(ToString::to_string).collect();
    let lasts = if part.persist.is_some() { ", also after the next boot" } else { "" };
    let addresses = if addresses.is_empty() { "no address".into() } else { addresses.join(", ") };
    Ok(Seen::So(format!("{} over {port}, {addresses}{lasts}", part.name)))
}

/// Takes away what [`up`] made.
pub(super) fn down(place: &Place<'_>, name: &IfName, force: bool, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let options = HostOptions::from_environment();
    let look = || {
        let now = host_bridge::observe(name, &options)?;
        Ok(if now.record.is_none() { Seen::So("nothing of ours is left".into()) } else { Seen::Not(format!("{name} is there")) })
    };
    steps.step("bridge", look, || {
        host_bridge::down(name, force, &options, &mut |_| {})?;
        Ok(())
    })?;
    place.note.change(|made| made.bridge = MadeBridge::default())
}
