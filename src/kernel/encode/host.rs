//! Messages for the host's own bridge, in bytes: addresses and routes are made again from what the kernel told of them.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use super::restorable;
use crate::kernel::wire::{
    RTM_DELADDR, RTM_DELNEIGH, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWROUTE, Raw, attributes, put_attribute,
};
use crate::model::mark;
use crate::model::op::{Stp, VxlanLink};
use crate::model::types::{IfName, MacAddr};

// linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const NLA_F_NESTED: u16 = 0x8000;
const IFF_UP: u32 = 1;
// linux/if_addr.h
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const AF_INET6: u8 = 10;
/// `struct ifaddrmsg`
const IFADDRMSG: usize = 8;
// linux/rtnetlink.h
const RTA_CACHEINFO: u16 = 12;
const RTA_EXPIRES: u16 = 23;
/// `struct rtmsg`
const RTMSG: usize = 12;
/// What the kernel counts a second in towards programs (USER_HZ).
const USER_HZ: i32 = 100;
// linux/neighbour.h
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;
const AF_BRIDGE: u8 = 7;

/// `struct ifinfomsg` of a link: family, type, index, flags, mask.
fn ifinfomsg(index: u32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for word in [index, flags, flags] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

fn nest(bytes: &mut Vec<u8>, kind: u16, inner: &[u8]) {
    put_attribute(bytes, kind | NLA_F_NESTED, inner);
}

fn link_info(bytes: &mut Vec<u8>, kind: &str, data: &[u8]) {
    let mut info = Vec::new();
    put_attribute(&mut info, IFLA_INFO_KIND, kind.as_bytes());
    nest(&mut info, IFLA_INFO_DATA, data);
    nest(bytes, IFLA_LINKINFO, &info);
}

fn name(bytes: &mut Vec<u8>, name: &IfName) {
    let mut text = name.as_str().as_bytes().to_vec();
    text.push(0);
    put_attribute(bytes, IFLA_IFNAME, &text);
    put_attribute(bytes, IFLA_GROUP, &mark::GROUP.to_ne_bytes());
}

fn bridge_data(stp: Stp) -> Vec<u8> {
    let mut data = Vec::new();
    put_attribute(&mut data, IFLA_BR_FORWARD_DELAY, &stp.forward_delay.to_ne_bytes());
    put_attribute(&mut data, IFLA_BR_STP_STATE, &u32::from(stp.on).to_ne_bytes());
    data
}

/// `ip link add name NAME up address MAC mtu N type bridge stp_state 0 forward_delay 0`
pub(in crate::kernel) fn add_bridge(bridge: &IfName, mac: MacAddr, mtu: u32) -> Raw {
    let mut payload = ifinfomsg(0, IFF_UP);
    name(&mut payload, bridge);
    put_attribute(&mut payload, IFLA_ADDRESS, &mac.octets());
    put_attribute(&mut payload, IFLA_MTU, &mtu.to_ne_bytes());
    link_info(&mut payload, "bridge", &bridge_data(Stp::default()));
    Raw { kind: RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, payload }
}

/// `ip link set dev BRIDGE type bridge stp_state N`, and `... forward_delay N`, in an order that the kernel takes: with the protocol on, a
/// short delay is out of its range (br_set_forward_delay, net/bridge/br_stp.c), and of one message it reads the delay first.
pub(in crate::kernel) fn set_stp(index: u32, stp: Stp) -> [Raw; 2] {
    let message = |kind: u16, value: u32| {
        let (mut payload, mut data) = (ifinfomsg(index, 0), Vec::new());
        put_attribute(&mut data, kind, &value.to_ne_bytes());
        link_info(&mut payload, "bridge", &data);
        Raw { kind: RTM_NEWLINK, flags: 0, payload }
    };
    let [state, delay] = [message(IFLA_BR_STP_STATE, stp.on.into()), message(IFLA_BR_FORWARD_DELAY, stp.forward_delay)];
    if stp.on { [delay, state] } else { [state, delay] }
}

/// `ip link set dev PORT master BRIDGE`
pub(in crate::kernel) fn set_master(index: u32, master: u32) -> Raw {
    let mut payload = ifinfomsg(index, 0);
    put_attribute(&mut payload, IFLA_MASTER, &master.to_ne_bytes());
    Raw { kind: RTM_NEWLINK, flags: 0, payload }
}

/// `ip link add name NAME up mtu N master BRIDGE type vxlan id ID dstport PORT local IP nolearning`
pub(in crate::kernel) fn add_vxlan(link: &VxlanLink, master: u32) -> Raw {
    let mut payload = ifinfomsg(0, IFF_UP);
    name(&mut payload, &link.name);
    put_attribute(&mut payload, IFLA_MTU, &link.mtu.to_ne_bytes());
    put_attribute(&mut payload, IFLA_MASTER, &master.to_ne_bytes());
    let mut data = Vec::new();
    put_attribute(&mut data, IFLA_VXLAN_ID, &link.id.to_ne_bytes());
    match link.local {
        IpAddr::V4(ip) => put_attribute(&mut data, IFLA_VXLAN_LOCAL, &ip.octets()),
        IpAddr::V6(ip) => put_attribute(&mut data, IFLA_VXLAN_LOCAL6, &ip.octets()),
    }
    put_attribute(&mut data, IFLA_VXLAN_LEARNING, &[0]);
    put_attribute(&mut data, IFLA_VXLAN_PORT, &link.port.to_be_bytes());
    link_info(&mut payload, "vxlan", &data);
    Raw { kind: RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, payload }
}

/// `bridge fdb append|del 00:00:00:00:00:00 dev NAME dst PEER`
pub(in crate::kernel) fn peer(index: u32, peer: IpAddr, add: bool) -> Raw {
    // struct ndmsg: family, three bytes, index, state, flags, type.
    let mut payload = vec![AF_BRIDGE, 0, 0, 0];
    payload.extend(index.to_ne_bytes());
    payload.extend(NUD_PERMANENT.to_ne_bytes());
    payload.extend([NTF_SELF, 0]);
    put_attribute(&mut payload, NDA_LLADDR, &[0; 6]);
    match peer {
        IpAddr::V4(ip) => put_attribute(&mut payload, NDA_DST, &ip.octets()),
        IpAddr::V6(ip) => put_attribute(&mut payload, NDA_DST, &ip.octets()),
    }
    match add {
        true => Raw { kind: RTM_NEWNEIGH, flags: NLM_F_CREATE | NLM_F_APPEND, payload },
        false => Raw { kind: RTM_DELNEIGH, flags: 0, payload },
    }
}

/// An observed address on a link of that index and name. Its label begins with the link's name (ifconfig(8) wants it so), and
/// nobody is asked whether it is free: the link that it comes from has it.
pub(in crate::kernel) fn carried_addr(raw: &[u8], index: u32, link: &IfName, add: bool) -> Raw {
    let kind = if add { RTM_NEWADDR } else { RTM_DELADDR };
    let flags = if add { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
    let Some((header, rest)) = raw.split_at_checked(IFADDRMSG) else { return Raw { kind, flags, payload: raw.to_vec() } };
    let mut payload = header.to_vec();
    if let Some(field) = payload.get_mut(4..8) {
        field.copy_from_slice(&index.to_ne_bytes());
    }
    let is_ipv6 = header.first() == Some(&AF_INET6);
    for (kind, value) in attributes(rest) {
        match kind {
            IFA_LABEL => put_attribute(&mut payload, kind, &label(value, link)),
            IFA_FLAGS if is_ipv6 => {
                let flags = value.try_into().map_or(0, u32::from_ne_bytes) & !(IFA_F_TENTATIVE | IFA_F_DADFAILED);
                put_attribute(&mut payload, kind, &(flags | IFA_F_NODAD).to_ne_bytes());
            }
            _ => put_attribute(&mut payload, kind, value),
        }
    }
    Raw { kind, flags, payload }
}

/// `ens32:1` as `br0:1`; the link's bare name where that would be too long.
fn label(old: &[u8], link: &IfName) -> Vec<u8> {
    let old = String::from_utf8_lossy(old.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let tail = old.split_once(':').map(|(_, tail)| format!("{link}:{tail}"));
    let mut bytes = tail.filter(|text| text.len() <= IfName::MAX).unwrap_or_else(|| link.to_string()).into_bytes();
    bytes.push(0);
    bytes
}

/// An observed route through a link of another index. One that ends, of a router's advertisement, ends in that time.
pub(in crate::kernel) fn carried_route(raw: &[u8], from: u32, index: u32, add: bool) -> Raw {
    let mut payload = restorable(raw, Some((from, index)));
    if !add {
        return Raw { kind: RTM_DELROUTE, flags: 0, payload };
    }
    if let Some(seconds) = expires(&payload) {
        put_attribute(&mut payload, RTA_EXPIRES, &seconds.to_ne_bytes());
    }
    Raw { kind: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_APPEND, payload }
}

/// Of `struct rta_cacheinfo` (linux/rtnetlink.h) the third word, which the kernel tells but does not read.
fn expires(route: &[u8]) -> Option<u32> {
    let (_, info) = attributes(route.get(RTMSG..)?).find(|(kind, _)| *kind == RTA_CACHEINFO)?;
    let ticks = i32::from_ne_bytes(info.get(8..12)?.try_into().ok()?);
    u32::try_from(ticks / USER_HZ).ok().filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_label_follows_the_link_and_is_never_too_long() {
        let br0: IfName = "br0".parse().unwrap();
        assert_eq!(label(b"ens32\0", &br0), b"br0\0");
        assert_eq!(label(b"ens32:web\0", &br0), b"br0:web\0");
        let long: IfName = "bridge-of-all".parse().unwrap();
        assert_eq!(label(b"ens32:website\0", &long), b"bridge-of-all\0");
    }

    #[test]
    fn an_address_of_another_link_is_not_asked_for_again() {
        let mut raw = vec![AF_INET6, 64, 0x80, 0];
        raw.extend(7u32.to_ne_bytes());
        put_attribute(&mut raw, 1, &[0xfd; 16]);
        put_attribute(&mut raw, IFA_FLAGS, &(0x80u32 | IFA_F_TENTATIVE).to_ne_bytes());
        let carried = carried_addr(&raw, 9, &"br0".parse().unwrap(), true);
        assert_eq!(carried.payload.get(4..8).unwrap(), 9u32.to_ne_bytes());
        let flags = attributes(&carried.payload[8..]).find(|(kind, _)| *kind == IFA_FLAGS).unwrap().1.to_vec();
        assert_eq!(u32::from_ne_bytes(flags.try_into().unwrap()), 0x80 | IFA_F_NODAD);
    }

    #[test]
    fn a_route_that_ends_ends_in_the_same_time() {
        let mut raw = vec![0; RTMSG];
        let mut info = vec![0; 28];
        info[8..12].copy_from_slice(&(1700i32 * USER_HZ).to_ne_bytes());
        put_attribute(&mut raw, RTA_CACHEINFO, &info);
        let carried = carried_route(&raw, 2, 3, true);
        let (_, seconds) = attributes(&carried.payload[RTMSG..]).find(|(kind, _)| *kind == RTA_EXPIRES).unwrap();
        assert_eq!(u32::from_ne_bytes(seconds.try_into().unwrap()), 1700);
    }
}
