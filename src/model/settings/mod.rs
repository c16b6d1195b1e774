//! What an interface is given beyond its addresses: each field is an option of `attach`, and prints as it is typed.

mod offload;
mod quantity;
mod shaping;
mod sysctl;
mod words;

pub use offload::{Feature, Features, Offload, Offloads};
pub use quantity::{Bandwidth, Bytes, Micros, Percent};
pub use shaping::{Netem, Rate};
pub use sysctl::{Sysctl, Tree};
pub use words::ToolWords;

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::InputError;
use super::types::{MacAddr, serde_as_text};

/// All of them. What was not said is left as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `--mtu`: of the guest's interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// `--metric`: of the gateways' routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// `--route`: the words of `ip route add`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<ToolWords>,
    /// `--rule`: the words of `ip rule add`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ToolWords>,
    /// `--table`: source routing by a table of the interface's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableChoice>,
    /// `--rate`: the most that passes into the guest and out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// `--netem`: what becomes of packets that leave the guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netem: Option<Netem>,
    /// `--offload`: what the interface does in place of the kernel.
    #[serde(skip_serializing_if = "Offloads::is_empty")]
    pub offloads: Offloads,
    /// `--txqueuelen`: packets that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txqueuelen: Option<u32>,
    /// `--queues`: of a veth's ends, when it is made; one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<NonZeroU16>,
    /// `--sysctl`: of the guest's interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<Sysctl>,
    /// `--link-mac`: of the veth's end on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_mac: Option<MacAddr>,
    /// `-i auto`: the first free name. Once it is found, the request has the name itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_name: bool,
}

impl Settings {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The MTU of an interface in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtu(u32);

impl Mtu {
    /// What IPv4 needs (RFC 791, section 3.2), and the least that an Ethernet takes (ETH_MIN_MTU, linux/if_ether.h).
    const LEAST: u32 = 68;
    /// ETH_MAX_MTU, linux/if_ether.h.
    const MOST: u32 = 65535;
    /// What IPv6 needs (RFC 8200, section 5): with less the kernel takes it off the interface.
    pub const LEAST_IPV6: u32 = 1280;

    /// In bytes.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Mtu {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let mtu = decimal(text).filter(|mtu| (Self::LEAST..=Self::MOST).contains(mtu));
        mtu.map(Self).ok_or_else(|| InputError::Setting {
            option: "--mtu",
            text: text.to_owned(),
            why: format!("give bytes from {} to {}, like 1400", Self::LEAST, Self::MOST),
        })
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Mtu {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Mtu {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer)?.to_string().parse().map_err(serde::de::Error::custom)
    }
}

/// Which routing table is to be the interface's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableChoice {
    /// One that nobody uses.
    Auto,
    /// That one.
    Number(u32),
}

impl FromStr for TableChoice {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::Setting { option: "--table", text: text.to_owned(), why: why.to_owned() };
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match decimal(text) {
            // RT_TABLE_*, linux/rtnetlink.h.
            Some(253..=255) => Err(refuse("the tables default, main and local are not an interface's own: give auto or another number")),
            Some(0) | None => Err(refuse("give auto, or the number of a table, like 100")),
            Some(number) => Ok(Self::Number(number)),
        }
    }
}

impl fmt::Display for TableChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

serde_as_text!(TableChoice);

/// A number in plain digits.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_are_json_that_a_person_can_read_and_what_is_not_said_is_not_there() {
        assert_eq!(serde_json::to_string(&Settings::default()).unwrap(), "{}");
        let text = r#"{"mtu":1400,"metric":50,"routes":["10.9.0.0/16 via 10.1.1.1"],"rules":["-6 from fd00::/64 lookup 100"],"table":"auto","rate":"10mbit/2mbit:64kb","netem":"delay=100ms,loss=0.3%","offloads":"tx=off,tso=off","txqueuelen":500,"sysctls":["net.ipv4.conf.IF.arp_ignore=1"],"link_mac":"02:00:00:00:00:01","auto_name":true}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&settings).unwrap(), text);
        for bad in [
            r#"{"mtu":67}"#,
            r#"{"mtu":"1400"}"#,
            r#"{"table":"main"}"#,
            r#"{"table":"254"}"#,
            r#"{"sysctls":["kernel.panic=1"]}"#,
            r#"{"mut":1400}"#,
        ] {
            assert!(serde_json::from_str::<Settings>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_mtu_is_what_a_link_can_have() {
        for (text, wanted) in
            [("68", Some(68)), ("1400", Some(1400)), ("65535", Some(65535)), ("67", None), ("65536", None), ("+1400", None), ("", None)]
        {
            assert_eq!(text.parse::<Mtu>().ok().map(Mtu::get), wanted, "{text}");
        }
    }
}
