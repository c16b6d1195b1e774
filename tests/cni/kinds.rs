//! Each kind of link and each thing that an attach can do, as fields of a network's configuration; and plugins before and behind.

use serde_json::{Value, json};

use crate::lab::{Lab, assert_same, both, has_kind, no_root, skip};
use crate::runtime::{Attachment, Network, PLUGINS, call, exists, left};

/// Add, check, delete; what the container has in between is looked at.
fn whole(lab: &Lab, plugin: Value, look: impl Fn(&crate::lab::Space, &Value)) {
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let before = both(lab, &guest);
    let mut named = plugin.clone();
    named["type"] = "pipework".into();
    let network = Network::new(lab, "1.1.0", json!([named]));
    network.status().unwrap_or_else(|answer| panic!("{plugin}: {answer:?}"));
    let made = network.add(&at).unwrap_or_else(|answer| panic!("{plugin}: {answer:?}"));
    look(&guest, &made);
    network.check(&at, &made).unwrap_or_else(|answer| panic!("{plugin}: {answer:?}"));
    network.del(&at, Some(&made));
    assert_same(&before, &both(lab, &guest), &plugin.to_string());
    assert_eq!(left(lab), Vec::<String>::new(), "{plugin}");
}

#[test]
fn each_kind_of_link_is_made_checked_and_taken_away() {
    if no_root() {
        return;
    }
    // Where IPv6 is a module, it is loaded now rather than in between.
    let _ = std::net::UdpSocket::bind("[::1]:0");
    let lab = Lab::new();
    let _switch = lab.nic("nic0");
    lab.host.sh("ip link set nic0 up");
    let ipam = json!({ "type": "pipework", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1" });
    let kind_of = |guest: &crate::lab::Space| guest.link("eth0")["linkinfo"]["info_kind"].as_str().unwrap_or_default().to_owned();
    for (plugin, kind) in [
        (json!({ "bridge": "br7", "ipam": ipam }), "veth"),
        (json!({ "parent": "nic0", "ipam": ipam }), "macvlan"),
        (json!({ "master": "nic0", "macvlan": "private", "ipam": ipam }), "macvlan"),
        (json!({ "host_if": "nic0", "macvtap": "bridge", "ipam": ipam }), "macvtap"),
        (json!({ "host_if": "dummy", "ipam": ipam }), "dummy"),
        (json!({ "parent": "nic0", "ipvlan": "l2", "ipam": ipam }), "ipvlan"),
        (json!({ "parent": "nic0", "vlan": 10, "ipam": ipam }), "macvlan"),
        (json!({ "bridge": "br7", "vlan": 10, "ipam": ipam }), "veth"),
        (json!({ "parent": "nic0", "direct_phys": true, "ipam": ipam }), "veth"),
    ] {
        let needs_vlan = plugin.get("vlan").map(|_| if plugin.get("bridge").is_some() { "vlan filtering" } else { "vlan" });
        // What this kernel lacks is tested in another (scripts/test, uml).
        let wanted = [Some(kind), needs_vlan];
        if wanted.into_iter().flatten().any(|kind| !["veth", "macvlan", "macvtap"].contains(&kind) && !has_kind(kind)) {
            eprintln!("not here: {plugin}");
            continue;
        }
        whole(&lab, plugin, |guest, made| {
            assert_eq!(kind_of(guest), kind, "{made}");
            assert_eq!(guest.addrs("eth0"), [made["ips"][0]["address"].as_str().unwrap()]);
            let last = made["interfaces"].as_array().unwrap().last().unwrap();
            assert_eq!((&last["name"], &last["mac"]), (&json!("eth0"), &guest.link("eth0")["address"]));
        });
    }
}

#[test]
fn what_an_attach_can_do_stands_in_the_configuration() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let plugin = json!({
        "bridge": "br7", "addresses": ["10.1.0.5/24", "10.1.0.6/24", "fd00::5/64"], "gateways": ["10.1.0.1"], "mac": "U:web", "mtu": 1400,
        "routes": ["10.9.0.0/16 via 10.1.0.9"], "rate": "10mbit/2mbit", "sysctls": ["net.ipv4.conf.IF.arp_ignore=1"], "txqueuelen": 500,
        "local_if": "webhost", "dns": { "nameservers": ["10.1.0.1"], "search": ["lan"] },
    });
    whole(&lab, plugin, |guest, made| {
        assert_eq!(guest.addrs("eth0"), ["10.1.0.5/24", "10.1.0.6/24", "fd00::5/64"]);
        let link = guest.link("eth0");
        assert_eq!((&link["mtu"], &link["txqlen"]), (&json!(1400), &json!(500)));
        assert!(guest.routes().contains(&"10.9.0.0/16 via 10.1.0.9 dev eth0".to_owned()), "{:?}", guest.routes());
        assert!(guest.sh("tc qdisc show dev eth0").contains("tbf"));
        assert_eq!(guest.sh("cat /proc/sys/net/ipv4/conf/eth0/arp_ignore").trim(), "1");
        assert_eq!(made["interfaces"][1]["name"], "webhost");
        assert_eq!(made["ips"].as_array().unwrap().len(), 3);
        assert_eq!((&made["ips"][0]["gateway"], &made["routes"][0]["gw"]), (&json!("10.1.0.1"), &json!("10.1.0.1")));
        assert_eq!(made["dns"], json!({ "nameservers": ["10.1.0.1"], "search": ["lan"] }));
    });
}

#[test]
fn a_network_without_addresses_gives_a_link_alone() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    for plugin in [json!({ "bridge": "br7" }), json!({ "bridge": "br7", "ipam": {} })] {
        whole(&lab, plugin, |guest, made| {
            assert_eq!((guest.addrs("eth0"), &made["ips"], made.get("routes")), (Vec::new(), &json!([]), None));
            assert_eq!(made["interfaces"].as_array().unwrap().len(), 3);
        });
    }
}

#[test]
fn what_the_runtime_says_stands_above_the_configuration() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let ipam = json!({ "type": "pipework", "subnet": "10.1.0.0/24", "ranges": [[{ "subnet": "fd00::/64" }]] });
    let network = Network::new(
        &lab,
        "1.0.0",
        json!([{ "type": "pipework", "bridge": "br7", "ipam": ipam, "args": { "cni": { "ips": ["10.1.0.60"] } } }]),
    );
    let runtime = json!({ "ips": ["10.1.0.50/24", "fd00::50"], "mac": "02:00:00:00:00:50",
        "bandwidth": { "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 0, "egressBurst": 0 }, "portMappings": [{ "hostPort": 80 }] });
    let arguments = [("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web-0;X=1;IP=10.1.0.70;MAC=02:00:00:00:00:70")];
    let made = network.add_with(&at, &runtime, &arguments).unwrap();
    assert_eq!(guest.addrs("eth0"), ["10.1.0.50/24", "fd00::50/64"]);
    assert_eq!((&guest.link("eth0")["address"], &made["interfaces"][2]["mac"]), (&json!("02:00:00:00:00:50"), &json!("02:00:00:00:00:50")));
    assert!(lab.host.sh("tc qdisc show").contains("tbf"), "into the guest is out of the host's end");
    network.del(&at, Some(&made));
    let made = network.add_with(&at, &json!({}), &arguments).unwrap();
    assert_eq!(guest.addrs("eth0")[0], "10.1.0.60/24", "args stand above CNI_ARGS");
    assert_eq!(guest.link("eth0")["address"], "02:00:00:00:00:70");
    // Somebody else has it.
    let (code, words) = network.add_with(&at.called("eth1"), &json!({ "ips": ["10.1.0.60"] }), &[]).unwrap_err().error();
    assert!(code == 100 && words.contains("10.1.0.60"), "{code} {words}");
    network.del(&at, Some(&made));
    assert_eq!(left(&lab), Vec::<String>::new());
    // Without anybody who gives addresses, they are those that are wished for.
    let network = Network::new(&lab, "1.0.0", json!([{ "type": "pipework", "bridge": "br7", "addresses": ["10.2.0.5/16"] }]));
    network.add_with(&at, &json!({ "ips": ["10.2.0.9"] }), &[]).unwrap();
    assert_eq!(guest.addrs("eth0"), ["10.2.0.9/16"]);
    network.del(&at, None);
}

#[test]
fn behind_another_plugin_it_makes_a_further_interface_and_before_others_it_is_changed_by_them() {
    if no_root() || (!exists(&format!("{PLUGINS}/bridge")) && skip("needs containernetworking-plugins")) {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let local = json!({ "type": "host-local", "subnet": "10.5.0.0/24", "dataDir": lab.dir.path().join("host-local") });
    let ours = json!({ "type": "pipework", "bridge": "br7", "guest_if": "net1", "ipam": { "type": "pipework", "subnet": "10.6.0.0/24" } });
    for version in ["0.4.0", "1.0.0"] {
        let chain = json!([{ "type": "bridge", "bridge": "cni0", "ipam": local }, ours, { "type": "tuning", "sysctl": { "net.ipv4.conf.eth0.arp_ignore": "1" } }]);
        let network = Network::new(&lab, version, chain);
        let made = network.add(&at).unwrap();
        let names: Vec<&str> = made["interfaces"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!((names[0], names[2], names[3], names[5]), ("cni0", "eth0", "br7", "net1"), "{made}");
        assert_eq!((&made["ips"][0]["interface"], &made["ips"][1]["interface"]), (&json!(2), &json!(5)));
        assert_eq!(guest.addrs("net1"), [made["ips"][1]["address"].as_str().unwrap()]);
        network.check_ours(&at, &made).unwrap();
        if version == "1.0.0" {
            // What the runtime lists is the first interface: ours is a part of the same attachment.
            let mut gc = ours.clone();
            (gc["cniVersion"], gc["name"]) = ("1.1.0".into(), "lan".into());
            gc["cni.dev/valid-attachments"] = json!([{ "containerID": "web", "ifname": "eth0" }]);
            call(&lab, "GC", &at, &gc).ok();
            assert!(!guest.link("net1").is_null());
        }
        network.del(&at, Some(&made));
        assert_eq!((guest.link("eth0"), guest.link("net1")), (Value::Null, Value::Null));
        assert_eq!(left(&lab), Vec::<String>::new());
    }
    // Another plugin changes the MAC address that ours has made: CHECK knows it from the last result.
    let ipam = json!({ "type": "pipework", "subnet": "10.6.0.0/24" });
    let chain = json!([{ "type": "pipework", "bridge": "br7", "mac": "02:00:00:00:00:01", "ipam": ipam }, { "type": "tuning", "mac": "02:00:00:00:00:02" }]);
    let network = Network::new(&lab, "1.0.0", chain);
    let made = network.add(&at).unwrap();
    assert_eq!((&guest.link("eth0")["address"], &made["interfaces"][2]["mac"]), (&json!("02:00:00:00:00:02"), &json!("02:00:00:00:00:02")));
    network.check(&at, &made).unwrap();
    guest.sh("ip link set eth0 address 02:00:00:00:00:03");
    assert_eq!(network.check(&at, &made).unwrap_err().error().0, 102);
    network.del(&at, Some(&made));
}

#[test]
fn check_tells_what_is_not_as_it_was_made() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let plugin = json!([{ "type": "pipework", "bridge": "br7", "mtu": 1400, "ipam": { "type": "pipework", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1" } }]);
    for (line, on_host, words) in [
        ("ip addr flush dev eth0", false, "address"),
        ("ip route del default", false, "default route"),
        ("ip link set eth0 mtu 1300", false, "MTU"),
        ("ip link set eth0 down", false, "state"),
        ("ip link del eth0", false, "interface"),
        ("ip link set END nomaster", true, "host end"),
        ("ip link set END down", true, "host end"),
        ("rm RUN/pools/cni-lan/ip/*", true, "no address of 10.1.0.0/24"),
    ] {
        let guest = lab.guest();
        let at = Attachment::new("web", &guest);
        let network = Network::new(&lab, "1.1.0", plugin.clone());
        let made = network.add(&at).unwrap();
        let end = made["interfaces"][1]["name"].as_str().unwrap();
        let line = line.replace("END", end).replace("RUN", &lab.dir.path().display().to_string());
        if on_host {
            lab.host.sh(&line)
        } else {
            guest.sh(&line)
        };
        let (code, told) = network.check(&at, &made).unwrap_err().error();
        assert!(code == 102 && told.contains(words), "{line}: {code} {told}");
        network.del(&at, Some(&made));
        let mut other = made.clone();
        other["interfaces"][2]["sandbox"] = "/elsewhere".into();
        assert_eq!(network.check(&at, &other).unwrap_err().error().0, 102, "it is gone");
    }
    assert_eq!(left(&lab), Vec::<String>::new());
}

#[test]
fn status_tells_when_an_add_would_fail() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let status = |plugin: Value| Network::new(&lab, "1.1.0", json!([plugin])).status();
    let (code, words) = status(json!({ "type": "pipework", "parent": "nic9" })).unwrap_err().error();
    assert!(code == 50 && words.contains("nic9"), "{code} {words}");
    let small =
        json!({ "type": "pipework", "bridge": "br7", "ipam": { "type": "pipework", "subnet": "10.1.0.0/30", "gateway": "10.1.0.1" } });
    status(small.clone()).unwrap();
    let network = Network::new(&lab, "1.1.0", json!([small]));
    network.add(&Attachment::new("web", &guest)).unwrap();
    let (code, words) = network.status().unwrap_err().error();
    assert!(code == 50 && words.contains("no free address"), "{code} {words}");
    let (code, words) = network.add(&Attachment::new("db", &guest).called("eth1")).unwrap_err().error();
    assert!(code == 100 && words.contains("full"), "{code} {words}");
    let delegated = json!({ "type": "pipework", "bridge": "br7", "ipam": { "type": "none-such" } });
    assert_eq!(status(delegated).unwrap_err().error().0, 7);
}
