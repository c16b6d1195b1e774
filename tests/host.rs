//! `pipework host`: the NIC's own addresses and routes go over to a bridge and back, and nobody who talks to the host notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab::{Lab, Space, assert_same, eventually, no_root, settled};

const GATEWAY: &str = "192.168.116.1";

/// A host with a NIC that has addresses of both families, routes in two tables, and a gateway that answers.
struct World {
    lab: Lab,
    switch: Space,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new();
        let switch = lab.nic("ens32");
        switch.sh(&format!(
            "ip link add sw0 type bridge && ip link set port0 master sw0 && ip link set sw0 up && \
             ip addr add {GATEWAY}/24 dev sw0 && ip addr add fd00::1/64 dev sw0 nodad"
        ));
        lab.host.sh(&format!(
            "ip link set ens32 up && ip addr add 192.168.116.112/24 brd + dev ens32 && ip addr add 192.168.116.113/24 dev ens32 label ens32:1 && \
             ip addr add 10.9.9.9/32 dev ens32 && ip addr add fd00::112/64 dev ens32 nodad && ip route add default via {GATEWAY} metric 100 && \
             ip -6 route add default via fd00::1 && ip route add 10.7.0.0/16 via {GATEWAY} proto 77 && \
             ip route add 10.8.0.0/16 via {GATEWAY} src 192.168.116.113 metric 50 table 99 && ip route add 10.6.0.0/16 dev ens32 scope link"
        ));
        let world = Self { lab, switch };
        std::fs::create_dir_all(world.etc()).unwrap();
        world
    }

    fn etc(&self) -> std::path::PathBuf {
        self.lab.dir.path().join("etc")
    }

    fn program(&self) -> Command {
        let mut command = self.lab.program();
        command.env("PIPEWORK_ETC_DIR", self.etc());
        command
    }

    fn run(&self, line: &str) -> lab::Ran {
        self.program().args(line.split_whitespace()).output().unwrap().into()
    }

    fn ok(&self, line: &str) {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""), "{line}");
    }

    fn state(&self) -> Vec<String> {
        settled(&[&self.lab.host], || self.lab.host.state())
    }

    /// The records that are left, without directories.
    fn records(&self) -> Vec<String> {
        self.lab.files().lines().filter(|file| !file.contains("/etc/")).map(str::to_owned).collect()
    }
}

/// Pings at 20 a second, and a TCP stream in each direction, that go on until they are looked at.
struct Traffic {
    pings: Vec<Child>,
    server: Child,
    streams: Vec<Child>,
}

impl Traffic {
    fn start(world: &World, seconds: u32) -> Self {
        let quiet = |command: &mut Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let count = (seconds * 20).to_string();
        let ping = |space: &Space, to: &str| quiet(space.command("ping").args(["-n", "-i", "0.05", "-W", "5", "-c", &count, to]));
        let server = quiet(world.switch.command("iperf3").args(["-s", "-p", "5301"]));
        let second = quiet(world.switch.command("iperf3").args(["-s", "-p", "5302"]));
        eventually("iperf3 listens", || world.switch.sh("ss -tlnH").lines().filter(|line| line.contains(":530")).count() == 2);
        let stream = |port: &str, more: &[&str]| {
            let mut command = world.lab.host.command("iperf3");
            quiet(command.args(["-c", GATEWAY, "-p", port, "-b", "20M", "-J", "-t", &seconds.to_string()]).args(more))
        };
        let streams = vec![stream("5301", &[]), stream("5302", &["-R"]), second];
        let pings = vec![
            ping(&world.lab.host, GATEWAY),
            ping(&world.switch, "192.168.116.112"),
            ping(&world.lab.host, "fd00::1"),
            ping(&world.switch, "fd00::112"),
        ];
        Self { pings, server, streams }
    }

    /// Fails with what was lost.
    fn end(mut self) {
        for ping in self.pings.drain(..) {
            let output = ping.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains(" 0% packet loss"), "{text}");
        }
        let second = self.streams.pop().unwrap();
        for stream in self.streams.drain(..) {
            let output = stream.wait_with_output().unwrap();
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(output.status.success(), "{report}");
            assert!(report["end"]["sum_received"]["bytes"].as_u64().unwrap() > 1_000_000, "{}", report["end"]);
        }
        for mut server in [self.server, second] {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

#[test]
fn a_nic_goes_into_a_bridge_and_back_and_no_ping_is_lost_and_no_stream_breaks() {
    if no_root() {
        return;
    }
    for strict in ["0", "1"] {
        let world = World::new();
        world
            .lab
            .host
            .sh(&format!("echo {strict} > /proc/sys/net/ipv4/conf/all/rp_filter; echo {strict} > /proc/sys/net/ipv4/conf/ens32/rp_filter"));
        let before = world.state();
        let traffic = Traffic::start(&world, 4);
        std::thread::sleep(Duration::from_millis(700));
        world.ok("host up br0 --uplink ens32");
        assert_eq!(world.lab.host.addrs("br0"), ["192.168.116.112/24", "10.9.9.9/32", "192.168.116.113/24", "fd00::112/64"]);
        assert_eq!(world.lab.host.addrs("ens32"), [""; 0]);
        let routes = world.lab.host.sh("ip route show table all; ip -6 route show table all");
        for wanted in [
            "default via 192.168.116.1 dev br0 metric 100",
            "10.7.0.0/16 via 192.168.116.1 dev br0 proto 77",
            "10.8.0.0/16 via 192.168.116.1 dev br0 table 99 src 192.168.116.113 metric 50",
            "10.6.0.0/16 dev br0 scope link",
            "default via fd00::1 dev br0 metric 1024",
        ] {
            assert!(routes.lines().any(|line| line.trim().starts_with(wanted)), "{wanted}:\n{routes}");
        }
        let ours = |line: &&str| line.contains("dev ens32") && !line.contains("fe80::") && !line.contains("ff00::");
        assert_eq!(routes.lines().filter(ours).collect::<Vec<_>>(), [""; 0]);
        let (bridge, nic) = (world.lab.host.link("br0"), world.lab.host.link("ens32"));
        assert_eq!((&bridge["address"], &bridge["mtu"]), (&nic["address"], &nic["mtu"]));
        let data = &bridge["linkinfo"]["info_data"];
        assert_eq!((data["stp_state"].as_u64(), data["forward_delay"].as_u64()), (Some(0), Some(0)));
        let filter = world.lab.host.sh("cat /proc/sys/net/ipv4/conf/br0/rp_filter");
        assert_eq!(filter.trim(), strict, "as strict as the NIC");
        std::thread::sleep(Duration::from_millis(700));
        world.ok("host down br0");
        traffic.end();
        assert_same(&before, &world.state(), "after up and down");
        assert_eq!(world.records(), [""; 0]);
    }
}

#[test]
fn a_second_up_does_nothing_and_a_dry_run_prints_commands() {
    if no_root() {
        return;
    }
    let world = World::new();
    let before = world.state();
    let plan = world.run("host up br0 --uplink ens32 --dry-run");
    assert!(
        plan.out.contains("ip link set dev ens32 master br0\n") && plan.out.contains("ip addr del 192.168.116.112/24 dev ens32\n"),
        "{}",
        plan.out
    );
    assert_same(&before, &world.state(), "after a dry run");
    world.ok("host up br0 --uplink ens32");
    let made = world.state();
    let again = world.run("host up br0 --uplink ens32 --json");
    let report: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((report["result"].as_str(), report["steps"].as_array().map(Vec::len)), (Some("unchanged"), Some(0)));
    assert_same(&made, &world.state(), "after a second run");
    world.lab.fails("host up br0 --vxlan 7 --local 192.168.116.112", "lies on ens32");
    world.lab.fails("host down br1", "not made by `host up`");
}

#[test]
fn a_gateway_that_does_not_answer_gives_all_back() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip route replace default via 192.168.116.200 metric 100 && ip -6 route del default");
    let before = world.state();
    let ran = world.run("host up br0 --uplink ens32 --confirm 1s");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("gateway 192.168.116.200 did not answer through br0 within 1 s, and all was given back"), "{}", ran.err);
    assert_same(&before, &world.state(), "given back");
    assert_eq!(world.records(), [""; 0]);
    // Nothing is said of it, and it did not answer before: it is not waited for.
    world.ok("host up br0 --uplink ens32");
}

#[test]
fn a_bridge_that_is_cut_off_from_its_gateway_gives_all_back_although_the_one_who_made_it_is_gone() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip -6 route del default");
    let before = world.state();
    world.switch.sh("ip addr del 192.168.116.1/24 dev sw0");
    let mut child = world
        .program()
        .args(["host", "up", "br0", "--uplink", "ens32", "--confirm", "3s"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the watch has begun", || world.run("host status --json").out.contains("\"watched\""));
    // nsenter has become the program.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!world.lab.host.link("br0").is_null());
    eventually("given back", || world.records().is_empty());
    assert_same(&before, &world.state(), "given back by the watcher");
}

#[test]
fn without_a_gateway_a_word_keeps_the_bridge() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh("ip route del default && ip -6 route del default");
    let ran = world.run("host up br0 --uplink ens32 --confirm 60s");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("pipework host confirm br0"), "{}", ran.out);
    world.lab.fails("host up br0 --uplink ens32", "watched by an earlier");
    world.ok("host confirm br0");
    world.ok("host confirm br0");
    assert!(world.run("host status --json").out.contains("\"kept\""));
    world.ok("host down br0");
}

#[test]
fn guests_on_the_bridge_keep_it_from_going_down() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.ok("host up br0 --uplink ens32");
    let guest = world.lab.guest();
    let word = format!("pid:{}", guest.pid());
    world.lab.ok(&format!("br0 {word} 192.168.116.150/24@{GATEWAY}"));
    guest.sh(&format!("ping -c 1 -W 5 {GATEWAY}"));
    let error = world.lab.fails("host down br0", "has ports: veth1pl");
    assert!(error.contains("--force"), "{error}");
    let forced = world.run("host down br0 --force");
    assert_eq!(forced.code, Some(0), "{}", forced.err);
    assert!(forced.err.contains("br0 stays: it has ports"), "{}", forced.err);
    assert_eq!(world.lab.host.addrs("ens32").len(), 4);
    world.lab.ok(&format!("detach {word}"));
}

#[test]
fn what_cannot_be_a_port_is_refused_with_a_reason() {
    if no_root() {
        return;
    }
    let world = World::new();
    let before = world.state();
    world.lab.fails("host up br0 --uplink nic9", "uplink nic9 is not there");
    world.lab.fails("host up br0 --uplink lo", "loopback");
    world.lab.fails("host up ens32 --uplink ens32", "cannot be a bridge's port");
    world.lab.host.sh("ip link add link ens32 mv0 type macvlan mode bridge");
    world.lab.fails("host up br0 --uplink ens32", "is shared by mv0");
    world.lab.host.sh("ip link del mv0 && ip link add other type bridge && ip link set ens32 master other");
    world.lab.fails("host up br0 --uplink ens32", "is a port of other already");
    world.lab.host.sh("ip link set ens32 nomaster && ip link del other");
    assert_same(&before, &world.state(), "nothing changed");
    assert_eq!(world.records(), [""; 0]);
}

#[test]
fn a_leased_address_and_a_routers_route_keep_their_time_and_the_client_is_told() {
    if no_root() {
        return;
    }
    let world = World::new();
    world.lab.host.sh(
        "ip addr add 192.168.116.120/24 dev ens32 valid_lft 600 preferred_lft 500 && ip addr add fd00::120/64 dev ens32 valid_lft 700 preferred_lft 600 nodad && \
         ip -6 route add 2001:db8::/32 via fd00::1 proto ra expires 800",
    );
    let ran = world.run("host up br0 --uplink ens32");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("192.168.116.120/24 is leased") && ran.err.contains("DHCP client again for br0"), "{}", ran.err);
    let addrs = world.lab.host.ip("addr show dev br0");
    let valid = |ip: &str| {
        let all = addrs[0]["addr_info"].as_array().unwrap();
        all.iter().find(|addr| addr["local"] == ip).unwrap()["valid_life_time"].as_u64().unwrap()
    };
    assert!((500..=600).contains(&valid("192.168.116.120")) && (600..=700).contains(&valid("fd00::120")), "{addrs}");
    let route = world.lab.host.sh("ip -6 route show 2001:db8::/32");
    let seconds: u32 = route.split("expires ").nth(1).unwrap().split("sec").next().unwrap().parse().unwrap();
    assert!(route.contains("dev br0 proto ra") && (700..=800).contains(&seconds), "{route}");
    world.run("host down br0");
    assert_eq!(world.lab.host.addrs("ens32").len(), 6);
    assert!(world.lab.host.sh("ip -6 route show 2001:db8::/32").contains("dev ens32 proto ra"));
}

#[test]
fn whichever_step_it_is_killed_at_a_second_run_completes_it_or_gives_it_back() {
    if no_root() {
        return;
    }
    for (n, then) in [(0, "up"), (1, "down"), (2, "up"), (3, "down")] {
        let world = World::new();
        let before = world.state();
        // The kill comes somewhere on the way, or just before or after.
        let mut child = world.program().args(["host", "up", "br0", "--uplink", "ens32", "--confirm", "0"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(2 + 9 * n));
        child.kill().unwrap();
        child.wait().unwrap();
        if then == "up" {
            world.ok("host up br0 --uplink ens32 --confirm 0");
            assert_eq!(world.lab.host.addrs("br0").len(), 4);
            assert_eq!(world.lab.host.link("ens32")["master"], "br0");
        }
        let is_recorded = world.records().iter().any(|file| file.ends_with(".json"));
        if is_recorded {
            world.ok("host down br0");
        }
        assert_same(&before, &world.state(), &format!("killed after {} ms, then {then}", 2 + 9 * n));
    }
}

#[test]
fn after_a_boot_down_is_safe_and_the_files_come_back() {
    if no_root() {
        return;
    }
    let world = World::new();
    let scripts = world.etc().join("sysconfig/network-scripts");
    std::fs::create_dir_all(&scripts).unwrap();
    let old = "TYPE=Ethernet\nDEVICE=ens32\nBOOTPROTO=static\nIPADDR=192.168.116.112\nPREFIX=24\n";
    std::fs::write(scripts.join("ifcfg-ens32"), old).unwrap();
    world.ok("host up br0 --uplink ens32 --persist");
    let read = |name: &str| std::fs::read_to_string(scripts.join(name)).unwrap();
    assert!(read("ifcfg-ens32").contains("BRIDGE=br0") && !read("ifcfg-ens32").contains("IPADDR"));
    assert!(read("ifcfg-br0").contains("TYPE=Bridge") && read("ifcfg-br0").contains("IPADDR=192.168.116.112"));
    // As after a boot: /run is empty, it is another boot, and nothing is a bridge's port.
    world.lab.host.sh("ip link del br0 && ip addr add 192.168.116.112/24 dev ens32");
    let kept = world.lab.dir.path().join("state/host/br0.json");
    let record = std::fs::read_to_string(&kept).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["boot"] = "another".into();
    record["home"] = 7.into();
    std::fs::remove_dir_all(world.lab.dir.path().join("host")).unwrap();
    std::fs::write(&kept, record.to_string()).unwrap();
    world.ok("host down br0");
    assert_eq!(world.lab.host.addrs("ens32"), ["192.168.116.112/24"]);
    assert_eq!(read("ifcfg-ens32"), old);
    assert!(!Path::new(&scripts.join("ifcfg-br0")).exists());
    assert_eq!(world.records(), [""; 0]);
}
