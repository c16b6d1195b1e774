//! DHCP servers and routers of a lab: each in a namespace of its own, a port of the host's bridge, with private files.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Lab, Space};

/// A daemon that serves a bridge of the lab's host. It ends with this.
pub struct Server {
    /// Where it runs: its interface there is `srv0`.
    pub space: Space,
    child: Option<Child>,
    dir: tempfile::TempDir,
}

/// A namespace with `srv0`, a port of the lab's bridge `bridge` (made when absent, up), and these addresses on it.
fn on_bridge(lab: &Lab, bridge: &str, addrs: &[&str]) -> Space {
    let space = Space::new();
    // Forwarding at once: no spanning tree, no delay.
    lab.host.sh(&format!("ip link show {bridge} 2>/dev/null || ip link add {bridge} type bridge; ip link set {bridge} up"));
    let pid = space.pid();
    lab.host.sh(&format!("ip link add srv{pid} type veth peer name srv0 netns {pid}; ip link set srv{pid} master {bridge} up"));
    space.sh("ip link set srv0 up");
    for addr in addrs {
        // An IPv6 address has to be usable at once: servers bind it.
        let nodad = if addr.contains(':') { "nodad" } else { "" };
        space.sh(&format!("ip addr add {addr} dev srv0 {nodad}"));
    }
    space
}

impl Server {
    /// A namespace on the bridge in which nothing runs (yet): for servers of a test's own, and for none at all.
    pub fn silent(lab: &Lab, bridge: &str, addrs: &[&str]) -> Self {
        Self { space: on_bridge(lab, bridge, addrs), child: None, dir: tempfile::tempdir().unwrap() }
    }

    /// dnsmasq with an address (`10.88.0.1/24`) on a bridge and these further options, one word each
    /// (`--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h`, `--dhcp-option=3,10.88.0.1`, ...).
    pub fn dnsmasq(lab: &Lab, bridge: &str, addr: &str, options: &[&str]) -> Self {
        Self::dnsmasq_at(lab, bridge, &[addr], options)
    }

    /// As [`Self::dnsmasq`], with several addresses, IPv6 ones among them.
    pub fn dnsmasq_at(lab: &Lab, bridge: &str, addrs: &[&str], options: &[&str]) -> Self {
        let mut server = Self::silent(lab, bridge, addrs);
        server.start_dnsmasq(options);
        server
    }

    /// Starts dnsmasq in this namespace; what an earlier one here has leased is known to it.
    pub fn start_dnsmasq(&mut self, options: &[&str]) {
        std::fs::write(self.file("empty.conf"), "").unwrap();
        let mut command = self.space.command("dnsmasq");
        // In the foreground, so that its PID is the one we started; `nsenter` becomes it.
        command.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--port=0", "--bind-interfaces", "--except-interface=lo"]);
        command.args(["--interface=srv0", "--no-ping", "--log-dhcp", "--user=root", "--dhcp-authoritative"]);
        command.arg(format!("--conf-file={}", self.file("empty.conf").display()));
        command.arg(format!("--dhcp-leasefile={}", self.file("leases").display()));
        command.arg(format!("--pid-file={}", self.file("dnsmasq.pid").display()));
        command.arg(format!("--log-facility={}", self.file("log").display()));
        command.args(options);
        self.start(command);
        let ready = |server: &Self| server.log().lines().any(|l| l.contains("started, version")) && server.file("dnsmasq.pid").exists();
        self.until_ready("dnsmasq", ready);
    }

    /// radvd with an address on a bridge; `config` stands between the braces of `interface srv0 { ... };`.
    pub fn radvd(lab: &Lab, bridge: &str, addr: &str, config: &str) -> Self {
        let mut server = Self::silent(lab, bridge, &[addr]);
        server.start_radvd(config);
        server
    }

    /// Starts radvd in this namespace.
    pub fn start_radvd(&mut self, config: &str) {
        self.space.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        std::fs::write(self.file("radvd.conf"), format!("interface srv0 {{ AdvSendAdvert on; {config} }};")).unwrap();
        let mut command = self.space.command("radvd");
        command.args(["--nodaemon", "--debug=2", "--logmethod=stderr"]);
        command.arg(format!("--config={}", self.file("radvd.conf").display()));
        command.arg(format!("--pidfile={}", self.file("radvd.pid").display()));
        self.start(command);
        self.until_ready("radvd", |server| server.file("radvd.pid").exists());
    }

    /// Starts busybox's udhcpd in this namespace: it lends for a few seconds, too, which dnsmasq does not.
    pub fn start_udhcpd(&mut self, first: &str, last: &str, config: &str) {
        std::fs::write(self.file("leases"), "").unwrap();
        let (leases, pid) = (self.file("leases"), self.file("udhcpd.pid"));
        let text = format!(
            "start {first}\nend {last}\ninterface srv0\nmin_lease 1\nlease_file {}\npidfile {}\nauto_time 0\n{config}\n",
            leases.display(),
            pid.display()
        );
        std::fs::write(self.file("udhcpd.conf"), text).unwrap();
        let mut command = self.space.command("busybox");
        // Without waiting for an answer from an address before it is lent.
        command.args(["udhcpd", "-f", "-a", "0"]).arg(self.file("udhcpd.conf"));
        self.start(command);
        self.until_ready("udhcpd", |server| server.log().contains("started"));
    }

    /// Starts any server that stays in the foreground; its standard error goes to the log.
    pub fn start(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "a server runs here already");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.file("stderr")).unwrap();
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn until_ready(&mut self, what: &str, ready: impl Fn(&Self) -> bool) {
        for _ in 0..1500 {
            if ready(self) {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{what}: {ended:?} {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{what} does not start: {}", self.log());
    }

    /// A file of its private directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it has logged so far: dnsmasq tells every packet, with its options.
    pub fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.file(name)).unwrap_or_default();
        read("log") + &read("stderr")
    }

    /// dnsmasq's lease file: expiry, MAC, address, host name, client identifier; a line each.
    pub fn leases(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("leases")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Ends the daemon; the namespace stays. It can be started again.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.file("dnsmasq.pid"));
        let _ = std::fs::remove_file(self.file("radvd.pid"));
        let _ = std::fs::remove_file(self.file("log"));
        let _ = std::fs::remove_file(self.file("stderr"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
