//! The packet scheduler's clock: times in its ticks, and the tables of transmission times that tc makes for a rate.

use super::units::show_size;

/// Microseconds in a second.
const SECOND: f64 = 1e6;
/// ATM: bytes of a cell, and of its payload.
const ATM_CELL: (u32, u32) = (53, 48);

/// What `/proc/net/psched` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    ticks_in_usec: f64,
    /// Resolution of the kernel's timers, in Hz.
    pub hz: u64,
}

impl Clock {
    /// From the text of `/proc/net/psched`: four hexadecimal numbers (net/sched/sch_api.c, psched_show).
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().map(|word| u32::from_str_radix(word, 16).ok());
        let [ns_in_usec, ns_in_tick, resolution, hz] = [words.next()??, words.next()??, words.next()??, words.next()??];
        // Kernels with a resolution of a nanosecond give a multiplier for old programs that is to be ignored.
        let ns_in_usec = if resolution == 1_000_000_000 { ns_in_tick } else { ns_in_usec };
        let ticks_in_usec = f64::from(ns_in_usec) / f64::from(ns_in_tick) * (f64::from(resolution) / SECOND);
        let hz = if resolution == 1_000_000 { u64::from(hz) } else { 100 };
        (ticks_in_usec.is_finite() && ticks_in_usec > 0.0 && hz > 0).then_some(Self { ticks_in_usec, hz })
    }

    /// Ticks of so many microseconds.
    pub fn ticks(self, time: u32) -> u32 {
        // Beyond 32 bits C's conversion keeps the low ones.
        (f64::from(time) * self.ticks_in_usec) as u64 as u32
    }

    /// Ticks of so many microseconds, if 32 bits can hold them.
    pub fn checked_ticks(self, time: u32) -> Option<u32> {
        u32::try_from((f64::from(time) * self.ticks_in_usec) as u64).ok()
    }

    /// Microseconds of so many ticks.
    pub fn time(self, ticks: u32) -> u32 {
        (f64::from(ticks) / self.ticks_in_usec) as u32
    }

    /// Ticks that so many bytes take at a rate in bytes per second.
    pub fn transmit(self, rate: u64, bytes: u32) -> u32 {
        self.ticks((SECOND * (f64::from(bytes) / rate as f64)) as u64 as u32)
    }

    /// Bytes that are sent in so many ticks at a rate in bytes per second.
    pub fn sent(self, rate: u64, ticks: u32) -> u32 {
        (rate as f64 * f64::from(self.time(ticks)) / SECOND) as u32
    }
}

impl Default for Clock {
    /// What every kernel since 2.6.31 says: a tick is 64 ns.
    fn default() -> Self {
        Self { ticks_in_usec: 15.625, hz: 1_000_000_000 }
    }
}

/// What stands around a packet on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// Logarithm of the rate table's cell; computed when it is not given.
    pub cell_log: Option<u8>,
    /// The largest packet that the table has to cover, in bytes; 0: 2047.
    pub mtu: u32,
    /// Bytes that the smallest packet counts for.
    pub mpu: u16,
    /// Bytes that are added to each packet.
    pub overhead: u16,
    /// What carries the packets.
    pub linklayer: LinkLayer,
}

/// `linklayer` (linux/pkt_sched.h, TC_LINKLAYER_*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkLayer {
    /// Not said.
    Unspecified,
    /// Packets as they are.
    #[default]
    Ethernet,
    /// Cells of 53 bytes with 48 of payload.
    Atm,
    /// Another number.
    Other(u8),
}

impl LinkLayer {
    /// From a word, or an abbreviation of one.
    pub fn parse(word: &str) -> Option<Self> {
        let known = [("ethernet", Self::Ethernet), ("atm", Self::Atm), ("adsl", Self::Atm)];
        known.iter().find(|(name, _)| !word.is_empty() && name.starts_with(word)).map(|(_, layer)| *layer)
    }

    /// From the kernel's number, of which four bits count.
    pub fn of(number: u8) -> Self {
        match number & 0x0f {
            0 => Self::Unspecified,
            1 => Self::Ethernet,
            2 => Self::Atm,
            other => Self::Other(other),
        }
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Ethernet => 1,
            Self::Atm => 2,
            Self::Other(number) => number,
        }
    }

    /// As tc prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspec",
            Self::Ethernet => "ethernet",
            Self::Atm => "atm",
            Self::Other(_) => "unknown",
        }
    }

    /// `linklayer atm `, where tc prints it.
    pub fn show(self, details: bool) -> String {
        if details || self.number() > Self::Ethernet.number() { format!("linklayer {} ", self.name()) } else { String::new() }
    }
}

/// A rate with its framing (`struct tc_ratespec`, and the attribute for rates beyond 32 bits).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second.
    pub rate: u64,
    /// Logarithm of the table's cell.
    pub cell_log: u8,
    /// What carries the packets.
    pub linklayer: LinkLayer,
    /// Bytes added to each packet.
    pub overhead: u16,
    /// Bytes that the smallest packet counts for.
    pub mpu: u16,
}

impl Rate {
    /// A rate in bytes per second with its framing.
    pub fn new(rate: u64, framing: Framing) -> Self {
        let mtu = if framing.mtu == 0 { 2047 } else { framing.mtu };
        let needed = || (0..32).find(|log| mtu >> log <= 255).unwrap_or(0);
        let cell_log = framing.cell_log.unwrap_or_else(needed);
        Self { rate, cell_log, linklayer: framing.linklayer, overhead: framing.overhead, mpu: framing.mpu }
    }

    /// What the kernel's 32 bits hold of the rate.
    pub fn low(&self) -> u32 {
        u32::try_from(self.rate).unwrap_or(u32::MAX)
    }

    /// The whole rate, when 32 bits do not hold it.
    pub fn beyond(&self) -> Option<u64> {
        (self.rate > u64::from(u32::MAX)).then_some(self.rate)
    }

    /// Ticks for packets of each multiple of the cell: today's kernels only compare it (net/sched/sch_api.c,
    /// qdisc_get_rtab), but want it.
    pub fn table(&self, clock: Clock) -> Vec<u32> {
        let bytes = |n: u32| {
            let size = n.checked_shl(u32::from(self.cell_log)).unwrap_or(u32::MAX).max(u32::from(self.mpu));
            match self.linklayer {
                LinkLayer::Atm => size.div_ceil(ATM_CELL.1).saturating_mul(ATM_CELL.0),
                _ => size,
            }
        };
        (1..=256).map(|n| clock.transmit(u64::from(self.low()), bytes(n))).collect()
    }

    /// A size as `-d` prints it, with the cell: `10Kb/8`.
    pub fn size_and_cell(&self, bytes: u32) -> String {
        format!("{}/{}", show_size(bytes), 1u32.checked_shl(u32::from(self.cell_log)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_clock_of_every_kernel_since_2009_has_ticks_of_64_ns() {
        let clock = Clock::parse("000003e8 00000040 000f4240 3b9aca00\n").unwrap();
        assert_eq!(clock, Clock::default());
        assert_eq!((clock.ticks(100_000), clock.time(1_562_500)), (1_562_500, 100_000));
        assert_eq!(clock.checked_ticks(u32::MAX), None);
        for text in ["", "0 0 0 0", "3e8 0 f4240 1", "x 40 f4240 1"] {
            assert_eq!(Clock::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_table_has_the_time_of_each_size() {
        let rate = Rate::new(125_000, Framing { mtu: 1600, ..Framing::default() });
        assert_eq!(rate.cell_log, 3);
        let table = rate.table(Clock::default());
        assert_eq!((table.len(), table.first(), table.last()), (256, Some(&1000), Some(&256_000)));
    }
}
