//! A container's bundle: what its config.json says of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::OciError;

/// An engine writes some kilobytes; environment and mounts may make it more.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What of a config.json is of use here (OCI runtime specification, "Configuration"). Anything may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Bundle {
    /// Annotations.
    pub(super) annotations: Option<BTreeMap<String, String>>,
    /// The host name.
    pub(super) hostname: Option<String>,
    /// The process to be.
    process: Option<Process>,
    /// Mounts, among which are the engine's own files.
    pub(super) mounts: Option<Vec<Mount>>,
    /// Namespaces.
    linux: Option<Linux>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Process {
    env: Option<Vec<String>>,
}

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Mount {
    /// Where in the container.
    pub(super) destination: PathBuf,
    /// What is mounted, for a bind mount a path of the host's.
    pub(super) source: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Linux {
    namespaces: Option<Vec<Kind>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

impl Bundle {
    /// Reads the config.json of a bundle.
    pub(super) fn read(directory: &Path) -> Result<Self, OciError> {
        if !directory.is_absolute() {
            return Err(OciError::File { path: directory.display().to_string(), why: "the bundle's path has to be absolute".into() });
        }
        json(&directory.join("config.json"))
    }

    /// Its environment variables.
    pub(super) fn env(&self) -> BTreeMap<String, String> {
        let all = self.process.as_ref().and_then(|process| process.env.as_ref());
        all.into_iter().flatten().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether its root is not the host's.
    pub(super) fn has_user_namespace(&self) -> bool {
        let all = self.linux.as_ref().and_then(|linux| linux.namespaces.as_ref());
        all.into_iter().flatten().any(|namespace| namespace.kind == "user")
    }
}

/// Opens a regular file; one that is a device, a FIFO or a link is not touched.
pub(super) fn open(path: &Path) -> std::io::Result<File> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is no regular file")) }
}

/// Reads a JSON file of reasonable size.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, OciError> {
    let wrong = |why: String| OciError::File { path: path.display().to_string(), why };
    let file = open(path).map_err(|error| wrong(error.to_string()))?;
    parse(file).map_err(wrong)
}

/// Reads JSON of reasonable size from a file that is open.
pub(super) fn parse<T: DeserializeOwned>(file: File) -> Result<T, String> {
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_and_namespaces_are_read_and_nothing_need_be_there() {
        let text = r#"{"process":{"env":["A=b=c","none","X="]},"linux":{"namespaces":[{"type":"user"},{"type":"network"}]}}"#;
        let bundle: Bundle = serde_json::from_str(text).unwrap();
        assert_eq!(bundle.env(), BTreeMap::from([("A".into(), "b=c".into()), ("X".into(), String::new())]));
        assert!(bundle.has_user_namespace());
        let empty: Bundle = serde_json::from_str(r#"{"process":null,"linux":{},"annotations":null}"#).unwrap();
        assert!(empty.env().is_empty() && !empty.has_user_namespace());
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        for name in ["fifo", "link", "absent", "."] {
            assert!(open(&dir.path().join(name)).is_err(), "{name}");
        }
        assert!(Bundle::read(Path::new("relative")).unwrap_err().to_string().contains("absolute"));
    }
}
