//! The DHCP clients that a user can name, against real servers: udhcpc, dhclient and dhcpcd as they are installed.
#![allow(clippy::unwrap_used)]

mod lab;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::contrary::{ACK, Contrary, NAK, OFFER, USUAL, answer};
use lab::dhcp::Server;
use lab::{Lab, Ran, Space, assert_same, both, eventually, no_root, skip};

const CLIENTS: [&str; 3] = ["udhcpc", "dhclient", "dhcpcd"];
const SERVER: [u8; 4] = [10, 88, 0, 1];
const LENT: [u8; 4] = [10, 88, 0, 77];
const RANGE: &str = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";

#[must_use]
fn cannot() -> bool {
    let there =
        Command::new("sh").args(["-c", "command -v dnsmasq && command -v udhcpc && command -v dhclient && command -v dhcpcd"]).output();
    no_root() || (!there.unwrap().status.success() && skip("needs dnsmasq, udhcpc, dhclient, dhcpcd: scripts/setup"))
}

fn dnsmasq(lab: &Lab) -> Server {
    Server::dnsmasq(lab, "br0", "10.88.0.1/24", &[RANGE, "--dhcp-option=3,10.88.0.1", "--dhcp-option=6,10.88.0.1"])
}

/// Everything of the host that clients are known to write, each file with its checksum.
fn host_files() -> Vec<String> {
    let places = "/etc/resolv.conf /etc/hostname /etc/hosts /etc/dhcp /etc/dhclient /etc/dhcpcd.* /etc/udhcpc /etc/resolvconf /etc/ntp* \
                  /var/lib/dhcp /var/lib/dhclient /var/lib/dhcpcd /var/db /run/dhcpcd* /run/udhcpc* /run/dhclient* /run/resolvconf \
                  /var/run/udhcpc* /var/run/dhclient* /run/pipework-* /run/ntp* /run/chrony* /run/systemd/timesyncd*";
    let line = format!(
        "hostname; ls -d /etc/resolv.conf* /run/pipework/* 2>&1; find {places} -printf '%p %m %u %y ' -type f -exec sha256sum {{}} \\; 2>&1"
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The processes in a guest's network, but for the guest's own.
fn processes(guest: u32) -> Vec<u32> {
    let netns = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let wanted = netns(guest);
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    all.filter(|pid| *pid != guest && wanted.is_some() && netns(*pid) == wanted).collect()
}

fn pid_files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains(".pid")).collect();
    names.sort();
    names
}

fn pid_file(lab: &Lab, name: &str) -> PathBuf {
    lab.dir.path().join(name)
}

fn read_pid(path: &Path) -> u32 {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Runs the same for each client at the same time: they mostly wait.
fn each(clients: [&'static str; 3], work: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| clients.map(|client| scope.spawn(|| work(client))).map(|thread| thread.join().unwrap()));
}

fn start(lab: &Lab, words: &[&str]) -> Child {
    lab.program().args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn assert_nothing_runs(lab: &Lab, guest: &Space) {
    assert_eq!(processes(guest.pid()), Vec::<u32>::new());
    assert_eq!(pid_files(lab.dir.path()), Vec::<String>::new());
}

#[test]
fn each_client_gives_an_address_and_ends_and_the_hosts_files_stay_as_they_are() {
    if cannot() {
        return;
    }
    let before = host_files();
    each(CLIENTS, |client| {
        let lab = Lab::new();
        let server = dnsmasq(&lab);
        let guest = lab.guest();
        let line = format!("--json br0 pid:{} {client}", guest.pid());
        let ran = lab.run(&line);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{client}");
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let addrs: Vec<String> = guest.addrs("eth1").into_iter().filter(|a| a.starts_with("10.88.0.")).collect();
        assert_eq!(addrs, [report["address"].as_str().unwrap()], "{client}");
        assert!(server.leases().iter().any(|lease| lease.contains(addrs[0].trim_end_matches("/24"))), "{client}: {:?}", server.leases());
        assert!(guest.routes().iter().any(|r| r.starts_with("default via 10.88.0.1 dev eth1")), "{client}: {:?}", guest.routes());
        assert_nothing_runs(&lab, &guest);
        let state = both(&lab, &guest);
        let again = lab.run(&line);
        assert!(again.code == Some(0) && again.out.contains(r#""result":"unchanged""#), "{client}: {again:?}");
        assert_same(&state, &both(&lab, &guest), client);
    });
    assert_same(&before, &host_files(), "the host's files");
}

#[test]
fn clients_that_stay_have_a_pid_file_and_end_with_the_guest() {
    if cannot() {
        return;
    }
    let before = host_files();
    each(["udhcpc-f", "dhclient-f", "dhcpcd-f"], |client| {
        let lab = Lab::new();
        let _server = dnsmasq(&lab);
        let guest = lab.guest();
        lab.ok(&format!("br0 pid:{} {client}", guest.pid()));
        let program = client.trim_end_matches("-f");
        let name = format!("{program}.pid:{}.pid", guest.pid());
        assert_eq!(pid_files(lab.dir.path()), [name.as_str()]);
        let pid = read_pid(&pid_file(&lab, &name));
        assert!(processes(guest.pid()).contains(&pid), "{client}");
        assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), program);
        let all = processes(guest.pid());
        drop(guest);
        eventually("the client ends with its guest", || !all.iter().any(|pid| is_running(*pid)));
        eventually("its pid file goes", || pid_files(lab.dir.path()).is_empty());
    });
    assert_same(&before, &host_files(), "the host's files");
}

#[test]
fn a_client_that_is_ended_by_its_pid_file_takes_the_file_along_and_gives_back_the_lease_if_told_so() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let server = dnsmasq(&lab);
    // A guest that is known by a path: its name must not leave the directory, and nothing but the path tells its end.
    let guest = lab.guest();
    let word = format!("netns:/proc/{}/ns/net", guest.pid());
    let name = |interface: &str| format!("udhcpc.{}{interface}.pid", word.replace('/', "%2F"));
    lab.ok(&format!("br0 {word} udhcpc-f:-R"));
    let lent = guest.addrs("eth1").remove(0).replace("/24", " ");
    assert!(server.leases().iter().any(|lease| lease.contains(&lent)), "{lent}: {:?}", server.leases());
    lab.ok(&format!("br0 -i eth2 {word} udhcpc-f"));
    assert_eq!(pid_files(lab.dir.path()), [name(".eth2"), name("")]);
    let first = pid_file(&lab, &name(""));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(read_pid(&first)).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    eventually("the file goes", || !first.exists());
    eventually("the lease is given back", || !server.leases().iter().any(|lease| lease.contains(&lent)));
    let all = processes(guest.pid());
    assert!(all.contains(&read_pid(&pid_file(&lab, &name(".eth2")))));
    drop(guest);
    eventually("the other ends with its guest", || !all.iter().any(|pid| is_running(*pid)) && pid_files(lab.dir.path()).is_empty());
}

#[test]
fn a_detach_has_a_kept_client_give_its_lease_back_and_leaves_nothing_of_it() {
    if cannot() {
        return;
    }
    each(["udhcpc-f", "dhclient-f", "dhcpcd-f"], |client| {
        let lab = Lab::new();
        let server = dnsmasq(&lab);
        let guest = lab.guest();
        let before = guest.state();
        lab.ok(&format!("br0 pid:{} {client}", guest.pid()));
        let lent = guest.addrs("eth1").remove(0).replace("/24", " ");
        assert!(server.leases().iter().any(|lease| lease.contains(&lent)), "{client}: {lent}: {:?}", server.leases());
        let all = processes(guest.pid());
        lab.ok(&format!("detach pid:{}", guest.pid()));
        eventually("the lease is given back", || !server.leases().iter().any(|lease| lease.contains(&lent)));
        eventually("the client ends", || !all.iter().any(|pid| *pid != guest.pid() && is_running(*pid)));
        assert_same(&before, &guest.state(), client);
        assert_eq!(pid_files(lab.dir.path()), [""; 0]);
    });
}

#[test]
fn clients_that_stay_renew_their_leases() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
    // dnsmasq's shortest lease is two minutes; busybox's server has any.
    server.start_udhcpd("10.88.0.50", "10.88.0.60", "option subnet 255.255.255.0\noption lease 8");
    let acks =
        |addr: &str| server.log().lines().filter(|l| l.ends_with(&format!("sending ACK to {}", addr.trim_end_matches("/24")))).count();
    each(["udhcpc-f", "dhclient-f", "dhcpcd-f"], |client| {
        let guest = lab.guest();
        lab.ok(&format!("br0 pid:{} {client}", guest.pid()));
        let addr = guest.addrs("eth1").into_iter().find(|a| a.starts_with("10.88.0.")).unwrap();
        // udhcpc and dhcpcd take leases for longer than such a short time, and renew later.
        let wanted = if client == "dhclient-f" { 5 } else { 2 };
        eventually(&format!("{client} renews {addr}"), || acks(&addr) >= wanted);
        assert!(guest.addrs("eth1").contains(&addr), "{client}: {:?}", guest.addrs("eth1"));
    });
}

#[test]
fn a_server_that_never_answers_is_told_in_time_and_all_is_undone() {
    if cannot() {
        return;
    }
    each(["udhcpc", "dhclient-f", "dhcpcd-f"], |client| {
        let lab = Lab::new();
        let _server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
        let guest = lab.guest();
        let before = both(&lab, &guest);
        let error = lab.fails(&format!("--dhcp-timeout 3 br0 pid:{} {client}", guest.pid()), "it said: ");
        assert!(error.contains("has no lease after 3 s") || error.contains("no lease, failing"), "{error}");
        assert!(error.contains("undone: 2 of 2 steps"), "{error}");
        assert_same(&before, &both(&lab, &guest), client);
        assert_nothing_runs(&lab, &guest);
    });
}

#[test]
fn of_two_servers_that_offer_different_leases_one_is_taken() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let config = "option subnet 255.255.255.0\noption lease 3600";
    // Not dnsmasq: where it is the authority it refuses what another has offered.
    let (mut one, mut other) = (Server::silent(&lab, "br0", &["10.88.0.1/24"]), Server::silent(&lab, "br0", &["10.88.0.2/24"]));
    one.start_udhcpd("10.88.0.50", "10.88.0.99", config);
    other.start_udhcpd("10.88.0.150", "10.88.0.199", config);
    each(CLIENTS, |client| {
        let guest = lab.guest();
        lab.ok(&format!("br0 pid:{} {client}", guest.pid()));
        let addrs = guest.addrs("eth1");
        let given: Vec<&String> = addrs.iter().filter(|a| a.starts_with("10.88.0.")).collect();
        assert_eq!(given.len(), 1, "{client}: {addrs:?} {:?} {}{}", guest.state(), one.log(), other.log());
        let ack = format!("sending ACK to {}", given[0].trim_end_matches("/24"));
        let acks = [one.log(), other.log()].map(|log| log.lines().filter(|line| line.ends_with(&ack)).count());
        assert!(acks == [1, 0] || acks == [0, 1], "{client}: {acks:?} for {addrs:?}");
    });
}

#[test]
fn a_server_that_refuses_once_is_asked_again_and_one_that_goes_on_is_given_up() {
    if cannot() {
        return;
    }
    // Offers to a discover (1); refuses so many requests (3), then lends.
    let refusing = |server: &Server, times: usize| {
        let refused = AtomicUsize::new(0);
        Contrary::start(server, move |question, kind| match kind {
            1 => vec![answer(question, OFFER, LENT, SERVER, &USUAL)],
            3 if refused.fetch_add(1, Ordering::Relaxed) < times => vec![answer(question, NAK, [0; 4], SERVER, &[])],
            3 => vec![answer(question, ACK, LENT, SERVER, &USUAL)],
            _ => Vec::new(),
        })
    };
    for client in ["udhcpc", "dhclient"] {
        let lab = Lab::new();
        let server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
        let contrary = refusing(&server, 1);
        let guest = lab.guest();
        lab.ok(&format!("br0 pid:{} {client}", guest.pid()));
        assert_eq!(guest.addrs("eth1"), ["10.88.0.77/24"], "{client}");
        // Discover, request; the refusal; at least the request once more (dhclient does not begin anew without an old lease).
        assert!(contrary.heard() >= 3, "{client}: {}", contrary.heard());
    }
    let lab = Lab::new();
    let server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
    let contrary = refusing(&server, usize::MAX);
    let guest = lab.guest();
    let before = both(&lab, &guest);
    lab.fails(&format!("--dhcp-timeout 4 br0 pid:{} udhcpc", guest.pid()), "udhcpc");
    assert!(contrary.heard() >= 2);
    assert_same(&before, &both(&lab, &guest), "given up");
    assert_nothing_runs(&lab, &guest);
}

/// A program of that name, first in PATH.
fn imposter(lab: &Lab, name: &str, script: &str) -> String {
    let (directory, text) = (lab.dir.path().join("bin"), lab.dir.path().join("script"));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    lab::executable(&text, &directory.join(name));
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

fn run_with_path(lab: &Lab, path: &str, words: &[&str]) -> Ran {
    let mut command = Command::new("/usr/bin/nsenter");
    command.args([&format!("--net=/proc/{}/ns/net", lab.host.pid()), "--", env!("CARGO_BIN_EXE_pipework")]).args(words);
    let command = command.env("PATH", path).env("PIPEWORK_RUN_DIR", lab.dir.path()).env("PIPEWORK_PID_DIR", lab.dir.path());
    command.stdin(Stdio::null()).output().unwrap().into()
}

#[test]
fn a_client_that_is_missing_is_told_before_anything_is_done() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let before = both(&lab, &guest);
    let target = format!("pid:{}", guest.pid());
    for client in CLIENTS {
        let ran = run_with_path(&lab, "/nonexistent", &["-v", "br0", &target, client]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(&format!("You asked for DHCP client {client}, but I can't find it")), "{}", ran.err);
        assert!(ran.err.contains("hint: install it") && !ran.err.contains("veth"), "{}", ran.err);
    }
    assert_same(&before, &both(&lab, &guest), "nothing done");
}

#[test]
fn a_client_that_fails_is_quoted_and_one_that_hangs_is_ended_with_its_children() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let before = both(&lab, &guest);
    let target = format!("pid:{}", guest.pid());
    let fails = |script: &str, wanted: &[&str]| {
        let path = imposter(&lab, "dhclient", script);
        let ran = run_with_path(&lab, &path, &["--dhcp-timeout", "2", "br0", &target, "dhclient"]);
        assert_eq!(ran.code, Some(1), "{script}: {}", ran.err);
        assert!(wanted.iter().all(|text| ran.err.contains(text)), "{script}: {}", ran.err);
        assert_same(&before, &both(&lab, &guest), script);
        assert_nothing_runs(&lab, &guest);
    };
    fails("echo no such option >&2; exit 7", &["dhclient ended with exit status 7; it said: no such option", "undone: 3 of 3"]);
    fails("kill -9 $$", &["dhclient ended by SIGKILL, without a word"]);
    fails("exit 0", &["dhclient has ended well, but eth1 has no address"]);
    // It ignores the wish to end, has a child in a session of its own, and one whose parent is gone.
    let stubborn = "trap '' TERM; echo I hang; (sleep 1000 &) ; setsid sleep 1000 & while :; do sleep 1; done";
    fails(stubborn, &["dhclient has no lease after 2 s; it said: I hang"]);
    // One that says it stays, but does not.
    let path = imposter(&lab, "dhclient", "exit 0");
    let ran = run_with_path(&lab, &path, &["br0", &target, "dhclient-f"]);
    assert!(ran.code == Some(1) && ran.err.contains("dhclient ended without staying"), "{}", ran.err);
    assert_same(&before, &both(&lab, &guest), "not staying");
}

#[test]
fn a_signal_while_a_client_waits_undoes_all() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let _server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
    let guest = lab.guest();
    let before = both(&lab, &guest);
    let child = start(&lab, &["br0", &format!("pid:{}", guest.pid()), "udhcpc"]);
    let name = format!("udhcpc.pid:{}.pid", guest.pid());
    eventually("the client is at work", || pid_file(&lab, &name).exists());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert!(ran.code == Some(1) && ran.err.contains("interrupted by SIGTERM"), "{}", ran.err);
    assert_same(&before, &both(&lab, &guest), "interrupted");
    assert_nothing_runs(&lab, &guest);
}

#[test]
fn a_client_does_not_outlive_a_run_that_is_killed() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let _server = Server::silent(&lab, "br0", &["10.88.0.1/24"]);
    let guest = lab.guest();
    let mut child = start(&lab, &["br0", &format!("pid:{}", guest.pid()), "dhclient-f"]);
    let name = format!("dhclient.pid:{}.pid", guest.pid());
    eventually("the client is at work", || pid_file(&lab, &name).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("nothing of it is left", || processes(guest.pid()).is_empty() && pid_files(lab.dir.path()).is_empty());
}

#[test]
fn options_are_words_for_the_client_and_none_for_a_shell() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let server = dnsmasq(&lab);
    let guest = lab.guest();
    let canary = lab.dir.path().join("canary");
    let options = format!("udhcpc:-x hostname:fancy  -V $(touch${{IFS}}{0});`touch\t{0}`", canary.display());
    let ran: Ran = lab.program().args(["br0", &format!("pid:{}", guest.pid()), &options]).output().unwrap().into();
    // udhcpc takes the rest for a word that it does not know, or for none: no matter, as long as it is no command.
    assert!(ran.code == Some(0) || ran.err.contains("udhcpc"), "{}", ran.err);
    assert!(!canary.exists());
    assert!(server.log().contains("vendor class: $(touch${IFS}"), "{}", server.log());
    let guest = lab.guest();
    let ran: Ran = lab.program().args(["br0", &format!("pid:{}", guest.pid()), "dhclient: -cf  /dev/null"]).output().unwrap().into();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn a_dry_run_prints_the_clients_command_and_starts_nothing() {
    if cannot() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let ran = lab.run(&format!("--dry-run br0 pid:{} dhcpcd-f", guest.pid()));
    let wanted = format!("nsenter --net=/proc/{}/ns/net dhcpcd -L -w4 eth1\n", guest.pid());
    assert!(ran.code == Some(0) && ran.out.contains(&wanted), "{ran:?}");
    assert_eq!(guest.link("eth1"), serde_json::Value::Null);
    let error = lab.fails(&format!("br0 pid:{} dhclient:-r", guest.pid()), "-r is not for the options");
    assert!(error.contains("dhclient-f stays"), "{error}");
    lab.fails(&format!("--dhcp-timeout 0 br0 pid:{} dhclient", guest.pid()), "0 is not in 1..=86400");
}
