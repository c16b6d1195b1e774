//! Reading words one after the other, as iproute2 does: abbreviations, numbers in C's notations.

use super::WordsError;

/// The words that are still to be read.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a [String],
    /// Where they stand, for messages: `route add`.
    place: &'static str,
}

impl<'a> Words<'a> {
    /// All words of a command, or those that are left of it.
    pub fn new(words: &'a [String], place: &'static str) -> Self {
        Self { rest: words, place }
    }

    /// The same words at another place of the grammar.
    #[must_use]
    pub fn at(mut self, place: &'static str) -> Self {
        self.place = place;
        self
    }

    /// The next word, which is left where it is.
    pub fn peek(&self) -> Option<&'a str> {
        self.rest.first().map(String::as_str)
    }

    /// The next word.
    pub fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Takes the next word if it is that one.
    pub fn take_if(&mut self, wanted: &str) -> bool {
        let is = self.peek() == Some(wanted);
        if is {
            self.take();
        }
        is
    }

    /// The words that are left.
    pub fn rest(&self) -> &'a [String] {
        self.rest
    }

    /// The value that has to follow the word `of`.
    ///
    /// # Errors
    /// When there is none.
    pub fn value(&mut self, of: &str) -> Result<&'a str, WordsError> {
        self.take().ok_or_else(|| WordsError::Bad(format!("{}: {of} needs a value", self.place)))
    }

    /// The number that has to follow the word `of`, from 0 to `most`; decimal, 0x... or octal with a leading 0.
    ///
    /// # Errors
    /// When there is none, or it is none or too large.
    pub fn number(&mut self, of: &str, most: u64) -> Result<u64, WordsError> {
        let text = self.value(of)?;
        number(text).filter(|n| *n <= most).ok_or_else(|| self.bad(of, text, &format!("a number from 0 to {most}")))
    }

    /// That the value `text` of the word `of` is not what it has to be.
    pub fn bad(&self, of: &str, text: &str, wanted: &str) -> WordsError {
        WordsError::Bad(format!("{}: {of} {text:?} is not {wanted}", self.place))
    }

    /// That a word is not known here.
    pub fn unknown(&self, word: &str) -> WordsError {
        WordsError::Unknown { word: word.to_owned(), place: Some(self.place) }
    }
}

/// A word of the grammar, and what it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Keyword<K> {
    text: &'static str,
    short: bool,
    key: K,
}

/// A word that has to be written out.
pub const fn whole<K: Copy>(text: &'static str, key: K) -> Keyword<K> {
    Keyword { text, short: false, key }
}

/// A word that any beginning of it stands for.
pub const fn short<K: Copy>(text: &'static str, key: K) -> Keyword<K> {
    Keyword { text, short: true, key }
}

/// What a word stands for: the first in the table that it is, or is short for. The order is iproute2's, so that `m` is
/// `metric` here as there.
pub fn keyword<K: Copy>(word: &str, table: &[Keyword<K>]) -> Option<K> {
    let fits = |k: &&Keyword<K>| if k.short { abbreviates(word, k.text) } else { word == k.text };
    table.iter().find(fits).map(|k| k.key)
}

/// Whether a word is the beginning of another.
pub fn abbreviates(word: &str, full: &str) -> bool {
    !word.is_empty() && full.starts_with(word)
}

/// A number as strtoul(3) reads it with base 0, without sign and white space.
pub fn number(text: &str) -> Option<u64> {
    let digits = |digits: &str, base| {
        let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
        if all { u64::from_str_radix(digits, base).ok() } else { None }
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => digits(hex, 16),
        None if text.len() > 1 && text.starts_with('0') => digits(text, 8),
        None => digits(text, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_table_that_fits_wins_and_nothing_is_short_for_none() {
        let table = [short("metric", 1), whole("mtu", 2), short("match", 3)];
        for (word, wanted) in [("m", Some(1)), ("mtu", Some(2)), ("mt", None), ("ma", Some(3)), ("metrics", None), ("", None)] {
            assert_eq!(keyword(word, &table), wanted, "{word:?}");
        }
    }

    #[test]
    fn numbers_are_read_in_the_notations_of_c() {
        for (text, wanted) in [("0", Some(0)), ("10", Some(10)), ("0x1F", Some(31)), ("017", Some(15)), ("08", None), ("0x", None)] {
            assert_eq!(number(text), wanted, "{text}");
        }
        for text in ["", "-1", "+1", "1a", " 1", "18446744073709551616"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
