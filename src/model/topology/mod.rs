//! A host's networks in one file: what `pipework apply` makes so, and `pipework export` writes. Each key is called as the
//! option of `pipework attach` that says the same, or as reports and records have it.

mod attachment;
mod check;
mod report;
#[cfg(test)]
mod tests;
mod text;
mod word;

pub use attachment::{Attachment, How};
pub use check::{Place, Wanted, WantedAttachment, WantedBridge, WantedGuest, Wrong};
pub use report::{Action, ApplyReport, Count, Kind, ObjectReport};
pub use text::{Format, Lines, Located, read, schema, write};
pub use word::Word;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pair::{EndWord, GuestIf, PairRequest};
use super::settings::Mtu;
use super::types::IfName;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "pipework topology")]
pub struct Topology {
    /// Its name, by which `--prune` knows what the same topology made before; "default" when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Guests: containers that have to be there, or network namespaces that are made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guests: Vec<Guest>,
    /// Linux bridges of the host; one that is not there is made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<Bridge>,
    /// Interfaces of guests, as `pipework attach` makes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Links straight between two guests, as `pipework link` makes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// A guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// A container's name or ID, docker:NAME, podman:NAME, lxc:NAME, pid:N, netns:NAME, netns:/path.
    pub guest: String,
    /// netns:NAME only: make the network namespace, as `ip netns add NAME` does, when it is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
}

/// A Linux bridge of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// NICs that are made its ports: each without an address and a master of its own, so that no host is cut off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uplinks: Vec<String>,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Word>,
    /// Whether it filters VLANs; left as it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_filtering: Option<bool>,
    /// The host's own addresses on it, as IP/PREFIX.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// A veth straight between two guests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Both ends.
    pub ends: [LinkEnd; 2],
    /// MTU of both ends in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Word>,
}

/// One end of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkEnd {
    /// The guest.
    pub guest: String,
    /// Name of the interface in the guest; eth1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_if: Option<String>,
    /// Its addresses, as IP/PREFIX.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The guest's default gateways, at most one of a family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
}

impl Link {
    /// What is asked. All that is wrong with it is told.
    ///
    /// # Errors
    /// Key by key.
    pub fn request(&self) -> Result<PairRequest, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let [first, second] = self.ends.each_ref().map(|end| end.word(&mut wrong));
        let mtu = self.mtu.as_ref().map(|mtu| mtu.as_str().parse::<Mtu>()).transpose();
        let mtu = mtu.map_err(|error| wrong.push(("mtu", error.to_string()))).ok().flatten();
        match (first, second) {
            (Some(first), Some(second)) if wrong.is_empty() => Ok(PairRequest { ends: [first, second], mtu }),
            _ => Err(wrong),
        }
    }
}

impl LinkEnd {
    fn word(&self, wrong: &mut Vec<(&'static str, String)>) -> Option<EndWord> {
        let mut note = |error: super::error::InputError| wrong.push(("ends", error.to_string()));
        let guest = self.guest.parse().map_err(&mut note).ok();
        let interface = self.guest_if.as_deref().unwrap_or("eth1").parse::<IfName>().map_err(&mut note).ok();
        let addr = attachment::addr_word(&self.addresses, &self.gateways).parse().map_err(&mut note).ok();
        Some(EndWord { at: GuestIf { guest: guest?, interface: interface? }, addr: addr? })
    }
}

impl From<&EndWord> for LinkEnd {
    fn from(end: &EndWord) -> Self {
        Self {
            guest: end.at.guest.to_string(),
            guest_if: Some(end.at.interface.to_string()),
            addresses: end.addr.addrs.iter().map(ToString::to_string).collect(),
            gateways: end.addr.gateways.iter().map(ToString::to_string).collect(),
        }
    }
}
