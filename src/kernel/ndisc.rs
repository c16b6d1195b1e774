//! Neighbour discovery for duplicate address detection (RFC 4861, RFC 4862 section 5.4), as whole frames.

use std::net::Ipv6Addr;

use crate::model::types::MacAddr;

/// linux/if_ether.h
pub(super) const ETH_P_IPV6: u16 = 0x86dd;

const ETHERNET: usize = 14;
const IPV6: usize = 40;
/// Type, code, checksum, flags; then the target.
const FIXED: usize = 24;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
/// Neighbours insist on it: the packet passed no router (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
const TARGET_LINK_ADDRESS: u8 = 2;

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// [`SOLICITATION`] or [`ADVERTISEMENT`].
    pub(super) kind: u8,
    /// Where it came from; unspecified when the sender looks whether the target is free.
    pub(super) source: Ipv6Addr,
    /// The address that it is about.
    pub(super) target: Ipv6Addr,
    /// The sender of the frame.
    pub(super) sender_mac: [u8; 6],
    /// The target's MAC address, where it is told.
    pub(super) target_mac: Option<[u8; 6]>,
}

/// The group that whoever has an address listens to (RFC 4291, section 2.7.1).
pub(super) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Is anybody `ip`? Asked by a host that has no address yet: without its link address (RFC 4861, section 4.3).
pub(super) fn probe(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(ip);
    let [.., a, b, c, d] = group.octets();
    let mut icmp = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(ip.octets());
    let length = u16::try_from(icmp.len()).unwrap_or(u16::MAX);
    let sum = sum(&group.octets()) + u32::from(length) + u32::from(ICMPV6) + sum(&icmp);
    icmp[2..4].copy_from_slice(&folded(sum).to_be_bytes());
    let mut frame = Vec::with_capacity(ETHERNET + IPV6 + icmp.len());
    // IPv6 multicast on Ethernet (RFC 2464, section 7).
    frame.extend([0x33, 0x33, a, b, c, d]);
    frame.extend(mac.octets());
    frame.extend(ETH_P_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(Ipv6Addr::UNSPECIFIED.octets());
    frame.extend(group.octets());
    frame.extend(icmp);
    frame
}

/// The Internet checksum's sum (RFC 1071) of an even number of bytes.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

impl Message {
    /// The message in a frame; `None` when it is anything else. The checksum is not looked at: between a host and its guests
    /// nobody may have computed it yet (CHECKSUM_PARTIAL, linux/skbuff.h).
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET..)?;
        let is_ndisc = frame.get(12..ETHERNET)? == ETH_P_IPV6.to_be_bytes() && ip.first()? >> 4 == 6;
        if !is_ndisc || *ip.get(6)? != ICMPV6 || *ip.get(7)? != HOP_LIMIT {
            return None;
        }
        let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from);
        let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
        let icmp = ip.get(IPV6..IPV6 + length)?;
        let kind = *icmp.first().filter(|kind| matches!(**kind, SOLICITATION | ADVERTISEMENT))?;
        let target = address(icmp.get(8..FIXED)?)?;
        let target_mac = option(icmp.get(FIXED..)?, TARGET_LINK_ADDRESS).and_then(|value| value.first_chunk().copied());
        let sender_mac = *frame.get(6..12)?.first_chunk()?;
        Some(Self { kind, source: address(ip.get(8..24)?)?, target, sender_mac, target_mac })
    }

    /// Who it shows to have `wanted`, or to be about to take it: an advertisement of it, anything from it, or another host's
    /// question whether it is free (RFC 4862, section 5.4.3). A question of `own` may be ours that came back.
    pub(super) fn claimant(&self, wanted: Ipv6Addr, own: MacAddr) -> Option<[u8; 6]> {
        let about = self.target == wanted;
        let has = self.source == wanted || (self.kind == ADVERTISEMENT && about);
        let probes = self.kind == SOLICITATION && about && self.source.is_unspecified();
        let told = self.target_mac.filter(|_| self.kind == ADVERTISEMENT && about);
        (has || (probes && self.sender_mac != own.octets())).then(|| told.unwrap_or(self.sender_mac))
    }
}

/// The value of the first option of a kind; lengths are in units of 8 bytes (RFC 4861, section 4.6).
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (kind, length) = (*options.first()?, usize::from(*options.get(1)?) * 8);
        let value = options.get(2..length)?;
        if kind == wanted {
            return Some(value);
        }
        options = options.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn mac(last: u8) -> MacAddr {
        MacAddr::local_from([2, 0, 0, 0, 0, last])
    }

    fn wanted() -> Ipv6Addr {
        "fd00::1:2:304".parse().unwrap()
    }

    /// An advertisement as the kernel answers a probe with: to all nodes, with the target's link address.
    fn advertisement(from: MacAddr, told: Option<MacAddr>) -> Vec<u8> {
        let mut frame = probe(from, wanted());
        frame[54] = ADVERTISEMENT;
        frame[22..38].copy_from_slice(&wanted().octets());
        if let Some(told) = told {
            frame.extend([TARGET_LINK_ADDRESS, 1]);
            frame.extend(told.octets());
            frame[19] = 32;
        }
        frame
    }

    #[test]
    fn a_probe_is_what_the_kernel_itself_sends_but_for_its_nonce() {
        let hex: String =
            probe("02:00:00:00:00:01".parse().unwrap(), "fd00::5".parse().unwrap()).iter().map(|b| format!("{b:02x}")).collect();
        let ethernet = "3333ff00000502000000000186dd";
        let header = "6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff000005";
        // The checksum was computed by another program.
        assert_eq!(hex, format!("{ethernet}{header}87007d9d00000000fd000000000000000000000000000005"));
    }

    #[test]
    fn the_group_is_made_of_the_last_three_bytes() {
        assert_eq!(solicited_node(wanted()), "ff02::1:ff02:304".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn whoever_speaks_for_the_address_has_it_and_whoever_probes_for_it_is_about_to() {
        let (own, other, told) = (mac(1), mac(2), mac(3));
        let from = |frame: &[u8]| Message::parse(frame).unwrap().claimant(wanted(), own);
        assert_eq!(from(&advertisement(other, None)), Some(other.octets()));
        assert_eq!(from(&advertisement(other, Some(told))), Some(told.octets()));
        assert_eq!(from(&probe(other, wanted())), Some(other.octets()));
        assert_eq!(from(&probe(own, wanted())), None);
        assert_eq!(from(&probe(other, "fd00::1".parse().unwrap())), None);
        // Whoever asks for a neighbour from the address has it.
        let mut asks = probe(other, "fd00::1".parse().unwrap());
        asks[22..38].copy_from_slice(&wanted().octets());
        assert_eq!(from(&asks), Some(other.octets()));
    }

    #[test]
    fn what_passed_a_router_counts_for_nothing() {
        let mut frame = probe(mac(2), wanted());
        frame[21] = 254;
        assert_eq!(Message::parse(&frame), None);
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Message::parse(&frame);
        }

        #[test]
        fn no_mangled_or_cut_message_makes_it_panic(at in 12..86usize, byte in any::<u8>(), length in 0..87usize) {
            let mut frame = advertisement(mac(2), Some(mac(3)));
            frame[at] = byte;
            frame.truncate(length);
            let _ = Message::parse(&frame).map(|message| message.claimant(wanted(), mac(1)));
        }
    }
}
