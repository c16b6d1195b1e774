//! The records of attachments, and the journal of changes that are under way: small files under the run directory.
//!
//! ```text
//! guests/4026532008.lock                   held by the one run that changes the guest of that network namespace
//! guests/4026532008/eth1.json              an attachment, as it stands
//! journal/4026532008.eth1.attaching.json   written before the first step, gone after the last
//! journal/4026532008.eth1.replacing.json   likewise
//! journal/4026532008.eth1.detaching.json   the record itself, moved here: that needs no room on a full disk
//! ```
//!
//! A file is written under a passing name, synced and renamed: there is never half a one. A change is done when the record has
//! its revision; a journal whose record has it needs nothing but to go.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::claims::{Claimant, Claims, Note};
use super::lock::ExclusiveLock;
use crate::model::record::{Record, VERSION};
use crate::model::types::IfName;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The interface is made.
    Attaching,
    /// It is made to be otherwise.
    Replacing,
    /// It is taken away.
    Detaching,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Attaching, Self::Replacing, Self::Detaching];

    /// In words: `an attach that was cut off`.
    pub fn was_cut_off(self) -> &'static str {
        match self {
            Self::Attaching => "an attach that was cut off",
            Self::Replacing => "a change that was cut off",
            Self::Detaching => "a detach that was cut off",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Attaching => ".attaching.json",
            Self::Replacing => ".replacing.json",
            Self::Detaching => ".detaching.json",
        }
    }
}

/// A file that cannot be made sense of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no record. It is set aside, under this name now.
    Damaged {
        /// Where it is now.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A later version of this program made it. It is left alone.
    Later {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged { path, why } => write!(f, "a damaged record is set aside as {}: {why}", path.display()),
            Self::Later { path, version } => write!(
                f,
                "{} has version {version}, and this pipework knows {VERSION}: use the one that made it, nothing of it is touched",
                path.display()
            ),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Found<T> {
    /// What can be read.
    pub all: Vec<T>,
    /// What cannot.
    pub unreadable: Vec<Unreadable>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { all: Vec::new(), unreadable: Vec::new() }
    }
}

/// The records of one machine.
#[derive(Clone, Debug)]
pub struct Records {
    run_dir: PathBuf,
    home: u64,
}

impl Records {
    /// The records in a run directory, of the host whose network namespace has that inode number.
    pub fn of(run_dir: &Path, home: u64) -> Self {
        Self { run_dir: run_dir.to_owned(), home }
    }

    /// The inode number of the host's network namespace.
    pub fn home(&self) -> u64 {
        self.home
    }

    /// Who has which address on a network ([`crate::model::conflict::network`]).
    pub fn claims(&self, network: &str) -> Claims {
        Claims::of(&self.run_dir, self.home, network)
    }

    /// All that is noted of addresses.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn claimed(&self) -> Result<Vec<Note>> {
        Note::all(&self.run_dir, self.home)
    }

    /// Keeps every other run from changing the guest until the lock is dropped.
    ///
    /// # Errors
    /// When the lock's file cannot be made, or another run has held it for too long (`TimedOut`).
    pub fn lock(&self, netns: u64) -> Result<ExclusiveLock> {
        ExclusiveLock::take(&self.lock_path(netns))
    }

    /// As [`Records::lock`], for two guests: in the order of their numbers, so that two runs cannot wait for each other.
    ///
    /// # Errors
    /// As [`Records::lock`].
    pub fn lock_both(&self, numbers: [u64; 2]) -> Result<Vec<ExclusiveLock>> {
        std::collections::BTreeSet::from(numbers).into_iter().map(|number| self.lock(number)).collect()
    }

    /// As [`Records::lock`]; `None` when another run has it.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub fn try_lock(&self, netns: u64) -> Result<Option<ExclusiveLock>> {
        ExclusiveLock::try_take(&self.lock_path(netns))
    }

    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be done.
    pub fn begin(&self, change: Change, record: &Record) -> Result<()> {
        write(&self.journal_path(change, record.guest.netns, &record.interface), record)
    }

    /// Writes down that it was done, and how it stands now.
    ///
    /// # Errors
    /// When it cannot be written: then it has to be taken back.
    pub fn commit(&self, change: Change, record: &Record) -> Result<()> {
        let path = self.path(record.guest.netns, &record.interface);
        let before = if change == Change::Replacing { read(&path)?.ok().flatten() } else { None };
        write(&path, record)?;
        remove(&self.journal_path(change, record.guest.netns, &record.interface))?;
        self.give_up_addrs(before, Some(record));
        Ok(())
    }

    /// Writes a record anew where it stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, record: &Record) -> Result<()> {
        write(&self.path(record.guest.netns, &record.interface), record)
    }

    /// Writes a record anew whose addresses are others now. The old ones are free for other guests.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn amend(&self, before: Record, record: &Record) -> Result<()> {
        self.put(record)?;
        self.give_up_addrs(Some(before), Some(record));
        Ok(())
    }

    /// Strikes out what was about to be done: it was taken back, or did not begin.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn abandon(&self, change: Change, netns: u64, interface: &IfName) -> Result<()> {
        let path = self.journal_path(change, netns, interface);
        let gone = read(&path)?.ok().flatten();
        remove(&path)?;
        // With a replacement that does not happen, the attachment keeps what it had.
        let kept = if change == Change::Replacing { self.get(netns, interface)?.ok().flatten() } else { None };
        self.give_up_addrs(gone, kept.as_ref());
        self.tidy(netns);
        Ok(())
    }

    /// Moves a record into the journal: it is about to be taken away.
    ///
    /// # Errors
    /// When it cannot be moved, `NotFound` when it is not there any more.
    pub fn begin_detach(&self, netns: u64, interface: &IfName) -> Result<()> {
        let to = self.journal_path(Change::Detaching, netns, interface);
        make_parent(&to)?;
        std::fs::rename(self.path(netns, interface), &to).map_err(|error| with_path(&to, &error))
    }

    /// Forgets an attachment that is gone.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn forget(&self, netns: u64, interface: &IfName) -> Result<()> {
        let path = self.path(netns, interface);
        let gone = read(&path)?.ok().flatten();
        remove(&path)?;
        self.give_up_addrs(gone, None);
        self.tidy(netns);
        Ok(())
    }

    /// The attachment of an interface.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn get(&self, netns: u64, interface: &IfName) -> Result<std::result::Result<Option<Record>, Unreadable>> {
        read(&self.path(netns, interface))
    }

    /// All attachments of a guest.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_guest(&self, netns: u64) -> Result<Found<Record>> {
        let mut found = self.read_all(entries(&self.guests().join(netns.to_string()))?)?;
        found.all.sort_by(|a, b| a.interface.cmp(&b.interface));
        Ok(found)
    }

    /// Whether nothing that was recorded of a guest is hidden: neither in a file that cannot be read, nor in one that was set
    /// aside, and stands nowhere again.
    ///
    /// # Errors
    /// As [`Records::of_guest`].
    pub fn is_clear(&self, netns: u64) -> Result<bool> {
        let is_readable = self.of_guest(netns)?.unreadable.is_empty();
        let aside =
            |path: &PathBuf| path.to_str().and_then(|text| text.strip_suffix(ASIDE)).map(|stem| PathBuf::from(format!("{stem}.json")));
        let files = entries(&self.guests().join(netns.to_string()))?;
        Ok(is_readable && files.iter().filter_map(aside).all(|again| again.exists()))
    }

    /// All attachments of this host.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn all(&self) -> Result<Found<Record>> {
        let mut found = Found::default();
        for directory in entries(&self.guests())?.into_iter().filter(|path| path.is_dir()) {
            let more = self.read_all(entries(&directory)?)?;
            found.all.extend(more.all);
            found.unreadable.extend(more.unreadable);
        }
        found.all.sort_by(|a, b| (a.guest.word.to_string(), &a.interface).cmp(&(b.guest.word.to_string(), &b.interface)));
        Ok(found)
    }

    /// What was begun: by runs that are at it, or that ended half way.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn unfinished(&self) -> Result<Found<(Change, Record)>> {
        self.read_journal("")
    }

    /// As [`Records::unfinished`], of one guest: other guests' files are not read.
    ///
    /// # Errors
    /// As there.
    pub fn unfinished_of(&self, netns: u64) -> Result<Found<(Change, Record)>> {
        self.read_journal(&format!("{netns}."))
    }

    /// The journal's files whose names begin so.
    fn read_journal(&self, beginning: &str) -> Result<Found<(Change, Record)>> {
        let mut found = Found::default();
        for path in entries(&self.run_dir.join("journal"))? {
            let name = path.file_name().and_then(|n| n.to_str()).filter(|name| name.starts_with(beginning)).unwrap_or_default();
            let Some(change) = Change::ALL.into_iter().find(|change| name.ends_with(change.suffix())) else { continue };
            match read(&path)? {
                Ok(record) => found.all.extend(record.filter(|r| r.home == self.home).map(|record| (change, record))),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        }
        Ok(found)
    }

    /// What was begun on an interface and not ended, if it is still so.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn begun(&self, change: Change, netns: u64, interface: &IfName) -> Result<Option<Record>> {
        Ok(read(&self.journal_path(change, netns, interface))?.ok().flatten())
    }

    /// Nobody finds the addresses noted for an attachment that is gone, or is another now; should it not be possible, the note
    /// is an old one.
    fn give_up_addrs(&self, gone: Option<Record>, kept: Option<&Record>) {
        let Some(record) = gone else { return };
        let is_kept = |ip| kept.is_some_and(|kept| kept.network() == record.network() && kept.addrs().any(|addr| addr == ip));
        let (claims, holder) =
            (self.claims(&record.network()), Claimant { netns: record.guest.netns, interface: record.interface.clone() });
        record.addrs().filter(|ip| !is_kept(*ip)).for_each(|ip| claims.release(ip, &holder));
    }

    /// Removes what runs that were killed had not come to rename. A living run's is behind its guest's lock.
    ///
    /// # Errors
    /// When a file cannot be removed, or a lock not be made.
    pub fn clear_passing(&self) -> Result<()> {
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<u64>().ok());
        let in_journal = entries(&self.run_dir.join("journal"))?.into_iter().map(|path| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            (number(name.split('.').next()), path.clone())
        });
        let directories = entries(&self.guests())?.into_iter().filter(|path| path.is_dir());
        let mut all: Vec<(Option<u64>, PathBuf)> = in_journal.collect();
        for directory in directories {
            let netns = number(directory.file_name().and_then(|n| n.to_str()));
            all.extend(entries(&directory)?.into_iter().map(|path| (netns, path)));
        }
        for (netns, path) in all {
            let is_passing = path.to_str().is_some_and(|text| text.ends_with(PASSING));
            let Some(netns) = netns.filter(|_| is_passing) else { continue };
            if let Some(_lock) = self.try_lock(netns)? {
                remove(&path)?;
                self.tidy(netns);
            }
        }
        Ok(())
    }

    fn read_all(&self, paths: Vec<PathBuf>) -> Result<Found<Record>> {
        let mut found = Found::default();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
            match read(path)? {
                Ok(record) => found.all.extend(record.filter(|r| r.home == self.home)),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        }
        Ok(found)
    }

    fn guests(&self) -> PathBuf {
        self.run_dir.join("guests")
    }

    fn lock_path(&self, netns: u64) -> PathBuf {
        self.guests().join(format!("{netns}.lock"))
    }

    fn path(&self, netns: u64, interface: &IfName) -> PathBuf {
        self.guests().join(netns.to_string()).join(format!("{interface}.json"))
    }

    fn journal_path(&self, change: Change, netns: u64, interface: &IfName) -> PathBuf {
        self.run_dir.join("journal").join(format!("{netns}.{interface}{}", change.suffix()))
    }

    /// Removes the guest's directory with its last record. Fails while there are others.
    fn tidy(&self, netns: u64) {
        let _ = std::fs::remove_dir(self.guests().join(netns.to_string()));
    }
}

/// How the names end under which files are set aside.
const ASIDE: &str = ".json.damaged";
/// How the names end under which files are written.
const PASSING: &str = "json.new";

fn with_path(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(|error| with_path(directory, &error))
}

/// Under a passing name, synced, renamed. Whoever fails leaves the old file.
pub(super) fn write(path: &Path, record: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(record)?;
    let passing = path.with_extension(PASSING);
    let written = match write_new(&passing, &text) {
        Err(error) if error.kind() == ErrorKind::NotFound => make_parent(path).and_then(|()| write_new(&passing, &text)),
        written => written,
    };
    let renamed = written.and_then(|()| std::fs::rename(&passing, path));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&passing);
    }
    renamed.map_err(|error| with_path(path, &error))
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    // Names of containers and addresses are nobody else's business.
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(with_path(path, &error)),
        _ => Ok(()),
    }
}

pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(with_path(directory, &error)),
        Ok(all) => Ok(all.flatten().map(|entry| entry.path()).collect()),
    }
}

/// `None` when there is no such file any more. One that is no record is set aside, so that it is told once.
pub(super) fn read(path: &Path) -> Result<std::result::Result<Option<Record>, Unreadable>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => return Err(with_path(path, &error)),
        Ok(bytes) => bytes,
    };
    let version = serde_json::from_slice::<serde_json::Value>(&bytes).ok().and_then(|value| value.get("version")?.as_u64());
    if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
        return Ok(Err(Unreadable::Later { path: path.to_owned(), version }));
    }
    match serde_json::from_slice(&bytes) {
        Ok(record) => Ok(Ok(Some(record))),
        Err(error) => {
            let aside = path.with_extension(&ASIDE[1..]);
            let moved = std::fs::rename(path, &aside);
            let path = if moved.is_ok() { aside } else { path.to_owned() };
            Ok(Err(Unreadable::Damaged { path, why: error.to_string() }))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_recorded_and_cannot_be_read_is_hidden_for_as_long_as_it_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(directory.path(), 1);
        assert!(records.is_clear(7).unwrap());
        let guest = directory.path().join("guests/7");
        std::fs::create_dir_all(&guest).unwrap();
        std::fs::write(guest.join("eth1.json"), "{").unwrap();
        assert!(!records.is_clear(7).unwrap());
        assert!(guest.join("eth1.json.damaged").exists() && !records.is_clear(7).unwrap());
        std::fs::remove_file(guest.join("eth1.json.damaged")).unwrap();
        std::fs::write(guest.join("eth1.json"), r#"{"version": 999}"#).unwrap();
        assert!(!records.is_clear(7).unwrap() && records.is_clear(8).unwrap());
    }
}
