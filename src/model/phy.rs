//! Wi-Fi hardware, a "phy". Its interfaces leave a network namespace only with it, and then all of them
//! (`cfg80211_switch_netns` in the kernel's net/wireless/core.c).

use serde::{Deserialize, Serialize};

use super::op::NicBefore;
use super::types::IfName;

/// A phy, as the kernel and `iw` name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phy {
    /// NL80211_ATTR_WIPHY, linux/nl80211.h: the same in every namespace.
    pub index: u32,
    /// Its name, such as `phy0`.
    pub name: String,
}

/// What a Wi-Fi interface is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhyFacts {
    /// The phy.
    pub phy: Phy,
    /// NL80211_ATTR_WDEV of the interface: unlike its name and its index it stays when it moves.
    pub wdev: u64,
    /// Whether the driver lets the phy leave its namespace: NL80211_CMD_SET_WIPHY_NETNS is one of its commands.
    pub may_leave: bool,
    /// The phy's other interfaces.
    pub others: Vec<PhyMember>,
}

/// An interface that goes wherever its phy goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhyMember {
    /// NL80211_ATTR_WDEV.
    pub wdev: u64,
    /// Its name on the host.
    pub name: IfName,
    /// What it has there.
    pub before: NicBefore,
}
