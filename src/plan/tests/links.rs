//! Plans with VLANs on bridges and NICs, and with the ways to share a NIC.

use super::*;
use crate::model::bridge::{BridgePort, BridgeVlans};
use crate::model::error::KernelError;
use crate::model::facts::{NicState, Sibling};
use crate::model::sharing::{IpvlanMode, MacvlanMode};
use crate::model::vlan::{PortVlan, VlanProtocol};
use crate::plan::execute::{ExecuteError, Undone};
use nix::errno::Errno;

fn macvlan(mode: &str) -> Sharing {
    Sharing::Macvlan(mode.parse::<MacvlanMode>().unwrap())
}

fn ipvlan(mode: &str) -> Sharing {
    Sharing::Ipvlan(mode.parse::<IpvlanMode>().unwrap())
}

fn vlan(id: u16) -> PortVlan {
    PortVlan { first: id, last: id, pvid: true, untagged: true }
}

fn port(index: u32, name: &str, uplink: bool, vlans: &[PortVlan]) -> BridgePort {
    BridgePort { index, name: name.into(), uplink, vlans: vlans.to_vec() }
}

/// A bridge with an uplink, both in VLAN 1.
fn bridge(filtering: bool) -> Facts {
    let mut facts = with_host(link(2, "br0", LinkKind::Bridge));
    let ports = vec![port(2, "br0", false, &[vlan(1)]), port(3, "eth0", true, &[vlan(1)])];
    let protocol = VlanProtocol::Dot1q;
    facts.host.vlans =
        Some(BridgeVlans { possible: true, filtering, protocol, default_pvid: Some(1), has_address: true, own_tags: Vec::new(), ports });
    facts.host.ports = 1;
    facts
}

fn sharing(words: &str, sharing: Sharing) -> AttachRequest {
    AttachRequest { sharing: Some(sharing), ..request(words) }
}

fn refused(request: &AttachRequest, facts: &Facts) -> String {
    let error = plan(request, facts, Birth::Guest).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn a_new_bridge_filters_and_the_guest_comes_up_after_its_port_is_in_its_vlan() {
    for (tag, vlans) in [
        ("@10", &["bridge vlan del dev veth1pl4711 vid 1", "bridge vlan add dev veth1pl4711 vid 10 pvid untagged"][..]),
        (
            "@,20-30,40",
            &[
                "bridge vlan del dev veth1pl4711 vid 1",
                "bridge vlan add dev veth1pl4711 vid 20-30",
                "bridge vlan add dev veth1pl4711 vid 40",
            ],
        ),
        ("@1,7", &["bridge vlan add dev veth1pl4711 vid 7"]),
        ("@7,1", &["bridge vlan add dev veth1pl4711 vid 7 pvid untagged", "bridge vlan add dev veth1pl4711 vid 1"]),
    ] {
        let steps = commands(&request(&format!("br0 0/0 {tag}")), &facts(), Birth::Guest);
        assert_eq!(steps[0], "ip link add name br0 up address 02:00:00:00:00:01 type bridge vlan_filtering 1");
        assert_eq!(&steps[2..steps.len() - 1], vlans, "{tag}");
        assert_eq!(steps.last().unwrap(), "ip -n 4711 link set dev eth1 up");
    }
}

#[test]
fn every_step_with_vlans_has_its_undo() {
    let ask = AttachRequest { vlan_filtering: true, ..request("br0 0/0 @10,20") };
    for (facts, birth) in [(facts(), Birth::Guest), (facts(), Birth::Host), (bridge(false), Birth::Guest)] {
        for op in plan(&ask, &facts, birth).unwrap().ops() {
            assert!(!op.undo().is_empty(), "{}", op.describe());
        }
    }
}

#[test]
fn a_bridge_that_does_not_filter_is_left_so_until_told_and_then_only_once_the_port_is_ready() {
    let error = refused(&request("br0 0/0 @10"), &bridge(false));
    assert_eq!(error, "bridge br0 does not filter VLANs; with filtering its ports would have VLAN 1 untagged: br0 itself, eth0");
    let ask = AttachRequest { vlan_filtering: true, ..request("br0 0/0 @10") };
    let steps = commands(&ask, &bridge(false), Birth::Guest);
    assert_eq!(steps[3..], ["ip link set dev br0 type bridge vlan_filtering 1", "ip -n 4711 link set dev eth1 up"]);
    let planned = plan(&ask, &bridge(false), Birth::Guest).unwrap();
    assert_eq!(planned.warnings().len(), 3, "the others, the uplink, the host: {:?}", planned.warnings());
    assert!(!commands(&ask, &bridge(true), Birth::Guest).iter().any(|step| step.contains("vlan_filtering")));
    let mut old = bridge(false);
    old.host.vlans.as_mut().unwrap().possible = false;
    assert_eq!(refused(&ask, &old), "bridge br0 cannot filter VLANs");
}

#[test]
fn filtering_that_would_cut_the_host_off_is_refused_unless_forced() {
    let ask = AttachRequest { vlan_filtering: true, ..request("br0 0/0 @10") };
    let mut facts = bridge(false);
    facts.host.vlans.as_mut().unwrap().own_tags = vec![7];
    assert_eq!(refused(&ask, &facts), "filtering VLANs would cut this host off bridge br0: VLAN 7 by eth0");
    let mut facts = bridge(false);
    facts.host.vlans.as_mut().unwrap().ports[1].vlans = vec![vlan(5)];
    assert_eq!(refused(&ask, &facts), "filtering VLANs would cut this host off bridge br0: untagged frames by eth0");
    assert!(plan(&AttachRequest { force: true, ..ask.clone() }, &facts, Birth::Guest).is_ok());
    facts.host.vlans.as_mut().unwrap().has_address = false;
    assert!(plan(&ask, &facts, Birth::Guest).is_ok(), "the host reaches nobody by it anyway");
}

#[test]
fn on_a_new_bridge_the_uplink_and_the_host_are_told_what_they_lack() {
    let mut facts = facts();
    let ask = request("br0 10.1.1.2/24@10.1.1.1 @10,20-30");
    let warned = |facts: &Facts| plan(&ask, facts, Birth::Guest).unwrap().warnings().join("; ");
    assert!(warned(&facts).contains("ip link set NIC master br0; bridge vlan add dev NIC vid 10; bridge vlan add dev NIC vid 20-30)"));
    facts.host.own_gateways = vec!["10.1.1.1".parse().unwrap()];
    assert!(warned(&facts).contains("until you type: bridge vlan add dev br0 vid 10 pvid untagged self"));
}

#[test]
fn the_flag_alone_changes_nothing_and_without_a_tag_nobody_is_warned() {
    let ask = AttachRequest { vlan_filtering: true, ..request("br0 0/0") };
    let planned = plan(&ask, &bridge(false), Birth::Guest).unwrap();
    assert!(planned.warnings()[0].contains("--vlan-filtering has no effect"), "{:?}", planned.warnings());
    assert_eq!(planned.ops().len(), 2);
    assert!(plan(&request("br0 0/0"), &bridge(true), Birth::Guest).unwrap().warnings().is_empty());
}

#[test]
fn many_ports_are_told_in_few_words() {
    let mut facts = bridge(false);
    facts.host.vlans.as_mut().unwrap().ports.extend((0..100).map(|n| port(10 + n, &format!("p{n}"), false, &[])));
    let error = refused(&request("br0 0/0 @10"), &facts);
    assert!(error.contains("VLAN 1 untagged: br0 itself, eth0; no VLAN: p0, p1, p2, p3, p4, p5, p6, p7 and 92 more"), "{error}");
}

#[test]
fn a_kernel_that_cannot_filter_is_named_with_its_option() {
    let planned = plan(&request("br0 0/0 @10"), &facts(), Birth::Guest).unwrap();
    let refusal = |text: Option<&str>| KernelError::Refused { errno: Errno::EOPNOTSUPP, text: text.map(str::to_owned) };
    let said = |op: &Op, text| hint(op, &refusal(text)).unwrap();
    assert!(said(&planned.ops()[0], None).contains("CONFIG_BRIDGE_VLAN_FILTERING"));
    assert!(said(&planned.ops()[0], Some("Unknown device type")).contains("CONFIG_BRIDGE "));
    let shared = plan(&sharing("eth0 0/0", ipvlan("l3")), &with_host(link(2, "eth0", LinkKind::Device)), Birth::Guest).unwrap();
    assert!(said(&shared.ops()[0], Some("Unknown device type")).contains("CONFIG_IPVLAN"));
}

#[test]
fn a_service_vlan_has_a_name_of_its_own_and_several_are_no_nics() {
    let nic = || with_host(link(2, "eth0", LinkKind::Device));
    let steps = commands(&request("eth0 0/0 @ad:100"), &nic(), Birth::Guest);
    assert_eq!(steps[0], "ip link add link eth0 name eth0.ad100 mtu 1500 type vlan protocol 802.1ad id 100");
    assert_eq!(refused(&request("eth0 0/0 @10,20"), &nic()), "@10,20 is for a bridge: a link on NIC eth0 is in one VLAN");
    assert!(refused(&request("br0 0/0 @ad:10"), &facts()).starts_with("@ad:10 is for a NIC"));
    let mut facts = nic();
    let mut child = link(3, "eth0.ad100", LinkKind::Vlan { id: Some(100), protocol: VlanProtocol::Dot1q });
    child.link = Some(2);
    facts.host.vlan_link = Some(child.clone());
    assert!(matches!(plan(&request("eth0 0/0 @ad:100"), &facts, Birth::Guest), Err(PlanError::ForeignVlanLink { .. })));
    child.kind = LinkKind::Vlan { id: Some(100), protocol: VlanProtocol::Dot1ad };
    facts.host.vlan_link = Some(child);
    assert!(commands(&request("eth0 0/0 @ad:100"), &facts, Birth::Guest)[0].contains("link eth0.ad100"));
}

#[test]
fn each_way_to_share_prints_as_ip_has_it() {
    let nic = with_host(link(2, "eth0", LinkKind::Device));
    for (how, wanted) in [
        (macvlan("vepa"), "type macvlan mode vepa"),
        (macvlan("passthru"), "type macvlan mode passthru"),
        (macvlan("source:02:00:00:00:00:08"), "type macvlan mode source macaddr set 02:00:00:00:00:08"),
        (Sharing::Macvtap(MacvlanMode::Private), "type macvtap mode private"),
        (ipvlan("l2"), "type ipvlan mode l2 bridge"),
        (ipvlan("l3s:vepa"), "type ipvlan mode l3s vepa"),
    ] {
        for (birth, at) in [(Birth::Guest, "name eth1 mtu 1500 netns 4711"), (Birth::Host, "name ph4711eth1 mtu 1500")] {
            let steps = commands(&sharing("eth0 0/0", how.clone()), &nic, birth);
            assert_eq!(steps[0], format!("ip link add link eth0 {at} {wanted}"));
        }
    }
}

#[test]
fn what_a_nic_carries_already_decides_what_can_be_added() {
    let nic = |siblings: &[Sharing]| {
        let mut facts = with_host(link(2, "eth0", LinkKind::Device));
        facts.host.siblings = siblings.iter().map(|s| Sibling { name: "eth1".into(), sharing: s.clone() }).collect();
        facts
    };
    for (there, asked, why) in [
        (macvlan("bridge"), ipvlan("l2"), Some("macvlan and ipvlan cannot be together")),
        (ipvlan("l2"), macvlan("bridge"), Some("macvlan and ipvlan cannot be together")),
        (ipvlan("l2"), Sharing::Macvtap(MacvlanMode::Bridge), Some("macvlan and ipvlan cannot be together")),
        (macvlan("bridge"), macvlan("passthru"), Some("passthru mode wants the NIC to itself")),
        (macvlan("passthru"), macvlan("bridge"), Some("has its NIC to itself")),
        (ipvlan("l2"), ipvlan("l3"), Some("would change theirs")),
        (ipvlan("l2"), ipvlan("l2:private"), Some("would change theirs")),
        (ipvlan("l3s"), ipvlan("l3s"), None),
        (macvlan("bridge"), macvlan("vepa"), None),
        (macvlan("private"), Sharing::Macvtap(MacvlanMode::Vepa), None),
    ] {
        let planned = plan(&sharing("eth0 0/0", asked.clone()), &nic(std::slice::from_ref(&there)), Birth::Guest);
        match why {
            Some(why) => assert!(planned.unwrap_err().to_string().contains(why), "{there} {asked}"),
            None => assert!(planned.is_ok(), "{there} {asked}"),
        }
    }
}

#[test]
fn contradictions_are_told_and_the_hosts_way_out_is_kept() {
    let nic = with_host(link(2, "eth0", LinkKind::Device));
    assert!(refused(&sharing("eth0 0/0 U:x", ipvlan("l2")), &nic).contains("the NIC's own MAC address"));
    assert!(refused(&sharing("eth0 dhcp", ipvlan("l3s")), &nic).contains("there is no broadcast"));
    assert!(refused(&sharing("br0 0/0", macvlan("vepa")), &facts()).contains("br0 is a bridge"));
    let both = AttachRequest { direct_phys: true, ..sharing("eth0 0/0", macvlan("vepa")) };
    assert!(refused(&both, &nic).contains("give one of them"));
    let mut uplink = nic.clone();
    uplink.host.nic = NicState { routes: vec![default_route(0)], ..NicState::default() };
    assert!(refused(&sharing("eth0 0/0", macvlan("passthru")), &uplink).contains("the host is cut off"));
    let forced = AttachRequest { force: true, ..sharing("eth0 0/0", macvlan("passthru")) };
    assert!(plan(&forced, &uplink, Birth::Guest).is_ok());
    let mut on = with_host(link(2, "ipv0", LinkKind::Shared(ipvlan("l2"))));
    on.host.link.as_mut().unwrap().link = Some(1);
    assert!(refused(&sharing("ipv0 0/0", macvlan("bridge")), &on).contains("is itself an ipvlan"));
}

#[test]
fn at_layer_3_nothing_is_announced_and_the_gateway_is_not_asked() {
    let nic = with_host(link(2, "eth0", LinkKind::Device));
    let planned = |mode: &str| plan(&sharing("eth0 10.1.1.2/24@10.1.1.1", ipvlan(mode)), &nic, Birth::Guest).unwrap();
    assert_eq!(planned("l3").announce(), None);
    assert!(planned("l3s").warnings()[0].contains("gateway 10.1.1.1 is never asked"));
    assert!(planned("l2").announce().is_some() && planned("l2").warnings().is_empty());
}

#[test]
fn on_wifi_a_macvlan_is_warned_of_and_an_ipvlan_is_not() {
    let mut wifi = with_host(link(2, "wlan0", LinkKind::Device));
    wifi.host.wireless = true;
    let warned = |ask: &AttachRequest| plan(ask, &wifi, Birth::Guest).unwrap().warnings().iter().any(|w| w.contains("Wi-Fi"));
    assert!(warned(&request("wlan0 0/0")) && warned(&sharing("wlan0 0/0", macvlan("private"))));
    assert!(!warned(&sharing("wlan0 0/0", ipvlan("l2"))));
    assert!(!warned(&AttachRequest { direct_phys: true, ..request("wlan0 0/0") }));
}

#[test]
fn a_nic_on_open_vswitch_is_refused_with_the_bridge_that_the_database_names() {
    let mut facts = with_host(LinkFacts { master: Some(9), ..link(2, "eth0", LinkKind::Device) });
    facts.host.master = Some(link(9, "ovs-system", LinkKind::OpenVswitch));
    let error = plan(&request("eth0 0/0"), &facts, Birth::Guest).unwrap_err();
    assert!(error.hint().unwrap().contains("ovs-vsctl iface-to-br eth0"), "{error}");
    let port = OvsPort {
        name: "eth0".into(),
        bridge: Some("br-lan".into()),
        vlans: OvsVlans::default(),
        ids: std::collections::BTreeMap::new(),
        uuid: String::new(),
        raw: String::new(),
    };
    facts.host.ovs = Some(OvsFacts { bridge: None, port: Some(port) });
    let error = plan(&request("eth0 0/0"), &facts, Birth::Guest).unwrap_err();
    assert!(error.to_string().contains("eth0 is a port of br-lan"), "{error}");
    assert!(error.hint().unwrap().contains("attach to br-lan"), "{error}");
}

#[test]
fn a_vlan_child_that_another_run_makes_or_takes_back_meanwhile_is_looked_at_again() {
    let facts = with_host(link(2, "eth0", LinkKind::Device));
    let failed =
        |op: &Op, errno| ExecuteError { op: op.clone(), cause: KernelError::Refused { errno, text: None }, undone: Undone::default() };
    let planned = plan(&request("eth0 10.1.1.2/24 @10"), &facts, Birth::Guest).unwrap();
    let find = |wanted: fn(&Op) -> bool| planned.ops().iter().find(|op| wanted(op)).unwrap();
    let (child, shared) = (find(|op| matches!(op, Op::AddVlan { .. })), find(|op| matches!(op, Op::AddShared { .. })));
    assert!(failed(child, Errno::EEXIST).bridge_came_or_went());
    assert!(failed(shared, Errno::ENODEV).bridge_came_or_went());
    assert!(!failed(shared, Errno::EEXIST).bridge_came_or_went() && !failed(child, Errno::EINVAL).bridge_came_or_went());
}
