//! Telling the neighbours: a gratuitous ARP request and reply (RFC 5227, section 3), or an unsolicited neighbour
//! advertisement (RFC 4861, section 7.2.6). Never a failure of the attach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use super::arp;
use super::fork;
use super::netns::Namespace;
use super::observe;
use super::signal::Signals;
use super::system::find_link;
use super::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::types::{IfAddr, MacAddr};
use crate::plan::Announce;

/// Two forward delays of the longest kind (IEEE 802.1D-2004, table 17-1: 30 s) would be a minute; the usual is 2 x 15 s.
pub(super) const FORWARDING_DEADLINE: Duration = Duration::from_secs(32);
/// Duplicate address detection: one probe, one second, after a random delay of up to one (RFC 4862, section 5.4.2).
const DAD_DEADLINE: Duration = Duration::from_secs(5);
/// For so long a signal to stop is put off: whoever stops a service's leftover processes as soon as its command has ended
/// (systemd.kill(5)) is not to take the frames of the usual case, which are out in a millisecond.
const GRACE: Duration = Duration::from_secs(1);

/// How long the command itself may wait where there can be no child.
const HERE: Duration = Duration::from_millis(50);

/// What is to be announced, and where.
pub struct Announcement {
    namespace: Namespace,
    what: Announce,
    addrs: Vec<IfAddr>,
    /// Readable when the guest is dead: nothing is to keep its namespace alive then.
    guest: Option<OwnedFd>,
}

impl Announcement {
    /// An announcement of `addrs` in a guest. `guest` is a pidfd of it, where it has a process.
    pub fn new(namespace: Namespace, what: Announce, addrs: Vec<IfAddr>, guest: Option<OwnedFd>) -> Self {
        Self { namespace, what, addrs, guest }
    }

    /// Where the guest's namespace is, what is to be told of it, and its addresses.
    pub(super) fn parts(self) -> (Namespace, Announce, Vec<IfAddr>) {
        (self.namespace, self.what, self.addrs)
    }

    /// Announces from a child process, so that nobody waits for it. Where that cannot be, announces here if the port
    /// forwards soon.
    pub fn in_background(self) {
        let mut keep = vec![self.namespace.raw_fd()];
        keep.extend(self.guest.as_ref().map(|g| g.as_raw_fd()));
        let done = fork::detached(&keep, || {
            let _ = self.run(&mut Signals::hold().ok(), Duration::MAX);
        });
        if !done {
            let _ = self.run(&mut None, HERE);
        }
    }

    /// Announces: waits until the port forwards, sends, returns.
    ///
    /// # Errors
    /// That it came to nothing: the guest is dead, the port never forwarded, the kernel refused.
    pub fn announce(&self) -> Result<(), KernelError> {
        self.run(&mut None, Duration::MAX)
    }

    fn run(&self, signals: &mut Option<Signals>, longest: Duration) -> Result<(), KernelError> {
        let mut host = Netlink::open()?;
        let mut guest = self.namespace.netlink()?;
        let name = self.what.guest_if.as_str();
        let (index, mac) = self
            .until(FORWARDING_DEADLINE.min(longest), signals, || {
                let port = match &self.what.port {
                    Some(port) => find_link(&mut host, port.as_str())?.is_some_and(|p| p.carrier && p.forwarding != Some(false)),
                    None => true,
                };
                let link = find_link(&mut guest, name)?.ok_or_else(|| KernelError::NoLink(name.to_owned()))?;
                Ok((port && link.carrier).then_some(link.mac.map(|mac| (link.index, mac))))
            })?
            .ok_or_else(|| KernelError::Garbled(format!("{name} has no Ethernet address")))?;
        // Those of IPv6 have to wait for duplicate address detection.
        for ip in self.ips().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }) {
            self.namespace.inside(|| send_arp(index, mac, ip))?;
        }
        for ip in self.ips().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }) {
            self.until(DAD_DEADLINE.min(longest), signals, || Ok(observe::is_usable(&mut guest, index, ip)?.then_some(())))?;
            self.namespace.inside(|| send_advertisement(index, mac, ip))?;
        }
        Ok(())
    }

    fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addrs.iter().map(IfAddr::ip)
    }

    /// Asks again and again, at growing intervals, until there is an answer.
    fn until<T>(
        &self,
        patience: Duration,
        signals: &mut Option<Signals>,
        mut ask: impl FnMut() -> Result<Option<T>, KernelError>,
    ) -> Result<T, KernelError> {
        let (start, deadline) = (Instant::now(), Instant::now() + patience);
        let mut pause = Duration::from_micros(50);
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if let Some(signal) = signals.as_mut().filter(|_| start.elapsed() > GRACE).and_then(Signals::pending) {
                return Err(KernelError::Interrupted(signal));
            }
            if Instant::now() >= deadline || self.guest_died_within(pause) {
                return Err(KernelError::Unanswered(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)));
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn guest_died_within(&self, pause: Duration) -> bool {
        let mut fds: Vec<PollFd<'_>> = self.guest.iter().map(|g| PollFd::new(g.as_fd(), PollFlags::POLLIN)).collect();
        ppoll(&mut fds, Some(TimeSpec::from(pause)), None).is_ok_and(|ready| ready > 0)
    }
}

fn refused(what: &str) -> impl Fn(Errno) -> KernelError {
    move |errno| KernelError::Refused { errno, text: Some(what.to_owned()) }
}

/// Sends the request and the reply.
fn send_arp(index: u32, mac: MacAddr, ip: Ipv4Addr) -> Result<(), KernelError> {
    let to = link_address(index)?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map_err(refused("packet socket"))?;
    for operation in [arp::REQUEST, arp::REPLY] {
        let frame = arp::Packet::announcement(operation, mac, ip).broadcast();
        sendto(socket.as_raw_fd(), &frame, &to, MsgFlags::empty()).map_err(refused("sending ARP"))?;
    }
    Ok(())
}

/// The interface as an address of a packet socket (packet(7)); the C library makes it, so that we need not.
pub(super) fn link_address(index: u32) -> Result<LinkAddr, KernelError> {
    let wanted = usize::try_from(index).unwrap_or_default();
    let all = getifaddrs().map_err(refused("listing interfaces"))?;
    let mut links = all.filter_map(|i| i.address).filter(|a| a.family() == Some(AddressFamily::Packet));
    let found = links.find_map(|a| a.as_link_addr().filter(|l| l.ifindex() == wanted).copied());
    found.ok_or_else(|| KernelError::NoLink(format!("number {index}")))
}

/// Sends to all nodes, with the hop limit of 255 that neighbours insist on (RFC 4861, section 7.1.2).
fn send_advertisement(index: u32, mac: MacAddr, ip: Ipv6Addr) -> Result<(), KernelError> {
    let fail = |error: std::io::Error| refused("neighbour advertisement")(Errno::from_raw(error.raw_os_error().unwrap_or_default()));
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).map_err(fail)?;
    socket.set_multicast_if_v6(index).map_err(fail)?;
    socket.set_multicast_hops_v6(255).map_err(fail)?;
    let scope = if ip.is_unicast_link_local() { index } else { 0 };
    socket.bind(&SocketAddrV6::new(ip, 0, 0, scope).into()).map_err(fail)?;
    let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
    socket.send_to(&advertisement(mac, ip), &all_nodes.into()).map_err(fail)?;
    Ok(())
}

/// Override flag set, target link-layer address as option 2 (RFC 4861, section 4.4). The kernel fills the checksum in.
fn advertisement(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(ip.octets());
    message.extend([2, 1]);
    message.extend(mac.octets());
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_advertisement_has_the_override_flag_and_the_address() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let message = advertisement(mac, "fd00::2".parse().unwrap());
        assert_eq!(message.len(), 32);
        assert_eq!((message[0], message[4], &message[24..26]), (136, 0x20, &[2u8, 1][..]));
    }
}
