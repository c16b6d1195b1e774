//! All or nothing: whichever step goes wrong, both sides look as before.
#![allow(clippy::unwrap_used)]

mod lab;

use lab::inside::{Fault, every_step_rolls_back, fail_at, request, there_and_back};
use lab::{Lab, both, no_root, settled};
use pipework::plan::Birth;

/// A guest with a way out of its own, which a gateway replaces.
const GUEST: &str = "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; \
    ip route add default via 172.17.0.1 metric 5; ip -6 addr add fd17::2/64 dev eth0 nodad; ip -6 route add default via fd17::1";
const NIC: &str = "ip link add nic0 mtu 1450 type veth peer name far0; ip link set far0 up";

#[test]
fn a_new_bridge() {
    if no_root() {
        return;
    }
    every_step_rolls_back("br0 10.1.1.2/24@10.9.1.1 02:00:00:00:00:01", "true", GUEST);
}

#[test]
fn an_old_bridge_with_ports() {
    if no_root() {
        return;
    }
    let setup =
        "ip link add br0 address 02:00:00:00:00:05 up type bridge; ip link add p0 type veth peer name p1; ip link set p0 master br0";
    every_step_rolls_back("br0 fd00::2/64@fd00::1", setup, GUEST);
}

#[test]
fn a_guest_with_ipv6_off() {
    if no_root() {
        return;
    }
    every_step_rolls_back("br0 fd00::2/64", "true", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
}

#[test]
fn a_guest_with_a_blackhole_for_a_default_route() {
    if no_root() {
        return;
    }
    every_step_rolls_back("br0 10.1.1.2/24@10.1.1.1", "true", "ip route add blackhole default");
}

#[test]
fn a_macvlan_on_a_nic_that_is_down() {
    if no_root() {
        return;
    }
    every_step_rolls_back("nic0 10.1.1.2/24@10.1.1.1 U:x", NIC, GUEST);
}

#[test]
fn a_question_whether_anybody_has_the_address() {
    if no_root() {
        return;
    }
    every_step_rolls_back("--dad br0 10.1.1.2/24@10.1.1.1", "true", GUEST);
    every_step_rolls_back("--dad --direct-phys nic0 10.1.1.2/24", NIC, GUEST);
}

#[test]
fn a_nic_moved_whole_with_its_addresses_and_routes() {
    if no_root() {
        return;
    }
    let setup = format!(
        "{NIC}; ip link set nic0 up; ip addr add 10.3.3.9/24 dev nic0; ip -6 addr add fd33::9/64 dev nic0 nodad; \
         ip route add 10.44.0.0/16 via 10.3.3.1; ip route add 10.45.0.0/16 dev nic0 metric 7; ip -6 route add fd44::/64 via fd33::1; \
         ip route add 10.46.0.0/16 nexthop via 10.3.3.1 nexthop via 10.3.3.2"
    );
    every_step_rolls_back("--direct-phys nic0 10.1.1.2/24@10.1.1.1 02:00:00:00:00:01", &setup, GUEST);
}

#[test]
fn a_nic_whose_index_is_taken_meanwhile_comes_back_with_its_routes() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(&format!("{NIC}; ip link set nic0 up; ip addr add 10.3.3.9/24 dev nic0; ip route add 10.44.0.0/16 via 10.3.3.1"));
    lab.host.sh("ip route add 10.46.0.0/16 nexthop via 10.3.3.1 nexthop via 10.3.3.2");
    let index = lab.host.link("nic0")["ifindex"].clone();
    let lines = || lab.host.state().into_iter().filter(|line| line.starts_with("route")).collect::<Vec<_>>();
    let before = lines();
    // The other direction of the same thing: the NIC gets a new index in a guest that has the old one, and on its way back.
    guest.sh(&format!("ip link add taken index {index} type bridge"));
    there_and_back(&lab.host, &request("--direct-phys nic0 10.1.1.2/24", &guest), Birth::Guest, || {
        lab.host.sh(&format!("ip link add taken index {index} type bridge"));
    });
    assert_ne!(lab.host.link("nic0")["ifindex"], index);
    lab::assert_same(&before, &lines(), "the host's routes");
}

#[test]
fn what_is_taken_back_after_all_went_well_leaves_nothing_either() {
    if no_root() {
        return;
    }
    for words in ["br0 10.1.1.2/24@10.1.1.1", "nic0 fd00::2/64@fd00::1", "--direct-phys nic0 10.1.1.2/24"] {
        let lab = Lab::new();
        let guest = lab.guest();
        lab.host.sh(NIC);
        guest.sh(GUEST);
        let before = settled(&[&lab.host, &guest], || both(&lab, &guest));
        there_and_back(&lab.host, &request(words, &guest), Birth::Guest, || assert_ne!(guest.link("eth1"), serde_json::Value::Null));
        lab::assert_same(&before, &both(&lab, &guest), words);
    }
}

#[test]
fn a_nic_that_was_set_up_stays_up_when_another_guest_came_to_lie_on_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let (guest, other) = (lab.guest(), lab.guest());
    lab.host.sh(NIC);
    let is_up = || lab.host.link("nic0")["flags"].to_string().contains("\"UP\"");
    let request = request("nic0 10.1.1.2/24", &guest);
    there_and_back(&lab.host, &request, Birth::Guest, || lab.ok(&format!("nic0 pid:{} 10.1.1.3/24", other.pid())));
    assert_eq!(guest.link("eth1"), serde_json::Value::Null);
    assert!(is_up(), "the other guest is cut off");
    other.sh("ip link del eth1");
    lab.host.sh("ip link set nic0 down");
    there_and_back(&lab.host, &request, Birth::Guest, || assert!(is_up()));
    assert!(!is_up(), "nobody is left who needs it");
}

#[test]
fn a_stale_link_that_made_room_for_good_is_no_failure_of_the_undo() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let stale = format!("veth1pl{}", guest.pid());
    let lay = || lab.host.sh(&format!("ip link add {stale} type veth peer name far"));
    let names = || lab.host.ip("link show").as_array().unwrap().iter().map(|l| l["ifname"].to_string()).collect::<Vec<_>>();
    let request = request("br0 10.1.1.2/24", &guest);
    let before = names();
    lay();
    let steps = fail_at(&lab.host, None, &request, Birth::Guest, 0, Fault::Refused).steps;
    let outcome = fail_at(&lab.host, None, &request, Birth::Guest, steps - 1, Fault::AnswerLost);
    assert!(outcome.failed);
    assert_eq!(outcome.left, Vec::<String>::new(), "the stale link is gone, and nobody wants it back");
    assert_eq!(names(), before);
    // The same when all went well, and no DHCP server answers then.
    lay();
    there_and_back(&lab.host, &request, Birth::Guest, || {});
    assert_eq!(names(), before);
}
