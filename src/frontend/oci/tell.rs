//! Telling what went wrong where somebody may see it: engines throw away what a hook says, and a runtime's standard error when it
//! was no failure. So the system's log is told too, and the runtime's own log, whose last error an engine shows.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where the system's log listens (syslog(3)).
const SYSLOG: &str = "/dev/log";
/// Facility 3, system daemons (RFC 5424).
const DAEMON: u8 = 3 * 8;
/// Nobody reads more than this on one line.
const LONGEST: usize = 2000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The container was not given what it asked for, and is not to run.
    Error,
    /// Something is to be known.
    Warning,
}

/// The runtime's own log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLog {
    /// Its path.
    pub path: PathBuf,
    /// A JSON document a line, as engines ask for; else plain words.
    pub json: bool,
}

/// Whom to tell.
#[derive(Clone, Debug)]
pub struct Teller {
    /// Who says it.
    pub who: &'static str,
    /// The runtime's log, where there is one.
    pub log: Option<RuntimeLog>,
}

impl Teller {
    /// Tells it everywhere. What cannot be told is not worth failing for.
    pub fn tell(&self, level: Level, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
        let _ = writeln!(std::io::stderr().lock(), "pipework: {}: {text}", self.who);
        self.syslog(level, &text);
        let line = self.log.as_ref().map(|log| (log, line(log.json, level, &text)));
        if let Some((log, line)) = line {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(&log.path);
            let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        }
    }

    fn syslog(&self, level: Level, text: &str) {
        let severity = match level {
            Level::Error => 3,
            Level::Warning => 4,
        };
        let line = format!("<{}>pipework[{}]: {}: {text}", DAEMON + severity, std::process::id(), self.who);
        // A log that is full is not waited for.
        let socket = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        let _ = socket.and_then(|socket| socket.send_to(line.as_bytes(), SYSLOG));
    }
}

/// A line as runc writes it.
fn line(json: bool, level: Level, text: &str) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    let (text, time) = (format!("pipework: {text}"), crate::state::now());
    if json {
        return format!("{}\n", serde_json::json!({ "level": level, "msg": text, "time": time }));
    }
    format!("time={time:?} level={level} msg={text:?}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_log_gets_a_line_that_an_engine_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.json");
        let teller = Teller { who: "test", log: Some(RuntimeLog { path: path.clone(), json: true }) };
        teller.tell(Level::Error, "a \"b\"\nc");
        let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((line["level"].as_str(), line["msg"].as_str()), (Some("error"), Some("pipework: a \"b\" c")));
        assert!(super::line(false, Level::Warning, "x").contains("level=warning msg=\"pipework: x\""));
    }
}
