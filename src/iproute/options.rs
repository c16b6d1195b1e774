//! Options of `ip` itself, which stand before the verb: `route web -6 show`.

use super::{Keyword, Words, WordsError, keyword, short, whole};
use crate::model::types::Family;

/// How to ask and how to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-4`, `-6`, `-family`
    pub family: Option<Family>,
    /// `-details`
    pub details: bool,
    /// `-stats`
    pub stats: bool,
    /// `-Numeric`
    pub numeric: bool,
    /// `-oneline`
    pub oneline: bool,
}

#[derive(Clone, Copy)]
enum Key {
    Family,
    Inet,
    Inet6,
    Stats,
    Details,
    Oneline,
    Numeric,
    /// One that only the installed program knows; it does not change what is meant.
    Foreign,
}

/// In the order of iproute2's own look-up, so that short forms mean the same.
const OPTIONS: &[Keyword<Key>] = &[
    short("-family", Key::Family),
    whole("-4", Key::Inet),
    whole("-6", Key::Inet6),
    short("-human-readable", Key::Foreign),
    short("-iec", Key::Foreign),
    short("-statistics", Key::Stats),
    short("-stats", Key::Stats),
    short("-details", Key::Details),
    short("-resolve", Key::Foreign),
    short("-oneline", Key::Oneline),
    short("-timestamp", Key::Foreign),
    short("-tshort", Key::Foreign),
    short("-json", Key::Foreign),
    short("-pretty", Key::Foreign),
    short("-color", Key::Foreign),
    short("-Numeric", Key::Numeric),
    whole("-echo", Key::Foreign),
];

/// Splits the options that stand before the verb from the rest.
pub fn split(words: &[String]) -> (&[String], &[String]) {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|w| is_option(w)) {
        let takes_value = matches!(keyword(plain(word), OPTIONS), Some(Key::Family));
        at += if takes_value { 2 } else { 1 };
    }
    words.split_at(at.min(words.len()))
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// `--details` is `-details`.
fn plain(word: &str) -> &str {
    word.strip_prefix('-').filter(|rest| rest.starts_with('-')).unwrap_or(word)
}

/// Reads the options.
///
/// # Errors
/// When the installed `ip` would be needed, or when one is none of those that may stand here: `-netns` and `-batch` would
/// leave the guest.
pub fn parse(words: &[String]) -> Result<Options, WordsError> {
    let mut options = Options::default();
    let mut foreign = None;
    let mut words = Words::new(words, "options");
    while let Some(word) = words.take() {
        match keyword(plain(word), OPTIONS) {
            Some(Key::Family) => {
                let family = words.value(word)?;
                options.family = Some(match family {
                    "inet" => Family::Inet,
                    "inet6" => Family::Inet6,
                    _ => return Err(words.bad(word, family, "a family that has routes here: inet or inet6")),
                });
            }
            Some(Key::Inet) => options.family = Some(Family::Inet),
            Some(Key::Inet6) => options.family = Some(Family::Inet6),
            Some(Key::Stats) => options.stats = true,
            Some(Key::Details) => options.details = true,
            Some(Key::Oneline) => options.oneline = true,
            Some(Key::Numeric) => options.numeric = true,
            Some(Key::Foreign) => foreign = foreign.or(Some(words.unknown(word))),
            None => {
                return Err(WordsError::Bad(format!(
                    "{word:?} is no option that may stand here: -4, -6, -family, -details, -stats, -Numeric and -oneline may, and with ip installed -json, -pretty, -color, -echo"
                )));
            }
        }
    }
    foreign.map_or(Ok(options), Err)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_end_where_the_verb_begins() {
        for (line, options) in [("-6 show", 1), ("-f inet6 show", 2), ("--details -6", 2), ("show -6", 0), ("-f", 1), ("- x", 0), ("", 0)] {
            assert_eq!(split(&words(line)).0.len(), options, "{line}");
        }
    }

    #[test]
    fn what_would_leave_the_guest_is_refused_whoever_might_know_it() {
        for line in ["-n other", "-netns other", "-b file", "-batch file", "-all", "-force", "-x", "-f mpls"] {
            assert!(matches!(parse(&words(line)), Err(WordsError::Bad(_))), "{line}");
        }
        assert!(matches!(parse(&words("-j -6")), Err(WordsError::Unknown { .. })));
        let wanted = Options { family: Some(Family::Inet6), details: true, stats: true, numeric: true, oneline: true };
        assert_eq!(parse(&words("-4 -6 -d -s -N -o")).unwrap(), wanted);
    }
}
