//! What an ADD made, in each version's form; also what other plugins answer.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::version::Version;

/// The result of an ADD. Keys that are not known here stay as they are: what a plugin before us said is passed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Success {
    /// The version of this document.
    #[serde(rename = "cniVersion", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The interfaces, those of the host first.
    #[serde(deserialize_with = "or_empty")]
    pub interfaces: Vec<Interface>,
    /// The addresses.
    #[serde(deserialize_with = "or_empty")]
    pub ips: Vec<Ip>,
    /// The routes.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// What names are asked of.
    #[serde(deserialize_with = "or_empty")]
    pub dns: Dns,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Plugins that are written in Go say `null` for an empty list.
fn or_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An interface that was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The network namespace that it is in; none for the host's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Interface {
    /// An interface of the host, or in a sandbox.
    pub fn new(name: &str, mac: Option<String>, mtu: Option<u32>, sandbox: &str) -> Self {
        let (name, sandbox) = (name.to_owned(), sandbox.to_owned());
        Self { name, mac: mac.unwrap_or_default(), mtu, sandbox, other: Map::new() }
    }
}

/// An address that was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ip {
    /// `4` or `6`: before version 1.0.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Which of the interfaces has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// The address with its prefix.
    pub address: String,
    /// The gateway of its subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Ip {
    /// An address.
    pub fn new(address: String, gateway: Option<IpAddr>, interface: Option<usize>) -> Self {
        Self { version: None, interface, address, gateway: gateway.map(|ip| ip.to_string()), other: Map::new() }
    }
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Route {
    /// Where to, like 10.9.0.0/16.
    pub dst: String,
    /// Through whom; the gateway of the address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<String>,
    /// MTU of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The largest TCP segment that is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Its metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Its routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Its scope: 0 for global, 253 for link, 254 for host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
    /// What is not known here stays as it is.
    #[serde(flatten)]
    #[schemars(skip)]
    pub(super) other: Map<String, Value>,
}

impl Route {
    /// The first key that is not known here.
    pub(super) fn unknown(&self) -> Option<(&String, &Value)> {
        self.other.iter().next()
    }
}

/// What names are asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Dns {
    /// Servers, by address.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The domain of short names.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The domains in which short names are looked for.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Success {
    /// Reads what another plugin answered, or what an ADD before had.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(value: Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("it is no object".into());
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Adds interfaces with their addresses, whose numbers are counted among these interfaces only.
    #[must_use]
    pub fn and(mut self, interfaces: Vec<Interface>, ips: Vec<Ip>, routes: Vec<Route>, dns: Dns) -> Self {
        let before = self.interfaces.len();
        self.interfaces.extend(interfaces);
        self.ips.extend(ips.into_iter().map(|ip| Ip { interface: ip.interface.map(|at| at + before), ..ip }));
        self.routes.extend(routes);
        if self.dns.is_empty() {
            self.dns = dns;
        }
        self
    }

    /// As that version has it.
    #[must_use]
    pub fn as_of(mut self, version: Version) -> Self {
        self.version = version.to_string();
        let has_family = version < Version::V1_0_0;
        for ip in &mut self.ips {
            ip.version = has_family.then(|| if ip.address.contains(':') { "6" } else { "4" }.to_owned());
        }
        if version < Version::V1_1_0 {
            self.interfaces.iter_mut().for_each(|interface| interface.mtu = None);
            self.routes =
                self.routes.into_iter().map(|Route { dst, gw, other, .. }| Route { dst, gw, other, ..Route::default() }).collect();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn made(version: Version) -> Value {
        let interfaces = vec![
            Interface::new("br0", Some("02:00:00:00:00:01".into()), Some(1500), ""),
            Interface::new("eth0", Some("02:00:00:00:00:02".into()), Some(1400), "/run/netns/a"),
        ];
        let ip = |text: &str, gateway: Option<&str>| Ip::new(text.into(), gateway.map(|ip| ip.parse().unwrap()), Some(1));
        let ips = vec![ip("10.1.0.5/16", Some("10.1.0.1")), ip("fd00::5/64", None)];
        let routes = vec![Route { dst: "0.0.0.0/0".into(), gw: Some("10.1.0.1".into()), mtu: Some(1400), ..Route::default() }];
        let all = Success::default().and(interfaces, ips, routes, Dns { nameservers: vec!["10.1.0.1".into()], ..Dns::default() });
        serde_json::to_value(all.as_of(version)).unwrap()
    }

    #[test]
    fn each_version_has_its_own_form() {
        for version in [Version::V0_3_1, Version::V0_4_0] {
            let made = made(version);
            assert_eq!(made["cniVersion"], version.as_str());
            assert_eq!(made["ips"][0], json!({"version": "4", "interface": 1, "address": "10.1.0.5/16", "gateway": "10.1.0.1"}));
            assert_eq!(made["ips"][1], json!({"version": "6", "interface": 1, "address": "fd00::5/64"}));
            assert_eq!(made["interfaces"][1], json!({"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"}));
            assert_eq!(made["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]));
        }
        let one = made(Version::V1_0_0);
        assert_eq!(one["ips"][0], json!({"interface": 1, "address": "10.1.0.5/16", "gateway": "10.1.0.1"}));
        assert_eq!(one["interfaces"][0], json!({"name": "br0", "mac": "02:00:00:00:00:01"}));
        let newest = made(Version::V1_1_0);
        assert_eq!((&newest["interfaces"][1]["mtu"], &newest["routes"][0]["mtu"]), (&json!(1400), &json!(1400)));
        assert_eq!(newest["dns"], json!({"nameservers": ["10.1.0.1"]}));
    }

    #[test]
    fn what_a_plugin_before_said_is_passed_on_and_ours_is_counted_behind_it() {
        let before = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/a", "socketPath": "/s"}],
            "ips": [{"address": "10.1.0.5/16", "interface": 0}], "routes": null, "dns": {"domain": "a"}, "extra": [1]});
        let ours = Success::read(before).unwrap().and(
            vec![Interface::new("net1", None, None, "/a")],
            vec![Ip::new("10.2.0.5/16".into(), None, Some(0))],
            Vec::new(),
            Dns { domain: "b".into(), ..Dns::default() },
        );
        let printed = serde_json::to_value(ours.as_of(Version::V1_1_0)).unwrap();
        assert_eq!(printed["interfaces"][0]["socketPath"], "/s");
        assert_eq!((&printed["ips"][0]["interface"], &printed["ips"][1]["interface"]), (&json!(0), &json!(1)));
        assert_eq!((&printed["dns"]["domain"], &printed["extra"]), (&json!("a"), &json!([1])));
        for bad in [json!([]), json!("x"), json!({"ips": 7}), json!({"interfaces": [7]}), json!({"routes": [{"gw": "x"}]})] {
            assert!(Success::read(bad.clone()).is_err(), "{bad}");
        }
    }
}
