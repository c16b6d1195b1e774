//! Swarm, engine mode. The first manager begins it; what lets the others join is handed over in Consul, under a lock that ends
//! with the manager's session, and is changed as soon as all are in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::step::{Seen, Steps};
use super::{Place, UpError};
use crate::cluster::access;
use crate::external::consul::{Behavior, Condition, Consul, Freshness, NewSession};
use crate::guest::swarm::{Standing, SwarmEngine, SwarmNode};
use crate::model::cluster::{Cluster, Host};

/// A manager that dies takes what it handed over along, after this time or twice it.
pub(super) const TTL: Duration = Duration::from_secs(10);
/// A session is renewed so often.
const RENEWAL: Duration = Duration::from_secs(3);

/// The label of a node that says which host it is.
const HOST: &str = "pipework.host";

/// What is noted of the swarm in Consul.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    /// The host that begins it.
    by: String,
    /// Its number, once it is there.
    #[serde(default)]
    swarm: Option<String>,
}

/// What is handed over.
#[derive(Serialize, Deserialize)]
struct Handed {
    manager: String,
    worker: String,
    at: Vec<String>,
}

pub(super) struct Keys {
    pub(super) begun: String,
    handed: String,
    /// What was handed over has not been changed since.
    pub(super) due: String,
}

impl Keys {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let key = |name: &str| format!("{}/swarm/{name}", cluster.prefix());
        Self { begun: key("begun"), handed: key("join"), due: key("rotation-due") }
    }
}

/// All of it.
pub(super) fn up(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let (consul, engine) = (access::consul(place.cluster)?, SwarmEngine::usual()?);
    // An engine that does not answer is not waited for.
    engine.standing()?;
    let job = Job { place, consul: &consul, engine: &engine, keys: Keys::of(place.cluster) };
    job.belong(steps)?;
    job.publish(steps)?;
    if place.cluster.is_manager(&place.host.name) { job.hand_over(steps) } else { Ok(()) }
}

struct Job<'a> {
    place: &'a Place<'a>,
    consul: &'a Consul,
    engine: &'a SwarmEngine,
    keys: Keys,
}

impl Job<'_> {
    fn listen(&self) -> String {
        format!("{}:{}", bracketed(&self.place.host.address), self.place.cluster.swarm.port)
    }

    fn is_first(&self) -> bool {
        self.place.cluster.swarm.managers.first() == Some(&self.place.host.name)
    }

    /// This engine belongs to the swarm, in its part.
    fn belong(&self, steps: &mut Steps<'_>) -> Result<(), UpError> {
        let wanted = self.place.cluster.is_manager(&self.place.host.name);
        let look = || {
            let now = self.engine.standing()?;
            self.is_ours(&now)?;
            let part = if now.is_manager { "manager" } else { "worker" };
            Ok(match now.state.as_str() {
                "active" if !wanted || (now.is_manager && self.stays_manager(&now)?) => {
                    Seen::So(format!("{part}, node {}", now.node.unwrap_or_default()))
                }
                "active" if now.is_manager => Seen::Not("it is about to be made a worker".into()),
                "active" => Seen::Not("it is a worker, and is to manage: run `pipework cluster up` on another manager, too".into()),
                state => Seen::Not(format!("its engine is {state}{}", now.error.map(|e| format!(": {e}")).unwrap_or_default())),
            })
        };
        steps.step("swarm: member", look, || self.enter())
    }

    /// A run of `down` that was killed may have had it made a worker, which takes effect some time after.
    fn stays_manager(&self, now: &Standing) -> Result<bool, UpError> {
        Ok(self.engine.nodes()?.iter().any(|node| Some(&node.id) == now.node.as_ref() && node.is_manager))
    }

    /// A swarm that somebody else began is not taken over.
    fn is_ours(&self, now: &Standing) -> Result<(), UpError> {
        let begun = self.begun()?;
        let is_foreign = now.is_active
            && (begun.is_none() || begun.is_some_and(|begun| begun.swarm.is_some() && now.swarm.is_some() && begun.swarm != now.swarm));
        if !is_foreign || self.place.note.read()?.swarm {
            return Ok(());
        }
        let what = "this engine belongs to a swarm that is not this cluster's";
        Err(UpError::wrong(what, "docker swarm leave, or [swarm] mode = \"none\""))
    }

    fn begun(&self) -> Result<Option<Begun>, UpError> {
        let pair = self.consul.key(&self.keys.begun, Freshness::Consistent)?;
        Ok(pair.and_then(|pair| serde_json::from_slice(&pair.value).ok()))
    }

    fn enter(&self) -> Result<(), UpError> {
        let now = self.engine.standing()?;
        match &now.node {
            _ if now.state == "inactive" => {}
            // It could not join, and does not try any more.
            _ if now.state == "error" && self.place.note.read()?.swarm => return Ok(self.engine.leave(true)?),
            Some(own) if now.is_manager => return Ok(self.engine.promote(own)?),
            // So that the managers know whom they are to promote.
            Some(own) => return self.note(own),
            None => return Ok(()),
        }
        self.place.note.change(|made| made.swarm = true)?;
        // It is in none, whatever was noted before; so it is seen when all are out.
        self.consul.erase(&self.key(), None)?;
        let own = self.place.host.name.as_str();
        let mut begun = self.begun()?;
        // All have left it, and the last one was killed before it could say so.
        let is_over = begun.as_ref().is_some_and(|begun| begun.swarm.is_some()) && self.known()?.keys().all(|host| host == own);
        if self.is_first() && (begun.is_none() || is_over) {
            // Of two that begin, one does.
            let since = self.consul.key(&self.keys.begun, Freshness::Consistent)?.map_or(0, |pair| pair.modify_index);
            let text = serde_json::to_vec(&Begun { by: own.to_owned(), swarm: None }).unwrap_or_default();
            self.consul.write(&self.keys.begun, &text, 0, Condition::Unchanged(since))?;
            begun = self.begun()?;
        }
        match begun {
            Some(begun) if begun.by == own && begun.swarm.is_none() => self.begin(),
            Some(_) => self.join(),
            None => {
                let first = self.place.cluster.swarm.managers.first().map(String::as_str).unwrap_or_default();
                Err(late(format!("no manager has begun it: run `pipework cluster up` on {first}")))
            }
        }
    }

    fn begin(&self) -> Result<(), UpError> {
        let part = &self.place.cluster.swarm;
        Ok(self.engine.init(&self.listen(), &self.place.host.address.to_string(), part.data_path_port)?)
    }

    fn handed(&self) -> Result<Option<Handed>, UpError> {
        let pair = self.consul.key(&self.keys.handed, Freshness::Consistent)?;
        Ok(pair.and_then(|pair| serde_json::from_slice(&pair.value).ok()))
    }

    fn join(&self) -> Result<(), UpError> {
        let Some(handed) = self.handed()? else {
            let managers = self.place.cluster.swarm.managers.join(" or ");
            return Err(late(format!("no manager hands over what it takes to join: run `pipework cluster up` on {managers}, too")));
        };
        let token = if self.place.cluster.is_manager(&self.place.host.name) { &handed.manager } else { &handed.worker };
        Ok(self.engine.join(&self.listen(), &self.place.host.address.to_string(), &handed.at, token)?)
    }

    fn key(&self) -> String {
        format!("{}/swarm/nodes/{}", self.place.cluster.prefix(), self.place.host.name)
    }

    fn note(&self, node: &str) -> Result<(), UpError> {
        Ok(self.consul.write(&self.key(), node.as_bytes(), 0, Condition::Always).map(drop)?)
    }

    /// Which node is which host is noted: names that an engine tells need not be the file's.
    fn publish(&self, steps: &mut Steps<'_>) -> Result<(), UpError> {
        let key = self.key();
        let now = self.engine.standing()?;
        let node = now.node.clone().unwrap_or_default();
        let known = |consul: &Consul| consul.key(&key, Freshness::Usual).map(|pair| pair.is_some_and(|pair| pair.value == node.as_bytes()));
        let begins = || Ok::<_, UpError>(now.is_manager && self.begun()?.is_none_or(|begun| begun.swarm.is_none()));
        let look = || {
            let is_known = known(self.consul)? && !begins()?;
            Ok(if is_known { Seen::So("noted in Consul".into()) } else { Seen::Not("not noted in Consul".into()) })
        };
        steps.step("swarm: node", look, || {
            self.note(&node)?;
            if begins()? {
                let text = serde_json::to_vec(&Begun { by: self.place.host.name.clone(), swarm: now.swarm.clone() }).unwrap_or_default();
                self.consul.write(&self.keys.begun, &text, 0, Condition::Always)?;
            }
            Ok(())
        })
    }

    /// A manager's: all hosts are nodes with their labels. Until then it hands over the tokens.
    fn hand_over(&self, steps: &mut Steps<'_>) -> Result<(), UpError> {
        let mut session: Option<(String, Instant)> = None;
        let look = || self.all_in();
        let ended = steps.step("swarm: all hosts", look, || {
            self.tend()?;
            if matches!(&session, Some((_, renewed)) if renewed.elapsed() < RENEWAL) {
                return Ok(());
            }
            let id = match &session {
                Some((id, _)) if self.consul.renew_session(id)? => id.clone(),
                _ => self.begin_session()?,
            };
            session = Some((id.clone(), Instant::now()));
            self.offer(&id)
        });
        if let Some((id, _)) = &session {
            // Its key goes with it.
            let _ = self.consul.end_session(id);
        }
        ended?;
        self.rotate(steps)
    }

    fn begin_session(&self) -> Result<String, UpError> {
        let name = format!("pipework cluster up on {}", self.place.host.name);
        let session = NewSession {
            behavior: Behavior::Delete,
            lock_delay: Some(Duration::from_millis(1)),
            ttl: Some(TTL),
            name,
            ..Default::default()
        };
        Ok(self.consul.begin_session(&session)?)
    }

    fn offer(&self, session: &str) -> Result<(), UpError> {
        let tokens = self.engine.tokens()?;
        let handed = Handed { manager: tokens.manager, worker: tokens.worker, at: vec![self.listen()] };
        // First that they are to be changed, so that it is not forgotten by whoever dies here.
        self.consul.write(&self.keys.due, self.place.host.name.as_bytes(), 0, Condition::Always)?;
        let text = serde_json::to_vec(&handed).unwrap_or_default();
        if !self.consul.write(&self.keys.handed, &text, 0, Condition::Acquire(session))? {
            // Another manager hands over. One that was killed may have left what lets nobody join any more.
            let old = self.handed()?;
            if old.is_some_and(|old| old.manager != handed.manager || old.worker != handed.worker) {
                self.consul.erase(&self.keys.handed, None)?;
            }
        }
        Ok(())
    }

    fn node<'n>(&self, host: &Host, nodes: &'n [SwarmNode], known: &BTreeMap<String, String>) -> Option<&'n SwarmNode> {
        nodes.iter().find(|node| known.get(&host.name) == Some(&node.id))
    }

    fn known(&self) -> Result<BTreeMap<String, String>, UpError> {
        Ok(nodes_of_hosts(self.place.cluster, self.consul)?)
    }

    fn all_in(&self) -> Result<Seen, UpError> {
        let (nodes, known) = (self.engine.nodes()?, self.known()?);
        let hosts = &self.place.cluster.hosts;
        let missing: Vec<&str> = hosts
            .iter()
            .filter(|host| self.node(host, &nodes, &known).is_none_or(|node| node.state != "ready"))
            .map(|host| host.name.as_str())
            .collect();
        if !missing.is_empty() {
            return Ok(Seen::Not(format!("missing: {}: run `pipework cluster up` there, too", missing.join(", "))));
        }
        let demoted = |host: &&Host| {
            self.place.cluster.is_manager(&host.name) && self.node(host, &nodes, &known).is_some_and(|node| !node.is_manager)
        };
        if let Some(host) = hosts.iter().find(demoted) {
            return Ok(Seen::Not(format!("{} is a worker, and is to manage", host.name)));
        }
        if let Some(old) = self.stale(&nodes, &known).first() {
            return Ok(Seen::Not(format!("{} is still counted as it was before it left", old.name)));
        }
        let bare = hosts.iter().any(|host| self.node(host, &nodes, &known).is_some_and(|node| !has_all(node, &labels(host))));
        let managers = nodes.iter().filter(|node| node.is_manager).count();
        Ok(if bare { Seen::Not("labels are missing".into()) } else { Seen::So(format!("{} nodes, {managers} manage", nodes.len())) })
    }

    /// What hosts of ours were before they left and came back as another node. As managers that are gone they still count.
    fn stale<'n>(&self, nodes: &'n [SwarmNode], known: &BTreeMap<String, String>) -> Vec<&'n SwarmNode> {
        let is_other = |node: &SwarmNode| node.labels.get(HOST).and_then(|host| known.get(host)).is_some_and(|now| *now != node.id);
        nodes.iter().filter(|node| node.state == "down" && is_other(node)).collect()
    }

    /// Labels, managers that are workers, and nodes that are no more.
    fn tend(&self) -> Result<(), UpError> {
        let (nodes, known) = (self.engine.nodes()?, self.known()?);
        for old in self.stale(&nodes, &known) {
            if old.is_manager { self.engine.demote(&old.id)? } else { self.engine.forget(&old.id)? }
        }
        for host in &self.place.cluster.hosts {
            let labels = labels(host);
            let Some(node) = self.node(host, &nodes, &known) else { continue };
            if !has_all(node, &labels) {
                self.engine.label(&node.id, &labels)?;
            }
            if self.place.cluster.is_manager(&host.name) && !node.is_manager {
                self.engine.promote(&node.id)?;
            }
        }
        Ok(())
    }

    fn rotate(&self, steps: &mut Steps<'_>) -> Result<(), UpError> {
        let due = || Ok::<_, UpError>(self.consul.key(&self.keys.due, Freshness::Consistent)?);
        let look = || {
            let open = due()?.is_some() || self.consul.key(&self.keys.handed, Freshness::Consistent)?.is_some();
            Ok(if open {
                Seen::Not("what was handed over still lets others join".into())
            } else {
                Seen::So("what was handed over lets nobody join".into())
            })
        };
        steps.step("swarm: join tokens", look, || {
            let Some(pair) = due()? else { return Ok(()) };
            self.engine.rotate_tokens()?;
            // One that was killed left it to its session's end; whoever is still to join is offered the new ones.
            self.consul.erase(&self.keys.handed, None)?;
            self.consul.erase(&self.keys.due, Some(pair.modify_index))?;
            Ok(())
        })
    }
}

/// Which Swarm node is which host, as each has noted it.
pub(crate) fn nodes_of_hosts(cluster: &Cluster, consul: &Consul) -> Result<BTreeMap<String, String>, crate::external::consul::ConsulError> {
    let prefix = format!("{}/swarm/nodes/", cluster.prefix());
    let pairs = consul.keys_under(&prefix, Freshness::Usual)?;
    let entry = |pair: &crate::external::consul::Pair| Some((pair.key.strip_prefix(&prefix)?.to_owned(), pair.text()?.to_owned()));
    Ok(pairs.iter().filter_map(entry).collect())
}

/// A host's labels, and one by which services can be bound to the cluster's hosts.
fn labels(host: &Host) -> BTreeMap<String, String> {
    let mut labels = host.labels.clone();
    labels.insert(HOST.into(), host.name.clone());
    labels
}

fn has_all(node: &SwarmNode, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(key, value)| node.labels.get(key) == Some(value))
}

fn bracketed(address: &std::net::IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// It is waited for.
fn late(why: String) -> UpError {
    UpError::Engine(crate::guest::GuestError::Engine { engine: "swarm".into(), why })
}
