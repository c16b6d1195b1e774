//! The host's access to its macvlan guests: looking at what there is of it, and the messages that make it.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressFlags, AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::{LinkMessage, MacVlanMode};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{LinkMacVlan, LinkMessageBuilder};

use super::decode;
use super::encode;
use super::netns::Namespace;
use super::observe::{self, address_family, fresh_mac};
use super::system::{find_link, link_at};
use super::wire::{Answer, Netlink, RTM_NEWNEIGH};
use crate::model::access::{AccessFacts, ExactRoute, Neigh, NewShim, ParentAddr, ShimRoute, shim_name};
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, LinkKind};
use crate::model::op::NewRoute;
use crate::model::sharing::Sharing;
use crate::model::types::{Family, IfAddr, MacAddr};

/// What there is of the host's access to a guest that has `addr`, or is to get it, through a macvlan on `parent`.
pub(super) fn look(
    addr: &IfAddr,
    parent: Option<&LinkFacts>,
    guest_link: Option<&LinkFacts>,
    host: &mut Netlink,
    guest: &mut Netlink,
) -> Result<AccessFacts, KernelError> {
    let family = addr.family();
    let shim = parent.map(|p| find_link(host, shim_name(&p.name).as_str())).transpose()?.flatten();
    let (mut addrs, mut taken_by) = (Vec::new(), None);
    for answer in observe::addr_answers(host, family)? {
        let Some(found) = decode::addr(&answer) else { continue };
        if found.addr.ip() == addr.ip() {
            taken_by = link_at(host, found.index)?.map(|l| l.name);
        }
        if parent.is_some_and(|p| p.index == found.index) {
            addrs.extend(parent_addr(&answer, found.addr));
        }
    }
    let mut facts = AccessFacts {
        neigh: match &shim {
            Some(shim) => permanent(host, family, shim.index)?.into_iter().find(|(ip, _)| *ip == addr.ip()).map(|(_, mac)| mac),
            None => None,
        },
        route: exact_route(host, addr.ip())?,
        shim,
        addrs,
        taken_by,
        guest_neighs: Vec::new(),
        guest_routes: Vec::new(),
        fresh_mac: fresh_mac(),
    };
    if let Some(link) = guest_link {
        facts.guest_neighs = permanent(guest, family, link.index)?;
        facts.guest_routes = on_link(guest, family, link.index)?;
    }
    Ok(facts)
}

/// An address that the host may send from for some time: of global scope, neither doubtful nor about to change.
fn parent_addr(answer: &Answer, addr: IfAddr) -> Option<ParentAddr> {
    let message = decode::address_message(answer)?;
    let bad = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    let flags = decode::address_flags(&message);
    // For IPv6 the bit is IFA_F_TEMPORARY, a privacy address; for IPv4 it says that the address is not the first
    // of its subnet (linux/if_addr.h).
    let short_lived = addr.ip().is_ipv6() && message.header.flags.contains(AddressHeaderFlags::Secondary);
    let good = message.header.scope == AddressScope::Universe && !flags.intersects(bad) && !short_lived;
    good.then_some(ParentAddr { addr, passing: !flags.contains(AddressFlags::Permanent) })
}

fn permanent(socket: &mut Netlink, family: Family, index: u32) -> Result<Vec<(IpAddr, MacAddr)>, KernelError> {
    let mut message = NeighbourMessage::default();
    message.header.family = address_family(family);
    let answers = socket.dump(&RouteNetlinkMessage::GetNeighbour(message))?;
    Ok(answers.iter().filter_map(|answer| decode_permanent(answer, index)).collect())
}

fn decode_permanent(answer: &Answer, index: u32) -> Option<(IpAddr, MacAddr)> {
    use rtnetlink::packet_core::Parseable;
    let message = (answer.kind == RTM_NEWNEIGH).then(|| NeighbourMessage::parse(&answer.raw).ok())??;
    if message.header.ifindex != index || message.header.state != NeighbourState::Permanent {
        return None;
    }
    let ip = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => MacAddr::from_bytes(bytes),
        _ => None,
    })?;
    Some((ip, mac))
}

/// The host's route to that address alone.
fn exact_route(host: &mut Netlink, to: IpAddr) -> Result<Option<ExactRoute>, KernelError> {
    let wanted = RouteAddress::from(to);
    let found = unicast_routes(host, Family::of(to))?.into_iter().find(|(message, _)| is_host_route(message, Some(&wanted)));
    let Some((message, answer)) = found else { return Ok(None) };
    let src = message.attributes.iter().find_map(|a| if let RouteAttribute::PrefSource(ip) = a { plain(ip) } else { None });
    let mut name = |index| link_at(host, index).ok().flatten().map_or_else(|| format!("if{index}"), |l| l.name);
    let text = decode::route(&answer, &mut name).map_or_else(|| to.to_string(), |r| r.text);
    Ok(Some(ExactRoute { text, index: oif(&message), src }))
}

/// The single addresses that a link leads to without a gateway.
fn on_link(guest: &mut Netlink, family: Family, index: u32) -> Result<Vec<IpAddr>, KernelError> {
    let direct = |message: &RouteMessage| {
        oif(message) == Some(index)
            && is_host_route(message, None)
            && !message.attributes.iter().any(|a| matches!(a, RouteAttribute::Gateway(_)))
    };
    let to = |message: &RouteMessage| {
        message.attributes.iter().find_map(|a| if let RouteAttribute::Destination(ip) = a { plain(ip) } else { None })
    };
    Ok(unicast_routes(guest, family)?.iter().filter(|(m, _)| direct(m)).filter_map(|(m, _)| to(m)).collect())
}

fn unicast_routes(socket: &mut Netlink, family: Family) -> Result<Vec<(RouteMessage, Answer)>, KernelError> {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    let answers = socket.dump(&RouteNetlinkMessage::GetRoute(message))?;
    let in_main = |m: &RouteMessage| m.header.table == RouteHeader::RT_TABLE_MAIN && m.header.kind != RouteType::Multicast;
    Ok(answers.into_iter().filter_map(|answer| Some((decode::route_message(&answer)?, answer))).filter(|(m, _)| in_main(m)).collect())
}

fn is_host_route(message: &RouteMessage, to: Option<&RouteAddress>) -> bool {
    let full = match message.header.address_family {
        netlink_packet_route::AddressFamily::Inet6 => 128,
        _ => 32,
    };
    let leads_to = |wanted: &RouteAddress| message.attributes.iter().any(|a| matches!(a, RouteAttribute::Destination(ip) if ip == wanted));
    message.header.destination_prefix_length == full && to.is_none_or(leads_to)
}

fn oif(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|a| if let RouteAttribute::Oif(index) = a { Some(*index) } else { None })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// How many routes go through a link, but for those that the kernel makes with it.
pub(super) fn routes_through(host: &mut Netlink, index: u32) -> Result<usize, KernelError> {
    let mut count = 0;
    for family in [Family::Inet, Family::Inet6] {
        let routes = unicast_routes(host, family)?;
        count += routes.iter().filter(|(m, _)| oif(m) == Some(index) && !decode::is_kernels_own(m)).count();
    }
    Ok(count)
}

/// Whether a macvlan of that address, on the host's link of index `parent`, is still in the namespace.
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses to tell.
pub fn has_macvlan(namespace: &Namespace, mac: MacAddr, parent: u32) -> Result<bool, KernelError> {
    namespace.inside(|| {
        let answers = Netlink::open()?.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let is_it = |l: &LinkFacts| matches!(l.kind, LinkKind::Shared(Sharing::Macvlan(_))) && l.mac == Some(mac) && l.link == Some(parent);
        Ok(answers.iter().filter_map(decode::link).any(|l| is_it(&l)))
    })
}

/// All shims of the calling thread's namespace.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn shims() -> Result<Vec<LinkFacts>, KernelError> {
    let answers = Netlink::open()?.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let is_shim = |l: &LinkFacts| l.alt_names.iter().any(|name| name.starts_with(crate::model::access::SHIM_MARK));
    Ok(answers.iter().filter_map(decode::link).filter(is_shim).collect())
}

/// `ip link add link PARENT name NAME mtu M address MAC broadcast MAC arp off type macvlan mode bridge`
pub(super) fn shim(parent: u32, shim: &NewShim) -> RouteNetlinkMessage {
    let mac = shim.mac.octets().to_vec();
    let builder: LinkMessageBuilder<LinkMacVlan> = LinkMacVlan::new(shim.name.as_str(), parent, MacVlanMode::Bridge);
    RouteNetlinkMessage::NewLink(
        builder.mtu(shim.mtu).address(mac.clone()).broadcast(mac).arp(false).append_extra_attribute(encode::MARK).build(),
    )
}

/// `ip neigh replace IP lladdr MAC dev DEV nud permanent`
pub(super) fn neigh(index: u32, neigh: &Neigh) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = address_family(Family::of(neigh.ip));
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unspec;
    message.attributes =
        vec![NeighbourAttribute::Destination(neigh.ip.into()), NeighbourAttribute::LinkLayerAddress(neigh.mac.octets().to_vec())];
    message
}

/// `ip route add IP dev SHIM src SOURCE`, without the source to delete it: the kernel takes that away itself when the
/// host's address goes.
pub(super) fn route(index: u32, route: &ShimRoute, add: bool) -> RouteMessage {
    let mut message = encode::route(&NewRoute { to: Some(route.to.into()), via: None, dev: route.dev.clone(), metric: None }, index);
    if add {
        message.attributes.push(RouteAttribute::PrefSource(route.src.into()));
    }
    message
}
