//! Which programs a hook folder has.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::HookError;
use crate::model::hook::is_hook_name;

/// Everything in the folder that is called like a hook, in the order of the names' bytes. A folder that is not there has none.
pub(super) fn programs(folder: &Path) -> Result<Vec<PathBuf>, HookError> {
    let fail = |source| HookError::Folder { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        names.extend(name.to_str().filter(|name| is_hook_name(name)).map(str::to_owned));
    }
    names.sort();
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_come_in_the_order_of_their_names_and_nothing_else_comes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["20-b", "10-a", "9-c", "B", "a", "10-a~", "10-a.dpkg-old", ".hidden", "README.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = programs(folder.path()).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["10-a", "20-b", "9-c", "B", "a"]);
        assert_eq!(programs(&folder.path().join("none")).unwrap(), Vec::<PathBuf>::new());
    }
}
