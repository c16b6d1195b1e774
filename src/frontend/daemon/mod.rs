//! `pipework daemon`: whatever is wanted of this host's guests is so, and stays so.
//!
//! ```text
//! engine's events ─┐                            ┌─ one thread for each piece of work
//! netlink, inotify ┼─> messages -> control -> chains: whose turn is it? -> work: look, make it so
//! signals, time   ─┘                            └─ told -> board: log, figures, followers
//! ```
//!
//! Nothing that is heard is believed: it is only a reason to look at a guest again, and where all is well a look changes
//! nothing. So what is heard twice, late or never does no harm.

pub(super) mod announcer;
pub mod ask;
pub mod beside;
pub mod board;
mod chains;
mod control;
mod engines;
mod leases;
mod message;
pub mod notify;
mod rules;
pub mod serve;
mod wants;
mod work;

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use thiserror::Error;

use super::Grammar;
use beside::{Begin, Bell};
use board::{Board, Event, Kind};
use control::Control;
use leases::Leases;
use message::Message;
use notify::Notifier;
use rules::Rules;
use serve::{ServeError, ServeOptions, serve};
use work::Shop;

use crate::guest::containers::ContainerEngine;
use crate::kernel::ears::{Ears, Heard};
use crate::kernel::signal::{Signals, Stop};
use crate::lifecycle::{AttachError, Options, tend};
use crate::model::error::KernelError;
use crate::model::intent::Host;
use crate::state::ExclusiveLock;

/// Whose lock the daemon has, in the run directory.
pub const LOCK: &str = "daemon.lock";
/// So many messages may wait. Who tells more waits itself.
const MOST_MESSAGES: usize = 512;
/// After something was heard, more is waited for so long: a flood of changes costs no more than a few.
const BATCH: Duration = Duration::from_millis(5);
/// A socket and a process for each guest, and what the work needs.
const FILES: u64 = 65_536;

/// Its place in the line for the processors (nice(2)): a container that has begun waits for its address, and many that begin at
/// once leave nothing to whoever is not before them.
const FIRST: i32 = -10;

/// How to go about it.
pub struct DaemonOptions {
    /// Where the administrator's files are.
    pub config: PathBuf,
    /// Go through all once, and end.
    pub once: bool,
    /// How often what nobody tells of is looked at.
    pub interval: Duration,
    /// What is told of it.
    pub board: Board,
    /// The command line's grammar.
    pub grammar: Grammar,
    /// What nobody's words say.
    pub options: Options,
    /// What this host has to say to its containers' words.
    pub host: Host,
    /// Who may ask, and where. Nobody is answered with [`DaemonOptions::once`].
    pub serve: ServeOptions,
    /// What works beside it: a cluster's agent.
    pub beside: Option<Begin>,
}

/// Why it does not run.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Another one does.
    #[error("another daemon looks after this host: it has {}", .0.display())]
    Another(PathBuf),
    /// The lock cannot be had.
    #[error("the daemon's lock")]
    Lock(#[source] std::io::Error),
    /// Files have mistakes.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
    /// What it cannot do without is not there.
    #[error(transparent)]
    Begin(#[from] AttachError),
    /// The kernel refuses.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Nobody could be answered.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The system refuses a thread, or a pipe.
    #[error("starting")]
    Start(#[from] std::io::Error),
}

impl DaemonError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Another(_) => Some("stop that one first; `pipework daemon --once` needs the place too".into()),
            Self::Lock(_) => Some("run it with sudo".into()),
            Self::Begin(error) => error.hint(),
            Self::Files(_) | Self::Kernel(_) | Self::Serve(_) | Self::Start(_) => None,
        }
    }
}

/// Runs until a signal asks to stop. All attachments stand then. Whether all that is wanted was there at the end, with
/// [`DaemonOptions::once`].
///
/// # Errors
/// See [`DaemonError`]. Nothing was changed then.
pub fn run(options: DaemonOptions) -> Result<bool, DaemonError> {
    let DaemonOptions { config, once, interval, board, grammar, options, host, serve: ears, beside } = options;
    let environment = host.environment.clone();
    // Without `daemon` among the image's run modes it goes through all once.
    let once = once || environment.run_modes.is_some_and(|modes| !modes.daemon);
    std::thread::sleep(Duration::from_millis(environment.sleep));
    // Before there are threads, which have it from here. Where it may not be, it is as it is.
    let _ = rustix::process::setpriority_process(None, FIRST);
    let signals = Signals::hold()?;
    let notifier = Notifier::from_environment()?;
    let lock = options.run_dir.join(LOCK);
    let _lock = ExclusiveLock::try_take(&lock).map_err(DaemonError::Lock)?.ok_or(DaemonError::Another(lock))?;
    let rules = Rules::read(&config, &host, grammar, &options).map_err(DaemonError::Files)?;
    let mut warnings = tend::begin(&options, &mut |_| {})?;
    warnings.extend(more_files());
    let (tell, messages) = sync_channel(MOST_MESSAGES);
    let (engines, wrong) = ContainerEngine::all();
    warnings.extend(rules.warnings.iter().cloned().chain(wrong));
    let _server = if once { None } else { Some(serve(&board, &ears)?) };
    let run_dir = options.run_dir.clone();
    let shop = Arc::new(Shop {
        rules: RwLock::new(Arc::new(rules)),
        grammar,
        options,
        announcer: announcer::Announcer::default(),
        leases: Leases::new(&run_dir, &board),
        notifier,
        ears: Ears::new()?,
        board: board.clone(),
        stop: Stop::new()?,
        tell: tell.clone(),
    });
    board.tell(Event::new(Kind::Started));
    warnings.into_iter().for_each(|why| board.tell(Event { why: Some(why), ..Event::new(Kind::Warning) }));
    let beside = beside.map(|begin| begin(Bell::new(tell.clone()))).transpose()?;
    start(&shop, &engines, &tell, signals)?;
    let leases = shop.leases.clone();
    let mut control = Control::new(shop, engines, &config, interval);
    let end = control.run(&messages, once, &mut || board.ready());
    leases.end();
    drop(beside);
    board.tell(Event { why: Some(end.to_owned()), ..Event::new(Kind::Stopped) });
    Ok(!control.failed)
}

/// Starts the threads that hear. They end with the process.
fn start(shop: &Arc<Shop>, engines: &[ContainerEngine], tell: &SyncSender<Message>, signals: Signals) -> std::io::Result<()> {
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    let told = tell.clone();
    thread("signals").spawn(move || take_signals(signals, &told))?;
    if let Some(pulse) = shop.notifier.pulse() {
        let told = tell.clone();
        thread("watchdog").spawn(move || beat(pulse, &told))?;
    }
    let (told, own) = (tell.clone(), shop.clone());
    thread("ears").spawn(move || listen(&own.ears, &told))?;
    for (number, engine) in engines.iter().cloned().enumerate() {
        let told = tell.clone();
        thread("engine").spawn(move || engines::follow(number, &engine, &told))?;
    }
    Ok(())
}

fn take_signals(mut signals: Signals, tell: &SyncSender<Message>) {
    loop {
        let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        while let Some(signal) = signals.take() {
            if tell.send(Message::Signal(signal)).is_err() {
                return;
            }
        }
    }
}

/// Asks the thread that decides to say that it is alive, for as long as it does.
fn beat(pulse: Duration, tell: &SyncSender<Message>) {
    while tell.send(Message::Alive).is_ok() {
        std::thread::sleep(pulse);
    }
}

fn listen(ears: &Ears, tell: &SyncSender<Message>) {
    loop {
        let mut all: Vec<Heard> = Vec::new();
        // Many changes in one place are one reason to look.
        let mut note = |heard: Heard| {
            if !all.contains(&heard) {
                all.push(heard);
            }
        };
        if ears.listen(&mut note).is_err() {
            std::thread::sleep(Duration::from_secs(1));
        }
        for heard in all {
            if tell.send(Message::Heard(heard)).is_err() {
                return;
            }
        }
        std::thread::sleep(BATCH);
    }
}

/// As many files as may be, up to what is needed for thousands of guests. What is to be known, where that are few.
fn more_files() -> Option<String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(FILES, |most| most.min(FILES));
    if now.current.is_none_or(|current| current >= wanted) {
        return None;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }) {
        Ok(()) => None,
        Err(error) => Some(format!("no more than {} files can be open, two for each guest: {error}", now.current.unwrap_or(0))),
    }
}
