//! Listening in thousands of guests at once, and on the host: one socket for each in one epoll(7), which costs nothing while
//! nothing happens.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::events::GROUPS;
use super::netns::{Namespace, file_error};
use super::wire::{Listener, RTM_NEWLINK, attributes};
use crate::model::error::KernelError;

/// So many files are looked at after one wait.
const AT_ONCE: usize = 64;
/// Larger than any message of a change.
const BUFFER: usize = 32 * 1024;
/// How many low bits of a file's number say what it is.
const KINDS: u32 = 2;

// linux/rtnetlink.h and linux/if_link.h
const RTM_DELLINK: u16 = 17;
const IFLA_IFNAME: u16 = 3;
/// `struct ifinfomsg`
const IFINFOMSG: usize = 16;

/// What a file in the epoll is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    Socket = 0,
    Process = 1,
    Host = 2,
    Directories = 3,
}

impl File {
    fn of(number: u64) -> Self {
        match number & ((1 << KINDS) - 1) {
            0 => Self::Socket,
            1 => Self::Process,
            2 => Self::Host,
            _ => Self::Directories,
        }
    }

    /// Wakes whoever waits, while there is something to be read.
    fn event(self, token: u64) -> EpollEvent {
        EpollEvent::new(EpollFlags::EPOLLIN, (token << KINDS) | self as u64)
    }
}

/// What was heard. Guests are known by the number that they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Links, addresses, routes or rules of a guest changed.
    Changed(u64),
    /// A guest's process has ended. Nobody listens there any more.
    Ended(u64),
    /// A link of the host changed.
    HostLink {
        /// Its index.
        index: u32,
        /// Its name.
        name: Option<String>,
        /// Whether it is there no more.
        gone: bool,
    },
    /// Addresses, routes or rules of the host changed.
    Host,
    /// Something came or went in a directory that is watched; what, unless there was too much of it.
    Came(Option<PathBuf>),
    /// More happened on the host than the kernel could tell of.
    Overrun,
}

/// All the ears. They are put in place by any thread, and listened to by one.
pub struct Ears {
    epoll: Epoll,
    host: Listener,
    directories: Inotify,
    watched: Mutex<HashMap<WatchDescriptor, PathBuf>>,
    guests: Mutex<HashMap<u64, Ear>>,
}

/// What is listened to in one guest.
struct Ear {
    socket: Listener,
    /// Readable when the guest has ended. While we listen its namespace stays, though nobody is in it any more.
    _process: Option<OwnedFd>,
}

impl Ears {
    /// Listens on the host: in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> Result<Self, KernelError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(refused)?;
        let host = Listener::open(&GROUPS)?;
        let directories = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(refused)?;
        epoll.add(&host, File::Host.event(0)).map_err(refused)?;
        epoll.add(&directories, File::Directories.event(0)).map_err(refused)?;
        Ok(Self { epoll, host, directories, watched: Mutex::default(), guests: Mutex::default() })
    }

    /// Listens in a guest too, from now on. `process`: its process, whose end ends it.
    ///
    /// # Errors
    /// When its namespace cannot be entered, or the kernel refuses.
    pub fn add(&self, token: u64, namespace: &Namespace, process: Option<OwnedFd>) -> Result<(), KernelError> {
        let socket = namespace.inside(|| Listener::open(&GROUPS))?;
        let mut guests = self.lock();
        // The old one is closed first, and with it leaves the epoll.
        guests.remove(&token);
        self.epoll.add(&socket, File::Socket.event(token)).map_err(refused)?;
        if let Some(process) = &process {
            self.epoll.add(process, File::Process.event(token)).map_err(refused)?;
        }
        guests.insert(token, Ear { socket, _process: process });
        Ok(())
    }

    /// Whether a guest is listened to.
    pub fn has(&self, token: u64) -> bool {
        self.lock().contains_key(&token)
    }

    /// Listens no more in a guest.
    pub fn remove(&self, token: u64) {
        self.lock().remove(&token);
    }

    /// Tells of what comes and goes in a directory.
    ///
    /// # Errors
    /// When it is not there.
    pub fn watch(&self, directory: &Path) -> Result<(), KernelError> {
        let what = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_ONLYDIR;
        // Held before the watch: what comes at once is known, too.
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.directories.add_watch(directory, what).map_err(|errno| file_error(directory, &errno.into()))?;
        watched.insert(number, directory.to_owned());
        Ok(())
    }

    /// Waits until something is heard, and tells all of it.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn listen(&self, tell: &mut dyn FnMut(Heard)) -> Result<(), KernelError> {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(refused(errno)),
        };
        let mut buffer = vec![0; BUFFER];
        for event in events.iter().take(count) {
            let token = event.data() >> KINDS;
            match File::of(event.data()) {
                File::Socket => self.changed(token, &mut buffer, tell),
                File::Process => {
                    self.remove(token);
                    tell(Heard::Ended(token));
                }
                File::Host => self.on_host(&mut buffer, tell),
                File::Directories => self.in_directories(tell),
            }
        }
        Ok(())
    }

    fn changed(&self, token: u64, buffer: &mut [u8], tell: &mut dyn FnMut(Heard)) {
        let mut guests = self.lock();
        // It may have been taken away since.
        let Some(ear) = guests.get(&token) else { return };
        if ear.socket.read(buffer, &mut |_, _| {}).is_err() {
            guests.remove(&token);
        }
        drop(guests);
        tell(Heard::Changed(token));
    }

    fn on_host(&self, buffer: &mut [u8], tell: &mut dyn FnMut(Heard)) {
        let mut other = false;
        let read = self.host.read(buffer, &mut |kind, payload| match (kind, link(payload)) {
            (RTM_NEWLINK | RTM_DELLINK, Some((index, name))) => tell(Heard::HostLink { index, name, gone: kind == RTM_DELLINK }),
            _ => other = true,
        });
        if other {
            tell(Heard::Host);
        }
        if !matches!(read, Ok(true)) {
            tell(Heard::Overrun);
        }
    }

    fn in_directories(&self, tell: &mut dyn FnMut(Heard)) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(events) = self.directories.read_events() {
            for event in events {
                let directory = watched.get(&event.wd);
                tell(Heard::Came(
                    directory.map(|directory| event.name.as_ref().map_or_else(|| directory.clone(), |name| directory.join(name))),
                ));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Ear>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index and name in a message about a link (`struct ifinfomsg` and its attributes).
fn link(payload: &[u8]) -> Option<(u32, Option<String>)> {
    let index = payload.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)?;
    let name = attributes(payload.get(IFINFOMSG..)?).find(|(kind, _)| *kind == IFLA_IFNAME);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
    Some((index, name.map(|(_, bytes)| text(bytes))))
}

fn refused(errno: Errno) -> KernelError {
    KernelError::Refused { errno, text: Some("listening to changes".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_a_link_is_read_and_one_that_is_cut_short_is_not() {
        let mut payload = vec![0; IFINFOMSG];
        payload[4] = 7;
        assert_eq!(link(&payload), Some((7, None)));
        payload.extend([8, 0, 3, 0, b'b', b'r', b'0', 0]);
        assert_eq!(link(&payload), Some((7, Some("br0".into()))));
        assert_eq!(link(&payload[..6]), None);
    }
}
