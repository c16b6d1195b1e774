//! Capabilities: told by name when one is missing, rather than by errno when it is needed.

use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

/// What an attach needs (capabilities(7)), and what for.
const NEEDED: [(&str, CapabilitySet, &str); 4] = [
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "makes and changes interfaces"),
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN, "enters the guest's network namespace"),
    ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE, "opens the namespace of another user's process"),
    ("CAP_NET_RAW", CapabilitySet::NET_RAW, "announces the address"),
];

/// A capability that the process has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{name} is missing, which {what_for} (as root, all are there)")]
pub struct Missing {
    /// Its name.
    pub name: &'static str,
    /// What it is needed for.
    pub what_for: &'static str,
}

/// The capabilities that an attach needs and this thread lacks. Empty when the kernel does not tell.
pub fn missing() -> Vec<Missing> {
    capabilities(None).map(|sets| lacking(sets.effective)).unwrap_or_default()
}

/// Without CAP_NET_ADMIN and CAP_SYS_ADMIN nothing can be done.
///
/// # Errors
/// The first of these that is missing. Else what is missing and can be done without.
pub fn check() -> Result<Vec<Missing>, Missing> {
    bearable(missing())
}

fn bearable(missing: Vec<Missing>) -> Result<Vec<Missing>, Missing> {
    match missing.iter().find(|m| matches!(m.name, "CAP_NET_ADMIN" | "CAP_SYS_ADMIN")) {
        Some(needed) => Err(*needed),
        None => Ok(missing),
    }
}

fn lacking(effective: CapabilitySet) -> Vec<Missing> {
    let lacked = NEEDED.iter().filter(|(_, capability, _)| !effective.contains(*capability));
    lacked.map(|&(name, _, what_for)| Missing { name, what_for }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_lacks_nothing_and_an_empty_one_names_all() {
        assert_eq!(lacking(CapabilitySet::all()), Vec::new());
        let names: Vec<&str> = lacking(CapabilitySet::empty()).iter().map(|m| m.name).collect();
        assert_eq!(names, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_RAW"]);
    }

    #[test]
    fn without_the_first_two_nothing_can_be_done_and_without_the_others_much() {
        let without = |capability| bearable(lacking(CapabilitySet::all().difference(capability)));
        let names = |missing: Vec<Missing>| missing.iter().map(|m| m.name).collect::<Vec<_>>();
        assert_eq!(without(CapabilitySet::NET_RAW | CapabilitySet::SYS_PTRACE).map(names), Ok(vec!["CAP_SYS_PTRACE", "CAP_NET_RAW"]));
        let refused = |capability| without(capability).map_err(|m| m.to_string());
        assert_eq!(
            refused(CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW),
            Err("CAP_NET_ADMIN is missing, which makes and changes interfaces (as root, all are there)".into())
        );
        assert!(refused(CapabilitySet::SYS_ADMIN).is_err());
    }
}
