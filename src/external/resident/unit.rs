//! A program that stays as a unit of systemd.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Resident, ResidentError, VERSION, file_error};

/// Where an administrator's units are (systemd.unit(5)).
const UNIT_DIR: &str = "/etc/systemd/system";

pub(super) fn name(resident: &Resident) -> String {
    format!("{}.service", resident.name)
}

fn path(resident: &Resident) -> PathBuf {
    Path::new(UNIT_DIR).join(name(resident))
}

/// The unit's file.
pub(super) fn text(resident: &Resident) -> String {
    let words: Vec<String> =
        std::iter::once(resident.program.display().to_string()).chain(resident.args.iter().cloned()).map(|w| word(&w)).collect();
    format!(
        "# made by: pipework cluster up
[Unit]
Description={}
Wants=network-online.target
After={}

[Service]
Environment={VERSION}={}
ExecStart={}
{}
[Install]
WantedBy=multi-user.target
",
        resident.description.replace('%', "%%"),
        format!("network-online.target {}", resident.unit.after).trim_end(),
        resident.version,
        words.join(" "),
        resident.unit.service
    )
}

/// One word of a command line in a unit (systemd.service(5), "COMMAND LINES"; systemd.unit(5), "SPECIFIERS").
fn word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped == text && !text.contains(|c: char| c.is_whitespace() || c == '\'' || c == ';') { escaped } else { format!("\"{escaped}\"") }
}

fn systemctl(words: &[&str]) -> Result<String, ResidentError> {
    let refuse = |why: String| ResidentError::Systemctl { words: words.join(" "), why };
    let output = Command::new("systemctl").args(words).output().map_err(|error| refuse(error.to_string()))?;
    if !output.status.success() {
        return Err(refuse(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(super) fn main_pid(resident: &Resident) -> Option<i32> {
    let text = systemctl(&["show", "--property=MainPID", "--value", &name(resident)]).ok()?;
    text.parse().ok().filter(|pid| *pid > 0)
}

pub(super) fn is_tended(resident: &Resident) -> bool {
    let state = systemctl(&["show", "--property=ActiveState", "--value", &name(resident)]);
    state.is_ok_and(|state| !matches!(state.as_str(), "inactive" | "failed"))
}

pub(super) fn start(resident: &Resident) -> Result<(), ResidentError> {
    let path = path(resident);
    let text = text(resident);
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
        let new = path.with_extension("service.new");
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path)).map_err(file_error(&path))?;
    }
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--quiet", &name(resident)])?;
    systemctl(&["restart", &name(resident)]).map(drop)
}

/// Whose file a unit's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Foreign,
    /// There is none.
    Nobodys,
}

fn whose(path: &Path) -> Whose {
    match std::fs::read_to_string(path) {
        Ok(text) if text.starts_with("# made by: pipework") => Whose::Ours,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Whose::Nobodys,
        _ => Whose::Foreign,
    }
}

/// Also one that is stopped, or waits for its next start, is started at the next boot while its file is there; and one whose file
/// was taken away goes on.
pub(super) fn is_gone(resident: &Resident) -> bool {
    match whose(&path(resident)) {
        Whose::Ours => false,
        Whose::Foreign => true,
        Whose::Nobodys => !is_tended(resident),
    }
}

pub(super) fn stop(resident: &Resident) -> Result<(), ResidentError> {
    let path = path(resident);
    match whose(&path) {
        Whose::Foreign => return Ok(()),
        Whose::Nobodys if !is_tended(resident) => return Ok(()),
        Whose::Nobodys => drop(systemctl(&["stop", &name(resident)])?),
        Whose::Ours => {
            systemctl(&["disable", "--quiet", "--now", &name(resident)])?;
            std::fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    systemctl(&["daemon-reload"])?;
    // One that ended with another status than 0 would be listed as failed for ever; one that did not is none of it.
    let _ = systemctl(&["reset-failed", &name(resident)]);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::UnitWords;
    use super::*;

    #[test]
    fn a_unit_has_each_word_as_one_whatever_is_in_it() {
        let resident = Resident {
            name: "pipework-consul".into(),
            description: "Consul of 100% lab".into(),
            program: "/usr/bin/consul".into(),
            args: vec!["agent".into(), "-node=a b".into(), "-x=$1".into()],
            version: "abc".into(),
            dir: "/run/pipework".into(),
            unit: UnitWords { after: "docker.service".into(), ..UnitWords::default() },
        };
        let text = text(&resident);
        assert!(text.contains("\nExecStart=/usr/bin/consul agent \"-node=a b\" \"-x=$$1\"\n"), "{text}");
        assert!(text.contains("\nAfter=network-online.target docker.service\n") && text.contains("\nRestart=on-failure\n"), "{text}");
        assert!(text.contains("\nDescription=Consul of 100%% lab\n"), "{text}");
    }
}
