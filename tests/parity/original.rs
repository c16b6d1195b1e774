//! Running the original script: in the lab's host, with just the commands it needs.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::lab::Ran;
use super::world::World;

/// What the script calls. Left out: iw, brctl and ovs-vsctl, so that it finds the same on every machine.
const TOOLS: [&str; 16] =
    ["awk", "basename", "cat", "cut", "find", "grep", "head", "ip", "ln", "md5sum", "mkdir", "rm", "sed", "sh", "sleep", "tc"];

/// Answers the three questions that the script asks Docker, for the lab's guests. A container that shares a guest's network
/// is a process in it, which ends when it has a lease: the state is then what it is while the container runs.
const DOCKER: &str = r#"#!/bin/sh
if [ "$1 $2 $4" = "run -d container:guest" ]; then
  shift 7
  exec nsenter --net="/proc/$PARITY_GUEST/ns/net" busybox "$@" -q -n -s /etc/udhcpc/default.script
fi
case "$3" in
guest) pid=$PARITY_GUEST ;;
other) pid=$PARITY_OTHER ;;
*) echo "Error: No such object: $3" >&2; exit 1 ;;
esac
case "$2" in
*State.Pid*) echo "$pid" ;;
*.ID*) echo 5d2ff9a94f0b83ac6d4fcb2a6c5b1a6b4a5f7e2a4b8e6d1c3f9a7b5e8d2c4f6a ;;
*.Name*) echo "/$3" ;;
esac
"#;

/// The script, and directories that are its whole PATH: with busybox and without, and the one that Open vSwitch adds.
pub struct Original {
    script: PathBuf,
    with: tempfile::TempDir,
    without: tempfile::TempDir,
    ovs: tempfile::TempDir,
}

impl Original {
    pub fn new(script: PathBuf) -> Self {
        assert!(script.is_file(), "PIPEWORK_ORIGINAL: no file {}", script.display());
        let (with, without) = (path_directory(), path_directory());
        symlink(tool("busybox"), with.path().join("busybox")).unwrap();
        let ovs = tempfile::tempdir().unwrap();
        symlink("/usr/bin/ovs-vsctl", ovs.path().join("ovs-vsctl")).unwrap();
        Self { script, with, without, ovs }
    }

    /// Runs the script. It looks for interfaces in /sys, which shows the namespace it was mounted in, and writes to
    /// /var/run/netns: it gets its own of both. DHCP clients write to /etc and to all of /run, and stay: they get their
    /// own, the PATH that they need, and end with the script.
    pub fn run(&self, world: &World, words: &str, busybox: bool) -> Ran {
        let path = if busybox { self.with.path() } else { self.without.path() };
        let words = words.replace("{guest}", "guest").replace("{other}", "other");
        let (own, path) = match &world.dhcp {
            None => (
                "mkdir -p /var/run/netns; mount -t tmpfs tmpfs /var/run/netns",
                world.ovs.as_ref().map_or(String::new(), |_| format!("{}:", self.ovs.path().display())) + &path.display().to_string(),
            ),
            Some(_) => (
                "mount -t tmpfs tmpfs /run; cp -a /etc /run/etc; mkdir -p /run/etc/dhclient; mount --bind /run/etc /etc; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/dhcpcd /run/netns",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.display()),
            ),
        };
        let line = format!("mount -t sysfs sysfs /sys; {own}; PATH=\"$1\"; export PATH; sh \"$0\" {words}");
        let mut command = world.lab.host.command("unshare");
        command.envs(world.ovs.as_ref().map(|ovs| ("OVS_RUNDIR", &ovs.dir)));
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-ec", &line]).arg(&self.script).arg(path);
        command
            .env("PARITY_GUEST", world.guest.pid().to_string())
            .env("PARITY_OTHER", world.other.as_ref().map(|o| o.pid().to_string()).unwrap_or_default());
        command.output().unwrap().into()
    }
}

fn path_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in TOOLS {
        symlink(tool(name), dir.path().join(name)).unwrap();
    }
    executable(&dir.path().join("docker"), DOCKER);
    // The real one waits a second for each announcement; it does not change the state.
    executable(&dir.path().join("arping"), "#!/bin/sh\n");
    dir
}

fn executable(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn tool(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("the original needs {name}"))
}
