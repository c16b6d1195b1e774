//! `--offload`: the features of an interface, as `ethtool -K` names them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::model::error::InputError;
use crate::model::types::serde_as_text;

/// A feature: one of ethtool's words for several of the kernel's, or one of the kernel's own names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature(String);

/// ethtool's short word and long word, and what they stand for in the kernel (off_flag_def in ethtool's common.c): names with
/// anything in the place of the star.
const GROUPS: [(&str, &str, &str); 12] = [
    ("rx", "rx-checksumming", "rx-checksum"),
    ("tx", "tx-checksumming", "tx-checksum-*"),
    ("sg", "scatter-gather", "tx-scatter-gather*"),
    ("tso", "tcp-segmentation-offload", "tx-tcp*-segmentation"),
    ("ufo", "udp-fragmentation-offload", "tx-udp-fragmentation"),
    ("gso", "generic-segmentation-offload", "tx-generic-segmentation"),
    ("gro", "generic-receive-offload", "rx-gro"),
    ("lro", "large-receive-offload", "rx-lro"),
    ("rxvlan", "rx-vlan-offload", "rx-vlan-hw-parse"),
    ("txvlan", "tx-vlan-offload", "tx-vlan-hw-insert"),
    ("ntuple", "ntuple-filters", "rx-ntuple-filter"),
    ("rxhash", "receive-hashing", "rx-hashing"),
];

impl Feature {
    fn pattern(&self) -> &str {
        let group = GROUPS.iter().find(|(short, long, _)| self.0 == *short || self.0 == *long);
        group.map_or(self.0.as_str(), |(_, _, pattern)| pattern)
    }

    /// Whether it stands for one of the kernel's features.
    pub fn covers(&self, name: &str) -> bool {
        match self.pattern().split_once('*') {
            Some((before, behind)) => name.strip_prefix(before).is_some_and(|rest| rest.ends_with(behind)),
            None => name == self.pattern(),
        }
    }

    /// Whether the two have something in common.
    fn overlaps(&self, other: &Self) -> bool {
        self.pattern() == other.pattern() || self.covers(&other.0) || other.covers(&self.0)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A feature that is to be on or off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Which.
    pub feature: Feature,
    /// Whether it is to be on.
    pub on: bool,
}

impl Offload {
    /// One of the kernel's own features, as it is.
    ///
    /// # Errors
    /// When that is no name of a feature.
    pub fn of_kernel(name: &str, on: bool) -> Result<Self, InputError> {
        if !is_name(name) {
            return Err(InputError::Setting { option: "--offload", text: name.to_owned(), why: "it is no name of a feature".into() });
        }
        Ok(Self { feature: Feature(name.to_owned()), on })
    }
}

/// ETH_GSTRING_LEN, linux/ethtool.h.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 32 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl FromStr for Offload {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refuse = |why: String| InputError::Setting { option: "--offload", text: text.to_owned(), why };
        let (name, value) = text.split_once('=').ok_or_else(|| refuse("give tx=off,tso=off and the like".into()))?;
        let on = match value {
            "on" => true,
            "off" => false,
            _ => return Err(refuse(format!("{name} is to be on or off, not {value:?}"))),
        };
        if !is_name(name) {
            return Err(refuse(format!("{name:?} is no name of a feature: ethtool -k lists them")));
        }
        Ok(Self { feature: Feature(name.to_owned()), on })
    }
}

/// All that are to be changed, as `tx=off,tso=off`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offloads(Vec<Offload>);

impl Offloads {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in the order in which they were typed.
    pub fn iter(&self) -> impl Iterator<Item = &Offload> {
        self.0.iter()
    }
}

impl FromStr for Offloads {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let mut all: Vec<Offload> = Vec::new();
        for word in text.split(',') {
            let offload: Offload = word.parse()?;
            if all.iter().any(|other| other.feature.overlaps(&offload.feature)) {
                let why = format!("it has {} twice", offload.feature);
                return Err(InputError::Setting { option: "--offload", text: text.to_owned(), why });
            }
            all.push(offload);
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.feature, if self.on { "on" } else { "off" })
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Offload::to_string).collect();
        f.write_str(&all.join(","))
    }
}

/// The features of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Those that can be switched.
    pub changeable: BTreeSet<String>,
    /// Those that are on.
    pub active: BTreeSet<String>,
}

impl Features {
    /// The kernel's features that an offload would change, as they are.
    pub fn before(&self, offload: &Offload) -> Vec<Offload> {
        let covered = self.changeable.iter().filter(|name| offload.feature.covers(name));
        let other = covered.filter(|name| self.active.contains(*name) != offload.on);
        other.filter_map(|name| Offload::of_kernel(name, !offload.on).ok()).collect()
    }

    /// Whether the link is as an offload has it: on when any of the feature's parts is.
    pub fn is(&self, offload: &Offload) -> bool {
        self.active.iter().any(|name| offload.feature.covers(name)) == offload.on
    }
}

serde_as_text!(Offload, Offloads);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn features_have_ethtools_names_and_the_kernels() {
        let all: Offloads = "tx=off,gro=on,tx-nocache-copy=off".parse().unwrap();
        assert_eq!(all.to_string(), "tx=off,gro=on,tx-nocache-copy=off");
        let covers = |feature: &str, name: &str| Feature(feature.into()).covers(name);
        assert!(
            covers("tx", "tx-checksum-sctp") && covers("tcp-segmentation-offload", "tx-tcp6-segmentation") && covers("rx-gro", "rx-gro")
        );
        assert!(!covers("tx", "tx-scatter-gather") && !covers("tso", "tx-udp-segmentation") && !covers("gro", "rx-gro-hw"));
        for text in ["", "tx", "tx=", "tx=0", "TX=off", "tx=off,tx-checksum-ipv4=on", "tx=off,tx-checksumming=off", "=on", "a b=on"] {
            assert!(text.parse::<Offloads>().is_err(), "{text}");
        }
    }

    fn features() -> Features {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Features {
            changeable: names(&["tx-checksum-ip-generic", "tx-checksum-sctp", "rx-gro"]),
            active: names(&["tx-checksum-ip-generic", "rx-lro"]),
        }
    }

    #[test]
    fn what_an_offload_changes_is_told_by_the_kernels_names() {
        let before = |text: &str| features().before(&text.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(before("tx=off"), ["tx-checksum-ip-generic=on"]);
        assert_eq!(before("tx=on"), ["tx-checksum-sctp=off"]);
        assert_eq!(before("lro=off"), Vec::<String>::new(), "it is fixed");
        assert!(features().is(&"tx=on".parse().unwrap()) && features().is(&"gro=off".parse().unwrap()));
    }
}
