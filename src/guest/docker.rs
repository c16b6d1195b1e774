//! Docker, and Podman through its Docker-compatible API. Nothing outside this module knows the client library.

pub(super) mod describe;
pub mod endpoints;
pub(super) mod events;
pub mod remembered;
pub mod sidecar;
pub mod swarm;

use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::future::join_all;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::endpoint::{Endpoint, Environment};
use super::{GuestError, process};
use crate::kernel::netns::Namespace;
use crate::model::status::Unattached;

/// How long an engine may take for one answer, in seconds.
const PATIENCE_S: u64 = 30;
/// The original asks three times, a second apart, while the PID is 0.
const START_PATIENCE: Duration = Duration::from_secs(3);
const START_PAUSE: Duration = Duration::from_millis(50);
/// How far the start of a process and its engine's word for it may lie apart, in seconds: rounding of the boot time.
const START_TOLERANCE_S: f64 = 3.0;

/// Which engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Docker(Endpoint),
    Podman(Endpoint),
}

impl Engine {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Docker(_) => "docker",
            Self::Podman(_) => "podman",
        }
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Docker(endpoint) | Self::Podman(endpoint) => endpoint,
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("{} at {}", self.name(), self.endpoint().address)
    }

    /// Whether it is worth a try: a socket that nobody chose and that is not there says no more than that.
    pub(super) fn may_answer(&self) -> bool {
        self.endpoint().chosen || self.has_socket()
    }

    /// Whether there is a socket, where there is to be one.
    pub(super) fn has_socket(&self) -> bool {
        self.endpoint().socket().is_none_or(std::path::Path::exists)
    }
}

/// A container as its engine tells it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Container {
    pub(super) engine: Engine,
    pub(super) id: String,
    pub(super) name: String,
    /// 0 while it does not run.
    pub(super) pid: u32,
    /// The engine's own file of its network namespace.
    sandbox: Option<String>,
    /// RFC 3339.
    started_at: Option<String>,
}

impl Container {
    /// As it can be typed.
    pub(super) fn as_typed(&self) -> String {
        format!("{}:{} ({})", self.engine.name(), self.name, self.id.get(..12).unwrap_or(&self.id))
    }

    fn new(engine: &Engine, answer: ContainerInspectResponse) -> Self {
        let state = answer.state.unwrap_or_default();
        Self {
            engine: engine.clone(),
            id: answer.id.unwrap_or_default(),
            name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
            sandbox: answer.network_settings.and_then(|n| n.sandbox_key).filter(|s| !s.is_empty()),
            started_at: state.started_at.map(|at| at.to_string()),
        }
    }
}

/// What an engine said of a name.
enum Answer {
    Found(Box<Container>),
    /// A prefix of several IDs.
    Several(Vec<String>),
    Unknown,
    Failed(String),
}

/// `docker:NAME`
pub(super) fn find_docker(name: &str) -> Result<Container, GuestError> {
    let engine = Engine::Docker(Environment::current().docker()?);
    only(name, &[engine])
}

/// `podman:NAME`
pub(super) fn find_podman(name: &str) -> Result<Container, GuestError> {
    let engines: Vec<Engine> = Environment::current().podman().into_iter().map(Engine::Podman).collect();
    let there: Vec<Engine> = engines.iter().filter(|e| e.may_answer()).cloned().collect();
    if there.is_empty() {
        let engine = engines.first().map(Engine::describe).unwrap_or_default();
        return Err(GuestError::Engine { engine, why: "there is no such socket; systemctl start podman.socket makes it".into() });
    }
    only(name, &there)
}

/// The one container of that name in engines that were asked for by name.
fn only(name: &str, engines: &[Engine]) -> Result<Container, GuestError> {
    let (mut containers, looked) = ask_all(name, engines)?;
    if containers.len() > 1 {
        return Err(GuestError::Several { name: name.to_owned(), matches: containers.iter().map(Container::as_typed).collect() });
    }
    containers.pop().ok_or_else(|| GuestError::NotFound { name: name.to_owned(), looked })
}

/// Containers of that name in all engines that may be here, and where it was looked in vain.
pub(super) fn find_any(name: &str) -> Result<(Vec<Container>, Vec<String>), GuestError> {
    let environment = Environment::current();
    let mut engines = vec![Engine::Docker(environment.docker()?)];
    engines.extend(environment.podman().into_iter().map(Engine::Podman));
    let (there, absent): (Vec<Engine>, Vec<Engine>) = engines.into_iter().partition(Engine::may_answer);
    let (containers, mut looked) = ask_all(name, &there)?;
    looked.extend(absent.iter().map(|e| format!("no {}", e.describe())));
    Ok((containers, looked))
}

fn ask_all(name: &str, engines: &[Engine]) -> Result<(Vec<Container>, Vec<String>), GuestError> {
    let answers = block_on(join_all(engines.iter().map(|engine| ask(engine, name))))?;
    let mut containers: Vec<Container> = Vec::new();
    let mut looked = Vec::new();
    let mut failed = Vec::new();
    for (engine, answer) in engines.iter().zip(answers) {
        match answer {
            // Podman may stand behind Docker's socket as well.
            Answer::Found(container) if containers.iter().any(|c| c.id == container.id) => {}
            Answer::Found(container) => containers.push(*container),
            Answer::Several(matches) => return Err(GuestError::Several { name: name.to_owned(), matches }),
            Answer::Unknown => looked.push(format!("unknown to {}", engine.describe())),
            Answer::Failed(why) => failed.push((engine, why)),
        }
    }
    // An engine that cannot say whether it has the name must not hand it to another guest of that name. Only Podman's
    // silence does not matter, once Docker knows it.
    match failed.into_iter().find(|(engine, _)| containers.is_empty() || matches!(engine, Engine::Docker(_))) {
        Some((engine, why)) => Err(GuestError::Engine { engine: engine.describe(), why }),
        None => Ok((containers, looked)),
    }
}

async fn ask(engine: &Engine, name: &str) -> Answer {
    let client = match connect(engine.endpoint()) {
        Ok(client) => client,
        Err(why) => return Answer::Failed(why),
    };
    match client.inspect_container(name, None::<InspectContainerOptions>).await {
        Ok(answer) => Answer::Found(Box::new(Container::new(engine, answer))),
        Err(Error::DockerResponseServerError { message, .. }) if is_ambiguous(&message) => several(engine, &client, name).await,
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Answer::Unknown,
        Err(error) => Answer::Failed(plain(&error)),
    }
}

/// Docker: "multiple IDs found with provided prefix"; Podman: "more than one result for container name or ID".
fn is_ambiguous(message: &str) -> bool {
    message.to_lowercase().contains("multiple ids found") || message.contains("more than one result")
}

/// The containers that run, of all engines that may be here, and what those say that do not answer.
pub(super) fn list() -> (Vec<Unattached>, Vec<String>) {
    let mut failed = Vec::new();
    let engines = present(&mut failed);
    let answers = block_on(join_all(engines.iter().map(running)));
    let mut all = Vec::new();
    for answer in answers.unwrap_or_default() {
        match answer {
            Ok(containers) => all.extend(containers),
            Err(why) => failed.push(why),
        }
    }
    (all, failed)
}

/// The engines that may be here. What is wrong with the address of one is said in `failed`.
fn present(failed: &mut Vec<String>) -> Vec<Engine> {
    let mut engines = usual(failed);
    engines.retain(Engine::may_answer);
    engines
}

/// The engines that may be here, now or later.
pub(super) fn usual(failed: &mut Vec<String>) -> Vec<Engine> {
    let environment = Environment::current();
    let docker = environment.docker().map_err(|error| failed.push(error.to_string())).ok();
    docker.map(Engine::Docker).into_iter().chain(environment.podman().into_iter().map(Engine::Podman)).collect()
}

/// A container that runs, as a list tells it: without its process.
#[derive(Debug)]
pub(super) struct Listed {
    engine: Engine,
    id: String,
    names: Vec<String>,
}

impl Listed {
    /// One that is known without a list.
    pub(super) fn new(engine: &Engine, id: &str, name: &str) -> Self {
        Self { engine: engine.clone(), id: id.to_owned(), names: vec![name.to_owned()] }
    }

    /// All that it can be called whole: its identifier, the usual twelve digits of it, its names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let short = self.id.get(..12).filter(|short| *short != self.id);
        [self.id.as_str()].into_iter().chain(short).chain(self.names.iter().map(String::as_str))
    }

    /// Its identifier.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// `docker` or `podman`
    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// The container, with the process that it was found to have.
    pub(super) fn with_pid(&self, pid: u32) -> Container {
        let name = self.names.first().cloned().unwrap_or_default();
        Container { engine: self.engine.clone(), id: self.id.clone(), name, pid, sandbox: None, started_at: None }
    }
}

/// The containers that run, of all engines that may be here; of one that does not answer, none. Podman may stand behind Docker's
/// socket as well: each is listed once.
pub(super) fn listed() -> Vec<Listed> {
    let engines = present(&mut Vec::new());
    let answers = block_on(join_all(engines.iter().map(summaries))).unwrap_or_default();
    let mut all: Vec<Listed> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (engine, containers) in engines.iter().zip(answers) {
        for container in containers.unwrap_or_default() {
            let id = container.id.unwrap_or_default();
            let names = container.names.unwrap_or_default();
            let names = names.iter().map(|name| name.trim_start_matches('/').to_owned()).filter(|name| !name.contains('/')).collect();
            if !id.is_empty() && seen.insert(id.clone()) {
                all.push(Listed { engine: engine.clone(), id, names });
            }
        }
    }
    all
}

async fn running(engine: &Engine) -> Result<Vec<Unattached>, String> {
    let containers = summaries(engine).await?;
    let one = |container: bollard::models::ContainerSummary| Unattached {
        engine: engine.name(),
        name: container.names.unwrap_or_default().first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
        id: container.id.unwrap_or_default(),
    };
    Ok(containers.into_iter().map(one).collect())
}

async fn summaries(engine: &Engine) -> Result<Vec<bollard::models::ContainerSummary>, String> {
    let fail = |why: String| format!("{}: {why}", engine.describe());
    let client = connect(engine.endpoint()).map_err(fail)?;
    client.list_containers(None::<ListContainersOptions>).await.map_err(|error| fail(plain(&error)))
}

async fn several(engine: &Engine, client: &Docker, prefix: &str) -> Answer {
    let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let containers = match client.list_containers(Some(all)).await {
        Ok(containers) => containers,
        Err(error) => return Answer::Failed(plain(&error)),
    };
    let mut matches = Vec::new();
    for container in containers {
        let id = container.id.unwrap_or_default();
        if id.starts_with(prefix) {
            let names = container.names.unwrap_or_default();
            let name = names.first().map_or("", |n| n.trim_start_matches('/'));
            matches.push(format!("{}:{name} ({})", engine.name(), id.get(..12).unwrap_or(&id)));
        }
    }
    Answer::Several(matches)
}

fn connect(endpoint: &Endpoint) -> Result<Docker, String> {
    let address = &endpoint.address;
    let scheme = address.split("://").next().unwrap_or_default();
    let client = match (scheme, &endpoint.certificates) {
        ("unix", _) => Docker::connect_with_unix(address, PATIENCE_S, API_DEFAULT_VERSION),
        ("tcp" | "https", Some(certificates)) => {
            let file = |name: &str| certificates.join(name);
            Docker::connect_with_ssl(address, &file("key.pem"), &file("cert.pem"), &file("ca.pem"), PATIENCE_S, API_DEFAULT_VERSION)
        }
        ("tcp" | "http", None) => Docker::connect_with_http(address, PATIENCE_S, API_DEFAULT_VERSION),
        ("ssh", _) => return Err("it is on another machine: run pipework there".into()),
        _ => return Err("an address is unix:///path or tcp://host:port".into()),
    };
    client.map_err(|error| plain(&error))
}

/// The innermost reason: outer ones repeat the address or say "client error".
fn plain(error: &Error) -> String {
    if let Error::DockerResponseServerError { status_code, message } = error {
        return format!("it answered {status_code}: {message}");
    }
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, GuestError> {
    let fail = |error: std::io::Error| GuestError::Engine { engine: "asking the engines".into(), why: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    Ok(runtime.block_on(work))
}

/// The container with the PID it has once it runs.
pub(super) fn wait_for_start(name: &str, container: Container) -> Result<Container, GuestError> {
    if container.pid != 0 {
        return Ok(container);
    }
    block_on(async {
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(START_PAUSE).await;
            match ask(&container.engine, &container.id).await {
                Answer::Found(now) if now.pid != 0 => return Ok(*now),
                Answer::Found(_) | Answer::Failed(_) => {}
                Answer::Several(_) | Answer::Unknown => break,
            }
        }
        Err(GuestError::NotRunning { name: name.to_owned() })
    })?
}

/// The engine says once more that the process is this container's, and there is a sign that it speaks of this machine:
/// its file of the namespace is the one that is held, or the process started when it says that the container did.
pub(super) fn confirm(name: &str, container: &Container, held: &Namespace) -> Result<bool, GuestError> {
    let now = match block_on(ask(&container.engine, &container.id))? {
        Answer::Found(now) => *now,
        Answer::Unknown | Answer::Several(_) => return Ok(false),
        Answer::Failed(why) => return Err(GuestError::Engine { engine: container.engine.describe(), why }),
    };
    if now.id != container.id || now.pid != container.pid {
        return Ok(false);
    }
    let sandbox = now.sandbox.as_ref().and_then(|path| Namespace::open(path.as_ref()).ok());
    if sandbox.is_some_and(|sandbox| sandbox.is(held)) || started_together(&now) {
        return Ok(true);
    }
    Err(elsewhere(name, &container.engine))
}

/// Whether the local process with the container's PID began when its engine says.
fn started_together(container: &Container) -> bool {
    let told = container.started_at.as_deref().and_then(epoch_seconds);
    let seen = process::started(container.pid);
    matches!((told, seen), (Some(told), Some(seen)) if (told - seen).abs() <= START_TOLERANCE_S)
}

/// `2026-11-23T20:52:10.123Z` as seconds since the epoch (RFC 3339).
fn epoch_seconds(text: &str) -> Option<f64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64())
}

/// Why a container's process is not here: its engine is another machine's. `None` when it is not known to be.
pub(super) fn why_absent(name: &str, container: &Container) -> Option<GuestError> {
    let mine = nix::unistd::gethostname().ok()?.into_string().ok()?;
    let (info, version) = block_on(async {
        let client = connect(container.engine.endpoint()).ok()?;
        Some((client.info().await.ok()?, client.version().await.ok()?))
    })
    .ok()??;
    let theirs = info.name.unwrap_or_default();
    let is_swarm = version.version.is_some_and(|v| v.starts_with("swarm/"));
    let is_elsewhere = is_swarm || (!theirs.is_empty() && theirs != mine);
    if !is_elsewhere {
        return None;
    }
    let what =
        if is_swarm { "a Swarm manager that answers for its nodes".to_owned() } else { format!("its host is {theirs}, this is {mine}") };
    Some(GuestError::Elsewhere { name: name.to_owned(), engine: format!("{}: {what}", container.engine.describe()) })
}

fn elsewhere(name: &str, engine: &Engine) -> GuestError {
    let engine = format!("{}: nothing shows that it speaks of this machine's processes", engine.describe());
    GuestError::Elsewhere { name: name.to_owned(), engine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_time_is_read_with_fraction_and_offset() {
        assert_eq!(epoch_seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(epoch_seconds("2024-02-29T12:00:00.5Z"), Some(1_709_208_000.5));
        assert_eq!(epoch_seconds("2024-02-29T13:00:00.5+01:00"), Some(1_709_208_000.5));
        assert_eq!(epoch_seconds("0001-01-01"), None);
        assert_eq!(epoch_seconds("nonsense"), None);
    }

    #[test]
    fn both_engines_words_for_an_ambiguous_prefix_are_known() {
        assert!(is_ambiguous("Multiple IDs found with provided prefix: 1"));
        assert!(is_ambiguous("more than one result for container name or ID 1: container is ambiguous"));
        assert!(!is_ambiguous("No such container: 1"));
    }
}
