//! What was changed by hand is told field by field, and mended in place by the fewest steps.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use lab::{Lab, Space, assert_same, both, no_root, settled};
use serde_json::Value;

fn lab() -> (Lab, Space, String) {
    let lab = Lab::new();
    let guest = lab.guest();
    let word = format!("pid:{}", guest.pid());
    (lab, guest, word)
}

/// The steps of a run with -v.
fn steps(lab: &Lab, line: &str) -> Vec<String> {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
    let lines = ran.err.lines().map(|line| line.trim_start_matches("pipework: ").to_owned());
    let told = ["done (", "nothing to do", "warning: "];
    lines.filter(|line| !told.iter().any(|start| line.starts_with(start))).collect()
}

/// An attach that may have something to say of a bridge without an uplink.
fn attach(lab: &Lab, line: &str) {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
}

/// The fields that `diff --json` names, with exit status 2; none with 0.
fn drift(lab: &Lab, words: &str) -> Vec<String> {
    let ran = lab.run(&format!("diff --json {words}"));
    let report: Value = serde_json::from_str(ran.out.lines().next().unwrap_or_else(|| panic!("{}", ran.err))).unwrap();
    let fields: Vec<String> = report["differences"].as_array().unwrap().iter().map(|d| d["field"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ran.code, Some(if fields.is_empty() { 0 } else { 2 }), "{}", ran.out);
    fields
}

/// Something done by hand is named, mended by so many steps, and then all is as before.
#[track_caller]
fn mends(by_hand: impl Fn(&Lab, &Space), fields: &[&str], count: usize, words: &str) {
    let (lab, guest, word) = lab();
    lab.host.sh("ip link add br9 address 02:00:00:00:00:09 type bridge && ip link set br9 up");
    attach(&lab, &words.replace("GUEST", &word));
    let before = settled(&[&guest], || both(&lab, &guest));
    assert_eq!(drift(&lab, &word), [""; 0], "right after the attach");
    by_hand(&lab, &guest);
    assert_eq!(drift(&lab, &word), fields);
    let done = steps(&lab, &format!("repair -v {word}"));
    assert_eq!(done.len(), count, "{done:#?}");
    assert_eq!(drift(&lab, &word), [""; 0], "{done:#?}");
    let after = settled(&[&guest], || both(&lab, &guest));
    assert_same(&before, &after, "after the repair");
    assert_eq!(steps(&lab, &format!("repair -v {word}")), [""; 0]);
    lab.ok(&format!("detach {word}"));
    assert_eq!(guest.link("eth1"), Value::Null);
    assert!(lab.host.link("br1").is_null(), "the bridge that we made is left");
}

const PLAIN: &str = "br1 GUEST 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1";

#[test]
fn an_address_that_was_removed_is_named_and_put_back_by_one_step() {
    if no_root() {
        return;
    }
    mends(|_, guest| drop(guest.sh("ip addr del fd00::2/64 dev eth1")), &["address"], 1, PLAIN);
}

#[test]
fn a_link_that_was_set_down_is_set_up_with_what_the_kernel_took_away_with_it() {
    if no_root() {
        return;
    }
    // Going down takes the IPv6 addresses and all routes.
    let fields = ["state", "address", "default-route", "default-route"];
    mends(|_, guest| drop(guest.sh("ip link set eth1 down")), &fields, 4, PLAIN);
}

#[test]
fn a_host_end_that_was_moved_to_another_bridge_comes_back_by_one_step() {
    if no_root() {
        return;
    }
    let move_it = |lab: &Lab, guest: &Space| drop(lab.host.sh(&format!("ip link set veth1pl{} master br9", guest.pid())));
    mends(move_it, &["host-end"], 1, PLAIN);
}

#[test]
fn a_host_end_that_is_down_or_on_no_bridge_is_mended() {
    if no_root() {
        return;
    }
    let down = |lab: &Lab, guest: &Space| drop(lab.host.sh(&format!("ip link set veth1pl{} down nomaster", guest.pid())));
    mends(down, &["host-end-state", "host-end"], 2, PLAIN);
}

#[test]
fn an_mtu_and_a_mac_that_were_changed_are_put_back() {
    if no_root() {
        return;
    }
    let change = |_: &Lab, guest: &Space| drop(guest.sh("ip link set eth1 mtu 1400 address 02:00:00:00:00:99"));
    mends(change, &["mtu", "mac"], 2, "br1 GUEST 10.1.1.2/24 02:00:00:00:00:05");
}

#[test]
fn a_default_route_that_was_replaced_is_ours_again_by_two_steps() {
    if no_root() {
        return;
    }
    let change = |_: &Lab, guest: &Space| drop(guest.sh("ip route replace default via 10.1.1.9 dev eth1"));
    mends(change, &["default-route"], 2, "br1 GUEST 10.1.1.2/24@10.1.1.1");
}

#[test]
fn a_bridges_port_carries_its_vlans_again() {
    if no_root() || (!lab::has_kind("vlan filtering") && lab::skip("the kernel's bridges filter no VLANs")) {
        return;
    }
    let change = |lab: &Lab, guest: &Space| {
        let port = format!("veth1pl{}", guest.pid());
        drop(lab.host.sh(&format!("bridge vlan del dev {port} vid 10; bridge vlan add dev {port} vid 77")));
    };
    mends(change, &["vlan"], 2, "br1 GUEST 10.1.1.2/24 @10,20-30");
    let off = |lab: &Lab, _: &Space| drop(lab.host.sh("ip link set br1 type bridge vlan_filtering 0"));
    mends(off, &["vlan-filtering"], 1, "br1 GUEST 10.1.1.2/24 @10");
}

#[test]
fn routes_rules_and_shaping_that_are_gone_are_made_again() {
    if no_root() {
        return;
    }
    let words = "--route 10.9.0.0/16 --rate 10mbit/ --txqueuelen 500 br1 GUEST 10.1.1.2/24";
    let change = |lab: &Lab, guest: &Space| {
        drop(guest.sh("ip route del 10.9.0.0/16 && ip link set eth1 txqueuelen 100"));
        drop(lab.host.sh(&format!("tc qdisc del dev veth1pl{} root", guest.pid())));
    };
    mends(change, &["txqueuelen", "shaping", "route"], 3, words);
}

#[test]
fn replacing_addresses_gateway_bridge_and_vlan_is_done_in_place_by_the_fewest_steps() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    guest.sh("ip link add old0 type veth peer name old1 && ip addr add 10.9.9.2/24 dev old0 && ip link set old0 up && ip link set old1 up");
    guest.sh("ip route add default via 10.9.9.1 dev old0");
    let before = settled(&[&guest], || both(&lab, &guest));
    attach(&lab, &format!("br1 {word} 10.1.1.2/24@10.1.1.1"));
    let index = guest.link("eth1")["ifindex"].clone();
    let replaces = |words: &str, wanted: &[&str]| {
        let line = format!("attach --replace -v {}", words.replace("GUEST", &word));
        let done: Vec<String> = steps(&lab, &line).into_iter().filter(|step| !step.starts_with("warning")).collect();
        assert_eq!(done, wanted, "{line}");
        assert_eq!(drift(&lab, &word), [""; 0], "{line}");
        assert_eq!(guest.link("eth1")["ifindex"], index, "{line}: the same link");
    };
    replaces("br1 GUEST 10.1.1.2/24@10.1.1.1", &[]);
    replaces(
        "br1 GUEST 10.1.1.3/24@10.1.1.1",
        &["add address 10.1.1.3/24 to eth1 in the guest", "delete address 10.1.1.2/24 from eth1 in the guest"],
    );
    replaces(
        "br1 GUEST 10.1.1.3/24@10.1.1.254",
        &["put route default via 10.1.1.254 dev eth1 in the place of default via 10.1.1.1 dev eth1 in the guest"],
    );
    let port = format!("veth1pl{}", guest.pid());
    replaces("br2 GUEST 10.1.1.3/24@10.1.1.254", &["make bridge br2", &format!("make {port} a port of br2"), "undo: remove bridge br1"]);
    replaces("--mtu 1400 br2 GUEST 10.1.1.3/24@10.1.1.254", &["set the MTU of eth1 in the guest to 1400"]);
    // Without a gateway, what was there before the first attach is the default route again.
    replaces(
        "--mtu 1400 br2 GUEST 10.1.1.3/24",
        &["delete route default via 10.1.1.254 dev eth1 in the guest", "put route default via 10.9.9.1 dev old0 back in the guest"],
    );
    lab.ok(&format!("detach {word}"));
    assert_same(&before, &settled(&[&guest], || both(&lab, &guest)), "after all changes and a detach");
}

#[test]
fn an_address_and_a_network_that_were_left_are_free_for_others() {
    if no_root() {
        return;
    }
    let (lab, _guest, word) = lab();
    let others = [lab.guest(), lab.guest()];
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    attach(&lab, &format!("attach --replace br1 {word} 10.1.1.3/24"));
    attach(&lab, &format!("br1 pid:{} 10.1.1.2/24", others[0].pid()));
    lab.fails(&format!("attach --replace br1 {word} 10.1.1.2/24"), "10.1.1.2 is in use by guest");
    attach(&lab, &format!("attach --replace br2 {word} 10.1.1.3/24"));
    attach(&lab, &format!("br1 pid:{} 10.1.1.3/24", others[1].pid()));
    lab.fails(&format!("attach --replace br1 {word} 10.1.1.3/24"), "10.1.1.3 is in use by guest");
    for other in &others {
        lab.ok(&format!("detach pid:{}", other.pid()));
    }
    lab.ok(&format!("detach {word}"));
    assert_eq!(lab::detached::files(&lab), [""; 0]);
}

#[test]
fn a_link_of_another_kind_is_made_anew_and_the_old_one_comes_back_when_that_fails() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    let _switch = lab.nic("nic0");
    lab.host.sh("ip link set nic0 up");
    let nothing = settled(&[&guest], || both(&lab, &guest));
    attach(&lab, &format!("br1 {word} 10.1.1.2/24,fd00::2/64@10.1.1.1"));
    attach(&lab, &format!("attach --replace nic0 {word} 10.1.1.3/24@10.1.1.1"));
    assert_eq!(guest.link("eth1")["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(guest.addrs("eth1"), ["10.1.1.3/24"]);
    assert!(lab.host.link("br1").is_null(), "the bridge went with its last user");
    assert_eq!(drift(&lab, &word), [""; 0]);
    let before = settled(&[&guest], || unnumbered(&both(&lab, &guest)));
    // A gateway that nobody can reach: the last step fails.
    guest.sh("ip route add blackhole 10.7.7.7 && ip route add 10.8.0.0/16 dev lo");
    let before_routes = guest.routes();
    lab.fails(&format!("attach --replace --route 10.8.0.0/16 br1 {word} 10.1.1.2/24@10.1.1.1"), "undone");
    assert_eq!(guest.routes(), before_routes);
    guest.sh("ip route del blackhole 10.7.7.7 && ip route del 10.8.0.0/16 dev lo");
    assert_same(&before, &settled(&[&guest], || unnumbered(&both(&lab, &guest))), "after a replace that failed");
    assert_eq!(drift(&lab, &word), [""; 0]);
    lab.ok(&format!("detach {word}"));
    assert_same(&nothing, &settled(&[&guest], || both(&lab, &guest)), "after the detach");
}

/// Without indexes: a link that was made again has another.
fn unnumbered(state: &[String]) -> Vec<String> {
    state.iter().map(|line| line.split(" index ").next().unwrap().to_owned()).collect()
}

#[test]
fn addresses_are_added_and_deleted_by_themselves() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    lab.ok(&format!("attach {word} --add 10.1.1.3/24 --add fd00::3/64"));
    assert_eq!(guest.addrs("eth1"), ["10.1.1.2/24", "10.1.1.3/24", "fd00::3/64"]);
    lab.ok(&format!("attach {word} --add 10.1.1.3/24 --del 10.1.1.2/24 --del 10.1.1.77/24"));
    assert_eq!(guest.addrs("eth1"), ["10.1.1.3/24", "fd00::3/64"], "the first of a subnet goes alone");
    assert_eq!(drift(&lab, &word), [""; 0]);
    lab.fails(&format!("attach {word} --add 10.1.1.3/25"), "twice");
    let other = lab.guest();
    lab.fails(&format!("attach pid:{} --add 10.1.1.3/25", other.pid()), "no attachment");
    lab.fails(&format!("attach br1 {word} 10.1.1.2/24 --add 10.1.1.3/24"), "only word");
    lab.ok(&format!("detach {word}"));
}

#[test]
fn an_interface_of_somebody_elses_is_not_replaced_unless_it_is_as_asked() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    guest.sh("ip link add eth1 type veth peer name other && ip link set eth1 up");
    let before = settled(&[&guest], || both(&lab, &guest));
    lab.fails(&format!("attach --replace br1 {word} 10.1.1.2/24"), "exists in the guest and is not as asked");
    assert_same(&before, &settled(&[&guest], || both(&lab, &guest)), "untouched");
}

#[test]
fn an_attachment_without_a_record_is_known_by_its_mark() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    std::fs::remove_dir_all(lab.dir.path().join("guests")).unwrap();
    attach(&lab, &format!("attach --replace br1 {word} 10.1.1.3/24"));
    assert_eq!(guest.addrs("eth1"), ["10.1.1.3/24"]);
    assert_eq!(drift(&lab, &word), [""; 0], "it is recorded from then on");
    lab.ok(&format!("detach {word}"));
    assert!(lab.host.link("br1").is_null());
}

#[test]
fn an_interface_that_was_deleted_is_made_anew_by_repair() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    guest.sh("ip link del eth1");
    assert_eq!(drift(&lab, &word), ["interface"]);
    attach(&lab, &format!("repair {word}"));
    assert_eq!(guest.addrs("eth1"), ["10.1.1.2/24"]);
    assert_eq!(drift(&lab, &word), [""; 0]);
    guest.sh("ip link set eth1 name foo");
    assert_eq!(drift(&lab, &word)[0], "name");
    attach(&lab, &format!("repair {word}"));
    assert_eq!(drift(&lab, &word), [""; 0]);
    assert!(guest.link("foo").is_null());
}

#[test]
fn a_bridge_that_was_deleted_is_made_again_for_all_that_were_on_it() {
    if no_root() {
        return;
    }
    let (lab, one, word) = lab();
    let two = lab.guest();
    attach(&lab, &format!("br1 {word} 10.1.1.2/24"));
    attach(&lab, &format!("br1 pid:{} 10.1.1.3/24", two.pid()));
    lab.host.sh("ip link del br1");
    let ran = lab.run("repair --all");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    for guest in [&one, &two] {
        assert_eq!(lab.host.link(&format!("veth1pl{}", guest.pid()))["master"], "br1");
        lab.ok(&format!("detach pid:{}", guest.pid()));
    }
    assert!(lab.host.link("br1").is_null(), "it is ours still");
}

#[test]
fn a_wanted_attachment_is_made_when_nothing_is_recorded_any_more() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let name = format!("pw-drift-{}", std::process::id());
    lab.host.sh(&format!("ip netns add {name}"));
    let word = format!("netns:{name}");
    attach(&lab, &format!("--persist br1 {word} 10.1.1.2/24"));
    attach(&lab, &format!("attach {word} --add 10.1.1.3/24"));
    // As after a reboot: /run is empty, and the guest's namespace is another.
    std::fs::remove_dir_all(lab.dir.path().join("guests")).unwrap();
    lab.host.sh(&format!("ip netns del {name} && ip netns add {name}"));
    let ran = lab.run("repair --all");
    let addrs = lab.host.sh(&format!("ip -n {name} -4 -o addr show dev eth1"));
    lab.host.sh(&format!("ip netns del {name}"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(addrs.contains("10.1.1.2/24") && addrs.contains("10.1.1.3/24"), "{addrs}");
}

#[test]
fn the_link_never_goes_down_while_it_is_changed_in_place() {
    if no_root() {
        return;
    }
    let (lab, guest, word) = lab();
    attach(&lab, &format!("br1 {word} 10.1.1.2/24@10.1.1.1 02:00:00:00:00:05"));
    let mut monitor = guest.command("ip").args(["-o", "monitor", "link"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    attach(&lab, &format!("attach --replace --mtu 1400 br2 {word} 10.1.1.3/24@10.1.1.254 02:00:00:00:00:06"));
    guest.sh("ip link set eth1 mtu 1500 address 02:00:00:00:00:77");
    attach(&lab, &format!("repair {word}"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    monitor.kill().unwrap();
    let text = String::from_utf8(monitor.wait_with_output().unwrap().stdout).unwrap();
    let of_link: Vec<&str> = text.lines().filter(|line| line.contains("eth1")).collect();
    assert!(!of_link.is_empty(), "the monitor saw the changes");
    let is_down = |line: &&str| !line.contains(",UP") || line.contains("NO-CARRIER") || line.contains("state DOWN");
    assert_eq!(of_link.iter().filter(|line| is_down(line)).count(), 0, "{text}");
}

#[test]
fn whichever_step_of_a_change_goes_wrong_the_interface_is_as_it_was() {
    if no_root() {
        return;
    }
    for (from, to) in [
        ("br1 10.1.1.2/24@10.1.1.1", "br2 10.1.1.3/24,fd00::3/64@10.1.1.9 02:00:00:00:00:09"),
        ("nic0 10.1.1.2/24@10.1.1.1", "nic0 10.2.1.3/24@10.2.1.9 02:00:00:00:00:09"),
        ("br1 10.1.1.2/24", "nic0 10.1.1.2/24@10.1.1.1"),
    ] {
        let (lab, guest) = (Lab::new(), Space::new());
        let _switch = lab.nic("nic0");
        lab.host.sh("ip link set nic0 up");
        guest.sh(
            "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1",
        );
        let (host_if, addr) = from.split_once(' ').unwrap();
        assert_eq!(lab.run(&format!("{host_if} pid:{} {addr}", guest.pid())).code, Some(0));
        let found = std::process::Command::new("find").arg(lab.dir.path().join("guests")).args(["-name", "eth1.json"]).output().unwrap();
        let path = String::from_utf8(found.stdout).unwrap();
        let record: pipework::model::record::Record = serde_json::from_slice(&std::fs::read(path.trim()).unwrap()).unwrap();
        let request = lab::inside::request(to, &guest);
        // A link that is made again has another index, and so has the first of the names that come of it.
        let state = || -> Vec<String> {
            let all = lab::settled(&[&lab.host, &guest], || lab::both(&lab, &guest));
            all.into_iter().map(|line| line.split(" index ").next().unwrap().to_owned()).collect()
        };
        let before = state();
        for fault in lab::inside::FAULTS {
            let mut n = 0;
            loop {
                let outcome = lab::inside::fail_change_at(&lab.host, &record, &request, n, fault);
                assert!(n < outcome.steps && outcome.failed, "{to}: step {n} of {}", outcome.steps);
                assert!(outcome.left.is_empty(), "{to}: step {n}, {fault:?}: {:?}", outcome.left);
                lab::assert_same(&before, &state(), &format!("{to}: step {n} of {}, {fault:?}", outcome.steps));
                n += 1;
                if n == outcome.steps {
                    break;
                }
            }
            assert!(n > 3, "{to}: {n} steps");
        }
    }
}
