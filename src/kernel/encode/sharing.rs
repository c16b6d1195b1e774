//! Links that share a NIC.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoIpVlan, InfoMacVlan, InfoMacVtap, IpVlanFlags, IpVlanMode, MacVlanMacAddressMode, MacVlanMode};
use rtnetlink::{LinkIpVlan, LinkMacVlan, LinkMacVtap, LinkMessageBuilder};

use super::{Newborn, new_link};
use crate::model::sharing::{IpvlanLayer, IpvlanMode, IpvlanSiblings, MacvlanMode, Sharing};

/// `ip link add link PARENT name NAME ... type macvlan|macvtap|ipvlan mode MODE ...`
pub(in super::super) fn add(parent: u32, sharing: &Sharing, link: &Newborn<'_>) -> RouteNetlinkMessage {
    let name = link.name.as_str();
    new_link(match sharing {
        Sharing::Macvlan(mode) => {
            let builder = LinkMacVlan::new(name, parent, macvlan_mode(mode));
            let builder = sources(mode).into_iter().flatten().fold(builder, LinkMessageBuilder::<LinkMacVlan>::append_info_data);
            link.attributes(builder).build()
        }
        Sharing::Macvtap(mode) => {
            let builder = LinkMacVtap::new(name, parent, macvlan_mode(mode));
            let sources = vtap_sources(mode).into_iter().flatten();
            link.attributes(sources.fold(builder, LinkMessageBuilder::<LinkMacVtap>::append_info_data)).build()
        }
        Sharing::Ipvlan(mode) => {
            let builder = LinkMessageBuilder::<LinkIpVlan>::new(name).link(parent);
            let builder = builder.append_info_data(InfoIpVlan::Flags(ipvlan_flags(*mode)));
            link.attributes(builder.mode(ipvlan_mode(*mode))).build()
        }
    })
}

fn macvlan_mode(mode: &MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
        MacvlanMode::Source(_) => MacVlanMode::Source,
    }
}

/// The addresses that source mode hears, set in the same message.
fn sources(mode: &MacvlanMode) -> Option<[InfoMacVlan; 2]> {
    let MacvlanMode::Source(allowed) = mode else { return None };
    let list = allowed.iter().map(|mac| InfoMacVlan::MacAddr(mac.octets())).collect();
    Some([InfoMacVlan::MacAddrMode(MacVlanMacAddressMode::Set), InfoMacVlan::MacAddrData(list)])
}

/// As [`sources`]: the library has a type of its own for macvtap.
fn vtap_sources(mode: &MacvlanMode) -> Option<[InfoMacVtap; 2]> {
    let MacvlanMode::Source(allowed) = mode else { return None };
    let list = allowed.iter().map(|mac| InfoMacVtap::MacAddr(mac.octets())).collect();
    Some([InfoMacVtap::MacAddrMode(MacVlanMacAddressMode::Set), InfoMacVtap::MacAddrData(list)])
}

fn ipvlan_mode(mode: IpvlanMode) -> IpVlanMode {
    match mode.layer {
        IpvlanLayer::L2 => IpVlanMode::L2,
        IpvlanLayer::L3 => IpVlanMode::L3,
        IpvlanLayer::L3s => IpVlanMode::L3S,
    }
}

fn ipvlan_flags(mode: IpvlanMode) -> IpVlanFlags {
    match mode.siblings {
        IpvlanSiblings::Bridge => IpVlanFlags::empty(),
        IpvlanSiblings::Private => IpVlanFlags::Private,
        IpvlanSiblings::Vepa => IpVlanFlags::Vepa,
    }
}
