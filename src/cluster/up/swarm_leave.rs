//! Swarm, engine mode: how a host gets out of it, and is given no tasks.

use std::time::{Duration, Instant};

use super::step::{Seen, Steps};
use super::swarm::{Keys, TTL, nodes_of_hosts};
use super::{Place, UpError};
use crate::cluster::access;
use crate::external::consul::{Behavior, Condition, Consul, NewSession};
use crate::guest::swarm::{SwarmEngine, SwarmNode};

/// What is noted in place of its node of a host that leaves.
const LEAVING: &[u8] = b"leaving";

/// Whether a host is given tasks: a manager's to say.
pub(super) fn drain(place: &Place<'_>, target: &str, drained: bool, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let (consul, engine) = (access::consul(place.cluster)?, SwarmEngine::usual()?);
    if !engine.standing()?.is_manager {
        let managers = place.cluster.swarm.managers.join(" or ");
        return Err(UpError::wrong("this host does not manage the swarm", format!("on {managers}: pipework cluster drain {target}")));
    }
    let wanted = if drained { "drain" } else { "active" };
    let node = || -> Result<SwarmNode, UpError> {
        let known = nodes_of_hosts(place.cluster, &consul)?;
        let found = engine.nodes()?.into_iter().find(|node| known.get(target) == Some(&node.id));
        found.ok_or_else(|| UpError::wrong(format!("{target} is no node of the swarm"), format!("run `pipework cluster up` on {target}")))
    };
    let look = || {
        let is = node()?.availability;
        Ok(if is == wanted { Seen::So(is) } else { Seen::Not(is) })
    };
    steps.step("swarm: availability", look, || Ok(engine.drain(&node()?.id, drained)?))
}

/// Takes this engine out of the swarm. The last one takes the note of it along.
pub(super) fn leave(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let engine = SwarmEngine::usual()?;
    let look = || {
        let now = engine.standing()?;
        Ok(if now.state == "inactive" { Seen::So("this engine is in none".into()) } else { Seen::Not(format!("it is {}", now.state)) })
    };
    let consul = access::consul(place.cluster).ok();
    let key = format!("{}/swarm/nodes/{}", place.cluster.prefix(), place.host.name);
    steps.step("swarm: left", look, || {
        // First: managers take some time to see that a node is gone, and nobody is to count on one that was killed after it left.
        let _ = consul.as_ref().map(|consul| consul.write(&key, LEAVING, 0, Condition::Always));
        let turn = consul.as_ref().and_then(|consul| turn(place, consul));
        let now = engine.standing()?;
        if let (true, Some(own)) = (now.is_manager, &now.node) {
            // A manager that leaves by force takes its vote along: it is a worker first, where others can do without it.
            let others = engine.nodes().unwrap_or_default().iter().filter(|node| node.is_manager && node.id != *own).count();
            if others > 0 && engine.demote(own).is_ok() {
                await_demotion(&engine);
            }
        }
        let left = engine.leave(true);
        if let (Some(consul), Some(session)) = (&consul, turn) {
            let _ = consul.end_session(&session);
        }
        Ok(left?)
    })?;
    if let Ok(consul) = access::consul(place.cluster) {
        // Where the others have gone already, Consul has no leader any more.
        let _ = forget(place, &consul);
    }
    place.note.change(|made| made.swarm = false)
}

/// Managers leave one after another: two of three at once would leave no majority that could let the second go. Returns the session
/// whose turn it is; nobody waits for ever.
fn turn(place: &Place<'_>, consul: &Consul) -> Option<String> {
    let key = format!("{}/swarm/leaving", place.cluster.prefix());
    let session =
        NewSession { behavior: Behavior::Delete, lock_delay: Some(Duration::from_millis(1)), ttl: Some(TTL), ..Default::default() };
    let id = consul.begin_session(&session).ok()?;
    let deadline = Instant::now() + TTL;
    while Instant::now() < deadline {
        match consul.write(&key, place.host.name.as_bytes(), 0, Condition::Acquire(&id)) {
            Ok(true) => return Some(id),
            Ok(false) => std::thread::sleep(Duration::from_millis(100)),
            Err(_) => break,
        }
    }
    let _ = consul.end_session(&id);
    None
}

/// The other managers are to have agreed before it leaves; they need no more than a moment, and may never say so.
fn await_demotion(engine: &SwarmEngine) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while engine.standing().is_ok_and(|now| now.is_manager) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn forget(place: &Place<'_>, consul: &Consul) -> Result<(), UpError> {
    let keys = Keys::of(place.cluster);
    consul.erase(&format!("{}/swarm/nodes/{}", place.cluster.prefix(), place.host.name), None)?;
    if nodes_of_hosts(place.cluster, consul)?.is_empty() {
        for key in [&keys.begun, &keys.due] {
            consul.erase(key, None)?;
        }
    }
    Ok(())
}
