//! Which containers Docker has, and through which endpoints they are on its networks.

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::{Engine, Environment, block_on, connect, plain};
use crate::guest::GuestError;

/// A container, whether it runs or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The engine's identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its endpoints; none while it does not run.
    pub endpoints: Vec<String>,
}

/// The identifiers of all networks of the Docker engine.
///
/// # Errors
/// When the engine does not answer.
pub fn networks() -> Result<Vec<String>, GuestError> {
    let engine = Engine::Docker(Environment::current().docker()?);
    let fail = |why: String| GuestError::Engine { engine: engine.describe(), why };
    let listed = block_on(async {
        let client = connect(engine.endpoint())?;
        client.list_networks(None::<bollard::query_parameters::ListNetworksOptions>).await.map_err(|error| plain(&error))
    })?;
    Ok(listed.map_err(fail)?.into_iter().filter_map(|network| network.id).collect())
}

/// All containers of the Docker engine: one question, which waits for no container that is just starting.
///
/// # Errors
/// When the engine does not answer.
pub fn connected() -> Result<Vec<Connected>, GuestError> {
    let engine = Engine::Docker(Environment::current().docker()?);
    let fail = |why: String| GuestError::Engine { engine: engine.describe(), why };
    let listed = block_on(async {
        let client = connect(engine.endpoint())?;
        let all = ListContainersOptionsBuilder::new().all(true).build();
        client.list_containers(Some(all)).await.map_err(|error| plain(&error))
    })?;
    let one = |container: bollard::models::ContainerSummary| {
        let names = container.names.unwrap_or_default();
        // Links of other containers are names, too: with two slashes.
        let name = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/')).unwrap_or_default().to_owned();
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let endpoints = networks.into_values().filter_map(|network| network.endpoint_id).filter(|id| !id.is_empty()).collect();
        Some(Connected { id: container.id.filter(|id| !id.is_empty())?, name, endpoints })
    };
    Ok(listed.map_err(fail)?.into_iter().filter_map(one).collect())
}
