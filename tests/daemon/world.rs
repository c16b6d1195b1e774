//! A daemon on a lab's host, with files and a log of its own.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::lab::engine::Engine;
use crate::lab::{Lab, Space, eventually};

/// A running daemon.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

/// The program on a host where no engine is, not even the machine's own.
pub fn without_engine(lab: &Lab) -> Command {
    let mut command = lab.program();
    let nowhere = format!("unix://{}", lab.dir.path().join("nowhere.sock").display());
    command.env("DOCKER_HOST", &nowhere).env("CONTAINER_HOST", &nowhere);
    command
}

/// The program on a host with an engine of the test's own, and no other.
pub fn with_engine(engine: &Engine) -> Command {
    let mut command = engine.program();
    command.env("CONTAINER_HOST", format!("unix://{}", engine.lab.dir.path().join("nowhere.sock").display()));
    command
}

/// Where a lab's daemon has its files.
pub fn config(lab: &Lab) -> PathBuf {
    let directory = lab.dir.path().join("etc");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

impl Daemon {
    /// Starts one; what it says before is kept.
    pub fn start(mut program: Command, lab: &Lab, options: &[&str]) -> Self {
        let log = lab.dir.path().join("daemon.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        program.args(["daemon", "--log", "json", "--config"]).arg(config(lab)).args(options);
        let child = program.stdin(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    /// All that it, and those before it, told.
    pub fn told(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it told of that kind.
    pub fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.told().into_iter().filter(|event| event["kind"] == kind).collect()
    }

    #[track_caller]
    pub fn eventually_tells(&self, kind: &str, what: impl Fn(&Value) -> bool) {
        let log = || std::fs::read_to_string(&self.log).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(45);
        while !self.of_kind(kind).iter().any(&what) {
            assert!(std::time::Instant::now() < deadline, "never told {kind}:\n{}", log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Asks it to end, and waits. Its exit status.
    pub fn end(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// The addresses of a container's interface; none when it has no such interface, or does not run.
pub fn addresses(engine: &Engine, container: &str, interface: &str) -> String {
    let mut command = engine.lab.host.command("docker");
    command.args(["exec", container, "ip", "-o", "-4", "addr", "show", interface]).env("DOCKER_HOST", engine.host());
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

#[track_caller]
pub fn eventually_has(engine: &Engine, container: &str, address: &str) {
    eventually(&format!("{container} has {address}"), || addresses(engine, container, "eth1").contains(address));
}

/// A file with an attachment for a guest.
pub fn write_attachment(lab: &Lab, file: &str, guest: &str, words: &str) {
    let text = format!("[[attachments]]\nhost_if = \"br0\"\nguest = \"{guest}\"\n{words}\n");
    std::fs::write(config(lab).join(file), text).unwrap();
}

/// A network namespace behind a file, which `unshare` made.
pub fn namespace(path: &Path) {
    std::fs::File::create(path).unwrap();
    assert!(Command::new("unshare").arg(format!("--net={}", path.display())).arg("true").status().unwrap().success());
}

/// Takes it away again.
pub fn end_namespace(path: &Path) {
    assert!(Command::new("umount").arg("-l").arg(path).status().unwrap().success());
    std::fs::remove_file(path).unwrap();
}

/// What `ip -o -4 addr` says in a namespace behind a file.
pub fn inside(path: &Path, line: &str) -> String {
    let output = Command::new("nsenter").arg(format!("--net={}", path.display())).args(["sh", "-ec", line]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The names of a host's veths.
pub fn veths(host: &Space) -> usize {
    host.sh("ip -o link show type veth").lines().count()
}

/// Whether there is no Podman to test with: skipped, and said so.
pub fn no_podman() -> bool {
    let has = |program: &&str| Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    let absent: Vec<&str> = ["podman", "crun", "busybox"].into_iter().filter(|program| !has(program)).collect();
    crate::lab::no_root() || (!absent.is_empty() && crate::lab::skip(&format!("needs {}: scripts/setup", absent.join(", "))))
}

/// A Podman of the test's own: its service, and an image that is called box.
pub struct Podman {
    service: Child,
    socket: PathBuf,
}

impl Podman {
    /// In a mount namespace of its own: crun wants no second hierarchy of control groups.
    pub fn start(lab: &Lab) -> Self {
        let dir = lab.dir.path().join("podman");
        let socket = dir.join("sock");
        let line = "umount /sys/fs/cgroup/unified 2> /dev/null || true
            mkdir -p $D/image/bin && cp /bin/busybox $D/image/bin/ && ln -s busybox $D/image/bin/sleep
            own=\"--root $D/root --runroot $D/run --tmpdir $D/tmp --storage-driver vfs --events-backend file --cgroup-manager cgroupfs\"
            tar -C $D/image -c . | podman $own --runtime crun import -q - box > /dev/null
            exec podman $own --runtime crun system service -t 0 unix://$D/sock > /dev/null 2>&1";
        let mut command = lab.host.command("unshare");
        let service = command.args(["--mount", "sh", "-ec", line]).env("D", &dir).stdin(Stdio::null()).spawn().unwrap();
        let podman = Self { service, socket };
        crate::lab::eventually("Podman's service answers", || podman.tries("version").is_some());
        podman
    }

    /// Where it is asked.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// What a command of its client says, if that goes well.
    pub fn tries(&self, line: &str) -> Option<String> {
        let line = format!("podman --url {} {line}", self.host());
        let output = Command::new("sh").args(["-ec", &line]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The addresses in a container that runs.
    pub fn addresses(&self, container: &str) -> String {
        let pid = self.tries(&format!("inspect -f '{{{{.State.Pid}}}}' {container}")).unwrap_or_default();
        let file = PathBuf::from(format!("/proc/{}/ns/net", pid.trim()));
        if pid.trim() == "0" { String::new() } else { inside(&file, "ip -o -4 addr") }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.tries("rm -f -a -t 0");
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}
