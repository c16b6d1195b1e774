//! Names of tables and the like: the host's files, and the guest's own names of tables before them.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use super::{Held, process};
use crate::iproute::names::Names;

/// More of one file is not read.
const MOST: u64 = 256 * 1024;
/// How long a guest's files may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// More files of one directory are not read.
const MOST_FILES: usize = 64;
/// Where iproute2 keeps them: of a file the first counts, of a directory all.
const PLACES: [&str; 3] = ["etc/iproute2", "usr/share/iproute2", "usr/lib/iproute2"];

/// All names as they count in a guest.
pub fn names(held: &Held) -> Names {
    let mut names = Names::default();
    if let Some(host) = Root::open(Path::new("/"), Whose::Host) {
        for (file, table) in [
            ("rt_tables", &mut names.tables),
            ("rt_protos", &mut names.protocols),
            ("rt_scopes", &mut names.scopes),
            ("rt_realms", &mut names.realms),
            ("rt_dsfield", &mut names.dsfields),
            ("group", &mut names.groups),
        ] {
            host.texts(file).iter().for_each(|text| table.add(text));
        }
        names.ip_protocols.add_protocols(&host.read(Path::new("etc/protocols")).unwrap_or_default());
    }
    let tables = guest_root(held).map(|guest| in_time(move || guest.texts("rt_tables"))).unwrap_or_default();
    tables.iter().for_each(|text| names.tables.add(text));
    names
}

/// What lies in a guest may be a file system of its own making (FUSE) that never answers. Then it is done without: the
/// thread is left behind, and ends with the process.
fn in_time(work: impl FnOnce() -> Vec<String> + Send + 'static) -> Vec<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    // Without a thread nothing is sent either.
    let _ = std::thread::Builder::new().spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).unwrap_or_default()
}

/// The guest's file system, when it has one of its own.
fn guest_root(held: &Held) -> Option<Root> {
    let (pid, process) = (held.id.pid?, held.process.as_ref()?);
    let mounts = |of: &str| std::fs::metadata(format!("/proc/{of}/ns/mnt")).ok().map(|m| (m.dev(), m.ino()));
    if mounts(&pid.to_string())? == mounts("self")? {
        return None;
    }
    let root = Root::open(&PathBuf::from(format!("/proc/{pid}/root")), Whose::Guest)?;
    // The PID was the guest's while its root was opened.
    (!process::has_ended(process)).then_some(root)
}

/// Whose file system it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Ours: its links lead where they lead.
    Host,
    /// Nothing in it leads out of it, whatever links it has.
    Guest,
}

/// A directory that paths are looked up in.
struct Root {
    directory: OwnedFd,
    whose: Whose,
}

impl Root {
    fn open(path: &Path, whose: Whose) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok().map(|directory| Self { directory, whose })
    }

    /// Takes hold of something without opening it: a device or a FIFO in its place is not touched.
    fn find(&self, path: &Path, wanted: FileType) -> Option<OwnedFd> {
        let (directory, flags) = (self.directory.as_fd(), OFlags::PATH | OFlags::CLOEXEC);
        let found = match self.whose {
            Whose::Host => openat(directory, path, flags, Mode::empty()),
            Whose::Guest => openat2(directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS),
        };
        found.ok().filter(|fd| fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == wanted))
    }

    fn read(&self, path: &Path) -> Option<String> {
        let found = self.find(path, FileType::RegularFile)?;
        let mut text = Vec::new();
        let file = std::fs::File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
        file.take(MOST).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// What the file of that name says, and then those in the directory of that name.
    fn texts(&self, name: &str) -> Vec<String> {
        let mut texts: Vec<String> = PLACES.iter().find_map(|place| self.read(&Path::new(place).join(name))).into_iter().collect();
        for place in PLACES.iter().rev() {
            let directory = Path::new(place).join(format!("{name}.d"));
            texts.extend(self.list(&directory).iter().filter_map(|file| self.read(&directory.join(file))));
        }
        texts
    }

    /// The names in a directory that end in .conf, in their order.
    fn list(&self, directory: &Path) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let found = self.find(directory, FileType::Directory).and_then(|fd| openat(fd, ".", flags, Mode::empty()).ok());
        let entries = found.and_then(|fd| Dir::new(fd).ok());
        let names = entries.into_iter().flatten().flatten().take(1024).filter_map(|e| e.file_name().to_str().ok().map(str::to_owned));
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.') && name.ends_with(".conf")).collect();
        names.sort();
        names.truncate(MOST_FILES);
        names
    }
}
