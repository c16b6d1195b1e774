//! `netem`: `struct tc_netem_qopt` and TCA_NETEM_* behind it (linux/pkt_sched.h).

use super::attributes::{Fields, Reader, Writer};
use crate::iproute::tc::netem::{Loss, Netem, Paced, Slot};

const CORR: u16 = 1;
const DELAY_DIST: u16 = 2;
const REORDER: u16 = 3;
const CORRUPT: u16 = 4;
const LOSS: u16 = 5;
const RATE: u16 = 6;
const ECN: u16 = 7;
const RATE64: u16 = 8;
const SLOT: u16 = 12;
const SLOT_DIST: u16 = 13;
/// NETEM_LOSS_GI, NETEM_LOSS_GE
const STATE: u16 = 1;
const GILBERT: u16 = 2;
/// Bytes of the structure in front.
const HEAD: usize = 24;

pub(super) fn put(all: &mut Writer, netem: &Netem) {
    all.words(&[netem.latency, netem.limit, netem.loss, netem.gap, netem.duplicate, netem.jitter]);
    let pairs = [(REORDER, netem.reorder), (CORRUPT, netem.corrupt)];
    if let Some(correlations) = netem.correlations {
        all.table(CORR, &correlations);
    }
    for (kind, pair) in pairs {
        if let Some(pair) = pair {
            all.table(kind, &pair);
        }
    }
    if netem.ecn {
        all.u32(ECN, 1);
    }
    match netem.model {
        Some(Loss::State(parts)) => _ = all.nest_flagged(LOSS, |inner| _ = inner.table(STATE, &parts)),
        Some(Loss::Gilbert(parts)) => _ = all.nest_flagged(LOSS, |inner| _ = inner.table(GILBERT, &parts)),
        None => {}
    }
    if let Some(rate) = netem.rate {
        put_rate(all, rate);
    }
    if let Some(slot) = netem.slot {
        all.put(SLOT, &slot_bytes(slot));
    }
    for (kind, table) in [(DELAY_DIST, &netem.distribution), (SLOT_DIST, &netem.slot_distribution)] {
        if !table.is_empty() {
            let bytes: Vec<u8> = table.iter().flat_map(|n| n.to_ne_bytes()).collect();
            all.put(kind, &bytes);
        }
    }
}

fn put_rate(all: &mut Writer, paced: Paced) {
    let low = u32::try_from(paced.rate).unwrap_or(u32::MAX);
    if u64::from(low) != paced.rate {
        all.u64(RATE64, paced.rate);
    }
    let (packet, cell) = (paced.packet_overhead.cast_unsigned(), paced.cell_overhead.cast_unsigned());
    all.table(RATE, &[low, packet, paced.cell_size, cell]);
}

fn slot_bytes(slot: Slot) -> Vec<u8> {
    let counts = [slot.max_packets, slot.max_bytes].map(i32::to_ne_bytes);
    let times = [slot.min_delay, slot.max_delay, slot.dist_delay, slot.dist_jitter].map(i64::to_ne_bytes);
    [&times[..2].concat(), &counts.concat(), &times[2..].concat()].map(Vec::as_slice).concat()
}

pub(super) fn get(bytes: &[u8]) -> Option<Netem> {
    let fields = Fields(bytes);
    let [latency, limit, loss, gap, duplicate, jitter] = fields.words(0)?;
    let all = Reader(fields.from(HEAD)?);
    let pair = |kind| all.get(kind).and_then(|value| Fields(value).words(0));
    Some(Netem {
        limit,
        latency,
        jitter,
        loss,
        gap,
        duplicate,
        correlations: all.get(CORR).and_then(|value| Fields(value).words(0)),
        reorder: pair(REORDER),
        corrupt: pair(CORRUPT),
        model: all.nest(LOSS).and_then(get_loss),
        rate: get_rate(all),
        ecn: all.u32(ECN).is_some(),
        slot: all.get(SLOT).and_then(get_slot),
        distribution: Vec::new(),
        slot_distribution: Vec::new(),
    })
}

fn get_loss(all: Reader<'_>) -> Option<Loss> {
    let state = all.get(STATE).and_then(|value| Fields(value).words(0)).map(Loss::State);
    let gilbert = || all.get(GILBERT).and_then(|value| Fields(value).words(0)).map(Loss::Gilbert);
    state.or_else(gilbert)
}

fn get_rate(all: Reader<'_>) -> Option<Paced> {
    let [low, packet, cell_size, cell] = Fields(all.get(RATE)?).words(0)?;
    // A rate of 0 is none, whatever the other attribute says.
    let rate = if low == 0 { 0 } else { all.u64(RATE64).filter(|rate| *rate != 0).unwrap_or(low.into()) };
    Some(Paced { rate, packet_overhead: packet.cast_signed(), cell_size, cell_overhead: cell.cast_signed() })
}

fn get_slot(value: &[u8]) -> Option<Slot> {
    let fields = Fields(value);
    Some(Slot {
        min_delay: fields.i64(0)?,
        max_delay: fields.i64(8)?,
        max_packets: fields.i32(16)?,
        max_bytes: fields.i32(20)?,
        dist_delay: fields.i64(24)?,
        dist_jitter: fields.i64(32)?,
    })
}
