//! The thread that decides: it hears of everything, and has the work done.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::board::{EngineState, Event, Kind};
use super::chains::{Chains, Pace};
use super::engines;
use super::message::Message;
use super::notify::State;
use super::rules::{Intents, Origin, Rules, Want};
use super::work::{self, Described, Done, Shop, Told, What, Who, known_by};
use crate::guest::containers::{ContainerEngine, News};
use crate::kernel::ears::Heard;
use crate::lifecycle::tend;
use crate::model::facts::guest_if;
use crate::model::intent::{Container, Source};
use crate::model::report::Outcome;
use crate::model::request::GuestRef;

/// What was told of one guest is remembered so often.
const MOST_TOLD: usize = 64;
/// So many guests are looked at whole by each check, though nothing was heard of them: one after the other all.
const LOOKS: usize = 12;
/// Of so many guests that wait for their turn the words are kept, until they are read.
const MOST_WORDS: usize = 128;
/// So much later wanted records are read that came or went.
const SETTLE: Duration = Duration::from_millis(200);
/// Work of this daemon's own changes the host as well: what is heard so soon after it is no reason to look.
const OWN: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3600);
/// Work that is under way at the end may be ended by itself for so long; then it is asked to stop, and has so long to undo.
const ENDING: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Where ip-netns(8) keeps names.
const NAMED: &str = "/run/netns";
/// Where wanted records are, in the state directory.
const WANTED: &str = "wanted";

/// Decides.
pub struct Control {
    shop: Arc<Shop>,
    engines: Vec<ContainerEngine>,
    /// Engines that have not said yet which containers run.
    awaited: BTreeSet<usize>,
    chains: Chains,
    config: PathBuf,
    interval: Duration,
    next_check: Instant,
    /// When the daemon's time is over.
    ends: Option<Instant>,
    /// Whether containers are looked after that ran before anything was told of them.
    takes_running: bool,
    records_due: Option<Instant>,
    watched: BTreeSet<PathBuf>,
    last_work: Instant,
    /// The last guest that was looked at because it was its turn.
    looked_at: u64,
    ready: bool,
    /// Whether something that is wanted is not there.
    pub failed: bool,
}

impl Control {
    /// Nothing is known yet. `config`: where the administrator's files are.
    pub fn new(shop: Arc<Shop>, engines: Vec<ContainerEngine>, config: &Path, interval: Duration) -> Self {
        let now = Instant::now();
        let environment = shop.rules().host.environment.clone();
        let (retry, gap) = (environment.retry_delay.map(Duration::from_millis), Duration::from_millis(environment.inter_delay));
        let pace = Pace { retry, gap, cleanup: Duration::from_millis(environment.cleanup_wait) };
        Self {
            ends: environment.up_time.and_then(|time| now.checked_add(Duration::from_millis(time))),
            takes_running: environment.run_modes.is_none_or(|modes| modes.batch),
            awaited: (0..engines.len()).collect(),
            shop,
            engines,
            chains: Chains::new(pace),
            config: config.to_owned(),
            interval,
            next_check: now + interval,
            records_due: None,
            watched: BTreeSet::new(),
            last_work: now,
            looked_at: 0,
            ready: false,
            failed: false,
        }
    }

    /// Hears, and has the work done, until a signal comes; with `once`, until all that is wanted was gone through. `ready` is
    /// called once that is so.
    pub fn run(&mut self, messages: &Receiver<Message>, once: bool, ready: &mut dyn FnMut()) -> &'static str {
        self.begin();
        let end = loop {
            self.start_work();
            let now = Instant::now();
            if self.awaited.is_empty() && self.chains.is_idle(now, once) {
                if !self.ready {
                    self.ready = true;
                    self.words();
                    ready();
                    self.notify(State::Ready);
                    self.notify(State::Status(&format!("{} guests are looked after", self.chains.all().count())));
                    continue;
                }
                if once && !self.chains.has_due(SETTLE * 3, now) {
                    break "all was gone through";
                }
            }
            match messages.recv_timeout(self.patience(now)) {
                Ok(message) => {
                    if let Some(signal) = self.hear(message) {
                        break signal;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break "nobody tells anything any more",
            }
            self.pass(Instant::now());
            if self.ends.is_some_and(|at| at <= Instant::now()) {
                break "its time is over";
            }
        };
        self.end(messages);
        end
    }

    /// What is recorded already, and what is written down.
    fn begin(&mut self) {
        match tend::recorded(&self.shop.options) {
            Ok(records) => {
                for record in records {
                    let guest = &record.guest;
                    let engine = self.engines.iter().find(|engine| engine.name() == guest.engine);
                    let who = match (engine, &guest.container) {
                        (Some(engine), Some(id)) => {
                            let name = guest.container_name.clone().unwrap_or_default();
                            let container = Container { engine: guest.engine.clone(), id: id.clone(), name, ..Container::default() };
                            Who::Container(engine.clone(), Arc::new(container))
                        }
                        _ => Who::Word(guest.word.clone()),
                    };
                    let is_word = matches!(who, Who::Word(_));
                    let token = self.chains.know(who);
                    if let Some(known) = self.chains.get_mut(token) {
                        known.known.insert(guest.netns);
                    }
                    // Of a container its engine tells in a moment whether it runs.
                    if is_word {
                        self.chains.now(token);
                    }
                }
            }
            Err(error) => self.warn(error.chain().join(": ")),
        }
        self.watch();
        self.words();
    }

    /// Guests that are wanted by a word which may be no engine's container. Those that may be are left until the engines have
    /// said which run.
    fn words(&mut self) {
        let rules = self.shop.rules();
        for word in rules.words() {
            let may_be_container = matches!(word, GuestRef::Any(_));
            let is_container = |who: &Who| matches!(who, Who::Container(_, container) if container.is_called(word));
            if may_be_container && (!self.ready || self.chains.all().any(|(_, guest)| is_container(&guest.who))) {
                continue;
            }
            let token = self.chains.know(Who::Word(word.clone()));
            if self.chains.get(token).is_some_and(|guest| guest.netns.is_none()) {
                self.chains.now(token);
            }
        }
    }

    /// Directories whose changes say that a guest, or a wanted record, came or went.
    fn watch(&mut self) {
        let rules = self.shop.rules();
        let paths = rules.words().filter_map(|word| match word {
            GuestRef::NetnsPath(path) => path.parent().map(Path::to_owned),
            _ => None,
        });
        let own = [PathBuf::from(NAMED), self.shop.options.state_dir.join(WANTED)];
        // The first that is wanted is to be heard, too. Where it cannot be made it is found by the next check.
        let _ = std::fs::create_dir_all(&own[1]);
        for directory in paths.chain(own).collect::<BTreeSet<_>>() {
            // One that is not there is tried again by the next check.
            if !self.watched.contains(&directory) && self.shop.ears.watch(&directory).is_ok() {
                self.watched.insert(directory);
            }
        }
    }

    fn start_work(&mut self) {
        while let Some(job) = self.chains.next(Instant::now()) {
            let (token, shop) = (job.token, self.shop.clone());
            let thread = std::thread::Builder::new().name("work".into()).spawn(move || work::carry_out(&shop, job));
            if let Err(error) = thread {
                let now = Instant::now();
                self.chains.done(token, Done { failed: true, ..Done::default() }, now);
                self.warn(format!("no thread for the work: {error}"));
                return;
            }
        }
    }

    fn patience(&self, now: Instant) -> Duration {
        let times = [Some(self.next_check), self.chains.wake(now), self.records_due, self.ends];
        times.into_iter().flatten().min().map_or(LONGEST, |at| at.saturating_duration_since(now))
    }

    /// Returns the signal that asks to stop.
    fn hear(&mut self, message: Message) -> Option<&'static str> {
        match message {
            Message::News(engine, news) => self.news(engine, news),
            Message::Lost(number, why) => {
                self.without(number);
                self.engine(number, EngineState::Lost(why));
            }
            Message::Absent(number) => {
                self.without(number);
                self.engines.get(number).into_iter().for_each(|engine| self.shop.board.forget_engine(&engine.describe()));
            }
            Message::Heard(heard) => self.heard(heard),
            Message::Read(token) => self.chains.read(token),
            Message::Told(token, told) => self.told(token, told),
            Message::Done(token, done) => {
                self.last_work = Instant::now();
                self.failed |= done.failed;
                self.chains.done(token, *done, self.last_work);
                self.forget(token);
            }
            Message::Intents(intents) => self.intents(*intents),
            Message::Again(whose) => self.again(whose.as_ref()),
            // From here and not from a thread of its own: one that decides nothing any more is not alive.
            Message::Alive => self.notify(State::Alive),
            Message::Signal("SIGHUP") => {
                self.notify(State::Reloading);
                self.reload();
                self.notify(State::Ready);
            }
            Message::Signal(signal) => {
                self.notify(State::Stopping);
                return Some(signal);
            }
        }
        None
    }

    fn engine(&self, number: usize, state: EngineState) {
        self.engines.get(number).into_iter().for_each(|engine| self.shop.board.engine(&engine.describe(), state.clone()));
    }

    /// An engine does not say which containers run: what is known of them is looked at without it.
    fn without(&mut self, number: usize) {
        if !self.awaited.remove(&number) {
            return;
        }
        let engine = self.engines.get(number).cloned();
        let is_its = |who: &Who| matches!(who, Who::Container(own, _) if Some(own) == engine.as_ref());
        let known: Vec<u64> = self.chains.all().filter(|(_, guest)| is_its(&guest.who)).map(|(token, _)| token).collect();
        known.into_iter().for_each(|token| self.chains.now(token));
    }

    fn news(&mut self, number: usize, news: News) {
        match news {
            News::Running(containers) => self.running(number, containers),
            News::Started { container, at } => self.started(number, *container, at),
            News::Ended { id, at } | News::Removed { id, at } => {
                let Some(token) = self.chains.of_container(&id) else { return };
                if self.chains.get(token).is_some_and(|guest| guest.started <= at) {
                    self.chains.over(token, Instant::now());
                }
            }
            News::Renamed { id, name, .. } => {
                let Some(token) = self.chains.of_container(&id) else { return };
                let Some(guest) = self.chains.get_mut(token) else { return };
                if let Who::Container(_, container) = &mut guest.who {
                    Arc::make_mut(container).name = name;
                }
                guest.read_again();
                self.chains.now(token);
            }
        }
    }

    fn started(&mut self, number: usize, container: Container, at: i64) {
        let Some(engine) = self.engines.get(number).cloned() else { return };
        let is_crowded = self.chains.waiting() >= MOST_WORDS;
        let token = self.chains.know(Who::Container(engine.clone(), Arc::new(known_by(&container))));
        let Some(guest) = self.chains.get_mut(token) else { return };
        // Events are told twice after a connection was lost.
        if guest.started >= at {
            return;
        }
        guest.begin(at);
        // Words of thousands that wait would be much to keep: their engine has them.
        let container = if is_crowded { known_by(&container) } else { container };
        guest.who = Who::Container(engine, Arc::new(container));
        guest.described = if is_crowded { Described::No } else { Described::Labels };
        self.chains.now(token);
    }

    /// All that run, as the engine's list has them: those that nobody told of are new, and those that it does not have are over.
    fn running(&mut self, number: usize, containers: Vec<Container>) {
        let Some(engine) = self.engines.get(number).cloned() else { return };
        self.engine(number, EngineState::Connected);
        self.awaited.remove(&number);
        let ids: BTreeSet<String> = containers.iter().map(|container| container.id.clone()).collect();
        for container in containers {
            let is_crowded = self.chains.waiting() >= MOST_WORDS;
            // Those that it looks after already are no news; others ran before it was there to be told.
            if !self.takes_running && self.chains.of_container(&container.id).is_none() {
                continue;
            }
            let token = self.chains.know(Who::Container(engine.clone(), Arc::new(known_by(&container))));
            let Some(guest) = self.chains.get_mut(token) else { continue };
            if guest.wants.is_none() && !is_crowded {
                guest.who = Who::Container(engine.clone(), Arc::new(container));
                guest.described = Described::Labels;
            }
            guest.over = false;
            self.chains.now(token);
        }
        let is_missing = |who: &Who| matches!(who, Who::Container(own, container) if *own == engine && !ids.contains(&container.id));
        let missing: Vec<u64> = self.chains.all().filter(|(_, guest)| is_missing(&guest.who)).map(|(token, _)| token).collect();
        missing.into_iter().for_each(|token| self.chains.over(token, Instant::now()));
    }

    fn heard(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Changed(token) => self.chains.stirred(token, now),
            Heard::Ended(token) => {
                self.chains.over(token, now);
            }
            Heard::HostLink { index, name, gone } => {
                if let Some(token) = self.chains.of_host_end(index) {
                    self.chains.stirred(token, now);
                } else if let Some(name) = name.filter(|_| gone) {
                    self.stir(|want| want.request.host_if.to_string() == name);
                }
            }
            Heard::Host if now.duration_since(self.last_work) > OWN => self.stir(|want| want.request.host_access),
            Heard::Host => {}
            Heard::Came(Some(path)) => self.came(&path, now),
            Heard::Came(None) => {
                self.records_due = self.records_due.or(Some(now + SETTLE));
                self.names();
            }
            Heard::Overrun => self.stir(|_| true),
        }
    }

    /// A file came or went: a wanted record, or a namespace.
    fn came(&mut self, path: &Path, now: Instant) {
        if path.starts_with(self.shop.options.state_dir.join(WANTED)) {
            self.records_due = self.records_due.or(Some(now + SETTLE));
            return;
        }
        let name = path.strip_prefix(NAMED).ok().and_then(Path::to_str).map(|name| GuestRef::NetnsName(name.to_owned()));
        for word in name.into_iter().chain([GuestRef::NetnsPath(path.to_owned())]) {
            if let Some(token) = self.chains.of_word(&word) {
                self.chains.now(token);
            }
        }
    }

    /// Guests with such a want are looked at when it is quiet.
    fn stir(&mut self, is_meant: impl Fn(&Want) -> bool) {
        let has = |wants: &super::wants::Wants| wants.all.iter().any(|want| is_meant(want));
        let meant = self.chains.all().filter(|(_, guest)| guest.wants.as_ref().is_some_and(|wants| has(wants)));
        let meant: Vec<u64> = meant.map(|(token, _)| token).collect();
        let now = Instant::now();
        meant.into_iter().for_each(|token| self.chains.stirred(token, now));
    }

    /// Guests that are namespaces with a name: one may have come, gone, or become another.
    fn names(&mut self) {
        use std::os::unix::fs::MetadataExt;
        let inode = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.ino());
        let is_other = |who: &Who, netns: Option<u64>| match who {
            Who::Word(GuestRef::NetnsName(name)) => inode(&Path::new(NAMED).join(name)) != netns,
            Who::Word(GuestRef::NetnsPath(path)) => inode(path) != netns,
            _ => false,
        };
        let others: Vec<u64> = self.chains.all().filter(|(_, guest)| is_other(&guest.who, guest.netns)).map(|(token, _)| token).collect();
        others.into_iter().for_each(|token| self.chains.now(token));
    }

    /// What is to be done when its time has come.
    fn pass(&mut self, now: Instant) {
        if self.records_due.is_some_and(|due| due <= now) {
            self.records_due = None;
            self.read_records();
        }
        if now >= self.next_check {
            self.next_check = now + self.interval;
            self.check();
        }
    }

    /// Now and then: what no one tells of. Each time another part of the guests is looked at whole.
    fn check(&mut self) {
        self.watch();
        self.read_records();
        self.names();
        self.words();
        let mut due: Vec<u64> = self.chains.all().filter(|(_, guest)| guest.netns.is_some()).map(|(token, _)| token).collect();
        due.sort_by_key(|token| (*token <= self.looked_at, *token));
        due.truncate(LOOKS);
        self.looked_at = due.last().copied().unwrap_or(0);
        due.into_iter().for_each(|token| self.chains.now(token));
        self.shop.board.checked(self.interval);
        self.notify(State::Status(&format!("{} guests are looked after", self.chains.all().count())));
    }

    fn read_records(&mut self) {
        let mut rules = Rules::clone(&self.shop.rules());
        match rules.read_records(&self.shop.options) {
            Ok(true) => self.put(rules),
            Ok(false) => {}
            Err(why) => self.warn(why),
        }
    }

    /// Other rules from now on: guests that they are about are looked at.
    fn put(&mut self, rules: Rules) {
        let before = self.shop.rules();
        let has = |rules: &Rules, want: &Want| rules.wants.iter().any(|other| other.request == want.request);
        let came = rules.wants.iter().filter(|want| !has(&before, want));
        let went = before.wants.iter().filter(|want| !has(&rules, want));
        let changed: Vec<Arc<Want>> = came.chain(went).cloned().collect();
        let rules = Arc::new(rules);
        *self.shop.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        let is_about = |who: &Who, want: &Want| match who {
            Who::Container(_, container) => container.is_called(&want.request.guest),
            Who::Word(word) => *word == want.request.guest,
        };
        let meant: Vec<u64> =
            self.chains.all().filter(|(_, guest)| changed.iter().any(|want| is_about(&guest.who, want))).map(|(token, _)| token).collect();
        for token in meant {
            let Some(guest) = self.chains.get_mut(token) else { continue };
            let who = guest.who.clone();
            // What a file no longer has goes, unless something else wants that interface: that is made again.
            let files = changed.iter().filter(|want| want.origin == Origin::File && is_about(&who, want) && !has(&rules, want));
            guest.unwanted.extend(files.map(|want| guest_if(&want.request)));
            guest.read_again();
            self.chains.now(token);
        }
        self.watch();
        self.words();
    }

    /// The cluster's words are others now. What none of them has any more goes from its guests.
    fn intents(&mut self, intents: Intents) {
        let before = self.shop.rules();
        let is_same = |name: &String| before.intents.get(name) == intents.get(name);
        let changed = before.intents.keys().chain(intents.keys()).filter(|name| !is_same(name));
        let sources: BTreeSet<String> = changed.map(|name| Source::cluster(name).to_string()).collect();
        if sources.is_empty() && before.intents_known {
            return;
        }
        // What an earlier one made of words that are no more is found when they are known for the first time.
        let rules = Rules { intents: Arc::new(intents), intents_known: true, ..Rules::clone(&before) };
        *self.shop.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        // A container of any name may be a service's task: each says so itself.
        let containers = self.chains.all().filter(|(_, guest)| guest.who.container().is_some() && !guest.over);
        let containers: Vec<u64> = containers.map(|(token, _)| token).collect();
        for token in containers {
            let Some(guest) = self.chains.get_mut(token) else { continue };
            let wants = guest.wants.clone().unwrap_or_default();
            let is_gone = |want: &&Arc<Want>| want.origin == Origin::Cluster && sources.contains(&want.source);
            guest.unwanted.extend(wants.all.iter().filter(is_gone).map(|want| guest_if(&want.request)));
            guest.read_again();
            guest.told.clear();
            self.chains.now(token);
        }
    }

    /// Something that was in the way of these may be so no more.
    fn again(&mut self, whose: Option<&BTreeSet<u64>>) {
        let is_meant = |guest: &super::chains::Guest| match (whose, guest.netns) {
            (Some(whose), Some(netns)) => whose.contains(&netns),
            (Some(_), None) => false,
            (None, _) => !guest.over,
        };
        let meant: Vec<u64> = self.chains.all().filter(|(_, guest)| is_meant(guest)).map(|(token, _)| token).collect();
        meant.into_iter().for_each(|token| self.chains.now(token));
    }

    /// SIGHUP: the files are read again. A mistake leaves all as it was.
    fn reload(&mut self) {
        let host = self.shop.rules().host.clone();
        match Rules::read(&self.config, &host, self.shop.grammar, &self.shop.options) {
            Ok(rules) => {
                let before = self.shop.rules();
                let rules = Rules { intents: before.intents.clone(), intents_known: before.intents_known, ..rules };
                rules.warnings.iter().for_each(|warning| self.warn(warning.clone()));
                self.put(rules);
                // The policy may let what it did not let before.
                let containers = self.chains.all().filter(|(_, guest)| guest.netns.is_some() && guest.who.container().is_some());
                let containers: Vec<u64> = containers.map(|(token, _)| token).collect();
                for token in containers {
                    self.chains.get_mut(token).into_iter().for_each(|guest| {
                        guest.read_again();
                        guest.told.clear();
                    });
                    self.chains.now(token);
                }
                self.shop.board.tell(Event::new(Kind::Reloaded));
            }
            Err(mistakes) => {
                let what = format!("the files are not taken over, all stays as it was: {}", mistakes.join("; "));
                self.warn(what);
            }
        }
    }

    fn told(&mut self, token: u64, told: Told) {
        let Some(guest) = self.chains.get_mut(token) else { return };
        let interface = told.interface.as_ref().map(ToString::to_string);
        let (kind, why) = match &told.what {
            What::Made(Outcome::Unchanged) => {
                guest.attached.extend(told.interface.clone());
                if !self.shop.rules().host.environment.debug {
                    return;
                }
                (Kind::Checked, None)
            }
            What::Made(_) => {
                let is_new = told.interface.clone().is_none_or(|interface| guest.attached.insert(interface));
                // Should it fail again, that is news again.
                guest.told.retain(|(about, _)| *about != told.interface);
                (if is_new { Kind::Attached } else { Kind::Repaired }, None)
            }
            What::Gone => (Kind::Detached, None),
            What::Refused(why) => (Kind::Refused, Some(why.clone())),
            What::Failed(why) => (Kind::Failed, Some(why.clone())),
            What::Warning(why) => (Kind::Warning, Some(why.clone())),
        };
        self.failed |= kind == Kind::Refused;
        if let Some(why) = &why {
            let mut digest = DefaultHasher::new();
            (kind.word(), &told.source, why).hash(&mut digest);
            let is_news = guest.told.len() < MOST_TOLD && guest.told.insert((told.interface.clone(), digest.finish()));
            if !is_news {
                return;
            }
        }
        let mut event = Event::new(kind);
        (event.guest, event.container) = (Some(guest.who.name()), guest.who.container().map(str::to_owned));
        (event.interface, event.addresses, event.source, event.why) = (interface, told.addresses, told.source, why);
        let elapsed = guest.awaited.filter(|_| kind == Kind::Attached).map(|since| engines::now().saturating_sub(since));
        let elapsed = elapsed.map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).saturating_sub(told.at.elapsed()));
        self.shop.board.tell(match elapsed {
            Some(elapsed) => event.took(elapsed),
            None => event,
        });
    }

    /// Forgets a guest that is over, unless somebody waits for it.
    fn forget(&mut self, token: u64) {
        let rules = self.shop.rules();
        let is_wanted = |who: &Who| matches!(who, Who::Word(word) if rules.of_word(word).next().is_some());
        if self.chains.get(token).is_some_and(|guest| !is_wanted(&guest.who)) {
            self.chains.forget(token);
        }
    }

    /// The service manager is told. What it does not hear is no trouble of the guests'.
    fn notify(&self, state: State<'_>) {
        let _ = self.shop.notifier.tell(state);
    }

    fn warn(&self, why: String) {
        self.shop.board.tell(Event { why: Some(why), ..Event::new(Kind::Warning) });
    }

    /// What is under way is ended or undone; all else stands.
    fn end(&mut self, messages: &Receiver<Message>) {
        for (patience, ask) in [(ENDING.0, false), (ENDING.1, true)] {
            if ask && self.chains.is_running() {
                self.shop.stop.ask();
            }
            let deadline = Instant::now() + patience;
            while self.chains.is_running() {
                match messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(Message::Told(token, told)) => self.told(token, told),
                    Ok(Message::Done(token, done)) => self.chains.done(token, *done, Instant::now()),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
