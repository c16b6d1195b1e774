//! Wi-Fi and InfiniBand as tables.

use super::*;
use crate::model::op::NicBefore;
use crate::model::phy::{Phy, PhyFacts, PhyMember};
use crate::model::record::{GuestRecord, Record, VERSION};

/// wlan0 on phy0, with the interfaces named besides.
fn radio(others: &[&str]) -> Facts {
    let before = NicBefore { index: 9, up: true, master: None, state: crate::model::facts::NicState::default() };
    let member = |name: &&str| PhyMember { wdev: 2, name: name.parse().unwrap(), before: before.clone() };
    let phy = Phy { index: 0, name: "phy0".into() };
    let mut facts = with_host(link(3, "wlan0", LinkKind::Device));
    facts.host.phy = Some(PhyFacts { phy, wdev: 1, may_leave: true, others: others.iter().map(member).collect() });
    facts
}

fn direct(words: &str) -> AttachRequest {
    AttachRequest { direct_phys: true, ..request(words) }
}

fn infiniband() -> Facts {
    let mut parent = link(3, "ib0", LinkKind::Ipoib { pkey: Some(0xffff) });
    (parent.layer, parent.mac) = (Layer::Infiniband, None);
    with_host(parent)
}

/// A child of ib0 on the host, with a partition key and an alternative name.
fn child(index: u32, name: &str, pkey: u16, alt: &str) -> LinkFacts {
    let mut child = link(index, name, LinkKind::Ipoib { pkey: Some(pkey) });
    (child.layer, child.mac, child.link) = (Layer::Infiniband, None, Some(3));
    child.alt_names = vec![alt.to_owned()];
    child
}

#[test]
fn a_wifi_interface_moves_with_its_phy_in_both_births() {
    let request = direct("wlan0 10.1.1.2/24 02:00:00:00:00:05");
    for birth in [Birth::Guest, Birth::Host] {
        assert_eq!(
            commands(&request, &radio(&[]), birth),
            [
                "ip link property add dev wlan0 altname pipework.from.wlan0",
                "iw phy phy0 set netns 4711 && ip -n 4711 link set dev wlan0 name eth1",
                "ip -n 4711 link set dev eth1 address 02:00:00:00:00:05",
                "ip -n 4711 addr add 10.1.1.2/24 brd 10.1.1.255 dev eth1",
                "ip -n 4711 link set dev eth1 up",
            ]
        );
    }
    let mut facts = radio(&[]);
    facts.guest.id.pid = None;
    let same_name = AttachRequest { guest_if: Some("wlan0".parse().unwrap()), ..direct("wlan0 0/0") };
    assert_eq!(commands(&same_name, &facts, Birth::Guest)[1], "iw phy phy0 set netns name /proc/4711/ns/net");
}

#[test]
fn a_phy_that_stays_or_is_shared_is_refused() {
    let mut facts = radio(&[]);
    facts.host.phy.as_mut().unwrap().may_leave = false;
    let forced = AttachRequest { force: true, ..direct("wlan0 0/0") };
    for request in [&direct("wlan0 0/0"), &forced] {
        assert_eq!(plan(request, &facts, Birth::Guest), Err(PlanError::PhyStays { nic: "wlan0".into(), phy: "phy0".into() }));
    }
    let shared = radio(&["mon0", "sta2"]);
    let others = vec!["mon0".to_owned(), "sta2".to_owned()];
    assert_eq!(
        plan(&direct("wlan0 0/0"), &shared, Birth::Guest),
        Err(PlanError::PhyShared { nic: "wlan0".into(), phy: "phy0".into(), others })
    );
    let planned = plan(&forced, &shared, Birth::Guest).unwrap();
    let undo: Vec<String> = planned.ops()[1].undo().iter().map(Op::describe).collect();
    assert_eq!(undo, ["move eth1 in the guest with its phy phy0 back to the host as wlan0", "set wlan0 up", "set mon0 up", "set sta2 up"]);
}

#[test]
fn a_nic_that_came_back_from_a_dead_guest_keeps_its_mark() {
    let mut returned = link(3, "eth1", LinkKind::Device);
    returned.alt_names = vec!["pipework.from.eth2".into()];
    assert_eq!(
        commands(&direct("eth2 0/0"), &with_host(returned), Birth::Guest),
        ["ip link set dev eth1 netns 4711", "ip -n 4711 link set dev eth1 up"]
    );
}

#[test]
fn a_child_with_its_parents_name_is_born_on_the_host_and_marked() {
    assert_eq!(
        commands(&request("ib0 0/0 @8001"), &infiniband(), Birth::Guest),
        [
            "ip link add link ib0 name pi4711ib0 type ipoib pkey 0x8001",
            "ip link set dev pi4711ib0 netns 4711",
            "ip -n 4711 link set dev pi4711ib0 name ib0",
            "ip -n 4711 link property add dev ib0 altname pipework.ipoib.ib0.4711.ib0",
            "ip -n 4711 link set dev ib0 up",
        ]
    );
}

#[test]
fn children_that_came_back_go_last_and_only_those_of_the_partition() {
    let ours = "pipework.ipoib.ib0.17.eth1";
    let mut facts = infiniband();
    let parent = facts.host.link.clone().unwrap();
    let found = [
        child(5, "dev5", 0x8001, ours),
        child(6, "dev6", 0xffff, ours),
        child(7, "mine", 0x8001, "mine-too"),
        LinkFacts { link: Some(4), ..child(8, "dev8", 0x8001, ours) },
        parent.clone(),
    ];
    facts.host.returned = found.into_iter().filter(|link| link.is_child_of(&parent)).collect();
    let named: Vec<&str> = facts.host.returned.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(named, ["dev5", "dev6"]);
    // The driver sets the membership bit (0x8000) of every key.
    for (words, last) in [("ib0 10.1.1.2/24 @1", "ip link del dev5"), ("ib0 10.1.1.2/24", "ip link del dev6")] {
        let steps = commands(&request(words), &facts, Birth::Guest);
        assert_eq!(steps.iter().filter(|s| s.contains("link del")).collect::<Vec<_>>(), [last]);
        assert_eq!(steps.last().unwrap(), last);
    }
}

#[test]
fn a_childs_parent_is_left_untold_when_it_has_the_childs_own_index() {
    let mut facts = infiniband();
    let mut there = child(3, "ib0", 0xffff, "x");
    there.link = None;
    facts.guest.link = Some(there.clone());
    assert!(plan(&request("ib0 0/0"), &facts, Birth::Guest).unwrap().ops().is_empty());
    there.index = 4;
    facts.guest.link = Some(there);
    assert!(matches!(plan(&request("ib0 0/0"), &facts, Birth::Guest), Err(PlanError::GuestLinkDiffers { .. })));
}

/// What takes back all that a plan does, as it is described.
fn detached(request: &AttachRequest, facts: &Facts, now: &GuestNow) -> Vec<String> {
    let planned = plan(request, facts, Birth::Guest).unwrap();
    let guest = GuestRecord {
        word: request.guest.clone(),
        engine: "docker".into(),
        container: None,
        container_name: None,
        pid: Some(4711),
        path: "/proc/4711/ns/net".into(),
        netns: 17,
    };
    let record = Record {
        version: VERSION,
        id: "1".into(),
        revision: 1,
        since: String::new(),
        home: 1,
        guest,
        interface: planned.guest_if().clone(),
        host_interface: planned.host_if().to_owned(),
        request: request.clone(),
        link: None,
        mate: None,
        given: Vec::new(),
        lease: None,
        tenure: None,
        keeper: None,
        by_engine: false,
        ovsdb: None,
        done: settled(planned.ops()),
        planned: Vec::new(),
    };
    detach(&record, &record.done, now).iter().map(Op::describe).collect()
}

#[test]
fn a_child_that_was_born_on_the_host_is_deleted_wherever_it_is() {
    let request = request("ib0 0/0 @8001");
    assert_eq!(
        detached(&request, &infiniband(), &GuestNow::There),
        ["delete ib0 in the guest", "delete pi4711ib0 in the guest", "delete pi4711ib0"]
    );
    let gone = GuestNow::Gone { returned: Some("dev5".parse().unwrap()), wifi: Vec::new() };
    assert_eq!(detached(&request, &infiniband(), &gone), ["delete dev5"]);
}

#[test]
fn each_interface_of_a_phy_that_came_back_gets_its_own_name_and_state() {
    let request = AttachRequest { force: true, ..direct("wlan0 0/0") };
    let wifi = [(1, "wlan3"), (2, "sta2"), (7, "wlan0")].map(|(wdev, name)| (wdev, name.parse().unwrap())).to_vec();
    let gone = GuestNow::Gone { returned: None, wifi };
    assert_eq!(
        detached(&request, &radio(&["sta2"]), &gone),
        ["rename wlan3 to wlan0", "set wlan0 up", "set sta2 up", "take the other name pipework.from.wlan0 from wlan0"]
    );
}
