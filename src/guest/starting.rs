//! A container that its runtime is just starting, or has ended. No engine is asked about it: it holds the container's lock until
//! its runtime is done, and would not answer before.

use super::{GuestError, Held, namespace_error, ns_path, process};
use crate::model::facts::GuestId;
use crate::model::request::GuestRef;

/// A container by its runtime's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starting {
    /// `docker` or `podman`, where that is known.
    pub engine: Option<&'static str>,
    /// The whole identifier.
    pub id: String,
    /// Its name, where the engine gave it one.
    pub name: Option<String>,
    /// Its process; 0 when it has ended.
    pub pid: u32,
}

impl Starting {
    /// The word by which it is recorded, and can be named later.
    pub fn word(&self) -> GuestRef {
        let name = self.name.as_deref().unwrap_or(&self.id);
        // What cannot be typed could not be read back either.
        match (self.engine, name.parse::<GuestRef>()) {
            (Some("docker"), Ok(GuestRef::Any(name))) => GuestRef::Docker(name),
            (Some("podman"), Ok(GuestRef::Any(name))) => GuestRef::Podman(name),
            (_, Ok(GuestRef::Any(name))) => GuestRef::Any(name),
            _ => GuestRef::Pid(self.pid),
        }
    }

    /// Holds its network namespace.
    pub(super) fn hold(&self, word: &GuestRef) -> Result<Held, GuestError> {
        let name = word.to_string();
        let (process, namespace) = process::hold(self.pid).map_err(namespace_error(&name))?;
        let id = GuestId {
            name,
            engine: self.engine.unwrap_or("pid"),
            container: Some(self.id.clone()),
            // Without an engine the runtime's identifier is the name that people know.
            container_name: Some(self.name.clone().unwrap_or_else(|| self.id.clone())),
            pid: Some(self.pid),
            path: ns_path(self.pid),
            netns: namespace.inode(),
        };
        Ok(Held { id, namespace, process: Some(process) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_as_its_engine_calls_it_and_by_its_process_where_that_cannot_be_typed() {
        let word = |engine, id: &str, name: Option<&str>| {
            Starting { engine, id: id.to_owned(), name: name.map(str::to_owned), pid: 7 }.word().to_string()
        };
        assert_eq!(word(Some("docker"), "0123456789ab", Some("web")), "docker:web");
        assert_eq!(word(Some("podman"), "0123456789ab", None), "podman:0123456789ab");
        assert_eq!(word(None, "box1", None), "box1");
        for strange in ["a b", "pid:9", "../x", "-x", "netns:lab", ""] {
            assert_eq!(word(None, strange, None), "pid:7", "{strange}");
        }
    }
}
