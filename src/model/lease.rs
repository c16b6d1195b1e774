//! What a DHCP server lends: the same shape for DHCPv4 and DHCPv6.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::op::Op;
use super::types::{IfAddr, MacAddr};

/// A time of 32 ones is for ever (RFC 2131, section 3.3; RFC 8415, section 7.7).
pub const FOREVER: u32 = u32::MAX;

/// How long an address may be used, in seconds from now (IFA_CACHEINFO, linux/if_addr.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// New connections may use it.
    pub preferred: u32,
    /// It may be used at all.
    pub valid: u32,
}

impl Lifetime {
    /// For ever: nobody renews it, and nobody takes it away.
    pub const PERMANENT: Self = Self { preferred: FOREVER, valid: FOREVER };
}

/// A route that came with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRoute {
    /// Where to: a network without host bits; `0.0.0.0/0` is the default route.
    pub to: IpNetwork,
    /// The router; none when the network is on the link itself.
    pub via: Option<Ipv4Addr>,
}

/// What a server lent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address. DHCPv6 has no prefix length: /128.
    pub addr: IfAddr,
    /// The server: its identifier in DHCPv4, the sender's address in DHCPv6.
    pub server: IpAddr,
    /// How long the address may be used.
    pub lifetime: Lifetime,
    /// Seconds until the server is asked to renew (T1).
    pub renew: u32,
    /// Seconds until any server is asked (T2).
    pub rebind: u32,
    /// Routes, the default route among them (RFC 3442: option 121 alone when it is there, else option 3).
    pub routes: Vec<LeaseRoute>,
    /// MTU in bytes (option 26).
    pub mtu: Option<u32>,
    /// DNS servers (option 6; DHCPv6 option 23).
    pub dns: Vec<IpAddr>,
    /// The domain (option 15).
    pub domain: Option<String>,
    /// Domains to search (option 119; DHCPv6 option 24).
    pub search: Vec<String>,
    /// NTP servers (option 42).
    pub ntp: Vec<IpAddr>,
    /// Options that were asked for besides, as they came.
    pub others: Vec<(u8, Vec<u8>)>,
}

impl Lease {
    /// Whether both come to the same in the guest, but for their times.
    pub fn is_as(&self, other: &Self) -> bool {
        let untimed = |lease: &Self| Self { lifetime: Lifetime::PERMANENT, renew: 0, rebind: 0, server: other.server, ..lease.clone() };
        untimed(self) == untimed(other)
    }

    /// The lines of a resolv.conf(5) that the lease makes; `None` when it names no server.
    pub fn resolv_conf(&self) -> Option<String> {
        if self.dns.is_empty() {
            return None;
        }
        let domain = self.domain.as_deref().map(|d| format!("search {d}\n"));
        let search = if self.search.is_empty() { domain } else { Some(format!("search {}\n", self.search.join(" "))) };
        let servers = self.dns.iter().map(|server| format!("nameserver {server}\n"));
        Some(std::iter::once("# by pipework, from DHCP\n".to_owned()).chain(search).chain(servers).collect())
    }
}

/// A lease as its record has it, for a process that may end and begin again: the times of day count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// What was lent; absent when it was lost, and another is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When it was asked for (RFC 3339): its times count from then.
    pub granted: String,
    /// When it ends (RFC 3339); absent when never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// The Ethernet address that the server's answers come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_mac: Option<MacAddr>,
    /// The server's DNS servers go into the guest's resolv.conf.
    #[serde(default)]
    pub dns: bool,
    /// The steps that made it so in the guest: they are among the attachment's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Op>,
}

/// A lease in the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// The server.
    pub server: IpAddr,
    /// Seconds for which the address is lent; absent when it is for ever.
    pub lifetime: Option<u32>,
    /// Seconds until the server is asked to renew it.
    pub renew: u32,
    /// Seconds until any server is asked.
    pub rebind: u32,
    /// Whether this command stays and renews it (`-f`).
    pub renewed: bool,
    /// Routes as `TO via ROUTER`, or `TO` on the link.
    pub routes: Vec<String>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
    /// The domain.
    pub domain: Option<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// NTP servers.
    pub ntp: Vec<IpAddr>,
    /// Options that were asked for by `-O`: number, and the bytes in hexadecimal.
    pub options: std::collections::BTreeMap<u8, String>,
}

impl LeaseReport {
    /// A lease that is renewed, or not.
    pub fn new(lease: &Lease, renewed: bool) -> Self {
        let route = |r: &LeaseRoute| r.via.map_or_else(|| r.to.to_string(), |via| format!("{} via {via}", r.to));
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        Self {
            server: lease.server,
            lifetime: Some(lease.lifetime.valid).filter(|s| *s != FOREVER),
            renew: lease.renew,
            rebind: lease.rebind,
            renewed,
            routes: lease.routes.iter().map(route).collect(),
            mtu: lease.mtu,
            dns: lease.dns.clone(),
            domain: lease.domain.clone(),
            search: lease.search.clone(),
            ntp: lease.ntp.clone(),
            options: lease.others.iter().map(|(code, bytes)| (*code, hex(bytes))).collect(),
        }
    }
}
