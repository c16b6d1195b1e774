//! Handles, class identifiers and protocols.

use crate::iproute::number;

/// TC_H_ROOT (linux/pkt_sched.h)
pub const ROOT: u32 = 0xffff_ffff;
/// TC_H_INGRESS, which TC_H_CLSACT is too
pub const INGRESS: u32 = 0xffff_fff1;
/// Where ingress and clsact keep their filters: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
pub const FILTERS_IN: u32 = 0xffff_fff2;
/// TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
pub const FILTERS_OUT: u32 = 0xffff_fff3;
/// ETH_P_ALL (linux/if_ether.h)
pub const ALL: u16 = 0x0003;
/// ETH_P_IP
pub const IPV4: u16 = 0x0800;
/// ETH_P_IPV6
pub const IPV6: u16 = 0x86dd;

fn hex(text: &str) -> Option<u32> {
    super::units::hexadecimal(text).filter(|_| !text.is_empty())
}

fn half(text: &str) -> Option<u32> {
    hex(text).filter(|number| *number <= 0xffff)
}

/// A qdisc's handle: `1:`, `1`, `ffff:`, `none`.
pub fn handle(text: &str) -> Option<u32> {
    if text == "none" {
        return Some(0);
    }
    // What stands behind the colon does not count.
    half(text.split_once(':').map_or(text, |(major, _)| major)).map(|major| major << 16)
}

/// A class: `1:10`, `:10`, `1:`, `root`, `none`, or a bare number.
pub fn class(text: &str) -> Option<u32> {
    match text {
        "root" => return Some(ROOT),
        "none" => return Some(0),
        _ => {}
    }
    let Some((major, minor)) = text.split_once(':') else { return hex(text) };
    let part = |text: &str| if text.is_empty() { Some(0) } else { half(text) };
    Some(part(major)? << 16 | part(minor)?)
}

/// A class as tc prints it.
pub fn show(id: u32) -> String {
    match (id, id >> 16, id & 0xffff) {
        (ROOT, ..) => "root".into(),
        (0, ..) => "none".into(),
        (_, 0, minor) => format!(":{minor:x}"),
        (_, major, 0) => format!("{major:x}:"),
        (_, major, minor) => format!("{major:x}:{minor:x}"),
    }
}

/// Names of iproute2's (lib/ll_proto.c) for the numbers of linux/if_ether.h. Of two names for a number the first is printed.
const PROTOCOLS: [(&str, u16); 53] = [
    ("loop", 0x0060),
    ("pup", 0x0200),
    ("pupat", 0x0201),
    ("ip", IPV4),
    ("x25", 0x0805),
    ("arp", 0x0806),
    ("bpq", 0x08ff),
    ("ieeepup", 0x0a00),
    ("ieeepupat", 0x0a01),
    ("dec", 0x6000),
    ("dna_dl", 0x6001),
    ("dna_rc", 0x6002),
    ("dna_rt", 0x6003),
    ("lat", 0x6004),
    ("diag", 0x6005),
    ("cust", 0x6006),
    ("sca", 0x6007),
    ("rarp", 0x8035),
    ("atalk", 0x809b),
    ("aarp", 0x80f3),
    ("ipx", 0x8137),
    ("ipv6", IPV6),
    ("ppp_disc", 0x8863),
    ("ppp_ses", 0x8864),
    ("atmmpoa", 0x884c),
    ("atmfate", 0x8884),
    ("802_3", 0x0001),
    ("ax25", 0x0002),
    ("all", ALL),
    ("802_2", 0x0004),
    ("snap", 0x0005),
    ("ddcmp", 0x0006),
    ("wan_ppp", 0x0007),
    ("ppp_mp", 0x0008),
    ("localtalk", 0x0009),
    ("can", 0x000c),
    ("ppptalk", 0x0010),
    ("tr_802_2", 0x0011),
    ("mobitex", 0x0015),
    ("control", 0x0016),
    ("irda", 0x0017),
    ("econet", 0x0018),
    ("tipc", 0x88ca),
    ("profinet", 0x8892),
    ("aoe", 0x88a2),
    ("ethercat", 0x88a4),
    ("802.1Q", 0x8100),
    ("802.1ad", 0x88a8),
    ("mpls_uc", 0x8847),
    ("mpls_mc", 0x8848),
    ("teb", 0x6558),
    ("LLDP", 0x88cc),
    ("ipv4", IPV4),
];

/// A protocol by name, without regard to case, or by number.
pub fn protocol(text: &str) -> Option<u16> {
    let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, number)| *number).or_else(|| number(text).and_then(|n| n.try_into().ok()))
}

/// A protocol as tc prints it.
pub fn show_protocol(protocol: u16) -> String {
    let known = PROTOCOLS.iter().find(|(_, number)| *number == protocol);
    known.map_or_else(|| format!("[{protocol}]"), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_and_classes_are_read_and_printed_in_hexadecimal() {
        for (text, wanted) in [
            ("1:", Some(0x1_0000)),
            ("ffff:", Some(0xffff_0000)),
            ("10", Some(0x10_0000)),
            ("1:5", Some(0x1_0000)),
            ("none", Some(0)),
            ("x", None),
            ("", None),
            ("10000", None),
        ] {
            assert_eq!(handle(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("1:10", Some(0x1_0010)),
            (":10", Some(0x10)),
            ("1:", Some(0x1_0000)),
            ("root", Some(ROOT)),
            ("1:g", None),
            ("1:10000", None),
            ("", None),
        ] {
            assert_eq!(class(text), wanted, "{text}");
        }
        for (id, wanted) in [(0x1_0010, "1:10"), (0x10, ":10"), (0xffff_0000, "ffff:"), (ROOT, "root"), (0, "none")] {
            assert_eq!(show(id), wanted);
        }
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        for (text, wanted) in
            [("ip", Some(IPV4)), ("IPv6", Some(IPV6)), ("802.1q", Some(0x8100)), ("0x0800", Some(IPV4)), ("ipv5", None), ("65536", None)]
        {
            assert_eq!(protocol(text), wanted, "{text}");
        }
        assert_eq!((show_protocol(IPV4), show_protocol(0x1234)), ("ip".into(), "[4660]".into()));
    }
}
