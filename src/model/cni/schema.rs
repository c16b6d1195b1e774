//! The form of a network configuration, for editors, and an example of one.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::config::NetworkName;
use super::ipam::Words;
use super::result::Dns;
use super::version::Version;
use crate::model::topology::Attachment;

/// What stands in a plugin's configuration beside the keys of an attachment.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it is there for its form")]
struct Protocol {
    /// The plugin: pipework.
    #[serde(rename = "type")]
    kind: String,
    /// The version of the specification: 0.3.1, 0.4.0, 1.0.0, 1.1.0. In a list it stands outside.
    #[serde(rename = "cniVersion")]
    version: Option<String>,
    /// The network's name. In a list it stands outside.
    name: Option<String>,
    /// What the runtime may say of each container: ips, mac, bandwidth, dns, ipRanges; portMappings are for a plugin behind.
    capabilities: Option<std::collections::BTreeMap<String, bool>>,
    /// Who gives the addresses: pools of ours, or another plugin; the configuration itself when absent.
    ipam: Option<IpamWords>,
    /// What runtimes are told of the names' servers.
    dns: Option<Dns>,
    /// The bridge that the interface is a port of: as host_if.
    bridge: Option<String>,
    /// The NIC that the interface lies on: as host_if.
    parent: Option<String>,
    /// As parent, by the name that other plugins have for it.
    master: Option<String>,
}

/// Ours by its form, another plugin's by nothing but its name.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for its form")]
enum IpamWords {
    Own(Words),
    Delegated {
        #[serde(rename = "type")]
        kind: String,
        #[serde(flatten)]
        more: Map<String, Value>,
    },
}

/// The JSON Schema (2020-12) of a plugin's configuration: what stands in `plugins` of a list.
pub fn schema() -> Value {
    let attachment: Value = schemars::schema_for!(Attachment).into();
    let mut schema: Value = schemars::schema_for!(Protocol).into();
    let object = |value: &Value, key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    for key in ["properties", "$defs"] {
        let mut all = object(&attachment, key);
        // Who it is the environment says; what lasts is the runtime's business.
        ["guest", "persist", "keep_netns"].iter().for_each(|key| drop(all.remove(*key)));
        all.extend(object(&schema, key));
        schema[key] = Value::Object(all);
    }
    schema["title"] = "pipework as a CNI plugin".into();
    schema["description"] = "A plugin's configuration: the keys of an attachment of `pipework apply`, and those of the protocol.".into();
    schema["required"] = json!(["type"]);
    schema["additionalProperties"] = false.into();
    schema["patternProperties"] =
        json!({ "^(cni\\.dev/.*|runtimeConfig|args|prevResult|cniVersions|disableCheck|disableGC|loadOnlyInlinedPlugins|ipMasq)$": {} });
    schema
}

/// A network's configuration to begin with, as a file for `/etc/cni/net.d`.
pub fn example(network: &NetworkName) -> String {
    let list = json!({
        "cniVersion": Version::V1_0_0.as_str(),
        "name": network.as_str(),
        "plugins": [{
            "type": super::OWN,
            "bridge": "br0",
            "ipam": {
                "type": super::OWN,
                "subnet": "192.168.1.0/24",
                "rangeStart": "192.168.1.100",
                "rangeEnd": "192.168.1.199",
                "gateway": "192.168.1.1",
            },
            "capabilities": { "ips": true, "mac": true, "bandwidth": true },
        }],
    });
    format!("{list:#}\n")
}
