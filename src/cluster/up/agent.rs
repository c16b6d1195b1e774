//! `pipework cluster agent` as a program that stays: the last of the steps, and the first that is taken away.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use super::step::{Seen, Steps};
use super::{Place, UpError};
use crate::cluster::access;
use crate::cluster::agent::{SERVICE, session_name};
use crate::external::consul::Consul;
use crate::external::resident::{Resident, Standing, UnitWords};
use crate::frontend::daemon::ask::{self, Wish};
use crate::frontend::daemon::{LOCK, serve};
use crate::frontend::install;
use crate::state::ExclusiveLock;

/// What the names of an agent's files in the run directory begin with.
const FILES: &str = "agent-";

/// This program, by its file.
fn own_program() -> Result<PathBuf, UpError> {
    let link = Path::new("/proc/self/exe");
    let program = std::env::current_exe().map_err(UpError::file(link))?;
    if program.is_file() {
        return Ok(program);
    }
    Err(UpError::wrong(format!("{}: this program's file is gone", program.display()), "run the one that has taken its place"))
}

/// What a program of ours is started anew for: another file of the program, other words, another cluster, another token.
fn version(place: &Place<'_>, program: &Path, args: &[String]) -> Result<String, UpError> {
    let mut hash = Md5::new();
    hash.update(format!("{:?}", place.cluster));
    hash.update(stamp(program)?);
    args.iter().for_each(|word| hash.update(word));
    // Of the token its file's looks are enough: what is made of it can be read by everybody.
    if let Some(token) = access::token_file(place.cluster).filter(|path| path.exists()) {
        hash.update(stamp(&token)?);
    }
    Ok(hex::encode(hash.finalize()))
}

/// Another one where a file was written anew.
fn stamp(path: &Path) -> Result<String, UpError> {
    let file = path.metadata().map_err(UpError::file(path))?;
    Ok(format!("{} {} {} {}", file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

fn resident(place: &Place<'_>) -> Result<Resident, UpError> {
    let part = &place.cluster.agent;
    let mut args: Vec<String> = ["cluster", "agent", "--host", &place.host.name, "--file"].map(str::to_owned).into();
    args.push(place.file.display().to_string());
    args.extend(part.ttl.iter().flat_map(|ttl| ["--ttl".to_owned(), ttl.to_string()]));
    args.extend(part.page.then(|| "--page".to_owned()));
    let unit = UnitWords { after: "pipework-consul.service docker.service podman.socket".into(), service: install::service("always") };
    own_resident(place, "agent", "Agent of", args, unit)
}

/// This program, kept running with these words; `what` it is to the cluster.
pub(super) fn own_resident(place: &Place<'_>, name: &str, what: &str, args: Vec<String>, unit: UnitWords) -> Result<Resident, UpError> {
    let program = own_program()?;
    Ok(Resident {
        name: format!("pipework-{name}"),
        description: format!("{what} cluster {} (pipework cluster up)", place.cluster.name),
        version: version(place, &program, &args)?,
        program,
        args,
        dir: place.run_dir.join("cluster"),
        unit,
    })
}

/// It runs as it is to, answers, and has a session.
pub(super) fn up(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let consul = access::consul(place.cluster)?;
    let agent = resident(place)?;
    let look = || match agent.standing() {
        Standing::Runs => answers(place, &consul, &agent),
        Standing::Old => Ok(Seen::Not("it runs with another configuration, or as another version".into())),
        Standing::No if is_taken(place, &agent)? => {
            let what = "another daemon of this program looks after this host";
            Err(UpError::wrong(
                what,
                "the agent does all that it does: end it (systemctl disable --now pipework.service), or say [agent] run = false",
            ))
        }
        Standing::No => Ok(Seen::Not(why(&agent))),
    };
    steps.step("agent", look, || {
        place.note.change(|made| made.agent = true)?;
        if agent.standing() == Standing::Runs { Ok(()) } else { Ok(agent.start()?) }
    })
}

fn why(agent: &Resident) -> String {
    let words = agent.last_words().map(|words| format!(": {words}")).unwrap_or_default();
    format!("it does not run; {}{words}", agent.log())
}

/// Whether a daemon that is none of ours looks after this host. Its lock is not tried for while ours may want it; and ours may have
/// been started between two looks.
fn is_taken(place: &Place<'_>, own: &Resident) -> Result<bool, UpError> {
    let path = place.run_dir.join(LOCK);
    if own.is_tended() || !path.exists() {
        return Ok(false);
    }
    let is_free = ExclusiveLock::try_take(&path).map_err(UpError::file(&path))?.is_some();
    Ok(!is_free && !own.is_tended())
}

fn answers(place: &Place<'_>, consul: &Consul, agent: &Resident) -> Result<Seen, UpError> {
    let socket = place.run_dir.join(serve::SOCKET);
    if let Err(error) = ask::events(&socket, Wish::default(), &mut |_| false) {
        return Ok(Seen::Not(format!("{error}; {}", why(agent))));
    }
    let name = session_name(&place.host.name);
    if !consul.sessions()?.iter().any(|session| session.name == name) {
        return Ok(Seen::Not(format!("it has no session in Consul yet; {}", agent.log())));
    }
    if !consul.services()?.contains_key(&format!("{SERVICE}agent")) {
        return Ok(Seen::Not("Consul does not know it as a service yet".into()));
    }
    Ok(Seen::So(format!("answers, and has a session; log: {}", agent.log())))
}

/// Ends it. What is attached stays; what the agent kept in Consul goes.
pub(super) fn down(place: &Place<'_>, steps: &mut Steps<'_>) -> Result<(), UpError> {
    let agent = resident(place)?;
    let look = || {
        let is_gone = agent.is_gone() && files(place).is_empty();
        Ok(if is_gone { Seen::So("gone".into()) } else { Seen::Not("it is there".into()) })
    };
    steps.step("agent", look, || {
        agent.stop()?;
        agent.forget_log();
        // Consul may be away: then its session ends by itself, and its services with the host's node.
        let _ = access::consul(place.cluster).map(|consul| forget(place, &consul));
        // The lock of one that was killed.
        let _ = is_taken(place, &agent)?;
        for path in files(place) {
            std::fs::remove_file(&path).map_err(UpError::file(&path))?;
        }
        Ok(())
    })?;
    place.note.change(|made| made.agent = false)
}

fn forget(place: &Place<'_>, consul: &Consul) {
    for id in consul.services().unwrap_or_default().into_keys().filter(|id| id.starts_with(SERVICE)) {
        let _ = consul.deregister(&id);
    }
    let name = session_name(&place.host.name);
    for session in consul.sessions().unwrap_or_default().iter().filter(|session| session.name == name) {
        let _ = consul.end_session(&session.id);
    }
}

/// What an agent keeps in the run directory.
fn files(place: &Place<'_>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&place.run_dir).into_iter().flatten().flatten();
    let is_ours = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(FILES));
    entries.map(|entry| entry.path()).filter(|path| is_ours(path) && path.is_file()).collect()
}
