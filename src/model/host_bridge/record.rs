//! What is written down of a bridge of the host: all that `host down` gives back.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Below, Keeper};
use crate::model::types::{IfAddr, IfName, MacAddr};

/// Version of the document.
pub const VERSION: u32 = 1;

/// A bridge that `host up` made, or made part of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBridge {
    /// Version of this document.
    pub version: u32,
    /// Its name.
    pub bridge: IfName,
    /// What it lies on.
    pub below: Below,
    /// Whether it was made; another's stays.
    pub made: bool,
    /// Whether the NIC was up before.
    pub uplink_was_up: bool,
    /// The addresses that went over to it.
    pub addresses: Vec<IfAddr>,
    /// The routes that did, as `ip route` prints them, without the link.
    pub routes: Vec<String>,
    /// The files that were written so that it lasts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<WrittenFile>,
    /// Whose files are to be written once it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<Keeper>,
    /// What those files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Lasting>,
    /// How far it is.
    pub phase: Phase,
    /// The boot of which this is (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// Inode number of the host's network namespace.
    pub home: u64,
    /// When it was made (RFC 3339).
    pub since: String,
}

/// What a configuration that lasts has to say of a bridge over a NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasting {
    /// MAC address.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Addresses that somebody gave for good.
    pub addresses: Vec<IfAddr>,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// Other routes through a gateway: destination and gateway.
    pub routes: Vec<(String, IpAddr)>,
    /// Whether addresses of IPv4 are leased.
    pub leased: bool,
    /// Whether routers are listened to.
    pub routers: bool,
}

/// How far a `host up` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// The steps are being taken.
    Making,
    /// A process waits for the gateways, or for a word, and gives all back when neither comes.
    Watched {
        /// Until when (seconds since 1970).
        until: u64,
        /// The gateways that have to answer; with none, only a word counts.
        gateways: Vec<IpAddr>,
    },
    /// It stays.
    Kept,
}

/// A file that was written for the next boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Where.
    pub path: String,
    /// Where the file is that was there before.
    pub backup: Option<String>,
    /// What we wrote, as a hash: a file that somebody has changed since is not removed.
    pub hash: String,
}
