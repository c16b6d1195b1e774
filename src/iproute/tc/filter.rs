//! `tc filter`

use super::flower::Flower;
use super::grammar::{Ground, number, pick, read, twice};
use super::ids::{self, ALL, FILTERS_IN, FILTERS_OUT, ROOT};
use super::matchall::Matchall;
use super::stats::{OldStats, Stats};
use super::u32::{self, U32};
use super::{Node, Show, Verb, View};
use crate::iproute::{Words, WordsError};

/// What stands behind the kind of a filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Classifier {
    /// Nothing.
    #[default]
    None,
    /// `u32`
    U32(Box<U32>),
    /// `matchall`
    Matchall(Box<Matchall>),
    /// `flower`
    Flower(Box<Flower>),
}

/// A filter that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Where; its information is priority and protocol.
    pub node: Node,
    /// The chain, if one is named.
    pub chain: Option<u32>,
    /// Its kind, if one is named.
    pub kind: Option<String>,
    /// What stands behind the kind.
    pub classifier: Classifier,
}

/// A filter as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownFilter {
    /// Where.
    pub node: Node,
    /// The block that it is in instead of at a link.
    pub block: Option<u32>,
    /// The chain.
    pub chain: Option<u32>,
    /// Its kind.
    pub kind: String,
    /// What the kernel tells.
    pub classifier: Classifier,
    /// Counters.
    pub stats: Option<Stats>,
    /// Counters as they were before.
    pub old_stats: Option<OldStats>,
}

/// The words in front of the kind.
#[derive(Default)]
struct Head<'a> {
    dev: Option<&'a str>,
    parent: u32,
    handle: Option<&'a str>,
    priority: u32,
    protocol: Option<u16>,
    chain: Option<u32>,
}

impl<'a> Head<'a> {
    /// Takes the word if it is one of them.
    fn word(&mut self, words: &mut Words<'a>, word: &'a str) -> Result<bool, WordsError> {
        let list = [
            "=dev",
            "block",
            "=root",
            "=ingress",
            "=egress",
            "=parent",
            "=handle",
            "preference",
            "priority",
            "protocol",
            "chain",
            "estimator",
            "help",
        ];
        match pick(word, &list) {
            Some("dev") if self.dev.is_some() => return Err(twice(word)),
            Some("dev") => self.dev = Some(words.value(word)?),
            Some("root" | "ingress" | "egress" | "parent") if self.parent != 0 => return Err(twice("the parent")),
            Some("root") => self.parent = ROOT,
            Some("ingress") => self.parent = FILTERS_IN,
            Some("egress") => self.parent = FILTERS_OUT,
            Some("parent") => self.parent = read(words, word, "a class like 1: or ffff:", ids::class)?,
            Some("handle") if self.handle.is_some() => return Err(twice(word)),
            Some("handle") => self.handle = Some(words.value(word)?),
            Some("preference" | "priority") if self.priority != 0 => return Err(twice(word)),
            Some("preference" | "priority") => self.priority = words.number(word, 0xffff)? as u32,
            Some("protocol") if self.protocol.is_some() => return Err(twice(word)),
            Some("protocol") => self.protocol = Some(read(words, word, "a protocol like ip, ipv6 or all", ids::protocol)?),
            Some("chain") if self.chain.is_some() => return Err(twice(word)),
            Some("chain") => self.chain = Some(number(words, word)?),
            Some(_) => return Err(words.unknown(word)),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn info(&self, usual: u16) -> u32 {
        self.priority << 16 | u32::from(self.protocol.unwrap_or(usual).to_be())
    }
}

impl Filter {
    /// The words behind the verb.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>, verb: Verb, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut head = Head::default();
        let mut kind = None;
        while let Some(word) = words.take() {
            if !head.word(words, word)? {
                kind = Some(word);
                break;
            }
        }
        let usual = if matches!(verb, Verb::Add | Verb::Replace) { ALL } else { 0 };
        let mut node = Node { parent: head.parent, info: head.info(usual), ..Node::default() };
        let protocol = head.protocol.unwrap_or(usual);
        let classifier = Self::classifier(words, kind, protocol, ground)?;
        node.handle = match (&classifier, head.handle) {
            (Classifier::None, Some(_)) => return Err(WordsError::Bad("filter: handle needs the kind, like u32 or flower".into())),
            (Classifier::U32(u32), text) => u32.ordered(handle(text, "u32", "800::800", u32::handle)?)?,
            (_, text) => handle(text, "filter", "1 or 0x1", |text| crate::iproute::number(text)?.try_into().ok())?,
        };
        node.index = super::index(head.dev, ground)?;
        Ok(Self { node, chain: head.chain, kind: kind.map(str::to_owned), classifier })
    }

    fn classifier(words: &Words<'_>, kind: Option<&str>, protocol: u16, ground: &dyn Ground) -> Result<Classifier, WordsError> {
        let words = words.clone();
        Ok(match kind {
            None => Classifier::None,
            Some("u32") => Classifier::U32(Box::new(U32::parse(&mut words.at("filter u32"), ground)?)),
            Some("matchall") => Classifier::Matchall(Box::new(Matchall::parse(&mut words.at("filter matchall"), ground)?)),
            Some("flower") => {
                let flower = Flower::parse(&mut words.at("filter flower"), protocol, ground)?;
                flower.check()?;
                Classifier::Flower(Box::new(flower))
            }
            Some(kind) => return Err(words.unknown(kind)),
        })
    }
}

fn handle(text: Option<&str>, what: &str, like: &str, parse: impl Fn(&str) -> Option<u32>) -> Result<u32, WordsError> {
    let bad = |text: &str| WordsError::Bad(format!("{what}: handle {text:?} is none: a handle looks like {like}"));
    text.map_or(Ok(0), |text| parse(text).ok_or_else(|| bad(text)))
}

/// The words of `tc filter show`.
///
/// # Errors
/// A word that is not known, or a value that is none.
pub fn parse_show(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Show, WordsError> {
    let mut head = Head::default();
    while let Some(word) = words.take() {
        if !head.word(words, word)? {
            return Err(words.unknown(word));
        }
    }
    let (index, info) = (super::index(head.dev, ground)?, head.info(0));
    Ok(Show { index, parent: head.parent, info, chain: head.chain, ..Show::default() })
}

impl ShownFilter {
    /// As tc prints it.
    pub fn show(&self, asked: &Show, view: View<'_>) -> String {
        let node = self.node;
        let mut text = "filter ".to_owned();
        match self.block {
            Some(block) => text += &format!("block {block} "),
            None => text += &self.place(asked, view),
        }
        let protocol = u16::from_be((node.info & 0xffff) as u16);
        let (asked_priority, asked_protocol) = (asked.info >> 16, u16::from_be((asked.info & 0xffff) as u16));
        if protocol != 0 && protocol != asked_protocol {
            text += &format!("protocol {} ", ids::show_protocol(protocol));
        }
        let priority = node.info >> 16;
        if priority != 0 && priority != asked_priority {
            text += &format!("pref {priority} ");
        }
        text += &format!("{} ", self.kind);
        if let Some(chain) = self.chain.filter(|chain| asked.chain != Some(*chain)) {
            text += &format!("chain {chain} ");
        }
        text += &match &self.classifier {
            Classifier::None => String::new(),
            Classifier::U32(u32) => u32.show(node.handle, protocol, view),
            Classifier::Matchall(all) => all.show(node.handle, view),
            Classifier::Flower(flower) => flower.show(node.handle, view),
        };
        text += "\n";
        let stats = self.stats.as_ref().map(|stats| stats.show(" "));
        match stats.or_else(|| self.old_stats.map(OldStats::show)).filter(|_| view.statistics) {
            Some(stats) => text + &stats + "\n",
            None => text,
        }
    }

    /// What of its place is not in the question.
    fn place(&self, asked: &Show, view: View<'_>) -> String {
        let mut text = String::new();
        if asked.index != self.node.index {
            text += &format!("dev {} ", (view.name)(self.node.index));
        }
        if asked.parent != self.node.parent {
            text += &match self.node.parent {
                ROOT => "root ".into(),
                FILTERS_IN => "ingress ".into(),
                FILTERS_OUT => "egress ".into(),
                parent => format!("parent {} ", ids::show(parent)),
            };
        }
        text
    }
}
