//! `pipework cluster up` and `down`: this host made a part of the cluster, step by step, and taken out of it again. Each step is
//! looked at first and done if needed, so a second run does nothing, and one that was killed goes on where it was.

mod agent;
mod bridge;
mod classic;
mod consul;
mod made;
mod step;
mod swarm;
mod swarm_leave;
mod tokens;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use made::{Made, MadeBridge, Note};
pub use step::{Outcome, Seen, StepReport, Steps, UpError};
pub(crate) use swarm::nodes_of_hosts;

use crate::model::cluster::{Cluster, Host, SwarmMode};
use crate::model::status::AttachmentStatus;
use crate::state::ExclusiveLock;

/// What whoever forces it is told.
const ANYWAY: &str = "or say --yes: they keep their addresses, and another host's containers can be given the same ones at once";

/// Where steps are done.
#[derive(Debug)]
pub struct Place<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// This host.
    pub host: &'a Host,
    /// The cluster's file: a whole path.
    pub file: PathBuf,
    /// What was made here.
    pub note: Note,
    /// Where pid files and logs are.
    pub run_dir: PathBuf,
    /// Whether new servers are waited for until they vote.
    pub voters: bool,
    /// Whether nothing is done about the agent.
    pub no_agent: bool,
}

/// Makes this host a part of the cluster. Returns how many steps there was something to do for.
///
/// # Errors
/// The first step that could not be done; the earlier ones stay.
pub fn up(place: &Place<'_>, wait: Duration, tell: &mut dyn FnMut(&StepReport)) -> Result<usize, UpError> {
    let _alone = alone(place, wait)?;
    let mut steps = Steps::new(&place.host.name, wait, tell);
    consul::up(place, &mut steps)?;
    if place.cluster.swarm.mode == SwarmMode::Engine {
        swarm::up(place, &mut steps)?;
    }
    // One that is not wanted any more goes.
    if place.cluster.swarm.mode == SwarmMode::Classic {
        classic::up(place, &mut steps)?
    } else {
        classic::down(place, &mut steps)?
    }
    if let Some(part) = &place.cluster.bridge {
        bridge::up(place, part, &mut steps)?;
    }
    match place.cluster.agent.run {
        _ if place.no_agent => {}
        true => agent::up(place, &mut steps)?,
        false if place.note.read()?.agent => {
            locks_end(place, "or say [agent] run = true")?;
            agent::down(place, &mut steps)?;
        }
        false => {}
    }
    Ok(steps.done)
}

/// Takes away what [`up`] made here, and nothing else. While containers are attached to the bridge it is refused, unless forced.
///
/// # Errors
/// The first step that could not be done.
pub fn down(place: &Place<'_>, force: bool, wait: Duration, tell: &mut dyn FnMut(&StepReport)) -> Result<usize, UpError> {
    let _alone = alone(place, wait)?;
    let mut steps = Steps::new(&place.host.name, wait, tell);
    let (made, bridge) = (place.note.read()?, bridge::made(place)?);
    if let (false, Some(bridge)) = (force, &bridge) {
        let attached = attached(place, |status| status.host_interface == bridge.as_str())?;
        if !attached.is_empty() {
            let what = format!("attached here are still {}", attached.join(", "));
            return Err(UpError::wrong(what, "detach them (pipework detach GUEST --all), or say --yes: they stay without a network"));
        }
    }
    if made.agent && !force {
        locks_end(place, ANYWAY)?;
    }
    if made.agent {
        agent::down(place, &mut steps)?;
    }
    forget(place);
    if let Some(name) = &bridge {
        bridge::down(place, name, force, &mut steps)?;
    }
    if made.swarm {
        swarm_leave::leave(place, &mut steps)?;
    }
    classic::down(place, &mut steps)?;
    consul::down(place, &mut steps)?;
    Ok(steps.done)
}

/// Takes this host out of Swarm and Consul, as far as [`up`] put it there. Its bridge stays, and what is attached to it. While
/// containers have addresses that the agent keeps locked it is refused, unless forced.
///
/// # Errors
/// The first step that could not be done.
pub fn leave(place: &Place<'_>, force: bool, wait: Duration, tell: &mut dyn FnMut(&StepReport)) -> Result<usize, UpError> {
    let _alone = alone(place, wait)?;
    let mut steps = Steps::new(&place.host.name, wait, tell);
    let made = place.note.read()?;
    if made.agent && !force {
        locks_end(place, ANYWAY)?;
    }
    if made.swarm {
        swarm_leave::leave(place, &mut steps)?;
    }
    classic::down(place, &mut steps)?;
    if made.agent {
        agent::down(place, &mut steps)?;
    }
    forget(place);
    consul::down(place, &mut steps)?;
    Ok(steps.done)
}

/// Has Swarm give a host's tasks to others, and none to it, or ends that. Its own agent says that it is under maintenance.
///
/// # Errors
/// The first step that could not be done.
pub fn drain(place: &Place<'_>, target: &str, drained: bool, wait: Duration, tell: &mut dyn FnMut(&StepReport)) -> Result<usize, UpError> {
    let _alone = alone(place, wait)?;
    let mut steps = Steps::new(&place.host.name, wait, tell);
    if place.cluster.host(target).is_none() {
        let names: Vec<&str> = place.cluster.hosts.iter().map(|host| host.name.as_str()).collect();
        return Err(UpError::wrong(format!("{target} is no host of this cluster"), format!("there are {}", names.join(", "))));
    }
    if place.cluster.swarm.mode == SwarmMode::Engine {
        swarm_leave::drain(place, target, drained, &mut steps)?;
    }
    if target == place.host.name {
        consul::maintenance(place, drained, &mut steps)?;
    }
    Ok(steps.done)
}

/// One run at a time on a host: two would each start what they do not see yet.
fn alone(place: &Place<'_>, wait: Duration) -> Result<ExclusiveLock, UpError> {
    let path = place.run_dir.join(format!("cluster-{}.lock", place.cluster.name));
    let deadline = Instant::now() + wait;
    loop {
        match ExclusiveLock::try_take(&path).map_err(UpError::file(&path))? {
            Some(lock) => return Ok(lock),
            None if Instant::now() > deadline => {
                return Err(UpError::wrong("another run is at work on this host", "wait for it, or end it; --timeout waits longer"));
            }
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The guests with such an attachment.
fn attached(place: &Place<'_>, is_such: impl Fn(&AttachmentStatus) -> bool) -> Result<Vec<String>, UpError> {
    let report = crate::lifecycle::recorded(&place.run_dir)?;
    let mut names: Vec<String> = report.attachments.into_iter().filter(is_such).map(|status| status.guest.name).collect();
    names.dedup();
    Ok(names)
}

/// Refuses to end the agent while it keeps addresses locked that guests here have.
fn locks_end(place: &Place<'_>, otherwise: &str) -> Result<(), UpError> {
    let gives = |ip: IpAddr| place.cluster.pools.iter().any(|pool| pool.refuses(ip).is_none());
    let attached = attached(place, |status| status.addresses.iter().any(|addr| gives(addr.ip())))?;
    if attached.is_empty() {
        return Ok(());
    }
    let what = format!("the agent keeps addresses of pools locked that are attached here: {}", attached.join(", "));
    Err(UpError::wrong(what, format!("detach them (pipework detach GUEST --all), {otherwise}")))
}

/// What is noted of this host's containers. Consul may be gone already.
fn forget(place: &Place<'_>) {
    if let Ok(consul) = super::access::consul(place.cluster) {
        let _ = super::verify::forget(place.cluster, &consul, &place.host.name);
    }
}
