//! `pipework cluster agent` where Consul denies all that is not allowed, and speaks TLS alone: a token that may do what
//! `--policy` prints is enough, and what one lacks is said in the words of a policy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::{Child, Stdio};

use lab::agents::eventually_of;
use lab::cluster::{Cluster, Host, no_consul};
use nix::sys::signal::Signal;

const FILE: &str = r#"
name = "lab"
datacenter = "lab"

[[hosts]]
name = "consul01"
address = "192.168.116.111"
nic = "ens32"

[consul]
acl = "bootstrap"
token_file = "/etc/pipework/consul.token"
ca_file = "/etc/pipework/tls/ca.pem"
cert_file = "/etc/pipework/tls/host.pem"
key_file = "/etc/pipework/tls/host.key"

[agent]
run = false

[swarm]
mode = "none"

[bridge]
name = "br0"

[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.150-192.168.116.199"
gateway = "192.168.116.1"
"#;

const WANTED: &str = r#"
[[attachments]]
host_if = "br0"
guest = "netns:web"
addresses = ["pool:lan"]
"#;

/// An authority and a certificate for the host, and the files.
fn prepare(host: &Host) {
    host.sh("mkdir -p /etc/pipework/tls && cd /etc/pipework/tls
         ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
         openssl req -x509 $ec -days 2 -subj /CN=lab -keyout ca.key -out ca.pem 2>/dev/null
         echo 'subjectAltName=DNS:server.lab.consul,DNS:localhost,IP:127.0.0.1' > ext
         openssl req $ec -subj /CN=host -keyout host.key -out host.csr 2>/dev/null
         openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out host.pem 2>/dev/null");
    for (name, text) in [("cluster.toml", FILE), ("web.toml", WANTED)] {
        std::fs::write(host.dir.join(name), text).unwrap();
        host.sh(&format!("cp {} /etc/pipework/", host.dir.join(name).display()));
    }
    host.sh("ip netns add web");
}

struct Agent(Child);

impl Agent {
    fn start(host: &Host) -> Self {
        let log = std::fs::File::create(host.dir.join("agent.log")).unwrap();
        let mut command = host.program();
        command.args(["cluster", "agent", "--ttl", "10"]).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("CONSUL_HTTP_TOKEN_FILE", "/etc/pipework/agent.token");
        Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        Host::signal(&self.0, Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn log(host: &Host) -> String {
    std::fs::read_to_string(host.dir.join("agent.log")).unwrap_or_default()
}

/// Asks Consul as its master.
fn consul(host: &Host, verb: &str, path: &str, body: &str) -> serde_json::Value {
    let tls = "--cacert /etc/pipework/tls/ca.pem --cert /etc/pipework/tls/host.pem --key /etc/pipework/tls/host.key";
    let token = "-H \"X-Consul-Token: $(cat /etc/pipework/consul.token)\"";
    let answer = host.sh(&format!("curl -s -m 5 {tls} {token} -X {verb} -d '{body}' 'https://127.0.0.1:8501/v1/{path}'"));
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{path}: {answer}"))
}

#[test]
fn the_agent_needs_no_more_than_its_policy_and_says_what_it_lacks() {
    if no_consul() {
        return;
    }
    let lab = Cluster::of(1);
    let host = lab.host(1);
    prepare(host);
    host.ok("cluster up");
    let policy = host.ok("cluster agent --policy");
    assert_eq!(policy.lines().count(), 4, "{policy}");
    let body = |rules: &[&str]| serde_json::json!({"Name": "agent", "Rules": rules.join("\n")}).to_string();
    let id = consul(host, "PUT", "acl/policy", &body(&[]))["ID"].as_str().unwrap().to_owned();
    let made = consul(host, "PUT", "acl/token", r#"{"Policies":[{"Name":"agent"}]}"#);
    let secret = made["SecretID"].as_str().unwrap().to_owned();
    host.sh(&format!("umask 077; echo {secret} > /etc/pipework/agent.token"));

    // One right after the other: each time the next that is missing is told.
    let rules: Vec<&str> = policy.lines().collect();
    let ["session", "key_prefix", "service_prefix", "node_prefix"] = [0, 1, 2, 3].map(|n: usize| rules[n].split(' ').next().unwrap())
    else {
        panic!("{policy}")
    };
    for (count, lacks) in [(0, rules[0]), (1, rules[1]), (2, rules[2])] {
        consul(host, "PUT", &format!("acl/policy/{id}"), &body(&rules[..count]));
        let _agent = Agent::start(host);
        eventually_of(&format!("it says that it lacks {lacks}"), || log(host).contains(lacks), || log(host));
    }
    let denied = host.program().args(["pool", "list"]).env("CONSUL_HTTP_TOKEN", "0".repeat(36)).output().unwrap();
    let told = String::from_utf8(denied.stderr).unwrap();
    assert!(!denied.status.success() && told.contains("403") && told.contains("token"), "{told}");

    consul(host, "PUT", &format!("acl/policy/{id}"), &body(&rules));
    let _agent = Agent::start(host);
    let key = |key: &str| consul(host, "GET", &format!("kv/pipework/lab/{key}?recurse"), "");
    let address = || {
        let found = consul(host, "GET", "health/service/netns-web?passing", "");
        found[0]["Service"]["Address"].as_str().map(str::to_owned)
    };
    eventually_of("the address has a name", || address().is_some(), || log(host));
    let address = address().unwrap();
    assert!(lab.switch.try_sh(&format!("ping -c 1 -W 2 -q {address}")), "{}", log(host));
    assert!(key("pools/lan/use")[0]["Session"].is_string());
    let is_noted = || lab::agents::decoded(key("attached")[0]["Value"].as_str().unwrap_or_default()).contains(&address);
    eventually_of("who is attached is noted", is_noted, || log(host));
    let text = log(host);
    assert!(!text.contains("403") && !text.contains("lacks"), "{text}");
    // A command line for each process: that of who looks is not among them, as it asks for the token's file.
    let lines = host.sh("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null && echo || true; done");
    assert!(lines.lines().any(|line| line.contains("cluster agent --ttl")), "{lines}");
    let said = host.sh("cat /run/pipework/* 2>/dev/null || true");
    for (what, text) in [("its log", &text), ("a command line", &lines), ("the run directory", &said)] {
        assert!(!text.contains(&secret), "{what} has the token: {text}");
    }
}
