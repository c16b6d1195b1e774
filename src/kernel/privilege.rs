//! Capabilities: told by name when one is missing, rather than by errno when it is needed.

/// What an attach needs (capabilities(7)), with its bit in linux/capability.h and what for.
const NEEDED: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "makes and changes interfaces"),
    ("CAP_SYS_ADMIN", 21, "enters the guest's network namespace"),
    ("CAP_SYS_PTRACE", 19, "opens the namespace of another user's process"),
    ("CAP_NET_RAW", 13, "announces the address"),
];

/// A capability that the process has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: &'static str,
    /// What it is needed for.
    pub what_for: &'static str,
}

/// The capabilities that an attach needs and this process lacks. Empty when /proc does not tell.
pub fn missing() -> Vec<Missing> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    effective(&status).map(lacking).unwrap_or_default()
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn lacking(effective: u64) -> Vec<Missing> {
    let lacks = |bit: u32| effective & (1 << bit) == 0;
    NEEDED.iter().filter(|(_, bit, _)| lacks(*bit)).map(|&(name, _, what_for)| Missing { name, what_for }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_lacks_nothing_and_an_empty_one_names_all() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001fffeffffff\n").map(lacking), Some(Vec::new()));
        let names: Vec<&str> = lacking(0).iter().map(|m| m.name).collect();
        assert_eq!(names, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_RAW"]);
    }

    #[test]
    fn a_status_without_the_line_is_not_guessed_at() {
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
