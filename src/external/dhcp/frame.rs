//! Ethernet, IPv4 and UDP round a DHCP message: before there is an address, no socket of the kernel does it.

use std::net::Ipv4Addr;

use crate::model::types::MacAddr;

/// The server's port (RFC 2131, section 4.1).
pub const SERVER_PORT: u16 = 67;
/// The client's.
pub const CLIENT_PORT: u16 = 68;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const ETH_P_IP: [u8; 2] = [0x08, 0x00];
const IPPROTO_UDP: u8 = 17;

/// A frame to everybody from `source`, with the UDP payload `payload`.
pub fn broadcast(mac: MacAddr, source: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    unicast(mac, [0xff; 6], source, Ipv4Addr::BROADCAST, payload)
}

/// A frame from an Ethernet and an IPv4 address to others, with the UDP payload `payload`.
pub fn unicast(mac: MacAddr, to: [u8; 6], source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + IPV4 + UDP + payload.len());
    frame.extend(to);
    frame.extend(mac.octets());
    frame.extend(ETH_P_IP);
    let udp_length = u16::try_from(UDP + payload.len()).unwrap_or(u16::MAX);
    let length = u16::try_from(IPV4 + UDP + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    // Version and header length, type of service; identification and fragment; time to live, protocol, checksum.
    let mut ip = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0];
    ip.extend(source.octets());
    ip.extend(destination.octets());
    let checksum = folded(sum(&ip)).to_be_bytes();
    ip[10..12].copy_from_slice(&checksum);
    let mut udp = Vec::with_capacity(UDP + payload.len());
    for half in [CLIENT_PORT, SERVER_PORT, udp_length, 0] {
        udp.extend(half.to_be_bytes());
    }
    udp.extend(payload);
    // Over the addresses, the protocol and the length as well (RFC 768); 0 would mean none.
    let pseudo = sum(&ip[12..20]) + u32::from(IPPROTO_UDP) + u32::from(udp_length);
    let checksum = Some(folded(pseudo + sum(&udp))).filter(|c| *c != 0).unwrap_or(0xffff).to_be_bytes();
    udp[6..8].copy_from_slice(&checksum);
    frame.extend(ip);
    frame.extend(udp);
    frame
}

/// The UDP payload of a frame for the client's port; `None` when it is anything else. The checksum of UDP is not looked at:
/// between a host and its guests nobody has computed it yet (CHECKSUM_PARTIAL, linux/skbuff.h).
pub fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(ETHERNET..)?;
    if frame.get(12..14)? != ETH_P_IP || ip.first()? >> 4 != 4 {
        return None;
    }
    let header = usize::from(ip[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let fragment = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x3fff;
    if header < IPV4 || *ip.get(9)? != IPPROTO_UDP || fragment != 0 || folded(sum(ip.get(..header)?)) != 0 {
        return None;
    }
    // Ethernet pads short frames: what the IP header says is what counts.
    let udp = ip.get(header..length)?;
    let [_, _, high, low, long, short, ..] = *udp else { return None };
    let udp_length = usize::from(u16::from_be_bytes([long, short]));
    if u16::from_be_bytes([high, low]) != CLIENT_PORT {
        return None;
    }
    udp.get(UDP..udp_length)
}

/// The sender's Ethernet address: the server, or the router on the way to it.
pub fn sender(frame: &[u8]) -> Option<[u8; 6]> {
    frame.get(6..12)?.try_into().ok()
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0))).sum()
}

/// The Internet checksum (RFC 1071).
fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
