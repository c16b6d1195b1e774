//! VLANs of a switch port: what passes untagged, and what passes tagged.

use std::fmt;
use std::str::FromStr;

use super::error::InputError;
use super::types::VlanId;

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
