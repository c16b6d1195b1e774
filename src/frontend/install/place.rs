//! Files of other programs' configuration: written whole or not at all, and what was there before is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::InstallError;

/// Larger files are nobody's configuration.
const LARGEST: u64 = 4 * 1024 * 1024;
/// More copies of one file are not kept.
const MOST_BACKUPS: u32 = 1000;
/// What others may do with a configuration that was not there: read it.
const USUAL_MODE: u32 = 0o644;

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is so already.
    None,
    /// It has a new text; what it had before is in the other.
    Written {
        /// The text.
        text: String,
        /// The copy.
        backup: Option<PathBuf>,
    },
    /// It leads there.
    Linked(PathBuf),
    /// It is this program; what was there before is the other.
    Program {
        /// The program.
        of: PathBuf,
        /// What was there.
        backup: Option<PathBuf>,
    },
    /// It is gone.
    Removed,
}

/// A file, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which.
    pub path: PathBuf,
    /// What.
    pub change: Change,
}

/// The text of a file; `None` when it is not there.
pub(super) fn text(path: &Path) -> Result<Option<String>, InstallError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(InstallError::new(path, &error)),
        Ok(found) if !found.is_file() || found.len() > LARGEST => return Err(InstallError::new(path, "it is no configuration file")),
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(|error| InstallError::new(path, &error))
}

/// Gives a file a text, when it has another.
pub(super) fn write(path: &Path, new: String, dry_run: bool) -> Result<Placed, InstallError> {
    let old = text(path)?;
    if old.as_ref() == Some(&new) {
        return Ok(Placed { path: path.to_owned(), change: Change::None });
    }
    // What a link leads to is written, and the link stays.
    let real = if old.is_some() { path.canonicalize().map_err(|error| InstallError::new(path, &error))? } else { path.to_owned() };
    let backup = old.is_some().then(|| free_name(&real)).transpose()?;
    if !dry_run {
        let fail = |error: std::io::Error| InstallError::new(path, &error);
        real.parent().map_or(Ok(()), fs::create_dir_all).map_err(fail)?;
        if let Some(backup) = &backup {
            fs::copy(&real, backup).map_err(fail)?;
        }
        replace(&real, &new).map_err(fail)?;
    }
    Ok(Placed { path: path.to_owned(), change: Change::Written { text: new, backup } })
}

/// Writes beside, and renames: whoever reads meanwhile has the old or the new.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut passing = path.as_os_str().to_owned();
    passing.push(format!(".{}.new", std::process::id()));
    let passing = PathBuf::from(passing);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&passing)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| as_before(path, &file)).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&passing, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&passing);
    }
    renamed
}

/// The mode and owner that the file had.
fn as_before(path: &Path, file: &File) -> std::io::Result<()> {
    let Ok(old) = fs::metadata(path) else { return file.set_permissions(fs::Permissions::from_mode(USUAL_MODE)) };
    std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))
}

/// `FILE.bak`, `FILE.bak.1`, ...: no copy takes another's place.
fn free_name(path: &Path) -> Result<PathBuf, InstallError> {
    let named = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".bak".to_owned() } else { format!(".bak.{number}") });
        PathBuf::from(name)
    };
    let free = (0..MOST_BACKUPS).map(named).find(|name| name.symlink_metadata().is_err());
    free.ok_or_else(|| InstallError::new(path, "it has too many copies: remove some of FILE.bak.*"))
}

/// Makes a symbolic link. A file of another kind in its place stays, and is an error.
pub(super) fn link(path: &Path, target: &Path, dry_run: bool) -> Result<Placed, InstallError> {
    let placed = |change| Placed { path: path.to_owned(), change };
    let fail = |error: std::io::Error| InstallError::new(path, &error);
    match path.symlink_metadata() {
        Ok(found) if !found.is_symlink() => {
            return Err(InstallError::new(path, "it is there, and no symbolic link: --link names another place"));
        }
        Ok(_) if fs::read_link(path).map_err(fail)? == target => return Ok(placed(Change::None)),
        Ok(_) if !dry_run => fs::remove_file(path).map_err(fail)?,
        _ => {}
    }
    if !dry_run {
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| symlink(target, path)).map_err(fail)?;
    }
    Ok(placed(Change::Linked(target.to_owned())))
}

/// Whether a file is the same as the program: a link to it, or a copy.
pub(super) fn is_same(path: &Path, program: &Path) -> Result<bool, InstallError> {
    let Ok(there) = fs::metadata(path) else { return Ok(false) };
    let own = fs::metadata(program).map_err(|error| InstallError::new(program, &error))?;
    if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
        return Ok(true);
    }
    let read = |path: &Path| fs::read(path).map_err(|error| InstallError::new(path, &error));
    Ok(there.is_file() && there.len() == own.len() && read(path)? == read(program)?)
}

/// Puts a program in place: as a hard link, and where that cannot be, as a copy. What was there before is kept.
pub(super) fn program(path: &Path, program: &Path, dry_run: bool) -> Result<Placed, InstallError> {
    let placed = |change| Placed { path: path.to_owned(), change };
    let fail = |error: std::io::Error| InstallError::new(path, &error);
    if is_same(path, program)? {
        return Ok(placed(Change::None));
    }
    let is_there = path.symlink_metadata();
    if is_there.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return Err(InstallError::new(path, "it is a directory"));
    }
    let backup = is_there.is_ok().then(|| free_name(path)).transpose()?;
    if !dry_run {
        let mut passing = path.as_os_str().to_owned();
        passing.push(format!(".{}.new", std::process::id()));
        let passing = PathBuf::from(passing);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(fail)?;
        let made = fs::hard_link(program, &passing).or_else(|_| fs::copy(program, &passing).map(|_| ()));
        let kept = made.and_then(|()| backup.as_ref().map_or(Ok(()), |backup| fs::hard_link(path, backup)));
        if let Err(error) = kept.and_then(|()| fs::rename(&passing, path)) {
            let _ = fs::remove_file(&passing);
            return Err(fail(error));
        }
    }
    Ok(placed(Change::Program { of: program.to_owned(), backup }))
}

/// Removes a file or a link, where `is_ours`.
pub(super) fn remove(path: &Path, is_ours: bool, dry_run: bool) -> Result<Placed, InstallError> {
    if path.symlink_metadata().is_err() || !is_ours {
        return Ok(Placed { path: path.to_owned(), change: Change::None });
    }
    if !dry_run {
        fs::remove_file(path).map_err(|error| InstallError::new(path, &error))?;
    }
    Ok(Placed { path: path.to_owned(), change: Change::Removed })
}
