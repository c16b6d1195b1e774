//! Route messages: `struct rtmsg` and RTA_* (linux/rtnetlink.h).

use std::net::IpAddr;

use super::bytes::{Message, ip, ip_bytes, text, u8_of, u16_at, u32_at, u32_of};
use crate::iproute::route::{Cache, Cached, Metric, Metrics, Nexthop, Route, Selector};
use crate::kernel::wire::attributes;
use crate::model::types::Family;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_FLOW: u16 = 11;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const RTA_NEWDST: u16 = 19;
const RTA_PREF: u16 = 20;
const RTA_ENCAP: u16 = 22;
const RTA_EXPIRES: u16 = 23;
const RTA_UID: u16 = 25;
const RTA_TTL_PROPAGATE: u16 = 26;
const RTA_IP_PROTO: u16 = 27;
const RTA_SPORT: u16 = 28;
const RTA_DPORT: u16 = 29;
const RTA_NH_ID: u16 = 30;
const RTAX_LOCK: u16 = 1;
const RTAX_CC_ALGO: u16 = 16;
const RTM_F_CLONED: u32 = 0x200;
/// `struct rtmsg`
const HEADER: usize = 12;
/// `struct rtnexthop`
const NEXTHOP: usize = 8;

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

pub(super) fn family_byte(family: Option<Family>) -> u8 {
    match family {
        None => 0,
        Some(Family::Inet) => AF_INET,
        Some(Family::Inet6) => AF_INET6,
    }
}

/// The request for a dump of what a selector means. The kernel looks at table, link and protocol; the rest is ours.
pub(super) fn ask(selector: &Selector) -> Vec<u8> {
    let flags = if selector.cached == Cached::Only { RTM_F_CLONED } else { 0 };
    let head = [family_byte(selector.ask), 0, 0, 0, 0, selector.protocol.unwrap_or_default(), 0, 0];
    let mut message = Message::new(&[&head[..], &flags.to_ne_bytes()].concat());
    message.add_u32(RTA_TABLE, selector.table);
    message.add_u32(RTA_OIF, selector.dev);
    message.bytes()
}

/// A route's message.
pub(super) fn encode(route: &Route) -> Vec<u8> {
    let small_table = u8::try_from(route.table).unwrap_or_default();
    let family = family_byte(Some(route.family));
    let head = [family, route.dst_len, route.src_len, route.tos, small_table, route.protocol, route.scope, route.kind];
    let mut message = Message::new(&[&head[..], &route.flags.to_ne_bytes()].concat());
    message.add_ip(RTA_DST, route.dst);
    message.add_ip(RTA_SRC, route.src);
    gateway(&mut message, route.gateway, route.family);
    message.add_ip(RTA_PREFSRC, route.prefsrc);
    message.add_u32(RTA_OIF, route.dev);
    message.add_u32(RTA_IIF, route.iif);
    message.add_u32(RTA_PRIORITY, route.metric);
    message.add_u32(RTA_TABLE, Some(route.table).filter(|table| *table > 255));
    message.add_u32(RTA_FLOW, route.realms);
    message.add_u32(RTA_MARK, route.mark);
    message.add_u32(RTA_UID, route.uid);
    message.add_u8(RTA_IP_PROTO, route.ip_protocol);
    route.sport.into_iter().for_each(|port| message.add(RTA_SPORT, &port.to_be_bytes()));
    route.dport.into_iter().for_each(|port| message.add(RTA_DPORT, &port.to_be_bytes()));
    message.add_u8(RTA_PREF, route.preference);
    message.add_u8(RTA_TTL_PROPAGATE, route.ttl_propagate);
    message.add_u32(RTA_NH_ID, route.nexthop_id);
    message.add_u32(RTA_EXPIRES, route.expires);
    if !route.metrics.is_empty() {
        message.add(RTA_METRICS, &metrics(&route.metrics));
    }
    if !route.nexthops.is_empty() {
        let all: Vec<u8> = route.nexthops.iter().flat_map(|nexthop| encode_nexthop(nexthop, route.family)).collect();
        message.add(RTA_MULTIPATH, &all);
    }
    message.bytes()
}

/// A gateway of the other family goes into `struct rtvia` (RFC 5549).
fn gateway(message: &mut Message, gateway: Option<IpAddr>, family: Family) {
    match gateway {
        Some(ip) if Family::of(ip) != family => {
            let other = u16::from(family_byte(Some(Family::of(ip))));
            message.add(RTA_VIA, &[&other.to_ne_bytes()[..], &ip_bytes(ip)].concat());
        }
        gateway => message.add_ip(RTA_GATEWAY, gateway),
    }
}

fn metrics(metrics: &Metrics) -> Vec<u8> {
    let mut nested = Message::new(&[]);
    for (index, value) in &metrics.values {
        match value {
            Metric::Number(number) => nested.add_u32(*index, Some(*number)),
            Metric::Text(text) => nested.add(*index, text.as_bytes()),
        }
    }
    nested.add_u32(RTAX_LOCK, Some(metrics.lock).filter(|lock| *lock != 0));
    nested.bytes()
}

fn encode_nexthop(nexthop: &Nexthop, family: Family) -> Vec<u8> {
    let mut attributes = Message::new(&[]);
    gateway(&mut attributes, nexthop.gateway, family);
    attributes.add_u32(RTA_FLOW, nexthop.realms);
    let attributes = attributes.bytes();
    let length = u16::try_from(NEXTHOP + attributes.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([nexthop.flags, nexthop.hops]);
    bytes.extend(nexthop.dev.to_ne_bytes());
    bytes.extend(attributes);
    bytes
}

/// A route of the kernel's; `None` when it is of a family that is not ours, or makes no sense.
pub fn decode(raw: &[u8]) -> Option<Route> {
    let family = match *raw.first()? {
        AF_INET => Family::Inet,
        AF_INET6 => Family::Inet6,
        _ => return None,
    };
    let byte = |at: usize| raw.get(at).copied().unwrap_or_default();
    let mut route = Route {
        dst_len: byte(1),
        src_len: byte(2),
        tos: byte(3),
        table: byte(4).into(),
        protocol: byte(5),
        scope: byte(6),
        kind: byte(7),
        flags: u32_at(raw, 8)?,
        ..Route::new(family)
    };
    attributes(raw.get(HEADER..)?).for_each(|(kind, value)| attribute(&mut route, kind, value));
    Some(route)
}

fn attribute(route: &mut Route, kind: u16, value: &[u8]) {
    match kind {
        RTA_DST => route.dst = ip(value),
        RTA_SRC => route.src = ip(value),
        RTA_IIF => route.iif = u32_of(value),
        RTA_OIF => route.dev = u32_of(value),
        RTA_GATEWAY => route.gateway = ip(value),
        RTA_VIA => via(value, &mut route.gateway, &mut route.foreign),
        RTA_PRIORITY => route.metric = u32_of(value),
        RTA_PREFSRC => route.prefsrc = ip(value),
        RTA_METRICS => route.metrics = decode_metrics(value),
        RTA_MULTIPATH => nexthops(route, value),
        RTA_FLOW => route.realms = u32_of(value),
        RTA_CACHEINFO => route.cache = cache(value),
        RTA_TABLE => route.table = u32_of(value).unwrap_or(route.table),
        RTA_MARK => route.mark = u32_of(value),
        RTA_UID => route.uid = u32_of(value),
        RTA_PREF => route.preference = u8_of(value),
        RTA_TTL_PROPAGATE => route.ttl_propagate = u8_of(value),
        RTA_NH_ID => route.nexthop_id = u32_of(value),
        RTA_NEWDST => route.foreign = Some("as"),
        RTA_ENCAP => route.foreign = Some("encap"),
        _ => {}
    }
}

fn via(value: &[u8], gateway: &mut Option<IpAddr>, foreign: &mut Option<&'static str>) {
    *gateway = value.get(2..).and_then(ip);
    if gateway.is_none() {
        *foreign = Some("via");
    }
}

fn decode_metrics(value: &[u8]) -> Metrics {
    let mut metrics = Metrics::default();
    for (index, value) in attributes(value) {
        match index {
            RTAX_LOCK => metrics.lock = u32_of(value).unwrap_or_default(),
            RTAX_CC_ALGO => metrics.values.push((index, Metric::Text(text(value)))),
            _ => metrics.values.extend(u32_of(value).map(|number| (index, Metric::Number(number)))),
        }
    }
    metrics
}

fn nexthops(route: &mut Route, mut rest: &[u8]) {
    while let Some(length) = u16_at(rest, 0).map(usize::from).filter(|length| (NEXTHOP..=rest.len()).contains(length)) {
        let byte = |at: usize| rest.get(at).copied().unwrap_or_default();
        let mut nexthop = Nexthop { flags: byte(2), hops: byte(3), dev: u32_at(rest, 4).unwrap_or_default(), ..Nexthop::default() };
        for (kind, value) in attributes(rest.get(NEXTHOP..length).unwrap_or_default()) {
            match kind {
                RTA_GATEWAY => nexthop.gateway = ip(value),
                RTA_VIA => via(value, &mut nexthop.gateway, &mut route.foreign),
                RTA_FLOW => nexthop.realms = u32_of(value),
                RTA_NEWDST => route.foreign = Some("as"),
                RTA_ENCAP => route.foreign = Some("encap"),
                _ => {}
            }
        }
        route.nexthops.push(nexthop);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// `struct rta_cacheinfo`
fn cache(value: &[u8]) -> Option<Cache> {
    let field = |n: usize| u32_at(value, 4 * n);
    Some(Cache {
        users: field(0)?,
        last_use: field(1)?,
        expires: field(2)?.cast_signed(),
        error: field(3)?,
        used: field(4)?,
        id: field(5).unwrap_or_default(),
        ts: field(6).unwrap_or_default(),
        ts_age: field(7).unwrap_or_default(),
    })
}
