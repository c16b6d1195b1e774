//! A bridge that is there again after the next boot: the files of whoever keeps the network's configuration. What was there before lies
//! beside, under a name that its reader does not read, and comes back with `host down`.

mod ifcfg;
mod keyfile;
mod networkd;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use super::HostError;
use crate::model::host_bridge::{HostBridge, Keeper, Lasting, WrittenFile};
use crate::model::types::IfName;

/// How the names of what was there before end. They begin with a dot.
const BACKUP: &str = ".before-pipework";
/// No file of these is larger.
const LARGEST: u64 = 1024 * 1024;

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It gets this text, and these permissions.
    Write(String, u32),
    /// It is not to be read any more.
    Aside,
}

/// What the files are made of.
struct Facts<'a> {
    bridge: &'a IfName,
    nic: &'a str,
    lasting: &'a Lasting,
}

fn fail(path: &Path, why: impl ToString) -> HostError {
    HostError::Persist { path: path.display().to_string(), why: why.to_string() }
}

fn directory(keeper: Keeper, etc: &Path) -> PathBuf {
    etc.join(match keeper {
        Keeper::Networkd => "systemd/network",
        Keeper::NetworkManager => "NetworkManager/system-connections",
        Keeper::Ifcfg => "sysconfig/network-scripts",
    })
}

/// Who keeps the network's configuration of this host: who runs, else whose files there are.
pub fn keeper_of(etc: &Path) -> Option<Keeper> {
    let runs = |what: &str| etc == Path::new("/etc") && Path::new(what).exists();
    let has = |keeper: Keeper, is_one: fn(&str) -> bool| {
        let entries = fs::read_dir(directory(keeper, etc)).ok();
        entries.is_some_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_one)))
    };
    // NetworkManager of RHEL reads ifcfg files too: where they are, they are meant.
    if has(Keeper::Ifcfg, |name| name.starts_with("ifcfg-") && name != "ifcfg-lo") {
        Some(Keeper::Ifcfg)
    } else if runs("/run/NetworkManager/no-stub-resolv.conf")
        || runs("/run/NetworkManager/conf.d")
        || has(Keeper::NetworkManager, |name| name.ends_with(".nmconnection"))
    {
        Some(Keeper::NetworkManager)
    } else if runs("/run/systemd/netif/links") || has(Keeper::Networkd, |name| name.ends_with(".network")) {
        Some(Keeper::Networkd)
    } else {
        None
    }
}

/// The keeper, where its directory can be written.
pub(super) fn check(keeper: Keeper, etc: &Path) -> Result<Keeper, HostError> {
    match fs::metadata(etc) {
        Ok(metadata) if metadata.is_dir() => Ok(keeper),
        Ok(_) => Err(fail(etc, "it is no directory")),
        Err(error) => Err(fail(etc, error)),
    }
}

/// What becomes of which file.
pub(super) fn files(keeper: Keeper, record: &HostBridge, nic: &str, etc: &Path) -> Result<Vec<(String, Change)>, HostError> {
    let Some(lasting) = &record.lasting else { return Ok(Vec::new()) };
    let (facts, directory) = (Facts { bridge: &record.bridge, nic, lasting }, directory(keeper, etc));
    let there = read_all(&directory)?;
    let changes = match keeper {
        Keeper::Networkd => networkd::changes(&facts, &there),
        Keeper::NetworkManager => keyfile::changes(&facts, &there),
        Keeper::Ifcfg => ifcfg::changes(&facts, &there),
    };
    let path = |name: &str| directory.join(name).to_str().map(str::to_owned).ok_or_else(|| fail(&directory, "its name is no UTF-8"));
    changes.into_iter().map(|(name, change)| Ok((path(&name)?, change))).collect()
}

/// Names and texts of a directory's files that are no backups.
fn read_all(directory: &Path) -> Result<Vec<(String, String)>, HostError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(directory, error)),
        Ok(entries) => entries,
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let is_small = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
        // Scripts and pictures are none of these files.
        if let (true, false, Ok(text)) = (is_small, name.starts_with('.'), fs::read_to_string(entry.path())) {
            all.push((name, text));
        }
    }
    all.sort();
    Ok(all)
}

/// Writes the files, each written down before. The paths of all that there are.
pub(super) fn write(
    keeper: Keeper,
    record: &mut HostBridge,
    nic: &str,
    etc: &Path,
    note: &mut dyn FnMut(&HostBridge) -> Result<(), HostError>,
) -> Result<Vec<String>, HostError> {
    let own = directory(keeper, etc);
    let in_place = |file: &WrittenFile| {
        let now = text(Path::new(&file.path))?;
        Ok::<_, HostError>(Path::new(&file.path).starts_with(&own) && now.as_deref().map(hash).unwrap_or_default() == file.hash)
    };
    let in_place: Result<Vec<bool>, HostError> = record.files.iter().map(in_place).collect();
    if record.files.is_empty() || !in_place?.into_iter().all(|is_so| is_so) {
        // Anew, from what was there before: of what an earlier run wrote nothing is to be kept as the administrator's.
        restore(&record.files)?;
        record.files.clear();
        for (path, change) in files(keeper, record, nic, etc)? {
            let backup = text(Path::new(&path))?.map(|_| free_backup(&path));
            let hash = if let Change::Write(text, _) = &change { hash(text) } else { String::new() };
            record.files.push(WrittenFile { path: path.clone(), backup: backup.clone(), hash });
            note(record)?;
            if let Some(backup) = &backup {
                fs::rename(&path, backup).map_err(|error| fail(Path::new(backup), error))?;
            }
            if let Change::Write(text, mode) = change {
                put(Path::new(&path), &text, mode)?;
            }
        }
    }
    Ok(record.files.iter().map(|file| file.path.clone()).collect())
}

/// Takes our files away and brings back what was there before. Returns what was touched, and a warning for each that somebody has
/// changed since, which stays.
pub(super) fn restore(written: &[WrittenFile]) -> Result<(Vec<String>, Vec<String>), HostError> {
    let (mut touched, mut warnings) = (Vec::new(), Vec::new());
    for file in written.iter().rev() {
        let path = Path::new(&file.path);
        let now = text(path)?;
        if now.as_deref().is_some_and(|text| hash(text) != file.hash) {
            let before = file.backup.as_ref().map(|backup| format!("; what was there before is {backup}")).unwrap_or_default();
            warnings.push(format!("{} was changed since, and stays{before}", file.path));
            continue;
        }
        match &file.backup {
            Some(backup) if Path::new(backup).exists() => fs::rename(backup, path).map_err(|error| fail(path, error))?,
            _ if now.is_some() => fs::remove_file(path).map_err(|error| fail(path, error))?,
            _ => continue,
        }
        touched.push(file.path.clone());
    }
    Ok((touched, warnings))
}

/// `.NAME.before-pipework`, or with a number: an older one is never overwritten.
fn free_backup(path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
    let first = format!("{directory}/.{name}{BACKUP}");
    let mut all = std::iter::once(first.clone()).chain((2..1000).map(|n| format!("{first}.{n}")));
    all.find(|path| fs::symlink_metadata(path).is_err()).unwrap_or(first)
}

fn text(path: &Path) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(path, error)),
    }
}

/// Under a passing name, synced, renamed.
fn put(path: &Path, text: &str, mode: u32) -> Result<(), HostError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(|error| fail(directory, error))?;
    let passing = directory.join(format!(".{name}.new"));
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&passing);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&passing)?;
        // Whatever the umask is, its reader has to be able to read it.
        fs::set_permissions(&passing, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&passing, path)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&passing);
        fail(path, error)
    })
}

fn hash(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sections of a file of `[NAME]` and `KEY=VALUE`, with their lines.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => all.push((name.to_owned(), Vec::new())),
            None => {
                if let Some((_, lines)) = all.last_mut() {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    all
}

/// Whether a section has that key with that value.
fn says(sections: &[(String, Vec<String>)], section: &str, key: &str, value: &str) -> bool {
    let is_it = |line: &String| line.split_once('=').is_some_and(|(k, v)| k.trim() == key && v.trim() == value);
    sections.iter().any(|(name, lines)| name == section && lines.iter().any(is_it))
}

#[cfg(test)]
mod tests;
