//! `fq`, `fq_codel` and `sfq` (linux/pkt_sched.h).

use super::attributes::{Fields, Reader, Writer};
use crate::iproute::tc::fq::Fq;
use crate::iproute::tc::fq_codel::FqCodel;
use crate::iproute::tc::sfq::{More, Sfq};

/// TCA_FQ_RATE_ENABLE, TCA_FQ_HORIZON_DROP
const PACING: u16 = 5;
const HORIZON_DROP: u16 = 15;
/// TCA_FQ_CODEL_ECN, _CE_THRESHOLD_SELECTOR, _CE_THRESHOLD_MASK
const ECN: u16 = 4;
const CE_SELECTOR: u16 = 10;
const CE_MASK: u16 = 11;

pub(super) fn put_fq(all: &mut Writer, fq: &Fq) {
    all.given(&[
        (1, fq.limit),
        (2, fq.flow_limit),
        (3, fq.quantum),
        (4, fq.initial_quantum),
        (PACING, fq.pacing.map(u32::from)),
        (6, fq.defrate),
        (7, fq.maxrate),
        (8, fq.buckets_log),
        (9, fq.refill_delay),
        (10, fq.orphan_mask),
        (11, fq.low_rate_threshold),
        (12, fq.ce_threshold),
        (13, fq.timer_slack),
        (14, fq.horizon),
    ]);
    if let Some(drop) = fq.horizon_drop {
        all.u8(HORIZON_DROP, drop.into());
    }
}

pub(super) fn get_fq(all: Reader<'_>) -> Fq {
    Fq {
        limit: all.u32(1),
        flow_limit: all.u32(2),
        quantum: all.u32(3),
        initial_quantum: all.u32(4),
        pacing: all.u32(PACING).map(|pacing| pacing != 0),
        defrate: all.u32(6),
        maxrate: all.u32(7),
        buckets_log: all.u32(8),
        refill_delay: all.u32(9),
        orphan_mask: all.u32(10),
        low_rate_threshold: all.u32(11),
        ce_threshold: all.u32(12),
        timer_slack: all.u32(13),
        horizon: all.u32(14),
        horizon_drop: all.u8(HORIZON_DROP).map(|drop| drop != 0),
    }
}

pub(super) fn put_fq_codel(all: &mut Writer, fq: &FqCodel) {
    all.given(&[
        (1, fq.target),
        (2, fq.limit),
        (3, fq.interval),
        (ECN, fq.ecn.map(u32::from)),
        (5, fq.flows),
        (6, fq.quantum),
        (7, fq.ce_threshold),
        (8, fq.drop_batch),
        (9, fq.memory_limit),
    ]);
    if let Some((value, mask)) = fq.ce_selector {
        all.u8(CE_MASK, mask).u8(CE_SELECTOR, value);
    }
}

pub(super) fn get_fq_codel(all: Reader<'_>) -> FqCodel {
    FqCodel {
        target: all.u32(1),
        limit: all.u32(2),
        interval: all.u32(3),
        ecn: all.u32(ECN).map(|ecn| ecn != 0),
        flows: all.u32(5),
        quantum: all.u32(6),
        ce_threshold: all.u32(7),
        drop_batch: all.u32(8),
        memory_limit: all.u32(9),
        ce_selector: all.u8(CE_SELECTOR).map(|value| (value, all.u8(CE_MASK).unwrap_or(0))),
    }
}

pub(super) fn put_sfq(all: &mut Writer, sfq: &Sfq) {
    let more = sfq.more.clone().unwrap_or_default();
    all.words(&[sfq.quantum, sfq.perturb.cast_unsigned(), sfq.limit, sfq.divisor, sfq.flows]);
    all.words(&[more.depth, more.headdrop.into(), more.limit, more.min, more.max]);
    // The third of the logarithms is the kernel's own.
    all.raw(&[more.logs.0, more.logs.1, 0, more.flags]).words(&[more.max_p]).words(&[0; 6]);
}

pub(super) fn get_sfq(bytes: &[u8]) -> Option<Sfq> {
    let fields = Fields(bytes);
    let [quantum, perturb, limit, divisor, flows] = fields.words(0)?;
    let more = || {
        let [depth, headdrop, limit, min, max] = fields.words(20)?;
        let [weight, slope, _, flags] = fields.bytes(40)?;
        let max_p = fields.u32(44)?;
        Some(More { depth, headdrop: headdrop != 0, limit, min, max, logs: (weight, slope), flags, max_p })
    };
    Some(Sfq { quantum, perturb: perturb.cast_signed(), limit, divisor, flows, more: more(), given: true })
}
