//! ARP for IPv4 on Ethernet (RFC 826), as whole frames.

use std::net::Ipv4Addr;

use crate::model::types::MacAddr;

/// linux/if_ether.h
pub(super) const ETH_P_ARP: u16 = 0x0806;
pub(super) const REQUEST: u16 = 1;
pub(super) const REPLY: u16 = 2;

const ETHERNET: usize = 14;
/// Hardware Ethernet, protocol IPv4, lengths 6 and 4.
const KIND: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];

/// What an ARP packet says. Addresses are as they came: one that no host can have is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// [`REQUEST`] or [`REPLY`].
    pub(super) operation: u16,
    /// Who speaks.
    pub(super) sender_mac: [u8; 6],
    /// What the speaker's address is; unspecified in a probe.
    pub(super) sender: Ipv4Addr,
    /// Who is spoken to; zero in a request.
    pub(super) target_mac: [u8; 6],
    /// The address that is asked for, or the one of whoever is answered.
    pub(super) target: Ipv4Addr,
}

impl Packet {
    /// Who has `ip`? Asked by a host that has no address yet (RFC 5227, section 2.1.1).
    pub(super) fn probe(mac: MacAddr, ip: Ipv4Addr) -> Self {
        Self { operation: REQUEST, sender_mac: mac.octets(), sender: Ipv4Addr::UNSPECIFIED, target_mac: [0; 6], target: ip }
    }

    /// A packet in which sender and target are the same address (RFC 5227, section 3).
    pub(super) fn announcement(operation: u16, mac: MacAddr, ip: Ipv4Addr) -> Self {
        let target_mac = if operation == REPLY { mac.octets() } else { [0; 6] };
        Self { operation, sender_mac: mac.octets(), sender: ip, target_mac, target: ip }
    }

    /// The packet in a frame to everybody.
    pub(super) fn broadcast(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(42);
        frame.extend([0xff; 6]);
        frame.extend(self.sender_mac);
        frame.extend(ETH_P_ARP.to_be_bytes());
        frame.extend(KIND);
        frame.extend(self.operation.to_be_bytes());
        frame.extend(self.sender_mac);
        frame.extend(self.sender.octets());
        frame.extend(self.target_mac);
        frame.extend(self.target.octets());
        frame
    }

    /// The packet in a frame; `None` when it is anything else.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        if frame.get(12..ETHERNET)? != ETH_P_ARP.to_be_bytes() {
            return None;
        }
        // Ethernet pads short frames: more may follow.
        let packet: &[u8; 28] = frame.get(ETHERNET..)?.first_chunk()?;
        let mac = |at: usize| <[u8; 6]>::try_from(&packet[at..at + 6]).ok();
        let ip = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).ok().map(Ipv4Addr::from);
        (packet[..6] == KIND).then_some(())?;
        let operation = u16::from_be_bytes([packet[6], packet[7]]);
        Some(Self { operation, sender_mac: mac(8)?, sender: ip(14)?, target_mac: mac(18)?, target: ip(24)? })
    }

    /// Who it shows to have `wanted`, or to be about to take it: any packet whose sender has it, or another host's probe for it
    /// (RFC 5227, section 2.1.1). A probe of `own` may be ours that came back.
    pub(super) fn claimant(&self, wanted: Ipv4Addr, own: MacAddr) -> Option<[u8; 6]> {
        let has = self.sender == wanted;
        let is_probe = self.operation == REQUEST && self.sender.is_unspecified() && self.target == wanted;
        (has || (is_probe && self.sender_mac != own.octets())).then_some(self.sender_mac)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const WANTED: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 2);

    fn mac(last: u8) -> MacAddr {
        MacAddr::local_from([2, 0, 0, 0, 0, last])
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn a_probe_is_what_arping_sends_for_duplicate_address_detection() {
        let frame = Packet::probe("02:72:6c:cd:9b:8d".parse().unwrap(), WANTED).broadcast();
        assert_eq!(hex(&frame), "ffffffffffff02726ccd9b8d08060001080006040001".to_owned() + "02726ccd9b8d000000000000000000000a010102");
    }

    #[test]
    fn an_announcement_is_what_arping_sends() {
        let frame = Packet::announcement(REPLY, "02:72:6c:cd:9b:8d".parse().unwrap(), WANTED).broadcast();
        assert_eq!(hex(&frame), "ffffffffffff02726ccd9b8d08060001080006040002".to_owned() + "02726ccd9b8d0a01010202726ccd9b8d0a010102");
    }

    #[test]
    fn whoever_speaks_for_the_address_has_it_and_whoever_probes_for_it_is_about_to() {
        let (own, other) = (mac(1), mac(2));
        let from = |packet: Packet| packet.claimant(WANTED, own);
        assert_eq!(from(Packet::announcement(REQUEST, other, WANTED)), Some(other.octets()));
        assert_eq!(from(Packet::announcement(REPLY, other, WANTED)), Some(other.octets()));
        // An ipvlan has its siblings' MAC address.
        assert_eq!(from(Packet::announcement(REPLY, own, WANTED)), Some(own.octets()));
        assert_eq!(from(Packet::probe(other, WANTED)), Some(other.octets()));
        assert_eq!(from(Packet::probe(own, WANTED)), None);
        assert_eq!(from(Packet::probe(other, Ipv4Addr::new(10, 1, 1, 3))), None);
        // Somebody looks for whoever has it: so would anybody.
        let asks = Packet { sender: Ipv4Addr::new(10, 1, 1, 3), ..Packet::probe(other, WANTED) };
        assert_eq!(from(asks), None);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read_padded_or_not(
            operation in any::<u16>(), sender in any::<[u8; 4]>(), target in any::<[u8; 4]>(), macs in any::<([u8; 6], [u8; 6])>(), pad in 0..20usize
        ) {
            let packet = Packet { operation, sender_mac: macs.0, sender: sender.into(), target_mac: macs.1, target: target.into() };
            let mut frame = packet.broadcast();
            frame.resize(frame.len() + pad, 0);
            prop_assert_eq!(Packet::parse(&frame), Some(packet));
            prop_assert_eq!(Packet::parse(&frame[..41]), None);
        }

        #[test]
        fn no_frame_makes_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Packet::parse(&frame);
        }

        #[test]
        fn no_mangled_packet_makes_it_panic(at in 12..42usize, byte in any::<u8>()) {
            let mut frame = Packet::probe(mac(1), WANTED).broadcast();
            frame[at] = byte;
            let _ = Packet::parse(&frame).map(|packet| packet.claimant(WANTED, mac(2)));
        }
    }
}
