//! Keeping new ports out of a bridge's flood of multicast while many are made.
//!
//! Each guest that comes up asks by multicast whether somebody has its IPv6 addresses, and tells which groups it listens to; the
//! bridge gives each of these frames to all ports. For n guests that is n² frames, which cost far more than the guests
//! themselves. None of those that are being made has anything to say to the others yet: their ports are left out
//! (IFLA_BRPORT_MCAST_FLOOD, linux/if_link.h) until the last is there. What they send themselves reaches every other port and the
//! host all the same, and unicast and broadcast reach them.

use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

use super::encode;
use super::wire::Netlink;
use crate::model::error::KernelError;

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
    /// Keeps a port out. Where the kernel cannot, it is in the flood, which does no harm.
    pub(super) fn keep_out(&self, host: &mut Netlink, port: u32) {
        // Noted first: whoever is cut off in between lets in what was never out.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).push(port);
        let _ = host.request(&encode::set_flood(port, false), 0);
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
        let messages: Vec<_> = some.iter().map(|port| (encode::set_flood(*port, true), 0)).collect();
        let refused = host.request_all(&messages).into_iter().filter_map(Result::err).find(|error| error.errno() != Some(Errno::ENODEV));
        ended = ended.and(refused.map_or(Ok(()), Err));
    }
    ended
}
