//! What a rule allows or denies.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::asked::{Asked, Giver, Kind, Opt, Vlans};
use super::usual;
use crate::model::intent::glob::Glob;
use crate::model::vlan::VlanRange;

/// What a rule speaks of. In one that allows, what is not said is as usual; in one that denies, what is not said is not denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) parents: Option<Vec<Glob>>,
    pub(super) vlans: Option<Vec<VlanWord>>,
    pub(super) addresses: Option<Vec<AddressWord>>,
    pub(super) kinds: Option<Vec<Kind>>,
    pub(super) options: Option<Vec<Opt>>,
    /// Whatever is asked.
    pub(super) everything: bool,
}

/// Of `vlans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VlanWord {
    /// No tag.
    None,
    /// One, or several.
    Range(VlanRange),
}

/// Of `addresses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressWord {
    /// No address: `0/0`.
    None,
    /// Addresses in it.
    Range(IpNetwork),
    /// An address by it.
    By(Giver),
}

impl Scope {
    /// The first of what is asked that is not among what it allows.
    pub(super) fn lacks(&self, asked: &Asked) -> Option<String> {
        if self.everything {
            return None;
        }
        if let Some(name) = &asked.strange_name {
            return Some(format!("the interface name {name:?}, which is not of letters, digits, '-', '_', '.' alone"));
        }
        let parent = match &self.parents {
            Some(globs) => globs.iter().any(|glob| glob.is(&asked.parent)),
            None => usual::is_parent(&asked.parent),
        };
        if !parent {
            return Some(format!("host interface {}", asked.parent));
        }
        let kinds = self.kinds.as_deref().unwrap_or(usual::KINDS);
        if let Some(kind) = asked.kinds.iter().find(|kind| !kinds.contains(kind)) {
            return Some(kind.to_string());
        }
        let options = self.options.as_deref().unwrap_or(usual::OPTIONS);
        if let Some(option) = asked.options.iter().find(|option| !options.contains(option)) {
            return Some(option.to_string());
        }
        self.lacking_vlan(&asked.vlans).or_else(|| self.lacking_address(asked))
    }

    fn lacking_vlan(&self, asked: &Vlans) -> Option<String> {
        let words = self.vlans.as_deref()?;
        let has = |id: u16| words.iter().any(|word| word.has(id));
        match asked {
            Vlans::None => (!words.contains(&VlanWord::None)).then(|| "an interface without a VLAN".to_owned()),
            Vlans::Some(ranges) => {
                let id = ranges.iter().flat_map(VlanRange::numbers).find(|id| !has(*id))?;
                Some(format!("VLAN {id}"))
            }
            Vlans::Pkey(key) => Some(format!("partition key {key}")),
        }
    }

    fn lacking_address(&self, asked: &Asked) -> Option<String> {
        let words = self.addresses.as_deref();
        if let Some(giver) = asked.giver {
            let by = words.map_or_else(|| usual::GIVERS.contains(&giver), |words| words.contains(&AddressWord::By(giver)));
            return (!by).then(|| format!("an address by {}", giver.name()));
        }
        let words = words?;
        if asked.addresses.is_empty() {
            return (!words.contains(&AddressWord::None)).then(|| "an interface without an address".to_owned());
        }
        let out = asked.addresses.iter().find(|addr| !words.iter().any(|word| word.has(addr.ip())))?;
        Some(format!("address {}", out.ip()))
    }

    /// The first of what is asked that is among what it denies.
    pub(super) fn has(&self, asked: &Asked) -> Option<String> {
        if self.everything {
            return Some(format!("host interface {}", asked.parent));
        }
        // A name that is denied may be that of the NIC with this MAC address.
        let parent = self.parents.as_ref().is_some_and(|globs| asked.is_nameless || globs.iter().any(|glob| glob.is(&asked.parent)));
        if parent {
            return Some(format!("host interface {}", asked.parent));
        }
        let kind = self.kinds.iter().flatten().find(|kind| asked.kinds.contains(kind)).map(ToString::to_string);
        let option = || self.options.iter().flatten().find(|option| asked.options.contains(option)).map(ToString::to_string);
        kind.or_else(option).or_else(|| self.denied_vlan(&asked.vlans)).or_else(|| self.denied_address(asked))
    }

    fn denied_vlan(&self, asked: &Vlans) -> Option<String> {
        let words = self.vlans.as_deref()?;
        let has = |id: u16| words.iter().any(|word| word.has(id));
        match asked {
            Vlans::None => words.contains(&VlanWord::None).then(|| "an interface without a VLAN".to_owned()),
            Vlans::Some(ranges) => ranges.iter().flat_map(VlanRange::numbers).find(|id| has(*id)).map(|id| format!("VLAN {id}")),
            Vlans::Pkey(key) => Some(format!("partition key {key}")),
        }
    }

    fn denied_address(&self, asked: &Asked) -> Option<String> {
        let words = self.addresses.as_deref()?;
        match asked.giver {
            Some(giver) => words.contains(&AddressWord::By(giver)).then(|| format!("an address by {}", giver.name())),
            None if asked.addresses.is_empty() => words.contains(&AddressWord::None).then(|| "an interface without an address".to_owned()),
            None => {
                let within = asked.addresses.iter().find(|addr| words.iter().any(|word| word.has(addr.ip())))?;
                Some(format!("address {}", within.ip()))
            }
        }
    }
}

impl VlanWord {
    fn has(self, id: u16) -> bool {
        matches!(self, Self::Range(range) if (range.first.get()..=range.last.get()).contains(&id))
    }
}

impl AddressWord {
    fn has(&self, ip: IpAddr) -> bool {
        matches!(self, Self::Range(network) if network.contains(ip))
    }
}
