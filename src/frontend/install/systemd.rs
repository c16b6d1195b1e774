//! The daemon as a service of systemd.

use std::path::PathBuf;

use super::{InstallError, Placed, place};

/// Where an administrator's units are (systemd.unit(5)).
pub const UNIT_DIR: &str = "/etc/systemd/system";
/// The unit's name.
pub const UNIT: &str = "pipework.service";
/// By this our file is known.
const MARK: &str = "# made by: pipework install systemd";

/// All that the daemon may do, as root. Without one of them it does not: tests/systemd.rs runs it with these and no others.
///
/// NET_ADMIN: interfaces, addresses, routes. NET_RAW: ARP, and DHCP before there is an address. NET_BIND_SERVICE: DHCP's port.
/// SYS_ADMIN: entering guests' network namespaces. SYS_PTRACE: finding them in /proc/PID/ns when the guest is another user's.
pub(super) const CAPABILITIES: &str = "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_ADMIN CAP_SYS_PTRACE";

/// The unit's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdUnit {
    /// Where units are.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
}

impl SystemdUnit {
    fn path(&self) -> PathBuf {
        self.dir.join(UNIT)
    }

    /// The file's text.
    fn text(&self, program: &str) -> String {
        format!(
            "{MARK}
[Unit]
Description=Fixed, LAN-reachable addresses for containers
Documentation=man:pipework-daemon(1)
# Engines need not be there: the daemon waits for them.
After=network.target docker.service podman.socket

[Service]
ExecStart={program} daemon
{}
[Install]
WantedBy=multi-user.target
",
            service("on-failure")
        )
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(&self, dry_run: bool) -> Result<Placed, InstallError> {
        let program = self.program.to_str().filter(|_| self.program.is_absolute());
        let program = program.ok_or_else(|| InstallError::new(&self.program, "give a whole path, in UTF-8"))?;
        place::write(&self.path(), self.text(&word(program)), dry_run)
    }

    /// Removes it, if it is ours.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn remove(&self, dry_run: bool) -> Result<Placed, InstallError> {
        let is_ours = place::text(&self.path())?.is_some_and(|text| text.starts_with(MARK));
        place::remove(&self.path(), is_ours, dry_run)
    }
}

/// The lines of a section `[Service]` by which systemd runs a daemon of ours, but for the program itself. What it writes to is its own,
/// the netns directory, and the resolv.conf of containers (--dhcp-dns).
pub fn service(restart: &str) -> String {
    format!(
        "Type=notify
# Each reload ends with a message, so that systemctl waits for it, as with Type=notify-reload of systemd 253.
ExecReload=kill -HUP $MAINPID
EnvironmentFile=-/etc/default/pipework
WatchdogSec=60
# A container has started already when the daemon hears of it: it has to be quick then. It does next to nothing otherwise.
Nice=-10
TimeoutStartSec=300
TimeoutStopSec=30
Restart={restart}
RestartSec=1
# At the end all attachments stand, and what hooks have started goes on.
KillMode=process
# A socket and a process for each guest; a thread for each lease that is kept.
LimitNOFILE=65536
TasksMax=16384

RuntimeDirectory=pipework
# What is recorded of attachments outlives the daemon.
RuntimeDirectoryPreserve=yes
StateDirectory=pipework
StateDirectoryMode=0700

{}",
        confinement("ReadWritePaths=-/var/lib/docker/containers -/var/lib/containers\n")
    )
}

/// The lines by which a daemon of ours may do no more than it needs to; `more` are further ones, of what it may write to.
pub(super) fn confinement(more: &str) -> String {
    format!(
        "CapabilityBoundingSet={CAPABILITIES}
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/run
{more}ProtectHome=read-only
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_PACKET AF_INET AF_INET6
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
UMask=0077
"
    )
}

/// A path as one word of a command line in a unit (systemd.service(5), "COMMAND LINES"; systemd.unit(5), "SPECIFIERS").
pub(super) fn word(path: &str) -> String {
    let escaped = path.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped == path && !path.contains(char::is_whitespace) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(word("/usr/local/bin/pipework"), "/usr/local/bin/pipework");
        assert_eq!(word("/opt/my tools/100%/$x\"y\\z"), "\"/opt/my tools/100%%/$$x\\\"y\\\\z\"");
    }

    #[test]
    fn a_unit_of_somebody_elses_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let unit = SystemdUnit { dir: dir.path().to_owned(), program: "/usr/bin/pipework".into() };
        std::fs::write(unit.path(), "[Unit]\n").unwrap();
        unit.remove(false).unwrap();
        assert!(unit.path().exists());
        unit.install(false).unwrap();
        unit.remove(false).unwrap();
        assert!(!unit.path().exists());
        let relative = SystemdUnit { program: "pipework".into(), ..unit };
        assert!(relative.install(false).is_err());
    }
}
