//! What can be wrong with a topology before anything is looked at: every word of it, and what contradicts something else.

use std::collections::BTreeMap;
use std::fmt;

use super::attachment::AUTO_NAME;
use super::{Bridge, How, Link, Topology};
use crate::model::conflict::network;
use crate::model::error::InputError;
use crate::model::facts::guest_if;
use crate::model::pair::PairRequest;
use crate::model::request::{AttachRequest, GuestRef, HostIf};
use crate::model::settings::Mtu;
use crate::model::types::{IfAddr, IfName};

/// Where in a topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `guests`, `bridges`, `attachments` or `links`; `name` for the topology's own.
    pub list: &'static str,
    /// Which of the list, from 0.
    pub index: usize,
    /// Which key of it.
    pub key: Option<&'static str>,
}

impl fmt::Display for Place {
    /// As people count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list {
            "name" => f.write_str("name"),
            list => write!(f, "{list}[{}]{}", self.index + 1, self.key.map(|key| format!(".{key}")).unwrap_or_default()),
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// What, and what to type instead.
    pub text: String,
}

/// A topology without a mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its guests.
    pub guests: Vec<WantedGuest>,
    /// Its bridges.
    pub bridges: Vec<WantedBridge>,
    /// Its attachments.
    pub attachments: Vec<WantedAttachment>,
    /// Its links.
    pub links: Vec<PairRequest>,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedGuest {
    /// Who.
    pub guest: GuestRef,
    /// Make the namespace when it is not there.
    pub create: bool,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedBridge {
    /// Its name.
    pub name: IfName,
    /// Its uplinks.
    pub uplinks: Vec<IfName>,
    /// Its MTU.
    pub mtu: Option<Mtu>,
    /// Whether it filters VLANs; left as it is when absent.
    pub vlan_filtering: Option<bool>,
    /// Whether it filters them when it is made: an attachment on it is in one.
    pub is_tagged: bool,
    /// The host's addresses on it.
    pub addresses: Vec<IfAddr>,
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAttachment {
    /// What is asked.
    pub request: AttachRequest,
    /// How to go about it.
    pub how: How,
}

/// The name of a topology that says none.
const USUAL_NAME: &str = "default";

impl Topology {
    /// Reads every word, and looks for what is there twice.
    ///
    /// # Errors
    /// All that is wrong, in the order of the lists.
    pub fn check(&self) -> Result<Wanted, Vec<Wrong>> {
        let mut check = Check::default();
        let (name, guests) = (check.name(self.name.as_deref()), check.guests(self));
        let mut bridges = check.bridges(&self.bridges);
        let attachments = check.attachments(self, &mut bridges);
        let links = check.links(&self.links);
        let wanted = Wanted { name, guests, bridges, attachments, links };
        check.wrong.sort_by_key(|wrong| rank(&wrong.place));
        if check.wrong.is_empty() { Ok(wanted) } else { Err(check.wrong) }
    }
}

fn rank(place: &Place) -> (Option<usize>, usize) {
    (["name", "guests", "bridges", "attachments", "links"].iter().position(|list| *list == place.list), place.index)
}

/// What is known of the file so far.
#[derive(Default)]
struct Check {
    wrong: Vec<Wrong>,
    /// What may be there once only, and where it is.
    seen: BTreeMap<String, Place>,
}

impl Check {
    fn wrong(&mut self, place: &Place, text: impl ToString) {
        self.wrong.push(Wrong { place: place.clone(), text: text.to_string() });
    }

    fn take<T>(&mut self, place: Place, read: Result<T, InputError>) -> Option<T> {
        read.map_err(|error| self.wrong(&place, error)).ok()
    }

    /// Notes something that may be there once only: `thing` in words.
    fn once(&mut self, place: &Place, thing: String) {
        match self.seen.get(&thing).cloned() {
            Some(other) => self.wrong(place, format!("{thing} is in {other} already: leave one of them out, or change it")),
            None => {
                self.seen.insert(thing, place.clone());
            }
        }
    }

    fn name(&mut self, name: Option<&str>) -> String {
        let name = name.unwrap_or(USUAL_NAME);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
            let place = Place { list: "name", index: 0, key: None };
            self.wrong(&place, format!("{name:?}: give up to 64 letters, digits, '-', '_', '.', like shop-1"));
        }
        name.to_owned()
    }

    fn guests(&mut self, topology: &Topology) -> Vec<WantedGuest> {
        let mut all = Vec::new();
        for (index, guest) in topology.guests.iter().enumerate() {
            let place = Place { list: "guests", index, key: Some("guest") };
            let Some(word) = self.take(place.clone(), guest.guest.parse::<GuestRef>()) else { continue };
            if guest.create && !matches!(word, GuestRef::NetnsName(_)) {
                let place = Place { key: Some("create"), ..place.clone() };
                self.wrong(&place, format!("{word} cannot be made here: only a network namespace can, like netns:lab; leave out create"));
            }
            self.once(&place, format!("guest {word}"));
            all.push(WantedGuest { guest: word, create: guest.create });
        }
        all
    }

    fn bridges(&mut self, bridges: &[Bridge]) -> Vec<WantedBridge> {
        let mut all = Vec::new();
        for (index, bridge) in bridges.iter().enumerate() {
            let at = |key| Place { list: "bridges", index, key: Some(key) };
            let name = self.take(at("name"), bridge.name.parse::<IfName>());
            if let Some(name) = &name {
                if name.as_str().starts_with("ovs") {
                    self.wrong(
                        &at("name"),
                        format!("{name} would be a bridge of Open vSwitch, which its first attachment makes: leave it out here"),
                    );
                }
                self.once(&at("name"), format!("host interface {name}"));
            }
            let uplinks: Vec<IfName> = bridge.uplinks.iter().filter_map(|nic| self.take(at("uplinks"), nic.parse())).collect();
            uplinks.iter().for_each(|nic| self.once(&at("uplinks"), format!("host interface {nic}")));
            let mtu = bridge.mtu.as_ref().and_then(|mtu| self.take(at("mtu"), mtu.as_str().parse()));
            let addresses: Vec<IfAddr> = bridge.addresses.iter().filter_map(|addr| self.take(at("addresses"), addr.parse())).collect();
            let Some(name) = name else { continue };
            addresses.iter().for_each(|addr| self.once(&at("addresses"), format!("address {} on {name}", addr.ip())));
            let vlan_filtering = bridge.vlan_filtering;
            all.push(WantedBridge { name, uplinks, mtu, vlan_filtering, is_tagged: vlan_filtering == Some(true), addresses });
        }
        all
    }

    fn attachments(&mut self, topology: &Topology, bridges: &mut [WantedBridge]) -> Vec<WantedAttachment> {
        let mut all = Vec::new();
        for (index, words) in topology.attachments.iter().enumerate() {
            let at = |key| Place { list: "attachments", index, key: Some(key) };
            if words.guest_if.as_deref() == Some(AUTO_NAME) {
                self.wrong(&at("guest_if"), "auto would make another interface each time: give the name itself, like eth1");
            }
            if words.ways() > 1 {
                self.wrong(&Place { key: None, ..at("") }, "give one of direct_phys, macvlan, macvtap, ipvlan");
            }
            match words.request() {
                Ok(request) => {
                    self.attachment(&request, &at);
                    self.below(&request, bridges, &at);
                    all.push(WantedAttachment { request, how: words.how() });
                }
                Err(errors) => errors.into_iter().for_each(|(key, error)| self.wrong(&at(key), error)),
            }
        }
        all
    }

    fn attachment(&mut self, request: &AttachRequest, at: &dyn Fn(&'static str) -> Place) {
        if let HostIf::Guest(end) = &request.host_if {
            self.wrong(&at("host_if"), format!("a link to {end} stands in links, with both its ends"));
        }
        self.interface(&at("guest_if"), &request.guest, &guest_if(request), &request.addr.addrs);
        let net = network(request, &request.host_if.to_string());
        if request.host_if.to_string() != "dummy" && !request.force {
            request.addr.addrs.iter().for_each(|addr| self.once(&at("addresses"), format!("address {} on {net}", addr.ip())));
        }
        if let Some(mac) = request.mac {
            self.once(&at("mac"), format!("MAC address {mac} on {net}"));
        }
        if let Some(name) = &request.local_if {
            self.once(&at("local_if"), format!("host interface {name}"));
        }
    }

    /// What the bridges are described as decides what can be on them.
    fn below(&mut self, request: &AttachRequest, bridges: &mut [WantedBridge], at: &dyn Fn(&'static str) -> Place) {
        let host_if = request.host_if.to_string();
        if let Some(bridge) = bridges.iter().find(|bridge| bridge.uplinks.iter().any(|nic| nic.as_str() == host_if)) {
            self.wrong(&at("host_if"), format!("{host_if} is an uplink of {0}: attach to {0}", bridge.name));
        }
        if let Some(bridge) = bridges.iter_mut().find(|bridge| request.tag.is_some() && bridge.name.as_str() == host_if) {
            bridge.is_tagged = bridge.vlan_filtering.unwrap_or(true);
            if !bridge.is_tagged {
                self.wrong(&at("vlan"), format!("{host_if} is described with vlan_filtering = false: make it true, or leave it out"));
            }
        }
    }

    /// An interface is one guest's once, and so are its addresses.
    fn interface(&mut self, place: &Place, guest: &GuestRef, name: &IfName, addrs: &[IfAddr]) {
        self.once(place, format!("{name} of guest {guest}"));
        let place = Place { key: Some(if place.list == "links" { "ends" } else { "addresses" }), ..place.clone() };
        addrs.iter().for_each(|addr| self.once(&place, format!("address {} of guest {guest}", addr.ip())));
    }

    fn links(&mut self, links: &[Link]) -> Vec<PairRequest> {
        let mut all = Vec::new();
        for (index, link) in links.iter().enumerate() {
            let at = |key| Place { list: "links", index, key: Some(key) };
            match link.request() {
                Ok(request) => {
                    let [first, second] = &request.ends;
                    if first.at.guest == second.at.guest {
                        self.wrong(&at("ends"), format!("both ends are {}'s: name two guests", first.at.guest));
                    }
                    for end in &request.ends {
                        self.interface(&at("ends"), &end.at.guest, &end.at.interface, &end.addr.addrs);
                        end.addr
                            .addrs
                            .iter()
                            .for_each(|addr| self.once(&at("ends"), format!("address {} on link {}", addr.ip(), index + 1)));
                    }
                    all.push(request);
                }
                Err(errors) => errors.into_iter().for_each(|(key, error)| self.wrong(&at(key), error)),
            }
        }
        all
    }
}
