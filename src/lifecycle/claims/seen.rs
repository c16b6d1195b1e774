//! When a claim was last seen, and how long ago that is.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use crate::state::now;

/// So long a claim need not be written again only because it was seen: it is asked for at each attach, and by each round of an
/// agent.
const OFTEN_ENOUGH_S: u64 = 3600;

/// How many seconds ago a time was (RFC 3339); `None` when it is no time. One to come was just now: clocks differ.
pub fn age(since: &str) -> Option<u64> {
    let then = OffsetDateTime::parse(since, &Rfc3339).ok()?;
    Some(u64::try_from((OffsetDateTime::now_utc() - then).whole_seconds()).unwrap_or(0))
}

/// Whether it was written recently enough.
pub fn is_fresh(seen: &str) -> bool {
    age(seen).is_some_and(|age| age < OFTEN_ENOUGH_S)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_so_long_ago_and_what_is_none_is_not_fresh() {
        assert!(age(&now()).unwrap() < 60 && is_fresh(&now()));
        assert!(age("2020-01-01T00:00:00Z").unwrap() > 86_400 * 365);
        assert_eq!(age("9999-01-01T00:00:00Z"), Some(0));
        assert!(age("yesterday").is_none() && !is_fresh("") && !is_fresh("2020-01-01T00:00:00Z"));
    }
}
