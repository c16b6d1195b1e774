//! The session of this host, as a state: when it is renewed, and when nobody may rely on it any more. Pure: what is asked of
//! Consul, and what came of it, is told.
//!
//! A session whose renewal was *sent* at some moment lives for its TTL from then at least, whatever becomes of the answer: the
//! servers heard it later. So until `sent + TTL - margin` nobody else can have a lock of it, and after that somebody may.

use std::time::Duration;

use super::clock::Moment;

/// How long what lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The session's time to live.
    pub ttl: Duration,
    /// So much before its end the addresses are taken down: the time that this takes at worst.
    pub margin: Duration,
}

impl Terms {
    /// A fifth of the time is kept for taking addresses down.
    pub fn of(ttl: Duration) -> Self {
        Self { ttl, margin: ttl / 5 }
    }

    /// How often it is renewed.
    pub fn pulse(self) -> Duration {
        self.ttl / 3
    }

    /// After an answer that did not come, or was none. The local agent is asked: it costs nothing.
    fn retry(self) -> Duration {
        (self.ttl / 20).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ask for a session.
    Create,
    /// Renew it.
    Renew(String),
    /// Nothing, for so long.
    Wait(Duration),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// There is none.
    Absent,
    /// It lives, from this renewal on.
    Live { id: String, sent: Moment },
    /// It may be dead: nothing was heard of it in time, and all addresses were taken down. It may also live.
    Doubtful { id: String },
}

/// The session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Those of this one.
    terms: Terms,
    /// Those that the next one has.
    wanted: Terms,
    state: State,
    next: Moment,
    /// Whether addresses are to be taken down before anything else.
    condemned: bool,
}

impl Session {
    /// There is none yet.
    pub fn new(terms: Terms) -> Self {
        Self { terms, wanted: terms, state: State::Absent, next: Moment::default(), condemned: false }
    }

    /// One that was renewed before by this host's agent, which ended. It has the time that it was given.
    #[must_use]
    pub fn resumed(self, id: String, sent: Moment, ttl: Duration) -> Self {
        Self { state: State::Live { id, sent }, terms: Terms::of(ttl), ..self }
    }

    /// None, and addresses that were locked by one: they are to be taken down before anything else.
    #[must_use]
    pub fn condemned(self) -> Self {
        Self { condemned: true, ..self }
    }

    /// The times that a new one is to keep to.
    pub fn wanted(&self) -> Terms {
        self.wanted
    }

    /// The times it keeps to.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Its identifier, while it can be relied on.
    pub fn live(&self, now: Moment) -> Option<&str> {
        match &self.state {
            State::Live { id, sent } if !self.condemned && now < self.end(*sent) => Some(id),
            _ => None,
        }
    }

    /// What there is of it, be it dead.
    pub fn id(&self) -> Option<&str> {
        match &self.state {
            State::Live { id, .. } | State::Doubtful { id } => Some(id),
            State::Absent => None,
        }
    }

    /// When the last renewal was sent that counts.
    pub fn sent(&self) -> Option<Moment> {
        match &self.state {
            State::Live { sent, .. } => Some(*sent),
            _ => None,
        }
    }

    fn end(&self, sent: Moment) -> Moment {
        sent.after(self.terms.ttl.saturating_sub(self.terms.margin))
    }

    /// When the addresses have to be down, if nothing is heard until then.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.state {
            _ if self.condemned => Some(Moment::default()),
            State::Live { sent, .. } => Some(self.end(*sent)),
            _ => None,
        }
    }

    /// Whether the addresses have to be down now. Asked before anything else is looked at: who slept finds it so.
    pub fn is_over(&self, now: Moment) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The addresses are down.
    pub fn fenced(&mut self) {
        self.condemned = false;
        if let State::Live { id, .. } = &self.state {
            self.state = State::Doubtful { id: id.clone() };
        }
    }

    /// What is to be done now.
    pub fn next(&self, now: Moment) -> Act {
        if now < self.next {
            return Act::Wait(self.next.since(now));
        }
        match &self.state {
            State::Absent => Act::Create,
            State::Live { id, .. } | State::Doubtful { id } => Act::Renew(id.clone()),
        }
    }

    /// A new one: asked for at this moment.
    pub fn created(&mut self, id: String, sent: Moment) {
        self.state = State::Live { id, sent };
        self.terms = self.wanted;
        self.next = sent.after(self.terms.pulse());
    }

    /// It was renewed, by what was sent at this moment. An answer about another one counts for nothing.
    pub fn renewed(&mut self, id: &str, sent: Moment) {
        if self.id() == Some(id) {
            self.state = State::Live { id: id.to_owned(), sent };
            self.next = sent.after(self.terms.pulse());
        }
    }

    /// The servers do not know it: all its locks may be others' by now.
    pub fn gone(&mut self, id: &str, now: Moment) {
        if self.id() == Some(id) {
            self.condemned |= matches!(self.state, State::Live { .. });
            self.state = State::Absent;
            self.next = now;
        }
    }

    /// There was no answer that says anything.
    pub fn unanswered(&mut self, now: Moment) {
        self.next = now.after(self.terms.retry());
    }

    /// It is seen, by what was looked at from this moment on, that no servers can decide anything: nobody ends a session then,
    /// and the servers that come back begin its time anew.
    pub fn nobody_decides(&mut self, seen: Moment) {
        if let State::Live { sent, .. } = &mut self.state {
            *sent = (*sent).max(seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn session() -> Session {
        let mut session = Session::new(Terms::of(Duration::from_secs(30)));
        assert_eq!(session.next(at(0)), Act::Create);
        session.created("a".into(), at(0));
        session
    }

    #[test]
    fn it_is_renewed_at_a_third_of_its_time() {
        let mut session = session();
        assert_eq!(session.next(at(1)), Act::Wait(Duration::from_millis(9_999)));
        assert_eq!(session.next(at(10_000)), Act::Renew("a".into()));
        session.renewed("a", at(10_000));
        assert_eq!(session.next(at(10_001)), Act::Wait(Duration::from_millis(9_999)));
        assert_eq!(session.deadline(), Some(at(34_000)));
    }

    #[test]
    fn without_an_answer_it_is_asked_often_and_is_over_before_anybody_else_may_have_its_locks() {
        let mut session = session();
        let mut now = 10_000;
        while !session.is_over(at(now)) {
            assert_eq!(session.live(at(now)), Some("a"));
            match session.next(at(now)) {
                Act::Renew(_) => session.unanswered(at(now)),
                Act::Wait(time) => now += u64::try_from(time.as_millis()).unwrap(),
                Act::Create => unreachable!(),
            }
        }
        assert!(now <= 25_000, "{now}");
        assert_eq!(session.live(at(now)), None);
        session.fenced();
        assert!(!session.is_over(at(now + 100_000)), "once is enough");
        // It may live all the same: it was only not heard of.
        assert!(matches!(session.next(at(now + 1000)), Act::Renew(_)));
        session.renewed("a", at(now + 1000));
        assert_eq!(session.live(at(now + 1001)), Some("a"));
    }

    #[test]
    fn one_that_the_servers_do_not_know_is_over_at_once_and_another_is_asked_for_once() {
        let mut session = session();
        session.gone("a", at(10_000));
        assert!(session.is_over(at(10_000)));
        assert_eq!(session.next(at(10_000)), Act::Create);
        // A new one does not make good what was lost with the old one.
        session.created("b".into(), at(10_001));
        assert!(session.is_over(at(10_002)) && session.live(at(10_002)).is_none());
        session.fenced();
        session.renewed("b", at(10_003));
        assert_eq!(session.live(at(10_004)), Some("b"));
        assert!(matches!(session.next(at(10_004)), Act::Wait(_)));
        // What is late and about the old one is no news.
        session.gone("a", at(10_005));
        assert_eq!(session.live(at(10_006)), Some("b"));
    }

    #[test]
    fn who_slept_finds_it_over_whatever_comes_next() {
        let session = session();
        assert!(session.is_over(at(3_600_000)));
        assert_eq!(session.live(at(3_600_000)), None);
    }

    #[test]
    fn while_nobody_decides_it_lasts_and_then_for_its_time() {
        let mut session = session();
        for second in 1..600 {
            session.nobody_decides(at(second * 1000));
            session.unanswered(at(second * 1000));
        }
        assert_eq!(session.live(at(610_000)), Some("a"));
        assert!(session.is_over(at(599_000 + 24_000)));
        // What comes too late mends nothing.
        session.fenced();
        session.nobody_decides(at(700_000));
        assert_eq!(session.live(at(700_001)), None);
    }

    #[test]
    fn one_of_an_agent_that_ended_counts_from_its_last_renewal() {
        let session = Session::new(Terms::of(Duration::from_secs(30))).resumed("a".into(), at(100_000), Duration::from_secs(30));
        assert_eq!(session.next(at(105_000)), Act::Renew("a".into()));
        assert_eq!(session.live(at(105_000)), Some("a"));
        assert!(session.is_over(at(124_000)));
    }

    #[test]
    fn one_that_goes_on_keeps_the_time_that_it_was_given_and_the_next_has_the_time_that_is_wanted() {
        let mut session = Session::new(Terms::of(Duration::from_secs(300))).resumed("a".into(), at(0), Duration::from_secs(30));
        assert_eq!(session.deadline(), Some(at(24_000)));
        session.gone("a", at(1));
        session.fenced();
        session.created("b".into(), at(2));
        assert_eq!(session.deadline(), Some(at(240_002)));
    }

    #[test]
    fn what_was_locked_by_a_session_that_nobody_knows_goes_down_first() {
        let mut session = Session::new(Terms::of(Duration::from_secs(30))).condemned();
        assert!(session.is_over(at(0)) && session.live(at(0)).is_none());
        session.fenced();
        assert_eq!((session.is_over(at(1)), session.next(at(1))), (false, Act::Create));
    }
}
