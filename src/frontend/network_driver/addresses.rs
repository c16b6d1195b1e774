//! The IPAM driver's calls: addresses of a pool, claimed for good until they are given back, or lent by a DHCP server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::Shop;
use super::driver::{hinted, whole};
use super::{leases, tidy};
use crate::kernel::observe;
use crate::lifecycle;
use crate::lifecycle::claims::{ClaimError, Claims};
use crate::model::network_driver::{AddressCall, Answer, Endpoint, Grant, NewPool, PoolId, Purpose, Source};
use crate::model::pool::{Pool, PoolName};
use crate::model::types::{IfAddr, IfName, MacAddr};
use crate::state;

type Outcome<T> = Result<T, String>;

/// So long a server may take to say which network it is in.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn request_pool(shop: &Shop, new: &NewPool) -> Outcome<Answer> {
    match &new.source {
        Source::Claims(name) => of_claims(shop, new, name),
        Source::Dhcp(interface) => of_server(new, interface),
    }
}

fn of_claims(shop: &Shop, new: &NewPool, name: &PoolName) -> Outcome<Answer> {
    let pool = pool(shop, name)?;
    let subnet = network(pool.subnet);
    if let Some(other) = new.subnet.filter(|asked| *asked != subnet) {
        return Err(format!("--subnet {other}: pool {name} has {subnet}"));
    }
    if new.v6 && subnet.is_ipv4() {
        return Err(format!("pool {name} has {subnet}, and an IPv6 one is asked for: name another pool"));
    }
    check_routes(new, subnet)?;
    let gateway = pool.gateway.and_then(|ip| IfAddr::new(ip, subnet.prefix()));
    let id = PoolId { source: new.source.clone(), subnet };
    Ok(Answer::pool(&id.to_string(), subnet, gateway))
}

fn of_server(new: &NewPool, interface: &IfName) -> Outcome<Answer> {
    if new.v6 || new.subnet.is_some_and(|subnet| !subnet.is_ipv4()) {
        return Err("--ipam-opt dhcp=true: only IPv4 addresses are lent in this version".into());
    }
    let subnet = match new.subnet {
        Some(subnet) => subnet,
        None => {
            let lease =
                lifecycle::ask(interface, PATIENCE).map_err(|error| format!("asking on {interface}: {}", hinted(&error, error.hint())))?;
            let found = lease.addr.network();
            check_routes(new, found)?;
            found
        }
    };
    let id = PoolId { source: new.source.clone(), subnet };
    // The router is told with each lease.
    Ok(Answer::pool(&id.to_string(), subnet, None))
}

/// The engine takes no subnet that it was not told and that the host has a route to: it asks for another one, for ever.
fn check_routes(new: &NewPool, subnet: IpNetwork) -> Outcome<()> {
    if new.subnet.is_some() {
        return Ok(());
    }
    let route = observe::route_into(&subnet).map_err(|error| whole(&error))?;
    route
        .map_or(Ok(()), |route| Err(format!("this host has a route there already ({route}): say that it is meant, with --subnet {subnet}")))
}

fn network(subnet: IpNetwork) -> IpNetwork {
    IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet)
}

fn claims(shop: &Shop) -> Outcome<&Arc<dyn Claims>> {
    shop.options.claims.as_ref().ok_or_else(|| "there are no pools here".to_owned())
}

fn pool(shop: &Shop, name: &PoolName) -> Outcome<Pool> {
    claims(shop)?.pool(name).map_err(|error| hinted(&error, error.hint()))
}

pub(super) fn request(shop: &Shop, call: &AddressCall) -> Outcome<Answer> {
    let addr = match (&call.purpose, &call.pool.source) {
        (Purpose::Endpoint(mac), Source::Claims(name)) => claimed(shop, call, name, *mac)?,
        (Purpose::Endpoint(mac), Source::Dhcp(interface)) => leases::lend(shop, call, interface, *mac)?,
        (purpose, Source::Claims(name)) => kept_back(shop, call, name, *purpose)?,
        (_, Source::Dhcp(_)) => {
            let wish = call.wish.ok_or("the DHCP server says which gateway there is: leave out --gateway")?;
            with_prefix(&call.pool, wish)?
        }
    };
    Ok(Answer::address(addr))
}

fn with_prefix(pool: &PoolId, ip: IpAddr) -> Outcome<IfAddr> {
    IfAddr::new(ip, pool.subnet.prefix()).ok_or_else(|| format!("{ip} is not in {}", pool.subnet))
}

/// The network's gateway, or an address that nobody is to get: the pool must not give it to anybody.
fn kept_back(shop: &Shop, call: &AddressCall, name: &PoolName, purpose: Purpose) -> Outcome<IfAddr> {
    let pool = pool(shop, name)?;
    let ip = match (call.wish, purpose) {
        (Some(ip), _) => ip,
        (None, Purpose::Gateway) => pool.gateway.ok_or_else(|| format!("pool {name} has no gateway"))?,
        (None, _) => return Err("it is not said for whom the address is: the engine gives no MAC address".into()),
    };
    if pool.gateway != Some(ip) && pool.refuses(ip).is_none() {
        return Err(format!(
            "{ip}: pool {name} gives this address to guests. Make it the pool's gateway, or reserve it there ({})",
            claims(shop)?.place()
        ));
    }
    with_prefix(&call.pool, ip)
}

/// An owner of its own for each MAC address of this host.
fn owner_word(mac: MacAddr) -> String {
    mac.to_string().replace(':', "-")
}

fn claimed(shop: &Shop, call: &AddressCall, name: &PoolName, mac: MacAddr) -> Outcome<IfAddr> {
    let owner = shop.owner(&owner_word(mac)).ok_or("it can own no address")?;
    let claims = claims(shop)?;
    let grants = shop.files.grants().map_err(|error| error.to_string())?;
    if let Some(had) = grants.iter().find(|grant| grant.pool == call.pool && grant.mac == mac)
        && is_used(shop, had.addr.ip())?
    {
        return Err(format!("{mac} has {} already: another container of this host has that MAC address", had.addr.ip()));
    }
    let claim = match claims.claim(name, &owner, call.wish) {
        // Left of an engine that was killed, and not meant any more.
        Err(ClaimError::Other { has, .. }) if !is_used(shop, has)? => {
            claims.release(name, &owner).map_err(|error| whole(&error))?;
            claims.claim(name, &owner, call.wish)
        }
        claim => claim,
    };
    let claim = claim.map_err(|error| hinted(&error, error.hint()))?;
    let grant = Grant { pool: call.pool.clone(), addr: claim.addr, mac, since: state::now(), lent: None };
    if let Err(error) = shop.files.put_grant(&grant) {
        claims.release(name, &owner).map_err(|error| whole(&error))?;
        return Err(error.to_string());
    }
    Ok(claim.addr)
}

/// Whether an endpoint of this host has the address, and a link with it. One that has left may be one of which the engine could not
/// say that it is gone.
pub(super) fn is_used(shop: &Shop, ip: IpAddr) -> Outcome<bool> {
    let endpoints = shop.files.endpoints().map_err(|error| error.to_string())?;
    let has = |endpoint: &&Endpoint| endpoint.addrs.iter().any(|addr| addr.ip() == ip);
    Ok(endpoints.iter().filter(has).any(|endpoint| endpoint.link.is_some() && !tidy::is_dead(shop, endpoint)))
}

pub(super) fn release(shop: &Shop, call: &AddressCall) -> Outcome<()> {
    // A gateway and what is kept back were not given out.
    let Some(ip) = call.wish else { return Ok(()) };
    let Some(grant) = shop.files.grant(&call.pool, ip).map_err(|error| error.to_string())? else { return Ok(()) };
    give_back(shop, grant)
}

/// A network goes: what was kept for its containers is nobody's. Another one on the same pool loses no more than a lease that it asks
/// for again.
pub(super) fn release_pool(shop: &Shop, pool: &PoolId) -> Outcome<()> {
    let _lock = shop.grants();
    let grants = shop.files.grants().map_err(|error| error.to_string())?;
    let is_kept = |grant: &&Grant| grant.pool == *pool && grant.lent.as_ref().is_some_and(|lent| lent.is_idle);
    grants.iter().filter(is_kept).try_for_each(|grant| leases::back(shop, grant))
}

/// Gives an address back, or keeps it for a container that may begin again.
pub(super) fn give_back(shop: &Shop, grant: Grant) -> Outcome<()> {
    match grant.pool.source.clone() {
        Source::Claims(name) => {
            if let Some(owner) = shop.owner(&owner_word(grant.mac)) {
                claims(shop)?.release(&name, &owner).map_err(|error| whole(&error))?;
            }
            shop.files.remove_grant(&grant.pool, grant.addr.ip()).map_err(|error| error.to_string())
        }
        Source::Dhcp(_) => {
            let _lock = shop.grants();
            leases::idle_or_back(shop, grant)
        }
    }
}

/// Says of all claims that are used that they are, so that nobody takes them for those of an owner that is gone for good.
pub(super) fn refresh(shop: &Shop) -> Outcome<()> {
    let endpoints = shop.files.endpoints().map_err(|error| error.to_string())?;
    for grant in shop.files.grants().map_err(|error| error.to_string())? {
        let is_used = endpoints.iter().any(|endpoint| endpoint.addrs.iter().any(|addr| addr.ip() == grant.addr.ip()));
        if let (Source::Claims(name), true) = (&grant.pool.source, is_used) {
            again(shop, name, &owner_word(grant.mac), grant.addr.ip())?;
        }
    }
    for endpoint in endpoints {
        let Some(pool) = &endpoint.claimed else { continue };
        for addr in &endpoint.addrs {
            again(shop, pool, endpoint.id.as_str(), addr.ip())?;
        }
    }
    Ok(())
}

fn again(shop: &Shop, pool: &PoolName, word: &str, ip: IpAddr) -> Outcome<()> {
    let Some(owner) = shop.owner(word) else { return Ok(()) };
    match claims(shop)?.claim(pool, &owner, Some(ip)) {
        // Of the endpoint's other family.
        Ok(_) | Err(ClaimError::Outside { .. }) => Ok(()),
        Err(error) => Err(hinted(&error, error.hint())),
    }
}
