//! `pipework cluster agent`: the daemon, with a cluster around it.
//!
//! ```text
//! daemon: attach, detach ── Claims ──> uses: lock in Consul ──> ledger: who has what
//!    ^                                                             │
//!    └── bell: look again, intents          session ── deadline ──>│ fence: take down
//!                                           services: each address, for DNS <┘
//! ```
//!
//! A guest has an address of a pool only while the session of this host has it locked. Before anybody else can have the lock,
//! the address is down: [`session`] says until when it may be up, [`fence`] sees to it, and neither asks the network first.

mod attached;
pub mod clock;
mod examiner;
mod fence;
mod intents;
mod keeper;
mod ledger;
mod peers;
pub mod quorum;
mod seen;
mod services;
pub mod session;
mod stored;
mod uses;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub use attached::is_kept;
pub use intents::{Stored, intent_key};
pub use peers::Overlay;
pub use seen::{Seen, hosts};

use clock::Moment;
use ledger::{Ledger, Place};
use session::{Session, Terms};
use stored::{Left, LeftSession};
use uses::Uses;

use crate::cluster::claims::ConsulClaims;
use crate::external::consul::Consul;
use crate::frontend::daemon::beside::{Begin, Bell};
use crate::frontend::daemon::board::{Board, Event, Kind};
use crate::lifecycle::Options;
use crate::lifecycle::claims::{Claims, User};

/// The service that each agent is: `pipework-agent.service.consul` has the hosts' addresses.
pub const AGENT: &str = "pipework-agent";

/// What the identifiers of an agent's services begin with, and nobody else's do.
pub const SERVICE: &str = "pipework:";

/// The name of a host's session, for people and for whoever looks whether it is there.
pub fn session_name(host: &str) -> String {
    format!("pipework agent on {host}")
}

/// What the agent needs to know.
#[derive(Debug)]
pub struct AgentOptions {
    /// The local Consul agent.
    pub consul: Consul,
    /// Other hosts' agents, as far as they can be asked: when the local one is away, they can renew the session, too.
    pub others: Vec<Consul>,
    /// Where the cluster's keys are: `pipework/NAME`, without a slash at its end.
    pub prefix: String,
    /// This host's name.
    pub host: String,
    /// Its address.
    pub address: IpAddr,
    /// The RPC ports of Consul's servers, to see whether any can decide; none when they are not known.
    pub servers: Vec<SocketAddr>,
    /// How long the session lives without being renewed.
    pub ttl: Duration,
    /// The bridge, where that lies over a VXLAN.
    pub overlay: Option<Overlay>,
    /// Where addresses and owners are written down.
    pub claims: ConsulClaims,
    /// What is told of it.
    pub board: Board,
    /// Where records are.
    pub lifecycle: Options,
}

/// What all threads of the agent have in common.
#[derive(Debug)]
struct Core {
    consul: Consul,
    others: Vec<Consul>,
    claims: ConsulClaims,
    prefix: String,
    host: String,
    address: IpAddr,
    servers: Vec<SocketAddr>,
    overlay: Option<Overlay>,
    board: Board,
    lifecycle: Options,
    file: PathBuf,
    session: Mutex<Session>,
    /// Through whom the cluster is asked: 0 is the local agent, the others follow.
    way: AtomicUsize,
    /// Told when the session changed, or something is condemned.
    alarm: Condvar,
    ledger: Mutex<Ledger>,
    /// Addresses that other hosts ask for, and which of their guests waits. `None`: it is not known.
    asked_for: Mutex<Option<BTreeMap<Place, User>>>,
    /// One at a time writes the file.
    writing: Mutex<()>,
    /// Addresses that this host must not have, and in which guest it may have them.
    condemned: Mutex<BTreeSet<(Place, u64)>>,
    gate: Mutex<()>,
    /// Counts how often the uses changed.
    news: (Mutex<u64>, Condvar),
    bell: OnceLock<Bell>,
    ended: AtomicBool,
}

/// An agent that has not begun yet.
pub struct Agent {
    core: Arc<Core>,
    claims: Arc<dyn Claims>,
}

impl Agent {
    /// Reads what the agent before it left. Nothing is asked yet.
    pub fn new(options: AgentOptions) -> Self {
        let AgentOptions { consul, others, prefix, host, address, servers, ttl, overlay, claims, board, lifecycle } = options;
        let file = lifecycle.run_dir.join(stored::FILE);
        let session = Session::new(Terms::of(ttl));
        let Left { session: left, uses } = stored::read(&file);
        let by = left.as_ref().map(|left| left.id.clone());
        let session = match left {
            Some(LeftSession { id, sent, ttl }) => session.resumed(id, sent, ttl),
            None if !uses.is_empty() => session.condemned(),
            None => session,
        };
        let mut ledger = Ledger::default();
        uses.into_iter().for_each(|(claim, user)| ledger.left_behind(claim, user, by.clone()));
        let core = Core {
            consul,
            others,
            claims,
            prefix,
            host,
            address,
            servers,
            overlay,
            board,
            lifecycle,
            file,
            session: Mutex::new(session),
            way: AtomicUsize::new(0),
            alarm: Condvar::new(),
            ledger: Mutex::new(ledger),
            asked_for: Mutex::default(),
            writing: Mutex::default(),
            condemned: Mutex::default(),
            gate: Mutex::default(),
            news: (Mutex::default(), Condvar::new()),
            bell: OnceLock::new(),
            ended: AtomicBool::new(false),
        };
        let core = Arc::new(core);
        Self { claims: Arc::new(Uses::new(core.clone())), core }
    }

    /// The agent, to be looked at. `hosts`: name, address and role of each.
    pub fn seen(&self, cluster: &str, hosts: Vec<(String, String, String)>) -> Seen {
        Seen { core: self.core.clone(), cluster: cluster.to_owned(), hosts }
    }

    /// The claims that the daemon goes by.
    pub fn claims(&self) -> Arc<dyn Claims> {
        self.claims.clone()
    }

    /// What begins beside the daemon, and ends with it. Addresses stay as they are then, and their locks: the next agent takes
    /// them up while the session lives.
    pub fn begin(&self) -> Begin {
        let core = self.core.clone();
        Box::new(move |bell| {
            let _ = core.bell.set(bell);
            for (name, work) in [
                ("session", keeper::keep as fn(&Core)),
                ("session-watch", keeper::watch),
                ("fence", fence::stand),
                ("locks", uses::tend_locks),
                ("services", services::keep),
                ("intents", intents::follow),
                ("examiner", examiner::answer),
                ("attached", attached::keep),
                ("peers", peers::keep),
                ("wanted-watch", wanted::follow),
                ("wanted", wanted::tend),
            ] {
                let core = core.clone();
                std::thread::Builder::new().name(name.into()).spawn(move || work(&core))?;
            }
            Ok(Box::new(Ending(core)))
        })
    }
}

/// Ends the threads when it is dropped. They look now and then, and end with the process anyhow.
struct Ending(Arc<Core>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    fn gate(&self) -> MutexGuard<'_, ()> {
        lock(&self.gate)
    }

    /// The local agent, and the others that may be asked in its place for what is the whole cluster's.
    fn ways(&self) -> impl Iterator<Item = (usize, &Consul)> {
        std::iter::once(&self.consul).chain(&self.others).enumerate()
    }

    /// The one that answered last: the local server may be without a leader for long after a cut, while the others have one.
    fn way(&self) -> (usize, &Consul) {
        let number = self.way.load(Ordering::SeqCst);
        self.ways().nth(number).unwrap_or((0, &self.consul))
    }

    /// The claims, asked through that one.
    fn claims(&self) -> ConsulClaims {
        self.claims.clone().through(self.way().1.clone())
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// The session, while it can be relied on.
    fn live(&self) -> Option<String> {
        self.session().live(Moment::now()).map(str::to_owned)
    }

    /// Writes down what an agent after this one has to know.
    fn store(&self) {
        let _writing = lock(&self.writing);
        let left = {
            let session = self.session();
            let (sent, ttl) = (session.sent().unwrap_or_default(), session.terms().ttl);
            session.id().map(|id| LeftSession { id: id.to_owned(), sent, ttl })
        };
        let written = stored::write(&self.file, left.as_ref(), self.ledger().uses().map(|(_, one)| one));
        if let Err(error) = written {
            self.warn(format!("{}: {error}: an agent that follows this one does not know of its session", self.file.display()));
        }
    }

    fn session_is_gone(&self, id: &str) {
        self.session().gone(id, Moment::now());
        self.alarm.notify_all();
    }

    /// A guest of this host must not have it.
    fn condemn(&self, place: Place, netns: u64) {
        lock(&self.condemned).insert((place, netns));
        self.alarm.notify_all();
    }

    /// The uses are others than before.
    fn changed(&self) {
        *lock(&self.news.0) += 1;
        self.news.1.notify_all();
    }

    /// Waits until the uses changed since `seen`, for so long at most.
    fn await_change(&self, seen: &mut u64, time: Duration) {
        let (news, condition) = &self.news;
        let waited = condition.wait_timeout_while(lock(news), time, |now| *now == *seen);
        *seen = *waited.unwrap_or_else(PoisonError::into_inner).0;
    }

    fn bell_again(&self, guests: BTreeSet<u64>) {
        if let Some(bell) = self.bell.get().filter(|_| !guests.is_empty()) {
            let _ = bell.again(guests);
        }
    }

    fn warn(&self, why: String) {
        self.board.tell(Event { why: Some(why), source: Some("cluster".into()), ..Event::new(Kind::Warning) });
    }
}
