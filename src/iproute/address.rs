//! Addresses and prefixes as iproute2 reads and prints them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{WordsError, number};
use crate::model::types::Family;

/// A prefix as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The family: read off the address, or the one that was asked for.
    pub family: Option<Family>,
    /// The address; none in `default`, `all` and `any`.
    pub ip: Option<IpAddr>,
    /// How many bits of it count.
    pub len: u8,
    /// Whether its length was said: `default` says 0, `all` and `any` say nothing.
    pub said: bool,
}

impl Prefix {
    /// Whether the first bits of an address are this prefix's; an absent one is all zeroes.
    pub fn covers(&self, ip: Option<IpAddr>, bits: u8) -> bool {
        first_bits(ip, bits) == first_bits(self.ip, bits)
    }

    /// Whether its address is a single host's.
    pub fn is_host(&self) -> bool {
        self.family.is_some_and(|family| family.host_prefix() == self.len)
    }
}

fn first_bits(ip: Option<IpAddr>, bits: u8) -> u128 {
    let all = match ip {
        Some(IpAddr::V4(ip)) => u128::from(ip.to_bits()) << 96,
        Some(IpAddr::V6(ip)) => ip.to_bits(),
        None => 0,
    };
    128_u32.checked_sub(u32::from(bits)).map_or(all, |unused| all.checked_shr(unused).unwrap_or_default())
}

/// Reads `ADDRESS[/LENGTH]`, `ADDRESS/NETMASK`, `default`, `all` or `any`. `of` is the word that it belongs to.
///
/// # Errors
/// When it is none, or of another family.
pub fn prefix(of: &str, text: &str, family: Option<Family>) -> Result<Prefix, WordsError> {
    let bad = || {
        let kind = kind_text(family, "prefix", "10.1.0.0/16", "fd00::/64");
        WordsError::Bad(format!("{of} {text:?} is no {kind}: give ADDRESS/LENGTH, ADDRESS or default"))
    };
    match text {
        "default" => return Ok(Prefix { family, ip: None, len: 0, said: true }),
        "all" | "any" => return Ok(Prefix { family, ip: None, len: 0, said: false }),
        _ => {}
    }
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (text, None),
    };
    let ip = ip_address(ip).filter(|ip| family.is_none_or(|f| f == Family::of(*ip))).ok_or_else(bad)?;
    let most = Family::of(ip).host_prefix();
    let len = match length {
        Some(length) => prefix_length(length).filter(|len| *len <= most).ok_or_else(bad)?,
        None => most,
    };
    Ok(Prefix { family: Some(Family::of(ip)), ip: Some(ip), len, said: length.is_some() })
}

/// Reads an address. `of` is the word that it belongs to.
///
/// # Errors
/// When it is none, or of another family.
pub fn address(of: &str, text: &str, family: Option<Family>) -> Result<IpAddr, WordsError> {
    let ip = ip_address(text).filter(|ip| family.is_none_or(|f| f == Family::of(*ip)));
    ip.ok_or_else(|| WordsError::Bad(format!("{of} {text:?} is no {}", kind_text(family, "address", "10.1.1.1", "fd00::1"))))
}

/// What was wanted, with an example.
fn kind_text(family: Option<Family>, what: &str, v4: &str, v6: &str) -> String {
    match family {
        Some(Family::Inet) => format!("IPv4 {what} like {v4}"),
        Some(Family::Inet6) => format!("IPv6 {what} like {v6}"),
        None => format!("{what} like {v4} or {v6}"),
    }
}

/// An address; of an IPv4 address the last parts may be missing (`10.1` is 10.1.0.0).
fn ip_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for (n, octet) in octets.iter_mut().enumerate() {
        match parts.next() {
            Some(part) => *octet = number(part).and_then(|n| n.try_into().ok())?,
            None if n > 0 => break,
            None => return None,
        }
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// `24` or `255.255.255.0`.
fn prefix_length(text: &str) -> Option<u8> {
    if let Some(length) = number(text) {
        return length.try_into().ok();
    }
    let IpAddr::V4(mask) = ip_address(text)? else { return None };
    let length = mask.to_bits().leading_ones();
    (mask.to_bits().checked_shl(length).unwrap_or_default() == 0).then_some(length as u8)
}

/// An address as inet_ntop(3) prints it: what was IPv4 once (`::10.1.1.1`) is shown so.
pub fn address_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(v6) if v6.to_bits() >> 32 == 0 && v6.to_bits() > 0xffff => {
            format!("::{}", Ipv4Addr::from_bits((v6.to_bits() & 0xffff_ffff) as u32))
        }
        ip => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn prefixes_are_read_in_all_forms() {
        for (text, ip, len) in [
            ("10.1.0.0/16", "10.1.0.0", 16),
            ("10.1/255.255.0.0", "10.1.0.0", 16),
            ("10", "10.0.0.0", 32),
            ("0x0a.1", "10.1.0.0", 32),
            ("fd00::/64", "fd00::", 64),
            ("::/0", "::", 0),
        ] {
            let read = prefix("to", text, None).unwrap();
            assert_eq!((read.ip.unwrap().to_string().as_str(), read.len), (ip, len), "{text}");
        }
        for text in
            ["", "10.1.0.0/33", "10.1.0.0/255.0.255.0", "256.1", "1.2.3.4.5", "fd00::/129", "eth0", "10.1./8", "default/8", "/", "1.2.3.4/"]
        {
            assert!(prefix("to", text, None).is_err(), "{text}");
        }
        assert!(prefix("to", "10.0.0.0/8", Some(Family::Inet6)).is_err());
        assert_eq!(prefix("to", "default", Some(Family::Inet6)).unwrap().family, Some(Family::Inet6));
    }

    #[test]
    fn a_prefix_covers_what_has_its_bits() {
        let net = prefix("to", "10.1.0.0/16", None).unwrap();
        assert!(net.covers(Some("10.1.2.3".parse().unwrap()), 16) && !net.covers(Some("10.2.0.0".parse().unwrap()), 16));
        assert!(net.covers(None, 0) && !net.covers(None, 16));
        assert!(net.covers(Some("10.1.0.0".parse().unwrap()), 200) && net.covers(Some("10.1.0.0".parse().unwrap()), 32));
    }

    #[test]
    fn addresses_print_as_inet_ntop_prints_them() {
        for text in ["::1", "::", "::ffff", "::10.1.1.1", "::0.1.0.0", "::ffff:10.1.1.1", "fd00::1", "1:0:0:2::", "10.1.1.1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(address_text(ip), text);
        }
    }
}
