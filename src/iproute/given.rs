//! Words of `ip route add` and `ip rule add` that are given with an attach: read before anything is done, and made independent
//! of files, so that the same words mean the same later.

use super::names::{LookUps, Names};
use super::words::{Keyword, keyword, short, whole};
use super::{WordsError, route, rule};

/// The word for the guest's interface, whose name is known only later.
pub const INTERFACE: &str = "IF";
/// The word for the interface's own table, whose number is known only later.
pub const OWN_TABLE: &str = "auto";
/// A table that stands for it while the words are read.
const ANY_TABLE: &str = "1001";

/// The words behind `ip route add`, with tables by number, and with `dev IF` where no device is named and one is needed.
///
/// # Errors
/// When a word is wrong, or not known here.
pub fn route(words: &[String], names: &Names) -> Result<Vec<String>, WordsError> {
    let mut words = numeric(words, names);
    let read = |words: &[String]| match route::parse(&readable(words), &lookups(words))? {
        route::Command::Change(_, route) => Ok(route),
        _ => Err(WordsError::Bad("give the words that follow `ip route add`".into())),
    };
    let route = read(&words)?;
    if route.dev.is_none() && route.nexthops.is_empty() && route.nexthop_id.is_none() && !route::leads_nowhere(&route) {
        words.extend(["dev", INTERFACE].map(str::to_owned));
        read(&words)?;
    }
    Ok(words)
}

/// The words behind `ip rule add`, with tables by number.
///
/// # Errors
/// When a word is wrong, or not known here.
pub fn rule(words: &[String], names: &Names) -> Result<Vec<String>, WordsError> {
    let words = numeric(words, names);
    match rule::parse(&readable(&words), &lookups(&words))? {
        rule::Command::Add(_) => Ok(words),
        _ => Err(WordsError::Bad("give the words that follow `ip rule add`".into())),
    }
}

/// Words that stand before a table, in routes and in rules.
const TABLE: [Keyword<()>; 2] = [short("table", ()), whole("lookup", ())];

/// Tables that have a name only in somebody's file, by number.
fn numeric(words: &[String], names: &Names) -> Vec<String> {
    let known = Names::default();
    let mut words = words.to_vec();
    for at in 1..words.len() {
        let (before, word) = (&words[at - 1], &words[at]);
        // `t` is tos in neither grammar: what is short for table there is so here.
        let is_table = before.len() > 1 && keyword(before, &TABLE).is_some();
        if let Some(id) = names.tables.id(word).filter(|_| is_table && known.tables.id(word).is_none()) {
            words[at] = id.to_string();
        }
    }
    words
}

/// As the parsers take them: with the verb, and with some table in the place of the interface's own.
fn readable(words: &[String]) -> Vec<String> {
    let options = words.iter().take_while(|word| word.starts_with('-')).count();
    let mut all = words.to_vec();
    for at in 1..all.len() {
        if all[at] == OWN_TABLE && keyword(&all[at - 1], &TABLE).is_some() {
            all[at] = ANY_TABLE.to_owned();
        }
    }
    all.insert(options, "add".to_owned());
    all
}

/// Whatever stands behind `dev` counts as there: the interface is made later, and the kernel tells of others.
fn lookups(words: &[String]) -> LookUps {
    let mut lookups = LookUps::default();
    let named = words.windows(2).filter(|pair| matches!(pair[0].as_str(), "dev" | "oif")).map(|pair| pair[1].clone());
    lookups.links.by_index.extend((1..).zip(named.map(|name| vec![name])));
    lookups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn names() -> Names {
        let mut names = Names::default();
        names.tables.add("100 web");
        names
    }

    #[test]
    fn a_route_gets_the_interface_where_it_needs_one_and_tables_become_numbers() {
        for (line, wanted) in [
            ("10.9.0.0/16 via 10.1.1.1", "10.9.0.0/16 via 10.1.1.1 dev IF"),
            ("default via fe80::1 table web metric 5", "default via fe80::1 table 100 metric 5 dev IF"),
            ("-6 default table auto", "-6 default table auto dev IF"),
            ("10.9.0.0/16 dev eth0", "10.9.0.0/16 dev eth0"),
            ("blackhole 10.9.0.0/16", "blackhole 10.9.0.0/16"),
            ("unreachable fd00::/8 metric 9", "unreachable fd00::/8 metric 9"),
            ("10.9.0.0/16 nexthop via 10.1.1.1 nexthop via 10.1.1.2", "10.9.0.0/16 nexthop via 10.1.1.1 nexthop via 10.1.1.2"),
            ("10.9.0.0/16 via 10.1.1.1 table main", "10.9.0.0/16 via 10.1.1.1 table main dev IF"),
        ] {
            assert_eq!(route(&words(line), &names()).unwrap().join(" "), wanted);
        }
    }

    #[test]
    fn a_rule_keeps_its_words() {
        for (line, wanted) in [
            ("from 10.1.1.0/24 lookup web priority 1000", "from 10.1.1.0/24 lookup 100 priority 1000"),
            ("-6 from fd00::/64 lookup auto", "-6 from fd00::/64 lookup auto"),
            ("iif IF lookup 7", "iif IF lookup 7"),
        ] {
            assert_eq!(rule(&words(line), &names()).unwrap().join(" "), wanted);
        }
    }

    #[test]
    fn what_is_not_known_here_is_refused() {
        for line in ["10.9.0.0/16 encap ip id 7", "10.9.0.0/16 via", "10.9.0.0/16 table nowhere", "nonsense", "10.9.0.0/33"] {
            assert!(route(&words(line), &names()).is_err(), "{line}");
        }
        for line in ["from fd00::/64 lookup 100", "from 10.1.1.1 lookup nowhere", "nonsense"] {
            assert!(rule(&words(line), &names()).is_err(), "{line}");
        }
    }
}
