//! `fq_codel` (tc-fq_codel(8)).

use super::grammar::{number, size, time};
use super::units::{show_size, show_time};
use crate::iproute::{Words, WordsError};

/// The kernel's attributes (TCA_FQ_CODEL_*); what is not given it leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FqCodel {
    /// Packets.
    pub limit: Option<u32>,
    /// Number of flows.
    pub flows: Option<u32>,
    /// Bytes.
    pub quantum: Option<u32>,
    /// Microseconds.
    pub target: Option<u32>,
    /// Microseconds.
    pub interval: Option<u32>,
    /// Microseconds.
    pub ce_threshold: Option<u32>,
    /// Which packets the threshold is for: value and mask of the DS field.
    pub ce_selector: Option<(u8, u8)>,
    /// Bytes.
    pub memory_limit: Option<u32>,
    /// Packets dropped at once.
    pub drop_batch: Option<u32>,
    /// Whether congestion is marked.
    pub ecn: Option<bool>,
}

impl FqCodel {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>) -> Result<Self, WordsError> {
        let mut all = Self::default();
        // tc sends no zero: the kernel's own value stays.
        let given = |n: u32| (n != 0).then_some(n);
        while let Some(word) = words.take() {
            match word {
                "limit" => all.limit = given(number(words, word)?),
                "flows" => all.flows = given(number(words, word)?),
                "quantum" => all.quantum = given(number(words, word)?),
                "drop_batch" => all.drop_batch = given(number(words, word)?),
                "target" => all.target = given(time(words, word)?),
                "interval" => all.interval = given(time(words, word)?),
                "ce_threshold" => all.ce_threshold = Some(time(words, word)?),
                "ce_threshold_selector" => all.ce_selector = Some(selector(words, word)?),
                "memory_limit" => all.memory_limit = Some(size(words, word)?),
                "ecn" => all.ecn = Some(true),
                "noecn" => all.ecn = Some(false),
                _ => return Err(words.unknown(word)),
            }
        }
        Ok(all)
    }

    /// As tc prints it.
    pub fn show(&self) -> String {
        let plain = |name: &str, value: Option<u32>, unit: &str| value.map(|v| format!("{name} {v}{unit} ")).unwrap_or_default();
        let time = |name: &str, value: Option<u32>| value.map(|v| format!("{name} {} ", show_time(v))).unwrap_or_default();
        let selector = match self.ce_selector {
            Some((value, mask)) if (value, mask) != (0, 0) => {
                format!("ce_threshold_selector {}/{} ", alternate(value), alternate(mask))
            }
            _ => String::new(),
        };
        [
            plain("limit", self.limit, "p"),
            plain("flows", self.flows, ""),
            plain("quantum", self.quantum, ""),
            time("target", self.target),
            time("ce_threshold", self.ce_threshold),
            selector,
            time("interval", self.interval),
            self.memory_limit.map(|v| format!("memory_limit {} ", show_size(v))).unwrap_or_default(),
            if self.ecn == Some(true) { "ecn ".into() } else { String::new() },
            plain("drop_batch", self.drop_batch.filter(|v| *v != 0), ""),
        ]
        .concat()
    }
}

/// printf(3)'s `%#x`.
fn alternate(value: u8) -> String {
    if value == 0 { "0".into() } else { format!("{value:#x}") }
}

fn selector(words: &mut Words<'_>, word: &str) -> Result<(u8, u8), WordsError> {
    super::grammar::read(words, word, "a value and a mask like 0x2/0x3", |text| {
        let byte = |text: &str| crate::iproute::number(text).and_then(|n| u8::try_from(n).ok());
        let (value, mask) = text.split_once('/')?;
        Some((byte(value)?, byte(mask)?))
    })
}
