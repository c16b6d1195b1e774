//! What a runtime says of one container, and of those that it still has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::config::{Object, Wish};
use super::environment::Arguments;
use super::error::CniError;
use super::ipam::Range;
use super::result::Dns;
use crate::model::topology::Attachment;

/// A part of the configuration that has a form of its own.
pub(super) fn part<T: Default + for<'de> Deserialize<'de>>(object: &Object, key: &str) -> Result<T, CniError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => serde_json::from_value(value.clone()).map_err(|error| CniError::configuration(key, error)),
    }
}

/// What is known here of `runtimeConfig` and of `args`, as it is written.
const KNOWN: [&str; 18] = [
    "ips",
    "mac",
    "bandwidth",
    "dns",
    "ipRanges",
    "ingressRate",
    "ingressBurst",
    "egressRate",
    "egressBurst",
    "servers",
    "searches",
    "options",
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "reserved",
    "cni",
];

/// A part that a runtime writes. containerd's library (go-cni) begins its keys with a capital, and says `null` or `""` for what
/// is not there: plugins that are written in Go do not see the difference.
pub(super) fn told<T: Default + for<'de> Deserialize<'de>>(object: &Object, key: &str) -> Result<T, CniError> {
    let plain = object.get(key).and_then(|value| plain(value.clone())).unwrap_or_else(|| Value::Object(Object::new()));
    serde_json::from_value(plain).map_err(|error| CniError::configuration(key, error))
}

/// Known keys alone, as they are written; nothing of what says nothing.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(all) => Some(Value::Array(all.into_iter().filter_map(plain).collect())),
        Value::Object(all) => Some(Value::Object(all.into_iter().filter_map(|(key, value)| Some((known(&key)?, plain(value)?))).collect())),
        other => Some(other),
    }
}

fn known(key: &str) -> Option<String> {
    KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(key)).map(str::to_owned)
}

/// `runtimeConfig`: what of it is known here. What is another plugin's is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Runtime {
    ips: Vec<String>,
    mac: Option<String>,
    bandwidth: Option<Bandwidth>,
    dns: Option<RuntimeDns>,
    #[serde(rename = "ipRanges")]
    ip_ranges: Vec<Ranges>,
}

/// The conventions have a list of lists; go-cni has one list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ranges {
    Several(Vec<Range>),
    One(Range),
}

/// In bits, and bits per second.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Bandwidth {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeDns {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Runtime {
    /// Subnets that the runtime adds: one address comes of each list.
    pub(super) fn ip_ranges(&self) -> Vec<Vec<Range>> {
        let one = |ranges: &Ranges| match ranges {
            Ranges::Several(all) => all.clone(),
            Ranges::One(range) => vec![range.clone()],
        };
        self.ip_ranges.iter().map(one).filter(|all| !all.is_empty()).collect()
    }

    /// What the runtime says stands above what the configuration says.
    pub(super) fn onto(&self, words: Attachment, arguments: &Arguments) -> Result<Attachment, CniError> {
        let mac = self.mac.clone().or_else(|| arguments.mac.clone()).filter(|mac| !mac.is_empty());
        let rate = self.bandwidth.as_ref().and_then(Bandwidth::rate);
        Ok(Attachment { mac: mac.or(words.mac), rate: rate.or(words.rate), ..words })
    }
}

/// A bucket that holds less lets no whole frame pass.
const LEAST_BURST: u64 = 2048;

impl Bandwidth {
    /// In our words, as seen from the guest. Both directions have one bucket, the larger.
    fn rate(&self) -> Option<String> {
        let rate = |bits: u64| if bits == 0 { String::new() } else { format!("{}bit", bits.max(8)) };
        if self.ingress_rate == 0 && self.egress_rate == 0 {
            return None;
        }
        let burst = self.ingress_burst.max(self.egress_burst) / 8;
        let burst = if burst == 0 { String::new() } else { format!(":{}b", burst.clamp(LEAST_BURST, u32::MAX.into())) };
        Some(format!("{}/{}{burst}", rate(self.ingress_rate), rate(self.egress_rate)))
    }
}

/// The runtime's word first, then the arguments' of the configuration, then those of the environment.
pub(super) fn wishes(runtime: &Runtime, object: &Object, arguments: &Arguments) -> Result<Vec<Wish>, CniError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Args {
        cni: Conventions,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Conventions {
        ips: Vec<String>,
    }
    let args: Args = told(object, "args")?;
    let all = [("runtimeConfig.ips", &runtime.ips), ("args.cni.ips", &args.cni.ips), ("CNI_ARGS", &arguments.ips)];
    let Some((key, texts)) = all.into_iter().find(|(_, texts)| !texts.is_empty()) else { return Ok(Vec::new()) };
    texts
        .iter()
        .map(|text| {
            let (ip, prefix) = text.split_once('/').map_or((text.as_str(), None), |(ip, prefix)| (ip, Some(prefix)));
            let prefix = prefix.map(str::parse::<u8>).transpose().ok();
            match (ip.parse::<IpAddr>(), prefix) {
                (Ok(ip), Some(prefix)) => Ok(Wish { ip, prefix }),
                _ => Err(CniError::configuration(key, format!("{text:?} is no address, like 192.168.1.5 or 192.168.1.5/24"))),
            }
        })
        .collect()
}

pub(super) fn dns(runtime: &Runtime, object: &Object) -> Result<Dns, CniError> {
    let told: Dns = part(object, "dns")?;
    Ok(match &runtime.dns {
        Some(RuntimeDns { servers, searches, options }) if !(servers.is_empty() && searches.is_empty() && options.is_empty()) => {
            Dns { nameservers: servers.clone(), search: searches.clone(), options: options.clone(), domain: told.domain }
        }
        _ => told,
    })
}

/// Without the list nothing is known to be stale.
pub(super) fn valid(object: &Object) -> Result<BTreeSet<(String, String)>, CniError> {
    const KEY: &str = "cni.dev/valid-attachments";
    #[derive(Deserialize)]
    struct Attached {
        #[serde(rename = "containerID")]
        container: String,
        ifname: String,
    }
    let list = object.get(KEY).or_else(|| object.get("cni.dev/attachments"));
    let list = list.ok_or_else(|| CniError::configuration(KEY, "it is missing, so nothing is known to be left over"))?;
    let all: Option<Vec<Attached>> = serde_json::from_value(list.clone()).map_err(|error| CniError::configuration(KEY, error))?;
    Ok(all.unwrap_or_default().into_iter().map(|one| (one.container, one.ifname)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn runtime(value: Value) -> Result<Runtime, CniError> {
        told(&object(json!({ "runtimeConfig": value })), "runtimeConfig")
    }

    /// Byte for byte what go-cni's BandWidth, DNS and IPRanges, which have no JSON tags, come to.
    const GO_CNI: &str = r#"{"bandwidth":{"IngressRate":8000000,"IngressBurst":800000,"EgressRate":0,"EgressBurst":0},
        "dns":{"Servers":["10.1.0.1"],"Searches":null,"Options":null},
        "ipRanges":[{"Subnet":"10.1.0.0/24","RangeStart":"","RangeEnd":"","Gateway":"10.1.0.1"}],
        "portMappings":[{"HostPort":80,"ContainerPort":80,"Protocol":"tcp","HostIP":""}]}"#;

    #[test]
    fn what_containerd_writes_with_capitals_is_read_as_any_plugin_in_go_reads_it() {
        let go = runtime(serde_json::from_str(GO_CNI).unwrap()).unwrap();
        let words = go.onto(Attachment::default(), &Arguments::default()).unwrap();
        assert_eq!(words.rate.as_deref(), Some("8000000bit/:100000b"));
        assert_eq!(dns(&go, &Object::new()).unwrap().nameservers, ["10.1.0.1"]);
        let other = json!({ "ipRanges": [[{ "subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "colour": "red" }], []] });
        assert_eq!(go.ip_ranges(), runtime(other).unwrap().ip_ranges());
    }

    #[test]
    fn null_and_an_empty_text_of_a_runtime_are_nothing() {
        let empty = json!({ "ips": null, "mac": "", "bandwidth": null, "dns": { "servers": null }, "ipRanges": null });
        for nothing in [empty, json!({ "ips": [""], "mac": null, "dns": null, "ipRanges": [null] }), json!(null), json!("")] {
            let nothing = runtime(nothing).unwrap();
            let args = object(json!({ "args": { "cni": { "ips": null } } }));
            assert_eq!(wishes(&nothing, &args, &Arguments::default()).unwrap(), []);
            assert_eq!(nothing.onto(Attachment::default(), &Arguments::default()).unwrap(), Attachment::default());
            assert!(nothing.ip_ranges().is_empty() && dns(&nothing, &Object::new()).unwrap().is_empty());
        }
        for bad in [json!(7), json!({ "ips": 7 }), json!({ "bandwidth": { "ingressRate": "x" } }), json!({ "ipRanges": [[{}]] })] {
            assert_eq!(runtime(bad).unwrap_err().code(), 7);
        }
    }
}
