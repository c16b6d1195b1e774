//! Keeping the session: asked for, renewed, and asked for anew when it has ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clock::Moment;
use super::session::Act;
use super::{Core, quorum, session_name};
use crate::external::consul::{Behavior, Consul, ConsulError, NewSession};
use crate::lifecycle::chain;
use crate::model::cluster::rights::{self, Right};

/// The longest sleep: an end is noticed within it.
const NAP: Duration = Duration::from_millis(500);
/// How long another host's agent may take to answer.
const OTHER: Duration = Duration::from_millis(500);
/// So long a change of the session is waited for.
const WATCH: Duration = Duration::from_secs(30);

/// Keeps it for as long as the agent runs.
pub(super) fn keep(core: &Core) {
    let mut told = Told::Nothing;
    while !core.has_ended() {
        let act = core.session().next(Moment::now());
        let asked = match act {
            Act::Wait(time) => {
                std::thread::sleep(time.min(NAP));
                continue;
            }
            Act::Create => create(core),
            Act::Renew(id) => renew(core, &id),
        };
        match asked {
            Ok(()) => told.well(core),
            Err(error) => {
                unanswered(core);
                told.badly(core, &error);
            }
        }
        core.alarm.notify_all();
    }
}

/// What was told of it last, so that each is told once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Well,
    Badly,
}

impl Told {
    fn well(&mut self, core: &Core) {
        if *self == Self::Badly {
            core.warn("Consul answers again".into());
        }
        *self = Self::Well;
    }

    fn badly(&mut self, core: &Core, error: &ConsulError) {
        if *self != Self::Badly {
            let why = chain(error).join(": ");
            let more = if error.is_denied() {
                format!("; {}", rights::missing(Right::Session, &core.prefix, &core.host))
            } else if core.others.is_empty() && matches!(error, ConsulError::Unreachable { .. }) {
                "; no other host's agent may be asked (http = \"everybody\" in cluster.toml), so addresses of pools go down unless it is back in time"
                    .into()
            } else {
                String::new()
            };
            core.warn(format!("the session of this host is not renewed: {why}{more}"));
        }
        *self = Self::Badly;
    }
}

fn create(core: &Core) -> Result<(), ConsulError> {
    let terms = core.session().wanted();
    let sent = Moment::now();
    // It hangs on its time alone. With serfHealth it would end as soon as the others miss this host for some seconds, which
    // this host cannot know of.
    let (number, consul) = core.way();
    let created = consul.begin_session(&NewSession {
        behavior: Behavior::Release,
        lock_delay: Some(terms.margin),
        name: session_name(&core.host),
        // The agent that is asked has another.
        node: (number != 0).then(|| core.host.clone()),
        node_checks: Some(Vec::new()),
        ttl: Some(terms.ttl),
        ..NewSession::default()
    });
    // Whoever else can be asked is, the next time.
    let id = created.inspect_err(|_| core.way.store((number + 1) % (core.others.len() + 1), Ordering::SeqCst))?;
    core.session().created(id, sent);
    core.store();
    warn_of_reaping(core);
    // What was down for want of one may be up again.
    wake_all(core);
    Ok(())
}

/// Consul's own way with servers that it misses takes their sessions long before these have ended (consul#6793): then a host that
/// was only cut off has less time than it knows of.
fn warn_of_reaping(core: &Core) {
    let settings: Result<Option<serde_json::Value>, _> = core.consul.get("operator/autopilot/configuration", &[]);
    if settings.ok().flatten().is_some_and(|settings| settings.get("CleanupDeadServers") == Some(&true.into())) {
        core.warn(
            "Consul strikes out servers that it misses, and their sessions with them, before these have ended: \
             consul operator autopilot set-config -cleanup-dead-servers=false"
                .into(),
        );
    }
}

/// By the local agent, or by another host's where that one does not answer: each knows as much. After a cut the others are asked
/// first: the local server finds their leader much later than this host does.
fn renew(core: &Core, id: &str) -> Result<(), ConsulError> {
    let patience = core.session().terms().pulse() / 2;
    let is_live = core.session().live(Moment::now()).is_some();
    let mut ways: Vec<(usize, &Consul)> = core.ways().collect();
    if !is_live {
        ways.rotate_left(1);
    }
    let mut first = None;
    for (number, consul) in ways {
        let patience = if number == 0 && is_live { patience } else { patience.min(OTHER) };
        let sent = Moment::now();
        match consul.renew_session_within(id, patience) {
            Ok(true) => {
                core.way.store(number, Ordering::SeqCst);
                renewed(core, id, sent);
                return Ok(());
            }
            // What another's does not know may be its own trouble, unless it has asked all.
            Ok(false) => match has_ended(consul, id) {
                Ok(true) => {
                    core.way.store(number, Ordering::SeqCst);
                    end(core, id);
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) => drop(first.get_or_insert(error)),
            },
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    if let Some(error) = first {
        return Err(error);
    }
    core.session().unanswered(Moment::now());
    Ok(())
}

fn renewed(core: &Core, id: &str, sent: Moment) {
    let was_live = core.session().live(Moment::now()).is_some();
    core.session().renewed(id, sent);
    core.store();
    if !was_live {
        wake_all(core);
    }
}

/// A leader that has only just begun may not know yet what its log says, and answers that there is no such session. One that is
/// asked for a consistent answer waits until it knows.
fn has_ended(consul: &Consul, id: &str) -> Result<bool, ConsulError> {
    let found: Option<Option<Vec<serde_json::Value>>> = consul.get(&format!("session/info/{id}"), &[("consistent", "")])?;
    Ok(found.flatten().is_none_or(|found| found.is_empty()))
}

fn end(core: &Core, id: &str) {
    core.warn("the session of this host has ended: its addresses go down, and come back under another one".into());
    core.session_is_gone(id);
}

fn wake_all(core: &Core) {
    if let Some(bell) = core.bell.get() {
        let _ = bell.all_again();
    }
}

/// Nobody renewed it. Where it is seen that no server can end it either, its time goes on.
fn unanswered(core: &Core) {
    let looked = Moment::now();
    let is_in_doubt = core.session().deadline().is_some();
    if is_in_doubt && quorum::nobody_decides(&quorum::look_at_all(&core.servers)) {
        core.session().nobody_decides(looked);
        core.store();
    }
    core.session().unanswered(Moment::now());
}

/// Hears of a session's end before the next renewal would: somebody destroyed it, or this host's node was struck out.
pub(super) fn watch(core: &Core) {
    let (mut of, mut index) = (String::new(), 0);
    while !core.has_ended() {
        let Some(id) = core.live() else {
            std::thread::sleep(NAP);
            continue;
        };
        if id != of {
            (of, index) = (id.clone(), 0);
        }
        let seen: Result<(Option<Option<Vec<serde_json::Value>>>, u64), _> =
            core.consul.watch(&format!("session/info/{id}"), &[], index, WATCH);
        let is_missing = |found: &Option<Option<Vec<_>>>| matches!(found, Some(found) if found.as_ref().is_none_or(Vec::is_empty));
        match seen {
            Ok((found, next)) if is_missing(&found) => {
                if has_ended(&core.consul, &id).unwrap_or(false) {
                    end(core, &id);
                } else {
                    std::thread::sleep(NAP);
                }
                index = next;
            }
            Ok((_, next)) => index = next,
            Err(_) => {
                index = 0;
                std::thread::sleep(NAP);
            }
        }
    }
}
