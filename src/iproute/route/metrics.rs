//! RTA_METRICS: what the words `mtu`, `rtt`, ... set, and how it is printed.

use std::fmt::Write;

use super::super::{Words, WordsError, number};

/// Values by their number (RTAX_*, linux/rtnetlink.h).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Number and value.
    pub values: Vec<(u16, Metric)>,
    /// RTAX_LOCK: a bit for each that path MTU discovery and the like may not change.
    pub lock: u32,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// All but one.
    Number(u32),
    /// RTAX_CC_ALGO
    Text(String),
}

const RTT: u16 = 4;
const RTTVAR: u16 = 5;
const HOPLIMIT: u16 = 10;
const FEATURES: u16 = 12;
const RTO_MIN: u16 = 13;
const QUICKACK: u16 = 15;
const CONGCTL: u16 = 16;
const FASTOPEN: u16 = 17;
/// RTAX_FEATURE_ECN
const ECN: u32 = 1;
/// TCP_CA_NAME_MAX with its end
const LONGEST_NAME: usize = 15;

/// Words by number; two numbers have none that can be set.
const NAMES: [&str; 18] = [
    "",
    "",
    "mtu",
    "window",
    "rtt",
    "rttvar",
    "ssthresh",
    "cwnd",
    "advmss",
    "reordering",
    "hoplimit",
    "initcwnd",
    "features",
    "rto_min",
    "initrwnd",
    "quickack",
    "congctl",
    "fastopen_no_cookie",
];

fn name(index: u16) -> Option<&'static str> {
    NAMES.get(usize::from(index)).copied().filter(|name| !name.is_empty())
}

fn bit(index: u16) -> u32 {
    1_u32.checked_shl(u32::from(index)).unwrap_or_default()
}

impl Metrics {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Reads the value of one of the words.
    pub(super) fn read(&mut self, index: u16, words: &mut Words<'_>) -> Result<(), WordsError> {
        let of = name(index).unwrap_or_default();
        let may_be_locked = !matches!(index, FEATURES | QUICKACK | FASTOPEN);
        // rto_min always is.
        if index == RTO_MIN || (may_be_locked && words.take_if("lock")) {
            self.lock |= bit(index);
        }
        let value = match index {
            RTT => Metric::Number(time(of, words, 8)?),
            RTTVAR => Metric::Number(time(of, words, 4)?),
            RTO_MIN => Metric::Number(time(of, words, 1)?),
            HOPLIMIT => Metric::Number(small(of, words, 255)?),
            QUICKACK | FASTOPEN => Metric::Number(small(of, words, 1)?),
            FEATURES => Metric::Number(feature(words)?),
            CONGCTL => Metric::Text(algorithm(words)?),
            _ => Metric::Number(small(of, words, u32::MAX)?),
        };
        self.values.retain(|(other, _)| *other != index);
        self.values.push((index, value));
        Ok(())
    }

    /// `mtu lock 1400 rtt 10ms `
    pub(super) fn print(&self, out: &mut String) {
        let value = |index| self.values.iter().find(|(other, _)| *other == index).map(|(_, value)| value);
        for index in 2..=FASTOPEN {
            let locked = self.lock & bit(index) != 0;
            let value = value(index);
            if (value.is_none() && !locked) || (index == HOPLIMIT && value == Some(&Metric::Number(u32::MAX))) {
                continue;
            }
            let _ = write!(out, "{} {}", name(index).unwrap_or_default(), if locked { "lock " } else { "" });
            match value {
                Some(Metric::Text(text)) => out.push_str(text),
                Some(Metric::Number(number)) => number_text(index, *number, out),
                None => number_text(index, 0, out),
            }
            out.push(' ');
        }
    }
}

fn number_text(index: u16, number: u32, out: &mut String) {
    match index {
        RTT => time_text(number / 8, out),
        RTTVAR => time_text(number / 4, out),
        RTO_MIN => time_text(number, out),
        FEATURES if number == ECN => out.push_str("ecn"),
        FEATURES if number & ECN != 0 => {
            let _ = write!(out, "ecn {number:#x}");
        }
        FEATURES if number != 0 => {
            let _ = write!(out, "{number:#x}");
        }
        // iproute2 prints nothing at all for no features.
        FEATURES => {
            out.pop();
        }
        _ => {
            let _ = write!(out, "{number}");
        }
    }
}

fn time_text(milliseconds: u32, out: &mut String) {
    if milliseconds < 1000 {
        let _ = write!(out, "{milliseconds}ms");
    } else {
        let _ = write!(out, "{}s", six_digits(f64::from(milliseconds) / 1000.0));
    }
}

/// `%g` of printf(3) for what is 1 or more: six digits that count, no zeroes behind the point.
fn six_digits(value: f64) -> String {
    let plain = |text: String| if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    let rounded = format!("{value:.5e}");
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    match exponent.parse::<usize>() {
        Ok(exponent) if exponent < 6 => plain(format!("{value:.*}", 5 - exponent)),
        Ok(exponent) => format!("{}e+{exponent:02}", plain(digits.to_owned())),
        Err(_) => plain(value.to_string()),
    }
}

fn small(of: &str, words: &mut Words<'_>, most: u32) -> Result<u32, WordsError> {
    words.number(of, most.into()).map(|n| n as u32)
}

fn feature(words: &mut Words<'_>) -> Result<u32, WordsError> {
    match words.value("features")? {
        "ecn" => Ok(ECN),
        other => Err(words.unknown(other)),
    }
}

fn algorithm(words: &mut Words<'_>) -> Result<String, WordsError> {
    let text = words.value("congctl")?;
    if text.is_empty() || text.len() > LONGEST_NAME {
        return Err(words.bad("congctl", text, "the name of a congestion control, such as cubic"));
    }
    Ok(text.to_owned())
}

/// `10ms`, `1.5s`: milliseconds, multiplied. A plain number is taken as the kernel's own unit.
fn time(of: &str, words: &mut Words<'_>, factor: u32) -> Result<u32, WordsError> {
    let text = words.value(of)?;
    scaled(text, factor).ok_or_else(|| words.bad(of, text, "a time such as 10ms or 1.5s"))
}

fn scaled(text: &str, factor: u32) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let value = if digits.contains('.') { digits.parse::<f64>().ok()? } else { number(digits)? as f64 };
    let factor = f64::from(factor);
    let value = match unit.to_ascii_lowercase().as_str() {
        "" => value.ceil(),
        "s" | "sec" | "secs" => (value * 1000.0).ceil() * factor,
        "ms" | "msec" | "msecs" => value.ceil() * factor,
        _ => return None,
    };
    (value <= f64::from(u32::MAX)).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_their_units_and_a_plain_number_is_the_kernels() {
        for (text, wanted) in [
            ("10", Some(10)),
            ("10ms", Some(80)),
            ("1.5s", Some(12_000)),
            ("0.1ms", Some(8)),
            ("1SEC", Some(8000)),
            ("1h", None),
            ("ms", None),
            ("", None),
            ("1.2.3s", None),
            ("99999999999s", None),
        ] {
            assert_eq!(scaled(text, 8), wanted, "{text}");
        }
    }

    #[test]
    fn seconds_print_with_six_digits() {
        for (value, wanted) in
            [(1.0, "1"), (1.5, "1.5"), (1.2345678, "1.23457"), (4_294_967.295, "4.29497e+06"), (123_456.7, "123457"), (1e6, "1e+06")]
        {
            assert_eq!(six_digits(value), wanted);
        }
    }
}
