//! Classic Swarm, on hosts that share no Ethernet, with a Consul that was there before.

use crate::lab::cluster::{Cluster, no_consul};
use crate::lab::engine::no_engine;

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
    // The manager's container asks the agent for nothing.
    assert!(!lab.host(1).try_sh("grep -q pipework-swarm-manager /run/pipework/cluster/pipework-agent.log"));
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
        let words = lab
            .host(n)
            .docker("inspect -f '{{json .Args}} {{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}}' pipework-swarm-manager");
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
