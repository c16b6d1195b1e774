//! Telling the neighbours of new addresses, while the work goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernel::announce::Announcement;

/// A bridge with STP keeps an announcement waiting for half a minute: so many wait at once.
const MOST_THREADS: usize = 32;
/// So many more may wait for those. Neighbours that are not told find out by themselves, in their own time.
const MOST_WAITING: usize = 2048;

/// Tells them from threads of its own, which end when there is nothing to tell.
#[derive(Clone, Default)]
pub struct Announcer {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Announcement>,
    threads: usize,
}

impl Announcer {
    /// Has it told soon.
    pub fn tell(&self, announcement: Announcement) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.waiting.len() < MOST_WAITING {
            inner.waiting.push_back(announcement);
        }
        if inner.threads < MOST_THREADS {
            let own = self.clone();
            if std::thread::Builder::new().name("announcer".into()).spawn(move || own.work()).is_ok() {
                inner.threads += 1;
            }
        }
    }

    fn work(&self) {
        loop {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(announcement) = inner.waiting.pop_front() else {
                inner.threads -= 1;
                return;
            };
            drop(inner);
            // That nobody could be told is no failure of the attachment.
            let _ = announcement.announce();
        }
    }
}
