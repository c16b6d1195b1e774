//! Plans that ask whether anybody has the address.

use super::*;
use crate::model::conflict::{Dad, DadMode};
use crate::model::sharing::IpvlanMode;

fn asking(words: &str, mode: DadMode) -> AttachRequest {
    AttachRequest { dad: Dad { mode, patient: false }, ..request(words) }
}

fn steps(request: &AttachRequest, facts: &Facts) -> Vec<String> {
    plan(request, facts, Birth::Guest).unwrap().ops().iter().skip(1).map(Op::describe).collect()
}

#[test]
fn the_network_is_asked_on_a_link_that_is_up_before_the_addresses_and_ipv6_waits_after_them() {
    let facts = with_host(link(2, "br0", LinkKind::Bridge));
    let words = "br0 10.1.1.2/24,fd00::2/64,10.1.1.3/24@10.1.1.1";
    let asked = [
        "set eth1 in the guest up",
        "ask on eth1 in the guest who has 10.1.1.2, fd00::2, 10.1.1.3",
        "add address 10.1.1.2/24 to eth1 in the guest",
        "add address fd00::2/64 to eth1 in the guest",
        "add address 10.1.1.3/24 to eth1 in the guest",
        "wait until fd00::2 can be used on eth1 in the guest",
        "add route default via 10.1.1.1 dev eth1 in the guest",
    ];
    assert_eq!(steps(&asking(words, DadMode::Fail), &facts), asked);
    let off = steps(&asking(words, DadMode::Off), &facts);
    assert_eq!(off, [asked[2], asked[3], asked[4], asked[0], asked[6]], "as when nothing is said");
    assert_eq!(off, steps(&request(words), &facts));
}

#[test]
fn the_question_waits_for_the_port_of_a_bridge_and_for_none_on_a_nic() {
    let port = |facts: &Facts, words: &str| {
        let planned = plan(&asking(words, DadMode::Warn), facts, Birth::Guest).unwrap();
        let found = planned.ops().iter().find_map(|op| if let Op::Probe { port, .. } = op { Some(port.clone()) } else { None });
        found.unwrap().map(|port| port.to_string())
    };
    assert_eq!(port(&with_host(link(2, "br0", LinkKind::Bridge)), "br0 10.1.1.2/24"), Some("veth1pl4711".into()));
    assert_eq!(port(&with_host(link(2, "eth0", LinkKind::Device)), "eth0 10.1.1.2/24"), None);
}

#[test]
fn as_commands_each_address_is_asked_for_and_warn_goes_on() {
    let facts = with_host(link(2, "br0", LinkKind::Bridge));
    let ask = |mode| commands(&asking("br0 10.1.1.2/24,fd00::2/64", mode), &facts, Birth::Guest)[2].clone();
    let inside = "nsenter --net=/proc/4711/ns/net";
    let ipv6 = format!("# nobody may answer: {inside} ndisc6 fd00::2 eth1");
    assert_eq!(ask(DadMode::Fail), format!("{inside} arping -D -c 3 -I eth1 10.1.1.2\n{ipv6}"));
    assert_eq!(ask(DadMode::Warn), format!("{inside} arping -D -c 3 -I eth1 10.1.1.2 || true\n{ipv6}"));
}

#[test]
fn where_nobody_can_be_asked_nobody_is_and_it_is_told() {
    let nic = with_host(link(2, "eth0", LinkKind::Device));
    let ipoib = LinkFacts { layer: Layer::Infiniband, ..link(2, "ib0", LinkKind::Device) };
    let layer3 = Sharing::Ipvlan("l3".parse::<IpvlanMode>().unwrap());
    let cases = [
        (asking("dummy 10.1.1.2/24", DadMode::Fail), facts(), "a dummy leads nowhere"),
        (asking("ib0 10.1.1.2/24", DadMode::Fail), with_host(ipoib), "on InfiniBand"),
        (AttachRequest { sharing: Some(layer3), ..asking("eth0 10.1.1.2/24", DadMode::Fail) }, nic.clone(), "at layer 3"),
        (asking("eth0 0/0", DadMode::Warn), nic.clone(), "there is no address"),
        (asking("eth0 dhcp", DadMode::Warn), nic, "dhcp gives the address"),
    ];
    for (request, facts, why) in cases {
        let planned = plan(&request, &facts, Birth::Guest).unwrap();
        assert!(!planned.ops().iter().any(|op| matches!(op, Op::Probe { .. } | Op::Settle { .. })), "{why}");
        let told = planned.warnings().iter().any(|warning| warning.starts_with("--dad asks nobody: ") && warning.contains(why));
        assert!(told, "{why}: {:?}", planned.warnings());
    }
}

#[test]
fn questions_are_no_part_of_what_a_record_keeps() {
    let facts = with_host(link(2, "br0", LinkKind::Bridge));
    let asked = plan(&asking("br0 fd00::2/64", DadMode::Fail), &facts, Birth::Guest).unwrap();
    let kept = settled(asked.ops());
    assert_eq!(kept.len(), asked.ops().len() - 2);
    assert!(asked.ops().iter().filter(|op| !kept.contains(op)).all(|op| op.undo().is_empty()));
}
