//! Taking JSON values out of a stream. JSON-RPC over a stream has nothing between its messages: each ends where its
//! value ends (RFC 7047, section 4, and JSON-RPC 1.0).

use serde_json::Value;

/// More than any answer to our questions, in bytes: a server cannot make us hold more.
const MOST: usize = 16 << 20;

/// Bytes that have come, up to the values that are complete.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many bytes the value that is not yet complete had when it was last tried.
    tried: usize,
}

impl Frames {
    /// More bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete value, if one is there.
    ///
    /// # Errors
    /// What is wrong with it, when no more bytes can make it a value; or when it is too long.
    pub fn next_value(&mut self) -> Result<Option<Value>, String> {
        // A long answer comes in many pieces, and is read from its beginning each time: not for every piece.
        if self.bytes.len() < self.tried.saturating_mul(2) && !self.may_be_complete() {
            return Ok(None);
        }
        let mut values = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<Value>();
        let next = values.next();
        let read = values.byte_offset();
        match next {
            Some(Ok(value)) => {
                self.bytes.drain(..read);
                self.tried = 0;
                Ok(Some(value))
            }
            Some(Err(error)) if !error.is_eof() => Err(error.to_string()),
            _ if self.bytes.len() > MOST => Err(format!("it is longer than {MOST} bytes")),
            _ => {
                self.tried = self.bytes.len();
                Ok(None)
            }
        }
    }

    /// Every message is an object, and ends like one.
    fn may_be_complete(&self) -> bool {
        self.bytes.iter().rev().find(|b| !b.is_ascii_whitespace()).is_none_or(|b| *b == b'}')
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// All values of a stream that comes in pieces of a size.
    fn values(stream: &[u8], size: usize) -> Vec<Value> {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        for piece in stream.chunks(size) {
            frames.push(piece);
            while let Some(value) = frames.next_value().unwrap() {
                all.push(value);
            }
        }
        all
    }

    #[test]
    fn values_without_anything_between_them_are_told_apart_however_they_are_cut() {
        let stream = br#"{"id":1,"result":["}{"]}{"id":null,"method":"echo"}  {"a":"\u00e4\"}"}
            {}"#;
        let wanted = vec![json!({"id": 1, "result": ["}{"]}), json!({"id": null, "method": "echo"}), json!({"a": "ä\"}"}), json!({})];
        for size in 1..stream.len() {
            assert_eq!(values(stream, size), wanted, "pieces of {size}");
        }
    }

    #[test]
    fn what_can_become_no_value_is_an_error_and_so_is_one_without_end() {
        for stream in ["x", "}", "{\"a\":}", "HTTP/1.1 400", "\u{0}", "{\"a\" 1"] {
            let mut frames = Frames::default();
            frames.push(stream.as_bytes());
            assert!(frames.next_value().is_err(), "{stream}");
        }
        let mut frames = Frames::default();
        frames.push(&vec![b'['; 1000]);
        assert!(frames.next_value().is_err(), "deeper than we read");
        let mut frames = Frames::default();
        frames.push(b"\"");
        frames.push(&vec![b'a'; MOST]);
        assert!(frames.next_value().unwrap_err().contains("longer"));
    }
}
