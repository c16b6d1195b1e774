//! Carrying steps out: one message after another on the host's socket and the guest's.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO, NLM_F_REPLACE};

use super::conflict::Ends;
use super::encode::{self, NEW, Newborn};
use super::flood::Flood;
use super::netns::Namespace;
use super::nl80211::Wifi;
use super::observe::{Sides, addrs, peer};
use super::question::{Findings, Questions};
use super::signal::Signals;
use super::wait::Interruptions;
use super::wire::{Answer, Netlink, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWROUTE, Raw};
use super::{access, decode, ethtool, host_bridge, siblings, sysctl, tool};
use crate::model::access::NewShim;
use crate::model::error::KernelError;
use crate::model::facts::{AddrFacts, Facts, LinkFacts};
use crate::model::op::{HostStep, Moved, NewLink, NewPair, Op};
use crate::model::pair::End;
use crate::model::phy::PhyMember;
use crate::model::record::HostEnd;
use crate::model::types::{Family, IfAddr, IfName, LinkRef, MacAddr, Side};
use crate::plan::execute::{Kernel, again, take_back};

/// The two sides of one attachment, open.
pub struct System<'a> {
    host: &'a mut Netlink,
    guest: &'a mut Netlink,
    home: &'a Namespace,
    namespace: &'a Namespace,
    /// Of two guests that are linked, the second; the first is the guest.
    second: Option<Box<System<'a>>>,
    signals: Option<&'a mut Signals>,
    /// Says whether nobody else is about to use a bridge: asked before one is removed.
    unused: Box<dyn FnMut(&IfName) -> bool + 'a>,
    /// Indexes looked up so far. Names change only by our own steps, which forget them.
    indexes: BTreeMap<LinkRef, u32>,
    /// Where this run has moved links to.
    moved: BTreeSet<LinkRef>,
    /// What becomes pointless when it ends.
    process: Option<BorrowedFd<'a>>,
    questions: Questions,
    /// Keeps new ports of bridges out of the flood.
    flood: Option<&'a Flood>,
    /// The host's end, which is to come up with this link of the guest's.
    waiting: Option<(LinkRef, u32)>,
}

impl<'a> System<'a> {
    /// A host and a guest.
    pub fn new(sides: &'a mut Sides<'_>) -> Self {
        let Sides { host, home, guest, namespace } = sides;
        Self {
            host,
            guest,
            home,
            namespace,
            second: None,
            signals: None,
            unused: Box::new(|_| true),
            indexes: BTreeMap::new(),
            moved: BTreeSet::new(),
            process: None,
            questions: Questions::default(),
            flood: None,
            waiting: None,
        }
    }

    /// Stops between steps when one of the signals comes.
    #[must_use]
    pub fn with_signals(mut self, signals: &'a mut Signals) -> Self {
        self.signals = Some(signals);
        self
    }

    /// Of two guests that are linked, this is the first and that the second.
    #[must_use]
    pub fn linked_to(mut self, second: System<'a>) -> Self {
        self.second = Some(Box::new(second));
        self
    }

    /// Waits no longer than the guest's process lives, of which that is a pidfd.
    #[must_use]
    pub fn with_process(mut self, process: Option<&'a OwnedFd>) -> Self {
        self.process = process.map(AsFd::as_fd);
        self
    }

    /// Keeps new ports of bridges out of the flood of multicast, until that lets them in.
    #[must_use]
    pub fn with_flood(mut self, flood: Option<&'a Flood>) -> Self {
        self.flood = flood;
        self
    }

    /// What questions about addresses came to since this was last asked.
    pub fn findings(&mut self) -> Findings {
        self.questions.findings()
    }

    /// What is asked with, and what ends the waiting for an answer.
    fn asking(&mut self) -> (&mut Questions, Ends<'_>, Interruptions<'_>) {
        let ends = Ends { host: self.host, guest: self.guest, home: self.home, namespace: self.namespace };
        (&mut self.questions, ends, Interruptions { signals: self.signals.as_deref_mut(), process: self.process })
    }

    /// Needs no more memory than it must until the next step.
    pub fn rest(&mut self) {
        self.host.rest();
        self.guest.rest();
    }

    /// Removes a bridge only when `unused` says so.
    #[must_use]
    pub fn with_bridge_check(mut self, unused: impl FnMut(&IfName) -> bool + 'a) -> Self {
        self.unused = Box::new(unused);
        self
    }

    /// Takes indexes from what was observed: links that were there need no look-up.
    #[must_use]
    pub fn knowing(mut self, facts: &Facts) -> Self {
        let host = [&facts.host.link, &facts.host.vlan_link, &facts.host.peer].into_iter().flatten().map(|link| (Side::Host, link));
        for (side, link) in host.chain(facts.guest.link.iter().map(|link| (Side::Guest, link))) {
            if let Ok(name) = link.name.parse() {
                self.indexes.insert(LinkRef { side, name }, link.index);
            }
        }
        self
    }

    /// Knows the index of a link of the host's, so that steps about it can go to the kernel together.
    #[must_use]
    pub fn knowing_host(mut self, name: &IfName, index: u32) -> Self {
        self.indexes.insert(LinkRef::host(name), index);
        self
    }

    /// The address of a family that an interface of the guest has; a link-local one of IPv6, which each has, is none.
    ///
    /// # Errors
    /// When the interface is not there, or the kernel refuses to tell.
    pub fn given_addr(&mut self, interface: &IfName, family: Family) -> Result<Option<IfAddr>, KernelError> {
        let index = self.index(&LinkRef::guest(interface))?;
        let is_given = |addr: &IfAddr| !matches!(addr.ip(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        let all = addrs(self.guest, family)?;
        Ok(all.iter().filter(|a| a.index == index).map(|a| a.addr).find(is_given))
    }

    fn socket(&mut self, side: Side) -> &mut Netlink {
        match side {
            Side::Host => self.host,
            Side::Guest => self.guest,
        }
    }

    fn side(&self, side: Side) -> &'a Namespace {
        match side {
            Side::Host => self.home,
            Side::Guest => self.namespace,
        }
    }

    fn send(&mut self, side: Side, message: &RouteNetlinkMessage, flags: u16) -> Result<(), KernelError> {
        self.socket(side).request(message, flags).map(|_| ())
    }

    fn index(&mut self, link: &LinkRef) -> Result<u32, KernelError> {
        if let Some(index) = self.indexes.get(link) {
            return Ok(*index);
        }
        let found = find_link(self.socket(link.side), link.name.as_str())?;
        let index = found.ok_or_else(|| KernelError::NoLink(link.to_string()))?.index;
        self.indexes.insert(link.clone(), index);
        Ok(index)
    }

    /// The index of a link; not looked up where the kernel has told it already.
    ///
    /// # Errors
    /// When it is not there, or the kernel refuses to tell.
    pub fn index_of(&mut self, link: &LinkRef) -> Result<u32, KernelError> {
        self.index(link)
    }

    /// The Ethernet address of a link.
    ///
    /// # Errors
    /// When it is not there, or the kernel refuses to tell.
    pub fn mac_of(&mut self, link: &LinkRef) -> Result<Option<MacAddr>, KernelError> {
        let found = find_link(self.socket(link.side), link.name.as_str())?;
        Ok(found.ok_or_else(|| KernelError::NoLink(link.to_string()))?.mac)
    }

    /// The host's end of a link of the guest, where it is a veth's.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn host_end_of(&mut self, index: u32) -> Result<Option<HostEnd>, KernelError> {
        let link = link_at(self.guest, index)?;
        let end = peer(self.host, link.as_ref())?;
        Ok(end.and_then(|end| Some(HostEnd { name: end.name.parse().ok()?, index: end.index })))
    }

    fn host_index(&mut self, name: &IfName) -> Result<u32, KernelError> {
        self.index(&LinkRef::host(name))
    }

    fn newborn<'b>(&self, link: &'b NewLink) -> Newborn<'b> {
        let netns = (link.at.side == Side::Guest).then(|| self.namespace.raw_fd());
        Newborn { name: &link.at.name, mtu: link.mtu, mac: link.mac, netns }
    }

    /// Changes a link that is there.
    fn change(&mut self, link: &LinkRef, message: impl FnOnce(u32) -> RouteNetlinkMessage) -> Result<(), KernelError> {
        let index = self.index(link)?;
        self.send(link.side, &message(index), 0)
    }

    fn move_link(&mut self, from: &LinkRef, to: &LinkRef) -> Result<(), KernelError> {
        let target = match to.side {
            Side::Host => self.home.raw_fd(),
            Side::Guest => self.namespace.raw_fd(),
        };
        if to.side == Side::Host {
            self.check_own(from)?;
        }
        // The kernel names a link when it has moved it (do_setlink in net/core/rtnetlink.c): that the name is taken it tells too
        // late.
        if from.name != to.name && find_link(self.socket(to.side), to.name.as_str())?.is_some() {
            return Err(KernelError::Refused { errno: Errno::EEXIST, text: None });
        }
        self.change(from, |index| encode::move_link(index, target, &to.name))?;
        self.indexes.remove(from);
        self.moved.insert(to.clone());
        Ok(())
    }

    /// Only what we moved into the guest is moved out of it again. Without alternative names (Linux before 5.5), only what this
    /// very run moved is known to be.
    fn check_own(&mut self, link: &LinkRef) -> Result<(), KernelError> {
        let found = find_link(self.socket(link.side), link.name.as_str())?.ok_or_else(|| KernelError::NoLink(link.to_string()))?;
        if found.is_ours() || found.is_marked() || self.moved.contains(link) { Ok(()) } else { Err(KernelError::NotOurs(link.to_string())) }
    }

    /// Moves a phy and gives its interfaces their names. The kernel knows no message that does both.
    fn move_phy(&mut self, phy: u32, wdev: u64, from: &LinkRef, to: &LinkRef, others: &[PhyMember]) -> Result<(), KernelError> {
        let (near, far) = match to.side {
            Side::Guest => (self.home, self.namespace),
            Side::Host => (self.namespace, self.home),
        };
        let no_wifi = || KernelError::NoLink(from.to_string());
        let mut leaving = near.inside(Wifi::open)?.ok_or_else(no_wifi)?;
        let mut arriving = far.inside(Wifi::open)?.ok_or_else(no_wifi)?;
        self.indexes.clear();
        match leaving.set_netns(phy, far.raw_fd()) {
            // A run that ended half way has moved it: its interfaces still want their names.
            Err(error) if error.errno() == Some(Errno::ENODEV) && arriving.links()?.iter().any(|link| link.wdev == wdev) => {}
            moved => moved?,
        }
        let mut names = vec![(wdev, &to.name)];
        if to.side == Side::Host {
            names.extend(others.iter().map(|other| (other.wdev, &other.name)));
        }
        self.name_wifi(&mut arriving, to.side, &names).map_err(|cause| KernelError::HalfDone(Box::new(cause)))
    }

    /// Gives Wi-Fi interfaces their names, all that can have theirs.
    fn name_wifi(&mut self, wifi: &mut Wifi, side: Side, names: &[(u64, &IfName)]) -> Result<(), KernelError> {
        let links = wifi.links()?;
        let mut ended = Ok(());
        for (wdev, name) in names {
            let renamed = match links.iter().find(|link| link.wdev == *wdev) {
                Some(link) if link.name == name.as_str() => Ok(()),
                Some(link) => self.send(side, &encode::rename(link.index, name), 0),
                None => Err(KernelError::NoLink(name.to_string())),
            };
            ended = ended.and(renamed);
        }
        ended
    }

    fn del_link(&mut self, link: &LinkRef) -> Result<(), KernelError> {
        let done = self.change(link, encode::del_link);
        self.indexes.remove(link);
        done
    }

    /// Deletes a link that we made. One that has taken its name since is somebody else's.
    fn del_own_link(&mut self, link: &LinkRef) -> Result<(), KernelError> {
        let found = find_link(self.socket(link.side), link.name.as_str())?;
        let found = found.ok_or_else(|| KernelError::NoLink(link.to_string()))?;
        if !found.is_ours() {
            return Err(KernelError::NotOurs(link.to_string()));
        }
        self.indexes.remove(link);
        self.send(link.side, &encode::del_link(found.index), 0)
    }

    /// Removes a bridge that we made, unless it has ports or an address, or is wanted by another run. Leaving it is no failure.
    fn del_unused_bridge(&mut self, name: &IfName) -> Result<(), KernelError> {
        let link = find_link(self.host, name.as_str())?.ok_or_else(|| KernelError::NoLink(name.to_string()))?;
        if !link.is_ours() || !(self.unused)(name) || !ports(self.host, link.index)?.is_empty() || has_address(self.host, link.index)? {
            return Ok(());
        }
        self.del_link(&LinkRef::host(name))
    }

    /// Makes a shim, and sets it up only once it is silent. What cannot be made silent does not stay.
    fn add_shim(&mut self, shim: &NewShim) -> Result<(), KernelError> {
        let (parent, link) = (self.host_index(&shim.parent)?, LinkRef::host(&shim.name));
        self.add(&access::shim(parent, shim), std::slice::from_ref(&link))?;
        let silenced = self.mark(&link, &shim.mark()).and_then(|()| sysctl::no_autoconf(&shim.name));
        let made = silenced.and_then(|()| self.change(&link, |index| encode::set_up(index, true)));
        if made.is_err() {
            let _ = self.del_link(&link);
        }
        made
    }

    /// Gives a link another name. Linux before 5.5 knows none, and does without.
    fn mark(&mut self, link: &LinkRef, name: &str) -> Result<(), KernelError> {
        let index = self.index(link)?;
        match self.send(link.side, &encode::alt_name(index, name, true), NEW | NLM_F_APPEND) {
            Err(error) if matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EINVAL)) => Ok(()),
            marked => marked,
        }
    }

    /// Removes a shim unless a route goes through it. Leaving it is no failure.
    fn del_unused_shim(&mut self, name: &IfName, mac: MacAddr) -> Result<(), KernelError> {
        let Some(link) = find_link(self.host, name.as_str())? else { return Ok(()) };
        if link.mac != Some(mac) || access::routes_through(self.host, link.index)? > 0 {
            return Ok(());
        }
        self.del_link(&LinkRef::host(name))
    }

    /// Removes a NIC's VLAN child unless other guests' links came to lie on it, or it became a port. Leaving it is no failure.
    fn del_unused_vlan(&mut self, name: &IfName) -> Result<(), KernelError> {
        let Some(link) = find_link(self.host, name.as_str())? else { return Ok(()) };
        if !link.is_ours()
            || link.master.is_some()
            || !siblings::on(self.host, self.home, link.index)?.is_empty()
            || has_address(self.host, link.index)?
        {
            return Ok(());
        }
        self.del_link(&LinkRef::host(name))
    }

    /// Sets a link down again. One of the host's may have been taken for granted by other guests meanwhile: it stays up.
    fn set_down(&mut self, link: &LinkRef) -> Result<(), KernelError> {
        if link.side == Side::Host {
            let index = self.index(link)?;
            if siblings::is_relied_on(self.host, self.home, index)? {
                return Ok(());
            }
        }
        self.change(link, |index| encode::set_up(index, false))
    }

    /// Switches it off again only when nobody came who relies on it. Leaving it is no failure.
    fn set_vlan_filtering(&mut self, bridge: &IfName, on: bool, before: usize) -> Result<(), KernelError> {
        let index = self.host_index(bridge)?;
        if !on && (!(self.unused)(bridge) || ports(self.host, index)?.len() > before + 1) {
            return Ok(());
        }
        self.send(Side::Host, &encode::vlan::set_filtering(index, on), 0)
    }

    /// Makes a link a port of another bridge. The kernel says no more than EINVAL of a bridge that is gone.
    fn set_bridge(&mut self, port: &IfName, bridge: Option<&IfName>) -> Result<(), KernelError> {
        let master = bridge.map(|bridge| self.host_index(bridge)).transpose()?;
        self.change(&LinkRef::host(port), |index| encode::set_master(index, master.unwrap_or(0)))
    }

    /// Deletes one address. Where it is the first of its subnet the kernel would take the others away with it, unless it is
    /// told to make the next the first (net.ipv4.conf.IF.promote_secondaries; __inet_del_ifa, net/ipv4/devinet.c).
    fn del_addr(&mut self, link: &LinkRef, addr: &IfAddr) -> Result<(), KernelError> {
        let index = self.index(link)?;
        let namespace = if link.side == Side::Host { self.home } else { self.namespace };
        let _promoted = (addr.family() == Family::Inet).then(|| sysctl::promote_secondaries(namespace, &link.name));
        self.send(link.side, &RouteNetlinkMessage::DelAddress(encode::addr(index, addr)), 0)
    }

    fn restore_addr(&mut self, link: &LinkRef, raw: &[u8]) -> Result<(), KernelError> {
        let index = self.index(link)?;
        let mut payload = raw.to_vec();
        // struct ifaddrmsg: the index is the second word (linux/if_addr.h).
        if let Some(field) = payload.get_mut(4..8) {
            field.copy_from_slice(&index.to_ne_bytes());
        }
        self.socket(link.side).request_raw(RTM_NEWADDR, NEW, &payload).map(|_| ())
    }

    fn restore_route(&mut self, side: Side, raw: &[u8], moved: Option<&Moved>) -> Result<(), KernelError> {
        let moved = moved.map(|m| Ok((m.index, self.index(&m.link)?))).transpose()?;
        self.socket(side).request_raw(RTM_NEWROUTE, NEW, &encode::restorable(raw, moved)).map(|_| ())
    }

    /// Makes a veth pair. The echo of the request has both ends' indexes, so that neither is looked up.
    fn add_veth(
        &mut self,
        host: &Newborn<'_>,
        bridge: Option<&IfName>,
        queues: Option<NonZeroU16>,
        guest: &NewLink,
    ) -> Result<(), KernelError> {
        let index = bridge.map(|bridge| self.host_index(bridge)).transpose()?;
        let flood = self.flood.filter(|_| bridge.is_some() && guest.at.side == Side::Guest);
        let message = encode::add_veth(host, flood.is_none(), index, queues, &self.newborn(guest));
        let near = LinkRef::host(host.name);
        self.indexes.remove(&guest.at);
        self.indexes.remove(&near);
        let answers = match self.host.request(&message, NEW | NLM_F_ECHO) {
            // The kernel says no more than EINVAL of a bridge that is gone.
            Err(error) if error.errno() == Some(Errno::EINVAL) => match (bridge, index) {
                (Some(bridge), Some(index)) if link_at(self.host, index)?.is_none() => return Err(KernelError::NoLink(bridge.to_string())),
                _ => return Err(error),
            },
            answered => answered?,
        };
        let made = answers.iter().find_map(decode::link).filter(|made| made.name == host.name.as_str());
        // Kernels before 6.2 have no echo of new links.
        let made = if made.is_none() && flood.is_some() { find_link(self.host, host.name.as_str())? } else { made };
        if let Some(made) = made {
            self.indexes.insert(near, made.index);
            self.indexes.extend(made.link.map(|peer| (guest.at.clone(), peer)));
            if let Some(flood) = flood {
                flood.expect(host.name, made.index);
                self.waiting = Some((guest.at.clone(), made.index));
            }
        }
        Ok(())
    }

    /// Sets a link up, and the host's end that waits for it.
    fn set_up(&mut self, link: &LinkRef) -> Result<(), KernelError> {
        self.change(link, |index| encode::set_up(index, true))?;
        self.set_up_other(link)
    }

    fn set_up_other(&mut self, link: &LinkRef) -> Result<(), KernelError> {
        match self.waiting.take_if(|(guest, _)| guest == link) {
            Some((_, host)) => Flood::set_up(self.host, host),
            None => Ok(()),
        }
    }

    /// Makes a veth pair from the first guest's own socket: it is never on the host. The echo has both ends' indexes.
    fn add_pair(&mut self, pair: &NewPair) -> Result<(), KernelError> {
        let (near, far) = (LinkRef::guest(&pair.first.interface), LinkRef::guest(&pair.second.interface));
        let netns = Some(self.second()?.namespace.raw_fd());
        let message = encode::add_pair(&near.name, &Newborn { name: &far.name, mtu: pair.mtu, mac: None, netns });
        self.indexes.remove(&near);
        self.second()?.indexes.remove(&far);
        let answers = self.guest.request(&message, NEW | NLM_F_ECHO)?;
        if let Some(made) = answers.iter().find_map(decode::link).filter(|made| made.name == near.name.as_str()) {
            self.indexes.insert(near, made.index);
            if let Some(peer) = made.link {
                self.second()?.indexes.insert(far, peer);
            }
        }
        Ok(())
    }

    /// The second of two guests that are linked.
    ///
    /// # Errors
    /// When there is none.
    pub fn second(&mut self) -> Result<&mut System<'a>, KernelError> {
        self.second.as_deref_mut().ok_or_else(|| KernelError::NoLink("the second of two guests".into()))
    }

    /// The one message of a step that needs no more than that, on the guest's side, on a link whose index is known.
    fn guest_message(&self, op: &Op) -> Option<(RouteNetlinkMessage, u16)> {
        let index = |link: &LinkRef| self.indexes.get(link).copied().filter(|_| link.side == Side::Guest);
        match op {
            Op::AddAddr { link, addr } => Some((RouteNetlinkMessage::NewAddress(encode::new_addr(index(link)?, addr)), NEW)),
            Op::SetUp { link } => Some((encode::set_up(index(link)?, true), 0)),
            Op::AddRoute { route } => {
                let index = index(&LinkRef::guest(&route.dev))?;
                Some((RouteNetlinkMessage::NewRoute(encode::route(route, index)), NEW))
            }
            _ => None,
        }
    }

    /// The one message of a step about the host's own bridge, where the indexes are known.
    fn host_message(&self, op: &Op) -> Option<Raw> {
        let mut index = |name: &IfName| self.indexes.get(&LinkRef::host(name)).copied();
        match op {
            Op::Host { step } if !matches!(**step, HostStep::AddBridge { .. } | HostStep::AddVxlan { .. }) => {
                host_bridge::message(step, &mut index)
            }
            Op::SetBridge { port, bridge, .. } => {
                let master = bridge.as_ref().map_or(Some(0), &mut index)?;
                Some(encode::host::set_master(index(port)?, master))
            }
            _ => None,
        }
    }

    fn host_step(&mut self, step: &HostStep) -> Result<(), KernelError> {
        match step {
            HostStep::Ready { link } => {
                let index = self.host_index(link)?;
                return host_bridge::ready(self.host, index, link);
            }
            HostStep::SetConf { link, conf, .. } => return host_bridge::set_conf(link, conf),
            HostStep::SetStp { bridge, to, .. } => {
                let index = self.host_index(bridge)?;
                return host_bridge::set_stp(self.host, index, *to);
            }
            HostStep::AddBridge { name, .. } => drop(self.indexes.remove(&LinkRef::host(name))),
            HostStep::AddVxlan { link } => drop(self.indexes.remove(&LinkRef::host(&link.name))),
            _ => {}
        }
        let mut missing = None;
        let message = host_bridge::message(step, &mut |name| match self.host_index(name) {
            Ok(index) => Some(index),
            Err(error) => {
                missing.get_or_insert(error);
                None
            }
        });
        match (message, missing) {
            (_, Some(error)) => return Err(error),
            (Some(Raw { kind, flags, payload }), None) => self.host.request_raw(kind, flags, &payload).map(|_| ())?,
            (None, None) => {}
        }
        if let HostStep::AddBridge { name, .. } = step {
            self.host_index(name)?;
        }
        Ok(())
    }

    /// Makes a link. Its name may have been looked up in vain, or have been another's.
    fn add(&mut self, message: &RouteNetlinkMessage, at: &[LinkRef]) -> Result<(), KernelError> {
        for link in at {
            self.indexes.remove(link);
        }
        self.send(Side::Host, message, NEW)
    }
}

impl Kernel for System<'_> {
    fn apply(&mut self, op: &Op) -> Result<(), KernelError> {
        match op {
            Op::AddBridge { name, mac, vlan_filtering } => {
                self.add(&encode::add_bridge(name, *mac, *vlan_filtering), &[LinkRef::host(name)])
            }
            Op::SetVlanFiltering { bridge, on, ports } => self.set_vlan_filtering(bridge, *on, *ports),
            Op::AddPortVlan { port, vlan } => self.change(&LinkRef::host(port), |index| encode::vlan::add_to_port(index, vlan)),
            Op::DelPortVlan { port, vlan } => self.change(&LinkRef::host(port), |index| encode::vlan::del_from_port(index, vlan)),
            Op::DelUnusedBridge { name } => self.del_unused_bridge(name),
            Op::AddVeth { host, host_mtu, host_mac, bridge, queues, guest } => {
                let near = Newborn { name: host, mtu: host_mtu.or(guest.mtu), mac: *host_mac, netns: None };
                self.add_veth(&near, bridge.as_ref(), *queues, guest)
            }
            Op::AddOvsBridge { .. }
            | Op::DelUnusedOvsBridge { .. }
            | Op::AddOvsPort { .. }
            | Op::DelOvsPort { .. }
            | Op::SetOvsVlans { .. } => {
                Err(KernelError::Refused { errno: Errno::EOPNOTSUPP, text: Some("it is a step for Open vSwitch's database".into()) })
            }
            Op::AddPair { pair } => self.add_pair(pair),
            Op::At { end: End::First, guest, step } => self.apply(step).map_err(|error| error.of_guest(guest)),
            Op::At { end: End::Second, guest, step } => self.second()?.apply(step).map_err(|error| error.of_guest(guest)),
            Op::AddVlan { name, parent, vlan, mtu } => {
                let parent = self.host_index(parent)?;
                self.add(&encode::vlan::add(name, parent, *vlan, *mtu), &[LinkRef::host(name)])
            }
            Op::DelUnusedVlan { name } => self.del_unused_vlan(name),
            Op::AddShared { parent, sharing, link } => {
                let parent = self.host_index(parent)?;
                self.add(&encode::sharing::add(parent, sharing, &self.newborn(link)), std::slice::from_ref(&link.at))
            }
            Op::AddIpoib { parent, pkey, link } => {
                let parent = self.host_index(parent)?;
                self.add(&encode::add_ipoib(parent, *pkey, &self.newborn(link)), std::slice::from_ref(&link.at))
            }
            Op::AddIfb { name } => {
                self.indexes.remove(&LinkRef::guest(name));
                self.send(Side::Guest, &encode::add_ifb(name), NEW)
            }
            Op::AddDummy { link } => self.add(&encode::add_dummy(&self.newborn(link)), std::slice::from_ref(&link.at)),
            Op::DelOwnLink { link } => self.del_own_link(link),
            Op::DelLink { link } => self.del_link(link),
            Op::MoveLink { from, to, .. } => self.move_link(from, to),
            Op::MovePhy { phy, wdev, from, to, others, .. } => self.move_phy(phy.index, *wdev, from, to, others),
            Op::RenameLink { link, name } => {
                self.change(link, |index| encode::rename(index, name))?;
                self.indexes.remove(link);
                if self.moved.remove(link) {
                    self.moved.insert(LinkRef { name: name.clone(), ..link.clone() });
                }
                Ok(())
            }
            Op::AddAltName { link, name } => {
                let index = self.index(link)?;
                self.send(link.side, &encode::alt_name(index, name, true), NEW | NLM_F_APPEND)
            }
            Op::DelAltName { link, name } => self.change(link, |index| encode::alt_name(index, name, false)),
            Op::SetMac { link, mac, .. } => self.change(link, |index| encode::set_mac(index, *mac)),
            Op::SetMtu { link, mtu, .. } => self.change(link, |index| encode::set_mtu(index, *mtu)),
            Op::SetQueueLen { link, packets, .. } => self.change(link, |index| encode::set_queue_len(index, *packets)),
            Op::SetOffload { link, offload, .. } => {
                let index = self.index(link)?;
                ethtool::set(self.side(link.side), index, offload)
            }
            Op::SetSysctl { name, sysctl, .. } => sysctl::set(self.namespace, name, sysctl),
            Op::Tool { step } => match step.side {
                Side::Host => tool::apply(step, self.host, self.home),
                Side::Guest => tool::apply(step, self.guest, self.namespace),
            },
            Op::SetMaster { link, master } => self.change(link, |index| encode::set_master(index, *master)),
            Op::SetBridge { port, bridge, .. } => self.set_bridge(port, bridge.as_ref()),
            Op::TakeBack { .. } => take_back(self, op),
            Op::Again { steps } => again(self, steps),
            Op::SetRoute { route, .. } => {
                let index = self.index(&LinkRef::guest(&route.dev))?;
                self.send(Side::Guest, &RouteNetlinkMessage::NewRoute(encode::route(route, index)), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::SetUp { link } => self.set_up(link),
            Op::SetDown { link } => self.set_down(link),
            Op::EnableIpv6 { name } => sysctl::enable_ipv6(self.namespace, name),
            Op::AcceptRouter { name } => sysctl::accept_router(self.namespace, name),
            Op::Probe { link, port, addrs, dad } => {
                let (questions, mut ends, mut until) = self.asking();
                questions.probe(&mut ends, &link.name, port.as_ref(), addrs, *dad, &mut until)
            }
            Op::Settle { addrs, mode, .. } => {
                let (questions, mut ends, mut until) = self.asking();
                questions.settle(&mut ends, addrs, *mode, &mut until)
            }
            Op::AddAddr { link, addr } => {
                let index = self.index(link)?;
                self.send(link.side, &RouteNetlinkMessage::NewAddress(encode::new_addr(index, addr)), NEW)
            }
            Op::LeaseAddr { link, addr, lifetime } => {
                let index = self.index(link)?;
                let message = RouteNetlinkMessage::NewAddress(encode::leased_addr(index, addr, *lifetime));
                self.send(link.side, &message, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::DelAddr { link, addr } => self.del_addr(link, addr),
            Op::RestoreAddr { link, addr } => self.restore_addr(link, &addr.raw),
            Op::AddRoute { route } => {
                let index = self.index(&LinkRef::guest(&route.dev))?;
                self.send(Side::Guest, &RouteNetlinkMessage::NewRoute(encode::route(route, index)), NEW)
            }
            Op::DelNewRoute { route } => {
                let index = self.index(&LinkRef::guest(&route.dev))?;
                self.send(Side::Guest, &RouteNetlinkMessage::DelRoute(encode::route(route, index)), 0)
            }
            Op::DelRoute { side, route } => self.socket(*side).request_raw(RTM_DELROUTE, 0, &route.raw).map(|_| ()),
            Op::RestoreRoute { side, route, moved } => self.restore_route(*side, &route.raw, moved.as_ref()),
            Op::AddShim { shim } => self.add_shim(shim),
            Op::DelUnusedShim { name, mac } => self.del_unused_shim(name, *mac),
            Op::AddNeigh { neigh } => {
                // The first of a shim's IPv6 guests: new links of the host may have IPv6 off. It goes with the link.
                if neigh.link.side == Side::Host && neigh.ip.is_ipv6() {
                    sysctl::ensure_ipv6(&neigh.link.name)?;
                }
                let index = self.index(&neigh.link)?;
                let message = RouteNetlinkMessage::NewNeighbour(access::neigh(index, neigh));
                self.send(neigh.link.side, &message, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::DelNeigh { neigh } => self.change(&neigh.link, |index| RouteNetlinkMessage::DelNeighbour(access::neigh(index, neigh))),
            Op::AddShimRoute { route } => {
                let index = self.host_index(&route.dev)?;
                self.send(Side::Host, &RouteNetlinkMessage::NewRoute(access::route(index, route, true)), NEW)
            }
            Op::DelShimRoute { route } => {
                let index = self.host_index(&route.dev)?;
                self.send(Side::Host, &RouteNetlinkMessage::DelRoute(access::route(index, route, false)), 0)
            }
            Op::Host { step } => self.host_step(step),
        }
    }

    fn at_once(&self, ops: &[Op]) -> usize {
        let on_host = ops.iter().map_while(|op| self.host_message(op)).count();
        if on_host > 0 { on_host } else { ops.iter().map_while(|op| self.guest_message(op)).count() }
    }

    fn apply_all(&mut self, ops: &[Op]) -> Vec<Result<(), KernelError>> {
        let on_host: Vec<Raw> = ops.iter().map_while(|op| self.host_message(op)).collect();
        if on_host.len() == ops.len() && ops.len() > 1 {
            return self.host.request_all_raw(&on_host);
        }
        let messages: Vec<_> = ops.iter().map_while(|op| self.guest_message(op)).collect();
        if messages.len() < 2 || messages.len() < ops.len() {
            return ops.iter().map(|op| self.apply(op)).collect();
        }
        let mut ended = self.guest.request_all(&messages);
        for (op, ended) in ops.iter().zip(&mut ended) {
            if let (Op::SetUp { link }, Ok(())) = (op, &ended) {
                *ended = self.set_up_other(link);
            }
        }
        ended
    }

    fn interrupted(&mut self) -> Option<&'static str> {
        self.signals.as_mut().and_then(|signals| signals.pending())
    }
}

/// The link of a name, on the socket's side.
pub(super) fn find_link(socket: &mut Netlink, name: &str) -> Result<Option<LinkFacts>, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    get_link(socket, message)
}

/// The link of an index, on the socket's side.
pub(super) fn link_at(socket: &mut Netlink, index: u32) -> Result<Option<LinkFacts>, KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    get_link(socket, message)
}

/// What the kernel tells of the link of an index, undecoded.
pub(super) fn link_answer(socket: &mut Netlink, index: u32) -> Result<Vec<Answer>, KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    socket.request(&RouteNetlinkMessage::GetLink(message), 0)
}

fn get_link(socket: &mut Netlink, mut message: LinkMessage) -> Result<Option<LinkFacts>, KernelError> {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match socket.request(&RouteNetlinkMessage::GetLink(message), 0) {
        Ok(answers) => Ok(answers.iter().find_map(decode::link)),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether somebody gave a link an address: a link-local one of IPv6 it has by itself.
pub(super) fn has_address(socket: &mut Netlink, index: u32) -> Result<bool, KernelError> {
    let is_given =
        |addr: &AddrFacts| addr.index == index && !matches!(addr.addr.ip(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    Ok(addrs(socket, Family::Inet)?.iter().any(is_given) || addrs(socket, Family::Inet6)?.iter().any(is_given))
}

/// A bridge's ports.
pub(super) fn ports(socket: &mut Netlink, bridge: u32) -> Result<Vec<LinkFacts>, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Controller(bridge));
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = socket.dump(&RouteNetlinkMessage::GetLink(message))?;
    // Kernels without strict checking send every link.
    Ok(answers.iter().filter_map(decode::link).filter(|l| l.master == Some(bridge)).collect())
}
