//! Queueing disciplines: TCA_* (linux/rtnetlink.h).

use super::attributes::{Fields, Reader, Writer};
use super::{BLOCKS, HW_OFFLOAD, KIND, OPTIONS, Unprintable, fair, htb, netem, node, stats, tbf};
use crate::iproute::tc::Clock;
use crate::iproute::tc::fifo::Fifo;
use crate::iproute::tc::prio::Prio;
use crate::iproute::tc::qdisc::{Discipline, Qdisc, ShownQdisc};

/// The attributes of a request.
pub(super) fn put(all: &mut Writer, qdisc: &Qdisc, clock: Clock) {
    if let Some(kind) = &qdisc.kind {
        all.text(KIND, kind);
    }
    match &qdisc.discipline {
        Discipline::Plain | Discipline::Ingress => {}
        Discipline::Fifo(fifo) => _ = all.given(&[(OPTIONS, fifo.limit)]),
        Discipline::Prio(prio) => {
            _ = all.nest(OPTIONS, |inner| _ = inner.words(&[prio.bands.cast_unsigned()]).raw(&prio.map));
        }
        Discipline::Netem(options) => _ = all.nest(OPTIONS, |inner| netem::put(inner, options)),
        Discipline::Tbf(options) => _ = all.nest(OPTIONS, |inner| tbf::put(inner, options, clock)),
        Discipline::Htb(options) => _ = all.nest(OPTIONS, |inner| htb::put(inner, options)),
        Discipline::Sfq(options) if !options.given => {}
        Discipline::Sfq(options) => _ = all.nest(OPTIONS, |inner| fair::put_sfq(inner, options)),
        Discipline::Fq(options) => _ = all.nest(OPTIONS, |inner| fair::put_fq(inner, options)),
        Discipline::FqCodel(options) => _ = all.nest(OPTIONS, |inner| fair::put_fq_codel(inner, options)),
    }
}

/// A qdisc from the kernel's message.
pub(super) fn get(raw: &[u8]) -> Result<Option<ShownQdisc>, Unprintable> {
    let Some((node, all)) = node::split(raw) else { return Ok(None) };
    let Some(kind) = all.text(KIND) else { return Ok(None) };
    let stats = stats::get(all);
    Ok(Some(ShownQdisc {
        node,
        discipline: all.get(OPTIONS).map(|options| discipline(&kind, options)).transpose()?.flatten(),
        offloaded: all.u8(HW_OFFLOAD).is_some_and(|offloaded| offloaded != 0),
        blocks: (all.u32(BLOCKS.0).unwrap_or(0), all.u32(BLOCKS.1).unwrap_or(0)),
        own: stats::own(&kind, false, all)?,
        stats,
        kind,
    }))
}

/// What the options say; nothing when they make no sense.
fn discipline(kind: &str, options: &[u8]) -> Result<Option<Discipline>, Unprintable> {
    let all = Reader(options);
    Ok(match kind {
        "pfifo" | "pfifo_head_drop" | "bfifo" => {
            Fields(options).u32(0).map(|limit| Discipline::Fifo(Fifo { limit: Some(limit), bytes: kind == "bfifo" }))
        }
        "prio" | "pfifo_fast" => prio(options).map(Discipline::Prio),
        "netem" => netem::get(options).map(|netem| Discipline::Netem(Box::new(netem))),
        "tbf" => tbf::get(all).map(|tbf| Discipline::Tbf(Box::new(tbf))),
        "htb" => htb::get(all).map(Discipline::Htb),
        "sfq" => fair::get_sfq(options).map(Discipline::Sfq),
        "fq" => Some(Discipline::Fq(Box::new(fair::get_fq(all)))),
        "fq_codel" => Some(Discipline::FqCodel(Box::new(fair::get_fq_codel(all)))),
        "ingress" => Some(Discipline::Ingress),
        "clsact" | "noqueue" | "mq" => Some(Discipline::Plain),
        other => return Err(Unprintable(other.to_owned())),
    })
}

fn prio(options: &[u8]) -> Option<Prio> {
    let fields = Fields(options);
    Some(Prio { bands: fields.i32(0)?, map: fields.bytes(4)? })
}
