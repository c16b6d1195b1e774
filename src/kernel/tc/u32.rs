//! `u32`: TCA_U32_* (linux/pkt_cls.h).

use super::attributes::{Fields, Reader, Writer};
use super::{Unprintable, action};
use crate::iproute::tc::Clock;
use crate::iproute::tc::selector::{Key, Selector};
use crate::iproute::tc::u32::U32;

const CLASSID: u16 = 1;
const HASH: u16 = 2;
const LINK: u16 = 3;
const DIVISOR: u16 = 4;
const SEL: u16 = 5;
const POLICE: u16 = 6;
const ACT: u16 = 7;
const INDEV: u16 = 8;
const PCNT: u16 = 9;
const MARK: u16 = 10;
const FLAGS: u16 = 11;
/// Bytes of `struct tc_u32_sel` in front of the keys, and of a key.
const SEL_SIZE: usize = 16;
const KEY_SIZE: usize = 16;

pub(super) fn put(all: &mut Writer, u32: &U32, clock: Clock) {
    if let Some((value, mask)) = u32.mark {
        all.table(MARK, &[value, mask, 0]);
    }
    all.given(&[(CLASSID, u32.class), (DIVISOR, u32.divisor), (LINK, u32.link), (HASH, u32.hash), (FLAGS, u32.flags)]);
    if let Some(indev) = &u32.indev {
        all.text(INDEV, indev);
    }
    action::put(all, ACT, &u32.actions, clock);
    if let Some(police) = &u32.police {
        all.nest(POLICE, |inner| action::put_police(inner, police, clock));
    }
    if let Some(selector) = &u32.selector {
        all.put(SEL, selector_bytes(selector).bytes());
    }
}

fn selector_bytes(selector: &Selector) -> Writer {
    let mut all = Writer::default();
    let keys = u8::try_from(selector.keys.len()).unwrap_or(u8::MAX);
    all.raw(&[selector.flags, selector.shift, keys, 0]);
    all.raw(&selector.offset_mask.to_ne_bytes()).raw(&selector.offset.to_ne_bytes());
    all.raw(&selector.offset_at.to_ne_bytes()).raw(&selector.hash_at.to_ne_bytes()).words(&[selector.hash_mask]);
    for key in &selector.keys {
        all.words(&[key.mask, key.value, key.offset.cast_unsigned(), key.offset_mask.cast_unsigned()]);
    }
    all
}

pub(super) fn get(all: Reader<'_>) -> Result<U32, Unprintable> {
    let selector = all.get(SEL).and_then(get_selector);
    let mark = all.get(MARK).and_then(|value| Fields(value).words::<3>(0));
    let keys = selector.as_ref().map_or(0, |selector| selector.keys.len());
    Ok(U32 {
        class: all.u32(CLASSID),
        hash: all.u32(HASH),
        link: all.u32(LINK),
        divisor: all.u32(DIVISOR),
        indev: all.text(INDEV),
        mark: mark.map(|[value, mask, _]| (value, mask)),
        mark_hits: mark.map_or(0, |[_, _, hits]| hits),
        flags: all.u32(FLAGS),
        actions: action::get(all.nest(ACT))?,
        police: all.nest(POLICE).and_then(action::get_police),
        hits: all.get(PCNT).and_then(|value| hits(value, keys)),
        selector,
        ..U32::default()
    })
}

fn get_selector(value: &[u8]) -> Option<Selector> {
    let fields = Fields(value);
    let key = |n: usize| {
        let [mask, value, offset, offset_mask] = fields.words(SEL_SIZE + n * KEY_SIZE)?;
        Some(Key { mask, value, offset: offset.cast_signed(), offset_mask: offset_mask.cast_signed() })
    };
    Some(Selector {
        flags: fields.u8(0)?,
        shift: fields.u8(1)?,
        offset_mask: fields.u16(4)?,
        offset: fields.u16(6)?,
        offset_at: fields.u16(8)?.cast_signed(),
        hash_at: fields.u16(10)?.cast_signed(),
        hash_mask: fields.u32(12)?,
        keys: (0..usize::from(fields.u8(2)?)).map_while(key).collect(),
    })
}

/// `struct tc_u32_pcnt`
fn hits(value: &[u8], keys: usize) -> Option<(u64, u64, Vec<u64>)> {
    let fields = Fields(value);
    let each = (0..keys).map_while(|n| fields.u64(16 + 8 * n)).collect();
    Some((fields.u64(0)?, fields.u64(8)?, each))
}
