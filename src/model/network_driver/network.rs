//! A network as it is kept, and what it makes of an endpoint.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::answer::{InterfaceName, JoinAnswer, Route};
use super::call::{Id, NewNetwork, Subnet};
use super::endpoint::Endpoint;
use super::ipam::SpaceNames;
use super::options::{Gateway, NetworkOptions, OptionError};
use crate::model::request::{AddrSpec, AddrWord, AttachRequest, GuestRef};
use crate::model::settings::Settings;
use crate::model::sharing::Sharing;
use crate::model::types::{Family, IfName};

/// How the engine's names of interfaces begin. It puts numbers behind it.
const PREFIX: &str = "eth";

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The engine's identifier.
    pub id: Id,
    /// The words behind `-o`, as they were given.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
    /// No way out.
    #[serde(default)]
    pub internal: bool,
    /// Its subnets.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
}

impl From<NewNetwork> for Network {
    fn from(new: NewNetwork) -> Self {
        Self { id: new.id, words: new.words, internal: new.internal, subnets: new.subnets }
    }
}

impl Network {
    /// What its words mean.
    ///
    /// # Errors
    /// [`OptionError`]
    pub fn options(&self) -> Result<NetworkOptions, OptionError> {
        let options = NetworkOptions::read(&self.words)?;
        if options.sharing.as_ref().is_some_and(Sharing::is_passthru) {
            // It has the NIC's MAC address, and the engine sets the one that it drew.
            let why = "it leaves the NIC to one container, which pipework attach can do: a network is for several".into();
            return Err(OptionError::Value { key: "mode", value: "passthru".into(), why });
        }
        let is_ours = |subnet: &Subnet| [SpaceNames::LOCAL, SpaceNames::GLOBAL].contains(&subnet.space.as_str());
        if options.sharing.as_ref().is_some_and(Sharing::is_ipvlan) && self.subnets.iter().any(is_ours) {
            // The engine would set the MAC address that our IPAM asks it for, and an ipvlan has its parent's.
            let why = "an ipvlan has no MAC address of its own, by which our IPAM driver knows whose an address is: use Docker's own IPAM";
            return Err(OptionError::Value { key: "mode", value: self.words.get("mode").cloned().unwrap_or_default(), why: why.into() });
        }
        Ok(options)
    }

    /// The way out for an endpoint: at most one of each family.
    pub fn gateways(&self, options: &NetworkOptions, endpoint: &Endpoint) -> Vec<IpAddr> {
        let is_layer3 = options.sharing.as_ref().is_some_and(Sharing::is_layer3);
        match &options.gateway {
            _ if self.internal || is_layer3 => Vec::new(),
            Gateway::None => Vec::new(),
            Gateway::These(all) => all.iter().copied().filter(|ip| endpoint.has_family(Family::of(*ip))).collect(),
            Gateway::Subnets => {
                let of = |addr: &crate::model::types::IfAddr| {
                    let subnet = self.subnets.iter().find(|subnet| subnet.pool.contains(addr.ip()));
                    let lent = || endpoint.routers.iter().copied().find(|router| Family::of(*router) == addr.family());
                    subnet.and_then(|subnet| subnet.gateway).or_else(lent).filter(|gateway| *gateway != addr.ip())
                };
                endpoint.addrs.iter().filter_map(of).collect()
            }
        }
    }

    /// An endpoint as an attach of ours.
    ///
    /// # Errors
    /// [`OptionError`]
    pub fn request(&self, endpoint: &Endpoint) -> Result<AttachRequest, OptionError> {
        let options = self.options()?;
        let spec = AddrSpec { addrs: endpoint.addrs.clone(), gateways: self.gateways(&options, endpoint) };
        let guest = GuestRef::NetnsPath(PathBuf::from(endpoint.sandbox.clone().unwrap_or_else(|| "/".into())));
        let is_ipvlan = options.sharing.as_ref().is_some_and(Sharing::is_ipvlan);
        let settings = Settings { mtu: options.mtu, routes: options.routes, ..Settings::default() };
        Ok(AttachRequest {
            guest_if: Some(IfName::made("eth0")),
            local_if: Some(endpoint.host_end()).filter(|_| options.sharing.is_none()),
            mac: endpoint.mac.filter(|_| !is_ipvlan),
            tag: options.tag,
            sharing: options.sharing,
            host_access: options.host_access,
            settings,
            ..AttachRequest::new(options.host_if, guest, AddrWord::Static(spec))
        })
    }

    /// What the engine is to do with the link that was made for an endpoint.
    ///
    /// # Errors
    /// [`OptionError`]
    pub fn join(&self, endpoint: &Endpoint, link: &IfName) -> Result<JoinAnswer, OptionError> {
        let options = self.options()?;
        let gateways = self.gateways(&options, endpoint);
        let of = |v4: bool| gateways.iter().find(|ip| ip.is_ipv4() == v4).map(ToString::to_string).unwrap_or_default();
        // They were looked at when the network was made.
        let mut static_routes: Vec<Route> = options.routes.iter().filter_map(|words| Route::of(words).ok()).collect();
        if options.sharing.as_ref().is_some_and(Sharing::is_layer3) && !self.internal && options.gateway != Gateway::None {
            let default = |family: Family| if family == Family::Inet { "0.0.0.0/0" } else { "::/0" };
            let families = [Family::Inet, Family::Inet6].into_iter().filter(|family| endpoint.has_family(*family));
            static_routes.extend(families.map(|family| Route::on_link(default(family))));
        }
        Ok(JoinAnswer {
            interface_name: InterfaceName { src_name: link.to_string(), dst_prefix: PREFIX.to_owned() },
            gateway: of(true),
            gateway_ipv6: of(false),
            static_routes,
            disable_gateway_service: true,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn network(words: &[(&str, &str)], gateway: Option<&str>) -> Network {
        Network {
            id: "n1".parse().unwrap(),
            words: words.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            internal: false,
            subnets: vec![Subnet {
                space: String::new(),
                pool: "10.1.0.0/16".parse().unwrap(),
                gateway: gateway.map(|g| g.parse().unwrap()),
            }],
        }
    }

    fn endpoint(addr: &str) -> Endpoint {
        Endpoint {
            id: "abcdef0123456789".parse().unwrap(),
            network: "n1".parse().unwrap(),
            addrs: vec![addr.parse().unwrap()],
            mac: Some("02:42:0a:01:00:02".parse().unwrap()),
            mac_given: false,
            routers: Vec::new(),
            since: String::new(),
            claimed: None,
            sandbox: Some("/run/docker/netns/x".into()),
            link: None,
        }
    }

    #[test]
    fn an_endpoint_is_an_attach() {
        let lan = network(&[("bridge", "br0"), ("vlan", "10"), ("mtu", "1400"), ("routes", "10.9.0.0/16 via 10.1.0.9")], Some("10.1.0.1"));
        let web = endpoint("10.1.0.2/16");
        let request = lan.request(&web).unwrap();
        assert_eq!(request.addr.to_string(), "10.1.0.2/16@10.1.0.1");
        assert_eq!((request.tag.unwrap().to_string(), request.settings.mtu.unwrap().get()), ("10".into(), 1400));
        assert!(request.local_if.unwrap().as_str().len() <= IfName::MAX);
        let join = lan.join(&web, &"vgx".parse().unwrap()).unwrap();
        assert_eq!((join.gateway.as_str(), join.gateway_ipv6.as_str(), join.interface_name.src_name.as_str()), ("10.1.0.1", "", "vgx"));
        assert_eq!(join.static_routes[0].next_hop, "10.1.0.9");
    }

    #[test]
    fn the_way_out_is_what_the_network_says() {
        let gateway = |words: &[(&str, &str)], own| network(words, own).join(&endpoint("10.1.0.2/16"), &"x".parse().unwrap()).unwrap();
        assert_eq!(gateway(&[("parent", "eth0"), ("gateway", "none")], Some("10.1.0.1")).gateway, "");
        assert_eq!(gateway(&[("parent", "eth0"), ("gateway", "10.1.0.7")], Some("10.1.0.1")).gateway, "10.1.0.7");
        assert_eq!(gateway(&[("parent", "eth0"), ("gateway", "fd00::1")], Some("10.1.0.1")).gateway_ipv6, "");
        let layer3 = gateway(&[("parent", "eth0"), ("mode", "l3")], Some("10.1.0.1"));
        assert_eq!((layer3.gateway.as_str(), layer3.static_routes[0].destination.as_str()), ("", "0.0.0.0/0"));
    }

    #[test]
    fn an_ipvlan_does_not_go_with_our_ipam() {
        let mut lan = network(&[("parent", "eth0"), ("mode", "l2")], None);
        assert!(lan.options().is_ok());
        lan.subnets[0].space = SpaceNames::LOCAL.into();
        assert!(lan.options().unwrap_err().to_string().contains("Docker's own IPAM"));
    }
}
