//! The built-in DHCPv4 client of one guest: ask, make the lease so, and take it back when it does not hold.

use std::os::fd::OwnedFd;
use std::time::{Instant, SystemTime};

use nix::errno::Errno;
use thiserror::Error;

use super::dynamic::{Asking, Configured};
use super::identity;
use super::stay::Stay;
use super::tenure;
use crate::external::dhcp::v4::{Client, Who};
use crate::external::dhcp::{DhcpError, Patience};
use crate::guest::resolver::{self, ResolverError, Written};
use crate::kernel::netns::Namespace;
use crate::kernel::signal::Signals;
use crate::kernel::wire::Netlink;
use crate::kernel::{System, observe};
use crate::model::dhcp::ClientWords;
use crate::model::error::{InputError, KernelError};
use crate::model::facts::{GuestId, LinkFacts};
use crate::model::lease::{Lease, LeaseReport};
use crate::model::op::Op;
use crate::model::request::GuestRef;
use crate::model::settings::Settings;
use crate::model::types::IfName;
use crate::plan::execute::{Done, Event, ExecuteError, execute};
use crate::plan::{self, LeaseTarget};

/// Why no address came, or why it could not be used.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The words of the client.
    #[error(transparent)]
    Words(#[from] InputError),
    /// No lease.
    #[error(transparent)]
    Dhcp(#[from] DhcpError),
    /// The interface has no Ethernet address.
    #[error("{0} has no Ethernet address, and the built-in client does Ethernet only")]
    NotEthernet(IfName),
    /// The lease could not be carried out.
    #[error(transparent)]
    Execute(#[from] Box<ExecuteError>),
    /// The guest's resolv.conf.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// No address from a router.
    #[error("no address within {seconds} s: {why}")]
    NoAddress {
        /// How long was waited.
        seconds: u64,
        /// What was seen instead.
        why: &'static str,
    },
    /// Another host has the address.
    #[error("another host has {0} already (duplicate address detection)")]
    Duplicate(std::net::IpAddr),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl LeaseError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Dhcp(DhcpError::TimeOver { .. }) => Some(
                "is there a server in this network (a bridge that was just made leads nowhere until a NIC is its port)? A bridge with spanning tree may need a longer --dhcp-timeout"
                    .into(),
            ),
            Self::Dhcp(DhcpError::Kernel(error)) if error.errno() == Some(Errno::EPERM) => {
                Some("CAP_NET_RAW is missing: the built-in client speaks before there is an address".into())
            }
            Self::NoAddress { .. } => {
                Some("is there a router that advertises a prefix with the A flag in this network? With the M flag only, use dhcp6".into())
            }
            Self::NotEthernet(_) => Some("name a client of the host, like dhclient, or give the address".into()),
            Self::Execute(error) => plan::hint(&error.op, &error.cause),
            Self::Resolver(error) => error.hint(),
            _ => None,
        }
    }
}

/// A lease as it stands in the guest, with what takes it back.
#[derive(Debug, Default)]
pub(super) struct Applied {
    done: Done,
    resolver: Option<Written>,
}

impl Applied {
    /// Takes all back. What cannot be is left to the link's own end.
    pub(super) fn undo(self, system: &mut System<'_>, watch: &mut dyn FnMut(Event<'_>)) {
        if let Some(written) = self.resolver {
            let _ = written.undo();
        }
        let _ = self.done.undo(system, watch);
    }

    /// As a record tells of it.
    pub(super) fn of(done: Done) -> Self {
        Self { done, resolver: None }
    }

    /// The steps that took effect.
    pub(super) fn ops(&self) -> Vec<Op> {
        self.done.ops().to_vec()
    }

    /// Takes back what outlives the guest: a file of the host that is for it.
    pub(super) fn undo_files(self) {
        if let Some(written) = self.resolver {
            let _ = written.undo();
        }
    }
}

/// The guest's side of a lease: what does not change from one to the next.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) guest: GuestRef,
    pub(super) id: GuestId,
    pub(super) guest_if: IfName,
    /// The link's MTU before any lease.
    pub(super) mtu: u32,
    /// What the interface was given beyond its address.
    pub(super) settings: Settings,
    pub(super) stays: bool,
    pub(super) dns: bool,
    /// Address of Open vSwitch's database, when it is an unusual one.
    pub(super) ovsdb: Option<String>,
}

impl Place {
    fn target<'a>(&'a self, default_routes: &'a [crate::model::facts::RouteFacts]) -> LeaseTarget<'a> {
        LeaseTarget { guest_if: &self.guest_if, mtu: self.mtu, default_routes, settings: &self.settings, renewed: self.stays }
    }

    /// Makes a lease so: all or nothing. Returns what the user should know, too.
    pub(super) fn apply(
        &self,
        lease: &Lease,
        system: &mut System<'_>,
        guest: &mut Netlink,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Applied, Vec<String>), LeaseError> {
        let default_routes = observe::default_routes(guest, lease.addr.ip())?;
        let planned = plan::lease(lease, &self.target(&default_routes));
        let mut warnings = planned.warnings().to_vec();
        let mut applied = Applied { done: execute(&planned, system, watch)?, resolver: None };
        let Some(text) = lease.resolv_conf().filter(|_| self.dns) else {
            if self.dns {
                warnings.push(format!("{} named no DNS server: the guest's resolv.conf stays as it is", lease.server));
            }
            return Ok((applied, warnings));
        };
        match resolver::write(&self.guest, &self.id, &text) {
            Ok(written) => {
                applied.resolver = Some(written);
                Ok((applied, warnings))
            }
            Err(error) => {
                applied.undo(system, watch);
                Err(error.into())
            }
        }
    }

    /// Gives the address its new time.
    pub(super) fn renew(&self, lease: &Lease, system: &mut System<'_>, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), LeaseError> {
        execute(&plan::renewed(lease, &self.target(&[])), system, watch)?;
        Ok(())
    }
}

/// Gets an address by DHCPv4.
pub(super) fn dhcp(
    asking: &Asking<'_>,
    options: &str,
    system: &mut System<'_>,
    signals: &mut Signals,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Configured, LeaseError> {
    let words: ClientWords = options.parse()?;
    let deadline = Instant::now() + asking.options.dhcp_timeout();
    if asking.options.dhcp_dns {
        resolver::check(&asking.request.guest, &asking.held.id)?;
    }
    let namespace = &asking.held.namespace;
    let mut guest = namespace.netlink()?;
    let link = link(&mut guest, asking.guest_if)?;
    let is_resident = asking.options.resident;
    let place = asking.place(&link, words.stays() || is_resident);
    let who = who(&asking.request.guest, &link, asking.guest_if, words)?;
    let held = if place.stays && !is_resident { Some(hold(asking)?) } else { None };
    let mut client = Client::new(who, namespace)?;
    let mut patience = Patience::new(signals, namespace, asking.held.process.as_ref(), link.index)?;
    super::port::wait(asking, &mut patience, deadline)?;
    let lease = client.acquire(&mut patience, Some(deadline))?;
    let granted = SystemTime::now();
    drop(patience);
    let (applied, warnings) = match place.apply(&lease, system, &mut guest, watch) {
        Ok(applied) => applied,
        Err(error) => {
            let _ = client.release(&lease);
            return Err(error);
        }
    };
    if let Some(signal) = signals.pending() {
        let _ = client.release(&lease);
        applied.undo(system, watch);
        return Err(DhcpError::Interrupted(signal).into());
    }
    let report = LeaseReport::new(&lease, place.stays);
    let addr = Some(lease.addr);
    let done = applied.ops();
    let tenure = is_resident.then(|| tenure::of(Some(&lease), granted, client.who(), place.dns, done.clone()));
    let stay = held.map(|held| Box::new(Stay::new(held, place, client.who().clone(), lease, applied)));
    Ok(Configured { addr, lease: Some(report), warnings, done, stay, tenure, ..Configured::default() })
}

/// The guest, held once more: for as long as the command stays.
fn hold(asking: &Asking<'_>) -> Result<(Namespace, Option<OwnedFd>), LeaseError> {
    let namespace = asking.held.namespace.again()?;
    let again = |process: &OwnedFd| process.try_clone().map_err(|e| crate::kernel::netns::file_error("pidfd".as_ref(), &e));
    let process = asking.held.process.as_ref().map(again).transpose()?;
    Ok((namespace, process))
}

/// The guest's interface, which is there and up.
pub(super) fn link(guest: &mut Netlink, name: &IfName) -> Result<LinkFacts, LeaseError> {
    let found = observe::link_called(guest, name)?;
    Ok(found.ok_or_else(|| KernelError::NoLink(format!("{name} in the guest")))?)
}

impl Asking<'_> {
    /// What stays the same from one lease to the next.
    pub(super) fn place(&self, link: &LinkFacts, stays: bool) -> Place {
        Place {
            guest: self.request.guest.clone(),
            id: self.held.id.clone(),
            guest_if: self.guest_if.clone(),
            mtu: link.mtu,
            settings: self.request.settings.clone(),
            stays,
            dns: self.options.dhcp_dns,
            ovsdb: self.options.ovsdb.clone(),
        }
    }
}

/// What a client says of a guest's interface.
pub(super) fn who(guest: &GuestRef, link: &LinkFacts, guest_if: &IfName, words: ClientWords) -> Result<Who, LeaseError> {
    let mac = link.mac.ok_or_else(|| LeaseError::NotEthernet(guest_if.clone()))?;
    let client_id = identity::of(guest, guest_if).client_id();
    let host_name = identity::host_name(guest);
    Ok(Who { link: guest_if.clone(), index: link.index, mac, client_id, server_mac: None, host_name, words })
}
