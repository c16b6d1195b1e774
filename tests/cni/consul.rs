//! Addresses of a pool that several hosts give: claims in Consul.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::lab::consul::no_consul;
use crate::lab::{Lab, Space, eventually, no_root};
use crate::runtime::{Answer, Attachment, ended, start_with};

const CLUSTER: &str = r#"
name = "lab"
[[hosts]]
name = "h1"
address = "192.168.116.111"
role = "server"
[[hosts]]
name = "h2"
address = "192.168.116.112"
[consul]
address = "http://127.0.0.1:8500"
[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.100-192.168.116.129"
gateway = "192.168.116.1"
"#;

/// An agent that is server and leader, in the namespace of the lab's host, where nobody else reaches it.
struct Consul(Child);

impl Consul {
    fn new(lab: &Lab) -> Self {
        let mut command = lab.host.command("consul");
        command.args(["agent", "-dev", "-node=one", "-log-level=warn"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let consul = Self(command.spawn().unwrap());
        eventually("Consul has a leader", || {
            lab.host.try_sh("curl -sf http://127.0.0.1:8500/v1/kv/?keys || test $? = 22 && consul kv put ready yes")
        });
        consul
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Two hosts that have a network and records of their own, and one Consul.
fn begin(lab: &Lab, host: &str, verb: &str, at: Option<&Attachment>, conf: &Value) -> Child {
    let program = lab.program();
    let mut command = lab.host.command("unshare");
    command.args(["--uts", "sh", "-c", &format!("hostname {host}; exec {}", env!("CARGO_BIN_EXE_pipework"))]);
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PIPEWORK_RUN_DIR", lab.dir.path().join(host));
    let variables = at.map_or_else(|| vec![("CNI_COMMAND", verb)], |at| at.variables(verb));
    start_with(command, lab, &variables, conf.to_string().as_bytes())
}

fn call(lab: &Lab, host: &str, verb: &str, at: Option<&Attachment>, conf: &Value) -> Answer {
    ended(begin(lab, host, verb, at, conf))
}

#[test]
fn two_hosts_never_give_one_address_and_neither_collects_what_is_the_other_s() {
    if no_root() || no_consul() {
        return;
    }
    let lab = Lab::new();
    std::fs::write(lab.dir.path().join("cluster.toml"), CLUSTER).unwrap();
    let conf = |host: &str| {
        json!({ "cniVersion": "1.1.0", "name": "lan", "type": "pipework", "bridge": format!("br{host}"), "dad": "off",
        "ipam": { "type": "pipework", "pool": "lan" }, "cni.dev/valid-attachments": [] })
    };
    let guests: Vec<Space> = (0..12).map(|_| lab.guest()).collect();
    let all: Vec<Attachment> = guests.iter().enumerate().map(|(n, guest)| Attachment::new(&format!("c{n}"), guest)).collect();
    let host = |n: usize| if n.is_multiple_of(2) { "h1" } else { "h2" };
    let consul = Consul::new(&lab);
    call(&lab, "h1", "STATUS", None, &conf("h1")).ok();
    let children: Vec<Child> = all.iter().enumerate().map(|(n, at)| begin(&lab, host(n), "ADD", Some(at), &conf(host(n)))).collect();
    let mut given: Vec<String> =
        children.into_iter().map(|child| ended(child).ok()["ips"][0]["address"].as_str().unwrap().to_owned()).collect();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), all.len(), "{given:?}");
    let claims = || lab.run("pool show lan").out;
    assert!(claims().contains("cni:lan@h1:c0/eth0") && claims().contains("cni:lan@h2:c1/eth0"), "{}", claims());
    call(&lab, "h1", "GC", None, &conf("h1")).ok();
    assert!(!claims().contains("@h1:") && claims().matches("@h2:").count() == 6, "{}", claims());
    assert!(guests[0].link("eth0").is_null() && !guests[1].link("eth0").is_null());
    for (n, at) in all.iter().enumerate() {
        call(&lab, host(n), "DEL", Some(at), &conf(host(n))).ok();
    }
    assert!(!claims().contains("cni:"), "{}", claims());
    // A host that cannot reach Consul takes the interface away, and says that the address is not free yet; and gives no other.
    call(&lab, "h1", "ADD", Some(&all[0]), &conf("h1")).ok();
    drop(consul);
    let at_once = [("DEL", Some(&all[0])), ("ADD", Some(&all[2])), ("STATUS", None)];
    let children = at_once.map(|(verb, at)| begin(&lab, "h1", verb, at, &conf("h1")));
    assert_eq!(children.map(|child| ended(child).error().0), [11, 11, 50]);
    assert!(guests[0].link("eth0").is_null() && guests[2].link("eth0").is_null());
}
