//! Which address of a pool an owner gets.

use std::net::{IpAddr, Ipv6Addr};

use super::{Owner, Pool};

impl Pool {
    /// The first and the last address that is given out.
    pub fn bounds(&self) -> (IpAddr, IpAddr) {
        self.range.unwrap_or_else(|| {
            let (first, last) = (number(self.subnet.network()), number(self.subnet.broadcast()));
            // A /31 or /32 has no address that is not a host's (RFC 3021).
            let is_tiny = last - first < 2;
            let ends = if is_tiny { (first, last) } else { (first + 1, if self.subnet.is_ipv4() { last - 1 } else { last }) };
            (self.address(ends.0), self.address(ends.1))
        })
    }

    /// How many addresses lie between its bounds.
    pub fn size(&self) -> u128 {
        let (first, last) = self.bounds();
        (number(last) - number(first)).saturating_add(1)
    }

    /// How many of these are not given out.
    pub fn kept_back(&self) -> u128 {
        let ends = self.ends().into_iter().flatten();
        let mut all: Vec<IpAddr> = self.reserved.iter().copied().chain(self.gateway).chain(ends).filter(|ip| self.spans(*ip)).collect();
        all.sort_unstable();
        all.dedup();
        all.len() as u128
    }

    /// Whether an address lies between its bounds.
    pub fn spans(&self, ip: IpAddr) -> bool {
        let (first, last) = self.bounds();
        first.is_ipv4() == ip.is_ipv4() && (number(first)..=number(last)).contains(&number(ip))
    }

    /// Why an address is not to be had of it, if it is not.
    pub fn refuses(&self, ip: IpAddr) -> Option<String> {
        let (first, last) = self.bounds();
        if !self.spans(ip) {
            return Some(format!("it gives {first} to {last}"));
        }
        if self.ends().contains(&Some(ip)) {
            return Some("it is the subnet's own, or its broadcast address".into());
        }
        if self.gateway == Some(ip) {
            return Some("it is the gateway".into());
        }
        self.reserved.contains(&ip).then(|| "it is reserved".into())
    }

    /// All its addresses but those kept back, as this owner looks for one: from a place that is the owner's own, round once. Two
    /// owners that come at the same time so rarely want the same, and one that comes again finds what it had when nobody has
    /// taken it.
    pub fn for_owner(&self, owner: &Owner) -> impl Iterator<Item = IpAddr> + '_ {
        let (first, size) = (number(self.bounds().0), self.size());
        let start = u128::from(hash(&owner.to_string())) % size;
        let places = (0..size).map(move |step| if step < size - start { start + step } else { step - (size - start) });
        places.map(move |place| self.address(first + place)).filter(|ip| self.refuses(*ip).is_none())
    }

    /// What no host of an IPv4 subnet has.
    fn ends(&self) -> [Option<IpAddr>; 2] {
        let has_hosts = self.subnet.is_ipv4() && self.subnet.prefix() < 31;
        [self.subnet.network(), self.subnet.broadcast()].map(|ip| has_hosts.then_some(ip))
    }

    /// The number as an address of its family.
    fn address(&self, number: u128) -> IpAddr {
        let v6 = Ipv6Addr::from_bits(number);
        match self.subnet {
            ipnetwork::IpNetwork::V4(_) => IpAddr::V4(std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap_or_default())),
            ipnetwork::IpNetwork::V6(_) => IpAddr::V6(v6),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// FNV-1a, and a finish by which names that differ in their last letter are far apart (MurmurHash3's). It stays what it is: an
/// owner whose claim was released comes back to its address by it.
fn hash(text: &str) -> u64 {
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    fn pool(subnet: &str, range: Option<(&str, &str)>, gateway: Option<&str>, reserved: &[&str]) -> Pool {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        Pool {
            name: "lan".parse().unwrap(),
            subnet: subnet.parse().unwrap(),
            range: range.map(|(first, last)| (ip(first), ip(last))),
            gateway: gateway.map(ip),
            reserved: reserved.iter().map(|text| ip(text)).collect(),
        }
    }

    fn owner(name: &str) -> Owner {
        name.parse().unwrap()
    }

    #[test]
    fn an_owner_sees_each_address_once_and_none_that_is_kept_back() {
        for (pool, wanted) in [
            (pool("10.0.0.0/24", None, None, &[]), 254),
            (pool("10.0.0.0/24", None, Some("10.0.0.1"), &["10.0.0.1", "10.0.0.7", "10.9.9.9"]), 252),
            (pool("10.0.0.0/24", Some(("10.0.0.100", "10.0.0.109")), Some("10.0.0.1"), &["10.0.0.105"]), 9),
            (pool("10.0.0.0/24", Some(("10.0.0.0", "10.0.0.255")), None, &[]), 254),
            (pool("10.0.0.6/31", None, None, &[]), 2),
            (pool("fd00::/120", None, Some("fd00::1"), &[]), 254),
        ] {
            for name in ["web", "db", "x/1"] {
                let all: Vec<IpAddr> = pool.for_owner(&owner(name)).collect();
                let different: BTreeSet<&IpAddr> = all.iter().collect();
                assert_eq!((all.len(), different.len()), (wanted, wanted), "{pool:?}");
                assert!(all.iter().all(|ip| pool.refuses(*ip).is_none() && pool.subnet.contains(*ip)));
            }
            assert_eq!(pool.size() - pool.kept_back(), wanted as u128);
        }
    }

    #[test]
    fn owners_begin_far_apart_and_always_at_the_same_place() {
        let lan = pool("10.0.0.0/16", None, None, &[]);
        let first = |name: &str| lan.for_owner(&owner(name)).next().unwrap();
        assert_eq!(first("web"), first("web"));
        let firsts: BTreeSet<IpAddr> = (0..100).map(|n| first(&format!("web/{n}"))).collect();
        assert!(firsts.len() > 97, "{}", firsts.len());
        // What the hash is today it has to stay.
        assert_eq!(first("web").to_string(), FIRST_OF_WEB);
        // 2^64 addresses are not counted through.
        assert!(pool("fd00::/64", None, None, &[]).for_owner(&owner("web")).nth(5).is_some());
        assert!(pool("::/0", None, None, &[]).for_owner(&owner("web")).next().is_some());
    }

    const FIRST_OF_WEB: &str = "10.0.236.126";

    #[test]
    fn a_pool_says_why_it_does_not_give_an_address() {
        let lan = pool("10.0.0.0/24", Some(("10.0.0.1", "10.0.0.9")), Some("10.0.0.1"), &["10.0.0.3"]);
        for (ip, why) in
            [("10.0.0.10", "it gives 10.0.0.1 to 10.0.0.9"), ("fd00::1", "it gives"), ("10.0.0.1", "gateway"), ("10.0.0.3", "reserved")]
        {
            assert!(lan.refuses(ip.parse().unwrap()).unwrap().contains(why), "{ip}");
        }
        assert_eq!(lan.refuses("10.0.0.2".parse().unwrap()), None);
        assert!(pool("10.0.0.0/24", None, None, &[]).refuses("10.0.0.255".parse().unwrap()).is_some());
        assert_eq!(lan.with_prefix("10.0.0.2".parse().unwrap()).unwrap().to_string(), "10.0.0.2/24");
    }
}
