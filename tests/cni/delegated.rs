//! Addresses by other plugins: Debian's, and such as fail.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::lab::dhcp::Server;
use crate::lab::{Lab, assert_same, both, eventually, no_root, skip};
use crate::runtime::{Attachment, Network, PLUGINS, exists, left, plugin};

fn lacks_plugins() -> bool {
    no_root() || (!exists(&format!("{PLUGINS}/host-local")) && skip("needs containernetworking-plugins"))
}

fn with(ipam: Value) -> Value {
    json!([{ "type": "pipework", "bridge": "br7", "ipam": ipam }])
}

#[test]
fn host_local_and_static_give_addresses_routes_and_servers() {
    if lacks_plugins() {
        return;
    }
    let lab = Lab::new();
    let data = lab.dir.path().join("host-local");
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let guest = lab.guest();
        let at = Attachment::new("web", &guest);
        let before = both(&lab, &guest);
        let local = json!({ "type": "host-local", "dataDir": data, "ranges": [[{ "subnet": "10.5.0.0/24", "gateway": "10.5.0.1" }], [{ "subnet": "fd05::/64" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "10.9.0.0/16", "gw": "10.5.0.9" }] });
        let network = Network::new(&lab, version, with(local));
        let made = network.add(&at).unwrap();
        let told: Vec<&str> = made["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
        assert_eq!(told, guest.addrs("eth0"));
        let routes = guest.routes();
        assert!(routes.iter().any(|route| route.starts_with("default via 10.5.0.1")), "{routes:?}");
        assert!(routes.contains(&"10.9.0.0/16 via 10.5.0.9 dev eth0".to_owned()), "{routes:?}");
        assert_eq!(made["routes"][1], json!({ "dst": "10.9.0.0/16", "gw": "10.5.0.9" }));
        if version != "0.3.1" {
            network.check(&at, &made).unwrap();
        }
        network.del(&at, Some(&made));
        assert_same(&before, &both(&lab, &guest), version);
        let kept = std::fs::read_dir(data.join("lan")).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
            name.starts_with("10.5.") || name.starts_with("fd05")
        });
        assert_eq!((kept.count(), left(&lab)), (0, Vec::new()), "{version}");
        let fixed = json!({ "type": "static", "addresses": [{ "address": "10.6.0.7/24", "gateway": "10.6.0.1" }], "routes": [{ "dst": "0.0.0.0/0" }],
            "dns": { "nameservers": ["10.6.0.1"], "search": ["lan"] } });
        let network = Network::new(&lab, version, with(fixed));
        let made = network.add(&at).unwrap();
        assert_eq!(guest.addrs("eth0"), ["10.6.0.7/24"]);
        assert_eq!((&made["dns"]["nameservers"], &made["ips"][0]["gateway"]), (&json!(["10.6.0.1"]), &json!("10.6.0.1")));
        network.del(&at, None);
    }
}

/// The daemon of the dhcp plugin, with a socket of the lab's own.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn the_dhcp_plugin_finds_the_interface_that_it_asks_by() {
    if lacks_plugins() {
        return;
    }
    let lab = Lab::new();
    let server =
        Server::dnsmasq(&lab, "br7", "10.88.0.1/24", &["--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h", "--dhcp-option=3,10.88.0.1"]);
    let socket = lab.dir.path().join("dhcp.sock");
    let mut daemon = lab.host.command(&format!("{PLUGINS}/dhcp"));
    daemon.args(["daemon", "-socketpath"]).arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Daemon(daemon.spawn().unwrap());
    eventually("the dhcp plugin's daemon listens", || socket.exists());
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let network = Network::new(&lab, "1.0.0", with(json!({ "type": "dhcp", "daemonSocketPath": socket })));
    let made = network.add(&at).unwrap();
    let address = made["ips"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("10.88.0."), "{made}");
    assert_eq!(guest.addrs("eth0"), [address]);
    assert!(guest.routes().iter().any(|route| route.starts_with("default via 10.88.0.1")), "{:?}", guest.routes());
    network.check(&at, &made).unwrap();
    network.del(&at, Some(&made));
    assert_eq!((guest.link("eth0"), left(&lab)), (Value::Null, Vec::new()));
    drop(server);
}

#[test]
fn ours_asks_a_dhcp_server_itself() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let options = ["--dhcp-range=10.88.0.50,10.88.0.99,255.255.255.0,1h", "--dhcp-option=3,10.88.0.1", "--dhcp-option=6,10.88.0.2"];
    let _server = Server::dnsmasq(&lab, "br7", "10.88.0.1/24", &options);
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let network = Network::new(&lab, "1.0.0", json!([{ "type": "pipework", "bridge": "br7", "dynamic": "dhcp" }]));
    let made = network.add(&at).unwrap();
    assert_eq!(guest.addrs("eth0"), [made["ips"][0]["address"].as_str().unwrap()]);
    assert_eq!(made["dns"]["nameservers"], json!(["10.88.0.2"]));
    network.check(&at, &made).unwrap();
    network.del(&at, Some(&made));
    let stays = Network::new(&lab, "1.0.0", json!([{ "type": "pipework", "bridge": "br7", "dynamic": "dhcp:-f" }]));
    assert_eq!(stays.add(&at).unwrap_err().error().0, 7);
    assert_eq!(left(&lab), Vec::<String>::new());
}

#[test]
fn of_an_add_whose_address_fails_nothing_is_left_and_the_plugin_is_told_to_take_back() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    let at = Attachment::new("web", &guest);
    let before = both(&lab, &guest);
    let calls = lab.dir.path().join("calls");
    let note = format!("#!/bin/sh\necho \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME\" >> {}\n", calls.display());
    let when = |text: &str| format!("{note}[ $CNI_COMMAND != ADD ] || {{ {text}; }}\n");
    for (text, code, words) in [
        (when(r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"later","details":"none is free"}'; exit 1"#), 11, "none is free"),
        (when("echo oh no; exit 1"), 100, "oh no"),
        (when("kill -9 $$"), 100, "failed at ADD"),
        (when("echo no JSON"), 6, "cannot be used"),
        (when("echo '[]'"), 6, "cannot be used"),
        (when("echo '{}'"), 100, "no address"),
        (when(r#"echo '{"ips":[{"address":"10.1.0.5"}]}'"#), 6, "10.1.0.5"),
        (when(r#"echo '{"ips":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"x"}]}'"#), 6, "route"),
        // The address is good, and the kernel does not take the route.
        (when(r#"echo '{"ips":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"10.9.0.0/16","gw":"10.77.0.1"}]}'"#), 100, "10.77.0.1"),
        (when("cat /dev/zero"), 100, "says more"),
    ] {
        plugin(&lab, "mine", &text);
        let _ = std::fs::remove_file(&calls);
        let network = Network::new(&lab, "1.0.0", with(json!({ "type": "mine" })));
        let told = network.add(&at).unwrap_err().error();
        assert!(told.0 == code && told.1.contains(words), "{text}: {told:?}");
        assert_same(&before, &both(&lab, &guest), &text);
        assert_eq!(std::fs::read_to_string(&calls).unwrap(), "ADD web eth0\nDEL web eth0\n", "{text}");
        assert_eq!(left(&lab), Vec::<String>::new(), "{text}");
        network.del(&at, None);
    }
    // One that fails at DEL is told; the interface is gone all the same.
    plugin(&lab, "mine", &format!("{note}[ $CNI_COMMAND = ADD ] && echo '{{\"ips\":[{{\"address\":\"10.1.0.5/24\"}}]}}' || exit 7\n"));
    let network = Network::new(&lab, "1.0.0", with(json!({ "type": "mine" })));
    network.add(&at).unwrap();
    let answer = crate::runtime::call(
        &lab,
        "DEL",
        &at,
        &json!({ "cniVersion": "1.0.0", "name": "lan", "type": "pipework", "bridge": "br7", "ipam": { "type": "mine" } }),
    );
    assert_eq!(answer.error().0, 100);
    assert_same(&before, &both(&lab, &guest), "after a DEL that failed");
}
