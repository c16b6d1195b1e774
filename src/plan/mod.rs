//! Planning: from what is asked and what is there to an ordered list of steps, or the reason why not. Pure.

mod access;
mod addressing;
mod bridge;
mod conflict;
mod converge;
mod detach;
mod differences;
mod doctor;
mod error;
pub mod execute;
mod firewall;
mod hints;
mod host_bridge;
mod lease;
mod link;
mod log;
mod nic;
mod offer;
mod ovs;
mod pair;
mod same;
mod settings;
mod sharing;
#[cfg(test)]
mod tests;
mod uplink;
mod vlan;
mod vxlan;
mod wifi;

pub use access::{AccessRefusal, removal};
pub use bridge::MAX_PORTS;
pub use converge::converge;
pub use detach::{GuestNow, detach, inherit, inherit_up, settled};
pub use differences::differences;
pub use doctor::{between, diagnose, way_out_mtu};
pub use error::PlanError;
pub use hints::hint;
pub use host_bridge::{BridgeError, BridgePlan, host_bridge, merged, unwanted};
pub use lease::{LeaseTarget, lease, renewed};
pub use log::{Past, leftovers, then};
pub use offer::{brought, offer};
pub use pair::{Differs, PairError, pair, steps_of};
pub use settings::SettingError;
pub use sharing::SharingError;
pub use uplink::{UplinkError, UplinkPlan, over_nic, taken_down};
pub use vlan::VlanError;
pub use vxlan::{over_vxlan, with_peers};

use std::net::IpAddr;

use crate::model::access::Grant;
use crate::model::dynamic::Dynamic;
use crate::model::facts::{self, Facts, Layer, LinkFacts, LinkKind, Names};
use crate::model::op::{NewLink, Op};
use crate::model::request::{AttachRequest, HostIf};
use crate::model::sharing::Sharing;
use crate::model::types::{Family, IfName, LinkRef, MacAddr};

/// Where a new link is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Birth {
    /// In the guest, under its final name: one message, nothing to see on the host.
    #[default]
    Guest,
    /// On the host under a temporary name, then moved and renamed: the original's way, for kernels that cannot do better.
    Host,
}

/// An ordered list of steps that fits what was observed. Only [`plan`] and its like make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    ops: Vec<Op>,
    warnings: Vec<String>,
    guest_if: IfName,
    host_if: String,
    announce: Option<Announce>,
    access: Option<Grant>,
}

/// What is to be told to the neighbours once the link is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The guest's interface.
    pub guest_if: IfName,
    /// The port on the host that has to forward first; none when there is no bridge.
    pub port: Option<IfName>,
}

impl Plan {
    /// Nothing to do.
    fn nothing(request: &AttachRequest, facts: &Facts, kind: Kind) -> Self {
        let host_if = facts.host.link.as_ref().map_or_else(|| request.host_if.to_string(), |link| link.name.clone());
        Self { ops: Vec::new(), warnings: Vec::new(), guest_if: guest_if(request, kind), host_if, announce: None, access: None }
    }

    /// Steps about a bridge of the host's and its port.
    pub fn of_host(bridge: &IfName, port: &IfName, ops: Vec<Op>) -> Self {
        Self { ops, warnings: Vec::new(), guest_if: bridge.clone(), host_if: port.to_string(), announce: None, access: None }
    }

    /// The steps; none when everything is already as asked.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// What the user should know although it can be done.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the interface is made, or moved to where it belongs.
    pub fn makes_link(&self) -> bool {
        let makes = |op: &Op| {
            matches!(
                op,
                Op::AddVeth { .. }
                    | Op::AddPair { .. }
                    | Op::AddShared { .. }
                    | Op::AddIpoib { .. }
                    | Op::AddDummy { .. }
                    | Op::MoveLink { .. }
                    | Op::MovePhy { .. }
            )
        };
        self.ops.iter().any(makes)
    }

    /// The interface in the guest.
    pub fn guest_if(&self) -> &IfName {
        &self.guest_if
    }

    /// The host interface, as it is called on this host.
    pub fn host_if(&self) -> &str {
        &self.host_if
    }

    /// The host's access to the guest, when it is asked for.
    pub fn access(&self) -> Option<&Grant> {
        self.access.as_ref()
    }

    /// Whom to tell, if anybody.
    pub fn announce(&self) -> Option<&Announce> {
        self.announce.as_ref()
    }
}

/// What the first word of a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A Linux bridge, or the name of one to be made.
    Bridge,
    /// A bridge of Open vSwitch, or the name of one to be made.
    Ovs,
    /// A NIC: macvlan on it, or itself.
    Nic,
    /// An InfiniBand interface.
    Ipoib,
    /// The word dummy.
    Dummy,
    /// The other end of a link between two guests.
    Pair,
}

/// Plans an attach.
///
/// # Errors
/// Whatever would make the attach fail and can be known beforehand; see [`PlanError`].
pub fn plan(request: &AttachRequest, facts: &Facts, birth: Birth) -> Result<Plan, PlanError> {
    if facts.guest.shares_host {
        return Err(PlanError::GuestIsHost { guest: facts.guest.id.name.clone() });
    }
    if let Some(moved) = same::moved_before(request, facts) {
        return same::unchanged(request, facts, moved, Kind::Nic);
    }
    let kind = kind_of(request, facts)?;
    let guest_if = guest_if(request, kind);
    let job = Job { request, facts, birth: possible(birth, &guest_if, request, facts), names: Names::of(&facts.guest.id), guest_if };
    job.check_options(kind)?;
    if let Some(existing) = &facts.guest.link {
        let mut plan = same::unchanged(request, facts, existing, kind)?;
        plan.access = access::grant(&job)?;
        plan.ops.extend(access::ops(&job, plan.access.as_ref())?);
        return Ok(plan);
    }
    addressing::check(&job)?;
    let mut ops = match kind {
        Kind::Bridge => bridge::ops(&job)?,
        Kind::Ovs => ovs::ops(&job)?,
        Kind::Nic => nic::ops(&job)?,
        Kind::Ipoib => link::ipoib(&job)?,
        Kind::Dummy => link::dummy(&job)?,
        Kind::Pair => return Err(PairError::of_one(request).into()),
    };
    let access = access::grant(&job)?;
    let last = ops.pop_if(|op| matches!(op, Op::DelLink { .. }));
    ops.extend(addressing::ops(&job, kind));
    ops.extend(access::ops(&job, access.as_ref())?);
    ops.extend(last);
    if kind == Kind::Ipoib {
        ops.extend(link::returned(&job));
    }
    Ok(Plan { ops, warnings: job.warnings(kind), host_if: job.host_name(), announce: job.announce(kind), guest_if: job.guest_if, access })
}

/// What the first word is: what the host has of that name decides, then how the name begins.
fn kind_of(request: &AttachRequest, facts: &Facts) -> Result<Kind, PlanError> {
    let unknown = || PlanError::UnknownInterface { name: request.host_if.to_string() };
    let in_database = facts.host.ovs.as_ref().is_some_and(|ovs| ovs.bridge.is_some());
    if in_database && facts.host.link.as_ref().is_none_or(|link| link.kind != LinkKind::Bridge) {
        return Ok(Kind::Ovs);
    }
    if let Some(link) = &facts.host.link {
        return match (&link.kind, link.layer) {
            (LinkKind::Bridge, _) => Ok(Kind::Bridge),
            (_, Layer::Infiniband) => Ok(Kind::Ipoib),
            _ if link.name == "lo" => Err(PlanError::NotEthernet { name: link.name.clone() }),
            (_, Layer::Other) if !request.direct_phys => Err(PlanError::NotEthernet { name: link.name.clone() }),
            _ => Ok(Kind::Nic),
        };
    }
    if let HostIf::Guest(_) = &request.host_if {
        return Ok(Kind::Pair);
    }
    let name = match &request.host_if {
        HostIf::Name(name) => name,
        _ => return Err(PlanError::NoSuchMac { text: request.host_if.to_string() }),
    };
    let begins = |prefix| name.as_str().starts_with(prefix);
    if begins("br") {
        Ok(Kind::Bridge)
    } else if begins("ovs") {
        Ok(Kind::Ovs)
    } else if begins("dummy") {
        Ok(Kind::Dummy)
    } else {
        Err(unknown())
    }
}

/// The kernel looks for a new link's name on this side, even when it is to be another's (rtnl_newlink, EEXIST): a guest's eth1 on
/// the host's eth1 is born on the host.
fn possible(birth: Birth, guest_if: &IfName, request: &AttachRequest, facts: &Facts) -> Birth {
    let host = facts.host.link.as_ref().filter(|link| link.kind != LinkKind::Bridge && !request.direct_phys);
    if host.is_some_and(|link| link.name == guest_if.as_str()) { Birth::Host } else { birth }
}

fn guest_if(request: &AttachRequest, kind: Kind) -> IfName {
    match (&request.guest_if, kind) {
        (None, Kind::Ipoib) => IfName::made("ib0"),
        _ => facts::guest_if(request),
    }
}

/// One planning job: the arguments that every part of it needs.
struct Job<'a> {
    request: &'a AttachRequest,
    facts: &'a Facts,
    birth: Birth,
    names: Names,
    guest_if: IfName,
}

impl Job<'_> {
    /// The host interface's name on this host.
    fn host_name(&self) -> String {
        match &self.facts.host.link {
            Some(link) => link.name.clone(),
            None => self.request.host_if.to_string(),
        }
    }

    /// The host interface's name as a checked one.
    fn host_if(&self) -> Result<IfName, PlanError> {
        Ok(self.host_name().parse::<IfName>()?)
    }

    /// The NIC, or its VLAN child, that the guest's link lies on or is; none when it is to be made.
    fn base(&self) -> Option<&LinkFacts> {
        let host = &self.facts.host;
        if self.request.tag.is_some() { host.vlan_link.as_ref().or(host.link.as_ref()) } else { host.link.as_ref() }
    }

    /// The guest's new link where it is born, with the steps that then bring it to its place.
    fn newborn(&self, prefix: &str, mtu: Option<u32>, mac: Option<MacAddr>) -> (NewLink, Vec<Op>) {
        let place = LinkRef::guest(&self.guest_if);
        if self.birth == Birth::Guest {
            return (NewLink { at: place, mtu, mac }, Vec::new());
        }
        let passing = self.names.passing(prefix, &self.guest_if);
        let moves = vec![
            Op::MoveLink { from: LinkRef::host(&passing), to: LinkRef::guest(&passing), before: None },
            Op::RenameLink { link: LinkRef::guest(&passing), name: self.guest_if.clone() },
        ];
        (NewLink { at: LinkRef::host(&passing), mtu, mac }, moves)
    }

    /// Options that contradict the kind.
    fn check_options(&self, kind: Kind) -> Result<(), PlanError> {
        sharing::check_options(self, kind)?;
        settings::check(self)?;
        access::check(self, kind)?;
        match kind {
            Kind::Bridge => vlan::wanted(self).map(|_| ()),
            Kind::Ovs => ovs::wanted_vlans(self.request, None).map(|_| ()),
            Kind::Ipoib if self.request.mac.is_some() => Err(PlanError::IpoibMac),
            Kind::Ipoib if matches!(self.request.dynamic, Some(Dynamic::Dhcp { .. })) => {
                Err(PlanError::DhcpNeedsEthernet { name: self.host_name() })
            }
            Kind::Dummy if self.request.dynamic.is_some() => Err(PlanError::DummyDynamic),
            Kind::Dummy if self.request.tag.is_some() => Err(PlanError::DummyVlan),
            _ => Ok(()),
        }
    }

    fn warnings(&self, kind: Kind) -> Vec<String> {
        let mut warnings = Vec::new();
        let host_if = self.host_name();
        if !matches!(kind, Kind::Bridge | Kind::Ovs) && self.request.local_if.is_some() {
            warnings.push(format!("-l has no effect: {host_if} is no bridge, so there is no host end to name"));
        }
        if kind != Kind::Nic && self.request.direct_phys {
            warnings.push(format!("--direct-phys has no effect: {host_if} is not a NIC"));
        }
        warnings.extend(conflict::warning(self, kind));
        if self.request.vlan_filtering && (kind != Kind::Bridge || self.request.tag.is_none()) {
            warnings.push(format!("--vlan-filtering has no effect: it is for a VLAN on a bridge, like {host_if} ... @10"));
        }
        warnings.extend(settings::warnings(self, kind));
        match kind {
            Kind::Bridge => warnings.extend(self.bridge_warning(&host_if).into_iter().chain(vlan::warnings(self))),
            Kind::Nic => warnings.extend(sharing::warnings(self).into_iter().chain(access::warning(self))),
            Kind::Ovs => warnings.extend(self.ovs_warning(&host_if)),
            Kind::Ipoib | Kind::Dummy | Kind::Pair => {}
        }
        warnings
    }

    fn bridge_warning(&self, bridge: &str) -> Option<String> {
        match (&self.facts.host.link, self.unknown_gateway()) {
            (Some(link), _) if !link.up => Some(format!("bridge {bridge} is down: nothing passes until you type: ip link set {bridge} up")),
            (None, Some(gateway)) => Some(format!(
                "bridge {bridge} is new and has no uplink: gateway {gateway} cannot be reached until you give it one (ip link set NIC master {bridge}{}) or the address (ip addr add {gateway}/{} dev {bridge})",
                vlan::uplink_commands(self),
                self.request.addr.of(Family::of(gateway)).next().map_or(Family::of(gateway).host_prefix(), |a| a.prefix()),
            )),
            _ => None,
        }
    }

    /// The first gateway that is none of the host's own addresses.
    fn unknown_gateway(&self) -> Option<IpAddr> {
        self.request.addr.gateways.iter().copied().find(|gateway| !self.facts.host.owns(gateway))
    }

    /// The VLAN as typed.
    fn tag_text(&self) -> String {
        self.request.tag.as_ref().map(|tag| format!("@{tag}")).unwrap_or_default()
    }

    fn ovs_warning(&self, bridge: &str) -> Option<String> {
        let gateway = self.unknown_gateway()?;
        let is_new = self.facts.host.ovs.as_ref().is_none_or(|ovs| ovs.bridge.is_none());
        is_new.then(|| {
            format!(
                "Open vSwitch bridge {bridge} is new and has no uplink: gateway {gateway} cannot be reached until you give it one (ovs-vsctl add-port {bridge} NIC)"
            )
        })
    }

    /// Nothing is announced without an address, on InfiniBand, on a link that leads nowhere, or where there is no ARP.
    fn announce(&self, kind: Kind) -> Option<Announce> {
        let silent = self.request.sharing.as_ref().is_some_and(Sharing::is_layer3);
        if silent || (self.request.addr.addrs.is_empty() && self.request.dynamic.is_none()) {
            return None;
        }
        match kind {
            Kind::Bridge | Kind::Ovs => Some(Announce { guest_if: self.guest_if.clone(), port: Some(self.names.host_end(self.request)) }),
            Kind::Nic => Some(Announce { guest_if: self.guest_if.clone(), port: None }),
            Kind::Ipoib | Kind::Dummy | Kind::Pair => None,
        }
    }
}
