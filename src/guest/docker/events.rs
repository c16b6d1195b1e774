//! Following an engine's events. They are hints only: whoever hears one looks for himself.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use futures::StreamExt;
use futures::future::{Either, select};

use super::{Engine, block_on, connect, describe, plain};
use crate::guest::containers::News;

/// What is asked for. Podman says `died` and `remove` where Docker says `die` and `destroy`.
const ACTIONS: [&str; 6] = ["start", "die", "died", "destroy", "remove", "rename"];

/// Follows the events since a time, in nanoseconds since the epoch, and tells them; then, once, which containers run. The
/// events are asked for first: what happens between two questions is told by one of them. Ends when the connection does, and
/// says why.
pub(in crate::guest) fn follow(engine: &Engine, since: i64, tell: &mut dyn FnMut(News)) -> String {
    block_on(async {
        match connect(engine.endpoint()) {
            Ok(client) => hear(engine, &client, since, tell).await,
            Err(why) => why,
        }
    })
    .unwrap_or_else(|error| error.to_string())
}

async fn hear(engine: &Engine, client: &Docker, since: i64, tell: &mut dyn FnMut(News)) -> String {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), ACTIONS.iter().map(|action| (*action).to_owned()).collect()),
    ]);
    let since = format!("{}.{:09}", since.div_euclid(NANOS), since.rem_euclid(NANOS));
    let options = EventsOptions { since: Some(since), filters: Some(filters), ..EventsOptions::default() };
    let mut events = Box::pin(client.events(Some(options)));
    let mut list = Some(Box::pin(client.list_containers(None::<ListContainersOptions>)));
    loop {
        let event = match list.take() {
            None => events.next().await,
            Some(listing) => match select(events.next(), listing).await {
                Either::Left((event, listing)) => {
                    list = Some(listing);
                    event
                }
                Either::Right((Ok(all), _)) => {
                    tell(News::Running(all.into_iter().filter_map(|summary| describe::listed(engine, summary)).collect()));
                    continue;
                }
                Either::Right((Err(error), _)) => return plain(&error),
            },
        };
        match event {
            Some(Ok(event)) => news(engine, event).into_iter().for_each(&mut *tell),
            // One that a later engine tells otherwise is no reason to hear no more.
            Some(Err(Error::JsonDataError { .. })) => {}
            Some(Err(error)) => return plain(&error),
            None => return "it closed the connection".to_owned(),
        }
    }
}

const NANOS: i64 = 1_000_000_000;

fn news(engine: &Engine, event: EventMessage) -> Option<News> {
    let actor = event.actor?;
    let at = event.time_nano.or_else(|| event.time?.checked_mul(NANOS)).unwrap_or(0);
    match event.action.as_deref()? {
        "start" => Some(News::Started { container: Box::new(describe::told(engine, actor)?), at }),
        "die" | "died" => Some(News::Ended { id: actor.id?, at }),
        "destroy" | "remove" => Some(News::Removed { id: actor.id?, at }),
        "rename" => {
            let name = describe::attribute(actor.attributes.as_ref(), "name")?;
            Some(News::Renamed { id: actor.id?, name: name.trim_start_matches('/').to_owned(), at })
        }
        _ => None,
    }
}
