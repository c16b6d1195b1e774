//! A container of ours on the host's own network that the engine starts again whenever it ends.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, StartContainerOptions};

use super::{block_on, connect, plain};
use crate::guest::GuestError;
use crate::guest::endpoint::{Endpoint, Environment};

/// By this a container is known as ours; its value says what it was made of. It is none of the labels that ask for an attachment.
pub const LABEL: &str = "pipework-kept";

/// The container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptContainer {
    /// Its name.
    pub name: String,
    /// Its image. The engine has to have it.
    pub image: String,
    /// The words for the image's program.
    pub command: Vec<String>,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptStanding {
    /// It runs, as it is to.
    Runs,
    /// It was made of something else.
    Old,
    /// It does not run: how it is instead.
    No(String),
    /// There is none.
    Absent,
    /// Somebody else's has its name.
    Foreign,
}

impl KeptContainer {
    fn ask<T>(&self, what: &str, work: impl AsyncFnOnce(Docker) -> Result<T, Error>) -> Result<T, GuestError> {
        let endpoint: Endpoint = Environment::current().docker()?;
        let engine = |why: String| GuestError::Engine { engine: format!("docker at {}", endpoint.address), why };
        let client = connect(&endpoint).map_err(engine)?;
        block_on(work(client))?.map_err(|error| engine(format!("{what} {}: {}", self.name, plain(&error))))
    }

    /// What it is made of, in one line.
    fn made_of(&self) -> String {
        format!("{} {}", self.image, self.command.join(" "))
    }

    /// How it stands.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn standing(&self) -> Result<KeptStanding, GuestError> {
        let found =
            self.ask("container", async |client| match client.inspect_container(&self.name, None::<InspectContainerOptions>).await {
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
                answer => answer.map(Some),
            })?;
        Ok(found.map_or(KeptStanding::Absent, |found| self.judge(found)))
    }

    fn judge(&self, found: ContainerInspectResponse) -> KeptStanding {
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let state = found.state.unwrap_or_default();
        match labels.get(LABEL) {
            None => KeptStanding::Foreign,
            Some(made_of) if *made_of != self.made_of() => KeptStanding::Old,
            _ if state.running == Some(true) && state.restarting != Some(true) => KeptStanding::Runs,
            _ => KeptStanding::No(format!("its container ended with status {}", state.exit_code.unwrap_or_default())),
        }
    }

    /// Makes and starts it, in place of one of ours that was made of something else.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn start(&self) -> Result<(), GuestError> {
        match self.standing()? {
            KeptStanding::Runs | KeptStanding::Foreign => return Ok(()),
            KeptStanding::Old => self.remove()?,
            KeptStanding::Absent | KeptStanding::No(_) => {}
        }
        let options = CreateContainerOptions { name: Some(self.name.clone()), ..CreateContainerOptions::default() };
        self.ask("container", async |client| match client.create_container(Some(options), self.body()).await {
            // It is there, and does not run.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            answer => answer.map(drop),
        })?;
        self.ask("container", async |client| client.start_container(&self.name, None::<StartContainerOptions>).await)
    }

    fn body(&self) -> ContainerCreateBody {
        let host = HostConfig {
            network_mode: Some("host".into()),
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None }),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(self.command.clone()),
            labels: Some(HashMap::from([(LABEL.to_owned(), self.made_of())])),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    /// Removes it; somebody else's of its name stays.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn remove(&self) -> Result<(), GuestError> {
        if matches!(self.standing()?, KeptStanding::Absent | KeptStanding::Foreign) {
            return Ok(());
        }
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        self.ask("container", async |client| match client.remove_container(&self.name, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            answer => answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState};

    use super::*;

    #[test]
    fn one_of_somebody_elses_is_never_taken_for_ours_and_a_changed_one_is_seen() {
        let wanted = KeptContainer { name: "x".into(), image: "swarm".into(), command: vec!["manage".into()] };
        let found = |label: Option<&str>, running: bool| ContainerInspectResponse {
            config: Some(ContainerConfig {
                labels: label.map(|label| HashMap::from([(LABEL.to_owned(), label.to_owned())])),
                ..ContainerConfig::default()
            }),
            state: Some(ContainerState { running: Some(running), exit_code: Some(3), ..ContainerState::default() }),
            ..ContainerInspectResponse::default()
        };
        assert_eq!(wanted.judge(found(None, true)), KeptStanding::Foreign);
        assert_eq!(wanted.judge(found(Some("swarm manage"), true)), KeptStanding::Runs);
        assert_eq!(wanted.judge(found(Some("swarm list"), true)), KeptStanding::Old);
        assert_eq!(wanted.judge(found(Some("swarm manage"), false)), KeptStanding::No("its container ended with status 3".into()));
    }
}
