//! Leases that are kept: each by a thread that does nothing but wait. They outlive the daemon: the next one takes them up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::board::{Board, Event, Kind};
use crate::kernel::signal::{Stop, obey};
use crate::lifecycle::{End, Kept, Tenancy, TookUp};

/// What such a thread needs: it asks, reads the answer, and tells the kernel. There may be thousands.
const STACK: usize = 256 * 1024;
/// How long the threads may take to end with the daemon. Whatever they are at is written down, and can be taken up.
const ENDING: Duration = Duration::from_secs(2);
/// How long a thread may take to give a lease back.
const GIVING_BACK: Duration = Duration::from_millis(500);

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

/// All leases that this daemon keeps. Its clones are one and the same.
#[derive(Clone, Debug)]
pub struct Leases {
    run_dir: PathBuf,
    board: Board,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the attachment's identifier: what ends the thread that keeps it, and its guest's namespace.
    kept: Mutex<BTreeMap<String, (Arc<Stop>, u64)>>,
    is_ending: AtomicBool,
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, (Arc<Stop>, u64)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases {
    /// None yet. `run_dir`: where records are.
    pub fn new(run_dir: &Path, board: &Board) -> Self {
        Self { run_dir: run_dir.to_owned(), board: board.clone(), inner: Arc::default() }
    }

    /// Sees to it that a lease is kept. One that is kept already, and whose address somebody took away, is carried out again.
    pub fn keep(&self, tenancy: Tenancy, took_up: TookUp, tenant: Tenant) {
        let (id, netns) = (tenancy.record().id.clone(), tenancy.record().guest.netns);
        let mut kept = self.inner.kept();
        if let Some((stop, _)) = kept.get(&id) {
            // Whoever keeps it begins again, and finds out.
            if !tenancy.is_there().unwrap_or(true) {
                stop.ask();
            }
            return;
        }
        let warning = tenant.event(Kind::Warning);
        let own = self.clone();
        let begun = Stop::new().and_then(|stop| {
            let first = stop.clone();
            let keep = move || own.keep_on(tenancy, took_up, &tenant, first);
            std::thread::Builder::new().name("lease".into()).stack_size(STACK).spawn(keep).map(|_| stop)
        });
        match begun {
            Ok(stop) => drop(kept.insert(id, (stop, netns))),
            Err(error) => self.board.tell(Event { why: Some(format!("nobody keeps its lease: {error}")), ..warning }),
        }
    }

    /// Ends all threads. All leases stay as they are.
    pub fn end(&self) {
        self.inner.is_ending.store(true, Ordering::SeqCst);
        self.inner.kept().values().for_each(|(stop, _)| stop.ask());
        self.wait(ENDING, |_| true);
    }

    /// Waits a moment until the leases of guests that have ended are given back: that takes their interfaces, which are about to
    /// go.
    pub fn given_back(&self, numbers: &BTreeSet<u64>) {
        self.wait(GIVING_BACK, |netns| numbers.contains(&netns));
    }

    fn wait(&self, patience: Duration, is_meant: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + patience;
        while self.inner.kept().values().any(|(_, netns)| is_meant(*netns)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// One lease, until its guest or its interface is gone, or the daemon ends.
    fn keep_on(&self, first: Tenancy, took_up: TookUp, tenant: &Tenant, stop: Arc<Stop>) {
        let id = first.record().id.clone();
        let (mut next, mut stop) = (Some((first, took_up)), stop);
        while let Some((tenancy, took_up)) = next.take() {
            let record = tenancy.record().clone();
            obey(&stop);
            let mut tell = |kept: Kept<'_>| self.board.tell(event(tenant, &kept));
            match tenancy.keep(took_up, &mut tell, &mut |_| {}) {
                Ok(End::GuestEnded) => self.board.tell(tenant.event(Kind::Released)),
                Ok(End::Left) if !self.inner.is_ending.load(Ordering::SeqCst) => {
                    let Ok(another) = Stop::new() else { break };
                    stop = another;
                    self.inner.kept().insert(id.clone(), (stop.clone(), record.guest.netns));
                    next = Tenancy::again(&self.run_dir, &record).map(|tenancy| (tenancy, TookUp::FromAnother));
                }
                Ok(_) => {}
                // Whoever looks at the guest next begins anew.
                Err(error) => self.board.tell(Event { why: Some(error.to_string()), ..tenant.event(Kind::Failed) }),
            }
        }
        self.inner.kept().remove(&id);
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
