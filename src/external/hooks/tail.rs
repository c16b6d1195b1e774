//! The end of a hook's output: what is kept of it, and what is told.

/// So much is kept.
const KEPT_BYTES: usize = 64 * 1024;
/// So much is told.
const TOLD_LINES: usize = 6;
const TOLD_CHARS: usize = 1000;

/// The last of what was written, however much that was.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Takes more.
    pub(super) fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        let over = self.bytes.len().saturating_sub(KEPT_BYTES);
        // Not each time: what is kept would be moved for every few bytes.
        if over > KEPT_BYTES {
            self.bytes.drain(..over);
        }
    }

    /// The last lines, in one, without what would confuse a terminal.
    pub(super) fn words(&self) -> String {
        let kept = self.bytes.get(self.bytes.len().saturating_sub(KEPT_BYTES)..).unwrap_or_default();
        let text = String::from_utf8_lossy(kept).replace(|c: char| c.is_control() && c != '\n', " ");
        let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let words = lines.split_off(lines.len().saturating_sub(TOLD_LINES)).join("; ");
        let over = words.chars().count().saturating_sub(TOLD_CHARS);
        if over == 0 { words } else { format!("... {}", words.chars().skip(over).collect::<String>()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_in_one_and_confuse_no_terminal() {
        let mut tail = Tail::default();
        assert_eq!(tail.words(), "");
        tail.push(b"one\n\n  two \r\n\x1b[31mred\n");
        assert_eq!(tail.words(), "one; two; [31mred");
        (0..10).for_each(|n| tail.push(format!("line {n}\n").as_bytes()));
        assert_eq!(tail.words(), "line 4; line 5; line 6; line 7; line 8; line 9");
    }

    #[test]
    fn however_much_is_written_little_is_kept_and_less_told() {
        let mut tail = Tail::default();
        for n in 0..1000 {
            tail.push(&[b'x'; 1000]);
            assert!(tail.bytes.len() <= 2 * KEPT_BYTES + 1000, "{n}");
        }
        assert_eq!(tail.words().chars().count(), TOLD_CHARS + 4);
        tail.push("\nä\u{fffd}last".as_bytes());
        assert!(tail.words().ends_with("; ä\u{fffd}last"));
        tail.push(b"\xff");
        assert!(tail.words().ends_with("last\u{fffd}"));
    }
}
