//! Counters: TCA_STATS2 (linux/gen_stats.h) and what kinds add to them (linux/pkt_sched.h).

use super::Unprintable;
use super::attributes::{Fields, Reader};
use crate::iproute::tc::own::{FqStats, Own};
use crate::iproute::tc::stats::{OldStats, Queue, Stats, Times};

/// TCA_STATS, TCA_STATS2, TCA_XSTATS
const STATS: u16 = 3;
const STATS2: u16 = 7;
const XSTATS: u16 = 4;
/// TCA_STATS_*
const BASIC: u16 = 1;
const RATE_EST: u16 = 2;
const QUEUE: u16 = 3;
const APP: u16 = 4;
const RATE_EST64: u16 = 5;
const PKT64: u16 = 8;

/// The common counters.
pub(super) fn get(all: Reader<'_>) -> Option<Stats> {
    all.nest(STATS2).map(read)
}

/// The counters as they were before.
pub(super) fn old(all: Reader<'_>) -> Option<OldStats> {
    let fields = Fields(all.get(STATS)?);
    let [packets, drops, overlimits, bytes_rate, packets_rate, length, backlog] = fields.words(8)?;
    let (rate, waiting) = ((bytes_rate, packets_rate), (backlog, length));
    Some(OldStats { sent: (fields.u64(0)?, packets), drops, overlimits, rate, waiting })
}

/// The counters inside TCA_STATS2 or TCA_ACT_STATS.
pub(super) fn read(all: Reader<'_>) -> Stats {
    let sent = || {
        let basic = Fields(all.get(BASIC)?);
        let packets = all.u64(PKT64).filter(|packets| *packets != 0);
        Some((basic.u64(0)?, packets.unwrap_or(basic.u32(8)?.into())))
    };
    let queue = || {
        let [length, backlog, drops, requeues, overlimits] = Fields(all.get(QUEUE)?).words(0)?;
        Some(Queue { length, backlog, drops, requeues, overlimits })
    };
    let rate64 = || {
        let rate = Fields(all.get(RATE_EST64)?);
        Some((rate.u64(0)?, rate.u64(8)?))
    };
    let rate = || {
        let rate = Fields(all.get(RATE_EST)?);
        Some((rate.u32(0)?.into(), rate.u32(4)?.into()))
    };
    Stats { sent: sent(), queue: queue(), rate: rate64().or_else(rate) }
}

/// A kind's own counters.
///
/// # Errors
/// When there are some that cannot be printed.
pub(super) fn own(kind: &str, class: bool, all: Reader<'_>) -> Result<Option<Own>, Unprintable> {
    let app = all.nest(STATS2).and_then(|stats| stats.get(APP)).or_else(|| all.get(XSTATS));
    let Some(fields) = app.map(Fields) else { return Ok(None) };
    Ok(match kind {
        "htb" => fields.words(0).map(|all: [u32; 5]| Own::Htb(all.map(u32::cast_signed))),
        "sfq" if class => fields.i32(0).map(Own::Sfq),
        "fq" => fq(fields).map(|stats| Own::Fq(Box::new(stats))),
        "fq_codel" => fq_codel(fields),
        // Those that tc does not print either.
        "netem" | "tbf" | "prio" | "pfifo" | "bfifo" | "pfifo_fast" | "noqueue" | "ingress" | "clsact" | "mq" => None,
        other => return Err(Unprintable(other.to_owned())),
    })
}

/// `struct tc_fq_codel_xstats`: 0 in front of a qdisc's, 1 of a class's.
fn fq_codel(fields: Fields<'_>) -> Option<Own> {
    match fields.u32(0)? {
        0 => {
            let mut all = [0; 9];
            for (n, word) in all.iter_mut().enumerate() {
                *word = fields.u32(4 + 4 * n).unwrap_or(0);
            }
            Some(Own::FqCodel(all))
        }
        1 => fields.words(4).map(|all: [u32; 6]| Own::FqCodelFlow(all.map(u32::cast_signed))),
        _ => None,
    }
}

/// `struct tc_fq_qd_stats`, which has become longer with time.
fn fq(fields: Fields<'_>) -> Option<FqStats> {
    let long = |at: usize| fields.u64(at).unwrap_or(0);
    Some(FqStats {
        packets: [0, 8, 16, 24, 32, 40, 48].map(long),
        next_delayed: fields.i64(56)?,
        flows: fields.words(64)?,
        marks: [80, 88, 96].map(long),
    })
}

/// `struct tcf_t` (linux/pkt_cls.h)
pub(super) fn times(bytes: &[u8]) -> Option<Times> {
    let fields = Fields(bytes);
    let first_used = fields.u64(24).unwrap_or(0);
    Some(Times { installed: fields.u64(0)?, used: fields.u64(8)?, expires: fields.u64(16)?, first_used })
}
