//! `tc qdisc`

use super::fifo::Fifo;
use super::fq::Fq;
use super::fq_codel::FqCodel;
use super::grammar::{Ground, pick, read, twice};
use super::htb::Htb;
use super::ids::{self, INGRESS, ROOT};
use super::netem::Netem;
use super::own::Own;
use super::prio::Prio;
use super::sfq::Sfq;
use super::stats::Stats;
use super::tbf::Tbf;
use super::{Node, Show, View};
use crate::iproute::{Words, WordsError};

/// What stands behind the kind of a qdisc.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Discipline {
    /// Nothing: `noqueue`, `clsact`, or no kind.
    #[default]
    Plain,
    /// `ingress`, which has its own way to say nothing.
    Ingress,
    /// `pfifo`, `bfifo`, `pfifo_head_drop`
    Fifo(Fifo),
    /// `prio`, and `pfifo_fast` as it is told
    Prio(Prio),
    /// `netem`
    Netem(Box<Netem>),
    /// `tbf`
    Tbf(Box<Tbf>),
    /// `htb`
    Htb(Htb),
    /// `sfq`
    Sfq(Sfq),
    /// `fq`
    Fq(Box<Fq>),
    /// `fq_codel`
    FqCodel(Box<FqCodel>),
}

/// A qdisc that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Qdisc {
    /// Where.
    pub node: Node,
    /// Its kind, if one is named.
    pub kind: Option<String>,
    /// What stands behind the kind.
    pub discipline: Discipline,
}

/// A qdisc as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownQdisc {
    /// Where.
    pub node: Node,
    /// Its kind.
    pub kind: String,
    /// What the kernel tells; nothing where it makes no sense.
    pub discipline: Option<Discipline>,
    /// Whether hardware does it.
    pub offloaded: bool,
    /// Numbers of the blocks of filters that it shares, for what comes in and goes out.
    pub blocks: (u32, u32),
    /// Counters.
    pub stats: Option<Stats>,
    /// The kind's own counters.
    pub own: Option<Own>,
}

impl Qdisc {
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
                "handle" if all.node.handle != 0 => return Err(twice(word)),
                "handle" => all.node.handle = read(words, word, "a handle like 1:", ids::handle)?,
                "root" | "parent" | "ingress" | "clsact" if all.node.parent != 0 => return Err(twice("the parent")),
                "root" => all.node.parent = ROOT,
                "parent" => all.node.parent = read(words, word, "a class like 1:10", ids::class)?,
                "ingress" | "clsact" => {
                    all.node.parent = INGRESS;
                    all.node.handle = 0xffff_0000;
                    all.kind = Some(word.to_owned());
                    break;
                }
                _ if pick(word, &["estimator", "stab", "ingress_block", "egress_block", "help"]).is_some() => {
                    return Err(words.unknown(word));
                }
                _ => {
                    all.kind = Some(word.to_owned());
                    break;
                }
            }
        }
        let mut words = words.clone().at("qdisc");
        all.discipline = Discipline::parse(&mut words, all.kind.as_deref(), dev.unwrap_or_default(), ground)?;
        all.node.index = super::index(dev, ground)?;
        Ok(all)
    }
}

impl Discipline {
    fn parse(words: &mut Words<'_>, kind: Option<&str>, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let place = words.clone();
        let all = match kind {
            Some("pfifo" | "pfifo_head_drop") => Self::Fifo(Fifo::parse(&mut words.clone().at("qdisc pfifo"), false)?),
            Some("bfifo") => Self::Fifo(Fifo::parse(&mut words.clone().at("qdisc bfifo"), true)?),
            Some("prio") => Self::Prio(Prio::parse(&mut words.clone().at("qdisc prio"))?),
            Some("netem") => Self::Netem(Box::new(Netem::parse(&mut words.clone().at("qdisc netem"), dev, ground)?)),
            Some("tbf") => Self::Tbf(Box::new(Tbf::parse(&mut words.clone().at("qdisc tbf"), dev, ground)?)),
            Some("htb") => Self::Htb(Htb::parse(&mut words.clone().at("qdisc htb"))?),
            Some("sfq") => Self::Sfq(Sfq::parse(&mut words.clone().at("qdisc sfq"))?),
            Some("fq") => Self::Fq(Box::new(Fq::parse(&mut words.clone().at("qdisc fq"), dev, ground)?)),
            Some("fq_codel") => Self::FqCodel(Box::new(FqCodel::parse(&mut words.clone().at("qdisc fq_codel"))?)),
            Some("ingress") => {
                // tc has always taken a handle here, and never looked at it.
                while words.take_if("handle") {
                    words.value("handle")?;
                }
                return words.peek().map_or(Ok(Self::Plain), |word| Err(words.unknown(word)));
            }
            Some("clsact" | "noqueue" | "pfifo_fast") | None => {
                return words.peek().map_or(Ok(Self::Plain), |word| Err(words.unknown(word)));
            }
            Some(kind) => return Err(place.unknown(kind)),
        };
        Ok(all)
    }

    fn show(&self, view: View<'_>) -> String {
        let (details, clock) = (view.details, view.clock);
        match self {
            Self::Plain => String::new(),
            Self::Ingress => "---------------- ".into(),
            Self::Fifo(fifo) => fifo.show(),
            Self::Prio(prio) => prio.show(),
            Self::Netem(netem) => netem.show(clock),
            Self::Tbf(tbf) => tbf.show(details, clock),
            Self::Htb(htb) => htb.show(details),
            Self::Sfq(sfq) => sfq.show(details),
            Self::Fq(fq) => fq.show(),
            Self::FqCodel(all) => all.show(),
        }
    }
}

/// The words of `tc qdisc show`.
///
/// # Errors
/// A word that is not known, or a value that is none.
pub fn parse_show(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Show, WordsError> {
    let mut all = Show::default();
    let mut dev = None;
    while let Some(word) = words.take() {
        match pick(word, &["=dev", "=root", "=ingress", "=clsact", "parent", "handle"]) {
            Some("dev") => dev = Some(words.value(word)?),
            Some(_) if all.parent != 0 || all.handle != 0 => return Err(twice("parent or handle")),
            Some("root") => all.parent = ROOT,
            Some("parent") => all.parent = read(words, word, "a class like 1:10", ids::class)?,
            Some("handle") => all.handle = read(words, word, "a handle like 1:", ids::handle)?,
            Some(_) => all.parent = INGRESS,
            None => return Err(words.unknown(word)),
        }
    }
    all.index = super::index(dev, ground)?;
    Ok(all)
}

impl ShownQdisc {
    /// As tc prints it; nothing if it is not asked for.
    pub fn show(&self, asked: &Show, view: View<'_>) -> String {
        let node = self.node;
        let other = |asked: u32, is: u32| asked != 0 && asked != is;
        if other(asked.index, node.index) || other(asked.handle, node.handle) || other(asked.parent, node.parent) {
            return String::new();
        }
        let mut text = format!("qdisc {} {:x}: ", self.kind, node.handle >> 16);
        if asked.index == 0 {
            text += &format!("dev {} ", (view.name)(node.index));
        }
        text += &match node.parent {
            ROOT => "root ".into(),
            0 => String::new(),
            parent => format!("parent {} ", ids::show(parent)),
        };
        if node.info != 1 {
            text += &format!("refcnt {} ", node.info);
        }
        if self.offloaded {
            text += "offloaded ";
        }
        for (name, block) in [("ingress_block", self.blocks.0), ("egress_block", self.blocks.1)] {
            if block != 0 {
                text += &format!("{name} {block} ");
            }
        }
        text += &self.discipline.as_ref().map(|discipline| discipline.show(view)).unwrap_or_default();
        text += "\n";
        text + &super::show_stats(self.stats.as_ref(), self.own.as_ref(), view)
    }
}
