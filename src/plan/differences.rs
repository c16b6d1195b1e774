//! What of an interface that is there is not as asked, field by field.

use std::net::IpAddr;

use super::addressing::default_metric;
use super::nic::{is_vlan_of, nic_vlan};
use super::ovs::wanted_vlans;
use super::same::moved_before;
use super::{Kind, Past, PlanError, guest_if, kind_of, sharing, vlan};
use crate::model::difference::{Difference, Field};
use crate::model::facts::{AddrFacts, Facts, LinkFacts, LinkKind, RouteFacts};
use crate::model::op::{Op, Tool};
use crate::model::ovs::OvsBridge;
use crate::model::request::AttachRequest;
use crate::model::types::{Family, IfAddr, MacAddr};

/// All that is not as asked; nothing when an attach would have nothing to do.
///
/// # Errors
/// When the request cannot be met on this host at all, such as for an interface that is not there.
pub fn differences(request: &AttachRequest, facts: &Facts, past: &Past<'_>) -> Result<Vec<Difference>, PlanError> {
    let kind = match moved_before(request, facts) {
        Some(_) => Kind::Nic,
        None => match kind_of(request, facts) {
            // A bridge may have any name, and be away: then it is what it was.
            Err(error) => past.kind().ok_or(error)?,
            Ok(kind) => kind,
        },
    };
    match &facts.guest.link {
        Some(link) => of_link(request, facts, link, kind, past),
        None => Ok(vec![Difference { field: Field::Interface, is: "not there".into(), wanted: guest_if(request, kind).to_string() }]),
    }
}

/// As [`differences`], of a link that is there.
pub(super) fn of_link(
    request: &AttachRequest,
    facts: &Facts,
    link: &LinkFacts,
    kind: Kind,
    past: &Past<'_>,
) -> Result<Vec<Difference>, PlanError> {
    let mut found = Found { request, facts, link, past, all: Vec::new() };
    found.check(Field::Name, link.name == guest_if(request, kind).as_str(), &link.name, guest_if(request, kind));
    match kind {
        Kind::Bridge => found.bridge()?,
        Kind::Ovs => found.ovs()?,
        Kind::Nic if request.direct_phys => {
            let is = moved_before(request, facts).is_some();
            found.check(Field::Nic, is, link.describe(), format!("the NIC {}", request.host_if));
            found.own_mtu();
        }
        Kind::Nic => found.shared()?,
        Kind::Ipoib => found.ipoib()?,
        Kind::Dummy => {
            found.kind(link.kind == LinkKind::Dummy, "dummy");
            found.own_mtu();
        }
        Kind::Pair => {
            found.kind(link.kind == LinkKind::Veth, "veth");
            found.own_mtu();
        }
    }
    found.common(kind);
    found.lost();
    Ok(found.all)
}

struct Found<'a> {
    request: &'a AttachRequest,
    facts: &'a Facts,
    link: &'a LinkFacts,
    past: &'a Past<'a>,
    all: Vec<Difference>,
}

impl<'a> Found<'a> {
    fn check(&mut self, field: Field, same: bool, is: impl ToString, wanted: impl ToString) {
        if !same {
            self.all.push(Difference { field, is: is.to_string(), wanted: wanted.to_string() });
        }
    }

    fn kind(&mut self, same: bool, wanted: &str) {
        self.check(Field::Kind, same, self.link.kind.name(), wanted);
    }

    fn bridge(&mut self) -> Result<(), PlanError> {
        let Some(peer) = self.veth_peer() else { return Ok(()) };
        let (request, facts) = (self.request, self.facts);
        let bridge = facts.host.link.as_ref();
        let on_bridge = bridge.is_some_and(|bridge| peer.master == Some(bridge.index));
        let is = match (&facts.host.peer_bridge, peer.master) {
            (Some(other), _) => other.bridge.to_string(),
            (None, Some(index)) => format!("interface {index}"),
            (None, None) => "nothing".to_owned(),
        };
        self.check(Field::HostEnd, on_bridge, format!("{} on {is}", peer.name), format!("on {}", request.host_if));
        if let Some(bridge) = bridge {
            self.check(Field::BridgeState, bridge.up || !bridge.is_ours(), format!("{} down", bridge.name), "up");
        }
        if let (true, Some(vlans)) = (on_bridge, &facts.host.vlans) {
            self.check(Field::VlanFiltering, vlans.filtering || request.tag.is_none(), "off", "on");
            if let Some((is, wanted)) = vlan::difference(request, vlans, peer)? {
                self.check(Field::Vlan, false, is, wanted);
            }
        }
        Ok(())
    }

    /// The host's end of the veth pair that the guest's interface has to be, with what is the same on every bridge.
    fn veth_peer(&mut self) -> Option<&'a LinkFacts> {
        let (request, facts, link) = (self.request, self.facts, self.link);
        self.kind(link.kind == LinkKind::Veth, "veth");
        if link.kind != LinkKind::Veth {
            return None;
        }
        let Some(peer) = &facts.host.peer else {
            self.check(Field::OtherEnd, false, "not on this host", format!("on {}", request.host_if));
            return None;
        };
        self.check(Field::HostEndState, peer.up, format!("{} down", peer.name), "up");
        if let Some(wanted) = self.past.host_end(request) {
            self.check(Field::HostEndName, wanted.as_str() == peer.name, &peer.name, wanted);
        }
        if let Some(wanted) = request.settings.link_mac {
            self.check(Field::HostEndMac, peer.mac == Some(wanted), mac_text(peer.mac), wanted);
        }
        if let Some(bridge) = &facts.host.link {
            let wanted = wanted_mtu(request, bridge.mtu).max(bridge.mtu);
            self.check(Field::HostEndMtu, peer.mtu == wanted, peer.mtu, wanted);
            self.mtu(bridge.mtu);
        }
        Some(peer)
    }

    fn mtu(&mut self, base: u32) {
        let wanted = wanted_mtu(self.request, base);
        // A DHCP server may have told a smaller one.
        let same = self.link.mtu == wanted || (self.request.dynamic.is_some() && self.link.mtu < wanted);
        self.check(Field::Mtu, same, self.link.mtu, wanted);
    }

    /// The MTU of a link that has its own, when one was asked for.
    fn own_mtu(&mut self) {
        if let Some(mtu) = self.request.settings.mtu {
            self.mtu(mtu.get());
        }
    }

    fn ovs(&mut self) -> Result<(), PlanError> {
        let Some(peer) = self.veth_peer() else { return Ok(()) };
        let known = self.facts.host.ovs.as_ref();
        let bridge = known.and_then(|ovs| ovs.bridge.as_ref());
        let port = known.and_then(|ovs| ovs.port.as_ref()).filter(|port| port.name == peer.name);
        let wanted = match bridge {
            Some(OvsBridge::Fake { parent, .. }) => parent.clone(),
            _ => self.facts.host.link.as_ref().map_or_else(|| self.request.host_if.to_string(), |link| link.name.clone()),
        };
        let is = port.and_then(|port| port.bridge.as_deref());
        let text = format!("{} on {}", peer.name, is.unwrap_or("nothing"));
        self.check(Field::HostEnd, is == Some(&wanted), text, format!("on {wanted}"));
        if let Some(port) = port {
            let vlans = wanted_vlans(self.request, bridge)?;
            self.check(Field::Vlan, port.vlans.is_same(&vlans), &port.vlans, &vlans);
        }
        Ok(())
    }

    fn shared(&mut self) -> Result<(), PlanError> {
        let (request, facts, link) = (self.request, self.facts, self.link);
        let Some(nic) = &facts.host.link else { return Ok(()) };
        let how = request.sharing.clone().unwrap_or_default();
        let same_kind = link.kind == LinkKind::Shared(how.clone());
        let is = if let LinkKind::Shared(is) = &link.kind { sharing::mode(is) } else { link.kind.name().to_owned() };
        self.check(Field::Kind, same_kind, is, sharing::mode(&how));
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
        self.check(Field::Parent, on_parent, link.link.map_or("unknown".into(), |i| format!("interface {i}")), wanted);
        for parent in parent.into_iter().chain(request.tag.as_ref().map(|_| nic)) {
            self.check(Field::ParentState, parent.up, format!("{} down", parent.name), "up");
        }
        if let Some(parent) = parent {
            self.mtu(parent.mtu);
        }
        Ok(())
    }

    fn ipoib(&mut self) -> Result<(), PlanError> {
        let (request, facts, link) = (self.request, self.facts, self.link);
        let LinkKind::Ipoib { pkey } = link.kind else {
            self.kind(false, "ipoib");
            return Ok(());
        };
        let parent = facts.host.link.as_ref();
        self.own_mtu();
        // The kernel leaves the parent's index out when it is the child's own, in another namespace (rtnl_fill_ifinfo).
        let on = link.link.unwrap_or(link.index);
        self.check(Field::Parent, parent.is_some_and(|p| on == p.index), format!("interface {on}"), &request.host_if);
        if let Some(parent) = parent {
            self.check(Field::ParentState, parent.up, format!("{} down", parent.name), "up");
        }
        if let Some(tag) = &request.tag {
            let wanted = tag.pkey()?.get();
            // The driver sets the membership bit of every child's key (0x8000).
            let same = pkey.is_some_and(|is| is | 0x8000 == wanted | 0x8000);
            self.check(Field::PartitionKey, same, format!("{:x}", pkey.unwrap_or(0)), tag);
        }
        Ok(())
    }

    fn common(&mut self, kind: Kind) {
        self.check(Field::State, self.link.up, "down", "up");
        if let Some(mac) = wanted_mac(self.request, self.past, kind) {
            self.check(Field::Mac, self.link.mac == Some(mac), mac_text(self.link.mac), mac);
        }
        if let Some(packets) = self.request.settings.txqueuelen {
            self.check(Field::Txqueuelen, self.link.queue_len == packets, self.link.queue_len, packets);
        }
        self.addresses();
        if self.request.settings.table.is_some() {
            let tables = &self.facts.guest.tables;
            for addr in self.request.addr.addrs.iter().filter(|addr| tables.of(addr.ip()).is_none()) {
                self.check(Field::Table, false, "none", format!("one by a rule from {}", addr.ip()));
            }
            // The gateways are there.
            return;
        }
        for gateway in &self.request.addr.gateways {
            self.gateway(*gateway);
        }
    }

    fn addresses(&mut self) {
        let (request, facts, link) = (self.request, self.facts, self.link);
        let mut extra = surplus(request, facts, link, self.past);
        for addr in missing(request, facts, link) {
            let at = extra.iter().position(|other| other.family() == addr.family());
            let is = at.map_or_else(|| others(facts, link, addr), |at| extra.remove(at).to_string());
            self.check(Field::Address, false, is, addr);
        }
        for addr in extra {
            self.check(Field::Address, false, addr, "none");
        }
        if let Some(dynamic) = &request.dynamic {
            // Whose it is cannot be known: any address of the family that somebody gave is one.
            let family = dynamic.family();
            let any = facts.guest.addrs.iter().any(|a| a.index == link.index && a.addr.family() == family && !is_link_local(&a.addr));
            self.check(Field::Address, any, "none", format!("one of {family} by {dynamic}"));
        }
    }

    /// Routes, rules and shaping that were made, and are gone.
    fn lost(&mut self) {
        for op in &self.facts.guest.lost {
            let Op::Tool { step } = op else { continue };
            let field = match step.tool {
                Tool::Route => Field::Route,
                Tool::Rule => Field::Rule,
                Tool::Tc => Field::Shaping,
            };
            self.check(field, false, "gone", step.words.join(" "));
        }
    }

    fn gateway(&mut self, gateway: IpAddr) {
        let first = first_default(self.request, self.facts, gateway);
        let same = first.is_some_and(|r| r.gateway == Some(gateway) && r.index == Some(self.link.index));
        let wanted = format!("default via {gateway} dev {}", self.link.name);
        self.check(Field::DefaultRoute, same, first.map_or("none", |r| r.text.as_str()), wanted);
    }
}

/// The guest's default route that counts: the first of the gateway's family, or of the metric that was asked for.
pub(super) fn first_default<'a>(request: &AttachRequest, facts: &'a Facts, gateway: IpAddr) -> Option<&'a RouteFacts> {
    let metric = default_metric(Some(gateway), request.settings.metric);
    let own = facts.guest.default_routes.iter().filter(|route| route.family == Family::of(gateway));
    own.into_iter().find(|route| request.settings.metric.is_none() || route.metric == metric)
}

/// The MTU in bytes that the guest's interface is to have, where its bridge or parent has `base`.
pub(super) fn wanted_mtu(request: &AttachRequest, base: u32) -> u32 {
    request.settings.mtu.map_or(base, |mtu| mtu.get())
}

/// The MAC address that was asked for, else the one that the interface was made with, where it has one of its own.
pub(super) fn wanted_mac(request: &AttachRequest, past: &Past<'_>, kind: Kind) -> Option<MacAddr> {
    let ipvlan = request.sharing.as_ref().is_some_and(|sharing| sharing.is_ipvlan() || sharing.is_passthru());
    let own = kind != Kind::Ipoib && !(kind == Kind::Nic && (request.direct_phys || ipvlan));
    request.mac.or(past.mac.filter(|_| own))
}

/// Addresses that are asked for and not there.
pub(super) fn missing(request: &AttachRequest, facts: &Facts, link: &LinkFacts) -> Vec<IfAddr> {
    let has = |addr: &IfAddr| facts.guest.addrs.iter().any(|a| a.index == link.index && a.addr == *addr);
    request.addr.addrs.iter().copied().filter(|addr| !has(addr)).collect()
}

/// Addresses that we gave, or that stand in the way of one, and that are not asked for.
pub(super) fn surplus(request: &AttachRequest, facts: &Facts, link: &LinkFacts, past: &Past<'_>) -> Vec<IfAddr> {
    let leased = |addr: &AddrFacts| request.dynamic.as_ref().is_some_and(|dynamic| dynamic.family() == addr.addr.family());
    let made = |wanted: &AddrFacts| past.log.iter().any(|op| matches!(op, Op::AddAddr { addr, .. } if *addr == wanted.addr));
    let wanted = &request.addr.addrs;
    // IPv6 has an address once only, whatever its prefix length (ipv6_add_addr, EEXIST).
    let in_the_way = |addr: &AddrFacts| addr.addr.family() == Family::Inet6 && wanted.iter().any(|w| w.ip() == addr.addr.ip());
    let on_link = facts.guest.addrs.iter().filter(|a| a.index == link.index && !a.automatic && !wanted.contains(&a.addr));
    on_link.filter(|a| made(a) || (!leased(a) && (a.ours || in_the_way(a)))).map(|a| a.addr).collect()
}

/// The addresses of the family that the link has in its place.
fn others(facts: &Facts, link: &LinkFacts, wanted: IfAddr) -> String {
    let here = |a: &&AddrFacts| a.index == link.index && !a.automatic && a.addr.family() == wanted.family();
    let all: Vec<String> = facts.guest.addrs.iter().filter(here).map(|a| a.addr.to_string()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn mac_text(mac: Option<MacAddr>) -> String {
    mac.map_or("unknown".into(), |mac| mac.to_string())
}

fn is_link_local(addr: &IfAddr) -> bool {
    matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}
