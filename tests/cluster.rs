//! Three hosts as one: `pipework cluster` with real Consul servers and real engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::Stdio;

use lab::cluster::{Cluster, no_consul};
use lab::engine::no_engine;
use lab::{Ran, eventually};

#[test]
fn the_lab_s_hosts_are_apart_and_reach_each_other_and_nothing_is_left_of_them() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    let dir = lab.dir.path().to_owned();
    lab.start_engines();
    lab.start_consul("");
    for host in &lab.hosts {
        host.sh("ping -c 1 -W 5 192.168.116.1; ping -c 1 -W 5 192.168.116.111; test $(hostname) = $(cat /etc/hostname)");
        let id = host.container("web");
        assert!(!id.is_empty());
    }
    lab.cut(3);
    assert!(!lab.host(1).try_sh("ping -c 1 -W 1 192.168.116.113"));
    let ids: Vec<String> = lab.hosts.iter().map(|host| host.docker("info -f {{.ID}}")).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    drop(lab);
    assert!(!dir.exists());
    // Other tests mount as well.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
    let name = dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    let left = std::process::Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{name}*")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn three_hosts_become_a_cluster_and_a_second_run_does_nothing_and_nothing_is_left_after_down() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    lab.start_engines();
    let last = "name = \"consul03\"\n";
    let mut changes = vec![
        (last, "name = \"consul03\"\nrole = \"client\"\nlabels = { rack = \"b\" }\n"),
        ("managers = [\"consul01\", \"consul02\", \"consul03\"]", "managers = [\"consul01\"]"),
        ("# persist = true", "persist = \"networkd\""),
    ];
    lab.write_file(&changes);
    let own = "/etc/systemd/network/10-ens32.network";
    lab.host(1).sh(&format!("mkdir -p /etc/systemd/network; printf '[Match]\nName=ens32\n[Network]\nAddress=192.168.116.111/24\nGateway=192.168.116.1\n' > {own}"));
    let nics: Vec<Vec<String>> = lab.hosts.iter().map(|host| host.space.addrs("ens32")).collect();
    lab.ok_all("cluster up --voters");
    for ran in lab.ok_all("cluster up --json") {
        assert!(!ran.out.is_empty() && ran.out.lines().all(|line| line.contains(r#""outcome":"already""#)), "{}", ran.out);
    }
    let nodes = lab.host(1).docker("node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'");
    assert_eq!(nodes.lines().map(str::trim).collect::<Vec<_>>(), ["consul01 Ready Leader", "consul02 Ready", "consul03 Ready"]);
    let labels = |host: &str| lab.host(1).docker(&format!("node inspect -f '{{{{.Spec.Labels}}}}' {host}"));
    assert_eq!(labels("consul02"), "map[pipework.host:consul02]");
    assert_eq!(labels("consul03"), "map[pipework.host:consul03 rack:b]");
    assert_eq!(lab.host(1).consul("/v1/operator/raft/configuration")["Servers"].as_array().unwrap().len(), 2);
    assert_eq!(lab.host(2).consul("/v1/catalog/nodes?node-meta=rack:b")[0]["Node"], "consul03");
    assert_eq!(lab.host(3).consul("/v1/session/list").as_array().unwrap().len(), 3, "an agent's on each host");
    lasts(&lab);
    only_what_changed_is_done_again(&lab, &mut changes);
    assert_eq!(lab.host(1).consul("/v1/kv/pipework/lab/swarm/join"), serde_json::Value::Null, "no token is left there");

    let mut watch = Watch::begin(lab.host(1));
    lab.host(2).container("ubuntu114");
    lab.host(3).container("ubuntu119");
    lab.host(2).ok("br0 ubuntu114 192.168.116.114/24@192.168.116.1");
    lab.host(3).ok("br0 ubuntu119 192.168.116.119/24@192.168.116.1");
    lab.host(2).docker("exec ubuntu114 ping -c 1 -W 5 192.168.116.119");
    lab.host(3).docker("exec ubuntu119 ping -c 1 -W 5 192.168.116.1");
    // Each host notes what it has; then each container is seen to reach all others.
    lab.ok_all("cluster status");
    let verified: serde_json::Value = serde_json::from_str(&lab.host(2).ok("cluster verify --json")).unwrap();
    let to: Vec<&str> = verified["reach"][0]["to"].as_array().unwrap().iter().map(|to| to["addr"].as_str().unwrap()).collect();
    assert_eq!(to, ["192.168.116.1", "192.168.116.119"]);
    lab.cut(3);
    watch.until(r#""consul":"failed""#);
    let ran = lab.host(2).run("cluster verify");
    assert!(ran.code == Some(2) && ran.out.contains("does not reach 192.168.116.119 (ubuntu119 on consul03)"), "{}{}", ran.out, ran.err);
    lab.mend(3);
    watch.until(r#""problems":[]"#);
    watch.end();

    let availability = || lab.host(1).docker("node inspect -f '{{.Spec.Availability}}' consul03");
    lab.host(1).ok("cluster drain consul03");
    assert_eq!(availability(), "drain");
    lab.host(1).ok("cluster drain consul03 --end");
    assert_eq!(availability(), "active");
    lab.host(3).fails("cluster drain", "on consul01: pipework cluster drain consul03");
    lab.host(1).ok("cluster drain");
    assert!(lab.host(2).consul("/v1/health/node/consul01").to_string().contains("_node_maintenance"));
    lab.host(1).ok("cluster drain --end");

    lab.host(2).fails("cluster down", "attached here are still ubuntu114");
    lab.host(2).ok("detach ubuntu114 --all");
    lab.host(3).ok("detach ubuntu119 --all");
    // Out of Consul and Swarm; what is attached here goes on.
    lab.host(3).ok("cluster leave");
    assert_ne!(lab.host(3).space.link("br0"), serde_json::Value::Null);
    eventually("the others see that it has left", || {
        let members = lab.host(1).consul("/v1/agent/members");
        members.as_array().is_some_and(|all| all.iter().any(|member| member["Name"] == "consul03" && member["Status"] == 3))
    });
    lab.ok_all("cluster down");
    for (host, nic) in lab.hosts.iter().zip(nics) {
        assert_eq!(host.left(), "");
        assert_eq!((host.space.addrs("ens32"), &host.space.link("br0")), (nic, &serde_json::Value::Null));
        assert_eq!(host.docker("info -f {{.Swarm.LocalNodeState}}"), "inactive");
    }
    assert_eq!(lab.host(1).sh("ls -A /etc/systemd/network"), "10-ens32.network");
    assert_eq!(lab.host(1).sh(&format!("cat {own}")), "[Match]\nName=ens32\n[Network]\nAddress=192.168.116.111/24\nGateway=192.168.116.1");
}

/// The bridge is in networkd's files; those of the administrator lie beside.
fn lasts(lab: &Cluster) {
    let files = lab.host(1).sh("ls -A /etc/systemd/network");
    for wanted in ["00-pipework-br0.netdev", "00-pipework-br0.network", "00-pipework-br0-uplink.network"] {
        assert!(files.contains(wanted), "{files}");
    }
    assert!(lab.host(1).sh("cat /etc/systemd/network/00-pipework-br0.network").contains("192.168.116.111/24"));
}

/// Another comment: nothing. Another word for the agent, or another file of this program: the agent alone is started anew. With
/// `--no-agent` it is let be.
fn only_what_changed_is_done_again(lab: &Cluster, changes: &mut Vec<(&str, &str)>) {
    let done = |ran: Ran| {
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        let steps = ran.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        steps.filter(|step| step["outcome"] == "done").map(|step| step["step"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let host = lab.host(2);
    changes.push(("# Its keys in Consul", "# All its keys in Consul"));
    lab.write_file(changes);
    assert_eq!(done(host.run("cluster up --json")), [""; 0]);
    changes.push(("# ttl = 30", "ttl = 20"));
    lab.write_file(changes);
    assert_eq!(done(host.run("cluster up --json --no-agent")), [""; 0]);
    assert_eq!(done(host.run("cluster up --json")), ["agent"]);
    assert_eq!(done(host.run("cluster up --json")), [""; 0]);
    let copy = lab.dir.path().join("pipework");
    std::fs::copy(env!("CARGO_BIN_EXE_pipework"), &copy).unwrap();
    let of_copy = || Ran::from(host.command(copy.to_str().unwrap()).args(["cluster", "up", "--json"]).output().unwrap());
    assert_eq!(done(of_copy()), ["agent"]);
    assert_eq!(done(of_copy()), [""; 0]);
    lab.ok_all("cluster up");
    // One that was killed is there again by itself.
    let pid = || host.sh("cut -d' ' -f2 /run/pipework/cluster/pipework-agent.pid");
    let before = pid();
    host.sh(&format!("kill -KILL {before}"));
    eventually("it is there again", || host.try_sh(&format!("test $(cut -d' ' -f2 -s /run/pipework/cluster/pipework-agent.pid) -ne {before}")));
    assert_eq!(done(host.run("cluster up --json")).iter().filter(|step| *step != "agent").count(), 0);
}

/// `cluster status --watch`, line by line.
struct Watch {
    child: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn begin(host: &lab::cluster::Host) -> Self {
        use std::io::BufRead;
        let mut child = host.program().args(["cluster", "status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Until a line says so; each that it tells is another one.
    fn until(&mut self, wanted: &str) {
        let mut before = String::new();
        loop {
            let line = self.lines.next().expect("it stays").unwrap();
            assert_ne!(line, before);
            if line.contains(wanted) {
                return;
            }
            before = line;
        }
    }

    fn end(mut self) {
        lab::cluster::Host::signal(&self.child, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

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
    host.docker("rm -f web");
    eventually("its lock is let go", || {
        let status: serde_json::Value = serde_json::from_str(&host.run("cluster status --json").out).unwrap_or_default();
        status["pools"][0]["used"] == 0 && status["attachments"].as_array().is_some_and(Vec::is_empty)
    });
}

/// Each host on a network of its own, behind the switch as a router: 10.0.N.1. No Ethernet joins them.
fn apart(lab: &mut Cluster) {
    lab.switch.sh("ip addr flush dev sw0; echo 1 > /proc/sys/net/ipv4/ip_forward");
    for host in &mut lab.hosts {
        let n = host.number;
        lab.switch.sh(&format!("ip link set port{n} nomaster; ip addr add 10.0.{n}.254/24 dev port{n}"));
        host.space.sh(&format!("ip addr flush dev ens32; ip addr add 10.0.{n}.1/24 dev ens32; ip route add default via 10.0.{n}.254"));
        host.address = format!("10.0.{n}.1");
    }
}

/// An image in place of the old Swarm's: it listens, and does nothing else.
fn manager_image(lab: &Cluster) {
    let program = "while :; do nc -l -p ${3#:} < /dev/null > /dev/null || sleep 1; done";
    let line = format!(
        "mkdir -p DIR/manager && printf '%s\n' '{program}' > DIR/image/manager && \
         tar -C DIR/image -c . | docker import --change 'ENTRYPOINT [\"/bin/sh\", \"/manager\"]' - swarm"
    );
    for host in &lab.hosts[..2] {
        host.sh(&line.replace("DIR", &lab.dir.path().display().to_string()));
    }
}

#[test]
fn classic_swarm_on_hosts_without_a_common_network_and_with_somebody_else_s_consul() {
    if no_consul() || no_engine() {
        return;
    }
    let mut lab = Cluster::new();
    apart(&mut lab);
    lab.hosts[..2].iter_mut().for_each(|host| host.begin_engine_with(&["-H", "tcp://0.0.0.0:2375", "--tls=false"]));
    lab.start_engines();
    lab.start_consul("");
    manager_image(&lab);
    lab.write_file(&[
        ("address = \"192.168.116.111\"", "address = \"10.0.1.1\""),
        ("address = \"192.168.116.112\"", "address = \"10.0.2.1\""),
        ("address = \"192.168.116.113\"", "address = \"10.0.3.1\""),
        ("nic = \"ens32\"\n", ""),
        ("binary = \"consul\"\ndata_dir = \"/var/lib/pipework/consul\"", ""),
        ("ui = true", ""),
        ("raft_multiplier = 1\n", ""),
        ("# address = ", "address = "),
        ("mode = \"engine\"", "mode = \"classic\""),
        ("managers = [\"consul01\", \"consul02\", \"consul03\"]", "managers = [\"consul01\", \"consul02\"]"),
        ("# image = ", "image = "),
        ("kind = \"nic\"", "kind = \"vxlan\""),
        ("gateway = ", "# gateway = "),
    ]);
    lab.host(3).fails("cluster up", "dockerd -H unix:///var/run/docker.sock -H tcp://10.0.3.1:2375");
    lab.host_mut(3).end_engine(nix::sys::signal::Signal::SIGTERM);
    lab.host_mut(3).begin_engine_with(&["-H", "tcp://10.0.3.1:2375", "--tls=false"]);
    lab.host(3).await_engine();
    lab.ok_all("cluster up");
    for ran in lab.ok_all("cluster up") {
        assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    }
    registered(&lab);
    reach_each_other(&lab);
    let key = "/v1/kv/swarm/docker/swarm/nodes?keys";
    lab.host(3).ok("cluster down");
    let known = lab.host(1).consul(key).to_string();
    assert!(known.contains("10.0.1.1:2375") && !known.contains("10.0.3.1"), "{known}");
    lab.ok_all("cluster down");
    assert_eq!(lab.host(1).consul(key), serde_json::json!(["swarm/docker/swarm/nodes"]));
    let services = lab.host(1).consul("/v1/catalog/services");
    assert_eq!(services.as_object().unwrap().keys().collect::<Vec<_>>(), ["consul"], "the agents' are gone");
    for host in &lab.hosts {
        let left = host.left();
        assert!(left.lines().all(|line| line.contains("consul agent -server")), "{left}");
        assert_eq!(host.docker("ps -aq --filter name=pipework"), "");
        assert_eq!(host.space.link("br0"), serde_json::Value::Null);
    }
}

/// In the old Swarm's words, and by ours.
fn registered(lab: &Cluster) {
    let wanted = "10.0.1.1:2375\n10.0.2.1:2375\n10.0.3.1:2375\n";
    assert_eq!(lab.host(3).ok("cluster swarm list consul://127.0.0.1:8500/swarm"), wanted);
    for (n, own) in [(1, "10.0.1.1:2377"), (2, "10.0.2.1:2377")] {
        let words = lab.host(n).docker("inspect -f '{{json .Args}} {{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}}' pipework-swarm-manager");
        let manage = format!(r#"["/manager","manage","-H",":2377","--replication","--advertise","{own}","consul://127.0.0.1:8500/swarm"]"#);
        assert_eq!(words, format!("{manage} host always"));
    }
    assert_eq!(lab.host(3).docker("ps -aq --filter name=pipework"), "", "it does not manage");
    // Who ends it finds it there again.
    lab.host(1).docker("rm -f pipework-swarm-manager");
    assert!(lab.host(1).ok("cluster up").contains("in container pipework-swarm-manager"));
}

/// Containers on the bridges over the VXLAN, full-size packets too.
fn reach_each_other(lab: &Cluster) {
    for host in &lab.hosts {
        let n = host.number;
        host.container(&format!("box{n}"));
        host.ok(&format!("br0 box{n} 192.168.116.12{n}/24"));
    }
    for (host, other) in [(1, 2), (1, 3), (2, 3), (3, 1)] {
        lab.host(host).docker(&format!("exec box{host} ping -c 1 -W 5 -s 1422 192.168.116.12{other}"));
    }
    assert_eq!(lab.host(1).docker("exec box1 cat /sys/class/net/eth1/mtu"), "1450");
    lab.ok_all("cluster status");
    lab.ok_all("cluster verify");
    for host in &lab.hosts {
        host.ok(&format!("detach box{} --all", host.number));
        host.docker(&format!("rm -f box{}", host.number));
    }
}
