//! Asking a daemon that runs: the other end of its socket file.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::board::Event;

/// A line of the answer is at most so long: longer ones are no events.
const LONGEST: u64 = 1 << 20;
/// The daemon gives a sign of life in a quarter of this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there was no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no daemon answers on {0}: is `pipework daemon` running, and does it have this --socket?")]
    Nobody(PathBuf),
    /// It cannot be asked.
    #[error("cannot ask the daemon on {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not want to answer.
    #[error("the daemon answers: {0}")]
    Refused(String),
    /// What answers is no daemon of ours.
    #[error("what answers on {0} is no pipework daemon")]
    Garbled(PathBuf),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The events to come, too.
    pub follow: bool,
    /// Only those after this number or time.
    pub since: Option<&'a str>,
}

/// Asks for events and tells of each. Ends with the daemon, or when `tell` says no.
///
/// # Errors
/// See [`AskError`].
pub fn events(socket: &Path, wish: Wish<'_>, tell: &mut dyn FnMut(&Event) -> bool) -> Result<(), AskError> {
    let fail = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::Nobody(socket.to_owned()),
        _ => AskError::Socket { path: socket.to_owned(), source },
    };
    let garbled = || AskError::Garbled(socket.to_owned());
    let mut stream = UnixStream::connect(socket).map_err(fail)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    // A daemon that has no room answers, and closes, before it is asked.
    let asked = stream.write_all(question(wish).as_bytes());
    let mut answer = BufReader::new(stream);
    let status = line(&mut answer).map_err(fail)?.ok_or_else(|| asked.map_or_else(fail, |()| garbled()))?;
    let is_ok = match status.split(' ').nth(1) {
        Some("200") => true,
        Some(code) if status.starts_with("HTTP/1.") && code.len() == 3 => false,
        _ => return Err(garbled()),
    };
    while !line(&mut answer).map_err(fail)?.ok_or_else(garbled)?.is_empty() {}
    if !is_ok {
        let mut why = String::new();
        answer.take(LONGEST).read_to_string(&mut why).map_err(fail)?;
        return Err(AskError::Refused(why.trim_end().to_owned()));
    }
    while let Some(text) = line(&mut answer).map_err(fail)? {
        // An empty one is a sign of life.
        if !text.is_empty() && !tell(&serde_json::from_str(&text).map_err(|_| garbled())?) {
            break;
        }
    }
    Ok(())
}

/// In HTTP/1.0: then the answer has no chunks, and ends with the connection.
fn question(wish: Wish<'_>) -> String {
    let encode = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let since: String = wish.since.map(|since| since.bytes().map(encode).collect()).unwrap_or_default();
    let since = if since.is_empty() { since } else { format!("&since={since}") };
    format!("GET /v1/events?follow={}{since} HTTP/1.0\r\n\r\n", u8::from(wish.follow))
}

/// The next line without its end; none at the end.
fn line(from: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    if from.take(LONGEST).read_line(&mut text)? == 0 {
        return Ok(None);
    }
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
