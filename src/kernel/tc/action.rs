//! Actions: TCA_ACT_*, TCA_POLICE_* (linux/pkt_cls.h), TCA_GACT_* and TCA_MIRRED_* (linux/tc_act).

use super::attributes::{Fields, Reader, Writer};
use super::{Unprintable, rate, stats};
use crate::iproute::tc::Clock;
use crate::iproute::tc::action::{Act, Action, Gact, Mirred};
use crate::iproute::tc::police::Police;

/// TCA_ACT_*
const ACT_KIND: u16 = 1;
const ACT_OPTIONS: u16 = 2;
const ACT_STATS: u16 = 4;
/// TCA_ACT_FLAGS: a value and which bits of it count; of a filter's own action only this bit is printed.
const ACT_FLAGS: u16 = 7;
const NO_PERCPU_STATS: u32 = 1;
/// _COOKIE, _HW_STATS, _USED_HW_STATS: left to the installed tc, as is that bit
const ACT_OTHERS: [u16; 3] = [6, 8, 9];
/// TCA_GACT_* and TCA_MIRRED_*
const TIMES: u16 = 1;
const PARMS: u16 = 2;
const PROBABILITY: u16 = 3;

const POLICE_TBF: u16 = 1;
const POLICE_RATE: u16 = 2;
const POLICE_PEAKRATE: u16 = 3;
const POLICE_AVRATE: u16 = 4;
const POLICE_RESULT: u16 = 5;
const POLICE_TIMES: u16 = 6;
const POLICE_RATE64: u16 = 8;
const POLICE_PEAKRATE64: u16 = 9;
const POLICE_PKTRATE64: u16 = 10;
const POLICE_PKTBURST64: u16 = 11;

/// An attribute with all actions, if there are any.
pub(super) fn put(all: &mut Writer, kind: u16, actions: &[(u16, Action)], clock: Clock) {
    if actions.is_empty() {
        return;
    }
    all.nest(kind, |all| {
        for (place, action) in actions {
            all.nest(*place, |inner| put_one(inner, &action.act, clock));
        }
    });
}

fn put_one(all: &mut Writer, act: &Act, clock: Clock) {
    // tc_gen: index, capab, action, refcnt, bindcnt
    let common = |index: u32, control: i32| [index, 0, control.cast_unsigned(), 0, 0];
    match act {
        Act::Police(police) => {
            all.text(ACT_KIND, "police").nest_flagged(ACT_OPTIONS, |inner| put_police(inner, police, clock));
        }
        Act::Gact(gact) => {
            all.text(ACT_KIND, "gact").nest_flagged(ACT_OPTIONS, |inner| {
                inner.table(PARMS, &common(gact.index, gact.control));
                if let Some((kind, value, control)) = gact.random {
                    let pair = [kind.to_ne_bytes(), value.to_ne_bytes()].concat();
                    inner.put(PROBABILITY, &[&pair[..], &control.to_ne_bytes()].concat());
                }
            });
        }
        Act::Mirred(mirred) => {
            let own = [mirred.how.cast_unsigned(), mirred.link];
            let parms = [&common(mirred.index, mirred.control)[..], &own].concat();
            all.text(ACT_KIND, "mirred").nest_flagged(ACT_OPTIONS, |inner| _ = inner.table(PARMS, &parms));
        }
    }
}

/// All actions of an attribute, with their places.
///
/// # Errors
/// When there is one that cannot be printed.
pub(super) fn get(all: Option<Reader<'_>>) -> Result<Vec<(u16, Action)>, Unprintable> {
    let mut actions = Vec::new();
    for (place, value) in all.iter().flat_map(|all| all.all()) {
        if let Some(action) = get_one(Reader(value))? {
            actions.push((place, action));
        }
    }
    Ok(actions)
}

fn get_one(all: Reader<'_>) -> Result<Option<Action>, Unprintable> {
    let Some(kind) = all.text(ACT_KIND) else { return Ok(None) };
    let counted = all.get(ACT_FLAGS).and_then(|flags| Fields(flags).u32(4)).unwrap_or(0);
    if counted & NO_PERCPU_STATS != 0 || ACT_OTHERS.iter().any(|other| all.get(*other).is_some()) {
        return Err(Unprintable(format!("{kind} with a cookie or flags")));
    }
    let Some(options) = all.nest(ACT_OPTIONS) else { return Ok(None) };
    let act = match kind.as_str() {
        "gact" => gact(options).map(Act::Gact),
        "mirred" => mirred(options).map(Act::Mirred),
        "police" => get_police(options).map(Act::Police),
        _ => return Err(Unprintable(kind)),
    };
    let stats = all.nest(ACT_STATS).map(stats::read);
    Ok(act.map(|act| Action { act, stats }))
}

fn gact(all: Reader<'_>) -> Option<Gact> {
    let parms = Fields(all.get(PARMS)?);
    let random = || {
        let random = Fields(all.get(PROBABILITY)?);
        Some((random.u16(0)?, random.u16(2)?, random.i32(4)?))
    };
    Some(Gact {
        index: parms.u32(0)?,
        control: parms.i32(8)?,
        random: random(),
        counts: (parms.i32(12)?, parms.i32(16)?),
        times: all.get(TIMES).and_then(stats::times),
    })
}

fn mirred(all: Reader<'_>) -> Option<Mirred> {
    let parms = Fields(all.get(PARMS)?);
    Some(Mirred {
        index: parms.u32(0)?,
        control: parms.i32(8)?,
        how: parms.i32(20)?,
        link: parms.u32(24)?,
        counts: (parms.i32(12)?, parms.i32(16)?),
        times: all.get(TIMES).and_then(stats::times),
    })
}

/// The attributes of police, wherever it stands.
pub(super) fn put_police(all: &mut Writer, police: &Police, clock: Clock) {
    let mut tbf = Writer::default();
    tbf.words(&[police.index, police.exceed.cast_unsigned(), 0, police.burst, police.mtu]);
    rate::put(&mut tbf, police.rate.as_ref());
    rate::put(&mut tbf, police.peak.as_ref());
    // refcnt, bindcnt, capab
    tbf.words(&[0; 3]);
    all.put(POLICE_TBF, tbf.bytes());
    let rates = [(POLICE_RATE, POLICE_RATE64, &police.rate), (POLICE_PEAKRATE, POLICE_PEAKRATE64, &police.peak)];
    for (table, beyond, rate) in rates {
        if let Some(rate) = rate {
            all.table(table, &rate.table(clock));
            if let Some(rate) = rate.beyond() {
                all.u64(beyond, rate);
            }
        }
    }
    all.given(&[(POLICE_AVRATE, police.avrate), (POLICE_RESULT, police.conform.map(i32::cast_unsigned))]);
    if let Some((packets, burst)) = police.packets {
        all.u64(POLICE_PKTRATE64, packets).u64(POLICE_PKTBURST64, burst);
    }
}

/// Police from its attributes.
pub(super) fn get_police(all: Reader<'_>) -> Option<Police> {
    let tbf = Fields(all.get(POLICE_TBF)?);
    let [index, exceed, _, burst, mtu] = tbf.words(0)?;
    let rate = |at: usize, beyond: u16| rate::get(tbf, at, all.u64(beyond));
    let peak = rate(20 + rate::SIZE, POLICE_PEAKRATE64)?;
    let behind = 20 + 2 * rate::SIZE;
    Some(Police {
        index,
        exceed: exceed.cast_signed(),
        conform: all.u32(POLICE_RESULT).map(u32::cast_signed),
        rate: Some(rate(20, POLICE_RATE64)?),
        burst,
        mtu,
        peak: (peak.rate != 0).then_some(peak),
        avrate: all.u32(POLICE_AVRATE),
        packets: all.u64(POLICE_PKTRATE64).zip(all.u64(POLICE_PKTBURST64)),
        counts: (tbf.i32(behind)?, tbf.i32(behind + 4)?),
        times: all.get(POLICE_TIMES).and_then(stats::times),
    })
}
