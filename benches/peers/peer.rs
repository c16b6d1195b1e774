//! The programs that are measured: how each is asked for the same attachment, and to take it away again.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::world::{self, DIR, Guest, sh};

const NETAVARK: &str = "/usr/lib/podman/netavark";
const CNI: &str = "/usr/lib/cni";

/// Which program, and what is chosen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    /// Ours as a CNI plugin, with its own address management.
    OursCni,
    Original {
        arping: bool,
    },
    /// The bridge plugin with that IPAM plugin.
    Cni(&'static str),
    Netavark,
    /// As Podman calls it for a network that is not internal: with a default route, and its rules in the firewall.
    NetavarkRouted,
    Docker,
}

impl Kind {
    pub fn name(self) -> String {
        match self {
            Kind::Ours => "pipework".to_owned(),
            Kind::OursCni => "pipework as a CNI plugin".to_owned(),
            Kind::Original { arping: false } => "original, without arping".to_owned(),
            Kind::Original { arping: true } => "original, with arping".to_owned(),
            Kind::Cni(ipam) => format!("CNI bridge, {ipam}"),
            Kind::Netavark => "netavark".to_owned(),
            Kind::NetavarkRouted => "netavark, with default route and firewall".to_owned(),
            Kind::Docker => "docker network connect".to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Attach,
    Detach,
}

/// A program with a bridge of its own.
pub struct Peer {
    pub kind: Kind,
    /// The bridge is `br<net>`, its network 10.net.0.0/16.
    net: u8,
    /// The address of the Docker engine, when the guest is a container; else it is a network namespace.
    engine: Option<String>,
}

impl Peer {
    /// Makes ready what it needs, or says why it cannot run here.
    pub fn new(kind: Kind, net: u8, engine: Option<String>) -> Result<Self, String> {
        let peer = Self { kind, net, engine };
        let wanted = match kind {
            Kind::Cni(ipam) => vec![format!("{CNI}/bridge"), format!("{CNI}/{ipam}")],
            Kind::Netavark | Kind::NetavarkRouted => vec![NETAVARK.to_owned()],
            Kind::Original { .. } => vec![original().ok_or("PIPEWORK_ORIGINAL is not set")?],
            Kind::Ours | Kind::OursCni | Kind::Docker => Vec::new(),
        };
        if let Some(path) = wanted.iter().find(|path| !Path::new(path).exists()) {
            return Err(format!("no {path}"));
        }
        if kind == (Kind::Original { arping: true }) && !Path::new(&format!("{DIR}/arping/arping")).exists() {
            return Err("no arping".to_owned());
        }
        match kind {
            Kind::Docker => drop(peer.run(&mut docker(&format!(
                "network create --subnet 10.{net}.0.0/16 --gateway 10.{net}.0.1 -o com.docker.network.bridge.name=br{net} aa-measured"
            )))?),
            _ => world::bridge(net),
        }
        Ok(peer)
    }

    /// Whether its guest is a Docker container.
    pub fn container(&self) -> bool {
        self.engine.is_some()
    }

    /// Attaches or detaches, as a process; the time from its start to its end.
    pub fn timed(&self, verb: Verb, guest: &Guest) -> Result<Duration, String> {
        let mut command = self.command(verb, guest);
        self.run(&mut command).map_err(|why| format!("{}, {verb:?} of {}: {why}", self.kind.name(), guest.name))
    }

    fn run(&self, command: &mut Command) -> Result<Duration, String> {
        let path = format!("{DIR}/said");
        let said = File::create(&path).unwrap();
        match &self.engine {
            Some(host) => command.env("DOCKER_HOST", host),
            None => command.env_remove("DOCKER_HOST"),
        };
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let start = Instant::now();
        let status = command.status().map_err(|e| e.to_string())?;
        let time = start.elapsed();
        if status.success() { Ok(time) } else { Err(std::fs::read_to_string(path).unwrap()) }
    }

    fn command(&self, verb: Verb, guest: &Guest) -> Command {
        let (net, name, attach) = (self.net, &guest.name, verb == Verb::Attach);
        match self.kind {
            Kind::Ours if attach => words(ours(), &self.line(guest)),
            Kind::Ours => words(ours(), &format!("detach {}", self.guest(guest))),
            Kind::OursCni => plugin(ours(), verb, guest, &own_cni(net, guest)),
            Kind::Cni(ipam) => plugin(Command::new(format!("{CNI}/bridge")), verb, guest, &cni(net, ipam, guest)),
            Kind::Netavark => {
                let mut command = Command::new(NETAVARK);
                command.args(["--config", DIR, if attach { "setup" } else { "teardown" }]).arg(guest.netns());
                command.env("PATH", format!("{DIR}/iptables")).env("NETAVARK_FW", "iptables").stdin(input(&netavark(net, guest, true)));
                command
            }
            Kind::NetavarkRouted => {
                let mut command = Command::new(NETAVARK);
                command.args(["--config", DIR, if attach { "setup" } else { "teardown" }]).arg(guest.netns());
                command.env("NETAVARK_FW", "iptables").stdin(input(&netavark(net, guest, false)));
                command
            }
            Kind::Docker if attach => docker(&format!("network connect --ip {} aa-measured {name}", guest.ip(net))),
            Kind::Docker => docker(&format!("network disconnect aa-measured {name}")),
            Kind::Original { arping } if attach => self.original(guest, arping),
            Kind::Original { .. } => words(Command::new("ip"), &format!("-n {name} link del eth1")),
        }
    }

    fn original(&self, guest: &Guest, arping: bool) -> Command {
        let name = if self.container() { guest.name.clone() } else { guest.pid.unwrap().to_string() };
        let docker = if self.container() { "docker" } else { "asked" };
        let arping = if arping { format!(":{DIR}/arping") } else { String::new() };
        let line = format!("br{net} {name} {ip}/16@10.{net}.0.1", net = self.net, ip = guest.ip(self.net));
        let mut command = words(Command::new(original().unwrap()), &line);
        command.env("PATH", format!("{DIR}/tools:{DIR}/{docker}{arping}"));
        command
    }

    /// The words of our attach.
    pub fn line(&self, guest: &Guest) -> String {
        let net = self.net;
        format!("br{net} {} {}/16@10.{net}.0.1", self.guest(guest), guest.ip(net))
    }

    /// The guest in our words.
    fn guest(&self, guest: &Guest) -> String {
        if self.container() { guest.name.clone() } else { format!("netns:{}", guest.netns()) }
    }

    /// Fails when the guest does not have what was asked for.
    pub fn check(&self, guest: &Guest) -> Result<(), String> {
        let name = &guest.name;
        let addrs = sh(&format!("ip -n {name} -j addr show"));
        let addr = format!("\"local\":\"{}\",\"prefixlen\":16", guest.ip(self.net));
        let routes = sh(&format!("ip -n {name} route show default"));
        let route = format!("via 10.{}.0.1 dev eth1", self.net);
        // See `netavark`.
        let routed = self.kind == Kind::Netavark || routes.contains(&route);
        if addrs.contains(&addr) && routed { Ok(()) } else { Err(format!("not the attachment that was asked for: {addrs} {routes}")) }
    }
}

fn docker(line: &str) -> Command {
    words(Command::new("docker"), line)
}

fn words(mut command: Command, line: &str) -> Command {
    command.args(line.split(' '));
    command
}

/// As a runtime calls a CNI plugin.
fn plugin(mut command: Command, verb: Verb, guest: &Guest, configuration: &str) -> Command {
    command.env("CNI_COMMAND", if verb == Verb::Attach { "ADD" } else { "DEL" }).env("CNI_CONTAINERID", &guest.name);
    command.env("CNI_NETNS", guest.netns()).env("CNI_IFNAME", "eth1").env("CNI_PATH", CNI).stdin(input(configuration));
    command
}

/// Our program, with directories of this run.
pub fn ours() -> Command {
    let mut command = Command::new(std::env::var("PIPEWORK").unwrap_or(env!("CARGO_BIN_EXE_pipework").to_owned()));
    for name in ["RUN", "PID", "STATE", "HOOKS"] {
        command.env(format!("PIPEWORK_{name}_DIR"), format!("{DIR}/ours-{name}"));
    }
    command
}

fn original() -> Option<String> {
    std::env::var("PIPEWORK_ORIGINAL").ok()
}

/// A file for a program's standard input.
fn input(text: &str) -> Stdio {
    let path = format!("{DIR}/input");
    std::fs::write(&path, text).unwrap();
    File::open(path).unwrap().into()
}

fn cni(net: u8, ipam: &str, guest: &Guest) -> String {
    let ip = guest.ip(net);
    let gateway = format!("10.{net}.0.1");
    let mut given = serde_json::json!({ "type": ipam, "routes": [{ "dst": "0.0.0.0/0" }] });
    match ipam {
        "static" => given["addresses"] = serde_json::json!([{ "address": format!("{ip}/16"), "gateway": gateway }]),
        _ => {
            let range = serde_json::json!({ "subnet": format!("10.{net}.0.0/16"), "gateway": gateway, "rangeStart": ip, "rangeEnd": ip });
            given["ranges"] = serde_json::json!([[range]]);
            given["dataDir"] = format!("{DIR}/host-local").into();
        }
    }
    let bridge = format!("br{net}");
    serde_json::json!({ "cniVersion": "1.0.0", "name": bridge, "type": "bridge", "bridge": bridge, "ipMasq": false, "ipam": given })
        .to_string()
}

/// The same network as the other plugin's.
fn own_cni(net: u8, guest: &Guest) -> String {
    let (bridge, ip) = (format!("br{net}"), guest.ip(net));
    let subnet = format!("10.{net}.0.0/16");
    let given =
        serde_json::json!({ "type": "pipework", "subnet": subnet, "rangeStart": ip, "rangeEnd": ip, "gateway": format!("10.{net}.0.1") });
    serde_json::json!({ "cniVersion": "1.0.0", "name": bridge, "type": "pipework", "bridge": bridge, "ipam": given }).to_string()
}

/// Version 1.4 leaves the firewall alone only for an internal network, which has no default route either. So it has a step
/// less to do than the others.
fn netavark(net: u8, guest: &Guest, internal: bool) -> String {
    let name = format!("br{net}");
    let network = serde_json::json!({
        "name": name, "id": "0".repeat(64), "driver": "bridge", "network_interface": name, "internal": internal, "dns_enabled": false,
        "ipv6_enabled": false, "subnets": [{ "subnet": format!("10.{net}.0.0/16"), "gateway": format!("10.{net}.0.1") }],
        "ipam_options": { "driver": "host-local" },
    });
    let options = serde_json::json!({ "static_ips": [guest.ip(net)], "interface_name": "eth1" });
    serde_json::json!({
        "container_id": "0".repeat(64), "container_name": guest.name,
        "networks": { name.clone(): options }, "network_info": { name: network },
    })
    .to_string()
}

/// Directories for the programs' PATH: all tools of this machine but arping and docker, each of these two alone, a docker that
/// answers the original's questions at once (a guest's name is its process), and an iptables that only tells its version,
/// which netavark asks even where it needs no firewall.
pub fn paths() {
    sh(&format!(
        "mkdir -p {DIR} /run/netns; cd {DIR}; mkdir tools docker arping asked iptables
         for dir in /bin /sbin /usr/bin /usr/sbin; do ln -sf $dir/* tools/; done
         for name in docker arping; do
           if path=$(command -v $name); then ln -s $path $name/$name; fi
           rm -f tools/$name
         done"
    ));
    for (name, text) in [("asked/docker", "echo \"$3\""), ("iptables/iptables", "echo v1.8.9"), ("iptables/ip6tables", "echo v1.8.9")] {
        let path = format!("{DIR}/{name}");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
