//! Sockets for DHCP and for questions to the neighbours, made inside the guest's namespace, where they stay: frames before there is an address, UDP after.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, MsgFlags, bind, recvfrom, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::announce::link_address;
use super::netns::Namespace;
use crate::model::error::KernelError;
use crate::model::types::IfName;

/// linux/if_ether.h
const ETH_P_IP: u16 = 0x0800;
/// A frame of the largest MTU that Ethernet drivers have, and more.
const LARGEST: usize = 16 * 1024;
/// linux/if_packet.h: to this host, to all, to a group; then to another host.
const PACKET_OTHERHOST: u8 = 3;

fn fail(what: &'static str) -> impl Fn(std::io::Error) -> KernelError {
    move |error| refused(what)(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
}

fn refused(what: &'static str) -> impl Fn(Errno) -> KernelError {
    move |errno| KernelError::Refused { errno, text: Some(what.to_owned()) }
}

/// A packet socket (packet(7)) on one link: sends whole frames, and hears what comes for the DHCP client's port.
pub struct FramePort {
    socket: Socket,
    to: LinkAddr,
}

impl FramePort {
    /// A port on the link of that index in the namespace.
    ///
    /// # Errors
    /// When the link is gone, or CAP_NET_RAW is missing.
    pub fn open(namespace: &Namespace, index: u32, udp_port: u16) -> Result<Self, KernelError> {
        Self::hearing(namespace, index, ETH_P_IP, &filter(udp_port))
    }

    /// A port that hears one Ethernet protocol, as far as the filter lets it through; an empty one lets all.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn hearing(namespace: &Namespace, index: u32, protocol: u16, filter: &[SockFilter]) -> Result<Self, KernelError> {
        namespace.inside(|| {
            let protocol = Protocol::from(i32::from(protocol.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).map_err(fail("packet socket"))?;
            if !filter.is_empty() {
                socket.attach_filter(filter).map_err(fail("packet filter"))?;
            }
            socket.set_nonblocking(true).map_err(fail("packet socket"))?;
            let to = link_address(index)?;
            // The protocol stays that of the socket (net/packet/af_packet.c, packet_do_bind).
            bind(socket.as_raw_fd(), &to).map_err(refused("packet socket"))?;
            Ok(Self { socket, to })
        })
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// When the link is down or gone.
    pub fn send(&self, frame: &[u8]) -> Result<(), KernelError> {
        sendto(self.socket.as_raw_fd(), frame, &self.to, MsgFlags::empty()).map_err(refused("sending a frame")).map(|_| ())
    }

    /// The next frame that has come, if any.
    ///
    /// # Errors
    /// When the link is down or gone.
    pub fn receive(&self) -> Result<Option<Vec<u8>>, KernelError> {
        let mut bytes = vec![0; LARGEST];
        let came = some((&self.socket).read(&mut bytes))?;
        Ok(came.map(|length| {
            bytes.truncate(length);
            bytes
        }))
    }

    /// The next frame that has come to the link for itself or for all; not what it only sees go by, which another VLAN's frames
    /// are to it as well (PACKET_OTHERHOST, linux/if_packet.h).
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) fn receive_own(&self) -> Result<Option<Vec<u8>>, KernelError> {
        let mut bytes = vec![0; LARGEST];
        loop {
            let came = some(recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes).map_err(std::io::Error::from))?;
            let Some((length, from)) = came else { return Ok(None) };
            // Before it was bound, the socket heard all links.
            if from.is_some_and(|from| from.ifindex() == self.to.ifindex() && from.pkttype() < PACKET_OTHERHOST) {
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
        }
    }
}

impl AsFd for FramePort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `udp dst port N` as tcpdump(8) compiles it for Ethernet: no fragments, any length of the IP header.
fn filter(port: u16) -> [SockFilter; 11] {
    // linux/bpf_common.h: loads of a half word and a byte, by offset and by index; the header's length; jumps; return.
    let [ldh, ldb, ldh_x, ldx_msh, jeq, jset, ret] = [0x28, 0x30, 0x48, 0xb1, 0x15, 0x45, 0x06];
    [
        SockFilter::new(ldh, 0, 0, 12),
        SockFilter::new(jeq, 0, 8, u32::from(ETH_P_IP)),
        SockFilter::new(ldb, 0, 0, 23),
        SockFilter::new(jeq, 0, 6, 17),
        SockFilter::new(ldh, 0, 0, 20),
        SockFilter::new(jset, 4, 0, 0x1fff),
        SockFilter::new(ldx_msh, 0, 0, 14),
        SockFilter::new(ldh_x, 0, 0, 16),
        SockFilter::new(jeq, 0, 1, u32::from(port)),
        SockFilter::new(ret, 0, 0, u32::MAX),
        SockFilter::new(ret, 0, 0, 0),
    ]
}

/// A UDP socket on one link.
pub struct UdpPort {
    socket: UdpSocket,
    index: u32,
}

impl UdpPort {
    /// A port of IPv4. The guest may have another program on it, on other links.
    ///
    /// # Errors
    /// When the port is taken on this link.
    pub fn ipv4(namespace: &Namespace, link: &IfName, index: u32, port: u16) -> Result<Self, KernelError> {
        namespace.inside(|| {
            let socket = Self::socket(Domain::IPV4, link)?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into()).map_err(fail("DHCP's port"))?;
            Ok(Self { socket: socket.into(), index })
        })
    }

    /// A port of IPv6.
    ///
    /// # Errors
    /// When the port is taken on this link, or IPv6 is off.
    pub fn ipv6(namespace: &Namespace, link: &IfName, index: u32, port: u16) -> Result<Self, KernelError> {
        namespace.inside(|| {
            let socket = Self::socket(Domain::IPV6, link)?;
            socket.set_only_v6(true).map_err(fail("DHCPv6's port"))?;
            socket.set_multicast_if_v6(index).map_err(fail("DHCPv6's port"))?;
            socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into()).map_err(fail("DHCPv6's port"))?;
            Ok(Self { socket: socket.into(), index })
        })
    }

    fn socket(domain: Domain, link: &IfName) -> Result<Socket, KernelError> {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(fail("UDP socket"))?;
        socket.set_reuse_address(true).map_err(fail("UDP socket"))?;
        socket.bind_device(Some(link.as_str().as_bytes())).map_err(fail("UDP socket"))?;
        socket.set_nonblocking(true).map_err(fail("UDP socket"))?;
        Ok(socket)
    }

    /// Sends to a host.
    ///
    /// # Errors
    /// When there is no way to it.
    pub fn send_ipv4(&self, payload: &[u8], to: Ipv4Addr, port: u16) -> Result<(), KernelError> {
        self.socket.send_to(payload, SocketAddrV4::new(to, port)).map_err(fail("sending DHCP")).map(|_| ())
    }

    /// Sends to a host or group of the link.
    ///
    /// # Errors
    /// When there is no way to it.
    pub fn send_ipv6(&self, payload: &[u8], to: Ipv6Addr, port: u16) -> Result<(), KernelError> {
        self.socket.send_to(payload, SocketAddrV6::new(to, port, 0, self.index)).map_err(fail("sending DHCPv6")).map(|_| ())
    }

    /// The next datagram that has come over IPv6, with its sender.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn receive_ipv6(&self) -> Result<Option<(Vec<u8>, Ipv6Addr)>, KernelError> {
        let mut bytes = vec![0; LARGEST];
        let came = some(self.socket.recv_from(&mut bytes))?;
        Ok(came.and_then(|(length, from)| {
            bytes.truncate(length);
            match from {
                SocketAddr::V6(from) => Some((bytes, *from.ip())),
                SocketAddr::V4(_) => None,
            }
        }))
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What has come into `bytes`; `None` when nothing has.
fn some<T>(came: std::io::Result<T>) -> Result<Option<T>, KernelError> {
    match came {
        Ok(came) => Ok(Some(came)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        // Told once, when the link goes down (packet(7)); it may come up again.
        Err(error) if error.raw_os_error() == Some(Errno::ENETDOWN as i32) => Ok(None),
        Err(error) => Err(fail("receiving")(error)),
    }
}
