//! `flower` (tc-flower(8)): the fields of link, network and transport layer.

use std::net::IpAddr;

use super::action::{self, Action, View};
use super::grammar::{Ground, class, pick, read};
use super::ids::{self, ALL, IPV4, IPV6};
use super::matchall::{SKIP_HW, SKIP_SW, check_flags, flag_names};
use super::selector::network;
use super::units::{decimal, hexadecimal, mac};
use crate::iproute::{Words, WordsError};

const LIST: [&str; 60] = [
    "classid",
    "flowid",
    "hw_tc",
    "ip_flags",
    "verbose",
    "skip_hw",
    "skip_sw",
    "ct_state",
    "ct_zone",
    "ct_mark",
    "ct_label",
    "indev",
    "=num_of_vlans",
    "vlan_id",
    "vlan_prio",
    "vlan_ethtype",
    "cvlan_id",
    "cvlan_prio",
    "cvlan_ethtype",
    "mpls",
    "mpls_label",
    "mpls_tc",
    "mpls_bos",
    "mpls_ttl",
    "dst_mac",
    "src_mac",
    "ip_proto",
    "ip_tos",
    "ip_ttl",
    "dst_ip",
    "src_ip",
    "dst_port",
    "src_port",
    "tcp_flags",
    "type",
    "code",
    "arp_tip",
    "arp_sip",
    "arp_op",
    "arp_tha",
    "arp_sha",
    "=pppoe_sid",
    "=ppp_proto",
    "enc_dst_ip",
    "enc_src_ip",
    "enc_key_id",
    "enc_dst_port",
    "enc_tos",
    "enc_ttl",
    "geneve_opts",
    "vxlan_opts",
    "erspan_opts",
    "=gtp_opts",
    "action",
    "=l2tpv3_sid",
    "=cfm",
    "=arp_xha",
    "=ct_flags",
    "=enc_flags",
    "=help",
];

/// TCA_CLS_FLAGS_VERBOSE
const VERBOSE: u32 = 16;
/// TCP, UDP, SCTP, ICMP, ICMPv6 (RFC 790 and its successors)
const PROTOCOLS: [(&str, u8); 5] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1), ("icmpv6", 58)];
/// TCA_FLOWER_KEY_FLAGS_*
const IP_FLAGS: [(&str, u32); 2] = [("frag", 1), ("firstfrag", 2)];

/// A value, and which of its bits count.
pub type Masked<T> = Option<(T, T)>;

/// A port, or ports from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One, and which bits count.
    One(u16, Option<u16>),
    /// From the first to the last.
    Range(u16, u16),
}

/// What the kernel's attributes hold (TCA_FLOWER_*), numbers in the host's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flower {
    /// The class that packets go to.
    pub class: Option<u32>,
    /// The link that packets came in by.
    pub indev: Option<String>,
    /// VLAN.
    pub vlan_id: Option<u16>,
    /// Its priority.
    pub vlan_prio: Option<u8>,
    /// The protocol in it.
    pub vlan_ethtype: Option<u16>,
    /// Receiver.
    pub dst_mac: Masked<[u8; 6]>,
    /// Sender.
    pub src_mac: Masked<[u8; 6]>,
    /// Protocol above Ethernet.
    pub eth_type: Option<u16>,
    /// Protocol above IP.
    pub ip_proto: Option<u8>,
    /// Type of service.
    pub ip_tos: Masked<u8>,
    /// Time to live.
    pub ip_ttl: Masked<u8>,
    /// Receiver.
    pub dst_ip: Masked<IpAddr>,
    /// Sender.
    pub src_ip: Masked<IpAddr>,
    /// Receiver's port.
    pub dst_port: Option<Ports>,
    /// Sender's port.
    pub src_port: Option<Ports>,
    /// TCP's flags.
    pub tcp_flags: Masked<u16>,
    /// ICMP's type.
    pub icmp_type: Masked<u8>,
    /// ICMP's code.
    pub icmp_code: Masked<u8>,
    /// TCA_FLOWER_KEY_FLAGS_*
    pub ip_flags: Masked<u32>,
    /// TCA_CLS_FLAGS_*
    pub flags: u32,
    /// How many devices have it in hardware.
    pub in_hw_count: Option<u32>,
    /// What is done, with the place of each.
    pub actions: Vec<(u16, Action)>,
}

/// What fields depend on, as far as it has been read.
struct Reading {
    protocol: u16,
    ethertype: u16,
}

fn illegal(text: String) -> WordsError {
    WordsError::Bad(format!("filter flower: {text}"))
}

impl Flower {
    /// The words behind the kind, for packets of a protocol.
    ///
    /// # Errors
    /// A word that is not known, a value that is none, or a field that the protocol has not.
    pub fn parse(words: &mut Words<'_>, protocol: u16, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self { eth_type: (protocol != ALL).then_some(protocol), ..Self::default() };
        let mut reading = Reading { protocol, ethertype: protocol };
        while let Some(word) = words.take() {
            match pick(word, &LIST).unwrap_or_default() {
                "classid" | "flowid" => all.class = Some(class(words, word)?),
                "skip_hw" => all.flags |= SKIP_HW,
                "skip_sw" => all.flags |= SKIP_SW,
                "verbose" => all.flags |= VERBOSE,
                "indev" => all.indev = Some(words.value(word)?.to_owned()),
                "action" => all.actions = (1..).zip(action::parse(words, ground)?).collect(),
                name @ ("vlan_id" | "vlan_prio" | "vlan_ethtype") => all.vlan(words, name, &mut reading)?,
                "dst_mac" => all.dst_mac = Some(masked_mac(words, word)?),
                "src_mac" => all.src_mac = Some(masked_mac(words, word)?),
                name => all.network(words, name, word, reading.ethertype)?,
            }
        }
        Ok(all)
    }

    fn vlan(&mut self, words: &mut Words<'_>, name: &str, reading: &mut Reading) -> Result<(), WordsError> {
        if !matches!(reading.protocol, 0x8100 | 0x88a8) {
            return Err(illegal(format!("{name} needs protocol 802.1Q or 802.1ad in front of flower")));
        }
        let below = |most: u32| move |text: &str| decimal(text).filter(|n| *n < most).map(|n| n as u16);
        match name {
            "vlan_id" => self.vlan_id = Some(read(words, name, "a VLAN from 0 to 4095", below(0x1000))?),
            "vlan_prio" => self.vlan_prio = Some(read(words, name, "a priority from 0 to 7", below(8))? as u8),
            _ => {
                reading.ethertype = read(words, name, "a protocol like ip or ipv6", ids::protocol)?;
                self.vlan_ethtype = Some(reading.ethertype);
            }
        }
        Ok(())
    }

    fn network(&mut self, words: &mut Words<'_>, name: &str, word: &str, ethertype: u16) -> Result<(), WordsError> {
        match name {
            "ip_proto" => self.ip_proto = Some(ip_protocol(words, ethertype)?),
            "ip_tos" => self.ip_tos = Some(masked_byte(words, name)?),
            "ip_ttl" => self.ip_ttl = Some(masked_byte(words, name)?),
            "ip_flags" => self.ip_flags = Some(ip_flags(words)?),
            "dst_ip" => self.dst_ip = Some(address(words, name, ethertype)?),
            "src_ip" => self.src_ip = Some(address(words, name, ethertype)?),
            "dst_port" => self.dst_port = Some(ports(words, name, self.ip_proto)?),
            "src_port" => self.src_port = Some(ports(words, name, self.ip_proto)?),
            "tcp_flags" => self.tcp_flags = Some(tcp_flags(words)?),
            "type" => self.icmp_type = Some(self.icmp(words, name, ethertype)?),
            "code" => self.icmp_code = Some(self.icmp(words, name, ethertype)?),
            _ => return Err(words.unknown(word)),
        }
        Ok(())
    }

    fn icmp(&self, words: &mut Words<'_>, name: &str, ethertype: u16) -> Result<(u8, u8), WordsError> {
        let is = matches!((ethertype, self.ip_proto), (IPV4, Some(1)) | (IPV6, Some(58)));
        if !is {
            return Err(illegal(format!("{name} needs ip_proto icmp or icmpv6 in front of it")));
        }
        let byte = |text: &str| crate::iproute::number(text).and_then(|n| u8::try_from(n).ok());
        read(words, name, "a number from 0 to 255, maybe with a mask like 8/0xff", |text| {
            let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
            Some((byte(value)?, mask.map_or(Some(0xff), byte)?))
        })
    }

    /// That software and hardware are not both left out. tc leaves that to the kernel.
    ///
    /// # Errors
    /// When both are.
    pub fn check(&self) -> Result<(), WordsError> {
        check_flags(self.flags)
    }

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
        // single ports stand before ranges
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

fn masked_mac(words: &mut Words<'_>, of: &str) -> Result<([u8; 6], [u8; 6]), WordsError> {
    read(words, of, "a MAC address, maybe with a mask like 02:00:00:00:00:00/8", |text| {
        let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
        let bits = |n: u32| {
            let [_, _, mask @ ..] = (0xffff_ffff_ffffu64 & !(0xffff_ffff_ffffu64.checked_shr(n).unwrap_or(0))).to_be_bytes();
            mask
        };
        let length = |mask: &str| decimal(mask).filter(|n| !mask.is_empty() && *n <= 48).map(bits).or_else(|| mac(mask));
        Some((mac(address)?, mask.map_or(Some([0xff; 6]), length)?))
    })
}

fn ip_protocol(words: &mut Words<'_>, ethertype: u16) -> Result<u8, WordsError> {
    if !matches!(ethertype, IPV4 | IPV6) {
        return Err(illegal("ip_proto needs protocol ip or ipv6 in front of flower".into()));
    }
    let word = words.value("ip_proto")?;
    let named = PROTOCOLS.iter().find(|(name, _)| !word.is_empty() && name.starts_with(word)).map(|(_, number)| *number);
    let number = named.or_else(|| hexadecimal(word)?.try_into().ok());
    match number.ok_or_else(|| words.bad("ip_proto", word, "tcp, udp, sctp, icmp, icmpv6 or a number in hexadecimal"))? {
        1 if named.is_some() && ethertype != IPV4 => Err(illegal("icmp is IPv4's: say icmpv6".into())),
        58 if named.is_some() && ethertype != IPV6 => Err(illegal("icmpv6 is IPv6's: say icmp".into())),
        number => Ok(number),
    }
}

/// A byte in decimal, else in hexadecimal; the mask always in hexadecimal.
fn masked_byte(words: &mut Words<'_>, of: &str) -> Result<(u8, u8), WordsError> {
    let byte = |number: Option<u32>| number.and_then(|n| u8::try_from(n).ok());
    read(words, of, "a number from 0 to 255, maybe with a mask like 16/1f", |text| {
        let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
        let value = byte(decimal(value)).or_else(|| byte(hexadecimal(value)))?;
        Some((value, mask.map_or(Some(0xff), |mask| byte(hexadecimal(mask)))?))
    })
}

fn ip_flags(words: &mut Words<'_>) -> Result<(u32, u32), WordsError> {
    read(words, "ip_flags", "frag, nofrag, firstfrag or nofirstfrag, with / between", |text| {
        let mut all = (0, 0);
        for word in text.split('/').filter(|word| !word.is_empty()) {
            let (name, set) = word.strip_prefix("no").map_or((word, true), |name| (name, false));
            let (_, flag) = IP_FLAGS.iter().find(|(listed, _)| *listed == name)?;
            all.0 = if set { all.0 | flag } else { all.0 & !flag };
            all.1 |= flag;
        }
        Some(all)
    })
}

fn address(words: &mut Words<'_>, of: &str, ethertype: u16) -> Result<(IpAddr, IpAddr), WordsError> {
    let four = match ethertype {
        IPV4 => true,
        IPV6 => false,
        _ => return Err(illegal(format!("{of} needs protocol ip or ipv6 in front of flower"))),
    };
    let wanted = if four { "an IPv4 address or network" } else { "an IPv6 address or network" };
    let (ip, prefix) = read(words, of, wanted, |text| network(text, Some(four)))?;
    let mask = if four {
        IpAddr::V4(u32::MAX.checked_shl(32 - prefix).unwrap_or(0).into())
    } else {
        IpAddr::V6(u128::MAX.checked_shl(128 - prefix).unwrap_or(0).into())
    };
    Ok((ip, mask))
}

fn ports(words: &mut Words<'_>, of: &str, protocol: Option<u8>) -> Result<Ports, WordsError> {
    if !matches!(protocol, Some(6 | 17 | 132)) {
        return Err(illegal(format!("{of} needs ip_proto tcp, udp or sctp in front of it")));
    }
    let port = |text: &str| decimal(text).and_then(|n| u16::try_from(n).ok());
    let number = |text: &str| crate::iproute::number(text).and_then(|n| u16::try_from(n).ok());
    read(words, of, "a port, ports like 1000-2000, or a port and a mask like 80/0xfff0", |text| {
        if let Some((value, mask)) = text.split_once('/') {
            return Some(Ports::One(number(value)?, Some(number(mask)?)));
        }
        match text.split_once('-') {
            Some((first, last)) => Some(Ports::Range(port(first)?, port(last)?)).filter(|ports| match ports {
                Ports::Range(first, last) => *first > 0 && first < last,
                Ports::One(..) => true,
            }),
            None => port(text).filter(|port| *port != 0).map(|port| Ports::One(port, None)),
        }
    })
}

fn tcp_flags(words: &mut Words<'_>) -> Result<(u16, u16), WordsError> {
    let flags = |text: &str| hexadecimal(text).filter(|n| *n <= 0xfff).map(|n| n as u16);
    read(words, "tcp_flags", "flags of 12 bits in hexadecimal, maybe with a mask like 0x2/0x12", |text| {
        let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
        Some((flags(value)?, mask.map_or(Some(0xfff), flags)?))
    })
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
        Some(bits) if bits as usize == 8 * bytes.len() => ip.to_string(),
        Some(bits) => format!("{ip}/{bits}"),
        None => format!("{ip}/{mask}"),
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
