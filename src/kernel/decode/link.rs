//! Links, of whose hundred attributes a dozen matter. Only those are taken apart: it is quicker by as much as all the rest
//! of an attach's own work, and a newer kernel's attributes that a library cannot read yet do not matter either.

use super::super::wire::{Answer, RTM_NEWLINK, attributes};
use super::sharing::sharing;
use super::vlan::protocol;
use crate::model::facts::{Layer, LinkFacts, LinkKind};
use crate::model::types::MacAddr;

/// `struct ifinfomsg` (linux/rtnetlink.h): family, a gap, ARPHRD type, index, flags, mask.
pub(super) const HEADER: usize = 16;

// linux/if_arp.h, linux/if.h
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_INFINIBAND: u16 = 32;
const IFF_UP: u32 = 1;

// linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_IPOIB_PKEY: u16 = 1;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
/// linux/if_bridge.h
const BR_STATE_FORWARDING: u8 = 3;

/// A link, if the answer is one.
pub(in super::super) fn link(answer: &Answer) -> Option<LinkFacts> {
    let raw = (answer.kind == RTM_NEWLINK).then_some(&answer.raw)?;
    let flags = word(raw.get(8..12)?)?;
    let mut facts = LinkFacts {
        index: word(raw.get(4..8)?)?,
        name: String::new(),
        alt_names: Vec::new(),
        kind: LinkKind::Device,
        layer: match half(raw.get(2..4)?)? {
            ARPHRD_ETHER => Layer::Ethernet,
            ARPHRD_INFINIBAND => Layer::Infiniband,
            _ => Layer::Other,
        },
        up: flags & IFF_UP != 0,
        carrier: false,
        mtu: 0,
        queue_len: 0,
        mac: None,
        master: None,
        link: None,
        forwarding: None,
        group: 0,
    };
    for (kind, value) in attributes(raw.get(HEADER..)?) {
        match kind {
            IFLA_ADDRESS => facts.mac = MacAddr::from_bytes(value),
            IFLA_IFNAME => facts.name = text(value),
            IFLA_MTU => facts.mtu = word(value).unwrap_or(0),
            IFLA_TXQLEN => facts.queue_len = word(value).unwrap_or(0),
            IFLA_LINK => facts.link = word(value).filter(|i| *i != 0),
            IFLA_GROUP => facts.group = word(value).unwrap_or(0),
            IFLA_MASTER => facts.master = word(value).filter(|i| *i != 0),
            IFLA_CARRIER => facts.carrier = value.first() == Some(&1),
            IFLA_PROP_LIST => facts.alt_names = attributes(value).filter(|(k, _)| *k == IFLA_ALT_IFNAME).map(|(_, v)| text(v)).collect(),
            IFLA_LINKINFO => (facts.kind, facts.forwarding) = link_info(value),
            _ => {}
        }
    }
    Some(facts)
}

/// What the link's namespace calls the one that its parent is in, if that is another.
pub(in super::super) fn parent_namespace(answer: &Answer) -> Option<i32> {
    let raw = (answer.kind == RTM_NEWLINK).then_some(&answer.raw)?;
    let (_, value) = attributes(raw.get(HEADER..)?).find(|(kind, _)| *kind == IFLA_LINK_NETNSID)?;
    value.try_into().ok().map(i32::from_ne_bytes)
}

/// What the link is, and whether it forwards as a bridge's port.
fn link_info(nest: &[u8]) -> (LinkKind, Option<bool>) {
    let find = |wanted: u16| attributes(nest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let data = |wanted: u16| attributes(find(IFLA_INFO_DATA)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let kind = match find(IFLA_INFO_KIND).map(text).as_deref() {
        None => LinkKind::Device,
        Some("bridge") => LinkKind::Bridge,
        Some("openvswitch") => LinkKind::OpenVswitch,
        Some("veth") => LinkKind::Veth,
        Some("dummy") => LinkKind::Dummy,
        Some("vlan") => LinkKind::Vlan { id: data(IFLA_VLAN_ID).and_then(half), protocol: protocol(data(IFLA_VLAN_PROTOCOL)) },
        Some("ipoib") => LinkKind::Ipoib { pkey: data(IFLA_IPOIB_PKEY).and_then(half) },
        Some(other) => match find(IFLA_INFO_DATA).and_then(|data| sharing(other, data)) {
            Some(sharing) => LinkKind::Shared(sharing),
            None => LinkKind::Other(other.to_owned()),
        },
    };
    let is_port = find(IFLA_INFO_SLAVE_KIND).map(text).as_deref() == Some("bridge");
    let port = find(IFLA_INFO_SLAVE_DATA).filter(|_| is_port);
    let state =
        port.map(|nest| attributes(nest).any(|(kind, value)| kind == IFLA_BRPORT_STATE && value.first() == Some(&BR_STATE_FORWARDING)));
    (kind, state)
}

/// Whether the link is a bridge's port that is kept out of the flood of multicast.
pub(in super::super) fn is_out_of_flood(answer: &Answer) -> bool {
    let port = || {
        let raw = (answer.kind == RTM_NEWLINK).then_some(&answer.raw)?;
        let (_, info) = attributes(raw.get(HEADER..)?).find(|(kind, _)| *kind == IFLA_LINKINFO)?;
        let (_, port) = attributes(info).find(|(kind, _)| *kind == IFLA_INFO_SLAVE_DATA)?;
        Some(attributes(port).any(|(kind, value)| kind == IFLA_BRPORT_MCAST_FLOOD && value.first() == Some(&0)))
    };
    port().unwrap_or(false)
}

/// An attribute of the link that the answer is about.
pub(in super::super) fn attribute_of_link(answer: &Answer, wanted: u16) -> Option<&[u8]> {
    let raw = (answer.kind == RTM_NEWLINK).then_some(&answer.raw)?;
    attributes(raw.get(HEADER..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// What a link of that kind has to say of itself; `None` when it is of another.
pub(in super::super) fn info_of<'a>(answer: &'a Answer, wanted: &str) -> Option<&'a [u8]> {
    let info = attribute_of_link(answer, IFLA_LINKINFO)?;
    attributes(info).find(|(kind, value)| *kind == IFLA_INFO_KIND && text(value) == wanted)?;
    attributes(info).find(|(kind, _)| *kind == IFLA_INFO_DATA).map(|(_, data)| data)
}

/// What a kind of link has to say of itself, among a link's attributes.
pub(super) fn info_data(bytes: &[u8]) -> Option<&[u8]> {
    let (_, info) = attributes(bytes).find(|(kind, _)| *kind == IFLA_LINKINFO)?;
    attributes(info).find(|(kind, _)| *kind == IFLA_INFO_DATA).map(|(_, data)| data)
}

pub(super) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn half(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}
