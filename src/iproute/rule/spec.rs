//! The words of `rule add` and `rule del`: a rule's description.

use super::super::address::prefix;
use super::super::names::LookUps;
use super::super::options::Options;
use super::super::route::{self, TABLE_MAIN, ip_protocol, kind, named, realms, tos};
use super::super::words::{Keyword, abbreviates, keyword, short, whole};
use super::super::{Words, WordsError, number};
use super::{GOTO, INVERT, NOP, Rule, TO_TABLE};
use crate::model::types::{Family, IfName};

/// What a word is about; [`super::selector`] takes the same words.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Not,
    From,
    To,
    Priority,
    Tos,
    Mark,
    Realms,
    Protocol,
    Tunnel,
    Table,
    SuppressPrefixlength,
    SuppressIfgroup,
    Iif,
    Oif,
    L3mdev,
    Uids,
    IpProtocol,
    Sport,
    Dport,
    /// Only the installed program knows it.
    Foreign,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const KEYS: &[Keyword<Key>] = &[
    whole("not", Key::Not),
    whole("from", Key::From),
    whole("to", Key::To),
    short("preference", Key::Priority),
    short("order", Key::Priority),
    short("priority", Key::Priority),
    whole("tos", Key::Tos),
    short("dsfield", Key::Tos),
    whole("fwmark", Key::Mark),
    short("realms", Key::Realms),
    short("protocol", Key::Protocol),
    short("tun_id", Key::Tunnel),
    short("table", Key::Table),
    whole("lookup", Key::Table),
    short("suppress_prefixlength", Key::SuppressPrefixlength),
    whole("sup_pl", Key::SuppressPrefixlength),
    short("suppress_ifgroup", Key::SuppressIfgroup),
    whole("sup_group", Key::SuppressIfgroup),
    whole("dev", Key::Iif),
    whole("iif", Key::Iif),
    whole("oif", Key::Oif),
    whole("l3mdev", Key::L3mdev),
    whole("uidrange", Key::Uids),
    whole("nat", Key::Foreign),
    short("map-to", Key::Foreign),
    whole("ipproto", Key::IpProtocol),
    whole("sport", Key::Sport),
    whole("dport", Key::Dport),
];

/// What has been read so far.
struct Reading<'a> {
    words: Words<'a>,
    lookups: &'a LookUps,
    /// The family that was said.
    family: Option<Family>,
    rule: Rule,
    /// Whether it was said what to do.
    action: bool,
}

/// Reads a rule's description.
pub(super) fn read(words: Words<'_>, deleting: bool, options: Options, lookups: &LookUps) -> Result<Rule, WordsError> {
    if words.peek().is_none() {
        return Err(WordsError::Bad("which rule? Give its words, as in: add from 10.1.1.0/24 lookup 100".into()));
    }
    let rule = Rule { action: if deleting { 0 } else { TO_TABLE }, ..Rule::new(options.family.unwrap_or(Family::Inet)) };
    let mut reading = Reading { words, lookups, family: options.family, rule, action: deleting };
    while let Some(word) = reading.words.take() {
        match keyword(word, KEYS) {
            Some(key @ (Key::From | Key::To)) => reading.prefix(word, key)?,
            Some(key) => reading.value(word, key)?,
            None => reading.action(word)?,
        }
    }
    let Reading { mut rule, action, .. } = reading;
    if rule.l3mdev && rule.table != 0 {
        return Err(WordsError::Bad("l3mdev takes the table of the device: leave out lookup or l3mdev".into()));
    }
    if !action {
        rule.table = TABLE_MAIN;
    }
    Ok(rule)
}

impl Reading<'_> {
    fn value(&mut self, word: &str, key: Key) -> Result<(), WordsError> {
        let (rule, words, names) = (&mut self.rule, &mut self.words, &self.lookups.names);
        let number = |words: &mut Words<'_>, most: u32| words.number(word, most.into()).map(|n| Some(n as u32));
        match key {
            Key::Not => rule.flags |= INVERT,
            Key::Priority => rule.priority = number(words, u32::MAX)?,
            Key::Tos => rule.tos = tos(words, names)?,
            Key::Mark => (rule.mark, rule.mask) = mark(words)?,
            Key::Realms => rule.realms = Some(realms(words, names)?),
            Key::Protocol => rule.protocol = Some(named(words, word, &names.protocols, 255)? as u8),
            Key::Tunnel => rule.tunnel = Some(words.number(word, u64::MAX)?),
            Key::Table => rule.table = named(words, word, &names.tables, u32::MAX)?,
            Key::SuppressPrefixlength => rule.suppress_prefixlength = number(words, i32::MAX.cast_unsigned())?,
            Key::SuppressIfgroup => rule.suppress_ifgroup = Some(named(words, word, &names.groups, i32::MAX.cast_unsigned())?),
            Key::Iif => rule.iif = Some(link_name(word, words)?),
            Key::Oif => rule.oif = Some(link_name(word, words)?),
            Key::L3mdev => rule.l3mdev = true,
            Key::Uids => rule.uids = Some(uids(words)?),
            Key::IpProtocol => rule.ip_protocol = Some(ip_protocol(words, &names.ip_protocols)?),
            Key::Sport => rule.sports = Some(ports(word, words)?),
            Key::Dport => rule.dports = Some(ports(word, words)?),
            Key::From | Key::To | Key::Foreign => return Err(words.unknown(word)),
        }
        self.action |= matches!(key, Key::Table | Key::L3mdev);
        Ok(())
    }

    /// `from PREFIX`, `to PREFIX`. The family has to be said before: iproute2 does not read it off the address here.
    fn prefix(&mut self, word: &str, key: Key) -> Result<(), WordsError> {
        let read = prefix(word, self.words.value(word)?, self.family)?;
        if read.family.is_some_and(|family| family != self.rule.family) {
            return Err(WordsError::Bad(format!("{word}: rules of IPv6 are made with -6 in front: -6 add {word} ...")));
        }
        match key {
            Key::From => (self.rule.src, self.rule.src_len) = (read.ip, read.len),
            _ => (self.rule.dst, self.rule.dst_len) = (read.ip, read.len),
        }
        Ok(())
    }

    /// `[type] goto N`, `nop`, `blackhole`, ...
    fn action(&mut self, first: &str) -> Result<(), WordsError> {
        let (rule, words) = (&mut self.rule, &mut self.words);
        let word = if first == "type" { words.value("type")? } else { first };
        rule.action = if abbreviates(word, "goto") {
            rule.goto = Some(words.number("goto", u32::MAX.into())? as u32);
            GOTO
        } else if abbreviates(word, "nop") {
            NOP
        } else {
            let kind = kind(word).or_else(|| number(word).and_then(|n| n.try_into().ok()));
            kind.filter(|kind| *kind != route::NAT).ok_or_else(|| words.unknown(word))?
        };
        self.action = true;
        Ok(())
    }
}

/// The name of a link; it need not be there yet.
pub(super) fn link_name(of: &str, words: &mut Words<'_>) -> Result<String, WordsError> {
    let text = words.value(of)?;
    let name = text.parse::<IfName>().map_err(|error| WordsError::Bad(format!("{of}: {error}")))?;
    Ok(name.to_string())
}

/// `MARK[/MASK]`
pub(super) fn mark(words: &mut Words<'_>) -> Result<(Option<u32>, Option<u32>), WordsError> {
    let text = words.value("fwmark")?;
    let read = |text: &str| number(text).and_then(|n| u32::try_from(n).ok());
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    match (read(mark), mask.map(read)) {
        (Some(mark), None) => Ok((Some(mark), None)),
        (Some(mark), Some(Some(mask))) => Ok((Some(mark), Some(mask))),
        _ => Err(words.bad("fwmark", text, "MARK or MARK/MASK, each a number like 0x10")),
    }
}

/// `FIRST-LAST`
pub(super) fn uids(words: &mut Words<'_>) -> Result<(u32, u32), WordsError> {
    let text = words.value("uidrange")?;
    let both = text.split_once('-').and_then(|(first, last)| Some((decimal(first)?, decimal(last)?)));
    both.ok_or_else(|| words.bad("uidrange", text, "FIRST-LAST, as in 1000-1999"))
}

/// `PORT` or `FIRST-LAST`
pub(super) fn ports(of: &str, words: &mut Words<'_>) -> Result<(u16, u16), WordsError> {
    let text = words.value(of)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| decimal(text).and_then(|port| u16::try_from(port).ok());
    port(first).zip(port(last)).ok_or_else(|| words.bad(of, text, "PORT or FIRST-LAST, as in 80 or 8000-8080"))
}

fn decimal(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
