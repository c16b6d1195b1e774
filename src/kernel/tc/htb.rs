//! `htb`: TCA_HTB_* (linux/pkt_sched.h).

use super::attributes::{Fields, Reader, Writer};
use super::rate;
use crate::iproute::tc::clock::Clock;
use crate::iproute::tc::htb::{Class, Htb};

const PARMS: u16 = 1;
const INIT: u16 = 2;
const CTAB: u16 = 3;
const RTAB: u16 = 4;
const DIRECT_QLEN: u16 = 5;
const RATE64: u16 = 6;
const CEIL64: u16 = 7;
const OFFLOAD: u16 = 9;

pub(super) fn put(all: &mut Writer, htb: &Htb) {
    let mut glob = Writer::default();
    glob.words(&[htb.version, htb.r2q, htb.default, htb.debug, htb.direct]);
    all.put(INIT, glob.bytes()).given(&[(DIRECT_QLEN, htb.direct_qlen)]);
    if htb.offload {
        all.put(OFFLOAD, &[]);
    }
}

pub(super) fn get(all: Reader<'_>) -> Option<Htb> {
    let [version, r2q, default, debug, direct] = Fields(all.get(INIT)?).words(0)?;
    let (direct_qlen, offload) = (all.u32(DIRECT_QLEN), all.get(OFFLOAD).is_some());
    Some(Htb { version, r2q, default, debug, direct, direct_qlen, offload })
}

pub(super) fn put_class(all: &mut Writer, class: &Class, clock: Clock) {
    let mut parms = Writer::default();
    rate::put(&mut parms, Some(&class.rate));
    rate::put(&mut parms, Some(&class.ceil));
    parms.words(&[class.buffer, class.cbuffer, class.quantum, class.level, class.prio]);
    for (kind, rate) in [(RATE64, class.rate.beyond()), (CEIL64, class.ceil.beyond())] {
        if let Some(rate) = rate {
            all.u64(kind, rate);
        }
    }
    all.put(PARMS, parms.bytes()).table(RTAB, &class.rate.table(clock)).table(CTAB, &class.ceil.table(clock));
}

pub(super) fn get_class(all: Reader<'_>) -> Option<Class> {
    let parms = Fields(all.get(PARMS)?);
    let [buffer, cbuffer, quantum, level, prio] = parms.words(2 * rate::SIZE)?;
    Some(Class {
        rate: rate::get(parms, 0, all.u64(RATE64))?,
        ceil: rate::get(parms, rate::SIZE, all.u64(CEIL64))?,
        buffer,
        cbuffer,
        quantum,
        level,
        prio,
    })
}
