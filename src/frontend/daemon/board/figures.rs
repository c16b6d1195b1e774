//! Counters, and how long attaches take.

use super::event::{Event, Kind};

/// Upper bounds of the histogram, in seconds: the aim is a median under 10 ms, and all within 100 ms.
pub const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What was counted since the daemon began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    events: [u64; Kind::ALL.len()],
    /// Attaches that took no longer than each bound, and longer than the one before; the last has all that took longer.
    attaches: [u64; BOUNDS.len() + 1],
    /// The time of all attaches, in microseconds.
    attaching_us: u64,
    /// Events that slow readers missed.
    pub missed: u64,
}

impl Figures {
    pub(super) fn count(&mut self, event: &Event) {
        if let Some(count) = Kind::ALL.iter().position(|kind| *kind == event.kind).and_then(|at| self.events.get_mut(at)) {
            *count += 1;
        }
        if let (Kind::Attached, Some(elapsed)) = (event.kind, event.elapsed_us) {
            self.attaching_us = self.attaching_us.saturating_add(elapsed);
            #[allow(clippy::cast_precision_loss)]
            let seconds = elapsed as f64 / 1e6;
            let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
            if let Some(count) = self.attaches.get_mut(at) {
                *count += 1;
            }
        }
    }

    /// How many events of each kind.
    pub fn events(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.events)
    }

    /// How many attaches took no longer than each bound.
    pub fn within(&self) -> impl Iterator<Item = (f64, u64)> {
        let sum = |so_far: &mut u64, (bound, count): (f64, u64)| {
            *so_far += count;
            Some((bound, *so_far))
        };
        BOUNDS.into_iter().zip(self.attaches).scan(0, sum)
    }

    /// How many attaches there were whose time is known.
    pub fn attaches(&self) -> u64 {
        self.attaches.iter().sum()
    }

    /// The time of all attaches, in microseconds.
    pub fn attaching_us(&self) -> u64 {
        self.attaching_us
    }
}
