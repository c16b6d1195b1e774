//! What may be run with all privileges: a program that nobody but root, or the user who runs this, can have put there.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::HookError;

const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Names in such a directory are safe from whoever owns neither the file nor the directory (inode(7)).
const STICKY: u32 = 0o1000;
const EXECUTABLE: u32 = 0o111;

/// Refuses a program that is none, or that somebody else may have written: the file that a symbolic link leads to, and
/// every directory above either, must be root's or ours, and writable by nobody else.
pub(super) fn check(path: &Path) -> Result<(), HookError> {
    let us = nix::unistd::geteuid().as_raw();
    let refuse = |why: String, remedy: String| HookError::Refused { path: path.to_owned(), why, remedy };
    let unreadable = |error: std::io::Error| refuse(error.to_string(), format!("ls -l {}", path.display()));
    let real = path.canonicalize().map_err(unreadable)?;
    let file = real.metadata().map_err(unreadable)?;
    if !file.is_file() {
        let remedy = "files of a hook folder that are no hooks have a dot in their names".into();
        return Err(refuse("it is no regular file".into(), remedy));
    }
    if file.mode() & EXECUTABLE == 0 {
        return Err(refuse("it is not executable".into(), format!("chmod +x {}", real.display())));
    }
    let folder = path.parent().map(Path::canonicalize).transpose().map_err(unreadable)?;
    let above = real.ancestors().skip(1).chain(folder.iter().flat_map(|folder| folder.ancestors()));
    for place in std::iter::once(real.as_path()).chain(above) {
        let found = place.metadata().map_err(unreadable)?;
        if let Some((why, remedy)) = distrust(&found, us) {
            let who = if place == real.as_path() && real == path { "it".into() } else { place.display().to_string() };
            return Err(refuse(format!("{who} {why}"), format!("{remedy} {}", place.display())));
        }
    }
    Ok(())
}

/// What makes a file or directory nobody's to rely on, and the command that mends it.
fn distrust(found: &Metadata, us: u32) -> Option<(String, &'static str)> {
    if found.uid() != 0 && found.uid() != us {
        return Some((format!("belongs to user {}", found.uid()), "chown root"));
    }
    let sticky = found.is_dir() && found.mode() & STICKY != 0;
    let writable = found.mode() & WRITABLE_BY_OTHERS != 0 && !sticky;
    writable.then(|| (format!("is writable by others (mode {:o})", found.mode() & 0o7777), "chmod go-w"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A hook folder with a program of that mode.
    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10-a");
        std::fs::write(&path, "#!/bin/true\n").unwrap();
        chmod(&path, mode);
        folder
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    fn refused(path: &Path, why: &str, remedy: &str) {
        let error = check(path).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.hint().unwrap().contains(remedy), "{:?}", error.hint());
    }

    #[test]
    fn what_others_can_write_or_nobody_can_run_is_refused() {
        assert!(check(&folder(0o755).path().join("10-a")).is_ok());
        assert!(check(&folder(0o700).path().join("10-a")).is_ok());
        for mode in [0o775, 0o757, 0o722] {
            refused(&folder(mode).path().join("10-a"), "it is writable by others", "chmod go-w");
        }
        refused(&folder(0o644).path().join("10-a"), "not executable", "chmod +x");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused_with_all_in_it() {
        let folder = folder(0o755);
        chmod(folder.path(), 0o777);
        refused(&folder.path().join("10-a"), "is writable by others (mode 777)", "chmod go-w");
        // Nobody can take the place of a file that is not his there.
        chmod(folder.path(), 0o1777);
        assert!(check(&folder.path().join("10-a")).is_ok());
    }

    #[test]
    fn a_link_is_judged_by_what_it_leads_to_and_by_every_directory_on_the_way() {
        let (hooks, elsewhere) = (folder(0o755), folder(0o755));
        let link = hooks.path().join("20-b");
        symlink(elsewhere.path().join("10-a"), &link).unwrap();
        assert!(check(&link).is_ok());
        chmod(elsewhere.path(), 0o775);
        refused(&link, &format!("{} is writable by others", elsewhere.path().display()), "chmod go-w");
        chmod(elsewhere.path(), 0o755);
        chmod(hooks.path(), 0o775);
        refused(&link, &format!("{} is writable by others", hooks.path().display()), "chmod go-w");
        chmod(hooks.path(), 0o755);
        symlink("/nowhere", hooks.path().join("30-c")).unwrap();
        refused(&hooks.path().join("30-c"), "No such file", "ls -l");
        std::fs::create_dir(hooks.path().join("40-d")).unwrap();
        refused(&hooks.path().join("40-d"), "no regular file", "dot");
    }

    #[test]
    fn another_users_file_is_refused_whoever_may_write_it() {
        let folder = folder(0o755);
        let path = folder.path().join("10-a");
        if !nix::unistd::geteuid().is_root() || nix::unistd::chown(&path, Some(nix::unistd::Uid::from_raw(65534)), None).is_err() {
            eprintln!("SKIP: needs root");
            return;
        }
        refused(&path, "it belongs to user 65534", "chown root");
    }
}
