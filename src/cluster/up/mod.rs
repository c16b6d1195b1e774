//! `pipework cluster up` and `down`: this host made a part of the cluster, step by step, and taken out of it again. Each step is
//! looked at first and done if needed, so a second run does nothing, and one that was killed goes on where it was.

mod consul;
mod made;
mod step;
mod swarm;

use std::path::PathBuf;
use std::time::Duration;

pub use made::{Made, Note};
pub use step::{Outcome, Seen, StepReport, Steps, UpError};

use crate::model::cluster::{Cluster, Host, SwarmMode};

/// Where steps are done.
#[derive(Debug)]
pub struct Place<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// This host.
    pub host: &'a Host,
    /// What was made here.
    pub note: Note,
    /// Where pid files and logs are.
    pub run_dir: PathBuf,
    /// Whether new servers are waited for until they vote.
    pub voters: bool,
}

/// Makes this host a part of the cluster. Returns how many steps there was something to do for.
///
/// # Errors
/// The first step that could not be done; the earlier ones stay.
pub fn up(place: &Place<'_>, wait: Duration, tell: &mut dyn FnMut(&StepReport)) -> Result<usize, UpError> {
    let mut steps = Steps::new(&place.host.name, wait, tell);
    consul::up(place, &mut steps)?;
    if place.cluster.swarm.mode == SwarmMode::Engine {
        swarm::up(place, &mut steps)?;
    }
    Ok(steps.done)
}

/// Takes away what [`up`] made here, and nothing else.
///
/// # Errors
/// The first step that could not be done.
pub fn down(place: &Place<'_>, wait: Duration, tell: &mut dyn FnMut(&StepReport)) -> Result<usize, UpError> {
    let mut steps = Steps::new(&place.host.name, wait, tell);
    if place.note.read()?.swarm {
        swarm::leave(place, &mut steps)?;
    }
    consul::down(place, &mut steps)?;
    Ok(steps.done)
}
