//! The work at one guest: look who it is and whether it runs, and make what is wanted so. It is done again whenever there is
//! reason to; where all is well it changes nothing.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::announcer::Announcer;
use super::board::Board;
use super::leases::{Leases, Tenant};
use super::message::Message;
use super::notify::Notifier;
use super::rules::{Origin, Rules, Want};
use super::wants::{Reader, Refused, Wants};
use crate::frontend::Grammar;
use crate::guest::containers::{ContainerEngine, Found, NoDescription, has_user_namespace};
use crate::guest::{self, Directory, GuestError, Held};
use crate::kernel::ears::Ears;
use crate::kernel::signal::{Stop, obey};
use crate::lifecycle::tend::{self, Retired, tend};
use crate::lifecycle::{Attached, Options, Tenancy, TookUp};
use crate::model::facts::guest_if;
use crate::model::intent::{Container, Host};
use crate::model::record::Record;
use crate::model::report::Outcome;
use crate::model::request::GuestRef;
use crate::model::types::IfName;
use crate::state::Said;

/// What all work has in common.
pub struct Shop {
    /// What is written down.
    pub rules: RwLock<Arc<Rules>>,
    /// The command line's grammar.
    pub grammar: Grammar,
    /// What nobody's words say.
    pub options: Options,
    /// Where the neighbours are told from.
    pub announcer: Announcer,
    /// The DHCP leases that are kept.
    pub leases: Leases,
    /// The service manager.
    pub notifier: Notifier,
    /// Where it is listened.
    pub ears: Ears,
    /// What is told of it.
    pub board: Board,
    /// Ends what waits.
    pub stop: Arc<Stop>,
    /// Who decides what is done.
    pub tell: SyncSender<Message>,
}

impl Shop {
    /// What is written down, as it is now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whom the work is about.
#[derive(Clone, Debug)]
pub enum Who {
    /// A container of an engine.
    Container(ContainerEngine, Arc<Container>),
    /// A guest that no engine tells of.
    Word(GuestRef),
}

impl Who {
    /// As people call it.
    pub fn name(&self) -> String {
        match self {
            Self::Container(engine, container) => engine.word(container).to_string(),
            Self::Word(word) => word.to_string(),
        }
    }

    /// Keeps no more of a container than what it is known by.
    pub fn forget_words(&mut self) {
        if let Self::Container(_, container) = self {
            *container = Arc::new(known_by(container));
        }
    }

    /// The engine's identifier.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Container(_, container) => Some(&container.id),
            Self::Word(_) => None,
        }
    }
}

/// As much of a container as it is known by.
pub fn known_by(container: &Container) -> Container {
    Container { engine: container.engine.clone(), id: container.id.clone(), name: container.name.clone(), ..Container::default() }
}

/// What is known of a guest before the work begins.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub token: u64,
    /// Who it is.
    pub who: Who,
    /// How much of it has been told: its labels, and its environment.
    pub described: Described,
    /// The namespaces that it has, or had, attachments in.
    pub known: BTreeSet<u64>,
    /// Whether its engine says that it has ended.
    pub over: bool,
    /// What it is to have, when that was read before.
    pub wants: Option<Arc<Wants>>,
    /// What it was given a moment ago, which need not be looked at again.
    pub made: Option<Arc<Wants>>,
    /// Interfaces that nobody wants any more.
    pub unwanted: Vec<IfName>,
    /// The namespace that is listened to.
    pub listening: Option<u64>,
}

/// How much of a container is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Described {
    /// Its identifier.
    No,
    /// Its labels.
    Labels,
    /// All of it.
    Whole,
}

/// What came of one want, or of an attachment that nobody wants.
#[derive(Clone, Debug)]
pub struct Told {
    /// The interface.
    pub interface: Option<IfName>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Who wanted it.
    pub source: Option<String>,
    /// What.
    pub what: What,
    /// When.
    pub at: Instant,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum What {
    /// It was made, changed, or is as it is to be.
    Made(Outcome),
    /// It was taken away.
    Gone,
    /// It may not be.
    Refused(String),
    /// It could not be.
    Failed(String),
    /// It is, but something is to be known of it.
    Warning(String),
}

/// How the guest stands after the work.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Its namespace, when it runs.
    pub netns: Option<u64>,
    /// Whether it is listened to there.
    pub listening: bool,
    /// Where something of it is recorded.
    pub known: BTreeSet<u64>,
    /// What it is to have.
    pub wants: Option<Arc<Wants>>,
    /// How much of it is known now.
    pub described: Option<Described>,
    /// The indexes of its interfaces' other ends on the host.
    pub host_ends: Vec<u32>,
    /// Whether something failed that may go well later.
    pub failed: bool,
}

/// Does the work, and tells of it. The thread is for nothing else.
pub fn carry_out(shop: &Shop, job: Job) {
    obey(&shop.stop);
    let token = job.token;
    let done = Work { shop, job }.all();
    // Nobody listens any more when the daemon has ended.
    let _ = shop.tell.send(Message::Done(token, Box::new(done)));
}

struct Work<'a> {
    shop: &'a Shop,
    job: Job,
}

impl Work<'_> {
    fn all(&mut self) -> Done {
        match self.find() {
            Ok(Some(found)) => self.runs(&found),
            Ok(None) => self.is_gone(),
            Err(error) => self.is_unknown(&error),
        }
    }

    /// Its engine does not answer, and it has no control group where one is looked for: what is dead is dead. That an engine does
    /// not answer is told by others.
    fn is_unknown(&mut self, error: &GuestError) -> Done {
        if !matches!(error, GuestError::Engine { .. }) {
            self.tell(None, What::Failed(chain(error)), None);
        }
        let known = self.retire(&self.job.known.clone(), self.job.over);
        let failed = !known.is_empty() || !self.job.over;
        Done { known, wants: self.job.wants.clone(), described: Some(self.job.described), failed, ..Done::default() }
    }

    /// The guest, if it runs.
    fn find(&self) -> Result<Option<Found>, GuestError> {
        match &self.job.who {
            Who::Container(engine, container) => engine.find(container),
            Who::Word(word) => match guest::hold(word) {
                Ok(held) => Ok(Some(Found { directory: Directory::default(), held })),
                Err(error) if error.is_absence() => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// What it had goes, wherever that was.
    fn is_gone(&mut self) -> Done {
        self.shop.ears.remove(self.job.token);
        let left = self.retire(&self.job.known.clone(), self.job.over);
        self.job.known.difference(&left).for_each(|netns| self.settle(*netns, true));
        // A guest that no engine tells of is looked for again; what a container wants is told when it starts.
        let wants = self.job.wants.clone().filter(|_| matches!(self.job.who, Who::Word(_)));
        Done { failed: !left.is_empty(), known: left, wants, ..Done::default() }
    }

    fn runs(&mut self, found: &Found) -> Done {
        let netns = found.held.id.netns;
        // That an engine does not answer is told by others.
        let read = self.read(found).map_err(|none| {
            if none.answered {
                self.tell(None, What::Failed(none.why), None);
            }
        });
        let mut failed = read.is_err();
        let wants = read.clone().unwrap_or_default();
        let _ = self.shop.tell.send(Message::Read(self.job.token));
        for interface in std::mem::take(&mut self.job.unwanted) {
            failed |= !self.release(netns, &interface);
        }
        if read.is_ok() {
            failed |= !self.take_back(netns, &wants);
        }
        for want in wants.all.iter().filter(|want| self.counts(want)) {
            failed |= !self.make(want, found);
        }
        // What it had before it was started again goes after that: its addresses are its own all the time.
        let before: BTreeSet<u64> = self.job.known.iter().copied().filter(|known| *known != netns).collect();
        let mut known = self.retire(&before, true);
        failed |= !known.is_empty();
        known.insert(netns);
        if tend::is_clear(netns, &self.shop.options).unwrap_or(false) {
            self.settle(netns, !failed);
        } else if self.shop.options.claims.is_some() {
            let why = "a record of it cannot be read: the addresses of pools that it had stay in use until it ends";
            self.tell(None, What::Warning(why.into()), None);
        }
        let listening = self.listen(&found.held, !wants.all.is_empty());
        let host_ends = self.host_ends(netns);
        Done { netns: Some(netns), listening, known, wants: read.ok(), described: Some(self.job.described), host_ends, failed }
    }

    /// Its claims end with what it has not any more, whoever took that away.
    fn settle(&self, netns: u64, is_all: bool) {
        let Some(claims) = &self.shop.options.claims else { return };
        if let Ok(records) = tend::recorded_of(netns, &self.shop.options) {
            let addrs: Vec<_> = records.iter().flat_map(Record::addrs).collect();
            claims.settle(netns, &addrs, is_all);
        }
    }

    /// Takes away what was made because something was said to the whole cluster, which nobody says any more. `false`: it may go
    /// well later.
    fn take_back(&self, netns: u64, wants: &Wants) -> bool {
        // Read before that was known: it is read again in a moment.
        if !wants.knows_said {
            return true;
        }
        let said = Said::of(&self.shop.options.run_dir);
        let records = tend::recorded_of(netns, &self.shop.options).unwrap_or_default();
        let is_wanted = |record: &Record| wants.all.iter().any(|want| guest_if(&want.request) == record.interface);
        let mut all = true;
        for record in records.iter().filter(|record| !is_wanted(record) && said.has(record)) {
            all &= self.release(netns, &record.interface);
        }
        all
    }

    /// Notes who wants it, where that may be taken back while nobody hears it.
    fn note(&self, want: &Want, interface: &IfName, netns: u64) {
        if !self.shop.rules().intents_known {
            return;
        }
        let said = Said::of(&self.shop.options.run_dir);
        let records = tend::recorded_of(netns, &self.shop.options).unwrap_or_default();
        let Some(record) = records.iter().find(|record| record.interface == *interface) else { return };
        let noted = if want.origin == Origin::Cluster { said.put(record) } else { said.remove(record) };
        if let Err(error) = noted {
            self.tell(Some(interface.clone()), What::Warning(format!("who wants it is not noted: {error}")), None);
        }
    }

    /// A record that is there no more wants nothing, and what was made a moment ago is there.
    fn counts(&self, want: &Want) -> bool {
        let is_made = |made: &Arc<Wants>| made.all.iter().any(|made| made.request == want.request);
        if self.job.made.as_ref().is_some_and(is_made) {
            return false;
        }
        want.origin != Origin::Record || tend::is_wanted(&want.request, &want.options)
    }

    /// What the guest is to have. Refusals are told when it is read, not whenever it is looked at.
    fn read(&mut self, found: &Found) -> Result<Arc<Wants>, NoDescription> {
        if let Some(wants) = &self.job.wants {
            return Ok(wants.clone());
        }
        let rules = self.shop.rules();
        let reader = Reader { rules: &rules, grammar: self.shop.grammar, options: &self.shop.options };
        let mut wants = match self.job.who.clone() {
            Who::Word(word) => reader.of_word(&word),
            Who::Container(engine, container) => {
                let container = self.describe(&engine, container)?;
                let pid = found.held.id.pid.unwrap_or(0);
                let container = Container { pid, has_user_namespace: has_user_namespace(pid), ..container };
                reader.of_container(&container, &engine.word(&container))
            }
        };
        for Refused { source, why } in std::mem::take(&mut wants.refused) {
            self.tell(None, What::Refused(why), Some(source));
        }
        Ok(Arc::new(wants))
    }

    /// The container with as much as its words need. Its engine is asked only where its event has not told that.
    fn describe(&mut self, engine: &ContainerEngine, container: Arc<Container>) -> Result<Container, NoDescription> {
        let enough = self.job.described == Described::Whole
            || (self.job.described == Described::Labels && is_enough(&container, &self.shop.rules().host));
        if enough {
            return Ok(Container::clone(&container));
        }
        match engine.inspect(&container.id)? {
            Some(whole) => {
                self.job.described = Described::Whole;
                Ok(whole)
            }
            None => Err(NoDescription { answered: false, why: "it is gone".into() }),
        }
    }

    /// Makes an interface be as wanted. `false`: it may go well later.
    fn make(&self, want: &Want, found: &Found) -> bool {
        let interface = guest_if(&want.request);
        match tend(&want.request, &want.options, &found.directory, &mut |_| {}) {
            Ok(attached) => {
                self.made(want, &interface, attached);
                true
            }
            // Its end is told by others.
            Err(crate::lifecycle::AttachError::Guest(error)) if error.is_absence() => true,
            Err(error) => {
                let told = Told {
                    interface: Some(interface),
                    addresses: Vec::new(),
                    source: Some(want.source.clone()),
                    what: What::Failed(error.chain().join(": ")),
                    at: Instant::now(),
                };
                self.send(told);
                false
            }
        }
    }

    fn made(&self, want: &Want, interface: &IfName, attached: Attached) {
        let Attached { report, announcement, guest, .. } = attached;
        let told = |what| Told {
            interface: Some(interface.clone()),
            addresses: report.addresses.iter().map(ToString::to_string).collect(),
            source: Some(want.source.clone()),
            what,
            at: Instant::now(),
        };
        self.send(told(What::Made(report.result)));
        report.warnings.iter().for_each(|warning| self.send(told(What::Warning(warning.clone()))));
        announcement.into_iter().for_each(|announcement| self.shop.announcer.tell(announcement));
        self.note(want, interface, guest.netns);
        if want.request.dynamic.is_some() {
            self.keep_lease(want, interface, guest.netns, report.result);
        }
    }

    /// A lease is kept from now on, be it this daemon's own or one that another left.
    fn keep_lease(&self, want: &Want, interface: &IfName, netns: u64, result: Outcome) {
        let records = tend::recorded_of(netns, &self.shop.options).unwrap_or_default();
        let record = records.into_iter().find(|record| record.interface == *interface);
        let Some(tenancy) = record.and_then(|record| Tenancy::of(&self.shop.options.run_dir, record)) else { return };
        let tenant = Tenant {
            guest: self.job.who.name(),
            container: self.job.who.container().map(str::to_owned),
            interface: interface.to_string(),
            source: want.source.clone(),
        };
        let took_up = if result == Outcome::Attached { TookUp::Now } else { TookUp::FromAnother };
        self.shop.leases.keep(tenancy, took_up, tenant);
    }

    /// Takes an interface away that nobody wants any more. `false`: it may go well later.
    fn release(&self, netns: u64, interface: &IfName) -> bool {
        match tend::release(netns, interface, &self.shop.options, &mut |_| {}) {
            Ok(None) => true,
            Ok(Some(Retired { record, left })) if left.is_empty() => {
                let _ = Said::of(&self.shop.options.run_dir).remove(&record);
                self.send(self.gone(&record, What::Gone));
                true
            }
            Ok(Some(Retired { record, left })) => {
                self.send(self.gone(&record, What::Failed(format!("could not {}", left.join("; could not ")))));
                false
            }
            Err(error) => {
                self.tell(Some(interface.clone()), What::Failed(error.chain().join(": ")), None);
                false
            }
        }
    }

    /// Takes away what is left of it in namespaces that are gone. Returns those where something is left.
    fn retire(&self, numbers: &BTreeSet<u64>, over: bool) -> BTreeSet<u64> {
        self.shop.leases.give_back(numbers);
        let own = self.job.who.container();
        let is_over = |record: &Record| over && record.guest.pid.is_some() && record.guest.container.as_deref() == own;
        let mut left = BTreeSet::new();
        for netns in numbers {
            match tend::retire([*netns], &is_over, &self.shop.options, &mut |_| {}) {
                Ok(retired) => {
                    for Retired { record, left: behind } in retired {
                        if behind.is_empty() {
                            let _ = Said::of(&self.shop.options.run_dir).remove(&record);
                            self.send(self.gone(&record, What::Gone));
                        } else {
                            left.insert(*netns);
                            self.send(self.gone(&record, What::Failed(format!("could not {}", behind.join("; could not ")))));
                        }
                    }
                    // It is not dead, or another run keeps its lease: it may be later.
                    if tend::recorded_of(*netns, &self.shop.options).is_ok_and(|records| records.iter().any(|r| self.is_own(r))) {
                        left.insert(*netns);
                    }
                }
                Err(error) => {
                    left.insert(*netns);
                    self.tell(None, What::Failed(error.chain().join(": ")), None);
                }
            }
        }
        left
    }

    /// Whether a record is about this guest, and not another whose namespace has the same number.
    fn is_own(&self, record: &Record) -> bool {
        match &self.job.who {
            Who::Container(_, container) => record.guest.container.as_deref() == Some(container.id.as_str()),
            Who::Word(word) => record.guest.word == *word,
        }
    }

    fn gone(&self, record: &Record, what: What) -> Told {
        let addresses = record.addrs().map(|addr| addr.to_string()).collect();
        Told { interface: Some(record.interface.clone()), addresses, source: None, what, at: Instant::now() }
    }

    /// Listens in its namespace from now on, where something is wanted.
    fn listen(&self, held: &Held, wanted: bool) -> bool {
        let is_there = self.job.listening == Some(held.id.netns) && self.shop.ears.has(self.job.token);
        if !wanted || is_there {
            return is_there;
        }
        let process = held.process.as_ref().and_then(|process| OwnedFd::try_clone(process).ok());
        match self.shop.ears.add(self.job.token, &held.namespace, process) {
            Ok(()) => true,
            Err(error) => {
                self.tell(None, What::Warning(format!("changes in it are not heard, only looked for: {error}")), None);
                false
            }
        }
    }

    fn host_ends(&self, netns: u64) -> Vec<u32> {
        let records = tend::recorded_of(netns, &self.shop.options).unwrap_or_default();
        records.iter().filter_map(|record| Some(record.link.as_ref()?.host.as_ref()?.index)).collect()
    }

    fn tell(&self, interface: Option<IfName>, what: What, source: Option<String>) {
        self.send(Told { interface, addresses: Vec::new(), source, what, at: Instant::now() });
    }

    fn send(&self, told: Told) {
        let _ = self.shop.tell.send(Message::Told(self.job.token, told));
    }
}

/// Whether labels alone say all that a container's words need: there are some, and none names what only its engine knows.
fn is_enough(container: &Container, host: &Host) -> bool {
    // The key that some have to have is a variable.
    if host.environment.key.is_some() {
        return false;
    }
    let ours = || container.labels.iter().filter(|(key, _)| key.starts_with("pipework."));
    ours().next().is_some() && ours().all(|(_, value)| !value.contains("Hostname"))
}

fn chain(error: &dyn std::error::Error) -> String {
    crate::lifecycle::chain(error).join(": ")
}

/// Longer than any work takes that waits for nobody.
pub const QUICK: Duration = Duration::from_millis(50);
