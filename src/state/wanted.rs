//! Attachments that are wanted also after a reboot, or when a guest is started again: small files under the state directory.

use std::path::{Path, PathBuf};

use super::records::{Found, read, remove, write};
use crate::model::record::Record;
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::types::IfName;

/// The wanted attachments of this machine: `wanted/GUEST.IF.json`, the guest as it was typed.
#[derive(Clone, Debug)]
pub struct Wanted {
    directory: PathBuf,
}

impl Wanted {
    /// Those in a state directory ([`super::state_dir`]).
    pub fn of(state_dir: &Path) -> Self {
        Self { directory: state_dir.join("wanted") }
    }

    /// Whether an attachment is wanted.
    pub fn has(&self, guest: &GuestRef, interface: &IfName) -> bool {
        self.path(guest, interface).exists()
    }

    /// Writes down what is wanted: the request of a record, and nothing of what is true only until the next boot.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, record: &Record) -> std::io::Result<()> {
        let wanted = Record {
            link: None,
            lease: None,
            tenure: None,
            keeper: None,
            given: Vec::new(),
            done: Vec::new(),
            planned: Vec::new(),
            ..record.clone()
        };
        write(&self.path(&record.guest.word, &record.interface), &wanted)
    }

    /// It is not wanted any more.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, guest: &GuestRef, interface: &IfName) -> std::io::Result<()> {
        remove(&self.path(guest, interface))
    }

    /// All that are wanted: as they were recorded, and how they were asked for.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn all(&self) -> std::io::Result<Found<(Record, AttachRequest)>> {
        let mut found = Found::default();
        for path in super::records::entries(&self.directory)?.iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
            match read(path)? {
                Ok(record) => found.all.extend(record.map(|record| (record.clone(), record.request))),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        }
        found.all.sort_by(|a, b| (a.1.guest.to_string(), &a.0.interface).cmp(&(b.1.guest.to_string(), &b.0.interface)));
        Ok(found)
    }

    /// A guest's word may be a path: what is no letter, digit, dash or underscore is written as its bytes in hexadecimal.
    fn path(&self, guest: &GuestRef, interface: &IfName) -> PathBuf {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let escape = |c: char| if plain(c) { c.to_string() } else { c.to_string().bytes().map(|b| format!("%{b:02x}")).collect() };
        let guest: String = guest.to_string().chars().map(escape).collect();
        self.directory.join(format!("{guest}.{interface}.json"))
    }
}
