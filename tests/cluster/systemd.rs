//! `cluster up` where systemd runs: a real one, as the first process of a host of its own. It finds no units but ours and the few
//! that these need, and all of the machine is read-only for it: what it does at a boot (it empties /tmp, for one) it cannot do here.

use std::process::{Child, Command, Stdio};

use crate::lab::{Ran, eventually, no_root, skip};

/// The program under test: it may lie in a place that is another there.
const PROGRAM: &str = "/run/under-test/pipework";

/// What the host's first process does before it becomes systemd.
const FIRST: &str = r#"
set -e
mount --make-rprivate /
exec 3< "$PIPEWORK"
for place in /run /tmp /var /usr/lib/systemd/system /usr/lib/systemd/system-generators; do mount -t tmpfs -o mode=0755 tmpfs $place; done
mkdir -p /run/lock /run/netns /run/over/etc /run/over/work /run/under-test /var/lib /var/tmp
cat <&3 > /run/under-test/pipework && chmod 755 /run/under-test/pipework && exec 3<&-
mount -t overlay -o lowerdir=/etc,upperdir=/run/over/etc,workdir=/run/over/work overlay /etc
rm -rf /etc/systemd/system /etc/pipework && mkdir -p /etc/systemd/system /etc/pipework
mount -o remount,bind,ro /
mount -o bind,ro /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
umount -l /sys && mount -t sysfs sysfs /sys
if [ "$1" = 2 ]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; else
  mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
fi
hostname only && echo only > /etc/hostname
ip link set lo up
cd /usr/lib/systemd/system
for unit in sysinit basic multi-user network-online shutdown; do
  printf '[Unit]\nDescription=%s\nDefaultDependencies=no\nAllowIsolate=yes\n' $unit > $unit.target
done
cd /
exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target --log-target=null --show-status=0
"#;

/// The cluster: this host alone, and a token that somebody made.
const FILE: &str = r#"
name = "lab"
[[hosts]]
name = "only"
address = "127.0.0.1"
[consul]
raft_multiplier = 1
acl = "given"
token_file = "/etc/pipework/consul.token"
"#;

struct Booted {
    child: Child,
    groups: Vec<String>,
}

impl Booted {
    /// `None`: there is no systemd here, or no way to give it groups of its own.
    fn start() -> Option<Self> {
        let there = |path: &str| std::path::Path::new(path).exists();
        let pure = there("/sys/fs/cgroup/cgroup.controllers");
        let (version, parents): (_, &[&str]) =
            if pure { ("2", &["/sys/fs/cgroup"]) } else { ("1", &["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"]) };
        if !there("/lib/systemd/systemd") || !parents.iter().all(|parent| there(parent)) {
            return None;
        }
        let groups: Vec<String> = parents.iter().map(|parent| format!("{parent}/pipework-systemd-{}", std::process::id())).collect();
        let enter: String = groups.iter().map(|group| format!("mkdir {group}; echo $$ > {group}/cgroup.procs; ")).collect();
        let spaces = "--cgroup --pid --mount --net --uts --ipc --fork --mount-proc --kill-child";
        let script = format!("set -e; {enter} exec unshare {spaces} bash -c \"$0\" first {version}");
        let child = Command::new("bash")
            .args(["-c", &script, FIRST])
            .env("PIPEWORK", env!("CARGO_BIN_EXE_pipework"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let booted = Self { child, groups };
        eventually("systemd runs", || booted.sh("systemctl is-system-running").out.trim() == "running");
        Some(booted)
    }

    fn first(&self) -> Option<String> {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id())).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }

    /// A line on the host; it ends after a minute.
    fn sh(&self, line: &str) -> Ran {
        let Some(first) = self.first() else { return Ran { code: None, out: String::new(), err: String::new() } };
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "60", "nsenter", "-t", &first, "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--wd=/"]);
        command.args(["sh", "-ec", line]).stdin(Stdio::null()).env("PIPEWORK", PROGRAM).output().unwrap().into()
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let ran = self.sh(line);
        assert_eq!(ran.code, Some(0), "{line}: {}{}", ran.out, ran.err);
        ran.out.trim().to_owned()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for group in &self.groups {
            let gone = || Command::new("find").args([group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]).output().unwrap();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while !gone().status.success() && std::path::Path::new(group).exists() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn where_systemd_runs_the_agents_are_its_units_and_go_with_down() {
    if no_root() || crate::lab::cluster::no_consul() {
        return;
    }
    let Some(host) = Booted::start() else {
        let _ = skip("needs systemd (Debian's package systemd) and its groups");
        return;
    };
    // First of all: nothing of the machine can be written to.
    assert!(host.sh("touch /usr/pipework-try").err.contains("Read-only file system"));
    host.ok(&format!(
        "(umask 077; cat /proc/sys/kernel/random/uuid > /etc/pipework/consul.token); cat > /etc/pipework/cluster.toml <<'X'{FILE}X"
    ));
    let up = host.ok("$PIPEWORK cluster up --timeout 50");
    assert!(up.contains("journalctl -u pipework-agent"), "{up}");
    assert!(host.ok("$PIPEWORK cluster up").contains("nothing to do"));
    assert_eq!(host.ok("systemctl is-enabled pipework-consul pipework-agent"), "enabled\nenabled");
    assert_eq!(host.ok("systemctl show -P Restart -P ProtectSystem pipework-agent").replace('\n', " "), "always strict");
    let verified =
        host.sh("systemd-analyze verify --man=no /etc/systemd/system/pipework-agent.service /etc/systemd/system/pipework-consul.service");
    assert_eq!(verified.err.lines().filter(|line| line.contains("pipework")).collect::<Vec<_>>(), [""; 0]);

    // Killed: it is there again, and counts as up.
    let pid = || host.ok("systemctl show -P MainPID pipework-agent");
    let before = pid();
    host.ok(&format!("kill -KILL {before}"));
    eventually("systemd has started it again", || !["0", &before].contains(&pid().as_str()));
    host.ok("$PIPEWORK cluster up --timeout 50");
    // Another word for it: it alone is started anew.
    let (agent, consul) = (pid(), host.ok("systemctl show -P MainPID pipework-consul"));
    host.ok("printf '[agent]\\nttl = 20\\n' >> /etc/pipework/cluster.toml");
    host.ok("$PIPEWORK cluster up --timeout 50");
    assert_ne!(pid(), agent);
    assert_eq!(host.ok("systemctl show -P MainPID pipework-consul"), consul);

    // Stopped by hand, they would be started at the next boot.
    host.ok("systemctl stop pipework-agent pipework-consul");
    host.ok("$PIPEWORK cluster down");
    assert_eq!(host.ok("find /etc/systemd/system /var/lib/pipework /run/pipework -type f -o -type l"), "");
    assert_eq!(host.ok("systemctl list-units --all --plain --no-legend 'pipework*'"), "");
}
