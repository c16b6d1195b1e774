//! What a link does in place of the kernel (offloads): asked for and switched by generic netlink (linux/ethtool_netlink.h;
//! Documentation/networking/ethtool-netlink.rst, FEATURES_GET and FEATURES_SET).

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::genetlink::{self, find, text};
use super::netns::Namespace;
use super::wire::{Netlink, attributes, put_attribute};
use crate::model::error::KernelError;
use crate::model::settings::{Features, Offload};

const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
// ETHTOOL_A_FEATURES_*
const HEADER: u16 = 1;
const CHANGEABLE: u16 = 2;
const WANTED: u16 = 3;
const ACTIVE: u16 = 4;
const FIXED: u16 = 5;
/// ETHTOOL_A_HEADER_DEV_INDEX
const DEV_INDEX: u16 = 1;
// ETHTOOL_A_BITSET_*
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
/// NLA_F_NESTED: this family insists on it.
const NESTED: u16 = 0x8000;

/// One namespace's ethtool.
struct Ethtool {
    socket: Netlink,
    family: u16,
}

/// The features of a link of a namespace.
///
/// # Errors
/// When this kernel cannot be asked, or has no such link.
pub fn features(namespace: &Namespace, index: u32) -> Result<Features, KernelError> {
    namespace.inside(|| Ethtool::open()?.features(index))
}

/// `ethtool -K`
pub(super) fn set(namespace: &Namespace, index: u32, offload: &Offload) -> Result<(), KernelError> {
    namespace.inside(|| {
        let mut ethtool = Ethtool::open()?;
        let features = ethtool.features(index)?;
        if features.is(offload) && features.before(offload).is_empty() {
            return Ok(());
        }
        let names: Vec<String> = features.before(offload).iter().map(|one| one.feature.to_string()).collect();
        if names.is_empty() {
            return Err(refused(format!("{} is fixed on this interface, as ethtool -k tells", offload.feature)));
        }
        ethtool.switch(index, &names, offload.on)?;
        if ethtool.features(index)?.is(offload) {
            return Ok(());
        }
        let state = if offload.on { "off" } else { "on" };
        Err(refused(format!("{} stays {state}: another feature that it depends on may have to be switched, too", offload.feature)))
    })
}

fn refused(text: String) -> KernelError {
    KernelError::Refused { errno: Errno::EOPNOTSUPP, text: Some(text) }
}

impl Ethtool {
    /// Opens the calling thread's namespace.
    fn open() -> Result<Self, KernelError> {
        let mut socket = Netlink::open_generic()?;
        let family = genetlink::family(&mut socket, "ethtool")?;
        let family = family.ok_or_else(|| refused("this kernel cannot be told by netlink: it needs CONFIG_ETHTOOL_NETLINK".into()))?;
        Ok(Self { socket, family })
    }

    fn features(&mut self, index: u32) -> Result<Features, KernelError> {
        let answers = self.socket.request_raw(self.family, 0, &message(FEATURES_GET, index, None))?;
        let answer = answers.first().ok_or_else(|| KernelError::Garbled("no features".into()))?;
        let names = |set: u16| -> BTreeSet<String> { find(answer, set).map(bit_names).unwrap_or_default() };
        let mut changeable = names(CHANGEABLE);
        // As ethtool does: what must not be changed is fixed, whatever the driver could do.
        names(FIXED).iter().for_each(|name| _ = changeable.remove(name));
        Ok(Features { changeable, active: names(ACTIVE) })
    }

    fn switch(&mut self, index: u32, names: &[String], on: bool) -> Result<(), KernelError> {
        self.socket.request_raw(self.family, 0, &message(FEATURES_SET, index, Some(bits(names, on)))).map(drop)
    }
}

fn message(command: u8, index: u32, wanted: Option<Vec<u8>>) -> Vec<u8> {
    let mut header = Vec::new();
    put_attribute(&mut header, DEV_INDEX, &index.to_ne_bytes());
    let mut with = vec![(HEADER | NESTED, header)];
    with.extend(wanted.map(|bits| (WANTED | NESTED, bits)));
    genetlink::message(command, 1, &with)
}

/// A bit set in which only these bits are told.
fn bits(names: &[String], on: bool) -> Vec<u8> {
    let mut all = Vec::new();
    for name in names {
        let mut bit = Vec::new();
        put_attribute(&mut bit, BIT_NAME, format!("{name}\0").as_bytes());
        if on {
            put_attribute(&mut bit, BIT_VALUE, &[]);
        }
        put_attribute(&mut all, BITS_BIT | NESTED, &bit);
    }
    let mut set = Vec::new();
    put_attribute(&mut set, BITSET_BITS | NESTED, &all);
    set
}

/// The names of the bits that are set, in a set without a mask.
fn bit_names(set: &[u8]) -> BTreeSet<String> {
    let bits = attributes(set).find(|(kind, _)| *kind == BITSET_BITS).map(|(_, bits)| bits).unwrap_or_default();
    let name = |bit: &[u8]| attributes(bit).find(|(kind, _)| *kind == BIT_NAME).map(|(_, name)| text(name));
    attributes(bits).filter(|(kind, _)| *kind == BITS_BIT).filter_map(|(_, bit)| name(bit)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_of_bits_is_read_as_it_is_written() {
        let names = ["tx-checksum-ipv4".to_owned(), "rx-gro".to_owned()];
        assert_eq!(bit_names(&bits(&names, true)), names.iter().cloned().collect());
        assert!(bit_names(&[1, 2, 3]).is_empty());
    }
}
