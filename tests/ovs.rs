//! Open vSwitch with its userspace datapath: a real ovsdb-server and ovs-vswitchd of each test's own. The judges are
//! ovs-vsctl, ovs-appctl, iproute2 and ping. The kernel's datapath is for ovs_kernel.rs.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::time::Duration;

use lab::engine::{Engine, no_engine};
use lab::inside::{FAULTS, rolls_back_on};
use lab::ovs::{Ovs, everything, no_ovs};
use lab::{Lab, Space, assert_same, eventually, has_netns_link};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};
use pipework::plan::Birth;
use serde_json::Value;

fn reaches(from: &Space, to: &str) -> bool {
    from.try_sh(&format!("ping -c1 -W1 {to}"))
}

#[test]
fn a_tag_isolates_and_a_trunk_passes() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let guests: Vec<Space> = (0..5).map(|_| lab.guest()).collect();
    for (n, vlan) in ["@10", "@10", "@20", "@10,20-30", "@,20-30"].iter().enumerate() {
        lab.ok(&format!("ovsu -l p{n} pid:{} 10.1.1.{}/24 {vlan}", guests[n].pid(), n + 1));
    }
    eventually("10 reaches 10", || reaches(&guests[0], "10.1.1.2"));
    eventually("10 reaches the untagged side of a trunk", || reaches(&guests[0], "10.1.1.4"));
    assert!(!reaches(&guests[0], "10.1.1.3"), "10 reaches 20");
    assert!(!reaches(&guests[2], "10.1.1.1"), "20 reaches 10");
    assert!(!reaches(&guests[0], "10.1.1.5"), "10 reaches a trunk without it");

    // What the switch does with a tagged frame, and through which VLANs: its own word for it.
    let number = |port: &str| ovs.get("Interface", port, "ofport");
    let trace = |port: &str, vlan: &str| {
        let flow = format!("in_port={},{vlan}dl_src=02:00:00:00:00:99,dl_dst=ff:ff:ff:ff:ff:ff", number(port));
        let text = ovs.appctl(&["ofproto/trace", "ovsu", &flow]);
        text.lines().filter(|line| line.contains("over ") || line.starts_with("Datapath actions")).collect::<Vec<_>>().join("\n")
    };
    let port =
        |name: &str| ovs.appctl(&["dpctl/show"]).lines().find_map(|l| l.trim().strip_suffix(&format!(": {name}")).map(str::to_owned));
    let numbers: Vec<String> = (0..5).map(|n| port(&format!("p{n}")).unwrap().replace("port ", "")).collect();
    let sends = |from: &str, vlan: &str| {
        let line = trace(from, vlan);
        let actions = line.lines().last().unwrap().trim_start_matches("Datapath actions: ").to_owned();
        let out: Vec<String> = actions.split(',').map(str::to_owned).collect();
        (0..5).filter(|n| out.contains(&numbers[*n])).collect::<Vec<_>>()
    };
    assert_eq!(sends("p3", "dl_vlan=20,"), [2, 4], "20 in a trunk: to the guest on 20 and the other trunk");
    assert_eq!(sends("p4", "dl_vlan=20,"), [2, 3]);
    assert_eq!(sends("p3", ""), [0, 1], "untagged in a trunk is 10");
    assert_eq!(sends("p3", "dl_vlan=40,"), [0; 0], "40 is not in the trunk");
    assert_eq!(sends("p4", ""), [0; 0], "a trunk without an untagged VLAN takes no untagged frames");
    assert_eq!(sends("p0", "dl_vlan=20,"), [0; 0], "an access port takes no tagged frames");
}

#[test]
fn a_tagged_frame_through_a_trunk_is_answered_by_a_guest_on_that_vlan() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let (trunk, access, other) = (lab.guest(), lab.guest(), lab.guest());
    lab.ok(&format!("ovsu pid:{} 0/0 02:00:00:00:00:0a@10,20-30", trunk.pid()));
    lab.ok(&format!("ovsu pid:{} 10.1.1.5/24 @20", access.pid()));
    lab.ok(&format!("ovsu pid:{} 10.1.1.6/24 @31", other.pid()));
    let mut ear = trunk.command("tcpdump");
    ear.args(["-i", "eth1", "-l", "-e", "-n", "--immediate-mode", "-Q", "in"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut ear = ear.spawn().unwrap();
    let mut heard = std::io::BufReader::new(ear.stdout.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::BufRead::read_line(&mut heard, &mut line).is_ok_and(|n| n > 0) {
            let _ = tell.send(std::mem::take(&mut line));
        }
    });
    let mut answers = Vec::new();
    eventually("an answer from 10.1.1.5, tagged 20", || {
        for (vlan, ip) in [(20, 5), (31, 6), (20, 6)] {
            send_arp_request(&trunk, vlan, [10, 1, 1, ip]);
        }
        std::thread::sleep(Duration::from_millis(100));
        answers.extend(told.try_iter().filter(|line| line.contains("Reply")));
        answers.iter().any(|line| line.contains("Reply 10.1.1.5") && line.contains("vlan 20"))
    });
    let _ = ear.kill();
    let _ = ear.wait();
    assert!(answers.iter().all(|line| line.contains("Reply 10.1.1.5")), "31 is not in the trunk: {answers:?}");
    drop(ovs);
}

/// Asks for an address from 10.1.1.9, with an 802.1Q tag, as the trunk's own host would: the kernel here has no VLANs.
fn send_arp_request(from: &Space, vlan: u16, wanted: [u8; 4]) {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0x0a, 0x81, 0x00]);
    frame.extend(vlan.to_be_bytes());
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 10, 1, 1, 9, 0, 0, 0, 0, 0, 0]);
    frame.extend(wanted);
    frame.resize(64, 0);
    let path = format!("/proc/{}/ns/net", from.pid());
    let namespace = pipework::kernel::netns::Namespace::open(std::path::Path::new(&path)).unwrap();
    namespace
        .inside(|| {
            let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
            let links = nix::ifaddrs::getifaddrs().unwrap().filter(|i| i.interface_name == "eth1");
            let link = links.filter_map(|i| i.address?.as_link_addr().copied()).next().unwrap();
            sendto(raw.as_raw_fd(), &frame, &link, MsgFlags::empty()).unwrap();
            Ok(())
        })
        .unwrap();
}

#[test]
fn rows_are_as_the_originals_own_command_writes_them() {
    if no_ovs() || no_engine() {
        return;
    }
    let engine = Engine::start();
    let lab = &engine.lab;
    let ovs = Ovs::start(lab);
    let id = engine.container("web");
    let pid = engine.docker("inspect --format {{.State.Pid}} web");
    engine.ok("ovsu -l ours web 10.1.1.2/24 @10");
    engine.ok("ovsu -i eth2 -l plain web 10.1.2.2/24");
    // What the original runs, its variables filled in.
    lab.host.sh("ip link add theirs type veth peer name t1; ip link add bare type veth peer name b1");
    let common =
        format!("external-ids:pipework.containerid={id} external-ids:pipework.containername=/web external-ids:pipework.nspid={pid}");
    for (name, tag, vlan) in [("theirs", "tag=10", "external-ids:pipework.vlan=10"), ("bare", "", "")] {
        ovs.vsctl(&format!("add-port ovsu {name} {tag} -- set Interface {name} external-ids:pipework.interface={name} external-ids:pipework.bridge=ovsu {common} {vlan}"));
    }
    for (ours, theirs) in [("ours", "theirs"), ("plain", "bare")] {
        for table in ["Port", "Interface"] {
            let wanted: Vec<String> = ovs.row(table, theirs).iter().map(|line| line.replace(theirs, ours)).collect();
            assert_eq!(ovs.row(table, ours), wanted);
        }
    }
    assert!(ovs.row("Interface", "ours").iter().any(|line| line.contains("pipework.containername=\"/web\"")));
    assert_eq!(lab.host.link("ours")["master"], lab.host.link("theirs")["master"]);
    if let Some(script) = std::env::var_os("PIPEWORK_ORIGINAL") {
        compare_with_the_original(&engine, &ovs, &script);
    }
    engine.ok("ovsu -l ours web 10.1.1.2/24 @10");
    engine.fails("ovsu web 10.1.1.2/24", "the host end's VLAN is access 10, wanted all");
}

/// The script itself, which finds the database by OVS_RUNDIR and the links in a /sys of its own.
fn compare_with_the_original(engine: &Engine, ovs: &Ovs, script: &std::ffi::OsStr) {
    for (words, ours) in [("-i eth7 -l script web 10.1.7.2/24 @10", "ours"), ("-i eth8 -l script8 web 10.1.8.2/24", "plain")] {
        let mut command = engine.lab.host.command("unshare");
        let line =
            format!("mkdir -p /var/run/netns; mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /var/run/netns; exec sh \"$0\" ovsu {words}");
        command.args(["--mount", "--", "sh", "-ec", &line]).arg(script).env("DOCKER_HOST", engine.host()).env("OVS_RUNDIR", &ovs.dir);
        let ran: lab::Ran = command.output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let name = words.split(' ').nth(3).unwrap();
        for table in ["Port", "Interface"] {
            let wanted: Vec<String> = ovs.row(table, name).iter().map(|line| line.replace(name, ours)).collect();
            assert_eq!(ovs.row(table, ours), wanted, "{words}");
        }
    }
}

#[test]
fn the_same_request_again_changes_nothing_and_another_is_refused_with_the_differences() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    ovs.vsctl("add-br ovsv -- set Bridge ovsv datapath_type=netdev -- add-br fake0 ovsu 7");
    let guest = lab.guest();
    let pid = guest.pid();
    for (words, other, difference) in [
        ("ovsu PID 10.1.1.2/24 @10", "ovsu PID 10.1.1.2/24 @11", "the host end's VLAN is access 10, wanted access 11"),
        (
            "ovsu -i eth2 PID 10.1.2.2/24 @10,20-30",
            "ovsu -i eth2 PID 10.1.2.2/24 @,20-30",
            "is native-untagged 10, tagged 20-30, wanted trunk, tagged 20-30",
        ),
        ("ovsu -i eth3 PID 10.1.3.2/24", "ovsu -i eth3 PID 10.1.3.2/24 @10", "the host end's VLAN is all, wanted access 10"),
        ("ovsv -i eth4 -l far0 PID 10.1.4.2/24", "ovsu -i eth4 PID 10.1.4.2/24", "the host end is far0 on ovsv, wanted on ovsu"),
        ("fake0 -i eth5 PID 10.1.5.2/24", "ovsu -i eth5 PID 10.1.5.2/24", "the host end's VLAN is access 7, wanted all"),
    ] {
        let (words, other) = (words.replace("PID", &format!("pid:{pid}")), other.replace("PID", &format!("pid:{pid}")));
        lab.ok(&words);
        let before = everything(&lab, &guest, &ovs);
        let said = lab.run(&format!("-v {words}"));
        assert!(said.err.contains("nothing to do"), "{}", said.err);
        lab.fails(&other, difference);
        assert_same(&before, &everything(&lab, &guest, &ovs), &words);
    }
    assert_eq!(ovs.vsctl("list-ports fake0").trim(), format!("veth5pl{pid}"), "a fake bridge's port is the VLAN's");
    lab.fails(&format!("fake0 -i eth6 pid:{pid} 0/0 @8"), "fake0 is VLAN 7 of ovsu already");
    lab.fails(&format!("ovsu -i eth6 pid:{pid} 0/0 @ad:8"), "a port of Open vSwitch takes no 802.1ad VLAN");
    lab.fails(&format!("ovsu -i eth6 pid:{pid} 0/0 @fff1"), "VLAN \"fff1\"");
    let said = lab.run(&format!("--direct-phys ovsu -i eth7 pid:{pid} 0/0"));
    assert!(said.code == Some(0) && said.err.contains("--direct-phys has no effect: ovsu is not a NIC"), "{}", said.err);
}

#[test]
fn printed_commands_do_what_the_attach_does() {
    if no_ovs() {
        return;
    }
    for words in [
        "ovsu -l far0 pid:PID 10.1.1.2/24@10.1.1.1 02:00:00:00:00:07@10,20-30,40",
        "ovsu -l far0 pid:PID fd00::2/64 @10",
        "ovsu -l far0 --via-host pid:PID 0/0 @,5",
        "ovsu -l far0 netns:/proc/PID/ns/net 0/0",
        "ovs0 -l far0 pid:PID 10.1.1.2/24 @10",
    ] {
        let [attached, printed] = [false, true].map(|by_shell| ends_as(words, by_shell));
        assert_eq!(attached, printed, "{words}");
    }
}

/// The database, and the guest's addresses and routes, after the attach itself or the commands that it prints.
fn ends_as(words: &str, by_shell: bool) -> (Vec<String>, Vec<String>, Vec<String>) {
    let lab = Lab::new();
    let is_new = words.starts_with("ovs0");
    let ovs = if is_new { Ovs::start_dummy(&lab) } else { Ovs::start(&lab) };
    if !is_new {
        // What a dead attach left makes room.
        ovs.vsctl("--no-wait add-port ovsu far0 tag=99 -- set Interface far0 external-ids:pipework.interface=far0");
    }
    let guest = lab.guest();
    let words = words.replace("PID", &guest.pid().to_string());
    if by_shell {
        let before = everything(&lab, &guest, &ovs);
        let dry = lab.run(&format!("--dry-run {words}"));
        assert_eq!((dry.code, dry.err.as_str()), (Some(0), ""));
        assert_same(&before, &everything(&lab, &guest, &ovs), "--dry-run changed something");
        let mut shell = lab.host.command("sh").arg("-e").stdin(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(dry.out.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success(), "{}", dry.out);
        let again = lab.run(&format!("--dry-run {words}"));
        assert_eq!((again.code, again.out.as_str()), (Some(0), ""), "{}", again.err);
    } else {
        lab.ok(&words);
    }
    assert!(!has_netns_link(guest.pid()));
    let rows = ovs.rows().into_iter().map(|row| row.replace(&guest.pid().to_string(), "PID"));
    (rows.collect(), guest.addrs("eth1"), guest.routes())
}

#[test]
fn whichever_step_goes_wrong_both_sides_and_the_database_are_as_before() {
    if no_ovs() {
        return;
    }
    for birth in [Birth::Guest, Birth::Host] {
        let lab = Lab::new();
        let ovs = Ovs::start(&lab);
        let guest = lab.guest();
        rolls_back_on(&lab, &guest, Some(&ovs.address()), "ovsu 10.1.1.2/24@10.9.1.1 U:x@10,20-30", birth, &FAULTS, &|| {
            everything(&lab, &guest, &ovs)
        });

        // A stale row, which makes room and is put back.
        let guest = lab.guest();
        let name = format!("veth1pl{}", guest.pid());
        ovs.vsctl("add-br ovsv -- set Bridge ovsv datapath_type=netdev");
        ovs.vsctl(&format!("--no-wait add-port ovsv {name} tag=99 -- set Interface {name} external-ids:pipework.interface={name} external-ids:mine=x ingress_policing_rate=100 -- set Port {name} other_config:a=b"));
        rolls_back_on(&lab, &guest, Some(&ovs.address()), "ovsu 10.1.1.2/24 @10", birth, &FAULTS, &|| everything(&lab, &guest, &ovs));
        assert_eq!(ovs.get("Port", &name, "tag"), "10", "the attach that nothing went wrong with replaced it");
        assert_eq!(ovs.get("Interface", &name, "external_ids:pipework.bridge"), "ovsu");
    }
}

#[test]
fn a_bridge_that_is_made_goes_again_with_whatever_goes_wrong() {
    if no_ovs() {
        return;
    }
    for birth in [Birth::Guest, Birth::Host] {
        let lab = Lab::new();
        let ovs = Ovs::start_dummy(&lab);
        let guest = lab.guest();
        rolls_back_on(&lab, &guest, Some(&ovs.address()), "ovs0 10.1.1.2/24 @10", birth, &FAULTS, &|| everything(&lab, &guest, &ovs));
        assert!(ovs.rows().contains(&format!("ovs0 has veth1pl{}", guest.pid())));
    }
}

#[test]
fn a_new_bridge_is_as_the_originals_own_command_makes_it() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start_dummy(&lab);
    let guest = lab.guest();
    let ran = lab.run(&format!("ovs0 pid:{} 10.1.1.2/24@10.1.1.1", guest.pid()));
    assert!(ran.code == Some(0) && ran.err.contains("Open vSwitch bridge ovs0 is new and has no uplink"), "{}", ran.err);
    // With our mark.
    ovs.vsctl("add-br ovs1 -- br-set-external-id ovs1 pipework.bridge ovs1");
    let ours = |line: &String| line.replace("ovs1", "ovs0");
    let without_ids =
        |lines: Vec<String>| lines.into_iter().filter(|l| !l.starts_with("datapath") && !l.starts_with("ports")).collect::<Vec<_>>();
    for table in ["Bridge", "Port", "Interface"] {
        assert_eq!(without_ids(ovs.row(table, "ovs0")), without_ids(ovs.row(table, "ovs1").iter().map(ours).collect()));
    }
}

#[test]
fn many_at_once_that_all_make_the_bridge_end_well() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start_dummy(&lab);
    let guests: Vec<Space> = (0..12).map(|_| lab.guest()).collect();
    std::thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(|| lab.ok(&format!("ovs0 pid:{} 0/0", guest.pid())));
        }
    });
    let rows = ovs.rows();
    assert!(guests.iter().all(|guest| rows.contains(&format!("ovs0 has veth1pl{}", guest.pid()))), "{rows:?}");
}

#[test]
fn a_row_that_is_anothers_is_refused_and_a_stale_one_of_ours_is_replaced() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let guest = lab.guest();
    let pid = guest.pid();
    ovs.vsctl("--no-wait add-port ovsu foreign -- add-port ovsu liar -- set Interface liar external-ids:pipework.interface=other");
    ovs.vsctl("--no-wait add-bond ovsu bond0 one two -- set Interface one external-ids:pipework.interface=one");
    ovs.vsctl("--no-wait add-port ovsu up0 -- set Interface up0 external-ids:pipework.interface=up0");
    lab.host.sh("ip link add up0 up type veth peer name up1");
    let before = everything(&lab, &guest, &ovs);
    for (name, message) in [
        ("foreign", "Open vSwitch has a port foreign already, on ovsu, and pipework did not make it"),
        ("liar", "Open vSwitch has a port liar already"),
        ("one", "Open vSwitch has a port one already, on port bond0"),
        ("bond0", "Open vSwitch has a port bond0 already"),
        ("up0", "Link up0 exists and is up"),
        ("ovsu", "Link ovsu exists and is the bridge itself"),
    ] {
        lab.fails(&format!("ovsu -l {name} pid:{pid} 0/0"), message);
        assert_same(&before, &everything(&lab, &guest, &ovs), name);
    }
    // A guest that died left its row, not its link.
    let dead = lab.guest();
    lab.ok(&format!("ovsu -l again pid:{} 0/0 @5", dead.pid()));
    drop(dead);
    eventually("its link is gone", || lab.host.link("again") == Value::Null);
    // And one that left its link as well, which is down.
    ovs.vsctl("--no-wait add-port ovsu down0 -- set Interface down0 external-ids:pipework.interface=down0");
    lab.host.sh("ip link add down0 type veth peer name down1");
    lab.ok(&format!("ovsu -i eth2 -l down0 pid:{pid} 0/0"));
    assert_eq!(lab.host.link("down1"), Value::Null);
    lab.ok(&format!("ovsu -l again pid:{pid} 10.1.1.2/24 @6"));
    assert_eq!(
        (ovs.get("Port", "again", "tag"), ovs.get("Interface", "again", "external_ids:pipework.nspid")),
        ("6".into(), format!("\"{pid}\""))
    );
    assert_eq!(ovs.get("Interface", "again", "ofport").parse::<i32>().unwrap_or(-1).signum(), 1, "the switch has it");
}

#[test]
fn the_neighbours_on_its_vlan_hear_of_a_guest() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let _ovs = Ovs::start(&lab);
    let (near, far, guest) = (lab.guest(), lab.guest(), lab.guest());
    for (space, ip, vlan) in [(&near, 1, 10), (&far, 2, 20)] {
        lab.ok(&format!("ovsu pid:{} 10.1.1.{ip}/24 @{vlan}", space.pid()));
        space.sh("sysctl -qw net.ipv4.conf.eth1.arp_accept=1");
    }
    lab.ok(&format!("ovsu pid:{} 10.1.1.3/24 02:00:00:00:00:07@10", guest.pid()));
    eventually("it is heard", || near.sh("ip neigh show 10.1.1.3").contains("02:00:00:00:00:07"));
    assert_eq!(far.sh("ip neigh show 10.1.1.3"), "");
}

#[test]
fn a_database_is_reached_by_tcp_and_the_printed_commands_name_it() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    ovs.server_appctl(&["ovsdb-server/add-remote", "ptcp:6641:127.0.0.1"]);
    let guest = lab.guest();
    let line = format!("--ovsdb tcp:127.0.0.1:6641 ovsu pid:{} 0/0 @10", guest.pid());
    let dry = lab.run(&format!("--dry-run {line}"));
    assert!(dry.out.contains("ovs-vsctl --db=tcp:127.0.0.1:6641 add-port ovsu"), "{} {}", dry.out, dry.err);
    lab.ok(&line);
    assert_eq!(ovs.get("Port", &format!("veth1pl{}", guest.pid()), "tag"), "10");
}

#[test]
fn linux_bridges_and_nics_do_without_any_of_this() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let (_switch, guest) = (lab.nic("nic0"), lab.guest());
    lab.host.sh("ip link add ovsb up type bridge; ip tuntap add tap0 mode tap; ip link set tap0 up");
    // Nobody listens at the lab's address.
    lab.ok(&format!("ovsb pid:{} 10.1.1.2/24", guest.pid()));
    lab.ok(&format!("nic0 -i eth2 pid:{} 10.1.2.2/24", guest.pid()));
    lab.ok(&format!("tap0 -i eth3 pid:{} 10.1.3.2/24", guest.pid()));
    lab.ok(&format!("br0 -i eth4 pid:{} 10.1.4.2/24", guest.pid()));
    // An address that ovs-vsctl alone understands is nobody's there.
    let ssl = format!("br2 -i eth9 pid:{} 10.1.9.2/24", guest.pid());
    let ran: lab::Ran = lab.program().env("OVS_DB", "ssl:127.0.0.1:6640").args(ssl.split(' ')).output().unwrap().into();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    // With a database: a bridge is known by it whatever its name, with a link or without.
    let mut ovs = Ovs::start(&lab);
    ovs.vsctl("add-br br-ex -- set Bridge br-ex datapath_type=netdev");
    lab.ok(&format!("br-ex -i eth5 pid:{} 10.1.5.2/24 @10", guest.pid()));
    assert_eq!(ovs.get("Port", &format!("veth5pl{}", guest.pid()), "tag"), "10");
    lab.ok(&format!("br1 -i eth6 pid:{} 10.1.6.2/24", guest.pid()));
    assert_eq!(lab.host.link("br1")["linkinfo"]["info_kind"], "bridge");
    ovs.kill_server();
    let said = lab.fails(&format!("ovs7 -i eth8 pid:{} 0/0", guest.pid()), "no Open vSwitch database server");
    assert!(said.contains("systemctl start openvswitch-switch"), "{said}");
}
