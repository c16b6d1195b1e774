//! Rates, times, sizes and percents as tc reads and prints them (tc(8), "PARAMETERS"). What settings need too is in [`crate::model::units`].

use crate::model::units::{KIBI, MEBI, scaled};
pub use crate::model::units::{percent, rate, rate32, size, time};

/// A size in bytes, and the logarithm of the cell behind a `/` (a power of two).
pub fn size_and_cell(text: &str) -> Option<(u32, Option<u8>)> {
    let Some((bytes, cell)) = text.split_once('/') else { return size(text).map(|bytes| (bytes, None)) };
    let cell = crate::iproute::number(cell).filter(|cell| cell.is_power_of_two() && *cell < 1 << 31)?;
    Some((size(bytes)?, Some(cell.trailing_zeros() as u8)))
}

/// A time in nanoseconds: as [`time()`], but bare nanoseconds.
pub fn time64(text: &str) -> Option<i64> {
    let units: [(&[&str], f64); 4] = [
        (&["", "ns", "nsec", "nsecs"], 1.0),
        (&["us", "usec", "usecs"], 1e3),
        (&["ms", "msec", "msecs"], 1e6),
        (&["s", "sec", "secs"], 1e9),
    ];
    scaled(text, &units).filter(|time| *time < 9e18).map(|time| time as i64)
}

/// A part of 1 as netem has it: 2^32-1 is certain.
pub fn part(part: f64) -> u32 {
    (part * f64::from(u32::MAX)).round_ties_even() as u32
}

/// A number to base 10.
pub fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A number to base 16, with or without `0x`.
pub fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// A number with a sign, in the notations of C.
pub fn signed(text: &str) -> Option<i32> {
    let (digits, negative) = text.strip_prefix('-').map_or((text, false), |digits| (digits, true));
    let number = i64::try_from(crate::iproute::number(digits)?).ok()?;
    i32::try_from(if negative { -number } else { number }).ok()
}

/// A MAC address: six numbers in hexadecimal with colons between.
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() <= 2)?;
        *octet = hexadecimal(part)?.try_into().ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// A rate as tc prints it, from bytes per second: `10Mbit`, `1500Kbit`.
pub fn show_rate(rate: u64) -> String {
    let mut rest = rate.wrapping_mul(8);
    let mut unit = 0;
    while unit < 4 && rest >= 1000 && (rest.is_multiple_of(1000) || rest >= 1_000_000) {
        rest /= 1000;
        unit += 1;
    }
    format!("{rest}{}bit", ["", "K", "M", "G", "T"][unit])
}

/// A size as tc prints it: `10Kb`, `1540b`.
pub fn show_size(size: u32) -> String {
    let near = |unit: f64| (f64::from(size) / unit).round_ties_even();
    if size >= 1 << 20 && (MEBI * near(MEBI) - f64::from(size)).abs() < 1024.0 {
        format!("{}Mb", general(near(MEBI), 6))
    } else if size >= 1024 && (KIBI * near(KIBI) - f64::from(size)).abs() < 16.0 {
        format!("{}Kb", general(near(KIBI), 6))
    } else {
        format!("{size}b")
    }
}

/// Microseconds as tc prints them: `100ms`, `1.5s`, `10us`.
pub fn show_time(time: u32) -> String {
    match f64::from(time) {
        us if us >= 1e6 => format!("{}s", general(us / 1e6, 3)),
        us if us >= 1e3 => format!("{}ms", general(us / 1e3, 3)),
        _ => format!("{time}us"),
    }
}

/// Nanoseconds as tc prints them.
pub fn show_time64(time: i64) -> String {
    match time as f64 {
        ns if ns >= 1e9 => format!("{}s", general(ns / 1e9, 3)),
        ns if ns >= 1e6 => format!("{}ms", general(ns / 1e6, 3)),
        ns if ns >= 1e3 => format!("{}us", general(ns / 1e3, 3)),
        _ => format!("{time}ns"),
    }
}

/// A part of 2^32-1 as tc prints it: `0.3%`.
pub fn show_part(part: u32) -> String {
    format!("{}%", general(100.0 * f64::from(part) / f64::from(u32::MAX), 6))
}

/// printf(3)'s `%.{digits}g`.
pub fn general(value: f64, digits: usize) -> String {
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let digits = digits as i64;
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(digits - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_printf_prints_them() {
        for (value, digits, wanted) in [
            (0.0, 6, "0"),
            (0.3, 6, "0.3"),
            (25.0, 6, "25"),
            (100.0, 3, "100"),
            (1000.0, 3, "1e+03"),
            (1234.5, 3, "1.23e+03"),
            (999.5, 3, "1e+03"),
            (0.000_012_3, 6, "1.23e-05"),
            (33.333_333_3, 6, "33.3333"),
            (4096.0, 6, "4096"),
        ] {
            assert_eq!(general(value, digits), wanted, "{value}");
        }
    }

    #[test]
    fn rates_sizes_times_and_percents_are_read_as_tc_reads_them() {
        for (text, wanted) in [
            ("8", Some(1)),
            ("10mbit", Some(1_250_000)),
            ("1.5Mbps", Some(1_500_000)),
            ("1kibit", Some(128)),
            ("1e3bit", Some(125)),
            ("10gbit", Some(1_250_000_000)),
            ("0x10", Some(2)),
            ("mbit", None),
            ("1mb", None),
            ("-1mbit", None),
            ("", None),
        ] {
            assert_eq!(rate(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("1540", Some(1540)),
            ("10k", Some(10240)),
            ("1.5kb", Some(1536)),
            ("1kbit", Some(128)),
            ("2M", Some(2 << 20)),
            ("4g", None),
            ("1x", None),
        ] {
            assert_eq!(size(text), wanted, "{text}");
        }
        for (text, wanted) in
            [("100ms", Some(100_000)), ("1.5s", Some(1_500_000)), ("7", Some(7)), ("1us", Some(1)), ("1ns", None), ("5000s", None)]
        {
            assert_eq!(time(text), wanted, "{text}");
        }
        for (text, wanted) in [("30%", Some(0.3)), ("30", Some(0.3)), ("100%", Some(1.0)), ("101%", None), ("3x", None), ("%", None)] {
            assert_eq!(percent(text), wanted, "{text}");
        }
        assert_eq!(size_and_cell("10k/8"), Some((10240, Some(3))));
        assert_eq!(size_and_cell("10k/7"), None);
    }
}
