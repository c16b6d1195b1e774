//! `struct tc_ratespec` (linux/pkt_sched.h), 12 bytes.

use super::attributes::{Fields, Writer};
use crate::iproute::tc::clock::{LinkLayer, Rate};

/// Bytes of the structure.
pub(super) const SIZE: usize = 12;

/// A rate, or zeros.
pub(super) fn put(all: &mut Writer, rate: Option<&Rate>) {
    let Some(rate) = rate else {
        all.raw(&[0; SIZE]);
        return;
    };
    all.raw(&[rate.cell_log, rate.linklayer.number()]).raw(&rate.overhead.to_ne_bytes());
    // cell_align, as tc's tables are made.
    all.raw(&(-1i16).to_ne_bytes()).raw(&rate.mpu.to_ne_bytes()).words(&[rate.low()]);
}

/// A rate; `beyond` is the attribute for those that do not fit.
pub(super) fn get(fields: Fields<'_>, at: usize, beyond: Option<u64>) -> Option<Rate> {
    Some(Rate {
        rate: beyond.unwrap_or(fields.u32(at + 8)?.into()),
        cell_log: fields.u8(at)?,
        linklayer: LinkLayer::of(fields.u8(at + 1)?),
        overhead: fields.u16(at + 2)?,
        mpu: fields.u16(at + 6)?,
    })
}
