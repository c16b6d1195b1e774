//! Keeping new ports out of a bridge's flood of multicast while many are made.
//!
//! Each guest that comes up asks by multicast whether somebody has its IPv6 addresses, and tells which groups it listens to; the
//! bridge gives each of these frames to all ports. For n guests that is n² frames, which cost far more than the guests
//! themselves. None of those that are being made has anything to say to the others yet: their ports are left out
//! (IFLA_BRPORT_MCAST_FLOOD, linux/if_link.h) until the last is there. What they send themselves reaches every other port and the
//! host all the same, and unicast and broadcast reach them.
//!
//! The host's end has its IPv6 switched off: as a port it hands all that it receives to the bridge, so nothing could reach an
//! address of it, and each end with IPv6 adds routes, through all of which the next one goes (rt6_sync_up, net/ipv6/route.c): 4,000
//! took more than twice as long. And it comes up after the
//! guest's end: one that is up before is a port that is switched on and off once more, each time with a look at all other ports
//! (br_port_state_selection, net/bridge/br_stp.c).

use std::sync::{Mutex, PoisonError};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use nix::errno::Errno;

use super::wire::{Answer, Netlink};
use super::{decode, encode, sysctl};
use crate::model::error::KernelError;
use crate::model::facts::LinkFacts;
use crate::model::types::IfName;

/// How many ports are changed by one datagram: their answers have to fit into the socket's receive buffer
/// (net.core.rmem_default, 208 KiB).
const AT_ONCE: usize = 64;

/// Ports that are kept out of the flood.
#[derive(Debug, Default)]
pub struct Flood {
    /// Their indexes.
    ports: Mutex<Vec<u32>>,
}

impl Flood {
    /// A port that is not up yet is to be kept out, and needs no IPv6.
    pub(super) fn expect(&self, name: &IfName, port: u32) {
        // Noted first: whoever is cut off in between lets in what was never out.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).push(port);
        sysctl::no_ipv6(name);
    }

    /// Sets such a port up. Where the kernel cannot keep it out, it is in the flood, which does no harm.
    ///
    /// # Errors
    /// When the kernel refuses to set it up.
    pub(super) fn set_up(host: &mut Netlink, port: u32) -> Result<(), KernelError> {
        host.request(&encode::set_up_out_of_flood(port), 0).or_else(|_| host.request(&encode::set_up(port, true), 0)).map(|_| ())
    }

    /// Lets all in that were kept out and are still there.
    ///
    /// # Errors
    /// The first of the kernel's refusals; the others were let in.
    pub fn let_in(&self) -> Result<(), KernelError> {
        let ports = std::mem::take(&mut *self.ports.lock().unwrap_or_else(PoisonError::into_inner));
        if ports.is_empty() { Ok(()) } else { let_in(&mut Netlink::open()?, &ports) }
    }
}

/// Lets ports in, as far as they are still there.
pub(super) fn let_in(host: &mut Netlink, ports: &[u32]) -> Result<(), KernelError> {
    let mut ended = Ok(());
    for some in ports.chunks(AT_ONCE) {
        let messages: Vec<_> = some.iter().map(|port| (encode::let_in(*port), 0)).collect();
        let refused = host.request_all(&messages).into_iter().filter_map(Result::err).find(|error| error.errno() != Some(Errno::ENODEV));
        ended = ended.and(refused.map_or(Ok(()), Err));
    }
    ended
}

/// Lets in what a run left out that is no more: ports of bridges that bear our mark and are newer than the link of that index.
/// Returns how many there were.
///
/// # Errors
/// When the kernel refuses to tell, or to let them in.
pub fn let_in_after(newest: u32) -> Result<usize, KernelError> {
    let mut host = Netlink::open()?;
    let answers = host.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let is_out = |link: &LinkFacts, answer: &Answer| link.is_ours() && link.index > newest && decode::is_out_of_flood(answer);
    let out = answers.iter().filter_map(|answer| decode::link(answer).filter(|link| is_out(link, answer)));
    let ports: Vec<u32> = out.map(|link| link.index).collect();
    let_in(&mut host, &ports)?;
    Ok(ports.len())
}
