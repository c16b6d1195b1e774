//! `pfifo`, `bfifo` and `pfifo_head_drop` (tc-bfifo(8)).

use super::grammar::size;
use super::units::show_size;
use crate::iproute::{Words, WordsError};

/// `struct tc_fifo_qopt`; without a limit the kernel takes the link's queue length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fifo {
    /// In packets; in bytes for bfifo.
    pub limit: Option<u32>,
    /// Whether the limit counts bytes.
    pub bytes: bool,
}

impl Fifo {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>, bytes: bool) -> Result<Self, WordsError> {
        let mut limit = None;
        while let Some(word) = words.take() {
            match word {
                "limit" => limit = Some(size(words, word)?),
                _ => return Err(words.unknown(word)),
            }
        }
        Ok(Self { limit, bytes })
    }

    /// As tc prints it.
    pub fn show(&self) -> String {
        match self.limit {
            Some(limit) if self.bytes => format!("limit {}", show_size(limit)),
            Some(limit) => format!("limit {limit}p"),
            None => String::new(),
        }
    }
}
