//! Networks and what is on them outlive the plug-in and the engine, in any order.

use nix::sys::signal::Signal;

use super::plugin::{Plugin, attached, create, nothing_left, run, seen, text, world};
use crate::lab::cluster::Host;
use crate::lab::engine::no_engine;
use crate::lab::eventually;

const LAN: &str = "-o parent=ens32 --subnet 192.168.116.0/24 --gateway 192.168.116.1 lan";

fn reaches(host: &Host, name: &str) {
    eventually("it reaches the gateway", || host.try_sh(&format!("docker exec {name} ping -c 1 -W 2 192.168.116.1")));
}

#[test]
fn plug_in_and_engine_end_and_begin_in_any_order() {
    if no_engine() {
        return;
    }
    let (mut lab, mut plugin) = world(1);
    create(lab.host(1), LAN);
    run(lab.host(1), "web", "--network lan --ip 192.168.116.50 --restart always");
    attached(lab.host(1), "web", 1);

    // The plug-in ends: what stands, stands. Another one knows all of it.
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        plugin.again(lab.host(1), signal);
        reaches(lab.host(1), "web");
        attached(lab.host(1), "web", 1);
    }
    lab.host(1).docker("restart -t 0 web");
    attached(lab.host(1), "web", 1);

    // The engine ends, and begins again with the container.
    lab.host_mut(1).end_engine(Signal::SIGTERM);
    lab.host_mut(1).begin_engine();
    lab.host(1).await_engine();
    attached(lab.host(1), "web", 1);
    assert_eq!(text(&seen(lab.host(1), "web", "lan"), "IPAddress"), "192.168.116.50");

    // It is killed, and forgets its endpoints without a word.
    lab.host_mut(1).end_engine(Signal::SIGKILL);
    lab.host(1).sh(&format!("rm -f {}/docker.pid", lab.host(1).dir.display()));
    lab.host_mut(1).begin_engine();
    lab.host(1).await_engine();
    attached(lab.host(1), "web", 1);
    reaches(lab.host(1), "web");

    // Both end; the plug-in begins after the engine, which waits for it to start its container.
    lab.host_mut(1).end_engine(Signal::SIGTERM);
    plugin.end(Signal::SIGKILL);
    lab.host_mut(1).begin_engine();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    plugin = Plugin::start(lab.host(1));
    lab.host(1).await_engine();
    eventually("it runs", || lab.host(1).docker("ps -q").lines().count() == 1);
    attached(lab.host(1), "web", 1);
    reaches(lab.host(1), "web");
    drop(plugin);
}

#[test]
fn a_container_that_starts_before_the_plug_in_waits_as_docker_does() {
    if no_engine() {
        return;
    }
    let (lab, mut plugin) = world(1);
    let host = lab.host(1);
    create(host, LAN);
    host.docker("create --name late --network lan box sleep 100000");
    plugin.end(Signal::SIGTERM);
    let mut start = host.command("docker");
    let mut child = start.args(["start", "late"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    let _plugin = Plugin::start(host);
    assert!(child.wait().unwrap().success());
    attached(host, "late", 1);
}

#[test]
fn what_the_engine_has_no_more_is_removed_when_that_is_asked_for() {
    if no_engine() {
        return;
    }
    let (mut lab, mut plugin) = world(1);
    create(lab.host(1), "-o bridge=br0 --subnet 10.5.0.0/24 inner");
    run(lab.host(1), "web", "--network inner");
    attached(lab.host(1), "web", 1);
    let pid = lab.host(1).docker("inspect -f '{{.State.Pid}}' web");
    // The plug-in is killed before it sees a link to its guest; then the guest and the engine end without a word.
    plugin.end(Signal::SIGKILL);
    lab.host_mut(1).end_engine(Signal::SIGKILL);
    let host = lab.host(1);
    host.sh(&format!("kill -9 {pid}; umount -l {0}/exec/netns/* || true; rm -f {0}/docker.pid", host.dir.display()));
    eventually("the container is dead", || host.try_sh("! ip -o link | grep -q pwd"));
    lab.host_mut(1).begin_engine();
    let host = lab.host(1);
    host.await_engine();
    assert_ne!(host.sh("find /var/lib/pipework/docker-plugin/endpoints -name '*.json'"), "");
    host.docker("rm -f web");
    host.sh("find /var/lib/pipework/docker-plugin/endpoints -name '*.json' | xargs sed -i 's/\"since\": \"20../\"since\": \"19/'");
    let cleared = host.ok("gc");
    assert!(cleared.contains("which is gone"), "{cleared}");
    let cleared = host.ok("docker-plugin --gc");
    assert!(cleared.contains("removed: endpoint"), "{cleared}");
    nothing_left(host);
    assert_eq!(host.ok("docker-plugin --gc"), "");
}
