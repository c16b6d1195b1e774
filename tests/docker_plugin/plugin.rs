//! The plug-in on a lab's host, and what is seen of it.

use std::process::Child;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::cluster::{Cluster, Host};
use crate::lab::eventually;

/// The program as the plug-in. It ends with this.
pub struct Plugin {
    child: Child,
}

impl Plugin {
    pub fn start(host: &Host) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(host.dir.join("plugin.log")).unwrap();
        let mut command = host.program();
        let child = command.arg("docker-plugin").stderr(log).spawn().unwrap();
        eventually("the plug-in listens", || {
            host.try_sh("curl -sf -X POST --unix-socket /run/docker/plugins/pipework.sock http://x/Plugin.Activate")
        });
        Self { child }
    }

    pub fn end(&mut self, signal: Signal) {
        Host::signal(&self.child, signal);
        let _ = self.child.wait();
    }

    /// Kills it, or ends it, and starts another.
    pub fn again(&mut self, host: &Host, signal: Signal) {
        self.end(signal);
        *self = Self::start(host);
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

/// Hosts with an engine each, and the plug-in on the first.
pub fn world(hosts: usize) -> (Cluster, Plugin) {
    let mut lab = Cluster::of(hosts);
    lab.start_engines();
    let plugin = Plugin::start(lab.host(1));
    (lab, plugin)
}

/// `docker network create` on this host.
#[track_caller]
pub fn create(host: &Host, words: &str) {
    host.docker(&format!("network create -d pipework {words}"));
}

/// The same, which has to fail with that.
#[track_caller]
pub fn refused(host: &Host, words: &str, wanted: &str) {
    let all = host.sh(&format!("docker network create -d pipework {words} 2>&1 && echo made || true"));
    assert!(all.contains(wanted) && !all.ends_with("made"), "{words}: {all}");
}

/// A container that sleeps, by the engine's own age of command line: the other does not ask an old engine for a MAC address.
#[track_caller]
pub fn run(host: &Host, name: &str, words: &str) {
    host.sh(&format!("/usr/bin/docker run -d --stop-timeout 1 --name {name} {words} box sleep 100000"));
}

/// What `docker inspect` says of a container's only network, or of one of several.
pub fn seen(host: &Host, name: &str, network: &str) -> Value {
    let text = host.docker(&format!("inspect {name} -f '{{{{json .NetworkSettings.Networks}}}}'"));
    serde_json::from_str::<Value>(&text).unwrap()[network].clone()
}

pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// The attachments of a container, as `pipework status` tells them.
pub fn attachments(host: &Host, name: &str) -> Vec<Value> {
    let ran = host.run("status --json");
    let all: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err));
    let is_its = |one: &&Value| one["guest"]["name"] == format!("docker:{name}");
    all["attachments"].as_array().unwrap().iter().filter(is_its).cloned().collect()
}

/// Waits until a container has so many attachments, all as they are wanted.
#[track_caller]
pub fn attached(host: &Host, name: &str, count: usize) {
    let is_so = || {
        let all = attachments(host, name);
        all.len() == count && all.iter().all(|one| one["standing"] == "ok")
    };
    for _ in 0..300 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let log = std::fs::read_to_string(host.dir.join("plugin.log")).unwrap_or_default();
    panic!("{name} has not {count} attachments:\n{}\n{log}", host.run("status").out);
}

/// Nothing is left of any container: no link, no record, no endpoint.
#[track_caller]
pub fn nothing_left(host: &Host) {
    let left = "find /run/pipework/guests /run/pipework/journal /var/lib/pipework/docker-plugin/endpoints \
                /var/lib/pipework/docker-plugin/grants -name '*.json' 2>/dev/null || true";
    // What the engine does not wait for may take a moment.
    let is_so = (0..100).any(|_| {
        let none = host.sh(left).is_empty();
        std::thread::sleep(std::time::Duration::from_millis(if none { 0 } else { 100 }));
        none
    });
    assert!(is_so, "{}\n{}", host.sh(&format!("for file in $({left}); do echo $file; cat $file; done")), host.run("status").out);
    let links = host.sh("ip -br link | awk '{print $1}'");
    let known = |link: &str| link == "lo" || link.starts_with("ens32") || link.starts_with("br");
    assert!(links.lines().all(known), "{links}");
}
