//! `ip route`: words to a route message, and route messages to text.

mod command;
mod get;
mod metrics;
mod nexthop;
mod print;
mod selector;
mod spec;

pub use command::{Command, Verb, parse};
pub(super) use get::ip_protocol;
pub use metrics::{Metric, Metrics};
pub use nexthop::Nexthop;
pub use print::print;
pub use selector::{Cached, Selector};
pub(super) use spec::{named, realms, tos};

use std::net::IpAddr;

use super::words::{Keyword, keyword, short, whole};
use crate::model::types::Family;

/// RT_TABLE_MAIN
pub const TABLE_MAIN: u32 = 254;
/// RT_TABLE_LOCAL
const TABLE_LOCAL: u32 = 255;
// RTPROT_*
const BOOT: u8 = 3;
// RT_SCOPE_*
const UNIVERSE: u8 = 0;
const LINK: u8 = 253;
const HOST: u8 = 254;
const NOWHERE: u8 = 255;
// RTN_*
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
const ANYCAST: u8 = 4;
const MULTICAST: u8 = 5;
pub(super) const NAT: u8 = 10;
/// RTM_F_CLONED
pub const CLONED: u32 = 0x200;
/// RTM_F_LOOKUP_TABLE
const LOOKUP_TABLE: u32 = 0x1000;
/// RTM_F_FIB_MATCH
const FIB_MATCH: u32 = 0x2000;
/// RTNH_F_ONLINK
const ONLINK: u8 = 4;

/// A route, as the kernel has it or is asked for it: `struct rtmsg` and RTA_* of linux/rtnetlink.h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `rtm_family`
    pub family: Family,
    /// RTA_DST
    pub dst: Option<IpAddr>,
    /// `rtm_dst_len`
    pub dst_len: u8,
    /// RTA_SRC: where packets come from.
    pub src: Option<IpAddr>,
    /// `rtm_src_len`
    pub src_len: u8,
    /// `rtm_tos`
    pub tos: u8,
    /// RTA_TABLE
    pub table: u32,
    /// RTPROT_*
    pub protocol: u8,
    /// RT_SCOPE_*
    pub scope: u8,
    /// RTN_*
    pub kind: u8,
    /// RTM_F_*, RTNH_F_*, RTCF_*
    pub flags: u32,
    /// RTA_GATEWAY, or RTA_VIA when it is of the other family.
    pub gateway: Option<IpAddr>,
    /// RTA_OIF
    pub dev: Option<u32>,
    /// RTA_IIF
    pub iif: Option<u32>,
    /// RTA_PREFSRC
    pub prefsrc: Option<IpAddr>,
    /// RTA_PRIORITY
    pub metric: Option<u32>,
    /// RTA_MARK
    pub mark: Option<u32>,
    /// RTA_FLOW: from in the upper half, to in the lower.
    pub realms: Option<u32>,
    /// RTA_UID
    pub uid: Option<u32>,
    /// RTA_IP_PROTO
    pub ip_protocol: Option<u8>,
    /// RTA_SPORT
    pub sport: Option<u16>,
    /// RTA_DPORT
    pub dport: Option<u16>,
    /// RTA_CACHEINFO
    pub cache: Option<Cache>,
    /// RTA_METRICS
    pub metrics: Metrics,
    /// RTA_PREF (RFC 4191)
    pub preference: Option<u8>,
    /// RTA_TTL_PROPAGATE
    pub ttl_propagate: Option<u8>,
    /// RTA_NH_ID
    pub nexthop_id: Option<u32>,
    /// RTA_EXPIRES, in seconds.
    pub expires: Option<u32>,
    /// RTA_MULTIPATH
    pub nexthops: Vec<Nexthop>,
    /// Something that only the installed program can show.
    pub foreign: Option<&'static str>,
}

impl Route {
    /// A message with nothing in it.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            dst: None,
            dst_len: 0,
            src: None,
            src_len: 0,
            tos: 0,
            table: 0,
            protocol: 0,
            scope: 0,
            kind: 0,
            flags: 0,
            gateway: None,
            dev: None,
            iif: None,
            prefsrc: None,
            metric: None,
            mark: None,
            realms: None,
            uid: None,
            ip_protocol: None,
            sport: None,
            dport: None,
            cache: None,
            metrics: Metrics::default(),
            preference: None,
            ttl_propagate: None,
            nexthop_id: None,
            expires: None,
            nexthops: Vec::new(),
            foreign: None,
        }
    }
}

/// `struct rta_cacheinfo`; times in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// `rta_clntref`
    pub users: u32,
    /// `rta_lastuse`
    pub last_use: u32,
    /// `rta_expires`
    pub expires: i32,
    /// `rta_error`
    pub error: u32,
    /// `rta_used`
    pub used: u32,
    /// `rta_id`
    pub id: u32,
    /// `rta_ts`
    pub ts: u32,
    /// `rta_tsage`
    pub ts_age: u32,
}

/// Whether the route is of a type that needs no link: blackhole, unreachable, prohibit, throw.
pub(super) fn leads_nowhere(route: &Route) -> bool {
    matches!(route.kind, 6..=9)
}

/// Types of routes, in the order of iproute2's look-up.
const KINDS: &[Keyword<u8>] = &[
    whole("local", LOCAL),
    whole("nat", NAT),
    short("broadcast", BROADCAST),
    whole("brd", BROADCAST),
    short("anycast", ANYCAST),
    short("multicast", MULTICAST),
    short("prohibit", 8),
    short("unreachable", 7),
    short("blackhole", 6),
    short("xresolve", 11),
    short("unicast", UNICAST),
    whole("throw", 9),
];

/// The type of routes that a word names.
pub(super) fn kind(word: &str) -> Option<u8> {
    keyword(word, KINDS)
}

/// The word of a type (RTN_*).
pub(super) fn kind_text(kind: u8, numeric: bool) -> String {
    let names = [
        "none",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
        "xresolve",
    ];
    match names.get(usize::from(kind)).filter(|_| !numeric) {
        Some(name) => (*name).to_owned(),
        None => kind.to_string(),
    }
}
