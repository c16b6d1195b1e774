//! The client of Consul's API against a real Consul.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::time::{Duration, Instant};

use lab::consul::{Agents, no_consul};
use lab::eventually;
use pipework::external::consul::{Access, Behavior, Condition, Consul, ConsulError, Ended, Freshness, NewSession, Step};

const SECOND: Duration = Duration::from_secs(1);

fn session() -> NewSession {
    NewSession { name: "test".into(), ttl: Some(SECOND), lock_delay: Some(SECOND / 1000), ..NewSession::default() }
}

#[test]
fn the_api_does_what_it_says() {
    if no_consul() {
        return;
    }
    let agents = Agents::one();
    let consul = agents.client(0);
    a_key_is_written_read_listed_and_removed(&consul);
    a_key_is_locked_by_one_session(&consul);
    a_transaction_is_all_or_nothing(&consul);
    a_session_ends_and_is_told_apart(&consul);
    whoever_waits_for_a_change_hears_of_it(&consul);
}

fn a_key_is_written_read_listed_and_removed(consul: &Consul) {
    assert_eq!(consul.key("kv/a", Freshness::Usual).unwrap(), None);
    assert!(consul.write("kv/a", b"one", 7, Condition::Unchanged(0)).unwrap());
    assert!(!consul.write("kv/a", b"two", 7, Condition::Unchanged(0)).unwrap(), "it is there");
    let pair = consul.key("kv/a", Freshness::Consistent).unwrap().unwrap();
    assert_eq!((pair.text(), pair.flags, pair.session.as_deref()), (Some("one"), 7, None));
    assert!(consul.write("kv/a", b"", 0, Condition::Unchanged(pair.modify_index)).unwrap());
    assert!(!consul.write("kv/a", b"", 0, Condition::Unchanged(pair.modify_index)).unwrap());
    assert_eq!(consul.key("kv/a", Freshness::Stale).unwrap().unwrap().value, b"");
    let odd = "kv/b c/ü?&#%";
    assert!(consul.write(odd, &[0, 255], 0, Condition::Always).unwrap());
    let keys: Vec<String> = consul.keys_under("kv/", Freshness::Usual).unwrap().into_iter().map(|pair| pair.key).collect();
    assert_eq!(keys, ["kv/a", odd]);
    assert_eq!(consul.keys_under("none/", Freshness::Usual).unwrap(), []);
    assert!(!consul.erase("kv/a", Some(1)).unwrap());
    let index = consul.key("kv/a", Freshness::Usual).unwrap().unwrap().modify_index;
    assert!(consul.erase("kv/a", Some(index)).unwrap() && consul.erase(odd, None).unwrap());
    assert_eq!(consul.keys_under("kv/", Freshness::Usual).unwrap(), []);
}

fn a_key_is_locked_by_one_session(consul: &Consul) {
    let [one, two] = [0, 1].map(|_| consul.begin_session(&NewSession { ttl: Some(60 * SECOND), ..session() }).unwrap());
    assert!(consul.write("lock", b"one", 0, Condition::Acquire(&one)).unwrap());
    assert!(!consul.write("lock", b"two", 0, Condition::Acquire(&two)).unwrap());
    let pair = consul.key("lock", Freshness::Usual).unwrap().unwrap();
    assert_eq!((pair.text(), pair.session.as_deref(), pair.lock_index), (Some("one"), Some(one.as_str()), 1));
    assert!(!consul.write("lock", b"", 0, Condition::Release(&two)).unwrap());
    assert!(consul.write("lock", b"", 0, Condition::Release(&one)).unwrap());
    assert!(consul.write("lock", b"two", 0, Condition::Acquire(&two)).unwrap(), "no delay after a release");
    consul.end_session(&one).unwrap();
    consul.end_session(&two).unwrap();
    // On a key that nobody had: the other is delayed for a moment.
    let error = consul.write("never-locked", b"", 0, Condition::Acquire(&one)).unwrap_err();
    assert!(error.is_dead_session(), "{error}");
    consul.erase("lock", None).unwrap();
}

fn a_transaction_is_all_or_nothing(consul: &Consul) {
    let cas = |key: &str, index| Step::Cas { key: key.into(), value: b"v".to_vec(), index };
    let Ended::Done(written) = consul.transact(&[cas("t/a", 0), cas("t/b", 0)]).unwrap() else { panic!("refused") };
    assert_eq!(written.iter().map(|pair| pair.key.as_str()).collect::<Vec<_>>(), ["t/a", "t/b"]);
    let Ended::Refused(faults) = consul.transact(&[cas("t/c", 0), cas("t/b", 0)]).unwrap() else { panic!("done") };
    assert_eq!(faults.iter().map(|fault| fault.op_index).collect::<Vec<_>>(), [1]);
    assert_eq!(consul.key("t/c", Freshness::Usual).unwrap(), None);
    let there = Step::CheckNotExists { key: "t/a".into() };
    assert!(matches!(consul.transact(&[there, cas("t/c", 0)]).unwrap(), Ended::Refused(_)));
    let gone = written.iter().map(|pair| Step::DeleteCas { key: pair.key.clone(), index: pair.modify_index }).collect::<Vec<_>>();
    assert!(matches!(consul.transact(&gone).unwrap(), Ended::Done(_)));
    assert!(matches!(consul.transact(&gone).unwrap(), Ended::Done(_)), "what is gone is gone");
    assert_eq!(consul.keys_under("t/", Freshness::Usual).unwrap(), []);
    let many = vec![cas("t/a", 0); 65];
    assert!(matches!(consul.transact(&many), Err(ConsulError::Refused { status: 413, .. })));
}

fn a_session_ends_and_is_told_apart(consul: &Consul) {
    let id = consul.begin_session(&NewSession { behavior: Behavior::Delete, ..session() }).unwrap();
    let made = consul.session(&id).unwrap().unwrap();
    assert_eq!((made.behavior, made.ttl.as_str(), made.lock_delay, made.node.as_str()), (Behavior::Delete, "1s", 1_000_000, "one"));
    assert!(consul.sessions().unwrap().iter().any(|session| session.id == id));
    assert!(consul.write("short", b"", 0, Condition::Acquire(&id)).unwrap());
    assert!(consul.renew_session(&id).unwrap());
    eventually("it ends unless it is renewed", || consul.session(&id).unwrap().is_none());
    eventually("its key goes with it", || consul.key("short", Freshness::Usual).unwrap().is_none());
    assert!(!consul.renew_session(&id).unwrap());
    let error = consul.begin_session(&NewSession { ttl: Some(SECOND / 100), ..session() }).unwrap_err();
    assert!(matches!(error, ConsulError::Refused { .. }), "{error}");
}

fn whoever_waits_for_a_change_hears_of_it(consul: &Consul) {
    consul.write("w/a", b"", 0, Condition::Always).unwrap();
    let (pairs, index) = consul.watch_under("w/", 0, SECOND).unwrap();
    assert_eq!(pairs.len(), 1);
    let writer = consul.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(SECOND / 5);
        writer.write("w/b", b"", 0, Condition::Always).unwrap()
    });
    let begun = Instant::now();
    let (pairs, next) = consul.watch_under("w/", index, 20 * SECOND).unwrap();
    assert!(pairs.len() == 2 && next > index && begun.elapsed() < 15 * SECOND);
    assert!(thread.join().unwrap());
}

#[test]
fn what_nobody_heard_is_told_from_what_had_no_answer() {
    if no_consul() {
        return;
    }
    let nobody: Access = "http://127.250.250.250:8500".parse().unwrap();
    let error = Consul::new(&nobody).unwrap().write("a", b"", 0, Condition::Always).unwrap_err();
    assert!(matches!(error, ConsulError::Unreachable { .. }) && !error.is_open() && error.may_pass(), "{error:?}");
    let agents = Agents::one();
    let consul = agents.client(0);
    agents.freeze(0);
    let answer = consul.ask(pipework::external::consul::Verb::Put, "kv/a", &[], b"", SECOND);
    agents.thaw(0);
    let error = answer.unwrap_err();
    assert!(error.is_open() && error.may_pass(), "{error:?}");
}
