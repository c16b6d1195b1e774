//! Asking a daemon that runs: the other end of its socket file.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::board::Event;

/// A line of the answer is at most so long: longer ones are no events.
const LONGEST: u64 = 1 << 20;
/// A daemon's answer has fewer headers.
const MOST_HEADERS: usize = 64;
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
    let mut headers = 0;
    while !line(&mut answer).map_err(fail)?.ok_or_else(garbled)?.is_empty() {
        headers += 1;
        if headers > MOST_HEADERS {
            return Err(garbled());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What comes of an answer that is none of ours.
    fn asked(answer: &'static [u8]) -> Result<usize, AskError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 1024];
            let length = stream.read(&mut question).unwrap();
            let _ = stream.write_all(answer);
            String::from_utf8(question[..length].to_vec()).unwrap()
        });
        let mut events = 0;
        let ended = events_of(&path, &mut events);
        let question = server.join().unwrap();
        assert_eq!(question, "GET /v1/events?follow=0&since=2026%2D01%2D31T12%3A00%3A00%2B01%3A00 HTTP/1.0\r\n\r\n");
        ended.map(|()| events)
    }

    fn events_of(path: &Path, count: &mut usize) -> Result<(), AskError> {
        events(path, Wish { follow: false, since: Some("2026-01-31T12:00:00+01:00") }, &mut |_| {
            *count += 1;
            true
        })
    }

    #[test]
    fn an_answer_that_is_no_daemons_is_an_error_and_is_not_read_for_ever() {
        let event: &[u8] = b"HTTP/1.0 200 OK\r\na: b\r\n\r\n{\"at\":\"x\",\"kind\":\"attached\"}\n\n{\"at\":\"y\",\"kind\":\"lost\"}\n";
        assert_eq!(asked(event).unwrap(), 2);
        for garbled in [
            b"".as_slice(),
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n<html>\n",
            b"HTTP/1.1 200 OK\r\n\r\n{\"at\":\"x\",\"kind\":\"unknown\"}\n",
        ] {
            assert!(matches!(asked(garbled), Err(AskError::Garbled(_))), "{}", String::from_utf8_lossy(garbled));
        }
        let many = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"a: b\r\n".repeat(10_000)].concat();
        assert!(matches!(asked(many.leak()), Err(AskError::Garbled(_) | AskError::Socket { .. })));
        assert!(matches!(asked(b"HTTP/1.1 503 No\r\n\r\nfull\n"), Err(AskError::Refused(why)) if why == "full"));
    }
}
