//! Looking at both sides before anything is planned: only what the request's own kind needs.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, address::AddressMessage};
use nix::errno::Errno;

use super::netns::Namespace;
use super::nl80211::phy_facts;
use super::system::{find_link, has_address, link_at, ports};
use super::wire::{Answer, Netlink};
use super::{access, bridge_vlans, decode, ethtool, routing, siblings, sysctl};
use crate::model::access::AccessFacts;
use crate::model::bridge::BridgeVlans;
use crate::model::error::KernelError;
use crate::model::facts::{
    self, AddrFacts, Facts, GuestFacts, GuestId, HostFacts, Layer, LinkFacts, LinkKind, Names, NicState, RouteFacts, TableFacts,
    origin_name,
};
use crate::model::op::NicBefore;
use crate::model::request::{AttachRequest, HostIf};
use crate::model::sharing::Sharing;
use crate::model::types::{Family, IfAddr, IfName, MacAddr};
use crate::model::vlan::NicVlan;

/// The open ends of both sides.
pub struct Sides<'a> {
    /// Socket of the host.
    pub host: Netlink,
    /// The host's namespace.
    pub home: Namespace,
    /// Socket of the guest.
    pub guest: Netlink,
    /// The guest's namespace.
    pub namespace: &'a Namespace,
}

/// Looks at both sides at the same time. Returns what is there, and both sides open for what is to be done.
///
/// # Errors
/// When the guest's namespace cannot be entered or the kernel refuses to tell.
pub fn look<'a>(request: &AttachRequest, namespace: &'a Namespace, id: GuestId) -> Result<(Facts, Sides<'a>), KernelError> {
    let names = Names::of(&id);
    let usual_name = facts::guest_if(request).to_string();
    let ask_guest = || {
        let mut socket = Netlink::open()?;
        let facts = guest_facts(request, &mut socket, id, &usual_name)?;
        Ok((facts, socket))
    };
    let home = Namespace::current()?;
    let (mut guest, guest_socket) = namespace.visit(&home, ask_guest)?;
    let mut host_socket = Netlink::open()?;
    let mut host = host_facts(request, &mut host_socket, &home, &names)?;
    let mut sides = Sides { host: host_socket, home, guest: guest_socket, namespace };
    guest.shares_host = namespace.is(&sides.home);
    let infiniband = host.link.as_ref().is_some_and(|l| l.layer == Layer::Infiniband);
    if infiniband && request.guest_if.is_none() {
        guest.link = find_link(&mut sides.guest, "ib0")?;
    }
    host.peer = peer(&mut sides.host, guest.link.as_ref())?;
    host.access = access_facts(request, &host, guest.link.as_ref(), &mut sides)?;
    let bridge = host.link.as_ref().filter(|link| link.kind == LinkKind::Bridge && host.vlans.is_none());
    if let (Some(bridge), Some(port)) = (bridge, &host.peer) {
        // Without a VLAN asked for, the port has to carry what a new one does.
        host.vlans = bridge_vlans::look(&mut sides.host, bridge, std::slice::from_ref(port))?;
    }
    let fresh_mac = if host.link.is_none() { fresh_mac() } else { MacAddr::local_from([0; 6]) };
    Ok((Facts { host, guest, fresh_mac }, sides))
}

/// Looks at the host for a guest that is not there yet, and has nothing: an engine will bring it what is made here. Both sides are
/// the host's own.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn look_ahead<'a>(request: &AttachRequest, home: &'a Namespace, id: GuestId) -> Result<(Facts, Sides<'a>), KernelError> {
    let mut sides = open(home)?;
    let host = host_facts(request, &mut sides.host, &sides.home, &Names::of(&id))?;
    let guest = GuestFacts {
        id,
        shares_host: false,
        link: None,
        addrs: Vec::new(),
        default_routes: Vec::new(),
        tables: TableFacts::default(),
        lost: Vec::new(),
        ipv6_disabled: false,
    };
    let fresh_mac = if host.link.is_none() { fresh_mac() } else { MacAddr::local_from([0; 6]) };
    Ok((Facts { host, guest, fresh_mac }, sides))
}

/// Opens both sides without a look at them.
///
/// # Errors
/// As [`look`].
pub fn open(namespace: &Namespace) -> Result<Sides<'_>, KernelError> {
    Ok(Sides { host: Netlink::open()?, home: Namespace::current()?, guest: namespace.netlink()?, namespace })
}

fn access_facts(
    request: &AttachRequest,
    host: &HostFacts,
    guest_link: Option<&LinkFacts>,
    sides: &mut Sides<'_>,
) -> Result<Option<AccessFacts>, KernelError> {
    let (true, Some(addr)) = (request.host_access, &request.addr.first()) else { return Ok(None) };
    let parent = if request.tag.is_some() { host.vlan_link.as_ref() } else { host.link.as_ref() };
    access::look(addr, parent, guest_link, &mut sides.host, &mut sides.guest).map(Some)
}

fn host_facts(request: &AttachRequest, host: &mut Netlink, home: &Namespace, names: &Names) -> Result<HostFacts, KernelError> {
    let link = match &request.host_if {
        HostIf::Name(name) => match find_link(host, name.as_str())? {
            None if request.direct_phys => link_by_alt_name(host, &origin_name(name.as_str()))?,
            found => found,
        },
        HostIf::Mac(mac) => link_by_mac(host, *mac)?,
        HostIf::Guest(_) => None,
    };
    let mut facts = HostFacts::default();
    let Some(nic) = &link else {
        facts.local_link = find_link(host, names.host_end(request).as_str())?;
        facts.own_gateways = own_gateways(request, host)?;
        return Ok(facts);
    };
    if nic.kind == LinkKind::Bridge {
        facts.local_link = find_link(host, names.host_end(request).as_str())?;
        // Their number would cost an attach as much as the bridge has ports: the kernel says when there is no room.
        if request.tag.is_some() {
            let ports = ports(host, nic.index)?;
            facts.ports = ports.len();
            facts.vlans = tagged_vlans(host, nic, &ports)?;
        }
    } else {
        // Open vSwitch's bridges: the kernel's datapath, and the other's tap (drivers/net/tun.c).
        if nic.kind == LinkKind::OpenVswitch || nic.kind == LinkKind::Other("tun".into()) {
            facts.local_link = find_link(host, names.host_end(request).as_str())?;
        }
        nic_facts(request, host, home, nic, &mut facts)?;
    }
    if nic.layer == Layer::Infiniband {
        facts.returned = links(host)?.into_iter().filter(|link| link.is_child_of(nic)).collect();
    }
    facts.link = link;
    Ok(facts)
}

/// What matters of a NIC: its child for the VLAN, who it belongs to, and what it would take with it.
fn nic_facts(
    request: &AttachRequest,
    host: &mut Netlink,
    home: &Namespace,
    nic: &LinkFacts,
    facts: &mut HostFacts,
) -> Result<(), KernelError> {
    let child = request.tag.as_ref().and_then(|tag| NicVlan::of(tag).ok()?.child(&nic.name).ok());
    if let Some(child) = child {
        facts.vlan_link = find_link(host, child.as_str())?;
    }
    let parent = if request.tag.is_some() { facts.vlan_link.as_ref() } else { Some(nic) };
    if let Some(master) = parent.and_then(|p| p.master) {
        facts.master = link_at(host, master)?;
    }
    let sharing = request.sharing.as_ref();
    if let (true, Some(parent)) = (request.direct_phys || sharing.is_some_and(Sharing::is_passthru), parent) {
        facts.nic = nic_state(host, parent)?;
    }
    if let (true, false, Some(parent)) = (request.direct_phys, request.settings.offloads.is_empty(), parent) {
        facts.features = Some(ethtool::features(home, parent.index)?);
    }
    if let (true, Some(parent)) = (request.direct_phys, parent) {
        facts.phy = phy_facts(host, parent)?;
        // Those on the host are known by now.
        let in_guests = siblings::on(host, home, parent.index)?.into_iter().filter(|above| !above.here);
        facts.nic.children.extend(in_guests.map(|above| format!("{} of a guest", above.link.name)));
    }
    if let (Some(sharing), Some(parent)) = (sharing, parent) {
        facts.siblings = siblings::of(host, home, parent.base_for(sharing))?;
    }
    facts.wireless = nic.kind == LinkKind::Device && is_wireless(nic);
    Ok(())
}

/// Whether sysfs has a phy for the NIC. Its names are those of the namespace that it was mounted in: the index has to fit.
fn is_wireless(nic: &LinkFacts) -> bool {
    let directory = std::path::Path::new("/sys/class/net").join(&nic.name);
    // Mostly there is none, and nothing is read.
    let index = || std::fs::read_to_string(directory.join("ifindex")).ok().and_then(|text| text.trim().parse().ok());
    directory.join("phy80211").exists() && index() == Some(nic.index)
}

/// A bridge's VLANs, for a port that is to be in one.
fn tagged_vlans(host: &mut Netlink, bridge: &LinkFacts, ports: &[LinkFacts]) -> Result<Option<BridgeVlans>, KernelError> {
    let Some(mut vlans) = bridge_vlans::look(host, bridge, ports)? else { return Ok(None) };
    let counts = |ip: IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    for family in [Family::Inet, Family::Inet6] {
        vlans.has_address |= addrs(host, family)?.iter().any(|a| a.index == bridge.index && counts(a.addr.ip()));
    }
    if !vlans.filtering {
        let links = host.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let on_it = links.iter().filter_map(decode::link).filter(|l| l.link == Some(bridge.index));
        vlans.own_tags = on_it.filter_map(|l| if let LinkKind::Vlan { id, .. } = l.kind { id } else { None }).collect();
    }
    Ok(Some(vlans))
}

fn own_gateways(request: &AttachRequest, host: &mut Netlink) -> Result<Vec<IpAddr>, KernelError> {
    let mut own = Vec::new();
    for gateway in &request.addr.gateways {
        let is_own = addrs(host, Family::of(*gateway))?.iter().any(|a| a.addr.ip() == *gateway);
        own.extend(is_own.then_some(*gateway));
    }
    Ok(own)
}

/// What the guest's own socket tells. Runs on a thread in its namespace.
fn guest_facts(request: &AttachRequest, socket: &mut Netlink, id: GuestId, guest_if: &str) -> Result<GuestFacts, KernelError> {
    let link = find_link(socket, guest_if)?;
    let mut guest = GuestFacts {
        id,
        shares_host: false,
        link,
        addrs: Vec::new(),
        default_routes: Vec::new(),
        tables: TableFacts::default(),
        lost: Vec::new(),
        ipv6_disabled: false,
    };
    for family in [Family::Inet, Family::Inet6] {
        let asked = request.dynamic.as_ref().is_some_and(|dynamic| dynamic.family() == family) && guest.link.is_some();
        if asked || request.addr.of(family).next().is_some() {
            guest.addrs.extend(addrs(socket, family)?);
        }
    }
    let is_wanted = |ip: IpAddr| request.addr.addrs.iter().any(|wanted| wanted.ip() == ip);
    for taken in guest.addrs.iter_mut().filter(|a| is_wanted(a.addr.ip()) && a.dev.is_none()) {
        taken.dev = link_at(socket, taken.index)?.map(|l| l.name);
    }
    for gateway in &request.addr.gateways {
        guest.default_routes.extend(default_routes(socket, *gateway)?);
    }
    if request.settings.table.is_some() {
        guest.tables = tables(socket)?;
    }
    if request.has_family(Family::Inet6) {
        guest.ipv6_disabled = sysctl::ipv6_disabled();
    }
    Ok(guest)
}

/// The host's end of a veth of the guest's.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn peer_of(host: &mut Netlink, link: &LinkFacts) -> Result<Option<LinkFacts>, KernelError> {
    peer(host, Some(link))
}

/// The host's end of the guest's veth: each says that the other is its peer.
pub(super) fn peer(host: &mut Netlink, link: Option<&LinkFacts>) -> Result<Option<LinkFacts>, KernelError> {
    let Some(link) = link.filter(|l| l.kind == LinkKind::Veth) else { return Ok(None) };
    let Some(index) = link.link else { return Ok(None) };
    let peer = link_at(host, index)?;
    Ok(peer.filter(|p| p.kind == LinkKind::Veth && p.link == Some(link.index)))
}

/// The NIC of an address. VLANs and macvlans on it may bear the same one: the NIC itself is meant.
fn link_by_mac(host: &mut Netlink, mac: MacAddr) -> Result<Option<LinkFacts>, KernelError> {
    let mut links = links(host)?;
    links.retain(|l| l.mac == Some(mac));
    links.sort_by_key(|l| (l.kind != LinkKind::Device, l.link.is_some(), l.name.clone()));
    Ok(links.into_iter().next())
}

/// The NIC that came back from a guest which is gone, under the guest's name for it.
fn link_by_alt_name(host: &mut Netlink, name: &str) -> Result<Option<LinkFacts>, KernelError> {
    Ok(links(host)?.into_iter().find(|link| link.alt_names.iter().any(|alt| alt == name)))
}

pub(super) fn links(host: &mut Netlink) -> Result<Vec<LinkFacts>, KernelError> {
    let answers = host.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(answers.iter().filter_map(decode::link).collect())
}

pub(super) fn nic_state(host: &mut Netlink, nic: &LinkFacts) -> Result<NicState, KernelError> {
    let mut state = NicState::default();
    // A veth's IFLA_LINK is its other end, which is no parent.
    let on_nic = |l: &LinkFacts| l.link == Some(nic.index) && l.index != nic.index && l.kind != LinkKind::Veth;
    state.children = links(host)?.into_iter().filter(on_nic).map(|l| l.name).collect();
    for family in [Family::Inet, Family::Inet6] {
        state.addrs.extend(addrs(host, family)?.into_iter().filter(|a| a.index == nic.index));
        let through = |route: &RouteFacts| route.links.contains(&nic.index);
        state.routes.extend(routes(host, family, |message| !decode::is_kernels_own(message))?.into_iter().filter(through));
    }
    // A gateway is taken only when the route to it is there.
    state.routes.sort_by_key(|r| r.gateway.is_some());
    Ok(state)
}

/// What a NIC has on the host.
pub(super) fn nic_before(host: &mut Netlink, nic: &LinkFacts) -> Result<NicBefore, KernelError> {
    Ok(NicBefore { index: nic.index, up: nic.up, master: nic.master, state: nic_state(host, nic)? })
}

/// The addresses of one family.
///
/// # Errors
/// When the kernel refuses.
pub fn addrs(socket: &mut Netlink, family: Family) -> Result<Vec<AddrFacts>, KernelError> {
    Ok(addr_answers(socket, family)?.iter().filter_map(decode::addr).collect())
}

pub(super) fn addr_answers(socket: &mut Netlink, family: Family) -> Result<Vec<Answer>, KernelError> {
    let mut message = AddressMessage::default();
    message.header.family = address_family(family);
    socket.dump(&RouteNetlinkMessage::GetAddress(message))
}

/// The default routes of table main of a gateway's family, in the kernel's order.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn default_routes(guest: &mut Netlink, gateway: IpAddr) -> Result<Vec<RouteFacts>, KernelError> {
    let main = |message: &RouteMessage| message.header.table == RouteHeader::RT_TABLE_MAIN;
    let mut routes = routes(guest, Family::of(gateway), main)?;
    routes.retain(|r| r.is_default);
    Ok(routes)
}

/// The routing tables in use, of both families.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn tables(socket: &mut Netlink) -> Result<TableFacts, KernelError> {
    let mut facts = TableFacts::default();
    for family in [Family::Inet, Family::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(family);
        let answers = socket.dump(&RouteNetlinkMessage::GetRoute(message))?;
        facts.used.extend(answers.iter().filter_map(|answer| routing::decode_route(&answer.raw)).map(|route| route.table));
        let rules = match routing::rules(socket, family) {
            // This kernel has no IPv6, or no policy routing.
            Err(error) if matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => continue,
            rules => rules?,
        };
        for rule in rules.into_iter().filter_map(|seen| seen.object) {
            facts.used.insert(rule.table);
            let host = rule.src.filter(|_| rule.src_len == family.host_prefix());
            facts.rules.extend(host.map(|ip| (ip, rule.table)));
        }
    }
    Ok(facts)
}

fn routes(socket: &mut Netlink, family: Family, wanted: impl Fn(&RouteMessage) -> bool) -> Result<Vec<RouteFacts>, KernelError> {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    let answers = socket.dump(&RouteNetlinkMessage::GetRoute(message))?;
    let is_wanted = |answer: &&Answer| decode::route_message(answer).is_some_and(|m| wanted(&m));
    let answers: Vec<&Answer> = answers.iter().filter(is_wanted).collect();
    let mut name = |index| match link_at(socket, index) {
        Ok(Some(link)) => link.name,
        _ => format!("if{index}"),
    };
    Ok(answers.into_iter().filter_map(|answer| decode::route(answer, &mut name)).collect())
}

pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
    }
}

/// A random identifier, 16 hexadecimal digits.
pub fn random_id() -> String {
    let (one, two) = (fresh_mac().octets(), fresh_mac().octets());
    one.iter().skip(1).chain(two.iter().skip(3)).map(|byte| format!("{byte:02x}")).collect()
}

/// A random address for a link. Should the kernel have no random bytes, the clock must do.
pub fn fresh_mac() -> MacAddr {
    let mut bytes = [0u8; 6];
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes.copy_from_slice(&now.as_nanos().to_ne_bytes()[..6]);
    }
    MacAddr::local_from(bytes)
}

/// All links of the host.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn links_of_host() -> Result<Vec<LinkFacts>, KernelError> {
    links(&mut Netlink::open()?)
}

/// A route of the host's to a part of a subnet, or to more than it, as `ip route` prints it. The default route is none.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn route_into(subnet: &IpNetwork) -> Result<Option<String>, KernelError> {
    let family = if subnet.is_ipv4() { Family::Inet } else { Family::Inet6 };
    let main = |message: &RouteMessage| message.header.table == RouteHeader::RT_TABLE_MAIN;
    let routes = routes(&mut Netlink::open()?, family, main)?;
    let overlaps = |route: &&RouteFacts| {
        let to = route.text.split(' ').next().and_then(|to| to.parse::<IpNetwork>().ok());
        !route.is_default && to.is_some_and(|to| to.contains(subnet.ip()) || subnet.contains(to.ip()))
    };
    Ok(routes.iter().find(overlaps).map(RouteFacts::without_link))
}

/// All links of a namespace.
///
/// # Errors
/// When it cannot be entered, or the kernel refuses to tell.
pub fn links_of(namespace: &Namespace) -> Result<Vec<LinkFacts>, KernelError> {
    links(&mut namespace.netlink()?)
}

/// Whether nobody uses a bridge or VLAN child of the host's: it has no port, no link on it, no master, no address.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn is_unused(link: &LinkFacts) -> Result<bool, KernelError> {
    let (home, mut host) = (Namespace::current()?, Netlink::open()?);
    let free = link.master.is_none() && ports(&mut host, link.index)?.is_empty() && !has_address(&mut host, link.index)?;
    Ok(free && siblings::on(&mut host, &home, link.index)?.is_empty())
}

/// How many ports a bridge of the host has, or one that an attach would make under that name; `None` when it is no Linux bridge.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn ports_of(bridge: &IfName) -> Result<Option<usize>, KernelError> {
    let mut host = Netlink::open()?;
    match find_link(&mut host, bridge.as_str())? {
        Some(link) if link.kind == LinkKind::Bridge => Ok(Some(ports(&mut host, link.index)?.len())),
        None if bridge.as_str().starts_with("br") => Ok(Some(0)),
        _ => Ok(None),
    }
}

/// The link of a name, on the socket's side.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn link_called(socket: &mut Netlink, name: &IfName) -> Result<Option<LinkFacts>, KernelError> {
    find_link(socket, name.as_str())
}

/// The link of an index, on the socket's side.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn link_of(socket: &mut Netlink, index: u32) -> Result<Option<LinkFacts>, KernelError> {
    link_at(socket, index)
}

/// An IPv6 address of a link, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Facts {
    /// The address.
    pub addr: IfAddr,
    /// What duplicate address detection says of it.
    pub usable: Usable,
    /// Whether somebody gave it for good: one of a router advertisement is not (IFA_F_PERMANENT, linux/if_addr.h).
    pub permanent: bool,
}

/// What duplicate address detection says of an address (RFC 4862, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// It may be used.
    Yes,
    /// It is still looked for.
    NotYet,
    /// Another host has it.
    Never,
}

/// The IPv6 addresses of a link.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn ipv6_addrs(guest: &mut Netlink, index: u32) -> Result<Vec<Ipv6Facts>, KernelError> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    let answers = guest.dump(&RouteNetlinkMessage::GetAddress(message))?;
    Ok(answers.iter().filter_map(|answer| decode::ipv6(answer, index)).collect())
}

/// Whether the guest's interface has the address and may send from it: duplicate address detection is over.
pub(super) fn is_usable(guest: &mut Netlink, index: u32, ip: std::net::Ipv6Addr) -> Result<bool, KernelError> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    let answers = guest.dump(&RouteNetlinkMessage::GetAddress(message))?;
    Ok(answers.iter().any(|answer| decode::has_usable(answer, index, ip)))
}
