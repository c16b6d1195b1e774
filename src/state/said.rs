//! Which attachments were made because something was said to the whole cluster: small files under the run directory. They go with
//! those words, also where these were taken back while nobody ran who would have heard it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::model::record::Record;

/// `said/NETNS.IF`, with the identifier of the attachment's record: the numbers of namespaces come again.
#[derive(Clone, Debug)]
pub struct Said {
    directory: PathBuf,
}

impl Said {
    /// Those in a run directory ([`super::run_dir`]).
    pub fn of(run_dir: &Path) -> Self {
        Self { directory: run_dir.join("said") }
    }

    /// Writes down that an attachment was made so.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, record: &Record) -> std::io::Result<()> {
        if self.has(record) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory)?;
        std::fs::write(self.path(record), &record.id)
    }

    /// Whether this very attachment was made so.
    pub fn has(&self, record: &Record) -> bool {
        std::fs::read_to_string(self.path(record)).is_ok_and(|id| id == record.id)
    }

    /// It is gone, or something else wants it now.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, record: &Record) -> std::io::Result<()> {
        match std::fs::remove_file(self.path(record)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, record: &Record) -> PathBuf {
        self.directory.join(format!("{}.{}", record.guest.netns, record.interface))
    }
}
