//! What the engine has no more. It forgets without a word when it is killed, and when it begins again without this plug-in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::driver::Driver;
use super::{Shop, addresses};
use crate::guest::endpoints;
use crate::lifecycle::{self, Arrival};
use crate::model::network_driver::{Endpoint, Grant, LinkState, Network};

/// Younger ones may be of a container that is about to start, which the engine does not tell of before it runs.
const YOUNG: Duration = Duration::from_secs(300);
/// When somebody asks for it, he knows that nothing is about to start.
const YOUNG_NOW: Duration = Duration::from_secs(10);

/// What was missing when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    missing: BTreeSet<String>,
}

/// What there is here and not in the engine.
struct Missing {
    endpoints: Vec<Endpoint>,
    networks: Vec<Network>,
    grants: Vec<Grant>,
}

impl Missing {
    fn look(shop: &Shop, young: Duration) -> Result<Self, String> {
        // The files first: what is made after this look is in no list of missing ones.
        let wrong = |error: std::io::Error| error.to_string();
        let (mut endpoints, mut networks) = (shop.files.endpoints().map_err(wrong)?, shop.files.networks().map_err(wrong)?);
        let mut grants = shop.files.grants().map_err(wrong)?;
        if endpoints.is_empty() && networks.is_empty() && grants.is_empty() {
            return Ok(Self { endpoints, networks, grants });
        }
        let containers = endpoints::connected().map_err(|error| error.to_string())?;
        let known: BTreeSet<String> = endpoints::networks().map_err(|error| error.to_string())?.into_iter().collect();
        let live: BTreeSet<&str> = containers.iter().flat_map(|container| &container.endpoints).map(String::as_str).collect();
        let used: BTreeSet<_> = endpoints.iter().flat_map(|endpoint| endpoint.addrs.iter().map(|addr| addr.ip())).collect();
        grants.retain(|grant| {
            let is_kept = grant.lent.as_ref().is_some_and(|lent| lent.is_idle);
            !is_kept && !used.contains(&grant.addr.ip()) && is_older(&grant.since, young)
        });
        let all = endpoints.clone();
        // One whose link is in a guest that lives may be of an engine that is not asked here.
        let is_missing = |endpoint: &Endpoint| match standing(shop, endpoint) {
            Some(Arrival::Gone) => true,
            Some(Arrival::There(_)) => false,
            Some(Arrival::Waiting) | None => is_older(&endpoint.since, young),
        };
        endpoints.retain(|endpoint| !live.contains(endpoint.id.as_str()) && is_missing(endpoint));
        let has_others = |network: &Network| all.iter().any(|endpoint| endpoint.network == network.id && !endpoints.contains(endpoint));
        networks.retain(|network| !known.contains(network.id.as_str()) && !has_others(network));
        Ok(Self { endpoints, networks, grants })
    }

    fn words(&self) -> BTreeSet<String> {
        let endpoints = self.endpoints.iter().map(|endpoint| format!("endpoint {}", endpoint.id));
        let networks = self.networks.iter().map(|network| format!("network {}", network.id));
        let grants = self.grants.iter().map(|grant| format!("address {} of {}", grant.addr.ip(), grant.pool));
        endpoints.chain(networks).chain(grants).collect()
    }

    /// Only what is among them, and what is dead beyond doubt.
    fn keep(&mut self, shop: &Shop, words: &BTreeSet<String>) {
        self.endpoints.retain(|endpoint| words.contains(&format!("endpoint {}", endpoint.id)) || is_dead(shop, endpoint));
        self.networks.retain(|network| words.contains(&format!("network {}", network.id)));
        self.grants.retain(|grant| words.contains(&format!("address {} of {}", grant.addr.ip(), grant.pool)));
    }

    /// Removes it. Never stops at an error.
    fn remove(self, shop: &Arc<Shop>) -> Result<(), String> {
        let driver = Driver::of(shop);
        let mut left = Vec::new();
        let addrs: BTreeSet<_> = self.endpoints.iter().flat_map(|endpoint| endpoint.addrs.iter().map(|addr| addr.ip())).collect();
        for endpoint in &self.endpoints {
            left.extend(driver.remove(endpoint).err());
        }
        let all = shop.files.grants().unwrap_or_default();
        let gone = all.into_iter().filter(|grant| self.grants.contains(grant) || (addrs.contains(&grant.addr.ip()) && self.has(grant)));
        for grant in gone {
            left.extend(addresses::give_back(shop, grant).err());
        }
        for network in &self.networks {
            left.extend(shop.files.remove_network(&network.id).err().map(|error| error.to_string()));
        }
        if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
    }

    fn has(&self, grant: &Grant) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.mac == Some(grant.mac))
    }
}

/// Whether its link is gone, with its guest: nothing is about to start then.
pub(super) fn is_dead(shop: &Shop, endpoint: &Endpoint) -> bool {
    matches!(standing(shop, endpoint), Some(Arrival::Gone))
}

/// Where its link is; `None` when there is none. Of one that cannot be looked at nothing is known: it waits.
fn standing(shop: &Shop, endpoint: &Endpoint) -> Option<Arrival> {
    let arrival = |link: &LinkState| lifecycle::arrive(&link.attachment, &link.name, &shop.options, &mut |_| {});
    endpoint.link.as_ref().map(|link| arrival(link).unwrap_or(Arrival::Waiting))
}

fn is_older(since: &str, than: Duration) -> bool {
    let at = OffsetDateTime::parse(since, &Rfc3339).map_or(UNIX_EPOCH, SystemTime::from);
    SystemTime::now().duration_since(at).unwrap_or_default() >= than
}

/// Looks, and removes what was missing twice. `false`: the engine does not answer, and so has said nothing.
pub(super) fn look(shop: &Arc<Shop>, suspects: &mut Suspects) -> bool {
    let Ok(mut missing) = Missing::look(shop, YOUNG) else { return false };
    let words = missing.words();
    let twice: BTreeSet<String> = words.intersection(&suspects.missing).cloned().collect();
    suspects.missing = words;
    missing.keep(shop, &twice);
    missing.words().iter().for_each(|word| shop.warn(format!("the engine has no {word} any more: it is removed")));
    if let Err(why) = missing.remove(shop) {
        shop.warn(why);
    }
    true
}

/// Removes what is missing now. Returns what that was.
/// Beside a plug-in that serves, something may be about to start.
pub(super) fn now(shop: Shop, is_served: bool) -> Result<Vec<String>, String> {
    let shop = Arc::new(shop);
    let missing = Missing::look(&shop, if is_served { YOUNG } else { YOUNG_NOW })?;
    let words = missing.words().into_iter().collect();
    missing.remove(&shop)?;
    Ok(words)
}
