//! From steps to netlink messages. Each function's message equals that of the `ip` command named with it.

pub(super) mod host;
pub(super) mod sharing;
pub(super) mod vlan;

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::os::fd::RawFd;

use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage, Prop,
};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::{AddressMessageBuilder, LinkBridge, LinkDummy, LinkIpoib, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::model::lease::Lifetime;
use crate::model::mark;
use crate::model::op::NewRoute;
use crate::model::types::{IfAddr, IfName, MacAddr, Pkey};

/// Flags of a request that makes something new.
pub(super) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// The mark of a link that we make.
pub(super) const MARK: LinkAttribute = LinkAttribute::Group(mark::GROUP);

/// What a new link starts with, and the namespace it is born in.
pub(super) struct Newborn<'a> {
    pub(super) name: &'a IfName,
    pub(super) mtu: Option<u32>,
    pub(super) mac: Option<MacAddr>,
    /// An open namespace file that lives until the answer has come; the socket's own namespace when absent.
    pub(super) netns: Option<RawFd>,
}

impl Newborn<'_> {
    fn attributes<T>(&self, mut builder: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        if let Some(mac) = self.mac {
            builder = builder.address(mac.octets().to_vec());
        }
        builder = builder.append_extra_attribute(MARK);
        match self.netns {
            Some(fd) => builder.setns_by_fd(fd),
            None => builder,
        }
    }
}

/// `ip link add name NAME up address MAC type bridge [vlan_filtering 1]`
pub(super) fn add_bridge(name: &IfName, mac: MacAddr, vlan_filtering: bool) -> RouteNetlinkMessage {
    let builder = LinkBridge::new(name.as_str()).address(mac.octets().to_vec()).up().append_extra_attribute(MARK);
    new_link(if vlan_filtering { builder.vlan_filtering(true) } else { builder }.build())
}

/// `ip link add name HOST mtu M [address MAC] [master BRIDGE] up type veth peer name GUEST mtu M address MAC netns NS`.
/// The peer cannot be up in it: veth_open wants both ends tied (ENOTCONN).
/// `up`: whether the host's end is.
/// `queues`: how many both ends get, `numtxqueues N numrxqueues N`.
pub(super) fn add_veth(
    host: &Newborn<'_>,
    up: bool,
    bridge: Option<u32>,
    queues: Option<NonZeroU16>,
    guest: &Newborn<'_>,
) -> RouteNetlinkMessage {
    let mut peer = guest.attributes(LinkUnspec::new_with_name(guest.name.as_str())).build();
    let queues = queues.map(|n| [LinkAttribute::NumTxQueues(n.get().into()), LinkAttribute::NumRxQueues(n.get().into())]);
    peer.attributes.extend(queues.iter().flatten().cloned());
    let mut builder = host.attributes(LinkVeth::new(host.name.as_str(), guest.name.as_str()));
    if up {
        builder = builder.up();
    }
    if let Some(bridge) = bridge {
        builder = builder.controller(bridge);
    }
    let mut message = builder.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
    message.attributes.extend(queues.into_iter().flatten());
    new_link(message)
}

/// `ip link add name NEAR mtu M numtxqueues 1 numrxqueues 1 type veth peer name FAR mtu M netns NS numtxqueues 1 numrxqueues 1`
pub(super) fn add_pair(near: &IfName, far: &Newborn<'_>) -> RouteNetlinkMessage {
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = far.attributes(LinkUnspec::new_with_name(far.name.as_str())).build();
    peer.attributes.extend(queues.iter().cloned());
    let mut builder = LinkVeth::new(near.as_str(), far.name.as_str()).append_extra_attribute(MARK);
    if let Some(mtu) = far.mtu {
        builder = builder.mtu(mtu);
    }
    let mut message = builder.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
    message.attributes.extend(queues);
    new_link(message)
}

/// `ip link add link PARENT name NAME type ipoib [pkey KEY]`
pub(super) fn add_ipoib(parent: u32, pkey: Option<Pkey>, link: &Newborn<'_>) -> RouteNetlinkMessage {
    let mut builder = LinkIpoib::new(link.name.as_str()).link(parent);
    if let Some(pkey) = pkey {
        builder = builder.pkey(pkey.get());
    }
    new_link(link.attributes(builder).build())
}

/// `ip link add name NAME ... type dummy`
pub(super) fn add_dummy(link: &Newborn<'_>) -> RouteNetlinkMessage {
    new_link(link.attributes(LinkDummy::new(link.name.as_str())).build())
}

/// `ip link add name NAME type ifb`
pub(super) fn add_ifb(name: &IfName) -> RouteNetlinkMessage {
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]);
    new_link(LinkUnspec::new_with_name(name.as_str()).append_extra_attribute(info).append_extra_attribute(MARK).build())
}

fn new_link(message: LinkMessage) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewLink(message)
}

/// `ip link del dev NAME`
pub(super) fn del_link(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(index).build())
}

/// `ip link set dev NAME [name NEW] netns NS`
pub(super) fn move_link(index: u32, netns: RawFd, name: &IfName) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).setns_by_fd(netns).name(name.as_str()).build())
}

/// `ip link set dev NAME name NEW`
pub(super) fn rename(index: u32, name: &IfName) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).name(name.as_str()).build())
}

/// `ip link property add|del dev NAME altname OTHER`
pub(super) fn alt_name(index: u32, name: &str, add: bool) -> RouteNetlinkMessage {
    let list = LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]);
    let message = LinkUnspec::new_with_index(index).append_extra_attribute(list).build();
    if add { RouteNetlinkMessage::NewLinkProp(message) } else { RouteNetlinkMessage::DelLinkProp(message) }
}

/// `ip link set dev NAME address MAC`
pub(super) fn set_mac(index: u32, mac: MacAddr) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).address(mac.octets().to_vec()).build())
}

/// `ip link set dev NAME txqueuelen N`
pub(super) fn set_queue_len(index: u32, packets: u32) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::TxQueueLen(packets)).build())
}

/// `ip link set dev NAME master MASTER`
pub(super) fn set_master(index: u32, master: u32) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).controller(master).build())
}

/// `ip link set dev NAME up|down`
pub(super) fn set_up(index: u32, up: bool) -> RouteNetlinkMessage {
    let builder = LinkUnspec::new_with_index(index);
    new_link(if up { builder.up() } else { builder.down() }.build())
}

/// `ip link set dev NAME up type bridge_slave mcast_flood off`: the kernel changes the port first (rtnl_changelink,
/// net/core/rtnetlink.c).
pub(super) fn set_up_out_of_flood(index: u32) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).up().append_extra_attribute(flood(false)).build())
}

/// `ip link set dev NAME type bridge_slave mcast_flood on`
pub(super) fn let_in(index: u32) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).append_extra_attribute(flood(true)).build())
}

fn flood(on: bool) -> LinkAttribute {
    let data = LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::MulticastFlood(on)]));
    LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(InfoPortKind::Bridge), data])
}

/// `ip addr add ADDR brd + dev NAME`
pub(super) fn addr(index: u32, addr: &IfAddr) -> AddressMessage {
    let mut message = match addr.ip() {
        IpAddr::V4(ip) => AddressMessageBuilder::<std::net::Ipv4Addr>::new().index(index).address(ip, addr.prefix()).build(),
        IpAddr::V6(ip) => AddressMessageBuilder::<std::net::Ipv6Addr>::new().index(index).address(ip, addr.prefix()).build(),
    };
    // The broadcast address is ours to say, in one place.
    message.attributes.retain(|a| !matches!(a, AddressAttribute::Broadcast(_)));
    message.attributes.extend(addr.broadcast().map(AddressAttribute::Broadcast));
    message
}

/// As [`addr`], with our mark: `... proto 112`.
pub(super) fn new_addr(index: u32, ip: &IfAddr) -> AddressMessage {
    let mut message = addr(index, ip);
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(mark::PROTO)));
    message
}

/// `ip addr replace ADDR brd + dev NAME valid_lft SECONDS preferred_lft SECONDS`
pub(super) fn leased_addr(index: u32, ip: &IfAddr, lifetime: Lifetime) -> AddressMessage {
    let mut message = new_addr(index, ip);
    let mut times = CacheInfo::default();
    times.ifa_preferred = lifetime.preferred;
    times.ifa_valid = lifetime.valid;
    message.attributes.push(AddressAttribute::CacheInfo(times));
    message
}

/// `ip link set dev NAME mtu BYTES`
pub(super) fn set_mtu(index: u32, mtu: u32) -> RouteNetlinkMessage {
    new_link(LinkUnspec::new_with_index(index).mtu(mtu).build())
}

/// `ip route add ROUTE`: protocol boot and table main, as `ip` has it; on-link IPv4 routes have the scope of the link
/// (IPv6 knows no scopes).
pub(super) fn route(route: &NewRoute, index: u32) -> RouteMessage {
    let is_ipv6 = route.is_ipv6();
    let mut message = RouteMessage::default();
    message.header.address_family = if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if route.via.is_none() && !is_ipv6 { RouteScope::Link } else { RouteScope::Universe };
    if let Some(to) = route.to {
        message.header.destination_prefix_length = to.prefix();
        message.attributes.push(RouteAttribute::Destination(to.ip().into()));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    message
}

// linux/rtnetlink.h
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
const RTNH_F_PERVASIVE: u8 = 2;
const RTNH_F_ONLINK: u8 = 4;

/// An observed route's message as a request to make the route again. The flags that tell its state (dead, no carrier,
/// offloaded) are taken out, of the route and of each nexthop: the kernel refuses some of them (fib_create_info, EINVAL).
/// `moved` is a link's index then and now.
pub(super) fn restorable(raw: &[u8], moved: Option<(u32, u32)>) -> Vec<u8> {
    let mut bytes = raw.to_vec();
    // struct rtmsg: eight bytes, then the flags as a word.
    change_word(&mut bytes, 8, |flags| flags & u32::from(RTNH_F_PERVASIVE | RTNH_F_ONLINK));
    let now = |index| moved.filter(|(was, _)| *was == index).map_or(index, |(_, is)| is);
    let half = |bytes: &[u8], at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let mut at = 12;
    while let (Some(length @ 4..), Some(kind)) = (half(&bytes, at).map(usize::from), half(&bytes, at + 2)) {
        let (mut hop, end) = (at + 4, at + length);
        at += length.next_multiple_of(4);
        if kind == RTA_OIF {
            change_word(&mut bytes, hop, now);
        }
        // struct rtnexthop: its length, the flags as a byte, the hops as one, then the link's index.
        while let Some(length @ 8..) = half(&bytes, hop).map(usize::from).filter(|_| kind == RTA_MULTIPATH && hop < end) {
            if let Some(flags) = bytes.get_mut(hop + 2) {
                *flags &= RTNH_F_PERVASIVE | RTNH_F_ONLINK;
            }
            change_word(&mut bytes, hop + 4, now);
            hop += length.next_multiple_of(4);
        }
    }
    bytes
}

fn change_word(bytes: &mut [u8], at: usize, change: impl Fn(u32) -> u32) {
    if let Some(word) = bytes.get_mut(at..at + 4) {
        let value = word.try_into().map_or(0, u32::from_ne_bytes);
        word.copy_from_slice(&change(value).to_ne_bytes());
    }
}
