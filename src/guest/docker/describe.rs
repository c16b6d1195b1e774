//! A container as its engine describes it to whoever asks what it wants.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, EventActor};
use bollard::query_parameters::InspectContainerOptions;

use super::{Engine, block_on, connect, plain, sidecar};
use crate::guest::containers::NoDescription;
use crate::model::intent::Container;

/// Labels, and variables, of one container may take so much memory, in bytes. What is more is not looked at.
const MOST: usize = 160 * 1024;
/// So much of one is kept. That is more than is read of one: it stays one that is too long.
const LONGEST: usize = 5000;

/// The container as it is now, with host name and environment; `None` when the engine has none of that ID.
pub(in crate::guest) fn inspect(engine: &Engine, id: &str) -> Result<Option<Container>, NoDescription> {
    let fail = |answered, why: String| NoDescription { answered, why: format!("{}: {why}", engine.describe()) };
    block_on(async {
        let client = connect(engine.endpoint()).map_err(|why| fail(false, why))?;
        match client.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(answer) => Ok(Some(inspected(engine, answer))),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(fail(matches!(error, Error::DockerResponseServerError { .. }), plain(&error))),
        }
    })
    .map_err(|error| fail(false, error.to_string()))?
}

/// Whether a container runs; `None` when the engine does not say so in time.
pub(in crate::guest) fn runs(engine: &Engine, id: &str, patience: Duration) -> Option<bool> {
    let ask = async {
        let client = connect(engine.endpoint()).ok()?;
        match client.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(answer) => Some(answer.state.and_then(|state| state.running).unwrap_or(false)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Some(false),
            Err(_) => None,
        }
    };
    block_on(async { tokio::time::timeout(patience, ask).await.ok().flatten() }).ok().flatten()
}

fn inspected(engine: &Engine, answer: ContainerInspectResponse) -> Container {
    let config = answer.config.unwrap_or_default();
    let pid = answer.state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let env = config.env.unwrap_or_default();
    let pairs = env.into_iter().filter_map(|text| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut container = Container {
        engine: engine.name().to_owned(),
        id: answer.id.unwrap_or_default(),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        hostname: config.hostname.unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        pid,
        labels: bounded(config.labels.unwrap_or_default()),
        env: bounded(pairs),
        has_user_namespace: false,
    };
    forget_sidecar(&mut container);
    container
}

/// As a list has it: without process, host name and environment.
pub(super) fn listed(engine: &Engine, summary: ContainerSummary) -> Option<Container> {
    let id = summary.id.filter(|id| !id.is_empty())?;
    // Links of other containers are names too: with two slashes.
    let names = summary.names.unwrap_or_default();
    let name = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/')).unwrap_or_default();
    let mut container = Container {
        engine: engine.name().to_owned(),
        id,
        name: name.to_owned(),
        image: summary.image.unwrap_or_default(),
        labels: bounded(summary.labels.unwrap_or_default()),
        ..Container::default()
    };
    forget_sidecar(&mut container);
    Some(container)
}

/// As an event has it: its labels are among the attributes.
pub(super) fn told(engine: &Engine, actor: EventActor) -> Option<Container> {
    let id = actor.id.filter(|id| !id.is_empty())?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let name = attributes.remove("name").unwrap_or_default();
    let image = attributes.remove("image").unwrap_or_default();
    let labels = bounded(attributes);
    let mut container = Container { engine: engine.name().to_owned(), id, name, image, labels, ..Container::default() };
    forget_sidecar(&mut container);
    Some(container)
}

/// In their order, as many as fit.
fn bounded<M: FromIterator<(String, String)>>(all: impl IntoIterator<Item = (String, String)>) -> M {
    let mut room = MOST;
    let cut = |(name, mut value): (String, String)| {
        if value.len() > LONGEST {
            value.truncate((0..=LONGEST).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0));
        }
        (name, value)
    };
    all.into_iter()
        .map(cut)
        .filter(|(name, value)| {
            let size = name.len().saturating_add(value.len());
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        })
        .collect()
}

/// A DHCP client's container beside a guest has labels of ours that ask for nothing.
fn forget_sidecar(container: &mut Container) {
    if container.labels.contains_key(sidecar::LABEL_FOR) {
        container.labels = std::collections::BTreeMap::new();
    }
}

/// What an event says of its subject, where it says it.
pub(super) fn attribute(attributes: Option<&HashMap<String, String>>, name: &str) -> Option<String> {
    attributes?.get(name).cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::guest::endpoint::Endpoint;

    #[test]
    fn labels_beyond_a_bound_are_not_kept_and_one_that_is_too_long_stays_so() {
        let name = "n".repeat(MOST - 10);
        let labels: BTreeMap<String, String> =
            bounded([(name.clone(), "x".into()), ("b".into(), "x".repeat(10)), ("c".into(), "y".into())]);
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["c", &name]);
        let labels: BTreeMap<String, String> = bounded([("a".into(), "\u{e4}".repeat(LONGEST))]);
        assert_eq!(labels["a"].len(), LONGEST);
    }

    #[test]
    fn an_engine_that_stands_still_says_nothing_and_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let engine = Engine::Docker(Endpoint { address: format!("unix://{}", path.display()), certificates: None, chosen: true });
        let begun = std::time::Instant::now();
        assert_eq!(runs(&engine, &"1".repeat(64), Duration::from_millis(200)), None);
        println!("{:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
