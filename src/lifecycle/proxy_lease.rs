//! A DHCP lease for a link that is not there yet, or is in a guest by now: the host asks for it, on the interface behind which the
//! guest is. Servers are asked to answer to all, since what they send to the guest itself would pass by.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::LeaseError;
use crate::external::dhcp::Patience;
use crate::external::dhcp::v4::{Answer, Client, Who};
use crate::kernel::netns::Namespace;
use crate::kernel::observe::{self, fresh_mac};
use crate::kernel::signal::Signals;
use crate::model::dhcp::ClientWords;
use crate::model::error::KernelError;
use crate::model::facts::Layer;
use crate::model::lease::Lease;
use crate::model::types::{IfName, MacAddr};

/// Whom a lease is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrower {
    /// The interface of the host that the server is asked on.
    pub interface: IfName,
    /// The MAC address that it is lent to.
    pub mac: MacAddr,
    /// The Ethernet address that the server's answers come from, once there were some.
    pub server_mac: Option<MacAddr>,
}

/// A lease, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// The lease.
    pub lease: Lease,
    /// The Ethernet address that the server's answer came from.
    pub server_mac: Option<MacAddr>,
}

/// What a server says to a lease that there was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It holds, from now on for its time.
    Yes(Box<Borrowed>),
    /// It does not.
    No,
    /// Nobody said anything.
    Unknown,
}

impl Borrower {
    /// Asks for an address, this one if `wish` says so, for so long.
    ///
    /// # Errors
    /// When none comes.
    pub fn borrow(&self, wish: Option<Ipv4Addr>, patience: Duration) -> Result<Borrowed, LeaseError> {
        self.exchange(wish, |client, waiting| Ok(client.acquire(waiting, Instant::now().checked_add(patience))?))
    }

    /// Asks whether a lease still holds, which gives it more time.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub fn confirm(&self, lease: &Lease, patience: Duration) -> Result<Confirmed, LeaseError> {
        let mut server_mac = None;
        let answer = self.with_client(None, |client, waiting| {
            let answer = client.confirm(lease, waiting, Instant::now() + patience)?;
            server_mac = client.who().server_mac.map(MacAddr::of_frame);
            Ok(answer)
        })?;
        Ok(match answer {
            Answer::Granted(lease) => Confirmed::Yes(Box::new(Borrowed { lease: *lease, server_mac })),
            Answer::Refused => Confirmed::No,
            Answer::Silence => Confirmed::Unknown,
        })
    }

    /// Gives a lease back. Nobody answers that.
    ///
    /// # Errors
    /// When it cannot be said.
    pub fn give_back(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.with_client(None, |client, _| Ok(client.release(lease)?))
    }

    fn exchange(
        &self,
        wish: Option<Ipv4Addr>,
        ask: impl FnOnce(&mut Client<'_>, &mut Patience<'_>) -> Result<Lease, LeaseError>,
    ) -> Result<Borrowed, LeaseError> {
        let mut server_mac = None;
        let lease = self.with_client(wish, |client, waiting| {
            let lease = ask(client, waiting)?;
            server_mac = client.who().server_mac.map(MacAddr::of_frame);
            Ok(lease)
        })?;
        Ok(Borrowed { lease, server_mac })
    }

    fn with_client<T>(
        &self,
        wish: Option<Ipv4Addr>,
        work: impl FnOnce(&mut Client<'_>, &mut Patience<'_>) -> Result<T, LeaseError>,
    ) -> Result<T, LeaseError> {
        let home = Namespace::current()?;
        let link = observe::link_called(&mut home.netlink()?, &self.interface)?;
        let link = link.ok_or_else(|| KernelError::NoLink(self.interface.to_string()))?;
        if link.layer != Layer::Ethernet {
            return Err(LeaseError::NotEthernet(self.interface.clone()));
        }
        let who = Who {
            link: self.interface.clone(),
            index: link.index,
            mac: self.mac,
            // Of the MAC address alone, as of a client that has nothing else (RFC 2132, section 9.14: type 1 is Ethernet).
            client_id: std::iter::once(1).chain(self.mac.octets()).collect(),
            server_mac: self.server_mac.map(|mac| mac.octets()),
            host_name: None,
            words: ClientWords { broadcast: true, request: wish, ..ClientWords::default() },
        };
        let mut signals = Signals::hold()?;
        let mut client = Client::new(who, &home)?;
        let mut patience = Patience::new(&mut signals, &home, None, link.index)?;
        work(&mut client, &mut patience)
    }
}

/// What a server behind an interface would lend: nothing is taken.
///
/// # Errors
/// When nobody answers.
pub fn ask(interface: &IfName, patience: Duration) -> Result<Lease, LeaseError> {
    let nobody = Borrower { interface: interface.clone(), mac: fresh_mac(), server_mac: None };
    let asked = nobody.exchange(None, |client, waiting| Ok(client.ask(waiting, Instant::now().checked_add(patience))?))?;
    Ok(asked.lease)
}

/// The router of a lease.
pub fn router(lease: &Lease) -> Option<IpAddr> {
    lease.routes.iter().find(|route| route.to.prefix() == 0).and_then(|route| route.via).map(IpAddr::V4)
}
