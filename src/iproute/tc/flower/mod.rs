//! `flower` (tc-flower(8)): the fields of link, network and transport layer.

mod show;

use std::net::IpAddr;

use super::action::{self, Action};
use super::grammar::{Ground, class, pick, read};
use super::ids::{self, ALL, IPV4, IPV6};
use super::matchall::{SKIP_HW, SKIP_SW, check_flags};
use super::selector::network;
use super::units::{decimal, hexadecimal, mac};
use crate::iproute::{Words, WordsError};
use crate::model::types::Family;

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
    let family = match ethertype {
        IPV4 => Family::Inet,
        IPV6 => Family::Inet6,
        _ => return Err(illegal(format!("{of} needs protocol ip or ipv6 in front of flower"))),
    };
    let (ip, prefix) = network(words, of, family)?;
    let mask = match family {
        Family::Inet => IpAddr::V4(u32::MAX.checked_shl(32 - prefix).unwrap_or(0).into()),
        Family::Inet6 => IpAddr::V6(u128::MAX.checked_shl(128 - prefix).unwrap_or(0).into()),
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
