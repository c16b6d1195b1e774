//! The verbs of `ip route`.

use super::super::names::LookUps;
use super::super::options::{self, Options};
use super::super::words::{Keyword, keyword, short, whole};
use super::super::{Words, WordsError};
use super::{Route, Selector, get, selector, spec};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A route is to be there, or not.
    Change(Verb, Box<Route>),
    /// What routes are there?
    Show(Options, Box<Selector>),
    /// All of these are to go.
    Flush(Options, Box<Selector>),
    /// Which route would be taken?
    Get(Options, Box<Route>),
}

/// What is to become of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// New, and an error when it is there.
    Add,
    /// Not there any more.
    Delete,
    /// Changed, and an error when it is not there.
    Change,
    /// Changed or new.
    Replace,
    /// New, in front of the same ones.
    Prepend,
    /// New, behind the same ones.
    Append,
    /// An error when it is there; nothing is changed.
    Test,
}

#[derive(Clone, Copy)]
enum Key {
    Change(Verb, &'static str),
    Show,
    Get,
    Flush,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const VERBS: &[Keyword<Key>] = &[
    short("add", Key::Change(Verb::Add, "route add")),
    short("change", Key::Change(Verb::Change, "route change")),
    whole("chg", Key::Change(Verb::Change, "route change")),
    short("replace", Key::Change(Verb::Replace, "route replace")),
    short("prepend", Key::Change(Verb::Prepend, "route prepend")),
    short("append", Key::Change(Verb::Append, "route append")),
    short("test", Key::Change(Verb::Test, "route test")),
    short("delete", Key::Change(Verb::Delete, "route del")),
    short("list", Key::Show),
    short("show", Key::Show),
    short("lst", Key::Show),
    short("get", Key::Get),
    short("flush", Key::Flush),
];

/// Reads the words behind `ip route`; options of `ip` may stand first.
///
/// # Errors
/// When a word is wrong, or not known here.
pub fn parse(words: &[String], lookups: &LookUps) -> Result<Command, WordsError> {
    let (options, rest) = options::split(words);
    let options = options::parse(options)?;
    let mut words = Words::new(rest, "route");
    let Some(verb) = words.take() else {
        return Ok(Command::Show(options, Box::new(selector::read(words, options, lookups)?)));
    };
    match keyword(verb, VERBS) {
        Some(Key::Change(verb, place)) => {
            let route = spec::read(words.at(place), verb == Verb::Delete, options, lookups)?;
            Ok(Command::Change(verb, Box::new(route)))
        }
        Some(Key::Show) => Ok(Command::Show(options, Box::new(selector::read(words.at("route show"), options, lookups)?))),
        Some(Key::Get) => Ok(Command::Get(options, Box::new(get::read(words.at("route get"), options, lookups)?))),
        Some(Key::Flush) if words.peek().is_none() => {
            Err(WordsError::Bad("route flush needs to be told which: give PREFIX, dev NAME, table NAME, proto NAME, cache, ...".into()))
        }
        Some(Key::Flush) => Ok(Command::Flush(options, Box::new(selector::read(words.at("route flush"), options, lookups)?))),
        None => Err(words.unknown(verb)),
    }
}
