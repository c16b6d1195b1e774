//! Rates, sizes, times and parts: read as tc reads them, kept exactly, and printed so that tc reads the same.

use std::fmt;

use crate::model::units;

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u32);

/// Microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(u32);

/// Ten thousandths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

/// The most that is a rate of a link: a terabit per second is more than any has.
const MOST_RATE: u64 = 1_000_000_000_000 / 8;

impl Bandwidth {
    /// `10mbit`, `1.5mbps`, bare bits per second; `None` when it is none, less than a byte per second or more than a terabit.
    pub fn parse(text: &str) -> Option<Self> {
        units::rate(text).filter(|rate| (1..=MOST_RATE).contains(rate)).map(Self)
    }

    /// In bytes per second.
    pub fn bytes_per_second(self) -> u64 {
        self.0
    }
}

impl Bytes {
    /// `64kb`, bare bytes; `None` when it is none, or nothing.
    pub fn parse(text: &str) -> Option<Self> {
        units::size(text).filter(|size| *size > 0).map(Self)
    }

    /// So many of them.
    pub fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Micros {
    /// `100ms`, `1.5s`; bare numbers are refused, since tc takes them for microseconds and people do not.
    pub fn parse(text: &str) -> Option<Self> {
        if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') && text != "0" {
            return None;
        }
        units::time(text).map(Self)
    }

    /// In microseconds.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Percent {
    /// `0.3%`, `30`.
    pub fn parse(text: &str) -> Option<Self> {
        units::percent(text).map(|part| Self((part * 1e6).round() as u32))
    }
}

/// The number in the largest unit that it is a multiple of.
fn exact(number: u64, unit: u64, names: &[&str]) -> String {
    let mut rest = number;
    let mut names = names.iter();
    let mut name = names.next();
    while let (true, Some(next)) = (rest > 0 && rest.is_multiple_of(unit), names.next()) {
        rest /= unit;
        name = Some(next);
    }
    format!("{rest}{}", name.unwrap_or(&""))
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(self.0 * 8, 1000, &["bit", "kbit", "mbit", "gbit", "tbit"]))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(self.0.into(), 1024, &["b", "kb", "mb", "gb"]))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(self.0.into(), 1000, &["us", "ms", "s"]))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 1e4)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantities_print_as_something_that_is_read_as_the_same() {
        for (text, wanted) in [("10Mbit", "10mbit"), ("1.5mbps", "12mbit"), ("1234568", "1234568bit"), ("1gibit", "1073741824bit")] {
            let rate = Bandwidth::parse(text).unwrap();
            assert_eq!((rate.to_string().as_str(), Bandwidth::parse(wanted)), (wanted, Some(rate)));
        }
        for (text, wanted) in [("64kb", "64kb"), ("65536", "64kb"), ("1540", "1540b"), ("2m", "2mb")] {
            assert_eq!(Bytes::parse(text).unwrap().to_string(), wanted);
        }
        for (text, wanted) in [("100ms", "100ms"), ("0.1s", "100ms"), ("1500us", "1500us"), ("0", "0us"), ("2s", "2s")] {
            assert_eq!(Micros::parse(text).unwrap().to_string(), wanted);
        }
        for (text, wanted) in [("0.3%", "0.3%"), ("30", "30%"), ("100%", "100%"), ("0.0001%", "0.0001%")] {
            assert_eq!(Percent::parse(text).unwrap().to_string(), wanted);
        }
        assert!(Bandwidth::parse("0").is_none() && Bandwidth::parse("2tbit").is_none() && Micros::parse("100").is_none());
    }
}
