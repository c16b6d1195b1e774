//! The Docker network driver: a socket and a service of systemd; or, for swarms, a plug-in that the engine itself runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::systemd::{CAPABILITIES, confinement, word};
use super::{InstallError, Placed, place};
use crate::frontend::network_driver::SOCKET;

/// The units' names.
pub const PLUGIN_SOCKET_UNIT: &str = "pipework-docker-plugin.socket";
/// The service's.
pub const PLUGIN_UNIT: &str = "pipework-docker-plugin.service";
/// By this our files are known.
const MARK: &str = "# made by: pipework install docker-plugin";
/// Where the engine keeps the namespaces of its containers, unless it is told otherwise (dockerd --exec-root).
pub const EXEC_ROOT: &str = "/var/run/docker";

/// The units' files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerPluginUnits {
    /// Where units are.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
}

impl DockerPluginUnits {
    fn socket() -> String {
        format!(
            "{MARK}
[Unit]
Description=Docker network driver pipework
Documentation=man:pipework-docker-plugin(1)
# The engine finds it at once, also when it begins before the driver does.
Before=docker.service

[Socket]
ListenStream={SOCKET}
SocketMode=0660
DirectoryMode=0755
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"
        )
    }

    fn service(program: &str) -> String {
        format!(
            "{MARK}
[Unit]
Description=Docker network driver pipework
Documentation=man:pipework-docker-plugin(1)
Requires={PLUGIN_SOCKET_UNIT}
# It ends after the engine, which gives back what its containers had.
After=network.target {PLUGIN_SOCKET_UNIT}
Before=docker.service

[Service]
Type=notify
ExecStart={program} docker-plugin
EnvironmentFile=-/etc/default/pipework
# A container that starts waits for its answers.
Nice=-10
TimeoutStopSec=30
Restart=on-failure
RestartSec=1
LimitNOFILE=65536

RuntimeDirectory=pipework
# What is recorded of attachments outlives it.
RuntimeDirectoryPreserve=yes
StateDirectory=pipework
StateDirectoryMode=0700

{}
[Install]
Also={PLUGIN_SOCKET_UNIT}
",
            confinement("")
        )
    }

    /// Writes both.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let program = whole_path(&self.program)?;
        let socket = place::write(&self.dir.join(PLUGIN_SOCKET_UNIT), Self::socket(), dry_run)?;
        Ok(vec![socket, place::write(&self.dir.join(PLUGIN_UNIT), Self::service(&word(program)), dry_run)?])
    }

    /// Removes those that are ours.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn remove(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let one = |name: &str| {
            let path = self.dir.join(name);
            let is_ours = place::text(&path)?.is_some_and(|text| text.starts_with(MARK));
            place::remove(&path, is_ours, dry_run)
        };
        [PLUGIN_UNIT, PLUGIN_SOCKET_UNIT].into_iter().map(one).collect()
    }
}

fn whole_path(program: &Path) -> Result<&str, InstallError> {
    let text = program.to_str().filter(|_| program.is_absolute());
    text.ok_or_else(|| InstallError::new(program, "give a whole path, in UTF-8"))
}

/// A plug-in for `docker plugin create`: swarms take no other. It is this program as it is installed on the host, with the host's
/// own libraries, namespaces and records; in the plug-in's own file system there is next to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPlugin {
    /// Where config.json and rootfs are written.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Where the engine keeps the namespaces of its containers.
    pub exec_root: PathBuf,
}

impl ManagedPlugin {
    /// Writes it.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let root = self.dir.join("rootfs");
        // The engine names namespaces by this path.
        let mut placed = vec![place::link(&root.join("var/run"), Path::new("/run"), dry_run)?];
        for name in LIBRARIES {
            if let Ok(target) = std::fs::read_link(Path::new("/").join(name)) {
                placed.push(place::link(&root.join(name), &target, dry_run)?);
            }
        }
        let config = format!("{:#}\n", self.config()?);
        placed.push(place::write(&self.dir.join("config.json"), config, dry_run)?);
        Ok(placed)
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn remove(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let root = self.dir.join("rootfs");
        let links = std::iter::once("var/run").chain(LIBRARIES).map(|name| root.join(name));
        let mut placed = Vec::new();
        for link in links {
            let is_ours = link.is_symlink();
            placed.push(place::remove(&link, is_ours, dry_run)?);
        }
        let config = self.dir.join("config.json");
        let is_ours = place::text(&config)?.is_some_and(|text| text.contains("\"docker-plugin\""));
        placed.push(place::remove(&config, is_ours, dry_run)?);
        Ok(placed)
    }

    /// As docker's docs/extend/config.md has it.
    fn config(&self) -> Result<Value, InstallError> {
        let program = whole_path(&self.program)?;
        let capabilities: Vec<&str> = CAPABILITIES.split(' ').collect();
        Ok(json!({
            "description": "Fixed, LAN-reachable addresses for containers",
            "documentation": "man:pipework-docker-plugin(1)",
            "entrypoint": [program, "docker-plugin"],
            "workdir": "/",
            "interface": { "types": ["docker.networkdriver/1.0", "docker.ipamdriver/1.0"], "socket": "pipework.sock" },
            "network": { "type": "host" },
            "pidhost": true,
            "linux": { "capabilities": capabilities },
            "mounts": self.mounts()?,
        }))
    }

    fn mounts(&self) -> Result<Vec<Value>, InstallError> {
        let mut mounts = vec![mount("/usr", "ro"), mount("/etc", "ro"), mount("/run", "rw"), mount("/var/lib/pipework", "rw")];
        let own: Vec<String> = LIBRARIES.iter().map(|name| format!("/{name}")).filter(|path| is_directory(path)).collect();
        mounts.extend(own.iter().map(|path| mount(path, "ro")));
        let place = self.program.parent().unwrap_or(Path::new("/"));
        if !place.starts_with("/usr") {
            mounts.push(mount(whole_path(place)?, "ro"));
        }
        // Its directory of namespaces comes with the first container.
        if !["/run", "/var/run"].iter().any(|run| self.exec_root.starts_with(run)) {
            mounts.push(mount(whole_path(&self.exec_root)?, "rw"));
        }
        Ok(mounts)
    }
}

/// Where the loader and libraries are: today mostly links into /usr.
const LIBRARIES: [&str; 2] = ["lib", "lib64"];

fn is_directory(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// What is mounted there later, a namespace of a container's for example, is seen as well.
fn mount(path: &str, mode: &str) -> Value {
    let name = path.trim_start_matches('/').replace('/', ".");
    json!({ "name": name, "source": path, "destination": path, "type": "bind", "options": ["rbind", "rslave", mode] })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn units_are_written_and_only_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let units = DockerPluginUnits { dir: dir.path().to_owned(), program: "/usr/bin/pipework".into() };
        units.install(false).unwrap();
        let service = std::fs::read_to_string(dir.path().join(PLUGIN_UNIT)).unwrap();
        assert!(service.contains("ExecStart=/usr/bin/pipework docker-plugin\n"), "{service}");
        std::fs::write(dir.path().join(PLUGIN_UNIT), "[Unit]\n").unwrap();
        units.remove(false).unwrap();
        assert!(dir.path().join(PLUGIN_UNIT).exists() && !dir.path().join(PLUGIN_SOCKET_UNIT).exists());
    }

    #[test]
    fn a_managed_plug_in_sees_what_it_needs_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = ManagedPlugin { dir: dir.path().to_owned(), program: "/opt/p/pipework".into(), exec_root: "/srv/exec".into() };
        plugin.install(false).unwrap();
        let config: Value = serde_json::from_str(&std::fs::read_to_string(dir.path().join("config.json")).unwrap()).unwrap();
        let sources: Vec<&str> = config["mounts"].as_array().unwrap().iter().filter_map(|mount| mount["source"].as_str()).collect();
        assert!(["/usr", "/run", "/opt/p", "/srv/exec"].iter().all(|path| sources.contains(path)), "{sources:?}");
        assert_eq!(std::fs::read_link(dir.path().join("rootfs/var/run")).unwrap(), Path::new("/run"));
        plugin.remove(false).unwrap();
        assert!(!dir.path().join("config.json").exists());
    }
}
