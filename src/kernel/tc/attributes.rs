//! Attributes, one in the other: written and read (struct nlattr, linux/netlink.h).

use super::super::wire;

/// NLA_F_NESTED
const NESTED: u16 = 0x8000;

/// Attributes that are being written, or the bytes of a structure.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes of a structure, in front of attributes or as one's value.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Numbers of a structure.
    pub(super) fn words(&mut self, words: &[u32]) -> &mut Self {
        for word in words {
            self.raw(&word.to_ne_bytes());
        }
        self
    }

    /// An attribute with its value.
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        wire::put_attribute(&mut self.0, kind, value);
        self
    }

    pub(super) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    pub(super) fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A text with its closing NUL.
    pub(super) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.put(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// Numbers one behind the other: a table.
    pub(super) fn table(&mut self, kind: u16, table: &[u32]) -> &mut Self {
        let bytes: Vec<u8> = table.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.put(kind, &bytes)
    }

    /// An attribute of attributes, without the flag that says so, as tc sends them.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(kind, inner.bytes())
    }

    /// As [`Self::nest`], with the flag.
    pub(super) fn nest_flagged(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest(kind | NESTED, fill)
    }

    /// Numbers that are given.
    pub(super) fn given(&mut self, all: &[(u16, Option<u32>)]) -> &mut Self {
        for (kind, value) in all {
            if let Some(value) = value {
                self.u32(*kind, *value);
            }
        }
        self
    }
}

/// Attributes that are read. Of two of a kind the first counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn all(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        wire::attributes(self.0)
    }

    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.all().find(|(is, _)| *is == kind).map(|(_, value)| value)
    }

    pub(super) fn nest(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }

    pub(super) fn u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    pub(super) fn u16(self, kind: u16) -> Option<u16> {
        Fields(self.get(kind)?).u16(0)
    }

    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        Fields(self.get(kind)?).u32(0)
    }

    pub(super) fn u64(self, kind: u16) -> Option<u64> {
        Fields(self.get(kind)?).u64(0)
    }

    pub(super) fn text(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?.split(|b| *b == 0).next()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The fields of a structure by their offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_ne_bytes)
    }

    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_ne_bytes)
    }

    pub(super) fn i32(self, at: usize) -> Option<i32> {
        self.bytes(at).map(i32::from_ne_bytes)
    }

    pub(super) fn u64(self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_ne_bytes)
    }

    pub(super) fn i64(self, at: usize) -> Option<i64> {
        self.bytes(at).map(i64::from_ne_bytes)
    }

    pub(super) fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    /// So many 32-bit numbers.
    pub(super) fn words<const N: usize>(self, at: usize) -> Option<[u32; N]> {
        let mut all = [0; N];
        for (n, word) in all.iter_mut().enumerate() {
            *word = self.u32(at + 4 * n)?;
        }
        Some(all)
    }

    pub(super) fn from(self, at: usize) -> Option<&'a [u8]> {
        self.0.get(at..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut all = Writer::default();
        all.u8(1, 7).text(2, "htb").nest(3, |inner| {
            inner.u32(4, 9).u64(5, 10);
        });
        let all = Reader(all.bytes());
        assert_eq!((all.u8(1), all.text(2), all.u32(1)), (Some(7), Some("htb".into()), None));
        let inner = all.nest(3).map(|inner| (inner.u32(4), inner.u64(5), inner.get(6).is_none()));
        assert_eq!(inner, Some((Some(9), Some(10), true)));
    }
}
