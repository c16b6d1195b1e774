//! Where the engines listen: environment, docker context, default sockets. Files and words only; nothing is asked.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::GuestError;

/// An engine's address and, for TLS, where its certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `unix:///path`, `tcp://host:port`.
    pub(super) address: String,
    /// Directory with ca.pem, cert.pem and key.pem.
    pub(super) certificates: Option<PathBuf>,
    /// Whether somebody chose it, rather than its being the default.
    pub(super) chosen: bool,
}

impl Endpoint {
    fn unix(path: &Path) -> Self {
        Self { address: format!("unix://{}", path.display()), certificates: None, chosen: false }
    }

    /// The socket's path, when it is one.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix("unix://").map(Path::new)
    }
}

/// What of the environment matters, so that the choice can be tested.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// DOCKER_HOST
    pub(super) docker_host: Option<String>,
    /// DOCKER_CONTEXT
    pub(super) docker_context: Option<String>,
    /// DOCKER_TLS_VERIFY or DOCKER_TLS
    pub(super) tls: bool,
    /// DOCKER_CERT_PATH
    pub(super) cert_path: Option<PathBuf>,
    /// DOCKER_CONFIG, else ~/.docker
    pub(super) config: Option<PathBuf>,
    /// CONTAINER_HOST
    pub(super) container_host: Option<String>,
    /// Runtime directories of the user and of the one who called sudo.
    pub(super) runtime: Vec<PathBuf>,
}

impl Environment {
    /// The process's own.
    pub(super) fn current() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let mut runtime: Vec<PathBuf> = path("XDG_RUNTIME_DIR").into_iter().collect();
        runtime
            .extend(text("SUDO_UID").filter(|uid| uid.bytes().all(|b| b.is_ascii_digit())).map(|uid| PathBuf::from("/run/user").join(uid)));
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            tls: text("DOCKER_TLS_VERIFY").is_some() || text("DOCKER_TLS").is_some(),
            cert_path: path("DOCKER_CERT_PATH"),
            config: path("DOCKER_CONFIG").or_else(|| path("HOME").map(|home| home.join(".docker"))),
            container_host: text("CONTAINER_HOST"),
            runtime,
        }
    }

    /// The Docker engine, chosen as the docker command does: DOCKER_HOST, DOCKER_CONTEXT, the current context, the
    /// default socket.
    pub(super) fn docker(&self) -> Result<Endpoint, GuestError> {
        if let Some(host) = &self.docker_host {
            let certificates = if self.tls { self.cert_path.clone().or_else(|| self.config.clone()) } else { None };
            return Ok(Endpoint { address: host.clone(), certificates, chosen: true });
        }
        match self.docker_context.clone().or_else(|| self.current_context()) {
            Some(name) if name != "default" => self.context(&name),
            _ => Ok(Endpoint::unix(Path::new("/var/run/docker.sock"))),
        }
    }

    fn current_context(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.config.as_ref()?.join("config.json")).ok()?;
        let config: Value = serde_json::from_str(&text).ok()?;
        config.get("currentContext")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// Contexts lie in directories named by a hash of their name; the name itself stands inside.
    fn context(&self, name: &str) -> Result<Endpoint, GuestError> {
        let contexts = self.config.as_ref().map(|c| c.join("contexts")).unwrap_or_default();
        let entries = std::fs::read_dir(contexts.join("meta")).into_iter().flatten().flatten();
        for entry in entries {
            let text = std::fs::read_to_string(entry.path().join("meta.json")).unwrap_or_default();
            let Ok(meta) = serde_json::from_str::<Value>(&text) else { continue };
            if meta.get("Name").and_then(Value::as_str) != Some(name) {
                continue;
            }
            if let Some(address) = meta.pointer("/Endpoints/docker/Host").and_then(Value::as_str) {
                let tls = contexts.join("tls").join(entry.file_name()).join("docker");
                return Ok(Endpoint { address: address.to_owned(), certificates: Some(tls).filter(|t| t.is_dir()), chosen: true });
            }
        }
        Err(GuestError::Engine {
            engine: format!("docker context {name:?}"),
            why: "there is no such context with a docker endpoint".into(),
        })
    }

    /// Podman's sockets: CONTAINER_HOST, else root's and the user's.
    pub(super) fn podman(&self) -> Vec<Endpoint> {
        if let Some(host) = &self.container_host {
            return vec![Endpoint { address: host.clone(), certificates: None, chosen: true }];
        }
        let sockets = std::iter::once(PathBuf::from("/run")).chain(self.runtime.iter().cloned());
        sockets.map(|run| Endpoint::unix(&run.join("podman/podman.sock"))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn docker_host_wins_over_a_context() {
        let env =
            Environment { docker_host: Some("tcp://10.0.0.1:2375".into()), docker_context: Some("x".into()), ..Environment::default() };
        assert_eq!(env.docker().unwrap().address, "tcp://10.0.0.1:2375");
    }

    #[test]
    fn the_current_context_is_found_by_its_name_and_an_unknown_one_is_an_error() {
        let config = tempfile::tempdir().unwrap();
        let meta = config.path().join("contexts/meta/abc");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::create_dir_all(config.path().join("contexts/tls/abc/docker")).unwrap();
        std::fs::write(meta.join("meta.json"), r#"{"Name":"lab","Endpoints":{"docker":{"Host":"tcp://h:2376"}}}"#).unwrap();
        std::fs::write(config.path().join("config.json"), r#"{"currentContext":"lab"}"#).unwrap();
        let mut env = Environment { config: Some(config.path().to_owned()), ..Environment::default() };
        let endpoint = env.docker().unwrap();
        assert_eq!(endpoint.address, "tcp://h:2376");
        assert_eq!(endpoint.certificates.unwrap(), config.path().join("contexts/tls/abc/docker"));
        env.docker_context = Some("nowhere".into());
        assert!(env.docker().unwrap_err().to_string().contains("nowhere"));
        env.docker_context = Some("default".into());
        assert_eq!(env.docker().unwrap().address, "unix:///var/run/docker.sock");
    }
}
