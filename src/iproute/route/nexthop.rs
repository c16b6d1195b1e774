//! `nexthop via 10.1.1.1 dev eth0 weight 2`, as often as there are ways.

use std::net::IpAddr;

use super::super::names::LookUps;
use super::super::words::{Keyword, keyword, short, whole};
use super::super::{Words, WordsError};
use super::ONLINK;
use super::spec;
use crate::model::types::Family;

/// One way of several: `struct rtnexthop` and its attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nexthop {
    /// RTA_GATEWAY, or RTA_VIA when it is of the other family.
    pub gateway: Option<IpAddr>,
    /// `rtnh_ifindex`
    pub dev: u32,
    /// `rtnh_hops`: one less than the weight.
    pub hops: u8,
    /// RTNH_F_*
    pub flags: u8,
    /// RTA_FLOW
    pub realms: Option<u32>,
}

#[derive(Clone, Copy)]
enum Key {
    Via,
    Dev,
    Weight,
    Onlink,
    Realms,
}

const KEYS: &[Keyword<Key>] = &[
    whole("via", Key::Via),
    whole("dev", Key::Dev),
    whole("weight", Key::Weight),
    whole("onlink", Key::Onlink),
    short("realms", Key::Realms),
];

/// Reads all of them; the first `nexthop` has been read. The family is read off the first address when it is not known yet.
pub(super) fn read(words: &mut Words<'_>, family: &mut Option<Family>, lookups: &LookUps) -> Result<Vec<Nexthop>, WordsError> {
    let mut all = vec![one(words, family, lookups)?];
    while let Some(word) = words.take() {
        if word != "nexthop" {
            return Err(words.unknown(word));
        }
        all.push(one(words, family, lookups)?);
    }
    Ok(all)
}

fn one(words: &mut Words<'_>, family: &mut Option<Family>, lookups: &LookUps) -> Result<Nexthop, WordsError> {
    let mut nexthop = Nexthop::default();
    let mut empty = true;
    while let Some(key) = words.peek().and_then(|word| keyword(word, KEYS)) {
        words.take();
        empty = false;
        match key {
            Key::Via => nexthop.gateway = Some(spec::way(words, family)?),
            Key::Dev => nexthop.dev = lookups.link(words.value("dev")?)?,
            Key::Weight => nexthop.hops = weight(words)?,
            Key::Onlink => nexthop.flags |= ONLINK,
            Key::Realms => nexthop.realms = Some(spec::realms(words, &lookups.names)?),
        }
    }
    if empty && words.peek().is_none_or(|word| word == "nexthop") {
        return Err(WordsError::Bad("nexthop needs via ADDRESS or dev NAME behind it".into()));
    }
    Ok(nexthop)
}

fn weight(words: &mut Words<'_>) -> Result<u8, WordsError> {
    let weight = words.number("weight", 256)?;
    let hops = weight.checked_sub(1).and_then(|hops| hops.try_into().ok());
    hops.ok_or_else(|| WordsError::Bad("weight 0 would be no way at all: give a number from 1 to 256".into()))
}
