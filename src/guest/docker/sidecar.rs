//! A container beside a guest's that shares its network: the original's way to a DHCP client without installing one.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions,
};
use futures::StreamExt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

use super::{Engine, block_on, connect, find_docker, find_podman, plain};
use crate::guest::GuestError;
use crate::kernel::{fork, signal};
use crate::model::facts::GuestId;

/// The container whose network it shares, by ID.
pub const LABEL_FOR: &str = "pipework.dhcp-for";
/// The interface that it is for.
pub const LABEL_IF: &str = "pipework.dhcp-if";
/// What a DHCP client needs (capabilities(7)): addresses, and packets without one. Docker gives the second by itself,
/// Podman does not.
pub const CAPABILITIES: [&str; 2] = ["NET_ADMIN", "NET_RAW"];

/// Why there is no such container.
#[derive(Debug, Error)]
pub enum SidecarError {
    /// The guest is no container of an engine: the original's own words.
    #[error(
        "You asked for a Docker-specific DHCP method. However, {0} doesn't seem to be a Docker container. Try to replace 'dhcp-container' with another option?"
    )]
    NotAContainer(String),
    /// The engine has no such image.
    #[error("{engine}: {why}")]
    NoImage {
        /// The engine.
        engine: String,
        /// The image.
        image: String,
        /// The engine's own words.
        why: String,
    },
    /// The engine refuses, or does not answer.
    #[error("{engine}: {why}")]
    Engine {
        /// The engine.
        engine: String,
        /// Its words.
        why: String,
    },
    /// The guest's engine cannot be asked.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl SidecarError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAContainer(_) => Some("dhcp is built in and needs no container".into()),
            Self::NoImage { image, .. } => Some(format!("docker pull {image}, or --dhcp-image names another with a udhcpc in it")),
            Self::Engine { .. } => None,
            Self::Guest(error) => error.hint(),
        }
    }
}

/// What is to run beside a guest.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The guest.
    pub guest: &'a GuestId,
    /// Its interface.
    pub interface: &'a str,
    /// The image.
    pub image: &'a str,
    /// The command.
    pub command: &'a [String],
}

/// Makes sure that a guest can have one.
///
/// # Errors
/// [`SidecarError::NotAContainer`].
pub fn check(guest: &GuestId) -> Result<&str, SidecarError> {
    guest.container.as_deref().ok_or_else(|| SidecarError::NotAContainer(guest.name.clone()))
}

/// Such a container. It is removed with this, unless it is let stay.
#[derive(Debug)]
pub struct Sidecar {
    engine: Engine,
    id: Option<String>,
}

/// How a container's command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status.
    pub status: i64,
    /// The end of what it printed.
    pub words: String,
}

impl Sidecar {
    /// Starts one; another for the same interface of the same guest goes first.
    ///
    /// # Errors
    /// What the engine says. Nothing is left then.
    pub fn start(beside: &Beside<'_>) -> Result<Self, SidecarError> {
        let guest = check(beside.guest)?;
        let container = if beside.guest.engine == "podman" { find_podman(guest)? } else { find_docker(guest)? };
        let mut sidecar = Self { engine: container.engine, id: None };
        sidecar.ask(|client| async move { remove_others(&client, guest, beside.interface).await })?;
        let body = body(beside, guest);
        let name = format!("pipework-dhcp-{}-{}", guest.get(..12).unwrap_or(guest), beside.interface.replace(|c| !is_plain(c), "_"));
        let options = CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let made = sidecar.ask(|client| async move { client.create_container(Some(options), body).await });
        let id = made.map_err(|error| no_image(error, beside.image))?.id;
        sidecar.id = Some(id.clone());
        sidecar.ask(|client| async move { client.start_container(&id, None::<StartContainerOptions>).await })?;
        Ok(sidecar)
    }

    /// How its command has ended; `None` while it runs.
    ///
    /// # Errors
    /// When the engine does not tell.
    pub fn ended(&self) -> Result<Option<Ended>, SidecarError> {
        let Some(id) = self.id.clone() else { return Ok(None) };
        let inspect = id.clone();
        let state = self
            .ask(|client| async move { client.inspect_container(&inspect, None::<InspectContainerOptions>).await })
            .map(|answer: ContainerInspectResponse| answer.state.unwrap_or_default())?;
        if state.running.unwrap_or(false) {
            return Ok(None);
        }
        Ok(Some(Ended { status: state.exit_code.unwrap_or(-1), words: self.words() }))
    }

    /// The end of what it has printed.
    pub fn words(&self) -> String {
        let Some(id) = self.id.clone() else { return String::new() };
        let options = LogsOptions { stdout: true, stderr: true, tail: "6".into(), ..LogsOptions::default() };
        let lines = self.ask(|client| async move {
            let mut lines = Vec::new();
            let mut logs = std::pin::pin!(client.logs(&id, Some(options)));
            while let Some(line) = logs.next().await {
                lines.push(line?.to_string().trim().to_owned());
            }
            Ok(lines)
        });
        let joined = lines.unwrap_or_default().join("; ");
        joined.replace(|c: char| c.is_control(), " ")
    }

    /// Lets it stay. A process of ours removes it when the guest ends; `false`: there can be none.
    pub fn stay(mut self, guest: Option<&OwnedFd>) -> bool {
        let id = self.id.take();
        let Some(guest) = guest else { return false };
        let watch = || {
            let _ = nix::unistd::setsid();
            signal::let_all_through();
            while poll(&mut [PollFd::new(guest.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).is_err() {}
            self.id = id;
            drop(self);
        };
        fork::child(&[guest.as_raw_fd()], watch).is_some()
    }

    fn ask<T, F: Future<Output = Result<T, Error>>>(&self, work: impl FnOnce(Docker) -> F) -> Result<T, SidecarError> {
        let fail = |why: String| SidecarError::Engine { engine: self.engine.describe(), why };
        let client = connect(self.engine.endpoint()).map_err(fail)?;
        block_on(work(client))?.map_err(|error| fail(plain(&error)))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let _ = self.ask(|client| async move { remove(&client, &id).await });
        }
    }
}

/// What a name of a container may have in it.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn body(beside: &Beside<'_>, guest: &str) -> ContainerCreateBody {
    let labels = [(LABEL_FOR, guest), (LABEL_IF, beside.interface)];
    let host = HostConfig {
        network_mode: Some(format!("container:{guest}")),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(beside.image.to_owned()),
        cmd: Some(beside.command.to_vec()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// Those that an earlier run has left for the interface.
async fn remove_others(client: &Docker, guest: &str, interface: &str) -> Result<(), Error> {
    let labels = vec![format!("{LABEL_FOR}={guest}"), format!("{LABEL_IF}={interface}")];
    let filters = Some(HashMap::from([("label".to_owned(), labels)]));
    let options = ListContainersOptions { all: true, filters, ..ListContainersOptions::default() };
    for left in client.list_containers(Some(options)).await? {
        remove(client, &left.id.unwrap_or_default()).await?;
    }
    Ok(())
}

async fn remove(client: &Docker, id: &str) -> Result<(), Error> {
    client.remove_container(id, Some(RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() })).await
}

/// Docker: "No such image: busybox:latest".
fn no_image(error: SidecarError, image: &str) -> SidecarError {
    match error {
        SidecarError::Engine { engine, why } if why.to_lowercase().contains("no such image") => {
            SidecarError::NoImage { engine, image: image.to_owned(), why }
        }
        other => other,
    }
}
