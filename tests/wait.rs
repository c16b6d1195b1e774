//! `pipework --wait`: until an interface is up and has carrier, told by the kernel and not by looking again and again.
#![allow(clippy::unwrap_used)]

mod lab;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Ran, Space, no_root};

/// Long enough to be sure that it waits.
const A_WHILE: Duration = Duration::from_millis(300);
/// A machine under load may take its time, but none of these is a wait.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The program, waiting. nsenter becomes it, so the child's process is the program's. Ended with the test.
struct Waiting(Option<Child>);

impl Waiting {
    fn start(lab: &Lab, line: &str) -> Self {
        let mut command = lab.program();
        command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    #[track_caller]
    fn still_waits(&mut self, why: &str) {
        std::thread::sleep(A_WHILE);
        assert_eq!(self.child().try_wait().unwrap(), None, "{why}");
    }

    fn ends(mut self) -> Ran {
        lab::eventually("the wait ends", || self.child().try_wait().unwrap().is_some());
        self.0.take().unwrap().wait_with_output().unwrap().into()
    }

    #[track_caller]
    fn ends_well(self) {
        let ran = self.ends();
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A lab whose host has an interface of that name, down, with its other end in a namespace of its own, up.
fn with_nic(name: &str) -> (Lab, Space) {
    let lab = Lab::new();
    let far = lab.nic(name);
    (lab, far)
}

#[test]
fn an_interface_that_is_up_is_not_waited_for() {
    if no_root() {
        return;
    }
    let (lab, _far) = with_nic("eth1");
    lab.host.sh("ip link set eth1 up");
    for line in ["--wait", "wait", "--wait -i eth1", "-i eth1 --wait", "wait --timeout 30", "--wait -i lo"] {
        // The loopback interface always has carrier.
        let start = Instant::now();
        lab.ok(line);
        assert!(start.elapsed() < AT_ONCE, "{line}: {:?}", start.elapsed());
    }
}

#[test]
fn an_interface_that_is_down_is_waited_for_until_it_is_up() {
    if no_root() {
        return;
    }
    let (lab, _far) = with_nic("eth1");
    for line in ["--wait", "wait", "--wait --timeout 60"] {
        lab.host.sh("ip link set eth1 down");
        let mut waiting = Waiting::start(&lab, line);
        waiting.still_waits(line);
        lab.host.sh("ip link set eth1 up");
        waiting.ends_well();
    }
}

#[test]
fn an_interface_without_carrier_is_waited_for_until_the_far_end_is_up() {
    if no_root() {
        return;
    }
    let (lab, far) = with_nic("eth1");
    far.sh("ip link set port0 down");
    lab.host.sh("ip link set eth1 up");
    let mut waiting = Waiting::start(&lab, "--wait");
    waiting.still_waits("up, but without carrier");
    far.sh("ip link set port0 up");
    waiting.ends_well();
}

#[test]
fn an_interface_that_is_not_there_is_waited_for_until_it_is_and_is_up() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let mut waiting = Waiting::start(&lab, "--wait -i data0");
    waiting.still_waits("not there");
    let _far = lab.nic("other");
    lab.host.sh("ip link set other up");
    waiting.still_waits("another is up");
    lab.host.sh("ip link set other down; ip link set other name data0");
    waiting.still_waits("there, but down");
    lab.host.sh("ip link set data0 up");
    waiting.ends_well();
}

#[test]
fn a_guest_waits_for_what_an_attach_gives_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = Lab::new();
    let mut waiting = Waiting::start(&guest, "--wait");
    waiting.still_waits("nothing attached");
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24", guest.host.pid()));
    waiting.ends_well();
    assert_eq!(guest.host.addrs("eth1"), ["10.1.1.2/24"], "the address was there before the link was up");
}

#[test]
fn a_timeout_is_a_failure_with_a_message_and_not_early() {
    if no_root() {
        return;
    }
    let (lab, _far) = with_nic("eth1");
    for (line, seconds, message) in [
        ("--wait --timeout 0.4", 0.4, "pipework: wait: eth1 is not up after 0.4 s\n"),
        ("wait --timeout 1 -i none0", 1.0, "pipework: wait: none0 is not up after 1 s\n"),
        ("wait --timeout 0", 0.0, "pipework: wait: eth1 is not up after 0 s\n"),
    ] {
        let start = Instant::now();
        let ran = lab.run(line);
        let took = start.elapsed();
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), "", message), "{line}");
        let least = Duration::from_secs_f64(seconds);
        assert!(took >= least && took < least + AT_ONCE, "{line}: {took:?}");
    }
}

#[test]
fn events_on_other_interfaces_do_not_put_the_timeout_off() {
    if no_root() {
        return;
    }
    let (lab, _far) = with_nic("eth1");
    lab.host.sh("ip link add busy type bridge");
    let start = Instant::now();
    let waiting = Waiting::start(&lab, "--wait --timeout 1");
    while start.elapsed() < Duration::from_millis(800) {
        lab.host.sh("ip link set busy up; ip link set busy down");
    }
    let ran = waiting.ends();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(start.elapsed() < Duration::from_secs(1) + AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn what_is_no_timeout_or_no_name_is_refused() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    lab.fails("--wait --timeout -1", "");
    lab.fails("--wait --timeout soon", "soon");
    lab.fails("--wait --timeout=nan", "--timeout: give seconds, like 30 or 0.5");
    lab.fails("--wait -i sixteen-bytes-16", "the kernel takes at most 15");
}

#[test]
fn waiting_wakes_up_for_events_only() {
    if no_root() {
        return;
    }
    if Command::new("strace").arg("--version").output().is_err() {
        let _ = lab::skip("needs strace");
        return;
    }
    let (lab, _far) = with_nic("eth1");
    for line in ["--wait", "--wait --timeout 60"] {
        let mut waiting = Waiting::start(&lab, line);
        waiting.still_waits(line);
        let calls = system_calls(waiting.child().id());
        // The one that it sleeps in.
        assert_eq!(calls.len(), 1, "{line}: {calls:?}");
        assert!(["poll", "restart_syscall"].iter().any(|call| calls[0].contains(call)), "{line}: {calls:?}");
    }
}

/// The system calls of a process within a second or so.
fn system_calls(pid: u32) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strace");
    let mut strace = Command::new("strace").args(["-f", "-qqq", "-p", &pid.to_string(), "-o"]).arg(&file).spawn().unwrap();
    lab::eventually("strace has got hold of it", || std::fs::read_to_string(&file).is_ok_and(|text| !text.is_empty()));
    std::thread::sleep(Duration::from_millis(1200));
    // It lets go of the process when it is asked to end; killed, it might not.
    let strace_pid = nix::unistd::Pid::from_raw(strace.id().cast_signed());
    nix::sys::signal::kill(strace_pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let _ = strace.wait();
    std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).filter(|line| !line.contains("resumed>")).collect()
}
