//! What the engine is answered. A failure is an answer, too: `{"Err": "..."}`.

use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::settings::ToolWords;
use crate::model::types::{IfAddr, MacAddr};

/// An answer's body.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(Value);

impl Answer {
    /// It was done.
    pub fn done() -> Self {
        Self(json!({}))
    }

    /// It was not, and why. Network drivers say `Err` (libnetwork's docs/remote.md); the engine reads `Error` of an IPAM driver
    /// (libnetwork/ipams/remote/api).
    pub fn failed(why: &str) -> Self {
        Self(json!({ "Err": why, "Error": why }))
    }

    /// What this plug-in is for.
    pub fn manifest() -> Self {
        Self(json!({ "Implements": ["NetworkDriver", "IpamDriver"] }))
    }

    /// Networks are each host's own, as those of Docker's macvlan driver; what is on them is reached from anywhere.
    pub fn capabilities() -> Self {
        Self(json!({ "Scope": "local", "ConnectivityScope": "global" }))
    }

    /// A server lends an address to a MAC address. All that is given out is kept on disk, so nothing need be asked again.
    pub fn ipam_capabilities() -> Self {
        Self(json!({ "RequiresMACAddress": true, "RequiresRequestReplay": false }))
    }

    /// The names of the address spaces.
    pub fn spaces(local: &str, global: &str) -> Self {
        Self(json!({ "LocalDefaultAddressSpace": local, "GlobalDefaultAddressSpace": global }))
    }

    /// A pool. Without a gateway it has one that is none, for else the engine asks for an address to be it.
    pub fn pool(id: &str, subnet: IpNetwork, gateway: Option<IfAddr>) -> Self {
        let gateway = gateway.map_or_else(|| if subnet.is_ipv4() { "0.0.0.0/0".to_owned() } else { "::/0".to_owned() }, |g| g.to_string());
        Self(json!({ "PoolID": id, "Pool": subnet.to_string(), "Data": { "com.docker.network.gateway": gateway } }))
    }

    /// An address.
    pub fn address(addr: IfAddr) -> Self {
        Self(json!({ "Address": addr.to_string(), "Data": {} }))
    }

    /// An endpoint, with the MAC address where the engine had none. What it knows itself it must not be told.
    pub fn endpoint(mac: Option<MacAddr>) -> Self {
        Self(match mac {
            Some(mac) => json!({ "Interface": { "MacAddress": mac.to_string() } }),
            None => json!({ "Interface": {} }),
        })
    }

    /// What an endpoint is like.
    pub fn info(value: &Value) -> Self {
        Self(json!({ "Value": value }))
    }

    /// The body's text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// Whether it says that it was not done.
    pub fn is_failure(&self) -> bool {
        self.0.get("Err").is_some()
    }
}

impl From<JoinAnswer> for Answer {
    fn from(join: JoinAnswer) -> Self {
        Self(serde_json::to_value(join).unwrap_or_else(|error| Self::failed(&error.to_string()).0))
    }
}

/// What the engine is to make of a link that waits on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinAnswer {
    /// Which link, and how its name begins in the guest.
    pub interface_name: InterfaceName,
    /// The default route's.
    pub gateway: String,
    /// That of IPv6.
    #[serde(rename = "GatewayIPv6")]
    pub gateway_ipv6: String,
    /// More routes.
    pub static_routes: Vec<Route>,
    /// The engine is not to make a way out of its own (docker_gwbridge).
    pub disable_gateway_service: bool,
}

/// A link on the host, and how its name begins in the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InterfaceName {
    /// On the host.
    pub src_name: String,
    /// `eth`: the engine puts a number behind it.
    pub dst_prefix: String,
}

/// A route as the engine takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Route {
    /// Where to.
    pub destination: String,
    /// 0: by way of `next_hop`; 1: on the link (libnetwork/types, NEXTHOP and CONNECTED).
    pub route_type: u8,
    /// The router.
    pub next_hop: String,
}

impl Route {
    /// A default route that needs no router.
    pub fn on_link(to: &str) -> Self {
        Self { destination: to.to_owned(), route_type: 1, next_hop: String::new() }
    }

    /// Of the words of `ip route add`, as far as the engine can do what they say.
    ///
    /// # Errors
    /// What to type instead.
    pub fn of(words: &ToolWords) -> Result<Self, String> {
        let why = || "give NETWORK/PREFIX via ROUTER, or NETWORK/PREFIX alone, like 10.9.0.0/16 via 192.168.1.9".to_owned();
        let words: Vec<&str> = words.words().iter().map(String::as_str).collect();
        let (to, via) = match words[..] {
            [to] => (to, None),
            [to, "via", via] => (to, Some(via.parse::<std::net::IpAddr>().map_err(|_| why())?)),
            _ => return Err(why()),
        };
        let to: IpNetwork = to.parse().map_err(|_| why())?;
        if to.ip() != to.network() || via.is_some_and(|via| via.is_ipv4() != to.is_ipv4()) {
            return Err(why());
        }
        Ok(match via {
            Some(via) => Self { destination: to.to_string(), route_type: 0, next_hop: via.to_string() },
            None => Self::on_link(&to.to_string()),
        })
    }
}
