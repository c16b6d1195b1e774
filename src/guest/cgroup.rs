//! Containers by their control group: LXC, systemd-nspawn, libvirt and whoever else names a group after the container,
//! in the hierarchies of version 1 and 2.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Where container managers put their groups, below a hierarchy's root.
const USUAL_PARENTS: [&str; 7] = ["", "lxc", "lxc.payload", "lxc.slice", "machine", "machine.slice", "system.slice"];
/// Deeper than any hierarchy of nested containers.
const MAX_DEPTH: usize = 24;

/// A group that is named like the guest, and a process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Its directory.
    pub(super) path: PathBuf,
    /// Its first process, by preference the container's own process 1.
    pub(super) pid: u32,
}

impl Match {
    /// Whether the group is the container's with this ID.
    pub(super) fn names(&self, id: &str) -> bool {
        self.path.components().any(|part| part.as_os_str().to_str().is_some_and(|part| part.contains(id)))
    }
}

/// Groups of that name in the usual places: a few dozen look-ups, whatever the size of the host.
pub(super) fn probe(name: &str) -> Vec<Match> {
    let wanted = group_names(name);
    let mut found = Vec::new();
    for root in roots() {
        for parent in USUAL_PARENTS {
            found.extend(wanted.iter().map(|group| root.join(parent).join(group)).filter(|path| path.is_dir()));
        }
    }
    with_process(found)
}

/// Groups of that name anywhere.
pub(super) fn search(name: &str) -> Vec<Match> {
    let wanted = group_names(name);
    let mut found = Vec::new();
    for root in roots() {
        walk(&root, 0, &mut |path, group| {
            if wanted.iter().any(|w| w == group) {
                found.push(path.to_owned());
            }
        });
    }
    with_process(found)
}

/// Where engines put their containers' groups, below a hierarchy's root.
const ENGINES_PARENTS: [&str; 6] = ["docker", "system.slice", "machine.slice", "libpod_parent", "machine.slice/libpod_pod", ""];

/// What engines call the group of a container with this ID: the ID itself, or systemd's way.
fn names_of_container(id: &str) -> [String; 4] {
    [id.to_owned(), format!("docker-{id}.scope"), format!("libpod-{id}.scope"), format!("libpod-{id}")]
}

/// The process of the container with this ID, if its group is in a usual place: a few dozen look-ups.
pub(super) fn process_of(id: &str) -> Option<u32> {
    let mut found = Vec::new();
    for root in roots() {
        for parent in ENGINES_PARENTS {
            found.extend(names_of_container(id).into_iter().map(|group| root.join(parent).join(group)).filter(|path| path.is_dir()));
        }
    }
    with_process(found).first().map(|group| group.pid)
}

/// All groups, by one walk through the hierarchies.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: HashMap<String, Vec<PathBuf>>,
}

impl Groups {
    /// Walks.
    pub(super) fn walk() -> Self {
        let mut by_name: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for root in roots() {
            walk(&root, 0, &mut |path, group| by_name.entry(group.to_owned()).or_default().push(path.to_owned()));
        }
        Self { by_name }
    }

    /// Whether a group bears the name as managers write it, and is not in that of the container with this ID.
    pub(super) fn has_named(&self, name: &str, id: &str) -> bool {
        let others = |path: &PathBuf| !Match { path: path.clone(), pid: 0 }.names(id);
        group_names(name).iter().filter_map(|group| self.by_name.get(group)).flatten().any(others)
    }

    /// The process of the container with this ID.
    pub(super) fn process_of(&self, id: &str) -> Option<u32> {
        let names = names_of_container(id);
        let groups: Vec<PathBuf> = names.iter().filter_map(|group| self.by_name.get(group)).flatten().cloned().collect();
        with_process(groups).first().map(|group| group.pid)
    }
}

/// Whether a process's groups name the container: every engine puts the whole ID into the group's name.
pub(super) fn names_container(pid: u32, id: &str) -> bool {
    !id.is_empty() && groups_of(pid).iter().any(|group| group.contains(id))
}

/// Whether a process is in the group, or below it.
pub(super) fn is_in(pid: u32, group: &Path) -> bool {
    let Some(name) = group.file_name().and_then(|n| n.to_str()) else { return false };
    groups_of(pid).iter().any(|path| path.split('/').any(|part| part == name))
}

/// The paths in /proc/PID/cgroup (cgroups(7)).
fn groups_of(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect()
}

/// What managers call the group of a container: the name itself (LXC with its own parent, libvirt, plain groups),
/// `lxc.payload.NAME` (LXC since 3.1), `machine-NAME.scope` (systemd-nspawn, machined, with systemd's escapes).
fn group_names(name: &str) -> Vec<String> {
    let escaped = name.replace('-', "\\x2d");
    vec![
        name.to_owned(),
        format!("lxc.payload.{name}"),
        format!("machine-{escaped}.scope"),
        format!("systemd-nspawn@{escaped}.service"),
        format!("{name}.scope"),
    ]
}

/// Where hierarchies are mounted: version 2, and of version 1 the one that the original used, `devices`.
fn roots() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().filter_map(root_of).collect()
}

fn root_of(mount: &str) -> Option<PathBuf> {
    let mut fields = mount.split(' ');
    let (path, kind, options) = (fields.nth(1)?, fields.next()?, fields.next()?);
    let counts = kind == "cgroup2" || (kind == "cgroup" && options.split(',').any(|o| o == "devices"));
    counts.then(|| PathBuf::from(path.replace("\\040", " ")))
}

fn walk(directory: &Path, depth: usize, visit: &mut dyn FnMut(&Path, &str)) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let path = entry.path();
        if let Some(name) = entry.file_name().to_str() {
            visit(&path, name);
        }
        if depth < MAX_DEPTH {
            walk(&path, depth + 1, visit);
        }
    }
}

/// Keeps groups with a process whose network is not the host's; one for each process, as a container is in several
/// hierarchies.
fn with_process(groups: Vec<PathBuf>) -> Vec<Match> {
    let mut seen = HashSet::new();
    let host = std::fs::read_link("/proc/thread-self/ns/net").ok();
    let matches = groups.into_iter().filter_map(|path| {
        let pid = first_process(&path, host.as_deref())?;
        Some(Match { path, pid })
    });
    matches.filter(|group| seen.insert(group.pid)).collect()
}

/// The container's own process: of those in PID namespaces of their own the outermost, and in it number 1. A container in
/// the container comes after it, a supervisor on the host (systemd-nspawn's) is none of them. Without PID namespaces it is
/// the first process whose network is not the host's.
fn first_process(group: &Path, host: Option<&Path>) -> Option<u32> {
    let mut pids = processes(group);
    walk(group, 0, &mut |path, _| pids.extend(processes(path)));
    let has_own_network = |pid: &u32| {
        let netns = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        netns.is_some() && netns.as_deref() != host
    };
    let place = |pid: u32| {
        let inside = pids_inside(pid);
        (inside.len(), inside.last() != Some(&1), pid)
    };
    match pids.iter().map(|pid| place(*pid)).filter(|(depth, ..)| *depth > 1).min() {
        Some((_, _, pid)) => Some(pid).filter(has_own_network),
        None => pids.into_iter().filter(has_own_network).min(),
    }
}

fn processes(group: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// A process's numbers in the PID namespaces that it is in, from here inwards (proc(5), NSpid).
fn pids_inside(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_hierarchies_are_searched_but_only_one_of_version_1() {
        let path = |line| root_of(line).map(|p| p.display().to_string());
        assert_eq!(path("cgroup2 /sys/fs/cgroup cgroup2 rw,relatime 0 0").as_deref(), Some("/sys/fs/cgroup"));
        assert_eq!(path("cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0").as_deref(), Some("/sys/fs/cgroup/devices"));
        assert_eq!(path("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0"), None);
        assert_eq!(path("nonsense"), None);
    }

    #[test]
    fn systemd_escapes_dashes_in_a_machine_name() {
        assert!(group_names("my-box").contains(&"machine-my\\x2dbox.scope".to_owned()));
    }
}
