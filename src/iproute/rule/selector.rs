//! The words of `rule show` and `rule flush`: which rules are meant.

use std::net::IpAddr;

use super::super::address::{Prefix, prefix};
use super::super::names::LookUps;
use super::super::options::Options;
use super::super::route::{named, tos};
use super::super::words::{Keyword, abbreviates, keyword, short, whole};
use super::super::{Words, WordsError};
use super::spec::{self, Key};
use super::{INVERT, Rule};
use crate::model::types::Family;

/// Which rules are meant; what is absent is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The family to ask for.
    pub family: Family,
    wanted: Rule,
    src: Option<Prefix>,
    dst: Option<Prefix>,
    table: Option<u32>,
    tos: Option<u8>,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const KEYS: &[Keyword<Key>] = &[
    short("preference", Key::Priority),
    short("order", Key::Priority),
    short("priority", Key::Priority),
    whole("not", Key::Not),
    whole("tos", Key::Tos),
    whole("dsfield", Key::Tos),
    whole("fwmark", Key::Mark),
    whole("dev", Key::Iif),
    whole("iif", Key::Iif),
    whole("oif", Key::Oif),
    whole("l3mdev", Key::L3mdev),
    whole("uidrange", Key::Uids),
    short("tun_id", Key::Tunnel),
    short("lookup", Key::Table),
    short("table", Key::Table),
    short("from", Key::From),
    short("src", Key::From),
    short("protocol", Key::Protocol),
];

/// Reads which rules are meant.
pub(super) fn read(mut words: Words<'_>, options: Options, lookups: &LookUps) -> Result<Selector, WordsError> {
    let family = options.family.unwrap_or(Family::Inet);
    let mut selector = Selector { family, wanted: Rule::new(family), src: None, dst: None, table: None, tos: None };
    while let Some(word) = words.take() {
        match keyword(word, KEYS) {
            Some(key) => selector.value(word, key, &mut words, lookups)?,
            None => {
                let to = abbreviates(word, "dst") || abbreviates(word, "to");
                let text = if to { words.value(word)? } else { word };
                let read = prefix("to", text, Some(family));
                selector.dst = Some(if to { read? } else { read.map_err(|_| words.unknown(word))? });
            }
        }
    }
    Ok(selector)
}

impl Selector {
    fn value(&mut self, word: &str, key: Key, words: &mut Words<'_>, lookups: &LookUps) -> Result<(), WordsError> {
        let (wanted, names) = (&mut self.wanted, &lookups.names);
        match key {
            Key::Priority => wanted.priority = Some(words.number(word, u32::MAX.into())? as u32),
            Key::Not => wanted.flags |= INVERT,
            Key::Tos => self.tos = Some(tos(words, names)?),
            Key::Mark => (wanted.mark, wanted.mask) = spec::mark(words)?,
            Key::Iif => wanted.iif = Some(spec::link_name(word, words)?),
            Key::Oif => wanted.oif = Some(spec::link_name(word, words)?),
            Key::L3mdev => wanted.l3mdev = true,
            Key::Uids => wanted.uids = Some(spec::uids(words)?),
            Key::Tunnel => wanted.tunnel = Some(words.number(word, u64::MAX)?),
            Key::Table => self.table = Some(named(words, word, &names.tables, u32::MAX)?).filter(|table| *table > 0),
            Key::From => self.src = Some(prefix(word, words.value(word)?, Some(self.family))?),
            Key::Protocol if words.take_if("all") => wanted.protocol = None,
            Key::Protocol => wanted.protocol = Some(named(words, word, &names.protocols, 255)? as u8),
            _ => return Err(words.unknown(word)),
        }
        Ok(())
    }

    /// Whether a rule is meant.
    pub fn takes(&self, rule: &Rule) -> bool {
        let wanted = &self.wanted;
        let nonzero = |wanted: Option<u32>, seen: Option<u32>| wanted.unwrap_or_default() == 0 || wanted == seen;
        // An absent address (`from 0/8`) is not looked at.
        let inside =
            |prefix: &Option<Prefix>, ip: Option<IpAddr>, len| prefix.is_none_or(|p| p.len <= len && (ip.is_none() || p.covers(ip, p.len)));
        self.family == rule.family
            && wanted.priority.is_none_or(|p| p == rule.priority.unwrap_or_default())
            && (wanted.flags & !rule.flags) & INVERT == 0
            && inside(&self.src, rule.src, rule.src_len)
            && inside(&self.dst, rule.dst, rule.dst_len)
            && self.tos.is_none_or(|t| t == rule.tos)
            && nonzero(wanted.mark, rule.mark)
            && nonzero(wanted.mask, rule.mask)
            && (wanted.iif.is_none() || wanted.iif == rule.iif)
            && (wanted.oif.is_none() || wanted.oif == rule.oif)
            && (!wanted.l3mdev || rule.l3mdev)
            && (wanted.uids.is_none() || wanted.uids == rule.uids)
            && (wanted.tunnel.unwrap_or_default() == 0 || wanted.tunnel == rule.tunnel)
            && self.table.is_none_or(|t| t == rule.table)
    }

    /// Whether `flush` is to delete a rule: the one without a priority, which looks up table local, never.
    pub fn flushes(&self, rule: &Rule) -> bool {
        let protocol = self.wanted.protocol.is_none() || rule.protocol.is_none() || self.wanted.protocol == rule.protocol;
        self.takes(rule) && protocol && rule.priority.is_some()
    }
}
