//! Addresses: where those of a pool come from, and what has been given out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::call::{CallError, wrong};
use super::options::shown;
use crate::model::lease::Lease;
use crate::model::pool::PoolName;
use crate::model::types::{IfAddr, IfName, MacAddr, serde_as_text};

/// The names of our address spaces.
pub struct SpaceNames;

impl SpaceNames {
    /// Of networks of one host.
    pub const LOCAL: &'static str = "PipeworkLocal";
    /// Of networks of a swarm.
    pub const GLOBAL: &'static str = "PipeworkGlobal";
}

/// The engine's word for a request that is about the network's gateway (libnetwork/ipamapi, RequestAddressType).
const TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
const MAC: &str = "com.docker.network.endpoint.macaddress";

/// Where the addresses of a network come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--ipam-opt pool=NAME`: they are claimed, and nobody else in the cluster gets one.
    Claims(PoolName),
    /// `--ipam-opt dhcp=true`: a server on that interface lends them.
    Dhcp(IfName),
}

/// A pool as the engine knows it. All that there is to know stands in it, so nothing need be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolId {
    /// Where addresses come from.
    pub source: Source,
    /// All of them.
    pub subnet: IpNetwork,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Claims(name) => write!(f, "claims:{name}:{}", self.subnet),
            Source::Dhcp(name) => write!(f, "dhcp:{name}:{}", self.subnet),
        }
    }
}

impl FromStr for PoolId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = || format!("{:?} is no pool of ours", shown(text));
        let mut parts = text.splitn(3, ':');
        let (Some(kind), Some(name), Some(subnet)) = (parts.next(), parts.next(), parts.next()) else { return Err(none()) };
        let source = match kind {
            "claims" => Source::Claims(name.parse().map_err(|_| none())?),
            "dhcp" => Source::Dhcp(name.parse().map_err(|_| none())?),
            _ => return Err(none()),
        };
        Ok(Self { source, subnet: subnet.parse().map_err(|_| none())? })
    }
}

serde_as_text!(PoolId);

/// A pool that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPool {
    /// `--subnet`
    pub subnet: Option<IpNetwork>,
    /// Where its addresses come from.
    pub source: Source,
    /// Whether it is to be of IPv6.
    pub v6: bool,
}

#[derive(Default, Deserialize)]
pub(super) struct RawPool {
    #[serde(rename = "Pool", default)]
    pool: Option<String>,
    #[serde(rename = "SubPool", default)]
    sub_pool: Option<String>,
    #[serde(rename = "Options", default)]
    options: Option<BTreeMap<String, String>>,
    #[serde(rename = "V6", default)]
    v6: bool,
}

impl NewPool {
    pub(super) fn read(raw: RawPool) -> Result<Self, CallError> {
        const CALL: &str = "RequestPool";
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if given(raw.sub_pool).is_some() {
            return Err(wrong(CALL, "--ip-range is not for this IPAM driver: the pool, or the DHCP server, says which addresses it gives"));
        }
        let subnet =
            given(raw.pool).map(|text| text.parse().map_err(|_| wrong(CALL, format!("{:?} is no subnet", shown(&text))))).transpose()?;
        let source = source(&raw.options.unwrap_or_default()).map_err(|why| wrong(CALL, why))?;
        Ok(Self { subnet, source, v6: raw.v6 })
    }
}

/// The words behind `--ipam-opt`.
///
/// # Errors
/// What to type instead.
pub fn source(words: &BTreeMap<String, String>) -> Result<Source, String> {
    const HOW: &str = "give --ipam-opt pool=NAME, or --ipam-opt dhcp=true with --ipam-opt parent=eth0 or --ipam-opt bridge=br0";
    let is_engines = |key: &str| key.starts_with("com.docker.") || key == TYPE;
    if let Some(key) = words.keys().find(|key| !["pool", "dhcp", "parent", "bridge"].contains(&key.as_str()) && !is_engines(key)) {
        return Err(format!("--ipam-opt {}: there is no such option; {HOW}", shown(key)));
    }
    let get = |key: &str| words.get(key).map(String::as_str);
    let interface = match (get("parent"), get("bridge")) {
        (Some(_), Some(_)) => return Err(format!("--ipam-opt parent and bridge cannot stand together; {HOW}")),
        (one, other) => one.or(other),
    };
    match (get("pool"), get("dhcp"), interface) {
        (Some(pool), None, None) => pool.parse().map(Source::Claims).map_err(|error| format!("--ipam-opt pool: {error}")),
        (None, Some("true"), Some(name)) => name.parse().map(Source::Dhcp).map_err(|error| format!("--ipam-opt parent: {error}")),
        (None, Some("true"), None) => Err(format!("--ipam-opt dhcp=true: where is the server? {HOW}")),
        _ => Err(HOW.to_owned()),
    }
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The network's gateway, which somebody else has.
    Gateway,
    /// Kept back (`--aux-address`).
    Reserved,
    /// An endpoint with that MAC address.
    Endpoint(MacAddr),
}

/// An address that is asked for, or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressCall {
    /// Of which pool.
    pub pool: PoolId,
    /// Which one, when it is said.
    pub wish: Option<IpAddr>,
    /// What for.
    pub purpose: Purpose,
}

#[derive(Deserialize)]
pub(super) struct RawAddress {
    #[serde(rename = "PoolID")]
    pool: PoolId,
    #[serde(rename = "Address", default)]
    address: Option<String>,
    #[serde(rename = "Options", default)]
    options: Option<BTreeMap<String, String>>,
}

impl AddressCall {
    pub(super) fn read(call: &'static str, raw: RawAddress) -> Result<Self, CallError> {
        let wish = raw.address.filter(|text| !text.is_empty());
        let wish =
            wish.map(|text| text.parse::<IpAddr>().map_err(|_| wrong(call, format!("{:?} is no address", shown(&text))))).transpose()?;
        if let Some(ip) = wish.filter(|ip| !raw.pool.subnet.contains(*ip) && !ip.is_unspecified()) {
            return Err(wrong(call, format!("{ip} is not in {}", raw.pool.subnet)));
        }
        let options = raw.options.unwrap_or_default();
        let purpose = match (options.get(TYPE).map(String::as_str), options.get(MAC)) {
            (Some(GATEWAY), _) => Purpose::Gateway,
            (_, Some(mac)) => Purpose::Endpoint(mac.parse().map_err(|error| wrong(call, error))?),
            (_, None) => Purpose::Reserved,
        };
        Ok(Self { pool: raw.pool, wish, purpose })
    }
}

/// An address that was given out, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Of which pool.
    pub pool: PoolId,
    /// The address.
    pub addr: IfAddr,
    /// Whose.
    pub mac: MacAddr,
    /// Since when (RFC 3339).
    pub since: String,
    /// What a server lent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<Lent>,
}

/// A lease, and whose container it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// What was lent.
    pub lease: Lease,
    /// When it was asked for (RFC 3339): its times count from then.
    pub granted: String,
    /// The Ethernet address that the server's answers come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_mac: Option<MacAddr>,
    /// The container that has it, once that is known, when the MAC address is its own for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The container has ended, and may begin again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_idle: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pool_s_identifier_says_all_of_it() {
        for text in ["claims:lan:192.168.1.0/24", "dhcp:br0:10.0.0.0/8", "claims:six:fd00::/64"] {
            assert_eq!(text.parse::<PoolId>().unwrap().to_string(), text);
        }
        for text in ["", "claims", "claims:lan", "claims:Lan:10.0.0.0/8", "dhcp:a/b:10.0.0.0/8", "x:lan:10.0.0.0/8", "claims:lan:ten"] {
            assert!(text.parse::<PoolId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_is_a_pool_or_a_server_behind_an_interface() {
        let read = |text: &str| {
            let words = text.split_whitespace().map(|word| word.split_once('=').unwrap());
            source(&words.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
        };
        assert_eq!(read("pool=lan"), Ok(Source::Claims("lan".parse().unwrap())));
        assert_eq!(read("dhcp=true bridge=br0 com.docker.network.ipam.serial=true"), Ok(Source::Dhcp("br0".parse().unwrap())));
        for (text, wanted) in [
            ("", "give --ipam-opt"),
            ("pool=lan dhcp=true parent=eth0", "give --ipam-opt"),
            ("dhcp=true", "where is the server"),
            ("dhcp=yes parent=eth0", "give --ipam-opt"),
            ("pol=lan", "no such option"),
            ("pool=L", "a pool's name"),
            ("dhcp=true parent=a bridge=b", "cannot stand together"),
        ] {
            assert!(read(text).unwrap_err().contains(wanted), "{text}");
        }
    }
}
