//! Attachments to Open vSwitch after they were made: taken away by their records, changed in place, looked at and mended,
//! and runs that are killed. The judges are ovs-vsctl and iproute2.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use lab::detached::{GUEST, files, there_and_back_in};
use lab::killed::{Line, World, kill_at_random};
use lab::ovs::{Ovs, everything, no_ovs};
use lab::{Lab, Space, assert_same, both, eventually, settled};
use serde_json::Value;

/// Rows of others: a port that works, one without a device, one that bears another's name in our key, a VLAN under a name of
/// its own, and a bridge without ports.
fn add_foreign(lab: &Lab, ovs: &Ovs, bridge: &str) {
    lab.host.sh("ip link add p0 up type veth peer name p1");
    ovs.vsctl(&format!("add-port {bridge} p0 tag=10 -- set Interface p0 external-ids:mine=x"));
    ovs.vsctl(&format!("--no-wait add-port {bridge} absent -- add-port {bridge} liar"));
    ovs.vsctl("--no-wait set Interface liar external-ids:pipework.interface=other external-ids:pipework.bridge=ovs0");
    ovs.vsctl(&format!("--no-wait add-br fake0 {bridge} 7 -- add-br ovsempty -- set Bridge ovsempty datapath_type=netdev"));
}

fn port(guest: &Space) -> String {
    format!("veth1pl{}", guest.pid())
}

/// An attach that may have something to say of a bridge without an uplink.
#[track_caller]
fn attach(lab: &Lab, line: &str) {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
}

#[test]
fn an_attachment_leaves_both_sides_and_the_database_as_they_were() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    add_foreign(&lab, &ovs, "ovsu");
    for (words, guest) in [
        ("ovsu 10.1.1.2/24@10.9.1.1", GUEST),
        ("ovsu 10.1.1.2/24@10.1.1.1 02:00:00:00:00:01@10", "true"),
        ("ovsu fd00::2/64@fd00::1 @10,20-30 -l far0 --via-host", GUEST),
        ("fake0 0/0", "true"),
    ] {
        there_and_back_in(&lab, words, guest, |space| everything(&lab, space, &ovs));
    }
}

#[test]
fn a_bridge_that_was_made_goes_with_the_attachment() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start_dummy(&lab);
    ovs.vsctl("add-br ovs9");
    add_foreign(&lab, &ovs, "ovs9");
    for words in ["ovs0 10.1.1.2/24@10.1.1.1", "ovs0 10.1.1.2/24,fd00::2/64 @10"] {
        there_and_back_in(&lab, words, GUEST, |space| everything(&lab, space, &ovs));
    }
}

#[test]
fn the_bridge_goes_with_its_last_guest_and_never_while_it_has_a_port_of_others() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start_dummy(&lab);
    let guests = [lab.guest(), lab.guest()];
    let before = ovs.rows();
    let join = |n: usize| attach(&lab, &format!("ovs0 pid:{} 10.1.1.{}/24 @10", guests[n].pid(), n + 2));
    let leave = |n: usize| lab.ok(&format!("detach pid:{}", guests[n].pid()));
    join(0);
    join(1);
    leave(0);
    assert_eq!(ovs.vsctl("list-ports ovs0").trim(), port(&guests[1]), "another guest is on it");
    leave(1);
    assert_same(&before, &ovs.rows(), "its last guest left");
    join(0);
    ovs.vsctl("add-port ovs0 p0 tag=10");
    leave(0);
    assert_eq!((ovs.vsctl("list-ports ovs0").trim(), ovs.get("Port", "p0", "tag")), ("p0", "10".into()));
    // It is ours still.
    ovs.vsctl("del-port p0");
    join(1);
    leave(1);
    assert_same(&before, &ovs.rows(), "the port of others is gone");
}

#[test]
fn a_guest_that_died_leaves_no_row_once_it_is_detached() {
    if no_ovs() {
        return;
    }
    for (is_new, vlan) in [(false, " @10"), (true, ""), (true, " @10,20-30")] {
        let lab = Lab::new();
        let (ovs, bridge) = if is_new { (Ovs::start_dummy(&lab), "ovs0") } else { (Ovs::start(&lab), "ovsu") };
        ovs.vsctl("add-br ovs9 -- set Bridge ovs9 datapath_type=netdev");
        add_foreign(&lab, &ovs, "ovs9");
        let state = || lab.host.state().into_iter().chain(ovs.rows()).collect::<Vec<_>>();
        let before = settled(&[&lab.host], state);
        let guest = lab.guest();
        let (pid, port) = (guest.pid(), port(&guest));
        attach(&lab, &format!("{bridge} pid:{pid} 10.1.1.2/24{vlan}"));
        drop(guest);
        eventually("the veth goes with its guest", || lab.host.link(&port) == Value::Null);
        assert!(ovs.rows().contains(&format!("{bridge} has {port}")), "its row does not");
        lab.ok(&format!("detach pid:{pid}"));
        assert_same(&before, &settled(&[&lab.host], state), &format!("{bridge}{vlan}"));
        assert_eq!(files(&lab), [""; 0]);
    }
}

#[test]
fn clearing_up_removes_rows_of_guests_that_died_with_a_record_or_without() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    add_foreign(&lab, &ovs, "ovsu");
    let state = || lab.host.state().into_iter().chain(ovs.rows()).collect::<Vec<_>>();
    let before = settled(&[&lab.host], state);
    for forgotten in [false, true] {
        let (guest, living) = (lab.guest(), lab.guest());
        let (port, other) = (port(&guest), port(&living));
        lab.ok(&format!("ovsu pid:{} 10.1.1.2/24 @10", guest.pid()));
        if forgotten {
            std::fs::remove_dir_all(lab.dir.path().join("guests")).unwrap();
        }
        lab.ok(&format!("ovsu pid:{} 10.1.1.3/24 @10", living.pid()));
        drop(guest);
        eventually("the veth goes with its guest", || lab.host.link(&port) == Value::Null);
        let said = lab.run("gc --dry-run");
        assert!(said.code == Some(0) && ovs.rows().contains(&format!("ovsu has {port}")), "{} {}", said.out, said.err);
        let said = lab.run("gc");
        assert_eq!(said.code, Some(0), "{}", said.err);
        let ports = ovs.vsctl("list-ports ovsu");
        assert!(!ports.contains(&port) && ports.contains(&other), "{ports}");
        lab.ok(&format!("detach pid:{}", living.pid()));
        assert_same(&before, &settled(&[&lab.host], state), &format!("forgotten: {forgotten}"));
    }
}

#[test]
fn a_database_that_is_away_keeps_only_its_rows_and_the_next_run_takes_them() {
    if no_ovs() {
        return;
    }
    for next in ["gc", "detach GUEST"] {
        let lab = Lab::new();
        let mut ovs = Ovs::start_dummy(&lab);
        ovs.vsctl("add-br ovs9");
        add_foreign(&lab, &ovs, "ovs9");
        let guest = lab.guest();
        let (word, state) = (format!("pid:{}", guest.pid()), |ovs: &Ovs| everything(&lab, &guest, ovs));
        let (links, before) = (both(&lab, &guest), state(&ovs));
        attach(&lab, &format!("ovs0 {word} 10.1.1.2/24 @10"));
        ovs.kill_server();
        let said = lab.fails(&format!("detach {word}"), &format!("could not remove port {}", port(&guest)));
        assert!(said.contains("no Open vSwitch database server") && said.contains("`pipework gc` tries again"), "{said}");
        assert_same(&links, &both(&lab, &guest), "the kernel's side is done");
        ovs.start_server(&lab);
        assert!(ovs.rows().contains(&format!("ovs0 has {}", port(&guest))));
        attach(&lab, &next.replace("GUEST", &word));
        assert_same(&before, &state(&ovs), next);
        assert_eq!(files(&lab), [""; 0], "{next}");
    }
}

#[test]
fn the_database_that_the_attach_was_told_is_the_one_that_detach_asks() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    ovs.server_appctl(&["ovsdb-server/add-remote", "ptcp:6641:127.0.0.1"]);
    let guest = lab.guest();
    let before = everything(&lab, &guest, &ovs);
    let word = format!("pid:{}", guest.pid());
    for line in [format!("--ovsdb tcp:127.0.0.1:6641 ovsu {word} 10.1.1.2/24 @10"), format!("diff {word}"), format!("detach {word}")] {
        let ran: lab::Ran = lab.program().env("OVS_DB", "unix:/nowhere/db.sock").args(line.split(' ')).output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{line}");
        assert_eq!(ovs.rows().contains(&format!("ovsu has {}", port(&guest))), !line.starts_with("detach"), "{line}");
    }
    assert_same(&before, &everything(&lab, &guest, &ovs), "detached");
}

#[test]
fn what_the_original_made_is_known_by_its_names() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    add_foreign(&lab, &ovs, "ovsu");
    let guest = lab.guest();
    let before = settled(&[&lab.host, &guest], || everything(&lab, &guest, &ovs));
    let (pid, name) = (guest.pid(), port(&guest));
    lab.host.sh(&format!("ip link add {name} up type veth peer name eth1 netns {pid}"));
    ovs.vsctl(&format!("add-port ovsu {name} tag=10 -- set Interface {name} external-ids:pipework.interface={name} external-ids:pipework.bridge=ovsu external-ids:pipework.nspid={pid}"));
    lab.ok(&format!("detach pid:{pid}"));
    assert_same(&before, &settled(&[&lab.host, &guest], || everything(&lab, &guest, &ovs)), "the original's");
}

#[test]
fn a_row_that_somebody_put_in_the_place_of_ours_stands() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let guest = lab.guest();
    ovs.vsctl("add-br ovs9 -- set Bridge ovs9 datapath_type=netdev");
    let before = both(&lab, &guest);
    let (word, name) = (format!("pid:{}", guest.pid()), port(&guest));
    for bridge in ["ovsu", "ovs9"] {
        lab.ok(&format!("ovsu {word} 10.1.1.2/24 @10"));
        ovs.vsctl(&format!("del-port {name} -- add-port {bridge} {name} tag=77 -- set Interface {name} external-ids:mine=x"));
        let somebodys = ovs.rows();
        if bridge == "ovs9" {
            lab.fails(&format!("repair {word}"), &format!("Open vSwitch has a port {name} already, on ovs9, and pipework did not make it"));
        }
        lab.ok(&format!("detach {word}"));
        assert_same(&somebodys, &ovs.rows(), bridge);
        assert_same(&before, &both(&lab, &guest), "the links are ours");
        lab.ok("gc");
        assert_same(&somebodys, &ovs.rows(), "gc");
        ovs.vsctl(&format!("del-port {name}"));
    }
}

/// The fields that `diff --json` names, with exit status 2; none with 0. `status` has to say the same.
#[track_caller]
fn drift(lab: &Lab, word: &str) -> Vec<String> {
    let told = |differences: &Value| -> Vec<String> {
        differences.as_array().unwrap().iter().map(|d| d["field"].as_str().unwrap().to_owned()).collect()
    };
    let ran = lab.run(&format!("diff --json {word}"));
    let report: Value = serde_json::from_str(ran.out.lines().next().unwrap_or_else(|| panic!("{}", ran.err))).unwrap();
    let fields = told(&report["differences"]);
    let code = Some(if fields.is_empty() { 0 } else { 2 });
    assert_eq!(ran.code, code, "{}", ran.out);
    let ran = lab.run(&format!("status --json {word}"));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, told(&report["attachments"][0]["differences"])), (code, fields.clone()), "{report}");
    fields
}

/// The steps of a run with -v.
#[track_caller]
fn steps(lab: &Lab, line: &str) -> Vec<String> {
    let ran = lab.run(line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
    let lines = ran.err.lines().map(|line| line.trim_start_matches("pipework: ").to_owned());
    lines.filter(|line| !["done (", "nothing to do", "warning: "].iter().any(|start| line.starts_with(start))).collect()
}

#[test]
fn a_port_is_put_on_another_vlan_in_place() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    add_foreign(&lab, &ovs, "ovsu");
    let guest = lab.guest();
    let before = settled(&[&lab.host, &guest], || everything(&lab, &guest, &ovs));
    let (word, name) = (format!("pid:{}", guest.pid()), port(&guest));
    lab.ok(&format!("ovsu {word} 10.1.1.2/24 @10"));
    let same = || (ovs.get("Port", &name, "_uuid"), ovs.get("Interface", &name, "_uuid"), guest.link("eth1")["ifindex"].clone());
    let made = same();
    for (vlan, columns) in [
        ("@20", ["20", "[]", "[]"]),
        ("@10,20-21", ["10", "[20, 21]", "native-untagged"]),
        ("@,30", ["[]", "[30]", "trunk"]),
        ("", ["[]", "[]", "[]"]),
        ("@10", ["10", "[]", "[]"]),
    ] {
        let line = format!("attach --replace -v ovsu {word} 10.1.1.2/24 {vlan}");
        let done = steps(&lab, &line);
        assert_eq!(done.len(), 1, "{line}: {done:?}");
        assert_eq!(["tag", "trunks", "vlan_mode"].map(|column| ovs.get("Port", &name, column)), columns, "{line}");
        assert_eq!(drift(&lab, &word), [""; 0], "{line}");
        assert_eq!(steps(&lab, &line), [""; 0], "{line}, again");
        assert_eq!(same(), made, "{line}: the same rows and link");
    }
    lab.ok(&format!("detach {word}"));
    assert_eq!(files(&lab), [""; 0]);
    assert_same(&before, &settled(&[&lab.host, &guest], || everything(&lab, &guest, &ovs)), "after all changes");
}

/// Something done by hand is named, mended by so many steps, and then all is as before.
#[track_caller]
fn mends(bridge: &str, by_hand: &str, fields: &[&str], count: usize) {
    let lab = Lab::new();
    let ovs = if bridge == "ovsu" { Ovs::start(&lab) } else { Ovs::start_dummy(&lab) };
    ovs.vsctl("add-br ovs9 -- set Bridge ovs9 datapath_type=netdev");
    add_foreign(&lab, &ovs, "ovs9");
    let guest = lab.guest();
    let (word, name) = (format!("pid:{}", guest.pid()), port(&guest));
    let state = || settled(&[&lab.host, &guest], || everything(&lab, &guest, &ovs));
    let nothing = state();
    attach(&lab, &format!("{bridge} {word} 10.1.1.2/24 @10"));
    let before = state();
    assert_eq!(drift(&lab, &word), [""; 0], "right after the attach");
    ovs.vsctl(&by_hand.replace("PORT", &name));
    assert_eq!(drift(&lab, &word), fields, "{by_hand}");
    let done = steps(&lab, &format!("repair -v {word}"));
    assert_eq!(done.len(), count, "{by_hand}: {done:#?}");
    assert_same(&before, &state(), &format!("{by_hand}: after the repair"));
    assert_eq!(drift(&lab, &word), [""; 0], "{by_hand}: {done:#?}");
    lab.ok(&format!("detach {word}"));
    assert_same(&nothing, &state(), &format!("{by_hand}: after the detach"));
}

#[test]
fn a_row_that_was_deleted_or_changed_by_hand_is_named_and_mended() {
    if no_ovs() {
        return;
    }
    mends("ovsu", "del-port PORT", &["host-end"], 1);
    mends("ovsu", "set Port PORT tag=77", &["vlan"], 1);
    mends("ovsu", "set Port PORT vlan_mode=native-untagged trunks=10,30", &["vlan"], 1);
    mends("ovs0", "del-br ovs0", &["host-end"], 2);
}

#[test]
fn a_port_that_was_moved_to_another_bridge_comes_back() {
    if no_ovs() {
        return;
    }
    let moved = "del-port PORT -- add-port ovs9 PORT tag=10 -- set Interface PORT external-ids:pipework.interface=PORT";
    mends("ovsu", moved, &["host-end"], 1);
}

/// A bridge that is made, and one that is there, each with what takes its place: another VLAN, another bridge.
const LINES: [Line; 4] = [
    ("ovs0 G 10.1.1.2/24 @10", Some("ovs0 G 10.1.1.2/24 @20")),
    ("ovs9 G 10.1.1.2/24@10.1.1.1", Some("ovs9 G 10.1.1.2/24@10.1.1.1 @,20-30")),
    ("ovs0 G 10.1.1.2/24@10.1.1.1 @10", Some("ovs9 G 10.1.1.2/24@10.1.1.1 @10")),
    ("ovs9 G 10.1.1.2/24", Some("ovs0 G 10.1.1.7/24 @10,20")),
];

/// Whether the guest's interface, its host end and the rows of the database are all there for the words.
fn is_whole(world: &World, ovs: &Ovs, words: &str) -> bool {
    let words: Vec<&str> = words.split(' ').collect();
    let name = port(&world.guest);
    let (tag, trunks) = match words.get(3).copied() {
        Some("@10") => ("10", "[]"),
        Some("@20") => ("20", "[]"),
        Some("@10,20") => ("10", "[20]"),
        Some(_) => ("[]", "[20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]"),
        None => ("[]", "[]"),
    };
    let rows = (ovs.vsctl(&format!("port-to-br {name}")), ovs.get("Port", &name, "tag"), ovs.get("Port", &name, "trunks"));
    let names = ovs.get("Interface", &name, "external_ids:pipework.interface");
    let links = (world.lab.host.link(&name)["link_netnsid"].is_number(), world.guest.addrs("eth1"));
    rows == (format!("{}\n", words[0]), tag.into(), trunks.into())
        && names == name
        && links == (true, vec![words[2].split('@').next().unwrap().to_owned()])
}

#[test]
fn forty_runs_killed_at_random_leave_all_or_nothing_in_the_database_too() {
    if no_ovs() {
        return;
    }
    std::thread::scope(|scope| {
        for seed in [3, 4] {
            scope.spawn(move || {
                let world = World::new("true", GUEST);
                let ovs = Ovs::start_dummy(&world.lab);
                ovs.vsctl("add-br ovs9");
                add_foreign(&world.lab, &ovs, "ovs9");
                let state = || world.state().into_iter().chain(ovs.rows()).collect();
                kill_at_random(&world, &LINES, (seed, 20), state, |words| is_whole(&world, &ovs, words));
            });
        }
    });
}
