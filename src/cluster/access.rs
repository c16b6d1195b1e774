//! How a host reaches its Consul agent: what cluster.toml says, and the environment's token.

use std::path::{Path, PathBuf};

use crate::external::consul::{Access, Consul, ConsulError, Secret, TlsFiles};
use crate::model::cluster::{AclPart, Cluster, HttpPart};

/// The local agent's client. A token comes from `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_TOKEN`, or the file that cluster.toml
/// names, in this order; that file may be missing.
///
/// # Errors
/// When a file cannot be read, or tokens would go over a network for all to read.
pub fn consul(cluster: &Cluster) -> Result<Consul, ConsulError> {
    consul_by(cluster, token(token_file(cluster).as_deref())?)
}

/// The same by a token of one's own.
pub(crate) fn consul_by(cluster: &Cluster, token: Option<Secret>) -> Result<Consul, ConsulError> {
    let part = &cluster.consul;
    let tls = part.tls.as_ref().map(|tls| TlsFiles {
        ca: Some(tls.ca_file.clone()),
        cert: Some(tls.cert_file.clone()),
        key: Some(tls.key_file.clone()),
    });
    let access: Access = cluster.agent_address().parse()?;
    if access.is_open() && part.http != HttpPart::Everybody {
        let why = format!("{}: that is plain HTTP beyond this host: give an agent on 127.0.0.1, or https://", access.address());
        return Err(ConsulError::Access(why));
    }
    Consul::new(&access.with_tls(tls.unwrap_or_default()).with_token(token))
}

/// This host's own token, where `cluster up` has made it one; else the one that the file names.
pub(crate) fn token_file(cluster: &Cluster) -> Option<PathBuf> {
    host_token_file(cluster).filter(|path| path.exists()).or_else(|| cluster.consul.token_file.clone())
}

/// Where this host's own token is, beside the one that may do everything: `TOKEN_FILE.host`.
pub(crate) fn host_token_file(cluster: &Cluster) -> Option<PathBuf> {
    let mut path = cluster.consul.token_file.as_ref().filter(|_| cluster.consul.acl == AclPart::Bootstrap)?.clone().into_os_string();
    path.push(".host");
    Some(path.into())
}

pub(crate) fn token(file: Option<&Path>) -> Result<Option<Secret>, ConsulError> {
    let word = |name: &str| std::env::var(name).ok().filter(|word| !word.is_empty());
    if let Some(path) = word("CONSUL_HTTP_TOKEN_FILE") {
        return Secret::from_file(Path::new(&path)).map(Some);
    }
    if let Some(token) = word("CONSUL_HTTP_TOKEN") {
        return Secret::new(&token).map(Some);
    }
    file.filter(|file| file.exists()).map(Secret::from_file).transpose()
}
