//! VLANs: a bridge's own settings, and what its ports carry.

use super::super::wire::{Answer, RTM_NEWLINK, attributes};
use super::link::{HEADER, half, info_data, word};
use crate::model::bridge::BridgeVlans;
use crate::model::vlan::{PortVlan, VlanProtocol};

// linux/if_link.h
const IFLA_MASTER: u16 = 10;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_PROTOCOL: u16 = 8;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
// linux/if_bridge.h
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
const BRIDGE_VLAN_INFO_RANGE_BEGIN: u16 = 1 << 3;
const BRIDGE_VLAN_INFO_RANGE_END: u16 = 1 << 4;
// linux/if_ether.h
const ETH_P_8021AD: u16 = 0x88a8;

/// EtherTypes stand in network byte order, unlike the rest.
pub(super) fn protocol(value: Option<&[u8]>) -> VlanProtocol {
    match value.and_then(|v| v.try_into().ok()).map(u16::from_be_bytes) {
        Some(ETH_P_8021AD) => VlanProtocol::Dot1ad,
        _ => VlanProtocol::Dot1q,
    }
}

/// A bridge's settings, without its ports. A kernel that cannot filter does not speak of a protocol (br_fill_info,
/// net/bridge/br_netlink.c).
pub(in super::super) fn bridge_vlans(answer: &Answer) -> Option<BridgeVlans> {
    let data = (answer.kind == RTM_NEWLINK).then(|| info_data(answer.raw.get(HEADER..)?)).flatten()?;
    let find = |wanted: u16| attributes(data).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    Some(BridgeVlans {
        possible: find(IFLA_BR_VLAN_PROTOCOL).is_some(),
        filtering: find(IFLA_BR_VLAN_FILTERING).and_then(|v| v.first()) == Some(&1),
        protocol: protocol(find(IFLA_BR_VLAN_PROTOCOL)),
        default_pvid: find(IFLA_BR_VLAN_DEFAULT_PVID).and_then(half).filter(|pvid| *pvid != 0),
        has_address: false,
        own_tags: Vec::new(),
        ports: Vec::new(),
    })
}

/// A port's index, its bridge's index, and its VLANs: from an answer of the family AF_BRIDGE.
pub(in super::super) fn port_vlans(answer: &Answer) -> Option<(u32, u32, Vec<PortVlan>)> {
    let raw = (answer.kind == RTM_NEWLINK).then_some(&answer.raw)?;
    let index = word(raw.get(4..8)?)?;
    let mut bridge = index;
    let mut vlans = Vec::new();
    for (kind, value) in attributes(raw.get(HEADER..)?) {
        match kind {
            IFLA_MASTER => bridge = word(value)?,
            IFLA_AF_SPEC => vlans = entries(value),
            _ => {}
        }
    }
    Some((index, bridge, vlans))
}

/// `struct bridge_vlan_info`: flags and number. A range is two of them.
fn entries(nest: &[u8]) -> Vec<PortVlan> {
    let mut all = Vec::new();
    let mut begun = None;
    for (_, value) in attributes(nest).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO) {
        let (Some(flags), Some(id)) = (value.get(..2).and_then(half), value.get(2..4).and_then(half)) else { continue };
        if flags & BRIDGE_VLAN_INFO_RANGE_BEGIN != 0 {
            begun = Some(id);
            continue;
        }
        let first = begun.take().filter(|_| flags & BRIDGE_VLAN_INFO_RANGE_END != 0).unwrap_or(id);
        let (pvid, untagged) = (flags & BRIDGE_VLAN_INFO_PVID != 0, flags & BRIDGE_VLAN_INFO_UNTAGGED != 0);
        all.push(PortVlan { first, last: id, pvid, untagged });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_vlans_are_told_apart() {
        let info = |flags: u16, id: u16| [[8, 0, 2, 0].as_slice(), &flags.to_ne_bytes(), &id.to_ne_bytes()].concat();
        let nest = [info(6, 10), info(8, 20), info(16, 30), info(0, 40), info(8, 50)].concat();
        let vlan = |first, last, both| PortVlan { first, last, pvid: both, untagged: both };
        assert_eq!(entries(&nest), [vlan(10, 10, true), vlan(20, 30, false), vlan(40, 40, false)]);
    }
}
