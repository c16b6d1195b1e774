//! What the neighbours hear of an attach, heard by tcpdump on another port of the bridge.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lab::{Lab, Space, eventually, no_root};

const MAC: &str = "02:00:00:00:00:07";
/// Far above what the command takes, far below what it must not wait for.
const WELL_UNDER_A_SECOND: Duration = Duration::from_millis(700);

fn cannot_run() -> bool {
    no_root() || (Command::new("tcpdump").arg("--version").output().is_err() && lab::skip("needs tcpdump"))
}

/// tcpdump on an interface of a namespace; ended with the test.
struct Ear {
    child: Child,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Ear {
    fn on(space: &Space, interface: &str) -> Self {
        let mut command = space.command("tcpdump");
        command.args(["-i", interface, "-l", "-e", "-n", "-v", "--immediate-mode", "arp or icmp6"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It says so when it hears.
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !said.contains("listening on") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (heard, stdout) = (Arc::clone(&lines), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            let _stderr = stderr;
            // Frames that take several lines go on behind a tab.
            for line in stdout.lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                match heard.last_mut() {
                    Some((_, last)) if line.starts_with(char::is_whitespace) => *last = format!("{last} {}", line.trim()),
                    _ => heard.push((Instant::now(), line)),
                }
            }
        });
        Self { child, lines }
    }

    /// What was heard so far that contains all of the words, without the time of day.
    fn heard(&self, words: &[&str]) -> Vec<(Instant, String)> {
        let lines = self.lines.lock().unwrap();
        let wanted = lines.iter().filter(|(_, line)| words.iter().all(|word| line.contains(word)));
        wanted.map(|(when, line)| (*when, line.split_once(' ').unwrap().1.to_owned())).collect()
    }

    fn texts(&self, words: &[&str]) -> Vec<String> {
        self.heard(words).into_iter().map(|(_, line)| line).collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A lab with a bridge, another guest on it as eth1, and an ear there.
fn with_neighbour() -> (Lab, Space, Ear) {
    let lab = Lab::new();
    let neighbour = lab.guest();
    lab.host.sh("ip link add br0 up type bridge");
    lab.ok(&format!("br0 -l other pid:{} 0/0", neighbour.pid()));
    eventually("the neighbour's port forwards", || forwards(&lab, "other"));
    let ear = Ear::on(&neighbour, "eth1");
    (lab, neighbour, ear)
}

fn forwards(lab: &Lab, port: &str) -> bool {
    lab.host.link(port)["linkinfo"]["info_slave_data"]["state"] == "forwarding"
}

/// Processes of the program that were started by this lab and still run.
fn left(lab: &Lab) -> Vec<String> {
    let mark = format!("PIPEWORK_RUN_DIR={}", lab.dir.path().display());
    let is_ours = |pid: &String| {
        let file = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&file("environ")).split('\0').any(|variable| variable == mark) && !file("cmdline").is_empty()
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    pids.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter(is_ours).collect()
}

/// Long enough for what must not come. Nothing of IPv4 waits on a bridge without STP.
fn listen() {
    std::thread::sleep(Duration::from_millis(500));
}

#[test]
fn an_ipv4_address_is_announced_by_one_arp_request_and_one_reply() {
    if cannot_run() {
        return;
    }
    let (lab, _neighbour, ear) = with_neighbour();
    let guest = lab.guest();
    let start = Instant::now();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24 {MAC}", guest.pid()));
    assert!(start.elapsed() < WELL_UNDER_A_SECOND, "{:?}", start.elapsed());
    eventually("both are heard", || ear.heard(&["ARP"]).len() >= 2);
    listen();
    // Who-has with the address itself as sender, and the answer to it, to everybody, from the guest's MAC address.
    let frame = format!("{MAC} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Ethernet (len 6), IPv4 (len 4)");
    assert_eq!(
        ear.texts(&["ARP"]),
        [format!("{frame}, Request who-has 10.1.1.2 tell 10.1.1.2, length 28"), format!("{frame}, Reply 10.1.1.2 is-at {MAC}, length 28")]
    );
    eventually("nothing of ours runs", || left(&lab).is_empty());
}

#[test]
fn a_neighbour_that_knows_the_address_under_another_mac_learns_the_new_one() {
    if cannot_run() {
        return;
    }
    let (lab, neighbour, _ear) = with_neighbour();
    neighbour.sh("ip addr add 10.1.1.3/24 dev eth1; ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:99 dev eth1 nud stale");
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24 {MAC}", guest.pid()));
    eventually("the neighbour has the new address", || neighbour.sh("ip neigh show 10.1.1.2").contains(MAC));
}

#[test]
fn an_ipv6_address_is_announced_by_an_unsolicited_advertisement_with_the_override_flag() {
    if cannot_run() {
        return;
    }
    let (lab, _neighbour, ear) = with_neighbour();
    let guest = lab.guest();
    let start = Instant::now();
    lab.ok(&format!("br0 pid:{} fd00::2/64 {MAC}", guest.pid()));
    assert!(start.elapsed() < WELL_UNDER_A_SECOND, "duplicate address detection is not waited for: {:?}", start.elapsed());
    let words = ["neighbor advertisement", "tgt is fd00::2"];
    eventually("it is heard", || !ear.heard(&words).is_empty());
    listen();
    let heard = ear.texts(&words);
    assert_eq!(heard.len(), 1, "{heard:?}");
    for part in [
        format!("{MAC} > 33:33:00:00:00:01"),
        "hlim 255".to_owned(),
        "fd00::2 > ff02::1".to_owned(),
        "[icmp6 sum ok]".to_owned(),
        "Flags [override]".to_owned(),
        format!("destination link-address option (2), length 8 (1): {MAC}"),
    ] {
        assert!(heard[0].contains(&part), "{part} is not in {}", heard[0]);
    }
    assert!(ear.heard(&["ARP"]).is_empty());
    eventually("nothing of ours runs", || left(&lab).is_empty());
}

#[test]
fn a_link_without_an_address_is_not_announced() {
    if cannot_run() {
        return;
    }
    let (lab, _neighbour, ear) = with_neighbour();
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 0/0 {MAC}", guest.pid()));
    assert_eq!(left(&lab), Vec::<String>::new());
    eventually("the port forwards", || forwards(&lab, &format!("veth1pl{}", guest.pid())));
    listen();
    assert_eq!(ear.texts(&["ARP"]), Vec::<String>::new());
    assert_eq!(ear.texts(&["neighbor advertisement"]), Vec::<String>::new());
}

#[test]
fn a_macvlan_and_a_moved_nic_are_announced_on_the_wire() {
    if cannot_run() {
        return;
    }
    let lab = Lab::new();
    for (name, option) in [("nic0", ""), ("nic1", "--direct-phys ")] {
        let switch = lab.nic(name);
        let ear = Ear::on(&switch, "port0");
        let guest = lab.guest();
        lab.ok(&format!("{option}{name} pid:{} 10.1.1.2/24 {MAC}", guest.pid()));
        eventually("both are heard", || ear.heard(&["ARP", MAC]).len() >= 2);
        listen();
        assert_eq!(ear.heard(&["ARP"]).len(), 2, "{name}: {:?}", ear.texts(&["ARP"]));
    }
}

/// With STP a port forwards after twice the forward delay, here four seconds.
fn with_spanning_tree() -> (Lab, Space, Ear) {
    let (lab, neighbour, ear) = with_neighbour();
    lab.host.sh("ip link set br0 type bridge stp_state 1 forward_delay 200");
    (lab, neighbour, ear)
}

#[test]
fn with_spanning_tree_the_announcement_waits_for_the_port_and_the_command_does_not() {
    if cannot_run() {
        return;
    }
    let (lab, _neighbour, ear) = with_spanning_tree();
    let guest = lab.guest();
    let port = format!("veth1pl{}", guest.pid());
    let start = Instant::now();
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24 {MAC}", guest.pid()));
    let took = start.elapsed();
    assert!(took < WELL_UNDER_A_SECOND, "{took:?}");
    assert!(!forwards(&lab, &port), "the port forwards already: nothing is tested");
    assert_eq!(left(&lab).len(), 1, "the one that waits");
    std::thread::sleep(Duration::from_secs(2));
    assert!(ear.heard(&["ARP", MAC]).is_empty() && !forwards(&lab, &port));
    // Two seconds have passed of the four that it takes.
    eventually("both are heard", || ear.heard(&["ARP", MAC]).len() >= 2);
    let heard = ear.heard(&["ARP", MAC]);
    assert!(heard[0].0 - start > Duration::from_secs(3), "{:?}", heard[0].0 - start);
    assert!(forwards(&lab, &port));
    listen();
    assert_eq!(ear.heard(&["ARP", MAC]).len(), 2);
    eventually("nothing of ours runs", || left(&lab).is_empty());
}

#[test]
fn nothing_waits_on_for_a_guest_that_is_dead() {
    if cannot_run() {
        return;
    }
    let (lab, _neighbour, ear) = with_spanning_tree();
    let guest = lab.guest();
    let port = format!("veth1pl{}", guest.pid());
    lab.ok(&format!("br0 pid:{} 10.1.1.2/24 {MAC}", guest.pid()));
    assert_eq!(left(&lab).len(), 1, "the one that waits");
    drop(guest);
    let killed = Instant::now();
    eventually("nothing of ours runs", || left(&lab).is_empty());
    assert!(killed.elapsed() < Duration::from_millis(1500), "{:?}", killed.elapsed());
    // Nobody holds the namespace, so the kernel takes it down, and the veth pair with it.
    eventually("the port is gone", || lab.host.link(&port).is_null());
    assert!(ear.heard(&["ARP", MAC]).is_empty());
}
