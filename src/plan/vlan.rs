//! VLANs of a bridge's port: what it is to carry, and who else would notice.

use std::collections::BTreeMap;

use thiserror::Error;

use super::hints::NO_FILTERING;
use super::{Job, PlanError};
use crate::model::bridge::{BridgePort, BridgeVlans};
use crate::model::facts::LinkFacts;
use crate::model::op::Op;
use crate::model::request::AttachRequest;
use crate::model::types::IfName;
use crate::model::vlan::{PortVlan, PortVlans, VlanProtocol};

/// The VLAN of a new bridge's ports, untagged (br_vlan_init, net/bridge/br_vlan.c).
const NEW_BRIDGE_PVID: u16 = 1;
/// How many ports of one kind a message names.
const NAMED: usize = 8;

/// Why a VLAN cannot be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VlanError {
    /// A kernel without CONFIG_BRIDGE_VLAN_FILTERING.
    #[error("bridge {bridge} cannot filter VLANs")]
    Unsupported {
        /// The bridge.
        bridge: String,
    },
    /// The bridge's other ports would see something else than now.
    #[error("bridge {bridge} does not filter VLANs; with filtering its ports would have {}", .view.join("; "))]
    FilteringOff {
        /// The bridge.
        bridge: String,
        /// What each port would see.
        view: Vec<String>,
    },
    /// The host itself would lose what it reaches through the bridge.
    #[error("filtering VLANs would cut this host off bridge {bridge}: {}", .ways.join(", "))]
    CutsHostOff {
        /// The bridge.
        bridge: String,
        /// Port by port: what would no longer pass.
        ways: Vec<String>,
    },
    /// `@ad:` on a bridge.
    #[error("@{tag} is for a NIC: bridge {bridge} looks at one kind of tags, the same on all ports")]
    ServiceOnBridge {
        /// The tag.
        tag: String,
        /// The bridge.
        bridge: String,
    },
    /// `@10,20` on a NIC.
    #[error("@{tag} is for a bridge: a link on NIC {nic} is in one VLAN")]
    SeveralOnNic {
        /// The tag.
        tag: String,
        /// The NIC.
        nic: String,
    },
}

impl VlanError {
    /// What to type instead.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unsupported { .. } => NO_FILTERING.to_owned(),
            Self::FilteringOff { bridge, .. } => format!(
                "--vlan-filtering turns it on: tagged frames then pass only between ports that carry their VLAN, and untagged ones between ports of the same untagged VLAN. `bridge vlan` shows what {bridge}'s ports carry, `bridge vlan add` changes it"
            ),
            Self::CutsHostOff { bridge, .. } => format!(
                "`bridge vlan` shows what each port carries: give {bridge} (with the word self) and its uplink the same first; --force turns filtering on all the same"
            ),
            Self::ServiceOnBridge { bridge, .. } => {
                format!("type the number alone; `ip link set {bridge} type bridge vlan_protocol 802.1ad` makes the tags 802.1ad ones")
            }
            Self::SeveralOnNic { nic, .. } => {
                format!("type one, as @10 or @ad:100; for several make {nic} a port of a bridge, and attach to that")
            }
        }
    }
}

/// The VLANs asked for, when the bridge can have them.
pub(super) fn wanted(job: &Job<'_>) -> Result<Option<PortVlans>, PlanError> {
    let Some(tag) = &job.request.tag else { return Ok(None) };
    let bridge = job.host_name();
    if tag.service_vlan().is_some() {
        return Err(VlanError::ServiceOnBridge { tag: tag.to_string(), bridge }.into());
    }
    let wanted = tag.port()?;
    if job.facts.host.link.is_some() {
        match &job.facts.host.vlans {
            Some(vlans) if vlans.possible && vlans.filtering => {}
            Some(vlans) if vlans.possible && job.request.vlan_filtering => {
                let ways = if job.request.force { Vec::new() } else { cut_off(vlans) };
                if !ways.is_empty() {
                    return Err(VlanError::CutsHostOff { bridge, ways }.into());
                }
            }
            Some(vlans) if vlans.possible => return Err(VlanError::FilteringOff { view: view(vlans), bridge }.into()),
            _ => return Err(VlanError::Unsupported { bridge }.into()),
        }
    }
    Ok(Some(wanted))
}

/// What of the host's own would no longer pass between the bridge and its uplinks: untagged frames, and each VLAN that the
/// host has a link for.
fn cut_off(vlans: &BridgeVlans) -> Vec<String> {
    let Some((own, ports)) = vlans.ports.split_first() else { return Vec::new() };
    let mut ways = Vec::new();
    for port in ports.iter().filter(|port| port.uplink) {
        if vlans.has_address && (own.untagged().is_none() || own.untagged() != port.untagged()) {
            ways.push(format!("untagged frames by {}", port.name));
        }
        let lost = vlans.own_tags.iter().filter(|id| !own.carries(**id, **id) || !port.carries(**id, **id));
        ways.extend(lost.map(|id| format!("VLAN {id} by {}", port.name)));
    }
    ways
}

/// Steps between the making of the pair and the guest's end coming up: until that, no frame passes.
pub(super) fn ops(job: &Job<'_>, bridge: &IfName, port: &IfName, wanted: &PortVlans) -> Vec<Op> {
    let observed = job.facts.host.vlans.as_ref();
    let entries = wanted.entries();
    let mut ops: Vec<Op> = Vec::new();
    // What the kernel gives every new port (nbp_vlan_init, net/bridge/br_vlan.c).
    let pvid = observed.map_or(Some(NEW_BRIDGE_PVID), |vlans| vlans.default_pvid);
    let default = pvid.map(|id| PortVlan { first: id, last: id, pvid: true, untagged: true });
    let unwanted = default.filter(|default| !entries.iter().any(|e| (e.first..=e.last).contains(&default.first)));
    ops.extend(unwanted.map(|vlan| Op::DelPortVlan { port: port.clone(), vlan }));
    let missing = entries.into_iter().filter(|entry| Some(*entry) != default);
    ops.extend(missing.map(|vlan| Op::AddPortVlan { port: port.clone(), vlan }));
    if observed.is_some_and(|vlans| !vlans.filtering) {
        ops.push(Op::SetVlanFiltering { bridge: bridge.clone(), on: true, ports: job.facts.host.ports });
    }
    ops
}

/// What makes an uplink of a new bridge carry the VLANs, as more commands behind the one that makes it a port.
pub(super) fn uplink_commands(job: &Job<'_>) -> String {
    let wanted = job.request.tag.as_ref().and_then(|tag| tag.port().ok()).map(|wanted| wanted.entries()).unwrap_or_default();
    wanted.iter().map(|e| format!("; bridge vlan add dev NIC vid {}", numbers(e))).collect()
}

/// `10`, `20-30`
fn numbers(vlan: &PortVlan) -> String {
    if vlan.first == vlan.last { vlan.first.to_string() } else { format!("{}-{}", vlan.first, vlan.last) }
}

/// What the user should know of the others on the bridge.
pub(super) fn warnings(job: &Job<'_>) -> Vec<String> {
    let Some(wanted) = job.request.tag.as_ref().and_then(|tag| tag.port().ok()) else { return Vec::new() };
    let bridge = job.host_name();
    let Some(vlans) = &job.facts.host.vlans else { return new_bridge_warning(job, &bridge, &wanted).into_iter().collect() };
    let mut warnings = Vec::new();
    if !vlans.filtering {
        warnings.push(format!("bridge {bridge} filters VLANs from now on; its other ports have {}", view(vlans).join("; ")));
    }
    if vlans.protocol == VlanProtocol::Dot1ad {
        warnings.push(format!("bridge {bridge} looks at 802.1ad tags: {} is a service VLAN", job.tag_text()));
    }
    for port in vlans.ports.iter().filter(|port| port.uplink).take(NAMED) {
        let missing = missing(port, &wanted);
        if !missing.is_empty() {
            let commands: Vec<String> = missing.iter().map(|m| format!("bridge vlan add dev {} vid {m}", port.name)).collect();
            let (vlans, commands) = (missing.join(", "), commands.join("; "));
            warnings.push(format!("{} does not carry VLAN {vlans}: the guest reaches nobody by it until you type: {commands}", port.name));
        }
    }
    let own = vlans.ports.first().filter(|_| vlans.has_address).map(|own| missing(own, &wanted)).unwrap_or_default();
    if !own.is_empty() {
        warnings.push(format!("this host's own {bridge} is not in VLAN {}: host and guest do not reach each other by it", own.join(", ")));
    }
    warnings
}

/// On a new bridge the host itself is in the default VLAN.
fn new_bridge_warning(job: &Job<'_>, bridge: &str, wanted: &PortVlans) -> Option<String> {
    let gateway = job.request.addr.gateways.iter().find(|gateway| job.facts.host.owns(gateway))?;
    if job.facts.host.link.is_some() {
        return None;
    }
    let id = wanted.untagged.filter(|id| id.get() != NEW_BRIDGE_PVID)?;
    Some(format!(
        "this host's own {bridge} is not in VLAN {id}: gateway {gateway} is not reached by it until you type: bridge vlan add dev {bridge} vid {id} pvid untagged self"
    ))
}

/// The wanted VLANs that a port does not carry, as `10` and `20-30`.
fn missing(port: &BridgePort, wanted: &PortVlans) -> Vec<String> {
    let lacking = wanted.entries().into_iter().filter(|e| !port.carries(e.first, e.last));
    lacking.map(|e| numbers(&e)).collect()
}

/// What ports have with filtering, those that have the same together: `VLAN 1 untagged: br0 itself, eth0`.
fn view(vlans: &BridgeVlans) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (n, port) in vlans.ports.iter().enumerate() {
        let name = if n == 0 { format!("{} itself", port.name) } else { port.name.clone() };
        groups.entry(carried(&port.vlans)).or_default().push(name);
    }
    let group = |(what, names): (String, Vec<String>)| {
        let more = names.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{what}: {}{rest}", names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
    };
    groups.into_iter().map(group).collect()
}

/// `VLAN 10 untagged, 20-30 tagged`
fn carried(vlans: &[PortVlan]) -> String {
    if vlans.is_empty() {
        return "no VLAN".to_owned();
    }
    let parts: Vec<String> = vlans.iter().map(PortVlan::to_string).collect();
    format!("VLAN {}", parts.join(", "))
}

/// What makes a port carry what is asked: what is new first, so that untagged frames pass all the time.
pub(super) fn changes(request: &AttachRequest, vlans: &BridgeVlans, peer: &LinkFacts, port: &IfName) -> Result<Vec<Op>, PlanError> {
    let default = vlans.default_pvid.map(|id| PortVlan { first: id, last: id, pvid: true, untagged: true });
    let wanted = match &request.tag {
        Some(tag) => tag.port()?.entries(),
        None => default.into_iter().collect(),
    };
    let is = vlans.ports.iter().find(|p| p.index == peer.index).map(|p| p.vlans.clone()).unwrap_or_default();
    let (is, wanted) = (one_by_one(&is), one_by_one(&wanted));
    let add = |vlan: &PortVlan| Op::AddPortVlan { port: port.clone(), vlan: *vlan };
    let del = |vlan: &PortVlan| Op::DelPortVlan { port: port.clone(), vlan: *vlan };
    let other = |all: &[PortVlan], vlan: &PortVlan| all.iter().any(|other| other.first == vlan.first);
    // One that is carried otherwise is taken away and added, so that each step has its own undo.
    let otherwise = wanted.iter().filter(|vlan| !is.contains(vlan) && other(&is, vlan));
    let mut ops: Vec<Op> = otherwise
        .flat_map(|vlan| is.iter().filter(|old| old.first == vlan.first).map(del).chain([add(vlan)]).collect::<Vec<_>>())
        .collect();
    let new: Vec<PortVlan> = wanted.iter().filter(|vlan| !other(&is, vlan)).copied().collect();
    let old: Vec<PortVlan> = is.iter().filter(|vlan| !other(&wanted, vlan)).copied().collect();
    ops.extend(ranges(&new).iter().map(add));
    ops.extend(ranges(&old).iter().map(del));
    Ok(ops)
}

/// Each VLAN by itself.
fn one_by_one(vlans: &[PortVlan]) -> Vec<PortVlan> {
    vlans.iter().flat_map(|v| (v.first..=v.last).map(|id| PortVlan { first: id, last: id, ..*v })).collect()
}

/// Those in a row that are carried in the same way, together. An untagged one stands alone: only one can be the port's own.
fn ranges(vlans: &[PortVlan]) -> Vec<PortVlan> {
    let mut ranges: Vec<PortVlan> = Vec::new();
    for vlan in vlans {
        match ranges.last_mut() {
            Some(last) if !vlan.pvid && !last.pvid && last.untagged == vlan.untagged && last.last.checked_add(1) == Some(vlan.first) => {
                last.last = vlan.last;
            }
            _ => ranges.push(*vlan),
        }
    }
    ranges
}

/// How the port of an earlier attach differs from what is asked: what it is, what was asked. Without a VLAN asked for, the
/// port of a bridge that filters is to have what new ports get.
pub(super) fn difference(request: &AttachRequest, vlans: &BridgeVlans, port: &LinkFacts) -> Result<Option<(String, String)>, PlanError> {
    let default = vlans.default_pvid.map(|id| PortVlan { first: id, last: id, pvid: true, untagged: true });
    let wanted = match &request.tag {
        Some(tag) => tag.port()?.entries(),
        None if !vlans.filtering => return Ok(None),
        None => default.into_iter().collect(),
    };
    let is = vlans.ports.iter().find(|p| p.index == port.index).map(|p| p.vlans.clone()).unwrap_or_default();
    let each = |entries: &[PortVlan]| -> BTreeMap<u16, (bool, bool)> {
        entries.iter().flat_map(|e| (e.first..=e.last).map(|id| (id, (e.pvid, e.untagged)))).collect()
    };
    Ok((each(&is) != each(&wanted)).then(|| (carried(&is), carried(&wanted))))
}
