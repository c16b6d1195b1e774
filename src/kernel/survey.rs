//! All of a namespace in a few dumps, and what of it belongs to one attachment: for looking at hundreds of them at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::decode;
use super::netns::Namespace;
use super::observe::{addrs, default_routes, tables};
use super::wire::Netlink;
use crate::model::bridge::{BridgePort, BridgeVlans};
use crate::model::error::KernelError;
use crate::model::facts::{AddrFacts, Facts, GuestFacts, GuestId, HostFacts, LinkFacts, LinkKind, RouteFacts, TableFacts};
use crate::model::host::{HostLink, HostView};
use crate::model::op::OldPort;
use crate::model::request::{AttachRequest, HostIf};
use crate::model::types::{Family, MacAddr};
use crate::model::vlan::{NicVlan, PortVlan};

/// The host's links, and what its bridges' ports carry.
pub struct HostSurvey {
    links: Vec<LinkFacts>,
    bridges: Vec<(u32, BridgeVlans)>,
    ports: Vec<(u32, Vec<PortVlan>)>,
}

/// A guest's links, addresses and default routes.
#[derive(Clone)]
pub struct GuestSurvey {
    links: Vec<LinkFacts>,
    addrs: Vec<AddrFacts>,
    default_routes: Vec<RouteFacts>,
    tables: TableFacts,
}

impl HostSurvey {
    /// Two dumps.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn take() -> Result<Self, KernelError> {
        let mut socket = Netlink::open()?;
        let answers = socket.dump(&links())?;
        let links: Vec<LinkFacts> = answers.iter().filter_map(decode::link).collect();
        let bridges = answers.iter().filter_map(|answer| Some((decode::link(answer)?, decode::bridge_vlans(answer)?)));
        let bridges = bridges.filter(|(link, _)| link.kind == LinkKind::Bridge).map(|(link, vlans)| (link.index, vlans)).collect();
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]));
        let ports = socket.dump(&RouteNetlinkMessage::GetLink(message))?;
        let ports = ports.iter().filter_map(decode::port_vlans).map(|(index, _, vlans)| (index, vlans)).collect();
        Ok(Self { links, bridges, ports })
    }

    /// All of it, with the addresses: two dumps more.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn view() -> Result<HostView, KernelError> {
        let survey = Self::take()?;
        let mut socket = Netlink::open()?;
        let mut all = addrs(&mut socket, Family::Inet)?;
        all.extend(addrs(&mut socket, Family::Inet6)?);
        let given = |addr: &&AddrFacts| !matches!(addr.addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        let links = survey.links.iter().map(|link| HostLink {
            addrs: all.iter().filter(given).filter(|addr| addr.index == link.index).map(|addr| addr.addr).collect(),
            master: survey.master_of(link).map(str::to_owned),
            vlan_filtering: survey.bridges.iter().any(|(index, vlans)| *index == link.index && vlans.filtering),
            vlans: survey.ports.iter().find(|(index, _)| *index == link.index).map(|(_, vlans)| vlans.clone()).unwrap_or_default(),
            link: link.clone(),
        });
        Ok(HostView { links: links.collect() })
    }

    fn at(&self, index: u32) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.index == index)
    }

    fn called(&self, name: &str) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.name == name || link.alt_names.iter().any(|alt| alt == name))
    }

    /// The name of the bridge or bond that a link is a port of.
    pub fn master_of(&self, link: &LinkFacts) -> Option<&str> {
        self.at(link.master?).map(|master| master.name.as_str())
    }

    /// What an attachment's request is about, as of now.
    pub fn facts(&self, request: &AttachRequest, guest: &GuestSurvey, id: GuestId, interface: &str, index: Option<u32>) -> Facts {
        let link = match &request.host_if {
            HostIf::Name(name) => self.called(name.as_str()).cloned(),
            HostIf::Mac(mac) => self.by_mac(*mac),
            HostIf::Guest(_) => None,
        };
        let own = |link: &&LinkFacts| link.is_ours() || link.is_marked();
        let by_index = || guest.links.iter().filter(own).find(|link| Some(link.index) == index);
        let in_guest = guest.links.iter().find(|link| link.name == interface).or_else(by_index).cloned();
        // The other end of a link between two guests is in neither's host, where another may have its index.
        let is_on_host = |link: &&LinkFacts| link.kind == LinkKind::Veth && !matches!(request.host_if, HostIf::Guest(_));
        let peer = in_guest
            .as_ref()
            .filter(is_on_host)
            .and_then(|link| self.at(link.link?).filter(|peer| peer.kind == LinkKind::Veth && peer.link == Some(link.index)).cloned());
        let child = request.tag.as_ref().zip(link.as_ref()).and_then(|(tag, nic)| NicVlan::of(tag).ok()?.child(&nic.name).ok());
        let elsewhere = peer.as_ref().filter(|peer| peer.master != link.as_ref().map(|link| link.index));
        let host = HostFacts {
            vlan_link: child.and_then(|child| self.called(child.as_str()).cloned()),
            vlans: link.as_ref().zip(peer.as_ref()).and_then(|(bridge, peer)| self.vlans(bridge.index, peer)),
            peer_bridge: elsewhere.and_then(|peer| self.old_port(peer)),
            link,
            peer,
            ..HostFacts::default()
        };
        let guest = GuestFacts {
            id,
            shares_host: false,
            link: in_guest,
            addrs: guest.addrs.clone(),
            default_routes: guest.default_routes.clone(),
            tables: guest.tables.clone(),
            lost: Vec::new(),
            ipv6_disabled: false,
        };
        Facts { host, guest, fresh_mac: MacAddr::local_from([0; 6]) }
    }

    fn by_mac(&self, mac: MacAddr) -> Option<LinkFacts> {
        let all = self.links.iter().filter(|link| link.mac == Some(mac));
        all.min_by_key(|link| (link.kind != LinkKind::Device, link.link.is_some(), link.name.clone())).cloned()
    }

    fn vlans(&self, bridge: u32, port: &LinkFacts) -> Option<BridgeVlans> {
        let (_, vlans) = self.bridges.iter().find(|(index, _)| *index == bridge)?;
        let carried = self.ports.iter().find(|(index, _)| *index == port.index).map(|(_, vlans)| vlans.clone());
        let port = BridgePort { index: port.index, name: port.name.clone(), uplink: false, vlans: carried.unwrap_or_default() };
        Some(BridgeVlans { ports: vec![port], ..vlans.clone() })
    }

    fn old_port(&self, port: &LinkFacts) -> Option<OldPort> {
        let bridge = self.at(port.master?).filter(|link| link.kind == LinkKind::Bridge)?;
        let vlans = self.vlans(bridge.index, port)?;
        let carried = vlans.ports.into_iter().next().map(|port| port.vlans).unwrap_or_default();
        Some(OldPort { bridge: bridge.name.parse().ok()?, vlans: carried, default_pvid: vlans.default_pvid })
    }
}

impl GuestSurvey {
    /// A few dumps in the guest; its rules and all its routes only when there is reason.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the kernel refuses to tell.
    pub fn take(namespace: &Namespace, with_tables: bool) -> Result<Self, KernelError> {
        let mut socket = namespace.netlink()?;
        let links = socket.dump(&links())?.iter().filter_map(decode::link).collect();
        let mut survey = Self { links, addrs: Vec::new(), default_routes: Vec::new(), tables: TableFacts::default() };
        for (family, any) in [(Family::Inet, IpAddr::V4(Ipv4Addr::UNSPECIFIED)), (Family::Inet6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))] {
            survey.addrs.extend(addrs(&mut socket, family)?);
            survey.default_routes.extend(default_routes(&mut socket, any)?);
        }
        if with_tables {
            survey.tables = tables(&mut socket)?;
        }
        Ok(survey)
    }
}

fn links() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}
