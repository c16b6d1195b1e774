//! From the kernel's messages to facts.

mod link;
mod sharing;
mod vlan;

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::packet_core::Parseable;

use super::observe::{Ipv6Facts, Usable};
use super::wire::{Answer, RTM_NEWADDR, RTM_NEWNSID, RTM_NEWROUTE};
use crate::model::facts::{AddrFacts, RouteFacts};
use crate::model::mark;
use crate::model::types::{Family, IfAddr};
pub(super) use link::{attribute_of_link, info_of, is_out_of_flood, link, parent_namespace};
pub(super) use vlan::{bridge_vlans, port_vlans};

/// An address, if the answer is one.
pub(super) fn addr(answer: &Answer) -> Option<AddrFacts> {
    let message = address_message(answer)?;
    let mut address = None;
    let mut local = None;
    let mut ours = false;
    let mut flags = message.header.flags.contains(AddressHeaderFlags::Permanent);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Flags(all) => flags = all.contains(AddressFlags::Permanent),
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == mark::PROTO,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's (linux/if_addr.h).
    let ip = local.or(address)?;
    Some(AddrFacts {
        index: message.header.index,
        dev: label(&message),
        addr: IfAddr::new(ip, message.header.prefix_len)?,
        automatic: ip.is_ipv6() && (message.header.scope == AddressScope::Link || !flags),
        ours,
        raw: answer.raw.clone(),
    })
}

/// Whether the answer is that address, neither tentative nor found to be another's.
pub(super) fn has_usable(answer: &Answer, index: u32, ip: Ipv6Addr) -> bool {
    let Some(message) = address_message(answer) else { return false };
    let is_it = message.attributes.contains(&AddressAttribute::Address(IpAddr::V6(ip)));
    let busy = address_flags(&message).intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
    message.header.index == index && is_it && !busy
}

/// All flags; kernels before 3.14 have only the header's.
pub(super) fn address_flags(message: &AddressMessage) -> AddressFlags {
    let all = message.attributes.iter().find_map(|a| if let AddressAttribute::Flags(flags) = a { Some(*flags) } else { None });
    all.unwrap_or_else(|| AddressFlags::from_bits_retain(message.header.flags.bits().into()))
}

/// An IPv6 address of that link, if the answer is one.
pub(super) fn ipv6(answer: &Answer, index: u32) -> Option<Ipv6Facts> {
    let message = address_message(answer).filter(|m| m.header.index == index)?;
    let ip = message.attributes.iter().find_map(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None })?;
    let flags = message.attributes.iter().find_map(|a| if let AddressAttribute::Flags(flags) = a { Some(*flags) } else { None });
    let flags = flags.unwrap_or(AddressFlags::empty());
    let usable = if flags.contains(AddressFlags::Dadfailed) {
        Usable::Never
    } else if flags.contains(AddressFlags::Tentative) {
        Usable::NotYet
    } else {
        Usable::Yes
    };
    let addr = IfAddr::new(ip, message.header.prefix_len).filter(|_| ip.is_ipv6())?;
    Some(Ipv6Facts { addr, usable, permanent: flags.contains(AddressFlags::Permanent) })
}

pub(super) fn address_message(answer: &Answer) -> Option<AddressMessage> {
    if answer.kind == RTM_NEWADDR { AddressMessage::parse(&answer.raw).ok() } else { None }
}

/// The message of a route, if the answer is one.
pub(super) fn route_message(answer: &Answer) -> Option<RouteMessage> {
    if answer.kind == RTM_NEWROUTE { RouteMessage::parse(&answer.raw).ok() } else { None }
}

fn label(message: &AddressMessage) -> Option<String> {
    message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Label(label) => Some(label.split(':').next().unwrap_or(label).to_owned()),
        _ => None,
    })
}

/// A route, if the answer is one. `dev` names the links of its side.
pub(super) fn route(answer: &Answer, dev: &mut dyn FnMut(u32) -> String) -> Option<RouteFacts> {
    let message = route_message(answer)?;
    let attribute = |pick: &dyn Fn(&RouteAttribute) -> Option<u32>| message.attributes.iter().find_map(pick);
    let index = attribute(&|a| if let RouteAttribute::Oif(index) = a { Some(*index) } else { None });
    let metric = attribute(&|a| if let RouteAttribute::Priority(metric) = a { Some(*metric) } else { None });
    let ip = |pick: &dyn Fn(&RouteAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    let gateway = ip(&|a| if let RouteAttribute::Gateway(address) = a { plain(address) } else { None });
    let to = ip(&|a| if let RouteAttribute::Destination(address) = a { plain(address) } else { None });
    let source = ip(&|a| if let RouteAttribute::PrefSource(address) = a { plain(address) } else { None });
    let hops = message.attributes.iter().filter_map(|a| if let RouteAttribute::MultiPath(hops) = a { Some(hops) } else { None });
    let links = hops.flatten().map(|hop| hop.interface_index).chain(index).collect();
    // A default route may also say that nothing passes; it is in the way of a new one like any other.
    let kind = match message.header.kind {
        RouteType::Unicast => Some(""),
        RouteType::BlackHole => Some("blackhole "),
        RouteType::Unreachable => Some("unreachable "),
        RouteType::Prohibit => Some("prohibit "),
        _ => None,
    };
    let is_default = message.header.destination_prefix_length == 0 && kind.is_some();
    let to = to.map_or_else(|| "default".to_owned(), |to| format!("{to}/{}", message.header.destination_prefix_length));
    let mut text = format!("{}{to}", kind.unwrap_or_default());
    for (word, value) in [
        ("via", gateway.map(|g| g.to_string())),
        ("dev", index.map(dev)),
        ("src", source.map(|s| s.to_string())),
        ("metric", metric.filter(|m| *m != 0).map(|m| m.to_string())),
    ] {
        if let Some(value) = value {
            text += &format!(" {word} {value}");
        }
    }
    let family = if message.header.address_family == AddressFamily::Inet6 { Family::Inet6 } else { Family::Inet };
    Some(RouteFacts { text, family, is_default, gateway, index, links, metric: metric.unwrap_or(0), raw: answer.raw.clone() })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// The number of a network namespace, if the answer tells one.
pub(super) fn namespace_number(answer: &Answer) -> Option<i32> {
    let message = if answer.kind == RTM_NEWNSID { NsidMessage::parse(&answer.raw).ok()? } else { return None };
    message.attributes.iter().find_map(|a| if let NsidAttribute::Id(number) = a { Some(*number) } else { None })
}

/// Whether the kernel makes the route by itself, with an address or for its own use.
pub(super) fn is_kernels_own(message: &RouteMessage) -> bool {
    message.header.protocol == RouteProtocol::Kernel || message.header.kind != RouteType::Unicast
}
