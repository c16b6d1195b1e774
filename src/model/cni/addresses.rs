//! What somebody who gives addresses says, in the words of an attachment and in those of a result.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::error::CniError;
use super::result::{Dns, Ip, Route, Success};
use crate::model::topology::Attachment;
use crate::model::types::{Family, IfAddr};

/// Addresses with their gateways, routes and servers, from wherever they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addressing {
    /// The addresses, each with the gateway of its subnet.
    pub addresses: Vec<(IfAddr, Option<IpAddr>)>,
    /// The default gateways, at most one of a family.
    pub gateways: Vec<IpAddr>,
    /// The other routes, in the words of `ip route add`.
    pub words: Vec<String>,
    /// All routes, as a result tells them.
    pub routes: Vec<Route>,
    /// Servers of names.
    pub dns: Dns,
}

impl Addressing {
    /// By addresses with their gateways, and routes; the gateways are the default routes where no routes are said.
    ///
    /// # Errors
    /// What is wrong with the routes.
    pub fn of(addresses: Vec<(IfAddr, Option<IpAddr>)>, routes: Option<Vec<Route>>, dns: Dns) -> Result<Self, String> {
        let gateway_of = |family| addresses.iter().filter_map(|(_, gateway)| *gateway).find(|ip| Family::of(*ip) == family);
        let usual = || [Family::Inet, Family::Inet6].into_iter().filter_map(gateway_of).map(default_through).collect();
        let routes: Vec<Route> = routes.unwrap_or_else(usual);
        let (mut gateways, mut words): (Vec<IpAddr>, Vec<String>) = (Vec::new(), Vec::new());
        for route in &routes {
            let (dst, through) = read(route)?;
            let family = Family::of(dst.ip());
            let through = through.or_else(|| gateway_of(family));
            let is_plain = route.mtu.is_none() && route.advmss.is_none() && route.priority.is_none() && route.table.is_none();
            match through {
                Some(ip) if dst.prefix() == 0 && is_plain && !gateways.iter().any(|other| Family::of(*other) == family) => {
                    gateways.push(ip)
                }
                _ => words.push(in_words(route, dst, through)),
            }
        }
        Ok(Self { addresses, gateways, words, routes, dns })
    }

    /// By what an address management plugin answered.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(answer: Success) -> Result<Self, String> {
        let one = |ip: &Ip| -> Result<(IfAddr, Option<IpAddr>), String> {
            let addr = ip.address.parse::<IfAddr>().map_err(|why| why.to_string())?;
            let gateway = ip.gateway.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose();
            Ok((addr, gateway.map_err(|_| format!("gateway {:?} is no address", ip.gateway.clone().unwrap_or_default()))?))
        };
        let addresses = answer.ips.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Self::of(addresses, Some(answer.routes), answer.dns)
    }

    /// The attachment with these addresses. Its own gateways and routes stay.
    pub(super) fn onto(&self, mut words: Attachment) -> Attachment {
        words.addresses = self.addresses.iter().map(|(addr, _)| addr.to_string()).collect();
        let is_new = |gateway: &&IpAddr| {
            !words.gateways.iter().any(|own| own.parse().is_ok_and(|own: IpAddr| Family::of(own) == Family::of(**gateway)))
        };
        let more: Vec<String> = self.gateways.iter().filter(is_new).map(ToString::to_string).collect();
        words.gateways.extend(more);
        words.routes.extend(self.words.iter().cloned());
        words
    }
}

fn default_through(gateway: IpAddr) -> Route {
    let dst = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    Route { dst: dst.to_owned(), gw: Some(gateway.to_string()), ..Route::default() }
}

/// The default routes through gateways, as a result tells them.
pub fn wanted_routes(gateways: &[IpAddr]) -> Vec<Route> {
    gateways.iter().copied().map(default_through).collect()
}

/// Where a route leads, and through whom.
fn read(route: &Route) -> Result<(IpNetwork, Option<IpAddr>), String> {
    let dst: IpNetwork = route.dst.parse().map_err(|_| format!("route to {:?}: give a network, like 10.9.0.0/16", route.dst))?;
    let through = route.gw.as_deref().filter(|text| !text.is_empty()).map(str::parse::<IpAddr>).transpose();
    let through = through.map_err(|_| format!("route to {dst}: {:?} is no address", route.gw.clone().unwrap_or_default()))?;
    if through.is_some_and(|ip| ip.is_ipv4() != dst.is_ipv4()) {
        return Err(format!("route to {dst}: its gateway is of the other family"));
    }
    Ok((dst, through))
}

fn in_words(route: &Route, dst: IpNetwork, through: Option<IpAddr>) -> String {
    let through = through.map(|ip| format!(" via {ip}")).unwrap_or_default();
    let numbers = [("mtu", route.mtu), ("advmss", route.advmss), ("metric", route.priority), ("table", route.table)];
    let numbers: String = numbers.into_iter().filter_map(|(word, number)| Some(format!(" {word} {}", number?))).collect();
    let scope = route.scope.map(|scope| format!(" scope {scope}")).unwrap_or_default();
    // A host's bits beyond the prefix the kernel refuses.
    let to = match IpNetwork::new(dst.network(), dst.prefix()) {
        Ok(network) if network.prefix() == 0 => "default".to_owned(),
        Ok(network) => network.to_string(),
        Err(_) => dst.to_string(),
    };
    let family = if to == "default" && dst.is_ipv6() && through.is_empty() { "::/0".to_owned() } else { to };
    format!("{family}{through}{numbers}{scope}")
}

impl From<String> for CniError {
    fn from(why: String) -> Self {
        Self::configuration("ipam", why)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of(ips: &[(&str, Option<&str>)], routes: Option<serde_json::Value>) -> Result<Addressing, String> {
        let ips = ips.iter().map(|(addr, gateway)| (addr.parse().unwrap(), gateway.map(|ip| ip.parse().unwrap()))).collect();
        Addressing::of(ips, routes.map(|routes| serde_json::from_value(routes).unwrap()), Dns::default())
    }

    #[test]
    fn gateways_are_the_default_routes_unless_routes_are_said() {
        let both = [("10.1.0.5/16", Some("10.1.0.1")), ("fd00::5/64", Some("fd00::1"))];
        let usual = of(&both, None).unwrap();
        assert_eq!(usual.gateways.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.1", "fd00::1"]);
        assert_eq!(usual.routes.len(), 2);
        let none = of(&both, Some(json!([]))).unwrap();
        assert_eq!((none.gateways.len(), none.words.len()), (0, 0));
        let some = of(
            &both,
            Some(
                json!([{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16"}, {"dst": "10.8.0.0/16", "gw": "10.1.0.9", "priority": 5, "mtu": 1400},
            {"dst": "0.0.0.0/0", "gw": "10.1.0.2", "table": 7}, {"dst": "169.254.0.0/16", "scope": 253}]),
            ),
        );
        let some = some.unwrap();
        assert_eq!(some.gateways, ["10.1.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            some.words,
            [
                "10.9.0.0/16 via 10.1.0.1",
                "10.8.0.0/16 via 10.1.0.9 mtu 1400 metric 5",
                "default via 10.1.0.2 table 7",
                "169.254.0.0/16 via 10.1.0.1 scope 253",
            ]
        );
        for bad in [json!([{"dst": "x"}]), json!([{"dst": "10.0.0.0/8", "gw": "y"}]), json!([{"dst": "10.0.0.0/8", "gw": "fd00::1"}])] {
            assert!(of(&both, Some(bad)).is_err());
        }
    }

    #[test]
    fn an_answer_without_sense_is_no_addressing() {
        for bad in [json!({"ips": [{"address": "10.1.0.5"}]}), json!({"ips": [{"address": "10.1.0.5/16", "gateway": "x"}]})] {
            assert!(Addressing::read(Success::read(bad).unwrap()).is_err());
        }
        let good = json!({"ips": [{"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1"}], "dns": {"domain": "a"}});
        let good = Addressing::read(Success::read(good).unwrap()).unwrap();
        assert_eq!((good.addresses.len(), good.gateways.len(), good.dns.domain.as_str()), (1, 0, "a"));
    }
}
