//! How a guest shares a NIC with its host: macvlan, macvtap and ipvlan with their modes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::InputError;
use super::types::{MacAddr, serde_as_text};

/// A link on top of a NIC, with what it does with its siblings' frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// A MAC address of its own (ip-link(8), MACVLAN).
    Macvlan(MacvlanMode),
    /// As macvlan, with a character device for a virtual machine instead of the network stack above it.
    Macvtap(MacvlanMode),
    /// The NIC's own MAC address; frames are told apart by IP address (Documentation/networking/ipvlan.rst).
    Ipvlan(IpvlanMode),
}

impl Default for Sharing {
    /// The original's: macvlan in bridge mode.
    fn default() -> Self {
        Self::Macvlan(MacvlanMode::Bridge)
    }
}

impl Sharing {
    /// The name that `ip link ... type` has for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Macvtap(_) => "macvtap",
            Self::Ipvlan(_) => "ipvlan",
        }
    }

    /// Whether the link switches at layer 3: no ARP, no broadcast, and the host's routes decide (ipvlan.rst, L3 and L3S).
    pub fn is_layer3(&self) -> bool {
        matches!(self, Self::Ipvlan(IpvlanMode { layer: IpvlanLayer::L3 | IpvlanLayer::L3s, .. }))
    }

    /// Whether it has the NIC to itself: one link only, and every frame is the guest's.
    pub fn is_passthru(&self) -> bool {
        matches!(self, Self::Macvlan(MacvlanMode::Passthru) | Self::Macvtap(MacvlanMode::Passthru))
    }

    /// Whether it is an ipvlan, which cannot be on a NIC together with a macvlan.
    pub fn is_ipvlan(&self) -> bool {
        matches!(self, Self::Ipvlan(_))
    }
}

/// The option that asks for it: `--macvlan source:02:00:00:00:00:01`.
impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macvlan(mode) => write!(f, "--macvlan {mode}"),
            Self::Macvtap(mode) => write!(f, "--macvtap={mode}"),
            Self::Ipvlan(mode) => write!(f, "--ipvlan {mode}"),
        }
    }
}

/// What macvlans on one NIC do with each other's frames (MACVLAN_MODE_*, linux/if_link.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MacvlanMode {
    /// They reach each other directly.
    Bridge,
    /// They reach each other only by way of a switch that sends frames back (IEEE 802.1Qbg).
    Vepa,
    /// They never reach each other.
    Private,
    /// There is one, and it has the NIC to itself.
    Passthru,
    /// It hears only frames that come from these addresses; ascending, each once.
    Source(Vec<MacAddr>),
}

impl MacvlanMode {
    /// The name that `ip link ... mode` has for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Vepa => "vepa",
            Self::Private => "private",
            Self::Passthru => "passthru",
            Self::Source(_) => "source",
        }
    }

    /// Source mode with addresses in any order.
    pub fn source(mut allowed: Vec<MacAddr>) -> Self {
        allowed.sort_by_key(MacAddr::octets);
        allowed.dedup();
        Self::Source(allowed)
    }
}

impl FromStr for MacvlanMode {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "vepa" => Ok(Self::Vepa),
            "private" => Ok(Self::Private),
            "passthru" => Ok(Self::Passthru),
            _ => {
                let list = text.strip_prefix("source:").ok_or_else(|| InputError::MacvlanMode { text: text.to_owned() })?;
                Ok(Self::source(list.split(',').map(str::parse).collect::<Result<_, _>>()?))
            }
        }
    }
}

impl fmt::Display for MacvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let Self::Source(allowed) = self else { return Ok(()) };
        allowed.iter().enumerate().try_for_each(|(n, mac)| write!(f, "{}{mac}", if n == 0 { ':' } else { ',' }))
    }
}

/// An ipvlan's mode. Both parts are the NIC's: all ipvlans on it have the same (ipvlan_link_new, drivers/net/ipvlan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpvlanMode {
    /// Where frames are switched.
    pub layer: IpvlanLayer,
    /// What siblings hear of each other.
    pub siblings: IpvlanSiblings,
}

/// IPVLAN_MODE_*, linux/if_link.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanLayer {
    /// As an Ethernet: ARP, broadcast.
    L2,
    /// By the host's routes.
    L3,
    /// By the host's routes, and the host's netfilter sees it.
    L3s,
}

/// IPVLAN_F_*, linux/if_link.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanSiblings {
    /// They reach each other.
    Bridge,
    /// They never reach each other.
    Private,
    /// Only by way of a switch or router outside.
    Vepa,
}

impl IpvlanMode {
    /// The words behind `type ipvlan`, as `ip` has them.
    pub fn words(&self) -> String {
        format!("mode {} {}", self.layer_name(), self.siblings_name())
    }

    fn layer_name(&self) -> &'static str {
        match self.layer {
            IpvlanLayer::L2 => "l2",
            IpvlanLayer::L3 => "l3",
            IpvlanLayer::L3s => "l3s",
        }
    }

    fn siblings_name(&self) -> &'static str {
        match self.siblings {
            IpvlanSiblings::Bridge => "bridge",
            IpvlanSiblings::Private => "private",
            IpvlanSiblings::Vepa => "vepa",
        }
    }
}

impl FromStr for IpvlanMode {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = || InputError::IpvlanMode { text: text.to_owned() };
        let (layer, siblings) = text.split_once(':').unwrap_or((text, "bridge"));
        let layer = match layer {
            "l2" => IpvlanLayer::L2,
            "l3" => IpvlanLayer::L3,
            "l3s" => IpvlanLayer::L3s,
            _ => return Err(refuse()),
        };
        let siblings = match siblings {
            "bridge" => IpvlanSiblings::Bridge,
            "private" => IpvlanSiblings::Private,
            "vepa" => IpvlanSiblings::Vepa,
            _ => return Err(refuse()),
        };
        Ok(Self { layer, siblings })
    }
}

impl fmt::Display for IpvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.layer_name())?;
        if self.siblings == IpvlanSiblings::Bridge { Ok(()) } else { write!(f, ":{}", self.siblings_name()) }
    }
}

serde_as_text!(MacvlanMode, IpvlanMode);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn modes_print_as_they_are_typed() {
        for text in ["bridge", "vepa", "private", "passthru", "source:02:00:00:00:00:01", "source:02:00:00:00:00:01,02:00:00:00:00:02"] {
            assert_eq!(text.parse::<MacvlanMode>().unwrap().to_string(), text);
        }
        for text in ["l2", "l3", "l3s", "l2:private", "l3:vepa"] {
            assert_eq!(text.parse::<IpvlanMode>().unwrap().to_string(), text);
        }
        assert_eq!("l2:bridge".parse::<IpvlanMode>().unwrap().to_string(), "l2");
        let twice = "source:02:00:00:00:00:02,02:00:00:00:00:01,02:00:00:00:00:02".parse::<MacvlanMode>().unwrap();
        assert_eq!(twice.to_string(), "source:02:00:00:00:00:01,02:00:00:00:00:02");
    }

    #[test]
    fn nonsense_is_refused_with_the_modes_there_are() {
        for text in ["", "Bridge", "source", "source:", "source:02:00:00:00:00:01,", "source:01:00:00:00:00:01", "bridge:"] {
            assert!(text.parse::<MacvlanMode>().is_err(), "{text}");
        }
        for text in ["", "l4", "l2:", "l2:source", "l3:bridge:vepa", "vepa"] {
            assert!(text.parse::<IpvlanMode>().unwrap_err().to_string().contains("l3s"), "{text}");
        }
    }
}
