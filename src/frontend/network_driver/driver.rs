//! The network driver's calls: networks and endpoints. Each may come twice, or when half of it is done already.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Shop, addresses, policy};
use crate::frontend::daemon::board::{Event, Kind};
use crate::lifecycle::{self, Options, Waiting, chain};
use crate::model::network_driver::{
    Answer, Call, Endpoint, EndpointIds, Grant, JoinAnswer, LinkState, Network, NewEndpoint, NewNetwork, SpaceNames,
};
use crate::model::pool::PoolName;
use crate::state;

type Outcome<T> = Result<T, String>;

/// One call's worth of work.
pub(super) struct Driver<'a> {
    shop: &'a Arc<Shop>,
}

/// An error with all that lies behind it.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    chain(error).join(": ")
}

impl<'a> Driver<'a> {
    pub(super) fn of(shop: &'a Arc<Shop>) -> Self {
        Self { shop }
    }

    pub(super) fn answer(&self, call: Call) -> Answer {
        let done = match call {
            Call::Activate => {
                // An engine begins. What it has no more is looked for once it is there.
                self.shop.usher.new_engine();
                Ok(Answer::manifest())
            }
            Call::Capabilities => Ok(Answer::capabilities()),
            Call::IpamCapabilities => Ok(Answer::ipam_capabilities()),
            Call::Spaces => Ok(Answer::spaces(SpaceNames::LOCAL, SpaceNames::GLOBAL)),
            Call::Heard => Ok(Answer::done()),
            Call::ReleasePool(pool) => addresses::release_pool(self.shop, &pool).map(|()| Answer::done()),
            Call::CreateNetwork(new) => self.create_network(*new).map(|()| Answer::done()),
            Call::DeleteNetwork(id) => self.delete_network(&id).map(|()| Answer::done()),
            Call::CreateEndpoint(new) => self.create_endpoint(*new),
            Call::DeleteEndpoint(ids) => self.delete_endpoint(&ids).map(|()| Answer::done()),
            Call::EndpointInfo(ids) => self.endpoint(&ids).map(|endpoint| Answer::info(&endpoint.info())),
            Call::Join { ids, sandbox } => self.join(&ids, sandbox).map(Answer::from),
            Call::Leave(ids) => self.leave(&ids).map(|()| Answer::done()),
            Call::RequestPool(new) => addresses::request_pool(self.shop, &new),
            Call::RequestAddress(call) => addresses::request(self.shop, &call),
            Call::ReleaseAddress(call) => addresses::release(self.shop, &call).map(|()| Answer::done()),
        };
        done.unwrap_or_else(|why| {
            self.shop.board.tell(Event { why: Some(why.clone()), source: Some("docker-plugin".into()), ..Event::new(Kind::Failed) });
            Answer::failed(&why)
        })
    }

    fn create_network(&self, new: NewNetwork) -> Outcome<()> {
        let network = Network::from(new);
        let options = network.options().map_err(|error| error.to_string())?;
        if let Some(pool) = &options.pool {
            self.claims()?.pool(pool).map_err(|error| hinted(&error, error.hint()))?;
        }
        if !self.shop.files.network(&network.id).map_err(|error| error.to_string())?.is_some_and(|before| before == network) {
            self.check(&network)?;
            self.shop.files.put_network(&network).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What would make every endpoint fail is said when the network is made.
    fn check(&self, network: &Network) -> Outcome<()> {
        let ids = EndpointIds { network: network.id.clone(), endpoint: network.id.clone() };
        let nobody = Endpoint::new(NewEndpoint { ids, addrs: Vec::new(), mac: None }, String::new());
        let request = network.request(&nobody).map_err(|error| error.to_string())?;
        policy::check(self.shop, &request)?;
        // Access needs an address, which is known later.
        let request = crate::model::request::AttachRequest { host_access: false, ..request };
        let options = Options { dry_run: true, ..self.shop.options.clone() };
        let waiting = Waiting { id: nobody.guest(), sandbox: PathBuf::from("/") };
        let offered = lifecycle::offer(&request, &waiting, &options, &mut |_| {}).map_err(|error| hinted(&error, error.hint()))?;
        offered.warnings.into_iter().for_each(|why| self.shop.warn(why));
        Ok(())
    }

    fn delete_network(&self, id: &crate::model::network_driver::Id) -> Outcome<()> {
        let left = self.shop.files.endpoints().map_err(|error| error.to_string())?;
        for endpoint in left.into_iter().filter(|endpoint| endpoint.network == *id) {
            self.remove(&endpoint)?;
        }
        self.shop.files.remove_network(id).map_err(|error| error.to_string())
    }

    fn network(&self, id: &crate::model::network_driver::Id) -> Outcome<Network> {
        let found = self.shop.files.network(id).map_err(|error| error.to_string())?;
        found.ok_or_else(|| {
            let short = id.as_str().get(..12).unwrap_or(id.as_str());
            format!("network {short} is not known here: its file is gone. Remove it, and create it again: docker network rm")
        })
    }

    fn endpoint(&self, ids: &EndpointIds) -> Outcome<Endpoint> {
        let found = self.shop.files.endpoint(&ids.endpoint).map_err(|error| error.to_string())?;
        let short = ids.endpoint.as_str().get(..12).unwrap_or(ids.endpoint.as_str());
        found.filter(|endpoint| endpoint.network == ids.network).ok_or_else(|| format!("endpoint {short} is not known here"))
    }

    fn create_endpoint(&self, new: NewEndpoint) -> Outcome<Answer> {
        let network = self.network(&new.ids.network)?;
        let options = network.options().map_err(|error| error.to_string())?;
        let is_ipvlan = options.sharing.as_ref().is_some_and(crate::model::sharing::Sharing::is_ipvlan);
        if is_ipvlan && new.mac.is_some() {
            return Err("an ipvlan has its parent's MAC address, and no other: leave out --mac-address".into());
        }
        let mut endpoint = Endpoint::new(new, state::now());
        if is_ipvlan {
            endpoint.mac = None;
        }
        match self.shop.files.endpoint(&endpoint.id).map_err(|error| error.to_string())? {
            Some(before) if before.is_as(&endpoint) => return Ok(answer_of(&before)),
            Some(_) => return Err("there is another endpoint of that identifier".into()),
            None => {}
        }
        policy::check(self.shop, &network.request(&endpoint).map_err(|error| error.to_string())?)?;
        self.remove_former(&endpoint)?;
        endpoint.routers = self.routers(&endpoint)?;
        endpoint.claimed.clone_from(&options.pool);
        // Before it is claimed: so it is known whose a claim is, should this be the last that is done here.
        self.shop.files.put_endpoint(&endpoint).map_err(|error| error.to_string())?;
        if let Err(why) = options.pool.as_ref().map_or(Ok(()), |pool| self.claim(&endpoint, pool)) {
            self.remove(&endpoint)?;
            return Err(why);
        }
        Ok(answer_of(&endpoint))
    }

    /// An endpoint whose address the engine gives to another one is not there any more: when a plug-in ends under the engine's hands,
    /// that may never be said.
    fn remove_former(&self, endpoint: &Endpoint) -> Outcome<()> {
        let all = self.shop.files.endpoints().map_err(|error| error.to_string())?;
        let is_former =
            |other: &&Endpoint| other.network == endpoint.network && other.addrs.iter().any(|addr| endpoint.addrs.contains(addr));
        all.iter().filter(is_former).try_for_each(|former| self.remove(former))
    }

    /// Those that a server named when it lent the address.
    fn routers(&self, endpoint: &Endpoint) -> Outcome<Vec<IpAddr>> {
        let grants = self.shop.files.grants().map_err(|error| error.to_string())?;
        let is_its = |grant: &&Grant| Some(grant.mac) == endpoint.mac && endpoint.addrs.iter().any(|addr| addr.ip() == grant.addr.ip());
        Ok(grants.iter().filter(is_its).filter_map(|grant| lifecycle::router(&grant.lent.as_ref()?.lease)).collect())
    }

    fn claims(&self) -> Outcome<&Arc<dyn lifecycle::claims::Claims>> {
        self.shop.options.claims.as_ref().ok_or_else(|| "there are no pools here".to_owned())
    }

    /// Claims the addresses that the engine gave, where the network says so.
    fn claim(&self, endpoint: &Endpoint, pool: &PoolName) -> Outcome<()> {
        let owner = self.shop.owner(endpoint.id.as_str()).ok_or("it can own no address")?;
        let claims = self.claims()?;
        let of = claims.pool(pool).map_err(|error| hinted(&error, error.hint()))?;
        for addr in endpoint.addrs.iter().filter(|addr| addr.ip().is_ipv4() == of.subnet.is_ipv4()) {
            claims.claim(pool, &owner, Some(addr.ip())).map_err(|error| hinted(&error, error.hint()))?;
        }
        Ok(())
    }

    fn give_back(&self, endpoint: &Endpoint) -> Outcome<()> {
        let Some(pool) = &endpoint.claimed else { return Ok(()) };
        let Some(owner) = self.shop.owner(endpoint.id.as_str()) else { return Ok(()) };
        self.claims()?.release(pool, &owner).map(drop).map_err(|error| whole(&error))
    }

    fn join(&self, ids: &EndpointIds, sandbox: String) -> Outcome<JoinAnswer> {
        let network = self.network(&ids.network)?;
        let mut endpoint = self.endpoint(ids)?;
        self.withdraw(&endpoint)?;
        endpoint.sandbox = Some(sandbox.clone());
        // Before anything is made for it: so it is found, should this be the last that is done here.
        self.shop.files.put_endpoint(&endpoint).map_err(|error| error.to_string())?;
        let request = network.request(&endpoint).map_err(|error| error.to_string())?;
        let waiting = Waiting { id: endpoint.guest(), sandbox: PathBuf::from(sandbox) };
        let offered = lifecycle::offer(&request, &waiting, &self.shop.options, &mut |_| {});
        let offered = offered.map_err(|error| hinted(&error, error.hint()))?;
        offered.warnings.into_iter().for_each(|why| self.shop.warn(why));
        let link = LinkState { attachment: offered.id, name: offered.link };
        let answer = network.join(&endpoint, &link.name).map_err(|error| error.to_string());
        endpoint.link = Some(link);
        let kept = answer.and_then(|answer| self.shop.files.put_endpoint(&endpoint).map(|()| answer).map_err(|error| error.to_string()));
        if kept.is_err() {
            self.withdraw(&endpoint)?;
        }
        self.shop.usher.expect_all(&self.shop.files, endpoint.sandbox.as_deref());
        kept
    }

    fn leave(&self, ids: &EndpointIds) -> Outcome<()> {
        let endpoint = self.endpoint(ids)?;
        self.withdraw(&endpoint)?;
        let left = Endpoint { link: None, sandbox: None, ..endpoint.clone() };
        self.shop.files.put_endpoint(&left).map_err(|error| error.to_string())?;
        self.shop.usher.expect_all(&self.shop.files, endpoint.sandbox.as_deref());
        Ok(())
    }

    fn delete_endpoint(&self, ids: &EndpointIds) -> Outcome<()> {
        match self.shop.files.endpoint(&ids.endpoint).map_err(|error| error.to_string())? {
            Some(endpoint) => self.remove(&endpoint),
            None => Ok(()),
        }
    }

    /// All that there is of an endpoint.
    pub(super) fn remove(&self, endpoint: &Endpoint) -> Outcome<()> {
        self.withdraw(endpoint)?;
        self.give_back(endpoint)?;
        self.shop.files.remove_endpoint(&endpoint.id).map_err(|error| error.to_string())
    }

    /// What was made for an endpoint that had begun to join when the plug-in was killed.
    fn withdraw_unheard(&self, endpoint: &Endpoint) -> Outcome<()> {
        let network = self.shop.files.network(&endpoint.network).map_err(|error| error.to_string())?;
        let (Some(network), Some(_)) = (network, &endpoint.sandbox) else { return Ok(()) };
        let request = network.request(endpoint).map_err(|error| error.to_string())?;
        lifecycle::withdraw_unheard(&request, &self.shop.options.run_dir, &mut |_| {}).map_err(|error| whole(&error))
    }

    fn withdraw(&self, endpoint: &Endpoint) -> Outcome<()> {
        let Some(link) = &endpoint.link else { return self.withdraw_unheard(endpoint) };
        let gone = lifecycle::withdraw(&link.attachment, &link.name, &self.shop.options.run_dir, &mut |_| {});
        let gone = gone.map_err(|error| whole(&error))?;
        if gone {
            let addresses = endpoint.addrs.iter().map(ToString::to_string).collect();
            self.shop.board.tell(Event { guest: Some(endpoint.guest().name), addresses, ..Event::new(Kind::Detached) });
        }
        Ok(())
    }
}

/// An error with what to do about it: the user sees it as the engine's own.
pub(super) fn hinted(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let why = whole(error);
    hint.map_or_else(|| why.clone(), |hint| format!("{why} ({hint})"))
}

/// What the engine is told of an endpoint: only what it did not say itself.
fn answer_of(endpoint: &Endpoint) -> Answer {
    Answer::endpoint(endpoint.mac.filter(|_| !endpoint.mac_given))
}
