//! `--dhcp-dns`: the guest's resolv.conf, never the host's.

use std::path::Path;
use std::process::Child;

use crate::lab::dhcp::Server;
use crate::lab::{Lab, Ran, Space, assert_same, both, eventually, no_root};
use crate::{RANGE, SERVER, named};

fn host_file() -> Option<Vec<u8>> {
    std::fs::read("/etc/resolv.conf").ok()
}

/// A server that names itself for DNS.
fn dns_server(lab: &Lab) -> Server {
    Server::dnsmasq(lab, "br0", SERVER, &[RANGE, "--dhcp-option=6,10.88.0.1"])
}

/// A process of the guest with a resolv.conf of its own, mounted as an engine does it.
fn with_file(guest: &Space, file: &Path) -> Child {
    let line = format!("mount --make-rprivate / && mount --bind {} /etc/resolv.conf && exec sleep 1000", file.display());
    let child = guest.command("unshare").args(["--mount", "--", "sh", "-c", &line]).spawn().unwrap();
    let own = format!("/proc/{}/root/etc/resolv.conf", child.id());
    eventually("the guest has a file of its own", || std::fs::read(&own).is_ok_and(|text| text == std::fs::read(file).unwrap()));
    child
}

#[test]
fn the_dns_servers_go_into_the_guests_own_file_and_only_when_asked() {
    if no_root() {
        return;
    }
    let before = host_file();
    let lab = Lab::new();
    let options = [RANGE, "--dhcp-option=6,10.88.0.1", "--dhcp-option=119,lab.example,b.example"];
    let _server = Server::dnsmasq(&lab, "br0", SERVER, &options);
    let file = lab.dir.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 192.0.2.1 # a longer line than the one that comes\n".repeat(9)).unwrap();
    let guest = lab.guest();
    let mut child = with_file(&guest, &file);
    let untouched = std::fs::read_to_string(&file).unwrap();
    lab.ok(&format!("br0 -i eth2 pid:{} dhcp", child.id()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), untouched);
    lab.ok(&format!("br0 --dhcp-dns pid:{} dhcp", child.id()));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, "# by pipework, from DHCP\nsearch lab.example b.example\nnameserver 10.88.0.1\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(host_file(), before);
}

#[test]
fn the_hosts_own_resolv_conf_is_refused_whatever_way_leads_to_it() {
    if no_root() {
        return;
    }
    let before = host_file();
    let lab = Lab::new();
    let _server = dns_server(&lab);
    let guest = lab.guest();
    let state = both(&lab, &guest);
    lab.fails(&format!("br0 --dhcp-dns pid:{} dhcp", guest.pid()), "this host's own");
    assert_same(&state, &both(&lab, &guest), "after the refusal");
    lab.fails(&format!("br0 --dhcp-dns {} dhcp", named(&lab, &guest, "web")), "no resolv.conf of its own");
    assert_same(&state, &both(&lab, &guest), "after the second refusal");
    assert_eq!(host_file(), before);
}

#[test]
fn a_guests_link_to_a_file_of_the_host_stays_within_the_guest() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _server = dns_server(&lab);
    let victim = lab.dir.path().join("victim");
    std::fs::write(&victim, "precious\n").unwrap();
    let root = lab.dir.path().join("root");
    let shell =
        "d=$1; mkdir -p $d/bin $d/etc $d/$(dirname $2); cp $(command -v busybox) $d/bin/; ln -s $2 $d/etc/resolv.conf; echo old > $d/$2";
    let made = std::process::Command::new("sh").args(["-ec", shell, "sh"]).args([&root, &victim]).status().unwrap();
    assert!(made.success());
    let guest = lab.guest();
    let mut child = guest.command("chroot").arg(&root).args(["/bin/busybox", "sleep", "1000"]).spawn().unwrap();
    eventually("the guest has its root", || std::fs::read_link(format!("/proc/{}/root", child.id())).is_ok_and(|r| r == root));
    lab.ok(&format!("br0 --dhcp-dns pid:{} dhcp", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious\n");
    let inside = root.join(victim.strip_prefix("/").unwrap());
    assert!(std::fs::read_to_string(inside).unwrap().contains("nameserver 10.88.0.1"));
}

#[test]
fn a_namespace_with_a_name_has_its_file_where_ip_netns_looks_for_it() {
    if no_root() {
        return;
    }
    let before = host_file();
    let lab = Lab::new();
    let _server = dns_server(&lab);
    let guest = lab.guest();
    // Names and files in a mount namespace of the test's own.
    let line = format!(
        "mount --make-rprivate /; mkdir -p /run/netns; mount -t tmpfs t /run/netns; touch /run/netns/lab
         mount --bind /proc/{}/ns/net /run/netns/lab
         mount -t tmpfs t /mnt; cp -L /etc/resolv.conf /mnt/ 2>/dev/null || true; mount --move /mnt /etc
         $PROGRAM br0 netns:lab dhcp --dhcp-dns; cat /etc/netns/lab/resolv.conf; ip -n lab link del eth1
         $PROGRAM br0 -i eth2 netns:lab dhcp --dhcp-dns --dhcp-timeout 30 && rm -r /etc/netns && ip -n lab link del eth2
         ip link set br0 down; $PROGRAM br0 netns:lab dhcp --dhcp-dns --dhcp-timeout 1 2>/dev/null || test ! -e /etc/netns && echo undone",
        guest.pid()
    );
    let mut command = lab.host.command("unshare");
    command.args(["--mount", "--", "sh", "-ec", &line]).env("PROGRAM", env!("CARGO_BIN_EXE_pipework"));
    let ran: Ran = command.env("PIPEWORK_RUN_DIR", lab.dir.path()).env("HOME", lab.dir.path()).output().unwrap().into();
    assert_eq!(ran.out, "# by pipework, from DHCP\nnameserver 10.88.0.1\nundone\n", "{}", ran.err);
    assert_eq!(host_file(), before);
}

#[test]
fn the_file_is_put_back_when_the_lease_is_given_back_unless_somebody_wrote_it_anew() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let _server = dns_server(&lab);
    let file = lab.dir.path().join("resolv.conf");
    let guest = lab.guest();
    std::fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
    let mut child = with_file(&guest, &file);
    for (meanwhile, after) in [(None, "nameserver 192.0.2.1\n"), (Some("nameserver 192.0.2.7\n"), "nameserver 192.0.2.7\n")] {
        let words = ["br0", &format!("pid:{}", child.id()), "dhcp:-f", "--dhcp-dns"];
        let mut kept = lab.program().args(words).spawn().unwrap();
        eventually("the file is written", || std::fs::read_to_string(&file).unwrap().contains("10.88.0.1"));
        meanwhile.into_iter().for_each(|text| std::fs::write(&file, text).unwrap());
        // Written is not yet kept: the command may still be about to say so.
        let pid = nix::unistd::Pid::from_raw(kept.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        kept.wait().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        assert!(guest.link("eth1").is_null());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
