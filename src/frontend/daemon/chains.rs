//! Whose turn it is: one piece of work at a time for each guest, few at once that are quick, and any number that wait. Pure
//! bookkeeping: it starts nothing itself.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wants::Wants;
use super::work::{Described, Done, Job, QUICK, Who};
use crate::model::request::GuestRef;
use crate::model::types::IfName;

/// So much quick work at once: the kernel does one at a time, and the engine needs its share of the processors.
const AT_ONCE: usize = 4;
/// So many pieces of work at all: most of them wait for a server.
const MOST: usize = 512;
/// Of these, so many may be known to wait: there is always room for those that do not.
const MOST_WAITING: usize = 448;
/// Of so many the engines are asked at once: one that has too much to do answers all of them late.
const MOST_ASKING: usize = 32;
/// How long after a failure it is tried again: doubled each time.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After labels were looked at, the rest of a container may wait: its engine has enough to do at the moment.
const REST: Duration = Duration::from_millis(400);
/// So long must it be quiet in a guest before a change there is looked at: doubled while it goes on.
const QUIET: Duration = Duration::from_millis(200);
/// How often a change is looked at in a guest that changes all the time: at most doubled so often.
const MOST_DOUBLED: u32 = 7;
/// After so long without a change a guest counts as a quiet one again.
const CALM: Duration = Duration::from_secs(60);

/// A guest and how it stands.
#[derive(Debug)]
pub struct Guest {
    /// Who it is.
    pub who: Who,
    /// How much of it is known.
    pub described: Described,
    /// Where something of it is recorded.
    pub known: BTreeSet<u64>,
    /// Its namespace, while it runs.
    pub netns: Option<u64>,
    /// Whether its engine says that it has ended.
    pub over: bool,
    /// What it is to have.
    pub wants: Option<Arc<Wants>>,
    /// When its engine says that it was started, in nanoseconds since the epoch; 0 when nobody has said it.
    pub started: i64,
    /// The same, until what it wants was made.
    pub awaited: Option<i64>,
    /// What was told of it since it was started, so that it is told once: of which interface, and the digest of the rest.
    pub told: BTreeSet<(Option<IfName>, u64)>,
    /// Interfaces that it was given since.
    pub attached: BTreeSet<IfName>,
    /// Interfaces that nobody wants any more.
    pub unwanted: Vec<IfName>,
    made: Option<Arc<Wants>>,
    listening: Option<u64>,
    host_ends: Vec<u32>,
    failures: u32,
    stirred: u32,
    last_stirred: Option<Instant>,
    state: State,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running,
    /// It is to be looked at once more.
    RunningAgain,
}

impl Guest {
    fn new(who: Who) -> Self {
        Self {
            who,
            described: Described::No,
            known: BTreeSet::new(),
            netns: None,
            over: false,
            wants: None,
            started: 0,
            awaited: None,
            told: BTreeSet::new(),
            attached: BTreeSet::new(),
            unwanted: Vec::new(),
            made: None,
            listening: None,
            host_ends: Vec::new(),
            failures: 0,
            stirred: 0,
            last_stirred: None,
            state: State::Idle,
            due: None,
        }
    }

    /// It was started: what was before is no matter.
    pub fn begin(&mut self, at: i64) {
        (self.started, self.awaited, self.over) = (at, Some(at), false);
        (self.failures, self.stirred) = (0, 0);
        (self.wants, self.made) = (None, None);
        self.told.clear();
        self.attached.clear();
    }

    /// What it wants is to be read again.
    pub fn read_again(&mut self) {
        (self.wants, self.made, self.described) = (None, None, Described::No);
    }

    /// Whether its engine may have to be asked.
    fn asks(&self) -> bool {
        self.wants.is_none() && matches!(self.who, Who::Container(..))
    }

    fn waits(&self) -> bool {
        self.wants.as_ref().is_some_and(|wants| wants.wait())
    }

    fn job(&self, token: u64) -> Job {
        Job {
            token,
            who: self.who.clone(),
            described: self.described,
            known: self.known.iter().copied().chain(self.netns).collect(),
            over: self.over,
            wants: self.wants.clone(),
            made: self.made.clone(),
            unwanted: self.unwanted.clone(),
            listening: self.listening,
        }
    }
}

/// How fast work follows work, where the administrator says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// What failed is tried again after so long, always.
    pub retry: Option<Duration>,
    /// So long passes from the beginning of one piece of work to that of the next.
    pub gap: Duration,
    /// So long from a guest's end until it is cleared up.
    pub cleanup: Duration,
}

/// All guests, and whose turn it is.
#[derive(Debug, Default)]
pub struct Chains {
    pace: Pace,
    last_begun: Option<Instant>,
    guests: HashMap<u64, Guest>,
    by_name: HashMap<String, u64>,
    host_ends: HashMap<u32, u64>,
    ready: VecDeque<u64>,
    due: BTreeSet<(Instant, u64)>,
    running: HashMap<u64, Instant>,
    /// Those of them whose engines are asked what they are to have.
    asking: HashSet<u64>,
    last: u64,
}

/// What a guest is known by: a container by its identifier, which no other word can be.
fn name(who: &Who) -> String {
    match who {
        Who::Container(_, container) => format!("id {}", container.id),
        Who::Word(word) => word.to_string(),
    }
}

impl Chains {
    /// No guest is known.
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// The guest has ended, says who should know: it is cleared up soon.
    pub fn over(&mut self, token: u64, now: Instant) {
        let Some(guest) = self.guests.get_mut(&token) else { return };
        guest.over = true;
        if self.pace.cleanup.is_zero() { self.now(token) } else { self.later(token, now + self.pace.cleanup) }
    }

    /// The guest's number; it is known from now on.
    pub fn know(&mut self, who: Who) -> u64 {
        let name = name(&who);
        if let Some(token) = self.by_name.get(&name) {
            return *token;
        }
        self.last += 1;
        self.guests.insert(self.last, Guest::new(who));
        self.by_name.insert(name, self.last);
        self.last
    }

    /// A container's number, if it is known.
    pub fn of_container(&self, id: &str) -> Option<u64> {
        self.by_name.get(&format!("id {id}")).copied()
    }

    /// The number of a guest that no engine tells of, if it is known.
    pub fn of_word(&self, word: &GuestRef) -> Option<u64> {
        self.by_name.get(&word.to_string()).copied()
    }

    /// The guest whose interface has its other end there.
    pub fn of_host_end(&self, index: u32) -> Option<u64> {
        self.host_ends.get(&index).copied()
    }

    /// A guest.
    pub fn get(&self, token: u64) -> Option<&Guest> {
        self.guests.get(&token)
    }

    /// A guest.
    pub fn get_mut(&mut self, token: u64) -> Option<&mut Guest> {
        self.guests.get_mut(&token)
    }

    /// All guests and their numbers.
    pub fn all(&self) -> impl Iterator<Item = (u64, &Guest)> {
        self.guests.iter().map(|(token, guest)| (*token, guest))
    }

    /// It is to be looked at as soon as there is room.
    pub fn now(&mut self, token: u64) {
        let Some(guest) = self.guests.get_mut(&token) else { return };
        match guest.state {
            State::Idle => {
                guest.state = State::Queued;
                self.ready.push_back(token);
            }
            State::Running => guest.state = State::RunningAgain,
            State::Queued | State::RunningAgain => {}
        }
    }

    /// It is to be looked at then, or before.
    pub fn later(&mut self, token: u64, at: Instant) {
        let Some(guest) = self.guests.get_mut(&token) else { return };
        if guest.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = guest.due.replace(at) {
            self.due.remove(&(due, token));
        }
        self.due.insert((at, token));
    }

    /// Something changed there: looked at when it is quiet, and seldom where it never is.
    pub fn stirred(&mut self, token: u64, now: Instant) {
        let Some(guest) = self.guests.get_mut(&token) else { return };
        if guest.wants.as_ref().is_none_or(|wants| wants.all.is_empty()) {
            return;
        }
        if guest.last_stirred.is_some_and(|last| now.duration_since(last) > CALM) {
            guest.stirred = 0;
        }
        guest.last_stirred = Some(now);
        let pause = QUIET * 2u32.pow(guest.stirred.min(MOST_DOUBLED));
        self.later(token, now + pause);
    }

    /// The next piece of work, if there is room for one.
    pub fn next(&mut self, now: Instant) -> Option<Job> {
        while let Some((at, token)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, token));
            if let Some(guest) = self.guests.get_mut(&token) {
                guest.due = None;
                guest.stirred = guest.stirred.saturating_add(1);
            }
            self.now(token);
        }
        let young = self.running.values().filter(|started| now.duration_since(**started) < QUICK).count();
        if young >= AT_ONCE || self.running.len() >= MOST || self.next_slot().is_some_and(|at| at > now) {
            return None;
        }
        let may_wait = self.running.len() < MOST_WAITING;
        let may_ask = self.asking.len() < MOST_ASKING;
        let has_room = |token: &u64| self.guests.get(token).is_none_or(|guest| (may_wait || !guest.waits()) && (may_ask || !guest.asks()));
        let place = self.ready.iter().position(has_room)?;
        let token = self.ready.remove(place)?;
        let guest = self.guests.get_mut(&token)?;
        guest.state = State::Running;
        if guest.asks() {
            self.asking.insert(token);
        }
        self.running.insert(token, now);
        self.last_begun = Some(now);
        Some(guest.job(token))
    }

    /// When the next piece of work may begin, at the earliest.
    fn next_slot(&self) -> Option<Instant> {
        self.last_begun.filter(|_| !self.pace.gap.is_zero()).map(|last| last + self.pace.gap)
    }

    /// The work knows what the guest is to have.
    pub fn read(&mut self, token: u64) {
        self.asking.remove(&token);
    }

    /// The work has ended.
    pub fn done(&mut self, token: u64, done: Done, now: Instant) {
        self.running.remove(&token);
        self.asking.remove(&token);
        let Some(guest) = self.guests.get_mut(&token) else { return };
        let again = guest.state == State::RunningAgain;
        guest.state = State::Idle;
        guest.netns = done.netns;
        guest.known = done.known;
        guest.listening = done.netns.filter(|_| done.listening);
        guest.unwanted.clear();
        for index in std::mem::replace(&mut guest.host_ends, done.host_ends) {
            self.host_ends.remove(&index);
        }
        self.host_ends.extend(guest.host_ends.iter().map(|index| (*index, token)));
        if again {
            // What was heard meanwhile may be about what it wants.
            return self.now(token);
        }
        guest.wants.clone_from(&done.wants);
        guest.awaited = None;
        // Its words have been read; they may be long, and their container's engine has them.
        guest.who.forget_words();
        guest.described = Described::No;
        if done.netns.is_none() {
            guest.made = None;
            guest.attached.clear();
        }
        let is_half = done.described == Some(Described::Labels);
        guest.made = done.wants.filter(|_| is_half && !done.failed);
        if is_half {
            guest.wants = None;
            self.later(token, now + REST);
        } else if done.failed {
            let pause = (PAUSES.0 * 2u32.pow(guest.failures.min(MOST_DOUBLED))).min(PAUSES.1);
            let pause = self.pace.retry.unwrap_or(pause);
            guest.failures += 1;
            self.later(token, now + pause);
        } else {
            guest.failures = 0;
        }
    }

    /// Forgets a guest that does not run, has nothing, and is wanted by nobody.
    pub fn forget(&mut self, token: u64) {
        let Some(guest) = self.guests.get(&token) else { return };
        let is_over = guest.state == State::Idle && guest.netns.is_none() && guest.known.is_empty();
        if is_over && let Some(guest) = self.guests.remove(&token) {
            self.by_name.remove(&name(&guest.who));
            if let Some(due) = guest.due {
                self.due.remove(&(due, token));
            }
        }
    }

    /// When there is something to be done, if nothing happens until then.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        // Work that goes on for long makes room for other work.
        let room = self.running.values().map(|started| *started + QUICK).filter(|at| *at > now);
        let slot = self.next_slot().filter(|at| *at > now && !self.ready.is_empty());
        self.due.first().map(|(at, _)| *at).into_iter().chain(room).chain(slot).min()
    }

    /// Whether nothing is to be done, and nothing is under way that is quick; with `waiting`, also nothing that waits.
    pub fn is_idle(&self, now: Instant, waiting: bool) -> bool {
        let counts = |started: &Instant| waiting || now.duration_since(*started) < QUICK;
        self.ready.is_empty() && !self.running.values().any(counts)
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Whether any work is under way.
    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether a guest is to be looked at in a moment.
    pub fn has_due(&self, within: Duration, now: Instant) -> bool {
        self.due.first().is_some_and(|(at, _)| *at <= now + within)
    }
}

#[cfg(test)]
#[path = "chains_tests.rs"]
mod tests;
