//! A NIC, or its VLAN child: shared through a macvlan or ipvlan, or moved into the guest whole (`--direct-phys`).

use super::{Birth, Job, PlanError, VlanError, settings, sharing, wifi};
use crate::model::facts::{LinkFacts, LinkKind, NicState, origin_name};
use crate::model::op::{NicBefore, Op};
use crate::model::types::{IfName, LinkRef, Tag};
use crate::model::vlan::NicVlan;

/// What the guest's link is made of: the NIC itself or a VLAN child, which may have to be made.
struct Parent<'a> {
    name: IfName,
    link: Option<&'a LinkFacts>,
    mtu: u32,
}

pub(super) fn ops(job: &Job<'_>) -> Result<Vec<Op>, PlanError> {
    let nic = job.facts.host.link.as_ref().ok_or_else(|| PlanError::UnknownInterface { name: job.host_name() })?;
    let mut ops = Vec::new();
    let parent = match &job.request.tag {
        Some(tag) => vlan(job, nic, nic_vlan(tag, nic)?, &mut ops)?,
        None => Parent { name: job.host_if()?, link: Some(nic), mtu: nic.mtu },
    };
    if job.request.direct_phys {
        ops.extend(direct(job, &parent)?);
    } else {
        ops.extend(shared(job, &parent)?);
    }
    Ok(ops)
}

/// The one VLAN that a link on a NIC can be in.
pub(super) fn nic_vlan(tag: &Tag, nic: &LinkFacts) -> Result<NicVlan, PlanError> {
    match NicVlan::of(tag) {
        Err(_) if tag.port().is_ok() => Err(VlanError::SeveralOnNic { tag: tag.to_string(), nic: nic.name.clone() }.into()),
        vlan => Ok(vlan?),
    }
}

/// The VLAN child, made when absent. A VLAN passes only while its NIC is up.
fn vlan<'a>(job: &Job<'a>, nic: &LinkFacts, vlan: NicVlan, ops: &mut Vec<Op>) -> Result<Parent<'a>, PlanError> {
    let nic_name = job.host_if()?;
    let name = vlan.child(nic_name.as_str())?;
    let link = job.facts.host.vlan_link.as_ref();
    match link {
        None => ops.push(Op::AddVlan { name: name.clone(), parent: nic_name.clone(), vlan, mtu: nic.mtu }),
        Some(link) if is_vlan_of(link, nic, vlan) => {}
        Some(link) => {
            return Err(PlanError::ForeignVlanLink {
                name: name.to_string(),
                vlan: vlan.tag_text(),
                parent: nic_name.to_string(),
                is: link.describe(),
            });
        }
    }
    if !nic.up {
        ops.push(Op::SetUp { link: LinkRef::host(&nic_name) });
    }
    Ok(Parent { name, link, mtu: link.map_or(nic.mtu, |l| l.mtu) })
}

/// Whether a link is the NIC's child for that VLAN.
pub(super) fn is_vlan_of(link: &LinkFacts, nic: &LinkFacts, vlan: NicVlan) -> bool {
    let wanted = LinkKind::Vlan { id: Some(vlan.id.get()), protocol: vlan.protocol };
    link.kind == wanted && link.link == Some(nic.index)
}

fn shared(job: &Job<'_>, parent: &Parent<'_>) -> Result<Vec<Op>, PlanError> {
    if let Some(master) = master_in_the_way(job, parent) {
        return Err(PlanError::NicIsPort { nic: parent.name.to_string(), master, why: "no macvlan or ipvlan can share it" });
    }
    let how = job.request.sharing.clone().unwrap_or_default();
    sharing::check_parent(job, parent.name.as_str(), parent.link, &how)?;
    let mut ops = Vec::new();
    if !parent.link.is_some_and(|l| l.up) {
        ops.push(Op::SetUp { link: LinkRef::host(&parent.name) });
    }
    let (link, moves) = job.newborn("ph", Some(settings::mtu_on(job, &parent.name, parent.mtu)?), super::access::guest_mac(job));
    ops.push(Op::AddShared { parent: parent.name.clone(), sharing: how, link });
    ops.extend(moves);
    Ok(ops)
}

/// The name of the bridge or bond that takes the parent's frames. A VRF takes none.
fn master_in_the_way(job: &Job<'_>, parent: &Parent<'_>) -> Option<String> {
    parent.link?.master?;
    match &job.facts.host.master {
        Some(master) if master.kind == LinkKind::Other("vrf".into()) => None,
        // All ports of Open vSwitch have one master, which is no bridge.
        Some(master) if master.kind == LinkKind::OpenVswitch => Some(ovs_bridge(job).unwrap_or_else(|| master.name.clone())),
        Some(master) => Some(master.name.clone()),
        None => Some("another interface".into()),
    }
}

/// The bridge that the parent is a port of, when the database tells.
fn ovs_bridge(job: &Job<'_>) -> Option<String> {
    job.facts.host.ovs.as_ref()?.port.as_ref()?.bridge.clone()
}

fn direct(job: &Job<'_>, parent: &Parent<'_>) -> Result<Vec<Op>, PlanError> {
    let nic = parent.name.to_string();
    if !job.request.force {
        if job.facts.host.nic.carries_default() {
            return Err(PlanError::NicCarriesDefault { nic });
        }
        let children = &job.facts.host.nic.children;
        if !children.is_empty() {
            return Err(PlanError::NicHasChildren { nic, children: children.clone() });
        }
        if let Some(master) = master_in_the_way(job, parent) {
            return Err(PlanError::NicIsPort { nic, master, why: "moving it would take it from there" });
        }
    }
    wifi::check(job, &parent.name)?;
    let before = match parent.link {
        Some(link) => NicBefore { index: link.index, up: link.up, master: link.master, state: job.facts.host.nic.clone() },
        None => NicBefore { index: 0, up: false, master: None, state: NicState::default() },
    };
    let place = LinkRef::guest(&job.guest_if);
    let from = LinkRef::host(&parent.name);
    let mut ops = Vec::new();
    // Before it leaves, so that a run that is killed leaves none whose home is not known. One that came back from a guest
    // which died bears the mark already, with the name that it had at first.
    if !parent.link.is_some_and(LinkFacts::is_marked) {
        ops.push(Op::AddAltName { link: from.clone(), name: origin_name(parent.name.as_str()) });
    }
    if let Some(phy) = &job.facts.host.phy {
        ops.push(wifi::move_phy(phy, from, place.clone(), before));
    } else if job.birth == Birth::Guest || parent.name == job.guest_if {
        ops.push(Op::MoveLink { from, to: place.clone(), before: Some(before) });
    } else {
        ops.push(Op::MoveLink { from, to: LinkRef::guest(&parent.name), before: Some(before) });
        ops.push(Op::RenameLink { link: LinkRef::guest(&parent.name), name: job.guest_if.clone() });
    }
    let old = parent.link.and_then(|l| l.mac);
    if let Some(mac) = job.request.mac.filter(|mac| old != Some(*mac)) {
        ops.push(Op::SetMac { link: place, mac, before: old });
    }
    Ok(ops)
}
