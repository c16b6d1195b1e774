//! Wi-Fi: which phy an interface is part of, and moving the phy to another network namespace (linux/nl80211.h over generic
//! netlink, linux/genetlink.h).

use std::os::fd::RawFd;

use super::genetlink::{self, find, text, word};
use super::netns::Namespace;
use super::observe::nic_before;
use super::system::link_at;
use super::wire::{Answer, Netlink, attributes};
use crate::model::error::KernelError;
use crate::model::facts::LinkFacts;
use crate::model::phy::{Phy, PhyFacts, PhyMember};
use crate::model::types::IfName;

// linux/nl80211.h
const GET_WIPHY: u8 = 1;
const GET_INTERFACE: u8 = 5;
const SET_WIPHY_NETNS: u8 = 49;
const ATTR_WIPHY: u16 = 1;
const ATTR_WIPHY_NAME: u16 = 2;
const ATTR_IFINDEX: u16 = 3;
const ATTR_IFNAME: u16 = 4;
const ATTR_SUPPORTED_COMMANDS: u16 = 50;
const ATTR_WDEV: u16 = 153;
const ATTR_SPLIT_WIPHY_DUMP: u16 = 174;
const ATTR_NETNS_FD: u16 = 219;

/// The Wi-Fi of one network namespace: the one that its thread was in when it was opened.
pub(super) struct Wifi {
    socket: Netlink,
    /// The message type that this kernel has given to nl80211.
    family: u16,
}

/// A Wi-Fi interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WifiLink {
    pub(super) phy: u32,
    pub(super) wdev: u64,
    pub(super) index: u32,
    pub(super) name: String,
}

impl Wifi {
    /// Opens the calling thread's namespace. `None` when this kernel has no Wi-Fi: it is asked for the list of what it has,
    /// since asking for nl80211 by name would load the module.
    pub(super) fn open() -> Result<Option<Self>, KernelError> {
        let mut socket = Netlink::open_generic()?;
        let family = genetlink::family(&mut socket, "nl80211")?;
        Ok(family.map(|family| Self { socket, family }))
    }

    /// All interfaces. Those without a network device, such as P2P management, are left out.
    pub(super) fn links(&mut self) -> Result<Vec<WifiLink>, KernelError> {
        let answers = self.socket.dump_raw(self.family, &message(GET_INTERFACE, &[]))?;
        Ok(answers.iter().filter_map(wifi_link).collect())
    }

    /// A phy's name, and whether its driver lets it leave the namespace.
    fn phy(&mut self, index: u32) -> Result<(Phy, bool), KernelError> {
        // In parts, as `iw` has it: what some drivers have to tell does not fit into one message.
        let only = [(ATTR_WIPHY, index.to_ne_bytes().to_vec()), (ATTR_SPLIT_WIPHY_DUMP, Vec::new())];
        let answers = self.socket.dump_raw(self.family, &message(GET_WIPHY, &only))?;
        let mut phy = Phy { index, name: format!("phy{index}") };
        let mut may_leave = false;
        for answer in answers.iter().filter(|answer| find(answer, ATTR_WIPHY).and_then(word) == Some(index)) {
            if let Some(name) = find(answer, ATTR_WIPHY_NAME) {
                phy.name = text(name);
            }
            let commands = find(answer, ATTR_SUPPORTED_COMMANDS).unwrap_or_default();
            may_leave |= attributes(commands).any(|(_, command)| word(command) == Some(u32::from(SET_WIPHY_NETNS)));
        }
        Ok((phy, may_leave))
    }

    /// `iw phy PHY set netns NS`: moves a phy of this namespace with all its interfaces. They come down, lose their addresses,
    /// and get names of the kernel's choice where theirs are taken.
    pub(super) fn set_netns(&mut self, phy: u32, netns: RawFd) -> Result<(), KernelError> {
        let what = [(ATTR_WIPHY, phy.to_ne_bytes().to_vec()), (ATTR_NETNS_FD, netns.to_ne_bytes().to_vec())];
        self.socket.request_raw(self.family, 0, &message(SET_WIPHY_NETNS, &what)).map(|_| ())
    }
}

/// What a NIC of the host is part of; `None` when it is no Wi-Fi interface.
pub(super) fn phy_facts(host: &mut Netlink, nic: &LinkFacts) -> Result<Option<PhyFacts>, KernelError> {
    Wifi::open()?.map_or(Ok(None), |wifi| facts_of(wifi, host, nic))
}

/// As [`phy_facts`], of an interface of a guest.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn phy_in(guest: &Namespace, socket: &mut Netlink, nic: &LinkFacts) -> Result<Option<PhyFacts>, KernelError> {
    guest.inside(Wifi::open)?.map_or(Ok(None), |wifi| facts_of(wifi, socket, nic))
}

fn facts_of(mut wifi: Wifi, socket: &mut Netlink, nic: &LinkFacts) -> Result<Option<PhyFacts>, KernelError> {
    let (own, others): (Vec<_>, Vec<_>) = wifi.links()?.into_iter().partition(|link| link.index == nic.index);
    let Some(own) = own.into_iter().next() else { return Ok(None) };
    let (phy, may_leave) = wifi.phy(own.phy)?;
    let mut facts = PhyFacts { phy, wdev: own.wdev, may_leave, others: Vec::new() };
    for other in others.iter().filter(|other| other.phy == own.phy) {
        if let (Some(link), Ok(name)) = (link_at(socket, other.index)?, other.name.parse()) {
            facts.others.push(PhyMember { wdev: other.wdev, name, before: nic_before(socket, &link)? });
        }
    }
    Ok(Some(facts))
}

/// The Wi-Fi interfaces of the calling thread's namespace: what each is (NL80211_ATTR_WDEV), and its name.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn names() -> Result<Vec<(u64, IfName)>, KernelError> {
    let links = Wifi::open()?.map_or_else(|| Ok(Vec::new()), |mut wifi| wifi.links())?;
    Ok(links.into_iter().filter_map(|link| Some((link.wdev, link.name.parse().ok()?))).collect())
}

fn wifi_link(answer: &Answer) -> Option<WifiLink> {
    Some(WifiLink {
        phy: find(answer, ATTR_WIPHY).and_then(word)?,
        wdev: find(answer, ATTR_WDEV)?.try_into().ok().map(u64::from_ne_bytes)?,
        index: find(answer, ATTR_IFINDEX).and_then(word)?,
        name: text(find(answer, ATTR_IFNAME)?),
    })
}

/// A message of version 0.
fn message(command: u8, with: &[(u16, Vec<u8>)]) -> Vec<u8> {
    genetlink::message(command, 0, with)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_is_the_command_and_padded_attributes() {
        let bytes = message(SET_WIPHY_NETNS, &[(ATTR_WIPHY, vec![7, 0, 0, 0]), (ATTR_WIPHY_NAME, vec![1])]);
        assert_eq!(bytes, [&[49, 0, 0, 0][..], &[8, 0, 1, 0, 7, 0, 0, 0], &[5, 0, 2, 0, 1, 0, 0, 0]].concat());
    }

    #[test]
    fn an_interface_is_read_from_its_attributes_and_nonsense_is_none() {
        let whole = [
            (ATTR_IFINDEX, 3u32.to_ne_bytes().to_vec()),
            (ATTR_IFNAME, b"wlan0\0".to_vec()),
            (ATTR_WIPHY, 0u32.to_ne_bytes().to_vec()),
            (ATTR_WDEV, 1u64.to_ne_bytes().to_vec()),
        ];
        let read = |with: &[(u16, Vec<u8>)]| wifi_link(&Answer { kind: 28, raw: message(7, with) });
        assert_eq!(read(&whole), Some(WifiLink { phy: 0, wdev: 1, index: 3, name: "wlan0".into() }));
        assert_eq!(read(&whole[1..]), None, "no network device");
        assert_eq!(wifi_link(&Answer { kind: 28, raw: vec![7] }), None);
    }
}
