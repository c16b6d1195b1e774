//! Making an interface that is there be as asked: in place, by the fewest steps, each of which can be taken back.

use std::net::IpAddr;

use super::addressing::{default_route, way_to};
use super::differences::{first_default, missing, of_link, surplus, wanted_mac, wanted_mtu};
use super::same::moved_before;
use super::{Birth, Job, Kind, Names, Past, Plan, PlanError, access, conflict, guest_if, kind_of, ovs, plan, settings, vlan};
use crate::model::difference::{Difference, Field};
use crate::model::facts::{Facts, LinkFacts};
use crate::model::op::{NewRoute, Op};
use crate::model::ovs::OvsBridge;
use crate::model::request::AttachRequest;
use crate::model::types::{Family, IfAddr, IfName, LinkRef, Side};

/// Plans what makes an interface as asked. What the kernel changes in place is changed so, without the link going down; a link
/// of another kind, or on another parent, is taken away and made anew; one that is gone is made.
///
/// # Errors
/// As [`plan`].
pub fn converge(request: &AttachRequest, facts: &Facts, past: &Past<'_>, birth: Birth) -> Result<Plan, PlanError> {
    if facts.guest.shares_host {
        return Err(PlanError::GuestIsHost { guest: facts.guest.id.name.clone() });
    }
    let Some(link) = &facts.guest.link else { return plan(request, facts, birth) };
    let kind = match moved_before(request, facts) {
        Some(_) => Kind::Nic,
        None => kind_of(request, facts).or_else(|error| past.kind().ok_or(error))?,
    };
    let differences = of_link(request, facts, link, kind, past)?;
    if differences.iter().any(|difference| difference.field.is_for_life()) {
        return anew(request, facts, past, birth);
    }
    let job = Job { request, facts, birth, names: Names::of(&facts.guest.id), guest_if: guest_if(request, kind) };
    let mut steps = Steps { job, link, kind, past, differences, ops: Vec::new() };
    steps.check()?;
    steps.ground()?;
    steps.host_end()?;
    steps.guest_link();
    steps.addresses()?;
    steps.settings();
    steps.finish()
}

struct Steps<'a> {
    job: Job<'a>,
    link: &'a LinkFacts,
    kind: Kind,
    past: &'a Past<'a>,
    differences: Vec<Difference>,
    ops: Vec<Op>,
}

impl<'a> Steps<'a> {
    fn differs(&self, field: Field) -> bool {
        self.differences.iter().any(|difference| difference.field == field)
    }

    /// What can never be, as for an attach. A bridge that we made filter VLANs may be made to again.
    fn check(&self) -> Result<(), PlanError> {
        let of_others = self.job.facts.host.link.as_ref().is_none_or(|bridge| !self.past.made_filter(&bridge.name));
        if self.kind != Kind::Bridge || of_others {
            self.job.check_options(self.kind)?;
        }
        let is_wanted = |ip: IpAddr| self.job.request.addr.addrs.iter().any(|wanted| wanted.ip() == ip);
        let taken = self.job.facts.guest.addrs.iter().find(|a| a.index != self.link.index && is_wanted(a.addr.ip()));
        taken.map_or(Ok(()), |taken| {
            let dev = taken.dev.clone().unwrap_or_else(|| format!("interface {}", taken.index));
            Err(PlanError::GuestHasAddress { addr: taken.addr.to_string(), dev })
        })
    }

    /// What the link lies on: a bridge that is there again, a parent that is up.
    fn ground(&mut self) -> Result<(), PlanError> {
        let (request, facts) = (self.job.request, self.job.facts);
        match (self.kind, &facts.host.link) {
            (Kind::Bridge, None) => {
                let (name, vlan_filtering) = (self.job.host_if()?, request.tag.is_some());
                self.ops.push(Op::AddBridge { name, mac: facts.fresh_mac, vlan_filtering });
            }
            (Kind::Ovs, _) if facts.host.ovs.as_ref().is_none_or(|ovs| ovs.bridge.is_none()) => {
                self.ops.push(Op::AddOvsBridge { name: self.job.host_if()? });
            }
            _ => {}
        }
        let bridge = facts.host.link.as_ref().filter(|_| self.differs(Field::BridgeState));
        let parents = [&facts.host.link, &facts.host.vlan_link].into_iter().flatten().filter(|_| self.differs(Field::ParentState));
        let down: Vec<&LinkFacts> = bridge.into_iter().chain(parents.filter(|parent| !parent.up)).collect();
        for link in down {
            self.ops.push(Op::SetUp { link: LinkRef::host(&link.name.parse()?) });
        }
        Ok(())
    }

    fn host_end(&mut self) -> Result<(), PlanError> {
        let (request, facts) = (self.job.request, self.job.facts);
        let Some(peer) = facts.host.peer.as_ref().filter(|_| matches!(self.kind, Kind::Bridge | Kind::Ovs)) else { return Ok(()) };
        let mut port: IfName = peer.name.parse()?;
        if let Some(name) = self.past.host_end(request).filter(|_| self.differs(Field::HostEndName)) {
            self.ops.push(Op::RenameLink { link: LinkRef::host(&port), name: name.clone() });
            port = name;
        }
        if self.kind == Kind::Bridge {
            self.bridge_port(peer, &port)?;
        } else {
            self.ovs_port(&port)?;
        }
        let bridge_mtu = facts.host.link.as_ref().map_or(super::bridge::DEFAULT_MTU, |bridge| bridge.mtu);
        let link = LinkRef::host(&port);
        if self.differs(Field::HostEndMtu) {
            let mtu = wanted_mtu(request, bridge_mtu).max(bridge_mtu);
            self.ops.push(Op::SetMtu { link: link.clone(), mtu, before: Some(peer.mtu) });
        }
        if let Some(mac) = request.settings.link_mac.filter(|_| self.differs(Field::HostEndMac)) {
            self.ops.push(Op::SetMac { link: link.clone(), mac, before: peer.mac });
        }
        if self.differs(Field::HostEndState) {
            self.ops.push(Op::SetUp { link });
        }
        Ok(())
    }

    fn bridge_port(&mut self, peer: &LinkFacts, port: &IfName) -> Result<(), PlanError> {
        let bridge = self.job.host_if()?;
        if self.differs(Field::HostEnd) {
            let before = self.job.facts.host.peer_bridge.clone();
            self.ops.push(Op::SetBridge { port: port.clone(), bridge: Some(bridge.clone()), before });
            // It has there what a new port has.
            let wanted = self.job.request.tag.as_ref().map(|tag| tag.port()).transpose()?;
            self.ops.extend(wanted.iter().flat_map(|wanted| vlan::ops(&self.job, &bridge, port, wanted)));
            return Ok(());
        }
        let Some(vlans) = &self.job.facts.host.vlans else { return Ok(()) };
        if self.differs(Field::Vlan) {
            self.ops.extend(vlan::changes(self.job.request, vlans, peer, port)?);
        }
        if self.differs(Field::VlanFiltering) {
            self.ops.push(Op::SetVlanFiltering { bridge, on: true, ports: self.job.facts.host.ports });
        }
        Ok(())
    }

    fn ovs_port(&mut self, port: &IfName) -> Result<(), PlanError> {
        let known = self.job.facts.host.ovs.as_ref();
        let row = known.and_then(|ovs| ovs.port.as_ref()).filter(|row| row.name == port.as_str());
        let bridge = known.and_then(|ovs| ovs.bridge.as_ref());
        let vlans = ovs::wanted_vlans(self.job.request, bridge)?;
        if self.differs(Field::HostEnd) {
            let typed = self.job.host_if()?;
            let bridge = match bridge {
                Some(OvsBridge::Fake { parent, .. }) => parent.parse::<IfName>()?,
                _ => typed.clone(),
            };
            self.ops.push(Op::AddOvsPort { port: ovs::port(&self.job, &typed, bridge, port, vlans)? });
        } else if let Some(row) = row.filter(|_| self.differs(Field::Vlan)) {
            self.ops.push(Op::SetOvsVlans { port: port.clone(), vlans, before: row.vlans.clone() });
        }
        Ok(())
    }

    fn guest_link(&mut self) {
        let (request, link) = (self.job.request, LinkRef::guest(&self.job.guest_if));
        if let (true, Ok(old)) = (self.differs(Field::Name), self.link.name.parse()) {
            self.ops.push(Op::RenameLink { link: LinkRef::guest(&old), name: self.job.guest_if.clone() });
        }
        if let Some(mtu) = self.wanted_of(Field::Mtu).and_then(|mtu| mtu.parse().ok()) {
            self.ops.push(Op::SetMtu { link: link.clone(), mtu, before: Some(self.link.mtu) });
        }
        if let Some(mac) = wanted_mac(request, self.past, self.kind).filter(|_| self.differs(Field::Mac)) {
            self.ops.push(Op::SetMac { link: link.clone(), mac, before: self.link.mac });
        }
        if let Some(packets) = request.settings.txqueuelen.filter(|_| self.differs(Field::Txqueuelen)) {
            self.ops.push(Op::SetQueueLen { link, packets, before: Some(self.link.queue_len) });
        }
    }

    fn wanted_of(&self, field: Field) -> Option<&str> {
        self.differences.iter().find(|difference| difference.field == field).map(|difference| difference.wanted.as_str())
    }

    /// New addresses before old ones go, so that there is always one; the link up between them and the routes.
    fn addresses(&mut self) -> Result<(), PlanError> {
        let (request, facts) = (self.job.request, self.job.facts);
        let link = LinkRef::guest(&self.job.guest_if);
        let (new, mut old) = (missing(request, facts, self.link), surplus(request, facts, self.link, self.past));
        if facts.guest.ipv6_disabled && new.iter().any(|addr| addr.family() == Family::Inet6) {
            self.ops.push(Op::EnableIpv6 { name: self.job.guest_if.clone() });
        }
        let asked = conflict::asked_about(&self.job, self.kind, new.clone());
        let (probe, settle) = asked.map_or((None, None), |asked| (Some(asked.probe), asked.settle));
        let up = self.differs(Field::State).then(|| Op::SetUp { link: link.clone() });
        // Nobody can be asked over a link that is down.
        let (first, last) = if probe.is_some() { (up, None) } else { (None, up) };
        self.ops.extend(first.into_iter().chain(probe));
        for addr in new {
            // IPv6 has an address once only, whatever its prefix length.
            let in_the_way = |other: &IfAddr| addr.family() == Family::Inet6 && other.ip() == addr.ip();
            if let Some(at) = old.iter().position(in_the_way) {
                self.ops.push(Op::DelAddr { link: link.clone(), addr: old.remove(at) });
            }
            self.ops.push(Op::AddAddr { link: link.clone(), addr });
        }
        self.ops.extend(last.into_iter().chain(settle));
        if request.settings.table.is_none() {
            self.gateways();
        }
        self.ops.extend(old.into_iter().map(|addr| Op::DelAddr { link: link.clone(), addr }));
        Ok(())
    }

    /// Default routes that are asked for and not there; then those of ours that are not asked for any more, in whose place
    /// comes what there was before.
    fn gateways(&mut self) {
        let (request, log) = (self.job.request, self.past.log);
        for gateway in &request.addr.gateways {
            self.gateway(*gateway);
        }
        let ours = |op: &'a Op| if let Op::AddRoute { route } = op { Some(route) } else { None };
        let dynamic = request.dynamic.as_ref().map(|dynamic| dynamic.family());
        let stale = log.iter().filter_map(ours).filter(|route| route.to.is_none() && dynamic != Some(route.family()));
        for old in stale.filter(|route| request.addr.gateway_of(route.family()).is_none()) {
            if self.is_there(old) {
                self.ops.push(Op::DelNewRoute { route: old.clone() });
            }
            let before = log.iter().filter_map(|op| match op {
                Op::DelRoute { side: Side::Guest, route } if route.is_default && route.family == old.family() => Some(route.clone()),
                _ => None,
            });
            self.ops.extend(before.map(|route| Op::RestoreRoute { side: Side::Guest, route, moved: None }));
        }
        // The ways to gateways that nobody asks for any more.
        let needed: Vec<Op> = request.addr.gateways.iter().filter_map(|gateway| self.way_to(*gateway)).collect();
        let ways = log.iter().filter_map(ours).filter(|route| is_way(route, log));
        let gone = ways.filter(|route| !needed.contains(&Op::AddRoute { route: (*route).clone() }));
        let gone: Vec<Op> = gone.map(|route| Op::DelNewRoute { route: route.clone() }).collect();
        self.ops.extend(gone);
    }

    fn way_to(&self, gateway: IpAddr) -> Option<Op> {
        way_to(gateway, &self.job.request.addr.addrs, &self.job.guest_if)
    }

    fn gateway(&mut self, gateway: IpAddr) {
        let (request, facts) = (self.job.request, self.job.facts);
        let first = first_default(request, facts, gateway);
        if first.is_some_and(|route| route.gateway == Some(gateway) && route.index == Some(self.link.index)) {
            return;
        }
        let metric = request.settings.metric;
        let new = NewRoute { to: None, via: Some(gateway), dev: self.job.guest_if.clone(), metric };
        self.ops.extend(self.way_to(gateway));
        let ours = self.past.log.iter().find_map(|op| match op {
            Op::AddRoute { route } if route.to.is_none() && route.family() == new.family() && route.metric == metric => Some(route),
            _ => None,
        });
        match ours.filter(|ours| self.is_there(ours) && first.is_some_and(|first| first.gateway == ours.via)) {
            Some(ours) => self.ops.push(Op::SetRoute { route: new, before: ours.clone() }),
            None => self.ops.extend(default_route(&facts.guest.default_routes, Some(gateway), &self.job.guest_if, metric)),
        }
    }

    /// Whether a default route of ours is in place.
    fn is_there(&self, ours: &NewRoute) -> bool {
        let same = |route: &&crate::model::facts::RouteFacts| route.gateway == ours.via && route.index == Some(self.link.index);
        self.job.facts.guest.default_routes.iter().any(|route| same(&route))
    }

    /// What is asked for besides: what is not in the log is done; what is in it and not asked for is taken back first.
    fn settings(&mut self) {
        let wanted = settings::steps(&self.job, self.kind);
        let gone = self.past.log.iter().rev().filter(|op| !wanted.contains(op)).filter_map(|op| match op {
            Op::Tool { step } => Some(Op::Tool { step: step.reversed() }),
            Op::AddIfb { .. } => Some(Op::TakeBack { steps: vec![op.clone()] }),
            _ => None,
        });
        let lost = |op: &Op| !self.past.log.contains(op) || self.job.facts.guest.lost.contains(op);
        let ops: Vec<Op> = gone.chain(wanted.iter().filter(|op| lost(op)).cloned()).collect();
        self.ops.extend(ops);
    }

    fn finish(mut self) -> Result<Plan, PlanError> {
        let access = access::grant(&self.job)?;
        self.ops.extend(access::ops(&self.job, access.as_ref())?);
        let news = |op: &Op| matches!(op, Op::AddAddr { .. } | Op::SetMac { .. } | Op::SetBridge { .. } | Op::AddOvsPort { .. });
        let announce = if self.ops.iter().any(news) { self.job.announce(self.kind) } else { None };
        let warnings = if self.ops.is_empty() { Vec::new() } else { self.job.warnings(self.kind) };
        let host_if = self.job.host_name();
        Ok(Plan { ops: self.ops, warnings, host_if, announce, guest_if: self.job.guest_if, access })
    }
}

/// Whether a route of the log is there for a gateway off the subnets.
fn is_way(route: &NewRoute, log: &[Op]) -> bool {
    let leads_to = |ip: IpAddr| log.iter().any(|op| matches!(op, Op::AddRoute { route } if route.to.is_none() && route.via == Some(ip)));
    route.via.is_none() && route.to.is_some_and(|to| leads_to(to.ip()))
}

/// Takes the whole attachment back and makes it as asked: in one plan, so that the old one comes back should the new one fail.
/// The bridge or VLAN child that the old one lay on stays until all is done ([`super::leftovers`]).
fn anew(request: &AttachRequest, facts: &Facts, past: &Past<'_>, birth: Birth) -> Result<Plan, PlanError> {
    let link = facts.guest.link.as_ref();
    let interface = link.map(|link| link.name.clone()).unwrap_or_default();
    if past.log.is_empty() || request.dynamic.is_some() || past.log.iter().any(|op| matches!(op, Op::LeaseAddr { .. })) {
        return Err(PlanError::NotInPlace { guest: facts.guest.id.name.clone(), interface });
    }
    let groups = groups(&as_it_is(past.log, facts), request);
    let mut without = facts.clone();
    let gone = without.guest.link.take().map(|link| link.index);
    without.guest.addrs.retain(|addr| Some(addr.index) != gone);
    without.guest.default_routes.retain(|route| route.index != gone);
    without.host.local_link =
        without.host.local_link.filter(|local| without.host.peer.as_ref().is_none_or(|peer| peer.index != local.index));
    without.host.peer = None;
    without.host.peer_bridge = None;
    let restored = groups.iter().flat_map(|op| if let Op::TakeBack { steps } = op { steps.clone() } else { Vec::new() });
    without.guest.default_routes.extend(restored.filter_map(|op| match op {
        Op::DelRoute { side: Side::Guest, route } if route.is_default => Some(route),
        _ => None,
    }));
    if let Some(ovs) = &mut without.host.ovs {
        ovs.port = None;
    }
    let new = plan(request, &without, birth)?;
    let ops = groups.into_iter().chain(new.ops.iter().cloned()).collect();
    Ok(Plan { ops, ..new })
}

/// The log with the MAC addresses that the kernel chose, so that a link which is made again is the same to its neighbours.
fn as_it_is(log: &[Op], facts: &Facts) -> Vec<Op> {
    let (own, far) = (facts.guest.link.as_ref().and_then(|link| link.mac), facts.host.peer.as_ref().and_then(|peer| peer.mac));
    let mut log = log.to_vec();
    for op in &mut log {
        match op {
            Op::AddVeth { host_mac, guest, .. } => {
                *host_mac = host_mac.or(far);
                guest.mac = guest.mac.or(own);
            }
            Op::AddShared { sharing, link, .. } if !sharing.is_ipvlan() && !sharing.is_passthru() => link.mac = link.mac.or(own),
            Op::AddDummy { link } => link.mac = link.mac.or(own),
            _ => {}
        }
    }
    log
}

/// The log in parts that are taken back one after the other, the last first. What others may lie on stays.
fn groups(log: &[Op], request: &AttachRequest) -> Vec<Op> {
    let replaced = |family: Family| request.addr.gateway_of(family).is_some() && request.settings.metric.is_none();
    let stays = |op: &&Op| match op {
        Op::AddBridge { .. } | Op::AddOvsBridge { .. } | Op::AddVlan { .. } | Op::SetVlanFiltering { .. } => true,
        Op::SetUp { link } => link.side == Side::Host && !log.iter().any(|op| matches!(op, Op::AddVeth { host, .. } if *host == link.name)),
        // The new default route takes the same place.
        Op::DelRoute { side: Side::Guest, route } => route.is_default && replaced(route.family),
        _ => false,
    };
    let mut groups = Vec::new();
    let mut rest: Vec<Op> = log.iter().filter(|op| !stays(op)).cloned().collect();
    // A port of Open vSwitch is a row of its database, which does not go with the link.
    let apart = |op: &Op| matches!(op, Op::AddOvsPort { .. } | Op::DelRoute { .. } | Op::AddShimRoute { .. } | Op::AddShim { .. });
    for at in (0..rest.len()).rev() {
        if rest.get(at).is_some_and(apart) {
            let op = rest.remove(at);
            if matches!(op, Op::DelRoute { .. }) { groups.push(op) } else { groups.insert(0, op) }
        }
    }
    let (before, after): (Vec<Op>, Vec<Op>) = groups.into_iter().partition(|op| !matches!(op, Op::DelRoute { .. }));
    let one = |op: Op| Op::TakeBack { steps: vec![op] };
    let link = if rest.is_empty() { None } else { Some(Op::TakeBack { steps: rest }) };
    before.into_iter().map(one).chain(link).chain(after.into_iter().map(one)).collect()
}
