//! Asking the network whether anybody has an address, before and after it is given to a guest's interface.
//!
//! Before: probes from the interface, which is up and has no address yet (RFC 5227, section 2.1, for IPv4; RFC 4862, section
//! 5.4, for IPv6). Neither disturbs whoever has the address, and what is found leaves nothing to take back but the link. After,
//! for IPv6 only: the kernel asks once more by itself, and the address can be used when it has heard nobody.
//!
//! What it costs: the time that others have to answer, 16 ms for each family's packet socket when that is closed
//! (see [`super::fork`]), and for IPv6 the kernel's own 1 to 2 seconds (RFC 4862: a random delay of up to one, then one).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::announce::FORWARDING_DEADLINE;
use super::netns::Namespace;
use super::observe::{self, Usable};
use super::port::FramePort;
use super::system::find_link;
use super::wait::{Interruptions, LINK_GROUP};
use super::wire::Netlink;
use super::{arp, ndisc};
use crate::model::conflict::{Conflict, Timing};
use crate::model::error::KernelError;
use crate::model::facts::{Layer, LinkFacts, LinkKind};
use crate::model::types::{IfName, MacAddr};

/// RTNLGRP_IPV6_IFADDR, linux/rtnetlink.h
const IPV6_ADDR_GROUP: u32 = 9;
/// Far more than duplicate address detection takes, unless the guest's settings (dad_transmits, retrans_time_ms) say otherwise.
const DAD_DEADLINE: Duration = Duration::from_secs(30);
/// At least so often is looked again: an event may be lost when there are too many (ENOBUFS, netlink(7)).
const LOOK: Duration = Duration::from_millis(500);
/// So many frames are read at a time before signals are looked at.
const BATCH: usize = 64;

/// The two sides, open.
pub struct Ends<'a> {
    /// The host's socket.
    pub host: &'a mut Netlink,
    /// The guest's.
    pub guest: &'a mut Netlink,
    /// The host's namespace.
    pub home: &'a Namespace,
    /// The guest's.
    pub namespace: &'a Namespace,
}

/// When to stop listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// When one address is found to be somebody's.
    First,
    /// When all are, or when the time is over.
    All,
}

/// An interface of a guest that asks for addresses, and hears who has them.
pub struct Prober {
    index: u32,
    mac: MacAddr,
    addrs: Vec<IpAddr>,
    /// Where questions go out.
    arp: Option<FramePort>,
    ndisc: Option<FramePort>,
    /// Where else answers to them come in.
    below: Option<FramePort>,
    /// Keeps the interface in the groups that those questions go to (RFC 4862, section 5.4.2).
    _groups: Option<Socket>,
    heard: BTreeMap<IpAddr, MacAddr>,
}

impl Prober {
    /// Waits until frames of the guest's interface get through (through `port`, where that is a bridge's), and begins to listen
    /// for who has one of the addresses.
    ///
    /// # Errors
    /// [`KernelError::Unasked`] when nothing gets through or there is no Ethernet; a signal or the guest's end; otherwise as the
    /// kernel refuses.
    pub fn open(
        ends: &mut Ends<'_>,
        interface: &IfName,
        port: Option<&IfName>,
        addrs: &[IpAddr],
        until: &mut Interruptions<'_>,
    ) -> Result<Self, KernelError> {
        let link = passing(ends, interface, port, until)?;
        let is_ethernet = link.layer == Layer::Ethernet;
        let mac = link.mac.filter(|_| is_ethernet).ok_or_else(|| KernelError::Unasked(format!("{interface} has no Ethernet address")))?;
        let (index, namespace) = (link.index, ends.namespace);
        let groups: Vec<Ipv6Addr> = addrs.iter().copied().filter_map(ipv6).map(ndisc::solicited_node).collect();
        let has_ipv4 = addrs.iter().any(IpAddr::is_ipv4);
        Ok(Self {
            index,
            mac,
            addrs: addrs.to_vec(),
            arp: has_ipv4.then(|| arp_port(namespace, index)).transpose()?,
            ndisc: (!groups.is_empty()).then(|| FramePort::hearing(namespace, index, ndisc::ETH_P_IPV6, &filter())).transpose()?,
            below: nic_below(&link).filter(|_| has_ipv4).map(|nic| arp_port(ends.home, nic)).transpose()?,
            _groups: (!groups.is_empty()).then(|| join(namespace, index, &groups)).transpose()?,
            heard: BTreeMap::new(),
        })
    }

    /// Asks, and listens until it is enough. Nothing is found when nobody answers in time.
    ///
    /// # Errors
    /// A signal, the guest's end, or that the link is down or gone.
    pub fn ask(&mut self, timing: &Timing, enough: Enough, until: &mut Interruptions<'_>) -> Result<Vec<Conflict>, KernelError> {
        let (start, schedule) = (Instant::now(), timing.schedule(random));
        let at = |ms: u32| start + Duration::from_millis(ms.into());
        for probe in schedule.probes {
            if self.listen(at(probe), enough, until)? {
                return Ok(self.found());
            }
            self.send()?;
        }
        self.listen(at(schedule.end), enough, until)?;
        Ok(self.found())
    }

    fn found(&self) -> Vec<Conflict> {
        self.heard.iter().map(|(addr, mac)| Conflict::heard(*addr, Some(*mac))).collect()
    }

    /// One question for each address that nobody is known to have.
    fn send(&self) -> Result<(), KernelError> {
        for addr in self.addrs.iter().filter(|addr| !self.heard.contains_key(addr)) {
            match (addr, &self.arp, &self.ndisc) {
                (IpAddr::V4(ip), Some(port), _) => port.send(&arp::Packet::probe(self.mac, *ip).broadcast())?,
                (IpAddr::V6(ip), _, Some(port)) => port.send(&ndisc::probe(self.mac, *ip))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Listens until that time. `true`: it is enough already.
    fn listen(&mut self, time: Instant, enough: Enough, until: &mut Interruptions<'_>) -> Result<bool, KernelError> {
        loop {
            let wanted = if enough == Enough::First { 1 } else { self.addrs.len() };
            if self.heard.len() >= wanted {
                return Ok(true);
            }
            if !until.wait(&self.ears(), time)? {
                return Ok(false);
            }
            self.hear()?;
        }
    }

    fn ports(&self) -> impl Iterator<Item = &FramePort> {
        [&self.arp, &self.ndisc, &self.below].into_iter().flatten()
    }

    fn ears(&self) -> Vec<BorrowedFd<'_>> {
        self.ports().map(AsFd::as_fd).collect()
    }

    /// Reads what has come, and remembers who has what.
    fn hear(&mut self) -> Result<(), KernelError> {
        let mut frames = Vec::new();
        for port in self.ports() {
            let first = frames.len();
            while frames.len() - first < BATCH
                && let Some(frame) = port.receive_own()?
            {
                frames.push(frame);
            }
        }
        for frame in frames {
            let claimed = self.addrs.iter().filter_map(|addr| Some((*addr, claimant(&frame, *addr, self.mac)?)));
            for (addr, mac) in claimed.collect::<Vec<_>>() {
                self.heard.entry(addr).or_insert(mac);
            }
        }
        Ok(())
    }

    /// Waits until the kernel's own detection is over for those addresses, which the interface has been given. Who they belong
    /// to was heard since [`Self::open`].
    ///
    /// # Errors
    /// [`KernelError::Unasked`] when it does not end; a signal or the guest's end; otherwise as the kernel refuses.
    pub fn settle(&mut self, ends: &mut Ends<'_>, addrs: &[Ipv6Addr], until: &mut Interruptions<'_>) -> Result<Vec<Conflict>, KernelError> {
        // Subscribed before looking, so that nothing falls in between.
        let mut events = ends.namespace.netlink()?;
        events.subscribe(IPV6_ADDR_GROUP)?;
        let deadline = Instant::now() + DAD_DEADLINE;
        loop {
            let now = observe::ipv6_addrs(ends.guest, self.index)?;
            let is = |usable: Usable| addrs.iter().filter(move |ip| now.iter().any(|a| a.addr.ip() == **ip && a.usable == usable));
            if is.clone()(Usable::NotYet).next().is_none() {
                // What the kernel heard lies in our port as well.
                let lost: Vec<IpAddr> = is(Usable::Never).map(|ip| IpAddr::V6(*ip)).collect();
                self.hear()?;
                return Ok(lost.into_iter().map(|addr| Conflict::heard(addr, self.heard.get(&addr).copied())).collect());
            }
            if Instant::now() >= deadline {
                return Err(KernelError::Unasked(format!("the kernel still looks after {} s", DAD_DEADLINE.as_secs())));
            }
            let ears: Vec<BorrowedFd<'_>> = self.ears().into_iter().chain([events.as_fd()]).collect();
            until.wait(&ears, deadline.min(Instant::now() + LOOK))?;
            self.hear()?;
            events.drain()?;
        }
    }
}

fn arp_port(namespace: &Namespace, index: u32) -> Result<FramePort, KernelError> {
    FramePort::hearing(namespace, index, arp::ETH_P_ARP, &[])
}

fn ipv6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    }
}

fn claimant(frame: &[u8], addr: IpAddr, own: MacAddr) -> Option<MacAddr> {
    let mac = match addr {
        IpAddr::V4(ip) => arp::Packet::parse(frame)?.claimant(ip, own)?,
        IpAddr::V6(ip) => ndisc::Message::parse(frame)?.claimant(ip, own)?,
    };
    MacAddr::from_bytes(&mac)
}

/// The NIC of an ipvlan. Frames to a MAC address that they share go by the address in them, and a probe has none: the answer
/// goes to the NIC itself (ipvlan_handle_mode_l2, drivers/net/ipvlan/ipvlan_core.c).
fn nic_below(link: &LinkFacts) -> Option<u32> {
    let is_ipvlan = matches!(&link.kind, LinkKind::Shared(sharing) if sharing.is_ipvlan());
    link.link.filter(|_| is_ipvlan)
}

/// Waits until the interface has carrier and its port forwards, told by the kernel's events.
fn passing(
    ends: &mut Ends<'_>,
    interface: &IfName,
    port: Option<&IfName>,
    until: &mut Interruptions<'_>,
) -> Result<LinkFacts, KernelError> {
    let deadline = Instant::now() + FORWARDING_DEADLINE;
    // Mostly it passes at once, or a moment later: nothing is subscribed to for that.
    let mut events: Vec<Netlink> = Vec::new();
    let mut pause = Duration::from_micros(50);
    loop {
        let found = |link: Option<LinkFacts>, name: &IfName| link.ok_or_else(|| KernelError::NoLink(name.to_string()));
        let link = found(find_link(ends.guest, interface.as_str())?, interface)?;
        let port = port.map(|name| found(find_link(ends.host, name.as_str())?, name)).transpose()?;
        let forwards = port.as_ref().is_none_or(|port| port.carrier && port.forwarding != Some(false));
        if link.carrier && forwards {
            return Ok(link);
        }
        if Instant::now() >= deadline {
            let why = port
                .filter(|_| !forwards)
                .map_or_else(|| format!("{interface} has no carrier"), |p| format!("{} does not forward", p.name));
            return Err(KernelError::Unasked(format!("{why} after {} s", FORWARDING_DEADLINE.as_secs())));
        }
        if pause > Duration::from_millis(1) && events.is_empty() {
            events = vec![ends.home.netlink()?, ends.namespace.netlink()?];
            events.iter_mut().try_for_each(|socket| socket.subscribe(LINK_GROUP))?;
            continue;
        }
        let ears: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
        until.wait(&ears, deadline.min(Instant::now() + pause))?;
        events.iter_mut().try_for_each(Netlink::drain)?;
        pause = if events.is_empty() { pause * 2 } else { LOOK };
    }
}

/// `icmp6 and (ip6[40] == 135 or ip6[40] == 136)`, as tcpdump(8) compiles it but for other headers before ICMPv6's: there
/// are none in neighbour discovery.
fn filter() -> [SockFilter; 7] {
    // linux/bpf_common.h: load of a byte by offset; jump; return.
    let [ldb, jeq, ret] = [0x30, 0x15, 0x06];
    [
        SockFilter::new(ldb, 0, 0, 20),
        SockFilter::new(jeq, 0, 4, ndisc::ICMPV6.into()),
        SockFilter::new(ldb, 0, 0, 54),
        SockFilter::new(jeq, 1, 0, ndisc::SOLICITATION.into()),
        SockFilter::new(jeq, 0, 1, ndisc::ADVERTISEMENT.into()),
        SockFilter::new(ret, 0, 0, u32::MAX),
        SockFilter::new(ret, 0, 0, 0),
    ]
}

/// Makes the interface hear the groups, and switches that look into such things pass them on to it.
fn join(namespace: &Namespace, index: u32, groups: &[Ipv6Addr]) -> Result<Socket, KernelError> {
    let fail = |error: std::io::Error| KernelError::Refused {
        errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        text: Some("joining the address's group".into()),
    };
    namespace.inside(|| {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).map_err(fail)?;
        for group in groups {
            match socket.join_multicast_v6(group, index) {
                // Two addresses may have one group.
                Err(error) if error.raw_os_error() == Some(Errno::EADDRINUSE as i32) => {}
                joined => joined.map_err(fail)?,
            }
        }
        Ok(socket)
    })
}

/// A random number. Should the kernel have no random bytes, the clock must do.
fn random() -> u32 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u32::from_ne_bytes(bytes),
        Err(_) => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos()),
    }
}
