//! Three hosts on one switch, each with a network, mounts, a name and processes of its own: what one of them writes below
//! /etc, /run and /var/lib the others do not see, and when it ends, all that ran on it ends. A Docker engine and a Consul
//! server per host where a test asks for them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Ran, Space, eventually, skip};

/// The switch's own address: the gateway of all.
pub const GATEWAY: &str = "192.168.116.1";

/// Makes a host what it is: run as its first process. /sys belongs to the network (sysfs(5)), and a second mount of cgroups
/// below it is what dockerd needs (`Devices cgroup isn't mounted`). dockerd takes its identity from /etc/docker/key.json.
const FIRST: &str = r#"
set -e
name=$1 dir=$2
hostname "$name"
mkdir -p "$dir/cgroup" "$dir/over"
mount --rbind /sys/fs/cgroup "$dir/cgroup"
umount -l /sys
mount -t sysfs sysfs /sys
mount --rbind "$dir/cgroup" /sys/fs/cgroup
umount -l "$dir/cgroup"
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/netns /run/lock
mount -t tmpfs -o mode=0755 tmpfs "$dir/over"
for place in etc var/lib; do
  mkdir -p "$dir/over/$place" "$dir/over/$place.work"
  mount -t overlay -o "lowerdir=/$place,upperdir=$dir/over/$place,workdir=$dir/over/$place.work" overlay "/$place"
done
rm -rf /etc/docker /etc/resolv.conf /etc/pipework /var/lib/pipework
mkdir /etc/docker
# One that refuses: one that is silent costs dockerd 20 s.
echo nameserver 127.0.0.1 > /etc/resolv.conf
echo "$name" > /etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" > /etc/hosts
ip link set lo up
echo ready
exec > /dev/null
# The first process takes in orphans.
trap : CHLD
while :; do sleep 100000 & wait $!; done
"#;

/// Whether the test has to be skipped for want of Consul.
#[must_use]
pub fn no_consul() -> bool {
    super::no_root() || (!there("consul") && skip("needs consul: scripts/setup"))
}

fn there(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
}

/// The hosts and their switch. Host 1 is `consul01` with 192.168.116.111, and so on.
pub struct Cluster {
    pub hosts: Vec<Host>,
    pub switch: Space,
    pub dir: tempfile::TempDir,
}

impl Cluster {
    pub fn new() -> Self {
        Self::of(3)
    }

    pub fn of(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Consul's and Docker's paths are looked at by processes that are root, but not of this test's umask.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let switch = Space::new();
        switch.sh(&format!("ip link add sw0 type bridge && ip link set sw0 up && ip addr add {GATEWAY}/24 dev sw0"));
        let hosts = (1..=count).map(|number| Host::start(number, dir.path(), &switch)).collect();
        Self { hosts, switch, dir }
    }

    /// By number, from 1.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number - 1]
    }

    pub fn host_mut(&mut self, number: usize) -> &mut Host {
        &mut self.hosts[number - 1]
    }

    /// Takes the switch's port of a host down: the host is alone then.
    pub fn cut(&self, number: usize) {
        self.switch.sh(&format!("ip link set port{number} down"));
    }

    pub fn mend(&self, number: usize) {
        self.switch.sh(&format!("ip link set port{number} up"));
    }

    /// Runs a line of the program on all hosts at once.
    pub fn run_all(&self, line: &str) -> Vec<Ran> {
        let start = |host: &Host| {
            let mut command = host.program();
            command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let children: Vec<Child> = self.hosts.iter().map(start).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect()
    }

    /// The same, which has to succeed everywhere.
    #[track_caller]
    pub fn ok_all(&self, line: &str) -> Vec<Ran> {
        let all = self.run_all(line);
        for (host, ran) in self.hosts.iter().zip(&all) {
            assert_eq!(ran.code, Some(0), "{}: {line}: {}{}", host.name, ran.out, ran.err);
        }
        all
    }

    /// The cluster's file on all hosts: `cluster init`'s, with other words in place of some.
    pub fn write_file(&self, changes: &[(&str, &str)]) {
        for host in &self.hosts {
            let mut text = host.ok("cluster init");
            for (from, to) in changes {
                assert!(text.contains(from), "{from}");
                text = text.replace(from, to);
            }
            let path = self.dir.path().join(format!("{}.toml", host.name));
            std::fs::write(&path, text).unwrap();
            host.sh(&format!("mkdir -p /etc/pipework && cp {} /etc/pipework/cluster.toml", path.display()));
        }
    }

    /// An engine on each host, started at once, with the image `box` in it, which has the same ID everywhere.
    pub fn start_engines(&mut self) {
        // Those that run already were given words of their own.
        self.hosts.iter_mut().filter(|host| host.engine.is_none()).for_each(Host::begin_engine);
        self.hosts.iter().for_each(Host::await_engine);
        let image = self.dir.path().join("box.tar");
        let bin = self.dir.path().join("image/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "sleep", "ip", "ping", "cat", "nc", "wget", "arping", "hostname"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let made =
            format!("tar -C {} -c . | docker import - box && docker save -o {} box", bin.parent().unwrap().display(), image.display());
        for host in &self.hosts {
            host.sh(&if host.number == 1 { made.clone() } else { format!("docker load -i {}", image.display()) });
        }
    }

    /// A Consul server on each host, of one cluster that has a leader, with more configuration (HCL) where given. A session's
    /// shortest TTL is a second.
    pub fn start_consul(&mut self, more: &str) {
        let all: Vec<String> = self.hosts.iter().map(|host| host.address.clone()).collect();
        self.hosts.iter_mut().for_each(|host| host.begin_consul(&all, more));
        eventually("Consul has a leader and all servers", || {
            self.hosts.iter().all(|host| {
                let nodes = host.consul("/v1/catalog/nodes");
                nodes.as_array().is_some_and(|nodes| nodes.len() == all.len())
            })
        });
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cluster {
    /// Engines are told together; what is left ends with each host's first process.
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.end();
        }
    }
}

/// A host.
pub struct Host {
    pub number: usize,
    pub name: String,
    pub address: String,
    /// A directory of its own on the machine's disk: an engine's data cannot lie on an overlay.
    pub dir: PathBuf,
    /// Its network, to be judged.
    pub space: Space,
    engine: Option<Child>,
    consul: Option<Child>,
}

impl Host {
    fn start(number: usize, dir: &Path, switch: &Space) -> Self {
        let name = format!("consul0{number}");
        let dir = dir.join(&name);
        std::fs::create_dir(&dir).unwrap();
        let own = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "slave"];
        let words = [&own[..], &["--", "bash", "-c", FIRST, "bash", &name, dir.to_str().unwrap()]].concat();
        let space = Space::holding("unshare", &words);
        let address = format!("192.168.116.11{number}");
        let port = format!("port{number}");
        switch.sh(&format!("ip link add {port} type veth peer name ens32 netns {} && ip link set {port} master sw0 up", space.pid()));
        space.sh(&format!("ip addr add {address}/24 dev ens32 && ip link set ens32 up && ip route add default via {GATEWAY}"));
        Self { number, name, address, dir, space, engine: None, consul: None }
    }

    /// A program on this host; its working directory is /.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.space.pid();
        command.args(["net", "mnt", "uts", "ipc"].map(|kind| format!("--{}=/proc/{pid}/ns/{kind}", kind.replace("mnt", "mount"))));
        command.args([&format!("--pid=/proc/{pid}/ns/pid_for_children"), "--wd=/", "--", program]);
        command.stdin(Stdio::null()).env_remove("DOCKER_HOST").env("HOME", &self.dir);
        command
    }

    /// The program under test. Its directories are the usual ones, which are this host's own.
    pub fn program(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_pipework"))
    }

    /// Runs the program with the words of a line (split at spaces).
    pub fn run(&self, line: &str) -> Ran {
        self.program().args(line.split_whitespace()).output().unwrap().into()
    }

    /// Runs it and expects success; returns what it printed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{}: {line}: {}{}", self.name, ran.out, ran.err);
        ran.out
    }

    /// Runs it and expects exit status 1 and an error that contains `wanted`; returns the error.
    #[track_caller]
    pub fn fails(&self, line: &str, wanted: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(1), "{}: {line}: {}{}", self.name, ran.out, ran.err);
        assert!(ran.err.contains(wanted), "{line}: {wanted:?} is not in {}", ran.err);
        ran.err
    }

    /// Runs a shell line, which has to succeed, and returns what it printed.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        let output = self.command("sh").args(["-ec", line]).output().unwrap();
        assert!(output.status.success(), "{}: {line}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What a shell line printed, be it in vain.
    pub fn tries(&self, line: &str) -> String {
        let output = self.command("timeout").args(["10", "sh", "-ec", line]).stderr(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Whether a shell line succeeds.
    pub fn try_sh(&self, line: &str) -> bool {
        self.command("sh").args(["-ec", line]).output().unwrap().status.success()
    }

    /// What is left here of what `cluster up` made: files and agents.
    pub fn left(&self) -> String {
        self.sh("find /var/lib/pipework /run/pipework -type f 2>/dev/null || true; ps -ef | grep -e '[c]onsul agent' -e '[p]ipework cluster' || true")
    }

    /// Sends a signal to what [`Self::command`] started: nsenter only waits for it.
    pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
        let path = format!("/proc/{0}/task/{0}/children", child.id());
        let inner = std::fs::read_to_string(path).unwrap_or_default();
        for pid in inner.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    }

    /// `docker ...` on this host.
    #[track_caller]
    pub fn docker(&self, arguments: &str) -> String {
        self.sh(&format!("docker {arguments}"))
    }

    /// Runs a container without network that sleeps; returns its ID.
    pub fn container(&self, name: &str) -> String {
        self.docker(&format!("run -d --net none --name {name} box sleep 100000"))
    }

    /// Starts an engine at the usual socket, without waiting for it.
    pub fn begin_engine(&mut self) {
        self.begin_engine_with(&[]);
    }

    /// The same, with more words.
    pub fn begin_engine_with(&mut self, more: &[&str]) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("dockerd.log")).unwrap();
        let mut command = self.command("dockerd");
        for (option, value) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "docker.pid")] {
            command.arg(option).arg(self.dir.join(value));
        }
        command.arg(format!("--cgroup-parent=/{}", self.cgroup()));
        command.args(["-H", "unix:///run/docker.sock", "--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.args(more);
        self.engine = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    pub fn await_engine(&self) {
        eventually("dockerd answers", || self.try_sh("docker version > /dev/null 2>&1"));
    }

    /// The engine neither runs nor ends, or (`on`) goes on.
    pub fn freeze_engine(&self, on: bool) {
        use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
        let engine = self.engine.as_ref().unwrap();
        Self::signal(engine, if on { SIGCONT } else { SIGSTOP });
        if on {
            // nsenter stops with its child, and would not see its end.
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(engine.id()).unwrap()), SIGCONT).unwrap();
        }
    }

    /// The engine ends by a signal, and with it, when that is no SIGKILL, its containers.
    pub fn end_engine(&mut self, signal: nix::sys::signal::Signal) {
        if let Some(mut engine) = self.engine.take() {
            Self::signal(&engine, signal);
            let _ = engine.wait();
        }
    }

    /// Starts a Consul server that joins the others.
    pub fn begin_consul(&mut self, all: &[String], more: &str) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("consul.log")).unwrap();
        let mut command = self.command("consul");
        command.args(["agent", "-server", "-ui", "-datacenter=lab", "-client=0.0.0.0", &format!("-bootstrap-expect={}", all.len())]);
        command.args([format!("-bind={}", self.address), format!("-node={}", self.name)]);
        command.arg(format!("-data-dir={}", self.dir.join("consul").display()));
        command.args(all.iter().map(|address| format!("-retry-join={address}")));
        command.args(["-retry-interval=1s", "-hcl", r#"performance{raft_multiplier=1} session_ttl_min="1s""#]);
        command.args(if more.is_empty() { vec![] } else { vec!["-hcl", more] });
        self.consul = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Ends it by a signal.
    pub fn end_consul(&mut self, signal: nix::sys::signal::Signal) {
        if let Some(mut consul) = self.consul.take() {
            Self::signal(&consul, signal);
            let _ = consul.wait();
        }
    }

    /// What the local agent answers to a GET; null when that is no JSON.
    pub fn consul(&self, path: &str) -> Value {
        let output = self.command("curl").args(["-s", "-m", "5", &format!("http://127.0.0.1:8500{path}")]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn end(&mut self) {
        self.end_consul(nix::sys::signal::Signal::SIGKILL);
        if let Some(engine) = &self.engine {
            // Containers are not waited for: they end with the host.
            Self::signal(engine, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.space.child.kill();
        let _ = self.space.child.wait();
        if let Some(mut engine) = self.engine.take() {
            let _ = engine.wait();
        }
        // The engine's, which it had no time to remove.
        let find = format!("find /sys/fs/cgroup -depth -type d -path '*/{}*' -exec rmdir {{}} + 2>&1", self.cgroup());
        for _ in 0..100 {
            if Command::new("sh").args(["-c", &find]).status().unwrap().success() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Under which its containers are.
    fn cgroup(&self) -> String {
        let lab = self.dir.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
        format!("pipework-{}-{}", lab.trim_start_matches('.'), self.number)
    }
}
