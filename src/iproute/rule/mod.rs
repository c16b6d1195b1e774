//! `ip rule`: words to a rule message, and rule messages to text.

mod command;
mod print;
mod selector;
mod spec;

pub use command::{Command, parse};
pub use print::print;
pub use selector::Selector;

use std::net::IpAddr;

use crate::model::types::Family;

/// FR_ACT_TO_TBL
const TO_TABLE: u8 = 1;
/// FR_ACT_GOTO
const GOTO: u8 = 2;
/// FR_ACT_NOP
const NOP: u8 = 3;
/// FIB_RULE_INVERT
const INVERT: u32 = 2;
/// RTPROT_KERNEL
const KERNEL: u8 = 2;

/// A rule, as the kernel has it or is asked for it: `struct fib_rule_hdr` and FRA_* of linux/fib_rules.h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `family`
    pub family: Family,
    /// FRA_SRC
    pub src: Option<IpAddr>,
    /// `src_len`
    pub src_len: u8,
    /// FRA_DST
    pub dst: Option<IpAddr>,
    /// `dst_len`
    pub dst_len: u8,
    /// `tos`
    pub tos: u8,
    /// FRA_TABLE
    pub table: u32,
    /// FR_ACT_*
    pub action: u8,
    /// FIB_RULE_*
    pub flags: u32,
    /// FRA_PRIORITY
    pub priority: Option<u32>,
    /// FRA_FWMARK
    pub mark: Option<u32>,
    /// FRA_FWMASK
    pub mask: Option<u32>,
    /// FRA_FLOW: from in the upper half, to in the lower.
    pub realms: Option<u32>,
    /// FRA_IFNAME
    pub iif: Option<String>,
    /// FRA_OIFNAME
    pub oif: Option<String>,
    /// FRA_GOTO
    pub goto: Option<u32>,
    /// FRA_SUPPRESS_PREFIXLEN
    pub suppress_prefixlength: Option<u32>,
    /// FRA_SUPPRESS_IFGROUP
    pub suppress_ifgroup: Option<u32>,
    /// FRA_L3MDEV
    pub l3mdev: bool,
    /// FRA_UID_RANGE: first and last.
    pub uids: Option<(u32, u32)>,
    /// FRA_PROTOCOL
    pub protocol: Option<u8>,
    /// FRA_IP_PROTO
    pub ip_protocol: Option<u8>,
    /// FRA_SPORT_RANGE: first and last.
    pub sports: Option<(u16, u16)>,
    /// FRA_DPORT_RANGE: first and last.
    pub dports: Option<(u16, u16)>,
    /// FRA_TUN_ID
    pub tunnel: Option<u64>,
    /// Something that only the installed program can show.
    pub foreign: Option<&'static str>,
}

impl Rule {
    /// A message with nothing in it.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            src: None,
            src_len: 0,
            dst: None,
            dst_len: 0,
            tos: 0,
            table: 0,
            action: 0,
            flags: 0,
            priority: None,
            mark: None,
            mask: None,
            realms: None,
            iif: None,
            oif: None,
            goto: None,
            suppress_prefixlength: None,
            suppress_ifgroup: None,
            l3mdev: false,
            uids: None,
            protocol: None,
            ip_protocol: None,
            sports: None,
            dports: None,
            tunnel: None,
            foreign: None,
        }
    }
}
