//! A veth straight between two guests: look, plan, do, or undo; and both records.

use std::path::PathBuf;
use std::time::Instant;

use super::AttachError;
use super::attach::{clear, old_record};
use super::hooks::{Around, Told};
use super::journal::recover_guest;
use super::recording::{self, Outcome as Recorded, Recording, Subject};
use super::together::Together;
use crate::external::hooks::HookSettings;
use crate::guest::Held;
use crate::kernel::observe::Sides;
use crate::kernel::signal::Signals;
use crate::kernel::{System, pair};
use crate::model::command::Commands;
use crate::model::facts::GuestId;
use crate::model::hook::HookEvent;
use crate::model::op::Op;
use crate::model::pair::{End, PairRequest};
use crate::model::record::LinkIdentity;
use crate::model::report::{LinkEndReport, LinkReport, Outcome, SCHEMA};
use crate::model::request::AttachRequest;
use crate::model::types::LinkRef;
use crate::plan::execute::{Done, Event, execute};
use crate::plan::{self, Plan};
use crate::state::{ExclusiveLock, Records};

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// Plan only.
    pub dry_run: bool,
    /// List the steps in the report.
    pub steps: bool,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
    /// The administrator's own programs; none when empty.
    pub hooks: HookSettings,
}

/// A link that went well.
pub struct Linked {
    /// What was done.
    pub report: LinkReport,
    /// The guests.
    pub guests: [GuestId; 2],
}

type Watch<'w> = &'w mut dyn FnMut(Event<'_>);

/// Links two guests.
///
/// # Errors
/// See [`AttachError`]. Whatever had been done is undone by then.
pub fn link(request: &PairRequest, options: &LinkOptions, watch: Watch<'_>) -> Result<Linked, AttachError> {
    link_together(request, options, Together::default(), watch)
}

/// As [`link`], among others.
pub(super) fn link_together(
    request: &PairRequest,
    options: &LinkOptions,
    together: Together<'_>,
    watch: Watch<'_>,
) -> Result<Linked, AttachError> {
    let mut warnings = together.begin(&options.run_dir, options.dry_run, watch)?;
    // Nobody is told of a new neighbour, so what is missing for that does not matter.
    warnings.retain(|warning| !warning.starts_with("CAP_NET_RAW"));
    let around = Around::find(&options.hooks)?;
    let mut linking = Linking { request, requests: request.requests(), options, together, around, warnings, start: Instant::now() };
    // Hooks, and taking away what is left of older links, change what was looked at.
    loop {
        if let Some(linked) = linking.once(watch)? {
            return Ok(linked);
        }
    }
}

struct Linking<'a> {
    request: &'a PairRequest,
    /// The same for each end.
    requests: [AttachRequest; 2],
    options: &'a LinkOptions,
    together: Together<'a>,
    around: Around,
    warnings: Vec<String>,
    start: Instant,
}

impl Linking<'_> {
    /// `None`: look again.
    fn once(&mut self, watch: Watch<'_>) -> Result<Option<Linked>, AttachError> {
        let [first, second] = &self.requests;
        let held = [self.together.hold(&first.guest)?, self.together.hold(&second.guest)?];
        let records = recording::records(&self.options.run_dir).map_err(AttachError::Observe)?;
        let locks = self.lock(&records, &held, watch)?;
        let [near, far] = &held;
        let looked = pair::look(self.request, [(&near.namespace, &near.id), (&far.namespace, &far.id)]);
        let (facts, mut sides) = looked.map_err(AttachError::Observe)?;
        let planned = plan::pair(self.request, &facts)?;
        let guests = [near.id.clone(), far.id.clone()];
        if self.options.dry_run || planned.ops().is_empty() {
            let result = if self.options.dry_run { Outcome::Planned } else { Outcome::Unchanged };
            return Ok(Some(Linked { report: self.report(&guests, &planned, result), guests }));
        }
        if self.around.is_due(HookEvent::PreAttach)? {
            // Others need not wait for them.
            drop((sides, locks));
            let told = told(&guests, &self.requests);
            self.around.before(HookEvent::PreAttach, &told, watch)?;
            return Ok(None);
        }
        if self.clear_old(&records, &held, &planned, watch)? {
            return Ok(None);
        }
        self.carry_out(&records, &held, &planned, &mut sides, watch)?;
        drop(locks);
        let mut report = self.report(&guests, &planned, Outcome::Attached);
        for told in told(&guests, &self.requests) {
            report.warnings.extend(self.around.after(HookEvent::PostAttach, &told, &report, None, watch));
        }
        Ok(Some(Linked { report, guests }))
    }

    /// Keeps every other run from both guests, and ends what one that was killed had begun.
    fn lock(&mut self, records: &Records, held: &[Held; 2], watch: Watch<'_>) -> Result<Vec<ExclusiveLock>, AttachError> {
        if self.options.dry_run {
            return Ok(Vec::new());
        }
        let numbers = held.each_ref().map(|held| held.id.netns);
        let locks = records.lock_both(numbers).map_err(AttachError::Unrecorded)?;
        for number in numbers {
            let recovered = recover_guest(records, number, &self.options.run_dir, watch).map_err(AttachError::Unrecorded)?;
            self.warnings.extend(recovered.warnings.into_iter().chain(recovered.left));
        }
        Ok(locks)
    }

    /// What is left of older attachments goes first.
    fn clear_old(&mut self, records: &Records, held: &[Held; 2], planned: &Plan, watch: Watch<'_>) -> Result<bool, AttachError> {
        let mut any = false;
        for (end, (held, request)) in [End::First, End::Second].into_iter().zip(held.iter().zip(&self.requests)) {
            let planned = planned.of_end(end, request);
            if let Some(old) = old_record(records, held.id.netns, &planned, &mut self.warnings)? {
                self.warnings.extend(clear(records, &old, &self.options.run_dir, watch)?);
                any = true;
            }
        }
        Ok(any)
    }

    /// Carries the plan out with signals held back, and records it for both guests.
    fn carry_out(
        &self,
        records: &Records,
        held: &[Held; 2],
        planned: &Plan,
        sides: &mut [Sides<'_>; 2],
        watch: Watch<'_>,
    ) -> Result<(), AttachError> {
        let mut signals = Signals::hold().map_err(AttachError::Observe)?;
        let [first, second] = &self.requests;
        let plans = [planned.of_end(End::First, first), planned.of_end(End::Second, second)];
        let subject = |n: usize| Subject { request: &self.requests[n], guest: &held[n].id, ovsdb: None };
        let recordings = Recording::begin_pair(records, &[subject(0), subject(1)], &plans)?;
        let [near, far] = sides;
        let mut system = System::new(near).linked_to(System::new(far)).with_signals(&mut signals);
        let ended = execute(planned, &mut system, watch).map_err(AttachError::from);
        let ended = ended.and_then(|done| {
            let links = identities(&mut system, planned);
            commit(records, &recordings, &done, links).inspect_err(|_| {
                let _ = done.undo(&mut system, watch);
            })
        });
        // What could not be taken back stays in the journal: the next run tries again.
        if let Err(error) = &ended
            && error.undone().is_none_or(|undone| undone.left.is_empty())
        {
            recordings.into_iter().for_each(Recording::abandon);
        }
        ended
    }

    fn report(&self, guests: &[GuestId; 2], planned: &Plan, result: Outcome) -> LinkReport {
        let [first, second] = guests;
        let commands = Commands::of_pair([first, second]);
        let step = |op: &Op| commands.step(op);
        let end = |(guest, request): (&GuestId, &AttachRequest)| LinkEndReport {
            guest: guest.into(),
            interface: crate::model::facts::guest_if(request),
            addresses: request.addr.addrs.clone(),
            gateways: request.addr.gateways.clone(),
        };
        LinkReport {
            schema: SCHEMA,
            result,
            ends: guests.iter().zip(&self.requests).map(end).collect(),
            steps: planned.ops().iter().filter(|_| self.options.steps).map(step).collect(),
            warnings: self.warnings.iter().chain(planned.warnings()).cloned().collect(),
            elapsed_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// What hooks are told of each end.
fn told<'a>(guests: &'a [GuestId; 2], requests: &'a [AttachRequest; 2]) -> [Told<'a, AttachRequest>; 2] {
    [0, 1].map(|n: usize| Told {
        guest: &guests[n],
        interface: crate::model::facts::guest_if(&requests[n]),
        addresses: requests[n].addr.addrs.clone(),
        gateways: requests[n].addr.gateways.clone(),
        request: &requests[n],
    })
}

/// What each end is known by: the answer that made them told both indexes, so nothing is asked.
fn identities(system: &mut System<'_>, planned: &Plan) -> [Option<LinkIdentity>; 2] {
    let Some(Op::AddPair { pair }) = planned.ops().first() else { return [None, None] };
    let of = |system: &mut System<'_>, name| -> Option<LinkIdentity> {
        let link = LinkRef::guest(name);
        Some(LinkIdentity { index: system.index_of(&link).ok()?, mac: None, host: None })
    };
    let near = of(system, &pair.first.interface);
    [near, system.second().ok().and_then(|second| of(second, &pair.second.interface))]
}

/// Writes down how each end stands. Unless both can be, none is.
fn commit(records: &Records, recordings: &[Recording<'_>; 2], done: &Done, links: [Option<LinkIdentity>; 2]) -> Result<(), AttachError> {
    let [near, far] = links;
    let [first, second] = recordings;
    let steps = |end| plan::steps_of(done.ops(), end);
    let record = first.commit(&steps(End::First), Recorded { link: near, ..Recorded::default() })?;
    let committed = second.commit(&steps(End::Second), Recorded { link: far, ..Recorded::default() });
    if committed.is_err() {
        let _ = records.forget(record.guest.netns, &record.interface);
    }
    committed.map(|_| ())
}
