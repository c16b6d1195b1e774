//! Taking JSON values out of a stream. JSON-RPC over a stream has nothing between its messages: each ends where its
//! value ends (RFC 7047, section 4, and JSON-RPC 1.0).

use serde_json::Value;

/// More than any answer to our questions, in bytes: a server cannot make us hold more.
const MOST: usize = 16 << 20;
/// Deeper than any answer: a row's column is a value in a list in an object in a list in an object.
const DEEPEST: usize = 100;

/// Bytes that have come, up to the values that are complete. Each byte is looked at once.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many of them have been looked at.
    seen: usize,
    /// How many braces and brackets are open there.
    depth: usize,
    /// Whether that is inside a string, and behind a backslash in it.
    in_string: bool,
    escaped: bool,
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
        while let Some(byte) = self.bytes.get(self.seen).copied() {
            self.seen += 1;
            if self.is_end(byte)? {
                let whole: Vec<u8> = self.bytes.drain(..self.seen).collect();
                self.seen = 0;
                return serde_json::from_slice(&whole).map(Some).map_err(|error| error.to_string());
            }
        }
        if self.bytes.len() > MOST { Err(format!("it is longer than {MOST} bytes")) } else { Ok(None) }
    }

    /// Whether a value ends with the byte. Every message is an object; a list is let through, to be told apart later.
    fn is_end(&mut self, byte: u8) -> Result<bool, String> {
        if self.in_string {
            self.in_string = byte != b'"' || self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            return Ok(false);
        }
        match byte {
            b'{' | b'[' if self.depth < DEEPEST => self.depth += 1,
            b'{' | b'[' => return Err(format!("it is deeper than {DEEPEST} levels")),
            _ if self.depth == 0 && !byte.is_ascii_whitespace() => return Err("it is no JSON object".into()),
            b'}' | b']' => self.depth -= 1,
            b'"' => self.in_string = true,
            _ => {}
        }
        Ok(self.depth == 0 && matches!(byte, b'}' | b']'))
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
        for stream in ["x", "}", "{\"a\":}", "HTTP/1.1 400", "\u{0}", "{\"a\" 1}", "{]", "\"{}\"", "7 {}"] {
            let mut frames = Frames::default();
            frames.push(stream.as_bytes());
            assert!(frames.next_value().is_err(), "{stream}");
        }
        let mut frames = Frames::default();
        frames.push(&vec![b'['; 1000]);
        assert!(frames.next_value().is_err(), "deeper than we read");
        let mut frames = Frames::default();
        frames.push(b"[\"");
        frames.push(&vec![b'a'; MOST]);
        assert!(frames.next_value().unwrap_err().contains("longer"));
    }
}
