//! The network configuration: what stands in it by the protocol, and beside it all that `attach` can do.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::addresses::Addressing;
use super::environment::{Arguments, ContainerId, Verb, is_name};
use super::error::{CniError, Code};
use super::ipam::{self, Ipam};
use super::key::Key;
use super::result::{Dns, Success};
use super::runtime::{Runtime, dns, told, valid, wishes};
use super::version::Version;
use crate::model::pool::PoolName;
use crate::model::request::AttachRequest;
use crate::model::topology::{Attachment, How};
use crate::model::types::{IfAddr, IfName};

/// The name of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkName(String);

impl NetworkName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pool of its own addresses, or one of several: `cni-NAME`, or where a pool cannot be called so, by a number made of it.
    pub fn pool(&self, number: usize) -> PoolName {
        let behind = if number == 0 { String::new() } else { format!("-{number}") };
        let hash =
            self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let made = || PoolName::made(&format!("cni-{hash:016x}{behind}"));
        format!("cni-{}{behind}", self.0).parse().unwrap_or_else(|_| made())
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NetworkName {
    type Err = CniError;

    fn from_str(text: &str) -> Result<Self, CniError> {
        if is_name(text) && text.len() <= 128 {
            return Ok(Self(text.to_owned()));
        }
        let why = "a network's name is a letter or a digit, then up to 127 letters, digits, '_', '.' and '-'";
        Err(CniError::configuration("name", format!("{text:?}: {why}")))
    }
}

/// An address that is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix, where it is said.
    pub prefix: Option<u8>,
}

/// A network configuration as a runtime gives it to a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct NetConf {
    /// Which version of the specification is spoken.
    pub version: Version,
    /// The network.
    pub network: NetworkName,
    /// What the interface is to be, in the words of a topology; who it is for the environment says.
    pub words: Attachment,
    /// Who gives the addresses.
    pub ipam: Ipam,
    /// The addresses that are wished for.
    pub wishes: Vec<Wish>,
    /// What is told of the names' servers.
    pub dns: Dns,
    /// What plugins before this one made, or for CHECK what ADD answered; DEL and GC need none.
    pub previous: Option<Success>,
    /// GC: what the runtime still has, container by interface.
    pub valid: BTreeSet<(String, String)>,
}

/// Keys of the protocol, and of its conventions, that say nothing about the interface.
const PROTOCOL: [&str; 11] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "capabilities",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "args",
    "runtimeConfig",
    "prevResult",
];
/// What other plugins call the interface that lies below.
const BELOW: [&str; 3] = ["bridge", "master", "parent"];
/// Keys of an attachment that a runtime says otherwise, and how.
const OTHERWISE: [(&str, &str); 3] = [
    ("guest", "CNI_NETNS says who it is"),
    ("persist", "the runtime brings its containers back itself"),
    ("keep_netns", "the runtime keeps its network namespaces itself"),
];

pub(super) type Object = Map<String, Value>;

impl NetConf {
    /// Reads a configuration. With an error, the version that it is to be told in, where that much could be read.
    ///
    /// # Errors
    /// [`CniError`] with the specification's code.
    pub fn read(input: &[u8], verb: Verb, arguments: &Arguments) -> Result<Self, (Option<Version>, CniError)> {
        let object: Object = serde_json::from_slice(input)
            .map_err(|error| (None, CniError::new(Code::Decoding, format!("the network configuration is no JSON object: {error}"))))?;
        let version = version(&object).map_err(|error| (None, error))?;
        Self::of(object, version, verb, arguments).map_err(|error| (Some(version), error))
    }

    fn of(mut object: Object, version: Version, verb: Verb, arguments: &Arguments) -> Result<Self, CniError> {
        let network = match object.get("name") {
            None | Some(Value::Null) => return Err(CniError::configuration("name", "the network has none")),
            Some(Value::String(name)) => name.parse()?,
            Some(_) => return Err(CniError::new(Code::Decoding, "name: it is no text")),
        };
        let needed = match verb {
            Verb::Check => Version::V0_4_0,
            Verb::Gc | Verb::Status => Version::V1_1_0,
            _ => Version::V0_3_1,
        };
        if version < needed {
            let why = format!("{verb:?} is there from {needed} on, and the configuration has {version}");
            return Err(CniError::new(Code::IncompatibleVersion, "incompatible CNI versions").with(why));
        }
        // What goes is known by its record: whatever is wrong by now keeps nobody from taking it away.
        let goes = matches!(verb, Verb::Del | Verb::Gc);
        let runtime: Runtime = told(&object, "runtimeConfig").or_else(|error| passed_over(goes, error))?;
        let previous = object.get("prevResult").filter(|value| !goes && !value.is_null()).cloned();
        let previous = previous.map(Success::read).transpose().map_err(|why| CniError::configuration("prevResult", why))?;
        let ipam = ipam::read(object.get("ipam"), &runtime.ip_ranges(), &network);
        let ipam = if goes { ipam.unwrap_or_else(|_| ipam::what_goes(object.get("ipam"))) } else { ipam? };
        let wishes = wishes(&runtime, &object, arguments).or_else(|error| passed_over(goes, error))?;
        let dns = dns(&runtime, &object).or_else(|error| passed_over(goes, error))?;
        let valid = if verb == Verb::Gc { valid(&object)? } else { BTreeSet::new() };
        object
            .retain(|key, _| !PROTOCOL.contains(&key.as_str()) && !key.starts_with("cni.dev/") && !["ipam", "dns"].contains(&key.as_str()));
        let words = if goes { what_goes(&object) } else { words(object)? };
        let words = runtime.onto(words, arguments)?;
        Ok(Self { version, network, words, ipam, wishes, dns, previous, valid })
    }

    /// The attachment that is meant.
    pub fn key(&self, container: ContainerId, interface: IfName, host: Option<String>) -> Result<Key, CniError> {
        let made = self.words.guest_if.as_deref().map(str::parse::<IfName>).transpose();
        let made = made.map_err(|why| CniError::configuration("guest_if", why))?.filter(|made| *made != interface);
        Ok(Key { network: self.network.clone(), host, container, interface, made })
    }

    /// Refuses to make another interface than the runtime names, but beside one that is there; and none beside it.
    ///
    /// # Errors
    /// [`Code::Configuration`]
    pub fn check_chain(&self, key: &Key) -> Result<(), CniError> {
        match (&self.previous, &key.made) {
            (Some(_), None) => Err(CniError::configuration(
                "guest_if",
                "a plugin before this one made the interface: say how a further one is to be called, like \"guest_if\": \"net1\"",
            )),
            (None, Some(made)) => {
                let why = format!(
                    "{} is not {}, which CNI_IFNAME says: leave it out, where no plugin stands before this one",
                    made.as_str(),
                    key.interface.as_str()
                );
                Err(CniError::configuration("guest_if", why))
            }
            _ => Ok(()),
        }
    }

    /// What is asked, with the addresses that somebody gives it.
    ///
    /// # Errors
    /// [`Code::Configuration`], all that is wrong in one.
    pub fn request(&self, key: &Key, netns: &str, given: Option<&Addressing>) -> Result<(AttachRequest, How), CniError> {
        let words = Attachment { guest: format!("netns:{netns}"), guest_if: Some(key.made().as_str().to_owned()), ..self.words.clone() };
        let words = match given {
            Some(given) => given.onto(words),
            None => self.wished(words)?,
        };
        if words.ways() > 1 {
            return Err(CniError::configuration("macvlan, macvtap, ipvlan, direct_phys", "give one of them"));
        }
        let request = words.request().map_err(|wrong| {
            let told: Vec<String> = wrong.iter().map(|(key, why)| format!("{}: {why}", called(key))).collect();
            CniError::new(Code::Configuration, told.join("; "))
        })?;
        if let Some(dynamic) = request.dynamic.as_ref().filter(|dynamic| dynamic.stays()) {
            let why = format!("{dynamic}: who keeps a lease has to stay, and a plugin ends: leave out -f, or delegate to the dhcp plugin");
            return Err(CniError::configuration("dynamic", why));
        }
        Ok((request, words.how()))
    }

    /// Nobody gives addresses: those that are wished for stand in the place of the configuration's.
    fn wished(&self, mut words: Attachment) -> Result<Attachment, CniError> {
        if self.wishes.is_empty() {
            return Ok(words);
        }
        if words.dynamic.is_some() {
            return Err(CniError::configuration("dynamic", "it gives the address, and the runtime asks for another"));
        }
        let own: Vec<IfAddr> = words.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let mut addresses = Vec::new();
        for Wish { ip, prefix } in &self.wishes {
            let near = || own.iter().find(|addr| addr.contains(*ip)).map(IfAddr::prefix);
            let prefix = prefix
                .or_else(near)
                .ok_or_else(|| CniError::configuration("ips", format!("{ip}: give it with its prefix, like {ip}/24")))?;
            addresses.push(format!("{ip}/{prefix}"));
        }
        words.addresses = addresses;
        Ok(words)
    }
}

/// An attachment's key, as one would look for it.
fn called(key: &str) -> String {
    if key == "host_if" { format!("host_if ({})", BELOW.join(", ")) } else { key.to_owned() }
}

fn version(object: &Object) -> Result<Version, CniError> {
    match object.get("cniVersion") {
        // Such configurations are of the first version.
        None => "0.1.0".parse(),
        Some(Value::String(text)) if text.is_empty() => "0.1.0".parse(),
        Some(Value::String(text)) => text.parse(),
        Some(_) => Err(CniError::new(Code::Decoding, "cniVersion: it is no text")),
    }
}

/// Nothing in the place of what is wrong, where that does not matter.
fn passed_over<T: Default>(goes: bool, error: CniError) -> Result<T, CniError> {
    if goes { Ok(T::default()) } else { Err(error) }
}

/// Only what says which attachment it is, and whether a pool may have something of it: what is wrong with it is passed over.
fn what_goes(object: &Object) -> Attachment {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = |value: &Value| value.as_array().map(|all| all.iter().filter_map(text).collect());
    Attachment {
        guest_if: object.get("guest_if").and_then(text).filter(|name| name.parse::<IfName>().is_ok()),
        addresses: object.get("addresses").and_then(texts).unwrap_or_default(),
        ..Attachment::default()
    }
}

/// The keys that are an attachment's.
fn words(mut object: Object) -> Result<Attachment, CniError> {
    // Nothing is to be masqueraded where guests have addresses of the network's own.
    if object.get("ipMasq").is_some_and(|value| *value == Value::Bool(false)) {
        object.remove("ipMasq");
    }
    for key in BELOW {
        if let Some(value) = object.remove(key)
            && object.insert("host_if".to_owned(), value).is_some()
        {
            return Err(CniError::configuration("host_if", format!("give one of host_if, {}", BELOW.join(", "))));
        }
    }
    for (key, why) in OTHERWISE {
        if let Some(value) = object.get(key) {
            return Err(unsupported(key, value, why));
        }
    }
    let is_based = object.contains_key("host_if");
    object.insert("guest".to_owned(), "x".into());
    match serde_json::from_value(Value::Object(object.clone())) {
        Ok(words) => Ok(words),
        Err(error) => Err(match wrong_key(&object) {
            Some(wrong) => wrong,
            None if !is_based => {
                let why = "it is missing: say what the interface lies on, like \"bridge\": \"br0\" or \"parent\": \"eth0\"";
                CniError::configuration(&called("host_if"), why)
            }
            None => CniError::new(Code::Configuration, error.to_string()),
        }),
    }
}

/// The first key that cannot be read: each is read alone.
fn wrong_key(object: &Object) -> Option<CniError> {
    object.iter().find_map(|(key, value)| {
        let needed = [("host_if", "x"), ("guest", "x")].map(|(key, word)| (key.to_owned(), word.into()));
        let alone: Object = needed.into_iter().chain([(key.clone(), value.clone())]).collect();
        let error = serde_json::from_value::<Attachment>(Value::Object(alone)).err()?.to_string();
        Some(match error.starts_with("unknown field") {
            true => unsupported(key, value, &error),
            false => CniError::configuration(&called(key), error),
        })
    })
}

fn unsupported(key: &str, value: &Value, why: &str) -> CniError {
    CniError::new(Code::UnsupportedField, format!("unsupported field {key}: {value}")).with(why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::cni::Source;
    use serde_json::json;

    fn read(changes: Value, verb: Verb) -> Result<NetConf, CniError> {
        let mut conf =
            json!({ "cniVersion": "1.1.0", "name": "lan", "type": "pipework", "bridge": "br0", "cni.dev/valid-attachments": [] });
        conf.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        NetConf::read(conf.to_string().as_bytes(), verb, &Arguments::default()).map_err(|(_, error)| error)
    }

    #[test]
    fn what_is_wrong_by_now_keeps_nobody_from_taking_it_away() {
        for wrong in [
            json!({ "ipam": 7 }),
            json!({ "ipam": { "type": "../x" } }),
            json!({ "ipam": { "type": "pipework", "subnet": "10.1.0.5/16" } }),
            json!({ "runtimeConfig": { "ips": ["x"] } }),
            json!({ "runtimeConfig": 7 }),
            json!({ "args": 7 }),
            json!({ "dns": 7 }),
            json!({ "prevResult": [] }),
            json!({ "guest_if": "a name that is too long" }),
        ] {
            for verb in [Verb::Del, Verb::Gc] {
                let conf = read(wrong.clone(), verb).unwrap();
                conf.key("web".parse().unwrap(), "eth0".parse().unwrap(), None).unwrap();
            }
            let added = read(wrong.clone(), Verb::Add);
            assert!(added.is_err() || wrong.get("guest_if").is_some(), "{wrong}");
        }
    }

    #[test]
    fn of_a_wrong_ipam_the_pools_that_can_be_read_are_known_still() {
        let wrong = json!({ "ipam": { "type": "pipework", "pool": "lan", "pools": ["LAN", "lan6", 7], "colour": "red" } });
        let Ipam::BuiltIn(own) = read(wrong, Verb::Del).unwrap().ipam else { unreachable!() };
        assert_eq!(own.sources, ["lan", "lan6"].map(|name| Source::Named(name.parse().unwrap())));
    }

    #[test]
    fn a_route_of_the_last_result_may_have_keys_that_are_not_known_here() {
        let later = json!({ "prevResult": { "routes": [{ "dst": "10.9.0.0/16", "weight": 3 }] } });
        for verb in [Verb::Add, Verb::Check] {
            let routes = read(later.clone(), verb).unwrap().previous.unwrap().routes;
            assert_eq!(serde_json::to_value(&routes).unwrap(), later["prevResult"]["routes"]);
        }
    }
}
