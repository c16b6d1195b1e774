//! Telling the neighbours of many guests at once, when all are there.
//!
//! A guest that is alone tells by broadcast from its own interface, and its bridge gives each frame to all ports: of n guests that
//! would be n² frames more, and each needs a packet socket in the guest, whose closing takes the kernel 16 ms. None of the new
//! guests can have heard of the others before, so only those need to be told that were there: each bridge's older ports get the
//! very frames that would come out of them, and what the host itself remembers is put right.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};
use rtnetlink::packet_core::{NLM_F_REPLACE, Parseable};

use super::announce::Announcement;
use super::arp;
use super::bridge_vlans;
use super::fork;
use super::netns::Namespace;
use super::system::{find_link, link_at, ports};
use super::wire::{Netlink, RTM_NEWNEIGH};
use crate::model::error::KernelError;
use crate::model::types::{IfAddr, MacAddr};
use crate::plan::Announce;

/// One guest's news. Its namespace is opened again when it is told: thousands of open files would be too many.
#[derive(Debug)]
struct Herald {
    path: PathBuf,
    inode: u64,
    what: Announce,
    addrs: Vec<IfAddr>,
}

/// News of many guests.
#[derive(Debug, Default)]
pub struct Heralds {
    all: Mutex<Vec<Herald>>,
}

impl Heralds {
    /// Adds a guest's.
    pub fn add(&self, announcement: Announcement) {
        let (namespace, what, addrs) = announcement.parts();
        let herald = Herald { path: namespace.path().to_owned(), inode: namespace.inode(), what, addrs };
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(herald);
    }

    /// Tells who was on plain bridges before, and the host. That is to be over before the new ports are let into the flood: what
    /// n guests say by multicast then is n² frames, among which others are lost (net.core.netdev_max_backlog).
    pub fn tell_bridges(&self) {
        let all = std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner));
        if all.is_empty() {
            return;
        }
        let Ok(mut host) = Netlink::open() else { return };
        let mut bridges: BTreeMap<u32, Vec<(Herald, u32)>> = BTreeMap::new();
        let mut others = Vec::new();
        let mut plain = BTreeMap::new();
        for herald in all {
            match herald.place(&mut host, &mut plain) {
                Some((bridge, port)) => bridges.entry(bridge).or_default().push((herald, port)),
                None => others.push(herald),
            }
        }
        for (bridge, guests) in bridges {
            let _ = tell_bridge(&mut host, bridge, &guests);
            // Those of IPv6 are told from the guest, when duplicate address detection is over.
            others.extend(guests.into_iter().filter_map(|(herald, _)| herald.without_ipv4()));
        }
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = others;
    }

    /// Tells what is left from a child process, so that nobody waits for it. Where that cannot be, nobody is told: neighbours find
    /// out by themselves in their own time.
    pub fn in_background(self) {
        let all = self.all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let tell = |all: Vec<Herald>| all.into_iter().filter_map(Herald::announcement).for_each(|one| drop(one.announce()));
        if !all.is_empty() {
            fork::detached(&[], || tell(all));
        }
    }
}

/// A guest that is told of through its bridge.
struct Known {
    mac: MacAddr,
    ips: Vec<Ipv4Addr>,
}

impl Herald {
    /// The guest's namespace, if it is still the same.
    fn namespace(&self) -> Option<Namespace> {
        Namespace::open(&self.path).ok().filter(|namespace| namespace.inode() == self.inode)
    }

    fn announcement(self) -> Option<Announcement> {
        Some(Announcement::new(self.namespace()?, self.what, self.addrs, None))
    }

    fn without_ipv4(mut self) -> Option<Self> {
        self.addrs.retain(|addr| addr.ip().is_ipv6());
        if self.addrs.is_empty() { None } else { Some(self) }
    }

    /// Its plain bridge and its port there; `None` where the guest is on none, or on one whose ports are not alike.
    /// `plain`: what is known of bridges by their indexes, so that each is looked at once.
    fn place(&self, host: &mut Netlink, plain: &mut BTreeMap<u32, bool>) -> Option<(u32, u32)> {
        let port = find_link(host, self.what.port.as_ref()?.as_str()).ok()??;
        let bridge = port.master?;
        let is_plain = *plain.entry(bridge).or_insert_with(|| is_plain(host, bridge).unwrap_or(false));
        (is_plain && port.forwarding == Some(true)).then_some((bridge, port.index))
    }

    fn ips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addrs.iter().filter_map(|addr| if let IpAddr::V4(ip) = addr.ip() { Some(ip) } else { None })
    }

    /// What its neighbours are to know. That takes a look into the guest.
    fn known(&self) -> Option<Known> {
        let link = find_link(&mut self.namespace()?.netlink().ok()?, self.what.guest_if.as_str()).ok()??;
        Some(Known { mac: link.mac?, ips: self.ips().collect() })
    }
}

/// Whether a link is a bridge that filters no VLANs.
fn is_plain(host: &mut Netlink, bridge: u32) -> Option<bool> {
    let bridge = link_at(host, bridge).ok()??;
    Some(!bridge_vlans::look(host, &bridge, &[]).ok()?.is_some_and(|vlans| vlans.filtering))
}

/// Tells who was on the bridge before, and the host.
fn tell_bridge(host: &mut Netlink, bridge: u32, guests: &[(Herald, u32)]) -> Result<(), KernelError> {
    let new: BTreeSet<u32> = guests.iter().map(|(_, port)| *port).collect();
    let old: BTreeSet<usize> = ports(host, bridge)?
        .into_iter()
        .filter(|port| !new.contains(&port.index) && port.forwarding == Some(true))
        .filter_map(|port| usize::try_from(port.index).ok())
        .collect();
    let ips: BTreeSet<Ipv4Addr> = guests.iter().flat_map(|(herald, _)| herald.ips()).collect();
    let remembered = remembered(host, bridge, &ips)?;
    if old.is_empty() && remembered.is_empty() {
        return Ok(());
    }
    let guests: Vec<Known> = guests.iter().filter_map(|(herald, _)| herald.known()).collect();
    correct_host(host, remembered, &guests);
    if old.is_empty() {
        return Ok(());
    }
    let refused = |errno| KernelError::Refused { errno, text: Some("sending ARP".into()) };
    let all = getifaddrs().map_err(refused)?.filter_map(|interface| interface.address);
    let links = all.filter(|addr| addr.family() == Some(AddressFamily::Packet)).filter_map(|addr| addr.as_link_addr().copied());
    let to: Vec<LinkAddr> = links.filter(|link| old.contains(&link.ifindex())).collect();
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map_err(refused)?;
    for guest in &guests {
        for ip in &guest.ips {
            for operation in [arp::REQUEST, arp::REPLY] {
                let frame = arp::Packet::announcement(operation, guest.mac, *ip).broadcast();
                for port in &to {
                    // One that is full or gone keeps nothing from the others.
                    let _ = sendto(socket.as_raw_fd(), &frame, port, MsgFlags::empty());
                }
            }
        }
    }
    Ok(())
}

/// What the host remembers of these addresses on the bridge. What somebody told it for good is not among it.
fn remembered(host: &mut Netlink, bridge: u32, ips: &BTreeSet<Ipv4Addr>) -> Result<Vec<(Ipv4Addr, NeighbourMessage)>, KernelError> {
    let mut message = NeighbourMessage::default();
    message.header.family = netlink_packet_route::AddressFamily::Inet;
    let answers = host.dump(&RouteNetlinkMessage::GetNeighbour(message))?;
    let known = answers.iter().filter(|answer| answer.kind == RTM_NEWNEIGH).filter_map(|answer| {
        let known = NeighbourMessage::parse(&answer.raw).ok()?;
        let fixed = matches!(known.header.state, NeighbourState::Permanent | NeighbourState::Noarp);
        let ip = known.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(*ip),
            _ => None,
        })?;
        (known.header.ifindex == bridge && !fixed && ips.contains(&ip)).then_some((ip, known))
    });
    Ok(known.collect())
}

/// Puts right what the host remembers and is wrong now: as it would learn from the guests' own broadcast (arp_process,
/// net/ipv4/arp.c).
fn correct_host(host: &mut Netlink, remembered: Vec<(Ipv4Addr, NeighbourMessage)>, guests: &[Known]) {
    let now: BTreeMap<Ipv4Addr, MacAddr> = guests.iter().flat_map(|guest| guest.ips.iter().map(|ip| (*ip, guest.mac))).collect();
    for (ip, mut known) in remembered {
        let Some(mac) = now.get(&ip) else { continue };
        known.header.state = NeighbourState::Stale;
        known.attributes =
            vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)), NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec())];
        let _ = host.request(&RouteNetlinkMessage::NewNeighbour(known), NLM_F_REPLACE);
    }
}
