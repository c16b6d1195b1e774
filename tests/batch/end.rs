//! What stands in the end: the same as after as many attaches, and everybody knows it.

use super::lab::crowd::Crowd;
use super::lab::{Space, eventually, no_root};
use serde_json::Value;

const WRONG: &str = "02:00:00:ff:ff:ff";
const OLD: &str = "10.100.0.250";

/// Words of each kind, for the first guests.
fn of_each_kind(crowd: &Crowd) -> Vec<String> {
    let all = [
        "br0 G A/16@10.100.0.1",
        "br0 G A/16,fd00::3/64@10.100.0.1",
        "br0 -i eth2 G A/16 --mtu 1400",
        "br0 G A/16 02:00:00:00:01:05",
        "br0 -l myport G A/16",
        "br0 G A/16 U:yes",
        "br0 G A/24@10.100.1.99",
        "br0 G fd00::8/64,A/16",
    ];
    let kinds = all.iter().enumerate();
    kinds.map(|(n, words)| words.replace('A', &Crowd::ip(n)).replace('G', &crowd.word(n))).collect()
}

/// A host that is on the bridge already, and believes something else of each guest's address.
fn older_host(crowd: &Crowd) -> Space {
    let old = Space::new();
    crowd.lab.host.sh(&format!("ip link add oldport master br0 up type veth peer name eth0 netns {}", old.pid()));
    old.sh(&format!("ip link set eth0 up; ip addr add {OLD}/16 dev eth0; ip addr add fd00::250/64 dev eth0 nodad"));
    for (space, device) in [(&old, "eth0"), (&crowd.lab.host, "br0")] {
        let mut batch = String::new();
        for n in 0..crowd.guests.len() {
            let state = if n % 2 == 0 { "reachable" } else { "stale" };
            batch += &format!("neigh replace {} lladdr {WRONG} nud {state} dev {device}\n", Crowd::ip(n));
        }
        // What somebody told it for good stays.
        batch += &format!("neigh replace 10.100.9.9 lladdr {WRONG} nud permanent dev {device}\n");
        let file = crowd.lab.dir.path().join("neighbours");
        std::fs::write(&file, batch).unwrap();
        space.sh(&format!("ip -batch {}", file.display()));
        std::fs::remove_file(file).unwrap();
    }
    old.sh(&format!("ip neigh replace fd00::3 lladdr {WRONG} nud reachable dev eth0"));
    old
}

/// How many neighbours the kernel remembers, of all namespaces together.
fn neighbours() -> usize {
    std::fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").unwrap().trim().parse().unwrap()
}

/// Whom it takes for what, wrongly: addresses.
fn believes_wrongly(space: &Space) -> Vec<String> {
    let all = space.ip("neigh show");
    let wrong = all.as_array().unwrap().iter().filter(|known| known["lladdr"] == WRONG);
    wrong.map(|known| known["dst"].as_str().unwrap().to_owned()).collect()
}

/// The one link of a guest that is not lo: its name, whether an IPv6 address is still asked about, and the link-local one.
fn link(crowd: &Crowd, n: usize) -> (String, bool, Option<String>) {
    let links: Value = serde_json::from_str(&crowd.sh(n, "ip -j addr show")).unwrap();
    let mut links = links.as_array().unwrap().iter().filter(|link| link["ifname"] != "lo");
    let link = links.next().unwrap();
    assert!(links.next().is_none());
    let addrs = link["addr_info"].as_array().unwrap();
    let tentative = addrs.iter().any(|addr| addr["tentative"] == true);
    let local = addrs.iter().find(|addr| addr["scope"] == "link" && addr["family"] == "inet6");
    (link["ifname"].as_str().unwrap().to_owned(), tentative, local.map(|addr| addr["local"].as_str().unwrap().to_owned()))
}

#[test]
fn all_of_a_batch_are_reached_and_known_and_in_the_flood() {
    if no_root() {
        return;
    }
    let crowd = Crowd::wanted(120);
    let count = crowd.guests.len();
    let old = older_host(&crowd);
    let kinds = of_each_kind(&crowd);
    let rest: Vec<String> = crowd.lines().lines().skip(kinds.len()).map(str::to_owned).collect();
    let said = crowd.ok("", &[kinds.clone(), rest].concat().join("\n"));
    assert!(said.starts_with(&format!("{count} lines: {count} attached (")), "{said}");

    // Everybody who was there knows them now.
    eventually("the host on the bridge knows all", || believes_wrongly(&old) == ["10.100.9.9"]);
    eventually("the bridge's host knows all", || believes_wrongly(&crowd.lab.host) == ["10.100.9.9"]);

    // The ports are as others; the run has left nothing but its records.
    assert_eq!(crowd.flooded().len(), count + 1);
    assert_eq!(crowd.kept_out(), Vec::<String>::new());
    assert_eq!(crowd.files("journal"), Vec::<String>::new());

    // Addresses, routes, and who reaches whom.
    for n in 0..crowd.guests.len() {
        let mut found = link(&crowd, n);
        eventually("no address is tentative any more", || {
            found = link(&crowd, n);
            !found.1
        });
        assert!(found.2.is_some(), "guest {n}: {found:?}");
        let addrs = crowd.sh(n, "ip -o addr show");
        assert!(addrs.contains(&format!(" {}/", Crowd::ip(n))), "{addrs}");
        let gateway = n >= kinds.len() || n < 2;
        assert_eq!(crowd.sh(n, "ip route").contains("default via 10.100.0.1 "), gateway, "guest {n}");
    }
    crowd.sh(6, "ip route show default | grep -q 10.100.1.99");
    for n in 0..crowd.guests.len() {
        // Guest 6 is on a smaller network, which has neither the gateway nor the older host.
        let fixed = if n == 6 { vec![] } else { vec!["10.100.0.1".to_owned(), OLD.to_owned()] };
        let others = [3, 7, 11, 19, 31, 43, 59, 71, 83, 97].map(|step| (n + step) % count);
        // Nor has it those whose addresses differ in the third number.
        let others = others.into_iter().filter(|other| *other != 6 || n < 200).map(Crowd::ip);
        let all: Vec<String> = fixed.into_iter().chain(others).collect();
        // The kernel's table of neighbours is one for all namespaces, and not made for so many: each forgets.
        crowd.sh(n, &format!("for ip in {}; do ping -q -c1 -W5 $ip; done; ip neigh flush all", all.join(" ")));
        if n % 20 == 19 && neighbours() < 20 * count {
            (0..count).for_each(|n| drop(crowd.sh(n, "ip neigh flush all")));
        }
    }

    // Multicast of IPv6 comes to all.
    // Not all answers fit into the buffer of the one who asks: each tells for itself how often it was asked.
    crowd.sh(20, "ping -6 -q -c1 -W5 ff02::1%eth1");
    for n in 0..crowd.guests.len() {
        eventually("the question comes to each", || !crowd.sh(n, "grep Icmp6InEchos /proc/net/snmp6").trim().ends_with("\t0"));
    }

    // As after single attaches of the same words.
    let single = Crowd::new(kinds.len());
    for (n, words) in of_each_kind(&single).iter().enumerate() {
        single.lab.ok(words);
        eventually("no address is tentative any more", || !link(&single, n).1);
        assert_eq!(crowd.facts(n), single.facts(n), "{words}");
    }
    // Of the host's ends, too: but that a batch gives them no IPv6 address.
    let ends = |crowd: &Crowd| {
        let links = crowd.lab.host.sh("bridge -j -d link show");
        let mut ports: Vec<Value> = serde_json::from_str(&links).unwrap();
        let port = ports.iter_mut().find(|port| port["ifname"] == "myport").unwrap().as_object_mut().unwrap();
        ["ifindex", "link_index", "link"].iter().for_each(|field| drop(port.remove(*field)));
        let mut link = crowd.lab.host.link("myport");
        let fields = link.as_object_mut().unwrap();
        ["ifindex", "link_index", "link_netnsid", "address", "inet6_addr_gen_mode", "ifalias"]
            .iter()
            .for_each(|field| drop(fields.remove(*field)));
        let data = &mut fields["linkinfo"]["info_slave_data"];
        ["no", "id", "designated_port", "forward_delay_timer", "hold_timer", "message_age_timer"]
            .iter()
            .for_each(|field| drop(data.as_object_mut().unwrap().remove(*field)));
        (port.clone(), link)
    };
    assert_eq!(ends(&crowd), ends(&single));
}
