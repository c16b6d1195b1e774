//! VLANs: children of NICs, and what a bridge's ports carry.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{BridgeVlanInfoFlags, InfoKind, VlanProtocol as Protocol};
use rtnetlink::{LinkBridge, LinkBridgeVlan, LinkMessageBuilder, LinkVlan};

use super::{MARK, new_link};
use crate::model::types::IfName;
use crate::model::vlan::{NicVlan, PortVlan, VlanProtocol};

/// `ip link add link PARENT name NAME mtu M type vlan [protocol 802.1ad] id ID`
pub(in super::super) fn add(name: &IfName, parent: u32, vlan: NicVlan, mtu: u32) -> RouteNetlinkMessage {
    let builder = LinkMessageBuilder::<LinkVlan>::new(name.as_str()).link(parent).mtu(mtu).append_extra_attribute(MARK);
    let builder = match vlan.protocol {
        VlanProtocol::Dot1q => builder,
        VlanProtocol::Dot1ad => builder.protocol(Protocol::Ieee8021Ad),
    };
    new_link(builder.id(vlan.id.get()).build())
}

/// `ip link set dev BRIDGE type bridge vlan_filtering 0|1`
pub(in super::super) fn set_filtering(bridge: u32, on: bool) -> RouteNetlinkMessage {
    new_link(LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge).index(bridge).vlan_filtering(on).build())
}

/// `bridge vlan add dev PORT vid FIRST[-LAST] [pvid] [untagged]`
pub(in super::super) fn add_to_port(port: u32, vlan: &PortVlan) -> RouteNetlinkMessage {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    RouteNetlinkMessage::SetLink(port_vlan(port, vlan, flags).build())
}

/// `bridge vlan del dev PORT vid FIRST[-LAST]`
pub(in super::super) fn del_from_port(port: u32, vlan: &PortVlan) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(port_vlan(port, vlan, BridgeVlanInfoFlags::empty()).build())
}

fn port_vlan(port: u32, vlan: &PortVlan, flags: BridgeVlanInfoFlags) -> LinkMessageBuilder<LinkBridgeVlan> {
    let builder = LinkBridgeVlan::new(port);
    if vlan.first == vlan.last {
        return builder.vlan(vlan.first, flags);
    }
    builder.vlan_range_start(vlan.first, flags).vlan_range_end(vlan.last, flags)
}
