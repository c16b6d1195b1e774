use super::*;

fn attached(guest: &str) -> Event {
    Event { guest: Some(guest.to_owned()), ..Event::new(Kind::Attached) }
}

#[test]
fn an_event_is_one_line_of_json_and_one_of_text_whatever_a_label_holds() {
    let event = Event {
        number: 7,
        at: "2026-01-31T12:00:00.000001Z".into(),
        guest: Some("web\n2026 attached \u{1b}[31mdb\u{202e}".into()),
        interface: Some("eth1".into()),
        addresses: vec!["10.0.0.2/24".into()],
        source: Some("label pipework.lan".into()),
        why: Some("no\r\nway".into()),
        ..Event::new(Kind::Failed)
    }
    .took(Duration::from_micros(1234));
    let text = event.to_string();
    assert_eq!(
        text,
        "2026-01-31T12:00:00.000001Z failed web\\n2026 attached \\u{1b}[31mdb\\u{202e} eth1 10.0.0.2/24 by label pipework.lan in 1.234 ms: no\\r\\nway"
    );
    assert!(!event.json().contains('\n'));
    assert_eq!(serde_json::from_str::<Event>(&event.json()).unwrap(), event);
    let plain: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
    assert_eq!((&plain["kind"], &plain["number"], &plain["elapsed_us"]), (&"failed".into(), &7.into(), &1234.into()));
}

#[test]
fn every_kind_has_the_same_word_in_json_in_text_and_in_the_figures() {
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.word()));
        assert_eq!(Kind::ALL.iter().position(|k| *k == kind), Some(at));
    }
}

#[test]
fn what_is_kept_is_bounded_however_much_is_told_and_however_long_it_is() {
    let board = Board::new(Log::Silent);
    let huge = "é".repeat(10_000);
    for n in 0..KEPT + 10 {
        let addresses = if n == KEPT { vec![huge.clone(); 100] } else { Vec::new() };
        board.tell(Event { why: Some(huge.clone()), addresses, ..attached("web") });
    }
    let recent = board.recent(&Since::Beginning);
    assert_eq!((recent.len(), recent[0].number), (KEPT, 11));
    assert!(recent.iter().all(|event| event.json().len() < 40_000));
    assert!(recent[0].why.as_ref().unwrap().ends_with('…'));
}

#[test]
fn who_comes_later_gets_what_is_not_seen_yet_by_number_or_by_time() {
    let board = Board::new(Log::Silent);
    for at in ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01.5Z", "2026-01-31T12:00:02Z"] {
        board.tell(Event { at: at.to_owned(), ..attached("web") });
    }
    let numbers = |since: &str| board.recent(&since.parse().unwrap()).iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!(numbers("1"), [2, 3]);
    assert_eq!(numbers("3"), [0u64; 0]);
    assert_eq!(numbers("2026-01-31T13:00:01+01:00"), [2, 3]);
    for bad in ["", "-1", "x", "+3", "99999999999999999999999", "2026-01-31"] {
        assert!(bad.parse::<Since>().is_err(), "{bad}");
    }
}

#[test]
fn a_follower_gets_each_event_once_and_a_slow_one_is_told_what_it_missed() {
    let board = Board::new(Log::Silent);
    board.tell(attached("one"));
    let (before, mut follower) = board.follow(&Since::Beginning);
    assert_eq!(before.len(), 1);
    board.tell(attached("two"));
    assert_eq!(follower.try_next().unwrap().number, 2);
    assert!(follower.try_next().is_none());
    for _ in 0..KEPT + 5 {
        board.tell(attached("many"));
    }
    let missed = follower.try_next().unwrap();
    assert_eq!((missed.kind, missed.missed), (Kind::Missed, Some(5)));
    assert_eq!(follower.try_next().unwrap().number, 8);
    assert_eq!((board.figures().missed, board.followers()), (5, 1));
    drop(follower);
    assert_eq!(board.followers(), 0);
}

#[test]
fn attaches_are_counted_by_the_time_they_took() {
    let board = Board::new(Log::Silent);
    for micros in [900, 1000, 9_999, 60_000_000] {
        board.tell(attached("web").took(Duration::from_micros(micros)));
    }
    board.tell(attached("a time that is not known"));
    board.tell(Event::new(Kind::Repaired).took(Duration::from_micros(5)));
    let figures = board.figures();
    let within: Vec<u64> = figures.within().map(|(_, count)| count).collect();
    assert_eq!(within, [2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
    assert_eq!((figures.attaches(), figures.attaching_us()), (4, 60_011_899));
    let events: Vec<(Kind, u64)> = figures.events().filter(|(_, count)| *count > 0).collect();
    assert_eq!(events, [(Kind::Attached, 5), (Kind::Repaired, 1)]);
}

#[test]
fn health_complains_of_a_start_that_is_not_done_a_lost_engine_and_a_check_that_is_late() {
    let board = Board::new(Log::Silent);
    assert_eq!(board.health().complaints().len(), 1);
    board.ready();
    assert!(board.health().complaints().is_empty());
    board.engine("docker", EngineState::Connected);
    board.engine("docker", EngineState::Lost("connection refused".into()));
    board.engine("docker", EngineState::Lost("no such file".into()));
    assert_eq!(board.health().complaints(), ["engine docker: no such file"]);
    let told: Vec<Kind> = board.recent(&Since::Beginning).iter().map(|event| event.kind).collect();
    assert_eq!(told, [Kind::EngineConnected, Kind::EngineLost]);
    board.forget_engine("docker");
    board.checked(Duration::from_secs(60));
    assert!(board.health().complaints().is_empty());
    assert!(board.health().last_check().is_some());
}
