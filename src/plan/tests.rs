//! Plans as tables: what is asked and what is there, to the steps as `ip` commands.
#![allow(clippy::unwrap_used, clippy::panic)]

mod conflict;
mod hardware;
mod links;
mod settings;
mod uplink;

use super::*;
use crate::model::access::{AccessFacts, ExactRoute, ParentAddr};
use crate::model::command::Commands;
use crate::model::facts::{AddrFacts, GuestFacts, GuestId, HostFacts, LinkFacts, RouteFacts, TableFacts};
use crate::model::ovs::{OvsBridge, OvsFacts, OvsPort, OvsVlans};
use crate::model::request::{AddrWord, GuestRef, MacAndTag};
use crate::model::sharing::{MacvlanMode, Sharing};
use crate::model::types::Family;

fn link(index: u32, name: &str, kind: LinkKind) -> LinkFacts {
    LinkFacts {
        index,
        name: name.into(),
        alt_names: Vec::new(),
        kind,
        layer: Layer::Ethernet,
        up: true,
        carrier: true,
        mtu: 1500,
        queue_len: 1000,
        mac: Some("02:00:00:00:00:aa".parse().unwrap()),
        master: None,
        link: None,
        forwarding: None,
        group: 0,
    }
}

fn facts() -> Facts {
    let id = GuestId {
        name: "web".into(),
        engine: "docker",
        container: None,
        container_name: None,
        pid: Some(4711),
        path: "/proc/4711/ns/net".into(),
        netns: 42,
    };
    Facts {
        host: HostFacts::default(),
        guest: GuestFacts {
            id,
            shares_host: false,
            link: None,
            addrs: Vec::new(),
            default_routes: Vec::new(),
            tables: TableFacts::default(),
            lost: Vec::new(),
            ipv6_disabled: false,
        },
        fresh_mac: "02:00:00:00:00:01".parse().unwrap(),
    }
}

/// `HOSTIF ADDR [MAC][@VLAN]`
fn request(words: &str) -> AttachRequest {
    let mut words = words.split(' ');
    let host_if = words.next().unwrap().parse().unwrap();
    let addr: AddrWord = words.next().unwrap().parse().unwrap();
    let last: MacAndTag = words.next().unwrap_or_default().parse().unwrap();
    let all = AttachRequest::new(host_if, GuestRef::Any("web".into()), addr);
    AttachRequest { mac: last.mac, tag: last.tag, ..all }
}

/// The steps as commands, without the mark that each new link has.
fn commands(request: &AttachRequest, facts: &Facts, birth: Birth) -> Vec<String> {
    let commands = Commands::new(&facts.guest.id);
    let mark = format!(" group {}", crate::model::mark::GROUP);
    let unmarked = |op: &Op| {
        let text = commands.print(op);
        assert!(!text.contains("link add ") || text.contains(&mark), "{text}");
        text.replace(&mark, "")
    };
    plan(request, facts, birth).unwrap().ops().iter().map(unmarked).collect()
}

fn with_host(host: LinkFacts) -> Facts {
    let mut facts = facts();
    facts.host.link = Some(host);
    facts
}

fn default_route(metric: u32) -> RouteFacts {
    let text = format!("default via 172.17.0.1 dev eth0 metric {metric}");
    RouteFacts {
        text,
        is_default: true,
        gateway: Some("172.17.0.1".parse().unwrap()),
        index: Some(7),
        links: vec![7],
        family: Family::Inet,
        metric,
        raw: Vec::new(),
    }
}

#[test]
fn a_new_bridge_is_made_first_and_the_default_route_comes_last() {
    let mut facts = facts();
    facts.guest.default_routes = vec![default_route(0), default_route(100)];
    assert_eq!(
        commands(&request("br0 10.1.1.2/24@10.9.9.1 02:00:00:00:00:05"), &facts, Birth::Guest),
        [
            "ip link add name br0 up address 02:00:00:00:00:01 type bridge",
            "ip link add name veth1pl4711 mtu 1500 master br0 up type veth peer name eth1 mtu 1500 address 02:00:00:00:00:05 netns 4711",
            "ip -n 4711 addr add 10.1.1.2/24 brd 10.1.1.255 dev eth1",
            "ip -n 4711 link set dev eth1 up",
            "ip -n 4711 route add 10.9.9.1 dev eth1",
            "ip -n 4711 route del default via 172.17.0.1 dev eth0 metric 0",
            "ip -n 4711 route add default via 10.9.9.1 dev eth1",
        ]
    );
}

#[test]
fn born_on_the_host_a_link_is_moved_and_renamed() {
    let mut nic = link(2, "eth0", LinkKind::Device);
    (nic.up, nic.mtu) = (false, 9000);
    assert_eq!(
        commands(&request("eth0 0/0"), &with_host(nic), Birth::Host),
        [
            "ip link set dev eth0 up",
            "ip link add link eth0 name ph4711eth1 mtu 9000 type macvlan mode bridge",
            "ip link set dev ph4711eth1 netns 4711",
            "ip -n 4711 link set dev ph4711eth1 name eth1",
            "ip -n 4711 link set dev eth1 up",
        ]
    );
}

#[test]
fn an_infiniband_parent_gives_a_child_called_ib0_and_takes_no_mac() {
    let mut parent = link(2, "ib3", LinkKind::Device);
    (parent.layer, parent.mac) = (Layer::Infiniband, None);
    let facts = with_host(parent);
    assert_eq!(
        commands(&request("ib3 10.1.1.2/24 @8001"), &facts, Birth::Guest)[0],
        "ip link add link ib3 name ib0 netns 4711 type ipoib pkey 0x8001"
    );
    let planned = plan(&request("ib3 10.1.1.2/24"), &facts, Birth::Guest).unwrap();
    assert_eq!(planned.announce(), None, "no ARP of ours on InfiniBand");
    assert_eq!(plan(&request("ib3 0/0 U:x"), &facts, Birth::Guest), Err(PlanError::IpoibMac));
}

#[test]
fn the_first_word_decides_the_kind_and_what_exists_wins_over_how_it_begins() {
    let brand_new = |word: &str| plan(&request(&format!("{word} 0/0")), &facts(), Birth::Guest).map(|p| p.ops()[0].describe());
    assert_eq!(brand_new("br7").unwrap(), "make bridge br7");
    assert_eq!(brand_new("dummy9").unwrap(), "make dummy eth1 in the guest");
    assert!(matches!(brand_new("eth7"), Err(PlanError::UnknownInterface { .. })));
    assert!(matches!(brand_new("mac:02:00:00:00:00:09"), Err(PlanError::NoSuchMac { .. })));
    assert_eq!(brand_new("ovs0").unwrap(), "make Open vSwitch bridge ovs0");
    for name in ["br7", "dummy9", "tc1"] {
        let facts = with_host(link(2, name, LinkKind::Device));
        let steps = commands(&request(&format!("{name} 0/0")), &facts, Birth::Guest);
        assert!(steps[0].contains("type macvlan"), "{steps:?}");
    }
}

/// A host with an Open vSwitch bridge ovs0 in its database, and a port of the name that ours gets.
fn with_ovs(bridge: Option<OvsBridge>, port: Option<OvsPort>) -> Facts {
    let mut facts = with_host(link(2, "ovs0", LinkKind::OpenVswitch));
    facts.host.ovs = Some(OvsFacts { bridge, port });
    facts.guest.id.container = Some("5d2f".into());
    facts.guest.id.container_name = Some("web".into());
    facts
}

fn ovs_port(owner: &str) -> OvsPort {
    let name = "veth1pl4711".to_owned();
    let ids = std::collections::BTreeMap::from([("pipework.interface".to_owned(), owner.to_owned())]);
    OvsPort { bridge: Some("ovs9".into()), vlans: OvsVlans::default(), ids, uuid: "u".into(), raw: "{}".into(), name }
}

#[test]
fn a_port_of_open_vswitch_bears_the_originals_identifiers() {
    let facts = with_ovs(Some(OvsBridge::Real), None);
    assert_eq!(
        commands(&request("ovs0 10.1.1.2/24 @10,20-30"), &facts, Birth::Guest)[..2],
        [
            "ip link add name veth1pl4711 mtu 1500 up type veth peer name eth1 mtu 1500 netns 4711",
            "ovs-vsctl add-port ovs0 veth1pl4711 tag=10 vlan_mode=native-untagged trunks=20-30 -- set Interface veth1pl4711 \
             external-ids:pipework.bridge=ovs0 external-ids:pipework.containerid=5d2f external-ids:pipework.containername=/web \
             external-ids:pipework.interface=veth1pl4711 external-ids:pipework.nspid=4711 'external-ids:pipework.vlan=\"10,20-30\"'",
        ]
    );
}

#[test]
fn the_database_says_what_a_bridge_of_open_vswitch_is_unless_the_kernel_has_a_linux_bridge_of_that_name() {
    let first = |facts: &Facts| plan(&request("ovs0 0/0"), facts, Birth::Guest).unwrap().ops()[0].describe();
    let mut facts = with_ovs(Some(OvsBridge::Real), None);
    assert_eq!(first(&facts), "make veth pair veth1pl4711 and eth1 in the guest");
    facts.host.link = None;
    assert_eq!(first(&facts), "make veth pair veth1pl4711 and eth1 in the guest", "in the database, without a link");
    facts.host.link = Some(link(2, "ovs0", LinkKind::Other("tun".into())));
    assert_eq!(first(&facts), "make veth pair veth1pl4711 and eth1 in the guest", "the userspace datapath's");
    facts.host.link = Some(link(2, "ovs0", LinkKind::Bridge));
    assert_eq!(first(&facts), "make veth pair veth1pl4711 on ovs0 and eth1 in the guest");
    // Another port of Open vSwitch's is a link like any other.
    assert_eq!(first(&with_ovs(None, None)), "make macvlan eth1 in the guest on ovs0");
}

#[test]
fn a_fake_bridge_is_a_vlan_of_its_parent() {
    let facts = with_ovs(Some(OvsBridge::Fake { parent: "ovs9".into(), vlan: "7".parse().unwrap() }), None);
    let steps = commands(&request("ovs0 0/0"), &facts, Birth::Guest);
    assert!(steps[1].starts_with("ovs-vsctl add-port ovs9 veth1pl4711 tag=7 -- "), "{steps:?}");
    assert!(steps[1].contains("pipework.bridge=ovs0") && !steps[1].contains("pipework.vlan"), "{steps:?}");
    assert!(matches!(plan(&request("ovs0 0/0 @7"), &facts, Birth::Guest), Err(PlanError::OvsFakeBridge { .. })));
}

#[test]
fn only_a_row_of_ours_makes_room() {
    let replaced = commands(&request("ovs0 0/0"), &with_ovs(Some(OvsBridge::Real), Some(ovs_port("veth1pl4711"))), Birth::Guest);
    assert!(replaced[1].starts_with("ovs-vsctl --if-exists del-port veth1pl4711 -- add-port ovs0 veth1pl4711 -- "), "{replaced:?}");
    let error = plan(&request("ovs0 0/0"), &with_ovs(Some(OvsBridge::Real), Some(ovs_port("another"))), Birth::Guest).unwrap_err();
    assert_eq!(error.to_string(), "Open vSwitch has a port veth1pl4711 already, on ovs9, and pipework did not make it");
    assert_eq!(error.hint().unwrap(), "choose another name with -l; `ovs-vsctl list Interface veth1pl4711` shows what it is");
}

#[test]
fn a_gateway_of_the_hosts_own_needs_no_warning_on_a_new_bridge() {
    let mut facts = facts();
    let ask = request("br0 10.1.1.2/24@10.1.1.1");
    assert_eq!(plan(&ask, &facts, Birth::Guest).unwrap().warnings().len(), 1);
    facts.host.own_gateways = vec!["10.1.1.1".parse().unwrap()];
    assert_eq!(plan(&ask, &facts, Birth::Guest).unwrap().warnings().len(), 0);
}

#[test]
fn addresses_of_both_families_come_in_order_and_each_gateway_replaces_its_own_familys_default_route() {
    let mut facts = with_host(link(2, "br0", LinkKind::Bridge));
    let ipv6 = RouteFacts {
        family: Family::Inet6,
        gateway: Some("fe80::9".parse().unwrap()),
        text: "default via fe80::9".into(),
        ..default_route(512)
    };
    facts.guest.default_routes = vec![default_route(0), ipv6];
    facts.guest.ipv6_disabled = true;
    assert_eq!(
        commands(&request("br0 10.1.1.2/24,10.1.1.3/24,fd00::2/64@fd00:9::1,10.1.1.1"), &facts, Birth::Guest)[1..],
        [
            "nsenter --net=/proc/4711/ns/net sysctl -qw net/ipv6/conf/eth1/disable_ipv6=0",
            "ip -n 4711 addr add 10.1.1.2/24 brd 10.1.1.255 dev eth1",
            "ip -n 4711 addr add 10.1.1.3/24 brd 10.1.1.255 dev eth1",
            "ip -n 4711 addr add fd00::2/64 dev eth1",
            "ip -n 4711 link set dev eth1 up",
            "ip -n 4711 -6 route add fd00:9::1 dev eth1",
            "ip -n 4711 -6 route del default via fe80::9",
            "ip -n 4711 -6 route add default via fd00:9::1 dev eth1",
            "ip -n 4711 route del default via 172.17.0.1 dev eth0 metric 0",
            "ip -n 4711 route add default via 10.1.1.1 dev eth1",
        ]
    );
}

#[test]
fn a_request_as_json_has_its_words_and_nothing_that_was_not_said() {
    let plain = request("br0 192.168.1.10/24,fd00::10/64@192.168.1.1 @10,20-30");
    let text = serde_json::to_string(&plain).unwrap();
    assert_eq!(text, r#"{"host_if":"br0","guest":"web","addr":"192.168.1.10/24,fd00::10/64@192.168.1.1","tag":"10,20-30"}"#);
    let sharing = Some(Sharing::Macvlan(MacvlanMode::Private));
    let guest = GuestRef::NetnsPath("/run/netns/lab".into());
    let all = AttachRequest { sharing, guest, force: true, ..request("mac:02:00:00:00:00:09 dhcp:-f") };
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(
        text,
        r#"{"host_if":"mac:02:00:00:00:00:09","guest":"netns:/run/netns/lab","dynamic":"dhcp:-f","sharing":{"macvlan":"private"},"force":true}"#
    );
    for request in [plain, all] {
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<AttachRequest>(&text).unwrap(), request);
    }
    for bad in [r#"{"host_if":"br0","guest":"web","later":1}"#, r#"{"host_if":"a/b","guest":"web"}"#, r#"{"host_if":"br0"}"#] {
        assert!(serde_json::from_str::<AttachRequest>(bad).is_err(), "{bad}");
    }
}

#[test]
fn options_without_effect_are_told() {
    let facts = with_host(link(2, "eth0", LinkKind::Device));
    let mut ask = request("eth0 0/0");
    ask.local_if = Some("x".parse().unwrap());
    assert!(plan(&ask, &facts, Birth::Guest).unwrap().warnings()[0].contains("-l has no effect"));
    let facts = with_host(link(2, "br0", LinkKind::Bridge));
    let mut ask = request("br0 0/0");
    ask.direct_phys = true;
    assert!(plan(&ask, &facts, Birth::Guest).unwrap().warnings()[0].contains("--direct-phys has no effect"));
}

#[test]
fn a_vrfs_port_can_carry_a_macvlan_and_a_bonds_cannot() {
    let mut nic = link(2, "eth0", LinkKind::Device);
    nic.master = Some(9);
    let mut facts = with_host(nic);
    facts.host.master = Some(link(9, "vrf0", LinkKind::Other("vrf".into())));
    assert!(plan(&request("eth0 0/0"), &facts, Birth::Guest).is_ok());
    facts.host.master = Some(link(9, "bond0", LinkKind::Other("bond".into())));
    assert!(matches!(plan(&request("eth0 0/0"), &facts, Birth::Guest), Err(PlanError::NicIsPort { .. })));
}

#[test]
fn a_name_that_is_too_long_for_the_vlan_child_is_refused_and_made_names_are_always_short() {
    let facts = with_host(link(2, "enp0s31f6np0", LinkKind::Device));
    let error = plan(&request("enp0s31f6np0 0/0 @4094"), &facts, Birth::Guest).unwrap_err();
    assert!(error.to_string().contains("enp0s31f6np0.4094"), "{error}");
    let names = Names::of(&facts.guest.id);
    let mut ask = request("br0 0/0");
    ask.guest_if = Some("fifteen-bytes-x".parse().unwrap());
    let made = [names.host_end(&ask), names.passing("vg", &guest_if(&ask, Kind::Bridge)), names.aside(&names.host_end(&ask))];
    assert!(made.iter().all(|n| n.as_str().len() <= 15) && made[0] != made[1] && made[1] != made[2], "{made:?}");
}

#[test]
fn an_address_that_another_interface_has_is_refused_and_on_the_same_one_it_is_no_conflict() {
    let mut facts = with_host(link(2, "br0", LinkKind::Bridge));
    let addr = AddrFacts {
        index: 5,
        dev: Some("eth0".into()),
        addr: "10.1.1.2/16".parse().unwrap(),
        automatic: false,
        ours: false,
        raw: Vec::new(),
    };
    facts.guest.addrs = vec![addr];
    let error = plan(&request("br0 10.1.1.2/24"), &facts, Birth::Guest).unwrap_err();
    assert_eq!(error.to_string(), "the guest has 10.1.1.2/16 already, on eth0");
}

#[test]
fn an_ipv6_default_route_replaces_the_first_one_and_any_of_its_own_metric() {
    let mut facts = with_host(link(2, "br0", LinkKind::Bridge));
    facts.guest.default_routes = [512, 1024, 2048].map(|metric| RouteFacts { family: Family::Inet6, ..default_route(metric) }).to_vec();
    let steps = commands(&request("br0 fd00::2/64@fe80::1"), &facts, Birth::Guest);
    assert_eq!(steps.iter().filter(|s| s.contains("route del")).count(), 2, "{steps:?}");
    assert_eq!(steps.iter().filter(|s| s.contains("route add")).count(), 1, "a link-local gateway is on the link: {steps:?}");
}

#[test]
fn every_step_but_the_undoing_ones_has_its_undo() {
    let mut facts = facts();
    facts.guest.default_routes = vec![default_route(0)];
    for birth in [Birth::Guest, Birth::Host] {
        for op in plan(&request("br0 10.1.1.2/24@10.9.9.1"), &facts, birth).unwrap().ops() {
            assert!(!op.undo().is_empty(), "{}", op.describe());
        }
    }
}

#[test]
fn host_access_makes_what_is_missing_and_nothing_else() {
    let mut facts = with_host(link(2, "eth0", LinkKind::Device));
    let addr = |text: &str, passing| ParentAddr { addr: text.parse().unwrap(), passing };
    let access = AccessFacts {
        shim: None,
        addrs: vec![addr("10.9.9.9/24", false), addr("10.1.1.8/24", true), addr("10.1.1.9/24", false)],
        taken_by: None,
        route: None,
        neigh: None,
        guest_neighs: Vec::new(),
        guest_routes: Vec::new(),
        fresh_mac: "02:00:00:00:00:77".parse().unwrap(),
    };
    facts.host.access = Some(access);
    let request = AttachRequest { host_access: true, ..request("eth0 10.1.1.2/24") };
    let planned = plan(&request, &facts, Birth::Guest).unwrap();
    let mac = planned.access().unwrap().shim_mac;
    let all = commands(&request, &facts, Birth::Guest);
    assert_eq!(all[0], "ip link add link eth0 name eth1 mtu 1500 address 02:00:00:00:00:77 netns 4711 type macvlan mode bridge");
    assert!(all[3].contains(&format!("name pws-eth0 mtu 1500 address {mac} broadcast {mac} arp off type macvlan")), "{}", all[3]);
    assert_eq!(
        all[4..],
        [
            "ip neigh replace 10.1.1.2 lladdr 02:00:00:00:00:77 dev pws-eth0 nud permanent".to_owned(),
            format!("ip -n 4711 neigh replace 10.1.1.9 lladdr {mac} dev eth1 nud permanent"),
            "ip route add 10.1.1.2 dev pws-eth0 src 10.1.1.9".to_owned(),
        ]
    );
    // Everything is there but for the host's route, which has the source that the host had before.
    let mut shim = link(5, "pws-eth0", LinkKind::Shared(Sharing::Macvlan(MacvlanMode::Bridge)));
    (shim.link, shim.alt_names, shim.mac) = (Some(2), vec!["pipework.shim.eth0".into()], Some(mac));
    let access = facts.host.access.as_mut().unwrap();
    access.shim = Some(shim);
    access.neigh = Some("02:00:00:00:00:77".parse().unwrap());
    access.route = Some(ExactRoute { text: String::new(), index: Some(5), src: Some("10.1.1.7".parse().unwrap()) });
    assert_eq!(
        commands(&request, &facts, Birth::Guest)[3..],
        [
            format!("ip -n 4711 neigh replace 10.1.1.9 lladdr {mac} dev eth1 nud permanent"),
            "ip route del 10.1.1.2 dev pws-eth0 src 10.1.1.7".to_owned(),
            "ip route add 10.1.1.2 dev pws-eth0 src 10.1.1.9".to_owned(),
        ]
    );
}
