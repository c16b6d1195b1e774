//! The engine's part done by hand: what is asked, what is answered, and what stands in between, for more kinds of links than an engine
//! need be started for.

use serde_json::{Value, json};

use super::hostile::Alone;
use crate::lab::ovs::{Ovs, no_ovs};
use crate::lab::{Lab, Space, eventually, has_kind, no_root};

const NETWORK: &str = "0011223344556677";

struct Engine<'a> {
    alone: &'a Alone,
}

impl Engine<'_> {
    /// A call that has to be done.
    #[track_caller]
    fn call(&self, method: &str, body: &Value) -> Value {
        let (status, answer) = self.alone.post(&format!("/NetworkDriver.{method}"), body.to_string().as_bytes()).unwrap();
        assert!(status == 200 && answer["Err"].is_null(), "{method}: {status} {answer}");
        answer
    }

    /// One that has to fail with that.
    #[track_caller]
    fn fails(&self, method: &str, body: &Value, wanted: &str) {
        let (_, answer) = self.alone.post(&format!("/NetworkDriver.{method}"), body.to_string().as_bytes()).unwrap();
        assert!(answer["Err"].as_str().is_some_and(|why| why.contains(wanted)), "{method}: {answer}");
    }

    fn network(&self, words: &Value) {
        let data = json!([{ "AddressSpace": "L", "Pool": "10.1.0.0/16", "Gateway": "10.1.0.1/16", "AuxAddresses": null }]);
        let options = json!({ "com.docker.network.enable_ipv6": false, "com.docker.network.generic": words });
        let body = json!({ "NetworkID": NETWORK, "IPv4Data": data, "IPv6Data": [], "Options": options });
        self.call("CreateNetwork", &body);
        // The same once more is the same.
        self.call("CreateNetwork", &body);
    }

    /// As libnetwork does it: asks, moves the link, names it, gives it its address and the way out.
    fn connect(&self, endpoint: &str, guest: &Space, address: &str) -> Value {
        let ids = json!({ "NetworkID": NETWORK, "EndpointID": endpoint });
        let body =
            json!({ "NetworkID": NETWORK, "EndpointID": endpoint, "Interface": { "Address": address, "MacAddress": "" }, "Options": {} });
        let made = self.call("CreateEndpoint", &body);
        assert_eq!(self.call("CreateEndpoint", &body), made, "once more");
        let sandbox = format!("/proc/{}/ns/net", guest.pid());
        let join = json!({ "NetworkID": NETWORK, "EndpointID": endpoint, "SandboxKey": sandbox, "Options": {} });
        self.call("Join", &join);
        // The engine repeats a call whose answer it did not get.
        let answer = self.call("Join", &join);
        let (link, prefix) = (answer["InterfaceName"]["SrcName"].as_str().unwrap(), answer["InterfaceName"]["DstPrefix"].as_str().unwrap());
        let host = &self.alone.lab.host;
        host.sh(&format!("ip link set {link} netns {} name {prefix}0", guest.pid()));
        if let Some(mac) = made["Interface"]["MacAddress"].as_str() {
            guest.sh(&format!("ip link set {prefix}0 address {mac}"));
        }
        guest.sh(&format!("ip addr add {address} dev {prefix}0 && ip link set {prefix}0 up"));
        if let Some(gateway) = answer["Gateway"].as_str().filter(|gateway| !gateway.is_empty()) {
            guest.sh(&format!("ip route add default via {gateway}"));
        }
        let is_well = || {
            let ran: crate::lab::Ran = self.alone.lab.program().args(["status", "--json"]).output().unwrap().into();
            let all: Value = serde_json::from_str(&ran.out).unwrap();
            let mut its = all["attachments"].as_array().unwrap().iter().filter(|one| one["addresses"][0] == address);
            its.any(|one| one["standing"] == "ok" && one["interface"] == "eth0")
        };
        eventually("it has arrived", is_well);
        ids
    }

    fn disconnect(&self, ids: &Value) {
        self.call("Leave", ids);
        for _ in 0..2 {
            self.call("DeleteEndpoint", ids);
        }
    }
}

fn reaches(from: &Space, to: &str) -> bool {
    from.try_sh(&format!("ping -c1 -W1 {to}"))
}

#[test]
fn what_is_asked_twice_is_done_once_and_all_is_as_before_in_the_end() {
    if no_root() {
        return;
    }
    // Where IPv6 is a module, it is loaded now rather than in between.
    let _ = std::net::UdpSocket::bind("[::1]:0");
    let alone = Alone::start();
    let (engine, host) = (Engine { alone: &alone }, &alone.lab.host);
    host.sh("ip link add nic0 type veth peer name wire0 && ip link set nic0 up && ip link set wire0 up");
    host.sh("ip addr add 10.1.0.1/16 dev wire0");
    let before = host.state();
    let guests = [Space::new(), Space::new()];
    // A bridge that is made, and goes with its last guest; a macvlan; one that is alone on its NIC.
    let mut kinds =
        vec![json!({ "bridge": "br7" }), json!({ "parent": "nic0" }), json!({ "parent": "nic0", "mode": "vepa", "gateway": "none" })];
    // As far as the kernel has them: `scripts/uml-run` gives one that has.
    if has_kind("ipvlan") {
        kinds.extend([json!({ "parent": "nic0", "mode": "l2" }), json!({ "parent": "nic0", "mode": "l3" })]);
    }
    if has_kind("vlan") {
        kinds.extend([json!({ "parent": "nic0", "vlan": "10", "gateway": "none" }), json!({ "bridge": "br7", "vlan": "10" })]);
    }
    for words in kinds {
        engine.network(&words);
        let ids = [("aa01", "10.1.0.2/16"), ("aa02", "10.1.0.3/16")]
            .iter()
            .zip(&guests)
            .map(|((id, addr), guest)| engine.connect(id, guest, addr));
        let ids: Vec<Value> = ids.collect();
        if words["mode"].is_null() {
            eventually("they reach each other", || reaches(&guests[0], "10.1.0.3"));
        }
        let other = json!({ "NetworkID": NETWORK, "EndpointID": "aa01", "Interface": { "Address": "10.1.0.9/16" } });
        engine.fails("CreateEndpoint", &other, "another endpoint of that identifier");
        ids.iter().for_each(|ids| engine.disconnect(ids));
        assert!(guests.iter().all(|guest| guest.link("eth0").is_null()));
        engine.call("DeleteNetwork", &json!({ "NetworkID": NETWORK }));
        engine.fails("Join", &json!({ "NetworkID": NETWORK, "EndpointID": "aa01", "SandboxKey": "/x" }), "is not known here");
        assert_eq!(host.state(), before, "{words}");
    }
}

#[test]
fn a_port_of_open_vswitch_is_in_its_vlan_and_goes_when_the_endpoint_goes() {
    if no_ovs() {
        return;
    }
    let lab = Lab::new();
    let ovs = Ovs::start(&lab);
    let alone = Alone::start_on(lab);
    let engine = Engine { alone: &alone };
    let guests = [Space::new(), Space::new()];
    engine.network(&json!({ "bridge": "ovsu", "vlan": "10", "gateway": "none" }));
    let ids =
        [("aa01", "10.1.0.2/16"), ("aa02", "10.1.0.3/16")].iter().zip(&guests).map(|((id, addr), guest)| engine.connect(id, guest, addr));
    let ids: Vec<Value> = ids.collect();
    guests.iter().for_each(|guest| drop(guest.sh("ethtool -K eth0 tx off 2>/dev/null || true")));
    let ports = ovs.vsctl("list-ports ovsu");
    assert_eq!(ports.lines().filter(|port| port.starts_with("pwd")).count(), 2, "{ports}");
    assert!(ports.lines().all(|port| ovs.get("Port", port, "tag") == "10"), "{ports}");
    eventually("they reach each other", || reaches(&guests[0], "10.1.0.3"));
    ids.iter().for_each(|ids| engine.disconnect(ids));
    assert_eq!(ovs.vsctl("list-ports ovsu").lines().filter(|port| port.starts_with("pwd")).count(), 0);
}

#[test]
fn networks_and_addresses_are_under_a_policy_where_there_is_one() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let policy = lab.dir.path().join("networks.toml");
    let rules =
        "otherwise = \"deny\"\n[[rules]]\nname = \"lan\"\nallow = { parents = [\"br7\"], addresses = [\"10.1.0.0/24\", \"none\"] }\n";
    std::fs::write(&policy, rules).unwrap();
    let alone = Alone::start_with(lab, &["--policy", policy.to_str().unwrap()]);
    let engine = Engine { alone: &alone };
    let other = json!({ "NetworkID": "aa", "Options": { "com.docker.network.generic": { "bridge": "br8" } } });
    engine.fails("CreateNetwork", &other, "does not allow");
    engine.network(&json!({ "bridge": "br7", "gateway": "none" }));
    let endpoint = |address: &str| json!({ "NetworkID": NETWORK, "EndpointID": "aa01", "Interface": { "Address": address } });
    engine.fails("CreateEndpoint", &endpoint("10.1.9.9/16"), "does not allow address 10.1.9.9");
    engine.call("CreateEndpoint", &endpoint("10.1.0.9/16"));
    std::fs::write(&policy, "nonsense = 1").unwrap();
    let body = json!({ "NetworkID": NETWORK, "EndpointID": "aa02", "Interface": { "Address": "10.1.0.8/16" } });
    engine.fails("CreateEndpoint", &body, "networks.toml");
}
