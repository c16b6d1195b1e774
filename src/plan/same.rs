//! The guest has an interface of that name: is it already what was asked?

use super::nic::{is_vlan_of, nic_vlan};
use super::ovs::wanted_vlans;
use super::{Difference, Kind, Plan, PlanError, guest_if, sharing, vlan};
use crate::model::facts::{Facts, LinkFacts, LinkKind};
use crate::model::ovs::OvsBridge;
use crate::model::request::AttachRequest;
use crate::model::types::{Family, IfAddr};

/// The guest's interface, when it is the NIC that the request asks to move and that is no longer on the host.
pub(super) fn moved_before<'a>(request: &AttachRequest, facts: &'a Facts) -> Option<&'a LinkFacts> {
    let link = facts.guest.link.as_ref()?;
    let gone = if request.tag.is_some() { facts.host.vlan_link.is_none() } else { facts.host.link.is_none() };
    (request.direct_phys && gone && link.came_from(request)).then_some(link)
}

/// An empty plan when nothing differs, else all that differs.
pub(super) fn unchanged(request: &AttachRequest, facts: &Facts, link: &LinkFacts, kind: Kind) -> Result<Plan, PlanError> {
    let mut differences = Differences(Vec::new());
    match kind {
        Kind::Bridge => bridge(request, facts, link, &mut differences)?,
        Kind::Ovs => ovs(request, facts, link, &mut differences)?,
        Kind::Nic if request.direct_phys => direct(request, facts, link, &mut differences),
        Kind::Nic => shared(request, facts, link, &mut differences)?,
        Kind::Ipoib => ipoib(request, facts, link, &mut differences)?,
        Kind::Dummy => differences.kind(link, link.kind == LinkKind::Dummy, "dummy"),
    }
    common(request, facts, link, &mut differences);
    if differences.0.is_empty() {
        let host_if = facts.host.link.as_ref().map_or_else(|| request.host_if.to_string(), |l| l.name.clone());
        return Ok(Plan {
            ops: Vec::new(),
            warnings: Vec::new(),
            guest_if: guest_if(request, kind),
            host_if,
            announce: None,
            access: None,
        });
    }
    Err(PlanError::GuestLinkDiffers { interface: link.name.clone(), differences: differences.0 })
}

struct Differences(Vec<Difference>);

impl Differences {
    fn check(&mut self, what: &'static str, same: bool, is: impl ToString, wanted: impl ToString) {
        if !same {
            self.0.push(Difference { what, is: is.to_string(), wanted: wanted.to_string() });
        }
    }

    fn kind(&mut self, link: &LinkFacts, same: bool, wanted: &str) {
        self.check("kind", same, link.kind.name(), wanted);
    }
}

fn bridge(request: &AttachRequest, facts: &Facts, link: &LinkFacts, differences: &mut Differences) -> Result<(), PlanError> {
    let Some(peer) = veth_peer(request, facts, link, differences) else { return Ok(()) };
    let on_bridge = facts.host.link.as_ref().is_some_and(|b| peer.master == Some(b.index));
    differences.check(
        "the host end",
        on_bridge,
        format!("{} on {}", peer.name, peer.master.map_or("nothing".into(), |m| format!("interface {m}"))),
        format!("on {}", request.host_if),
    );
    if let (true, Some(vlans)) = (on_bridge, &facts.host.vlans) {
        differences.check("VLAN filtering", vlans.filtering || request.tag.is_none(), "off", "on");
        let difference = vlan::difference(request, vlans, peer)?;
        difference.into_iter().for_each(|(is, wanted)| differences.check("the host end", false, is, wanted));
    }
    Ok(())
}

/// The host's end of the veth pair that the guest's interface has to be, with what is the same on every bridge.
fn veth_peer<'a>(request: &AttachRequest, facts: &'a Facts, link: &LinkFacts, differences: &mut Differences) -> Option<&'a LinkFacts> {
    differences.kind(link, link.kind == LinkKind::Veth, "veth");
    if link.kind != LinkKind::Veth {
        return None;
    }
    let Some(peer) = &facts.host.peer else {
        differences.check("the other end", false, "not on this host", format!("on {}", request.host_if));
        return None;
    };
    differences.check("the host end", peer.up, format!("{} down", peer.name), "up");
    if let Some(wanted) = &request.local_if {
        differences.check("the host end's name", wanted.as_str() == peer.name, &peer.name, wanted);
    }
    if let Some(bridge) = &facts.host.link {
        differences.check("MTU", fits(request, link, bridge.mtu), link.mtu, bridge.mtu);
    }
    Some(peer)
}

fn ovs(request: &AttachRequest, facts: &Facts, link: &LinkFacts, differences: &mut Differences) -> Result<(), PlanError> {
    let Some(peer) = veth_peer(request, facts, link, differences) else { return Ok(()) };
    let known = facts.host.ovs.as_ref();
    let bridge = known.and_then(|ovs| ovs.bridge.as_ref());
    let port = known.and_then(|ovs| ovs.port.as_ref()).filter(|port| port.name == peer.name);
    let wanted = match bridge {
        Some(OvsBridge::Fake { parent, .. }) => parent.clone(),
        _ => facts.host.link.as_ref().map_or_else(|| request.host_if.to_string(), |link| link.name.clone()),
    };
    let is = port.and_then(|port| port.bridge.as_deref());
    differences.check("the host end", is == Some(&wanted), format!("{} on {}", peer.name, is.unwrap_or("nothing")), format!("on {wanted}"));
    if let Some(port) = port {
        let vlans = wanted_vlans(request, bridge)?;
        differences.check("the port's VLAN", port.vlans.is_same(&vlans), &port.vlans, &vlans);
    }
    Ok(())
}

fn direct(request: &AttachRequest, facts: &Facts, link: &LinkFacts, differences: &mut Differences) {
    let is = moved_before(request, facts).is_some();
    differences.check("the link", is, link.describe(), format!("the NIC {}", request.host_if));
}

fn shared(request: &AttachRequest, facts: &Facts, link: &LinkFacts, differences: &mut Differences) -> Result<(), PlanError> {
    let Some(nic) = &facts.host.link else { return Ok(()) };
    let how = request.sharing.clone().unwrap_or_default();
    let same_kind = link.kind == LinkKind::Shared(how.clone());
    let is = if let LinkKind::Shared(is) = &link.kind { sharing::mode(is) } else { link.kind.name().to_owned() };
    differences.check("kind", same_kind, is, sharing::mode(&how));
    if !same_kind {
        return Ok(());
    }
    let (parent, wanted) = match &request.tag {
        None => (Some(nic), nic.name.clone()),
        Some(tag) => {
            let vlan = nic_vlan(tag, nic)?;
            (facts.host.vlan_link.as_ref().filter(|l| is_vlan_of(l, nic, vlan)), format!("{}{}", nic.name, vlan.suffix()))
        }
    };
    let on_parent = parent.is_some_and(|p| link.link == Some(p.base_for(&how)));
    differences.check("the parent", on_parent, link.link.map_or("unknown".into(), |i| format!("interface {i}")), wanted);
    if let Some(parent) = parent {
        differences.check("MTU", fits(request, link, parent.mtu), link.mtu, parent.mtu);
    }
    Ok(())
}

fn ipoib(request: &AttachRequest, facts: &Facts, link: &LinkFacts, differences: &mut Differences) -> Result<(), PlanError> {
    let LinkKind::Ipoib { pkey } = link.kind else {
        differences.kind(link, false, "ipoib");
        return Ok(());
    };
    let parent = facts.host.link.as_ref();
    // The kernel leaves the parent's index out when it is the child's own, in another namespace (rtnl_fill_ifinfo).
    let on = link.link.unwrap_or(link.index);
    differences.check("the parent", parent.is_some_and(|p| on == p.index), format!("interface {on}"), &request.host_if);
    if let Some(tag) = &request.tag {
        let wanted = tag.pkey()?.get();
        // The driver sets the membership bit of every child's key (0x8000).
        let same = pkey.is_some_and(|is| is | 0x8000 == wanted | 0x8000);
        differences.check("partition key", same, format!("{:x}", pkey.unwrap_or(0)), tag);
    }
    Ok(())
}

fn common(request: &AttachRequest, facts: &Facts, link: &LinkFacts, differences: &mut Differences) {
    differences.check("state", link.up, "down", "up");
    if let Some(mac) = request.mac {
        differences.check("MAC address", link.mac == Some(mac), link.mac.map_or("unknown".into(), |m| m.to_string()), mac);
    }
    let guest = &facts.guest;
    let mine: Vec<String> = guest.addrs.iter().filter(|a| a.index == link.index && !a.automatic).map(|a| a.addr.to_string()).collect();
    for addr in &request.addr.addrs {
        let has = guest.addrs.iter().any(|a| a.index == link.index && a.addr == *addr);
        let is = if mine.is_empty() { "none".to_owned() } else { mine.join(", ") };
        differences.check("address", has, is, addr);
    }
    if let Some(dynamic) = &request.dynamic {
        // Whose it is cannot be known: any address of the family that somebody gave is one.
        let family = dynamic.family();
        let any = guest.addrs.iter().any(|a| a.index == link.index && a.addr.family() == family && !is_link_local(&a.addr));
        differences.check("address", any, "none", format!("one of {family} by {dynamic}"));
    }
    for gateway in &request.addr.gateways {
        let first = guest.default_routes.iter().find(|route| route.family == Family::of(*gateway));
        let same = first.is_some_and(|r| r.gateway == Some(*gateway) && r.index == Some(link.index));
        differences.check(
            "default route",
            same,
            first.map_or("none", |r| r.text.as_str()),
            format!("default via {gateway} dev {}", link.name),
        );
    }
}

/// Whether the MTU is what it was made with, or a smaller one that a DHCP server told.
fn fits(request: &AttachRequest, link: &LinkFacts, made: u32) -> bool {
    link.mtu == made || (request.dynamic.is_some() && link.mtu < made)
}

fn is_link_local(addr: &IfAddr) -> bool {
    matches!(addr.ip(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}
