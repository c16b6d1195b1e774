//! The command line of a runtime, read only as far as finding the verb and the container needs: the rest is the runtime's.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::frontend::oci::{RuntimeLog, Settings};

/// Options of runc and crun, before the verb, whose value is the next word.
const VALUED: [&str; 7] = ["log", "log-format", "log-level", "root", "criu", "rootless", "cgroup-manager"];
/// Where a run of the runtime's tells what it did; one that only asks is to leave no trace there.
const LOGGING: [&str; 3] = ["log", "log-format", "log-level"];
/// The longest that a container may be made to wait, in seconds.
const LONGEST_S: u64 = 3600;

/// An option of ours that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option}: {why}")]
pub struct WordsError {
    option: &'static str,
    why: &'static str,
}

/// A command line of a runtime.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// What is ours: `--config`, `--fail-closed`, `--timeout` before the verb.
    pub(super) settings: Settings,
    /// The runtime's own options before the verb.
    globals: Vec<OsString>,
    /// As [`Self::globals`], without those about its log.
    quiet: Vec<OsString>,
    /// The verb and all that follows.
    rest: Vec<OsString>,
    /// Where the runtime logs.
    pub(super) log: Option<RuntimeLog>,
}

impl Words {
    /// Reads it; the program's name is not in it.
    pub(super) fn read(args: Vec<OsString>) -> Result<Self, WordsError> {
        let settings = Settings { labels: true, ..Settings::default() };
        let mut words = Self { settings, ..Self::default() };
        let mut log = (None::<PathBuf>, false);
        let mut args = args.into_iter().peekable();
        while let Some(arg) = args.next_if(|arg| arg.as_encoded_bytes().starts_with(b"-")) {
            let (name, inline) = split(&arg);
            let is_valued = VALUED.contains(&name.as_str()) || matches!(name.as_str(), "config" | "timeout");
            let separate = if is_valued && inline.is_none() { args.next() } else { None };
            let value = inline.as_deref().or(separate.as_deref()).map(OsStr::to_owned);
            match name.as_str() {
                "fail-closed" => words.settings.fail_closed = true,
                "config" => words.settings.config = Some(path(value)?),
                "timeout" => words.settings.timeout = seconds(value)?,
                _ => {
                    match name.as_str() {
                        "log" => log.0 = value.map(PathBuf::from),
                        "log-format" => log.1 = value.is_some_and(|format| format == "json"),
                        _ => {}
                    }
                    let whole: Vec<OsString> = [Some(arg), separate].into_iter().flatten().collect();
                    if !LOGGING.contains(&name.as_str()) {
                        words.quiet.extend(whole.iter().cloned());
                    }
                    words.globals.extend(whole);
                }
            }
        }
        words.rest = args.collect();
        words.log = log.0.filter(|path| path.is_absolute()).map(|path| RuntimeLog { path, json: log.1 });
        Ok(words)
    }

    /// The verb.
    pub(super) fn verb(&self) -> Option<&str> {
        self.rest.first()?.to_str()
    }

    /// The container, which `start` and `delete` have as their last word.
    pub(super) fn id(&self) -> Option<&str> {
        let last = self.rest.get(1..)?.last()?.to_str()?;
        Some(last).filter(|id| !id.starts_with('-'))
    }

    /// All of it that is the runtime's.
    pub(super) fn all(&self) -> impl Iterator<Item = &OsString> {
        self.globals.iter().chain(&self.rest)
    }

    /// What asks the runtime for a container's state.
    pub(super) fn ask(&self, id: &str) -> Vec<OsString> {
        self.quiet.iter().cloned().chain(["state".into(), id.into()]).collect()
    }
}

/// An option's name without dashes, and its value where it has one behind an equals sign. runc takes one dash or two.
fn split(arg: &OsStr) -> (String, Option<OsString>) {
    use std::os::unix::ffi::OsStrExt;
    let text = arg.as_bytes();
    let text = text.strip_prefix(b"--").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    (name, parts.next().map(|value| OsStr::from_bytes(value).to_owned()))
}

fn path(value: Option<OsString>) -> Result<PathBuf, WordsError> {
    let path = value.map(PathBuf::from).filter(|path| path.is_absolute());
    path.ok_or(WordsError { option: "--config", why: "give a file's whole path, like /etc/pipework/lan.toml" })
}

fn seconds(value: Option<OsString>) -> Result<Duration, WordsError> {
    let number = value.and_then(|text| text.to_str()?.parse::<u64>().ok()).filter(|number| (1..=LONGEST_S).contains(number));
    number.map(Duration::from_secs).ok_or(WordsError { option: "--timeout", why: "give seconds, from 1 to 3600" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Words {
        Words::read(line.split_whitespace().map(OsString::from).collect()).unwrap()
    }

    fn text<'a>(all: impl Iterator<Item = &'a OsString>) -> String {
        all.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_verb_and_the_container_are_found_behind_whatever_options_engines_give() {
        for (line, verb, id) in [
            ("--root /run/docker/runc --log /l/log.json --log-format json --systemd-cgroup start 0abc", Some("start"), Some("0abc")),
            ("--root=/r --log=/l --debug create --bundle /b --pid-file /p 0abc", Some("create"), Some("0abc")),
            ("-root /r delete --force 0abc", Some("delete"), Some("0abc")),
            ("--cgroup-manager cgroupfs --rootless true start 0abc", Some("start"), Some("0abc")),
            ("--log start delete 0abc", Some("delete"), Some("0abc")),
            ("--version", None, None),
            ("--root", None, None),
            ("start", Some("start"), None),
            ("start --help", Some("start"), None),
            ("", None, None),
        ] {
            let words = read(line);
            assert_eq!((words.verb(), words.id()), (verb, id), "{line}");
            assert_eq!(text(words.all()), line, "every word goes on to the runtime");
        }
    }

    #[test]
    fn our_own_options_are_kept_from_the_runtime() {
        let words = read("--fail-closed --root /r --timeout=3 --config /a.toml --log /l --log-format json start --timeout 0abc");
        assert_eq!(text(words.all()), "--root /r --log /l --log-format json start --timeout 0abc");
        assert!(words.settings.fail_closed && words.settings.timeout == Duration::from_secs(3));
        assert_eq!(words.settings.config.as_deref(), Some(std::path::Path::new("/a.toml")));
        assert_eq!(words.log, Some(RuntimeLog { path: "/l".into(), json: true }));
        assert_eq!(text(words.ask("0abc").iter()), "--root /r state 0abc");
        for line in ["--timeout 0 start a", "--timeout x start a", "--config a.toml start a", "--config"] {
            assert!(Words::read(line.split(' ').map(OsString::from).collect()).is_err(), "{line}");
        }
    }
}
