//! `htb` and its classes (tc-htb(8)).

use super::clock::{Clock, Framing, Rate};
use super::grammar::{Ground, decimal, decimal16, linklayer, pick, rate, read, size_and_cell, twice};
use super::units::{hexadecimal, show_rate, show_size};
use crate::iproute::{Words, WordsError};

/// The qdisc: `struct tc_htb_glob` and the attributes beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Htb {
    /// Version of the interface: 3, and what the kernel makes of it.
    pub version: u32,
    /// What a rate is divided by for the quantum.
    pub r2q: u32,
    /// Minor number of the class for what has none.
    pub default: u32,
    /// Bits for old kernels.
    pub debug: u32,
    /// Packets that went past the classes.
    pub direct: u32,
    /// Packets that may wait for that.
    pub direct_qlen: Option<u32>,
    /// Whether hardware does it.
    pub offload: bool,
}

impl Default for Htb {
    fn default() -> Self {
        Self { version: 3, r2q: 10, default: 0, debug: 0, direct: 0, direct_qlen: None, offload: false }
    }
}

impl Htb {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(words: &mut Words<'_>) -> Result<Self, WordsError> {
        let mut all = Self::default();
        while let Some(word) = words.take() {
            match pick(word, &["r2q", "default", "debug", "direct_qlen", "offload"]).unwrap_or_default() {
                "r2q" => all.r2q = decimal(words, word)?,
                "default" => all.default = read(words, word, "a class's minor number in hexadecimal", hexadecimal)?,
                "debug" => all.debug = debug(words.value(word)?),
                "direct_qlen" => all.direct_qlen = Some(decimal(words, word)?),
                "offload" => all.offload = true,
                _ => return Err(words.unknown(word)),
            }
        }
        Ok(all)
    }

    /// As tc prints it.
    pub fn show(&self, details: bool) -> String {
        let default = if self.default == 0 { "0".into() } else { format!("{:#x}", self.default) };
        let mut text = format!("r2q {} default {default} direct_packets_stat {}", self.r2q, self.direct);
        if details {
            text += &format!(" ver {}.{}", self.version >> 16, self.version & 0xffff);
        }
        if let Some(packets) = self.direct_qlen {
            text += &format!(" direct_qlen {packets}");
        }
        if self.offload {
            text += " offload";
        }
        text
    }
}

/// Up to sixteen digits from 0 to 3, two bits each.
fn debug(text: &str) -> u32 {
    let digits = text.bytes().take(16).map_while(|b| (b'0'..=b'3').contains(&b).then(|| u32::from(b - b'0')));
    digits.enumerate().fold(0, |bits, (n, digit)| bits | digit << (2 * n))
}

/// A class: `struct tc_htb_opt` and the attributes beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// What it is promised.
    pub rate: Rate,
    /// What it may borrow up to.
    pub ceil: Rate,
    /// The bucket in ticks.
    pub buffer: u32,
    /// The ceiling's bucket in ticks.
    pub cbuffer: u32,
    /// Bytes served at once; 0: computed by the kernel.
    pub quantum: u32,
    /// Height above the leaves.
    pub level: u32,
    /// Lower is served first.
    pub prio: u32,
}

const LIST: [&str; 14] = [
    "prio",
    "mtu",
    "mpu",
    "overhead",
    "linklayer",
    "quantum",
    "burst",
    "=buffer",
    "=maxburst",
    "cburst",
    "=cbuffer",
    "=cmaxburst",
    "=ceil",
    "=rate",
];

impl Class {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, a value that is none, or no rate.
    pub fn parse(words: &mut Words<'_>, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self::default();
        let mut framing = Framing { mtu: 1600, ..Framing::default() };
        let ((mut burst, mut cburst), (mut full, mut most)) = (((0, None), (0, None)), (0, 0));
        while let Some(word) = words.take() {
            match pick(word, &LIST).unwrap_or_default() {
                "prio" => all.prio = decimal(words, word)?,
                "mtu" => framing.mtu = decimal(words, word)?,
                "mpu" => framing.mpu = decimal16(words, word)?,
                "overhead" => framing.overhead = decimal16(words, word)?,
                "linklayer" => framing.linklayer = linklayer(words, word)?,
                "quantum" => all.quantum = decimal(words, word)?,
                "burst" | "buffer" | "maxburst" => burst = size_and_cell(words, word)?,
                "cburst" | "cbuffer" | "cmaxburst" => cburst = size_and_cell(words, word)?,
                "ceil" if most != 0 => return Err(twice(word)),
                "rate" if full != 0 => return Err(twice(word)),
                "ceil" => most = rate(words, word, dev, ground)?,
                "rate" => full = rate(words, word, dev, ground)?,
                _ => return Err(words.unknown(word)),
            }
        }
        if full == 0 {
            return Err(WordsError::Bad("class htb: rate RATE, like rate 1mbit, is needed".into()));
        }
        let most = if most == 0 { full } else { most };
        let clock = ground.clock();
        let bucket = |rate: u64, (bytes, cell_log): (u32, Option<u8>)| {
            let least = (rate / clock.hz) as u32;
            let bytes = if bytes == 0 { least.wrapping_add(framing.mtu) } else { bytes };
            (Rate::new(rate, Framing { cell_log, ..framing }), clock.transmit(rate, bytes))
        };
        (all.rate, all.buffer) = bucket(full, burst);
        (all.ceil, all.cbuffer) = bucket(most, cburst);
        Ok(all)
    }

    /// As tc prints it.
    pub fn show(&self, details: bool, clock: Clock) -> String {
        let mut text = String::new();
        if self.level == 0 {
            text += &format!("prio {} ", self.prio.cast_signed());
            if details {
                text += &format!("quantum {} ", self.quantum.cast_signed());
            }
        }
        text += &format!("rate {} ", show_rate(self.rate.rate));
        if self.rate.overhead != 0 {
            text += &format!("overhead {} ", self.rate.overhead);
        }
        text += &format!("ceil {} {}", show_rate(self.ceil.rate), self.rate.linklayer.show(details));
        let (burst, cburst) = (clock.sent(self.rate.rate, self.buffer), clock.sent(self.ceil.rate, self.cbuffer));
        text += &if details {
            let bucket =
                |name: &str, bytes: u32, rate: &Rate| format!("{name} {} mpu {} ", rate.size_and_cell(bytes), show_size(rate.mpu.into()));
            format!("{}{}level {} ", bucket("burst", burst, &self.rate), bucket("cburst", cburst, &self.ceil), self.level.cast_signed())
        } else {
            format!("burst {} cburst {} ", show_size(burst), show_size(cburst))
        };
        text
    }
}
