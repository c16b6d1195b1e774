//! The kernel's side: netlink messages, namespaces, and what is observed through them. Nothing outside this module
//! enters a namespace or opens a netlink socket.

pub mod access;
pub mod again;
pub mod announce;
mod arp;
mod bridge_vlans;
pub mod conflict;
mod decode;
pub mod doctor;
pub mod ears;
mod encode;
pub mod ethtool;
pub mod events;
pub mod flood;
pub(crate) mod fork;
mod genetlink;
pub mod herald;
pub mod host_bridge;
mod ndisc;
pub mod netns;
pub mod nl80211;
pub mod observe;
pub mod pair;
pub mod port;
pub mod privilege;
mod question;
pub mod routing;
mod siblings;
pub mod signal;
pub mod survey;
pub mod sysctl;
mod system;
pub mod tc;
mod tool;
pub mod wait;
pub mod wire;

pub use observe::random_id;
pub use question::Findings;
pub use system::System;
