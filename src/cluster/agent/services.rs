//! Each address as a service of the local Consul agent, for as long as it is there: `web-1.service.consul` is a name for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Moment;
use super::ledger::Use;
use super::{AGENT, Core, SERVICE};
use crate::external::consul::Service;
use crate::lifecycle::chain;
use crate::model::cluster::rights::{self, Right};
use crate::model::pool::Owner;

/// The longest sleep: an end is noticed within it.
const NAP: Duration = Duration::from_millis(500);
/// A host that does not come back: its services are forgotten then.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Keeps them for as long as the agent runs.
pub(super) fn keep(core: &Core) {
    let (mut kept, mut news) = (Kept::default(), 0);
    while !core.has_ended() {
        core.await_change(&mut news, NAP);
        kept.see(core);
    }
}

#[derive(Default)]
struct Kept {
    /// What the local agent has been told, and when it was told last.
    told: BTreeMap<String, (Service, Moment)>,
    /// Whether nothing is left of what an agent before this one registered, but what is told again.
    looked: bool,
    /// Whether it was told that the token is not enough.
    complained: bool,
}

impl Kept {
    fn see(&mut self, core: &Core) {
        let pulse = core.session().terms().pulse();
        let mut wanted: BTreeMap<String, Service> = {
            let ledger = core.ledger();
            ledger.uses().filter(|(_, one)| one.sure).map(|(_, one)| service(one, &core.host, pulse)).map(|s| (s.id.clone(), s)).collect()
        };
        let own = agent(core, pulse);
        wanted.insert(own.id.clone(), own);
        if !self.looked {
            self.looked = self.forget_left_behind(core, &wanted);
        }
        let gone: Vec<String> = self.told.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        for id in gone {
            if core.consul.deregister(&id).is_ok() {
                self.told.remove(&id);
            }
        }
        for (id, service) in wanted {
            let now = Moment::now();
            let is_done = match self.told.get(&id) {
                Some((told, at)) if *told == service && now.since(*at) < pulse => continue,
                // The agent was started again without its memory, or somebody struck it out.
                Some((told, _)) if *told == service => matches!(core.consul.pass(&id), Ok(true)) || self.register(core, &service),
                _ => self.register(core, &service),
            };
            if is_done {
                self.told.insert(id, (service, now));
            } else if core.live().is_none() {
                // Nobody answers: all others would be asked in vain.
                break;
            }
        }
    }

    fn register(&mut self, core: &Core, service: &Service) -> bool {
        let registered = core.consul.register(service);
        if let Err(error) = &registered
            && error.is_denied()
            && !std::mem::replace(&mut self.complained, true)
        {
            let chain = chain(error).join(": ");
            core.warn(format!("addresses have no names for DNS: {chain}; {}", rights::missing(Right::Services, &core.prefix, &core.host)));
        }
        registered.is_ok()
    }

    /// What an agent that was killed registered, and nobody has any more. What guests have still, as far as that agent knew, keeps
    /// its name until it is locked again, or ends. `false`: it is to be looked again.
    fn forget_left_behind(&self, core: &Core, wanted: &BTreeMap<String, Service>) -> bool {
        let Ok(services) = core.consul.services() else { return false };
        let open: BTreeSet<String> = core.ledger().uses().filter(|(_, one)| !one.sure).map(|(_, one)| id(one)).collect();
        let mut is_done = true;
        for id in services.keys().filter(|id| id.starts_with(SERVICE) && !wanted.contains_key(*id)) {
            is_done &= !open.contains(id) && core.consul.deregister(id).is_ok();
        }
        is_done
    }
}

/// The agent itself: whoever asks for it has the hosts whose agents run.
fn agent(core: &Core, pulse: Duration) -> Service {
    let meta = [("host", core.host.clone()), ("version", env!("CARGO_PKG_VERSION").to_owned())];
    Service {
        id: format!("{SERVICE}agent"),
        name: AGENT.into(),
        address: core.address,
        tags: vec!["pipework".into()],
        meta: meta.map(|(key, value)| (key.to_owned(), value)).into(),
        ttl: pulse * 3,
        forgotten_after: FORGOTTEN,
    }
}

fn service(one: &Use, host: &str, pulse: Duration) -> Service {
    let claim = &one.claim;
    let mut meta: BTreeMap<String, String> = [
        ("owner", claim.owner.to_string()),
        ("pool", claim.pool.to_string()),
        ("prefix", claim.addr.to_string()),
        ("host", host.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    meta.extend(one.user.container.clone().map(|container| ("container".to_owned(), container)));
    Service {
        id: id(one),
        name: name(&claim.owner),
        address: claim.addr.ip(),
        tags: vec!["pipework".into(), claim.pool.to_string()],
        meta,
        ttl: pulse * 3,
        forgotten_after: FORGOTTEN,
    }
}

fn id(one: &Use) -> String {
    format!("{SERVICE}{}:{}", one.claim.pool, one.claim.addr.ip())
}

/// A name that DNS can answer for: of `web/1` it is `web-1`.
fn name(owner: &Owner) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = owner.to_string().chars().map(plain).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "unnamed".into() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_owner_has_a_name_that_dns_can_answer_for() {
        for (owner, wanted) in [("web/1", "web-1"), ("Shop_web.2", "shop-web-2"), ("_x_", "x"), ("a+b@c:d", "a-b-c-d"), ("---", "unnamed")]
        {
            assert_eq!(name(&owner.parse().unwrap()), wanted);
        }
        assert_eq!(name(&"x".repeat(200).parse().unwrap()).len(), 63);
    }
}
