//! The host's file with a client's process ID, under the original's name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::Pid;
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};

/// A file that goes away with this, if it still has the number in it that was written last. The directory is held open: it
/// is the host's, wherever the process sees other directories in its place.
#[derive(Debug)]
pub(super) struct PidFile {
    directory: OwnedFd,
    name: String,
    written: Option<Pid>,
}

impl PidFile {
    /// A file of the first name that is not in use by a running process of that program. The last name is used in any case.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub(super) fn choose(directory: &Path, names: [String; 2], program: &str) -> std::io::Result<Self> {
        let directory: OwnedFd = OpenOptions::new().read(true).custom_flags(OFlags::DIRECTORY.bits().cast_signed()).open(directory)?.into();
        let [first, last] = names;
        let mut chosen = Self { directory, name: first, written: None };
        if chosen.read().is_some_and(|pid| runs(pid, program)) {
            chosen.name = last;
        }
        Ok(chosen)
    }

    pub(super) fn raw_fd(&self) -> i32 {
        self.directory.as_raw_fd()
    }

    /// Writes a number, in place of what is there.
    pub(super) fn write(&mut self, pid: Pid) -> std::io::Result<()> {
        let new = format!(".{}.new", self.name);
        // A link that lies there is not followed.
        let _ = unlinkat(&self.directory, &new, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file: File = openat(&self.directory, &new, flags, Mode::from_raw_mode(0o644))?.into();
        file.write_all(format!("{pid}\n").as_bytes())?;
        renameat(&self.directory, &new, &self.directory, &self.name)?;
        self.written = Some(pid);
        Ok(())
    }

    fn read(&self) -> Option<Pid> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = openat(&self.directory, &self.name, flags, Mode::empty()).ok()?.into();
        let mut text = String::new();
        file.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.written.is_some() && self.read() == self.written {
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Whether a process of that name has the number.
fn runs(pid: Pid, program: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names() -> [String; 2] {
        ["udhcpc.web.pid".into(), "udhcpc.web.eth2.pid".into()]
    }

    #[test]
    fn a_file_is_replaced_and_goes_with_its_writer_but_not_when_it_became_anothers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("udhcpc.web.pid");
        std::fs::write(&path, "4194303\n").unwrap();
        let mut file = PidFile::choose(directory.path(), names(), "udhcpc").unwrap();
        file.write(Pid::from_raw(4711)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4711\n");
        drop(file);
        assert!(!path.exists());
        let mut file = PidFile::choose(directory.path(), names(), "udhcpc").unwrap();
        file.write(Pid::from_raw(4711)).unwrap();
        std::fs::write(&path, "4712\n").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_running_clients_file_is_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let mine = std::fs::read_to_string("/proc/self/comm").unwrap();
        std::fs::write(directory.path().join("udhcpc.web.pid"), std::process::id().to_string()).unwrap();
        let mut file = PidFile::choose(directory.path(), names(), mine.trim()).unwrap();
        file.write(Pid::from_raw(1)).unwrap();
        assert!(directory.path().join("udhcpc.web.eth2.pid").exists());
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        for name in ["udhcpc.web.pid", ".udhcpc.web.pid.new"] {
            std::os::unix::fs::symlink(&victim, directory.path().join(name)).unwrap();
        }
        let mut file = PidFile::choose(directory.path(), names(), "udhcpc").unwrap();
        file.write(Pid::from_raw(1)).unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
