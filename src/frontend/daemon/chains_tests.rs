#![allow(clippy::unwrap_used)]
use super::*;
use crate::guest::containers::ContainerEngine;
use crate::model::intent::Container;

fn chains(count: u32) -> (Chains, Vec<u64>) {
    let mut chains = Chains::default();
    let tokens: Vec<u64> = (1..=count).map(|pid| chains.know(Who::Word(GuestRef::Pid(pid)))).collect();
    tokens.iter().for_each(|token| chains.now(*token));
    (chains, tokens)
}

fn running(netns: u64) -> Done {
    Done { netns: Some(netns), known: BTreeSet::from([netns]), wants: Some(Arc::default()), ..Done::default() }
}

#[test]
fn a_guest_has_one_piece_of_work_at_a_time_and_is_looked_at_again_for_what_was_heard_meanwhile() {
    let (mut chains, tokens) = chains(1);
    let now = Instant::now();
    assert_eq!(chains.next(now).map(|job| job.token), Some(tokens[0]));
    chains.now(tokens[0]);
    chains.now(tokens[0]);
    assert!(chains.next(now).is_none());
    chains.done(tokens[0], running(7), now);
    assert!(chains.next(now).is_some_and(|job| job.known.contains(&7)));
    chains.done(tokens[0], running(7), now);
    assert!(chains.next(now).is_none());
}

#[test]
fn work_that_waits_makes_room_for_others() {
    let (mut chains, _) = chains(10);
    let now = Instant::now();
    let started = std::iter::from_fn(|| chains.next(now)).count();
    assert_eq!(started, AT_ONCE);
    assert_eq!(chains.wake(now), Some(now + QUICK));
    let later = now + QUICK;
    assert_eq!(std::iter::from_fn(|| chains.next(later)).count(), AT_ONCE);
    assert!(!chains.is_idle(later, false));
}

#[test]
fn of_few_containers_at_once_the_engine_is_asked_and_whose_words_are_known_makes_room() {
    let mut chains = Chains::default();
    for n in 0..100 {
        let container = Container { id: n.to_string(), ..Container::default() };
        let engine = ContainerEngine::all().0.into_iter().next().unwrap();
        let token = chains.know(Who::Container(engine, Arc::new(container)));
        chains.now(token);
    }
    let (mut now, mut started) = (Instant::now(), Vec::new());
    for _ in 0..50 {
        started.extend(std::iter::from_fn(|| chains.next(now)).map(|job| job.token));
        now += QUICK;
    }
    assert_eq!(started.len(), MOST_ASKING);
    chains.read(started[0]);
    assert_eq!(std::iter::from_fn(|| chains.next(now)).count(), 1);
    chains.done(started[1], running(7), now);
    assert_eq!(std::iter::from_fn(|| chains.next(now)).count(), 1);
}

#[test]
fn what_failed_is_tried_again_less_and_less_often() {
    let (mut chains, tokens) = chains(1);
    let mut now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert!(chains.next(now).is_some());
        chains.done(tokens[0], Done { failed: true, ..running(7) }, now);
        let due = chains.wake(now).unwrap_or(now);
        pauses.push(due.duration_since(now).as_secs());
        now = due;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_guest_that_changes_all_the_time_is_looked_at_seldom() {
    let (mut chains, tokens) = chains(1);
    let start = Instant::now();
    let mut now = start;
    let wants = Wants { all: vec![Arc::new(want())], ..Wants::default() };
    let done = || Done { wants: Some(Arc::new(wants.clone())), ..running(7) };
    assert!(chains.next(now).is_some());
    chains.done(tokens[0], done(), now);
    let mut looks = 0;
    while now.duration_since(start) < Duration::from_secs(60) {
        chains.stirred(tokens[0], now);
        if chains.next(now).is_some() {
            looks += 1;
            chains.done(tokens[0], done(), now);
        }
        now += Duration::from_millis(50);
    }
    assert!(looks < 12, "{looks} looks in a minute");
    // After a while of peace it is looked at at once again.
    now += CALM * 2;
    if chains.next(now).is_some() {
        chains.done(tokens[0], done(), now);
    }
    chains.stirred(tokens[0], now);
    assert_eq!(chains.wake(now), Some(now + QUIET));
}

fn want() -> super::super::rules::Want {
    use crate::model::request::{AddrSpec, AttachRequest};
    let request = AttachRequest::new("br0".parse().unwrap(), GuestRef::Pid(1), AddrSpec::default().into());
    super::super::rules::Want {
        request,
        options: crate::lifecycle::Options::default(),
        source: "test".into(),
        origin: super::super::rules::Origin::File,
    }
}

#[test]
fn a_container_whose_labels_were_looked_at_is_looked_at_whole_a_moment_later() {
    let (mut chains, tokens) = chains(1);
    let now = Instant::now();
    assert!(chains.next(now).is_some());
    chains.done(tokens[0], Done { described: Some(Described::Labels), ..running(7) }, now);
    assert_eq!(chains.wake(now), Some(now + REST));
    let job = chains.next(now + REST);
    assert!(job.is_some_and(|job| job.described == Described::No && job.wants.is_none() && job.made.is_some()));
}

#[test]
fn a_guest_that_is_gone_and_has_nothing_is_forgotten_and_one_that_has_something_is_not() {
    let (mut chains, tokens) = chains(2);
    let now = Instant::now();
    while chains.next(now).is_some() {}
    chains.done(tokens[0], Done::default(), now);
    chains.done(tokens[1], Done { known: BTreeSet::from([7]), ..Done::default() }, now);
    tokens.iter().for_each(|token| chains.forget(*token));
    assert!(chains.get(tokens[0]).is_none());
    assert!(chains.get(tokens[1]).is_some());
}
