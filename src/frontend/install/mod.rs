//! Makes engines call us: the hook file of Podman, and a runtime in Docker's daemon.json; the daemon a
//! service of systemd; and the program a plugin of CNI.

mod cni;
mod daemon_json;
mod docker_plugin;
mod place;
mod systemd;

use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::oci::POLICY;
pub use cni::{BIN_DIR, CniPlugin, NET_DIR};
pub use docker_plugin::{DockerPluginUnits, EXEC_ROOT, ManagedPlugin, PLUGIN_SOCKET_UNIT, PLUGIN_UNIT};
pub use place::{Change, Placed};
pub use systemd::{SystemdUnit, UNIT, UNIT_DIR, service};

/// Where Podman looks for hooks when nothing is configured (oci-hooks(5)).
pub const HOOKS_DIR: &str = "/usr/share/containers/oci/hooks.d";
/// Where Docker's daemon looks for its configuration.
pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";
/// The file of the hook. Files are read in the order of their names, and other hooks may count on the network.
const HOOK_FILE: &str = "50-pipework.json";
/// Version of that file's format.
const HOOK_FORMAT: &str = "1.0.0";
/// What the engine's patience is longer than ours by, in seconds: for undoing.
const SPARE_S: u64 = 5;

/// Why something was not installed, or removed. Nothing of the file was changed.
#[derive(Debug, Error)]
#[error("{path}: {why}")]
pub struct InstallError {
    path: String,
    why: String,
}

impl InstallError {
    fn new(path: &Path, why: impl ToString) -> Self {
        Self { path: path.display().to_string(), why: why.to_string() }
    }
}

/// How the hook is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFile {
    /// The directory of hook files.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// A topology whose attachments come first. It may be about any container: the hook is then called for all of them.
    pub config: Option<PathBuf>,
    /// The policy of containers' own words.
    pub policy: PathBuf,
    /// Look for labels too. Which containers have some Podman does not say: the hook is then called for all of them.
    pub labels: bool,
    /// A container that does not get what it asks for is not to run.
    pub fail_closed: bool,
    /// How many seconds the hook may take.
    pub timeout: u64,
}

impl HookFile {
    fn path(&self) -> PathBuf {
        self.dir.join(HOOK_FILE)
    }

    /// The file's text (oci-hooks(5)).
    fn text(&self) -> String {
        let mut args = vec!["pipework".to_owned(), "oci-hook".to_owned(), "--timeout".to_owned(), self.timeout.to_string()];
        args.extend(self.config.iter().flat_map(|config| ["--config".to_owned(), config.display().to_string()]));
        if self.policy != Path::new(POLICY) {
            args.extend(["--policy".to_owned(), self.policy.display().to_string()]);
        }
        args.extend(self.labels.then(|| "--labels".to_owned()));
        args.extend(self.fail_closed.then(|| "--fail-closed".to_owned()));
        let when = match self.config.is_some() || self.labels {
            true => json!({ "always": true }),
            false => json!({ "annotations": { "^pipework\\..+$": ".+" } }),
        };
        let document = json!({
            "version": HOOK_FORMAT,
            "hook": { "path": self.program, "args": args, "timeout": self.timeout + SPARE_S },
            "when": when,
            "stages": ["createRuntime", "poststop"],
        });
        format!("{document:#}\n")
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(&self, dry_run: bool) -> Result<Placed, InstallError> {
        for path in [&self.program, &self.policy].into_iter().chain(&self.config) {
            if !path.is_absolute() || path.to_str().is_none() {
                return Err(InstallError::new(path, "give a whole path, in UTF-8"));
            }
        }
        place::write(&self.path(), self.text(), dry_run)
    }

    /// Removes it.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn remove(&self, dry_run: bool) -> Result<Placed, InstallError> {
        let is_ours = place::text(&self.path())?.is_some_and(|text| text.contains("oci-hook"));
        place::remove(&self.path(), is_ours, dry_run)
    }
}

/// Docker's runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerRuntime {
    /// The daemon's configuration.
    pub daemon_json: PathBuf,
    /// The link by whose name the program is a runtime.
    pub link: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Options of ours for every container.
    pub args: Vec<String>,
}

impl DockerRuntime {
    /// Makes the link, and then writes the configuration that names it.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let old = place::text(&self.daemon_json)?.unwrap_or_default();
        let mut entry = json!({ "path": self.link });
        if !self.args.is_empty() {
            entry["runtimeArgs"] = json!(self.args);
        }
        let new = daemon_json::with_runtime(&old, &entry).map_err(|why| InstallError::new(&self.daemon_json, why))?;
        let link = place::link(&self.link, &self.program, dry_run)?;
        Ok(vec![link, self.write(new, dry_run)?])
    }

    /// Takes the runtime out of the configuration, and removes the link.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn remove(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let old = place::text(&self.daemon_json)?.unwrap_or_default();
        let new = daemon_json::without_runtime(&old).map_err(|why| InstallError::new(&self.daemon_json, why))?;
        let written = self.write(new, dry_run)?;
        let is_ours = std::fs::read_link(&self.link).is_ok_and(|target| target == self.program);
        Ok(vec![written, place::remove(&self.link, is_ours, dry_run)?])
    }

    /// `None`: it is as it should be.
    fn write(&self, new: Option<String>, dry_run: bool) -> Result<Placed, InstallError> {
        match new {
            Some(text) => place::write(&self.daemon_json, text, dry_run),
            None => Ok(Placed { path: self.daemon_json.clone(), change: Change::None }),
        }
    }
}
