//! CHECK and STATUS: whether an attachment is as it was made, and whether another could be made.

use super::del::is;
use super::{Done, Plugin, fault};
use crate::kernel::privilege;
use crate::lifecycle::{self, AttachError, Checked};
use crate::model::cni::{Addressing, CniError, Code, Ipam, Success};
use crate::model::difference::{Difference, Field};
use crate::model::request::HostIf;
use crate::model::types::{IfAddr, IfName};

impl Plugin {
    pub(super) fn check(&self) -> Result<Done, CniError> {
        let key = self.key()?;
        let made = key.made();
        let previous = self.conf.previous.as_ref().ok_or_else(|| CniError::configuration("prevResult", "CHECK needs what ADD answered"))?;
        let what = format!("check {}", made.as_str());
        let checked = lifecycle::check_sandbox(&self.sandbox()?, made, |name| is(key, name), &Self::options(&self.conf.words.how()));
        let checked = checked.map_err(|error| match error {
            AttachError::NotRecorded { .. } => CniError::new(Code::Differs, format!("{what}: there is no such attachment: {key}")),
            error => fault::attach(&what, &error),
        })?;
        let mut wrong: Vec<String> = checked
            .report
            .differences
            .iter()
            .filter(|difference| !is_later(difference, previous, &checked))
            .map(ToString::to_string)
            .collect();
        wrong.extend(missing(previous, made, &self.netns(), &checked));
        if !wrong.is_empty() {
            return Err(CniError::new(Code::Differs, what).with(wrong.join("; ")));
        }
        match &self.conf.ipam {
            Ipam::None => {}
            Ipam::BuiltIn(own) => self.check_claims(own, &checked.name.parse().or_else(|_| self.owner())?)?,
            Ipam::Delegated(plugin) => drop(self.delegate(plugin, "CHECK")?),
        }
        Ok(Done::default())
    }

    pub(super) fn status(&self) -> Result<Done, CniError> {
        let not_available = |why: String| CniError::new(Code::NotAvailable, "the plugin is not available").with(why);
        privilege::check().map_err(|error| not_available(error.to_string()))?;
        let container = "status".parse()?;
        let interface = "eth0".parse::<IfName>().map_err(|error| not_available(error.to_string()))?;
        let key = self.conf.key(container, interface, None)?;
        let bare = Addressing::default();
        let given = if self.conf.ipam == Ipam::None { None } else { Some(&bare) };
        let (request, _) = self.conf.request(&key, "/proc/self/ns/net", given)?;
        if let HostIf::Name(name) = &request.host_if
            && !is_made_when_absent(name)
            && !lifecycle::has_link(name).map_err(|error| fault::attach("status", &error))?
        {
            return Err(not_available(format!("there is no interface {name} here", name = name.as_str())));
        }
        match &self.conf.ipam {
            Ipam::None => {}
            Ipam::BuiltIn(own) => self.has_room(own).map_err(not_available)?,
            Ipam::Delegated(plugin) => drop(self.delegate(plugin, "STATUS")?),
        }
        Ok(Done::default())
    }
}

/// Names that an attach makes something of, when there is nothing.
fn is_made_when_absent(name: &IfName) -> bool {
    name.as_str() == "dummy" || ["br", "ovs"].iter().any(|beginning| name.as_str().starts_with(beginning))
}

/// Whether a plugin behind this one has changed it: then the last result has it as it is.
fn is_later(difference: &Difference, previous: &Success, checked: &Checked) -> bool {
    let Some(link) = &checked.link else { return false };
    let told = previous.interfaces.iter().find(|interface| interface.name == link.name && !interface.sandbox.is_empty());
    match difference.field {
        Field::Mac => told.is_some_and(|told| link.mac.is_some_and(|mac| told.mac.eq_ignore_ascii_case(&mac.to_string()))),
        Field::Mtu | Field::HostEndMtu => told.is_some_and(|told| told.mtu.is_none_or(|mtu| mtu == link.mtu)),
        Field::Route | Field::DefaultRoute => previous.routes.is_empty(),
        _ => false,
    }
}

/// What the last result has, and the container has not.
fn missing(previous: &Success, made: &IfName, netns: &str, checked: &Checked) -> Vec<String> {
    let name = made.as_str();
    let Some(at) = previous.interfaces.iter().position(|interface| interface.name == name && interface.sandbox == netns) else {
        return vec![format!("prevResult has no interface {name} in {netns}")];
    };
    let Some(link) = &checked.link else { return vec![format!("there is no interface {name}")] };
    let mut wrong = Vec::new();
    let told = previous.interfaces.get(at).map(|told| told.mac.as_str()).filter(|mac| !mac.is_empty());
    if let (Some(told), Some(mac)) = (told, link.mac)
        && !told.eq_ignore_ascii_case(&mac.to_string())
    {
        wrong.push(format!("{name} has MAC address {mac}, and prevResult {told}"));
    }
    for ip in previous.ips.iter().filter(|ip| ip.interface == Some(at)) {
        let is_there = ip.address.parse::<IfAddr>().is_ok_and(|addr| checked.addresses.contains(&addr));
        if !is_there {
            wrong.push(format!("{name} has no address {}", ip.address));
        }
    }
    wrong
}
