//! ACLs with default deny, TLS and a gossip key: who has which secret, and who is told none.

use std::process::Stdio;

use crate::lab::cluster::{Cluster, no_consul};
use crate::lab::engine::no_engine;
use crate::lab::{Ran, eventually};

/// A key pair of each host, signed by one authority, as Consul wants them; and the keys of the gossip, a right and a wrong one.
fn secrets(lab: &Cluster) {
    let dir = lab.dir.path().display();
    let line = format!(
        "umask 077; cd {dir}; consul keygen > right.key; consul keygen > wrong.key
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=lab -keyout ca.key -out ca.pem
         printf 'subjectAltName=DNS:server.dc1.consul,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' > ext
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=host -keyout host.key -out host.csr
         openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out host.pem"
    );
    let made = std::process::Command::new("sh").args(["-ec", &line]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for host in &lab.hosts {
        let copy = "mkdir -p /etc/pipework/tls; cp DIR/ca.pem DIR/host.pem DIR/host.key /etc/pipework/tls; cp DIR/right.key /etc/pipework/gossip.key";
        host.sh(&copy.replace("DIR", &dir.to_string()));
    }
}

#[test]
fn with_default_deny_tls_and_a_gossip_key_it_needs_its_secrets_and_tells_none() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    lab.start_engines();
    let on = |key: &str| (format!("# {key} ="), format!("{key} ="));
    let changes: Vec<(String, String)> = ["gossip_key_file", "ca_file", "cert_file", "key_file", "acl", "token_file"].map(on).into();
    let mut changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    changes.push(("managers = [\"consul01\", \"consul02\", \"consul03\"]", "managers = [\"consul01\"]"));
    changes.push(("name = \"consul03\"\n", "name = \"consul03\"\nrole = \"client\"\n"));
    lab.write_file(&changes);
    secrets(&lab);
    lab.host(2).fails("cluster up", "run `pipework cluster up` on consul01 first, and copy the file from there");
    let token = "/etc/pipework/consul.token";
    let first = lab.host(1).program().args(["cluster", "up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the token is made", || lab.host(1).try_sh(&format!("test -s {token}")));
    assert_eq!(lab.host(1).sh(&format!("stat -c %a {token}")), "600");
    let secret = lab.host(1).sh(&format!("cat {token}"));
    for host in &lab.hosts[1..] {
        host.sh(&format!("umask 077; echo {secret} > {token}"));
    }
    // A wrong key of the gossip is told, and can be put right.
    let dir = lab.dir.path().display();
    lab.host(3).sh(&format!("cp {dir}/wrong.key /etc/pipework/gossip.key"));
    lab.host(3).fails("cluster up --timeout 20", "has another gossip key");
    lab.host(3).sh(&format!("cp {dir}/right.key /etc/pipework/gossip.key"));
    lab.ok_all("cluster up");
    // The first one has met the wrong key, too, if it came to that.
    let first = Ran::from(first.wait_with_output().unwrap());
    assert!(first.code == Some(0) || first.err.contains("consul03 has another gossip key"), "{}{}", first.out, first.err);
    for ran in lab.ok_all("cluster up") {
        assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    }
    lab.ok_all("cluster status");
    assert_eq!(lab.host(1).docker("node ls").matches("Ready").count(), 3, "the tokens of Swarm were handed over");
    each_has_its_own(&lab, &secret);

    // Without a token: a clear word, and no "nobody is there".
    let without = |token: &str| {
        let mut command = lab.host(2).program();
        command.env("CONSUL_HTTP_TOKEN", token).args(["cluster", "up", "--timeout", "3"]);
        Ran::from(command.output().unwrap())
    };
    let ran = without("00000000-0000-0000-0000-000000000001");
    assert!(ran.code == Some(1) && ran.err.contains("token"), "{}", ran.err);
    lab.host(2).sh(&format!("chmod 644 {token}.host"));
    lab.host(2).fails("cluster up", "everybody may read it: chmod 600");
    lab.host(2).sh(&format!("chmod 600 {token}.host"));
    attached_by_a_claim(&lab);
    its_policy_is_brought_up_to_date(&lab, &secret);

    let gossip = lab.host(1).sh("cat /etc/pipework/gossip.key");
    for host in &lab.hosts {
        // No command line, log, or file that others may read has a secret in it; nobody without a certificate is answered.
        for secret in [&secret, &gossip] {
            let said =
                host.sh("cat /run/pipework/cluster/*.log; for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null || true; done");
            assert!(!said.contains(secret.as_str()), "{}", host.name);
            let readable = format!(
                "find /var/lib/pipework /run/pipework /etc/pipework -type f -perm /o=r -exec grep -lF -e '{secret}' {{}} + || true"
            );
            assert_eq!(host.sh(&readable), "");
        }
        assert!(!host.try_sh("curl -sk -m 3 https://127.0.0.1:8501/v1/status/leader"));
        assert!(!host.try_sh("curl -s -m 3 http://127.0.0.1:8500/v1/status/leader"));
        let keys = "-m 5 -o /dev/null -w '%{http_code}' 'https://127.0.0.1:8501/v1/kv/pipework/lab/swarm/join'";
        assert_eq!(host.sh(&format!("curl -s {TLS} {keys}")), "403", "without a token");
    }
    lab.ok_all("cluster down");
    for host in &lab.hosts {
        assert_eq!(host.left(), "");
        assert!(!host.try_sh(&format!("test -e {token}.host")));
    }
}

const TLS: &str = "--cacert /etc/pipework/tls/ca.pem --cert /etc/pipework/tls/host.pem --key /etc/pipework/tls/host.key";

/// The token that may do everything is on the first host alone; the others' own may do what they are for.
fn each_has_its_own(lab: &Cluster, secret: &str) {
    for host in &lab.hosts {
        assert_eq!(host.sh("stat -c %a /etc/pipework/consul.token.host"), "600");
        let knows = host.try_sh(&format!("grep -rqF -e '{secret}' /etc/pipework /var/lib/pipework/consul.json"));
        assert_eq!((knows, host.try_sh("test -e /etc/pipework/consul.token")), (host.number == 1, host.number == 1), "{}", host.name);
        let code = |what: &str| {
            let token = "-H \"X-Consul-Token: $(cat /etc/pipework/consul.token.host)\"";
            host.sh(&format!("curl -s {TLS} {token} -m 5 -o /dev/null -w '%{{http_code}}' {what}"))
        };
        let at = "https://127.0.0.1:8501/v1";
        assert_eq!(code(&format!("-X PUT -d x {at}/kv/pipework/lab/try")), "200");
        assert_eq!(code(&format!("-X PUT -d x {at}/kv/somebody/elses")), "403");
        assert_eq!(code(&format!("{at}/acl/tokens")), "403");
        assert_eq!(code(&format!("-X PUT -d '{{\"Name\":\"x\",\"Rules\":\"\"}}' {at}/acl/policy")), "403");
    }
}

/// A claim, its use and its name, by the agents' own tokens.
fn attached_by_a_claim(lab: &Cluster) {
    let host = lab.host(3);
    host.docker("run -d --net none --name web --label 'pipework.lan=br0 pool:lan' box sleep 100000");
    eventually("web has an address of the pool", || host.try_sh("docker exec web ip addr show eth1 | grep -q 192.168.116."));
    eventually("it is in use, and known as a service", || {
        let status: serde_json::Value = serde_json::from_str(&host.run("cluster status --json").out).unwrap_or_default();
        status["pools"][0]["used"] == 1 && host.ok("cluster verify").contains("reaches all")
    });
    for verb in ["leave", "down"] {
        host.fails(&format!("cluster {verb}"), "attached here");
    }
    host.docker("rm -f web");
    eventually("its lock is let go", || {
        let status: serde_json::Value = serde_json::from_str(&host.run("cluster status --json").out).unwrap_or_default();
        status["pools"][0]["used"] == 0 && status["attachments"].as_array().is_some_and(Vec::is_empty)
    });
}

/// A host that was allowed something else when it last looked: the first one changes that by itself, others say what they need.
fn its_policy_is_brought_up_to_date(lab: &Cluster, secret: &str) {
    let note = "/var/lib/pipework/cluster/lab.json";
    for host in &lab.hosts[..2] {
        host.sh(&format!("grep -q '\"host_rules\":\"' {note}; sed -i 's/\"host_rules\":\"/&0/' {note}"));
    }
    assert!(lab.host(1).ok("cluster up --no-agent").contains("consul: host's token"));
    let told = lab.host(2).fails("cluster up --no-agent", "that token may not do all that it has to by now");
    assert!(told.contains("copy /etc/pipework/consul.token from consul01 again"), "{told}");
    lab.host(2).sh(&format!("umask 077; echo {secret} > /etc/pipework/consul.token"));
    lab.ok_all("cluster up");
    assert!(!lab.host(2).try_sh("test -e /etc/pipework/consul.token"));
    lab.ok_all("cluster up").iter().for_each(|ran| assert!(ran.out.contains("nothing to do"), "{}", ran.out));
}
