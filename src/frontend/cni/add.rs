//! ADD: the interface, and its addresses by whoever gives them. Of one that fails nothing is left.

use super::ipam::Given;
use super::{Done, Plugin, fault, printed};
use crate::lifecycle::{self, Attached, DetachOptions, Links, Options};
use crate::model::cni::{Addressing, CniError, Dns, Interface, Ip, Ipam, Route, Source, Success, wanted_routes};
use crate::model::facts::LinkFacts;
use crate::model::request::AttachRequest;
use crate::plan::execute::Event;

fn ignore(_: Event<'_>) {}

impl Plugin {
    pub(super) fn add(mut self) -> Result<Done, CniError> {
        self.conf.check_chain(self.key()?)?;
        self.owner()?;
        match self.conf.ipam.clone() {
            Ipam::None => self.add_fixed(),
            Ipam::BuiltIn(own) => {
                let is_named = own.sources.iter().any(|source| matches!(source, Source::Named(_)));
                if is_named && self.conf.words.dad.is_none() {
                    // As an attach with an address of a pool does: the network is asked whether somebody has it all the same.
                    self.conf.words.dad = Some("fail".to_owned());
                }
                let given = self.claim(&own)?;
                self.add_given(&given).inspect_err(|_| given.give_back())
            }
            Ipam::Delegated(plugin) => self.add_delegated(&plugin),
        }
    }

    fn what(&self) -> String {
        self.attachment.as_ref().map(|key| format!("attach {}", key.made().as_str())).unwrap_or_default()
    }

    fn attach(&self, request: &AttachRequest, options: Options) -> Result<Attached, CniError> {
        let options = Options { only_new: true, ..options };
        lifecycle::attach_sandbox(&self.sandbox()?, request, &options, &mut ignore).map_err(|error| fault::attach(&self.what(), &error))
    }

    /// With the configuration's addresses, if any. Such as are of a pool are claimed of it.
    fn add_fixed(&self) -> Result<Done, CniError> {
        let (request, how) = self.conf.request(self.key()?, &self.netns(), None)?;
        let options = Options { claims: Some(self.claims.clone()), ..Self::options(&how) };
        let attached = self.attach(&request, options)?;
        let report = &attached.report;
        let gateways = &report.gateways;
        let near = |ip: &crate::model::types::IfAddr| gateways.iter().copied().find(|gateway| ip.contains(*gateway));
        let addresses = report.addresses.iter().map(|ip| (*ip, near(ip))).collect();
        let mut dns = self.conf.dns.clone();
        if let Some(lease) = report.lease.as_ref().filter(|_| dns.is_empty()) {
            dns.nameservers = lease.dns.iter().map(ToString::to_string).collect();
            dns.domain = lease.domain.clone().unwrap_or_default();
            dns.search.clone_from(&lease.search);
        }
        let given = Addressing { addresses, routes: wanted_routes(gateways), dns, ..Addressing::default() };
        self.done(attached, &given)
    }

    fn add_given(&self, given: &Given) -> Result<Done, CniError> {
        let (request, how) = self.conf.request(self.key()?, &self.netns(), Some(&given.addressing))?;
        let attached = self.attach(&request, Self::options(&how))?;
        self.done(attached, &given.addressing)
    }

    /// The plugin may need the interface to get an address by: it is made first, and given the address then.
    fn add_delegated(&self, plugin: &str) -> Result<Done, CniError> {
        let bare = Addressing::default();
        let (request, how) = self.conf.request(self.key()?, &self.netns(), Some(&bare))?;
        drop(self.attach(&request, Options { tell_links: false, ..Self::options(&how) })?);
        let addressing = self.delegate_add(plugin).inspect_err(|_| self.take_back())?;
        self.give(&addressing).inspect_err(|_| {
            self.take_back();
            let _ = self.delegate(plugin, "DEL");
        })
    }

    fn give(&self, addressing: &Addressing) -> Result<Done, CniError> {
        let (request, how) = self.conf.request(self.key()?, &self.netns(), Some(addressing))?;
        let attached = lifecycle::replace_sandbox(&self.sandbox()?, &request, &Self::options(&how), &mut ignore);
        let dns = if self.conf.dns.is_empty() { addressing.dns.clone() } else { self.conf.dns.clone() };
        self.done(attached.map_err(|error| fault::attach(&self.what(), &error))?, &Addressing { dns, ..addressing.clone() })
    }

    /// The interface goes again. What of it stays is taken away by the DEL that follows an ADD that failed.
    fn take_back(&self) {
        let (Ok(sandbox), Ok(key)) = (self.sandbox(), self.key()) else { return };
        let options = DetachOptions { run_dir: crate::state::run_dir(), ..DetachOptions::default() };
        let _ = lifecycle::release_sandbox(&sandbox, key.made(), |name| name == sandbox.name, options, &mut ignore);
    }

    fn done(&self, attached: Attached, given: &Addressing) -> Result<Done, CniError> {
        let success = self.success(&attached, attached.links.clone().unwrap_or_default(), given);
        let document = printed(&success).inspect_err(|_| self.take_back())?;
        Ok(Done { document: Some(document), warnings: attached.report.warnings, announcement: attached.announcement })
    }

    fn success(&self, attached: &Attached, links: Links, given: &Addressing) -> Success {
        let netns = self.netns();
        let told = |link: &LinkFacts, sandbox: &str| {
            Interface::new(&link.name, link.mac.map(|mac| mac.to_string()), Some(link.mtu).filter(|mtu| *mtu > 0), sandbox)
        };
        let mut interfaces: Vec<Interface> = [links.bridge, links.host].into_iter().flatten().map(|link| told(&link, "")).collect();
        let own = links.guest.map(|link| told(&link, &netns));
        interfaces.push(own.unwrap_or_else(|| Interface::new(attached.report.interface.as_str(), None, None, &netns)));
        let at = interfaces.len() - 1;
        let ips = given.addresses.iter().map(|(addr, gateway)| Ip::new(addr.to_string(), *gateway, Some(at))).collect();
        let dns: Dns = given.dns.clone();
        let routes: Vec<Route> = given.routes.clone();
        let before = self.conf.previous.clone().unwrap_or_default();
        before.and(interfaces, ips, routes, dns).as_of(self.conf.version)
    }
}
