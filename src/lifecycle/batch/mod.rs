//! Many attaches, detaches and links in one run: everything is checked first, then done by a few threads.
//!
//! What the kernel does for an attach it does under one lock (rtnl), one after another whoever asks. Two threads are enough to
//! keep it busy: while one waits for it, the other looks guests up, plans, and writes records.

mod check;
mod order;
mod undo;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

pub use check::{Flaw, check};
use order::Phase;
use work::Before;
pub use work::{Ended, Line, Work};

use super::together::{Recorded, Together};
use super::{AttachError, recording};
use crate::guest::Directory;
use crate::kernel::flood::Flood;
use crate::kernel::herald::Heralds;
use crate::kernel::random_id;
use crate::kernel::signal::{Signals, Stop, obey};
use crate::model::error::KernelError;
use crate::model::report::{BatchReport, Outcome};
use crate::state::FloodNote;

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct BatchOptions {
    /// How many are done at the same time; what measurements say when absent.
    pub jobs: Option<usize>,
    /// All or nothing: when one fails, those that were done are undone.
    pub atomic: bool,
    /// Where records are kept ([`crate::state::run_dir`]).
    pub run_dir: PathBuf,
}

/// How many are done at once when nothing is said: more wait for the kernel's lock only, and for each other's.
pub const USUAL_JOBS: usize = 2;
/// As many where lines wait for others' answers: DHCP servers, or the network's whether an address is taken.
pub const WAITING_JOBS: usize = 32;
/// More than any of it can use.
pub const MOST_JOBS: usize = 256;

/// A guest, by whatever words: the number of its namespace, or the word itself where that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Guest {
    Netns(u64),
    Word(String),
}

/// How often it is looked whether a signal has come.
const LOOK: Duration = Duration::from_millis(50);

/// Does what all lines ask for, which were [`check`]ed. `tell` is told of each as it ends; lines of one guest end in their order.
///
/// # Errors
/// When nothing could be done at all. What became of a line is told to `tell`.
pub fn run(lines: &[Line], options: &BatchOptions, tell: &mut dyn FnMut(&Line, &Ended)) -> Result<BatchReport, AttachError> {
    let start = Instant::now();
    let mut report = BatchReport::of(lines.len());
    report.warnings = Together::default().begin(&options.run_dir, false, &mut |_| {})?;
    let records = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let guests = Directory::of(lines.iter().flat_map(|line| line.work.guests()));
    let detaches = lines.iter().any(|line| matches!(line.work, Work::Detach { .. }));
    let recorded = if detaches { Some(Recorded::look(&records).map_err(AttachError::Unrecorded)?) } else { None };
    // Should this run be killed, the next one lets the ports in.
    let note = if lines.len() > 1 { FloodNote::leave(&options.run_dir, records.home(), newest_link()?, &random_id()).ok() } else { None };
    let flood = Flood::default();
    let heralds = Heralds::default();
    let mut signals = Signals::hold().map_err(AttachError::Observe)?;
    let run = Run {
        options,
        together: Together { begun: true, flood: note.as_ref().map(|_| &flood), guests: Some(&guests), recorded: recorded.as_ref() },
        heralds: &heralds,
        stop: AtomicBool::new(false),
        asked: Stop::new().map_err(no_pipe)?,
    };
    let mut done = undo::Done::default();
    for phase in order::phases(lines, |guest| Some(run.together.hold(guest).ok()?.id.netns)) {
        run.carry_out(lines, &phase, &mut signals, &mut |line, ended, before| {
            report.count(ended.outcome());
            report.interrupted = report.interrupted.or(ended.interrupted());
            tell(line, &ended);
            if options.atomic {
                done.note(line, &ended, before);
            }
        });
        report.interrupted = signals.pending().or(report.interrupted);
    }
    if options.atomic && (report.failed > 0 || report.interrupted.is_some()) {
        report.undone(done.undo(run.together, options));
    }
    heralds.tell_bridges();
    if let Err(error) = flood.let_in() {
        report.warnings.push(format!("new ports are not in their bridge's flood of multicast: {error}"));
    } else if let Some(note) = note {
        note.remove();
    }
    heralds.in_background();
    report.elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(report)
}

fn no_pipe(error: std::io::Error) -> AttachError {
    let errno = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default());
    AttachError::Observe(KernelError::Refused { errno, text: Some("making a pipe".into()) })
}

/// The index of the newest link of the host: those of the run are newer.
fn newest_link() -> Result<u32, AttachError> {
    let links = crate::kernel::observe::links_of_host().map_err(AttachError::Observe)?;
    Ok(links.iter().map(|link| link.index).max().unwrap_or(0))
}

struct Run<'a> {
    options: &'a BatchOptions,
    together: Together<'a>,
    heralds: &'a Heralds,
    /// No other line is to be begun.
    stop: AtomicBool,
    /// The lines in hand are to be undone.
    asked: Arc<Stop>,
}

/// What a thread tells of a line: its place, what became of it, and what was recorded before.
type Told = (usize, Ended, Before);

impl Run<'_> {
    /// Does the lines of a phase. Those that share a guest are done one after another.
    fn carry_out(&self, lines: &[Line], phase: &Phase, signals: &mut Signals, tell: &mut dyn FnMut(&Line, Ended, Before)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (send, told) = channel::<Told>();
            let mut threads = 0;
            for _ in 0..self.jobs(lines, phase) {
                let (send, next) = (send.clone(), &next);
                let work = move || {
                    // The thread that listens has the signals: one that a line took at its end would be lost to all others.
                    obey(&self.asked);
                    self.take(lines, phase, next, &send);
                };
                threads += usize::from(std::thread::Builder::new().spawn_scoped(scope, work).is_ok());
            }
            if threads == 0 {
                self.take(lines, phase, &next, &send);
            }
            drop(send);
            self.listen(lines, &told, signals, tell);
        });
    }

    fn listen(&self, lines: &[Line], told: &Receiver<Told>, signals: &mut Signals, tell: &mut dyn FnMut(&Line, Ended, Before)) {
        loop {
            match told.recv_timeout(LOOK) {
                Ok((n, ended, before)) => {
                    if ended.interrupted().is_some() || (self.options.atomic && ended.outcome() == Outcome::Failed) {
                        self.stop.store(true, Ordering::SeqCst);
                    }
                    if let Some(line) = lines.get(n) {
                        tell(line, ended, before);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if signals.pending().is_some() {
                self.stop.store(true, Ordering::SeqCst);
                self.asked.ask();
            }
        }
    }

    /// What one thread does: the next lines that nobody has begun, until there are none or it is to stop.
    fn take(&self, lines: &[Line], phase: &Phase, next: &AtomicUsize, send: &Sender<Told>) {
        while let Some(chain) = phase.chain(next.fetch_add(1, Ordering::SeqCst)) {
            for (n, line) in chain.iter().filter_map(|n| Some((*n, lines.get(*n)?))) {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                let before = if self.options.atomic { Before::look(line, self.together, &self.options.run_dir) } else { Before::default() };
                if send.send((n, line.work.carry_out(self.together, self.heralds), before)).is_err() {
                    return;
                }
            }
        }
    }

    fn jobs(&self, lines: &[Line], phase: &Phase) -> usize {
        let waits = phase.lines().filter_map(|n| lines.get(n)).any(|line| line.work.waits());
        let usual = if waits { WAITING_JOBS } else { USUAL_JOBS };
        self.options.jobs.unwrap_or(usual).clamp(1, MOST_JOBS).min(phase.len().max(1))
    }
}
