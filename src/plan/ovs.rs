//! A veth pair with its host end a port of an Open vSwitch bridge, which is made when it is not there.

use std::collections::BTreeMap;

use super::bridge::{DEFAULT_MTU, set_aside};
use super::{Job, PlanError, settings};
use crate::model::op::Op;
use crate::model::ovs::{NewOvsPort, OvsBridge, OvsPort, OvsVlans};
use crate::model::request::AttachRequest;
use crate::model::types::{IfName, LinkRef};

/// The last op, when it deletes a link, belongs at the end of the whole plan.
pub(super) fn ops(job: &Job<'_>) -> Result<Vec<Op>, PlanError> {
    let typed = job.host_if()?;
    let host = job.names.host_end(job.request);
    if host == typed {
        return Err(PlanError::HostLinkInUse { name: host.to_string(), state: "the bridge itself".into() });
    }
    let mut ops = Vec::new();
    let bridge = match known_bridge(job) {
        Some(OvsBridge::Fake { parent, .. }) => parent.parse::<IfName>()?,
        Some(OvsBridge::Real) => typed.clone(),
        None => {
            ops.push(Op::AddOvsBridge { name: typed.clone() });
            typed.clone()
        }
    };
    let stale = set_aside(job, &host)?;
    let port = port(job, &typed, bridge, &host, wanted_vlans(job.request, known_bridge(job))?)?;
    ops.extend(stale.iter().map(|aside| Op::RenameLink { link: LinkRef::host(&host), name: aside.clone() }));
    let mtu = job.facts.host.link.as_ref().map_or(DEFAULT_MTU, |link| link.mtu);
    let (guest, moves) = job.newborn("vg", Some(settings::mtu(job, mtu)), job.request.mac);
    ops.push(Op::AddVeth {
        host,
        host_mtu: settings::host_mtu(job),
        host_mac: job.request.settings.link_mac,
        bridge: None,
        queues: Some(settings::queues(job)),
        guest,
    });
    ops.extend(moves);
    ops.push(Op::AddOvsPort { port });
    ops.extend(stale.iter().map(|aside| Op::DelLink { link: LinkRef::host(aside) }));
    Ok(ops)
}

/// The port that is to be made for a host end, in the place of one that we made before.
pub(super) fn port(job: &Job<'_>, typed: &IfName, bridge: IfName, host: &IfName, vlans: OvsVlans) -> Result<NewOvsPort, PlanError> {
    Ok(NewOvsPort { bridge, vlans, ids: ids(job, typed, host), replaces: stale_row(job, host)?, name: host.clone() })
}

fn known_bridge<'a>(job: &Job<'a>) -> Option<&'a OvsBridge> {
    job.facts.host.ovs.as_ref()?.bridge.as_ref()
}

/// The VLANs of the port: those asked for, else the one that a fake bridge stands for.
pub(super) fn wanted_vlans(request: &AttachRequest, bridge: Option<&OvsBridge>) -> Result<OvsVlans, PlanError> {
    let asked = request.tag.as_ref();
    if let Some(tag) = asked.filter(|tag| tag.service_vlan().is_some()) {
        return Err(PlanError::OvsServiceVlan { tag: tag.to_string() });
    }
    match (bridge, asked) {
        (Some(OvsBridge::Fake { parent, vlan }), Some(_)) => {
            Err(PlanError::OvsFakeBridge { name: request.host_if.to_string(), parent: parent.clone(), vlan: vlan.get() })
        }
        (Some(OvsBridge::Fake { vlan, .. }), None) => Ok(OvsVlans { tag: Some(vlan.get()), ..OvsVlans::default() }),
        (_, Some(tag)) => Ok((&tag.port()?).into()),
        (_, None) => Ok(OvsVlans::default()),
    }
}

/// The keys that the original writes, and what it writes there.
fn ids(job: &Job<'_>, typed: &IfName, host: &IfName) -> BTreeMap<String, String> {
    let guest = &job.facts.guest.id;
    [
        ("interface", Some(host.to_string())),
        ("bridge", Some(typed.to_string())),
        ("containerid", guest.container.clone()),
        // With the slash that `docker inspect` prints.
        ("containername", guest.container_name.as_ref().map(|name| format!("/{name}"))),
        ("nspid", guest.pid.map(|pid| pid.to_string())),
        ("vlan", job.request.tag.as_ref().map(ToString::to_string)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((format!("pipework.{key}"), value?)))
    .collect()
}

/// The row that has our name. One of ours is what a dead attach left: no link of its name is up (`set_aside` saw to
/// that). Any other is somebody's.
fn stale_row(job: &Job<'_>, name: &IfName) -> Result<Option<OvsPort>, PlanError> {
    let row = job.facts.host.ovs.as_ref().and_then(|ovs| ovs.port.as_ref()).filter(|row| row.name == name.as_str());
    match row {
        Some(row) if !row.is_ours() => {
            Err(PlanError::OvsPortInUse { name: name.to_string(), bridge: row.bridge.clone().unwrap_or_else(|| "no bridge".into()) })
        }
        row => Ok(row.cloned()),
    }
}
