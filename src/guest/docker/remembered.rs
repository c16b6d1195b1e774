//! What Podman remembers of a container's making. While it starts the container it keeps everybody waiting who asks about it,
//! and who lists containers too; its log of events it reads to anybody at once.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures::StreamExt;

use super::{Engine, block_on, connect, plain};
use crate::guest::GuestError;
use crate::guest::endpoint::Environment;

/// How long its answer may take: systemd may have to start it first.
const PATIENCE: Duration = Duration::from_secs(3);
/// Clocks and rounding, in seconds.
const TOLERANCE_S: i64 = 60;

/// The labels of a container of Podman's that was made at that time, in seconds since the epoch.
///
/// # Errors
/// When no Podman is there to be asked, or it remembers nothing.
pub fn labels(id: &str, made: i64) -> Result<BTreeMap<String, String>, GuestError> {
    let engines: Vec<Engine> = Environment::current().podman().into_iter().map(Engine::Podman).collect();
    let engine = engines.iter().find(|engine| engine.may_answer()).or(engines.first());
    let Some(engine) = engine else { return Ok(BTreeMap::new()) };
    let failed = |why: String| GuestError::Engine { engine: engine.describe(), why };
    if !engine.may_answer() {
        return Err(failed("there is no such socket, so labels are not known; systemctl enable --now podman.socket makes it".into()));
    }
    block_on(async {
        let asked = tokio::time::timeout(PATIENCE, ask(engine, id, made)).await;
        asked.unwrap_or_else(|_| Err(format!("it did not tell the container's labels within {} s", PATIENCE.as_secs())))
    })?
    .map_err(failed)
}

/// The first event that says how it was made.
async fn ask(engine: &Engine, id: &str, made: i64) -> Result<BTreeMap<String, String>, String> {
    let client = connect(engine.endpoint())?;
    let only = |what: &str, value: &str| (what.to_owned(), vec![value.to_owned()]);
    let filters = HashMap::from([only("container", id), only("event", "create")]);
    let since = Some(made.saturating_sub(TOLERANCE_S).max(0).to_string());
    let mut events = Box::pin(client.events(Some(EventsOptions { since, until: None, filters: Some(filters) })));
    while let Some(event) = events.next().await {
        let actor = event.map_err(|error| plain(&error))?.actor.unwrap_or_default();
        if actor.id.as_deref() == Some(id) {
            return Ok(actor.attributes.unwrap_or_default().into_iter().collect());
        }
    }
    Err("it remembers nothing of the container".into())
}
