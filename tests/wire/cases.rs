//! The steps that are compared.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use pipework::kernel::netns::Namespace;
use pipework::kernel::observe;
use pipework::model::error::InputError;
use pipework::model::lease::Lifetime;
use pipework::model::op::{NewLink, NewRoute, Op};
use pipework::model::request::AttachRequest;
use pipework::model::sharing::Sharing;
use pipework::model::types::{LinkRef, Side};
use pipework::model::vlan::{NicVlan, PortVlan};

use crate::differs::{
    CACHE, DEL_V4, DEL_V6, Differs, EXACT, EXACT_V4, EXACT_V6, OBSERVED, OBSERVED_TABLE, UNPRINTED, V6_ANY, exact, marked, medium, ours,
};
use crate::id;

/// A step, and what has to be there before it (`H`: on the host, `G`: in the guest).
pub struct Case {
    pub name: &'static str,
    pub before: &'static [(char, &'static str)],
    pub step: fn(&Path) -> Op,
    pub differs: Vec<Differs>,
}

const NIC: (char, &str) = ('H', "ip link add nic0 up type veth peer name far; ip link set far up");
const PORT: (char, &str) = ('H', "ip link add br0 type bridge; ip link add p0 master br0 type veth peer name p1");
const GUEST_LINK: (char, &str) = ('G', "ip link add eth1 type veth peer name far; ip link set far up");
pub const GUEST_UP: (char, &str) = ('G', "ip addr add 10.1.1.2/24 dev eth1; ip addr add fd00::2/64 nodad dev eth1; ip link set eth1 up");

fn host(name: &str) -> LinkRef {
    LinkRef { side: Side::Host, name: name.parse().unwrap() }
}

fn guest(name: &str) -> LinkRef {
    LinkRef { side: Side::Guest, name: name.parse().unwrap() }
}

fn newborn(mtu: Option<u32>, mac: Option<&str>) -> NewLink {
    NewLink { at: guest("eth1"), mtu, mac: mac.map(|m| m.parse().unwrap()) }
}

fn add_bridge(vlan_filtering: bool) -> Op {
    Op::AddBridge { name: "br0".parse().unwrap(), mac: "02:00:00:00:00:05".parse().unwrap(), vlan_filtering }
}

fn add_vlan(name: &str, tag: &str) -> Op {
    let vlan = NicVlan::of(&tag.parse().unwrap()).unwrap();
    Op::AddVlan { name: name.parse().unwrap(), parent: "nic0".parse().unwrap(), vlan, mtu: 1400 }
}

fn port_vlan(first: u16, last: u16, untagged: bool) -> PortVlan {
    PortVlan { first, last, pvid: untagged, untagged }
}

fn shared<M: std::str::FromStr<Err = InputError>>(mode: &str, sharing: fn(M) -> Sharing) -> Op {
    let mac = (!mode.starts_with('l')).then_some("02:00:00:00:00:07");
    Op::AddShared { parent: "nic0".parse().unwrap(), sharing: sharing(mode.parse().unwrap()), link: newborn(Some(1500), mac) }
}

fn add_addr(addr: &str) -> Op {
    Op::AddAddr { link: guest("eth1"), addr: addr.parse().unwrap() }
}

fn lease_addr(addr: &str, seconds: u32) -> Op {
    let lifetime = Lifetime { preferred: seconds, valid: seconds };
    Op::LeaseAddr { link: guest("eth1"), addr: addr.parse().unwrap(), lifetime }
}

fn route(to: Option<&str>, via: Option<&str>) -> NewRoute {
    let ip = |text: Option<&str>| text.map(|t| t.parse().unwrap());
    NewRoute { to: to.map(|text| text.parse().unwrap()), via: ip(via), dev: "eth1".parse().unwrap(), metric: None }
}

fn add_route(to: Option<&str>, via: Option<&str>) -> Op {
    Op::AddRoute { route: route(to, via) }
}

/// The deletion of the guest's first default route, as it is observed there before an attach that wants another.
pub fn del_default_v4(path: &Path) -> Op {
    del_default(path, "10.9.9.9/24@10.9.9.1")
}

pub fn del_default_v6(path: &Path) -> Op {
    del_default(path, "fd09::9/64@fd09::1")
}

/// The undo of a deletion.
pub fn restored(deletion: Op) -> Op {
    deletion.undo().into_iter().next().unwrap()
}

fn del_default(path: &Path, addr: &str) -> Op {
    let namespace = Namespace::open(path).unwrap();
    let request = AttachRequest::new("br0".parse().unwrap(), "netns:x".parse().unwrap(), addr.parse().unwrap());
    let (facts, _) = observe::look(&request, &namespace, id(path)).unwrap();
    Op::DelRoute { side: Side::Guest, route: facts.guest.default_routes.first().unwrap().clone() }
}

fn case(name: &'static str, before: &'static [(char, &'static str)], step: fn(&Path) -> Op, differs: Vec<Differs>) -> Case {
    Case { name, before, step, differs }
}

/// All of them, each under a name of its own.
pub fn cases() -> Vec<Case> {
    [new_links(), old_links(), new_routes(), observed_routes()].into_iter().flatten().collect()
}

/// Links that are made, and a bridge's VLANs.
fn new_links() -> Vec<Case> {
    vec![
        case("bridge", &[], |_| add_bridge(false), vec![]),
        case("bridge that filters VLANs", &[], |_| add_bridge(true), vec![]),
        case(
            "veth",
            &[('H', "ip link add br0 type bridge")],
            |_| Op::AddVeth {
                host: "veth1pl7".parse().unwrap(),
                host_mtu: None,
                host_mac: None,
                bridge: Some("br0".parse().unwrap()),
                queues: None,
                guest: newborn(Some(1400), Some("02:00:00:00:00:07")),
            },
            vec![Differs {
                ours: "RTM_NEWLINK flags 0x60d",
                theirs: "RTM_NEWLINK flags 0x605",
                why: "NLM_F_ECHO: the answer has the indexes",
            }],
        ),
        case("vlan", &[NIC], |_| add_vlan("nic0.5", "5"), vec![]),
        case("service vlan", &[NIC], |_| add_vlan("nic0.ad5", "ad:5"), vec![]),
        case(
            "veth without a bridge",
            &[],
            |_| Op::AddVeth {
                host: "veth1pl7".parse().unwrap(),
                host_mtu: Some(1500),
                host_mac: Some("02:00:00:00:00:08".parse().unwrap()),
                bridge: None,
                queues: std::num::NonZeroU16::new(3),
                guest: newborn(Some(1400), Some("02:00:00:00:00:07")),
            },
            vec![Differs {
                ours: "RTM_NEWLINK flags 0x60d",
                theirs: "RTM_NEWLINK flags 0x605",
                why: "NLM_F_ECHO: the answer has the indexes",
            }],
        ),
        case(
            "VLAN filtering on",
            &[('H', "ip link add br0 type bridge")],
            |_| Op::SetVlanFiltering { bridge: "br0".parse().unwrap(), on: true, ports: 0 },
            vec![],
        ),
        case(
            "VLAN filtering off",
            &[('H', "ip link add br0 type bridge")],
            |_| Op::SetVlanFiltering { bridge: "br0".parse().unwrap(), on: false, ports: 0 },
            vec![],
        ),
        case(
            "untagged VLAN of a port",
            &[PORT],
            |_| Op::AddPortVlan { port: "p0".parse().unwrap(), vlan: port_vlan(10, 10, true) },
            vec![],
        ),
        case("tagged VLAN of a port", &[PORT], |_| Op::AddPortVlan { port: "p0".parse().unwrap(), vlan: port_vlan(10, 10, false) }, vec![]),
        case("VLANs of a port", &[PORT], |_| Op::AddPortVlan { port: "p0".parse().unwrap(), vlan: port_vlan(20, 30, false) }, vec![]),
        case("VLAN of a port away", &[PORT], |_| Op::DelPortVlan { port: "p0".parse().unwrap(), vlan: port_vlan(1, 1, true) }, vec![]),
        case("VLANs of a port away", &[PORT], |_| Op::DelPortVlan { port: "p0".parse().unwrap(), vlan: port_vlan(20, 30, false) }, vec![]),
        case("macvlan", &[NIC], |_| shared("bridge", Sharing::Macvlan), vec![]),
        case("macvlan in private mode", &[NIC], |_| shared("private", Sharing::Macvlan), vec![]),
        case("macvlan in passthru mode", &[NIC], |_| shared("passthru", Sharing::Macvlan), vec![]),
        case("macvlan in source mode", &[NIC], |_| shared("source:02:00:00:00:00:08,02:00:00:00:00:09", Sharing::Macvlan), vec![]),
        case("macvtap", &[NIC], |_| shared("vepa", Sharing::Macvtap), vec![]),
        case("macvtap in source mode", &[NIC], |_| shared("source:02:00:00:00:00:08", Sharing::Macvtap), vec![]),
        case("ipvlan", &[NIC], |_| shared("l2", Sharing::Ipvlan), vec![]),
        case("ipvlan, private", &[NIC], |_| shared("l3:private", Sharing::Ipvlan), vec![]),
        case("ipvlan, vepa", &[NIC], |_| shared("l3s:vepa", Sharing::Ipvlan), vec![]),
        case(
            "macvlan on the host",
            &[NIC],
            |_| Op::AddShared {
                parent: "nic0".parse().unwrap(),
                sharing: Sharing::default(),
                link: NewLink { at: host("ph1"), mtu: None, mac: None },
            },
            vec![],
        ),
        // Any parent will do: it is the kernel that would want InfiniBand.
        case("ipoib", &[NIC], |_| Op::AddIpoib { parent: "nic0".parse().unwrap(), pkey: None, link: newborn(None, None) }, vec![]),
        case(
            "ipoib with a pkey",
            &[NIC],
            |_| Op::AddIpoib { parent: "nic0".parse().unwrap(), pkey: Some("8001".parse().unwrap()), link: newborn(None, None) },
            vec![],
        ),
        case("dummy", &[], |_| Op::AddDummy { link: newborn(None, Some("02:00:00:00:00:07")) }, vec![]),
    ]
}

/// Links that are there, and their addresses.
fn old_links() -> Vec<Case> {
    vec![
        case("delete a link", &[NIC], |_| Op::DelLink { link: host("nic0") }, vec![]),
        case(
            "move",
            &[NIC],
            |_| Op::MoveLink { from: host("nic0"), to: guest("nic0"), before: None },
            vec![ours("link.3: nic0", "the name is said even when it stays; a clash is EEXIST either way")],
        ),
        case("move under a new name", &[NIC], |_| Op::MoveLink { from: host("nic0"), to: guest("eth1"), before: None }, vec![]),
        case("rename", &[GUEST_LINK], |_| Op::RenameLink { link: guest("eth1"), name: "eth2".parse().unwrap() }, vec![]),
        case("altname", &[GUEST_LINK], |_| Op::AddAltName { link: guest("eth1"), name: "pipework.nic0".into() }, vec![]),
        case(
            "altname away",
            &[GUEST_LINK, ('G', "ip link property add dev eth1 altname x.nic0")],
            |_| Op::DelAltName { link: guest("eth1"), name: "x.nic0".into() },
            vec![],
        ),
        case("mac", &[GUEST_LINK], |_| Op::SetMac { link: guest("eth1"), mac: "02:00:00:00:00:07".parse().unwrap(), before: None }, vec![]),
        case("mtu", &[GUEST_LINK], |_| Op::SetMtu { link: guest("eth1"), mtu: 1400, before: None }, vec![]),
        case("queue length", &[GUEST_LINK], |_| Op::SetQueueLen { link: guest("eth1"), packets: 500, before: None }, vec![]),
        case("leased address v4", &[GUEST_LINK], |_| lease_addr("10.1.1.2/24", 60), vec![marked()]),
        case("leased address v4 for ever", &[GUEST_LINK], |_| lease_addr("10.1.1.2/24", u32::MAX), vec![marked()]),
        case("leased address v6", &[GUEST_LINK], |_| lease_addr("fd00::2/128", 60), vec![marked()]),
        case("up", &[GUEST_LINK], |_| Op::SetUp { link: guest("eth1") }, vec![]),
        case("down", &[GUEST_LINK, GUEST_UP], |_| Op::SetDown { link: guest("eth1") }, vec![]),
        case("address v4", &[GUEST_LINK], |_| add_addr("10.1.1.2/24"), vec![marked()]),
        case("address v4 without broadcast", &[GUEST_LINK], |_| add_addr("10.1.1.2/32"), vec![marked()]),
        case("address v6", &[GUEST_LINK], |_| add_addr("fd00::2/64"), vec![marked()]),
        case(
            "address v4 away",
            &[GUEST_LINK, GUEST_UP],
            |_| Op::DelAddr { link: guest("eth1"), addr: "10.1.1.2/24".parse().unwrap() },
            vec![ours(
                "other.4: [0a, 01, 01, ff]",
                "an address is taken down by IFA_LOCAL and IFA_ADDRESS, the broadcast is not looked at",
            )],
        ),
        case(
            "address v6 away",
            &[GUEST_LINK, GUEST_UP],
            |_| Op::DelAddr { link: guest("eth1"), addr: "fd00::2/64".parse().unwrap() },
            vec![],
        ),
    ]
}

/// Routes of ours.
fn new_routes() -> Vec<Case> {
    vec![
        case("network route v4", &[GUEST_LINK, GUEST_UP], |_| add_route(Some("172.16.0.0/12"), None), vec![]),
        case("network route v4 over a router", &[GUEST_LINK, GUEST_UP], |_| add_route(Some("172.16.0.0/12"), Some("10.1.1.1")), vec![]),
        case("host route v4", &[GUEST_LINK, GUEST_UP], |_| add_route(Some("172.16.0.1"), None), vec![]),
        case("host route v6", &[GUEST_LINK, GUEST_UP], |_| add_route(Some("fd00:9::1"), None), vec![]),
        case("default route v4", &[GUEST_LINK, GUEST_UP], |_| add_route(None, Some("10.1.1.1")), vec![]),
        case(
            "default route v4 with a metric",
            &[GUEST_LINK, GUEST_UP],
            |_| Op::AddRoute { route: NewRoute { metric: Some(50), ..route(None, Some("10.1.1.1")) } },
            vec![],
        ),
        case("default route v6", &[GUEST_LINK, GUEST_UP], |_| add_route(None, Some("fd00::1")), vec![V6_ANY]),
        case(
            "new default route v4 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip route add default via 10.1.1.1")],
            |_| Op::DelNewRoute { route: route(None, Some("10.1.1.1")) },
            vec![EXACT_V4],
        ),
        case(
            "new default route v6 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip route add default via fd00::1")],
            |_| Op::DelNewRoute { route: route(None, Some("fd00::1")) },
            vec![EXACT_V6, V6_ANY],
        ),
    ]
}

/// Routes that were there, away and back.
fn observed_routes() -> Vec<Case> {
    vec![
        case(
            "default route v4 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip route add default via 10.1.1.1")],
            del_default_v4,
            vec![EXACT_V4, OBSERVED_TABLE],
        ),
        case(
            "default route v4 with all that ip prints, away",
            &[
                GUEST_LINK,
                GUEST_UP,
                ('G', "ip route add default via 10.1.1.1 dev eth1 proto static metric 100 src 10.1.1.2 mtu 1300 onlink"),
            ],
            del_default_v4,
            vec![
                exact("other header [02, 00, 00, 00, fe, 04, 00, 01, 04, 00, 00, 00]", DEL_V4),
                OBSERVED_TABLE,
                ours("other.8: [08, 00, 02, 00, 14, 05, 00, 00]", EXACT),
            ],
        ),
        case(
            "on-link default route v4 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip route add default dev eth1")],
            del_default_v4,
            vec![exact("other header [02, 00, 00, 00, fe, 03, fd, 01, 00, 00, 00, 00]", DEL_V4), OBSERVED_TABLE],
        ),
        case(
            "default route v6 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip -6 route add default via fd00::1")],
            del_default_v6,
            vec![EXACT_V6, V6_ANY, OBSERVED_TABLE, CACHE, medium()],
        ),
        case(
            "default route v6 with all that ip prints, away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip -6 route add default via fd00::1 proto static metric 77 src fd00::2 pref high")],
            del_default_v6,
            vec![
                exact("other header [0a, 00, 00, 00, fe, 04, 00, 01, 00, 00, 00, 00]", DEL_V6),
                V6_ANY,
                OBSERVED_TABLE,
                CACHE,
                ours("other.20: [01]", OBSERVED),
            ],
        ),
        // The text of these two has nothing that looks like IPv6.
        case(
            "on-link default route v6 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip -6 route add default dev eth1")],
            del_default_v6,
            vec![EXACT_V6, V6_ANY, OBSERVED_TABLE, CACHE, medium()],
        ),
        case(
            "multipath default route v6 away",
            &[GUEST_LINK, GUEST_UP, ('G', "ip -6 route add default nexthop via fd00::1 nexthop via fd00::7")],
            del_default_v6,
            vec![
                EXACT_V6,
                V6_ANY,
                OBSERVED_TABLE,
                CACHE,
                medium(),
                ours(
                    "other.9: [1c, 00, 00, 00, 03, 00, 00, 00, 14, 00, 05, 00, fd, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 01, 1c, 00, 00, 00, 03, 00, 00, 00, 14, 00, 05, 00, fd, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 07]",
                    EXACT,
                ),
            ],
        ),
        case(
            "default route v4 without carrier back",
            &[('G', "ip link add eth1 type veth peer name far"), GUEST_UP, ('G', "ip route add default via 10.1.1.1")],
            |path| restored(del_default_v4(path)),
            vec![OBSERVED_TABLE],
        ),
        case(
            "default route v6 without carrier back",
            &[('G', "ip link add eth1 type veth peer name far"), GUEST_UP, ('G', "ip -6 route add default via fd00::1")],
            |path| restored(del_default_v6(path)),
            vec![V6_ANY, OBSERVED_TABLE, CACHE, medium()],
        ),
        case(
            "multipath default route v4 without carrier back",
            &[
                ('G', "ip link add eth1 type veth peer name far"),
                GUEST_UP,
                ('G', "ip route add default nexthop via 10.1.1.1 nexthop via 10.1.1.9 onlink dev eth1"),
            ],
            |path| restored(del_default_v4(path)),
            vec![
                Differs {
                    ours: "other header [02, 00, 00, 00, fe, 03, 00, 01, 00, 00, 00, 00]",
                    theirs: "other header [02, 00, 00, 00, fe, 03, fd, 01, 00, 00, 00, 00]",
                    why: UNPRINTED,
                },
                ours(
                    "other.9: [10, 00, 00, 00, 03, 00, 00, 00, 08, 00, 05, 00, 0a, 01, 01, 01, 10, 00, 04, 00, 03, 00, 00, 00, 08, 00, 05, 00, 0a, 01, 01, 09]",
                    UNPRINTED,
                ),
                OBSERVED_TABLE,
            ],
        ),
    ]
}
