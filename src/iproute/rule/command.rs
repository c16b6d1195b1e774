//! The verbs of `ip rule`.

use super::super::names::LookUps;
use super::super::options::{self, Options};
use super::super::words::{Keyword, keyword, short};
use super::super::{Words, WordsError};
use super::{Rule, Selector, selector, spec};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new rule.
    Add(Box<Rule>),
    /// The first rule like that is to go.
    Delete(Box<Rule>),
    /// What rules are there?
    Show(Options, Box<Selector>),
    /// All of these are to go.
    Flush(Box<Selector>),
}

#[derive(Clone, Copy)]
enum Key {
    Add,
    Delete,
    Show,
    Flush,
    /// Only the installed program knows it.
    Foreign,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const VERBS: &[Keyword<Key>] = &[
    short("list", Key::Show),
    short("lst", Key::Show),
    short("show", Key::Show),
    short("save", Key::Foreign),
    short("restore", Key::Foreign),
    short("add", Key::Add),
    short("delete", Key::Delete),
    short("flush", Key::Flush),
];

/// Reads the words behind `ip rule`; options of `ip` may stand first.
///
/// # Errors
/// When a word is wrong, or not known here.
pub fn parse(words: &[String], lookups: &LookUps) -> Result<Command, WordsError> {
    let (options, rest) = options::split(words);
    let options = options::parse(options)?;
    let mut words = Words::new(rest, "rule");
    let Some(verb) = words.take() else {
        return Ok(Command::Show(options, Box::new(selector::read(words, options, lookups)?)));
    };
    match keyword(verb, VERBS) {
        Some(Key::Add) => Ok(Command::Add(Box::new(spec::read(words.at("rule add"), false, options, lookups)?))),
        Some(Key::Delete) => Ok(Command::Delete(Box::new(spec::read(words.at("rule del"), true, options, lookups)?))),
        Some(Key::Show) => Ok(Command::Show(options, Box::new(selector::read(words.at("rule show"), options, lookups)?))),
        Some(Key::Flush) => Ok(Command::Flush(Box::new(selector::read(words.at("rule flush"), options, lookups)?))),
        Some(Key::Foreign) | None => Err(words.unknown(verb)),
    }
}
