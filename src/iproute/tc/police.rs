//! `police` (tc-police(8)), as an action and in its older place in u32.

use super::bucket::Bucket;
use super::clock::{Clock, Rate};
use super::control;
use super::grammar::{Ground, decimal, decimal16, linklayer, pick, rate, read, size, size_and_cell, twice};
use super::stats::Times;
use super::units::{show_rate, show_size};
use crate::iproute::{Words, WordsError};

const LIST: [&str; 21] = [
    "index",
    "burst",
    "=buffer",
    "=maxburst",
    "=mtu",
    "=minburst",
    "=mpu",
    "=rate",
    "=avrate",
    "peakrate",
    "reclassify",
    "drop",
    "shot",
    "continue",
    "pass",
    "ok",
    "pipe",
    "goto",
    "=conform-exceed",
    "overhead",
    "linklayer",
];

/// `struct tc_police` and the attributes beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Police {
    /// Number of the action.
    pub index: u32,
    /// What becomes of packets beyond the rate.
    pub exceed: i32,
    /// What becomes of the others.
    pub conform: Option<i32>,
    /// The rate.
    pub rate: Option<Rate>,
    /// The bucket in ticks.
    pub burst: u32,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// The rate of bursts.
    pub peak: Option<Rate>,
    /// Bytes per second, as the kernel's estimator has them.
    pub avrate: Option<u32>,
    /// Packets per second, and the bucket in ticks.
    pub packets: Option<(u64, u64)>,
    /// How often it is held, and by filters.
    pub counts: (i32, i32),
    /// When it was made and used.
    pub times: Option<Times>,
}

#[derive(Default)]
struct Typed {
    index: u32,
    control: Option<(i32, Option<i32>)>,
    bucket: Bucket,
    avrate: u32,
    packets: (u64, u64),
    any: bool,
}

impl Typed {
    fn read(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self::default();
        while let Some(word) = words.peek() {
            let Some(name) = pick(word, &LIST).or_else(|| pick(word, &["pkts_rate", "pkts_burst"])) else { break };
            if name != "conform-exceed" && control::is(name) {
                all.control = Some((control::parse(words, false)?, all.control.and_then(|(_, conform)| conform)));
            } else {
                words.take();
                all.word(words, name, ground)?;
            }
            all.any = true;
        }
        Ok(all)
    }

    fn word(&mut self, words: &mut Words<'_>, name: &str, ground: &dyn Ground) -> Result<(), WordsError> {
        let bucket = &mut self.bucket;
        let doubled = match name {
            "burst" | "buffer" | "maxburst" => bucket.burst.0 != 0,
            "mtu" | "minburst" => bucket.mtu.0 != 0,
            "mpu" => bucket.mpu != 0,
            "rate" => bucket.rate != 0,
            "avrate" => self.avrate != 0,
            "peakrate" => bucket.peak != 0,
            _ => false,
        };
        if doubled {
            return Err(twice(name));
        }
        // A percentage has no device here, as with tc.
        let rate = |words: &mut Words<'_>| rate(words, name, "", ground);
        let big = |words: &mut Words<'_>| read(words, name, "a number", |text| text.parse::<u64>().ok());
        match name {
            "index" => self.index = decimal(words, name)?,
            "burst" | "buffer" | "maxburst" => bucket.burst = size_and_cell(words, name)?,
            "mtu" | "minburst" => bucket.mtu = size_and_cell(words, name)?,
            "mpu" => bucket.mpu = size(words, name)?,
            "rate" => bucket.rate = rate(words)?,
            "avrate" => self.avrate = read(words, name, "a rate below 34gbit", super::units::rate32)?,
            "peakrate" => bucket.peak = rate(words)?,
            "conform-exceed" => self.control = Some(control::parse_pair(words)?),
            "overhead" => bucket.overhead = decimal16(words, name)?,
            "linklayer" => bucket.linklayer = linklayer(words, name)?,
            "pkts_rate" => self.packets.0 = big(words)?,
            _ => self.packets.1 = big(words)?,
        }
        Ok(())
    }

    fn check(&self) -> Result<(), WordsError> {
        let bucket = &self.bucket;
        let bare = bucket.rate == 0 && self.avrate == 0 && self.index == 0 && bucket.mtu.0 == 0 && self.packets.0 == 0;
        let wrong = match () {
            () if !self.any => "needs rate RATE burst BYTES, like rate 1mbit burst 10k",
            () if bucket.rate != 0 && self.avrate != 0 => "give either rate or avrate",
            () if bare => "needs rate, avrate, mtu or pkts_rate",
            () if bucket.rate != 0 && bucket.burst.0 == 0 => "rate needs burst BYTES, like burst 10k",
            () if self.packets.0 != 0 && self.packets.1 == 0 => "pkts_rate needs pkts_burst PACKETS",
            () if self.packets.0 != 0 && bucket.rate != 0 => "give either rate or pkts_rate",
            () if bucket.peak != 0 && bucket.rate == 0 => "peakrate needs rate",
            () if bucket.peak != 0 && bucket.mtu.0 == 0 => "peakrate needs mtu BYTES",
            () => return Ok(()),
        };
        Err(WordsError::Bad(format!("police: {wrong}")))
    }
}

impl Police {
    /// The words behind `police`; the first that is none of its own ends them.
    ///
    /// # Errors
    /// A value that is none, or values that do not go together.
    pub fn parse(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Self, WordsError> {
        let typed = Typed::read(words, ground)?;
        typed.check()?;
        let clock = ground.clock();
        let bucket = &typed.bucket;
        let (exceed, conform) = typed.control.unwrap_or((control::RECLASSIFY, None));
        let (packets, burst) = typed.packets;
        let burst = u32::try_from(burst).unwrap_or(u32::MAX);
        Ok(Self {
            index: typed.index,
            exceed,
            // tc sends no 0, which is `ok`.
            conform: conform.filter(|control| *control != 0),
            rate: bucket.rate(),
            burst: if bucket.rate == 0 { 0 } else { clock.transmit(bucket.rate, bucket.burst.0) },
            mtu: bucket.mtu.0,
            peak: bucket.peak(),
            avrate: (typed.avrate != 0).then_some(typed.avrate),
            packets: (packets != 0).then(|| (packets, clock.transmit(packets, burst).into())),
            counts: (0, 0),
            times: None,
        })
    }

    /// As tc prints it.
    pub fn show(&self, details: bool, statistics: bool, clock: Clock) -> String {
        let none = Rate::default();
        let rate = self.rate.as_ref().unwrap_or(&none);
        let mut text = format!(
            " police {:#x} rate {} burst {} mtu {} ",
            self.index,
            show_rate(rate.rate),
            show_size(clock.sent(rate.rate, self.burst)),
            show_size(self.mtu)
        );
        if let Some(peak) = &self.peak {
            text += &format!("peakrate {} ", show_rate(peak.rate));
        }
        if let Some(average) = self.avrate {
            text += &format!("avrate {} ", show_rate(average.into()));
        }
        if let Some((packets, burst)) = self.packets {
            let burst = clock.sent(packets, burst as u32);
            text += &format!("pkts_rate {packets} pkts_burst {burst} ");
        }
        text += &format!("action {}", control::show(self.exceed));
        text += &self.conform.map_or(" ".into(), |conform| format!("/{} ", control::show(conform)));
        text += &format!("overhead {} {}", show_size(rate.overhead.into()), rate.linklayer.show(details));
        text += &format!("\n\tref {} bind {} ", self.counts.0, self.counts.1);
        if let Some(times) = self.times.filter(|_| statistics) {
            text += &times.show();
        }
        text + "\n"
    }
}
