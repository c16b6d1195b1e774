//! Rates, times, sizes and percents as tc reads them (tc(8), "PARAMETERS").

/// The number in front of a text as strtod(3) finds it, and what follows it. Neither `inf` nor `nan` is a number here.
fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (number, rest) = digits.split_at(end);
        return u64::from_str_radix(number, 16).ok().map(|n| (n as f64, rest));
    }
    let digits = |from: &str| from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
    let mut end = digits(text);
    let mut any = end > 0;
    if let Some(fraction) = text[end..].strip_prefix('.') {
        let length = digits(fraction);
        any |= length > 0;
        end += 1 + length;
    }
    if !any {
        return None;
    }
    end += exponent(&text[end..]);
    let (number, rest) = text.split_at(end);
    number.parse().ok().map(|n| (n, rest))
}

/// How long an exponent in front of the text is; 0 when there is none.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    if digits == 0 { 0 } else { text.len() - unsigned.len() + digits }
}

/// What a number with a unit comes to. The units are compared without regard to case; the first is meant when none is given.
pub(crate) fn scaled(text: &str, units: &[(&[&str], f64)]) -> Option<f64> {
    let (number, unit) = leading(text)?;
    let unit = unit.to_ascii_lowercase();
    let (_, scale) = units.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
    Some(number * scale)
}

pub(crate) const KIBI: f64 = 1024.0;
pub(crate) const MEBI: f64 = KIBI * KIBI;
const GIBI: f64 = KIBI * MEBI;
const TEBI: f64 = KIBI * GIBI;

const RATES: [(&[&str], f64); 18] = [
    (&["", "bit"], 1.0),
    (&["kibit"], KIBI),
    (&["kbit"], 1e3),
    (&["mibit"], MEBI),
    (&["mbit"], 1e6),
    (&["gibit"], GIBI),
    (&["gbit"], 1e9),
    (&["tibit"], TEBI),
    (&["tbit"], 1e12),
    (&["bps"], 8.0),
    (&["kibps"], 8.0 * KIBI),
    (&["kbps"], 8e3),
    (&["mibps"], 8.0 * MEBI),
    (&["mbps"], 8e6),
    (&["gibps"], 8.0 * GIBI),
    (&["gbps"], 8e9),
    (&["tibps"], 8.0 * TEBI),
    (&["tbps"], 8e12),
];

/// A rate in bytes per second: `10mbit`, `1.5mbps`, bare bits per second.
pub fn rate(text: &str) -> Option<u64> {
    scaled(text, &RATES).map(|bits| (bits / 8.0) as u64)
}

/// A rate in bytes per second that fits into 32 bits.
pub fn rate32(text: &str) -> Option<u32> {
    rate(text).and_then(|rate| rate.try_into().ok())
}

/// A size in bytes: `10k`, `1.5mb`, `100kbit`. `k` is 1024 and `kbit` 128 bytes.
pub fn size(text: &str) -> Option<u32> {
    let units: [(&[&str], f64); 7] = [
        (&["", "b"], 1.0),
        (&["k", "kb"], KIBI),
        (&["m", "mb"], MEBI),
        (&["g", "gb"], GIBI),
        (&["kbit"], KIBI / 8.0),
        (&["mbit"], MEBI / 8.0),
        (&["gbit"], GIBI / 8.0),
    ];
    scaled(text, &units).filter(|size| *size < 4_294_967_296.0).map(|size| size as u32)
}

/// A time in microseconds: `100ms`, `1.5s`, bare microseconds.
pub fn time(text: &str) -> Option<u32> {
    let units: [(&[&str], f64); 3] = [(&["", "us", "usec", "usecs"], 1.0), (&["ms", "msec", "msecs"], 1e3), (&["s", "sec", "secs"], 1e6)];
    scaled(text, &units).filter(|time| *time < 4_294_967_296.0).map(|time| time as u32)
}

/// A percentage from 0 to 100 as a part of 1: `30%`, or without the sign.
pub fn percent(text: &str) -> Option<f64> {
    let (number, rest) = leading(text)?;
    let part = number / 100.0;
    (matches!(rest, "" | "%") && part <= 1.0).then_some(part)
}
