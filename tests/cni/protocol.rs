//! The protocol itself: the cases of the CNI project's own suites (pkg/skel, plugins/*), driven from outside.

use std::process::Stdio;

use serde_json::json;

use crate::lab::{Lab, assert_same, no_root};
use crate::runtime::{Attachment, Network, call, left, raw};

fn conf(version: &str) -> serde_json::Value {
    json!({ "cniVersion": version, "name": "lan", "type": "pipework", "bridge": "br0", "ipam": { "type": "pipework", "subnet": "10.1.0.0/24" } })
}

#[test]
fn version_needs_nothing_else_and_tells_what_is_spoken() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    for (input, version) in [(r#"{"cniVersion":"0.4.0"}"#, "0.4.0"), ("", "1.1.0"), ("{", "1.1.0")] {
        let told = raw(&lab, &[("CNI_COMMAND", "VERSION")], input.as_bytes()).ok();
        assert_eq!(told, json!({ "cniVersion": version, "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] }));
    }
    // A runtime that says nothing, and does not end its input either, is answered all the same.
    let mut command = lab.program();
    command.env("CNI_COMMAND", "VERSION").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let open = child.stdin.take();
    let told = child.wait_with_output().unwrap();
    assert!(told.status.success() && String::from_utf8(told.stdout).unwrap().contains("1.1.0"));
    drop(open);
}

#[test]
fn a_call_that_is_none_is_told_by_the_specification_s_codes_and_changes_nothing() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("some-container-id", &guest);
    let before = crate::lab::both(&lab, &guest);
    let good = conf("1.1.0").to_string();
    let refused = |changes: &[(&str, &str)], input: &str| {
        let mut variables = at.variables("ADD");
        variables.extend(changes);
        raw(&lab, &variables, input.as_bytes()).error()
    };
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
        let (code, words) = refused(&[(name, "")], &good);
        assert!(code == 4 && words.contains(name), "{name}: {code} {words}");
    }
    for (name, value) in [
        ("CNI_COMMAND", "NOPE"),
        ("CNI_CONTAINERID", "some-%%container-id"),
        ("CNI_IFNAME", "1234567890123456"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "test/test"),
        ("CNI_IFNAME", "test:test"),
        ("CNI_IFNAME", "test test1"),
        ("CNI_NETNS", "/proc/self/ns/net"),
        ("CNI_NETNS", "/proc/self/ns/uts"),
        ("CNI_NETNS", "/proc"),
        ("CNI_ARGS", "no pair"),
    ] {
        let (code, words) = refused(&[(name, value)], &good);
        assert!(code == 4 && words.contains(name), "{name}={value}: {code} {words}");
    }
    let (code, words) = refused(&[("CNI_NETNS", "/nowhere/at/all")], &good);
    assert!(code == 3 && words.contains("/nowhere/at/all"), "{code} {words}");
    let changed = |key: &str, value: serde_json::Value| {
        let mut conf = conf("1.1.0");
        conf[key] = value;
        conf.to_string()
    };
    for (input, wanted) in [
        (String::new(), 6),
        ("{".into(), 6),
        ("[]".into(), 6),
        (changed("name", json!(7)), 6),
        (changed("name", json!("")), 7),
        (changed("name", json!("te%%st")), 7),
        (changed("cniVersion", json!("0.1.0")), 1),
        (changed("cniVersion", json!(null)), 6),
        (changed("cniVersion", json!("adsfsadf")), 6),
        (changed("cniVersion", json!("9.9.9")), 1),
        (changed("colour", json!("red")), 2),
        (changed("isGateway", json!(true)), 2),
        (changed("ipMasq", json!(true)), 2),
        (changed("guest", json!("web")), 2),
        (changed("bridge", json!(7)), 7),
        (changed("bridge", json!("a name that is too long")), 7),
        (changed("bridge", json!("enp7s0")), 7),
        (changed("mtu", json!("many")), 7),
        (changed("guest_if", json!("eth7")), 7),
        (changed("prevResult", json!([])), 7),
        (changed("prevResult", json!({ "interfaces": [] })), 7),
        (changed("ipam", json!({ "type": "no-such-plugin" })), 7),
        (changed("ipam", json!({ "type": "pipework", "pool": "none" })), 7),
        (changed("runtimeConfig", json!({ "ips": ["10.9.9.9"] })), 7),
        (changed("runtimeConfig", json!({ "mac": "01:00:00:00:00:00" })), 7),
        (changed("args", json!(7)), 7),
    ] {
        let (code, words) = refused(&[], &input);
        assert_eq!(code, wanted, "{input}: {words}");
    }
    let (code, words) = refused(&[], &changed("colour", json!("red")));
    assert!(code == 2 && words.contains("colour") && words.contains("\"red\""), "{words}");
    assert_same(&before, &crate::lab::both(&lab, &guest), "after all of them");
    assert_eq!(left(&lab), Vec::<String>::new());
}

#[test]
fn verbs_that_a_version_does_not_have_are_refused() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    for (verb, version, has) in
        [("CHECK", "0.3.1", false), ("CHECK", "0.4.0", true), ("STATUS", "1.0.0", false), ("STATUS", "1.1.0", true), ("GC", "0.4.0", false)]
    {
        let mut conf = conf(version);
        conf["prevResult"] = json!({ "cniVersion": version });
        let answer = call(&lab, verb, &at, &conf);
        assert_eq!(answer.well || answer.error().0 != 1, has, "{verb} {version}: {answer:?}");
    }
}

#[test]
fn each_version_adds_checks_and_takes_away_in_its_own_form() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let before = crate::lab::both(&lab, &guest);
        let ipam = json!({ "type": "pipework", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "ranges": [[{ "subnet": "fd00:1::/64" }]] });
        let network = Network::new(&lab, version, json!([{ "type": "pipework", "bridge": "br0", "mtu": 1400, "ipam": ipam }]));
        let made = network.add(&at).unwrap();
        assert_eq!(made["cniVersion"], version);
        let names: Vec<&str> = made["interfaces"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!((names[0], names[2], names.len()), ("br0", "eth0", 3));
        assert_eq!(made["interfaces"][2]["sandbox"], at.netns);
        assert_eq!(made["interfaces"][2]["mac"], guest.link("eth0")["address"]);
        assert_eq!(made["interfaces"][1]["mac"], lab.host.link(names[1])["address"]);
        let has_family = version < "1.0.0";
        assert_eq!(made["ips"][0].get("version").is_some(), has_family);
        assert_eq!(made["interfaces"][2]["mtu"], if version == "1.1.0" { json!(1400) } else { json!(null) });
        assert_eq!((&made["ips"][0]["interface"], &made["ips"][0]["gateway"]), (&json!(2), &json!("10.1.0.1")));
        assert_eq!(made["routes"], json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }]));
        let told: Vec<&str> = made["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
        assert_eq!(told, guest.addrs("eth0"));
        assert!(guest.routes().iter().any(|route| route.starts_with("default via 10.1.0.1")), "{:?}", guest.routes());
        if version != "0.3.1" {
            network.check(&at, &made).unwrap();
        }
        if version == "1.1.0" {
            network.status().unwrap();
        }
        network.del(&at, Some(&made));
        network.del(&at, None);
        assert_same(&before, &crate::lab::both(&lab, &guest), version);
        assert_eq!(left(&lab), Vec::<String>::new(), "{version}");
    }
}

#[test]
fn an_interface_that_is_there_already_is_an_error_and_stays() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let network = Network::new(&lab, "1.0.0", json!([{ "type": "pipework", "bridge": "br0", "addresses": ["10.1.0.5/24"] }]));
    let made = network.add(&at).unwrap();
    let before = crate::lab::both(&lab, &guest);
    let (code, words) = network.add(&at).unwrap_err().error();
    assert!(code == 101 && words.contains("eth0"), "{code} {words}");
    // Another container's in the same namespace: its runtime takes back what it could not add, and ours stays.
    let other = Attachment { container: "other".into(), ..at.clone() };
    assert_eq!(network.add(&other).unwrap_err().error().0, 101);
    network.del(&other, None);
    // A name that begins alike is another's.
    network.del(&Attachment { container: "we".into(), ..at.clone() }, None);
    assert_same(&before, &crate::lab::both(&lab, &guest), "after adding again");
    network.check(&at, &made).unwrap();
    guest.sh("ip link add eth5 type veth peer name other");
    assert_eq!(network.add(&at.called("eth5")).unwrap_err().error().0, 101);
    network.del(&at.called("eth5"), None);
    assert!(!guest.link("eth5").is_null(), "it is nobody's of ours");
}

#[test]
fn what_is_gone_is_taken_away_with_success_and_gc_takes_what_is_not_listed() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.host.state();
    let ipam = json!({ "type": "pipework", "subnet": "10.1.0.0/29" });
    let network = Network::new(&lab, "1.1.0", json!([{ "type": "pipework", "bridge": "br0", "ipam": ipam }]));
    let guests: Vec<_> = (0..3).map(|_| lab.guest()).collect();
    let all: Vec<Attachment> = guests.iter().enumerate().map(|(n, guest)| Attachment::new(&format!("c{n}"), guest)).collect();
    let made: Vec<_> = all.iter().map(|at| network.add(at).unwrap()).collect();
    let (code, words) = {
        // Without the list nothing is known to be stale.
        let conf = json!({ "cniVersion": "1.1.0", "name": "lan", "type": "pipework", "bridge": "br0", "ipam": { "type": "pipework", "subnet": "10.1.0.0/29" } });
        raw(&lab, &[("CNI_COMMAND", "GC")], conf.to_string().as_bytes()).error()
    };
    assert!(code == 7 && words.contains("cni.dev/valid-attachments"), "{code} {words}");
    let status = lab.run("status --json");
    assert!(status.out.contains("\"engine\":\"cni\"") && status.out.contains("\"id\":\"c1\""), "{}", status.out);
    // The second is dead without a word.
    let mut guests = guests;
    drop(guests.remove(1));
    network.gc(&[&all[0], &all[1], &all[2]]).unwrap();
    network.gc(&[&all[0], &all[2]]).unwrap();
    network.check(&all[0], &made[0]).unwrap();
    network.gc(&[&all[0]]).unwrap();
    assert_eq!(guests[1].addrs("eth0"), Vec::<String>::new());
    network.del(&all[1], Some(&made[1]));
    network.check(&all[0], &made[0]).unwrap();
    drop(guests);
    network.del(&Attachment { netns: String::new(), ..all[0].clone() }, Some(&made[0]));
    network.gc(&[]).unwrap();
    assert_same(&before, &lab.host.state(), "after all of them");
    assert_eq!(left(&lab), Vec::<String>::new());
    assert!(lab.run("gc").out.is_empty());
}

#[test]
fn what_another_network_or_another_program_has_of_a_pool_no_gc_takes() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    std::fs::write(lab.dir.path().join("pools.toml"), "[[pools]]\nname = \"lan\"\nsubnet = \"10.1.0.0/24\"\ngateway = \"10.1.0.1\"\n")
        .unwrap();
    let guests: Vec<_> = (0..2).map(|_| lab.guest()).collect();
    let of = |name: &str| json!({ "cniVersion": "1.1.0", "name": name, "type": "pipework", "bridge": "br0", "ipam": { "type": "pipework", "pool": "lan" } });
    let at: Vec<Attachment> = guests.iter().map(|guest| Attachment::new("web", guest)).collect();
    let one = call(&lab, "ADD", &at[0], &of("one")).ok();
    let two = call(&lab, "ADD", &at[1], &of("two")).ok();
    assert_ne!(one["ips"][0]["address"], two["ips"][0]["address"]);
    let gc = |name: &str| {
        let mut conf = of(name);
        conf["cni.dev/valid-attachments"] = json!([]);
        raw(&lab, &[("CNI_COMMAND", "GC")], conf.to_string().as_bytes()).ok()
    };
    gc("one");
    assert_eq!(guests[0].addrs("eth0"), Vec::<String>::new());
    assert_eq!(guests[1].addrs("eth0"), [two["ips"][0]["address"].as_str().unwrap()]);
    let claims = lab.run("pool show lan");
    assert!(claims.out.contains("cni:two") && !claims.out.contains("cni:one"), "{}", claims.out);
    // What is recorded is as good as asked for: an attach's drift, and the claims that are in use.
    assert_eq!(lab.run(&format!("diff netns:{}", at[1].netns)).code, Some(0));
    guests[1].sh("ip addr flush dev eth0");
    assert_eq!(lab.run("status").code, Some(2));
    assert_eq!(lab.run(&format!("repair netns:{}", at[1].netns)).code, Some(0));
    assert_eq!(guests[1].addrs("eth0"), [two["ips"][0]["address"].as_str().unwrap()]);
    let file = lab.files().lines().find(|path| path.contains("pools/lan/ip/")).unwrap().to_owned();
    let text = std::fs::read_to_string(&file).unwrap();
    let seen = serde_json::from_str::<serde_json::Value>(&text).unwrap()["seen"].as_str().unwrap().to_owned();
    std::fs::write(&file, text.replace(&seen, "2020-01-01T00:00:00Z")).unwrap();
    assert_eq!(lab.run("pool gc --older 1").code, Some(0));
    assert!(lab.run("pool show lan").out.contains("cni:two"));
    assert_eq!(lab.run("detach web --all").code, Some(0), "by the runtime's identifier it is known, too");
    call(&lab, "DEL", &at[1], &of("two")).ok();
    assert!(!lab.run("pool show lan").out.contains("cni:"));
}

#[test]
fn what_an_administrator_has_changed_since_keeps_nobody_from_taking_it_away() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let pools = lab.dir.path().join("pools.toml");
    let text = "[[pools]]\nname = \"lan\"\nsubnet = \"10.1.0.0/24\"\n";
    std::fs::write(&pools, text).unwrap();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let before = crate::lab::both(&lab, &guest);
    let conf = |ipam: serde_json::Value, addresses: &[&str]| json!({ "cniVersion": "1.1.0", "name": "lan", "type": "pipework", "bridge": "br0", "dad": "off", "ipam": ipam, "addresses": addresses });
    // A fixed address of a pool is claimed of it.
    let fixed = conf(json!({}), &["10.1.0.9/24"]);
    call(&lab, "ADD", &at, &fixed).ok();
    assert!(lab.run("pool show lan").out.contains("cni:lan@"), "{}", lab.run("pool show lan").out);
    let (code, words) = call(&lab, "ADD", &at.called("eth1"), &fixed).error();
    assert!(code == 100 && words.contains("belongs to cni:lan@"), "{code} {words}");
    call(&lab, "DEL", &at, &fixed).ok();
    assert_eq!(left(&lab), Vec::<String>::new());
    // The pool is gone, and the configuration has keys that are wrong by now.
    let pooled = conf(json!({ "type": "pipework", "pool": "lan" }), &[]);
    call(&lab, "ADD", &at, &pooled).ok();
    std::fs::write(&pools, "").unwrap();
    assert_eq!(call(&lab, "ADD", &at.called("eth1"), &pooled).error().0, 7);
    let mut wrong = pooled.clone();
    (wrong["mtu"], wrong["colour"]) = (json!([]), json!("red"));
    call(&lab, "DEL", &at, &wrong).ok();
    assert_eq!(left(&lab), Vec::<String>::new());
    // What is no file of pools matters only to those who have addresses of one.
    let bare = conf(json!({}), &[]);
    call(&lab, "ADD", &at, &bare).ok();
    std::fs::write(&pools, "[[").unwrap();
    call(&lab, "DEL", &at, &bare).ok();
    assert_same(&before, &crate::lab::both(&lab, &guest), "after all of them");
}
