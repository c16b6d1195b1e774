//! The threads that follow the engines, each its own for as long as the daemon runs.

use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::message::Message;
use crate::guest::containers::{ContainerEngine, News};

/// How long after a connection was lost the next is tried: doubled each time. Not for long: a container is started as soon as
/// its engine is, and a try costs a tenth of a millisecond.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// So much is asked for twice, in nanoseconds: an event may be told late.
const OVERLAP: i64 = 2_000_000_000;

/// Follows an engine, which has this number. Tells whether it is there each time that it is tried.
pub fn follow(number: usize, engine: &ContainerEngine, tell: &SyncSender<Message>) {
    let mut since = now();
    let mut pause = PAUSES.0;
    let mut absent = false;
    loop {
        // A look at a socket costs nothing, a try does.
        if !engine.is_there() {
            let why = "there is no such socket".to_owned();
            let message = if engine.may_answer() { Message::Lost(number, why) } else { Message::Absent(number) };
            if !absent && tell.send(message).is_err() {
                return;
            }
            absent = true;
            std::thread::sleep(PAUSES.1);
            continue;
        }
        absent = false;
        let mut is_heard = true;
        let why = engine.follow(since.saturating_sub(OVERLAP), &mut |news| {
            if let News::Running(_) = news {
                pause = PAUSES.0;
            }
            since = since.max(news.at().unwrap_or(since));
            is_heard &= tell.send(Message::News(number, news)).is_ok();
        });
        if !is_heard || tell.send(Message::Lost(number, why)).is_err() {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Nanoseconds since the epoch, as engines count.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
