//! The words of `route show` and `route flush`: which routes are meant.

use super::super::address::{Prefix, prefix};
use super::super::names::LookUps;
use super::super::options::Options;
use super::super::words::{Keyword, abbreviates, keyword, short, whole};
use super::super::{Words, WordsError};
use super::{CLONED, LOCAL, Route, TABLE_LOCAL, TABLE_MAIN, kind, spec};
use crate::model::types::Family;

/// Which routes are meant; what is absent is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The family to ask for; none: all.
    pub ask: Option<Family>,
    /// The family that was said (`-6`).
    pub family: Option<Family>,
    /// The table; none: all.
    pub table: Option<u32>,
    /// Cached ones, no cached ones, or both.
    pub cached: Cached,
    /// RTPROT_*
    pub protocol: Option<u8>,
    /// RT_SCOPE_*
    pub scope: Option<u8>,
    /// RTN_*
    pub kind: Option<u8>,
    /// Type of service.
    pub tos: Option<u8>,
    /// Index of the link that they go out by.
    pub dev: Option<u32>,
    /// Index of the link that packets come in by.
    pub iif: Option<u32>,
    /// Firewall mark.
    pub mark: Option<u32>,
    /// Priority.
    pub metric: Option<u32>,
    /// Realms and the bits of them that count.
    pub realms: Option<(u32, u32)>,
    /// The gateway lies in it.
    pub via: Option<Prefix>,
    /// The preferred source address lies in it.
    pub prefsrc: Option<Prefix>,
    /// The destination lies in it (`root`).
    pub within: Option<Prefix>,
    /// The destination contains it (`match`).
    pub around: Option<Prefix>,
    /// As `within`, for the source.
    pub src_within: Option<Prefix>,
    /// As `around`, for the source.
    pub src_around: Option<Prefix>,
}

/// Whether routes of the cache are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cached {
    /// None of them.
    #[default]
    No,
    /// Only them.
    Only,
    /// Them too: for an answer to `get`.
    Both,
}

#[derive(Clone, Copy)]
enum Key {
    Table,
    Cached,
    Tos,
    Protocol,
    Scope,
    Type,
    Dev,
    Iif,
    Mark,
    Metric,
    Via,
    Source,
    Realms,
    From,
    /// Only the installed program knows it.
    Foreign,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const KEYS: &[Keyword<Key>] = &[
    short("table", Key::Table),
    short("vrf", Key::Foreign),
    short("cached", Key::Cached),
    short("cloned", Key::Cached),
    whole("tos", Key::Tos),
    short("dsfield", Key::Tos),
    short("protocol", Key::Protocol),
    short("scope", Key::Scope),
    short("type", Key::Type),
    whole("dev", Key::Dev),
    whole("oif", Key::Dev),
    whole("iif", Key::Iif),
    whole("mark", Key::Mark),
    short("metric", Key::Metric),
    short("priority", Key::Metric),
    whole("preference", Key::Metric),
    whole("via", Key::Via),
    whole("src", Key::Source),
    short("realms", Key::Realms),
    short("from", Key::From),
];

/// Reads which routes are meant.
pub(super) fn read(mut words: Words<'_>, options: Options, lookups: &LookUps) -> Result<Selector, WordsError> {
    let mut selector = Selector { family: options.family, table: Some(TABLE_MAIN), ..Selector::default() };
    while let Some(word) = words.take() {
        match keyword(word, KEYS) {
            Some(key) => selector.value(word, key, &mut words, lookups)?,
            None => {
                let word = if abbreviates(word, "to") { words.value("to")? } else { word };
                (selector.within, selector.around) = range(word, &mut words, selector.family)?;
            }
        }
    }
    selector.ask = selector.family.or(selector.table.map(|_| Family::Inet));
    Ok(selector)
}

/// `root PREFIX`, `match PREFIX`, `[exact] PREFIX`: within, around.
fn range(first: &str, words: &mut Words<'_>, family: Option<Family>) -> Result<(Option<Prefix>, Option<Prefix>), WordsError> {
    let next = |words: &mut Words<'_>| prefix(first, words.value(first)?, family).map(Some);
    if abbreviates(first, "root") {
        Ok((next(words)?, None))
    } else if abbreviates(first, "match") {
        Ok((None, next(words)?))
    } else if abbreviates(first, "exact") {
        let exact = next(words)?;
        Ok((exact, exact))
    } else if spec::looks_like_a_word(first) {
        Err(words.unknown(first))
    } else {
        let exact = prefix("the destination", first, family)?;
        Ok((Some(exact), Some(exact)))
    }
}

impl Selector {
    /// For the answer to `get`: whatever comes.
    pub fn any() -> Self {
        Self { cached: Cached::Both, ..Self::default() }
    }

    fn value(&mut self, word: &str, key: Key, words: &mut Words<'_>, lookups: &LookUps) -> Result<(), WordsError> {
        let names = &lookups.names;
        let number = |words: &mut Words<'_>| words.number(word, u32::MAX.into()).map(|n| n as u32);
        match key {
            Key::Table => self.table(word, words, lookups)?,
            Key::Cached => self.cached = Cached::Only,
            Key::Tos => self.tos = Some(spec::tos(words, names)?),
            Key::Protocol if words.take_if("all") => self.protocol = None,
            Key::Protocol => self.protocol = Some(spec::named(words, word, &names.protocols, 255)? as u8),
            Key::Scope if words.take_if("all") => self.scope = None,
            Key::Scope => self.scope = Some(spec::named(words, word, &names.scopes, 255)? as u8),
            Key::Type => {
                let text = words.value(word)?;
                self.kind = Some(kind(text).ok_or_else(|| words.bad(word, text, "a type such as unicast, local or blackhole"))?);
            }
            Key::Dev => self.dev = Some(lookups.link(words.value(word)?)?),
            Key::Iif => self.iif = Some(lookups.link(words.value(word)?)?),
            Key::Mark => self.mark = Some(number(words)?),
            Key::Metric => self.metric = Some(number(words)?),
            Key::Via => self.via = Some(self.way(words)?),
            Key::Source => self.prefsrc = Some(prefix(word, words.value(word)?, self.family)?),
            Key::Realms => {
                let text = words.peek().unwrap_or_default();
                self.realms = Some(masked(spec::realms(words, names)?, text));
            }
            Key::From => {
                let first = words.value(word)?;
                (self.src_within, self.src_around) = range(first, words, self.family)?;
            }
            Key::Foreign => return Err(words.unknown(word)),
        }
        Ok(())
    }

    fn table(&mut self, word: &str, words: &mut Words<'_>, lookups: &LookUps) -> Result<(), WordsError> {
        let named = words.peek().is_some_and(|name| lookups.names.tables.id(name).is_some());
        if !named && words.take_if("all") {
            self.table = None;
        } else if !named && words.take_if("cache") {
            self.cached = Cached::Only;
        } else {
            self.table = Some(spec::named(words, word, &lookups.names.tables, u32::MAX)?).filter(|table| *table > 0);
        }
        Ok(())
    }

    fn way(&self, words: &mut Words<'_>) -> Result<Prefix, WordsError> {
        let family = match words.peek() {
            Some("inet") => Some(Family::Inet),
            Some("inet6") => Some(Family::Inet6),
            _ => None,
        };
        if family.is_some() {
            words.take();
        }
        prefix("via", words.value("via")?, family.or(self.family))
    }

    /// Whether a route is meant. `tables` remembers whether IPv6 has more than one table: old kernels had one, and told
    /// local routes from others by their type.
    pub fn takes(&self, route: &Route, tables: &mut bool) -> bool {
        *tables |= route.family == Family::Inet6 && route.table != TABLE_MAIN;
        let cached = route.flags & CLONED != 0;
        let is = |wanted: Option<u32>, seen: Option<u32>| wanted.is_none_or(|w| w == seen.unwrap_or_default());
        let realms = route.realms.unwrap_or_default();
        self.family.is_none_or(|f| f == route.family)
            && (self.cached == Cached::Both || cached == (self.cached == Cached::Only))
            && self.takes_table(route, *tables)
            && self.protocol.is_none_or(|p| p == route.protocol)
            && self.scope.is_none_or(|s| s == route.scope)
            && self.kind.is_none_or(|k| k == route.kind)
            && self.tos.is_none_or(|t| t == route.tos)
            && self.takes_addresses(route)
            && self.realms.is_none_or(|(wanted, mask)| (wanted ^ realms) & mask == 0)
            && is(self.iif, route.iif)
            && is(self.dev, route.dev)
            && is(self.mark, route.mark)
            && is(self.metric, route.metric)
    }

    fn takes_table(&self, route: &Route, tables: bool) -> bool {
        match self.table {
            None => true,
            Some(TABLE_LOCAL) if route.family == Family::Inet6 && !tables => route.kind == LOCAL,
            Some(TABLE_MAIN) if route.family == Family::Inet6 && !tables => route.kind != LOCAL,
            Some(_) if route.family == Family::Inet6 && !tables => false,
            Some(table) => table == route.table,
        }
    }

    fn takes_addresses(&self, route: &Route) -> bool {
        let family = |wanted: &Prefix, seen| wanted.family.is_none_or(|f| f == seen);
        let counts = |prefix: &&Prefix| prefix.family.is_some() || prefix.said;
        let within = |wanted: &Option<Prefix>, ip, len| {
            wanted.as_ref().filter(counts).is_none_or(|p| family(p, route.family) && p.len <= len && p.covers(ip, p.len))
        };
        let around = |wanted: &Option<Prefix>, ip, len| {
            wanted.as_ref().filter(counts).is_none_or(|p| family(p, route.family) && len <= p.len && p.covers(ip, len))
        };
        let gateway = route.gateway.map_or(route.family, Family::of);
        within(&self.within, route.dst, route.dst_len)
            && around(&self.around, route.dst, route.dst_len)
            && within(&self.src_within, route.src, route.src_len)
            && around(&self.src_around, route.src, route.src_len)
            && self.via.is_none_or(|p| p.family.is_none() || (family(&p, gateway) && p.covers(route.gateway, p.len)))
            && self.prefsrc.is_none_or(|p| p.family.is_none() || (family(&p, route.family) && p.covers(route.prefsrc, p.len)))
    }
}

/// Of `FROM/` only FROM counts, of `/TO` and `TO` only TO, when the other is nothing.
fn masked(realms: u32, text: &str) -> (u32, u32) {
    let mut mask = u32::MAX;
    if realms & 0xffff == 0 && text.ends_with('/') {
        mask &= !0xffff;
    }
    if realms >> 16 == 0 && (!text.contains('/') || text.starts_with('/')) {
        mask &= 0xffff;
    }
    (realms, mask)
}
