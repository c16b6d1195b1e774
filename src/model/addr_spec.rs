//! The address word: addresses and gateways of both families in one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::error::InputError;
use super::types::{Family, IfAddr, check_unicast, serde_as_text};

/// The address word: `<ip>/<prefix>[,...][@<gateway>[,...]]`, or `0/0[@<gateway>[,...]]` for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddrSpec {
    /// The interface's addresses, each another one; none for `0/0`.
    pub addrs: Vec<IfAddr>,
    /// The guest's new default gateways, at most one of a family.
    pub gateways: Vec<IpAddr>,
}

impl AddrSpec {
    /// Whether there is neither an address nor a gateway.
    pub fn is_empty(&self) -> bool {
        self.addrs.is_empty() && self.gateways.is_empty()
    }

    /// The first address, if any: the one that stands for all where there is room for one.
    pub fn first(&self) -> Option<IfAddr> {
        self.addrs.first().copied()
    }

    /// The first gateway, if any.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateways.first().copied()
    }

    /// The addresses of a family.
    pub fn of(&self, family: Family) -> impl Iterator<Item = IfAddr> + '_ {
        self.addrs.iter().copied().filter(move |addr| addr.family() == family)
    }

    /// The gateway of a family.
    pub fn gateway_of(&self, family: Family) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| Family::of(*gateway) == family)
    }

    /// Whether an address or a gateway is of the family.
    pub fn has_family(&self, family: Family) -> bool {
        self.of(family).next().is_some() || self.gateway_of(family).is_some()
    }

    /// Whether a gateway lies in the subnet of one of the addresses.
    pub fn contains(&self, gateway: IpAddr) -> bool {
        self.addrs.iter().any(|addr| addr.contains(gateway))
    }

    fn check_gateway(&self, gateway: IpAddr) -> Result<(), InputError> {
        let refuse = |why: &str| Err(InputError::Gateway { text: gateway.to_string(), why: why.to_owned() });
        let family = Family::of(gateway);
        if !self.addrs.is_empty() && self.of(family).next().is_none() {
            let several = self.addrs.len() > 1;
            return refuse(if several { "no address is of its family" } else { "it is not of the address's family" });
        }
        if self.addrs.iter().any(|addr| addr.ip() == gateway) {
            return refuse("it is the address itself");
        }
        if self.addrs.iter().any(|addr| addr.broadcast().is_some_and(|brd| IpAddr::V4(brd) == gateway)) {
            return refuse("it is the broadcast address of the subnet");
        }
        Ok(())
    }
}

impl FromStr for AddrSpec {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: String| InputError::Address { text: text.to_owned(), why };
        let mut parts = text.split('@');
        let addrs = parts.next().unwrap_or_default();
        // As in the original an empty gateway is none: scripts write "$IP@$GATEWAY".
        let gateways = parts.next().filter(|g| !g.is_empty());
        if parts.next().is_some() {
            return Err(refuse("it has more than one @: several gateways are written with a comma, one of each family".into()));
        }
        let mut spec = Self::default();
        if !is_none(addrs) {
            for word in addrs.split(',') {
                spec.add(word, &refuse)?;
            }
        }
        for word in gateways.into_iter().flat_map(|words| words.split(',')) {
            let gateway = parse_gateway(word)?;
            if let Some(other) = spec.gateway_of(Family::of(gateway)) {
                return Err(refuse(format!(
                    "it has two {} gateways, {other} and {gateway}: a family has one default gateway",
                    Family::of(gateway)
                )));
            }
            spec.check_gateway(gateway)?;
            spec.gateways.push(gateway);
        }
        Ok(spec)
    }
}

impl AddrSpec {
    fn add(&mut self, word: &str, refuse: &dyn Fn(String) -> InputError) -> Result<(), InputError> {
        if is_none(word) {
            return Err(refuse(format!("{word} means no address, and stands alone")));
        }
        if word.is_empty() {
            return Err(refuse("there is nothing on one side of a comma".into()));
        }
        let addr: IfAddr = word.parse()?;
        if self.addrs.iter().any(|other| other.ip() == addr.ip()) {
            return Err(refuse(format!("it has {} twice", addr.ip())));
        }
        self.addrs.push(addr);
        Ok(())
    }
}

fn is_none(word: &str) -> bool {
    matches!(word, "0/0" | "0.0.0.0/0" | "::/0")
}

fn parse_gateway(text: &str) -> Result<IpAddr, InputError> {
    let refuse = |why: &str| InputError::Gateway { text: text.to_owned(), why: why.to_owned() };
    let ip: IpAddr = text.parse().map_err(|_| refuse("it is not an IPv4 or IPv6 address"))?;
    check_unicast(ip).map_err(refuse)?;
    Ok(ip)
}

impl fmt::Display for AddrSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addrs.is_empty() {
            f.write_str("0/0")?;
        }
        for (n, addr) in self.addrs.iter().enumerate() {
            write!(f, "{}{addr}", if n == 0 { "" } else { "," })?;
        }
        for (n, gateway) in self.gateways.iter().enumerate() {
            write!(f, "{}{gateway}", if n == 0 { "@" } else { "," })?;
        }
        Ok(())
    }
}

serde_as_text!(AddrSpec);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_and_gateways_of_both_families_stand_in_one_word() {
        let text = "192.168.1.10/24,fd00::10/64@192.168.1.1,fd00::1";
        let spec: AddrSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), text);
        assert_eq!(spec.first().unwrap().to_string(), "192.168.1.10/24");
        assert_eq!(spec.gateway_of(Family::Inet6).unwrap().to_string(), "fd00::1");
        assert_eq!(spec.of(Family::Inet6).map(|a| a.to_string()).collect::<Vec<_>>(), ["fd00::10/64"]);
        for text in ["0/0", "0/0@10.1.1.1", "0/0@10.1.1.1,fe80::1", "10.1.1.2/24,10.1.1.3/24@10.1.1.1", "10.1.1.2/24,fd00::2/64@fd00::1"] {
            assert_eq!(text.parse::<AddrSpec>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.1.2/24@".parse::<AddrSpec>().unwrap().to_string(), "10.1.1.2/24");
        assert!("0.0.0.0/0".parse::<AddrSpec>().unwrap().is_empty());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_reason() {
        for (text, why) in [
            ("10.1.1.2/24@10.1.1.1@10.1.1.3", "with a comma, one of each family"),
            ("10.1.1.2/24@10.1.1.1,10.1.1.3", "two IPv4 gateways, 10.1.1.1 and 10.1.1.3"),
            ("10.1.1.2/24@fd00::1", "it is not of the address's family"),
            ("10.1.1.2/24,10.1.2.2/24@fd00::1", "no address is of its family"),
            ("10.1.1.2/24,10.1.1.2/16", "10.1.1.2 twice"),
            ("10.1.1.2/24,10.1.1.3/24@10.1.1.3", "it is the address itself"),
            ("fd00::2/64,10.1.1.2/24@10.1.1.255", "broadcast address"),
            ("0/0,10.1.1.2/24", "stands alone"),
            ("10.1.1.2/24,", "one side of a comma"),
            ("10.1.1.2/24@10.1.1.1,", "not an IPv4 or IPv6 address"),
            ("10.1.1.2,10.1.1.3/24", "Maybe you meant 10.1.1.2/24"),
        ] {
            let error = text.parse::<AddrSpec>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
