//! policy.toml: read with all its mistakes, each with its line.

use std::ops::Range;

use ipnetwork::IpNetwork;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::asked::{Giver, Kind, Opt};
use super::scope::{AddressWord, Scope, VlanWord};
use super::{Otherwise, Policy, Rule, Whom, usual};
use crate::model::intent::glob::Glob;
use crate::model::topology::Located;

type Value<'a> = Spanned<DeValue<'a>>;

const TOP: [&str; 2] = ["otherwise", "rules"];
const RULE: [&str; 7] = ["name", "images", "containers", "labels", "user_namespace", "allow", "deny"];
const SCOPE: [&str; 5] = ["parents", "vlans", "addresses", "kinds", "options"];

pub(super) fn read(text: &str) -> Result<Policy, Vec<Located>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, wrong: Vec::new() };
    for error in &errors {
        let said: Vec<&str> = error.message().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        reader.wrong_at(error.span().unwrap_or_default(), said.join(", "));
    }
    // What a broken file seems to say is no policy.
    let policy = if errors.is_empty() { reader.policy(document.get_ref()) } else { Policy::default() };
    reader.wrong.sort_by_key(|wrong| wrong.line);
    if reader.wrong.is_empty() { Ok(policy) } else { Err(reader.wrong) }
}

struct Reader<'a> {
    text: &'a str,
    wrong: Vec<Located>,
}

/// From a word of the file to what it means, or what is wrong with it.
type Parse<'p, T> = &'p dyn Fn(&str) -> Result<Vec<T>, String>;

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn wrong_at(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.wrong.push(Located { line: Some(self.line(span.start)), text: text.into() });
    }

    /// Notes keys that nobody knows: what they are meant to forbid would be allowed.
    fn known(&mut self, table: &DeTable<'_>, keys: &[&str], place: &str) {
        for key in table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            self.wrong_at(key.span(), format!("{place}{} is no key here: there are {}", key.get_ref(), keys.join(", ")));
        }
    }

    fn policy(&mut self, document: &DeTable<'_>) -> Policy {
        self.known(document, &TOP, "");
        let otherwise = match document.get("otherwise").map(|value| (value, value.get_ref().as_str())) {
            None | Some((_, Some("deny"))) => Otherwise::Deny,
            Some((_, Some("usual"))) => Otherwise::Usual,
            Some((value, _)) => {
                self.wrong_at(value.span(), "otherwise: give \"deny\", or \"usual\" for what holds without a file");
                Otherwise::Deny
            }
        };
        let mut rules: Vec<Rule> = Vec::new();
        match document.get("rules").map(|value| (value, value.get_ref().as_array())) {
            None => {}
            Some((_, Some(items))) => {
                for (index, item) in items.iter().enumerate() {
                    let Some(rule) = self.rule(item, &format!("rules[{}]", index + 1)) else { continue };
                    if let Some(first) = rules.iter().find(|first| first.name == rule.name) {
                        self.wrong_at(
                            item.span(),
                            format!("rules[{}].name: {:?} is that of line {}, too", index + 1, rule.name, first.line),
                        );
                    }
                    rules.push(rule);
                }
            }
            Some((value, None)) => self.wrong_at(value.span(), "rules: each begins with [[rules]]"),
        }
        Policy { rules, otherwise }
    }

    fn rule(&mut self, item: &Value<'_>, place: &str) -> Option<Rule> {
        let Some(table) = item.get_ref().as_table() else {
            self.wrong_at(item.span(), format!("{place}: each begins with [[rules]]"));
            return None;
        };
        let before = self.wrong.len();
        self.known(table, &RULE, &format!("{place}."));
        let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default();
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            let span = table.get("name").map_or(item.span(), Spanned::span);
            self.wrong_at(span, format!("{place}.name: give it a name of up to 64 characters, which refusals tell"));
        }
        let whom = self.whom(table, place);
        let allow = table.get("allow").and_then(|value| self.scope(value, &format!("{place}.allow"), true));
        let deny = table.get("deny").and_then(|value| self.scope(value, &format!("{place}.deny"), false));
        if !table.contains_key("allow") && !table.contains_key("deny") {
            self.wrong_at(
                item.span(),
                format!("{place}: it says neither what it allows nor what it denies: give allow = {{ ... }} or deny = {{ ... }}"),
            );
        }
        let line = self.line(item.span().start);
        (self.wrong.len() == before).then(|| Rule { name: name.to_owned(), line, whom, allow, deny })
    }

    fn whom(&mut self, table: &DeTable<'_>, place: &str) -> Whom {
        let mut globs = |key: &str| table.get(key).map(|value| self.list(value, &format!("{place}.{key}"), false, &glob));
        let (images, containers) = (globs("images"), globs("containers"));
        let user_namespace = table.get("user_namespace").and_then(|value| {
            let is = value.get_ref().as_bool();
            if is.is_none() {
                self.wrong_at(value.span(), format!("{place}.user_namespace: give true or false"));
            }
            is
        });
        let labels = table.get("labels").map(|value| self.labels(value, &format!("{place}.labels"))).unwrap_or_default();
        Whom { images, containers, labels, user_namespace }
    }

    fn labels(&mut self, value: &Value<'_>, place: &str) -> Vec<(String, Glob)> {
        let Some(table) = value.get_ref().as_table().filter(|table| !table.is_empty()) else {
            self.wrong_at(value.span(), format!("{place}: give keys and patterns, like {{ team = \"web*\" }}"));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (key, value) in table.iter() {
            match value.get_ref().as_str() {
                Some(pattern) => all.push((key.get_ref().to_string(), Glob::new(pattern))),
                // labels.com.x = "..." is a table in a table in TOML.
                None => self.wrong_at(
                    value.span(),
                    format!("{place}.{}: give a pattern in quotes; a key with dots stands in quotes, too", key.get_ref()),
                ),
            }
        }
        all
    }

    fn scope(&mut self, value: &Value<'_>, place: &str, allows: bool) -> Option<Scope> {
        let table = match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() => table,
            DeValue::String(word) if word == "everything" => return Some(Scope { everything: true, ..Scope::default() }),
            DeValue::String(word) if word == "usual" && allows => return Some(usual::usual()),
            _ => {
                let words = if allows { "\"usual\" or \"everything\"" } else { "\"everything\"" };
                self.wrong_at(value.span(), format!("{place}: give keys of {}, or {words}", SCOPE.join(", ")));
                return None;
            }
        };
        self.known(table, &SCOPE, &format!("{place}."));
        let at = |key: &str| (table.get(key), format!("{place}.{key}"));
        Some(Scope {
            parents: self.optional(at("parents"), false, &glob),
            vlans: self.optional(at("vlans"), true, &vlan),
            addresses: self.optional(at("addresses"), false, &address),
            kinds: self.optional(at("kinds"), false, &|word| named(word, Kind::ALL, usual::KINDS, Kind::name)),
            options: self.optional(at("options"), false, &|word| named(word.trim_start_matches('-'), Opt::ALL, usual::OPTIONS, Opt::name)),
            everything: false,
        })
    }

    fn optional<T>(&mut self, (value, place): (Option<&Value<'_>>, String), numbers: bool, parse: Parse<'_, T>) -> Option<Vec<T>> {
        value.map(|value| self.list(value, &place, numbers, parse))
    }

    /// A word, or several in brackets. A list of nothing is a mistake: it would deny nothing.
    fn list<T>(&mut self, value: &Value<'_>, place: &str, numbers: bool, parse: Parse<'_, T>) -> Vec<T> {
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.wrong_at(value.span(), format!("{place}: it lists nothing: leave it out, or give what is meant"));
        }
        let mut all = Vec::new();
        for item in items {
            let word = match item.get_ref() {
                DeValue::String(word) => word.to_string(),
                DeValue::Integer(number) if numbers && number.radix() == 10 => number.as_str().to_owned(),
                _ => {
                    self.wrong_at(item.span(), format!("{place}: give words in quotes{}", if numbers { ", or numbers" } else { "" }));
                    continue;
                }
            };
            match parse(&word) {
                Ok(words) => all.extend(words),
                Err(why) => self.wrong_at(item.span(), format!("{place}: {why}")),
            }
        }
        all
    }
}

fn glob(word: &str) -> Result<Vec<Glob>, String> {
    if word.is_empty() || word.chars().any(char::is_control) {
        return Err(format!("{word:?} is no pattern: give a name, in which * is any text and ? any character"));
    }
    Ok(vec![Glob::new(word)])
}

fn vlan(word: &str) -> Result<Vec<VlanWord>, String> {
    if word == "none" {
        return Ok(vec![VlanWord::None]);
    }
    let range = word.parse().map_err(|_| format!("{word:?} is no VLAN: give 1 to 4094, FIRST-LAST, or \"none\" for no tag"))?;
    Ok(vec![VlanWord::Range(range)])
}

fn address(word: &str) -> Result<Vec<AddressWord>, String> {
    if word == "none" {
        return Ok(vec![AddressWord::None]);
    }
    if let Some(giver) = Giver::ALL.iter().find(|giver| giver.name() == word) {
        return Ok(vec![AddressWord::By(*giver)]);
    }
    let network: IpNetwork = word.parse().map_err(|_| {
        let givers: Vec<&str> = Giver::ALL.iter().map(|giver| giver.name()).collect();
        format!("{word:?} is no address range: give one like 192.168.1.0/24, \"none\", or {}", givers.join(", "))
    })?;
    if network.ip() != network.network() {
        return Err(format!("{word} has bits set behind its prefix: {}/{} is the range", network.network(), network.prefix()));
    }
    Ok(vec![AddressWord::Range(network)])
}

/// A name out of a list, or `usual` or `all` for several.
fn named<T: Copy>(word: &str, all: &[T], usual: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>, String> {
    match word {
        "usual" => Ok(usual.to_vec()),
        "all" => Ok(all.to_vec()),
        _ => match all.iter().find(|one| name(**one) == word) {
            Some(one) => Ok(vec![*one]),
            None => {
                let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
                Err(format!("{word:?} is not known: there are usual, all, {}", names.join(", ")))
            }
        },
    }
}
