//! A route that a step makes, and how `ip route` writes it.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use serde::{Deserialize, Serialize};

use crate::model::types::{Family, IfName};

/// A route that is to be made, through a link of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRoute {
    /// A network without host bits, or a single host; everything when absent.
    pub to: Option<IpNetwork>,
    /// The gateway; none for an on-link route.
    pub via: Option<IpAddr>,
    /// The guest's link.
    pub dev: IfName,
    /// Priority; the kernel's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl NewRoute {
    /// Its family.
    pub fn family(&self) -> Family {
        if self.is_ipv6() { Family::Inet6 } else { Family::Inet }
    }

    /// Whether it is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.to.map(|to| to.ip()).or(self.via).is_some_and(|ip| ip.is_ipv6())
    }
}

/// A destination as `ip route` has it: a host without its prefix length.
pub(in crate::model) fn destination(to: &IpNetwork) -> String {
    let host = if to.is_ipv4() { 32 } else { 128 };
    if to.prefix() == host { to.ip().to_string() } else { to.to_string() }
}

impl fmt::Display for NewRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => f.write_str(&destination(&to))?,
            None => f.write_str("default")?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.dev)?;
        self.metric.map_or(Ok(()), |metric| write!(f, " metric {metric}"))
    }
}
