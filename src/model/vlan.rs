//! VLANs of a switch port: what passes untagged, and what passes tagged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::InputError;
use super::types::{IfName, Tag, VlanId};

/// VLANs from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanRange {
    /// The first.
    pub first: VlanId,
    /// The last; not below the first.
    pub last: VlanId,
}

/// `10`: an access port. `10,20-30`: 10 untagged, 20 to 30 tagged. `,20-30`: tagged only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortVlans {
    /// The VLAN of untagged frames (IEEE 802.1Q-2018, 3.220: PVID).
    pub untagged: Option<VlanId>,
    /// The VLANs that pass with their tag, ascending, apart, without the untagged one.
    pub tagged: Vec<VlanRange>,
}

impl FromStr for PortVlans {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = || InputError::Vlan { text: text.to_owned() };
        let (first, rest) = text.split_once(',').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let untagged = if first.is_empty() { None } else { Some(first.parse::<VlanId>().map_err(|_| refuse())?) };
        let mut tagged = Vec::new();
        for part in rest.into_iter().flat_map(|rest| rest.split(',')) {
            tagged.push(part.parse::<VlanRange>().map_err(|_| refuse())?);
        }
        if untagged.is_none() && tagged.is_empty() {
            return Err(refuse());
        }
        tagged.sort();
        let apart = tagged.windows(2).all(|pair| matches!(pair, [a, b] if a.last < b.first));
        if !apart || untagged.is_some_and(|id| tagged.iter().any(|range| range.contains(id))) {
            return Err(refuse());
        }
        Ok(Self { untagged, tagged })
    }
}

impl FromStr for VlanRange {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: first.parse()?, last: last.parse()? };
        if range.first <= range.last { Ok(range) } else { Err(InputError::Vlan { text: text.to_owned() }) }
    }
}

impl VlanRange {
    /// Whether the VLAN is in it.
    pub fn contains(&self, id: VlanId) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// Each of them as a number.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        self.first.get()..=self.last.get()
    }
}

impl fmt::Display for VlanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Display for PortVlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.untagged {
            write!(f, "{id}")?;
        }
        self.tagged.iter().try_for_each(|range| write!(f, ",{range}"))
    }
}

/// Which tags (EtherType, linux/if_ether.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VlanProtocol {
    /// 802.1Q, 0x8100: a customer's.
    Dot1q,
    /// 802.1ad, 0x88a8: a provider's, which carries customers' frames with their own tags.
    Dot1ad,
}

impl fmt::Display for VlanProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dot1q => "802.1Q",
            Self::Dot1ad => "802.1ad",
        })
    }
}

/// The VLAN of a NIC's child: `10`, or `ad:100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NicVlan {
    /// Which tags.
    pub protocol: VlanProtocol,
    /// The VLAN.
    pub id: VlanId,
}

impl NicVlan {
    /// The one VLAN that a tag means on a NIC.
    ///
    /// # Errors
    /// When the tag is no VLAN, or several.
    pub fn of(tag: &Tag) -> Result<Self, InputError> {
        match tag.service_vlan() {
            Some(id) => Ok(Self { protocol: VlanProtocol::Dot1ad, id: id? }),
            None => Ok(Self { protocol: VlanProtocol::Dot1q, id: tag.vlan()? }),
        }
    }

    /// `<nic>.10` as in the original, `<nic>.ad100`: not the name of the 802.1Q child of that number, which may be there too.
    ///
    /// # Errors
    /// When that is too long for a name.
    pub fn child(&self, nic: &str) -> Result<IfName, InputError> {
        format!("{nic}{}", self.suffix()).parse()
    }

    /// `tag 10`, `802.1ad tag 100`
    pub fn tag_text(&self) -> String {
        match self.protocol {
            VlanProtocol::Dot1q => format!("tag {}", self.id),
            VlanProtocol::Dot1ad => format!("{} tag {}", self.protocol, self.id),
        }
    }

    /// What stands behind the NIC's name: `.10`, `.ad100`.
    pub fn suffix(&self) -> String {
        match self.protocol {
            VlanProtocol::Dot1q => format!(".{}", self.id),
            VlanProtocol::Dot1ad => format!(".ad{}", self.id),
        }
    }
}

impl fmt::Display for NicVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            VlanProtocol::Dot1q => write!(f, "VLAN {}", self.id),
            VlanProtocol::Dot1ad => write!(f, "{} VLAN {}", self.protocol, self.id),
        }
    }
}

/// VLANs of a bridge's port as observed: some with the same flags (`struct bridge_vlan_info`, linux/if_bridge.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortVlan {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// Whether untagged frames that come in are in it; then it is one.
    pub pvid: bool,
    /// Whether its frames go out untagged.
    pub untagged: bool,
}

/// As `1 untagged`, `20-30 tagged`.
impl fmt::Display for PortVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last != self.first {
            write!(f, "-{}", self.last)?;
        }
        f.write_str(match (self.pvid, self.untagged) {
            (true, true) => " untagged",
            (true, false) => " untagged in, tagged out",
            (false, true) => " tagged in, untagged out",
            (false, false) => " tagged",
        })
    }
}

impl PortVlans {
    /// What the port has when it is as asked.
    pub fn entries(&self) -> Vec<PortVlan> {
        let untagged = self.untagged.map(|id| PortVlan { first: id.get(), last: id.get(), pvid: true, untagged: true });
        let tagged = self.tagged.iter().map(|r| PortVlan { first: r.first.get(), last: r.last.get(), pvid: false, untagged: false });
        untagged.into_iter().chain(tagged).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ports_print_as_they_are_typed() {
        for text in ["10", "10,20-30", ",20-30", "1,2,4094", ",5"] {
            assert_eq!(text.parse::<PortVlans>().unwrap().to_string(), text);
        }
        assert_eq!("10,30,20".parse::<PortVlans>().unwrap().to_string(), "10,20,30");
    }

    #[test]
    fn overlaps_and_nonsense_are_refused() {
        for text in ["", ",", "0", "4095", "10,", "10,10", "10,5-15", "10,20-30,25", "10,30-20", "10-20", "a", "1,,2", "+1"] {
            assert!(text.parse::<PortVlans>().is_err(), "{text}");
        }
    }
}
