//! Addresses over IPv6 that somebody else gives: by DHCPv6, or from a router's advertisements.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::dynamic::{Asking, Configured};
use super::lease::{LeaseError, Place, link};
use crate::external::dhcp::v6::Client6;
use crate::external::dhcp::{DhcpError, Patience};
use crate::guest::resolver;
use crate::kernel::System;
use crate::kernel::observe::{self, Ipv6Facts, Usable};
use crate::kernel::signal::Signals;
use crate::kernel::wire::Netlink;
use crate::model::lease::LeaseReport;
use crate::model::types::IfAddr;
use crate::plan::execute::Event;

/// Between two looks at the interface's addresses.
const LOOK: Duration = Duration::from_millis(50);

/// Gets an address by DHCPv6. Routes come from router advertisements, which are the kernel's (RFC 8415, section 4.1).
pub(super) fn dhcp6(
    asking: &Asking<'_>,
    system: &mut System<'_>,
    signals: &mut Signals,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Configured, LeaseError> {
    if asking.options.dhcp_dns {
        resolver::check(&asking.request.guest, &asking.held.id)?;
    }
    let mut wait = Wait::new(asking, signals)?;
    super::port::wait(asking, &mut wait.patience, wait.deadline)?;
    // Nothing can be sent before.
    wait.until("the interface got no link-local address", |addr| is_link_local(&addr.addr))?;
    let mut client = Client6::new(asking.identity(), &asking.held.namespace, asking.guest_if, wait.index)?;
    let lease = client.acquire(&mut wait.patience, wait.deadline)?;
    let place: Place = asking.place(&wait.link, false);
    let (applied, warnings) = place.apply(&lease, system, &mut wait.guest, watch)?;
    if let Err(error) = wait.until("the address stayed tentative", |addr| addr.addr.ip() == lease.addr.ip()) {
        applied.undo(system, watch);
        return Err(error);
    }
    let (addr, report) = (Some(lease.addr), Some(LeaseReport::new(&lease, false)));
    Ok(Configured { addr, lease: report, warnings, done: applied.ops(), ..Configured::default() })
}

/// Waits for an address that the kernel makes of a router's prefix (RFC 4862).
pub(super) fn slaac(asking: &Asking<'_>, signals: &mut Signals) -> Result<Configured, LeaseError> {
    let mut wait = Wait::new(asking, signals)?;
    let found = wait.until("no router advertised itself", |addr| !addr.permanent && !is_link_local(&addr.addr));
    let addr = match found {
        Err(LeaseError::NoAddress { seconds, .. }) if wait.has_router()? => {
            return Err(LeaseError::NoAddress { seconds, why: "a router is there, but advertises no prefix to make addresses of" });
        }
        found => found?.addr,
    };
    let dns = asking.options.dhcp_dns.then(|| "--dhcp-dns has no effect with slaac: it has no DHCP server to ask".to_owned());
    Ok(Configured { addr: Some(addr), warnings: dns.into_iter().collect(), ..Configured::default() })
}

fn is_link_local(addr: &IfAddr) -> bool {
    matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Waiting for addresses of one interface.
struct Wait<'a> {
    patience: Patience<'a>,
    guest: Netlink,
    link: crate::model::facts::LinkFacts,
    index: u32,
    deadline: Instant,
}

impl<'a> Wait<'a> {
    fn new(asking: &'a Asking<'_>, signals: &'a mut Signals) -> Result<Self, LeaseError> {
        let deadline = Instant::now() + asking.options.dhcp_timeout();
        let namespace = &asking.held.namespace;
        let mut guest = namespace.netlink()?;
        let link = link(&mut guest, asking.guest_if)?;
        let patience = Patience::new(signals, namespace, asking.held.process.as_ref(), link.index)?;
        Ok(Self { patience, guest, index: link.index, link, deadline })
    }

    /// Waits until an address of that kind may be used; `why` says what else was so, at the deadline.
    fn until(&mut self, why: &'static str, wanted: impl Fn(&Ipv6Facts) -> bool) -> Result<Ipv6Facts, LeaseError> {
        loop {
            let addrs = observe::ipv6_addrs(&mut self.guest, self.index)?;
            let mut those = addrs.into_iter().filter(|addr| wanted(addr));
            if let Some(found) = those.clone().find(|addr| addr.usable == Usable::Yes) {
                return Ok(found);
            }
            if let Some(lost) = those.find(|addr| addr.usable == Usable::Never) {
                return Err(LeaseError::Duplicate(lost.addr.ip()));
            }
            let now = Instant::now();
            if now >= self.deadline {
                return Err(LeaseError::NoAddress { seconds: self.patience.seconds(), why });
            }
            self.patience.wait(&[], Some((now + LOOK).min(self.deadline)))?;
        }
    }

    /// Whether a router has made a default route over the interface.
    fn has_router(&mut self) -> Result<bool, DhcpError> {
        let any = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
        Ok(observe::default_routes(&mut self.guest, any)?.iter().any(|route| route.links.contains(&self.index)))
    }
}
