//! Domain names as DNS writes them (RFC 1035, section 3.1), with the compression of option 119 (RFC 3397).

/// Longest name on the wire (RFC 1035, section 2.3.4).
const LONGEST: usize = 255;
/// More than any resolver searches.
const MOST: usize = 32;

/// All names of a list. What is no name ends the list: those before it are good.
pub fn decode_list(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MOST {
        let Some((name, next)) = decode(bytes, at) else { break };
        if is_plain(&name) {
            names.push(name);
        }
        at = next;
    }
    names
}

/// The name at `at`, and where the next begins.
fn decode(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut next = None;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length & 0xc0 == 0xc0 {
            let target = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
            next = next.or(Some(at + 2));
            // Only backwards: so it ends.
            at = Some(target).filter(|target| *target < at)?;
            continue;
        }
        if length == 0 {
            return Some((name, next.unwrap_or(at + 1)));
        }
        let label = bytes.get(at + 1..at + 1 + length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(label).ok()?);
        if name.len() > LONGEST {
            return None;
        }
        at += 1 + length;
    }
}

/// A name as labels, without compression.
pub fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label);
    }
    bytes.push(0);
    bytes
}

/// Whether a name from the network may go into a file that others read: no spaces, no line ends, nothing but names.
pub fn is_plain(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !name.is_empty() && name.len() <= LONGEST && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_rfc_3397_is_read_with_its_pointer() {
        // "eng.apple.com", "marketing.apple.com" (RFC 3397, section 2)
        let mut bytes = b"\x03eng\x05apple\x03com\x00\x09marketing".to_vec();
        bytes.extend([0xc0, 0x04]);
        assert_eq!(decode_list(&bytes), ["eng.apple.com", "marketing.apple.com"]);
    }

    #[test]
    fn pointers_that_go_nowhere_and_names_that_are_none_are_left_out() {
        assert_eq!(decode_list(&[0xc0, 0x00]), Vec::<String>::new());
        assert_eq!(decode_list(b"\x01a\x00\xc0\x05"), ["a"]);
        assert_eq!(decode_list(b"\x05a b\nc\x00\x01d\x00"), ["d"]);
        assert_eq!(decode_list(&encode("a.example")), ["a.example"]);
    }
}
