//! One connection to a database server: a request, its answer, and the server's own questions in between.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Frames;
use super::address::Address;
use crate::model::ovs::OvsError;

/// How long the server may take for one answer. A busy one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const PIECE: usize = 64 << 10;

/// A connection. It is used up by its first error.
#[derive(Debug)]
pub struct Client {
    address: Address,
    socket: Socket,
    frames: Frames,
    requests: u64,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`OvsError::Gone`], [`OvsError::Permission`] or [`OvsError::Silent`].
    pub fn connect(address: &Address) -> Result<Self, OvsError> {
        let gone = |error: std::io::Error| gone(address, &error);
        let (domain, to) = match address {
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path).map_err(gone)?),
            Address::Tcp(to) => (Domain::for_address(*to), SockAddr::from(*to)),
        };
        let socket = Socket::new(domain, Type::STREAM, None).map_err(gone)?;
        socket.connect_timeout(&to, PATIENCE).map_err(gone)?;
        Ok(Self { address: address.clone(), socket, frames: Frames::default(), requests: 0 })
    }

    /// Sends a request and returns the answer's `result`.
    ///
    /// # Errors
    /// [`OvsError::Gone`] when the request could not be sent whole, so that it was not carried out. Else
    /// [`OvsError::Silent`], [`OvsError::Lost`] or [`OvsError::Garbled`]: it may have been. [`OvsError::Refused`] when the
    /// server answers with an error.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, OvsError> {
        let deadline = Instant::now() + PATIENCE;
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"method": method, "params": params, "id": id}), deadline)?;
        loop {
            let message = self.receive(deadline)?;
            if message.get("method").and_then(Value::as_str) == Some("echo") {
                // RFC 7047, section 4.1.11: whoever does not answer is taken for dead.
                let answer = json!({"id": message.get("id"), "result": message.get("params"), "error": null});
                // The request is with it by now.
                self.send(&answer, deadline).map_err(|error| self.lost(&error.to_string()))?;
            } else if message.get("id").and_then(Value::as_u64) == Some(id) {
                return self.result(&message);
            } else if message.get("method").is_none() && message.get("id").is_none() {
                return Err(self.garbled("it has neither a method nor an id"));
            }
        }
    }

    fn result(&self, message: &Value) -> Result<Value, OvsError> {
        match (message.get("error"), message.get("result")) {
            (None | Some(Value::Null), Some(result)) => Ok(result.clone()),
            (Some(error), _) if !error.is_null() => Err(refused(error)),
            _ => Err(self.garbled("it has neither a result nor an error")),
        }
    }

    fn send(&mut self, message: &Value, deadline: Instant) -> Result<(), OvsError> {
        let bytes = message.to_string().into_bytes();
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let time = self.time_until(deadline)?;
            let written = self.socket.set_write_timeout(Some(time)).and_then(|()| self.socket.write(left));
            match written {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if is_time(&error) => {}
                Err(error) => return Err(gone(&self.address, &error)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Value, OvsError> {
        let mut piece = vec![0; PIECE];
        loop {
            match self.frames.next_value() {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(why) => return Err(self.garbled(&why)),
            }
            let time = self.time_until(deadline)?;
            let read = self.socket.set_read_timeout(Some(time)).and_then(|()| self.socket.read(&mut piece));
            match read {
                Ok(0) => return Err(self.lost("it closed the connection")),
                Ok(count) => self.frames.push(piece.get(..count).unwrap_or_default()),
                Err(error) if is_time(&error) => {}
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
    }

    /// What is left, which is never nothing: the kernel takes that for no limit.
    fn time_until(&self, deadline: Instant) -> Result<Duration, OvsError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(silent(&self.address)) } else { Ok(left.max(Duration::from_millis(1))) }
    }

    fn garbled(&self, why: &str) -> OvsError {
        OvsError::Garbled { address: self.address.to_string(), why: why.to_owned() }
    }

    fn lost(&self, why: &str) -> OvsError {
        OvsError::Lost { address: self.address.to_string(), why: why.to_owned() }
    }
}

/// The time of one read or write is over, or a signal came: the deadline decides.
fn is_time(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn silent(address: &Address) -> OvsError {
    OvsError::Silent { address: address.to_string(), ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX) }
}

fn gone(address: &Address, error: &std::io::Error) -> OvsError {
    match error.kind() {
        ErrorKind::PermissionDenied => OvsError::Permission { address: address.to_string() },
        // Of a local socket: as many wait as the server lets wait (connect(2), EAGAIN).
        ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(address),
        _ => OvsError::Gone { address: address.to_string(), why: plain(error) },
    }
}

/// Without the number that the standard library puts behind it.
fn plain(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| nix::errno::Errno::from_raw(number).desc().to_owned())
}

/// An error of the server's, an object or a mere word (RFC 7047, section 3.1).
pub(super) fn refused(error: &Value) -> OvsError {
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    let word = text("error").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_else(|| error.to_string());
    OvsError::Refused { error: word, details: text("details").unwrap_or_else(|| "no more is said".into()) }
}
