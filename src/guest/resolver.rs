//! The guest's /etc/resolv.conf, never the host's: written in place, since engines mount a file of their own there.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, open, openat, openat2, unlinkat};
use thiserror::Error;

use crate::kernel::netns::Namespace;
use crate::model::error::KernelError;
use crate::model::facts::GuestId;
use crate::model::request::GuestRef;

const HOSTS: &str = "/etc/resolv.conf";
const NAME: &str = "resolv.conf";
/// Larger files are no resolv.conf.
const LARGEST: u64 = 64 * 1024;

/// Why the guest's DNS servers cannot be set.
#[derive(Clone, Debug, Error)]
pub enum ResolverError {
    /// It is the host's own.
    #[error("--dhcp-dns: /etc/resolv.conf of {guest} is this host's own, which is never written")]
    Hosts {
        /// The guest.
        guest: String,
    },
    /// There is no file that is the guest's alone.
    #[error("--dhcp-dns: {guest} is a namespace without a process or a name: it has no resolv.conf of its own")]
    NoFile {
        /// The guest.
        guest: String,
    },
    /// It is too large, or no file.
    #[error("--dhcp-dns: {path} is not a resolv.conf (a file of at most {LARGEST} bytes)")]
    NotOne {
        /// The file.
        path: String,
    },
    /// The system refuses.
    #[error("--dhcp-dns: {0}")]
    File(KernelError),
}

impl ResolverError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Hosts { .. } | Self::NoFile { .. } => {
                Some("leave --dhcp-dns out, or name the guest as netns:NAME, whose file is /etc/netns/NAME/resolv.conf".into())
            }
            Self::NotOne { .. } | Self::File(_) => None,
        }
    }
}

/// What stood there before, to be put back.
#[derive(Debug)]
pub struct Written {
    before: Before,
    text: Vec<u8>,
}

#[derive(Debug)]
enum Before {
    /// The file, held open, and its text.
    Text(File, Vec<u8>),
    /// Nothing: the directory that the new file is in, held open, and those that were made for it, the innermost first.
    Nothing(OwnedFd, Vec<PathBuf>),
}

/// Where a guest's file is.
enum Place {
    /// In the root directory of a process, which is held open.
    Root(OwnedFd),
    /// In a directory of the host that is for this namespace only (ip-netns(8)).
    Netns(PathBuf),
}

/// Looks whether the guest has a file that may be written, before anything is done.
///
/// # Errors
/// See [`ResolverError`].
pub fn check(guest: &GuestRef, id: &GuestId) -> Result<(), ResolverError> {
    match place(guest, id)? {
        Place::Root(root) => existing(&root, id).map(|_| ()),
        Place::Netns(_) => Ok(()),
    }
}

/// Writes the guest's file in place.
///
/// # Errors
/// See [`ResolverError`]. The file is as before then.
pub fn write(guest: &GuestRef, id: &GuestId, text: &str) -> Result<Written, ResolverError> {
    match place(guest, id)? {
        Place::Root(root) => write_in_root(root, id, text),
        Place::Netns(directory) => write_for_netns(&directory, text),
    }
}

impl Written {
    /// Puts back what stood there before, unless somebody has written it anew since.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn undo(self) -> Result<(), ResolverError> {
        match self.before {
            Before::Text(mut file, before) => {
                let now = contents(&mut file)?;
                if now == self.text { replace(&mut file, &before) } else { Ok(()) }
            }
            Before::Nothing(directory, made) => {
                let path = Path::new(HOSTS);
                // The guest may have put a device there meanwhile: to open it might be enough to do harm.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let found = File::from(openat(&directory, NAME, flags, Mode::empty()).map_err(|e| system(path, e))?);
                if !found.metadata().is_ok_and(|m| m.is_file()) || contents(&mut reopened(&found, false, path)?)? != self.text {
                    return Ok(());
                }
                unlinkat(&directory, NAME, AtFlags::empty()).map_err(|e| system(path, e))?;
                // Left when somebody else has put something there.
                made.into_iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
                Ok(())
            }
        }
    }
}

fn place(guest: &GuestRef, id: &GuestId) -> Result<Place, ResolverError> {
    if let Some(pid) = id.pid {
        // The one magic link that is followed: below it, none is.
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let root = open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| system(&path, e))?;
        // Its number may have become another's since it was found.
        let namespace = Namespace::open(Path::new(&id.path)).map_err(ResolverError::File)?;
        if namespace.inode() != id.netns {
            return Err(system(&path, rustix::io::Errno::SRCH));
        }
        return Ok(Place::Root(root));
    }
    match guest {
        GuestRef::NetnsName(name) => Ok(Place::Netns(Path::new("/etc/netns").join(name))),
        _ => Err(ResolverError::NoFile { guest: id.name.clone() }),
    }
}

/// Opens below a directory as if it were the root: a guest's symbolic link never leads out of it.
fn open_below(root: &OwnedFd, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    openat2(root, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// The guest's file, if there is one; refused when it is the host's, by whatever way.
fn existing(root: &OwnedFd, id: &GuestId) -> Result<Option<(File, Vec<u8>)>, ResolverError> {
    let path = PathBuf::from(HOSTS);
    let hosts_root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| system(&path, e))?;
    let (root_is, hosts_is) = (rustix::fs::fstat(root), rustix::fs::fstat(&hosts_root));
    let same_root = matches!((root_is, hosts_is), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
    // Looked at before it is opened in earnest: it might be a device.
    let found = match open_below(root, "etc/resolv.conf", OFlags::PATH, Mode::empty()) {
        Ok(found) => File::from(found),
        Err(rustix::io::Errno::NOENT) if !same_root => return Ok(None),
        Err(rustix::io::Errno::NOENT) => return Err(ResolverError::Hosts { guest: id.name.clone() }),
        Err(error) => return Err(system(&path, error)),
    };
    let metadata = found.metadata().map_err(|e| io(&path, &e))?;
    let hosts = std::fs::metadata(HOSTS).map(|hosts| (hosts.dev(), hosts.ino()));
    if hosts.is_ok_and(|hosts| hosts == (metadata.dev(), metadata.ino())) {
        return Err(ResolverError::Hosts { guest: id.name.clone() });
    }
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(ResolverError::NotOne { path: format!("{HOSTS} of {}", id.name) });
    }
    let mut file = reopened(&found, true, &path)?;
    let text = contents(&mut file)?;
    Ok(Some((file, text)))
}

/// Opens in earnest what is held only (O_PATH, open(2)), which is known to be a file. A guest that has a lease on it (fcntl(2),
/// F_SETLEASE) is not waited for.
fn reopened(found: &File, write: bool, path: &Path) -> Result<File, ResolverError> {
    let mut options = File::options();
    options.read(true).write(write).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options.open(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(|e| io(path, &e))
}

fn write_in_root(root: OwnedFd, id: &GuestId, text: &str) -> Result<Written, ResolverError> {
    if let Some((file, before)) = existing(&root, id)? {
        return rewrite(file, before, text);
    }
    let path = Path::new(HOSTS);
    let etc = open_below(&root, "etc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map_err(|e| system(path, e))?;
    // A link that leads nowhere is left alone.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let mut file = File::from(open_below(&etc, NAME, flags, Mode::from_raw_mode(0o644)).map_err(|e| system(path, e))?);
    let written = Written { before: Before::Nothing(etc, Vec::new()), text: text.into() };
    match replace(&mut file, text.as_bytes()) {
        Ok(()) => Ok(written),
        Err(error) => {
            let _ = written.undo();
            Err(error)
        }
    }
}

/// Puts a text in the place of the one that is there.
fn rewrite(mut file: File, before: Vec<u8>, text: &str) -> Result<Written, ResolverError> {
    if let Err(error) = replace(&mut file, text.as_bytes()) {
        let _ = replace(&mut file, &before);
        return Err(error);
    }
    Ok(Written { before: Before::Text(file, before), text: text.into() })
}

fn write_for_netns(directory: &Path, text: &str) -> Result<Written, ResolverError> {
    let path = directory.join(NAME);
    let found = match File::options().read(true).custom_flags(OFlags::PATH.bits().cast_signed()).open(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return create_for_netns(directory, text),
        Err(error) => return Err(io(&path, &error)),
    };
    let metadata = found.metadata().map_err(|e| io(&path, &e))?;
    let hosts = std::fs::metadata(HOSTS).map(|hosts| (hosts.dev(), hosts.ino()));
    if hosts.is_ok_and(|hosts| hosts == (metadata.dev(), metadata.ino())) {
        return Err(ResolverError::Hosts { guest: path.display().to_string() });
    }
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(ResolverError::NotOne { path: path.display().to_string() });
    }
    let mut file = reopened(&found, true, &path)?;
    let before = contents(&mut file)?;
    rewrite(file, before, text)
}

/// A new file, with the directories that it needs.
fn create_for_netns(directory: &Path, text: &str) -> Result<Written, ResolverError> {
    let path = directory.join(NAME);
    let made: Vec<PathBuf> = directory.ancestors().take_while(|directory| !directory.exists()).map(Path::to_owned).collect();
    let created = std::fs::create_dir_all(directory).and_then(|()| {
        // A link that leads nowhere is left alone.
        File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()).inspect_err(|_| drop(std::fs::remove_file(&path))))
    });
    if let Err(error) = created {
        made.iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
        return Err(io(&path, &error));
    }
    let held = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| system(directory, e))?;
    Ok(Written { before: Before::Nothing(held, made), text: text.into() })
}

/// A file's text, however far it has been read.
fn contents(file: &mut File) -> Result<Vec<u8>, ResolverError> {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(LARGEST).read_to_end(&mut text));
    read.map_err(|error| io(HOSTS.as_ref(), &error))?;
    Ok(text)
}

/// The same file with other contents: a mount on it, its owner and its mode stay.
fn replace(file: &mut File, text: &[u8]) -> Result<(), ResolverError> {
    let path = Path::new(HOSTS);
    let all = file.rewind().and_then(|()| file.write_all(text)).and_then(|()| file.set_len(u64::try_from(text.len()).unwrap_or(0)));
    all.map_err(|error| io(path, &error))
}

fn system(path: &Path, error: rustix::io::Errno) -> ResolverError {
    ResolverError::File(KernelError::File { path: path.display().to_string(), errno: Errno::from_raw(error.raw_os_error()) })
}

fn io(path: &Path, error: &std::io::Error) -> ResolverError {
    ResolverError::File(KernelError::File {
        path: path.display().to_string(),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
    })
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
