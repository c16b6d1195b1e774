//! A tree of TOML that is read key by key, so that all mistakes are told at once, each with its line.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::topology::Located;

/// What is wrong so far.
pub(super) struct Mistakes<'a> {
    text: &'a str,
    all: RefCell<Vec<Located>>,
}

impl<'a> Mistakes<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, all: RefCell::default() }
    }

    pub(super) fn at(&self, span: Range<usize>, text: impl Into<String>) {
        let line = self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1;
        self.all.borrow_mut().push(Located { line: Some(line), text: text.into() });
    }

    /// In the file's order.
    pub(super) fn done(self) -> Vec<Located> {
        let mut all = self.all.into_inner();
        all.sort_by_key(|wrong| wrong.line);
        all
    }

    pub(super) fn is_none(&self) -> bool {
        self.all.borrow().is_empty()
    }
}

/// A table, and where it stands.
pub(super) struct Node<'a> {
    pub(super) mistakes: &'a Mistakes<'a>,
    table: &'a DeTable<'a>,
    pub(super) span: Range<usize>,
    place: String,
}

impl<'a> Node<'a> {
    /// A table with those keys and no others.
    pub(super) fn new(mistakes: &'a Mistakes<'a>, table: &'a DeTable<'a>, span: Range<usize>, place: String, keys: &[&str]) -> Self {
        let node = Self { mistakes, table, span, place };
        for key in table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let text = format!("{} is no key here: there are {}", node.name(key.get_ref()), keys.join(", "));
            mistakes.at(key.span(), text);
        }
        node
    }

    /// A key with its place.
    fn name(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// Notes what is wrong with a key, or with the table that lacks it.
    pub(super) fn wrong(&self, key: &str, why: impl Display) {
        let span = self.table.get(key).map_or(self.span.clone(), Spanned::span);
        self.mistakes.at(span, format!("{}: {why}", self.name(key)));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// A word in quotes.
    pub(super) fn word(&self, key: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        let word = value.get_ref().as_str().filter(|word| !word.is_empty() && !word.chars().any(char::is_control));
        if word.is_none() {
            self.wrong(key, "give a word in quotes");
        }
        word
    }

    /// A word that means something.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Option<T> {
        self.word(key)?.parse().map_err(|error| self.wrong(key, error)).ok()
    }

    /// The address of a key.
    pub(super) fn address(&self, key: &str) -> Option<std::net::IpAddr> {
        let word = self.word(key)?;
        word.parse().map_err(|_| self.wrong(key, format!("{word:?} is no address: give one like 192.168.1.2, without a prefix"))).ok()
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)], otherwise: T) -> T {
        let Some(value) = self.value(key) else { return otherwise };
        let word = value.get_ref().as_str().unwrap_or_default();
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return *choice;
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.wrong(key, format!("give {}", names.join(" or ")));
        otherwise
    }

    /// Whether a key has a word in quotes, rather than something else or nothing.
    pub(super) fn is_word(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().as_str().is_some())
    }

    pub(super) fn flag(&self, key: &str, otherwise: bool) -> bool {
        let Some(value) = self.value(key) else { return otherwise };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(key, "give true or false");
            otherwise
        })
    }

    /// A whole number of a range.
    pub(super) fn number<T: FromStr + PartialOrd + Display>(&self, key: &str, range: &RangeInclusive<T>) -> Option<T> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', "").parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(key, format!("give a number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// Words in brackets, each with where it stands.
    pub(super) fn words(&self, key: &str) -> Vec<(&'a str, Range<usize>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, "give words in brackets, like [\"one\", \"two\"]");
            return Vec::new();
        };
        let mut all = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(word) => all.push((word, item.span())),
                None => self.mistakes.at(item.span(), format!("{}: give words in quotes", self.name(key))),
            }
        }
        all
    }

    /// Keys and words.
    pub(super) fn pairs(&self, key: &str) -> Vec<(String, String, Range<usize>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, "give keys and words, like { rack = \"a\" }");
            return Vec::new();
        };
        let mut all = Vec::new();
        for (name, value) in table.iter() {
            match value.get_ref().as_str() {
                Some(word) => all.push((name.get_ref().to_string(), word.to_owned(), value.span())),
                None => {
                    let text =
                        format!("{}.{}: give a word in quotes; a key with dots stands in quotes, too", self.name(key), name.get_ref());
                    self.mistakes.at(value.span(), text);
                }
            }
        }
        all
    }

    /// The table of a key.
    pub(super) fn node(&self, key: &str, keys: &[&str]) -> Option<Node<'a>> {
        let value = self.value(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Node::new(self.mistakes, table, value.span(), self.name(key), keys)),
            None => {
                self.wrong(key, format!("it begins with [{}]", self.name(key)));
                None
            }
        }
    }

    /// The tables of a key, which are counted from 1.
    pub(super) fn nodes(&self, key: &str, keys: &[&str]) -> Vec<Node<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.get_ref().as_array().map(|items| items.iter().collect::<Vec<_>>()).unwrap_or_default();
        let tables: Vec<_> = items.iter().filter_map(|item| Some((item.get_ref().as_table()?, item.span()))).collect();
        if tables.is_empty() || tables.len() < items.len() {
            self.wrong(key, format!("each begins with [[{}]]", self.name(key)));
        }
        let place = |index: usize| format!("{}[{}]", self.name(key), index + 1);
        tables.into_iter().enumerate().map(|(index, (table, span))| Node::new(self.mistakes, table, span, place(index), keys)).collect()
    }
}
