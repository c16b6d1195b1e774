//! Before anybody is asked: the bridge's port has to forward, or the question is lost.

use std::time::{Duration, Instant};

use super::dynamic::Asking;
use super::lease::LeaseError;
use crate::external::dhcp::Patience;
use crate::kernel::observe;
use crate::kernel::wire::Netlink;
use crate::model::facts::{LinkKind, Names};

/// Between two looks; at first shorter, as most ports forward at once.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until the port of a Linux bridge forwards and the guest's link has carrier, or until the deadline: whoever asks then
/// says that nobody answered.
pub(super) fn wait(asking: &Asking<'_>, patience: &mut Patience<'_>, deadline: Instant) -> Result<(), LeaseError> {
    let mut guest = asking.held.namespace.netlink()?;
    let mut host = Netlink::open()?;
    let port = Names::of(&asking.facts.guest.id).host_end(asking.request);
    let mut pause = Duration::from_micros(100);
    loop {
        let carrier = observe::link_called(&mut guest, asking.guest_if)?.is_some_and(|link| link.carrier);
        // A link without such a port has none to wait for.
        let port = observe::link_called(&mut host, &port)?.filter(|port| port.kind == LinkKind::Veth);
        if carrier && port.is_none_or(|port| port.carrier && port.forwarding != Some(false)) {
            return Ok(());
        }
        let now = Instant::now();
        if now >= deadline {
            return Ok(());
        }
        patience.wait(&[], Some((now + pause).min(deadline)))?;
        pause = (pause * 2).min(LOOK);
    }
}
