//! Who has what on all hosts, as each has noted it in Consul, and where that does not fit together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::verify::Attached;
use crate::lifecycle::claims::Claimed;
use crate::model::pool::Pool;

/// A pool, and what of it is claimed.
pub(super) type PoolClaims<'a> = (&'a Pool, Vec<Claimed>);

/// Addresses that two have, that one has and another host has locked, or that somebody has without a claim.
pub(super) fn conflicts(attached: &[Attached], pools: &[PoolClaims<'_>]) -> Vec<String> {
    let mut holders: BTreeMap<IpAddr, Vec<&Attached>> = BTreeMap::new();
    for one in attached {
        one.addresses.iter().for_each(|addr| holders.entry(*addr).or_default().push(one));
    }
    let of_one = |(addr, all): (IpAddr, Vec<&Attached>)| -> Vec<String> {
        let names: Vec<String> = all.iter().map(|one| format!("{} on {}", one.guest, one.host)).collect();
        if names.len() > 1 {
            return vec![format!("{addr} is attached more than once: {}", names.join(", "))];
        }
        all.iter().filter_map(|one| against_pools(addr, one, pools)).collect()
    };
    holders.into_iter().flat_map(of_one).collect()
}

fn against_pools(addr: IpAddr, one: &Attached, pools: &[PoolClaims<'_>]) -> Option<String> {
    let (pool, claims) = pools.iter().find(|(pool, _)| pool.spans(addr))?;
    let who = format!("{addr} is attached to {} on {}", one.guest, one.host);
    match claims.iter().find(|claimed| claimed.addr == addr) {
        None => Some(format!("{who}, and nobody has claimed it of pool {}: attach it as pool:{}#{addr}", pool.name, pool.name)),
        Some(Claimed { user: Some(user), .. }) if user.host != one.host => {
            Some(format!("{who}, and {} has the use of it, of pool {}", user.host, pool.name))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lifecycle::claims::User;
    use crate::model::pool;

    #[test]
    fn what_does_not_fit_together_is_told_and_what_fits_is_not() {
        let pools = pool::read("[[pools]]\nname = \"lan\"\nsubnet = \"10.0.0.0/24\"\nrange = \"10.0.0.10-10.0.0.20\"\n").unwrap();
        let claimed = |addr: &str, host: Option<&str>| Claimed {
            addr: addr.parse().unwrap(),
            owner: "web".parse().unwrap(),
            since: String::new(),
            seen: String::new(),
            user: host.map(|host| User { host: host.into(), container: None, netns: 1 }),
        };
        let claims = vec![claimed("10.0.0.10", Some("a")), claimed("10.0.0.11", None), claimed("10.0.0.12", Some("b"))];
        let pools = [(&pools[0], claims)];
        let attached = |guest: &str, host: &str, addr: &str| Attached {
            host: host.into(),
            guest: guest.into(),
            addresses: vec![addr.parse().unwrap()],
        };
        let fits = [attached("web", "a", "10.0.0.10"), attached("db", "b", "10.0.0.11"), attached("out", "a", "10.0.0.99")];
        assert_eq!(conflicts(&fits, &pools), Vec::<String>::new());
        let told = conflicts(
            &[
                attached("x", "a", "10.0.0.99"),
                attached("y", "b", "10.0.0.99"),
                attached("z", "a", "10.0.0.12"),
                attached("own", "a", "10.0.0.20"),
            ],
            &pools,
        );
        assert_eq!(
            told,
            [
                "10.0.0.12 is attached to z on a, and b has the use of it, of pool lan",
                "10.0.0.20 is attached to own on a, and nobody has claimed it of pool lan: attach it as pool:lan#10.0.0.20",
                "10.0.0.99 is attached more than once: x on a, y on b",
            ]
        );
    }
}
