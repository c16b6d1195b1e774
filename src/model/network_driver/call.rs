//! What the engine asks: a path, and a body that is JSON. Strict in what is used, blind to what is not, since later engines say more.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::ipam::{AddressCall, NewPool, PoolId};
use super::options::shown;
use crate::model::types::{IfAddr, MacAddr, serde_as_text};

/// A longer body is not read. Options are a few words.
pub const MOST_BYTES: usize = 256 * 1024;
/// A network has so many subnets of a family at most, and so many options.
const MOST: usize = 64;

/// Why a call is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CallError {
    /// The engine takes 404 for: not known yet.
    #[error("there is no {0} here")]
    Unknown(String),
    /// The body is not what belongs to the path.
    #[error("{call}: {why}")]
    Body {
        /// Which call.
        call: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// An identifier of the engine's: it becomes a file's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number that is another for another identifier: for names of links.
    pub fn number(&self) -> u64 {
        // FNV-1a: the same on every host and in every version.
        self.0.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_good = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{:?} is no identifier: letters and digits, 128 at most", shown(text)))
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Id);

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `Plugin.Activate`
    Activate,
    /// `NetworkDriver.GetCapabilities`
    Capabilities,
    /// `NetworkDriver.CreateNetwork`
    CreateNetwork(Box<NewNetwork>),
    /// `NetworkDriver.DeleteNetwork`
    DeleteNetwork(Id),
    /// `NetworkDriver.CreateEndpoint`
    CreateEndpoint(Box<NewEndpoint>),
    /// `NetworkDriver.DeleteEndpoint`
    DeleteEndpoint(EndpointIds),
    /// `NetworkDriver.EndpointOperInfo`
    EndpointInfo(EndpointIds),
    /// `NetworkDriver.Join`
    Join {
        /// Which endpoint.
        ids: EndpointIds,
        /// Where the guest's namespace is, or will be.
        sandbox: String,
    },
    /// `NetworkDriver.Leave`
    Leave(EndpointIds),
    /// What is heard and needs nothing done: `DiscoverNew`, `ProgramExternalConnectivity` and their opposites.
    Heard,
    /// `IpamDriver.GetCapabilities`
    IpamCapabilities,
    /// `IpamDriver.GetDefaultAddressSpaces`
    Spaces,
    /// `IpamDriver.RequestPool`
    RequestPool(Box<NewPool>),
    /// `IpamDriver.ReleasePool`
    ReleasePool(PoolId),
    /// `IpamDriver.RequestAddress`
    RequestAddress(Box<AddressCall>),
    /// `IpamDriver.ReleaseAddress`
    ReleaseAddress(Box<AddressCall>),
}

/// Which endpoint, of which network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EndpointIds {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network: Id,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: Id,
}

/// A network that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNetwork {
    /// The engine's identifier.
    pub id: Id,
    /// The words behind `-o`.
    pub words: BTreeMap<String, String>,
    /// `--internal`: no way out.
    pub internal: bool,
    /// Subnets, of both families.
    pub subnets: Vec<Subnet>,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Whose addresses they are.
    #[serde(default)]
    pub space: String,
    /// All of it.
    pub pool: IpNetwork,
    /// Its router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// An endpoint that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Which.
    pub ids: EndpointIds,
    /// Its addresses: of IPv4 and of IPv6, at most one of each.
    pub addrs: Vec<IfAddr>,
    /// Its MAC address, where the engine has one.
    pub mac: Option<MacAddr>,
}

impl Call {
    /// Reads a call.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn read(path: &str, body: &[u8]) -> Result<Self, CallError> {
        let name = path.strip_prefix('/').unwrap_or(path);
        Ok(match name {
            "Plugin.Activate" => Self::Activate,
            "NetworkDriver.GetCapabilities" => Self::Capabilities,
            "NetworkDriver.CreateNetwork" => Self::CreateNetwork(Box::new(new_network(body)?)),
            "NetworkDriver.DeleteNetwork" => {
                let raw: RawNetworkId = json("DeleteNetwork", body)?;
                Self::DeleteNetwork(raw.id)
            }
            "NetworkDriver.CreateEndpoint" => Self::CreateEndpoint(Box::new(new_endpoint(body)?)),
            "NetworkDriver.DeleteEndpoint" => Self::DeleteEndpoint(json("DeleteEndpoint", body)?),
            "NetworkDriver.EndpointOperInfo" => Self::EndpointInfo(json("EndpointOperInfo", body)?),
            "NetworkDriver.Join" => join(body)?,
            "NetworkDriver.Leave" => Self::Leave(json("Leave", body)?),
            "NetworkDriver.DiscoverNew"
            | "NetworkDriver.DiscoverDelete"
            | "NetworkDriver.ProgramExternalConnectivity"
            | "NetworkDriver.RevokeExternalConnectivity" => Self::Heard,
            "IpamDriver.GetCapabilities" => Self::IpamCapabilities,
            "IpamDriver.GetDefaultAddressSpaces" => Self::Spaces,
            "IpamDriver.RequestPool" => Self::RequestPool(Box::new(NewPool::read(json("RequestPool", body)?)?)),
            "IpamDriver.ReleasePool" => {
                let raw: RawPoolId = json("ReleasePool", body)?;
                Self::ReleasePool(raw.id)
            }
            "IpamDriver.RequestAddress" => {
                Self::RequestAddress(Box::new(AddressCall::read("RequestAddress", json("RequestAddress", body)?)?))
            }
            "IpamDriver.ReleaseAddress" => {
                Self::ReleaseAddress(Box::new(AddressCall::read("ReleaseAddress", json("ReleaseAddress", body)?)?))
            }
            _ => return Err(CallError::Unknown(shown(name))),
        })
    }
}

pub(super) fn wrong(call: &'static str, why: impl fmt::Display) -> CallError {
    // What is wrong with a stranger's words may repeat them.
    CallError::Body { call, why: why.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).take(500).collect() }
}

fn json<T: DeserializeOwned>(call: &'static str, body: &[u8]) -> Result<T, CallError> {
    if body.len() > MOST_BYTES {
        return Err(wrong(call, format!("it is longer than {MOST_BYTES} bytes")));
    }
    if body.is_empty() {
        // pkg/plugins/client.go: what was sent once is not there any more when it sends again.
        return Err(wrong(call, "it says nothing: the engine repeats a call so, when a plug-in ended under its hands. Try again"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(call, error))
}

#[derive(Deserialize)]
struct RawNetworkId {
    #[serde(rename = "NetworkID")]
    id: Id,
}

#[derive(Deserialize)]
struct RawPoolId {
    #[serde(rename = "PoolID")]
    id: PoolId,
}

#[derive(Deserialize)]
struct RawNetwork {
    #[serde(rename = "NetworkID")]
    id: Id,
    #[serde(rename = "Options", default)]
    options: Option<BTreeMap<String, Value>>,
    #[serde(rename = "IPv4Data", default)]
    v4: Option<Vec<RawSubnet>>,
    #[serde(rename = "IPv6Data", default)]
    v6: Option<Vec<RawSubnet>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSubnet {
    #[serde(default)]
    address_space: Option<String>,
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    gateway: Option<String>,
}

fn new_network(body: &[u8]) -> Result<NewNetwork, CallError> {
    const CALL: &str = "CreateNetwork";
    let raw: RawNetwork = json(CALL, body)?;
    let options = raw.options.unwrap_or_default();
    let internal = options.get("com.docker.network.internal").is_some_and(|value| *value == Value::Bool(true));
    let words = match options.get("com.docker.network.generic") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(all)) if all.len() <= MOST => {
            let one = |(key, value): (&String, &Value)| match value {
                Value::String(value) => Ok((key.clone(), value.clone())),
                _ => Err(wrong(CALL, format!("-o {}: its value is no text", shown(key)))),
            };
            all.iter().map(one).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(wrong(CALL, "the options are no words, or too many")),
    };
    let raw_subnets: Vec<RawSubnet> = raw.v4.unwrap_or_default().into_iter().chain(raw.v6.unwrap_or_default()).collect();
    if raw_subnets.len() > MOST {
        return Err(wrong(CALL, format!("a network has {MOST} subnets at most")));
    }
    let subnets = raw_subnets.into_iter().map(subnet).collect::<Result<Vec<_>, _>>()?;
    Ok(NewNetwork { id: raw.id, words, internal, subnets: subnets.into_iter().flatten().collect() })
}

/// `None`: the IPAM driver `null` has the subnet 0.0.0.0/0, which is none.
fn subnet(raw: RawSubnet) -> Result<Option<Subnet>, CallError> {
    const CALL: &str = "CreateNetwork";
    let Some(pool) = raw.pool.filter(|pool| !pool.is_empty()) else { return Ok(None) };
    let pool: IpNetwork = pool.parse().map_err(|_| wrong(CALL, format!("{:?} is no subnet", shown(&pool))))?;
    let gateway = raw.gateway.filter(|gateway| !gateway.is_empty());
    let gateway = gateway.map(|text| {
        let ip = text.split('/').next().and_then(|ip| ip.parse::<IpAddr>().ok());
        ip.ok_or_else(|| wrong(CALL, format!("{:?} is no gateway", shown(&text))))
    });
    let gateway = gateway.transpose()?.filter(|ip| !ip.is_unspecified() && ip.is_ipv4() == pool.is_ipv4());
    let space = shown(&raw.address_space.unwrap_or_default());
    Ok((pool.prefix() > 0).then_some(Subnet { space, pool, gateway }))
}

#[derive(Deserialize)]
struct RawEndpoint {
    #[serde(flatten)]
    ids: EndpointIds,
    #[serde(rename = "Interface", default)]
    interface: Option<RawInterface>,
}

#[derive(Default, Deserialize)]
struct RawInterface {
    #[serde(rename = "Address", default)]
    v4: Option<String>,
    #[serde(rename = "AddressIPv6", default)]
    v6: Option<String>,
    #[serde(rename = "MacAddress", default)]
    mac: Option<String>,
}

fn new_endpoint(body: &[u8]) -> Result<NewEndpoint, CallError> {
    const CALL: &str = "CreateEndpoint";
    let raw: RawEndpoint = json(CALL, body)?;
    let interface = raw.interface.unwrap_or_default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let mut addrs = Vec::new();
    for (text, is_v4) in [(given(interface.v4), true), (given(interface.v6), false)] {
        let Some(text) = text else { continue };
        let addr: IfAddr = text.parse().map_err(|error| wrong(CALL, error))?;
        if addr.ip().is_ipv4() != is_v4 {
            return Err(wrong(CALL, format!("{addr} is of the other family")));
        }
        addrs.push(addr);
    }
    let mac = given(interface.mac).map(|text| text.parse::<MacAddr>().map_err(|error| wrong(CALL, error))).transpose()?;
    Ok(NewEndpoint { ids: raw.ids, addrs, mac })
}

#[derive(Deserialize)]
struct RawJoin {
    #[serde(flatten)]
    ids: EndpointIds,
    #[serde(rename = "SandboxKey", default)]
    sandbox: Option<String>,
}

fn join(body: &[u8]) -> Result<Call, CallError> {
    let raw: RawJoin = json("Join", body)?;
    let sandbox = raw.sandbox.unwrap_or_default();
    let is_path = sandbox.starts_with('/') && sandbox.len() <= 4096 && !sandbox.chars().any(char::is_control);
    if !is_path || sandbox.split('/').any(|part| part == "..") {
        return Err(wrong("Join", format!("{:?} is no sandbox", shown(&sandbox))));
    }
    Ok(Call::Join { ids: raw.ids, sandbox })
}
