//! An endpoint as it is kept: what the engine said of it, and what was made for it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Id, NewEndpoint};
use crate::model::facts::GuestId;
use crate::model::pool::PoolName;
use crate::model::types::{Family, IfAddr, IfName, MacAddr};

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The engine's identifier.
    pub id: Id,
    /// Of which network.
    pub network: Id,
    /// Its addresses.
    #[serde(default)]
    pub addrs: Vec<IfAddr>,
    /// Its MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Whether the engine gave the MAC address.
    #[serde(default)]
    pub mac_given: bool,
    /// Routers that a server named when it lent the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<IpAddr>,
    /// Since when (RFC 3339).
    pub since: String,
    /// Where its addresses are claimed besides (`-o pool=`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<PoolName>,
    /// The guest's namespace, once it has joined one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// The link that was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkState>,
}

/// A link that was made for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// The attachment's identifier.
    pub attachment: String,
    /// Its name on the host.
    pub name: IfName,
}

impl Endpoint {
    /// Of what the engine asks. Without a MAC address it gets one that is made of its address, as by Docker's own drivers: a
    /// container that comes back is the same to its neighbours.
    pub fn new(new: NewEndpoint, since: String) -> Self {
        let made = || new.addrs.first().map(|addr| MacAddr::local_from(bytes(*addr, &new.ids.endpoint)));
        Self {
            mac: new.mac.or_else(made),
            mac_given: new.mac.is_some(),
            id: new.ids.endpoint,
            network: new.ids.network,
            addrs: new.addrs,
            routers: Vec::new(),
            since,
            claimed: None,
            sandbox: None,
            link: None,
        }
    }

    /// Whether it is the same endpoint, asked for once more.
    pub fn is_as(&self, other: &Self) -> bool {
        (&self.id, &self.network, &self.addrs, self.mac) == (&other.id, &other.network, &other.addrs, other.mac)
    }

    /// Whether it has an address of a family.
    pub fn has_family(&self, family: Family) -> bool {
        self.addrs.iter().any(|addr| addr.family() == family)
    }

    /// The veth's end on the host.
    pub fn host_end(&self) -> IfName {
        IfName::made(&format!("pwd{:011x}", self.id.number() & 0xfff_ffff_ffff))
    }

    /// Whom the link is made for, as far as names and messages go.
    pub fn guest(&self) -> GuestId {
        GuestId {
            name: format!("endpoint {}", self.id.as_str().get(..12).unwrap_or(self.id.as_str())),
            engine: "docker",
            container: None,
            container_name: None,
            pid: None,
            path: self.sandbox.clone().unwrap_or_default(),
            netns: self.id.number(),
        }
    }

    /// What `docker` is told of it when it asks.
    pub fn info(&self) -> Value {
        match self.mac {
            Some(mac) => json!({ "com.docker.network.endpoint.macaddress": mac.to_string() }),
            None => json!({}),
        }
    }
}

/// `02:42:` and an IPv4 address; of an IPv6 address, what tells endpoints apart.
fn bytes(addr: IfAddr, id: &Id) -> [u8; 6] {
    let [a, b, c, d] = match addr.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => u32::try_from(id.number() & 0xffff_ffff).unwrap_or_default().to_be_bytes(),
    };
    [0x02, 0x42, a, b, c, d]
}
