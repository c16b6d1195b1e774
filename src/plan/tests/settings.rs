//! What an interface is given beyond its addresses, to the steps.

use super::*;
use crate::model::facts::TableFacts;
use crate::model::settings::{Features, Settings};

fn with(words: &str, json: &str) -> AttachRequest {
    AttachRequest { settings: serde_json::from_str::<Settings>(json).unwrap(), ..request(words) }
}

fn bridge() -> Facts {
    with_host(link(2, "br0", LinkKind::Bridge))
}

fn refused(request: &AttachRequest, facts: &Facts) -> (String, String) {
    let error = plan(request, facts, Birth::Guest).unwrap_err();
    (error.to_string(), error.hint().unwrap())
}

#[test]
fn the_link_has_all_before_it_is_up_and_the_ways_come_last() {
    let ask = with(
        "br0 10.1.1.2/24@10.1.1.1",
        r#"{"mtu":1400,"routes":["10.9.0.0/16 via 10.1.1.9 dev IF"],"rules":["-6 iif IF lookup 7"],"rate":"10mbit/2mbit:64kb","netem":"delay=9ms","offloads":"tx=off","txqueuelen":50,"sysctls":["net.ipv4.conf.IF.forwarding=1"],"link_mac":"02:00:00:00:00:99"}"#,
    );
    assert_eq!(
        commands(&ask, &bridge(), Birth::Guest).join("\n").replace(&format!(" group {}", crate::model::mark::GROUP), ""),
        "ip link add name veth1pl4711 mtu 1500 address 02:00:00:00:00:99 master br0 up numtxqueues 1 numrxqueues 1 type veth peer name eth1 mtu 1400 netns 4711 numtxqueues 1 numrxqueues 1\n\
         ip -n 4711 link set dev eth1 txqueuelen 50\n\
         nsenter --net=/proc/4711/ns/net ethtool -K eth1 tx off\n\
         nsenter --net=/proc/4711/ns/net sysctl -qw net/ipv4/conf/eth1/forwarding=1\n\
         tc qdisc add dev veth1pl4711 root handle 1: tbf rate 10mbit burst 64kb latency 50ms\n\
         tc -n 4711 qdisc add dev eth1 root handle 1: tbf rate 2mbit burst 64kb latency 50ms\n\
         tc -n 4711 qdisc add dev eth1 parent 1:1 handle 10: netem delay 9ms\n\
         ip -n 4711 addr add 10.1.1.2/24 brd 10.1.1.255 dev eth1\n\
         ip -n 4711 link set dev eth1 up\n\
         ip -n 4711 route add default via 10.1.1.1 dev eth1\n\
         ip -n 4711 route add 10.9.0.0/16 via 10.1.1.9 dev eth1\n\
         ip -n 4711 -6 rule add iif eth1 lookup 7"
    );
}

#[test]
fn a_table_of_its_own_is_the_one_that_it_has_or_the_first_free() {
    let ask = with("br0 10.1.1.2/24,10.1.1.3/24@10.9.9.1", r#"{"table":"auto","rules":["from 10.7.0.0/16 lookup auto"]}"#);
    let mut facts = bridge();
    facts.guest.default_routes = vec![default_route(0)];
    facts.guest.tables = TableFacts { used: [254, 255, 1001].into(), rules: vec![("10.5.5.5".parse().unwrap(), 1001)] };
    let steps = commands(&ask, &facts, Birth::Guest);
    assert_eq!(
        steps[steps.len() - 6..],
        [
            "ip -n 4711 route add 10.1.1.0/24 dev eth1 table 1002",
            "ip -n 4711 route add 10.9.9.1 dev eth1 table 1002",
            "ip -n 4711 route add default via 10.9.9.1 dev eth1 table 1002",
            "ip -n 4711 rule add from 10.1.1.2 lookup 1002",
            "ip -n 4711 rule add from 10.1.1.3 lookup 1002",
            "ip -n 4711 rule add from 10.7.0.0/16 lookup 1002",
        ]
    );
    assert!(!steps.iter().any(|step| step.contains("route del")), "the guest's way out is left alone: {steps:?}");
    facts.guest.tables.rules.push(("10.1.1.3".parse().unwrap(), 77));
    assert!(commands(&ask, &facts, Birth::Guest).iter().any(|step| step.ends_with("from 10.1.1.2 lookup 77")));
    facts.guest.default_routes.clear();
    assert!(commands(&ask, &facts, Birth::Guest).contains(&"ip -n 4711 route add default via 10.9.9.1 dev eth1".to_owned()));
}

#[test]
fn a_metric_leaves_other_default_routes_alone() {
    let mut facts = bridge();
    facts.guest.default_routes = vec![default_route(0), default_route(50)];
    let steps = commands(&with("br0 10.1.1.2/24@10.1.1.1", r#"{"metric":50}"#), &facts, Birth::Guest);
    let ways: Vec<&String> = steps.iter().filter(|step| step.contains("default")).collect();
    assert_eq!(
        ways,
        ["ip -n 4711 route del default via 172.17.0.1 dev eth0 metric 50", "ip -n 4711 route add default via 10.1.1.1 dev eth1 metric 50"]
    );
}

#[test]
fn what_comes_in_on_a_nic_waits_in_an_ifb() {
    let facts = with_host(link(2, "eth0", LinkKind::Device));
    let steps = commands(&with("eth0 0/0", r#"{"rate":"10mbit/"}"#), &facts, Birth::Guest);
    assert_eq!(
        steps[2..6],
        [
            "ip -n 4711 link set dev pwi-eth1 up",
            "tc -n 4711 qdisc add dev pwi-eth1 root handle 1: tbf rate 10mbit burst 32kb latency 50ms",
            "tc -n 4711 qdisc add dev eth1 ingress",
            "tc -n 4711 filter add dev eth1 parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev pwi-eth1",
        ]
    );
}

#[test]
fn every_field_has_its_undo_and_a_nic_takes_its_own_values_back() {
    let mut facts = with_host(link(2, "eth0", LinkKind::Device));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    facts.host.features = Some(Features { changeable: names(&["tx-checksum-sctp", "rx-gro"]), active: names(&["tx-checksum-sctp"]) });
    let json = r#"{"mtu":1400,"offloads":"tx=off,gro=on","txqueuelen":50}"#;
    let ask = AttachRequest { direct_phys: true, ..with("eth0 0/0", json) };
    let undo: Vec<String> = plan(&ask, &facts, Birth::Guest).unwrap().ops().iter().flat_map(Op::undo).map(|op| op.describe()).collect();
    for wanted in [
        "set the MTU of eth1 in the guest to 1500",
        "let 1000 packets wait at eth1 in the guest",
        "switch tx-checksum-sctp on for eth1 in the guest",
        "switch rx-gro off for eth1 in the guest",
    ] {
        assert!(undo.iter().any(|op| op == wanted), "{wanted}: {undo:?}");
    }
    let ask = with(
        "br0 10.1.1.2/24@10.1.1.1",
        r#"{"table":"auto","rate":"1mbit/1mbit","netem":"loss=1%","routes":["10.9.0.0/16 dev IF"],"rules":["from 10.9.0.0/16 lookup 7"]}"#,
    );
    for op in plan(&ask, &bridge(), Birth::Guest).unwrap().ops().iter().filter(|op| matches!(op, Op::Tool { .. })) {
        let [Op::Tool { step }] = &op.undo()[..] else { panic!("{}", op.describe()) };
        assert!(step.words.contains(&"del".to_owned()) && step.undo().is_none(), "{step:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_to_type() {
    let nic = with_host(link(2, "eth0", LinkKind::Device));
    let (why, hint) = refused(&with("eth0 0/0", r#"{"mtu":1501}"#), &nic);
    assert_eq!(why, "--mtu 1501 is more than eth0 passes, whose own is 1500");
    assert_eq!(hint, "give less, or raise it there: ip link set dev eth0 mtu 1501");
    assert!(refused(&with("br0 fd00::2/64", r#"{"mtu":1279}"#), &bridge()).0.contains("IPv6 needs 1280"));
    assert!(refused(&with("br0 dhcp", r#"{"table":"7"}"#), &bridge()).0.contains("dhcp tells none"));
    assert!(refused(&with("br0 dhcp", r#"{"routes":["10.9.0.0/16 dev IF"]}"#), &bridge()).0.contains("--route needs the address"));
    assert!(refused(&with("br0 0/0", r#"{"sysctls":["net.ipv4.conf.eth0.forwarding=1"]}"#), &bridge()).1.contains("write IF"));
    assert!(refused(&with("br0 10.1.1.2/24", r#"{"rules":["from 10.1.1.2 lookup auto"]}"#), &bridge()).1.contains("--table auto"));
}

#[test]
fn what_has_no_effect_or_may_not_pass_is_told() {
    let warned = |request: &AttachRequest, facts: &Facts| plan(request, facts, Birth::Guest).unwrap().warnings().join("; ");
    let nic = with_host(link(2, "eth0", LinkKind::Device));
    assert!(warned(&with("eth0 0/0", r#"{"link_mac":"02:00:00:00:00:99"}"#), &nic).contains("--link-mac has no effect"));
    assert!(warned(&with("br0 0/0", r#"{"metric":5}"#), &bridge()).contains("--metric has no effect"));
    assert!(warned(&with("br0 0/0", r#"{"mtu":9000}"#), &bridge()).contains("--mtu 9000 is more than br0 has, 1500"));
}

#[test]
fn a_second_run_that_asks_for_something_else_is_told_what_differs() {
    let mut facts = bridge();
    let mut own = link(5, "eth1", LinkKind::Veth);
    (own.mtu, own.link) = (1400, Some(6));
    let mut peer = link(6, "veth1pl4711", LinkKind::Veth);
    (peer.link, peer.master) = (Some(5), Some(2));
    (facts.guest.link, facts.host.peer) = (Some(own), Some(peer));
    assert!(plan(&with("br0 0/0", r#"{"mtu":1400,"txqueuelen":1000}"#), &facts, Birth::Guest).unwrap().ops().is_empty());
    let (why, _) = refused(&with("br0 0/0", r#"{"mtu":1300,"txqueuelen":7,"link_mac":"02:00:00:00:00:99"}"#), &facts);
    for part in
        ["MTU is 1400, wanted 1300", "queue's length is 1000, wanted 7", "MAC address is 02:00:00:00:00:aa, wanted 02:00:00:00:00:99"]
    {
        assert!(why.contains(part), "{why}");
    }
}
