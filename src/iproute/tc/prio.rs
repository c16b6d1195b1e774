//! `prio` (tc-prio(8)), and what `pfifo_fast` tells of itself.

use super::grammar::read;
use super::units::{decimal, signed};
use crate::iproute::{Words, WordsError};

/// `struct tc_prio_qopt`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prio {
    /// Number of bands.
    pub bands: i32,
    /// The band of each priority.
    pub map: [u8; 16],
}

impl Default for Prio {
    fn default() -> Self {
        Self { bands: 3, map: [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1] }
    }
}

impl Prio {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, or a band that is not there.
    pub fn parse(words: &mut Words<'_>) -> Result<Self, WordsError> {
        let mut all = Self::default();
        while let Some(word) = words.take() {
            match word {
                "bands" => all.bands = read(words, word, "a number of bands", signed)?,
                "priomap" => all.map(words)?,
                _ => return Err(words.unknown(word)),
            }
        }
        Ok(all)
    }

    /// The bands behind `priomap`: up to 16, and other words end them.
    fn map(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        let mut places = self.map.iter_mut();
        while let Some((word, band)) = words.peek().and_then(|word| Some((word, decimal(word)?))) {
            words.take();
            let place = places.next().ok_or_else(|| WordsError::Bad("priomap has 16 bands, one for each priority".into()))?;
            let fits = u8::try_from(band).ok().filter(|band| i32::from(*band) < self.bands);
            *place = fits.ok_or_else(|| words.bad("priomap", word, &format!("a band below {}", self.bands)))?;
        }
        Ok(())
    }

    /// As tc prints it.
    pub fn show(&self) -> String {
        let map: String = self.map.iter().map(|band| format!(" {band}")).collect();
        format!("bands {} priomap{map}", self.bands)
    }
}
