//! Classes: TCA_* (linux/rtnetlink.h).

use super::attributes::{Reader, Writer};
use super::{KIND, OPTIONS, Unprintable, htb, node, stats};
use crate::iproute::tc::Clock;
use crate::iproute::tc::class::{Class, ShownClass};

/// The attributes of a request.
pub(super) fn put(all: &mut Writer, class: &Class, clock: Clock) {
    if let Some(kind) = &class.kind {
        all.text(KIND, kind);
    }
    if let Some(options) = &class.htb {
        all.nest(OPTIONS, |inner| htb::put_class(inner, options, clock));
    }
}

/// A class from the kernel's message.
pub(super) fn get(raw: &[u8]) -> Result<Option<ShownClass>, Unprintable> {
    let Some((node, all)) = node::split(raw) else { return Ok(None) };
    let Some(kind) = all.text(KIND) else { return Ok(None) };
    let htb = match all.get(OPTIONS) {
        Some(options) if kind == "htb" => htb::get_class(Reader(options)),
        Some(_) => return Err(Unprintable(kind)),
        None => None,
    };
    let stats = stats::get(all);
    let own = stats::own(&kind, true, all)?;
    Ok(Some(ShownClass { node, kind, htb, stats, own }))
}
