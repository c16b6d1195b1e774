//! How a link shares a NIC: macvlan's, macvtap's and ipvlan's own attributes.

use super::super::wire::attributes;
use super::link::{half, word};
use crate::model::sharing::{IpvlanLayer, IpvlanMode, IpvlanSiblings, MacvlanMode, Sharing};
use crate::model::types::MacAddr;

// linux/if_link.h
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_MACADDR: u16 = 4;
const IFLA_MACVLAN_MACADDR_DATA: u16 = 5;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const MACVLAN_MODE_PRIVATE: u32 = 1;
const MACVLAN_MODE_VEPA: u32 = 2;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const MACVLAN_MODE_PASSTHRU: u32 = 8;
const MACVLAN_MODE_SOURCE: u32 = 16;
const IPVLAN_MODE_L2: u16 = 0;
const IPVLAN_MODE_L3: u16 = 1;
const IPVLAN_MODE_L3S: u16 = 2;
const IPVLAN_F_PRIVATE: u16 = 1;
const IPVLAN_F_VEPA: u16 = 2;

/// From IFLA_INFO_DATA; `None` for another kind, and for a mode that we do not know.
pub(super) fn sharing(kind: &str, data: &[u8]) -> Option<Sharing> {
    match kind {
        "macvlan" => macvlan_mode(data).map(Sharing::Macvlan),
        "macvtap" => macvlan_mode(data).map(Sharing::Macvtap),
        "ipvlan" => ipvlan_mode(data).map(Sharing::Ipvlan),
        _ => None,
    }
}

fn find(data: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(data).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn macvlan_mode(data: &[u8]) -> Option<MacvlanMode> {
    match find(data, IFLA_MACVLAN_MODE).and_then(word)? {
        MACVLAN_MODE_PRIVATE => Some(MacvlanMode::Private),
        MACVLAN_MODE_VEPA => Some(MacvlanMode::Vepa),
        MACVLAN_MODE_BRIDGE => Some(MacvlanMode::Bridge),
        MACVLAN_MODE_PASSTHRU => Some(MacvlanMode::Passthru),
        MACVLAN_MODE_SOURCE => {
            let list = attributes(find(data, IFLA_MACVLAN_MACADDR_DATA).unwrap_or_default());
            let allowed = list.filter(|(kind, _)| *kind == IFLA_MACVLAN_MACADDR).filter_map(|(_, value)| MacAddr::from_bytes(value));
            Some(MacvlanMode::source(allowed.collect()))
        }
        _ => None,
    }
}

fn ipvlan_mode(data: &[u8]) -> Option<IpvlanMode> {
    let layer = match find(data, IFLA_IPVLAN_MODE).and_then(half)? {
        IPVLAN_MODE_L2 => IpvlanLayer::L2,
        IPVLAN_MODE_L3 => IpvlanLayer::L3,
        IPVLAN_MODE_L3S => IpvlanLayer::L3s,
        _ => return None,
    };
    let flags = find(data, IFLA_IPVLAN_FLAGS).and_then(half).unwrap_or(0);
    let siblings = match flags {
        _ if flags & IPVLAN_F_PRIVATE != 0 => IpvlanSiblings::Private,
        _ if flags & IPVLAN_F_VEPA != 0 => IpvlanSiblings::Vepa,
        _ => IpvlanSiblings::Bridge,
    };
    Some(IpvlanMode { layer, siblings })
}
