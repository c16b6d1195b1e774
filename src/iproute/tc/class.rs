//! `tc class`

use super::grammar::{Ground, pick, read, twice};
use super::htb;
use super::ids::{self, ROOT};
use super::own::Own;
use super::stats::Stats;
use super::{Node, Show, View};
use crate::iproute::{Words, WordsError};

/// A class that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    /// Where.
    pub node: Node,
    /// Its kind, if one is named.
    pub kind: Option<String>,
    /// What stands behind the kind: only htb's classes have something.
    pub htb: Option<htb::Class>,
}

/// A class as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownClass {
    /// Where.
    pub node: Node,
    /// Its kind.
    pub kind: String,
    /// What the kernel tells.
    pub htb: Option<htb::Class>,
    /// Counters.
    pub stats: Option<Stats>,
    /// The kind's own counters.
    pub own: Option<Own>,
}

impl Class {
    /// The words behind the verb.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self::default();
        let mut dev = None;
        while let Some(word) = words.take() {
            match word {
                "dev" if dev.is_some() => return Err(twice(word)),
                "dev" => dev = Some(words.value(word)?),
                "classid" if all.node.handle != 0 => return Err(twice(word)),
                "classid" => all.node.handle = read(words, word, "a class like 1:10", ids::class)?,
                "handle" => return Err(WordsError::Bad("class: say classid instead of handle".into())),
                "root" | "parent" if all.node.parent != 0 => return Err(twice("the parent")),
                "root" => all.node.parent = ROOT,
                "parent" => all.node.parent = read(words, word, "a class like 1:1", ids::class)?,
                _ if pick(word, &["estimator", "help"]).is_some() => return Err(words.unknown(word)),
                _ => {
                    all.kind = Some(word.to_owned());
                    break;
                }
            }
        }
        all.htb = match all.kind.as_deref() {
            None => None,
            Some("htb") => Some(htb::Class::parse(&mut words.clone().at("class htb"), dev.unwrap_or_default(), ground)?),
            Some(kind @ ("netem" | "tbf" | "prio" | "sfq" | "fq" | "fq_codel" | "pfifo" | "bfifo" | "ingress" | "clsact")) => {
                return Err(WordsError::Bad(format!("qdisc {kind} has no classes that can be added: use htb")));
            }
            Some(kind) => return Err(words.unknown(kind)),
        };
        all.node.index = super::index(dev, ground)?;
        Ok(all)
    }
}

/// The words of `tc class show`.
///
/// # Errors
/// A word that is not known, or a value that is none.
pub fn parse_show(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Show, WordsError> {
    let mut all = Show::default();
    let mut dev = None;
    while let Some(word) = words.take() {
        match word {
            "dev" if dev.is_some() => return Err(twice(word)),
            "dev" => dev = Some(words.value(word)?),
            "qdisc" => all.qdisc = read(words, word, "a handle like 1:", ids::handle)?,
            "classid" => all.handle = read(words, word, "a class like 1:10", ids::class)?,
            "root" | "parent" if all.parent != 0 => return Err(twice("the parent")),
            "root" => all.parent = ROOT,
            "parent" => all.parent = read(words, word, "a class like 1:1", ids::class)?,
            _ => return Err(words.unknown(word)),
        }
    }
    all.index = super::index(dev, ground)?;
    Ok(all)
}

impl ShownClass {
    /// As tc prints it; nothing if it is not asked for.
    pub fn show(&self, asked: &Show, view: View<'_>) -> String {
        let node = self.node;
        let of_other = asked.qdisc != 0 && (node.handle ^ asked.qdisc) >> 16 != 0;
        if of_other || (asked.handle != 0 && asked.handle != node.handle) {
            return String::new();
        }
        // Of one qdisc only the minor numbers are of interest.
        let id = |id: u32| ids::show(if asked.qdisc == 0 { id } else { id & 0xffff });
        let own = if node.handle == 0 { String::new() } else { id(node.handle) };
        let mut text = format!("class {} {own} ", self.kind);
        if asked.index == 0 {
            text += &format!("dev {} ", (view.name)(node.index));
        }
        text += &if node.parent == ROOT { "root ".into() } else { format!("parent {} ", id(node.parent)) };
        if node.info != 0 {
            text += &format!("leaf {:x}: ", node.info >> 16);
        }
        text += &self.htb.as_ref().map(|class| class.show(view.details, view.clock)).unwrap_or_default();
        text += "\n";
        text + &super::show_stats(self.stats.as_ref(), self.own.as_ref(), view)
    }
}
