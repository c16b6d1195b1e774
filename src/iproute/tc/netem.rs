//! `netem` (tc-netem(8)): delay, loss, duplication, reordering, damage, a rate.

use super::clock::Clock;
use super::grammar::{Ground, number, number_follows, part, pick, rate, read, signed_follows, size, time, time64, twice};
use super::units::{self, percent, show_part, show_rate, show_time, show_time64, signed};
use crate::iproute::{Words, WordsError};

const LIST: [&str; 13] =
    ["limit", "latency", "delay", "loss", "drop", "ecn", "reorder", "corrupt", "gap", "duplicate", "distribution", "rate", "slot"];

/// `struct tc_netem_qopt` and the attributes behind it. Parts are of 2^32-1, times in ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Netem {
    /// Packets that may wait.
    pub limit: u32,
    /// Delay in ticks.
    pub latency: u32,
    /// Its variation in ticks.
    pub jitter: u32,
    /// Packets lost at random.
    pub loss: u32,
    /// Every so many packets one is sent at once.
    pub gap: u32,
    /// Packets sent twice.
    pub duplicate: u32,
    /// How much delay, loss and duplication depend on the packet before.
    pub correlations: Option<[u32; 3]>,
    /// Packets sent at once, and how much that depends on the one before.
    pub reorder: Option<[u32; 2]>,
    /// Packets with a wrong bit, and how much that depends on the one before.
    pub corrupt: Option<[u32; 2]>,
    /// Loss by a model.
    pub model: Option<Loss>,
    /// A rate.
    pub rate: Option<Paced>,
    /// Whether packets are marked rather than lost.
    pub ecn: bool,
    /// Delivery in bursts.
    pub slot: Option<Slot>,
    /// The table of the delay's distribution; the kernel does not tell it.
    pub distribution: Vec<i16>,
    /// The table of the slots' distribution; the kernel does not tell it.
    pub slot_distribution: Vec<i16>,
}

/// A model of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Four states: p13, p31, p32, p14, p23 (`struct tc_netem_gimodel`).
    State([u32; 5]),
    /// Gilbert-Elliott: p, r, h, 1-k (`struct tc_netem_gemodel`).
    Gilbert([u32; 4]),
}

/// `struct tc_netem_rate`, and the attribute for rates beyond 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paced {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes added to each packet.
    pub packet_overhead: i32,
    /// Bytes of a cell.
    pub cell_size: u32,
    /// Bytes added to each cell.
    pub cell_overhead: i32,
}

/// `struct tc_netem_slot`; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Shortest time between slots.
    pub min_delay: i64,
    /// Longest.
    pub max_delay: i64,
    /// Packets of a slot.
    pub max_packets: i32,
    /// Bytes of a slot.
    pub max_bytes: i32,
    /// Time between slots, with a distribution.
    pub dist_delay: i64,
    /// Its variation.
    pub dist_jitter: i64,
}

impl Netem {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, a value that is none, or values that do not go together.
    pub fn parse(words: &mut Words<'_>, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self { limit: 1000, ..Self::default() };
        let mut correlations = [None; 3];
        while let Some(word) = words.take() {
            match pick(word, &LIST).unwrap_or_default() {
                "limit" => all.limit = size(words, word)?,
                "latency" | "delay" => correlations[0] = all.delay(words, word, ground.clock())?.or(correlations[0]),
                "loss" | "drop" => correlations[1] = all.loss(words, word)?.or(correlations[1]),
                "duplicate" => {
                    all.duplicate = part(words, word)?;
                    correlations[2] = correlation(words, word)?.or(correlations[2]);
                }
                "ecn" => all.ecn = true,
                "reorder" => all.reorder = Some(all.with_correlation(words, word)?),
                "corrupt" => all.corrupt = Some(all.with_correlation(words, word)?),
                "gap" => all.gap = number(words, word)?,
                "distribution" => all.distribution = distribution(words, word, ground)?,
                "rate" => all.rate = Some(Paced::parse(words, word, dev, ground)?),
                "slot" => all.slot(words, word, ground)?,
                _ => return Err(words.unknown(word)),
            }
        }
        all.correlate(correlations);
        all.whole()
    }

    /// `TIME [JITTER [CORRELATION]]`
    fn delay(&mut self, words: &mut Words<'_>, word: &str, clock: Clock) -> Result<Option<u32>, WordsError> {
        self.latency = ticks(words, word, clock)?;
        if !number_follows(words) {
            return Ok(None);
        }
        self.jitter = ticks(words, word, clock)?;
        correlation(words, word)
    }

    /// `[random] PERCENT [CORRELATION]`, `state ...` or `gemodel ...`
    fn loss(&mut self, words: &mut Words<'_>, word: &str) -> Result<Option<u32>, WordsError> {
        if self.loss > 0 || self.model.is_some() {
            return Err(twice(word));
        }
        if number_follows(words) || words.take_if("random") {
            self.loss = part(words, word)?;
            return correlation(words, word);
        }
        match words.value(word)? {
            "state" => self.model = Some(state(words)?),
            "gemodel" => self.model = Some(gilbert(words)?),
            other => return Err(words.unknown(other)),
        }
        Ok(None)
    }

    /// `PERCENT [CORRELATION]` with a structure of its own.
    fn with_correlation(&mut self, words: &mut Words<'_>, word: &str) -> Result<[u32; 2], WordsError> {
        let part = part(words, word)?;
        let correlation = correlation(words, word)?;
        // tc sends all correlations as soon as one is given, even when it has another place.
        if correlation.is_some() {
            self.correlations.get_or_insert_default();
        }
        Ok([part, correlation.unwrap_or(0)])
    }

    /// Sets the common correlations. tc sends them when one is given, but not when it is the duplicates' only.
    fn correlate(&mut self, [delay, loss, duplicate]: [Option<u32>; 3]) {
        if self.correlations.is_some() || delay.is_some() || loss.is_some() {
            self.correlations = Some([delay, loss, duplicate].map(Option::unwrap_or_default));
        }
    }

    /// `MIN [MAX]` or `distribution NAME DELAY JITTER`, then `packets N` and `bytes N`
    fn slot(&mut self, words: &mut Words<'_>, word: &str, ground: &dyn Ground) -> Result<(), WordsError> {
        let mut slot = self.slot.unwrap_or_default();
        if number_follows(words) {
            slot.min_delay = time64(words, word)?;
            slot.max_delay = if number_follows(words) { time64(words, word)? } else { slot.min_delay };
            if slot.max_delay < slot.min_delay {
                return Err(WordsError::Bad("slot: the longest delay is shorter than the shortest".into()));
            }
        } else {
            match words.value(word)? {
                "distribution" => self.slot_distribution = distribution(words, "distribution", ground)?,
                other => return Err(words.unknown(other)),
            }
            slot.dist_delay = time64(words, "slot distribution")?;
            slot.dist_jitter = time64(words, "slot distribution's delay")?;
            if slot.dist_jitter <= 0 {
                return Err(WordsError::Bad("slot: the jitter has to be more than 0".into()));
            }
        }
        let next = |words: &Words<'_>, name: &'static str| words.peek().and_then(|word| pick(word, &[name]));
        if let Some(name) = next(words, "packets") {
            words.take();
            slot.max_packets = read(words, name, "a number of packets", signed)?;
        }
        if let Some(name) = next(words, "bytes") {
            words.take();
            slot.max_bytes = size(words, name)?.cast_signed();
        }
        self.slot = Some(slot);
        Ok(())
    }

    fn whole(mut self) -> Result<Self, WordsError> {
        let reorders = self.reorder.is_some_and(|[part, _]| part > 0);
        let wrong = match () {
            () if reorders && self.latency == 0 => "reorder needs a delay",
            () if !reorders && self.gap > 0 => "gap needs reorder PERCENT",
            () if self.ecn && self.loss == 0 && self.model.is_none() => "ecn needs loss",
            () if !self.distribution.is_empty() && (self.latency == 0 || self.jitter == 0) => {
                "distribution needs a delay and its jitter, like delay 100ms 20ms distribution normal"
            }
            () => "",
        };
        if !wrong.is_empty() {
            return Err(WordsError::Bad(format!("qdisc netem: {wrong}")));
        }
        if reorders && self.gap == 0 {
            self.gap = 1;
        }
        Ok(self)
    }

    /// As tc prints it.
    pub fn show(&self, clock: Clock) -> String {
        let [delay, loss, duplicate] = self.correlations.unwrap_or_default();
        let correlation = |part: u32| if part == 0 { String::new() } else { format!(" {}", show_part(part)) };
        let with = |name: &str, part: u32, of: u32| match part {
            0 => String::new(),
            part => format!(" {name} {}{}", show_part(part), correlation(of)),
        };
        let mut text = format!("limit {}", self.limit.cast_signed());
        if self.latency != 0 {
            text += &format!(" delay {}", show_time(clock.time(self.latency)));
            if self.jitter != 0 {
                text += &format!("  {}{}", show_time(clock.time(self.jitter)), correlation(delay));
            }
        }
        text += &with("loss", self.loss, loss);
        text += &self.model.map(Loss::show).unwrap_or_default();
        text += &with("duplicate", self.duplicate, duplicate);
        for (name, [part, of]) in [("reorder", self.reorder), ("corrupt", self.corrupt)].map(|(n, v)| (n, v.unwrap_or_default())) {
            text += &with(name, part, of);
        }
        text += &self.rate.map(Paced::show).unwrap_or_default();
        text += &self.slot.map(Slot::show).unwrap_or_default();
        if self.ecn {
            text += " ecn ";
        }
        if self.gap != 0 {
            text += &format!(" gap {}", self.gap);
        }
        text
    }
}

impl Loss {
    fn show(self) -> String {
        let all = |names: &[&str], parts: &[u32]| -> String {
            names.iter().zip(parts).map(|(name, part)| format!(" {name} {}", show_part(*part))).collect()
        };
        match self {
            Self::State([p13, p31, p32, p14, p23]) => {
                format!(" loss state{}", all(&["p13", "p31", "p32", "p23", "p14"], &[p13, p31, p32, p23, p14]))
            }
            Self::Gilbert([p, r, h, k]) => {
                format!(" loss gemodel{}", all(&["p", "r", "1-h", "1-k"], &[p, r, u32::MAX - h, k]))
            }
        }
    }
}

impl Paced {
    /// `RATE [PACKETOVERHEAD [CELLSIZE [CELLOVERHEAD]]]`
    fn parse(words: &mut Words<'_>, word: &str, dev: &str, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self { rate: rate(words, word, dev, ground)?, ..Self::default() };
        if signed_follows(words) {
            all.packet_overhead = read(words, word, "a number of bytes", signed)?;
        }
        if number_follows(words) {
            all.cell_size = number(words, word)?;
        }
        if signed_follows(words) {
            all.cell_overhead = read(words, word, "a number of bytes", signed)?;
        }
        Ok(all)
    }

    fn show(self) -> String {
        if self.rate == 0 {
            return String::new();
        }
        let optional = |name: &str, n: i64| if n == 0 { String::new() } else { format!(" {name} {n}") };
        format!(
            " rate {}{}{}{}",
            show_rate(self.rate),
            optional("packetoverhead", self.packet_overhead.into()),
            optional("cellsize", self.cell_size.into()),
            optional("celloverhead", self.cell_overhead.into()),
        )
    }
}

impl Slot {
    fn show(self) -> String {
        let optional = |name: &str, n: i32| if n == 0 { String::new() } else { format!(" {name} {n}") };
        let times = if self.dist_jitter > 0 {
            format!(" slot distribution {} {}", show_time64(self.dist_delay), show_time64(self.dist_jitter))
        } else {
            format!(" slot {} {}", show_time64(self.min_delay), show_time64(self.max_delay))
        };
        format!("{times}{}{}", optional("packets", self.max_packets), optional("bytes", self.max_bytes))
    }
}

fn ticks(words: &mut Words<'_>, word: &str, clock: Clock) -> Result<u32, WordsError> {
    let time = time(words, word)?;
    clock.checked_ticks(time).ok_or_else(|| WordsError::Bad(format!("{word}: the longest time is 274s")))
}

fn correlation(words: &mut Words<'_>, word: &str) -> Result<Option<u32>, WordsError> {
    if number_follows(words) { part(words, word).map(Some) } else { Ok(None) }
}

fn distribution(words: &mut Words<'_>, word: &str, ground: &dyn Ground) -> Result<Vec<i16>, WordsError> {
    let name = words.value(word)?;
    let table = ground.distribution(name).filter(|table| !table.is_empty());
    // Another tc may have other tables.
    table.ok_or_else(|| words.unknown(name))
}

/// `P13 [P31 [P32 [P23 [P14]]]]`
fn state(words: &mut Words<'_>) -> Result<Loss, WordsError> {
    let p13 = read(words, "loss state", "a percentage like 1%", percent)?;
    let mut parts = [1.0 - p13, 0.0, 1.0, 0.0].map(units::part);
    for place in &mut parts {
        if !number_follows(words) {
            break;
        }
        *place = part(words, "loss state")?;
    }
    let [p31, p32, p23, p14] = parts;
    Ok(Loss::State([units::part(p13), p31, p32, p14, p23]))
}

/// `P [R [1-H [1-K]]]`
fn gilbert(words: &mut Words<'_>) -> Result<Loss, WordsError> {
    let p = read(words, "loss gemodel", "a percentage like 1%", percent)?;
    let mut all = [units::part(p), units::part(1.0 - p), 0, 0];
    for (n, place) in all.iter_mut().enumerate().skip(1) {
        if !number_follows(words) {
            break;
        }
        let part = part(words, "loss gemodel")?;
        // The word is 1-h, the kernel has h.
        *place = if n == 2 { u32::MAX - part } else { part };
    }
    Ok(Loss::Gilbert(all))
}
