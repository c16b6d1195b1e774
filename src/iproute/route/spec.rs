//! The words of `route add`, `del`, `replace`, `change`, `append`, `prepend`: a route's description.

use std::net::IpAddr;

use super::super::address::{address, prefix};
use super::super::names::{LookUps, NameTable, Names};
use super::super::options::Options;
use super::super::words::{Keyword, keyword, short, whole};
use super::super::{Words, WordsError, number};
use super::{
    ANYCAST, BOOT, BROADCAST, HOST, LINK, LOCAL, MULTICAST, NAT, NOWHERE, ONLINK, Route, TABLE_LOCAL, TABLE_MAIN, UNICAST, UNIVERSE, kind,
    nexthop,
};
use crate::model::types::Family;

#[derive(Clone, Copy)]
enum Key {
    Source,
    Via,
    From,
    Tos,
    Expires,
    Priority,
    Scope,
    Metric(u16),
    Realms,
    Onlink,
    Nexthop,
    NexthopId,
    Protocol,
    Table,
    Dev,
    Preference,
    TtlPropagate,
    /// Only the installed program knows it.
    Foreign,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const KEYS: &[Keyword<Key>] = &[
    whole("src", Key::Source),
    whole("as", Key::Foreign),
    whole("via", Key::Via),
    whole("from", Key::From),
    whole("tos", Key::Tos),
    short("dsfield", Key::Tos),
    whole("expires", Key::Expires),
    short("metric", Key::Priority),
    short("priority", Key::Priority),
    whole("preference", Key::Priority),
    whole("scope", Key::Scope),
    whole("mtu", Key::Metric(2)),
    whole("hoplimit", Key::Metric(10)),
    whole("advmss", Key::Metric(8)),
    short("reordering", Key::Metric(9)),
    whole("rtt", Key::Metric(4)),
    whole("rto_min", Key::Metric(13)),
    short("window", Key::Metric(3)),
    short("cwnd", Key::Metric(7)),
    short("initcwnd", Key::Metric(11)),
    short("initrwnd", Key::Metric(14)),
    short("features", Key::Metric(12)),
    short("quickack", Key::Metric(15)),
    short("congctl", Key::Metric(16)),
    short("rttvar", Key::Metric(5)),
    short("ssthresh", Key::Metric(6)),
    short("realms", Key::Realms),
    whole("onlink", Key::Onlink),
    whole("nexthop", Key::Nexthop),
    whole("nhid", Key::NexthopId),
    short("protocol", Key::Protocol),
    short("table", Key::Table),
    short("vrf", Key::Foreign),
    whole("dev", Key::Dev),
    whole("oif", Key::Dev),
    short("pref", Key::Preference),
    whole("encap", Key::Foreign),
    whole("ttl-propagate", Key::TtlPropagate),
    short("fastopen_no_cookie", Key::Metric(17)),
    // A flag that the kernel sets itself; iproute2 shows it and does not take it.
    whole("pervasive", Key::Foreign),
    whole("equalize", Key::Foreign),
    whole("help", Key::Foreign),
];

/// What has been read so far.
struct Reading<'a> {
    words: Words<'a>,
    lookups: &'a LookUps,
    family: Option<Family>,
    route: Route,
    dev: Option<&'a str>,
    said: Said,
}

/// What was said, and is not to be guessed.
#[derive(Default)]
struct Said {
    destination: bool,
    way: bool,
    table: bool,
    scope: bool,
}

/// Reads a route's description. Deleting leaves open what is not said.
pub(super) fn read(words: Words<'_>, deleting: bool, options: Options, lookups: &LookUps) -> Result<Route, WordsError> {
    let mut route = Route { table: TABLE_MAIN, scope: NOWHERE, ..Route::new(Family::Inet) };
    if !deleting {
        route = Route { protocol: BOOT, scope: UNIVERSE, kind: UNICAST, ..route };
    }
    let mut reading = Reading { words, lookups, family: options.family, route, dev: None, said: Said::default() };
    while let Some(word) = reading.words.take() {
        match keyword(word, KEYS) {
            Some(key) => reading.value(word, key)?,
            None => reading.destination(word)?,
        }
    }
    reading.finish(deleting)
}

impl Reading<'_> {
    fn value(&mut self, word: &str, key: Key) -> Result<(), WordsError> {
        let (words, names) = (&mut self.words, &self.lookups.names);
        match key {
            Key::Source => self.source()?,
            Key::Via => self.way()?,
            Key::From => self.from()?,
            Key::Tos => self.route.tos = tos(words, names)?,
            Key::Expires => self.route.expires = Some(words.number(word, u32::MAX.into())? as u32),
            Key::Priority => self.route.metric = Some(words.number(word, u32::MAX.into())? as u32),
            Key::Scope => {
                self.route.scope = named(words, word, &names.scopes, 255)? as u8;
                self.said.scope = true;
            }
            Key::Metric(index) => self.route.metrics.read(index, words)?,
            Key::Realms => self.route.realms = Some(realms(words, names)?),
            Key::Onlink => self.route.flags |= u32::from(ONLINK),
            Key::Nexthop => return self.nexthops(),
            Key::NexthopId => self.route.nexthop_id = Some(words.number(word, u32::MAX.into())? as u32),
            Key::Protocol => self.route.protocol = named(words, word, &names.protocols, 255)? as u8,
            Key::Table => {
                self.route.table = named(words, word, &names.tables, u32::MAX)?;
                self.said.table = true;
            }
            Key::Dev => self.dev = Some(words.value(word)?),
            Key::Preference => self.route.preference = Some(preference(words)?),
            Key::TtlPropagate => self.route.ttl_propagate = Some(enabled(words)?),
            Key::Foreign => return Err(words.unknown(word)),
        }
        Ok(())
    }

    fn source(&mut self) -> Result<(), WordsError> {
        let ip = address("src", self.words.value("src")?, self.family)?;
        self.family.get_or_insert(Family::of(ip));
        self.route.prefsrc = Some(ip);
        Ok(())
    }

    fn way(&mut self) -> Result<(), WordsError> {
        if std::mem::replace(&mut self.said.way, true) {
            return Err(WordsError::Bad("several ways are written nexthop via A nexthop via B".into()));
        }
        self.route.gateway = Some(way(&mut self.words, &mut self.family)?);
        Ok(())
    }

    fn from(&mut self) -> Result<(), WordsError> {
        let from = prefix("from", self.words.value("from")?, self.family)?;
        self.family = self.family.or(from.family);
        (self.route.src, self.route.src_len) = (from.ip, from.len);
        Ok(())
    }

    /// The last words of a route: the first `nexthop` has been read.
    fn nexthops(&mut self) -> Result<(), WordsError> {
        self.words = self.words.clone().at("route nexthop");
        self.route.nexthops = nexthop::read(&mut self.words, &mut self.family, self.lookups)?;
        Ok(())
    }

    /// `[to] [TYPE] PREFIX`
    fn destination(&mut self, first: &str) -> Result<(), WordsError> {
        let mut word = if first == "to" { self.words.value("to")? } else { first };
        if let Some(kind) = kind(word).filter(|_| !word.starts_with(|c: char| c.is_ascii_digit())) {
            if kind == NAT {
                return Err(WordsError::Bad("Linux has no NAT by routes any more: use nftables".into()));
            }
            self.route.kind = kind;
            word = self.words.value(word)?;
        }
        if self.said.destination || looks_like_a_word(word) {
            return Err(self.words.unknown(word));
        }
        let to = prefix("the destination", word, self.family)?;
        self.family = self.family.or(to.family);
        (self.route.dst, self.route.dst_len) = (to.ip, to.len);
        self.said.destination = true;
        Ok(())
    }

    fn finish(mut self, deleting: bool) -> Result<Route, WordsError> {
        if !self.said.destination {
            return Err(WordsError::Bad("the destination is missing: give PREFIX or default, as in: add default via 10.1.1.1".into()));
        }
        self.route.dev = self.dev.map(|name| self.lookups.link(name)).transpose()?;
        let route = &mut self.route;
        route.family = self.family.unwrap_or(Family::Inet);
        if !self.said.table && matches!(route.kind, LOCAL | BROADCAST | NAT | ANYCAST) {
            route.table = TABLE_LOCAL;
        }
        if !self.said.scope {
            let way = self.said.way || !route.nexthops.is_empty() || route.nexthop_id.is_some_and(|id| id != 0);
            route.scope = usual_scope(route, deleting, way);
        }
        Ok(self.route)
    }
}

/// Far for what has a gateway, near for what has none; IPv6 knows no scopes of routes.
fn usual_scope(route: &Route, deleting: bool, way: bool) -> u8 {
    match route.kind {
        _ if route.family == Family::Inet6 => UNIVERSE,
        LOCAL | NAT => HOST,
        BROADCAST | MULTICAST | ANYCAST => LINK,
        UNICAST | 0 if deleting => NOWHERE,
        UNICAST | 0 if !way => LINK,
        _ => route.scope,
    }
}

/// Whether a word is rather a word that we do not know than an address that is wrong.
pub(super) fn looks_like_a_word(word: &str) -> bool {
    !matches!(word, "default" | "any" | "all") && !word.contains([':', '/', '.']) && !word.starts_with(|c: char| c.is_ascii_digit())
}

/// `via [inet|inet6] ADDRESS`: the address may be of the other family (RFC 5549). Says the family when nothing before has.
pub(super) fn way(words: &mut Words<'_>, family: &mut Option<Family>) -> Result<IpAddr, WordsError> {
    let wanted = match words.peek() {
        Some("inet") => Some(Family::Inet),
        Some("inet6") => Some(Family::Inet6),
        Some(word @ ("link" | "mpls" | "bridge")) => return Err(words.unknown(word)),
        _ => None,
    };
    if wanted.is_some() {
        words.take();
    }
    let ip = address("via", words.value("via")?, wanted.or(*family))?;
    family.get_or_insert(Family::of(ip));
    Ok(ip)
}

/// The value of a word: a name of the table, or a number.
pub(crate) fn named(words: &mut Words<'_>, of: &str, table: &NameTable, most: u32) -> Result<u32, WordsError> {
    let text = words.value(of)?;
    let id = table.id(text).or_else(|| number(text).and_then(|n| n.try_into().ok())).filter(|id| *id <= most);
    id.ok_or_else(|| words.bad(of, text, &format!("a known name or a number from 0 to {most}")))
}

/// The value of `tos`: a name, or a number in hexadecimal.
pub(crate) fn tos(words: &mut Words<'_>, names: &Names) -> Result<u8, WordsError> {
    let text = words.value("tos")?;
    let hex = |text: &str| u8::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
    let tos = names.dsfields.id(text).and_then(|id| id.try_into().ok());
    let tos = tos.or_else(|| hex(text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)));
    tos.ok_or_else(|| words.bad("tos", text, "a name of rt_dsfield or a hexadecimal number up to 0xff"))
}

/// The value of `realms`: `[FROM/]TO`, or one number for both.
pub(crate) fn realms(words: &mut Words<'_>, names: &Names) -> Result<u32, WordsError> {
    let text = words.value("realms")?;
    let realm = |text: &str| names.realms.id(text).or_else(|| number(text).and_then(|n| n.try_into().ok())).filter(|id| *id < 256);
    let (from, to) = text.split_once('/').map_or((None, text), |(from, to)| (Some(from), to));
    let both = match (from.map(realm), to) {
        (Some(None), _) => None,
        (from, "") if from.is_some() => from.flatten().map(|from| from << 16),
        (from, to) => realm(to).map(|to| from.flatten().unwrap_or_default() << 16 | to),
    };
    let both = both.or_else(|| number(text).and_then(|n| n.try_into().ok()));
    both.ok_or_else(|| words.bad("realms", text, "[FROM/]TO, each a name of rt_realms or a number up to 255"))
}

fn preference(words: &mut Words<'_>) -> Result<u8, WordsError> {
    // RFC 4191, 2.1
    match words.value("pref")? {
        "low" => Ok(3),
        "medium" => Ok(0),
        "high" => Ok(1),
        other => number(other).and_then(|n| n.try_into().ok()).ok_or_else(|| words.bad("pref", other, "low, medium or high")),
    }
}

fn enabled(words: &mut Words<'_>) -> Result<u8, WordsError> {
    let text = words.value("ttl-propagate")?;
    match keyword(text, &[short("enabled", 1), short("disabled", 0)]) {
        Some(value) => Ok(value),
        None => Err(words.bad("ttl-propagate", text, "enabled or disabled")),
    }
}
