//! Time that nobody sets and that goes on while the host sleeps.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment: the time since the host began (CLOCK_BOOTTIME, clock_gettime(2)). The time of day jumps, and CLOCK_MONOTONIC stands
/// still while the host is suspended, in which a session's time goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Self(now)
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How long it is from another one to this: nothing when that is later.
    pub fn since(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}
