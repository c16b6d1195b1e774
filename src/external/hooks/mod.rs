//! The administrator's own programs, run around an attach or a detach: `hooks.d/{pre,post}-{attach,detach}/*`.
//!
//! They run as this process does, with all its privileges: so only what nobody else can have written is run. A hook runs in
//! the host's network, apart from this process: nothing of its environment, files and terminal, a session of its own. It has
//! a document on its standard input, and so much time; then it is ended with whatever it started and kept in its group.

mod error;
mod folder;
mod process;
mod tail;
mod trust;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kernel::signal::Signals;
use crate::model::hook::HookEvent;
pub use error::HookError;
use folder::programs;
use process::Run;

/// Where hooks are, unless `PIPEWORK_HOOKS_DIR` says otherwise.
const USUAL: &str = "/etc/pipework/hooks.d";
/// What `PIPEWORK_HOOK_TIMEOUT` may say, in seconds, and what holds when it says nothing.
const LIMITS: std::ops::RangeInclusive<u64> = 1..=3600;
const USUAL_LIMIT: Duration = Duration::from_secs(10);

/// Where hooks are looked for, and how long each may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookSettings {
    /// The folder; no hook is run when empty.
    pub dir: PathBuf,
    /// What was said about the time, in seconds; ten when absent. Looked at once there is a hook.
    pub limit: Option<String>,
}

impl HookSettings {
    /// What the environment says: `PIPEWORK_HOOKS_DIR`, else /etc/pipework/hooks.d; `PIPEWORK_HOOK_TIMEOUT`.
    pub fn from_environment() -> Self {
        let said = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let limit = said("PIPEWORK_HOOK_TIMEOUT").map(|value| value.to_string_lossy().into_owned());
        Self { dir: said("PIPEWORK_HOOKS_DIR").map_or_else(|| USUAL.into(), PathBuf::from), limit }
    }

    fn limit(&self) -> Result<Duration, HookError> {
        let Some(text) = &self.limit else { return Ok(USUAL_LIMIT) };
        let seconds = text.parse().ok().filter(|seconds| LIMITS.contains(seconds));
        seconds.map(Duration::from_secs).ok_or_else(|| HookError::Limit { text: text.clone() })
    }
}

/// The hooks of this host. Where there is no folder for them, finding that out is all that they cost.
#[derive(Clone, Debug)]
pub struct Hooks {
    dir: PathBuf,
    limit: Duration,
}

/// What the hooks of one event are run for.
pub struct Occasion<'a> {
    /// The event.
    pub event: HookEvent,
    /// The guest, as the user named it.
    pub guest: &'a str,
    /// The interface in the guest.
    pub interface: &'a str,
    /// Their standard input.
    pub document: &'a [u8],
}

impl Hooks {
    /// The hooks of this host, or none.
    ///
    /// # Errors
    /// When the folder cannot be looked at, or the time for each is no time.
    pub fn find(settings: &HookSettings) -> Result<Option<Self>, HookError> {
        let dir = &settings.dir;
        if dir.as_os_str().is_empty() {
            return Ok(None);
        }
        match std::fs::metadata(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HookError::Folder { path: dir.clone(), source }),
            Ok(_) => {
                // Hooks run in another directory.
                let dir = std::path::absolute(dir).map_err(|source| HookError::Folder { path: dir.clone(), source })?;
                Ok(Some(Self { dir, limit: settings.limit()? }))
            }
        }
    }

    /// Whether there is anything to be run at an event.
    ///
    /// # Errors
    /// When the event's folder cannot be read.
    pub fn has(&self, event: HookEvent) -> Result<bool, HookError> {
        programs(&self.dir.join(event.as_str())).map(|found| !found.is_empty())
    }

    /// Runs the hooks of an event in the order of their names, and stops at the first that fails. `tell` hears of each.
    /// Unless all of them may be run, none is.
    ///
    /// # Errors
    /// The hook that failed, was refused, or was ended; then nobody should go on.
    pub fn before(&self, occasion: &Occasion<'_>, signals: &mut Signals, tell: &mut dyn FnMut(&Path)) -> Result<(), HookError> {
        let found = programs(&self.dir.join(occasion.event.as_str()))?;
        let trusted = found.iter().map(|path| trust::check(path).map(|()| path)).collect::<Result<Vec<_>, _>>()?;
        trusted.into_iter().try_for_each(|path| self.run(path, occasion, signals, tell))
    }

    /// Runs the hooks of an event in the order of their names, whatever becomes of one. `tell` hears of each. A signal ends
    /// them: then the rest is not run.
    pub fn after(&self, occasion: &Occasion<'_>, signals: &mut Signals, tell: &mut dyn FnMut(&Path)) -> Vec<HookError> {
        let found = match programs(&self.dir.join(occasion.event.as_str())) {
            Ok(found) => found,
            Err(error) => return vec![error],
        };
        let mut failed = Vec::new();
        for path in found {
            let ended = trust::check(&path).and_then(|()| self.run(&path, occasion, signals, tell));
            let interrupted = matches!(ended, Err(HookError::Interrupted { .. }));
            failed.extend(ended.err());
            if interrupted {
                break;
            }
        }
        failed
    }

    fn run(&self, path: &Path, occasion: &Occasion<'_>, signals: &mut Signals, tell: &mut dyn FnMut(&Path)) -> Result<(), HookError> {
        tell(path);
        Run::start(path, occasion)?.finish(self.limit, signals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path, limit: &str) -> HookSettings {
        HookSettings { dir: dir.to_owned(), limit: Some(limit.to_owned()) }
    }

    #[test]
    fn no_folder_is_no_hooks_and_a_file_in_its_place_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Hooks::find(&HookSettings::default()).unwrap().is_none());
        assert!(Hooks::find(&settings(&directory.path().join("none"), "5")).unwrap().is_none());
        assert!(Hooks::find(&settings(directory.path(), "5")).unwrap().is_some());
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert!(Hooks::find(&settings(&directory.path().join("file/hooks.d"), "5")).is_err());
        let hooks = Hooks::find(&settings(directory.path(), "5")).unwrap().unwrap();
        assert!(!hooks.has(HookEvent::PreAttach).unwrap());
        std::fs::write(directory.path().join("pre-attach"), "").unwrap();
        assert!(hooks.has(HookEvent::PreAttach).is_err());
    }

    #[test]
    fn the_time_for_each_is_seconds_and_told_only_where_hooks_are() {
        let directory = tempfile::tempdir().unwrap();
        for bad in ["0", "-1", "1.5", "3601", "ten", "99999999999999999999"] {
            let found = Hooks::find(&settings(directory.path(), bad));
            assert!(matches!(&found, Err(HookError::Limit { text }) if text == bad), "{bad}: {found:?}");
            assert!(Hooks::find(&settings(&directory.path().join("none"), bad)).unwrap().is_none());
        }
        assert_eq!(settings(directory.path(), "7").limit().unwrap(), Duration::from_secs(7));
    }
}
