//! The bridge that containers are attached to: over this host's NIC, or over a VXLAN to the other hosts.

use super::step::{Seen, Steps};
use super::{Place, UpError};
use crate::lifecycle::host_bridge::{self, HostOptions, HostUp};
use crate::model::cluster::{BridgeKind, BridgePart, Cluster, Host};
use crate::model::host_bridge::{Below, HostBridgeNow, Vxlan, vxlan_name};

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

/// All of it.
pub(super) fn up(place: &Place<'_>, part: &BridgePart, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let options = HostOptions::from_environment();
    let below = below(place.cluster, place.host, part)?;
    let look = || Ok(seen(&below, part, &host_bridge::observe(&part.name, &options)?));
    steps.step("bridge", look, || {
        place.note.change(|made| made.bridge = true)?;
        // Whether the gateway still answers is looked at before this returns; if it does not, all is as it was.
        let request = HostUp { bridge: part.name.clone(), below: below.clone(), confirm: None, persist: None };
        host_bridge::up(&request, &options, &mut |_| {})?;
        Ok(())
    })
}

fn seen(below: &Below, part: &BridgePart, now: &HostBridgeNow) -> Seen {
    let port = match below {
        Below::Uplink(nic) => nic.clone(),
        Below::Vxlan(_) => vxlan_name(&part.name),
    };
    if !now.is_there {
        return Seen::Not(format!("there is no {}", part.name));
    }
    if !now.ports.iter().any(|name| *name == port.to_string()) {
        return Seen::Not(format!("{port} is no port of {}", part.name));
    }
    if !now.up {
        return Seen::Not(format!("{} is down", part.name));
    }
    let addresses: Vec<String> = now.addresses.iter().map(ToString::to_string).collect();
    Seen::So(format!("{} over {port}, {}", part.name, if addresses.is_empty() { "no address".into() } else { addresses.join(", ") }))
}

/// Takes away what [`up`] made.
pub(super) fn down(place: &Place<'_>, part: &BridgePart, force: bool, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let options = HostOptions::from_environment();
    let look = || {
        let now = host_bridge::observe(&part.name, &options)?;
        Ok(if now.record.is_none() { Seen::So("nothing of ours is left".into()) } else { Seen::Not(format!("{} is there", part.name)) })
    };
    steps.step("bridge", look, || {
        host_bridge::down(&part.name, force, &options, &mut |_| {})?;
        Ok(())
    })?;
    place.note.change(|made| made.bridge = false)
}
