//! `route get ADDRESS [from ADDRESS iif NAME] ...`: which route would be taken?

use super::super::address::prefix;
use super::super::names::{LookUps, NameTable};
use super::super::options::Options;
use super::super::words::{Keyword, keyword, short, whole};
use super::super::{Words, WordsError};
use super::{FIB_MATCH, LOOKUP_TABLE, Route, spec};
use crate::model::types::Family;

#[derive(Clone, Copy)]
enum Key {
    Tos,
    From,
    Iif,
    Mark,
    Oif,
    Uid,
    FibMatch,
    Sport,
    Dport,
    IpProtocol,
    /// Only the installed program knows it.
    Foreign,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const KEYS: &[Keyword<Key>] = &[
    whole("tos", Key::Tos),
    short("dsfield", Key::Tos),
    short("from", Key::From),
    short("iif", Key::Iif),
    short("mark", Key::Mark),
    short("oif", Key::Oif),
    whole("dev", Key::Oif),
    short("notify", Key::Foreign),
    short("connected", Key::Foreign),
    short("vrf", Key::Foreign),
    short("uid", Key::Uid),
    short("fibmatch", Key::FibMatch),
    whole("as", Key::Foreign),
    short("sport", Key::Sport),
    short("dport", Key::Dport),
    short("ipproto", Key::IpProtocol),
    whole("flowlabel", Key::Foreign),
    short("help", Key::Foreign),
];

/// What has been read so far.
struct Reading<'a> {
    words: Words<'a>,
    lookups: &'a LookUps,
    family: Option<Family>,
    route: Route,
    found: bool,
}

/// Reads what is asked.
pub(super) fn read(words: Words<'_>, options: Options, lookups: &LookUps) -> Result<Route, WordsError> {
    let mut reading = Reading { words, lookups, family: options.family, route: Route::new(Family::Inet), found: false };
    while let Some(word) = reading.words.take() {
        match keyword(word, KEYS) {
            Some(key) => reading.value(word, key)?,
            None => reading.destination(word)?,
        }
    }
    let Reading { family, mut route, found, .. } = reading;
    if !found {
        return Err(WordsError::Bad("route get needs an address, as in: route get 10.1.1.1".into()));
    }
    route.family = family.unwrap_or(Family::Inet);
    // The kernel asks for a whole address.
    route.dst_len = route.family.host_prefix();
    if route.family == Family::Inet {
        route.flags |= LOOKUP_TABLE;
    }
    Ok(route)
}

impl Reading<'_> {
    fn value(&mut self, word: &str, key: Key) -> Result<(), WordsError> {
        let (route, words, lookups) = (&mut self.route, &mut self.words, self.lookups);
        let most = u64::from(u32::MAX);
        match key {
            Key::From => {
                let from = prefix("from", words.value("from")?, self.family)?;
                self.family = self.family.or(from.family);
                (route.src, route.src_len) = (from.ip, from.len);
            }
            Key::Tos => route.tos = spec::tos(words, &lookups.names)?,
            Key::Iif => route.iif = Some(lookups.link(words.value(word)?)?),
            Key::Oif => route.dev = Some(lookups.link(words.value(word)?)?),
            Key::Mark => route.mark = Some(words.number(word, most)? as u32).filter(|mark| *mark > 0),
            Key::Uid => route.uid = Some(words.number(word, most)? as u32),
            Key::FibMatch => route.flags |= FIB_MATCH,
            Key::Sport => route.sport = Some(words.number(word, u16::MAX.into())? as u16),
            Key::Dport => route.dport = Some(words.number(word, u16::MAX.into())? as u16),
            Key::IpProtocol => route.ip_protocol = Some(ip_protocol(words, &lookups.names.ip_protocols)?),
            Key::Foreign => return Err(words.unknown(word)),
        }
        Ok(())
    }

    /// `[to] ADDRESS`; a prefix length is not looked at.
    fn destination(&mut self, first: &str) -> Result<(), WordsError> {
        let text = if first == "to" { self.words.value("to")? } else { first };
        if spec::looks_like_a_word(text) {
            return Err(self.words.unknown(text));
        }
        let to = prefix("the destination", text, self.family)?;
        self.family = self.family.or(to.family);
        self.route.dst = to.ip;
        self.found = true;
        Ok(())
    }
}

/// A name of /etc/protocols or a number.
pub(crate) fn ip_protocol(words: &mut Words<'_>, table: &NameTable) -> Result<u8, WordsError> {
    let text = words.value("ipproto")?;
    let decimal = Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
    let id = decimal.or_else(|| table.id(text).and_then(|id| id.try_into().ok()));
    let known = || [("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6-icmp", 58), ("sctp", 132)].into_iter().find(|(name, _)| *name == text);
    id.or_else(|| known().map(|(_, id)| id)).ok_or_else(|| words.bad("ipproto", text, "a protocol such as tcp, udp or icmp, or its number"))
}
