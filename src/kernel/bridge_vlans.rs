//! What a bridge and its ports carry.

use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::decode;
use super::wire::Netlink;
use crate::model::bridge::{BridgePort, BridgeVlans};
use crate::model::error::KernelError;
use crate::model::facts::{LinkFacts, LinkKind};

/// A bridge's VLANs, given its ports.
pub(super) fn look(host: &mut Netlink, bridge: &LinkFacts, ports: &[LinkFacts]) -> Result<Option<BridgeVlans>, KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = bridge.index;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = host.request(&RouteNetlinkMessage::GetLink(message), 0)?;
    let Some(mut facts) = answers.iter().find_map(decode::bridge_vlans) else { return Ok(None) };
    if facts.possible {
        let carried = carried(host, bridge.index)?;
        let vlans = |index| carried.iter().find(|(port, _)| *port == index).map(|(_, vlans)| vlans.clone()).unwrap_or_default();
        let port = |link: &LinkFacts| BridgePort {
            index: link.index,
            name: link.name.clone(),
            uplink: is_uplink(&link.kind),
            vlans: vlans(link.index),
        };
        facts.ports = std::iter::once(BridgePort { uplink: false, ..port(bridge) }).chain(ports.iter().map(port)).collect();
    }
    Ok(Some(facts))
}

/// `bridge vlan show`: RTM_GETLINK of the family AF_BRIDGE, which knows no filter by bridge.
fn carried(host: &mut Netlink, bridge: u32) -> Result<Vec<(u32, Vec<crate::model::vlan::PortVlan>)>, KernelError> {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]));
    let answers = host.dump(&RouteNetlinkMessage::GetLink(message))?;
    let ports = answers.iter().filter_map(decode::port_vlans).filter(|(_, master, _)| *master == bridge);
    Ok(ports.map(|(index, _, vlans)| (index, vlans)).collect())
}

/// Guests and virtual machines hang on veth pairs and taps; what else is a port leads to others.
fn is_uplink(kind: &LinkKind) -> bool {
    match kind {
        LinkKind::Veth => false,
        LinkKind::Other(name) => name != "tun",
        _ => true,
    }
}
