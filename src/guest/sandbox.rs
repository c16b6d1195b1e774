//! A network namespace that a runtime names with the container it is for. No engine knows of it yet.

use std::path::PathBuf;

use super::{GuestError, Held, namespace_error};
use crate::kernel::netns::{Namespace, file_error};
use crate::model::error::KernelError;
use crate::model::facts::GuestId;
use crate::model::record::GuestRecord;
use crate::model::request::GuestRef;

/// What such a guest is found by.
pub const ENGINE: &str = "cni";

/// A container by its runtime's word, and its network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's identifier of the container.
    pub container: String,
    /// By what the attachment is known, and owns its addresses.
    pub name: String,
    /// The namespace's file.
    pub path: PathBuf,
}

impl Sandbox {
    /// The guest of a record, if it is such a one.
    pub fn of(record: &GuestRecord) -> Option<Self> {
        let (Some(container), Some(name)) = (&record.container, &record.container_name) else { return None };
        let path = PathBuf::from(&record.path);
        (record.engine == ENGINE).then(|| Self { container: container.clone(), name: name.clone(), path })
    }

    /// The word by which it is recorded, and can be named later.
    pub fn word(&self) -> GuestRef {
        GuestRef::NetnsPath(self.path.clone())
    }

    /// Holds its network namespace.
    pub(super) fn hold(&self, word: &GuestRef) -> Result<Held, GuestError> {
        let name = word.to_string();
        let namespace = self.open().map_err(namespace_error(&name))?;
        let id = GuestId {
            name,
            engine: ENGINE,
            container: Some(self.container.clone()),
            container_name: Some(self.name.clone()),
            pid: None,
            path: self.path.display().to_string(),
            netns: namespace.inode(),
        };
        Ok(Held { id, namespace, process: None })
    }

    /// A pipe would keep us waiting for ever.
    fn open(&self) -> Result<Namespace, KernelError> {
        let found = std::fs::metadata(&self.path).map_err(|error| file_error(&self.path, &error))?;
        if !found.is_file() {
            return Err(KernelError::NoNamespace(self.path.display().to_string()));
        }
        Namespace::open(&self.path)
    }
}
