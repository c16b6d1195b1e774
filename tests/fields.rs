//! What an interface is given beyond its addresses, on a real kernel: judged by ip, tc and ethtool, taken back by each step's
//! undo, and measured.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::Write;
use std::process::Stdio;

use lab::inside::{FAULTS, request, request_rolls_back_on, there_and_back};
use lab::{Lab, Space, assert_same, both, no_root, settled, skip};
use pipework::model::request::AttachRequest;
use pipework::model::settings::Settings;
use pipework::plan::Birth;
use serde_json::Value;

const NIC: &str = "ip link add nic0 mtu 9000 type veth peer name far0 mtu 9000; ip link set far0 up";

/// The program with the words of a line, and more that have spaces in them.
fn attach(lab: &Lab, line: &str, more: &[&str]) -> lab::Ran {
    lab.program().args(line.split_whitespace()).args(more).output().unwrap().into()
}

#[track_caller]
fn attached(lab: &Lab, line: &str, more: &[&str]) {
    let ran = attach(lab, line, more);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{line} {more:?}");
}

/// What a sysctl of a link is.
fn sysctl(space: &Space, key: &str) -> String {
    space.sh(&format!("sysctl -n {key}")).trim().to_owned()
}

/// Whether ethtool says that a feature is on.
fn feature(space: &Space, link: &str, name: &str) -> String {
    let all = space.sh(&format!("ethtool -k {link}"));
    let line = all.lines().find(|line| line.trim().starts_with(&format!("{name}:"))).unwrap();
    line.split(": ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

/// A host with a bridge that has a gateway's addresses.
fn bridge(lab: &Lab) {
    lab.host.sh(
        "ip link add br0 address 02:00:00:00:00:0a up type bridge; ip addr add 10.1.1.1/24 dev br0; ip addr add fd00::1/64 nodad dev br0",
    );
}

#[test]
fn several_addresses_of_both_families_come_with_a_gateway_each() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    bridge(&lab);
    guest.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    let line = format!("br0 pid:{} 10.1.1.2/24,10.7.7.7/32,fd00::2/64,fd00::3/64@fd00::1,10.1.1.1", guest.pid());
    let ran = lab.run(&format!("--json {line}"));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["address"], "10.1.1.2/24");
    assert_eq!(report["addresses"], serde_json::json!(["10.1.1.2/24", "10.7.7.7/32", "fd00::2/64", "fd00::3/64"]));
    assert_eq!((&report["gateway"], &report["gateways"]), (&"fd00::1".into(), &serde_json::json!(["fd00::1", "10.1.1.1"])));
    let mut addrs = guest.addrs("eth1");
    addrs.sort();
    assert_eq!(addrs, ["10.1.1.2/24", "10.7.7.7/32", "fd00::2/64", "fd00::3/64"]);
    let routes = guest.routes();
    assert!(routes.iter().any(|route| route.starts_with("default via 10.1.1.1 dev eth1")), "{routes:?}");
    assert!(routes.iter().any(|route| route.starts_with("default via fd00::1 dev eth1")), "{routes:?}");
    guest.sh("ping -c1 -W5 10.1.1.1");
    lab::eventually("the other family", || guest.try_sh("ping -c1 -W1 fd00::1"));
    // The same twice changes nothing; one address more is a difference that is named.
    let before = settled(&[&guest], || both(&lab, &guest));
    lab.ok(&line);
    assert_same(&before, &both(&lab, &guest), "twice");
    lab.fails(&format!("br0 pid:{} 10.1.1.2/24,10.1.1.9/24", guest.pid()), "wanted 10.1.1.9/24");
    lab.fails(&format!("br0 -i eth2 pid:{} 10.1.1.4/24,fd00::3/64", guest.pid()), "the guest has fd00::3/64 already, on eth1");
}

#[test]
fn mtu_queue_offloads_sysctls_and_the_host_ends_mac_are_as_asked() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    bridge(&lab);
    lab.host.sh("ip link add keep type veth peer name keep1; ip link set keep master br0");
    let fields = "--mtu 1400 --txqueuelen 77 --offload tx=off,gro=on --link-mac 02:00:00:00:00:99 --sysctl net.ipv4.conf.IF.forwarding=1 --sysctl net.ipv4.neigh.eth1.gc_stale_time=17";
    let line = format!("br0 pid:{} 10.1.1.2/24 {fields}", guest.pid());
    attached(&lab, &line, &[]);
    let link = guest.link("eth1");
    assert_eq!((&link["mtu"], &link["txqlen"]), (&1400.into(), &77.into()));
    let host = lab.host.link(&format!("veth1pl{}", guest.pid()));
    assert_eq!(host["address"], "02:00:00:00:00:99");
    assert_eq!((&host["mtu"], &lab.host.link("br0")["mtu"]), (&1500.into(), &1500.into()), "the bridge does not shrink");
    assert_eq!(
        (feature(&guest, "eth1", "tx-checksumming").as_str(), feature(&guest, "eth1", "generic-receive-offload").as_str()),
        ("off", "on")
    );
    assert_eq!(
        (sysctl(&guest, "net.ipv4.conf.eth1.forwarding").as_str(), sysctl(&guest, "net.ipv4.neigh.eth1.gc_stale_time").as_str()),
        ("1", "17")
    );
    guest.sh("ping -c1 -W5 10.1.1.1");
    lab.ok(&line);
    lab.fails(&line.replace("--mtu 1400", "--mtu 1300"), "MTU is 1400, wanted 1300");
    lab.fails(&line.replace("txqueuelen 77", "txqueuelen 78"), "the queue's length is 77, wanted 78");
    lab.fails(&line.replace(":99", ":98"), "the host end's MAC address is 02:00:00:00:00:99, wanted 02:00:00:00:00:98");
}

#[test]
fn what_cannot_be_had_is_told_before_anything_is_done() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.host.sh(NIC);
    let before = both(&lab, &guest);
    let pid = guest.pid();
    let fails = |line: &str, more: &[&str], wanted: &str| {
        let ran = attach(&lab, &line.replace("PID", &pid.to_string()), more);
        assert_eq!(ran.code, Some(1), "{line}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{line}: {}", ran.err);
    };
    fails("nic0 pid:PID 10.1.1.2/24 --mtu 9001", &[], "--mtu 9001 is more than nic0 passes, whose own is 9000");
    fails("nic0 pid:PID fd00::2/64 --mtu 1279", &[], "IPv6 needs 1280 at least");
    fails("nic0 pid:PID dhcp --table auto", &[], "--table needs the address beforehand, and dhcp tells none");
    fails("nic0 pid:PID 0/0 --table auto", &[], "--table needs the address beforehand, and 0/0 tells none");
    fails("nic0 pid:PID 10.1.1.2/24 --sysctl net.ipv4.conf.eth0.forwarding=1", &[], "eth0 is not the guest's interface eth1");
    fails("nic0 pid:PID 10.1.1.2/24 --sysctl net.ipv4.ip_forward=1", &[], "give a setting of the guest's interface");
    fails("nic0 pid:PID 10.1.1.2/24", &["--route", "10.9.0.0/16 encap ip id 7"], "\"encap\" is not known here (route add)");
    fails("nic0 pid:PID 10.1.1.2/24", &["--route", "10.9.0.0/16 via 10.1.1.1 table nowhere"], "nowhere");
    fails("nic0 pid:PID 10.1.1.2/24", &["--rule", "from 10.1.1.2 lookup auto"], "no table of its own");
    fails("nic0 pid:PID 10.1.1.2/24", &["--route", "add default via 10.1.1.1"], "leave out add");
    // Told by the kernel, and undone.
    fails("nic0 pid:PID 10.1.1.2/24 --sysctl net.ipv4.conf.IF.nonsense=1", &[], "this kernel has no setting nonsense there");
    fails("nic0 pid:PID 10.1.1.2/24 --offload rx-all=on", &[], "rx-all stays off");
    fails("nic0 pid:PID 10.1.1.2/24", &["--route", "10.9.0.0/16 via 10.5.5.5"], "is the gateway on a subnet of the interface?");
    fails("nic0 pid:PID 10.1.1.2/24", &["--route", "10.9.0.0/16 dev eth7"], "there is no interface eth7");
    assert_same(&before, &settled(&[&lab.host, &guest], || both(&lab, &guest)), "nothing is left");
}

#[test]
fn routes_rules_and_a_metric_are_those_of_ip() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    bridge(&lab);
    guest.sh("ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1");
    let line = format!("br0 pid:{} 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1 --metric 50", guest.pid());
    let more = [
        "--route=10.9.0.0/16 via 10.1.1.1",
        "--route=blackhole 10.66.0.0/16",
        "--route",
        "-6 fd09::/16 via fd00::1 metric 7",
        "--rule=from 10.9.0.0/16 lookup 77 priority 1000",
        "--rule=-6 iif IF lookup 78",
    ];
    attached(&lab, &line, &more);
    let routes = guest.routes();
    for wanted in [
        "default via 172.17.0.1 dev eth0",
        "default via 10.1.1.1 dev eth1 metric 50",
        "default via fd00::1 dev eth1 metric 50 pref medium",
        "10.9.0.0/16 via 10.1.1.1 dev eth1",
        "blackhole 10.66.0.0/16",
        "fd09::/16 via fd00::1 dev eth1 metric 7 pref medium",
    ] {
        assert!(routes.iter().any(|route| route == wanted), "{wanted}: {routes:?}");
    }
    assert!(guest.sh("ip rule").contains("1000:\tfrom 10.9.0.0/16 lookup 77"));
    assert!(guest.sh("ip -6 rule").contains("iif eth1 lookup 78"));
    let again = attach(&lab, &line, &more);
    assert_eq!((again.code, again.err.as_str()), (Some(0), ""));
}

#[test]
fn the_first_free_name_is_found_again_and_again() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    bridge(&lab);
    guest.sh("ip link add eth2 type bridge");
    for (addr, wanted) in [("10.1.1.2/24", "eth1"), ("10.1.1.3/24", "eth3"), ("10.1.1.4/24", "eth4")] {
        let ran = lab.run(&format!("--json br0 -i auto pid:{} {addr}", guest.pid()));
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(report["interface"], wanted, "{}", ran.err);
        assert_eq!(guest.addrs(wanted), [addr]);
    }
}

/// All fields that this machine's kernel can do, as JSON, for a request.
fn with_fields(words: &str, fields: &str, guest: &Space) -> AttachRequest {
    AttachRequest { settings: serde_json::from_str::<Settings>(fields).unwrap(), ..request(words, guest) }
}

const ALL: &str = r#"{"mtu":1400,"metric":50,"routes":["10.9.0.0/16 via 10.1.1.1 dev IF","unreachable fd99::/16"],"rules":["from 10.9.0.0/16 lookup auto","-6 iif IF lookup 78"],"table":"auto","rate":"10mbit/20mbit","offloads":"tx=off","txqueuelen":77,"sysctls":["net.ipv4.conf.IF.forwarding=1"],"link_mac":"02:00:00:00:00:99"}"#;
const ON_A_NIC: &str = r#"{"mtu":1400,"routes":["10.9.0.0/16 via 10.1.1.1 dev IF"],"rules":["from 10.9.0.0/16 lookup auto"],"table":"auto","rate":"10mbit/20mbit","offloads":"gro=on,tx=off","txqueuelen":77,"sysctls":["net.ipv4.conf.IF.forwarding=1"]}"#;
const GUEST: &str =
    "ip link add eth0 type bridge; ip link set eth0 up; ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1 metric 5";

#[test]
fn whichever_step_fails_all_fields_are_taken_back() {
    if no_root() {
        return;
    }
    for birth in [Birth::Guest, Birth::Host] {
        let (lab, guest) = (Lab::new(), Space::new());
        guest.sh(GUEST);
        let ask = with_fields("br0 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1", ALL, &guest);
        request_rolls_back_on(&lab, &guest, None, &ask, birth, &FAULTS, &|| both(&lab, &guest));
    }
}

#[test]
fn a_nic_that_comes_back_has_its_own_mtu_queue_and_features() {
    if no_root() {
        return;
    }
    let (lab, guest) = (Lab::new(), Space::new());
    lab.host.sh(&format!("{NIC}; ip link set nic0 txqueuelen 555; ethtool -K nic0 gro off"));
    let features = || lab.host.sh("ethtool -k nic0");
    let before = (settled(&[&lab.host, &guest], || both(&lab, &guest)), features());
    let ask = with_fields("--direct-phys nic0 10.1.1.2/24@10.1.1.1", ON_A_NIC, &guest);
    there_and_back(&lab.host, &ask, Birth::Guest, || {
        assert_eq!((&guest.link("eth1")["mtu"], &guest.link("eth1")["txqlen"]), (&1400.into(), &77.into()));
        assert_eq!(feature(&guest, "eth1", "tx-checksumming"), "off");
        assert_eq!(feature(&guest, "eth1", "generic-receive-offload"), "on");
    });
    assert_same(&before.0, &both(&lab, &guest), "there and back");
    assert_eq!(before.1, features());
    request_rolls_back_on(&lab, &guest, None, &ask, Birth::Guest, &FAULTS, &|| both(&lab, &guest));
}

#[test]
fn a_detach_takes_all_fields_back() {
    if no_root() {
        return;
    }
    const FIELDS: &str =
        "--mtu 1400 --metric 50 --table auto --rate 10mbit/20mbit --offload tx=off --txqueuelen 77 --sysctl net.ipv4.conf.IF.forwarding=1";
    let more = ["--route=10.9.0.0/16 via 10.1.1.1", "--route=unreachable fd99::/16", "--rule=from 10.9.0.0/16 lookup auto"];
    for line in [
        "br0 pid:PID 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1 --link-mac 02:00:00:00:00:99",
        "--direct-phys nic0 pid:PID 10.1.1.2/24@10.1.1.1",
    ] {
        let (lab, guest) = (Lab::new(), Space::new());
        bridge(&lab);
        lab.host.sh(NIC);
        guest.sh(GUEST);
        let spaces = [&lab.host, &guest];
        let before = settled(&spaces, || both(&lab, &guest));
        attached(&lab, &format!("{} {FIELDS}", line.replace("PID", &guest.pid().to_string())), &more);
        lab.ok(&format!("detach pid:{}", guest.pid()));
        assert_same(&before, &settled(&spaces, || both(&lab, &guest)), line);
    }
}

/// All that a test compares of two worlds: what differs by nature is filled in alike.
fn comparable(lab: &Lab, guest: &Space) -> Vec<String> {
    let pid = guest.pid().to_string();
    let mut lines = both(lab, guest);
    for key in ["ipv4.conf.eth1.arp_ignore", "ipv4.conf.eth1.arp_announce", "ipv4.conf.eth1.rp_filter", "ipv4.conf.eth1.forwarding"] {
        lines.push(format!("{key} {}", sysctl(guest, &format!("net.{key}"))));
    }
    lines.extend(guest.sh("ethtool -k eth1").lines().map(str::to_owned));
    let is_mac = |word: &str| word.len() == 19 && word.matches(':').count() == 5 && !word.contains("02:00:00");
    let plain =
        |line: &String| line.replace(&pid, "PID").split(' ').map(|w| if is_mac(w) { "RANDOM" } else { w }).collect::<Vec<_>>().join(" ");
    lines.iter().map(plain).collect()
}

#[test]
fn printed_commands_do_what_the_attach_does() {
    if no_root() {
        return;
    }
    const FIELDS: &str = "--mtu 1400 --metric 50 --table auto --rate 10mbit/20mbit:64kb --offload tx=off,gro=on --txqueuelen 77 --sysctl net.ipv4.conf.IF.forwarding=1";
    let more = ["--route=10.9.0.0/16 via 10.1.1.1", "--rule=from 10.9.0.0/16 lookup auto priority 500", "--route=-6 fd09::/16 via fd00::1"];
    for (setup, line) in [
        (
            "ip link add br0 address 02:00:00:00:00:0a up type bridge",
            "br0 pid:PID 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1 --link-mac 02:00:00:00:00:99",
        ),
        (NIC, "--direct-phys nic0 pid:PID 10.1.1.2/24,fd00::2/64@10.1.1.1,fd00::1"),
    ] {
        let worlds = [(Lab::new(), Space::new()), (Lab::new(), Space::new())];
        worlds.iter().for_each(|(lab, _)| _ = lab.host.sh(setup));
        let [(printed, by_shell), (done, by_us)] = &worlds;
        let filled = |guest: &Space| format!("{line} {FIELDS}").replace("PID", &guest.pid().to_string());
        let dry = attach(printed, &format!("--dry-run {}", filled(by_shell)), &more);
        assert_eq!(dry.code, Some(0), "{}", dry.err);
        let mut shell = printed.host.command("sh").arg("-e").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(dry.out.as_bytes()).unwrap();
        let ended = shell.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}\n{}", dry.out, String::from_utf8_lossy(&ended.stderr));
        attached(done, &filled(by_us), &more);
        settled(&[by_shell, by_us], Vec::new);
        assert_same(&comparable(done, by_us), &comparable(printed, by_shell), &format!("- attached, + by the shell from\n{}", dry.out));
        let again = attach(printed, &format!("--dry-run {}", filled(by_shell)), &more);
        assert_eq!((again.code, again.out.as_str()), (Some(0), ""), "{}", again.err);
    }
}

/// A router between a bridge of the host and a client of its own.
struct Router {
    _router: Space,
    client: Space,
}

impl Router {
    /// Router `n` is 10.n.n.1 and fdN::1 on bridge brN, and its client 10.10n.0.2 and fdaN::2.
    fn new(lab: &Lab, n: u8) -> Self {
        let (router, client) = (Space::new(), Space::new());
        lab.host.sh(&format!(
            "ip link add br{n} address 02:00:00:00:01:0{n} up type bridge; ip link add r{n} up type veth peer name lan netns {}; ip link set r{n} master br{n}",
            router.pid()
        ));
        router.sh(&format!(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip link add far type veth peer name near netns {}; \
             ip link set lan up; ip link set far up; ip addr add 10.{n}.{n}.1/24 dev lan; ip addr add 10.10{n}.0.1/24 dev far; \
             ip addr add fd0{n}::1/64 nodad dev lan; ip addr add fda{n}::1/64 nodad dev far",
            client.pid()
        ));
        client.sh(&format!(
            "ip link set near up; ip addr add 10.10{n}.0.2/24 dev near; ip route add default via 10.10{n}.0.1; \
             ip addr add fda{n}::2/64 nodad dev near; ip route add default via fda{n}::1"
        ));
        Self { _router: router, client }
    }

    fn reaches(&self, ip: &str) -> bool {
        self.client.try_sh(&format!("ping -c1 -W1 {ip}"))
    }
}

#[test]
fn with_two_gateways_and_a_table_for_each_both_answer_on_their_own_interface() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let routers = [Router::new(&lab, 1), Router::new(&lab, 2)];
    let [first, second] = &routers;
    let (plain, guest) = (lab.guest(), lab.guest());
    let attach_both = |guest: &Space, host: u8, option: &str| {
        for n in [1, 2] {
            let line =
                format!("br{n} -i eth{n} pid:{} 10.{n}.{n}.{host}/24,fd0{n}::{host}/64@10.{n}.{n}.1,fd0{n}::1 {option}", guest.pid());
            attached(&lab, &line, &[]);
            // The same twice finds its own table again.
            attached(&lab, &line, &[]);
        }
    };
    attach_both(&guest, 2, "--table auto");
    for (router, n) in routers.iter().zip([1, 2]) {
        lab::eventually("IPv4", || router.reaches(&format!("10.{n}.{n}.2")));
        lab::eventually("IPv6", || router.reaches(&format!("fd0{n}::2")));
    }
    let rules = guest.sh("ip rule");
    assert!(rules.contains("from 10.1.1.2 lookup 1001") && rules.contains("from 10.2.2.2 lookup 1002"), "{rules}");
    assert!(guest.routes().iter().any(|route| route.starts_with("default via 10.1.1.1 dev eth1")), "the first is the guest's way out");
    assert!(!guest.routes().iter().any(|route| route.contains("10.2.2.1")), "the second leaves it alone");
    // Each by its own: with one router gone, the other's answers still come.
    guest.sh("ip link set eth1 down");
    lab::eventually("the second alone", || second.reaches("10.2.2.2"));
    // Without the tables the second gateway takes the way out, and the first's client gets no answer.
    for n in [1, 2] {
        attached(&lab, &format!("br{n} -i eth{n} pid:{} 10.{n}.{n}.9/24@10.{n}.{n}.1", plain.pid()), &[]);
    }
    lab::eventually("the second without tables", || second.reaches("10.2.2.9"));
    assert!(!first.reaches("10.1.1.9"));
}

#[test]
fn two_interfaces_in_one_subnet_answer_for_their_own_addresses_only() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    bridge(&lab);
    for n in [1, 2] {
        attached(&lab, &format!("br0 -i eth{n} pid:{} 10.1.1.1{n}/24@10.1.1.1 --table auto", guest.pid()), &[]);
    }
    for n in [1, 2] {
        lab.host.sh("ip neigh flush dev br0");
        lab::eventually("an answer", || lab.host.try_sh(&format!("ping -c1 -W1 10.1.1.1{n}")));
        let neighbours = lab.host.ip("neigh show");
        let neighbour = neighbours.as_array().unwrap().iter().find(|all| all["dst"] == format!("10.1.1.1{n}")).unwrap().clone();
        assert_eq!(neighbour["lladdr"], guest.link(&format!("eth{n}"))["address"]);
    }
}

/// The middle of three measurements: the machine may be busy.
fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut all = [measure(), measure(), measure()];
    all.sort_by(f64::total_cmp);
    all[1]
}

#[track_caller]
fn assert_near(measured: f64, asked: f64, what: &str) {
    assert!((measured / asked - 1.0).abs() < 0.1, "{what}: {measured}, asked for {asked}");
}

/// What iperf3 gets from the guest to the host, or back, in bits per second.
fn throughput(host: &Space, guest: &Space, back: bool) -> f64 {
    let mut server = host.command("iperf3").args(["-s", "-1"]).stdout(Stdio::null()).spawn().unwrap();
    lab::eventually("iperf3's server", || host.sh("ss -Hltn sport = :5201").contains("5201"));
    let back = if back { "-R" } else { "" };
    let text = guest.sh(&format!("iperf3 -J -c 10.1.1.1 -t 3 -O 1 {back}"));
    server.wait().unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["end"]["sum_received"]["bits_per_second"].as_f64().unwrap()
}

/// Measures both directions of `--rate 20mbit/10mbit`.
fn rates_are_as_asked(host: &Space, guest: &Space) {
    assert_near(median(|| throughput(host, guest, true)), 20e6, "into the guest");
    assert_near(median(|| throughput(host, guest, false)), 10e6, "out of the guest");
}

#[test]
fn a_rate_is_kept_in_both_directions() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    bridge(&lab);
    attached(&lab, &format!("br0 pid:{} 10.1.1.2/24 --rate 20mbit/10mbit", guest.pid()), &[]);
    rates_are_as_asked(&lab.host, &guest);
}

#[test]
fn a_rate_is_kept_where_there_is_no_host_end() {
    if no_root() || (!lab::has_kind("ifb") && skip("this kernel has no ifb; scripts/uml-run gives one that has")) {
        return;
    }
    let lab = Lab::new();
    let (guest, far) = (lab.guest(), lab.nic("nic0"));
    far.sh("ip addr add 10.1.1.1/24 dev port0");
    attached(&lab, &format!("nic0 pid:{} 10.1.1.2/24 --rate 20mbit/10mbit", guest.pid()), &[]);
    rates_are_as_asked(&far, &guest);
    let before = lab.host.state();
    let other = Space::new();
    let ask = with_fields("nic0 10.1.1.3/24", r#"{"rate":"20mbit/10mbit:256kb"}"#, &other);
    request_rolls_back_on(&lab, &other, None, &ask, Birth::Guest, &FAULTS, &|| both(&lab, &other));
    assert_same(&before, &lab.host.state(), "the host");
}

/// What ping tells of 10.1.1.1: the middle round trip's milliseconds, and the part that is lost.
fn ping(guest: &Space, options: &str) -> (f64, f64) {
    let output = guest.command("sh").args(["-c", &format!("ping -q {options} 10.1.1.1")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let average = text.lines().find_map(|line| line.strip_prefix("rtt ")?.split('/').nth(4)?.parse().ok());
    let lost = text.split(", ").find_map(|part| part.split_once("% packet loss")?.0.parse::<f64>().ok());
    (average.unwrap_or_default(), lost.unwrap() / 100.0)
}

#[test]
fn netem_delays_and_loses_as_asked_also_behind_a_rate() {
    if no_root() || (!lab::has_kind("netem") && skip("this kernel has no netem; scripts/uml-run gives one that has")) {
        return;
    }
    let lab = Lab::new();
    let (slow, lossy) = (lab.guest(), lab.guest());
    bridge(&lab);
    attached(&lab, &format!("br0 pid:{} 10.1.1.2/24 --netem delay=100ms --rate /10mbit", slow.pid()), &[]);
    slow.sh("ping -c1 -W5 10.1.1.1");
    assert_near(median(|| ping(&slow, "-c5 -i0.2").0), 100.0, "delay in milliseconds");
    assert_near(median(|| throughput(&lab.host, &slow, false)), 10e6, "the rate with a delay");
    attached(&lab, &format!("br0 pid:{} 10.1.1.3/24 --netem loss=30%,limit=2000", lossy.pid()), &[]);
    assert_near(median(|| ping(&lossy, "-f -c2000").1), 0.3, "loss");
    let other = Space::new();
    let ask = with_fields(
        "br0 10.1.1.4/24",
        r#"{"rate":"/10mbit","netem":"delay=1ms,jitter=1ms,loss=1%,duplicate=1%,corrupt=1%,reorder=1%,rate=1gbit"}"#,
        &other,
    );
    request_rolls_back_on(&lab, &other, None, &ask, Birth::Guest, &FAULTS, &|| both(&lab, &other));
}

#[test]
fn both_ends_of_a_veth_have_as_many_queues_as_asked() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.ok(&format!("br0 -l mine pid:{} 10.1.1.2/24 --queues 3", guest.pid()));
    for link in [lab.host.link("mine"), guest.link("eth1")] {
        assert_eq!((&link["num_tx_queues"], &link["num_rx_queues"]), (&3.into(), &3.into()), "{link}");
    }
    lab.ok(&format!("br0 -i eth3 -l other pid:{} 10.1.1.4/24", guest.pid()));
    for link in [lab.host.link("other"), guest.link("eth3")] {
        assert_eq!((&link["num_tx_queues"], &link["num_rx_queues"]), (&1.into(), &1.into()), "{link}");
    }
    lab.fails(&format!("br0 -i eth2 pid:{} 10.1.1.3/24 --queues 0", guest.pid()), "--queues");
}
