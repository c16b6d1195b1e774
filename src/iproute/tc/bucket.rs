//! What `tbf` and `police` have in common: the words of a token bucket, and the rates that come of them.

use super::clock::{Framing, LinkLayer, Rate};

/// The words of a bucket as they stand; 0 for what is not said.
#[derive(Default)]
pub struct Bucket {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes per second of bursts.
    pub peak: u64,
    /// Size in bytes, and the logarithm of the rate table's cell.
    pub burst: (u32, Option<u8>),
    /// Size of the peak rate's bucket in bytes, and the logarithm of its rate table's cell.
    pub mtu: (u32, Option<u8>),
    /// Bytes that the smallest packet counts for.
    pub mpu: u32,
    /// Bytes that are added to each packet.
    pub overhead: u16,
    /// What carries the packets.
    pub linklayer: LinkLayer,
}

impl Bucket {
    /// The rate; none if it is not said.
    pub fn rate(&self) -> Option<Rate> {
        self.of(self.rate, self.burst.1)
    }

    /// The rate of bursts; none if it is not said.
    pub fn peak(&self) -> Option<Rate> {
        self.of(self.peak, self.mtu.1)
    }

    fn of(&self, rate: u64, cell_log: Option<u8>) -> Option<Rate> {
        let framing = Framing { cell_log, mtu: self.mtu.0, mpu: self.mpu as u16, overhead: self.overhead, linklayer: self.linklayer };
        (rate != 0).then(|| Rate::new(rate, framing))
    }
}
