//! Filters: TCA_* (linux/rtnetlink.h), and `matchall`: TCA_MATCHALL_* (linux/pkt_cls.h).

use super::attributes::{Fields, Reader, Writer};
use super::{CHAIN, KIND, OPTIONS, Unprintable, action, flower, node, stats, u32};
use crate::iproute::tc::Clock;
use crate::iproute::tc::filter::{Classifier, Filter, ShownFilter};
use crate::iproute::tc::matchall::Matchall;

/// TCM_IFINDEX_MAGIC_BLOCK: the index of filters that are in a block.
const IN_BLOCK: u32 = 0xffff_ffff;

const CLASSID: u16 = 1;
const ACT: u16 = 2;
const FLAGS: u16 = 3;
const PCNT: u16 = 4;

/// The attributes of a request.
pub(super) fn put(all: &mut Writer, filter: &Filter, clock: Clock) {
    all.given(&[(CHAIN, filter.chain)]);
    if let Some(kind) = &filter.kind {
        all.text(KIND, kind);
    }
    match &filter.classifier {
        Classifier::None => {}
        Classifier::U32(options) if !options.given => {}
        Classifier::Matchall(options) if !options.given => {}
        Classifier::U32(options) => _ = all.nest(OPTIONS, |inner| u32::put(inner, options, clock)),
        Classifier::Matchall(options) => _ = all.nest(OPTIONS, |inner| put_matchall(inner, options, clock)),
        Classifier::Flower(options) => _ = all.nest(OPTIONS, |inner| flower::put(inner, options, clock)),
    }
}

fn put_matchall(all: &mut Writer, matchall: &Matchall, clock: Clock) {
    all.given(&[(CLASSID, matchall.class)]);
    action::put(all, ACT, &matchall.actions, clock);
    if matchall.flags != 0 {
        all.u32(FLAGS, matchall.flags);
    }
}

/// A filter from the kernel's message.
pub(super) fn get(raw: &[u8]) -> Result<Option<ShownFilter>, Unprintable> {
    let Some((node, all)) = node::split(raw) else { return Ok(None) };
    let Some(kind) = all.text(KIND) else { return Ok(None) };
    let classifier = match (kind.as_str(), all.nest(OPTIONS)) {
        ("u32", Some(options)) => Classifier::U32(Box::new(u32::get(options)?)),
        ("matchall", Some(options)) => Classifier::Matchall(Box::new(get_matchall(options)?)),
        ("flower", Some(options)) => Classifier::Flower(Box::new(flower::get(options)?)),
        (_, None) => Classifier::None,
        _ => return Err(Unprintable(kind)),
    };
    // In a block its number stands where the parent does otherwise.
    let block = (node.index == IN_BLOCK).then_some(node.parent);
    let (stats, old_stats) = (stats::get(all), stats::old(all));
    Ok(Some(ShownFilter { node, block, chain: all.u32(CHAIN), kind, classifier, stats, old_stats }))
}

fn get_matchall(all: Reader<'_>) -> Result<Matchall, Unprintable> {
    Ok(Matchall {
        class: all.u32(CLASSID),
        flags: all.u32(FLAGS).unwrap_or(0),
        actions: action::get(all.nest(ACT))?,
        hits: all.get(PCNT).and_then(|value| Fields(value).u64(0)),
        given: true,
    })
}
