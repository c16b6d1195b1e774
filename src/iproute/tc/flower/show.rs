//! Printing `flower`.

use std::net::IpAddr;

use super::{Flower, IP_FLAGS, PROTOCOLS, Ports};
use crate::iproute::address::address_text;
use crate::iproute::tc::action::{self, View};
use crate::iproute::tc::ids::{self, IPV4, IPV6};
use crate::iproute::tc::matchall::flag_names;

impl Flower {
    /// As tc prints it.
    pub fn show(&self, handle: u32, view: View<'_>) -> String {
        let mut text = if handle == 0 { String::new() } else { format!("handle {handle:#x} ") };
        if let Some(class) = self.class {
            text += &show_class(class);
        }
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                text += &format!("\n  {name} {value}");
            }
        };
        line("indev", self.indev.clone());
        line("vlan_id", self.vlan_id.map(|id| id.to_string()));
        line("vlan_prio", self.vlan_prio.map(|prio| prio.to_string()));
        line("vlan_ethtype", self.vlan_ethtype.map(ids::show_protocol));
        line("dst_mac", self.dst_mac.map(show_mac));
        line("src_mac", self.src_mac.map(show_mac));
        line("eth_type", self.eth_type.map(show_ethertype));
        line("ip_proto", self.ip_proto.map(show_ip_protocol));
        line("ip_tos", self.ip_tos.map(|(value, mask)| show_bits(value.into(), mask.into(), 0xff)));
        line("ip_ttl", self.ip_ttl.map(|(value, mask)| show_bits(value.into(), mask.into(), 0xff)));
        line("dst_ip", self.dst_ip.filter(|ip| self.is_of(*ip)).map(show_address));
        line("src_ip", self.src_ip.filter(|ip| self.is_of(*ip)).map(show_address));
        // Single ports stand before ranges.
        for range in [false, true] {
            for (name, ports) in [("dst_port", self.dst_port), ("src_port", self.src_port)] {
                line(name, ports.filter(|ports| matches!(ports, Ports::Range(..)) == range).map(show_ports));
            }
        }
        line("tcp_flags", self.tcp_flags.map(|(flags, mask)| format!("{flags:#x}/{mask:x}")));
        line("icmp_type", self.icmp_type.map(show_byte));
        line("icmp_code", self.icmp_code.map(show_byte));
        line("ip_flags", self.ip_flags.map(show_ip_flags));
        for name in flag_names(self.flags) {
            let count = self.in_hw_count.filter(|_| name == "in_hw").map(|n| format!(" in_hw_count {n}")).unwrap_or_default();
            text += &format!("\n  {name}{count}");
        }
        text + &action::show(&self.actions, view)
    }

    /// Whether an address is of the protocol: others are not printed.
    fn is_of(&self, (ip, _): (IpAddr, IpAddr)) -> bool {
        self.eth_type == Some(if ip.is_ipv4() { IPV4 } else { IPV6 })
    }
}

/// A class, or the traffic class of the hardware that its number means (TC_H_MIN_PRIORITY, linux/pkt_sched.h).
fn show_class(class: u32) -> String {
    match class & 0xffff {
        minor @ 0xffe0..=0xffef => format!("hw_tc {} ", minor - 0xffe0),
        _ => format!("classid {} ", ids::show(class)),
    }
}

/// The length of a mask: of none, and of one with holes, there is none.
fn prefix(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading = mask.iter().take_while(|byte| **byte == 0xff).count();
    let next = mask.get(leading).map_or(0, |byte| byte.leading_ones());
    (ones > 0 && leading as u32 * 8 + next == ones).then_some(ones)
}

fn show_mac((address, mask): ([u8; 6], [u8; 6])) -> String {
    let text = |octets: [u8; 6]| octets.map(|octet| format!("{octet:02x}")).join(":");
    match prefix(&mask) {
        Some(48) => text(address),
        Some(bits) => format!("{}/{bits}", text(address)),
        None => format!("{}/{}", text(address), text(mask)),
    }
}

fn show_address((ip, mask): (IpAddr, IpAddr)) -> String {
    let bytes = match mask {
        IpAddr::V4(mask) => mask.octets().to_vec(),
        IpAddr::V6(mask) => mask.octets().to_vec(),
    };
    match prefix(&bytes) {
        Some(bits) if bits as usize == 8 * bytes.len() => address_text(ip),
        Some(bits) => format!("{}/{bits}", address_text(ip)),
        None => format!("{}/{}", address_text(ip), address_text(mask)),
    }
}

fn show_ethertype(ethertype: u16) -> String {
    match ethertype {
        IPV4 => "ipv4".into(),
        IPV6 => "ipv6".into(),
        0x0806 => "arp".into(),
        0x8035 => "rarp".into(),
        other => format!("{other:04x}"),
    }
}

fn show_ip_protocol(protocol: u8) -> String {
    let known = PROTOCOLS.iter().find(|(_, number)| *number == protocol);
    known.map_or_else(|| format!("{protocol:02x}"), |(name, _)| (*name).to_owned())
}

fn show_bits(value: u32, mask: u32, all: u32) -> String {
    if mask == all { value.to_string() } else { format!("{value}/{mask:#x}") }
}

fn show_byte((value, mask): (u8, u8)) -> String {
    if mask == 0xff { value.to_string() } else { format!("{value}/{mask}") }
}

fn show_ports(ports: Ports) -> String {
    match ports {
        Ports::One(port, mask) => show_bits(port.into(), mask.unwrap_or(0xffff).into(), 0xffff),
        Ports::Range(first, last) => format!("{first}-{last}"),
    }
}

fn show_ip_flags((flags, mask): (u32, u32)) -> String {
    let counts = IP_FLAGS.iter().filter(|(_, flag)| mask & flag != 0);
    let name = |(name, flag): &(&str, u32)| if flags & flag == 0 { format!("no{name}") } else { (*name).to_owned() };
    counts.map(name).collect::<Vec<_>>().join("/")
}
