//! Consul's tokens. The first server of the file makes one that may do everything, and keeps it; the other hosts are given a copy,
//! which they use once, to make their own: one that may do what this program does on that host, and no more.

use std::path::Path;

use md5::{Digest, Md5};
use serde_json::{Map, Value};

use super::consul::{config_path, configure, remove};
use super::made::write;
use super::step::{Seen, Steps};
use super::{Place, UpError};
use crate::cluster::access;
use crate::external::consul::{Consul, ConsulError, Secret};
use crate::model::cluster::rights::Right;
use crate::model::cluster::{AclPart, Cluster, Host, Role, SwarmMode};

/// The agents' policy: themselves, and what they are asked on behalf of nobody.
const AGENT_POLICY: &str = "pipework-consul-agent";
const AGENT_RULES: &str = "node_prefix \"\" { policy = \"read\" }\nservice_prefix \"\" { policy = \"read\" }";
/// Where the token that was given to the agent is noted, in its data directory.
const AGENT_TOKEN: &str = "pipework-agent-token";

/// A random number that nobody guesses.
fn new_token() -> Result<String, UpError> {
    let uuid = Path::new("/proc/sys/kernel/random/uuid");
    Ok(std::fs::read_to_string(uuid).map_err(UpError::file(uuid))?.trim().to_owned())
}

/// Where the token that may do everything begins, and where it stays.
fn is_first(place: &Place<'_>) -> bool {
    place.cluster.servers().next().is_some_and(|first| first.name == place.host.name)
}

fn makes_own(place: &Place<'_>) -> bool {
    place.cluster.consul.acl == AclPart::Bootstrap && place.cluster.consul.address.is_none()
}

/// There is a token to begin with: the host's own, or one that may do everything.
pub(super) fn there(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let Some(path) = place.cluster.consul.token_file.as_deref() else { return Ok(()) };
    let look = || {
        let Some(known) = access::token_file(place.cluster).filter(|path| path.exists()) else {
            return Ok(Seen::Not("there is none".into()));
        };
        Secret::from_file(&known)?;
        if path.exists() {
            Secret::from_file(path)?;
        }
        Ok(Seen::So(known.display().to_string()))
    };
    steps.step("consul: token", look, || {
        if !(makes_own(place) && is_first(place)) {
            let first = place.cluster.servers().next().map(|first| first.name.as_str()).unwrap_or_default();
            let hint = match place.cluster.consul.acl {
                AclPart::Bootstrap => format!("run `pipework cluster up` on {first} first, and copy the file from there (mode 0600)"),
                _ => "put the token there, with mode 0600".to_owned(),
            };
            return Err(UpError::wrong(format!("{}: it is not there", path.display()), hint));
        }
        place.note.change(|made| made.token = true)?;
        write(path, new_token()?.as_bytes(), 0o600)
    })
}

/// The local agent by the token that may most: the one that may do everything, while it is here.
pub(super) fn mightiest(place: &Place<'_>) -> Result<Consul, UpError> {
    match place.cluster.consul.token_file.as_deref().filter(|path| path.exists()) {
        Some(path) => Ok(access::consul_by(place.cluster, access::token(Some(path))?)?),
        None => Ok(access::consul(place.cluster)?),
    }
}

/// The local agent, by the token that it knows without any server (`agent_master`): so it can be told whom to join.
pub(super) fn local(place: &Place<'_>, consul: &Consul) -> Result<Consul, UpError> {
    let part = &place.cluster.consul;
    let own = agent_master(place).filter(|_| part.acl != AclPart::Off && part.address.is_none());
    let Some(own) = own else { return Ok(consul.clone()) };
    Ok(Consul::new(&consul.access().clone().with_token(Some(Secret::new(&own)?)))?)
}

/// As its configuration has it.
fn agent_master(place: &Place<'_>) -> Option<String> {
    let written: Value = serde_json::from_slice(&std::fs::read(config_path(place.cluster)).ok()?).ok()?;
    written.pointer("/acl/tokens/agent_master")?.as_str().map(str::to_owned)
}

/// What the agent's configuration says of tokens. The one that may do everything is in it for as long as it is on this host:
/// whichever server leads first makes it known.
pub(super) fn configured(place: &Place<'_>) -> Result<Value, UpError> {
    let mut tokens = Map::new();
    tokens.extend(agent_master(place).map(|own| ("agent_master".to_owned(), own.into())));
    let path = place.cluster.consul.token_file.as_deref().filter(|path| path.exists());
    if let (Some(path), Role::Server) = (path, place.host.role) {
        tokens.insert("master".into(), Secret::from_file(path)?.reveal().into());
    }
    Ok(tokens.into())
}

/// The local agent's own token is made with its configuration, which keeps it.
pub(super) fn begin(place: &Place<'_>) -> Result<(), UpError> {
    if place.cluster.consul.acl == AclPart::Off || agent_master(place).is_some() {
        return Ok(());
    }
    let text = serde_json::json!({"acl": {"tokens": {"agent_master": new_token()?}}}).to_string();
    write(&config_path(place.cluster), text.as_bytes(), 0o600)
}

/// Once there is a leader: each its own.
pub(super) fn handed_out(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    if makes_own(place) {
        host_token(place, steps)?;
    }
    agent_token(place, steps)?;
    if makes_own(place) && !is_first(place) { only_on_the_first(place, steps) } else { Ok(()) }
}

/// What this program does on a host, in Consul's words.
fn host_rules(cluster: &Cluster, host: &Host) -> String {
    let name = &host.name;
    let mut rules: Vec<String> = Right::ALL.into_iter().map(|right| right.rule(&cluster.prefix(), name)).collect();
    rules.extend([
        // Leaving, joining, maintenance; and all that is asked of the agent itself.
        format!("agent \"{name}\" {{ policy = \"write\" }}"),
        format!("node \"{name}\" {{ policy = \"write\" }}"),
        "session_prefix \"\" { policy = \"read\" }".to_owned(),
        "operator = \"read\"".to_owned(),
    ]);
    if cluster.swarm.mode == SwarmMode::Classic {
        rules.push(format!("key_prefix \"{}/docker/swarm\" {{ policy = \"write\" }}", cluster.swarm.path));
    }
    rules.join("\n")
}

fn host_policy(cluster: &Cluster, host: &str) -> String {
    format!("pipework-{}-{host}", cluster.name)
}

fn description(cluster: &Cluster, host: &str) -> String {
    format!("Host {host} of cluster {} (pipework cluster up)", cluster.name)
}

fn agent_description(host: &str) -> String {
    format!("Consul agent of {host} (pipework cluster up)")
}

fn host_token(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let (Some(path), Some(all)) = (access::host_token_file(place.cluster), place.cluster.consul.token_file.as_deref()) else {
        return Ok(());
    };
    let rules = host_rules(place.cluster, place.host);
    let print = hex::encode(Md5::digest(&rules));
    let look = || {
        if !path.exists() {
            return Ok(Seen::Not("the host has none of its own".into()));
        }
        // An earlier version noted nothing: then it is made so where that can be done, and taken as it is elsewhere.
        let allowed = place.note.read()?.host_rules;
        if allowed.as_ref().map_or(all.exists(), |allowed| *allowed != print) {
            return Ok(Seen::Not("its policy is of another cluster.toml, or of another version".into()));
        }
        let own = access::consul_by(place.cluster, Some(Secret::from_file(&path)?))?;
        match own.get::<Value>("acl/token/self", &[]) {
            // The agent that is asked may not have heard of it yet.
            Err(error) if error.is_denied() => Ok(Seen::Not(format!("Consul does not know the one of {}", path.display()))),
            Ok(None) => Ok(Seen::Not(format!("Consul does not know the one of {}", path.display()))),
            Ok(Some(_)) => Ok(Seen::So(path.display().to_string())),
            Err(error) => Err(error.into()),
        }
    };
    steps.step("consul: host's token", look, || {
        if !all.exists() {
            let first = place.cluster.servers().next().map(|first| first.name.as_str()).unwrap_or_default();
            let is_old = place.note.read()?.host_rules.is_some_and(|allowed| allowed != print);
            let why = if is_old { "that token may not do all that it has to by now" } else { "Consul does not know that token" };
            let what = format!("{}: {why}", path.display());
            return Err(UpError::wrong(what, format!("copy {} from {first} again (mode 0600)", all.display())));
        }
        let (consul, name) = (mightiest(place)?, host_policy(place.cluster, &place.host.name));
        let about = description(place.cluster, &place.host.name);
        place.note.change(|made| made.host_token = true)?;
        consul.acl_policy(&name, &about, &rules)?;
        let token = consul.acl_token(&about, &name, None)?;
        write(&path, token.reveal().as_bytes(), 0o600)?;
        place.note.change(|made| made.host_rules = Some(print.clone()))
    })
}

/// The agent registers itself by a token of its own, which lasts in its data directory.
fn agent_token(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let note = place.cluster.consul.data_dir.join(AGENT_TOKEN);
    let (host, datacenter) = (place.host.name.as_str(), place.cluster.datacenter.as_str());
    let look = || Ok(if note.exists() { Seen::So("the agent has its own".into()) } else { Seen::Not("the agent has none".into()) });
    steps.step("consul: agent's token", look, || {
        let consul = mightiest(place)?;
        let made = consul
            .acl_policy(AGENT_POLICY, "Agents see nodes and services (pipework cluster up)", AGENT_RULES)
            .and_then(|()| consul.acl_token(&agent_description(host), AGENT_POLICY, Some((host, datacenter))));
        let token = match (made, consul.access().token()) {
            // One that was given, and may make no other, has to do for the agent, too.
            (Err(error), Some(given)) if error.is_denied() && !makes_own(place) => given.clone(),
            (made, _) => made?,
        };
        local(place, &consul)?.agent_token(&token)?;
        write(&note, b"given\n", 0o600)
    })
}

/// The copy that was used goes, from the agent's configuration first.
fn only_on_the_first(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let Some(path) = place.cluster.consul.token_file.as_deref() else { return Ok(()) };
    let first = place.cluster.servers().next().map(|first| first.name.as_str()).unwrap_or_default();
    let look = || {
        if path.exists() {
            return Ok(Seen::Not(format!("{} may do everything, and is not needed here any more", path.display())));
        }
        Ok(Seen::So(format!("the one that may do everything is on {first} only")))
    };
    steps.step("consul: first token", look, || {
        remove(std::fs::remove_file(path), path)?;
        configure(place)
    })
}

/// Takes this host's tokens back, where there is one that may.
pub(super) fn taken_back(place: &Place<'_>) {
    if place.cluster.consul.acl == AclPart::Off {
        return;
    }
    let taken = mightiest(place).and_then(|consul| {
        let host = &place.host.name;
        let own: Result<(), ConsulError> =
            consul.acl_token_remove(&description(place.cluster, host)).and_then(|()| consul.acl_token_remove(&agent_description(host)));
        Ok(own?)
    });
    // Whoever may not leaves them to the next `up` on this host.
    drop(taken);
}

/// The files with tokens that were made here go. One that may do everything stays while others live, whose Consul knows no other.
pub(super) fn forgotten(place: &Place<'_>, others_live: bool, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let made = place.note.read()?;
    if let (true, Some(path)) = (made.host_token, access::host_token_file(place.cluster)) {
        remove(std::fs::remove_file(&path), &path)?;
    }
    match place.cluster.consul.token_file.as_deref().filter(|_| made.token) {
        Some(path) if others_live => {
            let stays = format!("{} stays: the other hosts' Consul knows no other that may do everything", path.display());
            steps.step("consul: first token", || Ok(Seen::So(stays.clone())), || Ok(()))?;
        }
        Some(path) => remove(std::fs::remove_file(path), path)?,
        None => {}
    }
    place.note.change(|made| (made.token, made.host_token, made.host_rules) = (false, false, None))
}
