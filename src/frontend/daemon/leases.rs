//! Leases that are kept: each by a thread that does nothing but wait.

use super::board::{Board, Event, Kind};
use crate::kernel::signal::{Stop, obey};
use crate::lifecycle::{Kept, Stay};

/// Whose lease it is, for the log.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The guest.
    pub guest: String,
    /// The engine's identifier of the container.
    pub container: Option<String>,
    /// The interface.
    pub interface: String,
    /// Who wanted it.
    pub source: String,
}

impl Tenant {
    fn event(&self, kind: Kind) -> Event {
        Event {
            guest: Some(self.guest.clone()),
            container: self.container.clone(),
            interface: Some(self.interface.clone()),
            source: Some(self.source.clone()),
            ..Event::new(kind)
        }
    }
}

/// Keeps a lease until the guest or its interface is gone. The daemon's end does not end it: the address stands, and the next
/// daemon takes it up.
pub fn keep(stay: Stay, tenant: Tenant, board: &Board) {
    let (told, failed) = (board.clone(), tenant.clone());
    let thread = std::thread::Builder::new().name("lease".into()).spawn(move || {
        // Never asked: what ends it is the guest.
        let Ok(stop) = Stop::new() else { return };
        obey(&stop);
        let mut tell = |kept: Kept<'_>| told.tell(event(&tenant, &kept));
        if let Err(error) = stay.run(&mut tell, &mut |_| {}) {
            told.tell(Event { why: Some(error.to_string()), ..tenant.event(Kind::Failed) });
        }
    });
    if let Err(error) = thread {
        board.tell(Event { why: Some(format!("nobody keeps its lease: {error}")), ..failed.event(Kind::Warning) });
    }
}

fn event(tenant: &Tenant, kept: &Kept<'_>) -> Event {
    match kept {
        Kept::Renewed(lease) => Event { addresses: vec![lease.addr.to_string()], ..tenant.event(Kind::Renewed) },
        Kept::Leased(lease) => Event { addresses: vec![lease.addr.to_string()], ..tenant.event(Kind::Leased) },
        Kept::Lost => tenant.event(Kind::Lost),
        Kept::Failed(why) => Event { why: Some((*why).to_owned()), ..tenant.event(Kind::Failed) },
    }
}
