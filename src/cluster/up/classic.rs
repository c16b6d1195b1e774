//! Classic Swarm: this host's engine registered in Consul for as long as our own `cluster swarm join` runs, and, where an image is
//! named, the old manager in a container.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::agent::own_resident;
use super::step::{Seen, Steps};
use super::{Place, UpError};
use crate::cluster::access;
use crate::cluster::swarm::classic::Nodes;
use crate::external::resident::{Resident, Standing, UnitWords};
use crate::guest::kept::{KeptContainer, KeptStanding};
use crate::model::cluster::Host;

/// The manager's container.
const MANAGER: &str = "pipework-swarm-manager";
/// How long a port of this host is waited for.
const LISTENS: Duration = Duration::from_secs(2);

/// All of it.
pub(super) fn up(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let nodes = Nodes::new(access::consul(place.cluster)?, &place.cluster.swarm.path);
    engine(place, steps)?;
    registered(place, &nodes, steps)?;
    if place.cluster.swarm.image.is_some() && place.cluster.is_manager(&place.host.name) {
        manager(place, steps)?;
    } else if place.note.read()?.manager {
        manager_down(place, steps)?;
    }
    all_in(place, &nodes, steps)
}

fn at(host: &Host, port: u16) -> SocketAddr {
    SocketAddr::new(host.address, port)
}

/// The engine has to be told by its own configuration to listen; nothing is changed there.
fn engine(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let at = at(place.host, place.cluster.swarm.engine_port);
    let look = || match TcpStream::connect_timeout(&at, LISTENS) {
        Ok(_) => Ok(Seen::So(format!("listens on {at}"))),
        Err(error) => {
            let hint =
                format!("managers reach engines by TCP: dockerd -H unix:///var/run/docker.sock -H tcp://{at}, or \"hosts\" in daemon.json");
            Err(UpError::wrong(format!("the engine does not listen on {at}: {error}"), hint))
        }
    };
    steps.step("swarm: engine", look, || Ok(()))
}

fn member(place: &Place<'_>) -> Result<Resident, UpError> {
    let advertised = at(place.host, place.cluster.swarm.engine_port).to_string();
    let mut args: Vec<String> = ["cluster", "swarm", "join", "--advertise", &advertised, "--file"].map(str::to_owned).into();
    args.push(place.file.display().to_string());
    let unit = UnitWords { after: "pipework-consul.service".into(), service: "Restart=always\nRestartSec=2\n".into() };
    own_resident(place, "swarm", "This host's engine in the classic Swarm of", args, unit)
}

fn registered(place: &Place<'_>, nodes: &Nodes, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let member = member(place)?;
    let advertised = at(place.host, place.cluster.swarm.engine_port).to_string();
    let look = || {
        if member.standing() != Standing::Runs {
            let words = member.last_words().map(|words| format!(": {words}")).unwrap_or_default();
            return Ok(Seen::Not(format!("it is not kept registered; {}{words}", member.log())));
        }
        let is_there = nodes.list()?.contains(&advertised);
        Ok(if is_there { Seen::So(format!("as {advertised}")) } else { Seen::Not(format!("{advertised} is not registered")) })
    };
    steps.step("swarm: registered", look, || {
        place.note.change(|made| made.member = true)?;
        if member.standing() == Standing::Runs { Ok(()) } else { Ok(member.start()?) }
    })
}

/// The words of the old program. It shares the host's network, so the local agent is where it is for the host.
fn container(place: &Place<'_>) -> KeptContainer {
    let (cluster, part) = (place.cluster, &place.cluster.swarm);
    let address = cluster.agent_address();
    let agent = address.trim_start_matches("http://").trim_end_matches('/');
    let mut command = vec!["manage".to_owned(), "-H".to_owned(), format!(":{}", part.manager_port)];
    // Of several, one leads, and the others pass on what they are asked.
    command.extend((part.managers.len() > 1).then(|| "--replication".to_owned()));
    command.extend(["--advertise".to_owned(), at(place.host, part.manager_port).to_string(), format!("consul://{agent}/{}", part.path)]);
    KeptContainer { name: MANAGER.into(), image: part.image.clone().unwrap_or_default(), command }
}

fn manager(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let (container, at) = (container(place), at(place.host, place.cluster.swarm.manager_port));
    let look = || match container.standing()? {
        KeptStanding::Foreign => {
            let what = format!("there is a container {MANAGER} that is not ours");
            Err(UpError::wrong(what, format!("docker rename {MANAGER} ..., or docker rm it")))
        }
        KeptStanding::Runs => match TcpStream::connect_timeout(&at, LISTENS) {
            Ok(_) => Ok(Seen::So(format!("{} in container {MANAGER}, on {at}", container.image))),
            Err(error) => Ok(Seen::Not(format!("it does not listen on {at}: {error}; docker logs {MANAGER}"))),
        },
        KeptStanding::Old => Ok(Seen::Not("it runs with other words, or of another image".into())),
        KeptStanding::No(how) => Ok(Seen::Not(format!("{how}; docker logs {MANAGER}"))),
        KeptStanding::Absent => Ok(Seen::Not("there is none".into())),
    };
    steps.step("swarm: manager", look, || {
        place.note.change(|made| made.manager = true)?;
        container.start().map_err(|error| match error.to_string().to_lowercase().contains("no such image") {
            true => UpError::wrong(format!("the engine has no image {}", container.image), format!("docker pull {}", container.image)),
            false => error.into(),
        })
    })
}

fn all_in(place: &Place<'_>, nodes: &Nodes, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let look = || {
        let (known, port) = (nodes.list()?, place.cluster.swarm.engine_port);
        let hosts = &place.cluster.hosts;
        let missing: Vec<&str> =
            hosts.iter().filter(|host| !known.contains(&at(host, port).to_string())).map(|host| host.name.as_str()).collect();
        if missing.is_empty() {
            return Ok(Seen::So(format!("{} engines", known.len())));
        }
        Ok(Seen::Not(format!("missing: {}: run `pipework cluster up` there, too", missing.join(", "))))
    };
    steps.step("swarm: all hosts", look, || Ok(()))
}

/// Takes away what [`up`] made.
pub(super) fn down(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let made = place.note.read()?;
    if made.manager {
        manager_down(place, steps)?;
    }
    if !made.member {
        return Ok(());
    }
    let member = member(place)?;
    let look = || Ok(if member.is_gone() { Seen::So("not any more".into()) } else { Seen::Not("it is".into()) });
    steps.step("swarm: registered", look, || {
        // It takes its key along.
        member.stop()?;
        member.forget_log();
        Ok(())
    })?;
    place.note.change(|made| made.member = false)
}

fn manager_down(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let container = container(place);
    let look = || {
        let is_gone = matches!(container.standing()?, KeptStanding::Absent | KeptStanding::Foreign);
        Ok(if is_gone { Seen::So("gone".into()) } else { Seen::Not("its container is there".into()) })
    };
    steps.step("swarm: manager", look, || Ok(container.remove()?))?;
    place.note.change(|made| made.manager = false)
}
