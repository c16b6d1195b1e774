//! `tbf`: TCA_TBF_* (linux/pkt_sched.h).

use super::attributes::{Fields, Reader, Writer};
use super::rate;
use crate::iproute::tc::clock::Clock;
use crate::iproute::tc::tbf::Tbf;

const PARMS: u16 = 1;
const RTAB: u16 = 2;
const PTAB: u16 = 3;
const RATE64: u16 = 4;
const PRATE64: u16 = 5;
const BURST: u16 = 6;
const PBURST: u16 = 7;

pub(super) fn put(all: &mut Writer, tbf: &Tbf, clock: Clock) {
    let mut parms = Writer::default();
    rate::put(&mut parms, Some(&tbf.rate));
    rate::put(&mut parms, tbf.peak.as_ref());
    parms.words(&[tbf.limit, tbf.buffer, tbf.mtu]);
    all.put(PARMS, parms.bytes()).u32(BURST, tbf.bytes.0);
    if let Some(rate) = tbf.rate.beyond() {
        all.u64(RATE64, rate);
    }
    all.table(RTAB, &tbf.rate.table(clock));
    if let Some(peak) = &tbf.peak {
        if let Some(rate) = peak.beyond() {
            all.u64(PRATE64, rate);
        }
        all.u32(PBURST, tbf.bytes.1).table(PTAB, &peak.table(clock));
    }
}

pub(super) fn get(all: Reader<'_>) -> Option<Tbf> {
    let parms = Fields(all.get(PARMS)?);
    let peak = rate::get(parms, rate::SIZE, all.u64(PRATE64))?;
    let [limit, buffer, mtu] = parms.words(2 * rate::SIZE)?;
    Some(Tbf { rate: rate::get(parms, 0, all.u64(RATE64))?, peak: (peak.rate != 0).then_some(peak), limit, buffer, mtu, bytes: (0, 0) })
}
