//! Open vSwitch when something is wrong: servers that die, stop or babble, a switch that cannot or does not run, others
//! that change the same things. Always: a clear error, and nothing left.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::ovs::{Between, Fate, Ovs, babbler, everything, no_ovs};
use lab::{Lab, assert_same, both, eventually};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

#[test]
fn what_changes_between_the_look_and_the_change_is_looked_at_again_or_told() {
    if no_ovs() {
        return;
    }
    for (meanwhile, told) in [
        ("del-br ovs0", None),
        ("--no-wait add-port ovs0 p0 tag=7", Some("somebody else made or removed port p0 meanwhile")),
        ("--no-wait del-port ovs0 stale", None),
    ] {
        let lab = Lab::new();
        let ovs = Ovs::start_dummy(&lab);
        let guest = lab.guest();
        ovs.vsctl("add-br ovs0 -- add-port ovs0 stale");
        let command = format!("ovs-vsctl --db={} {meanwhile}", ovs.address());
        let between = Between::start(&ovs, Fate::Late, move || {
            assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success())
        });
        let line = format!("--ovsdb {} ovs0 -l p0 pid:{} 0/0 @10", between.address(), guest.pid());
        match told {
            Some(message) => {
                let said = lab.fails(&line, message);
                assert!(said.contains("undone: 1 of 1 steps") && ovs.get("Port", "p0", "tag") == "7", "{said}");
                assert_eq!((lab.host.link("p0"), guest.link("eth1")), (Value::Null, Value::Null));
            }
            None => {
                lab.ok(&line);
                assert_eq!((ovs.get("Port", "p0", "tag"), ovs.vsctl("port-to-br p0").trim()), ("10".into(), "ovs0"));
            }
        }
    }
}

#[test]
fn what_the_switch_says_of_a_port_is_our_error_and_undone() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let mut ovs = Ovs::server_only(&lab);
    let (elsewhere, guest) = (lab.guest(), lab.guest());
    ovs.start_switch(&elsewhere, &[]);
    ovs.vsctl("add-br ovsu -- set Bridge ovsu datapath_type=netdev");
    let before = everything(&lab, &guest, &ovs);
    let said = lab.fails(&format!("ovsu pid:{} 10.1.1.2/24 @10", guest.pid()), "ovs-vswitchd could not set up veth1pl");
    assert!(said.contains("No such device") && said.contains("undone: 2 of 2 steps"), "{said}");
    // A bridge that it cannot make, as this kernel's own datapath where there is none.
    if !std::path::Path::new("/sys/module/openvswitch").exists() {
        let said = lab
            .fails(&format!("ovs0 pid:{} 10.1.1.2/24 @10", guest.pid()), "ovs-vswitchd could not set up ovs0: it gave it no port number");
        assert!(said.contains("modprobe openvswitch"), "{said}");
    }
    assert_same(&before, &everything(&lab, &guest, &ovs), "the switch could not");
}

#[test]
fn a_switch_that_does_not_run_is_told_within_its_time_and_nothing_is_left() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::server_only(&lab);
    ovs.vsctl("--no-wait add-br ovsu");
    let guest = lab.guest();
    let before = everything(&lab, &guest, &ovs);
    let start = Instant::now();
    let said = lab.fails(&format!("ovsu pid:{} 10.1.1.2/24 @10", guest.pid()), "ovs-vswitchd did not take the change within 10000 ms");
    assert!(said.contains("is ovs-vswitchd running?") && start.elapsed() < Duration::from_secs(60), "{said}");
    assert_same(&before, &everything(&lab, &guest, &ovs), "no switch");
    // A signal does not wait for all that.
    let mut child = lab.program().args(["ovsu", &format!("pid:{}", guest.pid()), "0/0"]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it is in the database", || ovs.vsctl("list-ports ovsu").contains("veth1pl"));
    kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_same(&before, &everything(&lab, &guest, &ovs), "a signal");
}

#[test]
fn a_server_that_goes_away_in_mid_transaction_leaves_nothing() {
    if no_ovs() {
        return;
    }
    for fate in [Fate::Dropped, Fate::AnswerLost] {
        let lab = Lab::new();
        let ovs = Ovs::start(&lab);
        let guest = lab.guest();
        let before = everything(&lab, &guest, &ovs);
        let between = Between::start(&ovs, fate, || {});
        let said = lab.fails(
            &format!("--ovsdb {} ovsu pid:{} 10.1.1.2/24 @10", between.address(), guest.pid()),
            "went away before it answered (it closed the connection)",
        );
        assert!(said.contains("undone: 2 of 2 steps"), "{said}");
        assert_same(&before, &everything(&lab, &guest, &ovs), &format!("{fate:?}"));
    }
}

#[test]
fn a_server_that_is_killed_in_mid_transaction_leaves_nothing_once_it_is_back() {
    if no_ovs() {
        return;
    }
    for fate in [Fate::Dropped, Fate::AnswerLost] {
        let lab = Lab::new();
        let mut ovs = Ovs::start(&lab);
        let guest = lab.guest();
        let before = everything(&lab, &guest, &ovs);
        let pid = ovs.server_pid();
        let between = Between::start(&ovs, fate, move || kill(pid, Signal::SIGKILL).unwrap());
        let line = format!("--ovsdb {} ovsu pid:{} 10.1.1.2/24 @10", between.address(), guest.pid());
        let child = lab.program().args(line.split(' ')).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the server is asked for a port", || between.met.load(std::sync::atomic::Ordering::SeqCst) > 0);
        // As its monitor would.
        std::thread::sleep(Duration::from_millis(300));
        ovs.kill_server();
        ovs.start_server(&lab);
        let ran: lab::Ran = child.wait_with_output().unwrap().into();
        assert!(ran.code == Some(1) && ran.err.contains("went away before it answered"), "{}", ran.err);
        assert!(ran.err.contains("undone: 2 of 2 steps"), "{}", ran.err);
        assert_same(&before, &everything(&lab, &guest, &ovs), &format!("{fate:?}"));
    }
}

#[test]
fn a_server_that_never_comes_back_is_told_with_what_is_left_and_the_next_run_replaces_it() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let mut ovs = Ovs::start(&lab);
    let guest = lab.guest();
    let before = both(&lab, &guest);
    let pid = ovs.server_pid();
    let between = Between::start(&ovs, Fate::AnswerLost, move || kill(pid, Signal::SIGKILL).unwrap());
    let line = format!("ovsu pid:{} 10.1.1.2/24 @10", guest.pid());
    let said = lab.fails(&format!("--ovsdb {} {line}", between.address()), "went away before it answered");
    assert!(said.contains("undone: 1 of 2 steps") && said.contains("could not remove port veth1pl"), "{said}");
    assert_same(&before, &both(&lab, &guest), "the kernel's side");
    ovs.kill_server();
    ovs.start_server(&lab);
    assert!(ovs.vsctl("list-ports ovsu").contains("veth1pl"), "the transaction was done before it died");
    let ran = lab.run(&line);
    assert!(ran.code == Some(0) && ran.err.contains("an attach that was cut off, undone"), "{}", ran.err);
}

#[test]
fn a_server_that_is_stopped_is_told_within_its_time_and_nothing_is_left_when_it_goes_on() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let guest = lab.guest();
    let before = everything(&lab, &guest, &ovs);
    let line = format!("ovsu pid:{} 10.1.1.2/24 @10", guest.pid());
    kill(ovs.server_pid(), Signal::SIGSTOP).unwrap();
    lab.fails(&line, "did not answer within 5000 ms");
    kill(ovs.server_pid(), Signal::SIGCONT).unwrap();
    assert_same(&before, &everything(&lab, &guest, &ovs), "stopped at the look");

    // Stopped between the look and the change: the request lies in its socket, and so does the one that takes it back.
    let server = ovs.server_pid();
    let between = Between::start(&ovs, Fate::Late, move || kill(server, Signal::SIGSTOP).unwrap());
    let said = lab.fails(&format!("--ovsdb {} {line}", between.address()), "did not answer within 5000 ms");
    assert!(said.contains("could not remove port"), "{said}");
    kill(ovs.server_pid(), Signal::SIGCONT).unwrap();
    eventually("nothing is left", || everything(&lab, &guest, &ovs) == before);
    std::thread::sleep(Duration::from_millis(200));
    assert_same(&before, &everything(&lab, &guest, &ovs), "stopped at the change");
}

#[test]
fn what_is_no_database_of_open_vswitchs_is_told_for_what_it_is() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let (dir, pid) = (lab.dir.path().to_owned(), guest.pid());
    let before = both(&lab, &guest);
    let fails = |address: &str, wanted: &str| {
        lab.fails(&format!("--ovsdb {address} ovs0 pid:{pid} 0/0"), wanted);
        assert_same(&before, &both(&lab, &guest), wanted);
    };
    fails("ssl:127.0.0.1:6640", "SSL is not available in this version");
    fails("nonsense", "it is neither unix:/path nor tcp:ADDRESS:PORT");
    fails("/nowhere/db.sock", "no Open vSwitch database server at unix:/nowhere/db.sock: No such file or directory");
    fails("tcp:127.0.0.1:1", "no Open vSwitch database server at tcp:127.0.0.1:1: Connection refused");
    for (name, says, wanted) in [
        ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), "is not a database server's"),
        ("list", b"[]", "it has neither a method nor an id"),
        ("empty", b"{\"id\":1}", "it has neither a result nor an error"),
        ("null", b"{\"id\":1,\"error\":null,\"result\":null}", "the result of a transaction is a list"),
        ("short", b"{\"id\":1,\"error\":null,\"result\":[{}]}", "it does not answer every operation"),
        ("rpc", b"{\"id\":1,\"error\":\"unknown method\"}", "serves no Open vSwitch database that we know: unknown method"),
        ("silent", b"", "did not answer within 5000 ms"),
    ] {
        let socket = dir.join(name);
        babbler(&socket, says);
        fails(&socket.display().to_string(), wanted);
    }
    // Another database, and one of the name that has not what we need.
    for (file, schema, wanted) in [
        (
            "other",
            r#"{"name":"Other","version":"1.0.0","tables":{}}"#,
            "serves no Open vSwitch database that we know: it has Other, _Server",
        ),
        (
            "young",
            r#"{"name":"Open_vSwitch","version":"1.0.0","tables":{"Open_vSwitch":{"columns":{"next_cfg":{"type":"integer"}},"maxRows":1}}}"#,
            "serves no Open vSwitch database that we know: syntax error",
        ),
        ("bare", &std::fs::read_to_string("/usr/share/openvswitch/vswitch.ovsschema").unwrap(), "its table Open_vSwitch has no row"),
    ] {
        let server = lab::ovs::serve(&dir, file, schema);
        fails(&server.address, wanted);
    }
}

#[test]
fn a_socket_that_may_not_be_opened_is_told() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let guest = lab.guest();
    lab.host.sh(&format!("chmod 0 {}", ovs.dir.join("db.sock").display()));
    let mut command = lab.host.command("setpriv");
    command.args(["--inh-caps=-dac_override", "--bounding-set=-dac_override", "--", env!("CARGO_BIN_EXE_pipework")]);
    command.args(["--ovsdb", &ovs.address(), "ovs0", &format!("pid:{}", guest.pid()), "0/0"]).env("PIPEWORK_RUN_DIR", lab.dir.path());
    let ran: lab::Ran = command.output().unwrap().into();
    assert!(ran.code == Some(1) && ran.err.contains("may not be opened: permission denied"), "{}", ran.err);
}
