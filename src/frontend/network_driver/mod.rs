//! `pipework docker-plugin`: networks of Docker's own commands, made by the same core as every other attachment.
//!
//! ```text
//! engine ── HTTP on a socket file ──> http -> Call -> driver:    networks, endpoints -> lifecycle::offer, withdraw
//!                                                  -> addresses: claims of a pool, or leases of a DHCP server
//! usher:  sees where links went, and asks the engine whose they are
//! leases: renews what servers lent, and gives back what nobody needs
//! ```
//!
//! The engine holds locks while it asks: nothing that it waits for here asks the engine. What does, does so on a thread of its own.

mod addresses;
mod driver;
mod http;
mod leases;
mod listener;
mod policy;
mod tidy;
mod usher;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::daemon::announcer::Announcer;
use super::daemon::board::{Board, Event, Kind};
use super::daemon::notify::{Notifier, State};
use crate::kernel::privilege::{self, Missing};
use crate::kernel::signal::{Signals, Stop};
use crate::lifecycle::Options;
use crate::model::error::KernelError;
use crate::model::pool::Owner;
use crate::state::{DriverFiles, ExclusiveLock};
use leases::Leases;
pub use listener::ListenError;
use usher::Usher;

/// Where the engine looks for plug-ins (docker's docs/extend/plugin_api.md).
pub const SOCKET: &str = "/run/docker/plugins/pipework.sock";

/// How to go about it.
pub struct DriverOptions {
    /// The socket file; systemd's, where it hands one over.
    pub socket: PathBuf,
    /// What no network's options say.
    pub options: Options,
    /// What is told of it.
    pub board: Board,
    /// This host's name, for claims.
    pub node: String,
    /// The administrator's policy, where networks are to be under it.
    pub policy: Option<PathBuf>,
}

/// Why it does not run.
#[derive(Debug, Error)]
pub enum DriverError {
    /// A capability is missing.
    #[error(transparent)]
    Privilege(#[from] Missing),
    /// Another one does.
    #[error("another docker-plugin serves this host: it has {}", .0.display())]
    Another(PathBuf),
    /// Files, threads.
    #[error("starting")]
    Start(#[from] std::io::Error),
    /// There is no socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel refuses.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl DriverError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Privilege(_) => Some("run it with sudo".into()),
            Self::Another(_) => Some("stop that one first: systemctl stop pipework-docker-plugin.socket pipework-docker-plugin".into()),
            Self::Start(_) | Self::Listen(_) | Self::Kernel(_) => None,
        }
    }
}

/// What all threads share.
struct Shop {
    files: DriverFiles,
    options: Options,
    board: Board,
    node: String,
    policy: Option<PathBuf>,
    stop: Arc<Stop>,
    usher: Usher,
    announcer: Announcer,
    leases: Leases,
    /// What was given out changes under this.
    grants: Mutex<()>,
}

impl Shop {
    fn new(options: DriverOptions) -> std::io::Result<Self> {
        let DriverOptions { options, board, node, policy, .. } = options;
        let files = DriverFiles::of(&options.state_dir);
        Ok(Self {
            files,
            options,
            board,
            node,
            policy,
            stop: Stop::new()?,
            usher: Usher::default(),
            announcer: Announcer::default(),
            leases: Leases::default(),
            grants: Mutex::default(),
        })
    }

    fn grants(&self) -> MutexGuard<'_, ()> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose an address of a pool is: a word of this host's.
    fn owner(&self, word: &str) -> Option<Owner> {
        format!("{}/{word}", self.node).parse().or_else(|_| format!("docker/{word}").parse()).ok()
    }

    fn warn(&self, why: String) {
        self.board.tell(Event { why: Some(why), source: Some("docker-plugin".into()), ..Event::new(Kind::Warning) });
    }
}

/// Runs until a signal asks to stop. All networks and all that is on them stand then.
///
/// # Errors
/// See [`DriverError`]. Nothing was changed then.
pub fn run(options: DriverOptions) -> Result<(), DriverError> {
    privilege::check()?;
    // Before there are threads, which have it from here.
    let signals = Signals::hold()?;
    let notifier = Notifier::from_environment()?;
    let lock = options.options.run_dir.join("docker-plugin.lock");
    let _lock = ExclusiveLock::try_take(&lock)?.ok_or(DriverError::Another(lock))?;
    let (listener, _socket) = listener::open(&options.socket)?;
    let shop = Arc::new(Shop::new(options)?);
    let threads = [usher::start(&shop)?, leases::start(&shop)?];
    // Nobody hears of it: the work goes on all the same.
    let _ = notifier.tell(State::Ready);
    shop.board.tell(Event { source: Some("docker-plugin".into()), ..Event::new(Kind::Started) });
    http::serve(listener, &shop, signals)?;
    let _ = notifier.tell(State::Stopping);
    shop.stop.ask();
    shop.usher.wake();
    shop.leases.wake();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    shop.board.tell(Event { source: Some("docker-plugin".into()), ..Event::new(Kind::Stopped) });
    Ok(())
}

/// Removes what the engine has no more, and ends. Returns what that was, in words.
///
/// # Errors
/// When the engine does not answer, or something could not be removed.
pub fn clear(options: DriverOptions) -> Result<Vec<String>, String> {
    let lock = ExclusiveLock::try_take(&options.options.run_dir.join("docker-plugin.lock")).map_err(|error| error.to_string())?;
    let shop = Shop::new(options).map_err(|error| error.to_string())?;
    tidy::now(shop, lock.is_none())
}
