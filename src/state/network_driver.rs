//! What the Docker network driver keeps: small files under the state directory, which outlive the plug-in, the engine and a boot.
//!
//! ```text
//! docker-plugin/networks/ID.json        a network, as the engine made it
//! docker-plugin/endpoints/ID.json       an endpoint, and the link that was made for it
//! docker-plugin/grants/POOL,IP.json     an address that our IPAM driver gave out, with the lease where a server lent it
//! ```

use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::records::{entries, remove, write};
use crate::model::network_driver::{Endpoint, Grant, Id, Network, PoolId};

/// A larger file is none of ours.
const LARGEST: u64 = 1 << 20;

/// The files of one host.
#[derive(Clone, Debug)]
pub struct DriverFiles {
    directory: PathBuf,
}

impl DriverFiles {
    /// Those in a state directory ([`super::state_dir`]).
    pub fn of(state_dir: &Path) -> Self {
        Self { directory: state_dir.join("docker-plugin") }
    }

    /// A network.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn network(&self, id: &Id) -> Result<Option<Network>> {
        read(&self.path("networks", id.as_str()))
    }

    /// All networks.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn networks(&self) -> Result<Vec<Network>> {
        self.all("networks")
    }

    /// Keeps a network.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_network(&self, network: &Network) -> Result<()> {
        write(&self.path("networks", network.id.as_str()), network)
    }

    /// Forgets a network.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove_network(&self, id: &Id) -> Result<()> {
        remove(&self.path("networks", id.as_str()))
    }

    /// An endpoint.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn endpoint(&self, id: &Id) -> Result<Option<Endpoint>> {
        read(&self.path("endpoints", id.as_str()))
    }

    /// All endpoints.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>> {
        self.all("endpoints")
    }

    /// Keeps an endpoint.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        write(&self.path("endpoints", endpoint.id.as_str()), endpoint)
    }

    /// Forgets an endpoint.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove_endpoint(&self, id: &Id) -> Result<()> {
        remove(&self.path("endpoints", id.as_str()))
    }

    /// An address that was given out.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn grant(&self, pool: &PoolId, ip: IpAddr) -> Result<Option<Grant>> {
        read(&self.grant_path(pool, ip))
    }

    /// All addresses that were given out.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn grants(&self) -> Result<Vec<Grant>> {
        self.all("grants")
    }

    /// Keeps an address that was given out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_grant(&self, grant: &Grant) -> Result<()> {
        write(&self.grant_path(&grant.pool, grant.addr.ip()), grant)
    }

    /// Forgets an address that was given back.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove_grant(&self, pool: &PoolId, ip: IpAddr) -> Result<()> {
        remove(&self.grant_path(pool, ip))
    }

    fn path(&self, kind: &str, name: &str) -> PathBuf {
        self.directory.join(kind).join(format!("{name}.json"))
    }

    /// A subnet's slash cannot stand in a file's name.
    fn grant_path(&self, pool: &PoolId, ip: IpAddr) -> PathBuf {
        self.path("grants", &format!("{},{ip}", pool.to_string().replace('/', "_")))
    }

    /// One that is damaged is left where it is, and out.
    fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>> {
        let files = entries(&self.directory.join(kind))?;
        let files = files.iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
        Ok(files.filter_map(|path| read(path).ok().flatten()).collect())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let wrong = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
        Ok(found) if found.len() > LARGEST => return Err(wrong(Error::other("it is too large"))),
        Ok(_) => {}
    }
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(wrong)?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(Error::new(ErrorKind::InvalidData, error)))
}
