//! `tbf`, the token bucket (tc-tbf(8)).

use super::bucket::Bucket;
use super::clock::{Clock, Rate};
use super::grammar::{Ground, decimal16, linklayer, pick, rate, size, size_and_cell, time, twice};
use super::units::{show_rate, show_size, show_time};
use crate::iproute::{Words, WordsError};

/// Microseconds in a second.
const SECOND: f64 = 1e6;
const LIST: [&str; 13] = [
    "limit",
    "latency",
    "burst",
    "=buffer",
    "=maxburst",
    "=mtu",
    "=minburst",
    "=mpu",
    "=rate",
    "peakrate",
    "overhead",
    "linklayer",
    "=help",
];

/// `struct tc_tbf_qopt` and the attributes around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tbf {
    /// The rate.
    pub rate: Rate,
    /// The rate of bursts.
    pub peak: Option<Rate>,
    /// Bytes that may wait.
    pub limit: u32,
    /// The bucket in ticks.
    pub buffer: u32,
    /// The peak rate's bucket in ticks.
    pub mtu: u32,
    /// Both buckets in bytes; the kernel does not tell them.
    pub bytes: (u32, u32),
}

/// The words as they stand.
#[derive(Default)]
struct Typed {
    limit: u32,
    latency: u32,
    bucket: Bucket,
}

/// Gives a value its place, where none was given before.
fn once<T: Default + PartialEq>(place: &mut T, value: T, word: &str) -> Result<(), WordsError> {
    if *place != T::default() {
        return Err(twice(word));
    }
    *place = value;
    Ok(())
}

impl Typed {
    fn read(words: &mut Words<'_>, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self::default();
        let bucket = &mut all.bucket;
        while let Some(word) = words.take() {
            match pick(word, &LIST).unwrap_or_default() {
                "limit" => once(&mut all.limit, size(words, word)?, word)?,
                "latency" => once(&mut all.latency, time(words, word)?, word)?,
                "burst" | "buffer" | "maxburst" => once(&mut bucket.burst, size_and_cell(words, word)?, "burst")?,
                "mtu" | "minburst" => once(&mut bucket.mtu, size_and_cell(words, word)?, "mtu")?,
                "mpu" => once(&mut bucket.mpu, size(words, word)?, word)?,
                "rate" => once(&mut bucket.rate, rate(words, word, dev, ground)?, word)?,
                "peakrate" => once(&mut bucket.peak, rate(words, word, dev, ground)?, word)?,
                "overhead" => once(&mut bucket.overhead, decimal16(words, word)?, word)?,
                "linklayer" => bucket.linklayer = linklayer(words, word)?,
                _ => return Err(words.unknown(word)),
            }
        }
        all.whole()
    }

    fn whole(self) -> Result<Self, WordsError> {
        let missing = match () {
            () if self.bucket.rate == 0 => "rate RATE, like rate 1mbit, is needed",
            () if self.bucket.burst.0 == 0 => "burst BYTES, like burst 10kb, is needed",
            () if self.bucket.peak != 0 && self.bucket.mtu.0 == 0 => "peakrate needs mtu BYTES, like mtu 1540",
            () if self.limit == 0 && self.latency == 0 => "either limit BYTES or latency TIME is needed, like latency 50ms",
            () if self.limit != 0 && self.latency != 0 => "give either limit or latency",
            () => return Ok(self),
        };
        Err(WordsError::Bad(format!("qdisc tbf: {missing}")))
    }

    /// The bytes that come in the time that a packet may wait at most.
    fn limit(&self) -> u32 {
        if self.limit != 0 {
            return self.limit;
        }
        let bytes = |rate: u64, burst: u32| rate as f64 * f64::from(self.latency) / SECOND + f64::from(burst);
        let limit = bytes(self.bucket.rate, self.bucket.burst.0);
        let peak = if self.bucket.peak == 0 { limit } else { bytes(self.bucket.peak, self.bucket.mtu.0) };
        limit.min(peak) as u32
    }
}

impl Tbf {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, a value that is none, or one that is missing.
    pub fn parse(words: &mut Words<'_>, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let typed = Typed::read(words, dev, ground)?;
        let clock = ground.clock();
        let rate = typed.bucket.rate().unwrap_or_default();
        let peak = typed.bucket.peak();
        Ok(Self {
            limit: typed.limit(),
            buffer: clock.transmit(u64::from(rate.low()), typed.bucket.burst.0),
            mtu: peak.as_ref().map_or(0, |peak| clock.transmit(u64::from(peak.low()), typed.bucket.mtu.0)),
            bytes: (typed.bucket.burst.0, typed.bucket.mtu.0),
            rate,
            peak,
        })
    }

    /// As tc prints it.
    pub fn show(&self, details: bool, clock: Clock) -> String {
        let burst = clock.sent(self.rate.rate, self.buffer);
        let mut text = format!("rate {} ", show_rate(self.rate.rate));
        if details {
            text += &format!("burst {} mpu {} ", self.rate.size_and_cell(burst), show_size(self.rate.mpu.into()));
        } else {
            text += &format!("burst {} ", show_size(burst));
        }
        if let Some(peak) = &self.peak {
            text += &self.show_peak(peak, details, clock);
        }
        let latency = self.latency(clock);
        text += &if latency >= 0.0 { format!("lat {} ", show_time(latency as u32)) } else { format!("limit {} ", show_size(self.limit)) };
        if self.rate.overhead != 0 {
            text += &format!("overhead {} ", self.rate.overhead);
        }
        text + &self.rate.linklayer.show(details)
    }

    fn show_peak(&self, peak: &Rate, details: bool, clock: Clock) -> String {
        let rate = format!("peakrate {} ", show_rate(peak.rate));
        if self.mtu == 0 && peak.mpu == 0 {
            return rate;
        }
        let mtu = clock.sent(peak.rate, self.mtu);
        if details {
            format!("{rate}mtu {} mpu {} ", peak.size_and_cell(mtu), show_size(peak.mpu.into()))
        } else {
            format!("{rate}minburst {} ", show_size(mtu))
        }
    }

    /// How long a packet waits at most, in microseconds: less than nothing when the bucket is larger than the limit.
    fn latency(&self, clock: Clock) -> f64 {
        let wait = |rate: &Rate, ticks: u32| SECOND * (f64::from(self.limit) / rate.rate as f64) - f64::from(clock.time(ticks));
        let latency = wait(&self.rate, self.buffer);
        self.peak.as_ref().map_or(latency, |peak| latency.max(wait(peak, self.mtu)))
    }
}
