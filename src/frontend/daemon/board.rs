//! What the daemon tells of itself: its log, its latest events, whoever follows them, its figures, its health. One place that
//! every thread tells and the server reads; it never waits for a reader.

mod event;
mod figures;
mod health;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

pub use event::{Event, Kind, Since};
pub use figures::{BOUNDS, Figures};
pub use health::{EngineState, Health};

/// So many events are kept for those who come later, and so many a reader may be behind.
pub const KEPT: usize = 1024;

/// How the log is written on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// A line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// Not at all.
    Silent,
}

/// The board. Its clones are one and the same.
#[derive(Clone, Debug)]
pub struct Board {
    log: Log,
    inner: Arc<Mutex<Inner>>,
    /// One ring for all that follow, however many they are.
    followers: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    recent: VecDeque<Arc<Event>>,
    figures: Figures,
    health: Health,
}

impl Board {
    /// An empty one.
    pub fn new(log: Log) -> Self {
        let (followers, _) = broadcast::channel(KEPT);
        Self { log, inner: Arc::default(), followers }
    }

    /// Tells an event: logged, counted, kept for a while, and handed to all that follow. It gets its number here.
    pub fn tell(&self, event: Event) {
        let mut event = event.bounded();
        let mut inner = self.lock();
        inner.number += 1;
        event.number = inner.number;
        inner.figures.count(&event);
        self.write(&event);
        let event = Arc::new(event);
        if inner.recent.len() == KEPT {
            inner.recent.pop_front();
        }
        inner.recent.push_back(event.clone());
        // Under the lock: who subscribes sees each event once. That nobody follows is no error.
        let _ = self.followers.send(event);
    }

    /// The events that are kept, oldest first.
    pub fn recent(&self, since: &Since) -> Vec<Arc<Event>> {
        self.lock().after(since)
    }

    /// The events that are kept and those to come, without a gap between them.
    pub fn follow(&self, since: &Since) -> (Vec<Arc<Event>>, Follower) {
        let inner = self.lock();
        (inner.after(since), Follower { events: self.followers.subscribe(), board: self.clone() })
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.followers.receiver_count()
    }

    /// A copy of the figures.
    pub fn figures(&self) -> Figures {
        self.lock().figures.clone()
    }

    /// A copy of what is known of the daemon's health.
    pub fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// All that is wanted at the start has been gone through.
    pub fn ready(&self) {
        self.lock().health.ready = true;
    }

    /// An engine is there, or is not: told as an event when that is news.
    pub fn engine(&self, name: &str, state: EngineState) {
        if !self.lock().health.engine(name, state.clone()) {
            return;
        }
        let (kind, why) = match state {
            EngineState::Connected => (Kind::EngineConnected, None),
            EngineState::Lost(why) => (Kind::EngineLost, Some(why)),
        };
        self.tell(Event { source: Some(name.to_owned()), why, ..Event::new(kind) });
    }

    /// An engine is not looked after any more.
    pub fn forget_engine(&self, name: &str) {
        self.lock().health.forget(name);
    }

    /// All attachments have been looked at; the next time is within so long.
    pub fn checked(&self, next_within: Duration) {
        self.lock().health.checked(next_within);
    }

    fn write(&self, event: &Event) {
        let mut error = std::io::stderr().lock();
        // A log that cannot be written does not stop the work.
        let _ = match self.log {
            Log::Text => writeln!(error, "{event}"),
            Log::Json => writeln!(error, "{}", event.json()),
            Log::Silent => Ok(()),
        };
    }

    /// What a thread that panicked left here is whole: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn after(&self, since: &Since) -> Vec<Arc<Event>> {
        self.recent.iter().filter(|event| since.is_before(event)).cloned().collect()
    }
}

/// Follows the events. One that is slow loses the oldest, and is told how many.
pub struct Follower {
    events: broadcast::Receiver<Arc<Event>>,
    board: Board,
}

impl Follower {
    /// The next event; none when the daemon ends.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(self.missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event, if there is one by now.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        match self.events.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Lagged(missed)) => Some(self.missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    fn missed(&self, missed: u64) -> Arc<Event> {
        self.board.lock().figures.missed += missed;
        Arc::new(Event { missed: Some(missed), ..Event::new(Kind::Missed) })
    }
}

#[cfg(test)]
mod tests;
