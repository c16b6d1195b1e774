//! `matchall` (tc-matchall(8)), and the flags that all filters have.

use super::action::{self, Action, View};
use super::grammar::{Ground, class, pick};
use super::ids;
use crate::iproute::{Words, WordsError};

/// TCA_CLS_FLAGS_* (linux/pkt_cls.h)
pub const SKIP_HW: u32 = 1;
/// Not in software.
pub const SKIP_SW: u32 = 2;
const IN_HW: u32 = 4;
const NOT_IN_HW: u32 = 8;

/// That a filter can be in neither is no filter.
///
/// # Errors
/// When both flags are set.
pub fn check_flags(flags: u32) -> Result<(), WordsError> {
    if flags & (SKIP_HW | SKIP_SW) == SKIP_HW | SKIP_SW {
        return Err(WordsError::Bad("give either skip_hw or skip_sw".into()));
    }
    Ok(())
}

/// The names of the flags that are set, as tc prints them.
pub fn flag_names(flags: u32) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut add = |bit: u32, name| {
        if flags & bit != 0 {
            names.push(name);
        }
    };
    add(SKIP_HW, "skip_hw");
    add(SKIP_SW, "skip_sw");
    add(IN_HW, "in_hw");
    if flags & IN_HW == 0 {
        add(NOT_IN_HW, "not_in_hw");
    }
    names
}

/// A filter that takes every packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matchall {
    /// The class that packets go to.
    pub class: Option<u32>,
    /// TCA_CLS_FLAGS_*
    pub flags: u32,
    /// What is done, with the place of each.
    pub actions: Vec<(u16, Action)>,
    /// How many packets it took.
    pub hits: Option<u64>,
    /// Whether any word stood there: without one nothing is sent.
    pub given: bool,
}

impl Matchall {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self { given: words.peek().is_some(), ..Self::default() };
        while let Some(word) = words.take() {
            match pick(word, &["classid", "=flowid", "action", "=skip_hw", "=skip_sw"]) {
                Some("classid" | "flowid") => all.class = Some(class(words, word)?),
                Some("action") => all.actions = (1..).zip(action::parse(words, ground)?).collect(),
                Some("skip_hw") => all.flags |= SKIP_HW,
                Some("skip_sw") => all.flags |= SKIP_SW,
                _ => return Err(words.unknown(word)),
            }
        }
        check_flags(all.flags)?;
        Ok(all)
    }

    /// As tc prints it.
    pub fn show(&self, handle: u32, view: View<'_>) -> String {
        let mut text = if handle == 0 { String::new() } else { format!("handle {handle:#x} ") };
        if let Some(class) = self.class {
            text += &format!("flowid {} ", ids::show(class));
        }
        text.extend(flag_names(self.flags).iter().map(|name| format!("\n  {name}")));
        if let Some(hits) = self.hits.filter(|_| view.statistics) {
            text += &format!(" (rule hit {hits})");
        }
        text + &action::show(&self.actions, view)
    }
}
