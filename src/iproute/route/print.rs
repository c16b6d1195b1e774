//! A route as `ip route` prints it.

use std::fmt::Write;
use std::net::IpAddr;

use super::super::address::address_text;
use super::super::names::{LookUps, NameTable};
use super::super::options::Options;
use super::{BOOT, CLONED, Cache, MULTICAST, Nexthop, Route, Selector, TABLE_MAIN, UNICAST, UNIVERSE, kind_text};
use crate::model::types::Family;

/// USER_HZ: clock ticks of a second, as the kernel tells them to programs.
const TICKS: u32 = 100;

/// RTNH_F_* and RTM_F_*, in the order they are printed.
const FLAGS: [(u32, &str); 11] = [
    (0x1, "dead"),
    (0x4, "onlink"),
    (0x2, "pervasive"),
    (0x8, "offload"),
    (0x40, "trap"),
    (0x100, "notify"),
    (0x10, "linkdown"),
    (0x20, "unresolved"),
    (0x4000, "rt_offload"),
    (0x8000, "rt_trap"),
    (0x2000_0000, "rt_offload_failed"),
];

/// RTCF_* (linux/in_route.h), in the order they are printed.
const CACHE_FLAGS: [(u32, &str); 14] = [
    (0x8000_0000, "local"),
    (0x4000_0000, "reject"),
    (0x2000_0000, "mc"),
    (0x1000_0000, "brd"),
    (0x0800_0000, "dst-nat"),
    (0x0080_0000, "src-nat"),
    (0x0040_0000, "masq"),
    (0x0002_0000, "dst-direct"),
    (0x0400_0000, "src-direct"),
    (0x0004_0000, "redirected"),
    (0x0100_0000, "redirect"),
    (0x0020_0000, "fastroute"),
    (0x0001_0000, "notify"),
    (0x0008_0000, "proxy"),
];

/// Appends the lines of a route. What the selector has said of all routes is not said again of each.
pub fn print(route: &Route, selector: &Selector, options: Options, lookups: &LookUps, out: &mut String) {
    let printer = Printer { route, selector, options, lookups };
    printer.node(out);
    printer.way(out);
    printer.place(out);
    flags(route.flags, out);
    printer.marks(out);
    printer.cache(out);
    if !route.metrics.is_empty() || route.metrics.lock != 0 {
        route.metrics.print(out);
    }
    printer.end(out);
    route.nexthops.iter().enumerate().for_each(|(n, nexthop)| printer.nexthop(nexthop, n == 0, out));
    out.push('\n');
}

struct Printer<'a> {
    route: &'a Route,
    selector: &'a Selector,
    options: Options,
    lookups: &'a LookUps,
}

impl Printer<'_> {
    /// `blackhole 10.1.0.0/16 from 10.2.0.0/16 tos 0x10 `
    fn node(&self, out: &mut String) {
        let Self { route, options, .. } = self;
        if route.kind != UNICAST || options.details {
            let _ = write!(out, "{} ", kind_text(route.kind, options.numeric));
        }
        match (route.dst, route.dst_len) {
            (Some(ip), len) => self.prefix(ip, len, out),
            (None, 0) => out.push_str("default"),
            (None, len) => {
                let _ = write!(out, "0/{len} ");
            }
        }
        out.push(' ');
        match (route.src, route.src_len) {
            (Some(ip), len) => {
                out.push_str("from ");
                self.prefix(ip, len, out);
                out.push(' ');
            }
            (None, 0) => {}
            (None, len) => {
                let _ = write!(out, "from 0/{len} ");
            }
        }
        if let Some(id) = route.nexthop_id {
            let _ = write!(out, "nhid {id} ");
        }
        if route.tos != 0 && self.selector.tos.is_none() {
            let name = self.lookups.names.dsfields.name(route.tos.into()).filter(|_| !options.numeric);
            let _ = write!(out, "tos {} ", name.map_or_else(|| format!("{:#04x}", route.tos), str::to_owned));
        }
    }

    fn prefix(&self, ip: IpAddr, len: u8, out: &mut String) {
        out.push_str(&address_text(ip));
        if len != self.route.family.host_prefix() {
            let _ = write!(out, "/{len}");
        }
    }

    /// `via 10.1.1.1 dev eth0 `
    fn way(&self, out: &mut String) {
        let same = self.route.gateway.is_some_and(|ip| Family::of(ip) == self.route.family);
        let known = same && self.selector.via.is_some_and(|via| is_host(via.len, self.route.family));
        if let Some(ip) = self.route.gateway.filter(|_| !known) {
            self.via(ip, out);
        }
        if let Some(dev) = self.route.dev.filter(|_| self.selector.dev.is_none()) {
            let _ = write!(out, "dev {} ", self.lookups.links.name(dev));
        }
    }

    fn via(&self, ip: IpAddr, out: &mut String) {
        let family = match Family::of(ip) {
            family if family == self.route.family => "",
            Family::Inet => "inet ",
            Family::Inet6 => "inet6 ",
        };
        let _ = write!(out, "via {family}{} ", address_text(ip));
    }

    /// `table 100 proto static scope link src 10.1.1.2 metric 5 `
    fn place(&self, out: &mut String) {
        let Self { route, selector, options, lookups } = self;
        let details = options.details;
        if route.table != 0 && (route.table != TABLE_MAIN || details) && selector.table.is_none() {
            let _ = write!(out, "table {} ", self.named(&lookups.names.tables, route.table));
        }
        let own = route.flags & CLONED == 0;
        if own && (route.protocol != BOOT || details) && selector.protocol.is_none() {
            let _ = write!(out, "proto {} ", self.named(&lookups.names.protocols, route.protocol.into()));
        }
        if own && (route.scope != UNIVERSE || details) && selector.scope.is_none() {
            let _ = write!(out, "scope {} ", self.named(&lookups.names.scopes, route.scope.into()));
        }
        let known = selector.prefsrc.is_some_and(|src| is_host(src.len, route.family));
        if let Some(ip) = route.prefsrc.filter(|_| !known) {
            let _ = write!(out, "src {} ", address_text(ip));
        }
        if let Some(metric) = route.metric.filter(|_| selector.metric.is_none()) {
            let _ = write!(out, "metric {metric} ");
        }
    }

    fn named(&self, table: &NameTable, id: u32) -> String {
        table.name(id).filter(|_| !self.options.numeric).map_or_else(|| id.to_string(), str::to_owned)
    }

    fn marks(&self, out: &mut String) {
        match self.route.mark {
            None | Some(0) => {}
            Some(mark) if mark < 16 => drop(write!(out, "mark {mark} ")),
            Some(mark) => drop(write!(out, "mark {mark:#x} ")),
        }
        let told = self.selector.realms.is_some_and(|(_, mask)| mask == u32::MAX);
        if let Some(realms) = self.route.realms.filter(|_| !told) {
            self.realms(realms, out);
        }
        if let Some(uid) = self.route.uid {
            let _ = write!(out, "uid {uid} ");
        }
    }

    fn realms(&self, realms: u32, out: &mut String) {
        let names = &self.lookups.names.realms;
        let (from, to) = (realms >> 16, self.named(names, realms & 0xffff));
        let _ = match from {
            0 => write!(out, "realm {to} "),
            from => write!(out, "realms {}/{to} ", self.named(names, from)),
        };
    }

    fn cache(&self, out: &mut String) {
        if self.route.family == Family::Inet && self.route.flags & CLONED != 0 {
            out.push_str(self.line_end());
            out.push_str("    cache ");
            cache_flags(self.route.flags & !0xffff, out);
        }
        if let Some(cache) = &self.route.cache {
            cache_info(cache, self.options.stats, out);
        }
    }

    fn line_end(&self) -> &'static str {
        if self.options.oneline { "\\" } else { "\n" }
    }

    fn end(&self, out: &mut String) {
        if let Some(iif) = self.route.iif.filter(|_| self.selector.iif.is_none()) {
            let _ = write!(out, "iif {} ", self.lookups.links.name(iif));
        }
        // RFC 4191, 2.1
        match self.route.preference {
            None => {}
            Some(0) => out.push_str("pref medium"),
            Some(1) => out.push_str("pref high"),
            Some(3) => out.push_str("pref low"),
            Some(other) => drop(write!(out, "{other}")),
        }
        if let Some(propagate) = self.route.ttl_propagate {
            // The spelling is iproute2's.
            let _ = write!(out, "ttl-propogate {}", if propagate == 0 { "disabled" } else { "enabled" });
        }
    }

    fn nexthop(&self, nexthop: &Nexthop, first: bool, out: &mut String) {
        let links = &self.lookups.links;
        let cached_multicast = self.route.flags & CLONED != 0 && self.route.kind == MULTICAST;
        match (cached_multicast, first) {
            (true, true) => out.push_str("Oifs: "),
            (true, false) => out.push(' '),
            (false, _) => drop(write!(out, "{}\tnexthop ", self.line_end())),
        }
        if let Some(ip) = nexthop.gateway {
            self.via(ip, out);
        }
        if let Some(realms) = nexthop.realms {
            self.realms(realms, out);
        }
        if cached_multicast {
            out.push_str(&links.name(nexthop.dev));
            if nexthop.hops != 1 {
                let _ = write!(out, "(ttl>{})", nexthop.hops);
            }
            out.push(' ');
        } else {
            let _ = write!(out, "dev {} weight {} ", links.name(nexthop.dev), u16::from(nexthop.hops) + 1);
        }
        flags(nexthop.flags.into(), out);
    }
}

fn is_host(len: u8, family: Family) -> bool {
    len == family.host_prefix()
}

fn flags(flags: u32, out: &mut String) {
    for (_, name) in FLAGS.iter().filter(|(bit, _)| flags & bit != 0) {
        let _ = write!(out, "{name} ");
    }
}

fn cache_flags(flags: u32, out: &mut String) {
    if flags == 0 {
        return;
    }
    out.push('<');
    let mut left = flags;
    for (bit, name) in CACHE_FLAGS.iter().filter(|(bit, _)| flags & bit != 0) {
        left &= !bit;
        let _ = write!(out, "{name}{}", if left == 0 { "> " } else { "," });
    }
    if left != 0 {
        let _ = write!(out, "{left:x}>");
    }
}

fn cache_info(cache: &Cache, stats: bool, out: &mut String) {
    if cache.expires != 0 {
        let _ = write!(out, "expires {}sec ", cache.expires / TICKS.cast_signed());
    }
    if cache.error != 0 {
        let _ = write!(out, "error {} ", cache.error);
    }
    let counted = [(cache.users, "users", ""), (cache.used, "used", ""), (cache.last_use, "age", "sec")];
    for (count, name, unit) in counted.into_iter().filter(|(count, ..)| stats && *count != 0) {
        let count = if unit.is_empty() { count } else { count / TICKS };
        let _ = write!(out, "{name} {count}{unit} ");
    }
    if cache.id != 0 {
        let _ = write!(out, "ipid {:#06x} ", cache.id);
    }
    if cache.ts != 0 || cache.ts_age != 0 {
        let _ = write!(out, "ts {:#x}tsage {}sec ", cache.ts, cache.ts_age);
    }
}
