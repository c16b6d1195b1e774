//! Network namespaces, held by an open file.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::wire::Netlink;
use crate::model::error::KernelError;

/// A network namespace that stays the same one as long as this is held, whatever becomes of its processes.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    device: u64,
    inode: u64,
    path: PathBuf,
}

impl Namespace {
    /// Holds the namespace behind a file: `/proc/PID/ns/net`, `/run/netns/NAME`, ...
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let fail = |error: std::io::Error| file_error(path, &error);
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        Ok(Self { file, device: metadata.dev(), inode: metadata.ino(), path: path.to_owned() })
    }

    /// Holds the same namespace once more.
    ///
    /// # Errors
    /// When the process has no file left to open.
    pub fn again(&self) -> Result<Self, KernelError> {
        let file = self.file.try_clone().map_err(|error| file_error(&self.path, &error))?;
        Ok(Self { file, device: self.device, inode: self.inode, path: self.path.clone() })
    }

    /// Holds the namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn current() -> Result<Self, KernelError> {
        // /proc/self would be the main thread's.
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Inode number: with the device it is the namespace's identity (namespaces(7)).
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The file it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are one namespace.
    pub fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// The open file, for attributes of messages. It is valid while `self` lives.
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` on a thread inside the namespace. The thread ends with it: nothing else ever runs there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` fails.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T, KernelError> + Send) -> Result<T, KernelError> {
        let ended = std::thread::scope(|scope| {
            let inside = || {
                self.enter()?;
                work()
            };
            // Where there may be no more threads, Scope::spawn panics.
            std::thread::Builder::new().spawn_scoped(scope, inside).map(|thread| thread.join())
        });
        let ended = ended.unwrap_or_else(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            Ok(Err(KernelError::Refused { errno, text: Some("starting a thread for the guest's namespace".into()) }))
        });
        ended.unwrap_or_else(|_| Err(KernelError::Garbled("a thread in the guest's namespace ended early".into())))
    }

    /// As [`Self::inside`] on the calling thread, which is in `home` and comes back: to start a thread takes longer than all that
    /// an attach asks a guest. For a few system calls that do not wait.
    ///
    /// # Errors
    /// As [`Self::inside`].
    pub(super) fn visit<T: Send>(&self, home: &Self, work: impl FnOnce() -> Result<T, KernelError> + Send) -> Result<T, KernelError> {
        // Who may not come back, as in a user namespace that does not own the host's network, does not go.
        if home.enter().is_err() {
            return self.inside(work);
        }
        let _back = Back(home);
        self.enter()?;
        work()
    }

    /// Opens a netlink socket inside the namespace. The socket stays there for life.
    ///
    /// # Errors
    /// As [`Self::inside`].
    pub fn netlink(&self) -> Result<Netlink, KernelError> {
        self.visit(&Self::current()?, Netlink::open)
    }

    /// Puts the calling thread into the namespace, for good.
    #[expect(clippy::disallowed_methods, reason = "the one place that enters a namespace")]
    pub(super) fn enter(&self) -> Result<(), KernelError> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            Errno::EINVAL => KernelError::NoNamespace(self.path.display().to_string()),
            errno => KernelError::Refused { errno, text: Some(format!("entering network namespace {}", self.path.display())) },
        })
    }
}

/// Brings the calling thread back when it is dropped.
struct Back<'a>(&'a Namespace);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        // It has just been entered, so the kernel has to be out of memory. What this thread would do next is meant for the host.
        if self.0.enter().is_err() {
            std::process::abort();
        }
    }
}

impl Namespace {
    /// Puts the calling process, which has only this thread and was made for it, into the namespace for good, with mounts
    /// and a host name of its own: what it mounts, or calls itself, nobody else sees.
    ///
    /// # Errors
    /// When the kernel refuses.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes namespaces")]
    pub(crate) fn enter_apart(&self) -> Result<(), KernelError> {
        let refused = |errno| KernelError::Refused { errno, text: Some("making namespaces of mounts and host name".into()) };
        self.enter()?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS).map_err(refused)?;
        // What the host mounts later is seen, and what it unmounts is not kept; the other way round nothing passes.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>).map_err(refused)
    }
}

/// Where ip-netns(8) keeps names.
const NAMED: &str = "/run/netns";

impl Namespace {
    /// Makes a network namespace that has a name, as `ip netns add NAME` does.
    ///
    /// # Errors
    /// EEXIST when the name is taken; when the kernel refuses.
    pub fn add_named(name: &str) -> Result<Self, KernelError> {
        let directory = Path::new(NAMED);
        std::fs::create_dir_all(directory).map_err(|error| file_error(directory, &error))?;
        share_mounts(directory)?;
        let path = directory.join(name);
        std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| file_error(&path, &error))?;
        let made = Self::current().and_then(|here| here.inside(|| bind_new(&path))).and_then(|()| Self::open(&path));
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    /// Makes a network namespace that has no name, and ends when nobody holds it any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn fresh() -> Result<Self, KernelError> {
        Self::current()?.inside(|| {
            unshare_net("making a network namespace")?;
            Self::current()
        })
    }

    /// Removes the file of a name that no namespace was bound to: a run that was making it was killed. A namespace's stays.
    pub fn clear_named(name: &str) {
        // Of a file that something is mounted on, the kernel says EBUSY.
        let _ = std::fs::remove_file(Path::new(NAMED).join(name));
    }

    /// Takes the name from a network namespace, as `ip netns del NAME` does: it ends when nobody is in it. Another that has
    /// taken the name since is left, and one that is gone is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn del_named(name: &str, inode: u64) -> Result<(), KernelError> {
        let path = Path::new(NAMED).join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.ino() == inode => {}
            _ => return Ok(()),
        }
        umount2(&path, MntFlags::MNT_DETACH).map_err(|errno| KernelError::File { path: path.display().to_string(), errno })?;
        std::fs::remove_file(&path).map_err(|error| file_error(&path, &error))
    }
}

/// What is mounted in the directory is seen, and taken away, in other namespaces of mounts too: a namespace that a container
/// had copied would stay with it otherwise.
fn share_mounts(directory: &Path) -> Result<(), KernelError> {
    let refused = |errno| KernelError::Refused { errno, text: Some(format!("sharing mounts of {}", directory.display())) };
    let share = || mount(Some(""), directory, Some("none"), MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        // It is no mount point yet.
        Err(Errno::EINVAL) => {
            mount(Some(directory), directory, Some("none"), MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).map_err(refused)?;
            share().map_err(refused)
        }
        shared => shared.map_err(refused),
    }
}

/// Puts the calling thread, which ends then, into a new network namespace.
#[expect(clippy::disallowed_methods, reason = "the one place that makes namespaces")]
fn unshare_net(what: &str) -> Result<(), KernelError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::Refused { errno, text: Some(what.to_owned()) })
}

/// Puts the calling thread, which ends then, into a new network namespace, and binds that to a file.
fn bind_new(path: &Path) -> Result<(), KernelError> {
    let what = format!("making network namespace {}", path.display());
    unshare_net(&what)?;
    let refused = |errno| KernelError::Refused { errno, text: Some(what.clone()) };
    mount(Some("/proc/thread-self/ns/net"), path, Some("none"), MsFlags::MS_BIND, None::<&str>).map_err(refused)
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An error of the file system, as data.
pub(crate) fn file_error(path: &Path, error: &std::io::Error) -> KernelError {
    KernelError::File { path: path.display().to_string(), errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()) }
}
