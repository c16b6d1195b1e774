//! The daemon as the system sees it: what it tells the service manager, what it answers, the leases that it keeps, and how few
//! privileges it needs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

#[path = "daemon/world.rs"]
mod world;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use lab::dhcp::Server;
use lab::{Lab, Space, eventually, no_root};
use nix::sys::signal::Signal;
use world::{Daemon, end_namespace, inside, namespace, without_engine, write_attachment};

const HOUR: &str = "--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h";

/// What a service manager would hear.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(lab: &Lab) -> Self {
        let path = lab.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        Self { socket, path }
    }

    /// Waits for a message that begins so.
    fn hears(&self, beginning: &str) -> String {
        loop {
            let mut bytes = [0; 1024];
            let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{beginning}: {error}"));
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.starts_with(beginning) {
                return text;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_of_the_start_of_life_of_a_reload_and_of_the_end() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let guest = lab.guest();
    write_attachment(&lab, "web.toml", &format!("pid:{}", guest.pid()), "addresses = [\"10.66.0.1/24\"]");
    let mut program = without_engine(&lab);
    program.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "400000");
    let mut daemon = Daemon::start(program, &lab, &[]);
    manager.hears("READY=1");
    assert!(manager.hears("STATUS=").contains("1 guests"));
    // Work that takes its time is not waited for, and on a busy machine any may.
    eventually("what is wanted is there", || guest.addrs("eth1") == ["10.66.0.1/24"]);
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    daemon.signal(Signal::SIGHUP);
    assert!(manager.hears("RELOADING=1").contains("\nMONOTONIC_USEC="));
    manager.hears("READY=1");
    assert_eq!(daemon.end(), Some(0));
    manager.hears("STOPPING=1");
    assert_eq!(guest.addrs("eth1"), ["10.66.0.1/24"], "all stands");
}

#[test]
fn a_daemon_tells_of_itself_and_its_socket_file_goes_with_it() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    write_attachment(&lab, "web.toml", &format!("pid:{}", guest.pid()), "addresses = [\"10.66.0.1/24\"]");
    let mut daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    let events = || lab.run("events").out;
    eventually("it tells of the attachment", || events().contains("attached pid:"));
    assert!(events().contains(" eth1 10.66.0.1/24"), "{}", events());
    let socket = lab.dir.path().join("daemon.sock");
    assert!(socket.exists());
    let ask = |path: &str| {
        let output =
            Command::new("curl").args(["-sS", "--unix-socket"]).arg(&socket).arg(format!("http://pipework{path}")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // The engines that the test names are not there, and are asked for.
    eventually("it tells what it lacks", || ask("/healthz").starts_with("engine docker at unix:"));
    assert!(ask("/metrics").lines().any(|line| line == "pipework_attachments 1"), "{}", ask("/metrics"));
    assert!(ask("/v1/attachments").contains("10.66.0.1/24"));
    assert_eq!(daemon.end(), Some(0));
    assert!(!socket.exists());
    assert!(lab.run("events").err.contains("no daemon answers"));
}

#[test]
fn tcp_without_a_token_keeps_the_daemon_from_starting() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let ran: lab::Ran = without_engine(&lab).args(["daemon", "--listen", "127.0.0.1:0"]).output().unwrap().into();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("--token-file FILE"), "{}", ran.err);
}

fn count(server: &Server, what: &str) -> usize {
    server.log().matches(&format!("{what}(srv0)")).count()
}

fn addr(path: &std::path::Path) -> Option<String> {
    let text = inside(path, "ip -o -4 addr show eth1 2> /dev/null || true");
    text.split_whitespace().nth(3).map(str::to_owned)
}

#[test]
fn a_lease_is_kept_through_a_killed_daemon_put_back_when_it_is_taken_away_and_given_back_with_its_guest() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR, "--dhcp-option=3,10.88.0.1"]);
    let web = lab.dir.path().join("web");
    namespace(&web);
    write_attachment(&lab, "web.toml", &format!("netns:{}", web.display()), "dynamic = \"dhcp\"");
    let mut daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    daemon.eventually_tells("attached", |event| event["interface"] == "eth1");
    let leased = addr(&web).unwrap();
    daemon.kill();

    let daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    daemon.eventually_tells("renewed", |event| event["addresses"][0] == leased.as_str());
    assert_eq!((count(&server, "DHCPDISCOVER"), count(&server, "DHCPRELEASE")), (1, 0), "{}", server.log());
    assert_eq!(addr(&web).as_ref(), Some(&leased));

    inside(&web, &format!("ip addr del {leased} dev eth1"));
    assert_eq!(addr(&web), None);
    eventually("it is put back", || addr(&web).as_ref() == Some(&leased));
    eventually("with its route", || inside(&web, "ip route").contains("default via 10.88.0.1"));
    assert_eq!(count(&server, "DHCPDISCOVER"), 1, "{}", server.log());

    end_namespace(&web);
    eventually("it is given back", || server.leases().is_empty());
    daemon.eventually_tells("released", |_| true);
}

#[test]
fn a_lease_is_given_back_by_a_container_like_guest_that_ends() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let server = Server::dnsmasq(&lab, "br0", "10.88.0.1/24", &[HOUR]);
    let guest = lab.guest();
    write_attachment(&lab, "web.toml", &format!("pid:{}", guest.pid()), "dynamic = \"dhcp\"");
    let mut daemon = Daemon::start(without_engine(&lab), &lab, &[]);
    eventually("it is leased", || server.leases().len() == 1 && !guest.addrs("eth1").is_empty());
    eventually("somebody keeps it", || guest.sh("cat /proc/net/packet").lines().count() > 1);
    drop(guest);
    eventually("it is given back", || server.leases().is_empty() && count(&server, "DHCPRELEASE") >= 1);
    daemon.eventually_tells("released", |_| true);
    assert_eq!(daemon.end(), Some(0));
    assert!(Space::new().sh("true").is_empty());
}
