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
    /// By the attachments' identifiers.
    kept: Mutex<BTreeMap<String, Hold>>,
    is_ending: AtomicBool,
}

/// What there is of the thread that keeps a lease.
#[derive(Debug)]
struct Hold {
    /// Ends it.
    stop: Arc<Stop>,
    /// Says that its guest has ended.
    over: Arc<AtomicBool>,
    /// The guest's namespace.
    netns: u64,
}

impl Hold {
    fn new(tenancy: &Tenancy) -> std::io::Result<Self> {
        Ok(Self { stop: Stop::new()?, over: tenancy.over(), netns: tenancy.record().guest.netns })
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Hold>> {
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
        let id = tenancy.record().id.clone();
        let mut kept = self.inner.kept();
        if let Some(hold) = kept.get(&id) {
            // Whoever keeps it begins again, and finds out.
            if !tenancy.is_there().unwrap_or(true) {
                hold.stop.ask();
            }
            return;
        }
        let warning = tenant.event(Kind::Warning);
        let own = self.clone();
        let begun = Hold::new(&tenancy).and_then(|hold| {
            let stop = hold.stop.clone();
            let keep = move || own.keep_on(tenancy, took_up, &tenant, stop);
            std::thread::Builder::new().name("lease".into()).stack_size(STACK).spawn(keep).map(|_| hold)
        });
        match begun {
            Ok(hold) => drop(kept.insert(id, hold)),
            Err(error) => self.board.tell(Event { why: Some(format!("nobody keeps its lease: {error}")), ..warning }),
        }
    }

    /// Ends all threads. All leases stay as they are.
    pub fn end(&self) {
        self.inner.is_ending.store(true, Ordering::SeqCst);
        self.inner.kept().values().for_each(|hold| hold.stop.ask());
        self.wait(ENDING, |_| true);
    }

    /// Gives back the leases of guests that have ended. That takes their interfaces, which are about to go.
    pub fn give_back(&self, numbers: &BTreeSet<u64>) {
        for hold in self.inner.kept().values().filter(|hold| numbers.contains(&hold.netns)) {
            hold.over.store(true, Ordering::SeqCst);
            hold.stop.ask();
        }
        self.wait(GIVING_BACK, |netns| numbers.contains(&netns));
    }

    fn wait(&self, patience: Duration, is_meant: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + patience;
        while self.inner.kept().values().any(|hold| is_meant(hold.netns)) && Instant::now() < deadline {
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
                    let Some(again) = Tenancy::again(&self.run_dir, &record) else { break };
                    let Ok(hold) = Hold::new(&again) else { break };
                    stop = hold.stop.clone();
                    self.inner.kept().insert(id.clone(), hold);
                    next = Some((again, TookUp::FromAnother));
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
