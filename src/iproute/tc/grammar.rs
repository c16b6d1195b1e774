//! Reading tc's words: which word of a list is meant, and the values behind words.
//!
//! # Errors
//! Whatever reads a value fails when there is none, or when it is none of its kind; the error says what would be one.

use super::clock::{Clock, LinkLayer};
use super::units;
use crate::iproute::{Words, WordsError, abbreviates};

/// What tc's words need to know of the system.
pub trait Ground {
    /// The packet scheduler's clock.
    fn clock(&self) -> Clock;
    /// The index of a link, if there is one of that name.
    fn index(&self, link: &str) -> Option<u32>;
    /// The speed of a link in Mbit/s, if it is known.
    fn speed(&self, link: &str) -> Option<u64>;
    /// netem's table of a distribution: iproute2's file `NAME.dist`.
    fn distribution(&self, name: &str) -> Option<Vec<i16>>;
}

/// The word of the list that is meant: the first that `word` is or abbreviates. Those with `=` in front cannot be
/// abbreviated. The order of a list is tc's, as it decides about abbreviations.
pub fn pick(word: &str, list: &[&'static str]) -> Option<&'static str> {
    list.iter().find_map(|listed| match listed.strip_prefix('=') {
        Some(exact) => (exact == word).then_some(exact),
        None => abbreviates(word, listed).then_some(*listed),
    })
}

/// The value behind the word `of`, which has to be `wanted`.
pub fn read<T>(words: &mut Words<'_>, of: &str, wanted: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, WordsError> {
    let text = words.value(of)?;
    parse(text).ok_or_else(|| words.bad(of, text, wanted))
}

/// A 32-bit number in C's notations.
pub fn number(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    words.number(of, u64::from(u32::MAX)).map(|n| n as u32)
}

/// A 32-bit number to base 10.
pub fn decimal(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a decimal number", units::decimal)
}

/// A 16-bit number to base 10.
pub fn decimal16(words: &mut Words<'_>, of: &str) -> Result<u16, WordsError> {
    read(words, of, "a number from 0 to 65535", |text| units::decimal(text)?.try_into().ok())
}

/// A size in bytes.
pub fn size(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a size like 1540, 10k or 1mb", units::size)
}

/// A size in bytes, maybe with the size of a cell.
pub fn size_and_cell(words: &mut Words<'_>, of: &str) -> Result<(u32, Option<u8>), WordsError> {
    read(words, of, "a size like 1540, 10k or 10k/8", units::size_and_cell)
}

/// A time in microseconds.
pub fn time(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a time like 100ms, 1.5s or 10us", units::time)
}

/// A time in nanoseconds.
pub fn time64(words: &mut Words<'_>, of: &str) -> Result<i64, WordsError> {
    read(words, of, "a time like 100ms, 10us or 500ns", units::time64)
}

/// A percentage as a part of 2^32-1.
pub fn part(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a percentage like 0.3% or 30%", |text| units::percent(text).map(units::part))
}

/// A rate in bytes per second; with `%` a part of the link's speed.
pub fn rate(words: &mut Words<'_>, of: &str, dev: &str, ground: &dyn Ground) -> Result<u64, WordsError> {
    let text = words.value(of)?;
    let wanted = "a rate like 10mbit, 500kbit or 1mbps";
    if !text.contains('%') {
        return units::rate(text).ok_or_else(|| words.bad(of, text, wanted));
    }
    let part = units::percent(text).ok_or_else(|| words.bad(of, text, "a percentage like 30%, or a rate like 10mbit"))?;
    let speed =
        ground.speed(dev).ok_or_else(|| WordsError::Bad(format!("{of} {text}: the speed of {dev:?} is not known, so give {wanted}")))?;
    // tc has six decimals here, in bits per second.
    let bits = part * speed as f64 * 1e6;
    Ok((bits / 8.0) as u64)
}

/// A rate in bytes per second that has to fit into 32 bits.
pub fn rate32(words: &mut Words<'_>, of: &str, dev: &str, ground: &dyn Ground) -> Result<u32, WordsError> {
    let rate = rate(words, of, dev, ground)?;
    u32::try_from(rate).map_err(|_| WordsError::Bad(format!("{of}: the rate is to be less than 34gbit")))
}

/// What carries the packets.
pub fn linklayer(words: &mut Words<'_>, of: &str) -> Result<LinkLayer, WordsError> {
    read(words, of, "ethernet, atm or adsl", LinkLayer::parse)
}

/// A class, for `classid` and `flowid`.
pub fn class(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a class like 1:10", super::ids::class)
}

/// Whether the next word begins with a digit: values that may be left out are told by that.
pub fn number_follows(words: &Words<'_>) -> bool {
    words.peek().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// As [`number_follows`], with a sign.
pub fn signed_follows(words: &Words<'_>) -> bool {
    number_follows(words) || words.peek().is_some_and(|word| word.starts_with('-'))
}

/// That a word must not be given twice.
pub fn twice(word: &str) -> WordsError {
    WordsError::Bad(format!("{word} is given twice"))
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn a_word_means_the_first_that_it_abbreviates() {
        let list = ["limit", "latency", "=buffer"];
        for (word, wanted) in [
            ("l", Some("limit")),
            ("la", Some("latency")),
            ("limit", Some("limit")),
            ("buf", None),
            ("buffer", Some("buffer")),
            ("", None),
            ("limits", None),
        ] {
            assert_eq!(pick(word, &list), wanted, "{word}");
        }
    }
}
