//! `route` and `rule` in a guest: asked of the kernel, or changed, by netlink.

use super::inside::{Ended, InsideError};
use crate::guest::{self, Held};
use crate::iproute::names::LookUps;
use crate::iproute::options::Options;
use crate::iproute::route::{self, Cached, Selector};
use crate::iproute::{WordsError, rule};
use crate::kernel::routing::{self, Seen};
use crate::kernel::wire::Netlink;
use crate::model::error::KernelError;
use crate::model::types::Family;

/// Routes that come back as fast as they are deleted are somebody else's will.
const FLUSH_ROUNDS: usize = 10;

/// `ip route` and its words.
pub(super) fn route(words: &[String], held: &Held) -> Result<Ended, InsideError> {
    let (mut socket, lookups) = open(held)?;
    let output = match route::parse(words, &lookups)? {
        route::Command::Change(verb, route) => routing::change_route(&mut socket, verb, &route).map(|()| String::new())?,
        route::Command::Show(options, selector) => show_routes(&mut socket, &selector, options, &lookups)?,
        route::Command::Flush(options, selector) => flush_routes(&mut socket, &selector, options, held)?,
        route::Command::Get(options, wanted) => {
            let found = routing::route_for(&mut socket, &wanted)?.into_iter().map(Some);
            route_lines(found, &Selector::any(), options, &lookups)?
        }
    };
    Ok(Ended { output, status: 0 })
}

/// `ip rule` and its words.
pub(super) fn rule(words: &[String], held: &Held) -> Result<Ended, InsideError> {
    let (mut socket, lookups) = open(held)?;
    let mut output = String::new();
    match rule::parse(words, &lookups)? {
        rule::Command::Add(rule) => routing::add_rule(&mut socket, &rule)?,
        rule::Command::Delete(rule) => routing::delete_rule(&mut socket, &rule)?,
        rule::Command::Show(options, selector) => {
            for seen in routing::rules(&mut socket, selector.family)? {
                let rule = seen.object.ok_or_else(|| foreign("a rule that cannot be read"))?;
                if selector.takes(&rule) {
                    rule.foreign.map_or(Ok(()), |what| Err(foreign(what)))?;
                    rule::print(&rule, options, &lookups, &mut output);
                }
            }
        }
        rule::Command::Flush(selector) => {
            for seen in routing::rules(&mut socket, selector.family)? {
                if seen.object.as_ref().is_some_and(|rule| selector.flushes(rule)) {
                    routing::delete_seen_rule(&mut socket, &seen)?;
                }
            }
        }
    }
    Ok(Ended { output, status: 0 })
}

/// A socket in the guest, and all that words are looked up in.
fn open(held: &Held) -> Result<(Netlink, LookUps), KernelError> {
    let mut socket = held.namespace.netlink()?;
    let links = routing::links(&mut socket)?;
    Ok((socket, LookUps { names: guest::names(held), links }))
}

/// That something is there which only the installed program can show.
fn foreign(what: &str) -> WordsError {
    WordsError::Unknown { word: what.to_owned(), place: Some("show") }
}

fn show_routes(socket: &mut Netlink, selector: &Selector, options: Options, lookups: &LookUps) -> Result<String, InsideError> {
    let seen = routing::routes(socket, selector)?;
    route_lines(seen.into_iter().map(|seen| seen.object), selector, options, lookups)
}

fn route_lines(
    routes: impl Iterator<Item = Option<route::Route>>,
    selector: &Selector,
    options: Options,
    lookups: &LookUps,
) -> Result<String, InsideError> {
    let mut output = String::new();
    for route in routes {
        let route = route.ok_or_else(|| foreign("a route of another family"))?;
        // With -details the nexthop's own properties are shown too.
        let details = route.nexthop_id.filter(|_| options.details).map(|_| "nhid with -details");
        route.foreign.or(details).map_or(Ok(()), |what| Err(foreign(what)))?;
        route::print(&route, selector, options, lookups, &mut output);
    }
    Ok(output)
}

/// Asks what there is and deletes it, until nothing is left: deleting one route may bring another to light.
fn flush_routes(socket: &mut Netlink, selector: &Selector, options: Options, held: &Held) -> Result<String, InsideError> {
    let mut said = Said { stats: options.stats, text: String::new() };
    let cache = selector.cached == Cached::Only;
    if cache && selector.ask != Some(Family::Inet6) {
        routing::flush_cache(&held.namespace)?;
        said.say("*** IPv4 routing cache is flushed.\n");
        if selector.ask == Some(Family::Inet) {
            return Ok(said.text);
        }
    }
    for round in 0..FLUSH_ROUNDS {
        let mut seen = routing::routes(socket, selector)?;
        seen.retain(is_flushed);
        if seen.is_empty() {
            match round {
                0 if !cache || selector.ask == Some(Family::Inet6) => said.say("Nothing to flush.\n"),
                _ => said.say(&format!("*** Flush is complete after {round} round{} ***\n", if round > 1 { "s" } else { "" })),
            }
            return Ok(said.text);
        }
        for one in &seen {
            routing::delete_route(socket, one)?;
        }
        said.say(&format!("\n*** Round {}, deleting {} entries ***\n", round + 1, seen.len()));
    }
    Err(KernelError::Garbled(format!("routes come back as they are deleted: {FLUSH_ROUNDS} rounds were not enough")).into())
}

/// What is of another family, and the entry that the kernel has for want of a default route, are left alone.
fn is_flushed(seen: &Seen<route::Route>) -> bool {
    const UNREACHABLE: u8 = 7;
    seen.object.as_ref().is_some_and(|route| {
        let null = route.family == Family::Inet6 && route.dst_len == 0 && route.kind == UNREACHABLE && route.metric == Some(u32::MAX);
        !null
    })
}

/// What `-stats` wants to be told.
struct Said {
    stats: bool,
    text: String,
}

impl Said {
    fn say(&mut self, text: &str) {
        if self.stats {
            self.text.push_str(text);
        }
    }
}
