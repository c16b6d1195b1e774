//! Consul: its secrets, its agent, its members, its tokens.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::made::write;
use super::step::{Seen, Steps};
use super::{Place, UpError, tokens};
use crate::cluster::access;
use crate::external::consul::{Consul, ConsulError, Member, Secret};
use crate::external::program;
use crate::external::resident::{Resident, Standing, UnitWords};
use crate::model::cluster::{AclPart, Cluster, Host, HttpPart, Role};

/// All of it.
pub(super) fn up(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let part = &place.cluster.consul;
    if part.acl != AclPart::Off {
        tokens::there(place, steps)?;
    }
    if part.address.is_none() {
        agent(place, steps)?;
    }
    members(place, steps, &tokens::mightiest(place)?)?;
    if part.acl != AclPart::Off && part.address.is_none() {
        tokens::handed_out(place, steps)?;
    }
    let consul = access::consul(place.cluster)?;
    catalogue(place, steps, &consul)?;
    if place.voters { voters(place, steps, &consul) } else { Ok(()) }
}

/// The agent's words. None of them is a secret.
fn words(cluster: &Cluster, host: &Host, config: &Path) -> Vec<String> {
    let part = &cluster.consul;
    let mut words = vec!["agent".to_owned()];
    if host.role == Role::Server {
        words.extend(["-server".to_owned(), format!("-bootstrap-expect={}", cluster.servers().count())]);
    }
    let client = if part.http == HttpPart::Everybody { "0.0.0.0" } else { "127.0.0.1" };
    words.extend([
        format!("-data-dir={}", part.data_dir.display()),
        format!("-client={client}"),
        format!("-bind={}", host.address),
        format!("-node={}", host.name),
        format!("-datacenter={}", cluster.datacenter),
    ]);
    words.extend(part.ui.then(|| "-ui".to_owned()));
    words.extend(cluster.servers().filter(|server| server.name != host.name).map(|server| format!("-retry-join={}", server.address)));
    words.extend(["-retry-interval=5s".to_owned(), format!("-config-file={}", config.display())]);
    words
}

/// The agent's configuration.
pub(super) struct Configuration {
    /// With all secrets: for a file of mode 0600.
    text: String,
    /// What it is started anew for: tokens can be others without that.
    version: String,
}

pub(super) fn configuration(place: &Place<'_>) -> Result<Configuration, UpError> {
    let part = &place.cluster.consul;
    let mut all = Map::new();
    all.insert("disable_update_check".into(), true.into());
    all.insert("skip_leave_on_interrupt".into(), true.into());
    all.insert("leave_on_terminate".into(), false.into());
    all.insert("performance".into(), json!({"raft_multiplier": part.raft_multiplier, "leave_drain_time": "500ms"}));
    // A server that is cut off for a while comes back; one that is gone is taken out by `cluster leave`. Where autopilot
    // takes it out, its sessions and locks end long before their time (consul#6793).
    all.insert("autopilot".into(), json!({"cleanup_dead_servers": false}));
    if !place.host.labels.is_empty() {
        all.insert("node_meta".into(), json!(place.host.labels));
    }
    if let Some(ttl) = &part.session_ttl_min {
        all.insert("session_ttl_min".into(), ttl.as_str().into());
    }
    if let Some(path) = &part.gossip_key_file {
        all.insert("encrypt".into(), Secret::from_file(path)?.reveal().into());
    }
    if let Some(tls) = &part.tls {
        for (key, path) in [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
            all.insert(key.into(), path.display().to_string().into());
        }
        for key in ["verify_incoming", "verify_outgoing", "verify_server_hostname"] {
            all.insert(key.into(), true.into());
        }
        all.insert("ports".into(), json!({"http": -1, "https": 8501}));
    }
    if part.acl != AclPart::Off {
        all.insert("acl".into(), json!({"enabled": true, "default_policy": "deny", "enable_token_persistence": true}));
    }
    let version = print(place, &all)?;
    if let Some(acl) = all.get_mut("acl") {
        acl["tokens"] = tokens::configured(place)?;
    }
    Ok(Configuration { text: print(place, &all)?, version })
}

fn print(place: &Place<'_>, all: &Map<String, Value>) -> Result<String, UpError> {
    serde_json::to_string_pretty(all).map_err(|error| UpError::file(&config_path(place.cluster))(error.into()))
}

/// Writes it.
pub(super) fn configure(place: &Place<'_>) -> Result<(), UpError> {
    write(&config_path(place.cluster), configuration(place)?.text.as_bytes(), 0o600)
}

/// Beside the data directory.
pub(super) fn config_path(cluster: &Cluster) -> PathBuf {
    let mut path = cluster.consul.data_dir.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

/// The agent as a program that stays; without its configuration's version.
fn resident(place: &Place<'_>, version: &str) -> Result<Resident, UpError> {
    let binary = &place.cluster.consul.binary;
    let program = if binary.contains('/') { Some(PathBuf::from(binary)) } else { program::find(binary) };
    let program = program.filter(|path| path.is_absolute() && path.is_file()).ok_or_else(|| {
        UpError::wrong(format!("{binary}: there is no such program"), "install Consul, or say where it is: [consul] binary = \"/...\"")
    })?;
    let args = words(place.cluster, place.host, &config_path(place.cluster));
    let mut hash = Md5::new();
    args.iter().map(String::as_str).chain([version]).for_each(|text| hash.update(text.as_bytes()));
    Ok(Resident {
        name: "pipework-consul".into(),
        description: format!("Consul of cluster {} (pipework cluster up)", place.cluster.name),
        program,
        args,
        version: hex::encode(hash.finalize()),
        dir: place.run_dir.join("cluster"),
        unit: UnitWords::default(),
    })
}

fn agent(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let path = config_path(place.cluster);
    let look = || {
        let wanted = configuration(place)?;
        let program = resident(place, &wanted.version)?;
        let is_written = std::fs::read_to_string(&path).is_ok_and(|old| old == wanted.text);
        if !is_written || program.standing() != Standing::Runs {
            return foreign(place, &program);
        }
        // It answers before it has a leader.
        leader(&access::consul(place.cluster)?)?;
        Ok(Seen::So(format!("{} of {}, log: {}", place.host.role, place.cluster.datacenter, program.log())))
    };
    steps.step("consul: agent", look, || {
        place.note.change(|made| made.consul = true)?;
        tokens::begin(place)?;
        configure(place)?;
        private_directory(&place.cluster.consul.data_dir)?;
        forget_key(place)?;
        let program = resident(place, &configuration(place)?.version)?;
        if program.standing() == Standing::Runs { Ok(()) } else { Ok(program.start()?) }
    })
}

fn private_directory(path: &Path) -> Result<(), UpError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(UpError::file(path))
}

/// Consul keeps the key that it was first started with, and prefers it to its configuration's: one that was wrong has to go.
fn forget_key(place: &Place<'_>) -> Result<(), UpError> {
    let Some(path) = &place.cluster.consul.gossip_key_file else { return Ok(()) };
    let key = Secret::from_file(path)?;
    for ring in ["serf/local.keyring", "serf/remote.keyring"].map(|name| place.cluster.consul.data_dir.join(name)) {
        if std::fs::read_to_string(&ring).is_ok_and(|text| !text.contains(key.reveal())) {
            remove(std::fs::remove_file(&ring), &ring)?;
        }
    }
    Ok(())
}

/// Ours does not run as it is to. Somebody else's in its place is left alone.
fn foreign(place: &Place<'_>, ours: &Resident) -> Result<Seen, UpError> {
    // Ours may begin to answer between the two looks: only one that still does not run is not the one that answered.
    let answers = ours.standing() == Standing::No && leader(&access::consul(place.cluster)?).is_ok();
    if answers && ours.standing() == Standing::No {
        let what = format!("an agent that is not of this program answers at {}", place.cluster.agent_address());
        let hint = format!("end it, or use it as it is: [consul] address = \"{}\"", place.cluster.agent_address());
        return Err(UpError::wrong(what, hint));
    }
    Ok(Seen::Not(match ours.standing() {
        Standing::Old => "it runs with another configuration".into(),
        _ => format!("it does not answer; {}", ours.log()),
    }))
}

/// The leader. A client that knows no server yet says so by 500, and answers none the less.
fn leader(consul: &Consul) -> Result<Option<String>, ConsulError> {
    match consul.leader() {
        Err(ConsulError::Refused { status: 500.., .. }) => Ok(None),
        answered => answered,
    }
}

/// Joined, a leader, all members alive.
fn members(place: &Place<'_>, steps: &mut Steps<'_>, consul: &Consul) -> Result<(), UpError> {
    let own = if place.cluster.consul.address.is_some() { consul.agent_self()?.node } else { place.host.name.clone() };
    let (local, denied) = (tokens::local(place, consul)?, std::cell::Cell::new(false));
    let look = || {
        // Before the first leader has made it, no token is known (403). One that may see nothing is shown an empty list.
        let seen = |consul: &Consul| match consul.members() {
            Err(error) if error.is_denied() => Ok(Vec::new()),
            answered => answered,
        };
        let (members, by_token) = (seen(&local)?, seen(consul)?);
        let missing = missing(place.cluster, &members);
        denied.set(!by_token.iter().any(|member| member.name == own));
        match leader(consul)? {
            _ if !missing.is_empty() && !members.is_empty() => Ok(Seen::Not(format!("missing: {}", names(&missing)))),
            None => Ok(Seen::Not("there is no leader".into())),
            Some(_) if denied.get() => {
                Ok(Seen::Not(format!("Consul does not even show {own} itself: the token may not see it, or there is none")))
            }
            Some(leader) => Ok(Seen::So(format!("{} alive, leader {leader}", members.len()))),
        }
    };
    let join = || {
        let members = local.members().unwrap_or_default();
        for host in missing(place.cluster, &members).into_iter().filter(|host| host.name != own) {
            // One that is not up yet joins us when it is; one whose key is another's is told.
            let joined = local.join(&host.address.to_string());
            if joined.is_err_and(|error| error.to_string().contains("decrypt")) {
                let what = format!("{} has another gossip key", host.name);
                return Err(UpError::wrong(what, "the file of gossip_key_file is the same on all hosts"));
            }
        }
        Ok(())
    };
    steps.step("consul: members", look, join).map_err(|error| match denied.get() && error.to_string().contains("token") {
        true => with_hint(error, "give a token that may: CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_TOKEN or token_file in cluster.toml"),
        false => with_hint(error, "run `pipework cluster up` on the missing hosts; --timeout 300 waits longer"),
    })
}

fn with_hint(error: UpError, hint: &str) -> UpError {
    match error {
        UpError::Late { seconds, why, hint: None } => UpError::Late { seconds, why, hint: Some(hint.to_owned()) },
        other => other,
    }
}

fn missing<'a>(cluster: &'a Cluster, members: &[Member]) -> Vec<&'a Host> {
    let is_there = |host: &&Host| members.iter().any(|member| member.name == host.name && member.is_alive());
    cluster.hosts.iter().filter(|host| !is_there(host)).collect()
}

fn names(hosts: &[&Host]) -> String {
    hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn catalogue(place: &Place<'_>, steps: &mut Steps<'_>, consul: &Consul) -> Result<(), UpError> {
    let look = || {
        let nodes = consul.catalog_nodes()?;
        let is_there = |host: &&Host| nodes.iter().any(|node| node.node == host.name && node.address == host.address.to_string());
        let missing: Vec<&Host> = place.cluster.hosts.iter().filter(|host| !is_there(host)).collect();
        if !missing.is_empty() {
            return Ok(Seen::Not(format!("missing: {}", names(&missing))));
        }
        // A token that may not see them is enough for all else.
        let servers = consul.raft_servers().unwrap_or_default();
        let voters = servers.iter().filter(|server| server.voter).count();
        let later = if voters < servers.len() {
            format!(", {voters} of {} servers vote by now (--voters waits)", servers.len())
        } else {
            String::new()
        };
        Ok(Seen::So(format!("{} nodes{later}", nodes.len())))
    };
    steps.step("consul: catalogue", look, || Ok(()))
}

/// New servers vote when autopilot has found them stable for ten seconds; nothing waits for that unless it is asked for.
fn voters(place: &Place<'_>, steps: &mut Steps<'_>, consul: &Consul) -> Result<(), UpError> {
    let look = || {
        let servers = consul.raft_servers()?;
        let voters = servers.iter().filter(|server| server.voter).count();
        let wanted = place.cluster.servers().count();
        Ok(if voters >= wanted { Seen::So(format!("{voters} vote")) } else { Seen::Not(format!("{voters} of {wanted} vote")) })
    };
    steps.step("consul: voters", look, || Ok(()))
}

/// The local agent says whether its host is under maintenance: its services are found no more.
pub(super) fn maintenance(place: &Place<'_>, on: bool, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let consul = access::consul(place.cluster)?;
    let look = || {
        let is = consul.is_in_maintenance()?;
        let text = if is { "under maintenance" } else { "not under maintenance" };
        Ok(if is == on { Seen::So(text.into()) } else { Seen::Not(text.into()) })
    };
    steps.step("consul: maintenance", look, || Ok(consul.maintenance(on, "pipework cluster drain")?))
}

/// Whether other hosts' agents go on, as far as is known.
fn others_live(place: &Place<'_>) -> bool {
    let members = access::consul(place.cluster).and_then(|consul| consul.members());
    members
        .map_or(place.cluster.hosts.len() > 1, |members| members.iter().any(|member| member.is_alive() && member.name != place.host.name))
}

/// Takes away what [`up`] made: the agent leaves, ends, and its data goes.
pub(super) fn down(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let is_ours = place.note.read()?.consul;
    // Where ours never ran, nobody knows what it was to begin with.
    let is_known_elsewhere = is_ours && others_live(place);
    if is_ours {
        agent_down(place, steps)?;
    }
    // Whoever is killed here finds by the note that there is something left.
    tokens::forgotten(place, is_known_elsewhere, steps)?;
    place.note.change(|made| made.consul = false)
}

fn agent_down(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let path = config_path(place.cluster);
    let resident = resident(place, "")?;
    let look = || {
        let is_gone = resident.is_gone() && !path.exists() && !place.cluster.consul.data_dir.exists();
        Ok(if is_gone { Seen::So("gone".into()) } else { Seen::Not("it is there".into()) })
    };
    steps.step("consul: agent", look, || {
        if resident.standing() != Standing::No
            && let Ok(consul) = access::consul(place.cluster)
        {
            let local = tokens::local(place, &consul)?;
            tokens::taken_back(place);
            // It may be alone, or without a leader: it ends all the same.
            let _ = local.leave();
        }
        resident.stop()?;
        resident.forget_log();
        remove(std::fs::remove_file(&path), &path)?;
        remove(std::fs::remove_dir_all(&place.cluster.consul.data_dir), &place.cluster.consul.data_dir)
    })
}

pub(super) fn remove(removed: std::io::Result<()>, path: &Path) -> Result<(), UpError> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(UpError::file(path)(error)),
        _ => Ok(()),
    }
}
