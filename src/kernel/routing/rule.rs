//! Rule messages: `struct fib_rule_hdr` and FRA_* (linux/fib_rules.h).

use super::bytes::{Message, ip, text, u8_of, u16_at, u32_at, u32_of};
use super::route::{AF_INET, AF_INET6, family_byte};
use crate::iproute::rule::Rule;
use crate::kernel::wire::attributes;
use crate::model::types::Family;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;
const FRA_FLOWLABEL: u16 = 26;
const FRA_SPORT_MASK: u16 = 28;
const FRA_DPORT_MASK: u16 = 29;
/// `struct fib_rule_hdr`
const HEADER: usize = 12;

/// The request for a dump of a family's rules.
pub(super) fn ask(family: Family) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    header.splice(..1, [family_byte(Some(family))]);
    header
}

/// A rule's message.
pub(super) fn encode(rule: &Rule) -> Vec<u8> {
    let small_table = u8::try_from(rule.table).unwrap_or_default();
    let head = [family_byte(Some(rule.family)), rule.dst_len, rule.src_len, rule.tos, small_table, 0, 0, rule.action];
    let mut message = Message::new(&[&head[..], &rule.flags.to_ne_bytes()].concat());
    message.add_ip(FRA_SRC, rule.src);
    message.add_ip(FRA_DST, rule.dst);
    message.add_u32(FRA_PRIORITY, rule.priority);
    message.add_u32(FRA_FWMARK, rule.mark);
    message.add_u32(FRA_FWMASK, rule.mask);
    message.add_u32(FRA_FLOW, rule.realms);
    message.add_u8(FRA_PROTOCOL, rule.protocol);
    rule.tunnel.into_iter().for_each(|id| message.add(FRA_TUN_ID, &id.to_be_bytes()));
    message.add_u32(FRA_TABLE, Some(rule.table).filter(|table| *table > 255));
    message.add_u32(FRA_SUPPRESS_PREFIXLEN, rule.suppress_prefixlength);
    message.add_u32(FRA_SUPPRESS_IFGROUP, rule.suppress_ifgroup);
    message.add_text(FRA_IFNAME, rule.iif.as_deref());
    message.add_text(FRA_OIFNAME, rule.oif.as_deref());
    message.add_u8(FRA_L3MDEV, rule.l3mdev.then_some(1));
    if let Some((first, last)) = rule.uids {
        message.add(FRA_UID_RANGE, &[first.to_ne_bytes(), last.to_ne_bytes()].concat());
    }
    message.add_u8(FRA_IP_PROTO, rule.ip_protocol);
    for (kind, ports) in [(FRA_SPORT_RANGE, rule.sports), (FRA_DPORT_RANGE, rule.dports)] {
        ports.into_iter().for_each(|(first, last)| message.add(kind, &[first.to_ne_bytes(), last.to_ne_bytes()].concat()));
    }
    message.add_u32(FRA_GOTO, rule.goto);
    message.bytes()
}

/// A rule of the kernel's; `None` when it is of a family that is not ours, or makes no sense.
pub fn decode(raw: &[u8]) -> Option<Rule> {
    let family = match *raw.first()? {
        AF_INET => Family::Inet,
        AF_INET6 => Family::Inet6,
        _ => return None,
    };
    let byte = |at: usize| raw.get(at).copied().unwrap_or_default();
    let mut rule = Rule {
        dst_len: byte(1),
        src_len: byte(2),
        tos: byte(3),
        table: byte(4).into(),
        action: byte(7),
        flags: u32_at(raw, 8)?,
        ..Rule::new(family)
    };
    attributes(raw.get(HEADER..)?).for_each(|(kind, value)| attribute(&mut rule, kind, value));
    Some(rule)
}

fn attribute(rule: &mut Rule, kind: u16, value: &[u8]) {
    let ports = || u16_at(value, 0).zip(u16_at(value, 2));
    match kind {
        FRA_DST => rule.dst = ip(value),
        FRA_SRC => rule.src = ip(value),
        FRA_IFNAME => rule.iif = Some(text(value)),
        FRA_OIFNAME => rule.oif = Some(text(value)),
        FRA_GOTO => rule.goto = u32_of(value),
        FRA_PRIORITY => rule.priority = u32_of(value),
        FRA_FWMARK => rule.mark = u32_of(value),
        FRA_FWMASK => rule.mask = u32_of(value),
        FRA_FLOW => rule.realms = u32_of(value),
        FRA_TUN_ID => rule.tunnel = <[u8; 8]>::try_from(value).ok().map(u64::from_be_bytes),
        FRA_SUPPRESS_IFGROUP => rule.suppress_ifgroup = u32_of(value),
        FRA_SUPPRESS_PREFIXLEN => rule.suppress_prefixlength = u32_of(value),
        FRA_TABLE => rule.table = u32_of(value).unwrap_or(rule.table),
        FRA_L3MDEV => rule.l3mdev = u8_of(value).is_some_and(|v| v != 0),
        FRA_UID_RANGE => rule.uids = u32_at(value, 0).zip(u32_at(value, 4)),
        FRA_PROTOCOL => rule.protocol = u8_of(value),
        FRA_IP_PROTO => rule.ip_protocol = u8_of(value),
        FRA_SPORT_RANGE => rule.sports = ports(),
        FRA_DPORT_RANGE => rule.dports = ports(),
        FRA_DSCP => rule.foreign = Some("dscp"),
        FRA_FLOWLABEL => rule.foreign = Some("flowlabel"),
        FRA_SPORT_MASK if u16_at(value, 0) != Some(u16::MAX) => rule.foreign = Some("sport with a mask"),
        FRA_DPORT_MASK if u16_at(value, 0) != Some(u16::MAX) => rule.foreign = Some("dport with a mask"),
        _ => {}
    }
}
