//! `flower`: TCA_FLOWER_* (linux/pkt_cls.h).

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::attributes::{Fields, Reader, Writer};
use super::{Unprintable, action};
use crate::iproute::tc::Clock;
use crate::iproute::tc::flower::{Flower, Masked, Ports};

const CLASSID: u16 = 1;
const INDEV: u16 = 2;
const ACT: u16 = 3;
const ETH_DST: u16 = 4;
const ETH_SRC: u16 = 6;
const ETH_TYPE: u16 = 8;
const IP_PROTO: u16 = 9;
const IPV4_SRC: u16 = 10;
const IPV4_DST: u16 = 12;
const IPV6_SRC: u16 = 14;
const IPV6_DST: u16 = 16;
const FLAGS: u16 = 22;
const VLAN_ID: u16 = 23;
const VLAN_PRIO: u16 = 24;
const VLAN_ETH_TYPE: u16 = 25;
const IP_FLAGS: u16 = 47;
const TCP_FLAGS: u16 = 71;
const IP_TOS: u16 = 73;
const IP_TTL: u16 = 75;
const IN_HW_COUNT: u16 = 86;
/// The last of the range of receivers' ports is the attribute behind the first's, likewise of senders'.
const SRC_MIN: u16 = 87;
const DST_MIN: u16 = 89;
/// What is read here. Tunnels, ARP, MPLS, inner VLANs, connection tracking and what came later are left to the installed tc.
const KNOWN: [RangeInclusive<u16>; 5] = [1..=25, 35..=42, 47..=56, 71..=76, 86..=90];

/// Attributes of a transport's ports and of their masks: sender, its mask, receiver, its mask.
fn port_kinds(protocol: Option<u8>) -> Option<[u16; 4]> {
    match protocol? {
        6 => Some([18, 35, 19, 36]),
        17 => Some([20, 37, 21, 38]),
        132 => Some([41, 39, 42, 40]),
        _ => None,
    }
}

/// Attributes of an ICMP's code and type; each mask is behind its value.
fn icmp_kinds(protocol: Option<u8>) -> Option<[u16; 2]> {
    match protocol? {
        1 => Some([49, 51]),
        58 => Some([53, 55]),
        _ => None,
    }
}

pub(super) fn put(all: &mut Writer, flower: &Flower, clock: Clock) {
    all.given(&[(CLASSID, flower.class)]);
    if let Some(indev) = &flower.indev {
        all.text(INDEV, indev);
    }
    put_link(all, flower);
    if let Some(protocol) = flower.ip_proto {
        all.u8(IP_PROTO, protocol);
    }
    let icmp = icmp_kinds(flower.ip_proto).unwrap_or_default();
    let bytes = [(IP_TOS, flower.ip_tos), (IP_TTL, flower.ip_ttl), (icmp[0], flower.icmp_code), (icmp[1], flower.icmp_type)];
    for (kind, masked) in bytes {
        if let Some((value, mask)) = masked {
            all.u8(kind, value).u8(kind + 1, mask);
        }
    }
    put_address(all, (IPV4_DST, IPV6_DST), flower.dst_ip);
    put_address(all, (IPV4_SRC, IPV6_SRC), flower.src_ip);
    if let Some([src, src_mask, dst, dst_mask]) = port_kinds(flower.ip_proto) {
        put_ports(all, (dst, dst_mask, DST_MIN), flower.dst_port);
        put_ports(all, (src, src_mask, SRC_MIN), flower.src_port);
    }
    if let Some((value, mask)) = flower.tcp_flags {
        all.u16(TCP_FLAGS, value.to_be()).u16(TCP_FLAGS + 1, mask.to_be());
    }
    action::put(all, ACT, &flower.actions, clock);
    all.u32(FLAGS, flower.flags);
    if let Some((value, mask)) = flower.ip_flags {
        all.u32(IP_FLAGS, value.to_be()).u32(IP_FLAGS + 1, mask.to_be());
    }
}

fn put_link(all: &mut Writer, flower: &Flower) {
    for (kind, masked) in [(ETH_DST, flower.dst_mac), (ETH_SRC, flower.src_mac)] {
        if let Some((address, mask)) = masked {
            all.put(kind, &address).put(kind + 1, &mask);
        }
    }
    if let Some(id) = flower.vlan_id {
        all.u16(VLAN_ID, id);
    }
    if let Some(prio) = flower.vlan_prio {
        all.u8(VLAN_PRIO, prio);
    }
    for (kind, protocol) in [(VLAN_ETH_TYPE, flower.vlan_ethtype), (ETH_TYPE, flower.eth_type)] {
        if let Some(protocol) = protocol {
            all.u16(kind, protocol.to_be());
        }
    }
}

fn put_address(all: &mut Writer, (four, six): (u16, u16), address: Masked<IpAddr>) {
    match address {
        Some((IpAddr::V4(ip), IpAddr::V4(mask))) => _ = all.put(four, &ip.octets()).put(four + 1, &mask.octets()),
        Some((IpAddr::V6(ip), IpAddr::V6(mask))) => _ = all.put(six, &ip.octets()).put(six + 1, &mask.octets()),
        _ => {}
    }
}

fn put_ports(all: &mut Writer, (one, mask_kind, first_kind): (u16, u16, u16), ports: Option<Ports>) {
    match ports {
        Some(Ports::One(port, mask)) => {
            all.u16(one, port.to_be());
            if let Some(mask) = mask {
                all.u16(mask_kind, mask.to_be());
            }
        }
        Some(Ports::Range(first, last)) => _ = all.u16(first_kind, first.to_be()).u16(first_kind + 1, last.to_be()),
        None => {}
    }
}

pub(super) fn get(all: Reader<'_>) -> Result<Flower, Unprintable> {
    if let Some((kind, _)) = all.all().find(|(kind, _)| !KNOWN.iter().any(|known| known.contains(kind))) {
        return Err(Unprintable(format!("flower with its attribute {kind}")));
    }
    let ip_proto = all.u8(IP_PROTO);
    let be16 = |kind: u16| all.u16(kind).map(u16::from_be);
    let [src, src_mask, dst, dst_mask] = port_kinds(ip_proto).unwrap_or_default();
    let [code, kind] = icmp_kinds(ip_proto).unwrap_or_default();
    let byte = |kind: u16| all.u8(kind).map(|value| (value, all.u8(kind + 1).unwrap_or(0xff)));
    let range = |first: u16| Some(Ports::Range(be16(first)?, be16(first + 1)?));
    let port = |one: u16, mask: u16| be16(one).map(|port| Ports::One(port, be16(mask)));
    Ok(Flower {
        class: all.u32(CLASSID),
        indev: all.text(INDEV),
        vlan_id: all.u16(VLAN_ID),
        vlan_prio: all.u8(VLAN_PRIO),
        vlan_ethtype: be16(VLAN_ETH_TYPE),
        dst_mac: mac(all, ETH_DST),
        src_mac: mac(all, ETH_SRC),
        eth_type: be16(ETH_TYPE),
        ip_proto,
        ip_tos: byte(IP_TOS),
        ip_ttl: byte(IP_TTL),
        dst_ip: address(all, IPV4_DST, IPV6_DST),
        src_ip: address(all, IPV4_SRC, IPV6_SRC),
        dst_port: port(dst, dst_mask).or_else(|| range(DST_MIN)),
        src_port: port(src, src_mask).or_else(|| range(SRC_MIN)),
        tcp_flags: be16(TCP_FLAGS).map(|flags| (flags, be16(TCP_FLAGS + 1).unwrap_or(0))),
        icmp_type: byte(kind),
        icmp_code: byte(code),
        ip_flags: all.u32(IP_FLAGS).zip(all.u32(IP_FLAGS + 1)).map(|(flags, mask)| (u32::from_be(flags), u32::from_be(mask))),
        flags: all.u32(FLAGS).unwrap_or(0),
        in_hw_count: all.u32(IN_HW_COUNT),
        actions: action::get(all.nest(ACT))?,
    })
}

fn mac(all: Reader<'_>, kind: u16) -> Masked<[u8; 6]> {
    let address = Fields(all.get(kind)?).bytes(0)?;
    let mask = all.get(kind + 1).and_then(|mask| Fields(mask).bytes(0));
    Some((address, mask.unwrap_or([0xff; 6])))
}

fn address(all: Reader<'_>, four: u16, six: u16) -> Masked<IpAddr> {
    let of = |kind: u16| {
        let value = all.get(kind)?;
        let v4 = || value.try_into().ok().map(|octets: [u8; 4]| IpAddr::from(octets));
        let v6 = || value.try_into().ok().map(|octets: [u8; 16]| IpAddr::from(octets));
        v4().or_else(v6)
    };
    of(four).zip(of(four + 1)).or_else(|| of(six).zip(of(six + 1)))
}
