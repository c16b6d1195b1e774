//! Watching over a new bridge: the gateways are asked through it, and all is given back when they do not answer in time and nobody
//! says that it is well. The watcher is a process of its own session: it goes on when the one that began is cut off.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::{HostError, Job};
use crate::kernel::signal::Signals;
use crate::kernel::{fork, host_bridge};
use crate::model::host_bridge::{HostBridge, HostReport, Phase, Watched};

/// How often it is looked whether somebody has said a word.
const LOOK: Duration = Duration::from_millis(100);

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// How a watch ended.
enum End {
    /// It stays.
    Stays,
    /// It was given back.
    Back,
}

/// Starts the watch, and waits for its end when there are gateways to wait for; a word alone is the user's to say, who has
/// to get the terminal back for it.
pub(super) fn over(
    job: &Job<'_>,
    mut record: HostBridge,
    gateways: Vec<IpAddr>,
    patience: Duration,
    report: &mut HostReport,
) -> Result<(), HostError> {
    // Held back here, they are held back in the watcher: a terminal that closes says SIGHUP.
    let mut signals = Signals::hold().map_err(HostError::Observe)?;
    let seconds = patience.as_secs().max(1);
    record.phase = Phase::Watched { until: now() + seconds, gateways: gateways.clone() };
    job.records.put(&record).map_err(HostError::Record)?;
    let deadline = Instant::now() + patience;
    let child = fork::child(&[job.home.raw_fd()], || {
        let _ = setsid();
        let _ = watch(job, &gateways, deadline);
    });
    match child {
        Some(_) if gateways.is_empty() => {
            report.watched = Watched::Waiting { seconds };
            Ok(())
        }
        Some(child) => wait(job, child, (&gateways, seconds), &mut signals, report),
        // A process with several threads cannot have a watcher beside it.
        None => match watch(job, &gateways, deadline)? {
            End::Stays => stays(job, gateways, report),
            End::Back => Err(no_answer(job, &gateways, seconds)),
        },
    }
}

fn no_answer(job: &Job<'_>, gateways: &[IpAddr], seconds: u64) -> HostError {
    HostError::NoAnswer { bridge: job.bridge.clone(), asked: gateways.to_vec(), seconds }
}

fn stays(job: &Job<'_>, gateways: Vec<IpAddr>, report: &mut HostReport) -> Result<(), HostError> {
    let files = job.recorded()?.map(|record| record.files).unwrap_or_default();
    report.files = files.into_iter().map(|file| file.path).collect();
    report.watched = Watched::Answered { gateways };
    Ok(())
}

/// Waits until the watcher has ended. Who does not want to wait that long ends this process, and the watch goes on.
fn wait(
    job: &Job<'_>,
    child: Pid,
    (gateways, seconds): (&[IpAddr], u64),
    signals: &mut Signals,
    report: &mut HostReport,
) -> Result<(), HostError> {
    let mut pause = Duration::from_millis(1);
    while let Ok(WaitStatus::StillAlive) = waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        if signals.pending().is_some() {
            report.watched = Watched::Waiting { seconds };
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    match job.recorded()?.map(|record| record.phase) {
        None => Err(no_answer(job, gateways, seconds)),
        Some(Phase::Kept) => stays(job, gateways.to_vec(), report),
        Some(_) => Err(HostError::WatchLost { bridge: job.bridge.clone() }),
    }
}

/// Asks until all have answered, somebody has said a word, or it is too late.
fn watch(job: &Job<'_>, gateways: &[IpAddr], deadline: Instant) -> Result<End, HostError> {
    let mut open: Vec<IpAddr> = gateways.to_vec();
    while Instant::now() < deadline {
        match job.recorded()?.map(|record| record.phase) {
            Some(Phase::Watched { .. }) => {}
            Some(_) => return Ok(End::Stays),
            None => return Ok(End::Back),
        }
        // The bridge may not be ready to be asked through yet: then it is asked again.
        let answered = host_bridge::answering(job.bridge, &open).unwrap_or_default();
        open.retain(|gateway| !answered.contains(gateway));
        if !gateways.is_empty() && open.is_empty() {
            return settle(job, true);
        }
        std::thread::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now())));
    }
    settle(job, false)
}

/// Keeps it or gives it back, unless somebody was quicker.
fn settle(job: &Job<'_>, well: bool) -> Result<End, HostError> {
    let _lock = job.records.lock(job.bridge).map_err(HostError::Record)?;
    let Some(mut record) = job.recorded()? else { return Ok(End::Back) };
    if !matches!(record.phase, Phase::Watched { .. }) {
        return Ok(End::Stays);
    }
    if well {
        job.keep(&mut record)?;
        return Ok(End::Stays);
    }
    // Guests that came meanwhile keep their ports: the host's own way out comes first.
    job.give_back(&record, true, &mut |_| {})?;
    Ok(End::Back)
}
