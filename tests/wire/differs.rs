//! What ip and we send differently, and why.

/// What both may send differently, each with its reason. A line of ours and a line of theirs; empty: there is none.
pub struct Differs {
    pub ours: &'static str,
    pub theirs: &'static str,
    pub why: &'static str,
}

/// A line that only we send.
pub fn ours(line: &'static str, why: &'static str) -> Differs {
    Differs { ours: line, theirs: "", why }
}

/// The header of a deletion, ours first.
pub fn exact(ours: &'static str, theirs: &'static str) -> Differs {
    Differs { ours, theirs, why: EXACT }
}

/// "Any" for IPv6. inet6_rtm_newroute and _delroute begin with that when there is no RTA_DST.
pub const V6_ANY: Differs = Differs {
    ours: "",
    theirs: "other.1: [00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00]",
    why: "::/0 is what a route without destination is for",
};
/// What ip sends as the header of a deletion: protocol, scope and type are open, so whatever route comes first goes.
pub const DEL_V4: &str = "other header [02, 00, 00, 00, fe, 00, ff, 00, 00, 00, 00, 00]";
pub const DEL_V6: &str = "other header [0a, 00, 00, 00, fe, 00, 00, 00, 00, 00, 00, 00]";
pub const EXACT: &str = "we name all of the route that was observed: that one goes, no other";
pub const EXACT_V4: Differs = Differs { ours: "other header [02, 00, 00, 00, fe, 03, 00, 01, 00, 00, 00, 00]", theirs: DEL_V4, why: EXACT };
pub const EXACT_V6: Differs = Differs { ours: "other header [0a, 00, 00, 00, fe, 03, 00, 01, 00, 00, 00, 00]", theirs: DEL_V6, why: EXACT };
pub const OBSERVED: &str = "the route's message is sent back as it was observed; the same as in the header, or not looked at by a deletion";
pub const OBSERVED_TABLE: Differs = Differs { ours: "other.15: [fe, 00, 00, 00]", theirs: "", why: OBSERVED };
pub const UNPRINTED: &str = "a route's text leaves the nexthops of a multipath route out; putting one back is never printed, only done";
/// RTA_CACHEINFO, a statistic.
pub const CACHE: Differs = Differs {
    ours: "other.12: [00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00]",
    theirs: "",
    why: OBSERVED,
};

/// IFA_PROTO, 'p'.
pub fn marked() -> Differs {
    ours("other.11: [70]", "our mark on an address; iproute2 knows the word `proto` from 6.3 on only")
}

/// RTA_PREF.
pub fn medium() -> Differs {
    ours("other.20: [00]", OBSERVED)
}
