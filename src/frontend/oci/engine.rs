//! What engines know of a container beyond its bundle, from their own files. Asking the engine itself would wait for the lock
//! that it holds on the container until its runtime is done.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::bundle::{self, Bundle};

/// Files that Docker makes for each container in a directory of its own, and mounts there.
const DOCKERS: [(&str, &str); 3] = [("/etc/hostname", "hostname"), ("/etc/hosts", "hosts"), ("/etc/resolv.conf", "resolv.conf")];
/// Where Docker keeps what it knows of a container.
const DOCKER_CONFIG: &str = "config.v2.json";
/// Where Podman's storage lists containers: those that outlive a boot, and those that do not.
const PODMAN_LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];
/// The annotation by which Podman's containers are known.
const MANAGER: &str = "io.container.manager";

/// What an engine knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) engine: Option<&'static str>,
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    /// Podman only: when it was made, in seconds since the epoch.
    pub(super) made: Option<i64>,
}

/// Looks where Docker and Podman keep it.
pub(super) fn known(id: &str, directory: &Path, bundle: &Bundle) -> Known {
    // The identifier becomes part of a path.
    if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Known::default();
    }
    docker(id, bundle).or_else(|| podman(id, directory, bundle)).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerFile {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    config: DockerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// With `--network container:OTHER` the files are those of the other: the directory beside is the container's own.
fn docker(id: &str, bundle: &Bundle) -> Option<Known> {
    let mounts = bundle.mounts.as_ref()?;
    let is_dockers = |destination: &Path, source: &Path| {
        DOCKERS.iter().any(|(inside, name)| destination == Path::new(inside) && source.file_name().is_some_and(|file| file == *name))
    };
    let sources = mounts.iter().filter_map(|mount| mount.source.as_deref().filter(|source| is_dockers(&mount.destination, source)));
    let file =
        sources.filter_map(|source| Some(source.parent()?.parent()?.join(id).join(DOCKER_CONFIG))).find_map(|path| dockers(&path))?;
    let engine = Some("docker");
    let name = Some(file.name.trim_start_matches('/').to_owned()).filter(|name| !name.is_empty());
    let labels = file.config.labels.unwrap_or_default();
    (file.id == id).then_some(Known { engine, name, image: file.config.image, labels, made: None })
}

/// A mount may be the user's own: only what the engine can have written counts.
fn dockers(path: &Path) -> Option<DockerFile> {
    let file = bundle::open(path).ok()?;
    let found = file.metadata().ok()?;
    let us = nix::unistd::geteuid().as_raw();
    let is_trusted = (found.uid() == 0 || found.uid() == us) && found.mode() & 0o022 == 0;
    if is_trusted { bundle::parse(file).ok() } else { None }
}

#[derive(Deserialize)]
struct PodmanEntry {
    id: String,
    names: Option<Vec<String>>,
    metadata: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct PodmanMetadata {
    name: Option<String>,
    image_name: Option<String>,
    created_at: Option<i64>,
}

/// The bundle is `STORAGE/ID/userdata`, and the list is in STORAGE. Labels are in a database that
/// only Podman reads.
fn podman(id: &str, directory: &Path, bundle: &Bundle) -> Option<Known> {
    let is_podmans = bundle.annotations.as_ref().is_some_and(|all| all.get(MANAGER).is_some_and(|manager| manager == "libpod"));
    let storage: PathBuf = directory.parent()?.parent()?.to_owned();
    if !is_podmans {
        return None;
    }
    let lists = PODMAN_LISTS.iter().filter_map(|list| bundle::json::<Vec<PodmanEntry>>(&storage.join(list)).ok());
    let entry = lists.flatten().find(|entry| entry.id == id);
    let metadata = entry.as_ref().and_then(|entry| serde_json::from_str::<PodmanMetadata>(entry.metadata.as_deref()?).ok());
    let metadata = metadata.unwrap_or_default();
    let name = metadata.name.or_else(|| entry?.names?.into_iter().next());
    Some(Known { engine: Some("podman"), name, image: metadata.image_name, labels: BTreeMap::new(), made: metadata.created_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(text: &str) -> Bundle {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn dockers_own_file_beside_a_mounted_one_tells_name_image_and_labels() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("containers/0abc");
        std::fs::create_dir_all(&own).unwrap();
        let text = r#"{"ID":"0abc","Name":"/web","Config":{"Image":"box:1","Labels":{"pipework.lan":"br0 0/0"}}}"#;
        std::fs::write(own.join(DOCKER_CONFIG), text).unwrap();
        let source = root.path().join("containers/another/hostname");
        let text = format!(r#"{{"mounts":[{{"destination":"/x"}},{{"destination":"/etc/hostname","source":"{}"}}]}}"#, source.display());
        let known = known("0abc", Path::new("/b"), &bundle(&text));
        assert_eq!((known.engine, known.name.as_deref(), known.image.as_deref()), (Some("docker"), Some("web"), Some("box:1")));
        assert_eq!(known.labels["pipework.lan"], "br0 0/0");
        // One that anybody could have written does not count, nor does another container's.
        let path = own.join(DOCKER_CONFIG);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(super::known("0abc", Path::new("/b"), &bundle(&text)), Known::default());
        for id in ["0abd", "../0abc", "0abc/.."] {
            assert_eq!(super::known(id, Path::new("/b"), &bundle(&text)), Known::default(), "{id}");
        }
    }

    #[test]
    fn podmans_storage_tells_the_name() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("0abc/userdata");
        std::fs::create_dir_all(&directory).unwrap();
        let list = r#"[{"id":"1","names":["db"]},{"id":"0abc","names":["web"],"metadata":"{\"image-name\":\"box\",\"name\":\"web\"}"}]"#;
        std::fs::write(root.path().join("containers.json"), list).unwrap();
        let podmans = bundle(r#"{"annotations":{"io.container.manager":"libpod"}}"#);
        let known = known("0abc", &directory, &podmans);
        assert_eq!((known.engine, known.name.as_deref(), known.image.as_deref()), (Some("podman"), Some("web"), Some("box")));
        assert_eq!(super::known("0abc", &directory, &Bundle::default()), Known::default());
    }
}
